"""The remedy's tables: dense text and named references, each arm beside full attention and short windows that leap."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from longlora_edu.runs.records import Proportion

from ..study.part import Rows
from ..study.summary import with_spread
from ..study.verdict import over_trials
from .law_page import in_percent
from .law_verdict import Records, by_row
from .recall import Recall
from .remedy import QUARTER, STEPS, WINDOWS, WINDOWS_QUARTER, reference_arms, share_of_pairs, text_arms

FULL = "full attention"


def remedy_section(records: Sequence[dict], law: str) -> str:
    """Write the tables of what is recorded with their headings."""
    parts = ["\n## The remedy\n", *(f"{text_table(records, steps)}\n" for steps in STEPS)]
    return "\n".join([*parts, reference_table(records, law), ""])


def text_table(records: Sequence[dict], steps: int) -> str:
    """Write dense bits/byte after a number of steps; arms with a missing row are left out and counted.

    What ends with a quarter of full attention is compared with windows that end so too.
    """
    rows = Rows(records)
    planned = text_arms(steps)
    arms = {name: runs for name, runs in planned.items() if all(run in rows for run in runs)}
    lines = ["| training | pairs | dense bits/byte | against full | against windows that leap | passkeys |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for name, runs in arms.items():
        beside = [
            rows.worse_than(runs, arms[other]).text() if other in arms and other != name else "–"
            for other in (FULL, WINDOWS_QUARTER if name in QUARTER else WINDOWS)
        ]
        bits = with_spread(rows.bits(runs))
        pairs = in_percent(share_of_pairs(runs[0]))
        lines.append(f"| {name} | {pairs} | {bits} | {' | '.join(beside)} | {in_percent(rows.passkeys(runs).rate)} |")
    said = [f"{steps} steps, target 2,048 bytes, three seeds; ± over documents and seeds.", _missing(planned, arms)]
    if any(name in QUARTER for name in arms):
        said.append("What has a last quarter is compared with windows that have one.")
    return f"{' '.join(filter(None, said))}\n\n" + "\n".join(lines)


def reference_table(records: Sequence[dict], law: str) -> str:
    """Write which share of named references is found in dense use, by distance, and the difference from the windows."""
    found, planned = by_row(records, law), reference_arms()
    arms = {name: rows for name, rows in planned.items() if all(row in found for row in rows)}
    kinds = planned["S²"][0].classes
    shares = [f"| training | {' | '.join(kinds)} | mean | bits/byte at 2,048 |", "|---|" + "---|" * (len(kinds) + 2)]
    beside = [f"| less the windows that leap | {' | '.join(kinds)} |", "|---|" + "---|" * len(kinds)]
    for name, rows in arms.items():
        by_kind = {kind: _rates(rows, kind, found) for kind in kinds}
        means = [statistics.mean(one.rate for one in rates) for rates in by_kind.values()]
        bits = with_spread([found[row]["results"]["bits_per_byte"][str(row.length)] for row in rows])
        shares.append(f"| {name} | {' | '.join(map(in_percent, [*means, statistics.mean(means)]))} | {bits} |")
        if WINDOWS in arms and name != WINDOWS:
            others = (_rates(arms[WINDOWS], kind, found) for kind in kinds)
            less = [over_trials(mine, its).cell(unit="") for mine, its in zip(by_kind.values(), others, strict=True)]
            beside.append(f"| {name} | {' | '.join(less)} |")
    parts = [
        f"Named references found in dense use, by distance, 240 steps, three seeds of at least 360 questions a class. "
        f"{_missing(planned, arms)}".strip(),
        "\n".join(shares),
    ]
    if len(beside) > 2:
        parts += ["Points more than windows that leap find, over seeds and trials:", "\n".join(beside)]
    return "\n\n".join(parts)


def _rates(rows: Sequence[Recall], kind: str, found: Records) -> list[Proportion]:
    shares = (found[row]["results"]["recall"]["dense"][kind] for row in rows)
    return [Proportion(one["successes"], one["trials"]) for one in shares]


def _missing(planned: dict, arms: dict) -> str:
    missing = len(planned) - len(arms)
    return f"{missing} of {len(planned)} arms are not recorded yet." if missing else ""
