"""Lesson 00: how a check works."""

from __future__ import annotations

import math

from ...geometry import S2Geometry
from ...plots import describe_masks, plot_mask
from ...widgets import Picture
from .diagnosis import Mistake, Passed, exercise
from .numbers import expect_numbers

CASES = [(16, 4), (10, 4), (11, 4), (3, 8), (12, 1), (9, 9), (100, 7)]
WRONG = (
    Mistake(
        "floor",
        "the last group is lost where it is not full: 10 tokens in groups of 4 are three groups, of 4, 4 and 2. "
        "Round up instead of down",
        lambda n, g: n // g,
    ),
    Mistake(
        "one too many",
        "a group too many where the groups fit exactly: 16 tokens in groups of 4 are four groups, not five",
        lambda n, g: n // g + 1,
    ),
    Mistake("nearest", "`round` goes to the nearest number, and a short last group counts", lambda n, g: round(n / g)),
    Mistake("tokens", "that is the number of tokens in a group; how many groups are there?", lambda n, g: g),
    Mistake(
        "upside down", "the division is upside down: how often does a group fit in?", lambda n, g: math.ceil(g / n)
    ),
)


@exercise("00.number_of_groups")
def number_of_groups(function) -> Passed:
    """How many groups a plain head has, a short last one counted."""
    expect_numbers(function, CASES, lambda n, g: len(S2Geometry(n, g, 1, shift=0).cells(shifted=False)), WRONG)
    geometry = S2Geometry(10, 4, 2)
    picture = Picture(plot_mask(geometry, 0), f"Three groups, the last one shorter. {describe_masks(geometry)}")
    return Passed("That is how a check looks when all is well. The picture: 10 tokens, three groups.", picture)
