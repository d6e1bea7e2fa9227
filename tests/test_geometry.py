from __future__ import annotations

import dataclasses
import itertools
from decimal import Decimal
from fractions import Fraction

import numpy as np
import oracles
import pytest
import torch
from helpers import geometries
from hypothesis import given, settings
from hypothesis import strategies as st

from longlora_edu.geometry import S2Geometry, S2Pattern, group_size_from_ratio

generated = settings(max_examples=80, deadline=None, derandomize=True)


def picture(mask):
    return ["".join("#" if allowed else "." for allowed in row) for row in mask]


# Rows are queries, columns are keys: eight tokens in groups of four.
PLAIN = [
    "#.......",
    "##......",
    "###.....",
    "####....",
    "....#...",
    "....##..",
    "....###.",
    "....####",
]
SHIFTED = {
    "split": [
        "#.......",
        "##......",
        "..#.....",
        "..##....",
        "..###...",
        "..####..",
        "......#.",
        "......##",
    ],
    "wrap": [
        "#.....##",
        "##....##",
        "..#.....",
        "..##....",
        "..###...",
        "..####..",
        "......#.",
        "......##",
    ],
    "masked": [
        "#.......",
        "##......",
        "..#.....",
        "..##....",
        "..###...",
        "..####..",
        "##....#.",
        "##....##",
    ],
}


@pytest.mark.parametrize("boundary", ["split", "wrap", "masked"])
def test_the_plain_and_the_shifted_head_look_like_their_pictures(boundary):
    plain, shifted = S2Geometry(8, 4, 2, boundary=boundary).mask()
    assert picture(plain) == PLAIN
    assert picture(shifted) == SHIFTED[boundary]


def test_an_odd_head_count_and_ragged_ends_look_like_their_picture():
    plain = [
        "#......",
        "##.....",
        "###....",
        "...#...",
        "...##..",
        "...###.",
        "......#",
    ]
    shifted = [
        "#......",
        "##.....",
        "..#....",
        "..##...",
        "..###..",
        ".....#.",
        ".....##",
    ]
    geometry = S2Geometry(7, 3, 3, shift=2)
    assert [picture(head) for head in geometry.mask()] == [plain, shifted, shifted]


def test_shift_zero_leaves_every_head_plain():
    for boundary in ("split", "wrap", "masked"):
        geometry = S2Geometry(8, 4, 2, shift=0, boundary=boundary)
        assert [picture(head) for head in geometry.mask()] == [PLAIN, PLAIN]
        assert geometry.cells(shifted=True) == geometry.cells(shifted=False)
        assert geometry.future_pairs() == 0


def test_a_group_larger_than_the_sequence_is_one_cell_on_plain_heads_and_is_cut_only_at_the_shift_on_shifted_ones():
    geometry = S2Geometry(6, 100, 2, shift=4)
    assert geometry.cells(shifted=False) == ((range(0, 6),),)
    assert geometry.cells(shifted=True) == ((range(0, 4),), (range(4, 6),))
    np.testing.assert_array_equal(geometry.mask(), oracles.mask_of(geometry))
    beyond = S2Geometry(6, 100, 2, shift=50)
    np.testing.assert_array_equal(beyond.mask(), np.broadcast_to(np.tri(6, dtype=bool), (2, 6, 6)))


@pytest.mark.parametrize(
    ("boundary", "expected"),
    [
        ("split", ((range(0, 2),), (range(2, 6),), (range(6, 8),))),
        ("wrap", ((range(2, 6),), (range(6, 8), range(0, 2)))),
        ("masked", ((range(2, 6),), (range(0, 2), range(6, 8)))),
    ],
)
def test_cells_are_listed_in_order_with_the_wrapped_one_last_and_in_its_causal_order(boundary, expected):
    geometry = S2Geometry(8, 4, 2, boundary=boundary)
    assert geometry.cells(shifted=False) == ((range(0, 4),), (range(4, 8),))
    assert geometry.cells(shifted=True) == expected


@pytest.mark.parametrize(
    ("heads", "plain", "shifted"), [(1, [], [0]), (2, [0], [1]), (9, [0, 1, 2, 3], [4, 5, 6, 7, 8])]
)
def test_the_later_and_larger_half_of_the_heads_is_shifted(heads, plain, shifted):
    geometry = S2Geometry(8, 4, heads)
    assert (list(geometry.plain_heads), list(geometry.shifted_heads)) == (plain, shifted)


@generated
@given(geometries())
def test_the_mask_is_the_definition_spelled_out_in_loops(geometry):
    np.testing.assert_array_equal(geometry.mask(), oracles.mask_of(geometry))


@generated
@given(geometries(max_len=8))
def test_allows_answers_for_single_integers_as_the_mask_does(geometry):
    mask = geometry.mask()
    for head, query, key in np.ndindex(mask.shape):
        assert geometry.allows(head, query, key) == mask[head, query, key]


