"""The pictures of the explorers: positions, ranks, FLOPs and bytes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text

from longlora_edu import plots
from longlora_edu.cost import ModelShape, forward_flops
from longlora_edu.geometry import S2Geometry
from longlora_edu.plots import PROJECTOR, Budget
from longlora_edu.plots.budget import binary, short
from longlora_edu.rope import Rope

generated = settings(max_examples=40, deadline=None, derandomize=True)

METHODS = ("default", "linear", "ntk", "dynamic", "yarn")
TINY = ModelShape(width=6, layers=2, heads=3, kv_heads=3, head_dim=4, ffn_width=5, vocabulary=7)
LLAMA = ModelShape.llama2_7b()
SPECTRA = {"random": np.linspace(5, 1, 9), "update": 0.5 ** np.arange(9)}
BUDGET = Budget(TINY, S2Geometry(12, 4, 3), causal=True)


def rope(method, factor=8.0, head_dim=48, base=10_000.0, trained=256):
    return Rope(head_dim, base, method, 1.0 if method == "default" else factor, trained)


DRAWINGS = {
    "wavelengths": lambda **options: plots.plot_wavelengths(rope("yarn"), 2048, **options),
    "angles": lambda **options: plots.plot_angles(rope("ntk"), 2048, **options),
    "energy": lambda **options: plots.plot_energy(SPECTRA, 4, **options),
    "trained weights": lambda **options: plots.plot_trained_weights({"tiny": TINY, "large": LLAMA}, 4, **options),
    "flops": lambda **options: plots.plot_flops(BUDGET, **options),
    "bytes": lambda **options: plots.plot_bytes(BUDGET, **options),
}


def lines(ax):
    return {line.get_label(): line for line in ax.get_lines()}


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_a_picture_goes_into_the_axes_it_is_given(draw):
    ax = Figure().subplots()
    assert draw(ax=ax) is ax
    assert draw() is not draw()


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_the_projector_style_can_be_read_from_the_last_row(draw):
    ax = draw(style=PROJECTOR)
    ax.figure.draw_without_rendering()
    assert min(text.get_fontsize() for text in ax.figure.findobj(Text) if text.get_text()) >= 14
    drawn = [*ax.get_lines(), *(line for legend in ax.figure.findobj(Legend) for line in legend.findobj(Line2D))]
    widths = [line.get_linewidth() for line in drawn if line.get_linestyle() != "None"]
    widths += [patch.get_linewidth() for patch in ax.patches if patch.get_linewidth()]
    assert min(widths, default=3) * 100 / 72 >= 3


# Angles.


@pytest.mark.parametrize("method", METHODS)
def test_wavelengths_and_ratios_are_those_of_the_angles_that_are_turned(method):
    rule, trained, target = rope(method, head_dim=16, trained=64, factor=4.0), 64, 256
    found = plots.pair_angles(rule, target)
    cos, sin = rule.tables(np.arange(target))
    for pair in range(8):
        as_trained = 10_000.0 ** (-2 * pair / 16)
        under_rule = math.atan2(sin[1, pair], cos[1, pair])  # of one token; less than half a turn
        assert found.trained[pair] == pytest.approx(2 * math.pi / as_trained)
        assert found.stretched[pair] == pytest.approx(2 * math.pi / under_rule)
        assert found.turned[pair] == (trained * as_trained >= 2 * math.pi)
        assert found.near[pair] == pytest.approx(under_rule / as_trained)
        assert found.far[pair] == pytest.approx(target * under_rule / (trained * as_trained))
        is_new = target * under_rule > trained * as_trained * (1 + 1e-6) and trained * as_trained < 2 * math.pi
        assert found.unseen[pair] == is_new


@given(
    method=st.sampled_from(METHODS),
    factor=st.integers(1, 16),
    half=st.integers(2, 32),
    base=st.sampled_from([100.0, 10_000.0, 500_000.0]),
    trained=st.sampled_from([16, 256, 4096]),
)
@generated
def test_a_rule_chooses_between_near_and_far_and_cannot_have_both(method, factor, half, base, trained):
    found = plots.pair_angles(rope(method, float(factor), 2 * half, base, trained), factor * trained)
    np.testing.assert_allclose(found.far, factor * found.near)
    assert not (found.unseen & found.turned).any()
    if method == "linear":
        assert not found.unseen.any()
        np.testing.assert_allclose(found.near, 1 / factor)
    if method == "default":
        np.testing.assert_array_equal(found.near, 1)
        np.testing.assert_array_equal(found.unseen, ~found.turned & (factor > 1))


def test_yarn_leaves_no_new_angle_and_ntk_does_at_the_sizes_of_the_small_model():
    unseen = {method: int(plots.pair_angles(rope(method), 2048).unseen.sum()) for method in METHODS}
    assert unseen == {"default": 14, "linear": 0, "ntk": 13, "dynamic": 2, "yarn": 0}


def test_angles_are_refused_where_they_have_no_meaning():
    with pytest.raises(ValueError, match="rope must state its trained_length, got None"):
        plots.pair_angles(Rope(8), 64)
    with pytest.raises(ValueError, match="target_length must be at least the trained length 256, got 255"):
        plots.pair_angles(rope("linear"), 255)


def test_wavelengths_are_drawn_before_and_under_the_rule():
    found = plots.pair_angles(rope("linear"), 2048)
    ax = plots.plot_wavelengths(rope("linear"), 2048)
    np.testing.assert_allclose(lines(ax)["default, as trained"].get_ydata(), found.trained)
    np.testing.assert_allclose(lines(ax)["linear (PI)"].get_ydata(), found.stretched)
    assert lines(ax)["trained length 256"].get_ydata()[0] == 256
    assert lines(ax)["target length 2,048"].get_ydata()[0] == 2048
    assert ax.get_title("left") == "Pairs that turned full circle in training: 10 of 24"
    assert ax.get_ylim()[1] > found.stretched.max()
    assert list(lines(plots.plot_wavelengths(rope("default"), 2048))) == [
        "trained length 256", "target length 2,048", "default, as trained",
    ]  # fmt: skip


def test_angles_are_drawn_near_and_far_with_the_new_ones_marked():
    found = plots.pair_angles(rope("ntk"), 2048)
    ax = plots.plot_angles(rope("ntk"), 2048)
    np.testing.assert_allclose(lines(ax)["near: between neighbours"].get_ydata(), found.near)
    np.testing.assert_allclose(lines(ax)["far: over the whole length"].get_ydata(), found.far)
    np.testing.assert_array_equal(lines(ax)["never seen in training"].get_xdata(), np.flatnonzero(found.unseen))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["1/8", "1/4", "1/2", "1", "2", "4", "8"]
    assert ax.get_title("left") == "Pairs that meet angles never seen: 13 of 24"


def test_words_have_the_numbers_of_the_angles():
    said = plots.describe_wavelengths(rope("linear"), 2048)
    assert "turn once in 6 to 42,807 tokens as trained, and in 50 to 342,455 under linear (PI); 10 of them" in said
    said = plots.describe_angles(rope("yarn"), 2048)
    assert "between neighbours is 0.125 to 1 times that of training" in said
    assert said.endswith("0 of 24 pairs meet angles never seen in training; scores are multiplied by 1.46.")
    assert plots.describe_angles(rope("default"), 2048).endswith("14 of 24 pairs meet angles never seen in training.")


# Ranks.


def test_kept_energy_is_what_the_best_approximation_of_each_rank_keeps():
    matrix = np.random.default_rng(0).standard_normal((6, 4))
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    kept = plots.kept_energy(values)
    for rank in range(5):
        closest = sum((values[i] * np.outer(left[:, i], right[i]) for i in range(rank)), np.zeros((6, 4)))
        assert kept[rank] == pytest.approx((closest**2).sum() / (matrix**2).sum())
    np.testing.assert_allclose(plots.kept_energy([2, 1, 0, 0]), [0, 0.8, 1, 1, 1])


@pytest.mark.parametrize("values", [[], [0, 0], [1, 2], [1, -1], [[1]]])
def test_what_are_no_singular_values_is_refused(values):
    with pytest.raises(ValueError, match="singular_values must be one row of numbers from the largest down"):
        plots.kept_energy(values)


def test_trained_weights_are_those_of_the_recipe_on_the_small_model():
    from longlora_edu.longlora import LongLoRAConfig, apply_longlora
    from longlora_edu.model import bundled_model
    from longlora_edu.widgets.shapes import known_shapes

    report = apply_longlora(bundled_model(), LongLoRAConfig(1024, rank=4))
    shape = known_shapes()["small model"]
    parts = plots.trained_weights(shape, 4)
    assert sum(parts.values()) == report.trainable_parameters
    assert shape.parameters.total + parts["LoRA on attention"] == report.all_parameters
    assert plots.trained_weights(LLAMA, 8) == {
        "LoRA on attention": 8_388_608, "embeddings": 131_072_000, "norms": 266_240,
    }  # fmt: skip


def test_the_kept_share_is_drawn_at_the_rank():
    ax = plots.plot_energy(SPECTRA, 2)
    for name, said in (("random", "47\u00a0%"), ("update", "94\u00a0%")):
        (line,) = (line for line in ax.get_lines() if line.get_label() == f"{name}: {said}")
        assert (line.get_xdata(), line.get_ydata()) == ([2], [plots.kept_energy(SPECTRA[name])[2]])
    looks = {(line.get_marker(), line.get_linestyle()) for line in ax.get_lines()}
    assert len(looks) >= 4, "not by colour alone"


def test_ranks_and_spectra_that_cannot_be_drawn_are_refused():
    for rank in (0, 10):
        with pytest.raises(ValueError, match=f"rank must be from 1 to 9 for random, got {rank}"):
            plots.plot_energy(SPECTRA, rank)
    with pytest.raises(ValueError, match="spectra must be at most 3, got 4"):
        plots.plot_energy(dict.fromkeys("abcd", [1.0]), 1)
    with pytest.raises(ValueError, match="shapes must be at most 3, got 4"):
        plots.plot_trained_weights(dict.fromkeys("abcd", TINY), 1)


def test_shares_of_trained_weights_are_of_all_weights_with_lora_among_them():
    ax = plots.plot_trained_weights({"Llama": LLAMA}, 8)
    (line,) = ax.get_lines()
    lora, embeddings, norms = 8_388_608, 131_072_000, 266_240
    weights = np.array([lora, embeddings, norms, lora + embeddings + norms])
    np.testing.assert_allclose(line.get_xdata(), weights / (6_738_415_616 + lora))
    assert [text.get_text() for text in ax.texts] == ["8.39M", "131M", "266k", "140M"]


def test_words_have_the_numbers_of_the_ranks():
    assert "Rank 2 can keep 47\u00a0% of random (9 ranks), 94\u00a0% of update" in plots.describe_energy(SPECTRA, 2)
    said = plots.describe_trained_weights({"Llama": LLAMA}, 8)
    assert "Llama: LoRA on attention 8,388,608, embeddings 131,072,000, norms 266,240, together 2.1\u00a0%" in said


# FLOPs and bytes.


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("boundary", "shift", "heads"), [("split", 1, 3), ("wrap", 2, 4), ("split", 0, 2), ("split", 2, 1)]
)
def test_the_halves_of_the_heads_are_counted_pair_by_pair(causal, boundary, shift, heads):
    geometry = S2Geometry(12, 4, heads, shift, boundary)
    shape = ModelShape(6, 2, heads, heads, 4, 5, 7)
    found = Budget(shape, geometry, causal).flops()["S²-Attn"]
    count = {"plain heads": 0, "shifted heads": 0}
    for head in range(heads):
        shifted = head >= heads // 2
        for cell in geometry.cells(shifted=shifted):
            tokens = sum(map(len, cell))
            for query in range(tokens):
                for key in range(tokens):
                    if key <= query or not causal:
                        count["shifted heads" if shifted else "plain heads"] += 4 * 2 * 4  # score, value; layers; d
    assert {name: found[name] for name in count} == count


def test_the_parts_of_a_budget_are_those_of_the_paper():
    budget = Budget(LLAMA, S2Geometry.with_ratio(65_536, 1 / 4, 32, boundary="wrap"))
    total = {row: sum(parts.values()) for row, parts in budget.flops().items()}
    assert total["dense"] == forward_flops(LLAMA, 65_536).total
    # Table 11: 3,117.8 and 1,429.0 tera, of which attention is 72.2 and 39.4 per cent.
    assert [round(value / 1e12, 1) for value in total.values()] == [3117.8, 1429.0]
    assert [round(100 * share, 1) for share in budget.attention_shares().values()] == [72.2, 39.4]


def test_flops_are_drawn_as_bars_over_the_dense_ones():
    ax = plots.plot_flops(BUDGET)
    flops = BUDGET.flops()
    whole = sum(flops["dense"].values())
    widths = [[patch.get_width() for patch in container] for container in ax.containers]
    expected = [count / whole for parts in flops.values() for count in parts.values()]
    np.testing.assert_allclose(np.ravel(widths), expected)
    assert sum(expected[:3]) == pytest.approx(1)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["dense attention", "linear layers", "logits", "plain heads", "shifted heads"]
    looks = {(patch.get_facecolor(), patch.get_hatch()) for patch in ax.patches}
    assert len(looks) == len(labels)
    assert ax.texts[0].get_text() == f"{short(whole, 'FLOP')}\nattention 28.1\u00a0%"


def test_bytes_are_drawn_on_an_axis_that_holds_them():
    ax = plots.plot_bytes(BUDGET)
    assert [line.get_xdata()[0] for line in ax.get_lines()] == [
        3 * 12 * 12 * 2,
        2 * (48 + 2 * 40),
        3 * 12 * 4,
        2 * 2 * 3 * 4 * 12 * 2,
    ]
    largest = Budget(LLAMA, S2Geometry.with_ratio(131_072, 1 / 4, 32)).bytes()
    low, high = ax.get_xlim()
    assert high > max(largest.values())
    assert low <= min(Budget(ModelShape(4, 1, 1, 1, 4, 4, 4), S2Geometry(256, 64, 1)).bytes().values())


def test_words_have_the_numbers_of_the_budget():
    budget = Budget(LLAMA, S2Geometry.with_ratio(65_536, 1 / 4, 32, boundary="wrap"))
    said = plots.describe_flops(budget)
    assert "65,536 tokens in groups of 16,384, counting whole squares, as in the paper" in said
    assert "dense 3.12\u00a0PFLOP, of which attention is 72.2\u00a0%; S²-Attn 1.43\u00a0PFLOP" in said
    assert "what a causal kernel computes" in plots.describe_flops(BUDGET)
    assert "whole score matrix 256\u00a0GiB, scores of the cells 64\u00a0GiB, streaming kernel 8\u00a0MiB" in (
        plots.describe_bytes(budget)
    )


def test_large_numbers_are_written_in_three_digits():
    assert [short(n) for n in (7, 1_000, 8_388_608, 3.1178e15)] == ["7", "1k", "8.39M", "3.12P"]
    assert short(12, "FLOP") == "12\u00a0FLOP"
    assert [binary(n) for n in (12, 1024, 2**31, 3 * 2**39)] == [
        "12\u00a0B",
        "1\u00a0KiB",
        "2\u00a0GiB",
        "1.5\u00a0TiB",
    ]
