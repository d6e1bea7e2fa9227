from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from helpers import random_qkv

from longlora_edu.course.bugs import BUGS, Bug, diagnose, recognise, rolled
from longlora_edu.course.bugs import functions as forms
from longlora_edu.geometry import S2Geometry
from longlora_edu.reference import full_attention, s2_attention

FORMS = {form.__name__: (bug, form) for bug in BUGS.values() for form in (bug.function, *bug.variants)}


def qkv(geometry, *, kv_heads=None, batch=2, width=4, seed=0):
    rng = np.random.default_rng(seed)
    return random_qkv(rng, batch, geometry.num_heads, kv_heads or geometry.num_heads, geometry.seq_len, width)


def who_is_copied(function, geometry):
    """(h, n) pairs (head, token) in whose place each output stands, when every token may look at itself only."""
    heads, length = geometry.num_heads, geometry.seq_len
    q = 100 * np.eye(length)[None, None] * np.ones((1, heads, 1, 1))
    names = np.arange(heads * length, dtype=float).reshape(1, heads, length, 1)
    out = function(q, q, names, geometry, scale=1.0)
    return np.round(out[0, :, :, 0]).astype(int)


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_every_mistake_is_told_apart_from_all_others(name):
    bug, form = FORMS[name]
    assert diagnose(form) is bug


@pytest.mark.parametrize("boundary", ["wrap", "masked"])
@pytest.mark.parametrize("name", ["output_shifted", "tokens_split", "missing_scale", "padding_left_behind"])
def test_mistakes_are_told_apart_under_the_other_boundaries_too(name, boundary):
    assert diagnose(BUGS[name].function, boundary=boundary) is BUGS[name]


@pytest.mark.parametrize("boundary", ["split", "wrap", "masked"])
@pytest.mark.parametrize("right", [s2_attention, rolled])
def test_nothing_is_found_wrong_with_what_is_right(right, boundary):
    assert diagnose(right, boundary=boundary) is None


def test_a_right_answer_in_float32_is_right():
    assert diagnose(lambda q, k, v, geometry: s2_attention(q, k, v, geometry).astype(np.float32)) is None


def test_a_right_answer_for_another_boundary_is_no_mistake_with_padding():
    def answer(q, k, v, geometry):
        return s2_attention(q, k, v, dataclasses.replace(geometry, boundary="split"))

    assert diagnose(answer, boundary="wrap") is None


def test_a_mistake_in_float32_is_recognised():
    def answer(q, k, v, geometry):
        return BUGS["odd_group"].function(q, k, v, geometry).astype(np.float32)

    assert diagnose(answer) is BUGS["odd_group"]


def test_a_mistake_is_recognised_when_it_is_made_in_rolled_form_with_the_leak_on_top():
    def answer(q, k, v, geometry):
        leaky = dataclasses.replace(geometry, boundary="wrap")
        return BUGS["no_shift_back"].function(q, k, v, leaky)

    assert diagnose(answer) is BUGS["no_shift_back"]


def test_an_unheard_of_mistake_has_no_name():
    assert diagnose(lambda q, k, v, geometry: 1.01 * s2_attention(q, k, v, geometry)) is None
    assert diagnose(lambda q, k, v, geometry: full_attention(q, k, v)) is None


def test_a_mistake_with_padding_is_seen_only_if_the_answer_takes_segments():
    bug = BUGS["padding_left_behind"]
    assert diagnose(lambda q, k, v, geometry: bug.function(q, k, v, geometry)) is None
    assert diagnose(bug.function) is bug


def test_what_the_answer_raises_is_not_caught():
    def answer(q, k, v, geometry):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        diagnose(answer)


def test_an_answer_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"output must have shape \(b h n d\) = \(2, 2, 12, 4\), got \(2, 12, 2, 4\)"):
        diagnose(lambda q, k, v, geometry: s2_attention(q, k, v, geometry).swapaxes(1, 2))
    geometry = S2Geometry(8, 4, 2)
    with pytest.raises(ValueError, match="output must have shape"):
        recognise(np.zeros(3), *qkv(geometry), geometry)


@pytest.mark.parametrize("name", BUGS)
def test_one_output_with_its_inputs_is_enough_for_most_mistakes(name):
    geometry = S2Geometry(15, 5, 3)
    inputs = qkv(geometry)
    segments = np.where(np.isin(np.arange(15), (2, 8, 9, 12)), -1, 0)[None].repeat(2, axis=0)
    output = BUGS[name].function(*inputs, geometry, segments=segments)
    assert recognise(output, *inputs, geometry, segments=segments) is BUGS[name]


def test_a_right_output_has_no_mistake_even_if_a_mistake_would_not_show():
    geometry = S2Geometry(8, 4, 2)
    inputs = qkv(geometry)
    assert recognise(BUGS["odd_group"].function(*inputs, geometry), *inputs, geometry) is None


