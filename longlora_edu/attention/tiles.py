"""Tiles: blocks of (sequences, tokens, heads), cut into cells of one size with plain causal attention in each.

2 sequences of 12 tokens, 4 heads, groups of 4, shift 2, "split"; a letter is a token, | ends a cell:

    sequence 0   heads 0, 1   AAAA|AAAA|AAAA
                 heads 2, 3   BB|CCCC|CCCC|EE
    sequence 1   heads 0, 1   AAAA|AAAA|AAAA
                 heads 2, 3   BB|DDDD|DDDD|EE

Five tiles hold all cells. Cells of one size that lie side by side share a tile: A is 6 cells of 4 tokens, one call into
PyTorch. C and D have the same shape and stay apart, since tokens 2 to 9 of two sequences do not follow one another in
memory, so no view joins them. B and E have a single cell in each sequence, which a view does join.

With documents in a sequence, cells end where the document changes, and padding lies in no tile:

    documents    0 and 1      000000 1111 padding
                 heads 0, 1   AAAA|BB|BB|BB|..
                 heads 2, 3   CC|DDDD|DDDD|..

`cut` takes x (b n h d), as a model projects it, to pieces (c h g d), c cells of g tokens. `join` puts them together.
Cutting copies nothing where ranges and memory allow, joining copies once. Both have a gradient of their own: autograd
would fill a tensor of the whole size with zeros for every piece, and add them up.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..geometry import Cell, S2Geometry


@dataclass(frozen=True)
class Tile:
    """Tokens of `ranges`, read in turn, of the sequences `rows` and of `heads`, cut into cells of `size` tokens."""

    heads: range
    rows: range
    ranges: Cell
    size: int


def tiles_of(geometry: S2Geometry, batch: int) -> list[Tile]:
    """List the tiles of all heads of `batch` sequences: full cells side by side in one tile, any other in its own."""
    tiles = []
    for heads, cells in _halves(geometry):
        for ranges, size in _side_by_side(cells):
            tokens = sum(map(len, ranges))
            # Cells from the middle of several sequences do not follow one another in memory.
            whole = tokens in (size, geometry.seq_len)
            rows = [range(batch)] if whole else [range(row, row + 1) for row in range(batch)]
            tiles += [Tile(heads, some, ranges, size) for some in rows]
    return tiles


def tiles_of_documents(geometry: S2Geometry, segments: np.ndarray) -> list[Tile]:
    """List the tiles of all heads, cut where the document changes, without padding. `segments`: integers (b n)."""
    tiles = []
    for row, ids in enumerate(segments):
        runs = _runs(ids)
        for heads, cells in _halves(geometry):
            parts = (part for cell in cells for part in _documents(cell, runs))
            tiles += [Tile(heads, range(row, row + 1), *group) for group in _side_by_side(parts)]
    return tiles


def cut(x: Tensor, tiles: list[Tile]) -> tuple[Tensor, ...]:
    """Cut x (b n h d) into pieces (c h g d), one a tile: views where ranges and memory allow."""
    if len(tiles) == 1:
        return (_piece(x, tiles[0]),)
    return (_CompiledCut if torch.compiler.is_compiling() else _Cut).apply(x, Whole(x.shape[:3], tiles))


def join(pieces: Iterable[Tensor], tiles: list[Tile], shape: tuple[int, int, int]) -> Tensor:
    """Put `pieces` together as (b n h d) of `shape` (b, n, h): 0 where no tile lies."""
    pieces = tuple(pieces)
    if len(tiles) == len(tiles[0].ranges) == 1 and _covered(tiles) == math.prod(shape):
        return _tokens(pieces[0], tiles[0])  # a view
    return (_CompiledJoin if torch.compiler.is_compiling() else _Join).apply(Whole(shape, tiles), *pieces)


def in_cells(x: Tensor, tile: Tile) -> Tensor:
    """Take the tokens of a tile from x (b n ...), cell by cell, over all heads: (c g ...)."""
    parts = [x[tile.rows.start : tile.rows.stop, tokens.start : tokens.stop] for tokens in tile.ranges]
    tokens = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
    return tokens.unflatten(1, (-1, tile.size)).flatten(0, 1)


@dataclass(frozen=True)
class Whole:
    """Shape (b, n, h) of a tensor and the tiles in it, as one value: torch.func would take a list of them apart."""

    shape: tuple[int, ...]
    tiles: list[Tile]


class _Cut(torch.autograd.Function):
    """Cut a tensor into tiles. Linear, so its backward is `_Join`, and its derivative in any direction is itself."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, whole: Whole) -> tuple[Tensor, ...]:
        return tuple(_piece(x, tile) for tile in whole.tiles)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Whole], output: tuple[Tensor, ...]) -> None:
        ctx.whole = inputs[1]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:  # pyrefly: ignore[bad-override]
        return _Join.apply(ctx.whole, *grads), None

    @staticmethod
    def jvp(ctx: Any, direction: Tensor, _: None) -> tuple[Tensor, ...]:  # pyrefly: ignore[bad-override]
        return _Cut.apply(direction, ctx.whole)


