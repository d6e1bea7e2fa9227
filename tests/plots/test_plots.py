from __future__ import annotations

import io
import itertools
import subprocess
import sys

import numpy as np
import pytest
from helpers import geometries, room_around
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from longlora_edu import plots
from longlora_edu.geometry import S2Geometry
from longlora_edu.plots import PROJECTOR, SCREEN
from longlora_edu.plots.outcome import plot_references
from longlora_edu.runs.records import Proportion

generated = settings(max_examples=40, deadline=None, derandomize=True)

SPLIT, WRAP, MASKED = (S2Geometry(8, 4, 2, boundary=boundary) for boundary in ("split", "wrap", "masked"))
BEFORE = {256: 1.33, 512: 4.2, 1024: 5.3, 2048: 5.91}
AFTER = {"2048": 1.4, "256": 1.36, "1024": 1.37, "512": 1.35}
POSITIONS = np.linspace(3.0, 1.0, 600)
CURVE = [
    {"step": step, "loss": 1.0 / step, "bits_per_byte": 2.0 / step, "passkey_nats": 2.3 if step % 2 else None}
    for step in range(1, 21)
]
CELLS = {
    1024: {0.5: Proportion(1, 4), 0.0: Proportion(4, 4)},
    256: {0.0: Proportion(3, 4), 0.5: Proportion(0, 4)},
}
RECIPE = {"trainable_parameters": 250, "trainable_share": 0.25}

DRAWINGS = {
    "mask": lambda **options: plots.plot_mask(WRAP, 1, **options),
    "reach": lambda **options: plots.plot_reach(SPLIT, 3, **options),
    "reach of many": lambda **options: plots.plot_reach(S2Geometry(24, 4, 2), 3, **options),
    "by length": lambda **options: plots.plot_bits_by_length(BEFORE, AFTER, trained_context=256, **options),
    "by position": lambda **options: plots.plot_bits_by_position(
        POSITIONS + 1, POSITIONS, trained_context=256, **options
    ),
    "passkeys": lambda **options: plots.plot_passkeys(CELLS, **options),
    "loss": lambda **options: plots.plot_loss(CURVE, **options),
    "trainable": lambda **options: plots.plot_trainable(RECIPE, **options),
}
SEVERAL = {
    "masks": (2, lambda **options: plots.plot_masks(SPLIT, **options)),
}


def lines(ax):
    return {line.get_label(): line for line in ax.get_lines()}


def written(ax):
    """What stands at which place of the axes, as (x, y) -> text."""
    return {text.get_position(): text.get_text() for text in ax.texts}


def outlines(ax):
    """Corner, width, height and dash of the rectangles without a face."""
    return {
        (*patch.get_xy(), patch.get_width(), patch.get_height(), patch.get_linestyle())
        for patch in ax.patches
        if isinstance(patch, Rectangle) and not patch.get_fill()
    }


# What all pictures have in common.


@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_a_picture_goes_into_the_axes_it_is_given(draw):
    ax = Figure().subplots()
    assert draw(ax=ax) is ax
    assert draw() is not draw()


@pytest.mark.parametrize(("count", "draw"), SEVERAL.values(), ids=SEVERAL)
def test_several_pictures_go_into_the_axes_they_are_given(count, draw):
    axes = Figure().subplots(1, count)
    assert list(draw(axes=axes)) == list(axes)
    with pytest.raises(ValueError, match=rf"axes must be .*{count}, got 3"):
        draw(axes=Figure().subplots(1, 3))


