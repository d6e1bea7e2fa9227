"""Checks of lesson 02a: who sees whom on plain and shifted heads, and how many pairs that is.

02b and 02c take from here what their mistakes are made of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from ...geometry import S2Geometry
from ...plots import show_masks
from .exercise import CheckFailed, Mistake, Passed, check, compare, compare_masks, expect_integer, named


@check("02.plain_mask")
def plain_mask(function: Callable) -> Passed:
    """Check `function(seq_len, group_size)`: bool (n, n), the mask of a plain head."""
    cases = [(8, 4), (12, 3), (10, 4), (7, 5), (3, 8), (1, 1), *((n, g) for n, g, *_ in mask_sizes())]

    def right(seq_len, group_size):
        return S2Geometry(seq_len, group_size, 2, shift=0).mask()[0]

    try:
        compare_masks(function, cases, right, PLAIN_MISTAKES, named("seq_len", "group_size"))
    except CheckFailed as error:
        if error.mistake != "shape" or np.shape(function(8, 4)) != (8, 8):
            raise
        raise CheckFailed(f"{error}. Does your last group end where the text ends?", mistake="shape") from None
    picture = show_masks(S2Geometry(8, 4, 2), heads=(0,))
    return Passed(f"All {len(cases)} sizes are right, odd groups and ragged ends too.", picture)


@check("02.s2_mask")
def s2_mask(function: Callable) -> Passed:
    """Check `function(seq_len, group_size, num_heads, shift)`: bool (h, n, n), all heads under the split boundary."""
    cases = [(8, 4, 2, 2), (12, 4, 4, 1), (9, 3, 3, 1), (10, 4, 1, 2), (11, 5, 5, 3), (6, 8, 2, 4), *mask_sizes()]

    def right(*settings):
        return S2Geometry(*settings).mask()

    compare_masks(function, cases, right, S2_MISTAKES, named("seq_len", "group_size", "num_heads", "shift"))
    sentence = f"All {len(cases)} geometries are right: you wrote S2Geometry(…).mask()."
    return Passed(sentence, show_masks(S2Geometry(10, 4, 3)))


@check("02.count_pairs")
def count_pairs(function: Callable) -> Passed:
    """Check `function(seq_len, group_size, num_heads)`: int, all pairs of all heads, shifted by half a group, split."""
    cases = [(8, 4, 2), (12, 4, 2), (16, 4, 4), (9, 3, 2), (10, 4, 2), (15, 5, 3), (3, 8, 1), (23, 7, 5), (64, 16, 9)]
    names = ("seq_len", "group_size", "num_heads")

    def parts(n, g, heads):
        sizes = (
            ", ".join(str(len(cell[0])) for cell in S2Geometry(n, g, 2).cells(shifted=kind)) for kind in (False, True)
        )
        plain, shifted = sizes
        return (
            f"For {n} tokens in groups of {g} a plain head has cells of {plain} tokens: {_cells(n, g, 0)} pairs. "
            f"A shifted head has cells of {shifted}: {_cells(n, g, g // 2)} pairs. {heads // 2} heads are plain, "
            f"{heads - heads // 2} shifted. Is one of these cells missing in yours, or of another size?"
        )

    def right(*case):
        return S2Geometry(*case).pairs()

    compare_counts(function, cases, right, PAIRS_MISTAKES, names, S2Geometry, parts=parts)
    picture = show_masks(S2Geometry(8, 4, 2), heads=(1,))
    return Passed("Right for whole and ragged sequences, odd groups and odd heads.", picture)


def compare_counts(
    function: Callable,
    cases: Sequence[tuple],
    right: Callable,
    mistakes: Mapping[str, Mistake],
    names: tuple[str, ...],
    geometry: Callable[..., S2Geometry] | None = None,
    *,
    parts: Callable[..., str],
    draw: Callable | None = None,
) -> None:
    """`compare` for integers; a wrong one comes with a picture: `draw(*case)`, or else the masks of `geometry(*case)`.

    `parts(*case)` says what the number is made of, for an answer that no mistake explains.
    """
    setting = named(*names)
    compare(
        function,
        cases,
        right,
        mistakes,
        read=lambda answer, expected, *case: expect_integer(answer, f"the answer for {setting(*case)}"),
        otherwise=lambda answer, expected, *case: f"Yours is {answer}, counted are {expected}. {parts(*case)}",
        within=0,
        setting=setting,
        picture=lambda answer, expected, *case: draw(*case) if draw else show_masks(geometry(*case)),
    )


def mask_sizes(count: int = 12) -> Iterator[tuple[int, int, int, int]]:
    """Random (seq_len, group_size, num_heads, shift): odd groups, ragged ends, odd heads, any shift."""
    rng = np.random.default_rng(2)
    for _ in range(count):
        group = int(rng.integers(1, 9))
        yield int(rng.integers(1, 25)), group, int(rng.integers(1, 6)), int(rng.integers(group))


# A grid is cut into cells from token `start` on; the names are those of the arguments.


def same_cell(
    query: np.ndarray,
    key: np.ndarray,
    group: int,
    start: int | np.ndarray,
    *,
    cell: Callable = np.floor_divide,
    causal: Callable = np.greater_equal,
) -> np.ndarray:
    """Return where query and key share a cell, the key no later; `cell` and `causal` are what a mistake changes."""
    return (cell(query - start, group) == cell(key - start, group)) & causal(query, key)


def same_rolled_cell(
    query: np.ndarray, key: np.ndarray, length: int, group: int, start: int | np.ndarray
) -> np.ndarray:
    """Return where query and key share a cell that wraps, the key no later in rolled order."""
    query, key = (query - start) % length, (key - start) % length
    return (query // group == key // group) & (key <= query)


def _towards_zero(coordinate, group):
    return np.trunc(coordinate / group)


def wrapped_cells(length: int) -> Callable:
    """Return the `cell` of `same_cell` that takes coordinates modulo `length`."""
    return lambda coordinate, group: coordinate % length // group


def any_order(query: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Return True everywhere, as the `causal` of `same_cell` that looks ahead."""
    return query + key >= 0


