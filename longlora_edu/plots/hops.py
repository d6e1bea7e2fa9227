"""The way of information through layers: from which cell to which, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ..geometry import S2Geometry
from .masks import mask_kinds, plot_mask
from .picture import picture_of
from .style import EMPTY, INK, PLAIN, SCREEN, SHIFTED, Style, axes_for, dress, new_axes


def hops(geometry: S2Geometry, query: int | None = None) -> list[tuple[int, int]]:
    """For each layer, counted from the one whose output is asked for: the head that leads furthest back, and how far.

    A pair is (head, earliest token reached so far), `query` (default: the last token) being the one that hears. Ends
    at token 0, or where no head leads any further.

    Raises:
        ValueError: for a query that the geometry does not have.
    """
    query = geometry.seq_len - 1 if query is None else query
    if not 0 <= query < geometry.seq_len:
        raise ValueError(f"query must be from 0 to seq_len - 1 = {geometry.seq_len - 1}, got {query}")
    mask, reached, steps = geometry.mask(), np.eye(geometry.seq_len, dtype=bool)[query], []
    while not reached[0]:
        earliest = [int(np.argmax(mask[head, reached].any(axis=0))) for head in range(geometry.num_heads)]
        head = int(np.argmin(earliest))
        if earliest[head] == np.argmax(reached):
            break
        reached = mask[:, reached].any(axis=(0, 1))
        steps.append((head, earliest[head]))
    return steps


def plot_hops(geometry: S2Geometry, query: int | None = None, *, style: Style = SCREEN, ax: Axes | None = None) -> Axes:
    """Plot the way from the first token to `query` (default: the last token): a row a layer, the last layer on top.

    A row shows the cells of the head that leads furthest back, coloured where it is reached from; arrows are the hops.
    """
    query = geometry.seq_len - 1 if query is None else query
    steps = hops(geometry, query)
    if ax is None:
        ax = new_axes(style, width=1.3, height=0.35 + 0.13 * (len(steps) + 1))[0]
    before, labels = query, []
    for row, (head, earliest) in enumerate(steps):
        shifted = head in geometry.shifted_heads
        colour, kind = (SHIFTED, "shifted") if shifted else (PLAIN, "plain")
        labels.append(f"{row + 1}: {kind} head")
        for cell in geometry.cells(shifted=shifted):
            for tokens in cell:
                box = (tokens.start - 0.5, row - 0.36), len(tokens), 0.72
                ax.add_patch(Rectangle(*box, facecolor=EMPTY, linewidth=0))
        ax.add_patch(Rectangle((earliest - 0.5, row - 0.36), query - earliest + 1, 0.72, facecolor=colour, linewidth=0))
        for cell in geometry.cells(shifted=shifted):
            for tokens in cell:
                box = (tokens.start - 0.5, row - 0.36), len(tokens), 0.72
                ax.add_patch(Rectangle(*box, fill=False, edgecolor=INK, linewidth=style.thin))
        arrow = {"arrowstyle": "-|>", "color": INK, "linewidth": style.line, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", xy=(earliest, row), xytext=(before, row), arrowprops=arrow)
        if row + 1 < len(steps):
            ax.plot([earliest, earliest], [row, row + 1], color=INK, linewidth=style.line)
        before = earliest
    length = geometry.seq_len
    ax.set(xlim=(-0.5, length - 0.5), ylim=(max(len(steps), 1) - 0.5, -0.5), yticks=range(len(steps)))
    ax.set_yticklabels(labels)
    ax.set_xticks(range(0, length, -(-length // 16)))
    reached = f"hears token 0 after {len(steps)} layers" if steps and before == 0 else f"hears back to token {before}"
    return dress(ax, style, title=f"Token {query} {reached}", x="token", y="layer, from the last", grid=False)


def describe_hops(geometry: S2Geometry, query: int | None = None) -> str:
    """Describe `plot_hops` in a sentence with its numbers."""
    query = geometry.seq_len - 1 if query is None else query
    steps = hops(geometry, query)
    way = ", ".join(
        f"{'shifted' if head in geometry.shifted_heads else 'plain'} head to token {earliest}"
        for head, earliest in steps
    )
    if not steps:
        return f"Token {query} of {geometry.seq_len} hears nothing before itself, however many layers there are."
    layers = f"{len(steps)} layer{'s' * (len(steps) > 1)}"
    return f"{geometry.seq_len} tokens in groups of {geometry.group_size}: token {query} hears back in {layers}: {way}."


def plot_boundaries(
    geometries: Sequence[S2Geometry], *, style: Style = SCREEN, axes: Sequence[Axes] | None = None
) -> np.ndarray:
    """Draw the last head under several boundary rules, side by side. Returns the axes, one a geometry.

    Raises:
        ValueError: when there are not as many `axes` as geometries.
    """
    axes = axes_for(axes, len(geometries), style, "geometry", width=0.6 * len(geometries))
    for ax, geometry in zip(axes, geometries, strict=True):
        plot_mask(geometry, geometry.num_heads - 1, style=style, ax=ax)
        ax.set_title(f"{geometry.boundary}, shift {geometry.shift}", fontsize=style.text, loc="left", color=INK)
    for ax in axes[1:]:
        ax.set_ylabel("")
    return axes


def describe_boundaries(geometries: Sequence[S2Geometry]) -> str:
    """Describe `plot_boundaries` in a sentence with its numbers."""
    parts = []
    for geometry in geometries:
        kinds = mask_kinds(geometry, geometry.num_heads - 1)
        ahead = np.count_nonzero(kinds == 2)
        parts.append(f"{geometry.boundary}, {np.count_nonzero(kinds)} pairs, {ahead or 'none'} of them in the future")
    first = geometries[0]
    return f"A shifted head over {first.seq_len} tokens in groups of {first.group_size}: {'; '.join(parts)}."


show_hops = picture_of(plot_hops, describe_hops)
show_boundaries = picture_of(plot_boundaries, describe_boundaries)
