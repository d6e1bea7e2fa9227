"""Study 1: S², short and full attention from a base that makes use of far context already."""

from __future__ import annotations

from collections.abc import Sequence

from ...part import BaseProfile, Findings, Rows, Table
from ...seed_plots import seeds_picture
from ...spec import EXTRAS, Run
from ...summary import AGAINST_FULL, ARM_NAMES, Arms, paper_gap, rate, thousands, with_spread
from ...verdict import Claim, above, over_seeds, within

FAR_ARMS = ("full", "short", "s2")


def far_arms(profile: BaseProfile, seeds: int) -> dict[str, dict[str, tuple[Run, ...]]]:
    """Set up extensions of a base trained at four times the context, to twice and four times that.

    The third arm extends the package's base to twice its own context: that is a smaller step than eight times.
    """
    base = profile.run(4, attention="full", train="all", steps=8 * profile.steps)

    def arms(factor: int, start: Run | None, count: int = seeds) -> dict[str, tuple[Run, ...]]:
        def run(name: str, seed: int) -> Run:
            return profile.run(factor, attention=name, seed=seed, start=start, extra=EXTRAS if seed == 0 else ())

        return {name: tuple(run(name, seed) for seed in range(count)) for name in FAR_ARMS}

    return {"far": arms(8, base), "farther": arms(16, base, 1), "near": arms(2, None)}


def judge_far(rows: Rows, bases: dict[str, Arms], eight: Arms) -> Findings:
    """Compare each arm from either base with full attention from the same base to the same target."""
    far, farther, near = (bases[name] for name in ("far", "farther", "near"))
    begun = far["full"][0].start
    trained, target = begun.target // 4, far["full"][0].target
    spread = rows.seed_spread(far["full"], far["s2"])
    table = [
        _line(rows, name, arms, context, trained, spread if arms is farther else None)
        for arms, context in ((near, trained), (eight, trained), (far, begun.target), (farther, begun.target))
        for name in FAR_ARMS
    ]
    gain = over_seeds([a - b for a, b in zip(_gains(rows, far, trained), _gains(rows, eight, trained), strict=True)])
    gap, own = (rows.worse_than(arms["s2"], arms["full"]) for arms in (far, near))
    again = rows.worse_than(farther["s2"], farther["full"], spread=spread)
    closer = over_seeds([a - b for a, b in zip(_gaps(rows, eight), _gaps(rows, far), strict=True)])
    shift = rows.worse_than(far["short"], far["s2"])
    length = thousands(begun.target)
    claims = (
        Claim(f"A base trained at {length} gains more from far context than one trained at {trained}.", above(gain),
              f"from {trained} to {thousands(target)} bytes {gain.text(unit=' points')} more of the loss falls"),
        Claim(f"From it S² stays within 1 % of full attention at {thousands(target)}, twice its context.",
              within(gap, 0.01), gap.text() + paper_gap(2)),
        Claim(f"At {thousands(2 * target)}, four times its context, too.", within(again, 0.01),
              again.text() + paper_gap(4)),
        Claim(f"So it does from the base trained at {trained} where that is extended to twice its context only.",
              within(own, 0.01), own.text() + paper_gap(2)),
        Claim(f"At {thousands(target)} S² is closer to full attention from the base that was trained farther.",
              above(closer), f"by {closer.text(unit=' points')}"),
        Claim("Without the shift the extended model is worse.", above(shift),
              f"short against S² {shift.text(digits=2)}"),
    )  # fmt: skip
    values = {f"{ARM_NAMES[name]}, base trained at {thousands(context)}": rows.bits(arms[name])
              for arms, context in ((eight, trained), (far, begun.target)) for name in FAR_ARMS}  # fmt: skip
    picture = seeds_picture("attention-far", values, x=f"dense bits per byte at {thousands(target)}")
    headings = ("attention in training", "base trained at", "target", "groups", f"bits/byte at {trained}",
                "at the target", "against full", "passkeys")  # fmt: skip
    note = (
        f"{AGAINST_FULL} The base trained at {length} is the package's own after {begun.steps} further steps of all "
        f"its weights with full attention; as many steps at {trained} were not tried, so what it had seen and how long "
        f"it was trained are not told apart. At {thousands(2 * target)} there is one seed, which borrows the spread. "
        "This part was planned when all others had been seen; its rows of one seed and of twice the context of the "
        f"package's base when those at {thousands(target)} had been seen as well."
    )
    return Findings((Table(headings, tuple(table), note),), (picture,), claims)


def _line(rows: Rows, name: str, arms: Arms, context: int, trained: int, spread: float | None) -> tuple[str, ...]:
    runs, full = arms[name], arms["full"]
    against = "–" if runs is full else rows.worse_than(runs, full, spread=spread).text()
    groups = "–" if runs is full else thousands(runs[0].group_size)
    near, there = with_spread(rows.bits(runs, trained)), with_spread(rows.bits(runs))
    where, found = (thousands(context), thousands(runs[0].target), groups), rate(rows.passkeys(runs))
    return (ARM_NAMES[name], *where, near, there, against, found)


def _gains(rows: Rows, arms: Arms, trained: int) -> Sequence[float]:
    """Compute full attention's relative gain from the trained context to the target, seed by seed."""
    runs = arms["full"]
    return [1 - there / here for here, there in zip(rows.bits(runs, trained), rows.bits(runs), strict=True)]


def _gaps(rows: Rows, arms: Arms) -> Sequence[float]:
    return [s2 / full - 1 for full, s2 in zip(rows.bits(arms["full"]), rows.bits(arms["s2"]), strict=True)]