def _plain(rule):
    """Return form(n, g), which makes a mask (n, n) from `rule(query, key, n, g)`."""
    return lambda n, g: rule(*np.ogrid[:n, :n], n, g)


def _heads(rule):
    """Make form(n, g, heads, shift) of `rule(query, key, n, g, start)`; on plain heads `start` is 0, else `shift`."""
    return _starting(lambda head, heads, g, shift: np.where(head < heads // 2, 0, shift), rule)


def _starting(start, rule=lambda query, key, n, g, start: same_cell(query, key, g, start)):
    """Return form(n, g, heads, shift), which makes masks (h, n, n) from `rule` as in `_heads`.

    `start(head, heads, g, shift)` returns the token at which the cells of a head begin.
    """

    def form(n, g, heads, shift):
        head, query, key = np.ogrid[:heads, :n, :n]
        return np.broadcast_to(rule(query, key, n, g, start(head, heads, g, shift)), (heads, n, n))

    return form


def _turned_groups(query, key, group, start):
    """Plain cells; on heads with a start every second group is turned by it, and judged in the order turned."""
    inside = [np.where(p // group % 2 == 1, (p - start) % group, p % group) for p in (query, key)]
    return (query // group == key // group) & (inside[1] <= inside[0])


def _late_tokens(query, key, length, group, shift):
    query_cell, key_cell = ((token - shift * (token >= length // 2)) // group for token in (query, key))
    return (query_cell == key_cell) & (key <= query)


NOT_CAUSAL = "Your cells are right, but tokens look ahead inside them: a key must not be later than its query."
NOT_ITSELF = "In your mask a token does not look at itself. Its own key is not later than its query: use <=, not <."
OTHER_WAY = (
    "Your cells are shifted the other way. One begins at token `shift`, so that token must get coordinate 0: subtract "
    "the shift from the positions, do not add it."
)

PLACE = (
    "You compare places inside a group: % gives the place, 0 to group_size - 1. The number of the group comes from //."
)

PLAIN_MISTAKES = {
    "not_causal": Mistake(NOT_CAUSAL, _plain(lambda i, j, n, g: same_cell(i, j, g, 0, causal=any_order))),
    "not_itself": Mistake(NOT_ITSELF, _plain(lambda i, j, n, g: same_cell(i, j, g, 0, causal=np.greater))),
    "transposed": Mistake(
        "Rows and columns are swapped in your mask, so that everybody looks ahead: the query is the row, the key the "
        "column.",
        _plain(lambda i, j, n, g: same_cell(i, j, g, 0).T),
    ),
    "inverted": Mistake(
        "Your mask is the right one turned around. Here True means that the query may look at the key.",
        _plain(lambda i, j, n, g: ~same_cell(i, j, g, 0)),
    ),
    "no_groups": Mistake(
        "This is full causal attention: everybody looks at all tokens before. The key must also be in the query's own "
        "group.",
        _plain(lambda i, j, n, g: j <= i),
    ),
    "sliding_window": Mistake(
        "This is a sliding window, which moves along with each query. Groups stand still: the first one is tokens 0 to "
        "group_size - 1, whoever looks.",
        _plain(lambda i, j, n, g: (j <= i) & (i - j < g)),
    ),
    "earlier_groups": Mistake(
        "In your mask tokens see their own group whole, and every earlier group too. The two group numbers must be "
        "equal, and the key must not be later.",
        _plain(lambda i, j, n, g: j // g <= i // g),
    ),
    "number_of_groups": Mistake(
        "You cut the sequence into group_size groups. It says how many tokens are in a group, not how many groups.",
        _plain(lambda i, j, n, g: same_cell(i, j, max(1, n // g), 0)),
        also=_plain(lambda i, j, n, g: same_cell(i, j, -(-n // g), 0)),
    ),
    "place_in_group": Mistake(PLACE, _plain(lambda i, j, n, g: same_cell(i, j, g, 0, cell=np.mod))),
    "ragged_end": Mistake(
        "The tokens after the last whole group look at nothing, and a softmax over nothing is NaN. They form a shorter "
        "group of their own.",
        _plain(lambda i, j, n, g: same_cell(i, j, g, 0) & (i < n - n % g)),
    ),
}

S2_MISTAKES = {
    "never_shifted": Mistake(
        "All your heads are plain. On the shifted ones cells begin at token `shift`: subtract it from both positions "
        "before you divide.",
        _starting(lambda head, heads, g, shift: 0),
    ),
    "all_heads_shifted": Mistake(
        "All your heads are shifted, so the walls have moved and are as closed as before. The first num_heads // 2 "
        "heads stay plain: each half of the heads carries across the walls of the other.",
        _starting(lambda head, heads, g, shift: shift),
    ),
    "halves_swapped": Mistake(
        "Your halves are swapped: the first num_heads // 2 heads are plain, the others are shifted.",
        _starting(lambda head, heads, g, shift: np.where(head < heads // 2, shift, 0)),
    ),
    "smaller_half_shifted": Mistake(
        "Of an odd number of heads you leave the larger half plain. There are num_heads // 2 plain heads, rounded "
        "down, and all others are shifted.",
        _starting(lambda head, heads, g, shift: np.where(head < (heads + 1) // 2, 0, shift)),
    ),
    "one_plain_too_many": Mistake(
        "One head too many is plain in your mask. Heads count from 0, so the plain ones have head < num_heads // 2: "
        "use <, not <=.",
        _starting(lambda head, heads, g, shift: np.where(head <= heads // 2, 0, shift)),
    ),
    "place_in_group": Mistake(PLACE, _heads(lambda i, j, n, g, start: same_cell(i, j, g, start, cell=np.mod))),
    "every_second_head": Mistake(
        "You shift every second head. That would do as well, but in S²-Attn it is the second half of the heads.",
        _starting(lambda head, heads, g, shift: head % 2 * shift),
    ),
    "half_of_the_tokens": Mistake(
        "You shift the second half of the tokens, in every head. It is half of the heads that is shifted, each with "
        "all its tokens.",
        _heads(lambda i, j, n, g, start: _late_tokens(i, j, n, g, start.max()) & (start >= 0)),
    ),
    "alternate_groups": Mistake(
        "You turn the tokens inside every second group. The groups stay apart that way, however many layers follow. On "
        "the shifted heads the cells themselves begin at token `shift`.",
        _heads(lambda i, j, n, g, start: _turned_groups(i, j, g, start)),
        also=_heads(lambda i, j, n, g, start: _turned_groups(i, j, g, -start)),
    ),
    "windows": Mistake(
        "These are windows that move along with each query. Cells stand still: on a shifted head one is tokens `shift` "
        "to `shift + group_size - 1`, whoever looks.",
        _heads(lambda i, j, n, g, start: (j <= i) & (i - j < g) & (start >= 0)),
        also=_heads(lambda i, j, n, g, start: (j <= i) & (i - j < g + start)),
    ),
    "query_alone": Mistake(
        "You take the shift off the query alone, so that it is compared with a key on another grid. Subtract it from "
        "both positions.",
        _heads(lambda i, j, n, g, start: ((i - start) // g == j // g) & (j <= i)),
        also=_heads(lambda i, j, n, g, start: (i // g == (j - start) // g) & (j <= i)),
    ),
    "other_way": Mistake(OTHER_WAY, _starting(lambda head, heads, g, shift: np.where(head < heads // 2, 0, -shift))),
    "always_half_a_group": Mistake(
        "You shift by half a group, whatever `shift` is. Half a group is what the library takes when nothing is said; "
        "here it is said.",
        _starting(lambda head, heads, g, shift: np.where(head < heads // 2, 0, g // 2)),
    ),
    "towards_zero": Mistake(
        "On shifted heads the first `shift` tokens joined the first full cell. Their coordinates are negative, and "
        "they are a cell of their own: round down (//), not towards zero.",
        _heads(lambda i, j, n, g, start: same_cell(i, j, g, start, cell=_towards_zero)),
    ),
    "wrap_leak": Mistake(
        "On your shifted heads the first tokens look at the last ones: the future. That is what rolling does. Under "
        "split both ends are cells of their own: leave % out, and compare true positions.",
        _heads(same_rolled_cell),
    ),
    "ends_joined": Mistake(
        "On your shifted heads the last tokens look at the first ones. That is the masked boundary of lesson 02c; "
        "under split both ends are cells of their own, so leave % out.",
        _heads(lambda i, j, n, g, start: same_cell(i, j, g, start, cell=wrapped_cells(n))),
    ),
    "start_sees_nothing": Mistake(
        "On shifted heads the tokens before the first full cell look at nothing, and a softmax over nothing is NaN. "
        "They form a short cell of their own.",
        _heads(lambda i, j, n, g, start: same_cell(i, j, g, start) & (j >= start)),
    ),
    "not_causal": Mistake(NOT_CAUSAL, _heads(lambda i, j, n, g, start: same_cell(i, j, g, start, causal=any_order))),
    "not_itself": Mistake(NOT_ITSELF, _heads(lambda i, j, n, g, start: same_cell(i, j, g, start, causal=np.greater))),
}


def triangle(n: int) -> int:
    """Count the (query, key) pairs of a cell of n tokens, each of which looks at itself and at all before it."""
    return n * (n + 1) // 2


def _cells(n: int, g: int, first: int, size: Callable = triangle) -> int:
    """Count the pairs of a head whose cells of g tokens begin at token `first`, with one of `first` tokens before them.

    `size` returns the number of pairs of a cell from its number of tokens.
    """
    sizes = [min(first, n), *(min(g, n - start) for start in range(first, n, g))]
    return sum(size(s) for s in sizes)


def _from(n: int, g: int, first: int) -> int:
    """Count the pairs of the cells from token `first` on, without the short one before it."""
    return sum(triangle(min(g, n - start)) for start in range(first, n, g))


def _both(n: int, g: int, heads: int, size: Callable = triangle) -> int:
    return heads // 2 * _cells(n, g, 0, size) + (heads - heads // 2) * _cells(n, g, g // 2, size)


def _mixed(plain: Callable, shifted: Callable) -> Callable:
    """form(n, g, heads) from the pairs of a plain and of a shifted head, each by (n, g)."""
    return lambda n, g, heads: heads // 2 * plain(n, g) + (heads - heads // 2) * shifted(n, g)


def _plain_pairs(n: int, g: int) -> int:
    return _cells(n, g, 0)


def _shifted_pairs(n: int, g: int) -> int:
    return _cells(n, g, g // 2)


def _whole_groups(n: int, g: int) -> int:
    """Count a plain head's pairs wrongly: the rest after the last whole group is forgotten."""
    return n // g * triangle(g)


def _without_the_last(n: int, g: int) -> int:
    """Count a shifted head's pairs wrongly: the rest after the last full cell is forgotten."""
    return triangle(min(g // 2, n)) + max(0, n - g // 2) // g * triangle(g)


def _ends_joined(n: int, g: int) -> int:
    """Pairs of a shifted head whose two short cells are one."""
    first = min(g // 2, n)
    whole, rest = divmod(n - first, g)
    return whole * triangle(g) + triangle(first + rest)


def _half_a_group_at_each_end(n: int, g: int) -> int:
    return (n // g - 1) * triangle(g) + 2 * triangle(g // 2)


PAIRS_MISTAKES = {
    "all_heads_plain": Mistake(
        "You count every head like a plain one. Under split a shifted head has a short cell at each end, and two short "
        "cells hold fewer pairs than one full cell.",
        lambda n, g, heads: heads * _cells(n, g, 0),
    ),
    "all_heads_shifted": Mistake(
        "You count every head like a shifted one. The first num_heads // 2 are plain.",
        lambda n, g, heads: heads * _cells(n, g, g // 2),
    ),
    "larger_half_plain": Mistake(
        "Of an odd number of heads the larger half is shifted: num_heads // 2 are plain, the others shifted.",
        lambda n, g, heads: (heads - heads // 2) * _cells(n, g, 0) + heads // 2 * _cells(n, g, g // 2),
    ),
    "middle_head_forgotten": Mistake(
        "With an odd number of heads one is missing: num_heads // 2 are plain, and num_heads - num_heads // 2 shifted.",
        lambda n, g, heads: heads // 2 * (_cells(n, g, 0) + _cells(n, g, g // 2)),
    ),
    "one_of_each": Mistake(
        "You count one plain and one shifted head. Multiply each by how many of its kind there are.",
        lambda n, g, heads: _cells(n, g, 0) + _cells(n, g, g // 2),
    ),
    "squares": Mistake(
        "You count whole squares. A token looks backwards only: a cell of n tokens has 1 + 2 + … + n pairs.",
        lambda n, g, heads: _both(n, g, heads, lambda s: s * s),
    ),
    "not_itself": Mistake(
        "You leave out the diagonal: a token looks at itself too, so a cell of n tokens has n * (n + 1) // 2 pairs.",
        lambda n, g, heads: _both(n, g, heads, lambda s: s * (s - 1) // 2),
    ),
    "ends_forgotten": Mistake(
        "The two short cells at the ends of a shifted head are missing: group_size // 2 tokens before the first full "
        "cell, and what is left after the last one.",
        lambda n, g, heads: (
            heads // 2 * (n // g) * triangle(g) + (heads - heads // 2) * (max(0, n - g // 2) // g) * triangle(g)
        ),
        also=lambda n, g, heads: (heads // 2 * (n // g) + (heads - heads // 2) * (n // g - 1)) * triangle(g),
    ),
    "ragged_end_forgotten": Mistake(
        "You count whole groups only. Where group_size does not divide seq_len the last cell is shorter. Count it too.",
        lambda n, g, heads: _both(n - n % g, g, heads) if n >= g else 0,
        also=_mixed(_whole_groups, _shifted_pairs),
    ),
    "whole_groups_on_every_head": Mistake(
        "You count whole groups, on every head. A shifted head has a short cell at each end, and two short cells hold "
        "fewer pairs than one full cell. What is left after the last whole group is a cell too.",
        lambda n, g, heads: heads * _whole_groups(n, g),
    ),
    "last_cells_forgotten": Mistake(
        "What is left after the last full cell is missing on both kinds of heads: a short cell of its own. A shifted "
        "head has one even where group_size divides seq_len.",
        _mixed(_whole_groups, _without_the_last),
    ),
    "half_a_group_at_each_end": Mistake(
        "You give a shifted head half a group at each end. At the beginning that is right; the last cell holds what "
        "is left, which is half a group only where group_size is even and divides seq_len.",
        _mixed(_plain_pairs, _half_a_group_at_each_end),
        also=_mixed(_whole_groups, _half_a_group_at_each_end),
    ),
    "ends_joined": Mistake(
        "You count the two short cells of a shifted head as one. Only a roll brings the ends together; under split "
        "each is a cell of its own.",
        _mixed(_plain_pairs, _ends_joined),
    ),
    "longer_than_the_text": Mistake(
        "Where the text is shorter than half a group, the first cell of a shifted head ends with the text: it has "
        "min(group_size // 2, seq_len) tokens.",
        _mixed(_plain_pairs, lambda n, g: triangle(g // 2) + _from(n, g, g // 2)),
    ),
    "shift_rounded_up": Mistake(
        "Half of an odd group is rounded down: the shift is group_size // 2.",
        _mixed(_plain_pairs, lambda n, g: _cells(n, g, (g + 1) // 2)),
    ),
    "first_cell_forgotten": Mistake(
        "The group_size // 2 tokens before the first full cell of a shifted head are missing: they are a short cell of "
        "their own.",
        _mixed(_plain_pairs, lambda n, g: _from(n, g, g // 2)),
    ),
    "last_cell_forgotten": Mistake(
        "What is left after the last full cell of a shifted head is missing: a short cell of its own.",
        _mixed(_plain_pairs, _without_the_last),
    ),
    "first_cell_full": Mistake(
        "You count the cell before the first full one as if it were full. It holds group_size // 2 tokens.",
        _mixed(_plain_pairs, lambda n, g: _from(n, g, g // 2) + triangle(g)),
    ),
    "short_cells_full": Mistake(
        "You count every cell as if it were full. A cell of n tokens has n * (n + 1) // 2 pairs, and cells at the ends "
        "are shorter.",
        lambda n, g, heads: heads * -(-n // g) * triangle(g),
        also=lambda n, g, heads: (
            triangle(g) * (heads // 2 * -(-n // g) + (heads - heads // 2) * (-(-max(0, n - g // 2) // g) + (g > 1)))
        ),
    ),
    "every_token_sees_a_group": Mistake(
        "You give each token group_size keys. It looks backwards in its own cell: the first of a cell sees 1 key, the "
        "next one 2, and so on.",
        lambda n, g, heads: heads * n * g,
    ),
    "half_of_the_square": Mistake(
        "Half of the square leaves out half of the diagonal: a cell of n tokens has n * (n + 1) // 2 pairs.",
        lambda n, g, heads: _both(n, g, heads, lambda s: s * s // 2),
    ),
    "no_groups": Mistake(
        "This is full attention, all pairs of the sequence. Add up the pairs of each cell instead.",
        lambda n, g, heads: heads * triangle(n),
        also=lambda n, g, heads: triangle(n),
    ),
    "one_plain_head": Mistake(
        "You count one head only. Multiply by how many heads of each kind there are.",
        lambda n, g, heads: _cells(n, g, 0),
        also=lambda n, g, heads: _cells(n, g, g // 2),
    ),
}