def test_drawing_never_touches_pyplot():
    code = (
        "import sys; from longlora_edu.geometry import S2Geometry; from longlora_edu import plots; "
        "plots.png(plots.plot_masks(S2Geometry(8, 4, 2))); print('matplotlib.pyplot' in sys.modules, "
        "'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("draw", [*DRAWINGS.values(), *(draw for _, draw in SEVERAL.values())])
def test_the_projector_style_can_be_read_from_the_last_row(draw):
    axes = np.ravel(draw(style=PROJECTOR))
    figure = axes[0].figure
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    assert min(text.get_fontsize() for text in texts) >= 14
    drawn = [line for ax in axes for line in ax.get_lines()]
    drawn += [line for legend in figure.findobj(Legend) for line in legend.findobj(Line2D)]
    drawn = [line for line in drawn if line.get_linestyle() != "None"]
    drawn += [patch for ax in axes for patch in ax.patches if patch.get_linewidth()]
    pixels = [artist.get_linewidth() * 100 / 72 for artist in drawn]
    assert min(pixels, default=3) >= 3
    assert PROJECTOR.text > SCREEN.text


@pytest.mark.parametrize("style", [SCREEN, PROJECTOR], ids=["screen", "projector"])
@pytest.mark.parametrize("draw", [*DRAWINGS.values(), *(draw for _, draw in SEVERAL.values())])
def test_no_words_leave_a_picture(draw, style):
    assert room_around(draw(style=style)) >= 0


def test_each_thing_has_a_colour_of_its_own():
    names = ["PLAIN", "SHIFTED", "FUTURE", "BEFORE", "AFTER", "TEXT", "PASSKEY", "LOSS", "TRAINED", "FROZEN"]
    names += ["DENSE", "EMPTY", "INK"]
    assert len({to_hex(getattr(plots, name)) for name in names}) == len(names)


def test_a_png_is_a_png_of_the_whole_figure_and_the_same_each_time():
    from matplotlib.image import imread

    data = plots.png(plots.plot_masks(SPLIT), dpi=50)
    assert data == plots.png(plots.plot_masks(SPLIT), dpi=50)
    height, width, _ = imread(io.BytesIO(data)).shape
    assert width == pytest.approx(50 * 1.2 * SCREEN.size[0], abs=1)
    assert height == pytest.approx(50 * SCREEN.size[1], abs=1)


def test_a_share_is_written_with_a_space_that_does_not_break():
    assert plots.percent(0.25) == "25\u00a0%"
    assert plots.percent(0.0524, 1) == "5.2\u00a0%"


# Masks and reach.


@generated
@given(geometries(max_len=12), st.data())
def test_the_kinds_of_a_mask_are_the_mask_and_its_future(geometry, data):
    head = data.draw(st.integers(0, geometry.num_heads - 1))
    kinds = plots.mask_kinds(geometry, head)
    mask = geometry.mask()[head]
    for query in range(geometry.seq_len):
        for key in range(geometry.seq_len):
            expected = 0 if not mask[query, key] else 2 if key > query else 1
            assert kinds[query, key] == expected


@pytest.mark.parametrize("head", [-1, 2])
def test_a_head_that_is_not_there_is_refused(head):
    with pytest.raises(ValueError, match=f"head must be from 0 to num_heads - 1 = 1, got {head}"):
        plots.mask_kinds(SPLIT, head)


@generated
@given(geometries(max_len=10), st.integers(1, 8))
def test_layers_needed_is_the_shortest_way_from_token_to_token(geometry, num_layers):
    mask, length = geometry.mask().any(axis=0), geometry.seq_len
    expected = np.zeros((length, length), dtype=int)
    for hearer in range(length):
        reached = {hearer}
        for layers in range(1, num_layers + 1):
            reached |= {key for query in reached for key in range(length) if mask[query, key]}
            for token in reached:
                expected[hearer, token] = expected[hearer, token] or layers
    np.testing.assert_array_equal(plots.layers_needed(geometry, num_layers), expected)


def test_no_layers_are_refused():
    with pytest.raises(ValueError, match="num_layers must be positive, got 0"):
        plots.layers_needed(SPLIT, 0)


@pytest.mark.parametrize("head", [0, 1])
def test_a_mask_is_drawn_with_the_first_query_on_top(head):
    ax = plots.plot_mask(SPLIT, head)
    mesh = ax.collections[0]
    np.testing.assert_array_equal(mesh.get_array(), plots.mask_kinds(SPLIT, head))
    assert ax.get_xlim() == (-0.5, 7.5)
    assert ax.get_ylim() == (7.5, -0.5)
    assert ax.get_aspect() == 1
    assert ax.get_xlabel().startswith("key") and ax.get_ylabel().startswith("query")
    assert to_hex(mesh.cmap(1)) == to_hex((plots.PLAIN, plots.SHIFTED)[head])
    assert ax.get_title("left") == ("Head 0: plain", "Head 1: shifted by 2")[head]


def test_cells_are_outlined_and_pieces_of_one_that_wraps_are_dashed():
    assert outlines(plots.plot_mask(SPLIT, 0)) == {(-0.5, -0.5, 4, 4, "-"), (3.5, 3.5, 4, 4, "-")}
    assert outlines(plots.plot_mask(SPLIT, 1)) == {
        (-0.5, -0.5, 2, 2, "-"), (1.5, 1.5, 4, 4, "-"), (5.5, 5.5, 2, 2, "-"),
    }  # fmt: skip
    ends = {(-0.5, -0.5, 2, 2, "--"), (1.5, 1.5, 4, 4, "-"), (5.5, 5.5, 2, 2, "--")}
    assert outlines(plots.plot_mask(WRAP, 1)) == ends | {(5.5, -0.5, 2, 2, "--")}
    assert outlines(plots.plot_mask(MASKED, 1)) == ends | {(-0.5, 5.5, 2, 2, "--")}


def test_the_future_is_hatched_and_counted_under_wrap_only():
    ax = plots.plot_mask(WRAP, 1)
    _, ahead = ax.collections
    assert ahead.get_hatch() == plots.FUTURE_HATCH
    assert to_hex(ahead.cmap(0.5)) == to_hex(plots.FUTURE)
    hatched = {tuple(path.vertices[:4].mean(axis=0)) for path in ahead.get_paths()}
    assert hatched == {(6, 0), (7, 0), (6, 1), (7, 1)}
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["looks ahead: 4 pairs"]
    for geometry, head in ((WRAP, 0), (SPLIT, 1), (MASKED, 1)):
        ax = plots.plot_mask(geometry, head)
        assert len(ax.collections) == 1
        assert ax.get_legend() is None


def test_masks_stand_side_by_side_a_plain_and_a_shifted_one():
    plain, shifted = plots.plot_masks(S2Geometry(8, 4, 5))
    assert (plain.get_title("left"), shifted.get_title("left")) == ("Head 0: plain", "Head 2: shifted by 2")
    assert (plain.get_ylabel(), shifted.get_ylabel()) == ("query: looks", "")
    assert [ax.get_title("left") for ax in plots.plot_masks(S2Geometry(8, 4, 1))] == ["Head 0: shifted by 2"]
    assert len(plots.plot_masks(S2Geometry(8, 4, 5), heads=(4, 0, 1))) == 3


def test_reach_is_drawn_with_its_numbers_and_what_is_not_reached_is_left_empty():
    ax = plots.plot_reach(SPLIT, 2)
    needed = plots.layers_needed(SPLIT, 2)
    drawn = ax.collections[0].get_array()
    np.testing.assert_array_equal(np.ma.filled(drawn, 0), needed)
    assert drawn.mask[7, 0] and drawn.mask[0, 7]
    assert to_hex(ax.get_facecolor()) == to_hex(plots.EMPTY)
    assert written(ax) == {
        (key, query): str(needed[query, key]) for query, key in zip(*np.nonzero(needed), strict=True)
    }
    assert ax.get_title("left") == "Heard within 2 layers"
    assert plots.plot_reach(SPLIT, 1).get_title("left") == "Heard within 1 layer"


def test_reach_of_many_tokens_is_explained_by_a_colour_bar_instead():
    ax = plots.plot_reach(S2Geometry(24, 4, 2), 11)
    assert not ax.texts
    _, bar = ax.figure.axes
    assert bar.get_ylabel() == "layers needed"
    assert plots.plot_reach(SPLIT, 2).figure.axes[1:] == []


# Bits per byte, and the loss.


def test_scores_come_back_in_the_order_of_their_lengths():
    lengths, scores = plots.by_length(AFTER)
    np.testing.assert_array_equal(lengths, [256, 512, 1024, 2048])
    np.testing.assert_allclose(scores, [1.36, 1.35, 1.37, 1.4])
    with pytest.raises(ValueError, match="scores must hold at least one length, got none"):
        plots.by_length({})


def test_bits_by_length_show_both_models_and_the_trained_context():
    ax = plots.plot_bits_by_length(BEFORE, AFTER, trained_context=256)
    drawn = lines(ax)
    np.testing.assert_allclose(drawn["before"].get_xydata(), [*BEFORE.items()])
    np.testing.assert_allclose(drawn["after"].get_ydata(), [1.36, 1.35, 1.37, 1.4])
    assert set(drawn["trained context: 256"].get_xdata()) == {256}
    assert (ax.get_xscale(), ax.get_ylim()[0]) == ("log", 0)
    assert ax.get_ylim()[1] > 5.91
    assert [ax.xaxis.get_major_formatter()(tick) for tick in ax.get_xticks()] == ["256", "512", "1,024", "2,048"]
    assert sorted(text.get_text() for text in ax.texts) == ["1.40", "5.91"]
    assert {text.get_text() for text in ax.get_legend().get_texts()} == set(drawn)


def test_before_and_after_differ_in_more_than_colour():
    for ax in (DRAWINGS["by length"](), DRAWINGS["by position"]()):
        drawn = lines(ax)
        assert to_hex(drawn["before"].get_color()) == to_hex(plots.BEFORE)
        assert to_hex(drawn["after"].get_color()) == to_hex(plots.AFTER)
        assert drawn["before"].get_linestyle() != drawn["after"].get_linestyle()


@generated
@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30), st.data())
def test_a_running_mean_is_the_mean_of_each_stretch(values, data):
    width = data.draw(st.integers(1, len(values)))
    centres, means = plots.running_mean(values, width)
    stretches = [range(start, start + width) for start in range(len(values) - width + 1)]
    np.testing.assert_allclose(centres, [(stretch[0] + stretch[-1]) / 2 for stretch in stretches])
    np.testing.assert_allclose(means, [sum(values[i] for i in s) / width for s in stretches], atol=1e-12)


