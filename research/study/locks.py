"""Two grids never compute the same run at the same time: whoever computes it holds a lock on its key.

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
    """Where unfinished runs keep their locks, settings, logs and checkpoints: nothing that lasts."""
    return Path(folder) / ".work"


@contextmanager
def claimed(folder: Path, key: str) -> Iterator[bool]:
    """Hold the lock of a key meanwhile; gives whether it was free."""
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


def order(folder: Path, key: str, settings: Settings) -> None:
    """Leave word of what a key means for the process that will compute it."""
    write_json(work_folder(folder) / f"{key}.json", {"kind": kind_of(settings), "config": config_of(settings)})


def ordered(folder: Path, key: str) -> Settings | None:
    """What `order` left, if anything."""
    path = work_folder(folder) / f"{key}.json"
    if not path.is_file():
        return None
    found = read_json(path)
    return settings_from(found["kind"], found["config"])
