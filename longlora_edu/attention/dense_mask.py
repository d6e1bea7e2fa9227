"""`impl="dense_mask"`: dense attention under the geometry's rule as a mask."""

from __future__ import annotations

import torch
from torch import Tensor

from ..geometry import S2Geometry
from .sdpa import as_read_by, same_segment, scaled_dot_product, zero_at_padding


def dense_mask_attention(
    q: Tensor, k: Tensor, v: Tensor, geometry: S2Geometry, segments: Tensor | None, scale: float | None, dropout: float
) -> Tensor:
    """Compute (b h n d) with a mask of h n n bytes, b h n n with segments, and PyTorch's copy of it."""
    head, token = (torch.arange(size, device=q.device) for size in q.shape[1:3])
    # The leading axis keeps PyTorch on its fused path: three axes would send it to the slow one.
    mask = geometry.allows(head[:, None, None], token[:, None], token)[None]
    if segments is not None:
        mask = mask & same_segment(segments)
        q, k, v = (zero_at_padding(x, segments) for x in (q, k, v))
    k, v = (as_read_by(range(q.shape[1]), x, q) for x in (k, v))
    return zero_at_padding(scaled_dot_product(q, k, v, mask, scale, dropout), segments)
