"""Attention in torch, with autograd, on any device: equal to `reference.py`, and fast.

Shapes are named by letters: b batch, h query heads, hk key/value heads, n tokens, d features of a head, c cells of
g tokens. q is (b h n d); k and v are (b hk n d), not repeated: query head i reads key/value head i // (h // hk).
v may be wider or narrower than q and k. Inputs are never written to.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..geometry import S2Geometry
from .arguments import check_arguments, check_geometry
from .dense_mask import dense_mask_attention
from .flex import flex_attention
from .grouped import grouped_attention
from .sdpa import as_read_by, same_segment, scaled_dot_product, zero_at_padding
from .varlen import varlen_attention

__all__ = ["IMPLS", "choose_impl", "full_attention", "s2_attention"]


def full_attention(
    q: Tensor, k: Tensor, v: Tensor, *, segments: Tensor | None = None, scale: float | None = None, dropout: float = 0.0
) -> Tensor:
    """Compute causal attention over the whole sequence: (b h n d), d being the width of v.

    q may be shorter than k and v: its tokens are then the last ones, as in decoding.
    Arguments, padding and errors are those of `s2_attention`; only the mask differs. Without segments
    there is none, and memory is linear in n where PyTorch has a fused kernel. Segments cost a mask of
    b n n bytes, PyTorch's copy of it in the dtype of q and, on CPU, up to twice the time: a causal
    kernel skips half of the table, a kernel given a mask does not.
    """
    check_arguments(q, k, v, segments, scale, dropout)
    asked, length = q.shape[2], k.shape[2]
    own = None if segments is None else segments[:, -asked:]
    q, k, v = zero_at_padding(q, own), zero_at_padding(k, segments), zero_at_padding(v, segments)
    mask = None
    if segments is not None:
        mask = same_segment(segments)[:, :, -asked:].tril(length - asked)
    elif asked < length:
        mask = torch.ones(asked, length, dtype=torch.bool, device=q.device).tril(length - asked)[None, None]
    k, v = (as_read_by(range(q.shape[1]), x, q) for x in (k, v))
    return zero_at_padding(scaled_dot_product(q, k, v, mask, scale, dropout), own)


def s2_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    geometry: S2Geometry,
    *,
    segments: Tensor | None = None,
    scale: float | None = None,
    dropout: float = 0.0,
    impl: str = "auto",
) -> Tensor:
    """Compute shifted sparse attention: (b h n d), d being the width of v.

    `segments`, integers (b n), names the document of each token, and -1 padding. A token sees its own
    document only; equal ids are one document wherever they stand. What stands at padding is never
    read; output and gradients there are exactly 0. Cells follow positions in the row, so padding on the
    left moves a document across them. `scale` defaults to 1 / sqrt(d). `dropout` is a probability and
    acts on every call: it is for the caller to pass 0 in evaluation.

    - `impl="dense_mask"`: dense attention under a mask of h n n bytes, b h n n with segments, which PyTorch copies in
      the dtype of q. The rule as it is written, for short sequences: on CPU up to twice the time of causal dense
      attention, the mask itself not counted.
    - `impl="grouped"`: cells become rows of a batch, without a mask, and memory is linear in n. On CPU, segments cut
      the cells; compiled, and on other devices, they are a mask of b c g g bytes, and its copy, for half of the heads
      at a time.
    - `impl="varlen"`: cells as documents of one packed row; CUDA, half precision and `boundary="split"` only.
    - `impl="flex"`: FlexAttention compiled for the geometry's own rule; elsewhere than on CUDA, forward only.
    - `impl="auto"`: what `choose_impl` says.

    A token that holds a NaN or an infinity, in q, k or v, changes no token of another cell, another document or of
    padding, nor its gradient, under any impl. Within a cell it changes the later tokens, and may change earlier ones:
    there only finite values are kept from the past.

    Second derivatives and forward mode need PyTorch's own attention to have them, which its fused kernels do not: they
    raise, and work under `torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`. The transforms of torch.func work alike.

    Source: LongLoRA (arXiv 2309.12307) section 3.2, cut into cells instead of rolled.

    Raises:
        ValueError: if arguments do not fit each other or the geometry, or if `impl` is unknown or cannot run them.
            Segments below -1 are refused on CPU; compiled, or where reading them means waiting, they are padding.
    """
    check_arguments(q, k, v, segments, scale, dropout)
    check_geometry(geometry, q, k)
    if isinstance(impl, str) and impl == "auto":
        capability = torch.cuda.get_device_capability(q.device) if q.is_cuda else None
        impl = choose_impl(q.device.type, capability, q.dtype, dropout)
    if not isinstance(impl, str) or impl not in _IMPLS:
        raise ValueError(f"impl must be one of auto, {', '.join(_IMPLS)}, got {impl!r}")
    return _IMPLS[impl](q, k, v, geometry, segments, scale, dropout)


def choose_impl(device_type: str, capability: tuple[int, int] | None, dtype: torch.dtype, dropout: float) -> str:
    """Choose the implementation that `impl="auto"` runs, by device, dtype and dropout.

    `capability` is (major, minor) of a CUDA device, else None. So far nothing depends on it or on `dtype`: "varlen"
    and "flex" have not been measured on a GPU yet, and "grouped" runs on every one, a T4 (7.5, no flash) among them.

    | device_type  | dropout | impl      | why                                                |
    |--------------|---------|-----------|----------------------------------------------------|
    | cpu          | 0       | "grouped" | least work, and memory linear in n                 |
    | cpu          | above 0 | "dense_mask"  | PyTorch has no fused attention with dropout on CPU |
    | cuda, others | any     | "grouped" | least work, and memory linear in n                 |
    """
    return "dense_mask" if device_type == "cpu" and dropout > 0 else "grouped"


_IMPLS = {
    "dense_mask": dense_mask_attention,
    "grouped": grouped_attention,
    "varlen": varlen_attention,
    "flex": flex_attention,
}
IMPLS = ("auto", *_IMPLS)
