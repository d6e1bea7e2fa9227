"""Checks that settings share: which values are integers, and what the messages say."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np
import pytest

from longlora_edu.runs.validate import (
    LARGEST_COUNT,
    check_choice,
    check_flag,
    check_integer,
    check_number,
    check_positive,
    check_size,
    check_text,
    is_integer,
    set_integers,
)


@dataclass(frozen=True)
class Sizes:
    width: int
    depth: int


@pytest.mark.parametrize("value", [0, -3, np.int64(7), np.uint8(2)])
def test_integers_of_python_and_numpy_are_welcome(value):
    assert is_integer(value)
    assert type(check_integer("n", value)) is int


@pytest.mark.parametrize("value", [True, np.True_, 1.0, "1", None, 1j, np.array([1])])
def test_anything_else_is_refused_by_each_check(value):
    assert not is_integer(value)
    for check, rule in ((check_integer, "an integer"), (check_positive, "an integer"), (check_size, "a positive int")):
        with pytest.raises(ValueError, match=f"n must be {rule}"):
            check("n", value)


def test_the_least_value_is_allowed_and_one_below_it_is_not():
    assert check_integer("n", 2, at_least=2) == 2
    with pytest.raises(ValueError, match="n must be an integer, at least 2, got 1"):
        check_integer("n", 1, at_least=2)


@pytest.mark.parametrize(
    ("check", "message"),
    [(check_positive, "n must be positive, got 0"), (check_size, "n must be a positive integer, got 0")],
)
def test_zero_is_not_positive(check, message):
    assert check("n", np.int32(1)) == 1
    with pytest.raises(ValueError, match=message):
        check("n", 0)


def test_fields_of_settings_become_plain_integers():
    sizes = Sizes(np.int64(4), 2)
    set_integers(sizes, "width", "depth")
    assert json.dumps(asdict(sizes)) == '{"width": 4, "depth": 2}'
    with pytest.raises(ValueError, match="depth must be an integer, at least 3, got 2"):
        set_integers(sizes, "depth", at_least=3)


def test_an_absurd_integer_is_refused():
    assert check_integer("n", 5, at_most=5) == 5
    with pytest.raises(ValueError, match="n must be at most 5, got 6"):
        check_integer("n", 6, at_most=5)
    for check in (check_size, lambda name, value: set_integers(Sizes(value, 1), "width")):
        with pytest.raises(ValueError, match=f"must be at most {LARGEST_COUNT}, got 1000000"):
            check("n", 10**20)


@pytest.mark.parametrize("value", [0.5, 1, np.float32(0.5), np.int8(1)])
def test_a_number_is_given_back_plain(value):
    assert type(check_number("n", value)) in (int, float)
    assert check_number("n", value, above=0, within=(0, 1)) == value


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, True, "1", None, 1j, 10**400])
@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({}, "finite"),
        ({"above": 0}, "positive and finite"),
        ({"above": 1}, "finite and above 1"),
        ({"at_least": 1}, "finite and at least 1"),
        ({"within": (0, 1)}, "from 0 to 1"),
    ],
)
def test_what_is_no_finite_number_is_refused(value, rules, said):
    with pytest.raises(ValueError, match=f"n must be {said}, got "):
        check_number("n", value, **rules)


@pytest.mark.parametrize(("value", "rules"), [(0, {"above": 0}), (-1e-9, {"within": (0, 1)}), (2, {"within": (0, 1)})])
def test_a_number_outside_of_its_rule_is_refused(value, rules):
    with pytest.raises(ValueError, match=f"n must be .*, got {value}"):
        check_number("n", value, **rules)


def test_a_choice_is_of_the_kind_it_has_in_the_list():
    check_choice("rope", "yarn", ("linear", "yarn"))
    check_choice("rope", None, ("linear", None))
    for value in ("junk", None, ["yarn"], np.array([1])):
        with pytest.raises(ValueError, match="rope must be one of linear, yarn, got"):
            check_choice("rope", value, ("linear", "yarn"))
    with pytest.raises(ValueError, match="n must be one of 0, 1, got True"):
        check_choice("n", True, (0, 1))


@pytest.mark.parametrize("value", ["no", 0, 1, None])
def test_a_switch_is_true_or_false(value):
    check_flag("bf16", True)
    with pytest.raises(ValueError, match="bf16 must be True or False, got"):
        check_flag("bf16", value)


def test_a_text_is_one_that_a_file_can_hold():
    check_text("data", "folder/ä")
    for value in ("", None, 3, b"x"):
        with pytest.raises(ValueError, match="data must be a text, got"):
            check_text("data", value)
    with pytest.raises(ValueError, match=r"data must be text that UTF-8 can write, got 'a\\udcff'"):
        check_text("data", "a\udcff")
