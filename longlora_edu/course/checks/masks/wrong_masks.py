"""What learners write instead of a mask of lesson 02, and what to tell them."""

from __future__ import annotations

import numpy as np

from ..diagnosis import Mistake

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


NOT_CAUSAL = "Your cells are right, but tokens look ahead inside them: a key must not be later than its query."
NOT_ITSELF = "In your mask a token does not look at itself. Its own key is not later than its query: use <=, not <."
NUMBER = "You cut the sequence into group_size groups. It says how many tokens are in a group, not how many groups."
OTHER_WAY = (
    "Your cells are shifted the other way. One begins at token `shift`, so that token must get coordinate 0: subtract "
    "the shift from the positions, do not add it."
)

PLAIN_MISTAKES = (
    Mistake("not_causal", NOT_CAUSAL, _plain(lambda i, j, n, g: _grid(i, j, g, 0, causal=_any_time))),
    Mistake("not_itself", NOT_ITSELF, _plain(lambda i, j, n, g: _grid(i, j, g, 0, causal=np.greater))),
    Mistake(
        "transposed",
        "Rows and columns are swapped in your mask, so that everybody looks ahead: the query is the row, the key the "
        "column.",
        _plain(lambda i, j, n, g: _grid(i, j, g, 0).T),
    ),
    Mistake(
        "inverted",
        "Your mask is the right one turned around. Here True means that the query may look at the key.",
        _plain(lambda i, j, n, g: ~_grid(i, j, g, 0)),
    ),
    Mistake(
        "no_groups",
        "This is full causal attention: everybody looks at all tokens before. The key must also be in the query's own "
        "group.",
        _plain(lambda i, j, n, g: j <= i),
    ),
    Mistake(
        "sliding_window",
        "This is a sliding window, which moves along with each query. Groups stand still: the first one is tokens 0 to "
        "group_size - 1, whoever looks.",
        _plain(lambda i, j, n, g: (j <= i) & (i - j < g)),
    ),
    Mistake(
        "earlier_groups",
        "In your mask tokens see their own group whole, and every earlier group too. The two group numbers must be "
        "equal, and the key must not be later.",
        _plain(lambda i, j, n, g: j // g <= i // g),
    ),
    Mistake("number_of_groups", NUMBER, _plain(lambda i, j, n, g: _grid(i, j, max(1, n // g), 0))),
    Mistake("number_of_groups", NUMBER, _plain(lambda i, j, n, g: _grid(i, j, -(-n // g), 0))),
    Mistake(
        "ragged_end",
        "The tokens after the last whole group look at nothing, and a softmax over nothing is NaN. They form a shorter "
        "group of their own.",
        _plain(lambda i, j, n, g: _grid(i, j, g, 0) & (i < n - n % g)),
    ),
)

S2_MISTAKES = (
    Mistake(
        "never_shifted",
        "All your heads are plain. On the shifted ones cells begin at token `shift`: subtract it from both positions "
        "before you divide.",
        _starting(lambda head, heads, g, shift: 0),
    ),
    Mistake(
        "all_heads_shifted",
        "All your heads are shifted, so the walls have moved and are as closed as before. The first num_heads // 2 "
        "heads stay plain: each half of the heads carries across the walls of the other.",
        _starting(lambda head, heads, g, shift: shift),
    ),
    Mistake(
        "halves_swapped",
        "Your halves are swapped: the first num_heads // 2 heads are plain, the others are shifted.",
        _starting(lambda head, heads, g, shift: np.where(head < heads // 2, shift, 0)),
    ),
    Mistake(
        "smaller_half_shifted",
        "Of an odd number of heads you leave the larger half plain. There are num_heads // 2 plain heads, rounded "
        "down, and all others are shifted.",
        _starting(lambda head, heads, g, shift: np.where(head < (heads + 1) // 2, 0, shift)),
    ),
    Mistake(
        "every_second_head",
        "You shift every second head. That would do as well, but in S²-Attn it is the second half of the heads.",
        _starting(lambda head, heads, g, shift: head % 2 * shift),
    ),
    Mistake(
        "half_of_the_tokens",
        "You shift the second half of the tokens, in every head. It is half of the heads that is shifted, each with "
        "all its tokens.",
        _heads(lambda i, j, n, g, start: _late_tokens(i, j, n, g, start.max()) & (start >= 0)),
    ),
    Mistake("other_way", OTHER_WAY, _starting(lambda head, heads, g, shift: np.where(head < heads // 2, 0, -shift))),
    Mistake(
        "always_half_a_group",
        "You shift by half a group, whatever `shift` is. Half a group is what the library takes when nothing is said; "
        "here it is said.",
        _starting(lambda head, heads, g, shift: np.where(head < heads // 2, 0, g // 2)),
    ),
    Mistake(
        "towards_zero",
        "On shifted heads the first `shift` tokens joined the first full cell. Their coordinates are negative, and "
        "they are a cell of their own: round down (//), not towards zero.",
        _heads(lambda i, j, n, g, start: _grid(i, j, g, start, cell=_towards_zero)),
    ),
    Mistake(
        "wrap_leak",
        "On your shifted heads the first tokens look at the last ones: the future. That is what rolling does. Under "
        "split both ends are cells of their own: leave % out, and compare true positions.",
        _heads(_rolled),
    ),
    Mistake(
        "ends_joined",
        "On your shifted heads the last tokens look at the first ones. That is the masked boundary, further down; "
        "under split both ends are cells of their own, so leave % out.",
        _heads(lambda i, j, n, g, start: _grid(i, j, g, start, cell=_wrapped(n))),
    ),
    Mistake(
        "start_sees_nothing",
        "On shifted heads the tokens before the first full cell look at nothing, and a softmax over nothing is NaN. "
        "They form a short cell of their own.",
        _heads(lambda i, j, n, g, start: _grid(i, j, g, start) & (j >= start)),
    ),
    Mistake("not_causal", NOT_CAUSAL, _heads(lambda i, j, n, g, start: _grid(i, j, g, start, causal=_any_time))),
    Mistake("not_itself", NOT_ITSELF, _heads(lambda i, j, n, g, start: _grid(i, j, g, start, causal=np.greater))),
)

MASKED_MISTAKES = (
    Mistake(
        "wrap_leak",
        "Your cells are right, the order is not: the first tokens look at the last ones, the future. Compare the true "
        "positions of query and key, not where the roll has put them.",
        _one(_rolled),
    ),
    Mistake(
        "seam_cut",
        "Your last tokens do not look at the first ones, as under split. The two ends are one cell here: take the "
        "coordinates modulo seq_len, and let the true positions alone decide who is later.",
        _one(lambda i, j, n, g, s: _grid(i, j, g, s)),
    ),
    Mistake(
        "modulo_the_group",
        "Modulo group_size all tokens end in one cell. What wraps around is the sequence: modulo seq_len.",
        _one(lambda i, j, n, g, s: j <= i),
    ),
    Mistake(
        "not_causal", NOT_CAUSAL, _one(lambda i, j, n, g, s: _grid(i, j, g, s, cell=_wrapped(n), causal=_any_time))
    ),
    Mistake(
        "not_itself", NOT_ITSELF, _one(lambda i, j, n, g, s: _grid(i, j, g, s, cell=_wrapped(n), causal=np.greater))
    ),
    Mistake("other_way", OTHER_WAY, _one(lambda i, j, n, g, s: _grid(i, j, g, -s, cell=_wrapped(n)))),
    Mistake(
        "not_shifted",
        "This is a plain head. Subtract the shift from both positions first.",
        _one(lambda i, j, n, g, s: _grid(i, j, g, 0)),
    ),
)


def _late_tokens(query, key, length, group, shift):
    query_cell, key_cell = ((token - shift * (token >= length // 2)) // group for token in (query, key))
    return (query_cell == key_cell) & (key <= query)
