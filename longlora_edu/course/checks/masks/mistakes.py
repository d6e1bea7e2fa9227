"""Which mistake is it? What a learner's function returns is compared with what each known mistake would return."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from numbers import Integral

import numpy as np

from ....plots import describe_comparison, plot_comparison
from ....widgets import Picture
from ..diagnosis import CheckFailed, Mistake, called, expect_array


def compare(
    function: Callable,
    right: Callable,
    mistakes: Sequence[Mistake],
    cases: Iterable[tuple],
    *,
    read: Callable,
    settings: Callable[..., str],
    unknown: Callable,
    picture: Callable,
    arguments: Callable[..., tuple] = lambda *case: case,
) -> None:
    """Run `function` on each case, in order, and stop at the first wrong answer.

    A mistake is named if it explains everything seen so far: the right answers before (an odd group's mistake does
    not show in even ones) and the wrong one. `read(answer, expected, setting)` checks type and shape, `settings(*case)`
    is the case in words, `unknown(answer, expected)` the sentence for what no mistake explains, `picture(answer,
    expected, case)` what is drawn with it, and `arguments(*case)` what the learner's function is given.

    Raises:
        CheckFailed: naming the mistake.
    """
    seen = []
    for case in cases:
        expected, setting = right(*case), settings(*case)
        answer = read(called(function, *arguments(*case)), expected, setting)
        seen.append((case, answer))
        if np.array_equal(answer, expected):
            continue
        known = next((m for m in mistakes if all(np.array_equal(m.form(*c), a) for c, a in seen)), None)
        sentence = known.sentence if known else unknown(answer, expected)
        raise CheckFailed(
            f"{sentence} (Seen with {setting}.)",
            mistake=known.name if known else "other",
            picture=picture(answer, expected, case),
        )


def compare_masks(
    function: Callable,
    right: Callable,
    mistakes: Sequence[Mistake],
    cases: Iterable[tuple],
    settings: Callable[..., str],
    *,
    what: str = "the mask",
    arguments: Callable[..., tuple] = lambda *case: case,
) -> None:
    """`compare` for masks bool (n, n) or (h, n, n), drawn beside the right one: of several heads, the first wrong one.

    Raises:
        CheckFailed: naming the mistake.
    """

    def read(answer, expected, setting):
        return expect_array(answer, expected.shape, what=f"{what} for {setting}", kind="b")

    def picture(answer, expected, case):
        if answer.ndim == 3:
            head = _first_wrong_head(answer, expected)
            answer, expected = answer[head], expected[head]
        return Picture(plot_comparison(answer, expected), describe_comparison(answer, expected))

    compare(
        function,
        right,
        mistakes,
        cases,
        read=read,
        settings=settings,
        unknown=_first_difference,
        picture=picture,
        arguments=arguments,
    )


def named(*names: str) -> Callable[..., str]:
    """A case in words: its arguments by name, as one would write the call."""
    return lambda *case: ", ".join(f"{name}={value}" for name, value in zip(names, case, strict=True))


def expect_integer(value, *, what: str) -> int:
    """`value` as the whole number it should be; 20.0 is none, and neither is True.

    Raises:
        CheckFailed: naming what it is instead.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Integral):
        hint = {type(None): " (did you forget `return`?)", float: " (divide with // to stay among whole numbers)"}
        found = f"{value!r}" if np.ndim(value) == 0 else type(value).__name__
        raise CheckFailed(f"{what} must be an integer, got {found}{hint.get(type(value), '')}", mistake="type")
    return int(value)


def _first_wrong_head(answer: np.ndarray, expected: np.ndarray) -> int:
    return int(np.argmax((answer != expected).any(axis=(1, 2))))


def _first_difference(answer: np.ndarray, expected: np.ndarray) -> str:
    *head, query, key = np.argwhere(answer != expected)[0]
    where = f"On head {head[0]} query" if head else "Query"
    if answer[*head, query, key]:
        return f"{where} {query} looks at key {key} in your answer, and it must not."
    return f"{where} {query} does not look at key {key} in your answer, and it must."
