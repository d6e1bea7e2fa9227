"""Pictures that say what they show, and widgets that leave one behind where no widget can live."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..plots import png
from ..runs.records import replace_file

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


class Picture:
    """A drawing with its sentence: what a cell shows, and what a screen reader reads.

    `drawing` is a PNG file's bytes, or the Axes that a `plot_…` returned; `alt` the sentence of its `describe_…`.
    Notebooks publish it as HTML with an `<img alt>`, the only form whose alt text survives everywhere.

    Raises:
        ValueError: without a sentence.
    """

    def __init__(self, drawing, alt: str, *, dpi: int = 100) -> None:
        if not isinstance(alt, str) or not alt.strip():
            raise ValueError(f"alt must be a sentence that says what the picture shows, got {alt!r}")
        self.png = _palette(drawing if isinstance(drawing, bytes) else png(drawing, dpi=dpi))
        self.alt = alt

    @property
    def html(self) -> str:
        """A `<figure>` that holds everything in itself."""
        data = base64.b64encode(self.png).decode()
        return (
            f'<figure style="margin:0"><img alt="{html.escape(self.alt)}" src="data:image/png;base64,{data}" '
            f'style="max-width:100%;height:auto"></figure>'
        )

    def save(self, path: Path | str) -> None:
        """Write the PNG, with the sentence in its metadata under `Description`."""
        about = PngInfo()
        about.add_itxt("Description", self.alt, lang="en")
        buffer = io.BytesIO()
        Image.open(io.BytesIO(self.png)).save(buffer, format="png", pnginfo=about, optimize=True)
        replace_file(Path(path), buffer.getvalue())

    def __repr__(self) -> str:
        return self.alt

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.alt}


def show(widget, picture) -> None:
    """Publish a live widget together with what stands in for it where there is no kernel.

    `picture` is a `Picture` or safe HTML (no script, style or iframe: those blank the whole output). One bundle,
    made by hand, because ipywidgets 7 and 8 make theirs in different ways.
    """
    from IPython.display import display

    fallback = picture.html if isinstance(picture, Picture) else str(picture)
    text = picture.alt if isinstance(picture, Picture) else "an interactive panel"
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    display({WIDGET_VIEW: view, "text/html": fallback, "text/plain": text}, raw=True)


def _palette(data: bytes) -> bytes:
    """The same PNG in few colours: figures have not many more, and notebooks travel."""
    image = Image.open(io.BytesIO(data))
    if image.mode == "P":
        return data
    flat = Image.new("RGB", image.size, "white")
    flat.paste(image, mask=image.getchannel("A") if image.mode == "RGBA" else None)
    buffer = io.BytesIO()
    flat.quantize(colors=64, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        buffer, format="png", optimize=True
    )
    return buffer.getvalue()
