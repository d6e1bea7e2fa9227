"""A learner's mask beside the right one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.ticker import MaxNLocator

from .picture import picture_of
from .style import EMPTY, FUTURE, FUTURE_HATCH, INK, PLAIN, SCREEN, Style, dress, new_axes


def plot_comparison(
    mine: np.ndarray, right: np.ndarray, *, style: Style = SCREEN, axes: Sequence[Axes] | None = None
) -> np.ndarray:
    """Draw two masks bool (n, n), rows look at columns. On `mine` surplus pairs are hatched, missing ones crossed."""
    axes = new_axes(style, 2, width=1.3, height=1.15) if axes is None else np.ravel(axes)
    mine, right = np.asarray(mine, bool), np.asarray(right, bool)
    for ax, mask in zip(axes, (mine, right), strict=True):
        edges = _edges(mask)
        line = style.line / 4 * (max(mask.shape, default=0) <= 32)
        look = {"cmap": ListedColormap([EMPTY, PLAIN]), "vmin": 0, "vmax": 1}
        ax.pcolormesh(*edges, mask, edgecolor="white", linewidth=line, **look)
        ax.invert_yaxis()
        ax.set_aspect("equal")
        ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        ax.yaxis.set_major_locator(MaxNLocator(8, integer=True))
    wrong = []
    if mine.shape == right.shape:
        extra, missing = np.ma.masked_equal(mine & ~right, False), np.argwhere(right & ~mine)
        if extra.count():
            look = {"cmap": ListedColormap([FUTURE]), "hatch": FUTURE_HATCH, "edgecolor": INK, "linewidth": 0}
            axes[0].pcolor(*_edges(mine), extra, **look)
            wrong.append(f"{extra.count()} too many (hatched)")
        if len(missing):
            look = {"marker": "x", "s": style.marker**2, "linewidths": style.thin, "color": INK}
            axes[0].scatter(*missing.T[::-1], **look)
            wrong.append(f"{len(missing)} missing (×)")
    title = "yours: " + "\n".join(wrong) if wrong else "yours"
    dress(axes[0], style, title=title, x="key: is looked at", y="query: looks", grid=False)
    dress(axes[1], style, title="right", x="key: is looked at", grid=False)
    return axes


def _edges(mask: np.ndarray) -> list[np.ndarray]:
    return [np.arange(size + 1) - 0.5 for size in mask.shape[::-1]]


def describe_comparison(mine: np.ndarray, right: np.ndarray) -> str:
    """Describe `plot_comparison` in a sentence: how many pairs are too many, and how many are missing."""
    mine, right = np.asarray(mine, bool), np.asarray(right, bool)
    if mine.shape != right.shape:
        return f"Your mask has shape {mine.shape}, the right one {right.shape}."
    extra, missing = int((mine & ~right).sum()), int((right & ~mine).sum())
    if not extra and not missing:
        return f"Your mask and the right one are the same: {int(right.sum())} pairs."
    return (
        f"Your mask beside the right one: {extra} pairs too many, {missing} missing, of {int(right.sum())} right ones."
    )


show_comparison = picture_of(plot_comparison, describe_comparison)
