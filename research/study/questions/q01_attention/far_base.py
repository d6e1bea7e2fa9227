"""Study 1: S², short and full attention from a base that makes use of far context already."""

from __future__ import annotations

import numpy as np

from ...part import BaseProfile, Findings, Rows, Table
from ...seed_plots import seeds_picture
from ...spec import EXTRAS, Run
from ...summary import AGAINST_FULL, ARM_NAMES, Arms, paper_gap, rate, thousands, with_spread
from ...verdict import Claim, Difference, Lent, above, within
from .same_text import NO_SHIFT

FAR_ARMS = ("full", "short", "s2")
ONE_BASE = "Each base that took further steps is a single run: the seeds vary its extension only."


def far_arms(profile: BaseProfile, seeds: int) -> dict[str, dict[str, tuple[Run, ...]]]:
    """Set up extensions of a base trained at four times the context, to twice and four times that.

    The third arm extends the package's base to twice its own context: the same factor as the first. Further seeds of
    four times are used where they are recorded.
    """
    base = profile.run(4, attention="full", train="all", steps=8 * profile.steps)
    return {
        "far": _arms(profile, 8, seeds, base),
        "farther": _arms(profile, 16, seeds, base),
        "near": _arms(profile, 2, seeds, None),
    }


def control_arms(profile: BaseProfile, seeds: int) -> dict[int, dict[str, tuple[Run, ...]]]:
    """Set up extensions of a base that took as many further steps at its own context, by their factor."""
    base = profile.run(1, attention="full", train="all", steps=8 * profile.steps, rope="default")
    return {factor: _arms(profile, factor, seeds, base, ("full", "s2")) for factor in (8, 2, 4)}


def _arms(profile: BaseProfile, factor: int, seeds: int, start: Run | None, names=FAR_ARMS):
    def run(name: str, seed: int) -> Run:
        return profile.run(factor, attention=name, seed=seed, start=start, extra=EXTRAS if seed == 0 else ())

    return {name: tuple(run(name, seed) for seed in range(seeds)) for name in names}


def judge_far(rows: Rows, bases: dict[str, Arms], eight: Arms, four: Arms) -> Findings:
    """Compare each arm from either base with full attention from the same base to the same target."""
    far, near = bases["far"], bases["near"]
    farther = rows.recorded_seeds(bases["farther"])
    begun = far["full"][0].start
    trained, target = begun.target // 4, far["full"][0].target
    lent = rows.lent(far["full"], far["s2"])
    table = [
        _line(rows, name, arms, context, trained, lent)
        for arms, context in ((near, trained), (four, trained), (eight, trained), (far, begun.target),
                              (farther, begun.target))
        for name in FAR_ARMS
    ]  # fmt: skip
    gain = _gain(rows, far, eight, trained)
    gap, own = (rows.worse_than(arms["s2"], arms["full"]) for arms in (far, near))
    again = rows.worse_than(farther["s2"], farther["full"], lent=lent)
    twice, fourfold = _closer(rows, far, near), _closer(rows, farther, four, lent)
    steps = _closer(rows, far, eight)
    shift = rows.worse_than(far["short"], far["s2"])
    length = thousands(begun.target)
    claims = (
        Claim(f"After {begun.steps} further steps at {length} a base gains more from far context.", above(gain),
              f"from {trained} to {thousands(target)} bytes {gain.text(unit=' points')} more of the loss falls"),
        Claim(f"From it S² stays within 1 % of full attention at {thousands(target)}, twice its context.",
              within(gap, 0.01), gap.text() + paper_gap(2)),
        Claim(f"At {thousands(2 * target)}, four times its context, too.", within(again, 0.01),
              again.text() + paper_gap(4)),
        Claim(f"So it does from the base trained at {trained} where that is extended to twice its context only.",
              within(own, 0.01), own.text() + paper_gap(2)),
        Claim(f"At the same factor of two, S² is closer to full attention from the base trained at {length}.",
              above(twice), f"by {twice.text(unit=' points')}"),
        Claim("At the same factor of four, too.", above(fourfold), f"by {fourfold.text(unit=' points')}"),
        Claim(NO_SHIFT, within(shift, 0.01), f"short against S² {shift.text(digits=2)}"),
    )  # fmt: skip
    values = {f"{ARM_NAMES[name]}, base trained at {thousands(context)}": rows.bits(arms[name])
              for arms, context in ((eight, trained), (far, begun.target)) for name in FAR_ARMS}  # fmt: skip
    picture = seeds_picture("attention-far", values, x=f"dense bits per byte at {thousands(target)}")
    headings = ("attention in training", "base trained at", "target", "groups", f"bits/byte at {trained}",
                "at the target", "against full", "passkeys")  # fmt: skip
    note = (
        f"{AGAINST_FULL} The base trained at {length} is the studies' own after {begun.steps} further steps of all "
        f"its weights with full attention; what it had seen and how long it was trained are told apart by the next "
        f"part. At {thousands(target)} the two bases are {steps.text(unit=' points')} apart in S² against full, but "
        f"there one is extended twice and the other eight times. {ONE_BASE} This part was planned when all others had "
        f"been seen; its rows at {thousands(2 * target)} and those of twice the context of the base trained at "
        f"{trained} when those at {thousands(target)} had been seen as well, and the matched factors when all of its "
        "rows had been."
    )
    return Findings((Table(headings, tuple(table), note),), (picture,), claims)


