"""Helpers that format study results."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from longlora_edu.runs.records import Proportion

from .spec import Run

ARM_NAMES = {
    "full": "full",
    "short": "short: no shift",
    "s2": "S²",
    "wrap": "S², wrapped",
    "masked": "S², masked ends",
    "shifted": "only shifted",
    "layers": "S² by layers",
    "window": "sliding window",
    "dilated": "dilated",
    "strided": "strided",
    "blocks": "block sparse",
}
INTERVAL = "± is half of a 95 % interval over documents and seeds."
LEVELS = "Mean and, in brackets, the standard deviation over seeds."
AGAINST_FULL = f"{LEVELS} *Against full* is compared seed by seed; {INTERVAL}"
ONE_SEED = "One seed; its spread over seeds is that of S² against full attention at ×8."
# Table 1 of the paper, PG19 validation, of a model trained at 4,096: perplexity (full, S²) by factor.
# Its row of short attention has no second source.
PAPER_TABLE_1 = {2: (8.02, 8.04), 4: (8.05, 8.03), 8: (8.04, 8.08)}
Arms = Mapping[str, Sequence[Run]]


def along(lines: Sequence[Sequence[float]], target: int) -> dict[float, list[float]]:
    """Turn numbers by position, a line per seed, into a series: at each position the values of all seeds."""
    points = len(lines[0])
    return {(place + 0.5) * target / points: [float(line[place]) for line in lines] for place in range(points)}


def pooled(found: Iterable[dict]) -> Proportion:
    """Add up recorded proportions."""
    first, *others = (Proportion(one["successes"], one["trials"]) for one in found)
    return sum(others, first)


def with_spread(values: Sequence[float], digits: int = 3) -> str:
    """Format the mean, and the standard deviation over seeds in brackets where there are several: `1.086 (0.004)`."""
    text = f"{statistics.mean(values):.{digits}f}"
    return f"{text} ({statistics.stdev(values):.{digits}f})" if len(values) > 1 else text


def rate(found: Proportion) -> str:
    """Format a proportion, as `97 % of 600`."""
    return f"{100 * found.rate:.0f}\N{NO-BREAK SPACE}% of {found.trials}"


def seeds_note(arms: Mapping[Any, Sequence[Run]]) -> str:
    """Return the note under a table: what ± and the brackets mean, for one seed or for several."""
    seeds = len(next(iter(arms.values())))
    return f"{LEVELS} {INTERVAL}" if seeds > 1 else f"{ONE_SEED} {INTERVAL}"


def thousands(number: int) -> str:
    """Format an integer, as `2,048`."""
    return f"{number:,}"


def as_loss(first: float, second: float) -> float:
    """Turn two perplexities into a relative change of the loss, as bits/byte are: ln b / ln a - 1."""
    return math.log(second) / math.log(first) - 1


def paper_gap(factor: int) -> str:
    """Quote the paper's S² against full attention at this factor, to append to a sentence; empty if it has none."""
    if factor not in PAPER_TABLE_1:
        return ""
    full, sparse = PAPER_TABLE_1[factor]
    change = 100 * as_loss(full, sparse)
    return f"; the paper's table 1 at {factor} times: {full} to {sparse} in perplexity, {change:+.1f} % of the loss"
