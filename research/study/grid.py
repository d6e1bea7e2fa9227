"""Many rows: find the missing ones, estimate their time, and compute several at once, each in its own process.

One thread a run and a run a core are faster than all cores on one run, and make a row depend on one thread only.
"""

from __future__ import annotations

import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from longlora_edu.runs.progress import Progress, Silent

from .inputs import Inputs
from .locks import save_settings, work_folder
from .metrics import tokens_of
from .part import PROFILES
from .row import read_record, record_path
from .spec import Run, Settings, settings_from

PROBE_SECONDS = 5.0
TAKEN = 75  # a row's exit status when another process computes it: "temporary failure" of sysexits.h
TRAINED_CONTEXTS = {profile.base: profile.trained for profile in PROFILES.values()}  # for a budget that loads no model


@dataclass(frozen=True)
class GridPlan:
    """The rows of a grid, each once and in order: those recorded already, and those still to compute."""

    done: dict[str, Settings]
    missing: dict[str, Settings]

    @property
    def steps(self) -> int:
        """Optimiser steps still to make."""
        return sum(work.steps for work in work_of(self.missing.values()))


def make_plan(rows: Sequence[Settings], inputs: Inputs, folder: Path) -> GridPlan:
    """Split `rows` into those recorded in `folder` and those missing.

    Raises:
        ValueError: naming the file, for a record that is damaged.
    """
    done, missing = {}, {}
    for settings in rows:
        key = inputs.key(settings)
        path = record_path(folder, key)
        if path.exists():
            read_record(path)
        (done if path.exists() else missing)[key] = settings
    return GridPlan(done, missing)


@dataclass(frozen=True)
class Work:
    """Amount of work in a row: optimiser steps, and bytes read; training bytes count three times (backward twice)."""

    steps: int
    read: int


def work_of(rows: Iterable[Settings]) -> list[Work]:
    """Count the work of each row. Starting models that rows share are counted once, for the first of them."""
    begun: set[Run] = set()
    return [_work(settings, begun) for settings in rows]


def _work(settings: Settings, begun: set[Run]) -> Work:
    if not isinstance(settings, Run):
        return Work(settings.steps, settings.steps * settings.batch * settings.seq_len)
    trained, start = [settings], settings.start
    while start is not None and start not in begun:
        trained.append(start)
        begun.add(start)
        start = start.start
    measuring = tokens_of(settings, TRAINED_CONTEXTS.get(settings.base, min(TRAINED_CONTEXTS.values())))
    training = sum(3 * run.steps * run.batch * run.window for run in trained)
    return Work(sum(run.steps for run in trained), training + measuring)


def seconds_a_byte(records: Sequence[dict]) -> dict[tuple, float]:
    """Compute recorded runs' seconds per byte of their `Work`: medians by base, device, target and attention.

    There are those by base, device and target too, and by base and device: for runs that none is quite like.
    Seconds of the processor: a run that shared its core, or was paused, took longer on the clock. Runs that begin
    with another are left out: which of them computed it is not recorded.
    """
    found: dict[tuple, list[float]] = {}
    for record in records:
        settings = settings_from(record["kind"], record["config"])
        if isinstance(settings, Run) and settings.start is None:
            cost = record["cost"]
            clock = cost["training_seconds"] + cost["measuring_seconds"]
            (work,) = work_of([settings])
            value = cost.get("cpu_seconds", clock) / work.read
            for kind in _likeness(settings, cost["device"]):
                found.setdefault(kind, []).append(value)
    return {kind: statistics.median(values) for kind, values in found.items()}


def estimated_seconds(rows: Iterable[Settings], speeds: dict[tuple, float], device: str = "cpu") -> float | None:
    """Estimate the seconds of rows in one process by the most similar recorded runs; None if a row has none."""
    rows, total = list(rows), 0.0
    for settings, work in zip(rows, work_of(rows), strict=True):
        kind = next((kind for kind in _likeness(settings, device) if kind in speeds), None)
        if isinstance(settings, Run) and kind is None:
            return None
        total += speeds[kind] * work.read if kind else PROBE_SECONDS
    return total


def _likeness(run: Settings, device: str) -> list[tuple]:
    """Lookup keys for speed estimates, most specific first; they never mix bases or devices."""
    if not isinstance(run, Run):
        return []
    whole = (run.base, device, run.target, run.attention)
    return [whole, whole[:3], whole[:2]]


def run_grid(
    plan: GridPlan,
    inputs: Inputs,
    folder: Path,
    *,
    jobs: int = 2,
    threads: int = 1,
    resume: bool = False,
    progress: Progress | None = None,
    title: str = "Study",
    on_row: Callable[[dict], str] = lambda record: record["key"],
) -> list[str]:
    """Compute the missing rows, `jobs` at a time; return the keys that failed. Rows of other processes are skipped.

    A row that fails stops no other: its log is in the work folder. Interrupted, it ends the rows that it began;
    finished ones are kept, and with `resume` the others go on from their checkpoints.
    """
    waiting = list(plan.missing.items())
    reads = {key: work.read for key, work in zip(plan.missing, work_of(plan.missing.values()), strict=True)}
    running: dict[subprocess.Popen, str] = {}
    failed: list[str] = []
    with (progress or Silent()).stage(title, sum(reads.values()), "B") as advance, _ending(running):
        while waiting or running:
            while waiting and len(running) < jobs:
                key, settings = waiting.pop(0)
                running[_begin(key, settings, inputs, folder, threads, jobs, resume)] = key
            time.sleep(0.2)
            for process in [process for process in running if process.poll() is not None]:
                key = running.pop(process)
                text = f"{key} is computed elsewhere"
                if process.returncode == 0:
                    for left in ("json", "log"):
                        (work_folder(folder) / f"{key}.{left}").unlink(missing_ok=True)
                    text = on_row(read_record(record_path(folder, key)))
                elif process.returncode != TAKEN:
                    failed.append(key)
                    text = f"{key} failed: {work_folder(folder) / key}.log"
                advance(reads[key], text)
    return failed


def _begin(key: str, settings: Settings, inputs: Inputs, folder: Path, threads: int, jobs: int, resume: bool):
    save_settings(folder, key, settings)
    options = ["--out", folder, "--threads", threads, "--side-by-side", jobs, "--models", inputs.models, "--missing"]
    options += ["--device", inputs.device, *(["--corpus", inputs.source] if inputs.source else [])]
    options += ["--resume"] if resume else []
    command = [sys.executable, "-m", "longlora_edu.cli", "study", "run", key, *map(str, options)]
    with open(work_folder(folder) / f"{key}.log", "ab") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


@contextmanager
def _ending(running: dict):
    """End all worker processes with the grid, whichever signal ends it."""

    def stop(signum, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
