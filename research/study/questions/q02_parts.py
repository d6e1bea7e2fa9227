"""Study 2: the parts to train besides LoRA, and the rank."""

from __future__ import annotations

from ..part import SEEDS, BaseProfile, Findings, Rows, Study, StudyPart, Table
from ..seed_plots import series_picture
from ..spec import Run
from ..summary import INTERVAL, LEVELS, Arms, as_loss, rate, thousands, with_spread
from ..verdict import Claim, above, within
from .q01_attention.training_attention import arms_at, by_seed

RANKS = (2, 8, 32, 128)
BOTH = ("embeddings", "norms")
# Table 2 of the paper, PG19 validation at 32,768, S²: LoRA of rank 8 and of rank 256, with both, all weights. Its other
# ranks, norms alone and embeddings alone have no second source.
PAPER_TABLE_2 = {"LoRA, rank 8": 11.44, "LoRA, rank 8 + embeddings + norms": 8.12, "all weights": 8.08}


def study(profile: BaseProfile, seeds: int = SEEDS) -> Study:
    """Make study 2: its rows and its findings."""
    arms = part_arms(profile, seeds)
    rates = {
        f"{name}, rate {rate:g}": _seeds(profile, 1, rate=rate, **fields)
        for name, rate, fields in (
            (_alone(8), 4e-3, {"parts": ()}),
            (_alone(128), 1e-3, {"parts": (), "rank": 128}),
            (_with_both(8), 4e-3, {}),
            ("all weights", 5e-4, {"train": "all"}),
            ("all weights", 2e-3, {"train": "all"}),
        )
    }
    return Study(
        2,
        "parts",
        "What must be trained besides LoRA, and does a higher rank help?",
        (
            StudyPart("What is trained, at one learning rate", by_seed(arms), lambda rows: judge_parts(rows, arms)),
            StudyPart("Other learning rates", (*by_seed(rates), *(run for runs in arms.values() for run in runs)),
                      lambda rows: judge_rates(rows, rates, arms)),
        ),
    )  # fmt: skip


def part_arms(profile: BaseProfile, seeds: int) -> dict[str, tuple[Run, ...]]:
    """Set up what is trained, a run per seed; LoRA of rank 8 with both is that of study 1."""
    shared = arms_at(profile, 8, seeds, ("s2",))["s2"]
    return {name: _seeds(profile, seeds, **fields) for name, fields in _fields().items()} | {_with_both(8): shared}


def judge_parts(rows: Rows, arms: Arms) -> Findings:
    """Compare bits per byte by trained parts, with their share of all weights, memory and time."""
    every = arms["all weights"]
    lines = []
    for name, runs in sorted(arms.items(), key=lambda arm: rows.record(arm[1][0])["cost"]["trainable_parameters"]):
        cost = rows.record(runs[0])["cost"]
        lines.append((
            name, thousands(cost["trainable_parameters"]),
            f"{100 * cost['trainable_parameters'] / cost['all_parameters']:.1f} %",
            with_spread(rows.bits(runs)), "–" if runs is every else rows.worse_than(runs, every).cell(),
            _paper(name), rate(rows.passkeys(runs)), f"{cost['training_peak_rss_bytes'] / 1e6:,.0f} MB",
            _step(rows, runs),
        ))  # fmt: skip
    headings = ("trained", "weights", "share", "bits/byte at the target", "against all weights",
                "the paper's, of the loss", "passkeys", "memory in training", "a step")  # fmt: skip
    note = (
        f"{LEVELS} {INTERVAL} Memory is of the first seed; a step's seconds are the "
        "processor's, the least of the seeds, on one thread beside another row: good for comparing rows, not machines."
    )
    best, alone = rows.worse_than(arms[_with_both(8)], every), rows.worse_than(arms[_alone(8)], arms[_with_both(8)])
    rank = rows.worse_than(arms[_alone(128)], arms[_with_both(8)])
    embeddings, norms = (rows.worse_than(arms[f"LoRA, rank 8 + {part}"], arms[_alone(8)]) for part in BOTH)
    claims = (
        Claim("At one learning rate, LoRA with embeddings and norms stays within 2 % of all weights.",
              within(best, 0.02), f"{best.text()}; the paper's table 2 {_paper(_with_both(8))} of the loss"),
        Claim("LoRA alone is worse.", above(alone),
              f"rank 8 alone against rank 8 with both {alone.text()}"),
        Claim("At one learning rate, a higher rank does not make up for embeddings and norms.", above(rank),
              f"rank 128 alone, with {_weights(rows, arms[_alone(128)])} weights, against rank 8 with both, with "
              f"{_weights(rows, arms[_with_both(8)])}: {rank.text()}"),
        Claim("Of the two, the embeddings are what matters.", above(over(rows, arms), 0.0),
              f"rank 8 and norms {norms.text()}, rank 8 and embeddings {embeddings.text()} against rank 8 alone"),
    )  # fmt: skip
    series = {
        "LoRA alone": {rank: rows.bits(arms[_alone(rank)]) for rank in RANKS},
        "with embeddings and norms": {rank: rows.bits(arms[_with_both(rank)]) for rank in RANKS},
        "all weights": dict.fromkeys(RANKS, rows.bits(every)),
    }
    picture = series_picture("parts", series, x="rank")
    return Findings((Table(headings, tuple(lines), note),), (picture,), claims)


