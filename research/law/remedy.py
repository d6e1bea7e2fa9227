"""The remedy's grid: S² whose positions leap, against S², short windows that leap, and full attention, at equal text.

Text is measured by runs of the studies (base of 256 bytes, target 2,048), whose rows without leaps are recorded
already; references by rows of the law at log-uniform distances.
"""

from __future__ import annotations

from collections.abc import Iterator

from longlora_edu.geometry import S2Geometry

from ..study.part import PROFILES
from ..study.questions.q01_attention.closing import ended_full
from ..study.spec import Run
from .recall import Recall, row_of

STEPS = (60, 240)
SEEDS = 3
LAST = 8  # the last eighth of the steps with full attention, at a quarter of the rate
WINDOW = 512
LEAPS = {
    "S², leaps of probability ½": {"leap": 0.5},
    "S², leaps of probability ¼": {"leap": 0.25},
    "S², log-uniform leaps of probability ½": {"leap": 0.5, "draw": "log"},
}
ENDED_FULL = "S², leaps of probability ½, the last eighth full"
WINDOWS = "full attention, windows of 512 that leap"
WINDOWS_QUARTER = f"{WINDOWS}, the last quarter full"
# Planned when the outcome of the other arms was known: each way of saving pairs, then full attention, at equal pairs.
QUARTER = {
    "S², the last quarter full": {},
    "S², leaps of probability ½, the last quarter full": {"leap": 0.5},
    WINDOWS_QUARTER: {"attention": "full", "length": WINDOW, "skip": True},
}


def text_arms(steps: int) -> dict[str, tuple[Run, ...]]:
    """Set up the arms that are measured on text, a run for each seed."""
    run, seeds = PROFILES["cpu"].run, range(SEEDS)
    extra = {"extra": ("pattern",)} if steps == STEPS[1] else {"extra": ("lengths", "pattern")}
    arms = {
        "S²": tuple(run(8, steps=steps, seed=seed, **extra) for seed in seeds),
        "full attention": tuple(run(8, steps=steps, seed=seed, attention="full", **extra) for seed in seeds),
        WINDOWS: tuple(run(8, steps=steps, seed=s, attention="full", length=WINDOW, skip=True) for s in seeds),
    }
    arms |= {name: tuple(run(8, steps=steps, seed=seed, **leap) for seed in seeds) for name, leap in LEAPS.items()}
    begun = [run(8, steps=steps - steps // LAST, seed=seed, leap=0.5) for seed in seeds]
    ending = {"attention": "full", "steps": steps // LAST, "rate": 5e-4}
    arms[ENDED_FULL] = tuple(run(8, seed=seed, start=start, **ending) for seed, start in zip(seeds, begun, strict=True))
    if steps == STEPS[1]:
        for name, begin in QUARTER.items():
            last = {"begin": begin, "extra": () if begin else ("pattern",)}  # as the study has the one without leaps
            arms[name] = tuple(ended_full(PROFILES["cpu"], steps, seed, **last) for seed in seeds)
    return arms


def share_of_pairs(run: Run) -> float:
    """Compute the pairs that a run and the runs before it train on, as a share of full attention's at equal text."""
    whole = S2Geometry(run.target, run.target, 1, shift=0).pairs() / run.target
    seen, steps, stage = 0.0, 0, run
    while stage is not None:
        if stage.attention == "full":
            geometry = S2Geometry(stage.window, stage.window, 1, shift=0)
        else:
            geometry = S2Geometry(stage.window, stage.group_size, 2)
        seen += stage.steps * geometry.pairs() / geometry.num_heads / stage.window
        steps, stage = steps + stage.steps, stage.start
    return seen / (steps * whole)


def reference_arms() -> dict[str, tuple[Recall, ...]]:
    """Set up the arms that are measured on named references, a row for each seed."""
    arms = {
        "S²": {},
        "full attention": {"arm": "full"},
        WINDOWS: {"arm": "windows"},
        **LEAPS,
    }
    return {
        name: tuple(row_of("references", seed=seed, **{"arm": "s2", "layout": "log"} | fields) for seed in range(SEEDS))
        for name, fields in arms.items()
    }


def remedy_rows() -> Iterator[Run | Recall]:
    """List every row of the remedy; those that the studies have recorded are not computed again."""
    for steps in STEPS:
        for runs in text_arms(steps).values():
            yield from runs
    for rows in reference_arms().values():
        yield from rows
