from __future__ import annotations

import math

import numpy as np
import oracles
import pytest
import torch
from helpers import geometries, random_qkv, random_segments
from hypothesis import given, settings
from hypothesis import strategies as st

from longlora_edu.geometry import S2Geometry, S2Pattern
from longlora_edu.reference import full_attention, s2_attention, s2_attention_backward

BOUNDARIES = ["split", "wrap", "masked"]
TIGHT = {"rtol": 1e-10, "atol": 1e-12}


@st.composite
def cases(draw, max_len=12):
    """A geometry and what goes with it: batch, shared key/value heads, another width of v, documents, scale."""
    geometry = draw(geometries(max_len=max_len))
    heads, length = geometry.num_heads, geometry.seq_len
    kv_heads = draw(st.sampled_from([count for count in range(1, heads + 1) if heads % count == 0]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    batch = draw(st.integers(1, 3))
    q, k, _ = random_qkv(rng, batch, heads, kv_heads, length, 3)
    v = rng.standard_normal((batch, kv_heads, length, draw(st.sampled_from([1, 3, 5]))))
    segments = random_segments(rng, batch, length) if draw(st.booleans()) else None
    return geometry, q, k, v, {"segments": segments, "scale": draw(st.sampled_from([None, 0.3]))}


def some_qkv(heads=2, kv_heads=1, length=8, batch=2, seed=0):
    return random_qkv(np.random.default_rng(seed), batch, heads, kv_heads, length, 4)


def torch_attention(q, k, v, mask, segments, scale):
    """Dense attention in float64 torch: a mask tensor, masked_fill, softmax, and autograd to walk it back."""
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    allowed = torch.from_numpy(mask)[None].expand(q.shape[0], -1, -1, -1)
    if segments is not None:
        ids = torch.from_numpy(segments)
        allowed = allowed & (ids[:, None, :, None] == ids[:, None, None, :]) & (ids >= 0)[:, None, :, None]
    scores = torch.einsum("bhnd,bhmd->bhnm", q, k) * (q.shape[3] ** -0.5 if scale is None else scale)
    # The lowest finite number, not -inf: a row of padding then has a softmax, which the mask erases.
    weights = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min).softmax(-1) * allowed
    return torch.einsum("bhnm,bhmd->bhnd", weights, v)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(cases())
def test_s2_attention_is_attention_one_query_and_one_key_at_a_time(case):
    geometry, q, k, v, options = case
    expected = oracles.attention(q, k, v, oracles.mask_of(geometry), **options)
    np.testing.assert_allclose(s2_attention(q, k, v, geometry, **options), expected, **TIGHT)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(cases())
def test_full_attention_is_causal_attention_one_query_and_one_key_at_a_time(case):
    geometry, q, k, v, options = case
    causal = np.tri(geometry.seq_len, dtype=bool)[None].repeat(geometry.num_heads, axis=0)
    np.testing.assert_allclose(
        full_attention(q, k, v, **options), oracles.attention(q, k, v, causal, **options), **TIGHT
    )


@pytest.mark.parametrize("heads", [1, 2, 5])
@pytest.mark.parametrize(("group_size", "shift"), [(4, 2), (6, 1), (3, 1), (3, 2), (12, 6)])
def test_wrap_is_the_published_roll_regroup_and_roll_back(heads, group_size, shift):
    q, k, v = some_qkv(heads, heads, 12)
    out = s2_attention(q, k, v, S2Geometry(12, group_size, heads, shift, "wrap"))
    np.testing.assert_allclose(out, oracles.rolled_form(q, k, v, group_size, shift), **TIGHT)


@pytest.mark.parametrize("length", [12, 11, 2])
@pytest.mark.parametrize(("group_size", "shift"), [(4, 2), (6, 1), (3, 1), (4, 0)])
def test_split_is_the_published_cut_of_the_sequence_starts(length, group_size, shift):
    q, k, v = some_qkv(4, 4, length)
    out = s2_attention(q, k, v, S2Geometry(length, group_size, 4, shift))
    np.testing.assert_allclose(out, oracles.varlen_form(q, k, v, group_size, shift), **TIGHT)


def test_the_published_forms_repeat_shared_key_value_heads_before_they_halve_the_heads():
    # Six query heads on two key/value heads: the halving falls on the border; on three it cuts a shared head in two.
    for kv_heads in (2, 3):
        q, k, v = some_qkv(6, kv_heads, 8)
        wide_k, wide_v = k.repeat(6 // kv_heads, axis=1), v.repeat(6 // kv_heads, axis=1)
        wrap = s2_attention(q, k, v, S2Geometry(8, 4, 6, boundary="wrap"))
        np.testing.assert_allclose(wrap, oracles.rolled_form(q, wide_k, wide_v, 4, 2), **TIGHT)
        split = s2_attention(q, k, v, S2Geometry(8, 4, 6))
        np.testing.assert_allclose(split, oracles.varlen_form(q, wide_k, wide_v, 4, 2), **TIGHT)


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_split_and_wrap_differ_at_the_first_tokens_of_the_shifted_heads_and_nowhere_else(shift):
    q, k, v = some_qkv(5, 1, 12)
    split, wrap = (s2_attention(q, k, v, S2Geometry(12, 4, 5, shift, boundary)) for boundary in ("split", "wrap"))
    differs = np.abs(split - wrap).max(axis=-1) > 1e-9
    expected = np.zeros_like(differs)
    expected[:, 2:, :shift] = True
    np.testing.assert_array_equal(differs, expected)


def test_in_one_group_of_the_whole_sequence_plain_heads_are_full_attention_and_shifted_ones_two_halves():
    q, k, v = some_qkv(4, 2, 8)
    out, full = s2_attention(q, k, v, S2Geometry(8, 8, 4)), full_attention(q, k, v)
    np.testing.assert_allclose(out[:, :2], full[:, :2], **TIGHT)
    np.testing.assert_allclose(out[:, 2:, :4], full[:, 2:, :4], **TIGHT)
    second_half = full_attention(*(x[:, :, 4:] for x in (q, k, v)))
    np.testing.assert_allclose(out[:, 2:, 4:], second_half[:, 2:], **TIGHT)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_pushing_one_value_moves_the_outputs_in_its_column_of_the_mask_and_no_others(boundary):
    geometry = S2Geometry(8, 4, 6, boundary=boundary)
    mask = oracles.mask_of(geometry)
    q, k, v = some_qkv(6, 2, 8)
    before = s2_attention(q, k, v, geometry)
    for kv_head in range(2):
        for key in range(8):
            pushed = v.copy()
            pushed[1, kv_head, key] += 1
            moved = np.abs(s2_attention(q, k, pushed, geometry) - before).max(axis=-1) > 1e-9
            expected = np.zeros((2, 6, 8), dtype=bool)
            readers = slice(3 * kv_head, 3 * kv_head + 3)
            expected[1, readers] = mask[readers, :, key]
            np.testing.assert_array_equal(moved, expected)


def test_scores_too_large_for_exp_give_the_value_of_the_best_key():
    q, k, v = some_qkv(2, 2, 8)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        out = full_attention(1e4 * q, k, v)
    scores = np.where(np.tri(8, dtype=bool), q @ k.swapaxes(-1, -2), -np.inf)
    best = scores.argmax(axis=-1)[..., None]
    np.testing.assert_allclose(out, np.take_along_axis(v, best, axis=2), **TIGHT)


def test_scale_multiplies_the_scores():
    q, k, v = some_qkv()
    geometry = S2Geometry(8, 4, 2)
    expected = s2_attention(3 * q, k, v, geometry)
    np.testing.assert_allclose(s2_attention(q, k, v, geometry, scale=3 / math.sqrt(4)), expected, **TIGHT)
    np.testing.assert_allclose(s2_attention(3 * q, k, v, geometry, scale=np.float32(0.5)), expected, **TIGHT)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(cases())
def test_the_gradients_are_those_of_torch_autograd_through_dense_attention(case):
    geometry, q, k, v, options = case
    grad_out = np.random.default_rng(1).standard_normal((*q.shape[:3], v.shape[3]))
    leaves = [torch.from_numpy(x).requires_grad_() for x in (q, k, v)]
    torch_attention(*leaves, oracles.mask_of(geometry), **options).backward(torch.from_numpy(grad_out))
    gradients = s2_attention_backward(grad_out, q, k, v, geometry, **options)
    for gradient, leaf in zip(gradients, leaves, strict=True):
        np.testing.assert_allclose(gradient, leaf.grad.numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("segments", [None, [[-1, 0, 0, 1, 0, 1, 1, -1]]])
def test_the_gradients_are_the_slopes_found_by_stepping_to_either_side(boundary, segments):
    geometry = S2Geometry(8, 4, 3, boundary=boundary)
    inputs = some_qkv(3, 1, 8, batch=1)
    grad_out = np.random.default_rng(1).standard_normal((1, 3, 8, 4))
    gradients = s2_attention_backward(grad_out, *inputs, geometry, segments=segments)
    for which, gradient in enumerate(gradients):
        slopes = np.empty_like(inputs[which])
        for place in np.ndindex(slopes.shape):
            sides = []
            for step in (1e-5, -1e-5):
                stepped = [x.copy() for x in inputs]
                stepped[which][place] += step
                sides.append((grad_out * s2_attention(*stepped, geometry, segments=segments)).sum())
            slopes[place] = (sides[0] - sides[1]) / 2e-5
        np.testing.assert_allclose(gradient, slopes, rtol=1e-6, atol=1e-8)


def test_a_shared_key_value_head_gets_the_sum_of_what_its_copies_would_get():
    q, k, v = some_qkv(6, 2, 8)
    geometry = S2Geometry(8, 4, 6)
    grad_out = np.random.default_rng(1).standard_normal(q.shape)
    dq, dk, dv = s2_attention_backward(grad_out, q, k, v, geometry)
    wide = s2_attention_backward(grad_out, q, k.repeat(3, axis=1), v.repeat(3, axis=1), geometry)
    np.testing.assert_allclose(dq, wide[0], **TIGHT)
    for shared, copies in ((dk, wide[1]), (dv, wide[2])):
        np.testing.assert_allclose(shared, copies.reshape(2, 2, 3, 8, 4).sum(axis=2), **TIGHT)


def test_packed_documents_attend_as_if_each_stood_alone_wherever_its_tokens_lie():
    segments = np.array([[-1, 0, 0, 7, 0, 7, -1, 7], [3, 3, 3, 3, 1, 1, -1, -1]])
    q, k, v = some_qkv(4, 2, 8)
    out = full_attention(q, k, v, segments=segments)
    for row, documents in ((0, [0, 7]), (1, [1, 3])):
        for document in documents:
            tokens = np.flatnonzero(segments[row] == document)
            alone = full_attention(*(x[row : row + 1][:, :, tokens] for x in (q, k, v)))
            np.testing.assert_allclose(out[row : row + 1][:, :, tokens], alone, **TIGHT)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_one_document_without_padding_is_the_same_as_no_segments(boundary):
    q, k, v = some_qkv()
    geometry = S2Geometry(8, 4, 2, boundary=boundary)
    segments = np.full((2, 8), 5, dtype=np.uint8)
    np.testing.assert_array_equal(s2_attention(q, k, v, geometry, segments=segments), s2_attention(q, k, v, geometry))


def test_cells_follow_positions_in_the_row_so_padding_on_the_left_moves_a_document_across_them():
    q, k, v = some_qkv(2, 2, 8, batch=1)
    padded = [np.concatenate([np.zeros((1, 2, 2, 4)), x[:, :, :6]], axis=2) for x in (q, k, v)]
    out = s2_attention(*padded, S2Geometry(8, 4, 2), segments=[[-1, -1, 0, 0, 0, 0, 0, 0]])[:, :, 2:]
    alone = s2_attention(*(x[:, :, :6] for x in (q, k, v)), S2Geometry(6, 4, 2))
    # Moved by half a group, the tokens of the plain head stand where the shifted head would cut them.
    differs = np.abs(out - alone).max(axis=-1) > 1e-9
    np.testing.assert_array_equal(differs[0], [[False, False, True, True, True, True]] * 2)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e300])
def test_padding_is_never_read_and_its_outputs_and_gradients_are_exactly_zero(boundary, garbage):
    geometry = S2Geometry(8, 4, 2, boundary=boundary)
    segments = np.array([[-1, -1, 0, 0, 1, 1, 1, 1], [0, 0, 1, 0, 1, 0, -1, -1], [-1] * 8])
    q, k, v = some_qkv(batch=3)
    grad_out = np.random.default_rng(1).standard_normal(q.shape)
    clean = s2_attention(q, k, v, geometry, segments=segments)
    clean_gradients = s2_attention_backward(grad_out, q, k, v, geometry, segments=segments)

    padding = segments == -1
    for x in (q, k, v, grad_out):
        x.swapaxes(1, 2)[padding] = garbage
    with np.errstate(all="raise"):
        out = s2_attention(q, k, v, geometry, segments=segments)
        gradients = s2_attention_backward(grad_out, q, k, v, geometry, segments=segments)
        full = full_attention(q, k, v, segments=segments)
    for result, expected in zip((out, *gradients), (clean, *clean_gradients), strict=True):
        np.testing.assert_array_equal(result, expected)
        np.testing.assert_array_equal(result.swapaxes(1, 2)[padding], 0)
    for result in (out, full):
        np.testing.assert_array_equal(np.abs(result.swapaxes(1, 2)).min(axis=(2, 3)) > 0, ~padding)
        assert np.isfinite(result).all()


def test_inputs_are_left_as_they_were():
    q, k, v = some_qkv()
    grad_out = np.random.default_rng(1).standard_normal(q.shape)
    segments = np.array([[-1, 0, 0, 0, 1, 1, 1, -1]] * 2)
    geometry = S2Geometry(8, 4, 2, boundary="wrap")
    inputs = (q, k, v, grad_out, segments)
    copies = [x.copy() for x in inputs]
    for x in inputs:
        x.setflags(write=False)
    full_attention(q, k, v, segments=segments)
    s2_attention(q, k, v, geometry, segments=segments)
    s2_attention_backward(grad_out, q, k, v, geometry, segments=segments)
    for x, copy in zip(inputs, copies, strict=True):
        np.testing.assert_array_equal(x, copy)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.uint8])
