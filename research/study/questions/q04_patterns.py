"""Study 4: other sparse patterns of about the same cost, tested as they were trained and with dense attention."""

from __future__ import annotations

from ..layouts import pairs_of_full
from ..part import SEEDS, BaseProfile, Findings, Rows, Study, StudyPart, Table
from ..seed_plots import seeds_picture
from ..spec import Run
from ..summary import ARM_NAMES, rate
from ..verdict import Claim, difference, within
from .q01_attention.training_attention import arms_at

OTHER_PATTERNS = ("layers", "shifted", "dilated", "blocks", "strided")
# Table 6 of the paper, 32,768, perplexity (as trained, dense): those with a second source.
PAPER_TABLE_6 = {"s2": ("8.64", "8.12"), "dilated": ("–", "11.78"), "blocks": ("–", "8.30"), "strided": ("–", "24.03")}


def study(profile: BaseProfile, seeds: int = SEEDS) -> Study:
    """Make study 4; one seed but for the shared rows."""
    shared = arms_at(profile, 8, seeds, ("full", "s2", "short"))
    arms: dict[str, Run] = {name: shared[name][0] for name in ("full", "s2", "short")}
    arms |= {name: profile.run(8, attention=name, extra=("pattern",)) for name in OTHER_PATTERNS}
    rows = (*arms.values(), *(run for runs in shared.values() for run in runs))
    return Study(
        4,
        "patterns",
        "Do other sparse patterns of about the same cost do as well?",
        (StudyPart("As trained, and dense", rows, lambda rows: judge_patterns(rows, arms, shared)),),
        exploratory=True,
        limits="The patterns are this package's own, each defined in `research/study/layouts.py`; the paper's may "
        "differ in detail. *Short* is its pattern 1 alone, *only shifted* its pattern 2 alone.",
    )


def judge_patterns(rows: Rows, arms: dict[str, Run], shared: dict[str, tuple[Run, ...]]) -> Findings:
    """Compare the patterns, beside the paper's perplexities that a second source quotes."""
    spread = rows.seed_spread(shared["full"], shared["s2"])
    gaps = {name: difference(rows.bits([arms["s2"]]), rows.bits([run]), spread=spread) for name, run in arms.items()}
    lines = tuple(
        (ARM_NAMES[name], f"{100 * pairs_of_full(run, 4, 4):.0f} %", f"{rows[run]['as_trained']['bits_per_byte']:.3f}",
         f"{rows.bits([run])[0]:.3f}", "–" if name == "s2" else gaps[name].text(), rate(rows.passkeys([run])),
         *PAPER_TABLE_6.get(name, ("–", "–")))
        for name, run in arms.items()
    )  # fmt: skip
    claims = [
        Claim("S² laid out over layers instead of heads does as well (within 1 %).", within(gaps["layers"], 0.01),
              f"against S² {gaps['layers'].text()}"),
        Claim("Block sparse attention, trained with but used densely, comes close to S² (within 2 %): 8.30 and 8.12 in "
              "the paper.", within(gaps["blocks"], 0.02), f"against S² {gaps['blocks'].text()}"),
    ]  # fmt: skip
    order = sorted((name for name in gaps if name in PAPER_TABLE_6), key=lambda name: gaps[name].mean)
    paper = sorted(PAPER_TABLE_6, key=lambda name: float(PAPER_TABLE_6[name][1]))
    notes = (
        f"Best to worst, dense, of the patterns whose figure has a second source: here "
        f"{', '.join(ARM_NAMES[name] for name in order)}; in the paper {', '.join(ARM_NAMES[name] for name in paper)}.",
    )
    values = {}
    for name, run in arms.items():
        values[f"{ARM_NAMES[name]}, dense"] = rows.bits([run])
        values[f"{ARM_NAMES[name]}, as trained"] = [rows[run]["as_trained"]["bits_per_byte"]]
    picture = seeds_picture("patterns", values, x="bits per byte at the target")
    headings = ("pattern in training", "pairs of full", "bits/byte as trained", "dense", "dense, against S²",
                "passkeys", "the paper's perplexity as trained", "dense")  # fmt: skip
    return Findings((Table(headings, lines),), (picture,), tuple(claims), notes)
