"""Verdicts on statements: agrees, disagrees, or cannot tell, by a 95 % interval over documents and seeds.

Arms are compared seed by seed: the same seed draws the same windows in both, so the difference is much steadier than
either number. With three seeds the interval is wide on purpose (Student's t with two degrees of freedom).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from longlora_edu.runs.records import Proportion

Verdict = str
AGREES, DISAGREES, CANNOT_TELL = "agrees", "disagrees", "cannot tell"
# Two-sided 95 % quantiles of Student's t by degrees of freedom.
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228}
STUDENT |= {11: 2.201, 12: 2.179, 15: 2.131, 20: 2.086, 30: 2.042, 60: 2.000, 120: 1.980}
NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five"}
BOTH = "documents and seeds"


def student(degrees: float) -> float:
    """Return Student's two-sided 95 % quantile, between the entries of the table by a straight line."""
    if degrees < 1:
        return math.inf
    known = sorted(STUDENT)
    above = next((place for place in known if place >= degrees), None)
    if above is None:
        return 1.96
    below = max((place for place in known if place <= degrees), default=above)
    share = (degrees - below) / (above - below) if above > below else 0.0
    return STUDENT[below] + share * (STUDENT[above] - STUDENT[below])


@dataclass(frozen=True)
class Lent:
    """A standard deviation over seeds, of a comparison that has several, and its degrees of freedom."""

    deviation: float
    degrees: int


