"""Checks of the attention functions' arguments: all rules that need no geometry, each in one place."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..runs.validate import check_number


def check_arguments(
    q: Tensor, k: Tensor, v: Tensor, segments: Tensor | None, scale: float | None, dropout: float
) -> None:
    """Refuse arguments of `full_attention` and `s2_attention` that do not fit each other."""
    for name, x in (("q", q), ("k", k), ("v", v)):
        if not (isinstance(x, Tensor) and x.is_floating_point()):
            raise ValueError(f"{name} must be a floating-point tensor, got {getattr(x, 'dtype', type(x))}")
        if x.ndim != 4 or 0 in x.shape:
            raise ValueError(f"{name} must have 4 axes (b h n d), none of them empty, got {tuple(x.shape)}")
        check_equal(f"{name} must be on the device of q", x.device, q.device)
        # Autocast brings q, k and v to one dtype by itself; rotary positions often leave v behind.
        if x.dtype != q.dtype and not torch.is_autocast_enabled(q.device.type):
            raise ValueError(f"{name} must have the dtype of q, got {x.dtype} and {q.dtype}")
        check_equal(f"{name} must have as many sequences as q", x.shape[0], q.shape[0])
    check_equal("v must have as many tokens as k", v.shape[2], k.shape[2])
    if q.shape[2] > k.shape[2]:
        raise ValueError(f"q must have no more tokens than k, got {q.shape[2]} and {k.shape[2]}")
    check_equal("k must be as wide as q", k.shape[3], q.shape[3])
    check_equal("v must have as many heads as k", v.shape[1], k.shape[1])
    if q.shape[1] % k.shape[1]:
        raise ValueError(f"num kv heads must divide num heads, got {k.shape[1]} and {q.shape[1]}")
    if scale is not None:
        check_number("scale", scale, above=0)
    if not _is_number(dropout) or not 0 <= dropout < 1:
        raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}")
    if segments is None:
        return
    if not isinstance(segments, Tensor) or segments.dtype not in (torch.int8, torch.int16, torch.int32, torch.int64):
        raise ValueError(f"segments must hold signed integers, got {getattr(segments, 'dtype', type(segments))}")
    check_equal("segments must be on the device of q", segments.device, q.device)
    check_equal("segments must be shaped (b n), as k", tuple(segments.shape), (k.shape[0], k.shape[2]))
    if (lowest := _lowest(segments)) is not None and lowest < -1:
        raise ValueError(f"segments must be -1 for padding or a document's number from 0, got {lowest}")


def _lowest(segments: Tensor) -> int | None:
    """Return the smallest document number.

    None on a device, where reading it would wait for the device, and while compiling or under torch.func, where tensors
    hold no numbers yet.
    """
    if segments.device.type != "cpu" or torch.compiler.is_compiling():
        return None
    try:
        return int(segments.min())
    except RuntimeError:
        return None


def check_geometry(geometry: Any, q: Tensor, k: Tensor) -> None:
    """Refuse what is no geometry, or the geometry of other heads or another length."""
    # Relatives of S²-Attn, as the studies have them, need only the rule and its sizes.
    if not all(hasattr(geometry, name) for name in ("allows", "num_heads", "seq_len")):
        raise ValueError(f"geometry must be an S2Geometry, got {geometry!r}")
    check_equal("q must have as many heads as the geometry", q.shape[1], geometry.num_heads)
    check_equal("q must have as many tokens as the geometry", q.shape[2], geometry.seq_len)
    check_equal("k must have as many tokens as q", k.shape[2], q.shape[2])


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_equal(rule: str, value: object, expected: object) -> None:
    """Refuse a value that is not the expected one; the message states both."""
    if value != expected:
        raise ValueError(f"{rule}, got {value} and {expected}")
