"""`impl="flex"`: FlexAttention compiles the geometry's rule into a kernel."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, lru_cache

import torch
from torch import Tensor

from ..geometry import S2Geometry
from .sdpa import lost_tokens, may_hold, zero_at_padding


def flex_attention(
    q: Tensor, k: Tensor, v: Tensor, geometry: S2Geometry, segments: Tensor | None, scale: float | None, dropout: float
) -> Tensor:
    """Compute (b h n d): compiled on CUDA; elsewhere uncompiled, with every score computed and no backward.

    A plan of blocks is made once for each geometry, and for each call with segments.

    Raises:
        ValueError: for dropout, and for a gradient where there is no backward.
    """
    from torch.nn.attention import flex_attention as flex

    if dropout > 0:
        raise ValueError(f"dropout must be 0 under impl='flex', got {dropout}")
    wants_grad = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))
    if wants_grad and not q.is_cuda:
        raise ValueError(
            f"q, k and v must need no gradient under impl='flex' on {q.device.type}, where FlexAttention has no "
            "backward, got tensors that do: use impl='grouped'"
        )
    if segments is None:
        blocks = _blocks(geometry, q.device)
    else:
        q, k, v = (zero_at_padding(x, segments) for x in (q, k, v))

        def rule(row, head, query, key):
            return geometry.allows(head, query, key) & (segments[row, query] == segments[row, key])

        blocks = _plan(rule, q.shape[0], geometry, q.device)
    lost_q, lost = lost_tokens(q), lost_tokens(k) | lost_tokens(v)
    if careful := may_hold(lost_q, lost):
        # Forbidden scores are replaced, not added to, so a NaN among the keys reaches those who may see it and no
        # others. Among the values it would reach all: 0 * NaN is NaN.
        q, k, v = q.masked_fill(lost_q, 0), k.masked_fill(lost, math.nan), v.masked_fill(lost, 0)
    attend = _compiled() if q.is_cuda and not torch.compiler.is_compiling() else flex.flex_attention
    out = attend(q, k, v, block_mask=blocks, scale=scale, enable_gqa=q.shape[1] != k.shape[1])
    return zero_at_padding(out.masked_fill(lost_q, math.nan) if careful else out, segments)


@lru_cache(maxsize=16)  # tensors on the device
def _blocks(geometry: S2Geometry, device: torch.device):
    return _plan(lambda row, head, query, key: geometry.allows(head, query, key), None, geometry, device)


def _plan(rule: Callable, batch: int | None, geometry: S2Geometry, device: torch.device):
    from torch.nn.attention.flex_attention import create_block_mask

    heads, length = geometry.num_heads, geometry.seq_len
    # Compiled, the plan is made without the mask of h n n that it sums up.
    return create_block_mask(rule, batch, heads, length, length, device=device, _compile=device.type == "cuda")


@cache
def _compiled():
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)
