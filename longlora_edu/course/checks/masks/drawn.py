"""The three exercises whose answer is a mask: a plain head, all heads, and the masked boundary."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ....geometry import S2Geometry
from ....plots import describe_masks, plot_masks
from ....widgets import Picture
from ..diagnosis import Passed, exercise
from .mistakes import compare_masks, named
from .wrong_masks import MASKED_MISTAKES, PLAIN_MISTAKES, S2_MISTAKES


@exercise("02.plain_mask")
def plain_mask(function: Callable) -> Passed:
    """`function(seq_len, group_size)`: bool (n, n), the mask of a plain head."""
    cases = [(8, 4), (12, 3), (10, 4), (7, 5), (3, 8), (1, 1), *((n, g) for n, g, *_ in _sizes())]

    def right(seq_len, group_size):
        return S2Geometry(seq_len, group_size, 2, shift=0).mask()[0]

    compare_masks(function, right, PLAIN_MISTAKES, cases, named("seq_len", "group_size"))
    geometry = S2Geometry(8, 4, 2)
    picture = Picture(plot_masks(geometry, heads=(0,)), describe_masks(geometry))
    return Passed(f"All {len(cases)} sizes are right, odd groups and ragged ends too.", picture)


@exercise("02.s2_mask")
def s2_mask(function: Callable) -> Passed:
    """`function(seq_len, group_size, num_heads, shift)`: bool (h, n, n), all heads under the split boundary."""
    cases = [(8, 4, 2, 2), (12, 4, 4, 1), (9, 3, 3, 1), (10, 4, 1, 2), (11, 5, 5, 3), (6, 8, 2, 4), *_sizes()]

    def right(*settings):
        return S2Geometry(*settings).mask()

    compare_masks(function, right, S2_MISTAKES, cases, named("seq_len", "group_size", "num_heads", "shift"))
    geometry = S2Geometry(10, 4, 3)
    picture = Picture(plot_masks(geometry), describe_masks(geometry))
    return Passed(f"All {len(cases)} geometries are right: you wrote S2Geometry(…).mask().", picture)


@exercise("02.masked_boundary")
def masked_boundary(function: Callable) -> Passed:
    """`function(seq_len, group_size, shift)`: bool (n, n), a shifted head under the masked boundary."""
    cases = [(8, 4, 2), (12, 4, 1), (9, 3, 1), (15, 5, 3), (4, 4, 2), (10, 5, 0)]
    # Where cells wrap, the length is a whole number of groups.
    cases += [(g * -(-n // g), g, shift) for n, g, _, shift in _sizes()]

    def right(seq_len, group_size, shift):
        return S2Geometry(seq_len, group_size, 1, shift, "masked").mask()[0]

    compare_masks(function, right, MASKED_MISTAKES, cases, named("seq_len", "group_size", "shift"))
    geometry = S2Geometry(8, 4, 2, boundary="masked")
    picture = Picture(plot_masks(geometry, heads=(1,)), describe_masks(geometry))
    return Passed(f"All {len(cases)} geometries are right: the seam is one cell, and nothing looks ahead.", picture)


def _sizes(count: int = 12) -> Iterator[tuple[int, int, int, int]]:
    """Random (seq_len, group_size, num_heads, shift): odd groups, ragged ends, odd heads, any shift."""
    rng = np.random.default_rng(2)
    for _ in range(count):
        group = int(rng.integers(1, 9))
        yield int(rng.integers(1, 25)), group, int(rng.integers(1, 6)), int(rng.integers(group))
