"""Attention in torch, with autograd, on any device: equal to `reference.py`, and fast.

Shapes are named by letters: b batch, h query heads, hk key/value heads, n tokens, d features of a head, c cells of
g tokens. q is (b h n d); k and v are (b hk n d), not repeated: query head i reads key/value head i // (h // hk).
v may be wider or narrower than q and k. Inputs are never written to.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from ..geometry import S2Geometry
from .arguments import check_arguments, check_geometry
from .dense_mask import dense_mask_attention
from .flex import flex_attention
from .grouped import grouped_attention
from .products import products_attention
from .sdpa import as_read_by, same_segment, scaled_dot_product, zero_at_padding
from .varlen import are_stretches, fits_varlen, varlen_attention

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
    read; output and gradients there are exactly 0. Cells are cut by place in the row, so padding on
    the left moves a document across them. `scale` defaults to 1 / sqrt(d). `dropout` is a probability and
    acts on every call: it is for the caller to pass 0 in evaluation.

    - `impl="dense_mask"`: dense attention under a mask of h n n bytes, b h n n with segments, which PyTorch copies in
      the dtype of q. The rule as it is written, for short sequences: on CPU up to twice the time of causal dense
      attention, the mask itself not counted.
    - `impl="grouped"`: cells become rows of a batch, without a mask, and memory is linear in n. On CPU, segments cut
      the cells; compiled, and on other devices, they are a mask of b c g g bytes for c cells of g tokens, and its copy,
      for half of the heads at a time.
    - `impl="products"`: cells as in "grouped", with scores by products of matrices, a block of queries at a time; CPU
      only. In half precision scores are rounded to it, as in the paper's pseudo-code and not in fused kernels.
    - `impl="varlen"`: cells as documents of one packed row; CUDA, half precision and `boundary="split"` only.
    - `impl="flex"`: FlexAttention compiled for the geometry's own rule; elsewhere than on CUDA, forward only.
    - `impl="auto"`: what `choose_impl` says.

    A token that holds a NaN or an infinity, in q, k or v, changes no token of another cell, another document or of
    padding, nor its gradient, under any impl. Within its own cell it changes the later tokens, and may change earlier
    ones too: a finite value never does.

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
        impl = _chosen(q, v, geometry, segments, dropout)
    if not isinstance(impl, str) or impl not in _IMPLS:
        raise ValueError(f"impl must be one of auto, {', '.join(_IMPLS)}, got {impl!r}")
    return _IMPLS[impl](q, k, v, geometry, segments, scale, dropout)


def choose_impl(
    device_type: str,
    capability: tuple[int, int] | None,
    dtype: torch.dtype,
    dropout: float,
    *,
    group_size: int | None = None,
    stretches: bool = False,
    traced: bool = False,
) -> str:
    """Choose the implementation that `impl="auto"` runs: the first row that fits.

    `capability` is (major, minor) of a CUDA device, else None; `dtype` what is computed in, under autocast its own.
    `stretches` says that rows are packed or padded, that every document is one stretch in its cell, and that boundary
    and width of the heads are such as "varlen" takes; `traced` that torch.compile or torch.func look on.

    | device_type | what else                                   | impl         | why                                  |
    |-------------|---------------------------------------------|--------------|--------------------------------------|
    | cpu         | dropout                                     | "dense_mask" | PyTorch has no other with it         |
    | cpu         | bfloat16, groups of 64 to 2,048, no tracer  | "products"   | `benchmarks/cpu_attention.py`        |
    | cuda        | no dropout, half precision, capability 8.0, | "varlen"     | "grouped" builds masks of b c g g    |
    |             | stretches, no tracer                        |              | bytes; times are not measured        |
    | all         |                                             | "grouped"    | least work, and memory linear in n   |

    Without segments "grouped" stays on CUDA: "varlen" and "flex" have not been measured on a GPU yet, and "grouped"
    runs on every one, a T4 (7.5, no flash) among them.
    """
    if device_type == "cpu" and dropout > 0:
        return "dense_mask"
    if traced or dropout > 0:
        return "grouped"
    if device_type == "cpu" and dtype == torch.bfloat16 and group_size in range(64, 2049):
        return "products"
    half = dtype in (torch.float16, torch.bfloat16)
    if device_type == "cuda" and stretches and half and capability is not None and capability >= (8, 0):
        return "varlen"
    return "grouped"


def _chosen(q: Tensor, v: Tensor, geometry: S2Geometry, segments: Tensor | None, dropout: float) -> str:
    """Ask `choose_impl` about a call. What has to be read from the device is read last."""
    device = q.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else q.dtype
    capability = torch.cuda.get_device_capability(q.device) if device == "cuda" else None
    traced = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
    ask = partial(choose_impl, device, capability, dtype, dropout, group_size=_group_of(geometry), traced=traced)
    # Reading documents means waiting for the device: only where the answer depends on it.
    if segments is None or ask(stretches=True) == ask() or not fits_varlen(q, v, geometry):
        return ask()
    return ask(stretches=are_stretches(geometry, segments))


def _group_of(geometry: S2Geometry) -> int | None:
    """The longest cell; None for relatives of S²-Attn, as the studies have them, which may have no groups."""
    group = getattr(geometry, "group_size", None)
    return group and min(group, geometry.seq_len)


_IMPLS = {
    "dense_mask": dense_mask_attention,
    "grouped": grouped_attention,
    "products": products_attention,
    "varlen": varlen_attention,
    "flex": flex_attention,
}
IMPLS = ("auto", *_IMPLS)
