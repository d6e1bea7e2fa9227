"""A learner's mask beside the right one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from .style import EMPTY, FUTURE, FUTURE_HATCH, INK, PLAIN, SCREEN, Style, dress, new_axes


def plot_comparison(
    mine: np.ndarray, right: np.ndarray, *, style: Style = SCREEN, axes: Sequence[Axes] | None = None
) -> np.ndarray:
    """Two masks bool (n, n), rows look at columns, with hatching on `mine` where it differs from `right`."""
    axes = new_axes(style, 2, width=1.3) if axes is None else np.ravel(axes)
    for ax, mask, title in zip(axes, (mine, right), ("yours", "right"), strict=True):
        mask = np.asarray(mask, bool)
        edges = [np.arange(size + 1) - 0.5 for size in mask.shape[::-1]]
        ax.pcolormesh(
            *edges, mask, cmap=ListedColormap([EMPTY, PLAIN]), vmin=0, vmax=1, edgecolor="white", linewidth=0.5
        )
        ax.invert_yaxis()
        ax.set_aspect("equal")
        dress(ax, style, title=title, x="key: is looked at", y="query: looks", grid=False)
    if np.shape(mine) == np.shape(right):
        differs = np.ma.masked_equal(np.asarray(mine, bool) != np.asarray(right, bool), False)
        if differs.count():
            axes[0].pcolor(
                *edges, differs, cmap=ListedColormap([FUTURE]), hatch=FUTURE_HATCH, edgecolor=INK, linewidth=0
            )
    axes[1].set_ylabel("")
    return axes


def describe_comparison(mine: np.ndarray, right: np.ndarray) -> str:
    """The same as a sentence: how many pairs are too many, and how many are missing."""
    mine, right = np.asarray(mine, bool), np.asarray(right, bool)
    if mine.shape != right.shape:
        return f"Your mask has shape {mine.shape}, the right one {right.shape}."
    extra, missing = int((mine & ~right).sum()), int((right & ~mine).sum())
    if not extra and not missing:
        return f"Your mask and the right one are the same: {int(right.sum())} pairs."
    return (
        f"Your mask beside the right one: {extra} pairs too many, {missing} missing, of {int(right.sum())} right ones."
    )