@pytest.mark.parametrize("width", [0, 4])
def test_a_running_mean_wider_than_its_values_is_refused(width):
    with pytest.raises(ValueError, match=f"width must be from 1 to the number of values, 3, got {width}"):
        plots.running_mean([1, 2, 3], width)


def test_bits_by_position_begin_at_the_second_byte_and_state_their_smoothing():
    ax = plots.plot_bits_by_position(POSITIONS + 1, POSITIONS, trained_context=256, width=1)
    drawn = lines(ax)["after"]
    np.testing.assert_allclose(drawn.get_xdata(), np.arange(1, 601))
    np.testing.assert_allclose(drawn.get_ydata(), POSITIONS)
    ax = plots.plot_bits_by_position(POSITIONS + 1, POSITIONS, trained_context=256, width=20)
    assert "running mean over 20" in ax.get_ylabel()
    assert len(lines(ax)["before"].get_xdata()) == 581
    ax = plots.plot_bits_by_position(POSITIONS[:9], POSITIONS[:9], trained_context=4)
    assert "running mean over 9" in ax.get_ylabel()


def test_means_between_positions_count_from_one_and_leave_out_what_is_not_there():
    means = plots.means_between([1, 2, 3, 4, 5], [0, 2, 5, 9])
    assert means == {(0, 2): 1.5, (2, 5): 4.0}


