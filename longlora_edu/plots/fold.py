"""A sequence folded into a batch: the cells of a head as rows, which is all that the fast form does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ..geometry import Cell, S2Geometry
from .picture import picture_of
from .style import FUTURE, FUTURE_HATCH, INK, PLAIN, SCREEN, SHIFTED, Style, axes_for, new_axes, readable_on

ROOM = 0.35  # between one cell and the next


def plot_fold(geometry: S2Geometry, *, head: int = -1, style: Style = SCREEN, ax: Axes | None = None) -> Axes:
    """Draw the tokens of one head in a line, cut into its cells, and below them the cells as rows of a batch.

    In a row causality runs from left to right. Under `boundary="wrap"` the first tokens stand at the end of a row:
    they are hatched, for what stands to the left of them is their future. `head` may count from the end.

    Raises:
        ValueError: for a head that the geometry does not have.
    """
    cells, shifted = _cells(geometry, head)
    ax = new_axes(style, width=0.9, height=0.35 + 0.2 * len(cells))[0] if ax is None else ax
    colour = SHIFTED if shifted else PLAIN
    line = sorted((piece for cell in cells for piece in cell), key=lambda piece: piece.start)
    x = 0.0
    for piece in line:
        _tokens(ax, x, 0.0, piece, colour, style, late=False)
        x += len(piece) + ROOM
    right = x - ROOM
    for row, cell in enumerate(cells):
        x, y, earlier = 0.0, 1.8 + 1.25 * row, -1
        for piece in cell:
            _tokens(ax, x, y, piece, colour, style, late=piece.start < earlier)
            x, earlier = x + len(piece), piece.start
        ax.text(x + 0.4, y + 0.5, f"row {row}", va="center", fontsize=style.small, color=INK)
    kind = f"shifted by {geometry.shift}, {geometry.boundary}" if shifted else "plain head"
    ax.set_title(f"{kind}: {len(cells)} rows", fontsize=style.text, loc="left", color=INK)
    ax.set(xlim=(-0.15, max(right, geometry.group_size + 2) + 0.15), ylim=(1.8 + 1.25 * len(cells), -0.15))
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax


def plot_folds(
    geometries: Sequence[tuple[S2Geometry, int]], *, style: Style = SCREEN, axes: Sequence[Axes] | None = None
) -> np.ndarray:
    """Draw `plot_fold` of several (geometry, head) beside each other.

    Raises:
        ValueError: when there are not as many `axes` as pairs.
    """
    rows = max(len(_cells(geometry, head)[0]) for geometry, head in geometries)
    size = {"width": 0.8 * len(geometries), "height": 0.35 + 0.17 * rows}
    axes = axes_for(axes, len(geometries), style, "head", **size)
    for ax, (geometry, head) in zip(axes, geometries, strict=True):
        plot_fold(geometry, head=head, style=style, ax=ax)
    # One scale for all, the lines of tokens at one height.
    right, bottom = max(ax.get_xlim()[1] for ax in axes), max(ax.get_ylim()[0] for ax in axes)
    for ax in axes:
        ax.set(xlim=(-0.15, right), ylim=(bottom, -0.15))
    return axes


def describe_fold(geometry: S2Geometry, *, head: int = -1) -> str:
    """Describe `plot_fold` in a sentence with its numbers."""
    cells, shifted = _cells(geometry, head)
    rows = ", ".join(" then ".join(_span(piece) for piece in cell) for cell in cells)
    kind = f"shifted by {geometry.shift}, boundary {geometry.boundary!r}" if shifted else "plain"
    return f"{geometry.seq_len} tokens of a head ({kind}) as {len(cells)} rows of a batch: tokens {rows}."


def describe_folds(geometries: Sequence[tuple[S2Geometry, int]]) -> str:
    """Describe `plot_folds`, one sentence for each geometry."""
    return " ".join(describe_fold(geometry, head=head) for geometry, head in geometries)


def _cells(geometry: S2Geometry, head: int) -> tuple[tuple[Cell, ...], bool]:
    if not -geometry.num_heads <= head < geometry.num_heads:
        raise ValueError(f"head must be from 0 to num_heads - 1 = {geometry.num_heads - 1}, got {head}")
    shifted = head % geometry.num_heads in geometry.shifted_heads
    return geometry.cells(shifted=shifted), shifted


def _span(piece: range) -> str:
    return f"{piece.start} to {piece.stop - 1}" if len(piece) > 1 else f"{piece.start}"


def _tokens(ax: Axes, x: float, y: float, piece: range, colour: str, style: Style, *, late: bool) -> None:
    face = FUTURE if late else colour
    look = {"facecolor": face, "edgecolor": "white", "linewidth": style.line / 2}
    text = {"ha": "center", "va": "center", "fontsize": style.text, "color": readable_on(face)}
    if late:
        look |= {"hatch": FUTURE_HATCH}
        text |= {"bbox": {"facecolor": face, "edgecolor": "none", "pad": 1}}
    for place, token in enumerate(piece):
        ax.add_patch(Rectangle((x + place, y), 1, 1, **look))
        ax.text(x + place + 0.5, y + 0.5, str(token), **text)
    ax.add_patch(Rectangle((x, y), len(piece), 1, fill=False, edgecolor=INK, linewidth=style.line))


show_folds = picture_of(plot_folds, describe_folds)
