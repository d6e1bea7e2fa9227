"""Distances of recall: where a statement stands and where it is asked for, in training and in the classes measured.

A *hop* is a pair of places, the earlier one to be looked up from the later one. A chain of h hops has h + 1 places:
the first states a value, each further one names the one before, the last asks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Layout = Literal["aligned", "uniform", "log", "near"]
# Classes that are measured, by the largest distance of a hop in groups of G; "border" is laid as "aligned".
CLASSES = ("G/4", "G/2", "G", "2G", "4G", "border")
TRIES = 40


@dataclass(frozen=True)
class Room:
    """A window of `length` places in which lines reach from `before` places ahead of theirs to `after` behind it.

    No two lines overlap: their places are `apart` or more. `group` is G, the cell of the geometry and the page.
    """

    length: int
    group: int
    before: int = 0
    after: int = 1
    apart: int = 1

    @property
    def nearest(self) -> int:
        """The shortest hop: a line of another chain fits between its two."""
        return 2 * self.apart

    def farthest(self, hops: int) -> int:
        """The longest distance that each of `hops` can have at once."""
        return (self.length - self.before - self.after) // hops


def class_range(room: Room, kind: str) -> tuple[int, int]:
    """Return the first and the last distance of a class; "border" has none of its own."""
    ends = [room.nearest, *(room.group * share // 4 for share in (1, 2, 4, 8, 16))]
    index = CLASSES.index(kind)
    return (ends[index] + (index > 0), ends[index + 1])


def classes_of(room: Room, hops: int) -> tuple[str, ...]:
    """List the classes that fit: those whose shorter half of distances can be had by all hops at once."""
    fits = []
    for kind in CLASSES[:-1]:
        low, high = class_range(room, kind)
        if low < high and math.isqrt(low * high) <= room.farthest(hops):
            fits.append(kind)
    return (*fits, "border") if (hops + 2) * (room.group // 2) <= room.length else tuple(fits)


def draw_chain(where: str, room: Room, hops: int, rng: np.random.Generator) -> tuple[int, ...]:
    """Draw the places of one chain by a training layout or by a class that is measured.

    - `"aligned"`, `"border"`: each place in the half group after that of the one before, the first in the last half of
      a page: the first hop crosses the border of a page.
    - `"uniform"`, `"log"`: each distance uniform, or its logarithm, over all that the window has room for.
    - `"near"`: uniform up to half a group. Classes: log-uniform within the class.
    """
    if where in ("aligned", "border"):
        half = room.group // 2
        first = 2 * int(rng.integers((room.length // half - hops) // 2)) + 1
        starts = [(first + hop) * half for hop in range(hops + 1)]
        return tuple(int(rng.integers(start + room.before, start + half - room.after + 1)) for start in starts)
    low, high = room.nearest, room.farthest(hops)
    if where == "near":
        high = min(high, room.group // 2)
    elif where not in get_args(Layout):
        low, high = class_range(room, where)
        high = min(high, room.farthest(hops))
    if where in ("uniform", "near"):
        steps = rng.integers(low, high + 1, size=hops)
    else:
        steps = np.exp(rng.uniform(math.log(low), math.log(high + 1), size=hops)).astype(int)
    start = int(rng.integers(room.before, room.length - room.after - int(steps.sum()) + 1))
    return tuple(int(place) for place in start + np.concatenate([[0], np.cumsum(steps)]))


def lay_chains(
    draws: Sequence[Callable[[], tuple[int, ...]]],
    room: Room,
    *,
    enclose: bool = False,
    laid: Sequence[tuple[int, ...]] = (),
) -> list[tuple[int, ...]]:
    """Lay one chain from each of `draws`, functions that return a random one, and return the new ones in that order.

    Each is called up to `TRIES` times, until no line of its chain overlaps one of the others: the new ones so far, and
    those `laid` before. One that never fits is left out.

    With `enclose`, the tries go on for a chain that fits and `counts`: another begins between its first place and its
    last. Without such a one, the first that fits is taken.
    """
    new: list[tuple[int, ...]] = []
    for draw in draws:
        others = [*laid, *new]
        free = (chain for chain in (draw() for _ in range(TRIES)) if _fits(chain, others, room))
        if chain := next(free, None):
            if enclose and not counts(chain, others):
                chain = next((other for other in free if counts(other, others)), chain)
            new.append(chain)
    return new


def counts(chain: tuple[int, ...], others: Sequence[tuple[int, ...]]) -> bool:
    """Return whether another chain begins between the first place and the last of `chain`.

    The last value stated before the question is then another chain's, and repeating it is no shortcut to the answer.
    """
    return any(chain[0] < other[0] < chain[-1] for other in others if other != chain)


def _fits(chain: tuple[int, ...], laid: Sequence[tuple[int, ...]], room: Room) -> bool:
    places = [place for other in laid for place in other]
    return all(abs(one - other) >= room.apart for one in chain for other in places)
