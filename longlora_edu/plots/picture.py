"""A drawing with its sentence, and the tie between a `plot_…` and its `describe_…` that makes a `show_…`."""

from __future__ import annotations

import base64
import html
import inspect
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ..runs.records import replace_file
from .style import png


class Picture:
    """A drawing with its sentence: a cell shows the drawing, a screen reader reads the sentence.

    `drawing` is a PNG file's bytes, or the Axes that a `plot_…` returned; `alt` the sentence of its `describe_…`.
    Notebooks publish it as HTML with an `<img alt>`, the only form whose alt text survives everywhere.

    Raises:
        ValueError: without a sentence.
    """

    def __init__(self, drawing: Any, alt: str, *, dpi: int = 100) -> None:
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


def picture_of(plot: Callable, describe: Callable[..., str]) -> Callable[..., Picture]:
    """Tie a plot to its sentence: `show(data, …)` gives the `Picture` of both.

    Each function gets the data and those options that it has. `lead` is put before the sentence.

        show_reach = picture_of(plot_reach, describe_reach)
        show_reach(geometry, 3, style=PROJECTOR)     # `style` goes to the plot alone
    """
    parameters = inspect.signature(describe).parameters
    positional = sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters.values())
    drawn = inspect.signature(plot).parameters

    def show(*data, lead: str = "", dpi: int = 100, **options) -> Picture:
        described = {name: value for name, value in options.items() if name in parameters}
        shown = {name: value for name, value in options.items() if name in drawn or name not in parameters}
        sentence = describe(*data[:positional], **described)
        return Picture(plot(*data, **shown), f"{lead} {sentence}".strip(), dpi=dpi)

    show.__name__ = show.__qualname__ = plot.__name__.replace("plot_", "show_", 1)
    show.__doc__ = f"Show `{plot.__name__}` with its sentence, as a `Picture`.\n\n{inspect.getdoc(plot)}"
    return show


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
