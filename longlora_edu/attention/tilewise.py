"""A kernel called tile by tile, forward and backward, on the output and the gradients where they will stay.

Left to autograd, the pieces of the output are kept for the backward pass beside the output that they were joined to,
and the pieces of the gradients wait for each other. Here a piece is written to its place and forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from .tiles import Tile, Whole, cut, in_cells, join, place, room_for

# In numbers of q: a tile of more is worked on a stretch of cells at a time.
MOST_AT_ONCE = 2**18


class Kernel(Protocol):
    """Causal attention over a piece (c h g d), c cells of g tokens.

    Written twice, with equal results: `plain`, for autograd to differentiate, and `forward` with `backward` by hand.
    """

    plain_alone: bool  # Is `plain` as good where one tile holds everything, so that nothing is joined?

    def plain(self, q: Tensor, k: Tensor, v: Tensor, scale: float | None) -> Tensor:
        """Compute the output in operations that PyTorch differentiates, compiles and transforms."""
        ...

    def fits(self, q: Tensor, k: Tensor, v: Tensor, scale: float | None) -> bool:
        """Tell whether `forward` can compute this piece. Where it cannot, call `plain`, which takes every piece."""
        ...

    def cells_at_once(self, q: Tensor) -> int:
        """Return the number of cells of the piece q to take at a time."""
        ...

    def forward(self, q: Tensor, k: Tensor, v: Tensor, scale: float | None) -> tuple[Tensor, Tensor | None]:
        """Compute the output, and what `backward` needs of it besides."""
        ...

    def backward(
        self, grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, kept: Tensor | None, scale: float | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the gradients of q, k and v."""
        ...


def over_tiles(q: Tensor, k: Tensor, v: Tensor, tiles: list[Tile], kernel: Kernel, scale: float | None) -> Tensor:
    """Compute (b h n d) from q, k and v (b h n d), every query head with its own keys; 0 where no tile lies."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    shape = (q.shape[0], q.shape[1], q.shape[2])
    traced = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
    alone = len(tiles) == 1 and kernel.plain_alone
    if traced or alone or not kernel.fits(*_pieces(q, k, v, tiles[0]), scale):
        pieces = zip(cut(q, tiles), cut(k, tiles), cut(v, tiles), strict=True)
        return join([kernel.plain(q, k, v, scale) for q, k, v in pieces], tiles, shape).transpose(1, 2)
    parts = [part for tile in tiles for part in _parts(tile, kernel.cells_at_once(_piece(q, tile)))]
    return _Tilewise.apply(q, k, v, Whole(shape, parts), kernel, scale).transpose(1, 2)


class _Tilewise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, whole: Whole, kernel: Kernel, scale: float | None) -> Tensor:
        out, kept = room_for(v, whole), []
        for tile in whole.tiles:
            piece, more = kernel.forward(*_pieces(q, k, v, tile), scale)
            place(out, tile, piece)
            kept.append(more)
        ctx.save_for_backward(q, k, v, out, *kept)
        ctx.rest = whole, kernel, scale
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:  # pyrefly: ignore[bad-override]
        q, k, v, out, *kept = ctx.saved_tensors
        whole, kernel, scale = ctx.rest
        grads = [room_for(x, whole) for x in (q, k, v)]
        for tile, more in zip(whole.tiles, kept, strict=True):
            grad_piece, *qkv_pieces, out_piece = (_piece(x, tile) for x in (grad, q, k, v, out))
            found = kernel.backward(grad_piece, *qkv_pieces, out_piece, more, scale)
            for full, piece in zip(grads, found, strict=True):
                place(full, tile, piece)
        return *grads, None, None, None


def _pieces(q: Tensor, k: Tensor, v: Tensor, tile: Tile) -> tuple[Tensor, Tensor, Tensor]:
    return _piece(q, tile), _piece(k, tile), _piece(v, tile)


def _piece(x: Tensor, tile: Tile) -> Tensor:
    return in_cells(x[:, :, tile.heads.start : tile.heads.stop], tile).transpose(1, 2)


def _parts(tile: Tile, most: int) -> Iterator[Tile]:
    """Cut a tile into tiles of at most `most` cells, by sequences first."""
    (tokens, *more), size = tile.ranges, tile.size
    a_row = sum(map(len, tile.ranges)) // size
    if a_row * len(tile.rows) <= most or more:
        yield tile
    elif a_row <= most or len(tile.rows) > 1:
        step = max(1, most // a_row)
        for start in range(tile.rows.start, tile.rows.stop, step):
            some = range(start, min(start + step, tile.rows.stop))
            yield from _parts(Tile(tile.heads, some, tile.ranges, size), max(most, 1))
    else:
        for start in range(tokens.start, tokens.stop, most * size):
            yield Tile(tile.heads, tile.rows, (range(start, min(start + most * size, tokens.stop)),), size)
