"""Check of lesson 00: how many groups there are, to see how a check works."""

from __future__ import annotations

import math
from collections.abc import Callable

from ...geometry import S2Geometry
from ...plots import show_mask
from .exercise import Mistake, Passed, check, compare_numbers

CASES = [(16, 4), (10, 4), (11, 4), (3, 8), (12, 1), (9, 9), (100, 7)]
WRONG = {
    "floor": Mistake(
        "the last group is lost where it is not full: 10 tokens in groups of 4 are three groups, of 4, 4 and 2. "
        "Round up instead of down",
        lambda n, g: n // g,
    ),
    "one too many": Mistake(
        "a group too many where the groups fit exactly: 16 tokens in groups of 4 are four groups, not five",
        lambda n, g: n // g + 1,
    ),
    "nearest": Mistake("`round` goes to the nearest number, and a short last group counts", lambda n, g: round(n / g)),
    "tokens": Mistake("that is the number of tokens in a group; how many groups are there?", lambda n, g: g),
    "upside down": Mistake(
        "the division is upside down: how often does a group fit in?", lambda n, g: math.ceil(g / n)
    ),
}


@check("00.number_of_groups")
def number_of_groups(function: Callable) -> Passed:
    """Check `function(seq_len, group_size)`: the number of groups of a plain head, a short last one counted."""
    compare_numbers(function, CASES, lambda n, g: len(S2Geometry(n, g, 1, shift=0).cells(shifted=False)), WRONG)
    picture = show_mask(S2Geometry(10, 4, 2), 0, lead="Three groups, the last one shorter.")
    return Passed("That is how a check looks when all is well. The picture: 10 tokens, three groups.", picture)
