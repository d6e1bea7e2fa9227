"""`impl="grouped"`: cells become rows of a batch under plain causal attention; memory is linear in n."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend

from ..geometry import S2Geometry
from .sdpa import as_read_by, in_one_dtype, same_segment, scaled_dot_product, zero_at_padding
from .tiles import cut, in_cells, join, tiles_of, tiles_of_documents
from .tilewise import MOST_AT_ONCE, Kernel, over_tiles


def grouped_attention(
    q: Tensor, k: Tensor, v: Tensor, geometry: S2Geometry, segments: Tensor | None, scale: float | None, dropout: float
) -> Tensor:
    """Compute (b h n d). On CPU documents cut the cells; elsewhere, and while compiling, a mask keeps them apart.

    Raises:
        ValueError: for dropout on CPU, where only a mask has it.
    """
    if dropout > 0 and q.device.type == "cpu":
        raise ValueError(f"dropout must be 0 on cpu under impl='grouped', got {dropout}: use impl='dense_mask'")
    return attend_in_tiles(q, k, v, geometry, segments, scale, _Fused(dropout), dropout)


def attend_in_tiles(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    geometry: S2Geometry,
    segments: Tensor | None,
    scale: float | None,
    kernel: Kernel,
    dropout: float = 0.0,
) -> Tensor:
    """Cut cells, and documents in them, into tiles and call `kernel` on each: (b h n d).

    Documents on a device cannot be read without waiting for it. There, and while compiling, whole cells are the tiles,
    and PyTorch's attention with a mask takes the place of `kernel`.
    """
    q, k, v = in_one_dtype(q, k, v)
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
    if masked is None:
        return over_tiles(q, k, v, tiles, kernel, scale)

    def attend(tile, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        mask = same_segment(in_cells(masked, tile)).tril()
        return scaled_dot_product(q, k, v, mask, scale, dropout)

    pieces = zip(*(cut(x.transpose(1, 2), tiles) for x in (q, k, v)), strict=True)
    out = [attend(tile, *piece) for tile, piece in zip(tiles, pieces, strict=True)]
    joined = join(out, tiles, (q.shape[0], q.shape[2], q.shape[1])).transpose(1, 2)
    return zero_at_padding(joined, masked)


class _Fused:
    """The kernel: PyTorch's own, and where that is the fused one for CPUs, its two halves by name.

    They have no public name. `fits` asks PyTorch what it would call, and anything else is left to it.
    """

    plain_alone = True  # its output is then the output, without a copy

    def __init__(self, dropout: float) -> None:
        self.dropout = dropout

    def plain(self, q: Tensor, k: Tensor, v: Tensor, scale: float | None) -> Tensor:
        return scaled_dot_product(q, k, v, None, scale, self.dropout)

    def fits(self, q: Tensor, k: Tensor, v: Tensor, scale: float | None) -> bool:
        if q.device.type != "cpu":
            return False
        return torch._fused_sdp_choice(q, k, v, None, 0.0, True, scale=scale) == SDPBackend.FLASH_ATTENTION.value

    def cells_at_once(self, q: Tensor) -> int:
        return max(1, MOST_AT_ONCE // q[0].numel())

    def forward(self, q: Tensor, k: Tensor, v: Tensor, scale: float | None) -> tuple[Tensor, Tensor]:
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, True, scale=scale)

    def backward(
        self, grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, kept: Tensor | None, scale: float | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
        return backward(grad, q, k, v, out, kept, 0.0, True, scale=scale)


def _read(segments: Tensor) -> np.ndarray | None:
    """Return the numbers of the documents; None on a device, while compiling and under torch.func."""
    if segments.device.type != "cpu" or torch.compiler.is_compiling():
        return None
    try:
        return segments.numpy()
    except RuntimeError:  # a transform of torch.func is at work, under which no tensor has numbers yet
        return None
