"""S²-Attn got wrong: each mistake as one small NumPy function with the reference's signature.

A roll-based implementation rolls q, k and v of the shifted heads, so that *slot* j holds token j + shift, cuts the
slots into groups, attends inside each, and rolls the output back. Most mistakes are a step of this left out, doubled
or taken along the wrong axis. All functions return float64 (b h n d) and take un-repeated k, v (b hk n d), `segments`
(b n) and `scale` as `reference.s2_attention` does. Those that fold tokens into groups, as published code does, need
`seq_len` to be a multiple of `group_size`. Nothing here is checked at the door: these are exhibits.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ...geometry import S2Geometry
from ...reference import full_attention, s2_attention


def in_slots(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """The right steps up to attention: the output where the shifted heads' tokens still stand in their slots."""
    q, k, v, documents, scale = _door(q, k, v, geometry, segments, scale)
    q, k, v, documents = (_roll(x, geometry, -geometry.shift) for x in (q, k, v, documents))
    return _attend(q, k, v, documents, _slot_mask(geometry), scale)


def rolled(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """No mistake: the roll-based form, for comparison. It equals the reference under every boundary."""
    return _roll(in_slots(q, k, v, geometry, segments=segments, scale=scale), geometry, geometry.shift)


def output_shifted(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """Plain groups in every head, and the finished output of half the heads shifted."""
    out = never_shifted(q, k, v, geometry, segments=segments, scale=scale)
    return _roll(out, geometry, geometry.shift)


def output_shifted_left(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """As `output_shifted`, to the other side."""
    out = never_shifted(q, k, v, geometry, segments=segments, scale=scale)
    return _roll(out, geometry, -geometry.shift)


def full_output_shifted(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """Full attention, because the step that makes groups was skipped, and its output "shifted back" all the same."""
    return _roll(full_attention(q, k, v, segments=segments, scale=scale), geometry, geometry.shift)


def only_queries_and_keys_shifted(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """Queries and keys rolled under full attention; values stay, and nothing is rolled back."""
    q, k, v, documents, scale = _door(q, k, v, geometry, segments, scale)
    q, k = (_roll(x, geometry, geometry.shift) for x in (q, k))
    return _attend(q, k, v, documents, _causal(geometry), scale)


def values_left_behind(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """Queries and keys go into their slots, values do not; the output is rolled back."""
    q, k, v, documents, scale = _door(q, k, v, geometry, segments, scale)
    q, k, documents = (_roll(x, geometry, -geometry.shift) for x in (q, k, documents))
    return _roll(_attend(q, k, v, documents, _slot_mask(geometry), scale), geometry, geometry.shift)


def tokens_split(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """The second half of the tokens is rolled, in every head, instead of all tokens in the second half of the heads."""
    q, k, v, documents, scale = _door(q, k, v, geometry, segments, scale)
    q, k, v, documents = (_roll_late(x, -geometry.shift) for x in (q, k, v, documents))
    plain = replace(geometry, shift=0)
    return _roll_late(_attend(q, k, v, documents, plain.mask(), scale), geometry.shift)


def late_tokens_shifted(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """The same confusion written as a mask: late tokens get shifted cells, early tokens plain ones."""
    q, k, v, documents, scale = _door(q, k, v, geometry, segments, scale)
    token = np.arange(geometry.seq_len)
    cell = (token - geometry.shift * (token >= geometry.seq_len // 2)) // geometry.group_size
    return _attend(q, k, v, documents, (cell[:, None] == cell) & _causal(geometry), scale)


def shifted_back_the_wrong_way(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """Rolled to the left before attention, and to the left again after it."""
    return _roll(in_slots(q, k, v, geometry, segments=segments, scale=scale), geometry, -geometry.shift)


def rolled_back_inside_groups(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """Rolled back before the groups are joined again, so that each group turns in itself."""
    out = in_slots(q, k, v, geometry, segments=segments, scale=scale)
    late = out[:, geometry.num_heads // 2 :]
    groups = late.reshape(*late.shape[:2], -1, geometry.group_size, late.shape[3])
    out[:, geometry.num_heads // 2 :] = np.roll(groups, geometry.shift, axis=3).reshape(late.shape)
    return out


def wrap_leak(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """The last tokens and the first share a cell, and causality is judged in rolled order."""
    return s2_attention(q, k, v, replace(geometry, boundary="wrap"), segments=segments, scale=scale)


def ends_joined(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """The last tokens and the first share a cell, in true order: no leak, but another pattern than was asked for."""
    return s2_attention(q, k, v, replace(geometry, boundary="masked"), segments=segments, scale=scale)


def odd_group(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """Rolled by `-G // 2` and back by `G // 2`: for an odd G the first rounds up and the second down."""
    there = replace(geometry, shift=(geometry.shift + geometry.group_size % 2) % geometry.group_size)
    return _roll(in_slots(q, k, v, there, segments=segments, scale=scale), geometry, geometry.shift)


def missing_scale(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """Scores are not divided by the square root of the head's width, nor multiplied by `scale`."""
    return s2_attention(q, k, v, geometry, segments=segments, scale=1.0)


def scaled_without_the_root(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """Scores are divided by the head's width itself."""
    return s2_attention(q, k, v, geometry, segments=segments, scale=1 / np.shape(q)[3])


def all_heads_shifted(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """Every head has shifted cells."""
    return _with_shifted_heads(range(geometry.num_heads), q, k, v, geometry, segments, scale)


def never_shifted(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """Every head has plain cells."""
    return s2_attention(q, k, v, replace(geometry, shift=0), segments=segments, scale=scale)


def halves_swapped(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """The first half of the heads is shifted instead of the second."""
    return _with_shifted_heads(range(geometry.num_heads // 2), q, k, v, geometry, segments, scale)


def larger_half_swapped(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """As `halves_swapped`, the first half being the larger one where the head count is odd."""
    return _with_shifted_heads(range((geometry.num_heads + 1) // 2), q, k, v, geometry, segments, scale)


def smaller_half_shifted(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """An odd head count rounded the other way, as `chunk(2)` does: the head in the middle stays plain."""
    late = range((geometry.num_heads + 1) // 2, geometry.num_heads)
    return _with_shifted_heads(late, q, k, v, geometry, segments, scale)


def shifted_the_other_way(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """Rolled to the right before attention and to the left after it: cells begin at `group_size - shift`."""
    shift = (geometry.group_size - geometry.shift) % geometry.group_size
    return s2_attention(q, k, v, replace(geometry, shift=shift), segments=segments, scale=scale)


def not_causal(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """Inside a cell every token looks at every other, later ones too."""
    q, k, v, documents, scale = _door(q, k, v, geometry, segments, scale)
    return _attend(q, k, v, documents, geometry.mask() | geometry.mask().swapaxes(1, 2), scale)


def alternate_groups(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """Tokens turn inside every second group, in all heads; groups stay where they are."""
    q, k, v, documents, scale = _door(q, k, v, geometry, segments, scale)
    slots = np.arange(geometry.seq_len).reshape(-1, geometry.group_size)
    slots[1::2] = np.roll(slots[1::2], -geometry.shift, axis=1)
    q, k, v, documents = (x[:, :, slots.ravel()] for x in (q, k, v, documents))
    out = _attend(q, k, v, documents, replace(geometry, shift=0).mask(), scale)
    return out[:, :, np.argsort(slots.ravel())]


def folded_without_transpose(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """(b h n d) reshaped to (b·groups, tokens, heads, d) as if its axes stood in another order."""
    q, k, v, documents, scale = _door(q, k, v, geometry, segments, scale)
    shape, heads, group = v.shape, geometry.num_heads, geometry.group_size
    q, k, v, documents = (
        _roll(x, geometry, -geometry.shift).reshape(-1, group, heads, x.shape[3]).swapaxes(1, 2)
        for x in (q, k, v, documents)
    )
    out = _attend(q, k, v, documents, np.tri(group, dtype=bool)[None], scale)
    return _roll(out.swapaxes(1, 2).reshape(shape), geometry, geometry.shift)


def unfolded_with_one_transpose_too_many(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """The output of each group, (tokens heads d), transposed once more before it is joined to the others."""
    out = in_slots(q, k, v, geometry, segments=segments, scale=scale)
    batch, heads, length, width = out.shape
    groups = out.swapaxes(1, 2).reshape(-1, geometry.group_size, heads, width)
    joined = groups.swapaxes(1, 2).reshape(batch, length, heads, width).swapaxes(1, 2)
    return _roll(joined, geometry, geometry.shift)


def padding_left_behind(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """Tokens are rolled into their slots, the marks that say which of them are padding are not."""
    q, k, v, documents, scale = _door(q, k, v, geometry, segments, scale)
    q, k, v = (_roll(x, geometry, -geometry.shift) for x in (q, k, v))
    return _roll(_attend(q, k, v, documents, _slot_mask(geometry), scale), geometry, geometry.shift)


def first_groups_padding(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """The marks of the first group are stamped on all groups."""
    if segments is not None:
        repeats = geometry.seq_len // geometry.group_size
        segments = np.tile(np.asarray(segments)[:, : geometry.group_size], repeats)
    return padding_left_behind(q, k, v, geometry, segments=segments, scale=scale)


def _door(q, k, v, geometry: S2Geometry, segments, scale):
    """float64 q, k, v with a key/value head for each query head, the document of each (b h n 1), and the scale."""
    q, k, v = (np.asarray(x, dtype=np.float64) for x in (q, k, v))
    batch, heads, length, width = q.shape
    k, v = (np.repeat(x, heads // x.shape[1], axis=1) for x in (k, v))
    segments = np.zeros((batch, length), dtype=int) if segments is None else np.asarray(segments)
    documents = np.broadcast_to(segments[:, None, :, None], (batch, heads, length, 1))
    return q, k, v, documents, 1 / math.sqrt(width) if scale is None else scale


def _attend(q, k, v, documents, allowed, scale) -> np.ndarray:
    """Softmax attention over `allowed` keys of the same document; a row without any gives 0."""
    allowed = allowed & (documents == documents.swapaxes(2, 3)) & (documents >= 0)
    scores = np.where(allowed, scale * q @ k.swapaxes(2, 3), -np.inf)
    highest = scores.max(axis=3, keepdims=True)
    weights = np.exp(scores - np.where(np.isfinite(highest), highest, 0))
    total = weights.sum(axis=3, keepdims=True)
    return weights / np.where(total == 0, 1, total) @ v


def _with_shifted_heads(chosen, q, k, v, geometry: S2Geometry, segments, scale) -> np.ndarray:
    """Attention in which the `chosen` heads have the shifted cells and the others the plain ones."""
    q, k, v, documents, scale = _door(q, k, v, geometry, segments, scale)
    heads = np.isin(np.arange(geometry.num_heads), chosen)[:, None, None]
    masks = np.where(heads, geometry.mask()[-1], replace(geometry, shift=0).mask()[-1])
    return _attend(q, k, v, documents, masks, scale)


def _roll(x: np.ndarray, geometry: S2Geometry, by: int) -> np.ndarray:
    """`x` (b h n d) with the tokens of its shifted heads rolled."""
    x, late = x.copy(), geometry.num_heads // 2
    x[:, late:] = np.roll(x[:, late:], by, axis=2)
    return x


def _roll_late(x: np.ndarray, by: int) -> np.ndarray:
    x, late = x.copy(), x.shape[2] // 2
    x[:, :, late:] = np.roll(x[:, :, late:], by, axis=2)
    return x


def _slot_mask(geometry: S2Geometry) -> np.ndarray:
    """The geometry's mask (h n n) in the order of slots: plain heads as they are, shifted heads rolled."""
    rolled_rows = _roll(geometry.mask()[None], geometry, -geometry.shift)
    return _roll(rolled_rows.swapaxes(2, 3), geometry, -geometry.shift).swapaxes(2, 3)[0]


def _causal(geometry: S2Geometry) -> np.ndarray:
    return np.tri(geometry.seq_len, dtype=bool)
