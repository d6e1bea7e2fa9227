"""Records of experiments: JSON files that say what was run, where, with which versions.

A file appears whole or not at all, and a rate never stands without its uncertainty.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import platform
import re
import secrets
import shlex
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

from .validate import is_integer

LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.part")  # of `replace_file`
PACKAGES = ("longlora_edu", "numpy", "torch", "transformers", "peft", "safetensors")


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` to a temporary file beside `path`, then rename: a reader sees the old or the new, whole.

    The file has the permissions that the user's umask gives to new files. A process that is killed in between leaves
    the temporary file, which `remove_leftovers` knows by its name.

    Raises:
        OSError: with the path in its message, when the folder cannot be written or the disk is full.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary_file(path)
        with open(temporary, "xb") as file:  # unlike tempfile's, whose files are private whatever the umask says
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:  # Ctrl-C too must leave no temporary file
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, f"cannot write {path}: {error.strerror}") from error
        raise


def _temporary_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def remove_leftovers(folder: Path) -> list[Path]:
    """Delete temporary files of `replace_file` in `folder` and below, left by killed processes; returns the paths.

    Call it while nobody else writes there: a file that is being written has the same kind of name.
    """
    leftovers = [path for path in Path(folder).rglob(".*.part") if LEFTOVER.fullmatch(path.name)]
    for path in leftovers:
        path.unlink(missing_ok=True)
    return leftovers


def write_json(path: Path, value: object) -> None:
    """Write records, mappings and lists as indented JSON.

    Raises:
        ValueError: for a NaN or an infinity, which JSON has no word for, and for text that UTF-8 cannot write.
        OSError: as `replace_file`.
    """
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False, default=_plain)
    try:
        data = (text + "\n").encode()
    except UnicodeEncodeError as error:
        wrong = error.object[error.start : error.end]
        raise ValueError(f"a record must be text that UTF-8 can write, got {wrong!r} for {path}") from None
    replace_file(path, data)


def write_sealed(path: Path, value: object) -> None:
    """Write a value as JSON beside its own SHA-256, for `read_sealed`."""
    value = as_json(value)
    write_json(path, {"sha256": _seal(value), "value": value})


def read_sealed(path: Path) -> Any:
    """Return the value in a file of `write_sealed`.

    Raises:
        ValueError: for a file that is damaged or of another kind: its numbers are not those that were written.
    """
    path = Path(path)
    try:
        found = read_json(path)
    except ValueError:
        found = None
    if not isinstance(found, dict) or set(found) != {"sha256", "value"} or found["sha256"] != _seal(found["value"]):
        raise ValueError(f"{path} must be as this run wrote it, got a damaged or another file: delete it and resume")
    return found["value"]


def _seal(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def hash_files(paths: Iterable[Path]) -> str:
    """Return 16 hexadecimal digits of a SHA-256 over the names and bytes of files, in order of their names."""
    digest = hashlib.sha256()
    for path in sorted(map(Path, paths), key=lambda path: path.name):
        with open(path, "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.name}\0{content}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def as_json(value: object) -> Any:
    """Convert to what `write_json` and `read_json` would give back: keys are text, records are mappings."""
    return json.loads(json.dumps(value, allow_nan=False, default=_plain))


def read_json(path: Path):
    """Return the value in a JSON file.

    Raises:
        ValueError: naming the file, line and column where it is no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} must be JSON, got {error.msg} at line {error.lineno} column {error.colno}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} must be JSON, got bytes that are no UTF-8") from None


def quoted(word: str, *, windows: bool = sys.platform == "win32") -> str:
    """Quote one word of a command for the user's shell: cmd knows no single quotes."""
    return subprocess.list2cmdline([word]) if windows else shlex.quote(word)


@dataclass(frozen=True)
class Proportion:
    """Successes out of trials, with the Wilson 95 % interval: honest near 0 and 1, where passkeys live."""

    successes: int
    trials: int

    def __post_init__(self) -> None:
        whole = is_integer(self.successes) and is_integer(self.trials)
        if not whole or not 0 <= self.successes <= self.trials or self.trials == 0:
            raise ValueError(f"successes must be from 0 to trials > 0, got {self.successes} of {self.trials}")
        for name in ("successes", "trials"):
            object.__setattr__(self, name, int(getattr(self, name)))

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
    """Origin of a number: command, machine, versions, date. Every record carries one."""

    command: str
    date: str
    machine: dict
    versions: dict


def provenance(*, threads: int | None = None, command: str | None = None) -> Provenance:
    """Return the provenance of a run that happens now, in this process."""
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
    """Return the most bytes this process has held in memory so far (resident set)."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would count what the parent held before exec
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import psutil

    info = psutil.Process().memory_info()
    return getattr(info, "peak_wset", info.rss)


def recorded(name: str) -> dict:
    """Return the record `name`, as the command that it names wrote it.

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
    """Describe where the numbers of a record come from, for the line under its picture."""
    record = recorded(name)
    machine, torch = record["machine"], record["versions"]["torch"]
    threads = f", {machine['threads']} threads" if machine.get("threads") else ""
    return f"Recorded on {machine['processor']}{threads}, torch {torch}, {record['date'][:10]}, by: {record['command']}"
