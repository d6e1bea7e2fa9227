from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from longlora_edu.geometry import S2Geometry
from longlora_edu.rope import Leap, Rope

HEAD_DIMS = [32, 48, 64, 128]
BASES = [200.0, 10_000.0, 500_000.0]
FACTORS = [2, 4, 8, 3.5]
TRAINED_LENGTHS = [6, 16, 256, 4096]  # within 6 tokens nothing turns once, and YaRN's ramp has no width
STRETCHING = ["linear", "ntk", "dynamic", "yarn"]
# No absolute tolerance: the lowest frequencies are themselves near 1e-6, and they are what stretching is about.
CLOSE = {"rtol": 1e-6}


def transformers_config(rope, trained_length):
    """The config that a stretched model is saved with."""
    length = trained_length if rope.method == "dynamic" else round(trained_length * rope.factor)
    return LlamaConfig(
        hidden_size=rope.head_dim,
        num_attention_heads=1,
        head_dim=rope.head_dim,
        max_position_embeddings=length,
        rope_parameters=rope.rope_parameters(),
    )


def ropes(method, head_dim):
    for base in BASES:
        for factor in FACTORS if method != "default" else [1]:
            for trained_length in TRAINED_LENGTHS:
                for fast in (32, 8) if method == "yarn" else (32,):
                    yield Rope(head_dim, base, method, factor, trained_length, fast)


