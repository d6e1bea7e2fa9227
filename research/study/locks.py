"""File locks on rows, so that two grids never compute the same one at the same time.

The operating system gives a lock back when its process ends, however it ends: no claim is ever stale.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from longlora_edu.runs.records import read_json, write_json

from .spec import Settings, config_of, kind_of, settings_from


def work_folder(folder: Path) -> Path:
    """Return the folder of unfinished runs: locks, settings, logs and checkpoints, all temporary."""
    return Path(folder) / ".work"


@contextmanager
def locked(folder: Path, key: str) -> Iterator[bool]:
    """Hold the lock of a key inside the `with` block; gives False if another process holds it."""
    work = work_folder(folder)
    work.mkdir(parents=True, exist_ok=True)
    lock = FileLock(work / f"{key}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def save_settings(folder: Path, key: str, settings: Settings) -> None:
    """Save a run's settings for its worker process."""
    write_json(work_folder(folder) / f"{key}.json", {"kind": kind_of(settings), "config": config_of(settings)})


def load_settings(folder: Path, key: str) -> Settings | None:
    """Load the settings that `save_settings` saved, if any."""
    path = work_folder(folder) / f"{key}.json"
    if not path.is_file():
        return None
    found = read_json(path)
    return settings_from(found["kind"], found["config"])
