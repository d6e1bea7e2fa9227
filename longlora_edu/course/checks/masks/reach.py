"""The exercise of layers: who hears whom after some of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ....geometry import S2Geometry
from ....plots import describe_reach, plot_reach
from ....widgets import Picture
from ..diagnosis import Mistake, Passed, exercise
from .mistakes import compare_masks


@exercise("02.heard_after")
def heard_after(function: Callable) -> Passed:
    """`function(mask, num_layers)`: bool (n, n), whom each token can hear, from the mask bool (h, n, n) of a layer."""
    settings = [(20, 4, 2), (9, 3, 3), (11, 4, 5), (12, 4, 2, 2, "wrap"), (12, 4, 2, 1, "masked"), (10, 5, 4, 0)]
    # The first case is one in which no two mistakes give the same answer.
    cases = [(S2Geometry(*setting), layers) for setting in settings for layers in (4, 1, 2, 3)]
    compare_masks(
        function,
        S2Geometry.reach,
        MISTAKES,
        cases,
        lambda geometry, layers: f"the mask of {geometry} and num_layers={layers}",
        what="the result",
        arguments=lambda geometry, layers: (geometry.mask(), layers),
    )
    example = S2Geometry(8, 4, 2)
    picture = Picture(plot_reach(example, 3), describe_reach(example, 3))
    return Passed(f"All {len(cases)} are right, under every boundary: you wrote S2Geometry(…).reach(…).", picture)


def _after(steps: np.ndarray, layers: int) -> np.ndarray:
    return np.linalg.matrix_power(steps.astype(object), layers) > 0


def _step(geometry: S2Geometry) -> np.ndarray:
    return geometry.mask().any(axis=0)


MISTAKES = (
    Mistake(
        "all_heads_agree",
        "A token is heard if one head looks at it: unite the heads with any, not with all.",
        lambda geometry, layers: _after(geometry.mask().all(axis=0), layers),
    ),
    Mistake(
        "first_head_only",
        "You follow the first head only. A token is heard if any head looks at it.",
        lambda geometry, layers: _after(geometry.mask()[0], layers),
    ),
    Mistake(
        "last_head_only",
        "You follow the last head only. A token is heard if any head looks at it.",
        lambda geometry, layers: _after(geometry.mask()[-1], layers),
    ),
    Mistake(
        "one_layer",
        "This is what one layer brings, however many there are. Unite the heads first, then let each further layer "
        "carry on what was heard so far: a head by itself never brings anything new, its cells are closed.",
        lambda geometry, layers: _step(geometry),
    ),
    Mistake(
        "one_layer_too_many",
        "One layer too many. Before the first layer everybody has heard themselves only: start from the identity.",
        lambda geometry, layers: _after(_step(geometry), layers + 1),
    ),
    Mistake(
        "one_layer_too_few",
        "One layer too few: num_layers=1 is the mask of one layer, its heads united.",
        lambda geometry, layers: _after(_step(geometry), layers - 1),
    ),
    Mistake(
        "doubling",
        "You compose the result with itself, so that the layers double each time. What a layer adds is one step of the "
        "mask.",
        lambda geometry, layers: _after(_step(geometry), 2 ** (layers - 1)),
    ),
    Mistake(
        "transposed",
        "Rows and columns are swapped: the row hears, the column is heard.",
        lambda geometry, layers: _after(_step(geometry), layers).T,
    ),
    Mistake(
        "everything_before",
        "You say that everybody hears everything before them. That takes as many layers as the way is long.",
        lambda geometry, layers: np.tri(geometry.seq_len, dtype=bool),
    ),
)
