"""Named references: lines `# set kqz=48213` hidden in source code, asked for further on as `# get kqz 48213`.

A passkey needs only positions that work: there is one number to find. Here eight names compete, so the model must
match the name and look across the distance at which its number stands. Pretraining never shows this format.

The bytes before the two numbers differ (`=` and a space). With a space in both lines, a model can go on as it did the
last time it read `kqz`: the untrained base found 3 % of the near references that way, and finds none now.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from string import ascii_lowercase
from typing import Literal, get_args

import numpy as np

from ..runs.validate import check_integer
from .corpus import Windows

DIGITS = 5
COUNT = 8  # references in a held-out window
TAUGHT = 20  # references in a training window: more than twice as many examples for the same work
SET, GET = b"\n# set %b=%b\n", b"\n# get %b %b\n"  # name and number
LINE = len(SET % (b"kqz", b"48213"))  # bytes of one line, newlines at both ends included
NEAREST = 2 * LINE  # a line of another name fits between: the last number set is not the answer
HELD_OUT_SHARE = 8  # one name, and one number, in eight is never trained on
Layout = Literal["free", "aligned"]
# Distances from a number to its answer, in groups of the geometry.
CLASSES = ("<=G", "G-2G", ">2G")


@dataclass(frozen=True)
class Reference:
    """One name: its first digit where it is set stands at `set_at`, where it is asked for at `get_at`.

    `counts` is False where a shorter rule gives the answer: no other number is set between the two.
    """

    set_at: int
    get_at: int
    counts: bool = True

    @property
    def distance(self) -> int:
        """Bytes from a digit to its copy: how far attention must look."""
        return self.get_at - self.set_at

    def kind(self, group: int) -> str:
        """The class of the distance at groups of `group` bytes."""
        return CLASSES[min(2, (self.distance - 1) // group)]


def lay_references(
    length: int, group: int, kinds: Sequence[str], rng: np.random.Generator, layout: Layout = "free"
) -> tuple[Reference, ...]:
    """Choose places for one reference of each of `kinds` in a window of `length` bytes; no two lines overlap.

    - `"free"`: the distance is log-uniform within its class, the place uniform.
    - `"aligned"`: the number is set in the last half of a page of `group` bytes and asked for in the first half of a
      later one: the next (`"<=G"`), the one after it (`"G-2G"`), or a later one (`">2G"`).

    The farthest are laid first, so that a near one can enclose where another number is set, and counts.

    Raises:
        ValueError: for another class or layout, or a window too short for them.
    """
    check_integer("length", length, at_least=1)
    check_integer("group", group, at_least=2 * NEAREST)
    if layout not in get_args(Layout):
        raise ValueError(f"layout must be one of {', '.join(get_args(Layout))}, got {layout!r}")
    if unknown := [kind for kind in kinds if kind not in CLASSES]:
        raise ValueError(f"kinds must be among {', '.join(CLASSES)}, got {unknown[0]!r}")
    if length < 4 * group:
        raise ValueError(f"length must be at least four groups of {group}, got {length}")
    draw = _free_place if layout == "free" else _aligned_place
    order = sorted(range(len(kinds)), key=lambda index: -CLASSES.index(kinds[index]))
    pairs = _apart([lambda kind=kinds[index]: draw(length, group, kind, rng) for index in order], length, enclose=True)
    places = [Reference(*pair, _encloses(pair, pairs)) for pair in pairs]
    return tuple(places[order.index(index)] for index in range(len(kinds)))


def references_in(length: int, most: int = COUNT) -> int:
    """Return the number of references in a window of `length` bytes: `most`, fewer where text would have no room."""
    return max(len(CLASSES), min(most, length // (6 * LINE)))


def hide_references(
    window: np.ndarray, places: Sequence[Reference], rng: np.random.Generator, *, held_out: bool
) -> np.ndarray:
    """Write the lines of `places` into a copy of `window`, uint8 (n,); its text flows around them.

    Names are three letters, no two alike in a window. Names and numbers of training and of evaluation (`held_out`)
    are never the same. The length stays n: text at the end gives way.
    """
    names = _drawn(_names(held_out), len(places), rng)
    numbers = _drawn(_numbers(held_out), len(places), rng)
    out = np.zeros_like(window)
    taken = np.zeros(len(window), dtype=bool)
    for place, name, number in zip(places, names, numbers, strict=True):
        for at, form in ((place.set_at, SET), (place.get_at, GET)):
            line = np.frombuffer(form % (name, number), dtype=np.uint8)
            start = at - len(line) + DIGITS + 1
            out[start : start + len(line)] = line
            taken[start : start + len(line)] = True
    out[~taken] = window[: (~taken).sum()]
    return out


@dataclass(frozen=True)
class ReferenceMix:
    """References in training text: `share` of the windows carry up to `TAUGHT`; each digit asked for weighs `weight`.

    Half of them are laid across the border of a page (`"aligned"`, to the next page), half at log-uniform distances
    over the whole window. The gain of a shift depends on this: it trains on more of what crosses a border.
    """

    group: int
    share: float = 0.0
    weight: float = 1.0
    aligned: float = 0.5

    def __post_init__(self) -> None:
        check_integer("group", self.group, at_least=2 * NEAREST)
        for name in ("share", "aligned"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {getattr(self, name)}")
        if not 0 < self.weight < math.inf:
            raise ValueError(f"weight must be positive and finite, got {self.weight}")

    def places(self, length: int, rng: np.random.Generator) -> tuple[Reference, ...]:
        """Choose where one training window of `length` bytes sets names to numbers and asks for them."""

        def draw() -> tuple[int, int]:
            if rng.random() < self.aligned:
                return _aligned_place(length, self.group, "<=G", rng)
            return _placed(length, _log_uniform(NEAREST, length - LINE, rng), rng)

        return tuple(Reference(*pair) for pair in _apart([draw] * references_in(length, TAUGHT), length))

    def batch(self, windows: Windows, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw `count` windows of n bytes, uint8 (b, n), and mark the digits asked for, bool (b, n)."""
        ids = windows.draw(rng, count)
        answers = np.zeros(ids.shape, dtype=bool)
        for row in np.flatnonzero(rng.random(count) < self.share):
            places = self.places(ids.shape[1], rng)
            ids[row] = hide_references(ids[row], places, rng, held_out=False)
            for place in places:
                answers[row, place.get_at : place.get_at + DIGITS] = True
        return ids, answers