def test_a_loss_is_in_bits_and_only_what_was_measured():
    series = plots.loss_series(CURVE)
    np.testing.assert_allclose(series["loss"][1], [1 / step / 0.6931471805599453 for step in range(1, 21)])
    np.testing.assert_allclose(series["text"][1], [2 / step for step in range(1, 21)])
    np.testing.assert_array_equal(series["passkey"][0], range(1, 21, 2))
    np.testing.assert_allclose(series["passkey"][1], 3.318, atol=1e-3)
    assert list(plots.loss_series([{"step": 1, "loss": 2.0}])) == ["loss"]
    with pytest.raises(ValueError, match="curve must hold at least one step, got none"):
        plots.loss_series([])


def test_the_loss_is_drawn_beside_what_guessing_a_digit_costs():
    drawn = lines(plots.plot_loss(CURVE))
    assert list(drawn) == ["loss, weighted mean", "text, per byte", "passkey, per digit", "a guessed digit"]
    np.testing.assert_allclose(drawn["a guessed digit"].get_ydata(), np.log2(10))
    assert to_hex(drawn["text, per byte"].get_color()) == to_hex(plots.TEXT)
    looks = {(line.get_linestyle(), line.get_marker(), line.get_linewidth()) for line in drawn.values()}
    assert len(looks) == len(drawn)
    without = plots.plot_loss([{"step": 1, "loss": 2.0, "bits_per_byte": 1.0, "passkey_nats": None}])
    assert list(lines(without)) == ["loss, weighted mean", "text, per byte"]


# Passkeys, and what was trained.


AS_JSON = {str(n): {str(depth): cell.as_json() for depth, cell in row.items()} for n, row in CELLS.items()}
AS_RATES = {n: {depth: cell.rate for depth, cell in row.items()} for n, row in CELLS.items()}


@pytest.mark.parametrize("cells", [CELLS, AS_JSON, AS_RATES], ids=["records", "JSON", "rates"])
def test_passkey_rates_stand_by_depth_and_length(cells):
    lengths, depths, rates = plots.passkey_rates(cells)
    np.testing.assert_array_equal(lengths, [256, 1024])
    np.testing.assert_array_equal(depths, [0, 0.5])
    np.testing.assert_allclose(rates, [[0.75, 1], [0, 0.25]])


