"""The eleven studies: each a question, its rows, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from ..part import PROFILES, SEEDS, Part, Study

# In the order in which they are computed: the sooner the more depends on it.
NAMES = (
    "attention", "positions", "parts", "lengths", "passkeys", "cost", "steps", "shift", "groups", "patterns", "others",
)  # fmt: skip


def study_of(name: str, *, profile: str = "cpu", seeds: int = SEEDS) -> Study:
    """A study by its name.

    Raises:
        ValueError: for a name or profile that there is none of.
    """
    if name not in NAMES:
        raise ValueError(f"study must be one of {', '.join(NAMES)}, got {name!r}")
    if profile not in PROFILES:
        raise ValueError(f"profile must be one of {', '.join(PROFILES)}, got {profile!r}")
    make: Callable[..., Study] = import_module(f"{__name__}.{name}").study
    return make(PROFILES[profile], seeds)


def parts_of(name: str, *, profile: str = "cpu", seeds: int = SEEDS) -> tuple[Part, ...]:
    """The parts of one study, or of `"all"`, in the order in which they are computed."""
    found = studies(profile=profile, seeds=seeds) if name == "all" else [study_of(name, profile=profile, seeds=seeds)]
    return tuple(part for study in found for part in study.parts)


def studies(*, profile: str = "cpu", seeds: int = SEEDS) -> list[Study]:
    """All studies, in the order in which they are computed."""
    return [study_of(name, profile=profile, seeds=seeds) for name in NAMES]
