"""Masks of single heads, and the reach of a token after some layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch, Rectangle

from ..geometry import S2Geometry
from .picture import picture_of
from .style import (
    EMPTY,
    FUTURE,
    FUTURE_HATCH,
    INK,
    MAGNITUDE,
    PLAIN,
    SCREEN,
    SHIFTED,
    Style,
    axes_for,
    dress,
    new_axes,
    percent,
    readable_on,
)

LARGEST_WITH_NUMBERS = 16


def mask_kinds(geometry: S2Geometry, head: int) -> np.ndarray:
    """int8 (n, n): what `head` allows. 0: query n (rows) may not look at key n (columns); 1: it may; 2: it may,
    and the key is in its future.

    Raises:
        ValueError: for a head that the geometry does not have.
    """
    if not 0 <= head < geometry.num_heads:
        raise ValueError(f"head must be from 0 to num_heads - 1 = {geometry.num_heads - 1}, got {head}")
    query, key = np.ogrid[: geometry.seq_len, : geometry.seq_len]
    allowed = geometry.allows(head, query, key)
    return allowed.astype(np.int8) + (allowed & (key > query))


def layers_needed(geometry: S2Geometry, num_layers: int) -> np.ndarray:
    """int (n, n): after how many layers a value at token n (columns) can arrive at token n (rows).

    0 where `num_layers` are not enough.
    """
    needed = np.where(geometry.reach(num_layers), num_layers, 0)
    for layers in range(num_layers - 1, 0, -1):
        needed[geometry.reach(layers)] = layers
    return needed


def plot_mask(geometry: S2Geometry, head: int, *, style: Style = SCREEN, ax: Axes | None = None) -> Axes:
    """Draw the mask of one head: rows look at columns, cells of the geometry are outlined, looks ahead are hatched.

    A cell that wraps is in several pieces, with dashed outlines.
    """
    kinds = mask_kinds(geometry, head)
    shifted = head in geometry.shifted_heads
    ax = new_axes(style, width=0.8, height=1.15)[0] if ax is None else ax
    ahead = np.ma.masked_not_equal(kinds, 2)
    _draw_matrix(ax, kinds, style, cmap=ListedColormap([EMPTY, SHIFTED if shifted else PLAIN, FUTURE]), vmin=0, vmax=2)
    if ahead.count():
        edges = np.arange(geometry.seq_len + 1) - 0.5
        ax.pcolor(edges, edges, ahead, cmap=ListedColormap([FUTURE]), hatch=FUTURE_HATCH, edgecolor=INK, linewidth=0)
        label = f"looks ahead: {ahead.count()} pairs"
        patch = Patch(facecolor=FUTURE, edgecolor=INK, hatch=FUTURE_HATCH, linewidth=0, label=label)
        ax.legend(handles=[patch], loc="lower left", fontsize=style.small, framealpha=1)
    for cell in geometry.cells(shifted=shifted):
        _outline(ax, cell, kinds, style)
    kind = f"shifted by {geometry.shift}" if shifted else "plain"
    return dress(ax, style, title=f"Head {head}: {kind}", x="key: is looked at", y="query: looks", grid=False)


def plot_masks(
    geometry: S2Geometry,
    *,
    heads: Sequence[int] | None = None,
    style: Style = SCREEN,
    axes: Sequence[Axes] | None = None,
) -> np.ndarray:
    """Draw the idea of S²-Attn: masks of several heads side by side, by default the first plain and first shifted one.

    Returns the axes, one a head.

    Raises:
        ValueError: when there are not as many `axes` as heads.
    """
    heads = [kind[0] for kind in (geometry.plain_heads, geometry.shifted_heads) if kind] if heads is None else heads
    axes = axes_for(axes, len(heads), style, "head", width=0.6 * len(heads))
    for ax, head in zip(axes, heads, strict=True):
        plot_mask(geometry, head, style=style, ax=ax)
    for ax in axes[1:]:
        ax.set_ylabel("")
    return axes


def plot_reach(geometry: S2Geometry, num_layers: int, *, style: Style = SCREEN, ax: Axes | None = None) -> Axes:
    """Draw after how many layers a token (row) hears another (column); grey where `num_layers` are not enough.

    Up to 16 tokens the number stands in its cell, above that a colour bar explains.
    """
    needed = layers_needed(geometry, num_layers)
    ax = new_axes(style, width=0.8, height=1.15)[0] if ax is None else ax
    colours = ListedColormap(MAGNITUDE(1 - 0.85 * 0.75 ** np.arange(num_layers)))
    values = np.ma.masked_equal(needed, 0)
    mesh = _draw_matrix(ax, values, style, cmap=colours, vmin=0.5, vmax=num_layers + 0.5)
    ax.set_facecolor(EMPTY)
    if geometry.seq_len <= LARGEST_WITH_NUMBERS:
        for row, column in np.argwhere(needed):
            layers = needed[row, column]
            colour = readable_on(colours(layers - 1))
            ax.text(column, row, str(layers), ha="center", va="center", color=colour, fontsize=0.88 * style.small)
    else:
        bar = ax.figure.colorbar(mesh, ax=ax, shrink=0.8, ticks=np.unique(np.linspace(1, num_layers, 6).astype(int)))
        bar.set_label("layers needed", fontsize=style.text)
        bar.ax.tick_params(labelsize=style.small)
    title = f"Heard within {num_layers} layer{'s' * (num_layers > 1)}"
    return dress(ax, style, title=title, x="token that is heard", y="token that hears", grid=False)


def describe_masks(geometry: S2Geometry) -> str:
    """Describe `plot_masks` in a sentence with its numbers."""
    full = geometry.seq_len * (geometry.seq_len + 1) // 2
    parts = []
    for kind, heads in (("plain", geometry.plain_heads), (f"shifted by {geometry.shift}", geometry.shifted_heads)):
        if heads:
            pairs = np.count_nonzero(mask_kinds(geometry, heads[0]))
            parts.append(f"a head {kind} computes {pairs} pairs ({percent(pairs / full)})")
    ahead = geometry.future_pairs() // len(geometry.shifted_heads)
    leak = f"{ahead} pairs of a shifted head look at the future" if ahead else "no pair looks at the future"
    return (
        f"{geometry.seq_len} tokens in groups of {geometry.group_size}: of the {full} pairs of full attention "
        f"{' and '.join(parts)}; {leak}."
    )


def describe_reach(geometry: S2Geometry, num_layers: int) -> str:
    """Describe `plot_reach` in a sentence with its numbers."""
    needed = layers_needed(geometry, num_layers)
    past = np.tri(geometry.seq_len, dtype=bool)
    first = needed[-1, 0]
    last = f"the last token hears the first after {first}" if first else "the last token does not hear the first yet"
    one, through_all = (percent(np.mean(heard)) for heard in (needed[past] == 1, needed[past] > 0))
    return (
        f"{geometry.seq_len} tokens in groups of {geometry.group_size}, shift {geometry.shift}: of what stands "
        f"before it and itself a token hears {one} after 1 layer and {through_all} after {num_layers}; {last}."
    )


def _draw_matrix(ax: Axes, values: np.ndarray, style: Style, **options):
    length = len(values)
    edges = np.arange(length + 1) - 0.5
    mesh = ax.pcolormesh(edges, edges, values, edgecolors="white", linewidth=style.line / 3 * (length <= 32), **options)
    ticks = range(0, length, -(-length // 8))
    ax.set(aspect="equal", xlim=(-0.5, length - 0.5), ylim=(length - 0.5, -0.5), xticks=ticks, yticks=ticks)
    return mesh


def _outline(ax: Axes, cell: Sequence[range], kinds: np.ndarray, style: Style) -> None:
    line = {"edgecolor": INK, "linewidth": style.line, "linestyle": "-" if len(cell) == 1 else "--"}
    for rows in cell:
        for columns in cell:
            if kinds[rows.start : rows.stop, columns.start : columns.stop].any():
                corner = (columns.start - 0.5, rows.start - 0.5)
                ax.add_patch(Rectangle(corner, len(columns), len(rows), fill=False, clip_on=False, zorder=3, **line))


show_mask = picture_of(plot_mask, describe_masks)
show_masks = picture_of(plot_masks, describe_masks)
show_reach = picture_of(plot_reach, describe_reach)
