"""Study 1: attempts to bring S² closer to full attention on the usual budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...part import BaseProfile, Findings, Rows, Table
from ...seed_plots import seeds_picture
from ...spec import Run
from ...summary import AGAINST_FULL, Arms, rate, with_spread
from ...verdict import Claim, above, over_trials, within

LAST_QUARTER, TWO_GROUPS = "S², the last quarter of the steps full", "S² in 2 groups"
GENTLE = "S², the last quarter full, at a quarter of the rate"
ALL_FULL, ALL_S2 = "full, all weights trained", "S², all weights trained"


def closing_arms(profile: BaseProfile, seeds: int) -> dict[str, tuple[Run, ...]]:
    """Set up attempts on the same steps: a last quarter of dense ones, larger groups, all weights."""
    each = range(seeds)
    return {
        LAST_QUARTER: tuple(ended_full(profile, profile.steps, seed) for seed in each),
        GENTLE: tuple(ended_full(profile, profile.steps, seed, rate=5e-4) for seed in each),
        TWO_GROUPS: tuple(profile.run(8, groups=2, seed=seed) for seed in each),
        "short in 2 groups": tuple(profile.run(8, groups=2, attention="short", seed=seed) for seed in each),
        ALL_FULL: tuple(profile.run(8, attention="full", train="all", seed=seed) for seed in each),
        ALL_S2: tuple(profile.run(8, train="all", seed=seed) for seed in each),
    }


def ended_full(profile: BaseProfile, steps: int, seed: int, begin: Mapping | None = None, **fields: Any) -> Run:
    """Set up S², or what `begin` makes of it, for three quarters of the steps, then full attention."""
    begun = profile.run(8, steps=steps * 3 // 4, seed=seed, **(begin or {}))
    return profile.run(8, attention="full", steps=steps // 4, seed=seed, start=begun, **fields)


def judge_tried(rows: Rows, tried: Arms, eight: Arms) -> Findings:
    """Compare each attempt with full attention that trained the same weights."""
    arms = {"full": eight["full"], "S²": eight["s2"]} | dict(tried)
    full = {name: tried[ALL_FULL] if name == ALL_S2 else eight["full"] for name in arms} | {ALL_FULL: tried[ALL_FULL]}
    far = {name: rows.worse_than(runs, full[name]) for name, runs in arms.items() if runs is not full[name]}
    table = tuple(
        (name, with_spread(rows.bits(runs)), far[name].cell() if name in far else "–", rate(rows.passkeys(runs)))
        for name, runs in arms.items()
    )
    claims = tuple(
        Claim(statement, within(far[name], 0.01), far[name].text())
        for name, statement in (
            (LAST_QUARTER, "A last quarter of full attention brings S² within 1 % of full."),
            (GENTLE, "A last quarter at a quarter of the rate brings it within 1 % of full."),
            (TWO_GROUPS, "Groups of half the target bring S² within 1 % of full."),
            (ALL_S2, "With all weights trained, S² is within 1 % of full attention that trains them all."),
        )
    )
    kept = over_trials(rows.found(tried[GENTLE]))
    claims += (
        Claim("At a quarter of the rate the last quarter loses no passkeys (95 % are found).", above(kept, 0.95),
              f"{_by_seed(rows, tried[GENTLE])}; at the usual rate {_by_seed(rows, tried[LAST_QUARTER])}"),
    )  # fmt: skip
    values = {name: rows.bits(runs) for name, runs in arms.items()}
    full_mean = sum(values["full"]) / len(values["full"])
    picture = seeds_picture("attention-tried", values, x="dense bits per byte at the target", reference=full_mean)
    headings = ("trained with", "bits/byte at the target", "against full", "passkeys")
    note = (
        f"{AGAINST_FULL} All weights are compared with full attention that trains all of them, at the same rate. "
        "The rows of all weights and of a quarter of the rate were added when the others had been seen."
    )
    return Findings((Table(headings, table, note),), (picture,), claims)


def _by_seed(rows: Rows, runs: tuple[Run, ...]) -> str:
    """Format passkeys found and the worst step of the last stage, seed by seed: a mean would hide a failing one."""
    found = ", ".join(f"{100 * rows[run]['passkey']['rate']:.0f}" for run in runs)
    nats = (max((step["passkey_nats"] or 0.0 for step in rows.record(run)["curve"]), default=0.0) for run in runs)
    return (
        f"{found} % found by seed, a digit's training loss at most {', '.join(f'{worst:.1f}' for worst in nats)} nats"
    )
