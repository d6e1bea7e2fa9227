"""Study 9: the number of steps that each way of training needs."""

from __future__ import annotations

from ..part import SEEDS, BaseProfile, Findings, Rows, Study, StudyPart, Table
from ..seed_plots import series_picture
from ..spec import Run
from ..summary import as_loss, rate
from ..verdict import Claim, above, below, difference, within
from .q01_attention.longer import longer_arms
from .q01_attention.training_attention import arms_at

METHODS = {"LoRA": {"parts": ()}, "LoRA + embeddings + norms": {}, "all weights": {"train": "all"}}
FEW = 1 / 8  # the controlled study took about 120 steps where the paper took 1,000
# arXiv 2409.12181, table 1, Llama-2-7B at 32k: perplexity of linear interpolation, all weights trained; of LongLoRA.
CONTROLLED = (5.9, 9.9)


def study(profile: BaseProfile, seeds: int = SEEDS) -> Study:
    """Make study 9; one seed."""
    most = 4 * profile.steps
    counts = tuple(most // share for share in (16, 8, 4, 2, 1))
    arms = {
        name: {count: profile.run(8, steps=count, **fields) for count in counts} for name, fields in METHODS.items()
    }
    # The middle count is the usual one, and the last that of study 1: their rows are shared.
    usual = arms_at(profile, 8, 1, ("s2",))["s2"][0]
    arms["LoRA + embeddings + norms"] |= {profile.steps: usual, most: longer_arms(profile, 1)["S²"][0]}
    spread = arms_at(profile, 8, seeds, ("full", "s2"))
    rows = [run for line in arms.values() for run in line.values()] + [run for runs in spread.values() for run in runs]
    return Study(
        9,
        "steps",
        "How many steps does each way of training need, and can too few explain a harsh result?",
        (
            StudyPart(
                "Dense bits/byte by optimiser steps", tuple(rows), lambda rows: judge_steps(rows, arms, spread, counts)
            ),
        ),
        exploratory=True,
        limits="Each count is a run of its own, with its whole schedule. Learning rates are those of study 2.",
    )


def judge_steps(rows: Rows, arms: dict[str, dict[int, Run]], spread: dict, counts: tuple[int, ...]) -> Findings:
    """Compare the methods by the number of steps."""
    table = tuple(
        (name, *(f"{rows.bits([line[count]])[0]:.3f} ({rate(rows.passkeys([line[count]]))})" for count in counts))
        for name, line in arms.items()
    )
    borrowed = rows.seed_spread(spread["full"], spread["s2"])

    def gap(first: tuple[str, int], second: tuple[str, int]):
        one, two = (rows.bits([arms[name][count]]) for name, count in (first, second))
        return difference(one, two, spread=borrowed)

    few, most = round(counts[-1] * FEW), counts[-1]
    both, every = "LoRA + embeddings + norms", "all weights"
    early, late = gap((every, few), (both, few)), gap((every, most), (both, most))
    harsh = gap((every, most), ("LoRA", few))
    usual = counts[len(counts) // 2]
    longer = {name: gap((name, usual), (name, most)) for name in arms}
    claims = (
        Claim(f"After an eighth of the steps ({few}) LoRA with both is far behind all weights (more than 5 %).",
              above(early, 0.05), early.text()),
        Claim(f"After all {most} steps it is within 2 % of all weights.", within(late, 0.02), late.text()),
        Claim("Too few steps of LoRA explain a loss a quarter above that of all weights, as the controlled study saw.",
              above(harsh, 0.25),
              f"LoRA alone after {few} steps against all weights after {most}: {harsh.text()}; the controlled study: "
              f"perplexities of {CONTROLLED[1]} and {CONTROLLED[0]}, {100 * as_loss(*CONTROLLED):+.0f} % of the loss"),
        Claim(f"All ways are better after {most} steps than after {usual}.",
              below(max(longer.values(), key=lambda change: change.mean)),
              "; ".join(f"{name} {change.text()}" for name, change in longer.items())),
    )  # fmt: skip
    series = {name: {count: rows.bits([run]) for count, run in line.items()} for name, line in arms.items()}
    picture = series_picture("steps", series, x="optimiser steps")
    headings = ("trained", *(f"{count} steps" for count in counts))
    return Findings((Table(headings, table, "Dense bits/byte at the target (passkeys found)."),), (picture,), claims)