def judge_control(rows: Rows, control: dict[int, Arms], bases: dict[str, Arms], eight: Arms) -> Findings:
    """Compare the base with as many steps at its own context with the one that took them at four times that."""
    begun = bases["far"]["full"][0].start
    trained = begun.target // 4
    farther = rows.recorded_seeds(bases["farther"])
    lent = rows.lent(bases["far"]["full"], bases["far"]["s2"])
    table = tuple(
        _line(rows, name, arms, trained, trained, lent) for arms in control.values() for name in ("full", "s2")
    )
    same, gain = _closer(rows, control[8], eight), _gain(rows, bases["far"], control[8], trained)
    twice, fourfold = _closer(rows, bases["far"], control[2]), _closer(rows, farther, control[4], lent)
    length = thousands(begun.target)
    claims = (
        Claim(f"{begun.steps} further steps at {trained} bring S² closer to full attention at ×8.", above(same),
              f"by {same.text(unit=' points')}"),
        Claim(f"The base trained at {length} gains more from far context than one trained as long at {trained}.",
              above(gain), f"{gain.text(unit=' points')} more of the loss falls"),
        Claim(f"At ×2, S² is closer to full attention from the base trained at {length} than from the one trained as "
              f"long at {trained}.", above(twice), f"by {twice.text(unit=' points')}"),
        Claim("At ×4, too.", above(fourfold), f"by {fourfold.text(unit=' points')}"),
    )  # fmt: skip
    headings = ("attention in training", "base trained at", "target", "groups", f"bits/byte at {trained}",
                "at the target", "against full", "passkeys")  # fmt: skip
    note = (
        f"{AGAINST_FULL} The base took {begun.steps} further steps at {trained}, as many as the other at {length}. "
        f"{ONE_BASE}"
    )
    return Findings((Table(headings, table, note),), (), claims)


def _line(rows: Rows, name: str, arms: Arms, context: int, trained: int, lent: Lent | None) -> tuple[str, ...]:
    runs, full = arms[name], arms["full"]
    against = "–" if runs is full else rows.worse_than(runs, full, lent=lent if len(runs) == 1 else None).cell()
    groups = "–" if runs is full else thousands(runs[0].group_size)
    near, there = with_spread(rows.bits(runs, trained)), with_spread(rows.bits(runs))
    where, found = (thousands(context), thousands(runs[0].target), groups), rate(rows.passkeys(runs))
    return (ARM_NAMES[name], *where, near, there, against, found)


def _gain(rows: Rows, mine: Arms, other: Arms, trained: int) -> Difference:
    """Compute how much more of full attention's loss falls from the trained context to the target."""

    def statistic(near, far, other_near, other_far) -> np.ndarray:
        return other_far / other_near - far / near

    runs = (mine["full"], mine["full"], other["full"], other["full"])
    lengths = [length for arm in (mine, other) for length in (trained, arm["full"][0].target)]
    return rows.change(statistic, *runs, lengths=lengths)


def _closer(rows: Rows, mine: Arms, other: Arms, lent: Lent | None = None) -> Difference:
    """Compute how much smaller the gap of S² to full attention is in `mine` than in `other`, seed by seed."""
    count = min(len(mine["s2"]), len(other["s2"]))

    def statistic(full, s2, other_full, other_s2) -> np.ndarray:
        return other_s2 / other_full - s2 / full

    arms = (arm[name][:count] for arm in (mine, other) for name in ("full", "s2"))
    return rows.change(statistic, *arms, lent=lent)
