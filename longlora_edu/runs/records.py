"""What experiments leave behind: JSON files that say what was run, where, with which versions.

A file appears whole or not at all, and a rate never stands without its uncertainty.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

SETTINGS_FILE = "settings.json"
PACKAGES = ("longlora_edu", "numpy", "torch", "transformers", "peft", "safetensors")


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` to a temporary file beside `path`, then rename: a reader sees the old or the new, whole.

    Raises:
        OSError: with the path in its message, when the folder cannot be written or the disk is full.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = file.name
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes files private; results are for sharing
        os.replace(temporary, path)
    except BaseException as error:  # Ctrl-C too must leave no temporary file
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, f"cannot write {path}: {error.strerror}") from error
        raise


def write_json(path: Path, value: object) -> None:
    """Write records, mappings and lists as indented JSON. A NaN is refused: JSON has no word for it."""
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False, default=_plain)
    replace_file(path, (text + "\n").encode())


def as_json(value: object) -> Any:
    """`value` as `write_json` and `read_json` would give it back: keys are text, records are mappings."""
    return json.loads(json.dumps(value, allow_nan=False, default=_plain))


def read_json(path: Path):
    """The value in a JSON file.

    Raises:
        ValueError: naming the file, line and column where it is no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} must be JSON, got {error.msg} at line {error.lineno} column {error.colno}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} must be JSON, got bytes that are no UTF-8") from None


def started_settings(folder: Path) -> dict | None:
    """What the run in `folder` was started with; None where no run was started.

    Raises:
        ValueError: when the file of that name is not one of `claim_folder`.
    """
    path = Path(folder) / SETTINGS_FILE
    if not path.is_file():
        return None
    stated = read_json(path)
    if not (isinstance(stated, dict) and isinstance(stated.get("longlora_edu"), dict)):
        raise ValueError(f"{path} must be of a run of longlora_edu, got another file: choose another folder with --out")
    return stated["longlora_edu"]


def claim_folder(folder: Path, settings: dict, *, result: str, resume: bool) -> bool:
    """Make `folder` the place of the run with these settings. Is it finished, its last file `result` there?

    A run begins in a new or empty folder. `resume` goes on with the run that is there, if any.

    Raises:
        ValueError: for a folder that holds other files, a run without `resume`, or a run with other settings,
            naming those.
    """
    folder = Path(folder)
    then, now = started_settings(folder), as_json(settings)
    if then is None:
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{folder} must be a folder, got a file: choose another with --out")
        if folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise ValueError(f"{folder} must be empty or new, got a folder with other files: choose another with --out")
        write_json(folder / SETTINGS_FILE, {"longlora_edu": now})
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
    if changed := [name for name in now | then if then.get(name) != now.get(name)]:
        changes = ", ".join(f"{name} {then.get(name)} then, {now.get(name)} now" for name in changed)
        raise ValueError(f"{folder} must be resumed with the settings it was started with, got {changes}")
    return finished


def quoted(word: str, *, windows: bool = sys.platform == "win32") -> str:
    """One word of a command as the user's shell wants it: cmd knows no single quotes."""
    return subprocess.list2cmdline([word]) if windows else shlex.quote(word)


@dataclass(frozen=True)
class Proportion:
    """Successes out of trials, with the Wilson 95 % interval: honest near 0 and 1, where passkeys live."""

    successes: int
    trials: int

    def __post_init__(self) -> None:
        if not 0 <= self.successes <= self.trials or self.trials == 0:
            raise ValueError(f"successes must be from 0 to trials > 0, got {self.successes} of {self.trials}")

    @property
    def rate(self) -> float:
        return self.successes / self.trials

    @property
    def interval(self) -> tuple[float, float]:
        z, n, p = 1.959964, self.trials, self.rate
        centre = p + z * z / (2 * n)
        spread = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        scale = 1 + z * z / n
        return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)

    def __add__(self, other: Proportion) -> Proportion:
        return Proportion(self.successes + other.successes, self.trials + other.trials)

    def as_json(self) -> dict:
        return {"successes": self.successes, "trials": self.trials, "rate": self.rate, "interval_95": self.interval}


@dataclass(frozen=True)
class Provenance:
    """Where a number comes from: command, machine, versions, date. Every record carries one."""

    command: str
    date: str
    machine: dict
    versions: dict


def provenance(*, threads: int | None = None, command: str | None = None) -> Provenance:
    """The provenance of a run that happens now, in this process."""
    return Provenance(
        command=command or " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine={
            "processor": _processor(),
            "architecture": platform.machine(),
            "cores": os.cpu_count(),
            "threads": threads,
            "system": platform.system(),
        },
        versions={"python": platform.python_version()} | {name: _version(name) for name in PACKAGES if _version(name)},
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _plain(value):
    if hasattr(value, "as_json"):
        return value.as_json()
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Path):
        return value.as_posix()
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return value.tolist()
    raise ValueError(f"a record must be made of numbers, text, lists and records, got {type(value).__name__}")


def peak_memory() -> int:
    """The most bytes this process has held in memory so far (resident set)."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would count what the parent held before exec
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import psutil

    info = psutil.Process().memory_info()
    return getattr(info, "peak_wset", info.rss)


def recorded(name: str) -> dict:
    """The record `name`, as the command that it names wrote it.

    Raises:
        ValueError: naming the records there are.
    """
    folder = Path(str(files("longlora_edu"))) / "assets" / "results"
    path = folder / f"{name}.json"
    if not path.exists():
        names = ", ".join(sorted(path.stem for path in folder.glob("*.json")))
        raise ValueError(f"name must be one of {names}, got {name!r}")
    return read_json(path)


def recorded_line(name: str) -> str:
    """Where the numbers of a record come from, for the line under its picture."""
    record = recorded(name)
    machine, torch = record["machine"], record["versions"]["torch"]
    threads = f", {machine['threads']} threads" if machine.get("threads") else ""
    return (
        f"Recorded on {machine['processor']}{threads}, torch {torch}, {record['date'][:10]}, by `{record['command']}`"
    )
