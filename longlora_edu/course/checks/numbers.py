"""Exercises whose answer is a number: known wrong formulas are recognised by what they give."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from numbers import Integral, Real

from .diagnosis import CheckFailed, Mistake, called


def expect_numbers(
    function: Callable,
    cases: Sequence[tuple],
    right: Callable,
    mistakes: Sequence[Mistake] = (),
    *,
    whole: bool = True,
    said: Sequence[str] = (),
) -> None:
    """Does `function` give what `right` gives, in every case? `whole` asks for whole numbers, though `4.0` will do.

    `said` is what to call the arguments of each case, where they are too long to be shown.

    Raises:
        CheckFailed: for a result that is no number; with the sentence of the first known formula that gives the
            learner's numbers in all cases; else with the first case that differs.
        NotImplementedError: from a stub.
    """
    answers = [_number(called(function, *case), function, whole) for case in cases]
    expected = [right(*case) for case in cases]
    if _agree(answers, expected):
        return
    for known in mistakes:
        if _agree(answers, [known.form(*case) for case in cases]):
            raise CheckFailed(known.sentence, mistake=known.name)
    which = next(
        place for place, pair in enumerate(zip(answers, expected, strict=True)) if not _agree([pair[0]], [pair[1]])
    )
    given = said[which] if said else _arguments(function, cases[which])
    what = f"{getattr(function, '__name__', 'your function')}({given})"
    raise CheckFailed(f"{what} must give {_short(expected[which])}, got {_short(answers[which])}", mistake="value")


def expect_number(value, what: str, *, verb: str = "be") -> float:
    """`value` as the plain, finite number that `what` must be.

    Raises:
        CheckFailed: naming what it is instead.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        hint = " (did you forget `return`?)" if value is None else ""
        raise CheckFailed(f"{what} must {verb} a number, got {type(value).__name__}{hint}", mistake="type")
    if not math.isfinite(value):
        raise CheckFailed(f"{what} must {verb} a finite number, got {value}", mistake="not finite")
    return float(value)


def _agree(answers: Sequence, expected: Sequence) -> bool:
    return all(math.isclose(a, b, rel_tol=1e-9) for a, b in zip(answers, expected, strict=True))


def _number(value, function: Callable, whole: bool):
    name = getattr(function, "__name__", "your function")
    expect_number(value, name, verb="return")
    if whole and not isinstance(value, Integral) and not float(value).is_integer():
        raise CheckFailed(f"{name} must return a whole number, got {value:,}", mistake="fraction")
    return value


def _arguments(function: Callable, case: tuple) -> str:
    try:
        names = [f"{name}=" for name in inspect.signature(function).parameters]
    except (TypeError, ValueError):
        names = []
    names += [""] * (len(case) - len(names))
    return ", ".join(f"{name}{value!r}" for name, value in zip(names, case, strict=False))


def _short(value) -> str:
    return f"{int(value):,}" if float(value).is_integer() else f"{value:,.6g}"