def test_a_length_that_groups_do_not_divide_can_be_recognised():
    geometry = S2Geometry(10, 4, 2)
    inputs = qkv(geometry)
    output = BUGS["all_heads_shifted"].function(*inputs, geometry)
    assert recognise(output, *inputs, geometry) is BUGS["all_heads_shifted"]


@pytest.mark.parametrize("name", FORMS)
def test_a_mistake_keeps_shape_and_inputs_and_handles_shared_keys(name):
    geometry = S2Geometry(16, 4, 4)
    inputs = qkv(geometry, kv_heads=2)
    before = [x.copy() for x in inputs]
    output = FORMS[name][1](*inputs, geometry)
    assert output.shape == inputs[0].shape
    assert output.dtype == np.float64
    for x, was in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(x, was)


@pytest.mark.parametrize("boundary", ["split", "wrap", "masked"])
def test_the_rolled_form_is_the_reference_with_padding_and_shared_keys(boundary):
    geometry = S2Geometry(12, 4, 3, shift=1, boundary=boundary)
    inputs = qkv(geometry, kv_heads=1)
    segments = np.array([[0] * 5 + [1] * 4 + [-1] * 3, [-1] * 2 + [0] * 10])
    options = {"segments": segments, "scale": 0.3}
    np.testing.assert_allclose(
        rolled(*inputs, geometry, **options), s2_attention(*inputs, geometry, **options), atol=1e-12
    )


# What was established about published code, slot by slot, from its text alone.


def test_rolling_back_inside_groups_gives_early_slots_the_output_of_the_token_one_group_later():
    geometry = S2Geometry(16, 4, 2)
    expected = [16 + (t + 4) % 16 if t % 4 < 2 else 16 + t for t in range(16)]
    found = who_is_copied(forms.rolled_back_inside_groups, geometry)
    assert found[0].tolist() == list(range(16))
    assert found[1].tolist() == expected


def test_an_odd_group_comes_back_one_token_off():
    found = who_is_copied(forms.odd_group, S2Geometry(15, 5, 2, boundary="wrap"))
    assert (found[1] - 15).tolist() == [*range(1, 15), 0]


def test_without_shifting_back_each_token_gets_what_stands_a_shift_later():
    found = who_is_copied(forms.in_slots, S2Geometry(16, 4, 2))
    assert (found[1] - 16).tolist() == [(t + 2) % 16 for t in range(16)]


def test_shifting_twice_the_same_way_is_two_shifts_off():
    found = who_is_copied(forms.shifted_back_the_wrong_way, S2Geometry(16, 4, 2))
    assert (found[1] - 16).tolist() == [(t + 4) % 16 for t in range(16)]


def test_one_transpose_too_many_leaves_four_of_sixteen_slots_in_place():
    found = who_is_copied(forms.unfolded_with_one_transpose_too_many, S2Geometry(8, 4, 2))
    assert np.count_nonzero(found == np.arange(16).reshape(2, 8)) == 4


@pytest.mark.parametrize("name", ["output_shifted", "alternate_groups", "all_heads_shifted", "never_shifted"])
def test_mistakes_that_keep_groups_apart_never_bring_anything_across(name):
    geometry = S2Geometry(12, 4, 2)
    q, k, v = qkv(geometry)
    pushed = v.copy()
    pushed[:, :, 6] += 1
    function = BUGS[name].function
    moved = np.abs(function(q, k, pushed, geometry) - function(q, k, v, geometry)).max(axis=(0, 3)) > 0
    heard = {int(token) for token in np.flatnonzero(moved.any(axis=0))}
    # The group of token 6, wherever that mistake has put its beginning or its result.
    assert heard <= {"all_heads_shifted": set(range(6, 10)), "output_shifted": set(range(6, 10))}.get(
        name, set(range(4, 8))
    )


def test_the_gallery_is_complete_and_in_order():
    assert all(isinstance(bug, Bug) and name == bug.name for name, bug in BUGS.items())
    assert sum(bug.published for bug in BUGS.values()) >= 5
    for bug in BUGS.values():
        assert bug.title and bug.symptom.endswith(".") and bug.sentence.endswith((".", ".)"))
        assert bug.function.__doc__
    with pytest.raises(dataclasses.FrozenInstanceError):
        BUGS["wrap_leak"].title = "?"


@pytest.mark.parametrize("form", [forms.rolled_back_inside_groups, forms.folded_without_transpose])
def test_a_callable_that_hides_its_arguments_is_diagnosed_without_padding(form):
    class Hidden:
        __signature__ = "none"

        def __call__(self, q, k, v, geometry):
            return form(q, k, v, geometry)

    assert diagnose(Hidden()) is FORMS[form.__name__][0]
