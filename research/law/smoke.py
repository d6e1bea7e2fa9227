"""Seconds of a row before any is recorded: a smoke row of each task, scaled by its steps and questions."""

from __future__ import annotations

from ..study.inputs import BENCHMARKS
from .recall import Recall

SMOKE = BENCHMARKS / "results" / "law_smoke.json"


def smoke_seconds(row: Recall) -> float:
    """Estimate the seconds of the processor that a row takes: training by steps, measuring by questions.

    Raises:
        ValueError: for a task without a smoke row.
    """
    from longlora_edu.runs.records import read_json

    found = read_json(SMOKE)["rows"] if SMOKE.exists() else {}
    if row.task not in found:
        raise ValueError(f"{SMOKE} must hold a smoke row of {row.task}, got none")
    smoke = found[row.task]
    training = smoke["training_seconds"] * row.steps / smoke["steps"]
    return training + smoke["measuring_seconds"] * row.trials / smoke["trials"]
