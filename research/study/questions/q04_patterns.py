"""Study 4: other sparse patterns, tested as they were trained and with dense attention."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ..layouts import pairs_of_full
from ..part import SEEDS, BaseProfile, Findings, Rows, Study, StudyPart, Table
from ..seed_plots import seeds_picture
from ..spec import Run
from ..summary import ARM_NAMES, Arms, rate, seeds_note, with_spread
from ..verdict import Claim, below, difference, within
from .q01_attention.training_attention import arms_at
from .q03_lengths import UNTRAINED, untrained_beside

PATTERN = ("pattern",)
OTHER_PATTERNS = ("layers", "shifted", "dilated", "blocks", "strided")
# Table 6 of the paper, 32,768, perplexity (as trained, dense): those with a second source.
PAPER_TABLE_6 = {"s2": ("8.64", "8.12"), "dilated": ("–", "11.78"), "blocks": ("–", "8.30"), "strided": ("–", "24.03")}


def study(profile: BaseProfile, seeds: int = SEEDS) -> Study:
    """Make study 4: the first seed of each pattern, and further ones where they are recorded."""
    shared = arms_at(profile, 8, seeds, ("full", "s2", "short"))
    others = {
        name: tuple(profile.run(8, attention=name, extra=PATTERN, seed=seed) for seed in range(seeds))
        for name in OTHER_PATTERNS
    }
    arms = shared | others
    untrained = untrained_beside(profile, seeds)
    rows = (untrained[0], *(runs[0] for runs in arms.values()), *(run for runs in shared.values() for run in runs))
    return Study(
        4,
        "patterns",
        "Do other sparse patterns do as well?",
        (
            StudyPart("As trained, and dense", rows, lambda rows: judge_patterns(rows, arms, untrained),
                      tuple(run for runs in others.values() for run in runs[1:])),
        ),
        exploratory=True,
        limits="The patterns are this package's own, each defined in `research/study/layouts.py`; the paper's may "
        "differ in detail. *Short* is its pattern 1 alone, *only shifted* its pattern 2 alone.",
    )  # fmt: skip


def judge_patterns(rows: Rows, planned: Arms, untrained: Sequence[Run]) -> Findings:
    """Compare the patterns with S² and with nothing trained, beside perplexities of the paper with a second source."""
    lent, arms = rows.lent(planned["full"], planned["s2"]), rows.recorded_seeds(planned)
    gaps = {name: rows.worse_than(runs, arms["s2"], lent=lent) for name, runs in arms.items()}
    own = {name: rows.bits_as_trained([run for run in runs if "pattern" in run.extra]) for name, runs in arms.items()}
    nothing = untrained[: len(arms["s2"])]
    lines = (
        (UNTRAINED, "–", "–", with_spread(rows.bits(nothing[:1])),
         rows.worse_than(nothing, arms["s2"], lent=lent).cell(), rate(rows.passkeys(nothing[:1])), "–", "–"),
        *((ARM_NAMES[name], f"{100 * pairs_of_full(runs[0], 4, 4):.0f} %", with_spread(own[name]),
           with_spread(rows.bits(runs)), "–" if name == "s2" else gaps[name].cell(), rate(rows.passkeys(runs)),
           *PAPER_TABLE_6.get(name, ("–", "–")))
          for name, runs in arms.items()),
    )  # fmt: skip
    gained = {name: rows.worse_than(arms[name], nothing, lent=lent) for name in ("dilated", "blocks", "strided")}
    layers = difference(own["s2"], own["layers"], lent=lent)
    claims = [
        Claim("S² laid out over layers instead of heads does as well in dense use (within 1 %).",
              within(gaps["layers"], 0.01), f"against S² {gaps['layers'].text()}; each under its own pattern "
              f"{layers.text()}"),
        Claim("Block sparse attention, trained with but used densely, comes close to S² (within 2 %): 8.30 and 8.12 in "
              "the paper.", within(gaps["blocks"], 0.02), f"against S² {gaps['blocks'].text()}"),
        *(Claim(f"In dense use, training under the {ARM_NAMES[name]} pattern is better than stretched positions alone.",
                below(gap), f"against nothing trained {gap.text()}")
          for name, gap in gained.items()),
    ]  # fmt: skip
    order = sorted((name for name in gaps if name in PAPER_TABLE_6), key=lambda name: gaps[name].mean)
    paper = sorted(PAPER_TABLE_6, key=lambda name: float(PAPER_TABLE_6[name][1]))
    ranked = ARM_NAMES[order[0]]
    for better, worse in pairwise(order):
        told = rows.worse_than(arms[worse], arms[better], lent=lent).interval[0] > 0
        ranked += f", {ARM_NAMES[worse]}" if told else f" or {ARM_NAMES[worse]} (not told apart)"
    notes = (
        f"Best to worst, dense, of the patterns whose figure has a second source: here {ranked}; in the paper "
        f"{', '.join(ARM_NAMES[name] for name in paper)}.",
    )
    values = {}
    for name, runs in arms.items():
        values[f"{ARM_NAMES[name]}, dense"] = rows.bits(runs)
        values[f"{ARM_NAMES[name]}, as trained"] = own[name]
    picture = seeds_picture("patterns", values, x="bits per byte at the target")
    headings = ("pattern in training", "pairs of full", "bits/byte as trained", "dense", "dense, against S²",
                "passkeys", "the paper's perplexity as trained", "the paper's, dense")  # fmt: skip
    note = f"{seeds_note(arms)} {UNTRAINED} was set beside them when all other rows had been seen."
    return Findings((Table(headings, lines, note),), (picture,), tuple(claims), notes)
