"""The eleven studies: each a question, its rows, and functions that turn records into findings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module

from ..part import PROFILES, SEEDS, Study, StudyPart

# Studies and their files, in the order in which they are computed: those first whose rows others use again.
STUDIES = {
    "attention": "q01_attention.training_attention",
    "positions": "q07_positions",
    "parts": "q02_parts",
    "lengths": "q03_lengths",
    "passkeys": "q08_passkeys",
    "cost": "q10_cost",
    "steps": "q09_steps",
    "shift": "q06_shift",
    "groups": "q05_groups",
    "patterns": "q04_patterns",
    "others": "q11_others",
}


def study_of(name: str, *, profile: str = "cpu", seeds: int = SEEDS) -> Study:
    """Make a study by its name.

    Raises:
        ValueError: for a name or profile that there is none of.
    """
    if name not in STUDIES:
        raise ValueError(f"study must be one of {', '.join(STUDIES)}, got {name!r}")
    if profile not in PROFILES:
        raise ValueError(f"profile must be one of {', '.join(PROFILES)}, got {profile!r}")
    make: Callable[..., Study] = import_module(f"{__name__}.{STUDIES[name]}").study
    return make(PROFILES[profile], seeds)


def study_parts(name: str, *, profile: str = "cpu", seeds: int = SEEDS) -> tuple[StudyPart, ...]:
    """List the parts of one study, of `"all"` or of the `"controls"`, in the order in which they are computed."""
    if name == "controls":
        return tuple(controls(profile=profile, seeds=seeds))
    found = studies(profile=profile, seeds=seeds) if name == "all" else [study_of(name, profile=profile, seeds=seeds)]
    return tuple(part for study in found for part in study.parts)


def studies(*, profile: str = "cpu", seeds: int = SEEDS) -> list[Study]:
    """Make all studies, in the order in which they are computed."""
    return [study_of(name, profile=profile, seeds=seeds) for name in STUDIES]


def controls(*, profile: str = "cpu", seeds: int = SEEDS) -> list[StudyPart]:
    """List what the evidence lacks, the most wanted first: controls, the steps with linear interpolation, more seeds.

    Each is a part with the rows to compute. Those that are recorded already cost nothing.
    """
    attention, *others = (
        study_of(name, profile=profile, seeds=seeds)
        for name in ("attention", "steps", "groups", "shift", "others", "patterns")
    )
    farther, control, spread = attention.parts[-3:]
    steps = others[0]
    planned = [control, steps.parts[1], _further(attention, farther), spread]
    return planned + [_further(study, part) for study in others for part in study.parts if part.wanted]


def _further(study: Study, part: StudyPart) -> StudyPart:
    return replace(part, title=f"Study {study.number}, further seeds: {part.title}", rows=part.wanted, wanted=())
