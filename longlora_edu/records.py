"""What experiments leave behind: JSON files that say what was run, where, with which versions.

A file appears whole or not at all, and a rate never stands without its uncertainty.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

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


def write_json(path: Path, value) -> None:
    """Write records, mappings and lists as indented JSON. A NaN is refused: JSON has no word for it."""
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False, default=_plain)
    replace_file(path, (text + "\n").encode())


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
