"""Lesson 11: the right answer passes, every planted mistake is named by its own sentence."""

from __future__ import annotations

import pytest

from longlora_edu.course.checks import CheckFailed
from longlora_edu.course.checks import l11_today as check


def right(seq_len, width, layers, every):
    full = sum(query + 1 for query in range(seq_len))
    window = sum(min(query + 1, width) for query in range(seq_len))
    return sum(full if (layer + 1) % every == 0 else window for layer in range(layers))


def test_right_answers_pass_however_they_count(journal, published):
    check.hybrid_pairs(right, journal=journal)
    check.hybrid_pairs(lambda *case: float(right(*case)), journal=journal)
    assert journal.get("exercises", "11.hybrid_pairs")["passed"]


@pytest.mark.parametrize("name", check.WRONG)
def test_each_mistake_is_named(name, journal, published):
    with pytest.raises(CheckFailed) as caught:
        check.hybrid_pairs(check.WRONG[name].form, journal=journal)
    assert caught.value.mistake == name


def layered(layers, every, full, other):
    return sum(full if (layer + 1) % every == 0 else other for layer in range(layers))


@pytest.mark.parametrize(
    ("wrong", "mistake"),
    [
        (
            lambda n, w, layers, every: layered(
                layers, every, right(n, n, 1, 1), sum(query % w + 1 for query in range(n))
            ),
            "groups",
        ),
        (
            lambda n, w, layers, every: right(n, w, layers, every) + layers // every * right(n, w, 1, 2),
            "full layers twice",
        ),
        (lambda n, w, layers, every: right(n, w, every, every), "one turn"),
    ],
)
def test_mistakes_written_another_way_are_named_too(wrong, mistake, journal, published):
    with pytest.raises(CheckFailed) as caught:
        check.hybrid_pairs(wrong, journal=journal)
    assert caught.value.mistake == mistake


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda n, w, layers, every: right(n, w, layers, every) + 1, r"hybrid_pairs|<lambda>.* must give"),
        (lambda n, w, layers, every: None, "must return"),
        (lambda n, w, layers, every: right(n, w, layers, every) / 7, "must return a whole number"),
    ],
)
def test_other_answers_are_met_with_a_number(wrong, sentence, journal, published):
    with pytest.raises(CheckFailed, match=sentence):
        check.hybrid_pairs(wrong, journal=journal)