@dataclass(frozen=True)
class Difference:
    """A mean over seeds and half the width of its 95 % interval; None with one seed, whose spread is unknown.

    `error` is the standard error over seeds and `degrees` its degrees of freedom. `by_seeds` and `by_documents` are
    the half widths if only one of them varied: they say which is too few. `over` names what was varied.
    """

    mean: float
    half: float | None
    seeds: int
    error: float | None = None
    degrees: int = 0
    by_seeds: float | None = None
    by_documents: float | None = None
    documents: int = 0
    over: str = "seeds"

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends of the interval; infinite where the spread is unknown."""
        return _around(self.mean, self.half)

    def cell(self, scale: float = 100, unit: str = " %", digits: int = 1, *, sign: str = "+") -> str:
        """Format as `+1.2 ± 0.3 %`, with `sign="-"` as `1.2 ± 0.3 %`: for a table whose note says over what."""
        unit = unit.replace(" ", "\N{NO-BREAK SPACE}")
        mean = f"{scale * self.mean:{sign}.{digits}f}"
        return f"{mean}{unit}" if self.half is None else f"{mean} ± {scale * self.half:.{digits}f}{unit}"

    def text(self, scale: float = 100, unit: str = " %", digits: int = 1, *, sign: str = "+") -> str:
        """Format as `cell` does, and say where there is one seed, or where not documents and seeds were varied."""
        said = [] if self.seeds > 1 else ["one seed"]
        if self.over != BOTH and self.half is not None:
            said.append(f"over {self.over}" if self.seeds > 1 else f"with the spread of others over {self.over}")
        return self.cell(scale, unit, digits, sign=sign) + (f" ({', '.join(said)})" if said else "")


def difference(first: Sequence[float], second: Sequence[float], *, lent: Lent | None = None) -> Difference:
    """Compare `second` with `first`, seed by seed. `lent` replaces the unknown deviation of a single seed.

    Raises:
        ValueError: without a pair, or with numbers that are not in pairs.
    """
    if not first or len(first) != len(second):
        raise ValueError(f"first and second must be numbers in pairs, got {len(first)} and {len(second)}")
    return over_seeds([b / a - 1 for a, b in zip(first, second, strict=True)], lent=lent)


def over_seeds(values: Sequence[float], *, lent: Lent | None = None) -> Difference:
    """Compute the mean of one value per seed, and Student's interval.

    One seed with a lent deviation is one draw, not a mean of three: with two degrees of freedom its interval is
    4.3 deviations to either side.
    """
    count, mean = len(values), statistics.mean(values)
    if count > 1:
        lent = Lent(statistics.stdev(values), count - 1)
    if lent is None:
        return Difference(mean, None, count)
    error = lent.deviation / math.sqrt(count)
    half = student(lent.degrees) * error
    return Difference(mean, half, count, error, lent.degrees, by_seeds=half)


def over_trials(found: Sequence[Proportion], other: Sequence[Proportion] = ()) -> Difference:
    """Compute a mean share over seeds, or how much it is above that of `other`, over seeds and trials.

    Every seed is asked the same texts, so the trials of one seed are counted, once (Wilson's interval). A share of
    100 % by all seeds has no deviation over seeds, and yet an interval.
    """
    rates = [one.rate for one in found]
    if other:
        rates = [mine - its.rate for mine, its in zip(rates, other, strict=True)]
    trials = math.hypot(*(_of_trials(arm) for arm in (found, other) if arm))
    seeds = over_seeds(rates)
    if len(rates) == 1:
        return Difference(seeds.mean, trials, 1, over="trials")
    half = math.hypot(seeds.half, trials)
    return Difference(seeds.mean, half, len(rates), by_seeds=seeds.half, over="seeds and trials")


def within(found: Difference, limit: float) -> Verdict:
    """Judge whether the difference is at most `limit` in size: an equivalence test, two-sided."""

    def rule(low: float, high: float) -> str | None:
        if -limit <= low and high <= limit:
            return AGREES
        return DISAGREES if low > limit or high < -limit else None

    return _decided(found, rule)


def above(found: Difference, limit: float = 0.0) -> Verdict:
    """Judge whether the difference is above `limit`."""

    def rule(low: float, high: float) -> str | None:
        if low > limit:
            return AGREES
        return DISAGREES if high < limit else None

    return _decided(found, rule)


def below(found: Difference, limit: float = 0.0) -> Verdict:
    """Judge whether the difference is below `limit`."""

    def rule(low: float, high: float) -> str | None:
        if high < limit:
            return AGREES
        return DISAGREES if low > limit else None

    return _decided(found, rule)


def kind(verdict: Verdict) -> Verdict:
    """Return a verdict without its reason: agrees, disagrees or cannot tell."""
    return next(word for word in (AGREES, DISAGREES, CANNOT_TELL) if verdict.startswith(word))


@dataclass(frozen=True)
class Claim:
    """A statement, its verdict, and the numbers behind it."""

    statement: str
    verdict: Verdict
    because: str


def _decided(found: Difference, rule: Callable[[float, float], str | None]) -> Verdict:
    word = rule(*found.interval)
    if word is None:
        return f"{CANNOT_TELL} {_reason(found, rule)}"
    return word if found.seeds > 1 else f"{word} with one seed"


def _reason(found: Difference, rule: Callable[[float, float], str | None]) -> str:
    """Name what is too few: seeds where the documents alone would decide, documents where the seeds would."""
    seeds = f"with {NUMBERS.get(found.seeds, found.seeds)} seed{'s' * (found.seeds > 1)}"
    if not found.documents or found.seeds == 1:
        return seeds
    by_seeds, by_documents = (rule(*_around(found.mean, half)) for half in (found.by_seeds, found.by_documents))
    documents = f"on {found.documents} documents"
    if by_seeds is None:
        return seeds if by_documents else f"{seeds} {documents}"
    return documents if by_documents is None else f"{seeds} {documents}"


def _around(mean: float, half: float | None) -> tuple[float, float]:
    half = math.inf if half is None else half
    return mean - half, mean + half


def _of_trials(found: Sequence[Proportion]) -> float:
    """Half the width of Wilson's interval of the mean rate, with the trials of one seed."""
    trials = min(one.trials for one in found)
    mean = statistics.mean(one.rate for one in found)
    low, high = Proportion(round(mean * trials), trials).interval
    return max(mean - low, high - mean)