def loop_frequencies(head_dim, base):
    return [base ** (-2 * i / head_dim) for i in range(head_dim // 2)]


@pytest.mark.parametrize("head_dim", HEAD_DIMS)
@pytest.mark.parametrize("method", ["default", *STRETCHING])
def test_frequencies_and_attention_factor_are_those_of_transformers(method, head_dim):
    for rope in ropes(method, head_dim):
        rotary = LlamaRotaryEmbedding(transformers_config(rope, rope.trained_length))
        np.testing.assert_allclose(rope.frequencies(), rotary.inv_freq.numpy(), **CLOSE, err_msg=str(rope))
        np.testing.assert_allclose(rope.attention_factor, rotary.attention_scaling, rtol=1e-12, err_msg=str(rope))


@pytest.mark.parametrize("head_dim", HEAD_DIMS)
def test_dynamic_frequencies_are_those_of_transformers_at_every_length(head_dim):
    for rope in ropes("dynamic", head_dim):
        config = transformers_config(rope, rope.trained_length)
        for share in (0.5, 1, 1.25, 2, rope.factor, 2 * rope.factor):
            length = round(rope.trained_length * share)
            frequencies, scaling = ROPE_INIT_FUNCTIONS["dynamic"](config, "cpu", seq_len=length)
            np.testing.assert_allclose(
                rope.frequencies(length), frequencies.numpy(), **CLOSE, err_msg=f"{rope} {length}"
            )
            np.testing.assert_allclose(rope.attention_factor, scaling)


@pytest.mark.parametrize("method", ["default", *STRETCHING])
def test_tables_are_the_cos_and_sin_that_transformers_rotates_by(method):
    import torch

    rope = Rope(32, 10_000.0, method, 1 if method == "default" else 4, 16)
    positions = torch.arange(40)[None]
    cos, sin = LlamaRotaryEmbedding(transformers_config(rope, 16))(torch.zeros(1), positions)
    ours = rope.tables(np.arange(40))
    # transformers repeats the table for the second feature of each pair; positions of 40 amplify float32 to 1e-5.
    np.testing.assert_allclose(ours[0], cos[0, :, :16].numpy(), atol=1e-5)
    np.testing.assert_allclose(ours[1], sin[0, :, :16].numpy(), atol=1e-5)


def test_default_frequencies_are_powers_of_the_base():
    np.testing.assert_allclose(Rope(8, 200.0).frequencies(), loop_frequencies(8, 200.0), rtol=1e-14)


@pytest.mark.parametrize("factor", FACTORS)
def test_linear_is_the_trained_rotation_at_positions_divided_by_the_factor(factor):
    positions = np.array([0, 1, 7, 63, 1000])
    cos, sin = Rope(8, 10_000.0, "linear", factor).tables(positions)
    angles = [[position / factor * frequency for frequency in loop_frequencies(8, 1e4)] for position in positions]
    np.testing.assert_allclose(cos, np.cos(angles), atol=1e-12)
    np.testing.assert_allclose(sin, np.sin(angles), atol=1e-12)


@pytest.mark.parametrize("head_dim", HEAD_DIMS)
@pytest.mark.parametrize("factor", FACTORS)
def test_ntk_keeps_the_highest_frequency_and_interpolates_the_lowest(head_dim, factor):
    stretched = Rope(head_dim, 10_000.0, "ntk", factor).frequencies()
    trained = loop_frequencies(head_dim, 10_000.0)
    np.testing.assert_allclose(stretched[0], trained[0], rtol=1e-14)
    np.testing.assert_allclose(stretched[-1], trained[-1] / factor, rtol=1e-12)


@pytest.mark.parametrize("method", STRETCHING)
@pytest.mark.parametrize("head_dim", HEAD_DIMS)
def test_no_method_leaves_the_frequencies_at_the_target_as_they_were_trained(method, head_dim):
    for rope in ropes(method, head_dim):
        target = round(rope.trained_length * rope.factor)
        change = np.abs(rope.frequencies(target) / loop_frequencies(head_dim, rope.base) - 1).max()
        assert change > 0.1, rope


@pytest.mark.parametrize("method", STRETCHING)
def test_a_factor_of_1_is_the_trained_rotation(method):
    rope = Rope(32, 10_000.0, method, 1, 64)
    np.testing.assert_allclose(rope.frequencies(64), loop_frequencies(32, 1e4), rtol=1e-14)
    assert rope.attention_factor == 1.0


def test_dynamic_leaves_lengths_within_the_trained_one_alone():
    rope = Rope(32, 10_000.0, "dynamic", 8, 64)
    for length in (None, 1, 63, 64):
        np.testing.assert_array_equal(rope.frequencies(length), Rope(32, 10_000.0).frequencies())
    np.testing.assert_array_equal(rope.tables(np.arange(64))[0], Rope(32, 10_000.0).tables(np.arange(64))[0])


def test_dynamic_needs_more_than_its_factor_at_the_target():
    """With transformers' formula the factor at length n is factor * n / trained - (factor - 1): 57 for 8 x 8."""
    np.testing.assert_array_equal(
        Rope(32, 1e4, "dynamic", 8, 64).frequencies(512), Rope(32, 1e4, "ntk", 57, 64).frequencies()
    )


def test_yarn_on_llama_2_stretched_8_times_ramps_from_pair_20_to_pair_46():
    rope = Rope(128, 10_000.0, "yarn", 8, 4096)
    ratio = rope.frequencies() / loop_frequencies(128, 10_000.0)
    np.testing.assert_allclose(ratio[:21], 1, rtol=1e-12)
    np.testing.assert_allclose(ratio[46:], 1 / 8, rtol=1e-12)
    for i in range(21, 46):
        share = (i - 20) / (46 - 20)
        np.testing.assert_allclose(ratio[i], share / 8 + (1 - share), rtol=1e-12)
    assert round(rope.attention_factor, 3) == 1.208
    np.testing.assert_allclose(rope.attention_factor, 0.1 * math.log(8) + 1, rtol=1e-15)


def test_a_smaller_fast_end_keeps_more_frequencies_of_yarn():
    # Head dim 16 at 256 tokens: pairs 0, 1 and 2 turn 40.7, 12.9 and 4.07 times, pair 4 less than once.
    kept = Rope(16, 10_000.0, "yarn", 8, 256, 8).frequencies() / Rope(16, 10_000.0).frequencies()
    np.testing.assert_allclose(kept[:6], [1, 1, 1 - 7 / 24, 1 - 14 / 24, 1 / 8, 1 / 8])


def test_yarn_multiplies_cos_and_sin_by_its_attention_factor():
    rope = Rope(8, 10_000.0, "yarn", 8, 64)
    cos, sin = rope.tables(np.arange(5))
    np.testing.assert_allclose(cos**2 + sin**2, np.full((5, 4), rope.attention_factor**2), rtol=1e-12)


def test_ntk_base_of_llama_2_stretched_8_times_is_82_685():
    assert round(Rope(128, 10_000.0, "ntk", 8).stretched_base) == 82_685


@pytest.mark.parametrize("method", ["default", "linear", "dynamic", "yarn"])
def test_a_rule_survives_the_way_through_a_transformers_config(method):
    for rope in ropes(method, 48):
        maximum = transformers_config(rope, rope.trained_length).max_position_embeddings
        again = Rope.from_rope_parameters(rope.rope_parameters(), head_dim=48, max_position_embeddings=maximum)
        assert again == rope


def test_ntk_comes_back_as_default_with_the_same_frequencies():
    rope = Rope(48, 10_000.0, "ntk", 3.5, 256)
    again = Rope.from_rope_parameters(rope.rope_parameters(), head_dim=48, max_position_embeddings=896)
    assert (again.method, again.trained_length) == ("default", 896)
    np.testing.assert_array_equal(again.frequencies(), rope.frequencies())


def test_fields_that_transformers_writes_as_none_are_no_fields():
    parameters = {"rope_type": "default", "rope_theta": 1e4, "factor": None, "original_max_position_embeddings": None}
    assert Rope.from_rope_parameters(parameters, head_dim=8, max_position_embeddings=64) == Rope(8, trained_length=64)


def test_reading_rope_parameters_leaves_them_as_they_are():
    parameters = {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}
    Rope.from_rope_parameters(parameters, head_dim=8, max_position_embeddings=64)
    assert parameters == {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}


def test_attention_factors_that_were_rounded_for_publication_are_taken():
    yarn = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 8.0, "original_max_position_embeddings": 64}
    exact = 0.1 * math.log(8) + 1
    for near in (exact, round(exact, 7)):
        read = Rope.from_rope_parameters(yarn | {"attention_factor": near}, head_dim=8, max_position_embeddings=512)
        assert read == Rope(8, 1e4, "yarn", 8, 64)
    with pytest.raises(ValueError, match="must hold only the fields of 'yarn', got {'attention_factor': 1.208}"):
        Rope.from_rope_parameters(yarn | {"attention_factor": 1.208}, head_dim=8, max_position_embeddings=512)


@pytest.mark.parametrize("trained_length", [64, 4096])
def test_yarns_ramp_ends_at_the_last_feature_where_no_pair_is_slow(trained_length):
    # With base 2 and 8 features every pair turns often: the ramp would end past the head, and is cut there.
    rope = Rope(8, 2.0, "yarn", 4, trained_length)
    rotary = LlamaRotaryEmbedding(transformers_config(rope, trained_length))
    np.testing.assert_allclose(rope.frequencies(), rotary.inv_freq.numpy(), **CLOSE)


def test_no_positions_have_empty_tables():
    cos, sin = Rope(8, 1e4, "dynamic", 2, 4).tables(np.arange(0))
    assert cos.shape == sin.shape == (0, 4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"head_dim": 7}, "head_dim must be even and at least 2, got 7"),
        ({"head_dim": 0}, "head_dim must be even and at least 2, got 0"),
        ({"base": 1.0}, "base must be finite and above 1, got 1.0"),
        ({"base": math.nan}, "base must be finite and above 1, got nan"),
        ({"base": math.inf}, "base must be finite and above 1, got inf"),
        ({"method": "longrope"}, "method must be one of default, linear, ntk, dynamic, yarn, got 'longrope'"),
        ({"method": "linear", "factor": 0.5}, "factor must be finite and at least 1, got 0.5"),
        ({"method": "linear", "factor": math.nan}, "factor must be finite and at least 1, got nan"),
        ({"method": "linear", "factor": math.inf}, "factor must be finite and at least 1, got inf"),
        ({"factor": 2.0}, "factor must be 1 for method='default', which stretches nothing, got 2.0"),
        ({"head_dim": 2, "method": "ntk", "factor": 2}, "head_dim must be at least 4 for method='ntk', got 2"),
        ({"head_dim": 2, "method": "dynamic", "factor": 2}, "head_dim must be at least 4 for method='dynamic', got 2"),
        ({"method": "yarn", "factor": 2}, "trained_length must be given for method='yarn', got None"),
        ({"method": "dynamic", "factor": 2}, "trained_length must be given for method='dynamic', got None"),
        ({"trained_length": 0}, "trained_length must be positive, got 0"),
        ({"beta_fast": 8}, "beta_fast must be 32 for method='default', got 8"),
        (
            {"method": "yarn", "trained_length": 8, "beta_fast": float("inf")},
            "beta_fast must be finite and above 1, got inf",
        ),
    ],
)
def test_a_rope_that_cannot_be_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Rope(**{"head_dim": 8} | fields)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"rope_type": "llama3"}, "rope_type must be one of default, dynamic, linear, yarn, got 'llama3'"),
        ({"rope_type": "ntk"}, "rope_type must be one of default, dynamic, linear, yarn, got 'ntk'"),
        ({"rope_type": "yarn", "factor": 2, "beta_slow": 2}, r"fields of 'yarn', got \{'beta_slow': 2\}"),
        ({"rope_type": "yarn", "factor": 2, "beta_fast": 1}, "beta_fast must be finite and above 1, got 1"),
        ({"rope_type": "linear", "factor": 2, "beta_fast": 16}, r"fields of 'linear', got \{'beta_fast': 16\}"),
        ({"partial_rotary_factor": 0.5}, r"only the fields of 'default', got \{'partial_rotary_factor': 0.5\}"),
        ({"factor": 4.0}, "factor must be 1 for method='default'"),
        ({"rope_theta": None}, "rope_parameters must state rope_theta for 'default', got none"),
        ({"rope_type": "linear"}, "rope_parameters must state factor for 'linear', got none"),
        ({"rope_type": "yarn"}, "rope_parameters must state factor for 'yarn', got none"),
        (
            {"rope_type": "dynamic", "factor": 2, "original_max_position_embeddings": 32},
            "original_max_position_embeddings must equal max_position_embeddings = 64 for 'dynamic', got 32",
        ),
    ],
)
def test_rope_parameters_that_would_change_their_meaning_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        Rope.from_rope_parameters({"rope_theta": 1e4} | parameters, head_dim=8, max_position_embeddings=64)


