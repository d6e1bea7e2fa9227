"""Find out on how many cores and on which device a notebook runs, which sizes fit, and which package is missing."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

from .cards import card, publish

ProfileName = Literal["binder", "laptop", "gpu", "ci"]
# The profile whose value is taken where one has none of its own.
FALLBACK = {"gpu": "laptop", "binder": "laptop", "ci": "binder"}
# Present inside of a container whose cores are limited; the number of cores that the host reports is not granted.
CONTAINER = Path("/sys/fs/cgroup/cpu.max")
# Python compiled for browsers, where there is neither torch nor a second thread.
IN_TAB = sys.platform == "emscripten"
IN_THE_TAB = "This is your browser: nothing was installed. Cells that need torch show what they printed on a laptop."
WITHOUT_TORCH = "torch is not installed: the cells that need it will stop. `python -m pip install torch` brings it."


@dataclass(frozen=True)
class Profile:
    """A kind of machine. `binder` is one core and little memory, `ci` as little work as still shows the point."""

    name: ProfileName

    def __post_init__(self) -> None:
        if self.name not in get_args(ProfileName):
            raise ValueError(f"profile must be one of {', '.join(get_args(ProfileName))}, got {self.name!r}")

    def choose(self, **values: Any):
        """The value for this machine, out of `laptop=…` and, where it differs, `binder=…`, `gpu=…`, `ci=…`."""
        if unknown := sorted(set(values) - set(get_args(ProfileName))):
            raise ValueError(f"choose must be given profiles, got {', '.join(unknown)}")
        if "laptop" not in values:
            raise ValueError(f"choose must be given laptop=…, got {', '.join(values) or 'nothing'}")
        name = self.name
        while name not in values:
            name = FALLBACK[name]
        return values[name]


@dataclass(frozen=True)
class Environment:
    """The findings of `check_environment`; the text is one line, and a second one where something can be done."""

    profile: Profile
    device: str
    threads: int
    versions: dict[str, str]
    advice: str = ""

    def __str__(self) -> str:
        packages = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        threads = f"{self.threads} thread{'s' * (self.threads != 1)}"
        line = f"profile {self.profile.name} · {self.device} · {threads} · {packages}"
        return f"{line}\n{self.advice}" if self.advice else line

    __repr__ = __str__


def check_environment() -> Environment:
    """Look at this machine; the text of the result is one line.

    The profile is `LONGLORA_EDU_PROFILE` if that is set, else `gpu` with a CUDA device, `binder` where a hub or a
    container grants one core, else `laptop`. Where fewer cores are granted than the host has, torch is limited to
    them: left alone it starts a thread for each core of the host, and they get in each other's way. In a browser tab
    there is no torch: the profile is `binder`, and the cells that need torch show what they printed elsewhere.

    Raises:
        ValueError: for a `LONGLORA_EDU_PROFILE` that is not a profile.
    """
    if not has_torch():
        device, advice = ("browser tab", IN_THE_TAB) if IN_TAB else ("CPU", WITHOUT_TORCH)
        return Environment(profile(), device, 1, _versions(), advice)
    import torch

    granted = granted_cores()
    if granted is not None and torch.get_num_threads() > granted:
        torch.set_num_threads(granted)
    device = f"GPU {torch.cuda.get_device_name()}" if torch.cuda.is_available() else "CPU"
    advice = ""
    if "google.colab" in sys.modules and not torch.cuda.is_available():
        advice = (
            "No GPU is attached: everything works, slower. For one, choose Runtime, Change runtime type, T4 GPU, "
            "before you go on."
        )
    return Environment(profile(), device, torch.get_num_threads(), _versions(), advice)


def has_torch() -> bool:
    """Whether torch is installed, found out without the seconds that its import takes."""
    return find_spec("torch") is not None


def require(*packages: str, install: str) -> None:
    """Stop the notebook where one of `packages` is missing, with a sentence on how to get it.

    `install` is what to ask pip for.

    Raises:
        ModuleNotFoundError: naming what is missing; a notebook shows its sentence and no trace.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if not missing:
        return
    sentence = f"This lesson needs {' and '.join(missing)}, not installed here."
    advice = (
        f"`python -m pip install '{install}'` brings it: run that, restart the kernel and begin again. "
        "Until then the saved notebook shows the results of every cell."
    )
    publish(card("note", f"{sentence} {advice}"), f"{sentence} {advice}")
    error = ModuleNotFoundError(f"{sentence} {advice}", name=missing[0])
    error._render_traceback_ = lambda: [f"ModuleNotFoundError: {sentence}"]
    raise error


def profile() -> Profile:
    """The profile of this machine; see `check_environment`."""
    if chosen := os.environ.get("LONGLORA_EDU_PROFILE"):
        return Profile(chosen)
    if not has_torch():
        return Profile("binder")
    import torch

    if torch.cuda.is_available():
        return Profile("gpu")
    granted = granted_cores()
    return Profile("binder" if granted is not None and granted <= 1 else "laptop")


def granted_cores() -> int | None:
    """The number of cores granted here, by a hub in its `CPU_LIMIT` or by the container; None where all are."""
    try:
        limit = float(os.environ.get("CPU_LIMIT", ""))
    except ValueError:
        limit = _container_limit()
    return max(1, int(limit)) if limit > 0 else None


def _container_limit() -> float:
    """Linux writes "quota period" in microseconds, "max" for no quota; 0 here for none, as on other systems."""
    if not CONTAINER.exists():
        return 0.0
    quota, period = CONTAINER.read_text(encoding="ascii").split()
    return 0.0 if quota == "max" else int(quota) / int(period)


def _versions() -> dict[str, str]:
    names = ("torch", "numpy", "ipywidgets", "longlora-edu")
    return {name: number for name in names if (number := _version(name))}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
