from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from helpers import tiny_bundled_model

from longlora_edu.training.corpus import Document, Windows
from longlora_edu.training.evaluate import KINDS, reference_windows, score_references
from longlora_edu.training.references import (
    CLASSES,
    COUNT,
    DIGITS,
    NEAREST,
    TAUGHT,
    Reference,
    ReferenceMix,
    hide_references,
    lay_references,
    references_in,
)

LENGTH, GROUP = 1024, 256
TEXT = np.frombuffer(bytes(range(97, 123)) * 40, dtype=np.uint8)[:LENGTH]
DOCUMENTS = (Document("a", bytes(range(97, 123)) * 100),)
LINES = re.compile(rb"\n# (set|get) ([a-z]{3})[ =](\d{5})\n")


def laid(kinds=CLASSES, layout="free", seed=0):
    return lay_references(LENGTH, GROUP, kinds, np.random.default_rng(seed), layout)


@pytest.mark.parametrize("layout", ["free", "aligned"])
@pytest.mark.parametrize("seed", range(20))
def test_each_name_is_set_once_and_asked_for_once_at_the_places_laid(layout, seed):
    places = laid(KINDS, layout, seed)
    text = hide_references(TEXT, places, np.random.default_rng(seed), held_out=True).tobytes()
    found = {
        (word, name): (match.start() + 11, number)
        for match in LINES.finditer(text)
        for word, name, number in [match.groups()]
    }
    names = {name for _, name in found}
    assert len(found) == 2 * len(names) == 2 * COUNT, "no two lines overlap, no name stands twice"
    assert len({number for _, number in found.values()}) == COUNT
    for name in names:
        assert b"\n# set %b=" % name in text and b"\n# get %b " % name in text, "what stands before differs"
        (set_at, number), (get_at, answer) = found[b"set", name], found[b"get", name]
        assert number == answer
        assert any((place.set_at, place.get_at) == (set_at, get_at) for place in places)


def test_the_text_flows_around_the_lines():
    text = hide_references(TEXT, laid(), np.random.default_rng(0), held_out=True).tobytes()
    rest = LINES.sub(b"", text)
    assert len(text) == LENGTH and rest == TEXT.tobytes()[: len(rest)]


@pytest.mark.parametrize("seed", range(50))
def test_free_distances_are_of_their_class_and_leave_room_for_another_line(seed):
    near, middle, far = laid(seed=seed)
    assert NEAREST <= near.distance <= GROUP < middle.distance <= 2 * GROUP < far.distance
    assert [place.kind(GROUP) for place in (near, middle, far)] == list(CLASSES)


@pytest.mark.parametrize("seed", range(50))
def test_aligned_references_go_from_the_last_half_of_a_page_to_the_first_half_of_a_later_one(seed):
    for place, pages in zip(laid(layout="aligned", seed=seed), (1, 2, 3), strict=True):
        assert place.set_at % GROUP >= GROUP // 2 and place.get_at % GROUP < GROUP // 2
        assert place.get_at // GROUP - place.set_at // GROUP == pages
        assert place.set_at // GROUP == (place.set_at - 11) // GROUP, "the whole line"
        assert (place.get_at + DIGITS) % GROUP <= GROUP // 2


def test_a_reference_counts_where_another_number_is_set_between():
    places = lay_references(LENGTH, GROUP, KINDS, np.random.default_rng(3))
    for place in places:
        between = [other for other in places if place.set_at < other.set_at < place.get_at]
        assert place.counts == bool(between)
    assert {place.counts for seed in range(5) for place in laid(KINDS, seed=seed)} == {True, False}


def test_names_and_numbers_of_training_and_evaluation_are_never_the_same():
    words = {}
    for held_out in (False, True):
        rng = np.random.default_rng(0)
        texts = [hide_references(TEXT, laid(KINDS), rng, held_out=held_out).tobytes() for _ in range(200)]
        words[held_out] = [{match.group(part) for text in texts for match in LINES.finditer(text)} for part in (2, 3)]
    for ours, others in zip(words[True], words[False], strict=True):
        assert ours and others and not ours & others


def test_training_windows_mark_the_digits_asked_for():
    mix = ReferenceMix(GROUP, share=0.5, weight=4.0)
    ids, answers = mix.batch(Windows(DOCUMENTS, LENGTH + 1), np.random.default_rng(0), 64)
    carries = answers.any(axis=1)
    assert 16 < carries.sum() < 48
    count = references_in(LENGTH + 1, TAUGHT)
    assert set(answers[carries].sum(axis=1)) == {count * DIGITS} and count >= COUNT
    for row, marks in zip(ids[carries], answers[carries], strict=True):
        asked = sorted(match.group(3) for match in LINES.finditer(row.tobytes()) if match.group(1) == b"get")
        runs = np.flatnonzero(marks).reshape(count, DIGITS)
        assert sorted(row[run].tobytes() for run in runs) == asked


