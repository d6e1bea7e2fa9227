"""Who hears whom, as it was measured on a model rather than read off a geometry."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.colors import ListedColormap

from .style import DENSE, EMPTY, PLAIN, SCREEN, Style, dress, new_axes

COLOURS = (PLAIN, DENSE)


def plot_listening(heard: Mapping[str, np.ndarray], *, style: Style = SCREEN) -> np.ndarray:
    """Matrices bool (n, n) side by side, by their titles: did the output at a row move when the input at a column did?

    Returns the axes. The first is drawn in the colour of groups, the others in that of dense attention.

    Raises:
        ValueError: without a matrix.
    """
    if not heard:
        raise ValueError("heard must hold at least one matrix, got none")
    axes = new_axes(style, len(heard), width=0.62 * len(heard))
    for place, (ax, (title, matrix)) in enumerate(zip(axes, heard.items(), strict=True)):
        matrix = np.asarray(matrix, bool)
        edges = np.arange(len(matrix) + 1) - 0.5
        colours = ListedColormap([EMPTY, COLOURS[min(place, 1)]])
        ax.pcolormesh(edges, edges, matrix, cmap=colours, vmin=0, vmax=1, edgecolors="white", linewidth=style.line / 3)
        ticks = range(0, len(matrix), -(-len(matrix) // 8))
        ax.set(aspect="equal", xticks=ticks, yticks=ticks, ylim=(len(matrix) - 0.5, -0.5))
        dress(ax, style, title=title, x="token that is pushed", y="" if place else "token that moves", grid=False)
    return axes


def describe_listening(heard: Mapping[str, np.ndarray]) -> str:
    """What `plot_listening` shows, as a sentence with its numbers."""
    parts = []
    for title, matrix in heard.items():
        matrix = np.asarray(matrix, bool)
        ahead = int((matrix & ~np.tri(len(matrix), dtype=bool)).sum())
        future = f"{ahead} of them from the future" if ahead else "none of them from the future"
        parts.append(f"{title}: {int(matrix.sum())} pairs of {len(matrix)} tokens, {future}")
    return f"Which outputs move when one input does. {'; '.join(parts)}."
