"""Helpers that all implementations share: the call into PyTorch, shared keys, documents and padding."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import repeat
from torch import Tensor


def scaled_dot_product(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None, dropout: float
) -> Tensor:
    """Call PyTorch's attention: (b h n d). `mask` is bool, True where a query sees a key.

    None means causal, which is faster than a causal mask. Under a mask, a key or value that is not finite makes NaN of
    the tokens that see it and of no others. PyTorch alone spreads it to all: their weight is 0, and 0 * NaN is NaN.
    """
    if mask is None:
        return F.scaled_dot_product_attention(q, k, v, None, dropout, is_causal=True, scale=scale)
    lost_q, lost_k, lost_v = (lost_tokens(x) for x in (q, k, v))
    lost = lost_k | lost_v
    if not may_hold(lost_q, lost):
        return F.scaled_dot_product_attention(q, k, v, mask, dropout, scale=scale)
    q, k, v = q.masked_fill(lost_q, 0), k.masked_fill(lost, 0), v.masked_fill(lost, 0)
    out = F.scaled_dot_product_attention(q, k, v, mask, dropout, scale=scale)
    sees_lost = mask.to(out.dtype) @ lost.to(out.dtype) > 0
    return out.masked_fill(lost_q | sees_lost, math.nan)


def in_one_dtype(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Bring tensors to the dtype that autocast computes in, where it is on: rotary positions leave q and k behind."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(x if x.dtype == torch.float64 else x.to(dtype) for x in tensors)


def lost_tokens(x: Tensor) -> Tensor:
    """bool (b h n 1): tokens of x (b h n d) that hold a NaN or an infinity."""
    return ~x.isfinite().all(dim=-1, keepdim=True)


def may_hold(*marks: Tensor) -> bool:
    """Return whether one of these bool tensors has a True; also True where reading them means waiting for a device."""
    if marks[0].device.type != "cpu" or torch.compiler.is_compiling():
        return True
    try:
        return any(bool(mark.any()) for mark in marks)
    except RuntimeError:  # a transform of torch.func is at work, under which no tensor has numbers yet
        return True


def as_read_by(heads: range, x: Tensor, q: Tensor) -> Tensor:
    """Give each of `heads`, some query heads of q, the keys or values (b hk n d) that it reads: (b len(heads) n d).

    A view where every query head has its own; else a copy, but of no key/value head that none of `heads` reads.
    """
    share = q.shape[1] // x.shape[1]
    if len(heads) == x.shape[1] and share == 1:
        return x  # the gradient of a slice is a copy, even of a slice of everything
    first, last = heads[0] // share, heads[-1] // share
    # Laid out as (b n h d), in which cutting tokens into cells is a view.
    x = repeat(x[:, first : last + 1], "b hk n d -> b n (hk share) d", share=share)
    return x.narrow(2, heads[0] - first * share, len(heads)).transpose(1, 2)


def same_segment(segments: Tensor) -> Tensor:
    """Return bool (b 1 n n). Padding sees padding, so that no row is empty; `zero_at_padding` clears it afterwards."""
    return (segments[:, :, None] == segments[:, None, :])[:, None]


def zero_at_padding(x: Tensor, segments: Tensor | None) -> Tensor:
    """Set (b h n d) to zero where `segments` (b n) says padding. For inputs too: 0 * NaN is NaN in a sum."""
    return x if segments is None else x.masked_fill((segments < 0)[:, None, :, None], 0)
