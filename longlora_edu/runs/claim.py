"""The folder of a run: which settings and inputs it belongs to, and one process at a time in it.

A run writes its settings first and its result last. In between it holds a lock, which the operating system takes back
when the process ends, however it ends: no lock is ever stale. Its empty file stays, because deleting it would let two
processes lock two files of one name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from .records import as_json, read_json, remove_leftovers, write_json
from .validate import check_text

SETTINGS_FILE, LOCK_FILE, OWNER_FILE = "settings.json", ".lock", ".process"
INPUTS = "inputs"  # among the settings: hashes of what a run reads


def started_settings(folder: Path) -> dict | None:
    """Return the settings with which the run in `folder` was started; None where no run was started.

    Raises:
        ValueError: when the file of that name is not one of `claimed_folder`.
    """
    path = Path(folder) / SETTINGS_FILE
    if not path.is_file():
        return None
    stated = read_json(path)
    if not (isinstance(stated, dict) and isinstance(stated.get("longlora_edu"), dict)):
        raise ValueError(f"{path} must be of a run of longlora_edu, got another file: choose another folder with --out")
    return stated["longlora_edu"]


def check_folder(
    folder: Path, settings: dict, *, result: str, resume: bool, inputs: Mapping[str, str] | None = None
) -> bool:
    """Return whether `folder` holds the finished run of these settings, its last file `result`; writes nothing.

    A run begins in a new or empty folder. `resume` goes on with the run that is there, if any. Without `inputs`, their
    hashes are not compared: to look into a folder before anything is loaded.

    Raises:
        ValueError: for a folder that holds other files, a run without `resume`, or a run with other settings or inputs,
            naming those.
    """
    folder = Path(folder)
    check_text("folder", str(folder))
    then, now = started_settings(folder), as_json(settings)
    if then is None:
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{folder} must be a folder, got a file: choose another with --out")
        names = {path.name for path in folder.iterdir()} if folder.exists() else set()
        if SETTINGS_FILE in names:  # another process has begun since the line above
            return check_folder(folder, settings, result=result, resume=resume, inputs=inputs)
        if any(not name.startswith(".") for name in names):
            raise ValueError(f"{folder} must be empty or new, got a folder with other files: choose another with --out")
        return False
    finished = (folder / result).exists()
    if not resume and finished:
        raise ValueError(
            f"{folder} must not hold a finished run, got one: choose another folder with --out, "
            "or see its result again with --resume"
        )
    if not resume:
        raise ValueError(
            f"{folder} must be a new folder, got one with an unfinished run: go on with --resume, "
            "or choose another with --out"
        )
    hashes = then.pop(INPUTS, None)
    _check_same(folder, "settings", then, now)
    if inputs is not None and isinstance(hashes, dict):
        _check_same(folder, "inputs", hashes, as_json(inputs))
    elif inputs is not None and not finished:
        raise ValueError(
            f"{folder} must hold the hashes of what its run reads, got a run of an older version: finish it with that "
            "version, or choose another folder with --out"
        )
    return finished


@contextmanager
def claimed_folder(
    folder: Path,
    settings: dict,
    *,
    result: str,
    resume: bool,
    inputs: Mapping[str, str],
    scratch: Sequence[str] = (),
) -> Iterator[bool]:
    """Make `folder` the place of the run with these settings and hold it to the end of the block.

    Yields whether the run is finished. What a killed process left behind is deleted: temporary files, and of a
    finished run the files named in `scratch`, which it would have deleted next.

    Raises:
        ValueError: by `check_folder`, and while another process runs there, naming it.
        OSError: with a path in its message, when the folder cannot be written.
    """
    folder = Path(folder)
    check_folder(folder, settings, result=result, resume=resume, inputs=inputs)  # refused folders stay as they are
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK_FILE)
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"{folder} must have one run at a time, and is being run by {_owner(folder)}: wait for its end, "
            "or choose another folder with --out"
        ) from None
    except OSError as error:
        raise OSError(error.errno, f"cannot write {folder / SETTINGS_FILE}: {error.strerror}") from error
    try:
        # Another process may have begun, or ended, since the first look.
        finished = check_folder(folder, settings, result=result, resume=resume, inputs=inputs)
        (folder / OWNER_FILE).write_text(str(os.getpid()))
        if resume:
            remove_leftovers(folder)
        if finished:
            for name in scratch:
                (folder / name).unlink(missing_ok=True)
        elif started_settings(folder) is None:
            write_json(folder / SETTINGS_FILE, {"longlora_edu": {**as_json(settings), INPUTS: as_json(inputs)}})
        yield finished
    finally:
        (folder / OWNER_FILE).unlink(missing_ok=True)
        lock.release()


def _check_same(folder: Path, what: str, then: dict, now: dict) -> None:
    if changed := [name for name in now | then if then.get(name) != now.get(name)]:
        changes = ", ".join(f"{name} {then.get(name)} then, {now.get(name)} now" for name in changed)
        raise ValueError(f"{folder} must be resumed with the {what} it was started with, got {changes}")


def _owner(folder: Path) -> str:
    try:
        return f"process {int((folder / OWNER_FILE).read_text())}"
    except (OSError, ValueError):
        return "another process"