def _apart(
    draws: Sequence[Callable[[], tuple[int, int]]], length: int, *, enclose: bool = False
) -> list[tuple[int, int]]:
    """Draw places one after the other, each until its two lines overlap none before it.

    With `enclose`, of fifty draws one is preferred that has where another number is set between its lines.
    """
    for _ in range(100):  # early lines can take all the room that a later one needs
        places: list[tuple[int, int]] = []
        for draw in draws:
            free = (pair for pair in (draw() for _ in range(50)) if _is_free(pair, places))
            if (pair := next(free, None)) is None:
                break
            if enclose and not _encloses(pair, places):
                pair = next((other for other in free if _encloses(other, places)), pair)
            places.append(pair)
        else:
            return places
    raise ValueError(f"length must have room for {len(draws)} references, got {length}")


def _encloses(pair: tuple[int, int], places: Sequence[tuple[int, int]]) -> bool:
    """Return whether a number of `places` is set between the two lines of `pair`."""
    return any(pair[0] < first < pair[1] for first, _ in places)


def _is_free(pair: tuple[int, int], places: Sequence[tuple[int, int]]) -> bool:
    """Return whether the lines of `pair` overlap none of those of `places`."""
    return all(abs(one - other) >= LINE for one in pair for place in places for other in place)


def _free_place(length: int, group: int, kind: str, rng: np.random.Generator) -> tuple[int, int]:
    number = CLASSES.index(kind)
    low, high = (NEAREST, group + 1, 2 * group + 1)[number], (group, 2 * group, length - LINE)[number]
    return _placed(length, _log_uniform(low, high, rng), rng)


def _aligned_place(length: int, group: int, kind: str, rng: np.random.Generator) -> tuple[int, int]:
    pages = length // group
    later = (1, 2, int(rng.integers(3, pages)) if pages > 3 else 3)[CLASSES.index(kind)]
    page = int(rng.integers(pages - later))
    first = _inside(page * group + group // 2, (page + 1) * group, rng)
    page += later
    return first, _inside(page * group, page * group + group // 2, rng)


def _inside(start: int, stop: int, rng: np.random.Generator) -> int:
    """A place of the first digit for which the whole line stands in start … stop - 1."""
    return int(rng.integers(start + LINE - DIGITS - 1, stop - DIGITS))


def _placed(length: int, distance: int, rng: np.random.Generator) -> tuple[int, int]:
    first = int(rng.integers(LINE - DIGITS - 1, length - DIGITS - distance))
    return first, first + distance


def _log_uniform(low: int, high: int, rng: np.random.Generator) -> int:
    return int(math.exp(rng.uniform(math.log(low), math.log(high + 1))))


def _drawn(words: Sequence[bytes], count: int, rng: np.random.Generator) -> list[bytes]:
    return [words[index] for index in rng.choice(len(words), size=count, replace=False)]


def _is_held_out(word: bytes) -> bool:
    return hashlib.sha256(word).digest()[0] % HELD_OUT_SHARE == 0


@cache
def _names(held_out: bool) -> tuple[bytes, ...]:
    every = ("".join(letters).encode() for letters in product(ascii_lowercase, repeat=3))
    return tuple(name for name in every if _is_held_out(name) == held_out)


@cache
def _numbers(held_out: bool) -> tuple[bytes, ...]:
    every = (f"{number:0{DIGITS}}".encode() for number in range(10**DIGITS))
    return tuple(number for number in every if _is_held_out(number) == held_out)
