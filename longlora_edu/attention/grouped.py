"""`impl="grouped"`: cells become rows of a batch under plain causal attention; memory is linear in n."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..geometry import S2Geometry
from .sdpa import as_read_by, same_segment, scaled_dot_product, zero_at_padding
from .tiles import cut, in_cells, join, tiles_of, tiles_of_documents


def grouped_attention(
    q: Tensor, k: Tensor, v: Tensor, geometry: S2Geometry, segments: Tensor | None, scale: float | None, dropout: float
) -> Tensor:
    """Compute (b h n d). On CPU documents cut the cells; where they cannot be read at once, a mask does.

    Raises:
        ValueError: for dropout on CPU, where only a mask has it.
    """
    if dropout > 0 and q.device.type == "cpu":
        raise ValueError(f"dropout must be 0 on cpu under impl='grouped', got {dropout}: use impl='dense_mask'")
    documents = None if segments is None else _read(segments)
    if documents is not None:
        tiles, masked = tiles_of_documents(geometry, documents), None
    else:
        tiles, masked = tiles_of(geometry, q.shape[0]), segments
    if not tiles or masked is not None:
        q, k, v = (zero_at_padding(x, segments) for x in (q, k, v))
    k, v = (as_read_by(range(q.shape[1]), x, q) for x in (k, v))
    if not tiles:  # padding everywhere: zeros that depend on all three, so that a backward pass finds its way
        return q[..., :1] + k[..., :1] + v

    def mask(tile) -> Tensor | None:
        return None if masked is None else same_segment(in_cells(masked, tile)).tril()

    pieces = zip(*(cut(x.transpose(1, 2), tiles) for x in (q, k, v)), strict=True)
    out = [
        scaled_dot_product(q, k, v, mask(tile), scale, dropout) for tile, (q, k, v) in zip(tiles, pieces, strict=True)
    ]
    joined = join(out, tiles, (q.shape[0], q.shape[2], q.shape[1])).transpose(1, 2)
    return zero_at_padding(joined, masked)


def _read(segments: Tensor) -> np.ndarray | None:
    """Return the numbers of the documents; None where they cannot be read at once."""
    if segments.device.type != "cpu" or torch.compiler.is_compiling():
        return None
    try:
        return segments.numpy()
    except RuntimeError:  # a transform of torch.func is at work, under which no tensor has numbers yet
        return None
