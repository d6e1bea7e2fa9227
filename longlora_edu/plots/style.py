"""Colours and sizes of all pictures: the same colour for the same thing everywhere, and never colour alone."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

# Okabe and Ito's palette. Each name stands for one thing in all pictures, notebooks and widgets.
PLAIN, SHIFTED, FUTURE = "#0072B2", "#E69F00", "#CC79A7"
BEFORE, STRETCHED, AFTER = "#D55E00", "#0072B2", "#009E73"
TEXT, PASSKEY, REFERENCE, LOSS = "#56B4E9", "#000000", "#CC79A7", "#B4B4B4"
TRAINED, FROZEN = "#F0E442", "#D0D0D0"
DENSE, EMPTY, INK = "#666666", "#EFEFEF", "#222222"

FUTURE_HATCH, TRAINED_HATCH = "////", "...."
MAGNITUDE = colormaps["cividis"]


@dataclass(frozen=True)
class Style:
    """Sizes of a picture: text and lines in points, `size` in inches where the function makes the figure."""

    text: float
    small: float
    line: float
    thin: float
    marker: float
    size: tuple[float, float]


# For a room: no text under 14 points, no line under 3 pixels at 100 dots an inch.
SCREEN = Style(text=11, small=9.5, line=2, thin=1, marker=6, size=(5.0, 3.4))
PROJECTOR = Style(text=20, small=16, line=4, thin=2.4, marker=11, size=(10.0, 6.6))


def new_axes(style: Style, columns: int = 1, *, width: float = 1, height: float = 1) -> np.ndarray:
    """Make an array (columns,) of axes on a new figure, `width` and `height` times as large as the style's size.

    pyplot never hears of it: nothing to close, nothing shown twice in a notebook.
    """
    figure = Figure(figsize=(style.size[0] * width, style.size[1] * height), layout="constrained")
    return figure.subplots(1, columns, squeeze=False)[0]


def axes_for(axes: Any, count: int, style: Style, what: str = "", **size: float) -> np.ndarray:
    """Return the given axes as an array (count,), or where they are None new ones, of the `size` that `new_axes` takes.

    `what` names the content of one, for the message.

    Raises:
        ValueError: when `axes` are not `count`.
    """
    axes = new_axes(style, count, **size) if axes is None else np.ravel(axes)
    if len(axes) != count:
        raise ValueError(f"axes must be {f'one a {what}, ' if what else ''}{count}, got {len(axes)}")
    return axes


def dress(ax: Axes, style: Style, *, title: str = "", x: str = "", y: str = "", grid: bool = True) -> Axes:
    """Give the axes a title, labels, and the sizes and colours that every picture shares; returns them."""
    ax.set_title(title, fontsize=style.text, loc="left", color=INK)
    ax.set_xlabel(x, fontsize=style.text, color=INK)
    ax.set_ylabel(y, fontsize=style.text, color=INK)
    ax.tick_params(labelsize=style.small, colors=INK)
    ax.spines[["top", "right"]].set_visible(False)
    if grid:
        ax.grid(True, color="#DDDDDD", linewidth=0.8)
        ax.set_axisbelow(True)
    return ax


def readable_on(colour: ColorType) -> str:
    """Black or white, whichever stands out more from `colour` (contrast as WCAG 2 defines it)."""
    channels = np.array(to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return "black" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "white"


def percent(share: float, digits: int = 0) -> str:
    """`0.25` as `25 %`, with a space that does not break."""
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


def png(axes: Any, *, dpi: int = 150) -> bytes:
    """Return the bytes of a PNG file of the whole picture to which `axes` (one, or several of one figure) belong."""
    figure = np.ravel(axes)[0].figure
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()
