"""The three exercises whose answer is a number: pairs, layers until the ends hear each other, and the leak."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ....geometry import S2Geometry
from ....plots import describe_hops, describe_masks, plot_hops, plot_masks
from ....widgets import Picture
from ..diagnosis import Mistake, Passed, exercise
from .mistakes import compare, expect_integer, named


@exercise("02.count_pairs")
def count_pairs(function: Callable) -> Passed:
    """`function(seq_len, group_size, num_heads)`: int, all pairs of all heads, shifted by half a group, split."""
    cases = [(8, 4, 2), (12, 4, 2), (16, 4, 4), (9, 3, 2), (10, 4, 2), (15, 5, 3), (3, 8, 1), (23, 7, 5), (64, 16, 9)]

    def right(*settings):
        return S2Geometry(*settings).pairs()

    _compare(function, right, PAIRS_MISTAKES, cases, ("seq_len", "group_size", "num_heads"), lambda *c: S2Geometry(*c))
    geometry = S2Geometry(8, 4, 2)
    picture = Picture(plot_masks(geometry, heads=(1,)), describe_masks(geometry))
    return Passed("Right for whole and ragged sequences, odd groups and odd heads, without building a mask.", picture)


@exercise("02.layers_needed")
def layers_needed(function: Callable) -> Passed:
    """`function(num_groups)`: int, the layers until the last token hears the first, whole groups, split."""
    cases = [(r,) for r in (3, 1, 2, 4, 5, 8, 16)]

    def right(num_groups):
        return 2 * num_groups - 1

    _compare(function, right, LAYERS_MISTAKES, cases, ("num_groups",), lambda r: S2Geometry(4 * r, 4, 2), draw=_hops)
    return Passed("So it is, whatever the shift: 2r - 1 layers for r groups.", _hops(S2Geometry(8, 4, 2)))


@exercise("02.leaked_pairs")
def leaked_pairs(function: Callable) -> Passed:
    """`function(group_size, num_heads, shift)`: int, the pairs under the wrap boundary that look at the future."""
    # The first case is one in which no two mistakes give the same answer.
    cases = [(6, 5, 2), (4, 2, 2), (4, 4, 1), (5, 2, 2), (6, 3, 4), (4, 1, 3), (7, 5, 0), (8, 6, 4)]

    def geometry(group_size, num_heads, shift):
        return S2Geometry(2 * group_size, group_size, num_heads, shift, "wrap")

    def right(*settings):
        return geometry(*settings).future_pairs()

    _compare(function, right, LEAK_MISTAKES, cases, ("group_size", "num_heads", "shift"), geometry)
    example = geometry(4, 2, 2)
    picture = Picture(plot_masks(example, heads=(1,)), describe_masks(example))
    return Passed("Right for every shift, odd groups and odd heads: this is S2Geometry(…).future_pairs().", picture)


def _compare(
    function: Callable,
    right: Callable,
    mistakes: Sequence[Mistake],
    cases: Iterable[tuple],
    names: tuple[str, ...],
    geometry: Callable,
    *,
    draw: Callable | None = None,
) -> None:
    """`compare` for integers; with a wrong one goes a picture of what was to be counted."""

    def read(answer, expected, setting):
        return expect_integer(answer, what=f"the answer for {setting}")

    def unknown(answer, expected):
        return f"Yours is {answer}, counted are {expected}."

    def picture(answer, expected, case):
        return (draw or _masks)(geometry(*case))

    compare(function, right, mistakes, cases, read=read, settings=named(*names), unknown=unknown, picture=picture)


def _masks(geometry: S2Geometry) -> Picture:
    return Picture(plot_masks(geometry), describe_masks(geometry))


def _hops(geometry: S2Geometry) -> Picture:
    return Picture(plot_hops(geometry), describe_hops(geometry))


def _triangle(n: int) -> int:
    return n * (n + 1) // 2


def _cells(n: int, g: int, first: int, size: Callable = _triangle) -> int:
    """Pairs of a head whose cells begin at token `first`, a short one before it."""
    sizes = [min(first, n), *(min(g, n - start) for start in range(first, n, g))]
    return sum(size(s) for s in sizes)


def _both(n: int, g: int, heads: int, size: Callable = _triangle) -> int:
    return heads // 2 * _cells(n, g, 0, size) + (heads - heads // 2) * _cells(n, g, g // 2, size)


PAIRS_MISTAKES = (
    Mistake(
        "all_heads_plain",
        "You count every head like a plain one. Under split a shifted head has a short cell at each end, and two short "
        "cells hold fewer pairs than one full cell.",
        lambda n, g, heads: heads * _cells(n, g, 0),
    ),
    Mistake(
        "all_heads_shifted",
        "You count every head like a shifted one. The first num_heads // 2 are plain.",
        lambda n, g, heads: heads * _cells(n, g, g // 2),
    ),
    Mistake(
        "larger_half_plain",
        "Of an odd number of heads the larger half is shifted: num_heads // 2 are plain, the others shifted.",
        lambda n, g, heads: (heads - heads // 2) * _cells(n, g, 0) + heads // 2 * _cells(n, g, g // 2),
    ),
    Mistake(
        "middle_head_forgotten",
        "With an odd number of heads one is missing: num_heads // 2 are plain, and num_heads - num_heads // 2 shifted.",
        lambda n, g, heads: heads // 2 * (_cells(n, g, 0) + _cells(n, g, g // 2)),
    ),
    Mistake(
        "one_of_each",
        "You count one plain and one shifted head. Multiply each by how many of its kind there are.",
        lambda n, g, heads: _cells(n, g, 0) + _cells(n, g, g // 2),
    ),
    Mistake(
        "squares",
        "You count whole squares. A token looks backwards only: a cell of n tokens has 1 + 2 + … + n pairs.",
        lambda n, g, heads: _both(n, g, heads, lambda s: s * s),
    ),
    Mistake(
        "not_itself",
        "You leave out the diagonal: a token looks at itself too, so a cell of n tokens has n * (n + 1) // 2 pairs.",
        lambda n, g, heads: _both(n, g, heads, lambda s: s * (s - 1) // 2),
    ),
    Mistake(
        "ends_forgotten",
        "The two short cells at the ends of a shifted head are missing: group_size // 2 tokens before the first full "
        "cell, and what is left after the last one.",
        lambda n, g, heads: (
            heads // 2 * (n // g) * _triangle(g) + (heads - heads // 2) * (max(0, n - g // 2) // g) * _triangle(g)
        ),
    ),
    Mistake(
        "ragged_end_forgotten",
        "You count whole groups only. Where group_size does not divide seq_len the last cell is shorter. Count it too.",
        lambda n, g, heads: _both(n - n % g, g, heads) if n >= g else 0,
    ),
    Mistake(
        "no_groups",
        "This is full attention, all pairs of the sequence. Add up the pairs of each cell instead.",
        lambda n, g, heads: heads * _triangle(n),
    ),
)

LAYERS_MISTAKES = (
    Mistake(
        "one_group_a_layer",
        "That would be one group a layer. Plain and shifted heads take turns: it takes both to go back by one group.",
        lambda r: r,
    ),
    Mistake("one_too_many", "One too many: with a single group one layer is enough.", lambda r: 2 * r),
    Mistake(
        "first_hop_forgotten",
        "Two layers for each border, and so it is. One more takes the last token to the beginning of its own group.",
        lambda r: 2 * r - 2,
    ),
    Mistake(
        "borders_counted",
        "There are num_groups - 1 borders, and each takes two layers: one to arrive at it, and one to cross it.",
        lambda r: r - 1,
    ),
    Mistake("a_power", "Each layer goes back by the same stretch: nothing doubles.", lambda r: 2**r - 1),
    Mistake("a_square", "There is one way back, from group to group: nothing is squared.", lambda r: r * r),
)

LEAK_MISTAKES = (
    Mistake(
        "plain_heads_leak",
        "You count all heads. Plain heads wrap nothing: only the num_heads - num_heads // 2 shifted ones leak.",
        lambda g, heads, s: heads * s * (g - s),
    ),
    Mistake(
        "one_head",
        "You count one head. Multiply by how many heads are shifted.",
        lambda g, heads, s: s * (g - s),
    ),
    Mistake(
        "smaller_half",
        "Of an odd number of heads the larger half is shifted: num_heads - num_heads // 2.",
        lambda g, heads, s: heads // 2 * s * (g - s),
    ),
    Mistake(
        "half_a_group_squared",
        "That is right where the shift is half a group. In general `shift` first tokens look at `group_size - shift` "
        "last ones.",
        lambda g, heads, s: (heads - heads // 2) * (g // 2) ** 2,
    ),
    Mistake(
        "both_ways",
        "You count the pairs of the seam twice. The first tokens look at the last ones, and in rolled order the last "
        "ones do not look back.",
        lambda g, heads, s: (heads - heads // 2) * 2 * s * (g - s),
    ),
    Mistake(
        "whole_cell",
        "These are all pairs of the wrapped cell. Most of them look backwards: count only first tokens that look at "
        "last ones.",
        lambda g, heads, s: (heads - heads // 2) * _triangle(g),
    ),
    Mistake(
        "shift_squared",
        "The seam is a rectangle: `shift` first tokens look, and `group_size - shift` last tokens are looked at.",
        lambda g, heads, s: (heads - heads // 2) * s * s,
    ),
)
