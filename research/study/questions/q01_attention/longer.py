"""Study 1: four times the steps."""

from __future__ import annotations

import numpy as np

from ...part import BaseProfile, Findings, Rows, Table
from ...seed_plots import series_picture
from ...spec import Run
from ...summary import AGAINST_FULL, Arms, along, rate, with_spread
from ...verdict import Claim, below, difference, within
from .closing import ended_full
from .same_text import NO_SHIFT

PATTERN = ("pattern",)


def longer_arms(profile: BaseProfile, seeds: int) -> dict[str, tuple[Run, ...]]:
    """Set up four times the steps with full attention, S² and short, and with S² whose last quarter is full."""
    steps = 4 * profile.steps

    def runs(attention: str) -> tuple[Run, ...]:
        return tuple(
            profile.run(8, attention=attention, steps=steps, seed=seed, extra=PATTERN) for seed in range(seeds)
        )

    return {
        "full": runs("full"),
        "S²": runs("s2"),
        "short": runs("short"),
        "S², the last quarter full": tuple(ended_full(profile, steps, seed, extra=PATTERN) for seed in range(seeds)),
    }


def judge_longer(rows: Rows, arms: Arms, usual: Arms) -> Findings:
    """Compare dense bits and those as trained, at both lengths, with the usual number of steps."""
    many, few = arms["S²"][0].steps, usual["s2"][0].steps
    lines = {
        f"full, {few} steps": (usual["full"], usual["full"]),
        f"S², {few} steps": (usual["s2"], usual["full"]),
        **{f"{name}, {many} steps": (runs, arms["full"]) for name, runs in arms.items()},
    }
    trained = arms["S²"][0].target // 8
    table = tuple(
        (name, with_spread(rows.bits(runs, trained)), with_spread(rows.bits(runs)),
         "–" if runs is full else rows.worse_than(runs, full).cell(), with_spread(rows.bits_as_trained(runs)),
         rate(rows.passkeys(runs)))
        for name, (runs, full) in lines.items()
    )  # fmt: skip
    gap, ended = (rows.worse_than(arms[name], arms["full"]) for name in ("S²", "S², the last quarter full"))
    more = rows.worse_than(arms["S²"], usual["s2"])
    own = difference(rows.bits_as_trained(usual["s2"]), rows.bits_as_trained(arms["S²"]))
    shift = rows.worse_than(arms["short"], arms["S²"])
    claims = (
        Claim(f"After {many} steps S² is within 1 % of full attention trained as long.", within(gap, 0.01), gap.text()),
        Claim(f"After {many} steps S² is better at the target than after {few}, under its own pattern.", below(own),
              own.text()),
        Claim("With dense attention, as it is used, it is better too.", below(more), more.text()),
        Claim("A last quarter of full attention brings it within 1 % of full.", within(ended, 0.01), ended.text()),
        Claim(NO_SHIFT, within(shift, 0.01), f"short against S² {shift.text(digits=2)}"),
    )  # fmt: skip
    series = {name: _behind(rows, runs, full) for name, (runs, full) in lines.items() if runs is not full}
    behind = "behind full attention, bits per byte"
    picture = series_picture("attention-longer", series, x="position", y=behind, powers=False)
    headings = ("trained with", f"bits/byte at {trained}", "at the target", "against full of as many steps",
                "at the target under the training pattern", "passkeys")  # fmt: skip
    note = (
        f"{AGAINST_FULL} This part was added after a single run of S² with so many steps had come out "
        "worse at the target than with a quarter of them."
    )
    return Findings((Table(headings, table, note),), (picture,), claims)


def _behind(rows: Rows, runs: tuple[Run, ...], full: tuple[Run, ...]) -> dict[float, list[float]]:
    """Return by position the dense bits/byte of `runs` minus those of `full`, pairs of the same seed."""
    gaps = [np.subtract(rows.by_position(run), rows.by_position(other)) for run, other in zip(runs, full, strict=True)]
    return along(gaps, runs[0].target)