# Positions that leap. What training does with them is held in tests/training/test_leap.py.

TARGET, GROUP = 1024, 128
SIZES = [(1024, 128), (1024, 7), (61, 8), (5, 8), (300, 1024)]


def drawn(leap, length, count=20):
    return [leap.positions(length, np.random.default_rng(seed)) for seed in range(count)]


def half_groups(length, group):
    """The plain and the shifted cells of the geometry cut the text into these."""
    geometry = S2Geometry(length, group, 2)
    starts = {cell[0].start for shifted in (False, True) for cell in geometry.cells(shifted=shifted) if len(cell[0])}
    borders = [*sorted(starts), length]
    return [range(*pair) for pair in zip(borders, borders[1:], strict=False)]


@pytest.mark.parametrize("draw", ["uniform", "log"])
@pytest.mark.parametrize(("length", "group"), SIZES)
def test_each_half_group_keeps_its_own_order(length, group, draw):
    for positions in drawn(Leap(group, TARGET, 0.5, draw), length):
        assert positions.shape == (length,) and positions[0] == 0
        assert (np.diff(positions) >= 1).all()
        for half in half_groups(length, group):
            np.testing.assert_array_equal(positions[half] - positions[half.start], np.arange(len(half)))


@pytest.mark.parametrize("draw", ["uniform", "log"])
@pytest.mark.parametrize(("length", "group"), SIZES)
def test_no_two_tokens_of_a_cell_are_the_target_apart(length, group, draw):
    geometry = S2Geometry(length, group, 2)
    for positions in drawn(Leap(group, TARGET, 1, draw), length):
        for shifted in (False, True):
            for (cell,) in geometry.cells(shifted=shifted):
                assert not len(cell) or positions[cell[-1]] - positions[cell[0]] < TARGET


