"""The tests of the prediction, decided before a row was run, applied to the records."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from ..study.verdict import Claim, above, over_seeds, within
from .cells import EQUAL, MARGIN, PAYS, SEEDS, Cell, Drawn, ShiftCell, shift_cells
from .exposure import middle
from .pilots import Pilot
from .prediction import Fit
from .recall import Recall

INSIDE = 0.9  # of the accuracies must lie in their intervals
Records = dict[Recall, dict]


@dataclass(frozen=True)
class Measured:
    """A cell and the shares that its seeds found."""

    cell: Cell
    rates: tuple[float, ...]

    @property
    def inside(self) -> int:
        """The number of seeds whose share lies in the interval."""
        return sum(self.cell.predicted.low <= rate <= self.cell.predicted.high for rate in self.rates)


def by_row(records: Sequence[dict], law: str) -> Records:
    """Return the records of the law under this prediction by their settings; others are not of this test."""
    ours = (one for one in records if one["kind"] == "recall" and one["ground"].get("law") == law)
    return {Recall(**record["config"]): record for record in ours}


def rates_of(row: Recall, kind: str, use: str, records: Records) -> tuple[float, ...]:
    """Return the shares that the seeds of a configuration found."""
    seeds = (dataclasses.replace(row, seed=seed) for seed in SEEDS)
    return tuple(records[one]["results"]["recall"][use][kind]["rate"] for one in seeds if one in records)


def measure(drawn: Drawn, records: Records) -> list[Measured]:
    """Put the measured shares beside the predicted ones; cells without a record are left out."""
    found = (Measured(cell, rates_of(cell.row, cell.kind, cell.use, records)) for cell in drawn.cells)
    return [one for one in found if one.rates]


def constant(pilots: Sequence[Pilot]) -> float:
    """Predict every cell by the mean of all pilots."""
    return statistics.mean(pilot.rate for pilot in pilots)


def nearest(cell: Cell, pilots: Sequence[Pilot]) -> float:
    """Predict a cell by the pilot most like it: of its task and use if there is one, then arm, layout and distance."""

    def unlike(pilot: Pilot) -> tuple:
        row, mine = pilot.row, cell.row
        of_group = pilot.distances[0] / row.group / (middle(mine, cell.kind)[0] / mine.group)
        settings = ((row.arm, row.leap) != (mine.arm, mine.leap)) + ((pilot.layout or row.layout) != mine.layout)
        return row.task != mine.task, pilot.use != cell.use, settings + abs(math.log2(of_group))

    return min(pilots, key=unlike).rate


def judge_law(drawn: Drawn, records: Records, pilots: Sequence[Pilot], fit: Fit) -> list[Claim]:
    """Decide the tests; those whose rows are not all recorded cannot be decided."""
    found = measure(drawn, records)
    claims = []
    complete = len(found) == len(drawn.cells) and all(len(one.rates) == len(SEEDS) for one in found)
    if complete:
        rates = [(one.cell, rate) for one in found for rate in one.rates]
        share = sum(one.inside for one in found) / len(rates)
        claims.append(_claim(f"At least {INSIDE:.0%} of the shares lie in their intervals.", share >= INSIDE,
                             f"{share:.1%} of {len(rates)}"))  # fmt: skip
        ours = statistics.mean(abs(rate - cell.predicted.rate) for cell, rate in rates)
        for name, other in (
            ("a constant", [abs(rate - constant(pilots)) for _, rate in rates]),
            ("the nearest pilot", [abs(rate - nearest(cell, pilots)) for cell, rate in rates]),
        ):
            mean = statistics.mean(other)
            claims.append(_claim(f"The mean error is below that of {name}.", ours < mean,
                                 f"{100 * ours:.1f} points against {100 * mean:.1f}"))  # fmt: skip
    pays = [cell for cell in shift_cells(drawn, fit) if cell.predicted >= PAYS]
    same = [cell for cell in shift_cells(drawn, fit) if abs(cell.predicted) <= EQUAL]
    for cells, statement, rule in (
        (pays, "Where it is predicted to pay, the shift is better in dense use.", above),
        (same, f"Where it is predicted to make no difference, it makes less than {100 * MARGIN:.0f} points.",
         lambda gain: within(gain, MARGIN)),
    ):  # fmt: skip
        gains = gains_of(cells, records)
        if gains:
            gain = over_seeds(gains)
            claims.append(Claim(statement, rule(gain), f"{gain.text(unit=' points')} over {len(cells)} cells"))
    return claims


def gains_of(cells: Sequence[ShiftCell], records: Records) -> list[float]:
    """Return the mean gain of the shift over cells, seed by seed; none while a row is missing."""
    each = [
        (rates_of(cell.shifted, cell.kind, "dense", records), rates_of(cell.short, cell.kind, "dense", records))
        for cell in cells
    ]
    if not each or any(len(rates) != len(SEEDS) for pair in each for rates in pair):
        return []
    return [statistics.mean(shifted[i] - short[i] for shifted, short in each) for i in range(len(SEEDS))]


def _claim(statement: str, holds: bool, because: str) -> Claim:
    return Claim(statement, "agrees" if holds else "disagrees", because)
