"""Helpers that all implementations share: the call into PyTorch, shared keys, documents and padding."""

from __future__ import annotations

import torch.nn.functional as F
from einops import repeat
from torch import Tensor


def scaled_dot_product(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None, dropout: float
) -> Tensor:
    """Call PyTorch's attention: (b h n d). No mask means causal, which is faster than a causal mask."""
    return F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal=mask is None, scale=scale)


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
