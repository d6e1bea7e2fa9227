from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from longlora_edu.course.play.retrieval import describe_probe, plot_learning, plot_places, plot_probe
from longlora_edu.plots import PROJECTOR, png
from longlora_edu.training.probe import (
    ProbeSettings,
    _fresh_model,
    ceiling,
    draw_sequences,
    path_exists,
    places,
    run_probe,
)

SMALL = ProbeSettings(seq_len=16, group_size=4, values=4, steps=3, batch=4)


def heard_within(settings, layers):
    """Which tokens' values arrive where, by walking: a set of tokens for each token."""
    group, shift = settings.group_size, settings.shift
    heard = [{token} for token in range(settings.seq_len)]
    for _ in range(layers):
        heard = [
            set().union(
                *(
                    heard[key]
                    for key in range(query + 1)
                    if key // group == query // group or (key - shift) // group == (query - shift) // group
                )
            )
            for query in range(settings.seq_len)
        ]
    return heard


@pytest.mark.parametrize("place", ["inside", "across", "far"])
@pytest.mark.parametrize("shift", [0, 1, 2, 3])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_path_exists_exactly_where_walking_from_token_to_token_finds_one(place, shift, layers):
    settings = dataclasses.replace(SMALL, place=place, shift=shift, layers=layers)
    heard = heard_within(settings, layers)
    walked = [key in heard[question] for key, question in places(settings)]
    np.testing.assert_array_equal(path_exists(settings), walked)


@pytest.mark.parametrize(
    ("place", "shift", "layers", "best"),
    [
        ("across", 0, 1, 0.25), ("across", 0, 9, 0.25), ("across", 2, 1, 1), ("far", 2, 1, 0.25), ("far", 2, 2, 1),
        ("inside", 0, 1, 1), ("inside", 2, 1, 1), ("across", 1, 1, 0.5 + 0.5 / 4),
    ],
)  # fmt: skip
def test_the_best_possible_accuracy_follows_from_the_geometry(place, shift, layers, best):
    assert_allclose(ceiling(dataclasses.replace(SMALL, place=place, shift=shift, layers=layers)), best)


def test_key_and_question_stand_where_the_place_says():
    across = {(key, question) for key, question in places(SMALL).tolist()}
    assert across == {(b - 2 + i, b + j) for b in (4, 8, 12) for i in range(2) for j in range(2)}
    far = {tuple(pair) for pair in places(dataclasses.replace(SMALL, place="far")).tolist()}
    assert far == {(b - 4 + i, b + j) for b in (4, 8, 12) for i in range(2) for j in range(2)}
    inside = {tuple(pair) for pair in places(dataclasses.replace(SMALL, place="inside")).tolist()}
    assert inside == {(b + i, b + 2 + j) for b in (0, 4, 8, 12) for i in range(2) for j in range(2)}


def test_groups_that_do_not_fit_whole_are_not_used():
    ragged = dataclasses.replace(SMALL, seq_len=15, group_size=5)
    assert places(ragged).max() < 15
    assert {tuple(pair) for pair in places(dataclasses.replace(ragged, seq_len=19)).tolist()} == {
        tuple(pair) for pair in places(ragged).tolist()
    }


def test_a_sequence_holds_one_key_and_one_question_among_filler():
    ids, questions, answers = (tensor.numpy() for tensor in draw_sequences(SMALL, np.random.default_rng(0), 50))
    allowed = {tuple(pair) for pair in places(SMALL).tolist()}
    for row, question, answer in zip(ids, questions, answers, strict=True):
        (key,), (asked,) = np.flatnonzero(row < 4), np.flatnonzero(row == 4)
        assert row[key] == answer
        assert asked == question
        assert (key, question) in allowed
    assert set(answers) == {0, 1, 2, 3}


