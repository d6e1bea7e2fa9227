"""What the ways to compute attention have in common: one call into PyTorch, shared keys, documents and padding."""

from __future__ import annotations

import torch.nn.functional as F
from einops import repeat
from torch import Tensor


def scaled_dot_product(q, k, v, mask: Tensor | None, scale, dropout) -> Tensor:
    """The one call into PyTorch: (b h n d). No mask means causal, which is faster than a causal mask."""
    return F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal=mask is None, scale=scale)


def as_read_by(heads: range, x: Tensor, q: Tensor) -> Tensor:
    """Keys or values (b hk n d) as `heads`, some query heads of q, read them: (b len(heads) n d).

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
    """bool (b 1 n n). Padding sees padding, so that no row is empty; `zero_at_padding` removes what comes of it."""
    return (segments[:, :, None] == segments[:, None, :])[:, None]


def zero_at_padding(x: Tensor, segments: Tensor | None) -> Tensor:
    """(b h n d) with zeros where `segments` (b n) says padding. Inputs too: in a sum, a weight of 0 stops no NaN."""
    return x if segments is None else x.masked_fill((segments < 0)[:, None, :, None], 0)
