"""Cells of the test: drawn by a seed from all that the law speaks about, pilots left out; and the rows that they need.

A cell is one configuration (task, training attention, training distances, leap), one class of distance and one use.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from .distances import Layout
from .exposure import only_by_path
from .pilots import Pilot, configuration
from .prediction import Fit, Prediction, chance_of, predict_recall
from .recall import Recall, row_of

DRAW = 20  # the seed of the draw
SEEDS = (0, 1, 2)
MIDDLE = (0.1, 0.9)  # half of the cells are predicted between these, and not at chance
ABOVE_CHANCE = 0.02
CELLS = 48  # an equal number of each task, half of them between these where there are so many
FURTHER = 3  # configurations of a task besides the pairs
ARMS = (("short", 0.0), ("s2", 0.0), ("s2", 0.5), ("full", 0.0))
# Without a pilot of sparse use on text nobody knows what four layers relay: such cells are not predicted.
UNKNOWN_PATHS = 0.3
PAYS, EQUAL = 0.15, 0.03  # predicted differences of the shift: it pays, and it makes none
MARGIN = 0.05  # of the equivalence test


@dataclass(frozen=True)
class Cell:
    """One cell and its prediction."""

    row: Recall
    kind: str
    use: str
    predicted: Prediction

    @property
    def is_middle(self) -> bool:
        """Whether the prediction is neither near 0 nor near 1, nor at chance."""
        rate = self.predicted.rate
        return MIDDLE[0] <= rate <= MIDDLE[1] and rate > chance_of(self.row.task) + ABOVE_CHANCE


@dataclass(frozen=True)
class Drawn:
    """The draw: cells of the test, configurations that are trained, and those trained with and without a shift."""

    cells: tuple[Cell, ...]
    configurations: tuple[Recall, ...]
    pairs: tuple[tuple[Recall, Recall], ...]

    def rows(self) -> tuple[Recall, ...]:
        """List all rows: each configuration with each seed."""
        return tuple(dataclasses.replace(row, seed=seed) for row in self.configurations for seed in SEEDS)


@dataclass(frozen=True)
class ShiftCell:
    """A class of distance in dense use with and without the shift, all else equal, and the predicted difference."""

    short: Recall
    shifted: Recall
    kind: str
    predicted: float


def draw_cells(fit: Fit, pilots: Sequence[Pilot]) -> Drawn:
    """Draw configurations of each task, then cells of them: half predicted in the middle.

    Of each task two layouts are trained with and without the shift: of those without a pilot the one where it is
    predicted to gain most, and the one where it is to gain least. Further configurations are drawn. Where a task
    has too few cells of one sort, all of that sort are taken, and further ones of the other sort.
    """
    rng = np.random.default_rng(DRAW)
    known = {configuration(pilot.row) for pilot in pilots}
    chosen: list[Recall] = []
    pairs: list[tuple[Recall, Recall]] = []
    cells: list[Cell] = []
    tasks = fit.tasks
    for task in tasks:
        every = [row_of(task, arm=arm, leap=leap, layout=layout) for layout in get_args(Layout) for arm, leap in ARMS]
        free = [row for row in every if row not in known]
        both = [(_plain(task, "short", layout), _plain(task, "s2", layout)) for layout in get_args(Layout)]
        both = sorted((pair for pair in both if set(pair) <= set(free)), key=lambda pair: _mean_gain(pair, fit))
        pairs += dict.fromkeys((both[-1], both[0]))
        mine = [row for pair in pairs for row in pair if row.task == task]
        others = [row for row in free if row not in mine]
        mine += [others[index] for index in rng.permutation(len(others))[:FURTHER]]
        chosen += mine
        cells += _some(cells_of(mine, fit), CELLS // len(tasks), rng)
    return Drawn(tuple(cells), tuple(chosen), tuple(pairs))


def cells_of(rows: Sequence[Recall], fit: Fit) -> list[Cell]:
    """List every cell of some configurations that the law speaks about."""
    found = []
    for row in rows:
        for use in ("dense", "sparse") if row.pattern else ("dense",):
            for kind in row.classes:
                if use == "sparse" and row.task == "references" and only_by_path(row, kind) > UNKNOWN_PATHS:
                    continue
                found.append(Cell(row, kind, use, predict_recall(fit, row, kind, use)))
    return found


def shift_cells(drawn: Drawn, fit: Fit) -> list[ShiftCell]:
    """List the classes of all pairs in dense use with the predicted gain of the shift."""
    return [
        ShiftCell(*pair, kind, gain)
        for pair in drawn.pairs
        for kind, gain in zip(pair[0].classes, _gains(pair, fit), strict=True)
    ]


def _gains(pair: tuple[Recall, Recall], fit: Fit) -> list[float]:
    short, shifted = pair
    return [fit.rate(shifted, kind, "dense") - fit.rate(short, kind, "dense") for kind in short.classes]


def _mean_gain(pair: tuple[Recall, Recall], fit: Fit) -> float:
    return statistics.mean(_gains(pair, fit))


def _plain(task: str, arm: str, layout: str) -> Recall:
    return row_of(task, arm=arm, layout=layout)


def _some(cells: Sequence[Cell], number: int, rng: np.random.Generator) -> list[Cell]:
    shuffled = [cells[index] for index in rng.permutation(len(cells))]
    middle = [cell for cell in shuffled if cell.is_middle]
    outer = [cell for cell in shuffled if not cell.is_middle]
    count = min(number // 2, len(middle))
    taken = middle[:count] + outer[: number - count]
    rest = [cell for cell in shuffled if cell not in taken]
    return taken + rest[: number - len(taken)]
