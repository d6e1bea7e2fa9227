"""Checks that settings share: one place for integers, so that NumPy's are welcome everywhere and True nowhere."""

from __future__ import annotations

from typing import Any

import numpy as np


def is_integer(value: Any) -> bool:
    """Return whether `value` is an integer of Python or NumPy. True is an int to Python and a mistake here."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def check_integer(name: str, value: Any, *, at_least: int | None = None) -> int:
    """Return `value` as a plain int.

    Raises:
        ValueError: for anything but an integer, and for one below `at_least`.
    """
    if not is_integer(value) or (at_least is not None and value < at_least):
        rule = "an integer" if at_least is None else f"an integer, at least {at_least}"
        raise ValueError(f"{name} must be {rule}, got {value!r}")
    return int(value)


def check_positive(name: str, value: Any) -> int:
    """Return `value` as a plain int, if it is an integer above 0; the message says which of the two it is not.

    Raises:
        ValueError: for anything else.
    """
    if (number := check_integer(name, value)) <= 0:
        raise ValueError(f"{name} must be positive, got {number}")
    return number


def check_size(name: str, value: Any) -> int:
    """Return `value` as a plain int, if it is a positive integer, as sizes and counts of a model are.

    Raises:
        ValueError: for anything else.
    """
    if not is_integer(value) or value <= 0:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
    return int(value)


def set_integers(settings: Any, *names: str, at_least: int = 1) -> None:
    """Check fields of a frozen dataclass and store them as plain ints, so that they can be written as JSON.

    Raises:
        ValueError: naming the field, for anything but an integer, at least `at_least`.
    """
    for name in names:
        object.__setattr__(settings, name, check_integer(name, getattr(settings, name), at_least=at_least))
