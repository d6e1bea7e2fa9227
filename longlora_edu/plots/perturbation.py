"""Who moves when one token is pushed: what an attention function does, whatever its code says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.ticker import MaxNLocator

from .style import EMPTY, FUTURE, FUTURE_HATCH, INK, PLAIN, SCREEN, Style, dress, new_axes


def plot_moved(
    moved: Mapping[str, np.ndarray], *, style: Style = SCREEN, axes: Sequence[Axes] | None = None
) -> np.ndarray:
    """Tables bool (n, n) side by side, titled by their names: does output n (rows) move if token n (columns) is pushed?

    Above the diagonal an output moves with a token of its future: hatched, and counted under the table.

    Raises:
        ValueError: when there is no table, or `axes` are not one a table.
    """
    if not moved:
        raise ValueError("moved must hold at least one table, got none")
    axes = new_axes(style, len(moved), width=0.65 * len(moved), height=1.2) if axes is None else np.ravel(axes)
    if len(axes) != len(moved):
        raise ValueError(f"axes must be one a table, {len(moved)}, got {len(axes)}")
    for ax, (title, table) in zip(axes, moved.items(), strict=True):
        table, ahead = np.asarray(table, bool), future(table)
        edges = np.arange(len(table) + 1) - 0.5
        look = {"cmap": ListedColormap([EMPTY, PLAIN]), "vmin": 0, "vmax": 1, "edgecolor": "white"}
        ax.pcolormesh(edges, edges, table, linewidth=style.line / 4, **look)
        if ahead.any():
            look = {"cmap": ListedColormap([FUTURE]), "hatch": FUTURE_HATCH, "edgecolor": INK, "linewidth": 0}
            ax.pcolor(edges, edges, np.ma.masked_equal(ahead, False), **look)
        ax.set(aspect="equal", xlim=(-0.5, len(table) - 0.5), ylim=(len(table) - 0.5, -0.5))
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(8, integer=True))
        x = f"token that is pushed\n{ahead.sum()} from the future" + " (hatched)" * bool(ahead.any())
        dress(ax, style, title=title, x=x, y="output that moves", grid=False)
    for ax in axes[1:]:
        ax.set_ylabel("")
    return axes


def describe_moved(moved: Mapping[str, np.ndarray]) -> str:
    """What `plot_moved` shows, as a sentence with its numbers."""
    parts = [
        f"{title}: {np.count_nonzero(table)} outputs move, {future(table).sum()} of them with a token of their future"
        for title, table in moved.items()
    ]
    return f"Every token pushed in turn. {'; '.join(parts)}."


def future(table: np.ndarray) -> np.ndarray:
    """bool (n, n): what of a table stands above the diagonal."""
    return np.triu(np.asarray(table, bool), k=1)
