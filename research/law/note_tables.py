"""The two pages of the outcome: every cell, and the note, which a person wrote around tables."""

from __future__ import annotations

from collections.abc import Sequence

from longlora_edu.runs.marked import fill_marked

from .cells import Drawn
from .law_page import measured_page, verdict_table
from .law_verdict import by_row
from .onset import onset_tables
from .pilots import Pilot
from .prediction import Fit
from .remedy import STEPS
from .remedy_tables import reference_table, remedy_section, text_table


def outcome_pages(
    predicted: tuple[Fit, Drawn, Sequence[Pilot]], records: Sequence[dict], studies: Sequence[dict], law: str, note: str
) -> dict[str, str]:
    """Write both pages from the rows of the law and of the studies; gives their texts by file name."""
    ours, everything = by_row(records, law), [*studies, *records]
    measured = measured_page(*predicted, ours, law)
    onset = onset_tables(ours)
    blocks = {
        "tests": verdict_table(*predicted, ours),
        "onset": onset,
        "text": text_table(everything, max(STEPS)),
        "references": reference_table(everything, law),
    }
    measured += f"\n## After the test: more steps\n\n{onset}\n" + remedy_section(everything, law)
    return {"law_measured.md": measured, "note.md": fill_marked(note, blocks)}
