from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from longlora_edu.course.notebook.html_tables import show_table
from longlora_edu.plots import PROJECTOR, png
from longlora_edu.plots.arms import (
    NAMES,
    borders,
    describe_arms_by_length,
    describe_arms_by_position,
    describe_arms_passkeys,
    describe_differences,
    paired_difference,
    plot_arms_by_length,
    plot_arms_by_position,
    plot_arms_passkeys,
    plot_differences,
    plot_positions,
    seed_differences,
)


def cell(rate):
    return {"successes": round(4 * rate), "trials": 4, "rate": rate, "interval_95": [0, 1]}


def arm(level, *, trained=True):
    """An arm whose loss is `level`, half a bit more after each border while it is sparse."""
    positions = np.full(16, level)
    about = {
        "pattern": {"group_size": 16, "shift": 8, "boundary": "split"} if trained else None,
        "bits_per_byte": {"32": level + 0.1, "64": level},
        "bits_per_byte_by_position": positions.tolist(),
        "bits_per_byte_by_window": [level, level + 0.25, level + 0.5],
        "positions_in_each_mean": 4,
        "passkey_by_depth": {"64": {"0.0": cell(1), "1.0": cell(0.5)}},
    }
    if trained:
        bumps = positions + 0.5 * (np.arange(16) % 4 == 0)
        about["as_trained"] = {
            "bits_per_byte_by_position": bumps.tolist(),
            "passkey_by_depth": {"0.0": cell(0), "1.0": cell(1)},
        }
    return about


RECORD = {
    "target_context": 64,
    "arms": {"yarn": arm(2.0, trained=False), "short": arm(1.25), "s2": arm(1.25), "full": arm(1.0), "wrap": arm(1.5)},
    "other_seeds": {
        "short": {"1": {"bits_per_byte": 1.5}},
        "s2": {"1": {"bits_per_byte": 1.25}, "2": {"bits_per_byte": 1.0}},
        "full": {},
    },
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


def test_seeds_are_compared_where_both_were_trained_with_them():
    assert_allclose(seed_differences(RECORD, "short", "s2"), [0.0, 0.25])
    assert_allclose(seed_differences(RECORD, "full", "s2"), [-0.25])


def test_borders_stand_between_groups():
    assert borders(RECORD) == [16, 32, 48]


def test_all_arms_by_length_and_the_trained_ones_enlarged():
    whole, lens = plot_arms_by_length(RECORD)
    assert [line.get_label() for line in whole.get_lines()] == list(NAMES.values())
    assert [line.get_label() for line in lens.get_lines()] == ["short", "S²", "full"]
    assert whole.get_ylim()[0] == 0 < lens.get_ylim()[0]
    assert_allclose(lens.get_lines()[1].get_ydata(), [1.35, 1.25])


def test_positions_stand_where_they_were_measured_and_share_their_axes():
    trained, dense = plot_arms_by_position(RECORD, width=1)
    assert trained.get_ylim() == dense.get_ylim()
    curve = trained.get_lines()[1]
    assert_allclose(curve.get_xdata(), 4 * (np.arange(16) + 0.5))
    assert_allclose(curve.get_ydata()[::4], 1.75)
    assert_allclose(dense.get_lines()[1].get_ydata(), 1.25)
    assert_allclose([line.get_xdata()[0] for line in dense.get_lines()[3:]], [16, 32, 48])


def test_one_arm_alone_has_the_axes_of_all():
    alone, together = plot_positions(RECORD, ["full"], "dense"), plot_arms_by_position(RECORD)[1]
    assert alone.get_ylim() == together.get_ylim()


def test_passkeys_are_shown_for_each_arm_and_depth():
    trained, dense = plot_arms_passkeys(RECORD)
    assert [text.get_text() for text in trained.texts] == ["0\xa0%", "100\xa0%"] * 3
    assert [text.get_text() for text in dense.texts] == ["100\xa0%", "50\xa0%"] * 4


def test_differences_are_drawn_with_their_interval_and_their_seeds():
    ax = plot_differences(RECORD)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["short − S²", "full − S²"]
    assert_allclose(ax.collections[1].get_offsets(), [[0.0, 0.25], [0.25, 0.25]])


@pytest.mark.parametrize("plot", [plot_arms_by_length, plot_arms_by_position, plot_arms_passkeys])
def test_pictures_of_arms_need_their_two_axes(plot):
    with pytest.raises(ValueError, match="axes must be 2, got 1"):
        plot(RECORD, axes=[plot_differences(RECORD)])
    assert png(plot(RECORD, style=PROJECTOR), dpi=40).startswith(b"\x89PNG")


def test_the_sentences_say_the_numbers():
    assert "S²: 1.350 at 32, 1.250 at 64" in describe_arms_by_length(RECORD)
    assert "S² 1.25 just before a border of groups and 1.75 just after" in describe_arms_by_position(RECORD)
    assert "S², as in training: 0\xa0% at depth 0, 100\xa0% at depth 1" in describe_arms_passkeys(RECORD)
    assert "full -0.2500, give or take 0.0000 over windows; by seed -0.2500" in describe_differences(RECORD)


def test_a_table_has_headings_for_rows_and_columns(published):
    show_table(["arm", "bits"], [["S² <b>", 1.25]], caption="Bits")
    assert '<th scope="row">S² &lt;b&gt;</th><td>1.25</td>' in published[0]["text/html"]
    assert published[0]["text/plain"] == "Bits\narm | bits\nS² <b> | 1.25"
    with pytest.raises(ValueError, match=r"rows must have 2 cells, one a heading, got \['S²'\]"):
        show_table(["arm", "bits"], [["S²"]], caption="Bits")
