"""Study 4: other sparse patterns of about the same cost, tested as they were trained and with dense attention."""

from __future__ import annotations

from itertools import pairwise

from ..layouts import pairs_of_full
from ..part import SEEDS, BaseProfile, Findings, Rows, Study, StudyPart, Table
from ..seed_plots import seeds_picture
from ..summary import ARM_NAMES, Arms, rate, seeds_note, with_spread
from ..verdict import Claim, within
from .q01_attention.training_attention import arms_at

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
    rows = (*(runs[0] for runs in arms.values()), *(run for runs in shared.values() for run in runs))
    return Study(
        4,
        "patterns",
        "Do other sparse patterns of about the same cost do as well?",
        (
            StudyPart("As trained, and dense", rows, lambda rows: judge_patterns(rows, arms),
                      tuple(run for runs in others.values() for run in runs[1:])),
        ),
        exploratory=True,
        limits="The patterns are this package's own, each defined in `research/study/layouts.py`; the paper's may "
        "differ in detail. *Short* is its pattern 1 alone, *only shifted* its pattern 2 alone.",
    )  # fmt: skip


def judge_patterns(rows: Rows, planned: Arms) -> Findings:
    """Compare the patterns, beside the paper's perplexities that a second source quotes."""
    lent, arms = rows.lent(planned["full"], planned["s2"]), rows.recorded_seeds(planned)
    gaps = {name: rows.worse_than(runs, arms["s2"], lent=lent) for name, runs in arms.items()}
    own = {name: rows.bits_as_trained([run for run in runs if "pattern" in run.extra]) for name, runs in arms.items()}
    lines = tuple(
        (ARM_NAMES[name], f"{100 * pairs_of_full(runs[0], 4, 4):.0f} %", with_spread(own[name]),
         with_spread(rows.bits(runs)), "–" if name == "s2" else gaps[name].cell(), rate(rows.passkeys(runs)),
         *PAPER_TABLE_6.get(name, ("–", "–")))
        for name, runs in arms.items()
    )  # fmt: skip
    claims = [
        Claim("S² laid out over layers instead of heads does as well (within 1 %).", within(gaps["layers"], 0.01),
              f"against S² {gaps['layers'].text()}"),
        Claim("Block sparse attention, trained with but used densely, comes close to S² (within 2 %): 8.30 and 8.12 in "
              "the paper.", within(gaps["blocks"], 0.02), f"against S² {gaps['blocks'].text()}"),
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
                "passkeys", "the paper's perplexity as trained", "dense")  # fmt: skip
    return Findings((Table(headings, lines, seeds_note(arms)),), (picture,), tuple(claims), notes)
