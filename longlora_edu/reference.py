"""Attention in plain NumPy, forward and backward: every fast implementation must agree with it.

Nothing here is fast. The whole n by n table of scores is built, masked and normalised, in float64,
in the order in which a textbook writes it. Shapes are named by letters: b batch, h query heads,
hk key/value heads, n tokens, d features of a head. q is (b h n d); k and v are (b hk n d), not repeated: query
head i reads key/value head i // (h // hk). v may be wider or narrower than q and k.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike as Array

from .geometry import S2Geometry
from .runs.validate import check_number


def full_attention(
    q: Array, k: Array, v: Array, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Compute causal attention over the whole sequence: float64 (b h n d), d being the width of v.

    Arguments, padding and errors are those of `s2_attention`; only the mask differs.
    """
    q, k, v, allowed, scale = _prepared(q, k, v, None, segments, scale)
    return _attend(q, k, v, allowed, scale)


def s2_attention(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Compute shifted sparse attention: float64 (b h n d), d being the width of v, whatever the input's dtype.

    `segments`, integers (b n), names the document of each token, and -1 padding. A token sees its
    own document only; equal ids are one document wherever they stand. What stands at padding is
    never read, and the output there is exactly 0. Cells follow positions in the row, so padding on
    the left moves a document across them. `scale` defaults to 1 / sqrt(d). Inputs are not written to.

    Source: LongLoRA (arXiv 2309.12307) section 3.2, as a mask instead of as rolled tensors.

    Raises:
        ValueError: if shapes, dtypes, segments or scale do not fit each other and the geometry.
    """
    q, k, v, allowed, scale = _prepared(q, k, v, _geometry(geometry), segments, scale)
    return _attend(q, k, v, allowed, scale)


def s2_attention_backward(
    grad_out: Array,
    q: Array,
    k: Array,
    v: Array,
    geometry: S2Geometry,
    *,
    segments: Array | None = None,
    scale: float | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute the gradients (dq, dk, dv) of sum(grad_out * s2_attention(q, k, v, ...)), float64, shaped as q, k, v.

    Write dX for the gradient of that sum with respect to X. The forward pass of one head is

        S = scale q k^T        P = softmax(S), row by row, over allowed keys        O = P v

    and walking it backwards, with dO = grad_out, gives

        O = P v:         dv = P^T dO             dP = dO v^T
        P = softmax(S):  dP_j / dS_i = P_j (1[i = j] - P_i) in each row, so
                         dS_i = sum_j dP_j P_j (1[i = j] - P_i) = P_i (dP_i - sum_j P_j dP_j)
        S = scale q k^T: dq = scale dS k         dk = scale dS^T q

    The mask needs no term of its own: a forbidden key has P = 0, hence dS = 0. A key/value head is
    read by h // hk query heads, so its gradient is the sum of theirs. At padding all three are 0.

    Raises:
        ValueError: as `s2_attention`, and if grad_out is not shaped as its output.
    """
    q, k, v, allowed, scale = _prepared(q, k, v, _geometry(geometry), segments, scale)
    grad_out = _numbers("grad_out", grad_out)
    if grad_out.shape != (*q.shape[:3], v.shape[3]):
        raise ValueError(f"grad_out must have the output's shape {(*q.shape[:3], v.shape[3])}, got {grad_out.shape}")
    # Only padding may look at nothing, itself included.
    grad_out = np.where(allowed.any(axis=-1, keepdims=True), grad_out, 0)

    heads, kv_heads = q.shape[1], k.shape[1]
    weights = _weights(q, k, allowed, scale)
    d_weights = grad_out @ _repeated(v, heads).swapaxes(-1, -2)
    d_scores = weights * (d_weights - (weights * d_weights).sum(axis=-1, keepdims=True))

    dq = scale * d_scores @ _repeated(k, heads)
    dk = scale * _summed(d_scores.swapaxes(-1, -2) @ q, kv_heads)
    dv = _summed(weights.swapaxes(-1, -2) @ grad_out, kv_heads)
    return dq, dk, dv


def _attend(q: np.ndarray, k: np.ndarray, v: np.ndarray, allowed: np.ndarray, scale: float) -> np.ndarray:
    return _weights(q, k, allowed, scale) @ _repeated(v, q.shape[1])


def _weights(q: np.ndarray, k: np.ndarray, allowed: np.ndarray, scale: float) -> np.ndarray:
    """Softmax of the scores over the allowed keys, (b h n n); a row without an allowed key is all zeros."""
    scores = scale * q @ _repeated(k, q.shape[1]).swapaxes(-1, -2)
    # The highest score is subtracted so that exp cannot overflow; the quotient does not notice.
    highest = scores.max(axis=-1, keepdims=True, where=allowed, initial=-np.inf)
    exponentials = np.exp(scores - highest, where=allowed, out=np.zeros_like(scores))
    total = exponentials.sum(axis=-1, keepdims=True)
    return exponentials / np.where(total == 0, 1, total)


def _repeated(x: np.ndarray, heads: int) -> np.ndarray:
    """Repeat key/value heads, (b hk n d) to (b h n d), so that each query head has the one that it reads."""
    return np.repeat(x, heads // x.shape[1], axis=1)


def _summed(x: np.ndarray, kv_heads: int) -> np.ndarray:
    """Sum over the query heads of each key/value head, (b h n d) to (b hk n d): the adjoint of `_repeated`."""
    batch, heads, length, width = x.shape
    return x.reshape(batch, kv_heads, heads // kv_heads, length, width).sum(axis=2)


def _prepared(q: Array, k: Array, v: Array, geometry: S2Geometry | None, segments: Array | None, scale: float | None):
    """Check the arguments; return float64 q, k, v with padding zeroed, the mask, and the scale."""
    q, k, v = _numbers("q", q), _numbers("k", k), _numbers("v", v)
    batch, heads, length, width = q.shape
    for name, x in (("k", k), ("v", v)):
        if (x.shape[0], x.shape[2]) != (batch, length):
            raise ValueError(
                f"{name} must have the batch and length of q, {batch} and {length}, got {x.shape[0]} and {x.shape[2]}"
            )
    if v.shape[1] != k.shape[1]:
        raise ValueError(f"v must have as many heads as k, {k.shape[1]}, got {v.shape[1]}")
    if k.shape[3] != width:
        raise ValueError(f"k must have the width of q, {width}, got {k.shape[3]}")
    if heads % k.shape[1]:
        raise ValueError(f"the heads of k and v must divide the heads of q, {heads}, got {k.shape[1]}")
    if geometry and (heads, length) != (geometry.num_heads, geometry.seq_len):
        raise ValueError(
            f"q must have the heads and length of the geometry, {geometry.num_heads} and {geometry.seq_len}, "
            f"got {heads} and {length}"
        )
    allowed = geometry.mask()[None] if geometry else np.tri(length, dtype=bool)[None, None]
    if segments is not None:
        segments = _segments(segments, batch, length)
        real = segments >= 0
        same_document = (segments[:, :, None] == segments[:, None, :]) & real[:, :, None]
        allowed = allowed & same_document[:, None]
        # Zeroed, so that 0 * NaN cannot carry what stands at padding into the sums.
        q, k, v = (np.where(real[:, None, :, None], x, 0) for x in (q, k, v))
    return q, k, v, allowed, 1 / math.sqrt(width) if scale is None else _scale(scale)


def _numbers(name: str, x: Array) -> np.ndarray:
    x = np.asarray(x)
    if x.dtype.kind not in "fiu":
        raise ValueError(f"{name} must hold real numbers, got dtype {x.dtype}")
    if x.ndim != 4:
        raise ValueError(f"{name} must have 4 axes (b h n d), got {x.ndim}: {x.shape}")
    if x.size == 0:
        raise ValueError(f"{name} must not be empty along any axis, got {x.shape}")
    return x.astype(np.float64)


def _segments(segments: Array | None, batch: int, length: int) -> np.ndarray:
    segments = np.asarray(segments)
    if segments.dtype.kind not in "iu":
        raise ValueError(f"segments must be integers, got dtype {segments.dtype}")
    if segments.shape != (batch, length):
        raise ValueError(f"segments must have shape (b n) = {(batch, length)}, got {segments.shape}")
    if segments.min() < -1:
        raise ValueError(f"segments must be -1 for padding or a document's number from 0, got {segments.min()}")
    return segments


def _scale(scale: float | None) -> float:
    try:
        return float(check_number("scale", scale, above=0))
    except ValueError:
        raise ValueError(f"scale must be a positive finite number, got {scale!r}") from None


def _geometry(geometry: object) -> S2Geometry:
    if not isinstance(geometry, S2Geometry):
        raise ValueError(f"geometry must be an S2Geometry, got {geometry!r}")
    return geometry
