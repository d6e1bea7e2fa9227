"""Checks of lesson 02: who sees whom, how many pairs that is, how far it carries, and where the future leaks.

Seven exercises know more than sixty mistakes, so the file is long; their tables are its second half.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from ...geometry import S2Geometry
from ...plots import show_hops, show_masks, show_reach
from .exercise import Mistake, Passed, check, compare, compare_masks, expect_integer, named


@check("02.plain_mask")
def plain_mask(function: Callable) -> Passed:
    """`function(seq_len, group_size)`: bool (n, n), the mask of a plain head."""
    cases = [(8, 4), (12, 3), (10, 4), (7, 5), (3, 8), (1, 1), *((n, g) for n, g, *_ in _sizes())]

    def right(seq_len, group_size):
        return S2Geometry(seq_len, group_size, 2, shift=0).mask()[0]

    compare_masks(function, cases, right, PLAIN_MISTAKES, named("seq_len", "group_size"))
    picture = show_masks(S2Geometry(8, 4, 2), heads=(0,))
    return Passed(f"All {len(cases)} sizes are right, odd groups and ragged ends too.", picture)


@check("02.s2_mask")
def s2_mask(function: Callable) -> Passed:
    """`function(seq_len, group_size, num_heads, shift)`: bool (h, n, n), all heads under the split boundary."""
    cases = [(8, 4, 2, 2), (12, 4, 4, 1), (9, 3, 3, 1), (10, 4, 1, 2), (11, 5, 5, 3), (6, 8, 2, 4), *_sizes()]

    def right(*settings):
        return S2Geometry(*settings).mask()

    compare_masks(function, cases, right, S2_MISTAKES, named("seq_len", "group_size", "num_heads", "shift"))
    sentence = f"All {len(cases)} geometries are right: you wrote S2Geometry(…).mask()."
    return Passed(sentence, show_masks(S2Geometry(10, 4, 3)))


@check("02.masked_boundary")
def masked_boundary(function: Callable) -> Passed:
    """`function(seq_len, group_size, shift)`: bool (n, n), a shifted head under the masked boundary."""
    cases = [(8, 4, 2), (12, 4, 1), (9, 3, 1), (15, 5, 3), (4, 4, 2), (10, 5, 0)]
    # Where cells wrap, the length is a whole number of groups.
    cases += [(g * -(-n // g), g, shift) for n, g, _, shift in _sizes()]

    def right(seq_len, group_size, shift):
        return S2Geometry(seq_len, group_size, 1, shift, "masked").mask()[0]

    compare_masks(function, cases, right, MASKED_MISTAKES, named("seq_len", "group_size", "shift"))
    picture = show_masks(S2Geometry(8, 4, 2, boundary="masked"), heads=(1,))
    return Passed(f"All {len(cases)} geometries are right: the seam is one cell, and nothing looks ahead.", picture)


@check("02.count_pairs")
def count_pairs(function: Callable) -> Passed:
    """`function(seq_len, group_size, num_heads)`: int, all pairs of all heads, shifted by half a group, split."""
    cases = [(8, 4, 2), (12, 4, 2), (16, 4, 4), (9, 3, 2), (10, 4, 2), (15, 5, 3), (3, 8, 1), (23, 7, 5), (64, 16, 9)]
    names = ("seq_len", "group_size", "num_heads")

    def parts(n, g, heads):
        return (
            f"A plain head has {_cells(n, g, 0)} pairs there and a shifted one {_cells(n, g, g // 2)}; {heads // 2} "
            f"are plain and {heads - heads // 2} shifted. Which of these four numbers is otherwise in yours?"
        )

    def right(*case):
        return S2Geometry(*case).pairs()

    _compare_counts(function, cases, right, PAIRS_MISTAKES, names, S2Geometry, parts=parts)
    picture = show_masks(S2Geometry(8, 4, 2), heads=(1,))
    return Passed("Right for whole and ragged sequences, odd groups and odd heads, without building a mask.", picture)


@check("02.heard_after")
def heard_after(function: Callable) -> Passed:
    """`function(mask, num_layers)`: bool (n, n), whom each token can hear, from the mask bool (h, n, n) of a layer."""
    settings = [(20, 4, 2), (9, 3, 3), (11, 4, 5), (12, 4, 2, 2, "wrap"), (12, 4, 2, 1, "masked"), (10, 5, 4, 0)]
    # The first case is one in which no two mistakes give the same answer.
    cases = [(S2Geometry(*setting), layers) for setting in settings for layers in (4, 1, 2, 3)]
    compare_masks(
        function,
        cases,
        S2Geometry.reach,
        REACH_MISTAKES,
        lambda geometry, layers: f"the mask of {geometry} and num_layers={layers}",
        what="the result",
        inputs=lambda geometry, layers: (geometry.mask(), layers),
    )
    sentence = f"All {len(cases)} are right, under every boundary: you wrote S2Geometry(…).reach(…)."
    return Passed(sentence, show_reach(S2Geometry(8, 4, 2), 3))


@check("02.layers_needed")
def layers_needed(function: Callable) -> Passed:
    """`function(num_groups)`: int, the layers until the last token hears the first, whole groups, split."""
    cases = [(r,) for r in (3, 1, 2, 4, 5, 8, 16)]

    def draw(num_groups):
        return show_hops(S2Geometry(4 * num_groups, 4, 2))

    def parts(r):
        return f"With {r} groups there are {r - 1} walls on the way back. How many layers does each of them take?"

    _compare_counts(function, cases, lambda r: 2 * r - 1, LAYERS_MISTAKES, ("num_groups",), draw=draw, parts=parts)
    return Passed("So it is, whatever the shift: 2r - 1 layers for r groups.", draw(2))


@check("02.leaked_pairs")
def leaked_pairs(function: Callable) -> Passed:
    """`function(group_size, num_heads, shift)`: int, the pairs under the wrap boundary that look at the future."""
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

    _compare_counts(function, cases, right, LEAK_MISTAKES, names, geometry, parts=parts)
    picture = show_masks(geometry(4, 2, 2), heads=(1,))
    return Passed("Right for every shift, odd groups and odd heads: this is S2Geometry(…).future_pairs().", picture)


def _compare_counts(
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
    """`compare` for integers; with a wrong one goes a picture of what was to be counted.

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


