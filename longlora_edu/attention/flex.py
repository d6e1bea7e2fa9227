"""`impl="flex"`: FlexAttention compiles the geometry's rule into a kernel."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from ..geometry import S2Geometry
from .sdpa import as_read_by, in_one_dtype, lost_tokens, may_hold, zero_at_padding


def flex_attention(
    q: Tensor, k: Tensor, v: Tensor, geometry: S2Geometry, segments: Tensor | None, scale: float | None, dropout: float
) -> Tensor:
    """Compute (b h n d): compiled on CUDA; elsewhere uncompiled, with every score computed and no backward.

    Plain and shifted heads are a call each, with a plan of blocks for one head: once for each geometry, and for each
    call with segments. A second length compiles once more, for all lengths; under boundary "wrap" or "masked", whose
    rule has the length in it, every length does.

    Raises:
        ValueError: for dropout, and for a gradient where there is no backward.
    """
    if dropout > 0:
        raise ValueError(f"dropout must be 0 under impl='flex', got {dropout}")
    wants_grad = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))
    if wants_grad and not q.is_cuda:
        raise ValueError(
            f"q, k and v must need no gradient under impl='flex' on {q.device.type}, where FlexAttention has no "
            "backward, got tensors that do: use impl='grouped'"
        )
    q, k, v = in_one_dtype(q, k, v)
    if segments is not None:
        q, k, v = (zero_at_padding(x, segments) for x in (q, k, v))
    lost_q, lost = lost_tokens(q), lost_tokens(k) | lost_tokens(v)
    if careful := may_hold(lost_q, lost):
        # Forbidden scores are replaced, not added to, so a NaN among the keys reaches those who may see it and no
        # others. Among the values it would reach all: 0 * NaN is NaN.
        q, k, v = q.masked_fill(lost_q, 0), k.masked_fill(lost, math.nan), v.masked_fill(lost, 0)
    attend = _attention if not q.is_cuda or torch.compiler.is_compiling() else _compiled(_attention)
    outputs = []
    for heads in _halves(geometry):
        ask = geometry, heads
        blocks = _blocks(*ask, q.device) if segments is None else _plan(*ask, segments, q.device)
        outputs.append(attend(q[:, heads[0] : heads[-1] + 1], *_read_by(heads, k, v, q), blocks, scale))
    out = torch.cat(outputs, dim=1) if len(outputs) > 1 else outputs[0]
    return zero_at_padding(out.masked_fill(lost_q, math.nan) if careful else out, segments)


def _attention(q: Tensor, k: Tensor, v: Tensor, blocks, scale: float | None) -> Tensor:
    from torch.nn.attention.flex_attention import flex_attention

    return flex_attention(q, k, v, block_mask=blocks, scale=scale, enable_gqa=q.shape[1] != k.shape[1])


def _read_by(heads: range, k: Tensor, v: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values of some heads: views where they begin and end with a group that shares them, else copies."""
    share = q.shape[1] // k.shape[1]
    if heads[0] % share or len(heads) % share:
        return as_read_by(heads, k, q), as_read_by(heads, v, q)
    first, stop = heads[0] // share, (heads[-1] + 1) // share
    return k[:, first:stop], v[:, first:stop]


def _halves(geometry: S2Geometry) -> list[range]:
    """List the heads by rule: two halves; for relatives of S²-Attn, which may have a rule a head, all as one."""
    if type(geometry) is not S2Geometry:
        return [range(geometry.num_heads)]
    return [heads for heads in (geometry.plain_heads, geometry.shifted_heads) if heads]


def _rule(geometry: S2Geometry, heads: range, segments: Tensor | None = None) -> Callable:
    """Return the mask as a function, as FlexAttention asks it: (row, head of the call, query, key) -> may look."""
    first, one = heads[0], type(geometry) is S2Geometry
    if one and geometry.boundary == "split":
        geometry = replace(geometry, seq_len=1)  # the rule is the same at any length, and this one is compiled in

    def cells(head, query, key):
        return geometry.allows(first if one else first + head, query, key)

    if segments is None:
        return lambda row, head, query, key: cells(head, query, key)
    return lambda row, head, query, key: cells(head, query, key) & (segments[row, query] == segments[row, key])


@lru_cache(maxsize=16)  # tensors on the device
def _blocks(geometry: S2Geometry, heads: range, device: torch.device):
    return _plan(geometry, heads, None, device)


def _plan(geometry: S2Geometry, heads: range, segments: Tensor | None, device: torch.device):
    """Plan the blocks to compute, as a `BlockMask`: of one head where all of `heads` follow one rule."""
    from torch.nn.attention.flex_attention import create_block_mask

    # Compiled, the plan is made without the mask of n n that it sums up.
    create = _compiled(create_block_mask) if device.type == "cuda" else create_block_mask
    batch = None if segments is None else segments.shape[0]
    several = None if type(geometry) is S2Geometry else len(heads)
    rule, length = _rule(geometry, heads, segments), geometry.seq_len
    return create(rule, batch, several, length, length, device=device)


@lru_cache(maxsize=4)
def _compiled(function: Callable) -> Callable:
    return torch.compile(function)
