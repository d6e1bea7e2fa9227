"""The checks of lesson 12: right answers pass, and every planted mistake is called by its name."""

from __future__ import annotations

import numpy as np
import pytest

from longlora_edu.course.checks import CheckFailed
from longlora_edu.course.checks import l12_sheet as check
from longlora_edu.course.play.sheet import BREAKS, load_sheet
from longlora_edu.geometry import S2Geometry

pytestmark = pytest.mark.usefixtures("published")


def refused(exercise, function, journal, match=None):
    """The name of the mistake that the check sees."""
    with pytest.raises(CheckFailed, match=match) as caught:
        exercise(function, journal=journal)
    assert journal.get("exercises", exercise.key)["mistake"] == caught.value.mistake
    return caught.value.mistake


def accepted(exercise, function, journal):
    exercise(function, journal=journal)
    assert journal.get("exercises", exercise.key) == {"attempts": 1, "passed": True}


def marking(place):
    """An answer that marks what `place(n, g, shift)` cuts out."""

    def seen_ahead(n, g):
        table = np.zeros((n, n), bool)
        table[place(n, g, g // 2)] = True
        return table

    return seen_ahead


def text_order(n, g):
    """An answer that forgets the order of the roll: all later keys that share the query's group."""
    last = np.isin(np.arange(n), np.roll(np.arange(n), -(g // 2))[-g:])  # the tokens of the last group
    return np.triu(np.outer(last, last), 1)


def right_pairs(n, g, s):
    return np.s_[:s, n - (g - s) :]


WRONG_PAIRS = {
    "nobody": marking(lambda n, g, s: np.s_[:0]),
    "transposed": marking(lambda n, g, s: np.s_[n - (g - s) :, :s]),
    "whole group": marking(lambda n, g, s: np.s_[:s, n - g :]),
    "shift for the rest": marking(lambda n, g, s: np.s_[:s, n - s :]),
    "too many queries": marking(lambda n, g, s: np.s_[: g - s, n - (g - s) :]),
    "text order": lambda n, g: text_order(n, g),
    "everything": lambda n, g: S2Geometry(n, g, 1, boundary="wrap").mask()[0],
    "other": marking(lambda n, g, s: np.s_[0, 1]),
    "type": lambda n, g: None,
    "dtype": lambda n, g: np.zeros((n, n)),
}


def test_the_pairs_of_the_future_are_accepted(journal):
    accepted(check.seen_ahead, marking(right_pairs), journal)


@pytest.mark.parametrize("mistake", WRONG_PAIRS)
def test_wrong_pairs_are_named(mistake, journal):
    assert refused(check.seen_ahead, WRONG_PAIRS[mistake], journal) == mistake


@pytest.mark.parametrize(("n", "g"), [(16, 8), (15, 5)])
def test_the_pairs_are_those_that_the_broken_sheet_lets_in(n, g):
    attention = load_sheet(*BREAKS["boundary"]).attention
    q, k, v = np.random.default_rng(0).normal(size=(3, n, 1, 4))  # one head, which is shifted
    before = attention(q, k, v, g)[0]
    moved = np.zeros((n, n), bool)
    for token in range(n):
        pushed = v.copy()
        pushed[token] += 1
        moved[:, token] = (attention(q, k, pushed, g)[0] != before).any(axis=(1, 2))
    np.testing.assert_array_equal(np.triu(moved, 1), marking(right_pairs)(n, g))


WRONG_LANDINGS = {
    "wrong way": lambda token, n, shift: (token + shift) % n,
    "no wrap": lambda token, n, shift: token - shift,
    "unmoved": lambda token, n, shift: token,
    "cut off": lambda token, n, shift: max(token - shift, 0),
    "value": lambda token, n, shift: 0,
    "type": lambda token, n, shift: None,
}


def test_the_place_where_a_token_lands_is_accepted(journal):
    accepted(check.lands, lambda token, n, shift: (token - shift) % n, journal)


@pytest.mark.parametrize("mistake", WRONG_LANDINGS)
def test_a_wrong_place_is_named(mistake, journal):
    assert refused(check.lands, WRONG_LANDINGS[mistake], journal) == mistake


def counting(above, below):
    def share(w):
        numbers, others = (sum(a.size for n, a in w.items() if any(p in n for p in parts)) for parts in (above, below))
        return numbers / others

    return share


FREE = ("lora", "embed", "norm")
WRONG_SHARES = {
    "of all": counting(("norm",), ("",)),
    "arrays": lambda w: sum("norm" in n for n in w) / sum(any(p in n for p in FREE) for n in w),
    "last norm": counting(("layernorm",), FREE),
    "embedding": counting(("norm",), ("lora", "norm")),
    "LoRA": counting(("norm",), ("embed", "norm")),
    "against the others": counting(("norm",), ("lora", "embed")),
    "percent": lambda w: 100 * counting(("norm",), FREE)(w),
    "number": lambda w: sum(a.size for n, a in w.items() if "norm" in n),
    "frozen too": counting(("norm",), ("self_attn", "embed", "norm")),
    "value": lambda w: 0.123,
    "type": lambda w: "few",
}


def test_the_share_of_the_norms_is_accepted(journal):
    accepted(check.share_of_norms, counting(("norm",), FREE), journal)


@pytest.mark.parametrize("mistake", WRONG_SHARES)
def test_a_wrong_share_is_named(mistake, journal):
    assert refused(check.share_of_norms, WRONG_SHARES[mistake], journal) == mistake


def test_what_the_check_counts_is_what_the_sheet_trains():
    sheet = load_sheet()
    m = sheet.read_model(sheet.BASE)
    sheet.add_lora(m, np.random.default_rng(0))
    norms = sum(array.size for name, array in m.grads.items() if "norm" in name)
    assert counting(("norm",), FREE)(m.w) == norms / sum(array.size for array in m.grads.values())


@pytest.mark.parametrize("exercise", [check.seen_ahead, check.lands, check.share_of_norms], ids=lambda e: e.key)
def test_a_stub_is_told_apart_from_a_wrong_answer(exercise, journal):
    def stub(*_):
        raise NotImplementedError

    with pytest.raises(NotImplementedError):
        exercise(stub, journal=journal)
