"""A curve that a learner drew beside the measured one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from .picture import picture_of
from .style import AFTER, BEFORE, SCREEN, Style, dress, new_axes


def plot_drawn_curve(
    names: Sequence[str],
    mine: Sequence[float] | None,
    right: Sequence[float],
    *,
    unit: str = "",
    style: Style = SCREEN,
    ax: Axes | None = None,
) -> Axes:
    """Draw the learner's points, where there are any, and the measured ones over the same names."""
    ax = new_axes(style)[0] if ax is None else ax
    at = np.arange(len(names))
    if mine is not None:
        ax.plot(at, mine, color=BEFORE, linestyle="--", marker="o", markerfacecolor="white", label="yours")
    ax.plot(at, right, color=AFTER, linestyle="-", marker="s", label="measured")
    ax.set_xticks(at, names)
    ax.legend(fontsize=style.small, frameon=False)
    dress(ax, style, y=unit)
    return ax


def describe_drawn_curve(
    names: Sequence[str], mine: Sequence[float] | None, right: Sequence[float], *, unit: str = ""
) -> str:
    """Describe `plot_drawn_curve` in a sentence: each measured point, and the drawn one beside it."""
    said = [""] * len(names) if mine is None else [f" (yours {value:.2f})" for value in mine]
    points = ", ".join(f"{name}: {value:.2f}{yours}" for name, value, yours in zip(names, right, said, strict=True))
    return f"Measured, in {unit or 'numbers'}: {points}."


show_drawn_curve = picture_of(plot_drawn_curve, describe_drawn_curve)
