from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from longlora_edu.course.notebook.html_tables import show_table
from longlora_edu.plots import PROJECTOR, png
from longlora_edu.plots.arms import MODES, TRAINED, borders, describe_positions, paired_difference, plot_positions


def arm(level, *, trained=True):
    """An arm whose loss is `level`, half a bit more after each border while it is sparse."""
    positions = np.full(16, level)
    about = {
        "pattern": {"group_size": 16, "shift": 8, "boundary": "split"} if trained else None,
        "bits_per_byte_by_position": positions.tolist(),
        "positions_in_each_mean": 4,
    }
    if trained:
        bumps = positions + 0.5 * (np.arange(16) % 4 == 0)
        about["as_trained"] = {
            "bits_per_byte_by_position": bumps.tolist(),
        }
    return about


RECORD = {
    "target_context": 64,
    "arms": {"yarn": arm(2.0, trained=False), "short": arm(1.25), "s2": arm(1.25), "full": arm(1.0), "wrap": arm(1.5)},
}


def test_a_paired_difference_is_the_mean_and_its_error():
    mine, other = [1.0, 2.0, 4.0], [0.5, 1.0, 1.0]
    mean, error = paired_difference(mine, other)
    differences = [0.5, 1.0, 3.0]
    assert_allclose(mean, sum(differences) / 3)
    spread = sum((value - mean) ** 2 for value in differences) / 2
    assert_allclose(error, math.sqrt(spread / 3))


def test_what_is_common_to_both_cancels():
    windows = np.arange(10.0)
    assert_allclose(paired_difference(windows + 0.5, windows), (0.5, 0))


@pytest.mark.parametrize(("mine", "other"), [([1.0], [1.0]), ([1.0, 2.0], [1.0]), ([[1.0, 2.0]], [[1.0, 2.0]])])
def test_differences_need_two_lists_of_one_length(mine, other):
    with pytest.raises(ValueError, match="mine and other must be two lists of one length, got shapes"):
        paired_difference(mine, other)


def test_borders_stand_between_groups():
    assert borders(RECORD) == [16, 32, 48]


def test_positions_stand_where_they_were_measured_and_share_their_axes():
    trained, dense = (plot_positions(RECORD, TRAINED, mode, width=1) for mode in MODES)
    assert trained.get_ylim() == dense.get_ylim()
    curve = trained.get_lines()[1]
    assert_allclose(curve.get_xdata(), 4 * (np.arange(16) + 0.5))
    assert_allclose(curve.get_ydata()[::4], 1.75)
    assert_allclose(dense.get_lines()[1].get_ydata(), 1.25)
    assert_allclose([line.get_xdata()[0] for line in dense.get_lines()[3:]], [16, 32, 48])


def test_one_arm_alone_has_the_axes_of_all():
    alone, together = plot_positions(RECORD, ["full"], "dense"), plot_positions(RECORD, TRAINED, "dense")
    assert alone.get_ylim() == together.get_ylim()


def test_the_sentence_says_the_numbers():
    said = describe_positions(RECORD, TRAINED, "as in training")
    assert "S² 1.25 just before a border of groups and 1.75 just after" in said


def test_positions_can_be_read_from_the_last_row():
    assert png(plot_positions(RECORD, TRAINED, "dense", style=PROJECTOR), dpi=40).startswith(b"\x89PNG")


def test_a_table_has_headings_for_rows_and_columns(published):
    show_table(["arm", "bits"], [["S² <b>", 1.25]], caption="Bits")
    assert '<th scope="row" style="text-align:left">S² &lt;b&gt;</th><td>1.25</td>' in published[0]["text/html"]
    assert published[0]["text/plain"] == "Bits\narm | bits\nS² <b> | 1.25"
    with pytest.raises(ValueError, match=r"rows must have 2 cells, one a heading, got \['S²'\]"):
        show_table(["arm", "bits"], [["S²"]], caption="Bits")


def test_a_column_of_sentences_begins_at_the_left(published):
    show_table(["arm", "found", "bits"], [["S²", "none of the keys far back", 1.25]], caption="Bits")
    shown = published[0]["text/html"]
    assert '<td style="text-align:left">none of the keys far back</td><td>1.25</td>' in shown
    assert '<th scope="col" style="text-align:left">found</th><th scope="col">bits</th>' in shown