class _Join(torch.autograd.Function):
    """Put tiles together. Linear, so its backward is `_Cut`; room between tiles takes no part."""

    generate_vmap_rule = True

    @staticmethod
    def forward(whole: Whole, *pieces: Tensor) -> Tensor:
        return _filled(whole, pieces)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.whole = inputs[0]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, *tuple[Tensor, ...]]:  # pyrefly: ignore[bad-override]
        return None, *_Cut.apply(grad, ctx.whole)

    @staticmethod
    def jvp(ctx: Any, _: None, *directions: Tensor) -> Tensor:  # pyrefly: ignore[bad-override]
        return _Join.apply(ctx.whole, *directions)


# The same for torch.compile, which takes neither forward mode nor, without a gradient, `setup_context`.
class _CompiledCut(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, whole: Whole) -> tuple[Tensor, ...]:
        ctx.whole = whole
        return tuple(_piece(x, tile) for tile in whole.tiles)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:  # pyrefly: ignore[bad-override]
        return _filled(ctx.whole, grads), None


class _CompiledJoin(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, whole: Whole, *pieces: Tensor) -> Tensor:
        ctx.whole = whole
        return _filled(whole, pieces)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, *tuple[Tensor, ...]]:  # pyrefly: ignore[bad-override]
        return None, *(_piece(grad, tile) for tile in ctx.whole.tiles)


def _piece(x: Tensor, tile: Tile) -> Tensor:
    return in_cells(x[:, :, tile.heads.start : tile.heads.stop], tile).transpose(1, 2)


def room_for(x: Tensor, whole: Whole) -> Tensor:
    """Allocate (b n h d), as wide as x and of its dtype: uninitialised where the tiles cover all, else zeros."""
    full = _covered(whole.tiles) == math.prod(whole.shape)
    return (x.new_empty if full else x.new_zeros)((*whole.shape, x.shape[-1]))


def place(filled: Tensor, tile: Tile, piece: Tensor) -> None:
    """Write a piece (c h g d) into `filled` (b n h d), where its tile lies."""
    tokens = _tokens(piece, tile)
    there = filled[tile.rows.start : tile.rows.stop, :, tile.heads.start : tile.heads.stop]
    for part, values in zip(tile.ranges, tokens.split([len(r) for r in tile.ranges], dim=1), strict=True):
        there[:, part.start : part.stop] = values


def _filled(whole: Whole, pieces: tuple[Tensor, ...]) -> Tensor:
    filled = room_for(pieces[0], whole)
    for tile, piece in zip(whole.tiles, pieces, strict=True):
        place(filled, tile, piece)
    return filled


def _tokens(piece: Tensor, tile: Tile) -> Tensor:
    """Undo `_piece`: (c h g d) to (rows, tokens, h, d)."""
    return piece.transpose(1, 2).unflatten(0, (len(tile.rows), -1)).flatten(1, 2)


def _covered(tiles: list[Tile]) -> int:
    """Count the (sequence, token, head) triples that the tiles hold."""
    return sum(len(tile.heads) * len(tile.rows) * sum(map(len, tile.ranges)) for tile in tiles)


def _halves(geometry: S2Geometry) -> list[tuple[range, tuple[Cell, ...]]]:
    """Pair heads with their cells: two halves, or all heads at once where both have the same cells."""
    plain, shifted = geometry.cells(shifted=False), geometry.cells(shifted=True)
    if plain == shifted or not geometry.plain_heads:
        return [(range(geometry.num_heads), shifted)]
    return [(geometry.plain_heads, plain), (geometry.shifted_heads, shifted)]


def _side_by_side(cells: Iterable[Cell]) -> list[tuple[Cell, int]]:
    """Join neighbouring cells of one size: their tokens, and the size of each cell."""
    groups: list[tuple[Cell, int]] = []
    for cell in cells:
        size = sum(map(len, cell))
        ranges, before = groups[-1] if groups else ((), 0)
        if before == size and len(ranges) == len(cell) == 1 and ranges[0].stop == cell[0].start:
            groups[-1] = ((range(ranges[0].start, cell[0].stop),), size)
        else:
            groups.append((cell, size))
    return groups


def _documents(cell: Cell, runs: list[tuple[int, int, int]]) -> list[Cell]:
    """Split the tokens of a cell by document, in the order in which the cell reads them."""
    found: dict[int, list[range]] = {}
    for part in cell:
        for start, stop, document in runs[bisect_right(runs, part.start, key=lambda run: run[1]) :]:
            if start >= part.stop:
                break
            found.setdefault(document, []).append(range(max(start, part.start), min(stop, part.stop)))
    return [tuple(ranges) for ranges in found.values()]


def _runs(ids: np.ndarray) -> list[tuple[int, int, int]]:
    """List (start, stop, document) of each stretch of one document, in order, without padding."""
    borders = [0, *(np.flatnonzero(ids[1:] != ids[:-1]) + 1).tolist(), len(ids)]
    return [(start, stop, int(ids[start])) for start, stop in pairwise(borders) if ids[start] >= 0]
