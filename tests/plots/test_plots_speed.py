"""The pictures of lessons 03 and 04: tables of numbers, cells as rows, who moves, and times beside the count."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from longlora_edu.geometry import S2Geometry
from longlora_edu.plots import (
    PROJECTOR,
    SCREEN,
    crossover,
    describe_fold,
    describe_folds,
    describe_perturbation,
    describe_speed,
    describe_tables,
    plot_fold,
    plot_folds,
    plot_perturbation,
    plot_speed,
    plot_tables,
    png,
    speed_ratios,
)
from longlora_edu.plots.style import new_axes

SPLIT, WRAP = (S2Geometry(8, 4, 2, boundary=boundary) for boundary in ("split", "wrap"))
TABLES = {"weights": np.array([[1.0, 0.0], [0.25, 0.75]]), "gradients": np.array([[0.0, 9.0], [-0.5, 0.5]])}
SEEN = np.tri(2, dtype=bool)
SECONDS = {64: {"dense": 1.0, "grouped": 4.0}, 256: {"dense": 8.0, "grouped": 2.0, "masked": 16.0}}
PROMISED = {64: 4.0, 256: 4.25}
MOVED = {"right": np.tri(3, dtype=bool), "leaks": np.array([[1, 0, 1], [1, 1, 0], [0, 0, 1]], dtype=bool)}

DRAWINGS = {
    "tables": (2, lambda **options: plot_tables(TABLES, allowed=SEEN, **options)),
    "folds": (2, lambda **options: plot_folds([(SPLIT, 0), (WRAP, 1)], **options)),
    "moved": (2, lambda **options: plot_perturbation(MOVED, **options)),
    "speed": (1, lambda **options: plot_speed(speed_ratios(SECONDS), PROMISED, **options)),
    "fold": (1, lambda **options: plot_fold(WRAP, **options)),
}


@pytest.mark.parametrize("style", [SCREEN, PROJECTOR], ids=["screen", "projector"])
@pytest.mark.parametrize("name", DRAWINGS)
def test_a_picture_can_be_drawn_in_both_styles_and_saved(name, style):
    assert png(DRAWINGS[name][1](style=style), dpi=20).startswith(b"\x89PNG")


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_picture_goes_into_the_axes_it_is_given(name):
    count, draw = DRAWINGS[name]
    axes = new_axes(SCREEN, count)
    drawn = draw(ax=axes[0]) if count == 1 else draw(axes=axes)
    assert list(np.ravel(drawn)) == list(axes)


def texts(ax):
    return {text.get_position(): text.get_text() for text in ax.texts}


# Tables.


def test_a_table_writes_its_numbers_and_the_sums_of_its_rows():
    weights, gradients = plot_tables(TABLES, allowed=SEEN)
    assert texts(weights) == {(0, 0): "1", (0, 1): ".25", (1, 1): ".75", (2.2, 0): "1", (2.2, 1): "1"}
    # What is not allowed is neither written nor summed.
    assert texts(gradients) == {(0, 0): "0", (0, 1): "-.50", (1, 1): ".50", (2.2, 0): "0", (2.2, 1): "0"}
    assert weights.get_title("left") == "weights"
    assert (weights.get_ylabel(), gradients.get_ylabel(), gradients.get_xlabel()) == ("query", "", "key")


def test_a_table_can_be_without_sums_and_under_other_names():
    (ax, _) = plot_tables(TABLES, sums=False, rows="weight", columns="score")
    assert len(ax.texts) == 4
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("weight", "score")


def test_each_table_can_have_its_own_mask():
    first, second = plot_tables(TABLES, allowed=np.array([[[True, False], [False, False]], np.eye(2, dtype=bool)]))
    assert [len(ax.texts) for ax in (first, second)] == [1 + 2, 2 + 2]


def test_an_empty_table_is_drawn_empty():
    (ax,) = plot_tables({"nothing": np.zeros((2, 2))}, allowed=np.zeros((2, 2), dtype=bool), sums=False)
    assert len(ax.texts) == 0


def test_tables_are_described_by_what_is_seen_of_them():
    said = describe_tables(TABLES, allowed=SEEN)
    assert said == (
        "Tables of 2 by 2 numbers. weights: 3 numbers from .25 to 1, rows sum to 1 at least and 1 at most; "
        "gradients: 3 numbers from -.50 to .50, rows sum to 0 at least and 0 at most."
    )
    assert "none" in describe_tables({"nothing": np.zeros((2, 2))}, allowed=np.zeros((2, 2), dtype=bool))


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({}, "at least one table, got none"),
        ({"a": np.zeros((2, 3))}, r"square and of one size, got \[\(2, 3\)\]"),
        ({"a": np.zeros((2, 2)), "b": np.zeros((3, 3))}, "square and of one size"),
        ({"a": np.zeros(4)}, "square and of one size"),
    ],
)
def test_tables_that_cannot_be_drawn_are_refused(tables, words):
    with pytest.raises(ValueError, match=words):
        plot_tables(tables)


def test_as_many_axes_as_tables():
    with pytest.raises(ValueError, match="axes must be one a table, 2, got 1"):
        plot_tables(TABLES, axes=new_axes(SCREEN, 1))


# Folds.


def tokens_by_height(ax):
    """The tokens that are written, row by row from the top."""
    rows = {}
    for (x, y), text in texts(ax).items():
        if text.isdigit():
            rows.setdefault(round(y, 2), []).append((x, int(text)))
    return [[token for _, token in sorted(rows[y])] for y in sorted(rows)]


@pytest.mark.parametrize(
    ("geometry", "head", "rows"),
    [
        (SPLIT, 0, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (SPLIT, 1, [[0, 1], [2, 3, 4, 5], [6, 7]]),
        (WRAP, -1, [[2, 3, 4, 5], [6, 7, 0, 1]]),
        (S2Geometry(8, 4, 2, boundary="masked"), 1, [[2, 3, 4, 5], [0, 1, 6, 7]]),
        (S2Geometry(7, 3, 2, shift=0), 1, [[0, 1, 2], [3, 4, 5], [6]]),
    ],
)
def test_cells_become_rows_under_the_line_of_tokens(geometry, head, rows):
    ax = plot_fold(geometry, head=head)
    assert tokens_by_height(ax) == [list(range(geometry.seq_len)), *rows]


def test_what_looks_at_its_future_is_hatched_and_only_that():
    def hatched(ax):
        return sum(isinstance(patch, Rectangle) and bool(patch.get_hatch()) for patch in ax.patches)

    masked = S2Geometry(8, 4, 2, boundary="masked")
    assert [hatched(plot_fold(geometry)) for geometry in (SPLIT, WRAP, masked)] == [0, 2, 0]


def test_folds_beside_each_other_have_one_scale():
    axes = plot_folds([(SPLIT, 0), (SPLIT, 1), (WRAP, 1)])
    assert len({(*ax.get_xlim(), *ax.get_ylim()) for ax in axes}) == 1


def test_folds_are_described_row_by_row():
    said = describe_folds([(SPLIT, 0), (WRAP, 1)])
    assert said.startswith(describe_fold(SPLIT, head=0))
    assert "2 rows of a batch: tokens 0 to 3, 4 to 7." in said
    assert "(shifted by 2, boundary 'wrap')" in said and "tokens 2 to 5, 6 to 7 then 0 to 1." in said
    assert "tokens 0, 1 to 3, 4 to 6, 7." in describe_fold(S2Geometry(8, 3, 1))


def test_a_head_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="head must be from 0 to num_heads - 1 = 1, got 2"):
        plot_fold(SPLIT, head=2)
    with pytest.raises(ValueError, match="axes must be one a head, 1, got 2"):
        plot_folds([(SPLIT, 0)], axes=new_axes(SCREEN, 2))


# Who moves.


def test_outputs_that_move_with_their_future_are_counted():
    right, leaks = plot_perturbation(MOVED)
    assert right.get_xlabel() == "token that is pushed\n0 from the future"
    assert leaks.get_xlabel() == "token that is pushed\n1 from the future (hatched)"
    assert describe_perturbation(MOVED) == (
        "Every token is pushed in turn; pairs are outputs that move with it. "
        "right: 6 pairs of 3 tokens, none of them from the future; "
        "leaks: 5 pairs of 3 tokens, 1 of them from the future."
    )


def test_who_moves_needs_tables_and_axes_for_them():
    with pytest.raises(ValueError, match="effects must hold at least one table, got none"):
        plot_perturbation({})
    with pytest.raises(ValueError, match="axes must be one a table, 2, got 1"):
        plot_perturbation(MOVED, axes=new_axes(SCREEN, 1))


# Speed.


def test_ratios_say_how_many_times_faster_than_dense():
    assert speed_ratios(SECONDS) == {"grouped": {64: 0.25, 256: 4.0}, "masked": {256: 0.5}}
    assert speed_ratios(SECONDS, against="grouped")["dense"] == {64: 4.0, 256: 0.25}


def test_ratios_need_the_time_of_what_they_compare_with():
    with pytest.raises(ValueError, match="'dense' at every length, got grouped at 64"):
        speed_ratios({64: {"grouped": 1.0}})


@pytest.mark.parametrize(
    ("ratios", "length"),
    [
        ({64: 0.25, 256: 4.0}, 128),  # halfway between logarithms, on both axes
        ({64: 1.0, 256: 2.0}, 64),
        ({64: 2.0, 256: 3.0}, 64),
        ({64: 0.5, 256: 1.0}, 256),
        ({32: 2.0, 64: 0.5, 128: 2.0}, 64 * math.sqrt(2)),
        ({64: 2.0, 256: 0.5}, None),
    ],
)
def test_the_crossover_is_where_the_ratio_rises_above_one_for_good(ratios, length):
    assert crossover(ratios) == (None if length is None else pytest.approx(length))


def test_speed_is_drawn_as_measured_and_as_promised():
    ax = plot_speed(speed_ratios(SECONDS), PROMISED)
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert list(lines) == [
        "dense attention",
        "promised by the count of pairs",
        "measured: grouped",
        "measured: masked",
    ]
    np.testing.assert_array_equal(lines["measured: grouped"].get_xydata(), [[64, 0.25], [256, 4]])
    looks = {(line.get_linestyle(), line.get_marker()) for name, line in lines.items() if "measured" in name}
    assert len(looks) == 2


def test_speed_is_described_with_its_numbers():
    said = describe_speed(speed_ratios(SECONDS), PROMISED)
    assert "promised by the count of pairs 4.00 at 64, 4.25 at 256" in said
    assert "grouped measured 0.25 at 64, 4.00 at 256, pays from about 128 tokens" in said
    assert "masked measured 0.50 at 256, does not pay at the longest" in said


def test_more_ways_than_looks_are_refused():
    with pytest.raises(ValueError, match="at most 3 ways, got 4"):
        plot_speed({name: {64: 1.0} for name in "abcd"}, {64: 1.0})
