"""After the test: keys at uniform distances, where the prediction failed, trained for more steps.

These rows were planned when the outcome was known. They ask one question: did training end too early, or is what the
model sees too rare to learn from? They belong to no test.
"""

from __future__ import annotations

import statistics

from .cells import SEEDS
from .law_page import in_percent
from .law_verdict import Records
from .recall import Recall, row_of

STEPS = (200, 800, 3200)
ARMS = {
    "full attention": {"arm": "full"},
    "groups without a shift": {"arm": "short"},
    "S²": {"arm": "s2"},
    "S², leaps of probability ½": {"arm": "s2", "leap": 0.5},
}


def onset_arms(steps: int) -> dict[str, tuple[Recall, ...]]:
    """Set up the arms at a number of steps, a row for each seed."""
    return {
        name: tuple(row_of("keys", layout="uniform", steps=steps, seed=seed, **fields) for seed in SEEDS)
        for name, fields in ARMS.items()
    }


def onset_rows() -> list[Recall]:
    """List every row; those of the test itself are among them and are not computed again."""
    return [row for steps in STEPS for rows in onset_arms(steps).values() for row in rows]


def onset_tables(records: Records) -> str:
    """Write dense recall by arm and steps, and by distance after most steps; an arm with a missing row is left out."""
    by_steps = [
        "| training | " + " | ".join(f"{steps:,} steps" for steps in STEPS) + " |",
        "|---|" + "---|" * len(STEPS),
    ]
    kinds = row_of("keys").classes
    by_class = [f"| {STEPS[-1]:,} steps | {' | '.join(kinds)} |", "|---|" + "---|" * len(kinds)]
    for name in ARMS:
        cells = []
        for steps in STEPS:
            rows = onset_arms(steps)[name]
            found = [_rates(row, records) for row in rows if row in records]
            complete = len(found) == len(rows)
            cells.append(", ".join(in_percent(statistics.mean(rates.values())) for rates in found) if complete else "–")
            if complete and steps == STEPS[-1]:
                means = (statistics.mean(rates[kind] for rates in found) for kind in kinds)
                by_class.append(f"| {name} | {' | '.join(map(in_percent, means))} |")
        by_steps.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([
        "Keys at uniform distances, from scratch, dense use, mean of all distances, one number a seed; a guess finds "
        "12 %. These rows were planned when the outcome was known and belong to no test.\n",
        *by_steps,
        *(["", *by_class] if len(by_class) > 2 else []),
    ])  # fmt: skip


def _rates(row: Recall, records: Records) -> dict[str, float]:
    return {kind: one["rate"] for kind, one in records[row]["results"]["recall"]["dense"].items()}
