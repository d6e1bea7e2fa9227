"""The law's tests and the remedy's numbers, in one small file of the package for the lessons."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict

from longlora_edu.runs.records import as_json

from ..study.part import Rows
from .cells import Drawn
from .law_verdict import by_row, judge_law, rates_of
from .pilots import Pilot
from .prediction import Fit
from .remedy import STEPS, reference_arms, text_arms


def law_digest(
    predicted: tuple[Fit, Drawn, Sequence[Pilot]], records: Sequence[dict], studies: Sequence[dict], law: str
) -> dict:
    """Collect the verdicts, and by arm the mean bits/byte after most steps and the shares of references found.

    Arms with a missing row are left out. The commands that computed the rows are in their records.
    """
    fit, drawn, pilots = predicted
    ours, rows = by_row(records, law), Rows([*studies, *records])
    text = {name: runs for name, runs in text_arms(max(STEPS)).items() if all(run in rows for run in runs)}
    found = {name: each for name, each in reference_arms().items() if all(row in ours for row in each)}
    newest = max(records, key=lambda record: record["date"])
    return as_json({
        "tests": [asdict(claim) for claim in judge_law(drawn, ours, pilots, fit)],
        "bits_per_byte": {name: statistics.mean(rows.bits(runs)) for name, runs in text.items()},
        "against_full": {name: rows.worse_than(runs, text["full attention"]).cell() for name, runs in text.items()},
        "passkeys": {name: rows.passkeys(runs).rate for name, runs in text.items()},
        "references": {
            name: {kind: statistics.mean(rates_of(each[0], kind, "dense", ours)) for kind in each[0].classes}
            for name, each in found.items()
        },
        "reference_bits": {
            name: statistics.mean(ours[row]["results"]["bits_per_byte"][str(row.length)] for row in each)
            for name, each in found.items()
        },
        "rows": len(records),
        "command": "longlora-edu study law",
        **{key: newest[key] for key in ("date", "machine", "versions")},
    })  # fmt: skip