def test_every_real_dtype_is_computed_and_returned_in_float64(dtype):
    lowest = 0 if dtype == np.uint8 else -np.inf
    q, k, v = (np.maximum(4 * x, lowest).astype(dtype) for x in some_qkv())
    geometry = S2Geometry(8, 4, 2)
    wide = [x.astype(np.float64) for x in (q, k, v)]
    pairs = [
        (full_attention(q, k, v), full_attention(*wide)),
        (s2_attention(q, k, v, geometry), s2_attention(*wide, geometry)),
        *zip(s2_attention_backward(q, q, k, v, geometry), s2_attention_backward(wide[0], *wide, geometry), strict=True),
    ]
    for result, expected in pairs:
        assert result.dtype == np.float64
        np.testing.assert_array_equal(result, expected)


A = np.ones((2, 4, 8, 3))
K = np.ones((2, 2, 8, 3))


@pytest.mark.parametrize(
    ("q", "k", "v", "message"),
    [
        (A[0], K, K, r"q must have 4 axes \(b h n d\), got 3: \(4, 8, 3\)"),
        (A, K[..., None], K, r"k must have 4 axes \(b h n d\), got 5"),
        (A, K, 1.0, r"v must have 4 axes \(b h n d\), got 0"),
        (A.astype(complex), K, K, "q must hold real numbers, got dtype complex128"),
        (A, K > 0, K, "k must hold real numbers, got dtype bool"),
        (A, K, K.astype(str), "v must hold real numbers, got dtype <U"),
        (A[:0], K[:0], K[:0], r"q must not be empty along any axis, got \(0, 4, 8, 3\)"),
        (A, K[:, :0], K, r"k must not be empty along any axis, got \(2, 0, 8, 3\)"),
        (A, K[:1], K, "k must have the batch and length of q, 2 and 8, got 1 and 8"),
        (A, K, K[:, :, :7], "v must have the batch and length of q, 2 and 8, got 2 and 7"),
        (A, K, K[:, :1], "v must have as many heads as k, 2, got 1"),
        (A, K[..., :2], K, "k must have the width of q, 3, got 2"),
        (A, A[:, :3], A[:, :3], "the heads of k and v must divide the heads of q, 4, got 3"),
        (A[:, :2], A, A, "the heads of k and v must divide the heads of q, 2, got 4"),
    ],
)
def test_tensors_that_do_not_fit_each_other_are_refused(q, k, v, message):
    geometry = S2Geometry(8, 4, 4)
    for call in (
        lambda: full_attention(q, k, v),
        lambda: s2_attention(q, k, v, geometry),
        lambda: s2_attention_backward(A, q, k, v, geometry),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        (np.zeros((2, 8)), "segments must be integers, got dtype float64"),
        (np.zeros((2, 8), dtype=bool), "segments must be integers, got dtype bool"),
        (np.zeros(8, dtype=int), r"segments must have shape \(b n\) = \(2, 8\), got \(8,\)"),
        (np.zeros((2, 7), dtype=int), r"segments must have shape \(b n\) = \(2, 8\), got \(2, 7\)"),
        ([[0] * 8, [5] * 7 + [-2]], "segments must be -1 for padding or a document's number from 0, got -2"),
    ],
)
def test_segments_that_do_not_fit_are_refused(segments, message):
    geometry = S2Geometry(8, 4, 4)
    for call in (
        lambda: full_attention(A, K, K, segments=segments),
        lambda: s2_attention(A, K, K, geometry, segments=segments),
        lambda: s2_attention_backward(A, A, K, K, geometry, segments=segments),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("scale", [0, -1.0, math.inf, math.nan, True, "1", 1j, np.ones(3)])
def test_a_scale_that_is_not_a_positive_finite_number_is_refused(scale):
    geometry = S2Geometry(8, 4, 4)
    for call in (
        lambda: full_attention(A, K, K, scale=scale),
        lambda: s2_attention(A, K, K, geometry, scale=scale),
        lambda: s2_attention_backward(A, A, K, K, geometry, scale=scale),
    ):
        with pytest.raises(ValueError, match="scale must be a positive finite number, got "):
            call()


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        (S2Geometry(8, 4, 2), "q must have the heads and length of the geometry, 2 and 8, got 4 and 8"),
        (S2Geometry(12, 4, 4), "q must have the heads and length of the geometry, 4 and 12, got 4 and 8"),
        (S2Pattern(4), r"geometry must be an S2Geometry, got S2Pattern\("),
        (None, "geometry must be an S2Geometry, got None"),
    ],
)
def test_a_geometry_made_for_something_else_is_refused(geometry, message):
    with pytest.raises(ValueError, match=message):
        s2_attention(A, K, K, geometry)
    with pytest.raises(ValueError, match=message):
        s2_attention_backward(A, A, K, K, geometry)


@pytest.mark.parametrize(
    ("grad_out", "message"),
    [
        (np.ones((2, 2, 8, 3)), r"grad_out must have the output's shape \(2, 4, 8, 5\), got \(2, 2, 8, 3\)"),
        (A, r"grad_out must have the output's shape \(2, 4, 8, 5\), got \(2, 4, 8, 3\)"),
        (np.ones(5), r"grad_out must have 4 axes \(b h n d\), got 1"),
        (np.ones((2, 4, 8, 5), dtype=complex), "grad_out must hold real numbers, got dtype complex128"),
    ],
)
def test_a_grad_out_that_is_not_shaped_as_the_output_is_refused(grad_out, message):
    with pytest.raises(ValueError, match=message):
        s2_attention_backward(grad_out, A, K, np.ones((2, 2, 8, 5)), S2Geometry(8, 4, 4))
