"""Verdicts on claims: agrees, disagrees, or cannot tell at this size, by an interval over seeds.

Arms are compared seed by seed: the same seed draws the same windows in both, so the difference is much steadier than
either number. The interval is Student's, 95 %; with three seeds it is wide on purpose.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["agrees", "disagrees", "cannot tell at this size"]
AGREES, DISAGREES, CANNOT_TELL = "agrees", "disagrees", "cannot tell at this size"
# Two-sided 95 % quantiles of Student's t by degrees of freedom.
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


@dataclass(frozen=True)
class Difference:
    """A mean over seeds and half the width of its interval; None with one seed, whose spread is unknown."""

    mean: float
    half: float | None
    seeds: int

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends of the interval; infinite where the spread is unknown."""
        half = math.inf if self.half is None else self.half
        return self.mean - half, self.mean + half

    def text(self, scale: float = 100, unit: str = " %", digits: int = 1, *, sign: str = "+") -> str:
        """Format as `+1.2 ± 0.3 %`, with `sign="-"` as `1.2 ± 0.3 %`; marks a value of one seed."""
        unit = unit.replace(" ", "\N{NO-BREAK SPACE}")
        mean = f"{scale * self.mean:{sign}.{digits}f}"
        if self.half is None:
            return f"{mean}{unit} (one seed)"
        return f"{mean} ± {scale * self.half:.{digits}f}{unit}"


def difference(first: Sequence[float], second: Sequence[float], *, spread: float | None = None) -> Difference:
    """Compare `second` with `first`, seed by seed. `spread` replaces the unknown deviation of a single seed.

    Raises:
        ValueError: without a pair, or with numbers that are not in pairs.
    """
    if not first or len(first) != len(second):
        raise ValueError(f"first and second must be numbers in pairs, got {len(first)} and {len(second)}")
    return over_seeds([b / a - 1 for a, b in zip(first, second, strict=True)], spread=spread)


def over_seeds(values: Sequence[float], *, spread: float | None = None) -> Difference:
    """Compute the mean of one value per seed, and its interval."""
    count = len(values)
    if count > 1:
        half = STUDENT.get(count - 1, 2.0) * statistics.stdev(values) / math.sqrt(count)
        return Difference(statistics.mean(values), half, count)
    return Difference(values[0], None if spread is None else 2 * spread, 1)


def within(found: Difference, limit: float) -> Verdict:
    """Judge whether the difference is at most `limit` in size."""
    low, high = found.interval
    if -limit <= low and high <= limit:
        return AGREES
    return DISAGREES if low > limit or high < -limit else CANNOT_TELL


def above(found: Difference, limit: float = 0.0) -> Verdict:
    """Judge whether the difference is above `limit`."""
    low, high = found.interval
    if low > limit:
        return AGREES
    return DISAGREES if high < limit else CANNOT_TELL


def below(found: Difference, limit: float = 0.0) -> Verdict:
    """Judge whether the difference is below `limit`."""
    return above(Difference(-found.mean, found.half, found.seeds), -limit)


@dataclass(frozen=True)
class Claim:
    """A statement, its verdict, and the numbers behind it."""

    statement: str
    verdict: Verdict
    because: str
