"""Numbers beside what wrong code would have given: a mistake is named when its own numbers come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ...widgets import Picture
from .diagnosis import CheckFailed

# Relative to the largest right number. Wide enough for single precision, far narrower than any mistake.
CLOSE = 1e-4


def expect_values(
    value: np.ndarray,
    right: np.ndarray,
    wrong: Mapping[str, tuple[np.ndarray, str]],
    *,
    otherwise: str,
    picture: Callable[[np.ndarray, np.ndarray], Picture] | None = None,
) -> None:
    """Nothing when `value` equals `right`; else the sentence of the first of `wrong` that it equals, or `otherwise`.

    `wrong` maps the name of a mistake to the numbers it leads to and what to say. One that leads to the right numbers
    here, as many do for special sizes, accuses nobody.

    Raises:
        CheckFailed: naming the mistake, with `picture(value, right)`.
    """
    if same(value, right):
        return
    mistake, sentence = next(
        ((name, said) for name, (form, said) in wrong.items() if same(value, form)), ("other", otherwise)
    )
    raise CheckFailed(
        sentence[0].upper() + sentence[1:], mistake=mistake, picture=picture(value, right) if picture else None
    )


def same(one: np.ndarray, other: np.ndarray) -> bool:
    """Are both of one shape and equal up to rounding?"""
    one, other = np.asarray(one, float), np.asarray(other, float)
    return one.shape == other.shape and np.allclose(one, other, rtol=0, atol=CLOSE * max(np.abs(other).max(), 1e-12))
