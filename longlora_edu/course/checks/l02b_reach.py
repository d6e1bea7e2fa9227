"""Checks of lesson 02b: how far the groups carry, layer by layer."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from ...geometry import S2Geometry
from ...plots import show_hops, show_reach
from .exercise import Mistake, Passed, check, compare_masks
from .l02a_wall_and_shift import compare_counts


@check("02.heard_after")
def heard_after(function: Callable) -> Passed:
    """Check `function(mask, num_layers)`: bool (n, n), whom each token hears, from a layer's mask bool (h, n, n)."""
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
    """Check `function(num_groups)`: int, the layers until the last token hears the first, whole groups, split."""
    cases = [(r,) for r in (3, 1, 2, 4, 5, 8, 16)]

    def draw(num_groups):
        return show_hops(S2Geometry(4 * num_groups, 4, 2))

    def parts(r):
        return f"With {r} groups there are {r - 1} walls on the way back. How many layers does each of them take?"

    compare_counts(function, cases, lambda r: 2 * r - 1, LAYERS_MISTAKES, ("num_groups",), draw=draw, parts=parts)
    return Passed("Right for every number of groups, whatever the shift.", draw(2))


def _after(steps: np.ndarray, layers: int) -> np.ndarray:
    return np.linalg.matrix_power(steps.astype(object), layers) > 0


def _step(geometry: S2Geometry) -> np.ndarray:
    return geometry.mask().any(axis=0)


def _heads_in_a_row(geometry: S2Geometry, order: int = 1) -> np.ndarray:
    return functools.reduce(lambda heard, mask: mask @ heard, geometry.mask()[::order])


REACH_MISTAKES = {
    "all_heads_agree": Mistake(
        "A token is heard if one head looks at it: unite the heads with any, not with all.",
        lambda geometry, layers: _after(geometry.mask().all(axis=0), layers),
    ),
    "nobody_to_begin_with": Mistake(
        "Nobody hears anything in your table. Before the first layer everybody has heard themselves: start from the "
        "identity, not from zeros.",
        lambda geometry, layers: np.zeros_like(_step(geometry)),
    ),
    "everybody_to_begin_with": Mistake(
        "Everybody hears everybody in your table, later tokens too. Before the first layer everybody has heard "
        "themselves only: start from the identity, not from ones.",
        lambda geometry, layers: np.ones_like(_step(geometry)),
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
    "head_after_head": Mistake(
        "You let the heads of a layer follow one another, so that news runs through all of them in a single layer. "
        "Heads work side by side: unite them with any, and let that be one step.",
        lambda geometry, layers: _after(_heads_in_a_row(geometry), layers),
        also=lambda geometry, layers: _after(_heads_in_a_row(geometry, -1), layers),
    ),
    "square_by_square": Mistake(
        "Everybody hears themselves only, however many layers there are. `*` multiplies square by square; to go on "
        "from whoever was heard so far takes the product of matrices, `@`.",
        lambda geometry, layers: np.eye(geometry.seq_len, dtype=bool),
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
