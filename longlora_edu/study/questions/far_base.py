"""Study 1, another base: does the shift matter, and is S² closer to full, where far context is used already?"""

from __future__ import annotations

from ...plots.seeds import describe_seeds, plot_seeds
from ..part import Picture, Profile, Rows, Shown, Table
from ..settings import Run
from ..summary import AGAINST_FULL, NAMES, Arms, bits, passkeys, rate, thousands, with_spread, worse_than
from ..verdict import Claim, above, over_seeds, within

ARMS = ("full", "short", "s2")
EXTRA = ("lengths", "pattern")


def far_arms(profile: Profile, seeds: int) -> dict[str, tuple[Run, ...]]:
    """To eight times the trained context, from a base that has had all its weights trained at four times it.

    Its groups are half as long as what it was trained on: what short attention does not show it, it has seen.
    """
    base = profile.run(4, attention="full", train="all", steps=8 * profile.steps)

    def run(attention: str, seed: int) -> Run:
        return profile.run(8, attention=attention, seed=seed, start=base, extra=EXTRA if seed == 0 else ())

    return {name: tuple(run(name, seed) for seed in range(seeds)) for name in ARMS}


def show_far(rows: Rows, far: Arms, eight: Arms) -> Shown:
    """Each arm from either base, against full attention from the same."""
    target, begun = far["full"][0].target, far["full"][0].start
    trained = target // 8
    bases = {f"at {thousands(trained)}": eight, f"at {thousands(begun.target)}": far}
    arms = {f"{NAMES[name]}, base trained {where}": (from_it[name], from_it["full"])
            for where, from_it in bases.items() for name in ARMS}  # fmt: skip
    table = tuple(
        (name, with_spread(bits(rows, runs, trained)), with_spread(bits(rows, runs)),
         "–" if runs is full else worse_than(rows, runs, full).text(), rate(passkeys(rows, runs)))
        for name, (runs, full) in arms.items()
    )  # fmt: skip
    gain = over_seeds([a - b for a, b in zip(*(_gains(rows, one) for one in (far, eight)), strict=True)])
    gap, shift = worse_than(rows, far["s2"], far["full"]), worse_than(rows, far["short"], far["s2"])
    closer = over_seeds([a - b for a, b in zip(*(_gaps(rows, one) for one in (eight, far)), strict=True)])
    claims = (
        Claim("This base gains more from far context: more loss falls from the trained context to the target.",
              above(gain), f"{gain.text(unit=' points')} more"),
        Claim("From it S² stays within 1 % of full attention.", within(gap, 0.01), gap.text()),
        Claim("S² is closer to full attention than from the other base.", above(closer),
              f"by {closer.text(unit=' points')}"),
        Claim("Without the shift the extended model is worse.", above(shift),
              f"short against S² {shift.text(digits=2)}"),
    )  # fmt: skip
    values = {name: bits(rows, runs) for name, (runs, _) in arms.items()}
    axis = f"dense bits per byte at {thousands(target)}"
    picture = Picture("attention-far", lambda: plot_seeds(values, x=axis), describe_seeds(values, x=axis))
    headings = ("trained with", f"bits/byte at {trained}", f"at {thousands(target)}",
                "against full from the same base", "passkeys")  # fmt: skip
    note = (
        f"{AGAINST_FULL} The other base is the package's own after {begun.steps} further steps of all weights, with "
        f"full attention at {thousands(begun.target)}. Planned after all other rows of this study had been seen."
    )
    return Shown((Table(headings, table, note),), (picture,), claims)


def _gains(rows: Rows, arms: Arms) -> list[float]:
    """By how much of its loss full attention is better at the target than at the trained context, seed by seed."""
    runs = arms["full"]
    pairs = zip(bits(rows, runs, runs[0].target // 8), bits(rows, runs), strict=True)
    return [1 - far / near for near, far in pairs]


def _gaps(rows: Rows, arms: Arms) -> list[float]:
    pairs = zip(bits(rows, arms["full"]), bits(rows, arms["s2"]), strict=True)
    return [s2 / full - 1 for full, s2 in pairs]
