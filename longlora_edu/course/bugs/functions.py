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
    """Plain groups in every head, and the finished output of half the heads shifted."""
    out = never_shifted(q, k, v, geometry, segments=segments, scale=scale)
    return roll(out, geometry, geometry.shift)


def output_shifted_left(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """As `output_shifted`, to the other side."""
    out = never_shifted(q, k, v, geometry, segments=segments, scale=scale)
    return roll(out, geometry, -geometry.shift)


def full_output_shifted(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Full attention, because the step that makes groups was skipped, and its output "shifted back" all the same."""
    return roll(full_attention(q, k, v, segments=segments, scale=scale), geometry, geometry.shift)


def only_queries_and_keys_shifted(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Queries and keys rolled under full attention; values stay, and nothing is rolled back."""
    q, k, v, documents, scale = expand(q, k, v, geometry, segments, scale)
    q, k = (roll(x, geometry, geometry.shift) for x in (q, k))
    return attend(q, k, v, documents, causal(geometry), scale)


def values_left_behind(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Queries and keys go into their slots, values do not; the output is rolled back."""
    q, k, v, documents, scale = expand(q, k, v, geometry, segments, scale)
    q, k, documents = (roll(x, geometry, -geometry.shift) for x in (q, k, documents))
    return roll(attend(q, k, v, documents, slot_mask(geometry), scale), geometry, geometry.shift)


def tokens_split(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """The second half of the tokens is rolled, in every head, instead of all tokens in the second half of the heads."""
    q, k, v, documents, scale = expand(q, k, v, geometry, segments, scale)
    q, k, v, documents = (roll_late(x, -geometry.shift) for x in (q, k, v, documents))
    plain = replace(geometry, shift=0)
    return roll_late(attend(q, k, v, documents, plain.mask(), scale), geometry.shift)


def late_tokens_shifted(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """The same confusion written as a mask: late tokens get shifted cells, early tokens plain ones."""
    q, k, v, documents, scale = expand(q, k, v, geometry, segments, scale)
    token = np.arange(geometry.seq_len)
    cell = (token - geometry.shift * (token >= geometry.seq_len // 2)) // geometry.group_size
    return attend(q, k, v, documents, (cell[:, None] == cell) & causal(geometry), scale)


def shifted_back_the_wrong_way(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Rolled to the left before attention, and to the left again after it."""
    return roll(in_slots(q, k, v, geometry, segments=segments, scale=scale), geometry, -geometry.shift)


def rolled_back_inside_groups(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Rolled back before the groups are joined again, so that each group turns in itself."""
    out = in_slots(q, k, v, geometry, segments=segments, scale=scale)
    late = out[:, geometry.num_heads // 2 :]
    groups = late.reshape(*late.shape[:2], -1, geometry.group_size, late.shape[3])
    out[:, geometry.num_heads // 2 :] = np.roll(groups, geometry.shift, axis=3).reshape(late.shape)
    return out


def wrap_leak(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """The last tokens and the first share a cell, and causality is judged in rolled order."""
    return s2_attention(q, k, v, replace(geometry, boundary="wrap"), segments=segments, scale=scale)


def ends_joined(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """The last tokens and the first share a cell, in true order: no leak, but another pattern than was asked for."""
    return s2_attention(q, k, v, replace(geometry, boundary="masked"), segments=segments, scale=scale)


def odd_group(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Rolled by `-G // 2` and back by `G // 2`: for an odd G the first rounds up and the second down."""
    there = replace(geometry, shift=(geometry.shift + geometry.group_size % 2) % geometry.group_size)
    return roll(in_slots(q, k, v, there, segments=segments, scale=scale), geometry, geometry.shift)


def missing_scale(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Scores are not divided by the square root of the head's width, nor multiplied by `scale`."""
    return s2_attention(q, k, v, geometry, segments=segments, scale=1.0)


def scaled_without_the_root(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Scores are divided by the head's width itself."""
    return s2_attention(q, k, v, geometry, segments=segments, scale=1 / np.shape(q)[3])


def all_heads_shifted(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Every head has shifted cells."""
    return with_shifted_heads(range(geometry.num_heads), q, k, v, geometry, segments, scale)


def never_shifted(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Every head has plain cells."""
    return s2_attention(q, k, v, replace(geometry, shift=0), segments=segments, scale=scale)


def halves_swapped(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """The first half of the heads is shifted instead of the second."""
    return with_shifted_heads(range(geometry.num_heads // 2), q, k, v, geometry, segments, scale)


def larger_half_swapped(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """As `halves_swapped`, the first half being the larger one where the head count is odd."""
    return with_shifted_heads(range((geometry.num_heads + 1) // 2), q, k, v, geometry, segments, scale)


def smaller_half_shifted(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """An odd head count rounded the other way, as `chunk(2)` does: the head in the middle stays plain."""
    late = range((geometry.num_heads + 1) // 2, geometry.num_heads)
    return with_shifted_heads(late, q, k, v, geometry, segments, scale)


def shifted_the_other_way(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Rolled to the right before attention and to the left after it: cells begin at `group_size - shift`."""
    shift = (geometry.group_size - geometry.shift) % geometry.group_size
    return s2_attention(q, k, v, replace(geometry, shift=shift), segments=segments, scale=scale)


def not_causal(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Inside a cell every token looks at every other, later ones too."""
    q, k, v, documents, scale = expand(q, k, v, geometry, segments, scale)
    return attend(q, k, v, documents, geometry.mask() | geometry.mask().swapaxes(1, 2), scale)


def alternate_groups(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Tokens turn inside every second group, in all heads; groups stay where they are."""
    q, k, v, documents, scale = expand(q, k, v, geometry, segments, scale)
    slots = np.arange(geometry.seq_len).reshape(-1, geometry.group_size)
    slots[1::2] = np.roll(slots[1::2], -geometry.shift, axis=1)
    q, k, v, documents = (x[:, :, slots.ravel()] for x in (q, k, v, documents))
    out = attend(q, k, v, documents, replace(geometry, shift=0).mask(), scale)
    return out[:, :, np.argsort(slots.ravel())]


def folded_without_transpose(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """(b h n d) reshaped to (b·groups, tokens, heads, d) as if its axes stood in another order."""
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
    """The output of each group, (tokens heads d), transposed once more before it is joined to the others."""
    out = in_slots(q, k, v, geometry, segments=segments, scale=scale)
    batch, heads, length, width = out.shape
    groups = out.swapaxes(1, 2).reshape(-1, geometry.group_size, heads, width)
    joined = groups.swapaxes(1, 2).reshape(batch, length, heads, width).swapaxes(1, 2)
    return roll(joined, geometry, geometry.shift)


def padding_left_behind(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """Tokens are rolled into their slots, the marks that say which of them are padding are not."""
    q, k, v, documents, scale = expand(q, k, v, geometry, segments, scale)
    q, k, v = (roll(x, geometry, -geometry.shift) for x in (q, k, v))
    return roll(attend(q, k, v, documents, slot_mask(geometry), scale), geometry, geometry.shift)


def first_groups_padding(
    q: Array, k: Array, v: Array, geometry: S2Geometry, *, segments: Array | None = None, scale: float | None = None
) -> np.ndarray:
    """The marks of the first group are stamped on all groups."""
    if segments is not None:
        repeats = geometry.seq_len // geometry.group_size
        segments = np.tile(np.asarray(segments)[:, : geometry.group_size], repeats)
    return padding_left_behind(q, k, v, geometry, segments=segments, scale=scale)