@pytest.mark.parametrize(("shift", "moves"), [(0, False), (2, True)])
def test_without_a_path_another_key_changes_nothing_at_the_question(shift, moves):
    settings = dataclasses.replace(SMALL, shift=shift)
    model = _fresh_model(settings).train()
    for attention in model.attention_layers:
        attention.sparse = settings.pattern
    ids, questions, answers = draw_sequences(settings, np.random.default_rng(0), 8)
    other = torch.where(ids < 4, (ids + 1) % 4, ids)
    rows = torch.arange(8)
    there, here = (model(tokens)[rows, questions] for tokens in (ids, other))
    assert torch.equal(there, here) is not moves


@pytest.fixture(scope="module")
def results():
    settings = ProbeSettings(steps=60)
    variants = [{}, {"shift": 0}, {"place": "far"}]
    return [run_probe(dataclasses.replace(settings, **variant)) for variant in variants]


def test_with_the_shift_the_model_learns_what_without_it_stays_a_guess(results):
    shifted, short, far = results
    assert shifted.accuracy.rate > 0.95
    assert shifted.dense.rate > 0.95  # trained sparse, used dense
    for result in (short, far):
        low, high = result.accuracy.interval
        assert low < result.chance < high
        assert result.ceiling == result.chance == 1 / 8


def test_a_probe_is_the_same_again_and_reports_each_step():
    torch.manual_seed(1)
    seen = []
    first = run_probe(SMALL, on_step=lambda step, metrics: seen.append((step, metrics["loss"])))
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    again = run_probe(SMALL)
    torch.testing.assert_close(torch.random.get_rng_state(), state, rtol=0, atol=0)
    assert [point["loss"] for point in first.curve] == [point["loss"] for point in again.curve]
    assert seen == list(enumerate(point["loss"] for point in first.curve))
    assert (first.accuracy, first.dense) == (again.accuracy, again.dense)


def test_another_seed_is_another_run():
    losses = [run_probe(dataclasses.replace(SMALL, seed=seed)).curve[-1]["loss"] for seed in (0, 1)]
    assert losses[0] != losses[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"place": "near"}, "place must be one of inside, across, far, got 'near'"),
        ({"seq_len": 7}, "seq_len must be an integer, at least 8, got 7"),
        ({"values": 1}, "values must be an integer, at least 2, got 1"),
        ({"group_size": 1}, "group_size must be an integer, at least 2, got 1"),
        ({"shift": 4}, "shift must be from 0 to group_size - 1 = 3, got 4"),
        ({"steps": 0}, "steps must be an integer, at least 1, got 0"),
        ({"layers": 0}, "layers must be an integer, at least 1, got 0"),
        ({"batch": 0}, "batch must be an integer, at least 1, got 0"),
        ({"seed": -1}, "seed must be an integer, at least 0, got -1"),
    ],
)
def test_settings_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        dataclasses.replace(SMALL, **change)


def test_the_picture_shows_cells_places_and_curves(results):
    axes = plot_probe(results)
    widths = [patch.get_width() for patch in axes[0].patches if patch.get_y() == 1.1]
    assert sorted(set(widths)) == [8, 16]  # the cells of the shifted head, the short ends too
    labels = [line.get_label() for line in axes[1].get_lines()]
    assert [label.split(":")[0] for label in labels] == [
        "shift 8, across a border",
        "no shift, across a border",
        "shift 8, too far for the shift",
        "a guess",
    ]
    assert_allclose(axes[1].get_lines()[-1].get_ydata(), 1 / 8)
    assert png(plot_probe(results, style=PROJECTOR), dpi=50).startswith(b"\x89PNG")


def test_the_sentence_says_where_things_stand_and_who_was_right(results):
    text = describe_probe(results)
    assert "A key at tokens 8 to 15 of 64, its question at 16 to 23, groups of 16." in text
    assert "no shift, across a border: " in text
    assert "A guess is right in 12.5" in text


def test_a_picture_of_nothing_is_refused(results):
    for draw_nothing in (plot_probe, plot_learning, describe_probe):
        with pytest.raises(ValueError, match="results must hold at least one probe, got none"):
            draw_nothing([])
    with pytest.raises(ValueError, match="axes must be 2, got 1"):
        plot_probe(results, axes=[plot_places(SMALL)])
