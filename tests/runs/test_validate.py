"""Checks that settings share: which values are integers, and what the messages say."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np
import pytest

from longlora_edu.runs.validate import check_integer, check_positive, check_size, is_integer, set_integers


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
