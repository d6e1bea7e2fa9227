"""The checks of lesson 12: right answers pass, and every planted mistake is called by its name."""

from __future__ import annotations

import numpy as np
import pytest

from longlora_edu.course.checks import CheckFailed
from longlora_edu.course.checks import l12_sheet as check
from longlora_edu.course.play.sheet import load_sheet

pytestmark = pytest.mark.usefixtures("published")


def refused(exercise, function, journal, match=None):
    """The name of the mistake that the check sees."""
    with pytest.raises(CheckFailed, match=match) as caught:
        exercise(function, journal=journal)
    return caught.value.mistake


def separating(place):
    """An answer that forbids what `place(h, g, shift)` cuts out."""

    def separate(added, shift):
        added[place(added.shape[1], added.shape[2], shift)] = -np.inf
        return added

    return separate


def right_place(h, g, s):
    return np.s_[-1, h // 2 :, g - s :, : g - s]


WRONG_PLACES = {
    "nothing": lambda h, g, s: np.s_[:0],
    "every head": lambda h, g, s: np.s_[-1, :, g - s :, : g - s],
    "plain heads": lambda h, g, s: np.s_[-1, : h // 2, g - s :, : g - s],
    "first group": lambda h, g, s: np.s_[0, h // 2 :, g - s :, : g - s],
    "all groups": lambda h, g, s: np.s_[:, h // 2 :, g - s :, : g - s],
    "shift for the rest": lambda h, g, s: np.s_[-1, h // 2 :, s:, :s],
    "other": lambda h, g, s: np.s_[0, 0, 0, 0],
}


def test_the_line_of_the_sheet_separates(journal):
    check.separate(separating(right_place), journal=journal)
    assert journal.get("exercises", "12.separate") == {"attempts": 1, "passed": True}


@pytest.mark.parametrize("mistake", WRONG_PLACES)
def test_a_wrong_place_is_named(mistake, journal):
    assert refused(check.separate, separating(WRONG_PLACES[mistake]), journal) == mistake


def test_the_mask_must_come_back(journal):
    assert refused(check.separate, lambda added, shift: None, journal, match="did you forget `return`") == "type"


def roll_half(x, by):
    return load_sheet().roll_half(x, by)


def back(x, shift):
    c, h, g, d = x.shape
    return roll_half(x.swapaxes(1, 2).reshape(c * g, h, d), shift)


WRONG_BACK = {
    "no shift back": lambda x, shift: back(x, 0),
    "wrong way": lambda x, shift: back(x, -shift),
    "every head": lambda x, shift: np.roll(back(x, 0), shift, axis=0),
    "heads and tokens": lambda x, shift: roll_half(x.reshape(-1, x.shape[1], x.shape[3]), shift),
    "other": lambda x, shift: 2 * back(x, shift),
    "type": lambda x, shift: None,
}


def test_tokens_that_are_back_in_place_are_accepted(journal):
    check.out_of_groups(back, journal=journal)
    assert journal.get("exercises", "12.out_of_groups") == {"attempts": 1, "passed": True}


@pytest.mark.parametrize("mistake", WRONG_BACK)
def test_a_wrong_way_back_is_named(mistake, journal):
    assert refused(check.out_of_groups, WRONG_BACK[mistake], journal) == mistake


def naming(*parts):
    return lambda names: [name for name in names if any(part in name for part in parts)]


WRONG_NAMES = {
    "type": lambda names: None,
    "unknown": lambda names: ["model.nothing"],
    "lm_head.weight": naming("lora", "embed", "norm", "lm_head"),
    "model.layers.0.mlp.gate_proj.weight": naming("lora", "embed", "norm", "mlp"),
    "model.layers.0.self_attn.q_proj.weight": naming("self_attn", "embed", "norm"),
    "LoRA": naming("embed", "norm"),
    "embedding": naming("lora", "norm"),
    "layer norm": naming("lora", "embed"),
    "last norm": naming("lora", "embed", "layernorm"),
}


def test_what_the_sheet_trains_is_accepted(journal):
    check.trained(naming("lora", "embed", "norm"), journal=journal)
    assert journal.get("exercises", "12.trained") == {"attempts": 1, "passed": True}


@pytest.mark.parametrize("mistake", WRONG_NAMES)
def test_a_wrong_list_is_named(mistake, journal):
    assert refused(check.trained, WRONG_NAMES[mistake], journal) == mistake


def test_the_names_of_the_check_are_those_of_the_sheet():
    sheet = load_sheet()
    m = sheet.read_model(sheet.BASE)
    sheet.add_lora(m, np.random.default_rng(0))
    named = {name for part in check.FREE.values() for name in part}
    assert named | set(check.FROZEN) <= set(m.w)
    assert named <= set(m.grads) and not set(check.FROZEN) & set(m.grads)


@pytest.mark.parametrize("exercise", [check.separate, check.out_of_groups, check.trained], ids=lambda e: e.key)
def test_a_stub_is_told_apart_from_a_wrong_answer(exercise, journal):
    def stub(*_):
        raise NotImplementedError

    with pytest.raises(NotImplementedError):
        exercise(stub, journal=journal)
