"""Many rows: what is there, what is missing, how long it will take; then two at a time, each a process of its own.

One thread a run and a run a core are faster than all cores on one run, and make a row depend on one thread only.
"""

from __future__ import annotations

import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..progress import Progress, Silent
from .claims import order, work_folder
from .ground import Ground
from .measure import tokens_of
from .part import PROFILES
from .row import read_record, record_path
from .settings import Run, Settings, settings_from

TAKEN = 75  # a row's exit status when another process computes it: "temporary failure" of sysexits.h
TRAINED = {profile.base: profile.trained for profile in PROFILES.values()}  # for a budget that loads no model


@dataclass(frozen=True)
class Plan:
    """The rows of a grid, each once and in order: those recorded already, and those to be computed."""

    done: dict[str, Settings]
    missing: dict[str, Settings]

    @property
    def steps(self) -> int:
        """Optimiser steps that are to be made."""
        return sum(steps_of(settings) for settings in self.missing.values())


def make_plan(rows: Sequence[Settings], ground: Ground, folder: Path) -> Plan:
    """What of `rows` is recorded in `folder`.

    Raises:
        ValueError: naming the file, for a record that is damaged.
    """
    done, missing = {}, {}
    for settings in rows:
        key = ground.key(settings)
        path = record_path(folder, key)
        if path.exists():
            read_record(path)
        (done if path.exists() else missing)[key] = settings
    return Plan(done, missing)


def steps_of(settings: Settings) -> int:
    """Optimiser steps of a run and of what it starts with."""
    start = getattr(settings, "start", None)
    return settings.steps + (steps_of(start) if start else 0)


def bytes_of(settings: Settings) -> int:
    """Bytes that a run reads, in training three times (forward, and backward twice as long)."""
    if not isinstance(settings, Run):
        return settings.steps * settings.batch * settings.seq_len
    training = 3 * settings.steps * settings.batch * settings.window
    measuring = tokens_of(settings, TRAINED.get(settings.base, min(TRAINED.values())))
    return training + measuring + (bytes_of(settings.start) if settings.start else 0)


def seconds_a_byte(records: Sequence[dict]) -> dict[tuple, float]:
    """How long recorded runs took for a byte of `bytes_of`: medians by base, device, target and attention.

    There are those by base, device and target too, and by base and device: for runs that none is quite like.
    Seconds of the processor: a run that shared its core, or was paused, took longer on the clock.
    """
    found: dict[tuple, list[float]] = {}
    for record in records:
        settings = settings_from(record["kind"], record["config"])
        if isinstance(settings, Run):
            cost = record["cost"]
            clock = cost["training_seconds"] + cost["measuring_seconds"]
            value = cost.get("cpu_seconds", clock) / bytes_of(settings)
            for kind in _likeness(settings, cost["device"]):
                found.setdefault(kind, []).append(value)
    return {kind: statistics.median(values) for kind, values in found.items()}


def estimated_seconds(settings: Settings, speeds: dict[tuple, float], device: str = "cpu") -> float | None:
    """How long a run will take on one process, going by those most like it; None where none is."""
    if not isinstance(settings, Run):
        return 5.0
    for kind in _likeness(settings, device):
        if kind in speeds:
            return speeds[kind] * bytes_of(settings)
    return None


def _likeness(run: Run, device: str) -> list[tuple]:
    """What runs that take as long a byte share, the most first. A base or a device says nothing of another."""
    whole = (run.base, device, run.target, run.attention)
    return [whole, whole[:3], whole[:2]]


def run_grid(
    plan: Plan,
    ground: Ground,
    folder: Path,
    *,
    jobs: int = 2,
    threads: int = 1,
    resume: bool = False,
    progress: Progress | None = None,
    title: str = "Study",
    on_row: Callable[[dict], str] = lambda record: record["key"],
) -> list[str]:
    """Compute the missing rows, `jobs` at a time; returns the keys that failed. Those taken elsewhere are left to it.

    A row that fails stops no other: its log is in the work folder. Interrupted, it ends the rows that it began;
    finished ones are kept, and with `resume` the others go on from their checkpoints.
    """
    waiting = list(plan.missing.items())
    running: dict[subprocess.Popen, tuple[str, Settings]] = {}
    failed: list[str] = []
    total = sum(bytes_of(settings) for settings in plan.missing.values())
    with (progress or Silent()).stage(title, total, "B") as advance, _ending(running):
        while waiting or running:
            while waiting and len(running) < jobs:
                key, settings = waiting.pop(0)
                running[_begin(key, settings, ground, folder, threads, jobs, resume)] = key, settings
            time.sleep(0.2)
            for process in [process for process in running if process.poll() is not None]:
                key, settings = running.pop(process)
                text = f"{key} is computed elsewhere"
                if process.returncode == 0:
                    for left in ("json", "log"):
                        (work_folder(folder) / f"{key}.{left}").unlink(missing_ok=True)
                    text = on_row(read_record(record_path(folder, key)))
                elif process.returncode != TAKEN:
                    failed.append(key)
                    text = f"{key} failed: {work_folder(folder) / key}.log"
                advance(bytes_of(settings), text)
    return failed


def _begin(key: str, settings: Settings, ground: Ground, folder: Path, threads: int, jobs: int, resume: bool):
    order(folder, key, settings)
    options = ["--out", folder, "--threads", threads, "--side-by-side", jobs, "--models", ground.models, "--missing"]
    options += ["--device", ground.device, *(["--corpus", ground.source] if ground.source else [])]
    options += ["--resume"] if resume else []
    command = [sys.executable, "-m", "longlora_edu.cli", "study", "run", key, *map(str, options)]
    with open(work_folder(folder) / f"{key}.log", "ab") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


@contextmanager
def _ending(running: dict):
    """No row outlives its grid, whichever signal ends it."""

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
