"""The seven findings at the top of the page of evidence: one number each, and what it rests on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from longlora_edu.runs.records import recorded

from .part import PROFILES, SEEDS, Rows, Table
from .questions.q01_attention.longer import longer_arms
from .questions.q01_attention.shift_needed import probes_of
from .questions.q01_attention.training_attention import arms_at
from .questions.q02_parts import part_arms
from .questions.q03_lengths import untrained_run
from .spec import Settings
from .summary import PAPER_TABLE_1, as_loss, rate, thousands, with_spread

PROFILE = PROFILES["cpu"]
TIMED = (2048, 8192)


@dataclass(frozen=True)
class Finding:
    """A sentence, its number, and what both rest on: a study and the rows behind the number."""

    sentence: str
    study: int
    rows: tuple[Settings, ...]
    number: Callable[[Rows], str]


def findings() -> tuple[Finding, ...]:
    """List the seven, what decides most first."""
    eight = arms_at(PROFILE, 8, SEEDS, ("full", "s2", "short"))
    full, s2, short = (eight[name] for name in ("full", "s2", "short"))
    target = thousands(full[0].target)
    untrained, longer = untrained_run(PROFILE, "yarn"), longer_arms(PROFILE, SEEDS)
    linear, dense = (tuple(PROFILE.run(8, attention=attention, rope="linear", seed=seed) for seed in range(SEEDS))
                     for attention in ("s2", "full"))  # fmt: skip
    parts = part_arms(PROFILE, SEEDS)
    alone, both = parts["LoRA, rank 8"], parts["LoRA, rank 8 + embeddings + norms"]
    across = tuple(runs for name, runs in probes_of(SEEDS).items() if name.startswith("across"))
    return (
        Finding(f"Stretched positions (YaRN) find a passkey at {target} bytes, eight times as far as the base was "
                "trained, before anything is trained.", 11, (untrained,),
                lambda rows: f"{rate(rows.passkeys([untrained]))} found"),
        Finding("The paper's own rule of positions, linear interpolation, fails by 8 in "
                f"{linear[0].steps} steps, with S² and with full attention: no passkey, and a loss of",
                7, (*linear, *dense),
                lambda rows: " and ".join(f"{with_spread(rows.bits(runs), 2)} bits/byte, {rate(rows.passkeys(runs))}"
                                          for runs in (linear, dense))),
        Finding("Training with S² stays behind full attention once attention is dense, at ×8 by", 1, (*full, *s2),
                lambda rows: f"{rows.worse_than(s2, full).text()}; in the paper "
                             f"{100 * as_loss(*PAPER_TABLE_1[8]):+.1f} %"),
        Finding("At ×8 the shift changes nothing on text that can be seen; on a task made for it, it is everything. "
                "Short attention against S²:", 1, (*s2, *short, *across[0], *across[1]),
                lambda rows: f"{rows.worse_than(short, s2).text(digits=2)}; right on the task "
                             f"{_right(rows, across[1])} and {_right(rows, across[0])}"),
        Finding("More steps of S², with LoRA at one learning rate, do harm in dense use: "
                f"{longer['S²'][0].steps} against {s2[0].steps}", 1,
                (*s2, *longer["S²"], *full, *longer["full"]),
                lambda rows: f"{rows.worse_than(longer['S²'], s2).text()}; full attention "
                             f"{rows.worse_than(longer['full'], full).text()}"),
        Finding("Embeddings and norms are worth training: LoRA alone is worse by", 2, (*alone, *both),
                lambda rows: rows.worse_than(alone, both).text()),
        Finding("A training step of the small model is faster with S², the more so the longer its text: at 2,048 and "
                "at 8,192 tokens, on two cores", 10, (), lambda rows: _clock()),
    )  # fmt: skip


def front_page(rows: Rows, anchors: dict[int, str]) -> str:
    """Make the table; `anchors` link to the studies by their number."""
    lines = []
    for number, finding in enumerate(findings(), 1):
        missing = sum(row not in rows for row in finding.rows)
        value = f"not run yet ({missing} rows)" if missing else finding.number(rows)
        rests = f"[study {finding.study}](#{anchors[finding.study]})" if finding.study in anchors else "–"
        rests += f", {_rests(finding.rows)}" if finding.rows else ", `bench step`: 5 rounds"
        lines.append((str(number), finding.sentence, value, rests))
    return _lines(Table(("", "finding", "number", "rests on"), tuple(lines)))


def _rests(rows: Sequence[Settings]) -> str:
    seeds = len({row.seed for row in rows})
    return f"{len(rows)} run{'s' * (len(rows) > 1)} of {seeds} seed{'s' * (seeds > 1)}"


def _right(rows: Rows, runs) -> str:
    shares = [rows[run]["accuracy"]["rate"] for run in runs]
    return f"{100 * sum(shares) / len(shares):.0f} %"


def _clock() -> str:
    """Format the median speed-up of two timed steps, and those that the FLOPs promise."""
    timed = {row["context"]: row for row in recorded("step_small_adapters")["rows"]}
    clock, flops = (
        " and ".join(f"{value:.1f}" for value in values)
        for values in zip(*((timed[n]["times_faster"]["median"], timed[n]["promised"]) for n in TIMED), strict=True)
    )
    return f"{clock} times as fast; by FLOPs {flops}"


def _lines(table: Table) -> str:
    lines = [table.headings, tuple("---" for _ in table.headings), *table.rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
