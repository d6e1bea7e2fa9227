"""Perturb one token at a time and draw which outputs change: what an attention function does, not what it claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.ticker import MaxNLocator

from .picture import picture_of
from .style import DENSE, EMPTY, FUTURE, FUTURE_HATCH, INK, PLAIN, SCREEN, Style, axes_for, dress


def plot_perturbation(
    effects: Mapping[str, np.ndarray], *, style: Style = SCREEN, axes: Sequence[Axes] | None = None
) -> np.ndarray:
    """Draw tables bool (n, n) side by side: True where output n (rows) moves when token n (columns) is pushed.

    Above the diagonal an output moves with a token of its future: hatched, and counted under the table. A table in
    which everything before a token moves it, and nothing else, has the colour of dense attention.

    Raises:
        ValueError: when there is no table, or `axes` are not one a table.
    """
    if not effects:
        raise ValueError("effects must hold at least one table, got none")
    axes = axes_for(axes, len(effects), style, "table", width=0.65 * len(effects), height=1.2)
    for ax, (title, table) in zip(axes, effects.items(), strict=True):
        table, ahead = np.asarray(table, bool), future(table)
        edges = np.arange(len(table) + 1) - 0.5
        colour = DENSE if np.array_equal(table, np.tri(len(table), dtype=bool)) else PLAIN
        look = {"cmap": ListedColormap([EMPTY, colour]), "vmin": 0, "vmax": 1, "edgecolor": "white"}
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


def describe_perturbation(effects: Mapping[str, np.ndarray]) -> str:
    """Describe `plot_perturbation` in a sentence with its numbers."""
    parts = [
        f"{title}: {np.count_nonzero(table)} pairs of {len(table)} tokens, {future(table).sum() or 'none'} of them "
        "from the future"
        for title, table in effects.items()
    ]
    return f"Every token is pushed in turn; pairs are outputs that move with it. {'; '.join(parts)}."


def future(table: np.ndarray) -> np.ndarray:
    """bool (n, n): the part of a table above the diagonal."""
    return np.triu(np.asarray(table, bool), k=1)


show_perturbation = picture_of(plot_perturbation, describe_perturbation)