def _sizes(count: int = 12) -> Iterator[tuple[int, int, int, int]]:
    """Random (seq_len, group_size, num_heads, shift): odd groups, ragged ends, odd heads, any shift."""
    rng = np.random.default_rng(2)
    for _ in range(count):
        group = int(rng.integers(1, 9))
        yield int(rng.integers(1, 25)), group, int(rng.integers(1, 6)), int(rng.integers(group))


# A grid is cut into cells from token `start` on; the names are those of the arguments.


def _grid(query, key, group, start, *, cell=np.floor_divide, causal=np.greater_equal):
    return (cell(query - start, group) == cell(key - start, group)) & causal(query, key)


def _rolled(query, key, length, group, start):
    """Cells that wrap, and causality in rolled order."""
    query, key = (query - start) % length, (key - start) % length
    return (query // group == key // group) & (key <= query)


def _towards_zero(coordinate, group):
    return np.trunc(coordinate / group)


def _wrapped(length):
    return lambda coordinate, group: coordinate % length // group


def _any_time(query, key):
    return query + key >= 0


def _plain(rule):
    """form(n, g) from `rule(query, key, n, g)`."""
    return lambda n, g: rule(*np.ogrid[:n, :n], n, g)


def _one(rule):
    """form(n, g, shift) from `rule(query, key, n, g, shift)`."""
    return lambda n, g, shift: rule(*np.ogrid[:n, :n], n, g, shift)


def _heads(rule):
    """form(n, g, heads, shift) from `rule(query, key, n, g, start)`, `start` being 0 on plain heads."""
    return _starting(lambda head, heads, g, shift: np.where(head < heads // 2, 0, shift), rule)


def _starting(start, rule=lambda query, key, n, g, start: _grid(query, key, g, start)):
    """The same, where `start(head, heads, g, shift)` says which heads begin where."""

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

PLAIN_MISTAKES = {
    "not_causal": Mistake(NOT_CAUSAL, _plain(lambda i, j, n, g: _grid(i, j, g, 0, causal=_any_time))),
    "not_itself": Mistake(NOT_ITSELF, _plain(lambda i, j, n, g: _grid(i, j, g, 0, causal=np.greater))),
    "transposed": Mistake(
        "Rows and columns are swapped in your mask, so that everybody looks ahead: the query is the row, the key the "
        "column.",
        _plain(lambda i, j, n, g: _grid(i, j, g, 0).T),
    ),
    "inverted": Mistake(
        "Your mask is the right one turned around. Here True means that the query may look at the key.",
        _plain(lambda i, j, n, g: ~_grid(i, j, g, 0)),
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
        _plain(lambda i, j, n, g: _grid(i, j, max(1, n // g), 0)),
        also=_plain(lambda i, j, n, g: _grid(i, j, -(-n // g), 0)),
    ),
    "ragged_end": Mistake(
        "The tokens after the last whole group look at nothing, and a softmax over nothing is NaN. They form a shorter "
        "group of their own.",
        _plain(lambda i, j, n, g: _grid(i, j, g, 0) & (i < n - n % g)),
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
    "other_way": Mistake(OTHER_WAY, _starting(lambda head, heads, g, shift: np.where(head < heads // 2, 0, -shift))),
    "always_half_a_group": Mistake(
        "You shift by half a group, whatever `shift` is. Half a group is what the library takes when nothing is said; "
        "here it is said.",
        _starting(lambda head, heads, g, shift: np.where(head < heads // 2, 0, g // 2)),
    ),
    "towards_zero": Mistake(
        "On shifted heads the first `shift` tokens joined the first full cell. Their coordinates are negative, and "
        "they are a cell of their own: round down (//), not towards zero.",
        _heads(lambda i, j, n, g, start: _grid(i, j, g, start, cell=_towards_zero)),
    ),
    "wrap_leak": Mistake(
        "On your shifted heads the first tokens look at the last ones: the future. That is what rolling does. Under "
        "split both ends are cells of their own: leave % out, and compare true positions.",
        _heads(_rolled),
    ),
    "ends_joined": Mistake(
        "On your shifted heads the last tokens look at the first ones. That is the masked boundary, further down; "
        "under split both ends are cells of their own, so leave % out.",
        _heads(lambda i, j, n, g, start: _grid(i, j, g, start, cell=_wrapped(n))),
    ),
    "start_sees_nothing": Mistake(
        "On shifted heads the tokens before the first full cell look at nothing, and a softmax over nothing is NaN. "
        "They form a short cell of their own.",
        _heads(lambda i, j, n, g, start: _grid(i, j, g, start) & (j >= start)),
    ),
    "not_causal": Mistake(NOT_CAUSAL, _heads(lambda i, j, n, g, start: _grid(i, j, g, start, causal=_any_time))),
    "not_itself": Mistake(NOT_ITSELF, _heads(lambda i, j, n, g, start: _grid(i, j, g, start, causal=np.greater))),
}

MASKED_MISTAKES = {
    "wrap_leak": Mistake(
        "Your cells are right, the order is not: the first tokens look at the last ones, the future. Compare the true "
        "positions of query and key, not where the roll has put them.",
        _one(_rolled),
    ),
    "seam_cut": Mistake(
        "Your last tokens do not look at the first ones, as under split. The two ends are one cell here: take the "
        "coordinates modulo seq_len, and let the true positions alone decide who is later.",
        _one(lambda i, j, n, g, s: _grid(i, j, g, s)),
    ),
    "modulo_the_group": Mistake(
        "Modulo group_size all tokens end in one cell. What wraps around is the sequence: modulo seq_len.",
        _one(lambda i, j, n, g, s: j <= i),
    ),
    "not_causal": Mistake(
        NOT_CAUSAL, _one(lambda i, j, n, g, s: _grid(i, j, g, s, cell=_wrapped(n), causal=_any_time))
    ),
    "not_itself": Mistake(
        NOT_ITSELF, _one(lambda i, j, n, g, s: _grid(i, j, g, s, cell=_wrapped(n), causal=np.greater))
    ),
    "other_way": Mistake(OTHER_WAY, _one(lambda i, j, n, g, s: _grid(i, j, g, -s, cell=_wrapped(n)))),
    "not_shifted": Mistake(
        "This is a plain head. Subtract the shift from both positions first.",
        _one(lambda i, j, n, g, s: _grid(i, j, g, 0)),
    ),
}


def _triangle(n: int) -> int:
    return n * (n + 1) // 2


def _cells(n: int, g: int, first: int, size: Callable = _triangle) -> int:
    """Pairs of a head whose cells begin at token `first`, a short one before it."""
    sizes = [min(first, n), *(min(g, n - start) for start in range(first, n, g))]
    return sum(size(s) for s in sizes)


def _from(n: int, g: int, first: int) -> int:
    """Pairs of the cells from token `first` on, without the short one before it."""
    return sum(_triangle(min(g, n - start)) for start in range(first, n, g))


def _both(n: int, g: int, heads: int, size: Callable = _triangle) -> int:
    return heads // 2 * _cells(n, g, 0, size) + (heads - heads // 2) * _cells(n, g, g // 2, size)


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
            heads // 2 * (n // g) * _triangle(g) + (heads - heads // 2) * (max(0, n - g // 2) // g) * _triangle(g)
        ),
        also=lambda n, g, heads: (heads // 2 * (n // g) + (heads - heads // 2) * (n // g - 1)) * _triangle(g),
    ),
    "ragged_end_forgotten": Mistake(
        "You count whole groups only. Where group_size does not divide seq_len the last cell is shorter. Count it too.",
        lambda n, g, heads: _both(n - n % g, g, heads) if n >= g else 0,
    ),
    "first_cell_forgotten": Mistake(
        "The group_size // 2 tokens before the first full cell of a shifted head are missing: they are a short cell of "
        "their own.",
        lambda n, g, heads: heads // 2 * _cells(n, g, 0) + (heads - heads // 2) * _from(n, g, g // 2),
    ),
    "last_cell_forgotten": Mistake(
        "What is left after the last full cell of a shifted head is missing: a short cell of its own.",
        lambda n, g, heads: (
            heads // 2 * _cells(n, g, 0)
            + (heads - heads // 2) * (_triangle(min(g // 2, n)) + max(0, n - g // 2) // g * _triangle(g))
        ),
    ),
    "first_cell_full": Mistake(
        "You count the cell before the first full one as if it were full. It holds group_size // 2 tokens.",
        lambda n, g, heads: heads // 2 * _cells(n, g, 0) + (heads - heads // 2) * (_from(n, g, g // 2) + _triangle(g)),
    ),
    "short_cells_full": Mistake(
        "You count every cell as if it were full. A cell of n tokens has n * (n + 1) // 2 pairs, and cells at the ends "
        "are shorter.",
        lambda n, g, heads: heads * -(-n // g) * _triangle(g),
        also=lambda n, g, heads: (
            _triangle(g) * (heads // 2 * -(-n // g) + (heads - heads // 2) * (-(-max(0, n - g // 2) // g) + (g > 1)))
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
        lambda n, g, heads: heads * _triangle(n),
        also=lambda n, g, heads: _triangle(n),
    ),
    "one_plain_head": Mistake(
        "You count one head only. Multiply by how many heads of each kind there are.",
        lambda n, g, heads: _cells(n, g, 0),
        also=lambda n, g, heads: _cells(n, g, g // 2),
    ),
}

LAYERS_MISTAKES = {
    "one_group_a_layer": Mistake(
        "That would be one group a layer. Plain and shifted heads take turns: it takes both to go back by one group.",
        lambda r: r,
    ),
    "one_more_than_groups": Mistake(
        "One layer a group, and one more, is right for two groups and for no other number. Each further wall takes two "
        "layers: one head carries across it, another one on to the next.",
        lambda r: r + 1,
    ),
    "one_too_many": Mistake("One too many: with a single group one layer is enough.", lambda r: 2 * r),
    "two_too_many": Mistake(
        "Two layers for each wall, and one to begin with. Walls stand between groups: there is one less of them.",
        lambda r: 2 * r + 1,
    ),
    "one_layer_is_enough": Mistake(
        "One layer carries no further than one cell. The last token is some groups away from the first.",
        lambda r: 1,
    ),
    "half_a_layer_a_group": Mistake(
        "That is fewer layers than walls, and no layer crosses two of them.",
        lambda r: (r + 1) // 2,
        also=lambda r: r // 2 + 1,
    ),
    "first_hop_forgotten": Mistake(
        "Two layers for each border, and so it is. One more takes the last token to the beginning of its own group.",
        lambda r: 2 * r - 2,
    ),
    "borders_counted": Mistake(
        "There are num_groups - 1 borders, and each takes two layers: one to arrive at it, and one to cross it.",
        lambda r: r - 1,
    ),
    "a_power": Mistake("Each layer goes back by the same stretch: nothing doubles.", lambda r: 2**r - 1),
    "a_square": Mistake("There is one way back, from group to group: nothing is squared.", lambda r: r * r),
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
        lambda g, heads, s: (heads - heads // 2) * _triangle(g),
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
        lambda g, heads, s: (heads - heads // 2) * _triangle(s),
        also=lambda g, heads, s: (heads - heads // 2) * _triangle(g - s),
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


def _after(steps: np.ndarray, layers: int) -> np.ndarray:
    return np.linalg.matrix_power(steps.astype(object), layers) > 0


def _step(geometry: S2Geometry) -> np.ndarray:
    return geometry.mask().any(axis=0)


REACH_MISTAKES = {
    "all_heads_agree": Mistake(
        "A token is heard if one head looks at it: unite the heads with any, not with all.",
        lambda geometry, layers: _after(geometry.mask().all(axis=0), layers),
    ),
    "first_head_only": Mistake(
        "You follow the first head only. A token is heard if any head looks at it.",
        lambda geometry, layers: _after(geometry.mask()[0], layers),
    ),
    "last_head_only": Mistake(
        "You follow the last head only. A token is heard if any head looks at it.",
        lambda geometry, layers: _after(geometry.mask()[-1], layers),
    ),
    "one_layer": Mistake(
        "This is what one layer brings, however many there are. Unite the heads first, then let each further layer "
        "carry on what was heard so far: a head by itself never brings anything new, its cells are closed.",
        lambda geometry, layers: _step(geometry),
    ),
    "one_layer_too_many": Mistake(
        "One layer too many. Before the first layer everybody has heard themselves only: start from the identity.",
        lambda geometry, layers: _after(_step(geometry), layers + 1),
    ),
    "one_layer_too_few": Mistake(
        "One layer too few: num_layers=1 is the mask of one layer, its heads united.",
        lambda geometry, layers: _after(_step(geometry), layers - 1),
    ),
    "doubling": Mistake(
        "You compose the result with itself, so that the layers double each time. What a layer adds is one step of the "
        "mask.",
        lambda geometry, layers: _after(_step(geometry), 2 ** (layers - 1)),
    ),
    "transposed": Mistake(
        "Rows and columns are swapped: the row hears, the column is heard.",
        lambda geometry, layers: _after(_step(geometry), layers).T,
    ),
    "everything_before": Mistake(
        "You say that everybody hears everything before them. That takes as many layers as the way is long.",
        lambda geometry, layers: np.tri(geometry.seq_len, dtype=bool),
    ),
}