def over(rows: Rows, arms: Arms):
    """Compare norms alone with embeddings alone, both with LoRA of rank 8."""
    return rows.worse_than(arms["LoRA, rank 8 + norms"], arms["LoRA, rank 8 + embeddings"])


def judge_rates(rows: Rows, rates: Arms, arms: Arms) -> Findings:
    """Compare methods at their best learning rates, with the first seed."""
    lines, best = [], {}
    for name, runs in rates.items():
        usual = name.rpartition(",")[0]
        here, there = rows.bits(runs)[0], rows.bits(arms[usual][:1])[0]
        best[usual] = min(best.get(usual, there), here)
        lines.append((usual, f"{runs[0].rate:g}", f"{here:.3f}", f"{arms[usual][0].rate:g}", f"{there:.3f}"))
    gap = best[_with_both(8)] / best["all weights"] - 1
    lone = best[_alone(128)] / best[_with_both(8)] - 1
    notes = (
        f"Each at the best of two or three rates, one seed, no interval: LoRA with both against all weights "
        f"{100 * gap:+.1f} %, rank 128 alone against rank 8 with both {100 * lone:+.1f} %. Whether a high rank makes "
        "up for embeddings and norms, this cannot tell.",
    )
    headings = ("trained", "rate", "bits/byte at the target", "usual rate", "bits/byte")
    return Findings((Table(headings, tuple(lines)),), (), (), notes)


def _fields() -> dict[str, dict]:
    fields: dict[str, dict] = {_alone(rank): {"rank": rank, "parts": ()} for rank in RANKS}
    fields |= {_with_both(rank): {"rank": rank} for rank in RANKS}
    fields |= {f"LoRA, rank 8 + {part}": {"parts": (part,)} for part in BOTH}
    fields["LoRA, rank 8 + LoRA on the embeddings + norms"] = {"parts": ("embedding-lora", "norms")}
    return fields | {"all weights": {"train": "all"}}


def _alone(rank: int) -> str:
    return f"LoRA, rank {rank}"


def _with_both(rank: int) -> str:
    return f"LoRA, rank {rank} + embeddings + norms"


def _seeds(profile: BaseProfile, seeds: int, **fields) -> tuple[Run, ...]:
    return tuple(profile.run(8, seed=seed, **fields) for seed in range(seeds))


def _step(rows: Rows, runs) -> str:
    known = [rows.record(run)["cost"].get("training_cpu_seconds") for run in runs]
    known = [seconds / runs[0].steps for seconds in known if seconds is not None]
    return f"{min(known):.2f} s" if known else "–"


def _paper(name: str) -> str:
    if name not in PAPER_TABLE_2 or name == "all weights":
        return "–"
    return f"{100 * as_loss(PAPER_TABLE_2['all weights'], PAPER_TABLE_2[name]):+.1f} %"


def _weights(rows: Rows, runs) -> str:
    return thousands(rows.record(runs[0])["cost"]["trainable_parameters"])
