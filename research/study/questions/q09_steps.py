"""Study 9: the number of steps that each way of training needs."""

from __future__ import annotations

from typing import Any

from ..part import SEEDS, BaseProfile, Findings, Rows, Study, StudyPart, Table
from ..seed_plots import series_picture
from ..summary import Arms, as_loss, rate, seeds_note, with_spread
from ..verdict import Claim, above, below, within
from .q01_attention.longer import longer_arms
from .q01_attention.training_attention import arms_at

FULL = "all weights, full attention"
METHODS = {"LoRA": {"parts": ()}, "LoRA + embeddings + norms": {}, "all weights": {"train": "all"}}
FEW = 1 / 8  # the controlled study took about 120 steps where the paper took 1,000
# arXiv 2409.12181, table 1, Llama-2-7B at 32k: perplexity of linear interpolation, all weights trained; of LongLoRA.
CONTROLLED = (5.9, 9.9)


def study(profile: BaseProfile, seeds: int = SEEDS) -> Study:
    """Make study 9: the first seed of each count, and further ones where they are recorded."""
    most = 4 * profile.steps
    counts = tuple(most // share for share in (16, 8, 4, 2, 1))
    arms = step_arms(profile, counts, seeds)
    # The middle count is the usual one, and the last that of study 1: their rows are shared.
    both = "LoRA + embeddings + norms"
    arms |= {(both, profile.steps): arms_at(profile, 8, seeds, ("s2",))["s2"]}
    arms |= {(both, most): longer_arms(profile, seeds)["S²"]}
    spread = arms_at(profile, 8, seeds, ("full", "s2"))
    linear = step_arms(profile, counts, 1, rope="linear")
    linear[FULL, most] = (profile.run(8, steps=most, rope="linear", attention="full", train="all"),)
    lending = {
        name: tuple(profile.run(8, attention=name, rope="linear", seed=seed) for seed in range(seeds))
        for name in ("full", "s2")
    }
    shared = tuple(run for runs in spread.values() for run in runs)
    return Study(
        9,
        "steps",
        "How many steps does each way of training need, and can too few explain a harsh result?",
        (
            StudyPart("Dense bits/byte by optimiser steps", (*(runs[0] for runs in arms.values()), *shared),
                      lambda rows: judge_steps(rows, arms, spread, counts),
                      tuple(run for runs in arms.values() for run in runs[1:])),
            StudyPart("The same with linear interpolation, as in the controlled study",
                      (*(runs[0] for runs in linear.values()), *(run for runs in lending.values() for run in runs)),
                      lambda rows: judge_linear(rows, linear, lending, counts)),
        ),
        exploratory=True,
        limits="All train under S², but where full attention is named. Each count is a run of its own, with its whole "
        "schedule. Learning rates are those of study 2.",
    )  # fmt: skip


def step_arms(profile: BaseProfile, counts: tuple[int, ...], seeds: int, **fields: Any) -> dict[tuple[str, int], Any]:
    """Set up each way of training with each number of steps."""
    return {
        (name, count): tuple(profile.run(8, steps=count, seed=seed, **own, **fields) for seed in range(seeds))
        for name, own in METHODS.items()
        for count in counts
    }


def judge_steps(rows: Rows, planned: dict, spread: Arms, counts: tuple[int, ...]) -> Findings:
    """Compare the methods by the number of steps."""
    arms = rows.recorded_seeds(planned)
    lent = rows.lent(spread["full"], spread["s2"])

    def gap(first: tuple[str, int], second: tuple[str, int]):
        return rows.worse_than(arms[second], arms[first], lent=lent)

    few, most = round(counts[-1] * FEW), counts[-1]
    both, every = "LoRA + embeddings + norms", "all weights"
    early, late = gap((every, few), (both, few)), gap((every, most), (both, most))
    harsh = gap((every, most), ("LoRA", few))
    usual = counts[len(counts) // 2]
    longer = {name: gap((name, usual), (name, most)) for name in METHODS}
    claims = (
        Claim(f"After an eighth of the steps ({few}) LoRA with both is far behind all weights (more than 5 %).",
              above(early, 0.05), early.text()),
        Claim(f"After all {most} steps it is within 2 % of all weights.", within(late, 0.02), late.text()),
        Claim("With YaRN, too few steps of LoRA alone leave a loss a quarter above that of all weights.",
              above(harsh, 0.25), f"LoRA alone after {few} steps against all weights after {most}: {harsh.text()}"),
        Claim(f"All ways are better after {most} steps than after {usual}.",
              below(max(longer.values(), key=lambda change: change.mean)),
              "; ".join(f"{name} {change.text()}" for name, change in longer.items())),
    )  # fmt: skip
    series = {name: {count: rows.bits(arms[name, count]) for count in counts} for name in METHODS}
    picture = series_picture("steps", series, x="optimiser steps")
    notes = (
        f"The controlled study (arXiv 2409.12181) has perplexities of {CONTROLLED[1]} and {CONTROLLED[0]} at 32k, "
        f"{100 * as_loss(*CONTROLLED):+.0f} % of the loss, by linear interpolation, and made about an eighth of the "
        "paper's updates with about half of its tokens. A part of the difference stands before the first wall: by the "
        "same second source LongLoRA has 12.80 there at 2,048 tokens, a quarter of a group, and the base 6.61. So what "
        "groups hide cannot be all of it.",
    )
    return Findings((_table(rows, arms, counts),), (picture,), claims, notes)


def judge_linear(rows: Rows, arms: dict, lending: Arms, counts: tuple[int, ...]) -> Findings:
    """Compare the methods under the position rule of the controlled study."""
    few, most = round(counts[-1] * FEW), counts[-1]
    lent = rows.lent(lending["full"], lending["s2"])
    harsh = rows.worse_than(arms["LoRA + embeddings + norms", few], arms[FULL, most], lent=lent)
    sparse = rows.worse_than(arms["LoRA + embeddings + norms", few], arms["all weights", most], lent=lent)
    claims = (
        Claim("LoRA with both after few steps of S² is at least a quarter behind all weights with full attention, as "
              "the controlled study saw.", above(harsh, 0.25),
              f"after {few} steps against {most}: {harsh.text()}; there {100 * as_loss(*CONTROLLED):+.0f} %"),
        Claim("The same against all weights under S².", above(sparse, 0.25), sparse.text()),
    )  # fmt: skip
    alone = f"{FULL}, {most} steps: {rows.bits(arms[FULL, most])[0]:.3f}"
    return Findings((_table(rows, arms, counts),), (), claims, (f"{alone[0].upper()}{alone[1:]} bits/byte.",))


def _table(rows: Rows, arms: dict, counts: tuple[int, ...]) -> Table:
    lines = tuple(
        (name, *(f"{with_spread(rows.bits(arms[name, n]))}, {rate(rows.passkeys(arms[name, n]))}" for n in counts))
        for name in METHODS
    )
    headings = ("trained", *(f"{count} steps" for count in counts))
    return Table(headings, lines, f"Dense bits/byte at the target, passkeys found. {seeds_note(arms)}")
