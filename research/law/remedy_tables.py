"""The remedy's tables: dense text and named references, each arm beside full attention."""

from __future__ import annotations

from collections.abc import Sequence

from ..study.part import Rows
from ..study.summary import pooled, rate, with_spread
from .law_verdict import by_row
from .remedy import STEPS, WINDOWS, reference_arms, text_arms


def remedy_tables(records: Sequence[dict], law: str) -> str:
    """Write the tables of what is recorded; arms with a missing row are left out and counted."""
    rows, parts = Rows(records), ["\n## The remedy\n"]
    for steps in STEPS:
        arms = {name: runs for name, runs in text_arms(steps).items() if all(run in rows for run in runs)}
        missing = len(text_arms(steps)) - len(arms)
        lines = ["| training | dense bits/byte | against full | against windows that leap | passkeys |",
                 "|---|---|---|---|---|"]  # fmt: skip
        for name, runs in arms.items():
            beside = [
                rows.worse_than(runs, arms[other]).text() if other in arms and other != name else "–"
                for other in ("full attention", WINDOWS)
            ]
            bits = with_spread(rows.bits(runs))
            lines.append(f"| {name} | {bits} | {' | '.join(beside)} | {rate(rows.passkeys(runs))} |")
        note = f"{missing} arms are not recorded yet." if missing else ""
        parts.append(f"{steps} steps, target 2,048 bytes. {note}\n\n" + "\n".join(lines) + "\n")
    return "\n".join([*parts, _references(records, law)])


def _references(records: Sequence[dict], law: str) -> str:
    found, arms = by_row(records, law), reference_arms()
    kinds = arms["S²"][0].classes
    lines = [f"| training | {' | '.join(kinds)} | bits/byte at 2,048 |", "|---|" + "---|" * (len(kinds) + 1)]
    for name, rows in arms.items():
        if any(row not in found for row in rows):
            continue
        shares = [
            rate(pooled(found[row]["results"]["recall"]["dense"][kind] for row in rows))
            for kind in kinds
        ]  # fmt: skip
        bits = with_spread([found[row]["results"]["bits_per_byte"][str(row.length)] for row in rows])
        lines.append(f"| {name} | {' | '.join(shares)} | {bits} |")
    recorded = len(lines) - 2
    return (
        f"Named references found in dense use, by distance, {recorded} of {len(arms)} arms recorded:\n\n"
        + "\n".join(lines)
        + "\n"
    )
