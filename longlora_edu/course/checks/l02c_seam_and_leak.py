"""Checks of lesson 02c: the seam of a wrapped sequence, and where the future leaks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...geometry import S2Geometry
from ...plots import show_masks
from .exercise import Mistake, Passed, check, compare_masks, named
from .l02a_wall_and_shift import (
    NOT_CAUSAL,
    NOT_ITSELF,
    OTHER_WAY,
    any_order,
    compare_counts,
    mask_sizes,
    same_cell,
    same_rolled_cell,
    triangle,
    wrapped_cells,
)


@check("02.masked_boundary")
def masked_boundary(function: Callable) -> Passed:
    """Check `function(seq_len, group_size, shift)`: bool (n, n), a shifted head under the masked boundary."""
    cases = [(8, 4, 2), (12, 4, 1), (9, 3, 1), (15, 5, 3), (4, 4, 2), (10, 5, 0)]
    # Where cells wrap, the length is a whole number of groups.
    cases += [(g * -(-n // g), g, shift) for n, g, _, shift in mask_sizes()]

    def right(seq_len, group_size, shift):
        return S2Geometry(seq_len, group_size, 1, shift, "masked").mask()[0]

    compare_masks(function, cases, right, MASKED_MISTAKES, named("seq_len", "group_size", "shift"))
    picture = show_masks(S2Geometry(8, 4, 2, boundary="masked"), heads=(1,))
    return Passed(f"All {len(cases)} geometries are right: the seam is one cell, and nothing looks ahead.", picture)


@check("02.leaked_pairs")
def leaked_pairs(function: Callable) -> Passed:
    """Check `function(group_size, num_heads, shift)`: int, pairs under the wrap boundary that look at the future."""
    # The first case is one in which no two mistakes give the same answer.
    cases = [(6, 5, 2), (4, 2, 2), (4, 4, 1), (5, 2, 2), (6, 3, 4), (4, 1, 3), (7, 5, 0), (8, 6, 4)]

    def geometry(group_size, num_heads, shift):
        return S2Geometry(2 * group_size, group_size, num_heads, shift, "wrap")

    names = ("group_size", "num_heads", "shift")

    def parts(g, heads, s):
        return (
            f"There {s} first tokens look at {g - s} last ones, on {heads - heads // 2} heads. Which of these three "
            "numbers is otherwise in yours?"
        )

    def right(*case):
        return geometry(*case).future_pairs()

    compare_counts(function, cases, right, LEAK_MISTAKES, names, geometry, parts=parts)
    picture = show_masks(geometry(4, 2, 2), heads=(1,))
    return Passed("Right for every shift, odd groups and odd heads: this is S2Geometry(…).future_pairs().", picture)


def _one(rule):
    """form(n, g, shift) from `rule(query, key, n, g, shift)`."""
    return lambda n, g, shift: rule(*np.ogrid[:n, :n], n, g, shift)


MASKED_MISTAKES = {
    "wrap_leak": Mistake(
        "Your cells are right, the order is not: the first tokens look at the last ones, the future. Compare the true "
        "positions of query and key, not where the roll has put them.",
        _one(same_rolled_cell),
    ),
    "seam_cut": Mistake(
        "Your last tokens do not look at the first ones, as under split. The two ends are one cell here: take the "
        "coordinates modulo seq_len, and let the true positions alone decide who is later.",
        _one(lambda i, j, n, g, s: same_cell(i, j, g, s)),
    ),
    "modulo_the_group": Mistake(
        "Modulo group_size all tokens end in one cell. What wraps around is the sequence: modulo seq_len.",
        _one(lambda i, j, n, g, s: j <= i),
    ),
    "place_in_cell": Mistake(
        "You compare places inside a cell: % group_size gives the place. Take the coordinates modulo seq_len first, "
        "then divide by group_size, rounding down.",
        _one(lambda i, j, n, g, s: same_cell(i, j, g, s, cell=np.mod)),
    ),
    "not_causal": Mistake(
        NOT_CAUSAL, _one(lambda i, j, n, g, s: same_cell(i, j, g, s, cell=wrapped_cells(n), causal=any_order))
    ),
    "not_itself": Mistake(
        NOT_ITSELF, _one(lambda i, j, n, g, s: same_cell(i, j, g, s, cell=wrapped_cells(n), causal=np.greater))
    ),
    "other_way": Mistake(OTHER_WAY, _one(lambda i, j, n, g, s: same_cell(i, j, g, -s, cell=wrapped_cells(n)))),
    "always_half_a_group": Mistake(
        "You shift by half a group, whatever `shift` is. Here it is given.",
        _one(lambda i, j, n, g, s: same_cell(i, j, g, g // 2, cell=wrapped_cells(n))),
    ),
    "not_shifted": Mistake(
        "This is a plain head. Subtract the shift from both positions first.",
        _one(lambda i, j, n, g, s: same_cell(i, j, g, 0)),
    ),
}

LEAK_MISTAKES = {
    "plain_heads_leak": Mistake(
        "You count all heads. Plain heads wrap nothing: only the num_heads - num_heads // 2 shifted ones leak.",
        lambda g, heads, s: heads * s * (g - s),
    ),
    "one_head": Mistake(
        "You count one head. Multiply by how many heads are shifted.",
        lambda g, heads, s: s * (g - s),
    ),
    "smaller_half": Mistake(
        "Of an odd number of heads the larger half is shifted: num_heads - num_heads // 2.",
        lambda g, heads, s: heads // 2 * s * (g - s),
    ),
    "half_a_group_squared": Mistake(
        "That is right where the shift is half a group. In general `shift` first tokens look at `group_size - shift` "
        "last ones.",
        lambda g, heads, s: (heads - heads // 2) * (g // 2) ** 2,
    ),
    "both_ways": Mistake(
        "You count the pairs of the seam twice. The first tokens look at the last ones, and in rolled order the last "
        "ones do not look back.",
        lambda g, heads, s: (heads - heads // 2) * 2 * s * (g - s),
    ),
    "whole_cell": Mistake(
        "These are all pairs of the wrapped cell. Most of them look backwards: count only first tokens that look at "
        "last ones.",
        lambda g, heads, s: (heads - heads // 2) * triangle(g),
    ),
    "one_later_token_each": Mistake(
        "That is one later token for each of the first ones. Each of them sees all `group_size - shift` last tokens.",
        lambda g, heads, s: (heads - heads // 2) * s,
        also=lambda g, heads, s: s,
    ),
    "one_first_token": Mistake(
        "These are the last tokens that are looked at. All of the first `shift` tokens look at each of them.",
        lambda g, heads, s: (heads - heads // 2) * (g - s),
        also=lambda g, heads, s: g - s,
    ),
    "whole_square": Mistake(
        "That is the whole square of the wrapped cell. Only its first tokens look at its last ones: a rectangle of "
        "`shift` times `group_size - shift`.",
        lambda g, heads, s: (heads - heads // 2) * g * g,
    ),
    "shift_times_group": Mistake(
        "The first tokens do not leak to each other: each looks at the `group_size - shift` last tokens, not at "
        "group_size of them.",
        lambda g, heads, s: (heads - heads // 2) * s * g,
        also=lambda g, heads, s: heads * s * g,
    ),
    "a_triangle": Mistake(
        "The seam is a whole rectangle, not a triangle: every first token stands after every last one in rolled order.",
        lambda g, heads, s: (heads - heads // 2) * triangle(s),
        also=lambda g, heads, s: (heads - heads // 2) * triangle(g - s),
    ),
    "nothing_leaks": Mistake(
        "Under the wrap boundary something does leak: rolling puts the last tokens before the first ones.",
        lambda g, heads, s: 0,
    ),
    "shift_squared": Mistake(
        "The seam is a rectangle: `shift` first tokens look, and `group_size - shift` last tokens are looked at.",
        lambda g, heads, s: (heads - heads // 2) * s * s,
    ),
}
