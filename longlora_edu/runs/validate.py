"""Checks that settings share: one place for integers, so that NumPy's are welcome everywhere and True nowhere.

Numbers, choices, switches and texts have one check each, too. Every message says what, rule and value.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

LARGEST_COUNT = 2**31 - 1  # of steps, tokens, ranks: what every library below counts in
LARGEST_SEED = 2**63 - 1  # what torch and NumPy both take
LARGEST_THREADS = 1024
LARGEST_NUMBER = sys.float_info.max


def is_integer(value: Any) -> bool:
    """Return whether `value` is an integer of Python or NumPy. True is an int to Python and a mistake here."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def check_integer(name: str, value: Any, *, at_least: int | None = None, at_most: int | None = None) -> int:
    """Return `value` as a plain int.

    Raises:
        ValueError: for anything but an integer, and for one below `at_least` or above `at_most`.
    """
    if not is_integer(value) or (at_least is not None and value < at_least):
        rule = "an integer" if at_least is None else f"an integer, at least {at_least}"
        raise ValueError(f"{name} must be {rule}, got {value!r}")
    if at_most is not None and value > at_most:
        raise ValueError(f"{name} must be at most {at_most}, got {value!r:.60}")
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
        ValueError: for anything else, and above `LARGEST_COUNT`.
    """
    if not is_integer(value) or value <= 0:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
    return check_integer(name, value, at_most=LARGEST_COUNT)


def set_integers(settings: Any, *names: str, at_least: int = 1, at_most: int = LARGEST_COUNT) -> None:
    """Check fields of a frozen dataclass and store them as plain ints, so that they can be written as JSON.

    Raises:
        ValueError: naming the field, for anything but an integer from `at_least` to `at_most`.
    """
    for name in names:
        value = check_integer(name, getattr(settings, name), at_least=at_least, at_most=at_most)
        object.__setattr__(settings, name, value)


def check_number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    at_least: float | None = None,
    within: tuple[float, float] | None = None,
) -> float:
    """Return `value` as a plain int or float: finite, and above, at least or within what is given.

        check_number("rate", 2e-4, above=0)            2e-4 passes, 0 and inf do not
        check_number("share", 1, within=(0, 1))        0, 0.5 and 1 pass, nan does not

    Raises:
        ValueError: for anything but a real number of Python or NumPy that keeps these rules.
    """
    if within is not None:
        rule = f"from {within[0]} to {within[1]}"
    elif above is not None:
        rule = "positive and finite" if above == 0 else f"finite and above {above}"
    else:
        rule = "finite" if at_least is None else f"finite and at least {at_least}"
    low, high = within or (-LARGEST_NUMBER if at_least is None else at_least, LARGEST_NUMBER)
    number = value.item() if isinstance(value, (np.integer, np.floating)) else value
    real = isinstance(number, (int, float)) and not isinstance(number, bool)
    if not real or not low <= number <= high or (above is not None and number <= above):
        raise ValueError(f"{name} must be {rule}, got {value!r:.60}")
    return number


def check_choice(name: str, value: Any, choices: Iterable) -> None:
    """Refuse what is none of `choices`.

    Raises:
        ValueError: naming all of them.
    """
    choices = tuple(choices)
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}, got {value!r}")


def check_flag(name: str, value: Any) -> None:
    """Refuse what is neither True nor False: a text such as "no" would count as true.

    Raises:
        ValueError: for anything else.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}")


def check_text(name: str, value: Any, *, may_be_empty: bool = False) -> None:
    """Refuse what is no text, an empty one unless that is allowed, or one not of letters that a file in UTF-8 can hold.

    A name on the command line that is no UTF-8 reaches Python with lone surrogates in it.

    Raises:
        ValueError: for anything else.
    """
    if not isinstance(value, str) or not (value or may_be_empty):
        raise ValueError(f"{name} must be a text, got {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} must be text that UTF-8 can write, got {value!r}") from None