@generated
@given(geometries(max_len=12))
def test_allows_answers_for_torch_tensors_as_the_mask_does(geometry):
    length = torch.arange(geometry.seq_len)
    head = torch.arange(geometry.num_heads)[:, None, None]
    allowed = geometry.allows(head, length[:, None], length)
    assert allowed.dtype == torch.bool
    np.testing.assert_array_equal(allowed.numpy(), geometry.mask())


@generated
@given(geometries())
def test_causal_attention_over_each_cell_as_listed_is_the_mask(geometry):
    built = np.zeros_like(geometry.mask())
    for head in range(geometry.num_heads):
        seen = []
        for cell in geometry.cells(shifted=head in geometry.shifted_heads):
            tokens = [token for piece in cell for token in piece]
            assert len(cell) <= 2
            assert 0 < len(tokens) <= geometry.group_size
            for place, query in enumerate(tokens):
                built[head, query, tokens[: place + 1]] = True
            seen += tokens
        assert sorted(seen) == list(range(geometry.seq_len))
    np.testing.assert_array_equal(built, geometry.mask())


@generated
@given(geometries())
def test_pairs_and_future_pairs_count_the_mask(geometry):
    mask = oracles.mask_of(geometry)
    assert geometry.pairs() == mask.sum()
    assert geometry.future_pairs() == np.triu(mask, k=1).sum()
    assert type(geometry.pairs()) is type(geometry.future_pairs()) is int