def test_leaps_reach_as_far_as_the_target_and_as_near_as_no_leap():
    most = [positions[127] - positions[0] for positions in drawn(Leap(128, TARGET, 1), 128, 500)]
    assert min(most) < 127 + 20
    assert TARGET - 20 < max(most) < TARGET


def test_logarithmic_distances_are_nearer():
    near = [np.median([p[64] for p in drawn(Leap(128, TARGET, 1, draw), 128, 500)]) for draw in ("uniform", "log")]
    # From 64 to 960: the middle of the interval, and of its logarithms.
    np.testing.assert_allclose(near, [(64 + 960) / 2, (64 * 960) ** 0.5], rtol=0.15)


@pytest.mark.parametrize(("probability", "low", "high"), [(0.0, 0, 0), (0.25, 0.21, 0.29), (1.0, 0.98, 1)])
def test_borders_leap_as_often_as_asked(probability, low, high):
    steps = [np.diff(positions)[63::64] for positions in drawn(Leap(128, TARGET, probability), 4096)]
    assert low <= (np.concatenate(steps) > 1).mean() <= high


def test_a_group_as_long_as_the_target_has_no_room_to_leap():
    positions = Leap(TARGET, TARGET, 1).positions(TARGET, np.random.default_rng(0))
    np.testing.assert_array_equal(positions, np.arange(TARGET))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((1, TARGET, 0.5), "group_size must"),
        ((TARGET + 1, TARGET, 0.5), "group_size must"),
        ((GROUP, TARGET, 1.5), "probability must be from 0 to 1, got 1.5"),
        ((GROUP, 0, 0.5), "target must be"),
        ((GROUP, TARGET, 0.5, "even"), "draw must be one of uniform, log, got 'even'"),
    ],
)
def test_leaps_that_cannot_be_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Leap(*fields)


def test_every_border_may_leap_to_the_target():
    positions = np.array(drawn(Leap(128, TARGET, 1), 512, 300))
    for first in range(0, 448, 64):  # of two half groups
        spans = positions[:, first + 127] - positions[:, first]
        assert TARGET - 20 < spans.max() < TARGET and spans.min() < 127 + 20


def test_numbers_of_numpy_become_plain_ones():
    rope = Rope(np.int64(8), np.int64(100), "yarn", np.int64(2), np.int64(64), np.int64(16))
    leap = Leap(np.int64(8), np.int64(64), np.float64(0.5))
    for value in (*dataclasses.astuple(rope), *dataclasses.astuple(leap)):
        assert type(value).__module__ == "builtins"


def test_half_groups_begin_where_the_shifted_cells_do():
    assert Leap(8, 64, 0.5).borders(20) == [0, 4, 8, 12, 16]
    assert Leap(7, 64, 0.5).borders(15) == [0, 3, 7, 10, 14]
    assert Leap(2, 64, 0.5).borders(3) == [0, 1, 2]
    assert Leap(8, 64, 0.5).borders(0) == []
