"""The right steps of S²-Attn by rolling; each mistake of the gallery leaves one out, doubles or turns it.

Of the shifted heads q, k and v are rolled, so that *slot* j holds token j + shift; slots are cut into groups; attention
runs inside each; the output is rolled back. All return float64 (b h n d) and take un-repeated k, v (b hk n d),
`segments` (b n) and `scale` as `reference.s2_attention` does. No input is checked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike as Array

from ...geometry import S2Geometry


def in_slots(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Run the right steps but the last: roll and attend, so the output of shifted heads is still in rolled order."""
    q, k, v, documents, scale = expand(q, k, v, geometry, segments, scale)
    q, k, v, documents = (roll(x, geometry, -geometry.shift) for x in (q, k, v, documents))
    return attend(q, k, v, documents, slot_mask(geometry), scale)


def rolled(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Run all steps, without a mistake, for comparison. Equals the reference under every boundary."""
    return roll(in_slots(q, k, v, geometry, segments=segments, scale=scale), geometry, geometry.shift)


def expand(q: Array, k: Array, v: Array, geometry: S2Geometry, segments: Array | None, scale: float | None):
    """Expand to float64 q, k, v with k, v repeated for each query head, documents of tokens (b h n 1), and a scale."""
    q, k, v = (np.asarray(x, dtype=np.float64) for x in (q, k, v))
    batch, heads, length, width = q.shape
    k, v = (np.repeat(x, heads // x.shape[1], axis=1) for x in (k, v))
    segments = np.zeros((batch, length), dtype=int) if segments is None else np.asarray(segments)
    documents = np.broadcast_to(segments[:, None, :, None], (batch, heads, length, 1))
    return q, k, v, documents, 1 / math.sqrt(width) if scale is None else scale


def attend(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, documents: np.ndarray, allowed: np.ndarray, scale: float
) -> np.ndarray:
    """Compute softmax attention over `allowed` keys of the same document; a row without any gives 0."""
    allowed = allowed & (documents == documents.swapaxes(2, 3)) & (documents >= 0)
    scores = np.where(allowed, scale * q @ k.swapaxes(2, 3), -np.inf)
    highest = scores.max(axis=3, keepdims=True)
    weights = np.exp(scores - np.where(np.isfinite(highest), highest, 0))
    total = weights.sum(axis=3, keepdims=True)
    return weights / np.where(total == 0, 1, total) @ v


def with_shifted_heads(
    chosen: Sequence[int],
    q: Array,
    k: Array,
    v: Array,
    geometry: S2Geometry,
    segments: Array | None,
    scale: float | None,
) -> np.ndarray:
    """Compute attention in which the `chosen` heads have the shifted cells and the others the plain ones."""
    q, k, v, documents, scale = expand(q, k, v, geometry, segments, scale)
    heads = np.isin(np.arange(geometry.num_heads), chosen)[:, None, None]
    masks = np.where(heads, geometry.mask()[-1], replace(geometry, shift=0).mask()[-1])
    return attend(q, k, v, documents, masks, scale)


def roll(x: np.ndarray, geometry: S2Geometry, by: int) -> np.ndarray:
    """Roll the tokens of the shifted heads of `x` (b h n d)."""
    x, late = x.copy(), geometry.num_heads // 2
    x[:, late:] = np.roll(x[:, late:], by, axis=2)
    return x


def roll_late(x: np.ndarray, by: int) -> np.ndarray:
    """Roll the later half of the tokens of `x` (b h n d), in every head."""
    x, late = x.copy(), x.shape[2] // 2
    x[:, :, late:] = np.roll(x[:, :, late:], by, axis=2)
    return x


def slot_mask(geometry: S2Geometry) -> np.ndarray:
    """Return the geometry's mask (h n n) in the order of slots: plain heads as they are, shifted heads rolled."""
    rolled_rows = roll(geometry.mask()[None], geometry, -geometry.shift)
    return roll(rolled_rows.swapaxes(2, 3), geometry, -geometry.shift).swapaxes(2, 3)[0]


def causal(geometry: S2Geometry) -> np.ndarray:
    """Return bool (n n), True where key n (columns) comes before query n (rows), or is the query itself."""
    return np.tri(geometry.seq_len, dtype=bool)