def test_pairs_in_closed_form_are_those_of_the_cells_one_by_one():
    for length, group in itertools.product(range(1, 15), range(1, 17)):
        for shift, boundary in itertools.product(range(group), ["split", "wrap", "masked"]):
            if boundary != "split" and length % group:
                continue
            for heads in (1, 2, 5):
                geometry = S2Geometry(length, group, heads, shift, boundary)
                plain, shifted = (
                    sum(tokens * (tokens + 1) // 2 for tokens in (sum(map(len, cell)) for cell in cells))
                    for cells in (geometry.cells(shifted=False), geometry.cells(shifted=True))
                )
                assert geometry.pairs() == (heads // 2) * plain + (heads - heads // 2) * shifted, geometry


def test_the_worked_example_of_pairs_is_right():
    geometry = S2Geometry(10, 4, 2, shift=1)
    assert [sum(map(sum, head)) for head in geometry.mask().tolist()] == [23, 22]
    assert geometry.pairs() == 23 + 22


def test_a_billion_tokens_are_counted_without_building_a_cell(monkeypatch):
    monkeypatch.setattr(S2Geometry, "cells", None)
    assert S2Geometry(10**9, 1, 2).pairs() == 2 * 10**9
    assert S2Geometry(10**9, 10, 3, shift=5).pairs() == 3 * 10**8 * 55 - 2 * (55 - 2 * 15)


def test_four_groups_cost_a_quarter_with_a_wrapped_cell_and_less_without():
    # 64 tokens in groups of 16: 4 cells of 136 pairs; without wrapping one of them becomes two of 36.
    assert S2Geometry(64, 16, 2, boundary="wrap").pairs() == 4 * 136 + 4 * 136
    assert S2Geometry(64, 16, 2, boundary="split").pairs() == 4 * 136 + 3 * 136 + 2 * 36


@settings(max_examples=40, deadline=None, derandomize=True)
@given(geometries(max_len=12), st.integers(1, 9))
def test_reach_is_the_closure_followed_token_by_token(geometry, num_layers):
    np.testing.assert_array_equal(geometry.reach(num_layers), oracles.closure(oracles.mask_of(geometry), num_layers))


@pytest.mark.parametrize("num_groups", [2, 3, 4, 8])
@pytest.mark.parametrize(("group_size", "shift"), [(2, 1), (4, 2), (5, 1), (5, 4)])
def test_without_wrapping_the_last_token_hears_the_first_after_exactly_2r_minus_1_layers(num_groups, group_size, shift):
    geometry = S2Geometry(num_groups * group_size, group_size, 2, shift)
    assert geometry.reach(2 * num_groups - 1)[-1, 0]
    assert not geometry.reach(2 * num_groups - 2)[-1, 0]


def test_wrapping_lets_every_token_hear_every_other_after_exactly_2r_layers():
    geometry = S2Geometry(16, 4, 2, boundary="wrap")
    np.testing.assert_array_equal(geometry.reach(8), np.ones((16, 16), dtype=bool))
    assert not geometry.reach(7).all()


@pytest.mark.parametrize("boundary", ["split", "masked"])
def test_without_the_leak_no_depth_lets_a_token_hear_the_future(boundary):
    reach = S2Geometry(16, 4, 2, boundary=boundary).reach(100)
    np.testing.assert_array_equal(reach, np.tri(16, dtype=bool))


def test_shift_defaults_to_half_a_group_rounded_down():
    assert S2Geometry(20, 4, 2).shift == 2
    assert S2Geometry(20, 5, 2).shift == 2
    assert S2Geometry(20, 1, 2).shift == 0


def test_constructors_round_the_group_up():
    assert S2Geometry.with_ratio(583, 1 / 4, 9).group_size == 146
    assert S2Geometry.with_groups(583, 4, 9).group_size == 146
    assert S2Geometry.with_ratio(9, 1 / 3, 2).group_size == 3
    assert S2Geometry.with_ratio(9, Fraction(1, 3), 2).group_size == 3
    assert S2Geometry.with_ratio(8, 1, 2).group_size == 8
    assert S2Geometry.with_groups(5, 100, 2).group_size == 1


def test_a_ratio_written_as_a_float_is_taken_for_the_fraction_that_was_meant():
    # As a binary number 0.1 is a little more than a tenth: rounding that up would give 2.
    assert group_size_from_ratio(10, 0.1) == 1


@pytest.mark.parametrize(
    ("length", "ratio", "expected"),
    [
        (10_000_000, 4e-7, 4),
        (10_000_001, 4e-7, 5),
        (4_000_000, 1 / 2_000_000, 2),
        (10**15, 1e-9, 10**6),
        (3 * (10**9 + 7), Fraction(1, 10**9 + 7), 3),
        (2**90, Fraction(2**89 + 1, 2**90), 2**89 + 1),
        (np.int64(2**62), Fraction(3, 4), 3 * 2**60),
    ],
)
def test_a_ratio_is_exact_however_fine(length, ratio, expected):
    assert group_size_from_ratio(length, ratio) == expected


def test_millions_of_groups_are_exact():
    assert S2Geometry.with_groups(4_000_000, 2_000_000, 2).group_size == 2
    assert S2Geometry.with_groups(10**18 + 1, 10**9, 2).group_size == 10**9 + 1


@generated
@given(st.integers(1, 2**26), st.data())
def test_a_float_is_taken_for_the_fraction_that_it_was_divided_from(denominator, data):
    numerator = data.draw(st.integers(1, denominator))
    assert group_size_from_ratio(denominator, numerator / denominator) == numerator
    assert group_size_from_ratio(denominator + 1, numerator / denominator) == numerator + 1


@generated
@given(st.floats(0, 1, exclude_min=True))
def test_any_float_gives_a_group(ratio):
    length = 10**6
    group = group_size_from_ratio(length, ratio)
    assert group - 1 < length * Fraction(ratio) * (1 + Fraction(1, 2**52))
    assert group >= length * Fraction(ratio) * (1 - Fraction(1, 2**52))


@generated
@given(st.integers(1, 1000), st.integers(1, 64))
def test_a_ratio_of_one_over_r_is_r_groups(length, num_groups):
    by_groups = S2Geometry.with_groups(length, num_groups, 2)
    assert S2Geometry.with_ratio(length, 1 / num_groups, 2) == by_groups
    assert by_groups.group_size == -(-length // num_groups)
    assert len(by_groups.cells(shifted=False)) <= num_groups


def test_constructors_pass_shift_and_boundary_on():
    expected = S2Geometry(16, 4, 2, 1, "wrap")
    assert S2Geometry.with_groups(16, 4, 2, 1, "wrap") == expected
    assert S2Geometry.with_ratio(16, 1 / 4, 2, shift=1, boundary="wrap") == expected


def test_a_geometry_is_a_value():
    geometry = S2Geometry(8, 4, 2)
    same = S2Geometry(8, 4, 2, shift=2, boundary="split")
    assert geometry == same
    assert hash(geometry) == hash(same)
    assert {geometry: "found"}[same] == "found"
    assert geometry != S2Geometry(8, 4, 2, shift=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        geometry.shift = 1


def test_each_mask_is_the_callers_own():
    geometry = S2Geometry(8, 4, 2)
    geometry.mask()[:] = False
    np.testing.assert_array_equal(geometry.mask(), oracles.mask_of(geometry))


def test_numpy_integers_are_welcome_and_stored_as_python_integers():
    geometry = S2Geometry(np.int64(8), np.int32(4), np.uint8(2), np.int16(1))
    assert geometry == S2Geometry(8, 4, 2, 1)
    fields = (geometry.seq_len, geometry.group_size, geometry.num_heads, geometry.shift)
    assert [type(field) for field in fields] == [int] * 4


@pytest.mark.parametrize("name", ["seq_len", "group_size", "num_heads", "shift"])
@pytest.mark.parametrize("value", [True, np.True_, 4.0, "4", 1 + 0j])
def test_what_is_not_an_integer_is_refused(name, value):
    fields = {"seq_len": 8, "group_size": 4, "num_heads": 2, "shift": 1, name: value}
    with pytest.raises(ValueError, match=f"{name} must be an integer, got "):
        S2Geometry(**fields)


@pytest.mark.parametrize("name", ["seq_len", "group_size", "num_heads"])
@pytest.mark.parametrize("value", [0, -3])
def test_a_size_that_is_not_positive_is_refused(name, value):
    fields = {"seq_len": 8, "group_size": 4, "num_heads": 2, name: value}
    with pytest.raises(ValueError, match=f"{name} must be positive, got {value}"):
        S2Geometry(**fields)


@pytest.mark.parametrize("shift", [-1, 4, 9])
def test_a_shift_outside_the_group_is_refused(shift):
    with pytest.raises(ValueError, match=f"shift must be from 0 to group_size - 1 = 3, got {shift}"):
        S2Geometry(8, 4, 2, shift)


@pytest.mark.parametrize("boundary", ["leaky", "", None, ["split"]])
def test_an_unknown_boundary_is_refused(boundary):
    with pytest.raises(ValueError, match="boundary must be one of split, wrap, masked, got "):
        S2Geometry(8, 4, 2, boundary=boundary)


@pytest.mark.parametrize("boundary", ["wrap", "masked"])
@pytest.mark.parametrize("length", [3, 6])
def test_a_ragged_end_is_refused_where_the_shifted_cell_wraps(boundary, length):
    message = f"seq_len must be a multiple of group_size under boundary='{boundary}', got {length} and 4"
    with pytest.raises(ValueError, match=message):
        S2Geometry(length, 4, 2, boundary=boundary)


def test_a_ratio_however_small_leaves_a_group_of_one_token():
    assert group_size_from_ratio(8, 1e-9) == 1
    assert S2Geometry.with_ratio(8, Fraction(1, 10**9), 2).group_size == 1


@pytest.mark.parametrize("ratio", [0, -0.5, 1.01, float("nan"), True, np.True_, "1/4", Decimal("0.25"), 0.5j, None])
def test_a_ratio_that_is_not_a_number_from_0_to_1_is_refused(ratio):
    with pytest.raises(ValueError, match=r"ratio must be a number above 0 and at most 1, got "):
        S2Geometry.with_ratio(8, ratio, 2)


@pytest.mark.parametrize(
    ("num_groups", "message"), [(0, "must be positive, got 0"), (2.5, "must be an integer, got 2.5")]
)
def test_a_number_of_groups_that_is_not_a_positive_integer_is_refused(num_groups, message):
    with pytest.raises(ValueError, match=f"num_groups {message}"):
        S2Geometry.with_groups(8, num_groups, 2)


def test_the_constructors_name_a_bad_length_too():
    for construct in (S2Geometry.with_ratio, S2Geometry.with_groups):
        with pytest.raises(ValueError, match="seq_len must be positive, got 0"):
            construct(0, 1, 2)
    with pytest.raises(ValueError, match=r"seq_len must be an integer, got 8\.5"):
        group_size_from_ratio(8.5, 1 / 4)


def test_reach_through_no_layers_is_refused():
    with pytest.raises(ValueError, match="num_layers must be positive, got 0"):
        S2Geometry(8, 4, 2).reach(0)


@generated
@given(geometries())
def test_a_pattern_laid_over_a_sequence_is_the_geometry(geometry):
    pattern = S2Pattern(geometry.group_size, geometry.shift, geometry.boundary)
    assert pattern.geometry(geometry.seq_len, geometry.num_heads) == geometry


def test_a_pattern_is_a_value_with_its_shift_filled_in():
    pattern = S2Pattern(np.int64(4))
    assert (pattern.shift, pattern.boundary) == (2, "split")
    assert {pattern: "found"}[S2Pattern(4, 2)] == "found"
    with pytest.raises(dataclasses.FrozenInstanceError):
        pattern.group_size = 8


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((0,), "group_size must be positive, got 0"),
        ((True,), "group_size must be an integer, got True"),
        ((4, 4), "shift must be from 0 to group_size - 1 = 3, got 4"),
        ((4, True), "shift must be an integer, got True"),
        ((4, 2, "leaky"), "boundary must be one of split, wrap, masked, got 'leaky'"),
    ],
)
def test_a_pattern_refuses_what_no_geometry_could_have(fields, message):
    with pytest.raises(ValueError, match=message):
        S2Pattern(*fields)


def test_a_pattern_that_wraps_refuses_the_ragged_length_when_it_meets_it():
    with pytest.raises(ValueError, match="seq_len must be a multiple of group_size under boundary='wrap', got 6 and 4"):
        S2Pattern(4, boundary="wrap").geometry(6, 2)