@pytest.mark.parametrize(("length", "group"), [(320, 80), (513, 128), (640, 160), (1025, 256)])
def test_short_windows_carry_as_many_as_have_room(length, group):
    rng = np.random.default_rng(0)
    assert references_in(1024) == COUNT and references_in(100) == len(CLASSES)
    assert (references_in(2048), references_in(2048, TAUGHT), references_in(1024, TAUGHT)) == (COUNT, TAUGHT, 10)
    for _ in range(50):
        assert len(ReferenceMix(group, 1.0).places(length, rng)) == references_in(length, TAUGHT)
        for layout in ("free", "aligned"):
            assert len(lay_references(length, group, KINDS[: references_in(length)], rng, layout)) <= COUNT


@pytest.mark.parametrize(("aligned", "crosses"), [(1.0, (1.0, 1.0)), (0.0, (0.2, 0.8))])
def test_the_mix_lays_as_many_across_the_border_as_it_says(aligned, crosses):
    rng = np.random.default_rng(0)
    places = [place for _ in range(40) for place in ReferenceMix(GROUP, 1.0, 1.0, aligned).places(LENGTH, rng)]
    next_page = [place.get_at // GROUP - place.set_at // GROUP == 1 for place in places]
    assert crosses[0] <= np.mean(next_page) <= crosses[1]


class Copier(torch.nn.Module):
    """Finds a reference exactly when it stands within `reach` bytes; knows the format by heart."""

    def __init__(self, reach):
        super().__init__()
        self.reach, self.weight = reach, torch.nn.Parameter(torch.zeros(1))

    def forward(self, ids, **_):
        logits = torch.zeros(*ids.shape, 256)
        for row, text in enumerate(bytes(line.tolist()) for line in ids):
            known = {}
            for match in re.finditer(rb"\n# (set|get) ([a-z]{3})[ =](\d{5})?", text):
                word, name, number = match.groups()
                at = match.end(2) + 1
                if word == b"set":
                    known[name] = (at, number)
                elif name in known and at - known[name][0] <= self.reach:
                    for place, digit in enumerate(known[name][1]):
                        logits[row, at - 1 + place, digit] = 1.0
        return logits


@pytest.mark.parametrize(
    ("reach", "rates"), [(LENGTH, (1, 1, 1)), (2 * GROUP, (1, 1, 0)), (GROUP, (1, 0, 0)), (0, (0, 0, 0))]
)
def test_what_a_model_of_known_reach_finds(reach, rates):
    score = score_references(Copier(reach), DOCUMENTS, LENGTH, GROUP, trials=10)
    assert tuple(score.found[kind].rate for kind in CLASSES) == rates
    assert all(score.found[kind].trials >= 10 for kind in CLASSES)
    assert 1 / COUNT < score.chance < 0.5


def test_only_what_counts_is_counted_and_the_same_seed_draws_the_same_windows():
    texts, places = reference_windows(DOCUMENTS, LENGTH, GROUP, trials=5, seed=1)
    again, _ = reference_windows(DOCUMENTS, LENGTH, GROUP, trials=5, seed=1)
    np.testing.assert_array_equal(texts, again)
    score = score_references(Copier(LENGTH), DOCUMENTS, LENGTH, GROUP, trials=5, seed=1)
    counted = sum(place.counts for row in places for place in row)
    assert sum(found.trials for found in score.found.values()) == counted < 8 * len(texts)


def test_a_model_that_was_never_taught_finds_none():
    score = score_references(tiny_bundled_model(), DOCUMENTS, LENGTH, GROUP, trials=4)
    assert sum(found.successes for found in score.found.values()) == 0
    assert score.nats > 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: laid(layout="diagonal"), "layout must be one of free, aligned, got 'diagonal'"),
        (lambda: laid(("near",)), "kinds must be among <=G, G-2G, >2G, got 'near'"),
        (lambda: lay_references(900, 256, CLASSES, np.random.default_rng(0)), "at least four groups of 256, got 900"),
        (lambda: lay_references(256, 64, CLASSES, np.random.default_rng(0)), "group must be an integer, at least 68"),
        (lambda: laid(("<=G",) * 40), "length must have room for 40 references, got 1024"),
        (lambda: ReferenceMix(256, share=1.5), "share must be from 0 to 1, got 1.5"),
        (lambda: ReferenceMix(256, aligned=-0.1), "aligned must be from 0 to 1, got -0.1"),
        (lambda: ReferenceMix(256, weight=0.0), "weight must be positive and finite, got 0.0"),
        (lambda: reference_windows(DOCUMENTS, LENGTH, GROUP, trials=0), "trials must be an integer, at least 1, got 0"),
    ],
)
def test_what_cannot_be_laid_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_distance_is_from_digit_to_digit():
    assert Reference(100, 356).distance == 256
    assert [Reference(0, distance).kind(256) for distance in (256, 257, 512, 513)] == ["<=G", "G-2G", "G-2G", ">2G"]
