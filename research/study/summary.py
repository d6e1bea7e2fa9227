"""Helpers that format study results."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from longlora_edu.runs.records import Proportion

from .part import Rows
from .spec import Run
from .verdict import Difference, difference

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
AGAINST_FULL = "Mean ± standard deviation over seeds; *against full* seed by seed, with a 95 % interval."
# Table 1 of the paper, PG19 validation, of a model trained at 4,096: perplexity (full, S²) by factor.
# Its row of short attention has no second source.
PAPER_TABLE_1 = {2: (8.02, 8.04), 4: (8.05, 8.03), 8: (8.04, 8.08)}
Arms = Mapping[str, Sequence[Run]]


def bits(rows: Rows, runs: Iterable[Run], length: int | None = None) -> list[float]:
    """Return each run's dense bits/byte, at its target unless another length is given."""
    return [rows[run]["bits_per_byte"][str(length or run.target)] for run in runs]


def bits_as_trained(rows: Rows, runs: Iterable[Run]) -> list[float]:
    """Return each run's bits/byte at its target under its training attention."""
    return [rows[run]["as_trained"]["bits_per_byte"] for run in runs]


def whole_window(rows: Rows, runs: Iterable[Run]) -> list[float]:
    """Return each run's dense bits/byte over all bytes of its windows but the first, not only the last ones."""
    return [rows[run]["bits_per_byte_all_positions"] for run in runs]


def by_position(rows: Rows, run: Run, attention: Literal["dense", "as trained"] = "dense") -> list[float]:
    """Return bits/byte by position at the target, each a mean over neighbours."""
    return (rows[run] if attention == "dense" else rows[run]["as_trained"])["bits_per_byte_by_position"]


def along(lines: Sequence[Sequence[float]], target: int) -> dict[float, list[float]]:
    """Turn numbers by position, a line per seed, into a series: at each position the values of all seeds."""
    points = len(lines[0])
    return {(place + 0.5) * target / points: [float(line[place]) for line in lines] for place in range(points)}


def passkeys(rows: Rows, runs: Iterable[Run]) -> Proportion:
    """Count passkeys found at the target, over all depths and runs."""
    return pooled(rows[run]["passkey"] for run in runs)


def pooled(found: Iterable[dict]) -> Proportion:
    """Add up recorded proportions."""
    first, *others = (Proportion(one["successes"], one["trials"]) for one in found)
    return sum(others, first)


def with_spread(values: Sequence[float], digits: int = 3) -> str:
    """Format the mean, with the standard deviation over seeds where there are several."""
    text = f"{statistics.mean(values):.{digits}f}"
    return f"{text} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else text


def rate(found: Proportion) -> str:
    """Format a proportion, as `97 % of 600`."""
    return f"{100 * found.rate:.0f}\N{NO-BREAK SPACE}% of {found.trials}"


def thousands(number: int) -> str:
    """Format an integer, as `2,048`."""
    return f"{number:,}"


def worse_than(rows: Rows, runs: Sequence[Run], other: Sequence[Run], *, spread: float | None = None) -> Difference:
    """Compare dense bits/byte at the target with those of `other`, seed by seed."""
    return difference(bits(rows, other), bits(rows, runs), spread=spread)


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


def seed_spread(rows: Rows, first: Sequence[Run], second: Sequence[Run]) -> float | None:
    """Compute the standard deviation over seeds of a relative difference, for studies with one seed."""
    if len(first) < 2 or any(run not in rows for run in (*first, *second)):
        return None
    pairs = zip(bits(rows, first), bits(rows, second), strict=True)
    return statistics.stdev([b / a - 1 for a, b in pairs])
