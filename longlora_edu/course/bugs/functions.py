"""Mistakes in S²-Attn, each as one small NumPy function with the reference's signature.

Most are a step of `steps.rolled` left out, doubled or taken along the wrong axis. Those that fold tokens into groups,
as published code does, need `seq_len` to be a multiple of `group_size`. No input is checked: these are
exhibits.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike as Array

from ...geometry import S2Geometry
from ...reference import full_attention, s2_attention
from .steps import attend, causal, expand, in_slots, roll, roll_late, slot_mask, with_shifted_heads


def output_shifted(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Attend in plain groups in every head, then shift the finished output of half of the heads."""
    out = never_shifted(q, k, v, geometry, segments=segments, scale=scale)
    return roll(out, geometry, geometry.shift)


def output_shifted_left(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Shift as `output_shifted` does, to the other side."""
    out = never_shifted(q, k, v, geometry, segments=segments, scale=scale)
    return roll(out, geometry, -geometry.shift)


def full_output_shifted(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Skip the step that makes groups, so attention is full, and "shift back" its output all the same."""
    return roll(full_attention(q, k, v, segments=segments, scale=scale), geometry, geometry.shift)


def only_queries_and_keys_shifted(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Roll queries and keys under full attention, leave values, and roll nothing back."""
    q, k, v, documents, scale = expand(q, k, v, geometry, segments, scale)
    q, k = (roll(x, geometry, geometry.shift) for x in (q, k))
    return attend(q, k, v, documents, causal(geometry), scale)


def values_left_behind(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Roll queries and keys but not values; roll the output back."""
    q, k, v, documents, scale = expand(q, k, v, geometry, segments, scale)
    q, k, documents = (roll(x, geometry, -geometry.shift) for x in (q, k, documents))
    return roll(attend(q, k, v, documents, slot_mask(geometry), scale), geometry, geometry.shift)


def tokens_split(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Roll the second half of the tokens in every head, instead of all tokens in the second half of the heads."""
    q, k, v, documents, scale = expand(q, k, v, geometry, segments, scale)
    q, k, v, documents = (roll_late(x, -geometry.shift) for x in (q, k, v, documents))
    plain = replace(geometry, shift=0)
    return roll_late(attend(q, k, v, documents, plain.mask(), scale), geometry.shift)


def late_tokens_shifted(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Make the mistake of `tokens_split` in a mask: late tokens get shifted cells, early tokens plain ones."""
    q, k, v, documents, scale = expand(q, k, v, geometry, segments, scale)
    token = np.arange(geometry.seq_len)
    cell = (token - geometry.shift * (token >= geometry.seq_len // 2)) // geometry.group_size
    return attend(q, k, v, documents, (cell[:, None] == cell) & causal(geometry), scale)


def shifted_back_the_wrong_way(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Roll to the left before attention, and to the left again after it."""
    return roll(in_slots(q, k, v, geometry, segments=segments, scale=scale), geometry, -geometry.shift)


def rolled_back_inside_groups(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Roll back before the groups are joined again, so that each group turns in itself."""
    out = in_slots(q, k, v, geometry, segments=segments, scale=scale)
    late = out[:, geometry.num_heads // 2 :]
    groups = late.reshape(*late.shape[:2], -1, geometry.group_size, late.shape[3])
    out[:, geometry.num_heads // 2 :] = np.roll(groups, geometry.shift, axis=3).reshape(late.shape)
    return out


def wrap_leak(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Let the last tokens and the first share a cell, causal in rolled order: early tokens see late ones."""
    return s2_attention(q, k, v, replace(geometry, boundary="wrap"), segments=segments, scale=scale)


def ends_joined(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Let the last tokens and the first share a cell, causal in true order: no leak, but late tokens see early ones."""
    return s2_attention(q, k, v, replace(geometry, boundary="masked"), segments=segments, scale=scale)


def odd_group(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Roll by `-G // 2` and back by `G // 2`: for an odd G the first rounds up and the second down."""
    there = replace(geometry, shift=(geometry.shift + geometry.group_size % 2) % geometry.group_size)
    return roll(in_slots(q, k, v, there, segments=segments, scale=scale), geometry, geometry.shift)


def missing_scale(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Neither divide scores by the square root of the head's width nor multiply them by `scale`."""
    return s2_attention(q, k, v, geometry, segments=segments, scale=1.0)


def scaled_without_the_root(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Divide scores by the head's width itself."""
    return s2_attention(q, k, v, geometry, segments=segments, scale=1 / np.shape(q)[3])


def all_heads_shifted(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Give every head shifted cells."""
    return with_shifted_heads(range(geometry.num_heads), q, k, v, geometry, segments, scale)


def never_shifted(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Give every head plain cells."""
    return s2_attention(q, k, v, replace(geometry, shift=0), segments=segments, scale=scale)


def halves_swapped(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Shift the first half of the heads instead of the second."""
    return with_shifted_heads(range(geometry.num_heads // 2), q, k, v, geometry, segments, scale)


def larger_half_swapped(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Shift the first half as `halves_swapped` does, the larger one where the head count is odd."""
    return with_shifted_heads(range((geometry.num_heads + 1) // 2), q, k, v, geometry, segments, scale)


def smaller_half_shifted(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Round an odd head count the other way, as `chunk(2)` does: the head in the middle stays plain."""
    late = range((geometry.num_heads + 1) // 2, geometry.num_heads)
    return with_shifted_heads(late, q, k, v, geometry, segments, scale)


def shifted_the_other_way(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Roll to the right before attention and to the left after it: cells begin at `group_size - shift`."""
    shift = (geometry.group_size - geometry.shift) % geometry.group_size
    return s2_attention(q, k, v, replace(geometry, shift=shift), segments=segments, scale=scale)


def not_causal(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Let every token of a cell look at every other, later ones too."""
    q, k, v, documents, scale = expand(q, k, v, geometry, segments, scale)
    return attend(q, k, v, documents, geometry.mask() | geometry.mask().swapaxes(1, 2), scale)


def alternate_groups(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Roll tokens inside every second group, in all heads; groups stay where they are."""
    q, k, v, documents, scale = expand(q, k, v, geometry, segments, scale)
    slots = np.arange(geometry.seq_len).reshape(-1, geometry.group_size)
    slots[1::2] = np.roll(slots[1::2], -geometry.shift, axis=1)
    q, k, v, documents = (x[:, :, slots.ravel()] for x in (q, k, v, documents))
    out = attend(q, k, v, documents, replace(geometry, shift=0).mask(), scale)
    return out[:, :, np.argsort(slots.ravel())]


def folded_without_transpose(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Reshape (b h n d) to (b·groups, tokens, heads, d) as if its axes stood in another order."""
    q, k, v, documents, scale = expand(q, k, v, geometry, segments, scale)
    shape, heads, group = v.shape, geometry.num_heads, geometry.group_size
    q, k, v, documents = (
        roll(x, geometry, -geometry.shift).reshape(-1, group, heads, x.shape[3]).swapaxes(1, 2)
        for x in (q, k, v, documents)
    )
    out = attend(q, k, v, documents, np.tri(group, dtype=bool)[None], scale)
    return roll(out.swapaxes(1, 2).reshape(shape), geometry, geometry.shift)


def unfolded_with_one_transpose_too_many(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Transpose the output of each group, (tokens heads d), once more before joining it to the others."""
    out = in_slots(q, k, v, geometry, segments=segments, scale=scale)
    batch, heads, length, width = out.shape
    groups = out.swapaxes(1, 2).reshape(-1, geometry.group_size, heads, width)
    joined = groups.swapaxes(1, 2).reshape(batch, length, heads, width).swapaxes(1, 2)
    return roll(joined, geometry, geometry.shift)


def padding_left_behind(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Roll tokens, but not the marks that say which of them are padding."""
    q, k, v, documents, scale = expand(q, k, v, geometry, segments, scale)
    q, k, v = (roll(x, geometry, -geometry.shift) for x in (q, k, v))
    return roll(attend(q, k, v, documents, slot_mask(geometry), scale), geometry, geometry.shift)


def first_groups_padding(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Use the padding marks of the first group for all groups."""
    if segments is not None:
        repeats = geometry.seq_len // geometry.group_size
        segments = np.tile(np.asarray(segments)[:, : geometry.group_size], repeats)
    return padding_left_behind(q, k, v, geometry, segments=segments, scale=scale)
