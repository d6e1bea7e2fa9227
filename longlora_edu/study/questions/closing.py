"""Study 1, what was tried on the usual budget to bring S² closer to full attention."""

from __future__ import annotations

from ...plots.seeds import describe_seeds, plot_seeds
from ..part import Picture, Profile, Rows, Shown, Table
from ..settings import Run
from ..summary import AGAINST_FULL, Arms, bits, passkeys, rate, with_spread, worse_than
from ..verdict import Claim, within


def closing_arms(profile: Profile, seeds: int) -> dict[str, tuple[Run, ...]]:
    """Ways to bring S² closer to full attention on the same steps: a last quarter of dense ones, larger groups."""
    each = range(seeds)
    return {
        "S², the last quarter of the steps full": tuple(ended_full(profile, profile.steps, seed) for seed in each),
        "S² in 2 groups": tuple(profile.run(8, groups=2, seed=seed) for seed in each),
        "short in 2 groups": tuple(profile.run(8, groups=2, attention="short", seed=seed) for seed in each),
    }


def ended_full(profile: Profile, steps: int, seed: int, **fields) -> Run:
    """S² for three quarters of the steps, then full attention."""
    begun = profile.run(8, steps=steps * 3 // 4, seed=seed)
    return profile.run(8, attention="full", steps=steps // 4, seed=seed, start=begun, **fields)


def show_tried(rows: Rows, tried: Arms, eight: Arms) -> Shown:
    """Each of the ways against full attention."""
    arms = {"full": eight["full"], "S²": eight["s2"]} | dict(tried)
    table = tuple(
        (name, with_spread(bits(rows, runs)), "–" if name == "full" else worse_than(rows, runs, eight["full"]).text(),
         rate(passkeys(rows, runs)))
        for name, runs in arms.items()
    )  # fmt: skip
    last, halves = (
        worse_than(rows, tried[name], eight["full"])
        for name in ("S², the last quarter of the steps full", "S² in 2 groups")
    )
    claims = (
        Claim("A last quarter of full attention brings S² within 1 % of full.", within(last, 0.01), last.text()),
        Claim("Groups of half the target bring S² within 1 % of full.", within(halves, 0.01), halves.text()),
    )
    values = {name: bits(rows, runs) for name, runs in arms.items()}
    axis = "dense bits per byte at the target"
    reference = sum(values["full"]) / len(values["full"])
    picture = Picture("attention-tried", lambda: plot_seeds(values, x=axis, reference=reference),
                      describe_seeds(values, x=axis))  # fmt: skip
    headings = ("trained with", "bits/byte at the target", "against full", "passkeys")
    return Shown((Table(headings, table, AGAINST_FULL),), (picture,), claims)
