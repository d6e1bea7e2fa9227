"""One figure for many pictures, drawn so quickly that they follow a slider."""

from __future__ import annotations

import io
from collections.abc import Callable

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ..plots.style import Style
from .display import Picture

DPI = 100


class Canvas:
    """Axes side by side that are drawn on again and again.

    Three things cost most of a picture's time, and are done again only when they change: the axes' places, their
    ticks, and everything drawn of the axes themselves, which is kept as a background. The first picture decides where
    the axes stand, so that later ones do not jump.
    """

    def __init__(self, style: Style, columns: int = 1, *, width: float = 1, height: float = 1) -> None:
        self.figure = Figure((style.size[0] * width, style.size[1] * height), dpi=DPI, layout="constrained")
        self.figure.get_layout_engine().set(wspace=0.05)  # room for ticks that grow longer
        self.canvas = FigureCanvasAgg(self.figure)
        self.axes = self.figure.subplots(1, columns, squeeze=False)[0]
        self._background, self._key = None, None

    def picture(self, draw: Callable, alt: str) -> Picture:
        """The picture that `draw(*axes)` makes on axes without content, `alt` being its sentence."""
        for ax in self.axes:
            for artist in (*ax.lines, *ax.patches, *ax.texts, *ax.collections):
                artist.remove()
            ax.containers.clear()  # bars are remembered as groups too
        draw(*self.axes)
        if self._background is None:
            self.canvas.draw()
            self.figure.set_layout_engine("none")
        content = [(ax, artist) for ax in self.axes for artist in _content(ax)]
        if (key := [_look(ax) for ax in self.axes]) != self._key:
            for _, artist in content:
                artist.set_animated(True)  # matplotlib's word for: left out by draw
            self.canvas.draw()
            self._background, self._key = self.canvas.copy_from_bbox(self.figure.bbox), key
        self.canvas.restore_region(self._background)
        for ax, artist in content:
            ax.draw_artist(artist)
        return Picture(self._png(), alt)

    def _png(self) -> bytes:
        pixels = Image.frombuffer("RGBA", self.canvas.get_width_height(), self.canvas.buffer_rgba()).convert("RGB")
        buffer = io.BytesIO()
        # Picture would choose its colours better, and take as long for it as the drawing.
        pixels.quantize(256, method=Image.Quantize.FASTOCTREE).save(buffer, format="png")
        return buffer.getvalue()


def _content(ax: Axes) -> list[Artist]:
    """List everything drawn into the axes, titles and legend included, from below to above."""
    own = {ax.patch, ax.xaxis, ax.yaxis, *ax.spines.values()}
    return sorted((artist for artist in ax.get_children() if artist not in own), key=lambda artist: artist.zorder)


def _look(ax: Axes) -> list[tuple]:
    """All that the axes themselves are drawn from."""
    looks = []
    for axis in (ax.xaxis, ax.yaxis):
        ticks = axis.get_majorticklocs()
        labels = axis.get_major_formatter().format_ticks(ticks)
        looks.append((axis.get_scale(), *axis.get_view_interval(), *ticks, *labels, axis.get_label_text()))
    return looks
