"""Intervals over documents and seeds, on made-up records whose answer is known; and a row beside its record."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from longlora_edu.training.corpus import Document, Windows
from research.study.part import relative_change
from research.study.rerun import compare_rows
from research.study.resample import effective, redrawn, with_documents
from research.study.verdict import over_seeds, student
from research.study.windows import drawn_documents, recorded_documents, spread_windows, write_documents

# Windows by document as in the records: few documents have most.
SIZES = (38, 24, 23, 18, 18, 13, 12, 8, 7, 6, 5, 5, 5, 4, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1)
DOCUMENTS = np.repeat(np.arange(len(SIZES)), SIZES)
TRUTH = 0.02


def arms(rng, by_seed: float, by_document: float, by_window: float = 0.02):
    """Bits by window of two arms, (3, 200): the second is TRUTH more, by luck of seeds, documents and windows."""
    first = np.tile(1.05 + 0.1 * rng.standard_normal(200), (3, 1))
    luck = by_seed * rng.standard_normal((3, 1)) + by_document * rng.standard_normal(len(SIZES))[DOCUMENTS]
    return first, first * (1 + TRUTH + luck + by_window * rng.standard_normal((3, 200)))


def interval(first, second):
    seeds = over_seeds([float(value) for value in relative_change(first.mean(axis=1), second.mean(axis=1))])
    return seeds, with_documents(seeds, redrawn(relative_change, (first, second), DOCUMENTS), DOCUMENTS)


@pytest.mark.parametrize("luck", [(0.001, 0.02), (0.006, 0.004)], ids=["documents", "seeds"])
def test_nineteen_of_twenty_intervals_hold_the_truth_whichever_varies_more(luck):
    rng, held, held_by_seeds = np.random.default_rng(3), 0, 0
    for _ in range(60):
        seeds, both = interval(*arms(rng, *luck))
        held += abs(both.mean - TRUTH) <= both.half
        held_by_seeds += abs(seeds.mean - TRUTH) <= seeds.half
    assert held >= 54
    if luck[1] > luck[0]:
        assert held_by_seeds < 45  # what three seeds say of a text that they share


def test_with_one_value_for_all_documents_the_interval_is_that_of_the_seeds():
    first = np.ones((3, 200))
    second = np.repeat([[1.01], [1.02], [1.03]], 200, axis=1)
    seeds, both = interval(first, second)
    assert both.by_documents == pytest.approx(0, abs=1e-12)
    assert both.half == pytest.approx(seeds.half, rel=0.1)
    assert (both.documents, both.over) == (24, "documents and seeds")


def test_with_one_value_for_all_seeds_the_interval_is_that_of_the_documents():
    first = np.ones((3, 200))
    second = np.tile(np.where(DOCUMENTS % 2, 1.01, 1.03), (3, 1))
    seeds, both = interval(first, second)
    assert seeds.half == pytest.approx(0, abs=1e-12)
    assert both.half == pytest.approx(both.by_documents)
    assert 0.004 < both.half < 0.02  # two equally likely values 0.02 apart, some ten equal documents


def test_unequal_documents_are_worth_fewer_equal_ones():
    assert effective([0, 1, 2, 3]) == pytest.approx(4)
    assert effective(DOCUMENTS) == pytest.approx(10.6, abs=0.1)
    with pytest.raises(ValueError, match="documents must be several, got windows that are worth 1.0"):
        with_documents(over_seeds([1.0, 2.0]), np.zeros(5), [0, 0])


def test_students_quantiles_lie_between_those_of_the_table():
    assert student(2) == 4.303
    assert student(9) > student(9.6) > student(10)
    assert student(0.5) == np.inf and student(1000) == 1.96


def test_the_documents_of_the_windows_are_those_that_the_windows_were_cut_from():
    documents = tuple(Document(f"{letter}.py", letter.encode() * size) for letter, size in (("a", 90), ("b", 40)))
    rng = [np.random.default_rng(5) for _ in range(2)]
    windows = Windows(documents, 20)
    texts, names = windows.draw(rng[0], 30), windows.names_of(rng[1], 30)
    assert [chr(text[0]) for text in texts] == [name[0] for name in names]
    assert set(names) == {"a.py", "b.py"}


def test_spread_windows_are_as_many_of_each_document_and_at_even_distances():
    documents = [Document("long", bytes(range(1, 101))), Document("short", b"x" * 10), Document("tight", b"y" * 20)]
    found = spread_windows(documents, 20, 5)
    assert found.documents == ("long", "long", "long", "tight", "tight")
    assert [int(text[0]) for text in found.texts[:3]] == [21, 41, 61]
    with pytest.raises(ValueError, match="documents must hold one of at least 200 bytes"):
        spread_windows(documents, 200, 5)
    with pytest.raises(ValueError, match="count must be at least one for each of 2 documents, got 1"):
        spread_windows(documents, 20, 1)


def test_recorded_documents_are_those_of_this_text_where_it_is_the_one_recorded(tmp_path):
    from longlora_edu.training.corpus import standard_library

    corpus = standard_library()
    recorded = recorded_documents()
    if corpus.hash not in recorded:
        pytest.skip("another standard library than the one recorded")
    again = recorded_documents(write_documents(corpus, tmp_path / "documents.json"))
    assert again == recorded
    assert len(drawn_documents(corpus, 4096, 200)) == 200
    assert recorded_documents(tmp_path / "none.json") == {}


def record():
    return {
        "config": {"target": 2048},
        "curve": [{"step": 0, "loss": 2.0, "seconds": 1.0}],
        "results": {
            "bits_per_byte": {"256": 1.1, "2048": 1.0, "4096": 5.0},
            "bits_per_byte_by_window": [1.0, 1.1],
            "passkey": {"rate": 0.5, "successes": 100, "trials": 200},
        },
    }


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda new: None, "same"),
        (lambda new: new["curve"][0].update(seconds=9.0), "same"),
        (lambda new: new["curve"][0].update(loss=2.5), "within tolerance"),
        (lambda new: new["results"]["bits_per_byte"].update({"2048": 1.004}), "within tolerance"),
        (lambda new: new["results"]["bits_per_byte"].update({"2048": 1.006}), "different"),
        (lambda new: new["results"]["bits_per_byte"].update({"4096": 4.0}), "within tolerance"),  # past the target
        (lambda new: new["results"]["passkey"].update(rate=0.51), "within tolerance"),
        (lambda new: new["results"]["passkey"].update(rate=0.53), "different"),
        (lambda new: new["results"].update(another=1), "same"),  # what an older record does not hold
        (lambda new: new.update(curve=[]), "within tolerance"),
    ],
)
def test_a_row_computed_again_gets_one_word_by_its_results(change, word):
    then, now = record(), copy.deepcopy(record())
    change(now)
    found = compare_rows(then, now)
    assert found.word == word
    lines = found.text().splitlines()
    assert lines[0].startswith("bits_per_byte.256") and lines[-1].startswith(word)
    assert "results may differ by 0.5 %, shares by 1.25 points" in lines[-1]