def test_passkeys_that_do_not_make_a_map_are_refused():
    for nothing in ({}, {256: {}}):
        with pytest.raises(ValueError, match="cells must hold at least one length and depth, got none"):
            plots.passkey_rates(nothing)
    with pytest.raises(ValueError, match=r"cells must have the depths \[0.0\] at every length, got \[0.5\]"):
        plots.passkey_rates({256: {0: 1.0}, 512: {0.5: 1.0}})


def test_the_passkey_map_has_its_rates_in_readable_writing():
    ax = plots.plot_passkeys(CELLS, title="After")
    mesh = ax.collections[0]
    np.testing.assert_allclose(mesh.get_array(), [[0.75, 1], [0, 0.25]])
    assert mesh.get_clim() == (0, 1)
    assert ax.get_ylim() == (1.5, -0.5), "the start of the document is on top"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["256", "1,024"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0", "0.5"]
    assert written(ax) == {(0, 0): "75\u00a0%", (1, 0): "100\u00a0%", (0, 1): "0\u00a0%", (1, 1): "25\u00a0%"}
    colours = {text.get_text(): text.get_color() for text in ax.texts}
    assert (colours["100\u00a0%"], colours["0\u00a0%"]) == ("black", "white")
    assert ax.get_title("left") == "After"


def test_the_bar_of_what_was_trained_is_whole():
    assert plots.parameter_counts(RECIPE) == (250, 750)
    ax = plots.plot_trainable(RECIPE)
    trained, frozen = ax.patches
    assert (trained.get_x(), trained.get_width(), frozen.get_x(), frozen.get_width()) == (0, 0.25, 0.25, 0.75)
    assert (bool(trained.get_hatch()), bool(frozen.get_hatch())) == (True, False)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["trained: 250 (25.0\u00a0%)", "frozen: 750"]
    assert plots.parameter_counts({"trainable_parameters": 9, "trainable_share": 1.0}) == (9, 0)


# The same in words.


def test_words_have_the_numbers_of_the_masks():
    said = plots.describe_masks(WRAP)
    assert said.startswith("8 tokens in groups of 4: of the 36 pairs of full attention a head plain computes 20 pairs")
    assert said.endswith("4 pairs of a shifted head look at the future.")
    of_one_among_many = plots.describe_masks(S2Geometry(8, 4, 6, boundary="wrap"))
    assert of_one_among_many == said
    assert "a head shifted by 2 computes 16 pairs (44\u00a0%); no pair looks" in plots.describe_masks(SPLIT)
    assert "plain" not in plots.describe_masks(S2Geometry(8, 4, 1))


def test_words_have_the_numbers_of_reach():
    said = plots.describe_reach(SPLIT, 3)
    assert "hears 67\u00a0% after 1 layer and 100\u00a0% after 3; the last token hears the first after 3." in said
    assert plots.describe_reach(SPLIT, 2).endswith("the last token does not hear the first yet.")


def test_words_have_the_numbers_of_the_curves():
    said = plots.describe_bits_by_length(BEFORE, AFTER, trained_context=256)
    assert "trained context 256. Before: 1.33 at 256, 4.20 at 512, 5.30 at 1,024, 5.91 at 2,048. After: 1.36" in said
    said = plots.describe_bits_by_position([2.0] * 4 + [6.0] * 4, [1.0] * 8, trained_context=4)
    assert "2.00 before, 1.00 after over positions 1 to 4; 6.00 before, 1.00 after over positions 5 to 8." in said
    said = plots.describe_loss(CURVE)
    assert said.startswith("Bits over 20 steps")
    assert "text, per byte: 1.50 at first, 0.10 in the end; passkey digits, each: 3.32 at first, 3.32" in said


def test_words_have_the_numbers_of_the_outcome():
    said = plots.describe_passkeys(CELLS)
    assert "38\u00a0% at 256, 62\u00a0% at 1,024. Fewest, 0\u00a0%, at 256 and depth 0.5." in said
    assert plots.describe_trainable(RECIPE) == "250 of 1,000 parameters were trained (25.0\u00a0%)."


def test_with_all_arms_the_legend_and_the_names_below_have_room():
    cells = {kind: {"found": 150, "of": 200} for kind in ("<=G", "G-2G", ">2G")}
    ax = plot_references(dict.fromkeys(("stretched", "after", "short", "full"), cells))
    ax.figure.canvas.draw()
    assert ax.get_legend().get_window_extent().x1 <= ax.figure.bbox.x1
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
