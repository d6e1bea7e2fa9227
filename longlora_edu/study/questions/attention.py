"""Study 1: what may attention be while training, and when does the shift matter?"""

from __future__ import annotations

from ...probe import ProbeSettings
from ..part import SEEDS, Part, Profile, Rows, Shown, Study

ARMS = ("full", "short", "s2", "wrap", "masked")
EXTRA = ("lengths", "pattern")  # of the first seed


def rows_at(profile: Profile, factor: int, seeds: int, arms=ARMS) -> tuple:
    """A run of each arm and seed; the first seed is measured more thoroughly."""
    return tuple(
        profile.run(factor, attention=arm, seed=seed, extra=EXTRA if seed == 0 else ())
        for seed in range(seeds)
        for arm in arms
    )


def study(profile: Profile, seeds: int = SEEDS) -> Study:
    """The rows of study 1 and what is made of them."""

    def show(rows: Rows) -> Shown:
        return Shown()

    probes = tuple(
        ProbeSettings(place=place, shift=shift, seed=seed)
        for place in ("inside", "across", "far")
        for shift in (None, 0)
        for seed in range(seeds)
    )
    return Study(
        1,
        "attention",
        "What may attention be while training, and when does the shift matter?",
        (
            Part("Eight times the trained context", rows_at(profile, 8, seeds), show),
            Part("A task that needs the shift", probes, show),
            Part("Four times", rows_at(profile, 4, seeds), show),
            Part("Sixteen times", rows_at(profile, 16, 1), show),
        ),
    )
