"""Pictures of lessons 05 and 06: clocks, rules by pair and by length, low rank to scale, shares, arms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from matplotlib.text import Text

from longlora_edu.plots import PROJECTOR, png
from longlora_edu.plots.low_rank import (
    describe_low_rank,
    describe_parts,
    describe_shares,
    plot_low_rank,
    plot_parts,
    plot_shares,
)
from longlora_edu.plots.rotary import (
    RULE_LOOKS,
    RULE_NAMES,
    describe_by_pair,
    describe_clocks,
    describe_rules_by_length,
    describe_scores,
    plot_by_pair,
    plot_clocks,
    plot_rules_by_length,
    plot_scores,
)
from longlora_edu.rope import Rope

FREQUENCIES = Rope(8).frequencies()
CURVES = {"default": np.ones(4), "linear": np.full(4, 1 / 8), "yarn": np.array([1, 0.5, 0.25, 0.125])}
BITS = {"default": {"256": 1.0, "2048": 5.0}, "yarn": {2048: 1.1, 256: 1.2}, "dynamic": {256: 1.0, 2048: 1.15}}
SHARES = {"large": {"LoRA": 0.001, "embeddings": 0.02}, "small": {"LoRA": 0.01, "embeddings": 0.2}}
ARMS = {"LoRA": {1e-3: 1.3, 2e-3: 1.2}, "all weights": {1e-3: 1.1}}
DRAWINGS = {
    "clocks": lambda **how: plot_clocks(FREQUENCIES, [0, 1, 5], [0, 3], **how),
    "by pair": lambda **how: plot_by_pair(CURVES, y="frequency", turns_once=2, **how),
    "rules by length": lambda **how: plot_rules_by_length(BITS, trained_context=256, **how),
    "low rank": lambda **how: plot_low_rank(12, 8, 2, **how),
    "shares": lambda **how: plot_shares(SHARES, **how),
    "parts": lambda **how: plot_parts(ARMS, base=1.0, **how),
}


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_a_picture_goes_into_the_axes_it_is_given(draw):
    ax = Figure().subplots()
    assert draw(ax=ax) is ax
    assert draw() is not draw()


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_the_projector_style_can_be_read_from_the_last_row(draw):
    figure = draw(style=PROJECTOR).figure
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    assert not texts or min(text.get_fontsize() for text in texts) >= 14
    assert png(figure.axes).startswith(b"\x89PNG")


def test_a_clock_s_hand_points_where_the_pair_has_turned():
    ax = plot_clocks(FREQUENCIES, [0, 1, 5], [0, 3])
    assert len([patch for patch in ax.patches if isinstance(patch, Circle)]) == 6
    x, y = ax.get_lines()[2].get_data()  # position 5 of pair 0, whose frequency is 1
    angle = math.atan2(-(y[1] - y[0]), x[1] - x[0])  # the axis points down
    assert angle == pytest.approx(math.remainder(5.0, 2 * math.pi))


def test_every_rule_has_a_look_and_a_name():
    assert set(RULE_NAMES) == {"default", "linear", "ntk", "dynamic", "yarn"} == set(RULE_LOOKS) - {"yours", "right"}
    looks = {(look["color"], look["linestyle"], look["marker"]) for look in RULE_LOOKS.values()}
    assert len(looks) == len(RULE_LOOKS)
    assert len({look["marker"] for look in RULE_LOOKS.values()}) == len(RULE_LOOKS)  # never colour alone


def test_lines_by_pair_are_the_numbers_themselves():
    ax = plot_by_pair(CURVES, y="frequency")
    for line, values in zip(ax.get_lines(), CURVES.values(), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), values)


def test_rules_by_length_are_sorted_and_named_at_their_ends():
    ax = plot_rules_by_length(BITS, trained_context=256)
    np.testing.assert_array_equal(ax.get_lines()[1].get_xdata(), [256, 2048])
    np.testing.assert_array_equal(ax.get_lines()[1].get_ydata(), [1.2, 1.1])
    assert {text.get_text() for text in ax.texts} == {"default 5.00", "YaRN 1.10", "dynamic NTK 1.15"}
    heights = sorted(text.xyann[1] for text in ax.texts)
    assert min(np.diff(heights)) > 0.2  # no word stands on another


def test_tables_of_scores_share_their_shades():
    axes = plot_scores({"yours": np.eye(3), "right": 2 * np.eye(3)})
    assert {ax.collections[0].get_clim() for ax in axes} == {(0.0, 2.0)}
    assert axes[0].get_title(loc="left") == "yours"
    with pytest.raises(ValueError, match="axes must be 2, got 3"):
        plot_scores({"yours": np.eye(3), "right": np.eye(3)}, axes=Figure().subplots(1, 3))


def test_a_low_rank_is_drawn_to_scale():
    patches = [patch for patch in plot_low_rank(12, 8, 2).patches if isinstance(patch, Rectangle)]
    assert [(patch.get_width(), patch.get_height()) for patch in patches] == [(8, 12), (2, 12), (8, 2)]


def test_shares_are_stacked():
    bars = [patch for patch in plot_shares(SHARES).patches if patch.get_width() > 0]
    assert [round(bar.get_x() + bar.get_width(), 6) for bar in bars] == [0.001, 0.021, 0.01, 0.21]
    assert bars[0].get_hatch() != bars[1].get_hatch()


def test_the_best_rate_of_an_arm_is_the_one_that_is_named():
    ax = plot_parts(ARMS, base=1.0)
    assert [text.get_text() for text in ax.texts] == ["1.200", "1.100"]


def test_each_picture_is_also_a_sentence_with_its_numbers():
    assert "pair 0 turns once in 6.28 tokens and has made 0.80 turns at position 5" in describe_clocks(
        FREQUENCIES, [0, 1, 5], [0, 3]
    )
    assert "YaRN 1 at pair 0, 0.125 at pair 3, at most 1 (pair 0)" in describe_by_pair(CURVES, what="Frequency")
    assert "default 1.00 at 256, 5.00 at 2,048" in describe_rules_by_length(BITS, trained_context=256)
    assert "query 1 and key 2, 3.000 instead of 0.000" in describe_scores(
        {"yours": np.array([[0.0, 0, 0], [0, 0, 3]]), "right": np.zeros((2, 3))}
    )
    assert "40 numbers beside 96" in describe_low_rank(12, 8, 2)
    assert "small 21.0" in describe_shares(SHARES)
    assert "LoRA 1.200; all weights 1.100. To compare with: 1.000" in describe_parts(ARMS, base=1.0, what="Bits")
    assert describe_parts(ARMS, base=1.0, what="Bits").startswith("Bits, the best of the rates tried: ")
    assert describe_parts({"LoRA": {"": 1.2}}, base=1.0, what="Bits").startswith("Bits: LoRA 1.200")
