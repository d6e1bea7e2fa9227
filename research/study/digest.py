"""The studies' tables and verdicts, in one small file of the package for the lessons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from longlora_edu.runs.records import as_json, write_json

from .evidence import missing_of, of_one_text, show_part
from .part import Rows, Study, StudyPart
from .questions import studies
from .row import read_rows


def digest(records: Sequence[dict], found: Sequence[Study] | None = None) -> dict:
    """Collect each study's question and parts: tables, claims and notes, or the number of missing rows.

    The commands that computed the rows are in their records; here stand the days, processors and versions.
    """
    chosen = of_one_text(records)
    rows = Rows(chosen)
    told = {
        study.name: {
            "question": study.question,
            "caveat": study.caveat,
            "command": f"longlora-edu study {study.name}",
            "parts": [_part(part, rows) for part in study.parts],
        }
        for study in found or studies()
    }
    runs = [record for record in chosen if record["kind"] == "extension"]
    about = {
        "rows": len(chosen),
        "days": sorted({record["date"][:10] for record in chosen}),
        "processors": sorted({record["machine"]["processor"] for record in runs}),
        "torch": sorted({record["versions"]["torch"] for record in runs}),
    }
    return as_json({"about": about, "studies": told})


def write_digest(folder: Path, path: Path) -> Path:
    """Write the digest of the records in `folder` to `path`; return `path`.

    Raises:
        ValueError: naming the file, for a damaged record.
    """
    write_json(path, digest(read_rows(folder)))
    return path


def _part(part: StudyPart, rows: Rows) -> dict:
    total = len(dict.fromkeys(part.rows))
    told = {"title": part.title, "rows": total, "missing": missing_of(part.rows, rows)}
    shown = show_part(part, rows)
    if shown is None:
        return told
    return told | {
        "tables": [asdict(table) for table in shown.tables],
        "claims": [asdict(claim) for claim in shown.claims],
        "notes": list(shown.notes),
    }
