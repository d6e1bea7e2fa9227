"""Attention in torch: what `reference.py` means, fast, with autograd, on any device.

Shapes are named by letters: b batch, h query heads, hk key/value heads, n tokens, d features of a head, c cells of
g tokens. q is (b h n d); k and v are (b hk n d), not repeated: query head i reads key/value head i // (h // hk).
v may be wider or narrower than q and k. Inputs are never written to.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor

from .geometry import Cell, S2Geometry


def full_attention(
    q: Tensor, k: Tensor, v: Tensor, *, segments: Tensor | None = None, scale: float | None = None, dropout: float = 0.0
) -> Tensor:
    """Causal attention over the whole sequence: (b h n d), d being the width of v.

    q may be shorter than k and v: its tokens are then the last ones, as in decoding.
    Arguments, padding and errors are those of `s2_attention`; only the mask differs. Without segments
    there is none, and memory is linear in n where PyTorch has a fused kernel. Segments cost a mask of
    b n n bytes, PyTorch's copy of it in the dtype of q and, on CPU, up to twice the time: a kernel told
    "causal" skips half of the table, a kernel given a mask does not.
    """
    _check(q, k, v, segments, scale, dropout)
    asked, length = q.shape[2], k.shape[2]
    own = None if segments is None else segments[:, -asked:]
    q, k, v = _zero_at_padding(q, own), _zero_at_padding(k, segments), _zero_at_padding(v, segments)
    mask = None
    if segments is not None:
        mask = _same_segment(segments)[:, :, -asked:].tril(length - asked)
    elif asked < length:
        mask = torch.ones(asked, length, dtype=torch.bool, device=q.device).tril(length - asked)[None, None]
    return _zero_at_padding(_dense(q, k, v, mask, scale, dropout), own)


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
    """Shifted sparse attention: (b h n d), d being the width of v.

    `segments`, integers (b n), names the document of each token, and -1 padding. A token sees its own
    document only; equal ids are one document wherever they stand. What stands at padding is never
    read; output and gradients there are exactly 0. Cells follow positions in the row, so padding on the
    left moves a document across them. `scale` defaults to 1 / sqrt(d). `dropout` is a probability and
    acts on every call: it is for the caller to pass 0 in evaluation.

    - `impl="masked"`: dense attention under a mask of h n n bytes, b h n n with segments, which PyTorch copies in
      the dtype of q. The rule as it is written, for short sequences: on CPU up to twice the time of causal dense
      attention, the mask itself not counted. (Not `boundary="masked"`, a rule that every impl can follow.)
    - `impl="grouped"`: cells become rows of the batch, and memory is linear in n. Without segments there is no mask;
      with them one of b c g g bytes, and its copy, for half of the heads at a time and, on CPU, up to twice the time.
    - `impl="auto"`: what `choose_impl` says.

    Source: LongLoRA (arXiv 2309.12307) section 3.2, cut into cells instead of rolled.

    Raises:
        ValueError: if arguments do not fit each other or the geometry, or if `impl` is unknown or cannot run them.
            Segments below -1 are refused on CPU; compiled, or where reading them means waiting, they are padding.
    """
    _check(q, k, v, segments, scale, dropout)
    _equal("q must have as many heads as the geometry", q.shape[1], geometry.num_heads)
    _equal("q must have as many tokens as the geometry", q.shape[2], geometry.seq_len)
    _equal("k must have as many tokens as q", k.shape[2], q.shape[2])
    if impl == "auto":
        capability = torch.cuda.get_device_capability(q.device) if q.is_cuda else None
        impl = choose_impl(q.device.type, capability, q.dtype, dropout)
    if impl not in _IMPLS:
        raise ValueError(f"impl must be one of auto, {', '.join(_IMPLS)}, got {impl!r}")
    q, k, v = (_zero_at_padding(x, segments) for x in (q, k, v))
    return _zero_at_padding(_IMPLS[impl](q, k, v, geometry, segments, scale, dropout), segments)


def choose_impl(device_type: str, capability: tuple[int, int] | None, dtype: torch.dtype, dropout: float) -> str:
    """What `impl="auto"` runs, decided by facts alone.

    `capability` is (major, minor) of a CUDA device, else None. So far nothing depends on it or on `dtype`.

    | device_type  | dropout | impl      | why                                                |
    |--------------|---------|-----------|----------------------------------------------------|
    | cpu          | 0       | "grouped" | least work, and memory linear in n                 |
    | cpu          | above 0 | "masked"  | PyTorch has no fused attention with dropout on CPU |
    | cuda, others | any     | "grouped" | least work, and memory linear in n                 |
    """
    return "masked" if device_type == "cpu" and dropout > 0 else "grouped"


def _masked(q, k, v, geometry: S2Geometry, segments, scale, dropout) -> Tensor:
    """The rule of the geometry as a tensor, and dense attention under it."""
    head, token = (torch.arange(size, device=q.device) for size in q.shape[1:3])
    # The leading axis keeps PyTorch on its fused path: three axes would send it to the slow one.
    mask = geometry.allows(head[:, None, None], token[:, None], token)[None]
    if segments is not None:
        mask = mask & _same_segment(segments)
    return _dense(q, k, v, mask, scale, dropout)


def _grouped(q, k, v, geometry: S2Geometry, segments, scale, dropout) -> Tensor:
    """Causal attention inside every cell: one call for both halves of the heads where their cells are the same."""
    if dropout > 0 and q.device.type == "cpu":
        raise ValueError(f"dropout must be 0 on cpu under impl='grouped', got {dropout}: use impl='masked'")
    plain, shifted = geometry.cells(shifted=False), geometry.cells(shifted=True)
    halves = [(geometry.plain_heads, plain), (geometry.shifted_heads, shifted)]
    if plain == shifted or not halves[0][0]:
        halves = [(range(geometry.num_heads), shifted)]
    outputs = []
    for heads, cells in halves:
        half = q[:, heads.start : heads.stop], _read_by(heads, k, q), _read_by(heads, v, q)
        outputs.append(_inside_cells(*half, cells, geometry.group_size, segments, scale, dropout))
    return rearrange(_joined(outputs, dim=2), "b n h d -> b h n d")


_IMPLS = {"masked": _masked, "grouped": _grouped}


def _inside_cells(q, k, v, cells: tuple[Cell, ...], group_size: int, segments, scale, dropout) -> Tensor:
    """Causal attention inside the cells of one half of the heads: (b n h d), the layout that a model projects from."""
    pieces = []
    for ranges, size in _batches(cells, group_size):
        # Views, where the layout of the inputs allows.
        rows = (rearrange(_tokens(x, ranges, dim=2), "b h (c g) d -> (b c) h g d", g=size) for x in (q, k, v))
        mask = None
        if segments is not None:
            mask = _same_segment(rearrange(_tokens(segments, ranges, dim=1), "b (c g) -> (b c) g", g=size)).tril()
        out = rearrange(_attend(*rows, mask, scale, dropout), "(b c) h g d -> b (c g) h d", b=q.shape[0])
        pieces += zip((r.start for r in ranges), out.split([len(r) for r in ranges], dim=1), strict=True)
    return _joined([piece for _, piece in sorted(pieces, key=lambda piece: piece[0])], dim=1)


def _batches(cells: tuple[Cell, ...], group_size: int) -> list[tuple[Cell, int]]:
    """Token ranges and the size of the cells they are cut into: full cells all at once, any other by itself."""
    full = [cell[0] for cell in cells if len(cell[0]) == group_size]
    others = [(cell, sum(map(len, cell))) for cell in cells if len(cell[0]) != group_size]
    return ([((range(full[0].start, full[-1].stop),), group_size)] if full else []) + others


def _tokens(x: Tensor, ranges: Cell, dim: int) -> Tensor:
    return _joined([x.narrow(dim, r.start, len(r)) for r in ranges], dim)


def _joined(tensors: list[Tensor], dim: int) -> Tensor:
    # torch.cat copies a single tensor too.
    return torch.cat(tensors, dim) if len(tensors) > 1 else tensors[0]


def _read_by(heads: range, x: Tensor, q: Tensor) -> Tensor:
    """Keys or values (b hk n d) as `heads`, some query heads of q, read them: (b len(heads) n d).

    A view where every query head has its own; else a copy, but of no key/value head that none of `heads` reads.
    """
    share = q.shape[1] // x.shape[1]
    first, last = heads[0] // share, heads[-1] // share
    # Laid out as (b n h d), in which cutting tokens into cells is a view.
    x = repeat(x[:, first : last + 1], "b hk n d -> b n (hk share) d", share=share)
    return rearrange(x.narrow(2, heads[0] - first * share, len(heads)), "b n h d -> b h n d")


def _dense(q, k, v, mask: Tensor | None, scale, dropout) -> Tensor:
    k, v = (_read_by(range(q.shape[1]), x, q) for x in (k, v))
    return _attend(q, k, v, mask, scale, dropout)


def _attend(q, k, v, mask: Tensor | None, scale, dropout) -> Tensor:
    """The one call into PyTorch. No mask means causal, which is faster than a causal mask."""
    return F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal=mask is None, scale=scale)


def _same_segment(segments: Tensor) -> Tensor:
    """bool (b 1 n n). Padding sees padding, so that no row is empty; `_zero_at_padding` removes what comes of it."""
    return (segments[:, :, None] == segments[:, None, :])[:, None]


def _zero_at_padding(x: Tensor, segments: Tensor | None) -> Tensor:
    # Inputs too: in a sum over keys, a weight of 0 does not stop a NaN.
    return x if segments is None else x.masked_fill((segments < 0)[:, None, :, None], 0)


def _check(q, k, v, segments, scale, dropout) -> None:
    """The door: everything that can be said without a geometry."""
    for name, x in (("q", q), ("k", k), ("v", v)):
        if not (isinstance(x, Tensor) and x.is_floating_point()):
            raise ValueError(f"{name} must be a floating-point tensor, got {getattr(x, 'dtype', type(x))}")
        if x.ndim != 4 or 0 in x.shape:
            raise ValueError(f"{name} must have 4 axes (b h n d), none of them empty, got {tuple(x.shape)}")
        _equal(f"{name} must be on the device of q", x.device, q.device)
        # Autocast brings q, k and v to one dtype by itself; rotary positions often leave v behind.
        if x.dtype != q.dtype and not torch.is_autocast_enabled(q.device.type):
            raise ValueError(f"{name} must have the dtype of q, got {x.dtype} and {q.dtype}")
        _equal(f"{name} must have as many sequences as q", x.shape[0], q.shape[0])
    _equal("v must have as many tokens as k", v.shape[2], k.shape[2])
    if q.shape[2] > k.shape[2]:
        raise ValueError(f"q must have no more tokens than k, got {q.shape[2]} and {k.shape[2]}")
    _equal("k must be as wide as q", k.shape[3], q.shape[3])
    _equal("v must have as many heads as k", v.shape[1], k.shape[1])
    if q.shape[1] % k.shape[1]:
        raise ValueError(f"num kv heads must divide num heads, got {k.shape[1]} and {q.shape[1]}")
    if scale is not None and not 0 < scale < math.inf:
        raise ValueError(f"scale must be positive and finite, got {scale}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}")
    if segments is None:
        return
    if not isinstance(segments, Tensor) or segments.dtype not in (torch.int8, torch.int16, torch.int32, torch.int64):
        raise ValueError(f"segments must hold signed integers, got {getattr(segments, 'dtype', type(segments))}")
    _equal("segments must be on the device of q", segments.device, q.device)
    _equal("segments must be shaped (b n), as k", tuple(segments.shape), (k.shape[0], k.shape[2]))
    if segments.device.type == "cpu" and not torch.compiler.is_compiling() and segments.min() < -1:
        raise ValueError(f"segments must be -1 for padding or a document's number from 0, got {segments.min()}")


def _equal(rule: str, value, expected) -> None:
    if value != expected:
        raise ValueError(f"{rule}, got {value} and {expected}")
