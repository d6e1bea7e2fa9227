"""Pictures of what a sequence costs, and of a perturbation test."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.text import Text

from longlora_edu import plots
from longlora_edu.cost import ModelShape, forward_flops
from longlora_edu.geometry import S2Geometry
from longlora_edu.plots import PROJECTOR

LLAMA = ModelShape.llama2_7b()
LENGTHS = (2048, 32768)
MEASURED = {"fused attention": {256: 1.0, 512: 4.0}, "fused S²": {512: 1.25, 256: 0.5}}
EFFECTS = {"training": S2Geometry(16, 4, 2).reach(1), "ahead": S2Geometry(16, 4, 2, boundary="wrap").reach(1)}
DRAWINGS = {
    "shares": lambda **options: plots.plot_flop_shares(LLAMA, LENGTHS, **options),
    "growth": lambda **options: plots.plot_growth(LLAMA, **options),
    "measured": lambda **options: plots.plot_measured(MEASURED, unit="ms", **options),
}


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_a_picture_goes_into_the_axes_it_is_given(draw):
    ax = plots.style.new_axes(plots.SCREEN)[0]
    assert draw(ax=ax) is ax


@pytest.mark.parametrize(
    "draw",
    [*DRAWINGS.values(), lambda style: plots.plot_perturbation(EFFECTS, style=style)],
    ids=[*DRAWINGS, "perturbation"],
)
def test_the_projector_style_can_be_read_from_the_last_row(draw):
    axes = draw(style=PROJECTOR)
    figure = np.ravel(axes)[0].figure
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    assert min(text.get_fontsize() for text in texts) >= 14


def test_a_share_is_written_inside_of_the_part_that_it_belongs_to():
    ax = plots.plot_flop_shares(LLAMA, LENGTHS)
    for bar, text in zip(ax.containers[0], ax.texts, strict=True):
        assert bar.get_y() < text.get_position()[1] < bar.get_height()


def test_shares_add_up_and_are_those_of_the_formula():
    shares = plots.flop_shares(LLAMA, LENGTHS)
    np.testing.assert_allclose(sum(shares.values()), 1)
    expected = [forward_flops(LLAMA, length).attention_share for length in LENGTHS]
    np.testing.assert_allclose(shares["attention"], expected)
    assert "7.5\N{NO-BREAK SPACE}% at 2,048 tokens, 56.5\N{NO-BREAK SPACE}% at 32,768" in plots.describe_flop_shares(
        LLAMA, LENGTHS
    )


def test_the_crossings_are_marked_where_the_curves_meet():
    ax = plots.plot_growth(LLAMA)
    marks = [int(text.get_text().replace(",", "")) for text in ax.texts]
    assert marks == [plots.attention_crossover(LLAMA, causal=causal) for causal in (False, True)]
    assert all(f"{mark:,}" in plots.describe_growth(LLAMA) for mark in marks)


def test_what_was_measured_is_drawn_in_order_and_said():
    ax = plots.plot_measured(MEASURED, unit="ms")
    lines = {line.get_label(): line for line in ax.get_lines()}
    np.testing.assert_array_equal(lines["fused S²"].get_xdata(), [256, 512])
    np.testing.assert_array_equal(lines["fused S²"].get_ydata(), [0.5, 1.25])
    assert len({(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines.values()}) == 2
    assert "fused S²: 0.5 at 256, 1.25 at 512" in plots.describe_measured(MEASURED, unit="ms")


def test_a_perturbation_says_how_many_pairs_and_how_many_ahead():
    said = plots.describe_perturbation(EFFECTS)
    ahead = int((EFFECTS["ahead"] & ~np.tri(16, dtype=bool)).sum())
    assert ahead == 4
    assert f"training: {EFFECTS['training'].sum()} pairs of 16 tokens, none of them from the future" in said
    assert f"ahead: {EFFECTS['ahead'].sum()} pairs of 16 tokens, {ahead} of them from the future" in said
    drawn = plots.plot_perturbation(EFFECTS)[0].collections[0].get_array()
    np.testing.assert_array_equal(np.asarray(drawn).reshape(16, 16), EFFECTS["training"])


def test_no_table_is_refused():
    with pytest.raises(ValueError, match="effects must hold at least one table, got none"):
        plots.plot_perturbation({})
