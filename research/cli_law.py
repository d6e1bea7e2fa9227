"""`longlora-edu study law` and its pages: a prediction, the rows that test it, and the remedy's rows."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from longlora_edu.cli.app import clear_errors

from .cli_study import study_app

if TYPE_CHECKING:
    from .law.recall import Recall

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
FOLDER = RESULTS / "law"
DOCS = RESULTS.parents[1] / "docs"
DIGEST = RESULTS.parents[1] / "longlora_edu" / "assets" / "results" / "law.json"
_Out = Annotated[Path, typer.Option(help="Folder of the records.", show_default="benchmarks/results/law")]


@study_app.command()
def law(
    part: Annotated[
        Literal["law", "onset", "remedy", "all"],
        typer.Option(help="Rows that test the law, the same for more steps where it failed, the remedy's, or all."),
    ] = "all",
    jobs: Annotated[int, typer.Option(min=1, help="Rows computed at a time, each in a process.")] = 2,
    out: _Out = FOLDER,
    resume: Annotated[bool, typer.Option("--resume", help="Continue interrupted rows from their checkpoints.")] = False,
    only: Annotated[str | None, typer.Option(help="Compute a single row, by its key.")] = None,
    pilots: Annotated[bool, typer.Option("--pilots", help="Compute the missing pilots, and nothing else.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print rows and hours, compute nothing.")] = False,
) -> None:
    """Compute the rows that test docs/law.md; finished rows are kept, and each holds the hash of that page."""
    with clear_errors("study law", out):
        from longlora_edu.runs.progress import Terminal

        from .law.pilots import ROWS, planned_pilots, write_pilots
        from .study.grid import make_plan, run_grid
        from .study.inputs import Inputs, default_folder
        from .study.row import record_path

        if pilots:
            if dry_run:
                typer.echo(f"{len(planned_pilots())} pilots, {len(_pilot_records())} recorded")
            else:
                typer.echo(write_pilots(_computed_pilot, ROWS))
            return
        inputs = Inputs.open()
        rows = {inputs.key(row): row for row in _rows_of(part)}
        if only is not None and only not in rows:
            raise ValueError(f"--only must be the key of a row, got {only}")
        # Runs without leaps are recorded among the studies: they are the same rows.
        rows = {
            key: row for key, row in rows.items()
            if only in (None, key) and not record_path(default_folder(), key).exists()
        }  # fmt: skip
        plan = make_plan(list(rows.values()), inputs, out)
        for text in budget(plan.done.values(), plan.missing.values(), jobs):
            typer.echo(text)
        if dry_run or not plan.missing:
            return
        title, progress = "Law", Terminal()
        failed = run_grid(
            plan, inputs, out, jobs=jobs, resume=resume, progress=progress, title=title, on_row=lambda one: one["key"]
        )
        typer.echo(f"{out}: {len(plan.missing) - len(failed)} rows done")
        if failed:
            raise ValueError(f"all rows must succeed, got {len(failed)} that failed: {', '.join(failed)}")


@study_app.command("law-page")
def law_page(
    to: Annotated[Path | None, typer.Option(help="File to write; docs/law.md.")] = None,
) -> None:
    """Write the prediction from the pilots: docs/law.md, to be committed before a row of the test is run."""
    with clear_errors("study law-page", to or Path(".")):
        from longlora_edu.runs.records import replace_file

        from .law.law_file import LAW
        from .law.law_page import prediction_page

        page = prediction_page(*_predicted())
        replace_file(to or LAW, page.encode())
        typer.echo(to or LAW)


@study_app.command("law-verdict")
def law_verdict(
    out: _Out = FOLDER,
    to: Annotated[Path, typer.Option(help="Folder of the two pages.", show_default="docs")] = DOCS,
) -> None:
    """Write what came of the prediction, law_measured.md, and the tables of note.md, whose text a person wrote.

    With the records and the folder of this checkout the digest for the lessons is written too.
    """
    with clear_errors("study law-verdict", to):
        from longlora_edu.runs.records import replace_file, write_json

        from .law.law_digest import law_digest
        from .law.law_file import law_hash
        from .law.note_tables import outcome_pages
        from .study.inputs import default_folder
        from .study.row import read_rows

        note = (DOCS / "note.md").read_text(encoding="utf-8")
        records, studies, predicted = read_rows(out), read_rows(default_folder()), _predicted()
        for name, page in outcome_pages(predicted, records, studies, law_hash(), note).items():
            replace_file(to / name, page.encode())
            typer.echo(to / name)
        if (to, out) == (DOCS, FOLDER):
            write_json(DIGEST, law_digest(predicted, records, studies, law_hash()))
            typer.echo(DIGEST)


def budget(done: Iterable, missing: Iterable, jobs: int) -> list[str]:
    """Describe the rows by kind with the hours that they will take, by measured seconds of the processor."""
    from .study.grid import estimated_seconds, seconds_a_byte
    from .study.inputs import default_folder
    from .study.row import read_rows
    from .study.spec import Run

    done, missing, total, lines = list(done), list(missing), 0.0, []
    speeds = seconds_a_byte(read_rows(default_folder()))
    for name in dict.fromkeys(map(_sort, (*done, *missing))):
        rows = [row for row in missing if _sort(row) == name]
        if rows and isinstance(rows[0], Run):
            seconds = estimated_seconds(rows, speeds) or 0.0
        else:
            seconds = sum(seconds_of_recall(row) for row in rows)
        total += seconds
        recorded = sum(_sort(row) == name for row in done)
        each = f", about {seconds / len(rows):.0f} s each" if rows else ""
        lines.append(f"{name}: {recorded} rows recorded, {len(rows)} to compute{each}")
    hours = total / 3600 / jobs
    return [*lines, f"{len(missing)} rows to compute, {jobs} at a time on one thread each: about {hours:.1f} hours"]


def seconds_of_recall(row: Recall) -> float:
    """Estimate the seconds of a row of the law by what was measured of its task: rows, else smoke rows and pilots."""
    from .law.smoke import smoke_seconds

    found = [one["cpu_seconds"] * row.steps / one["config"]["steps"] for one in _pilot_records()
             if one["config"]["task"] == row.task]  # fmt: skip
    return statistics.median(found) if found else smoke_seconds(row)


def _rows_of(part: str) -> Sequence:
    rows = []
    if part in ("law", "all"):
        fit, drawn, _ = _predicted()
        rows += drawn.rows()
    if part in ("onset", "all"):
        from .law.onset import onset_rows

        rows += onset_rows()
    if part in ("remedy", "all"):
        from .law.remedy import remedy_rows

        rows += remedy_rows()
    return rows


def _predicted():
    from .law.cells import draw_cells
    from .law.pilots import load_pilots
    from .law.prediction import fit_law

    pilots = load_pilots()
    fit = fit_law(pilots)
    return fit, draw_cells(fit, pilots), pilots


def _pilot_records() -> list[dict]:
    from longlora_edu.runs.records import read_json

    from .law.pilots import ROWS

    return read_json(ROWS)["rows"] if ROWS.exists() else []


def _computed_pilot(row) -> dict:
    import dataclasses

    import torch

    from longlora_edu.runs.records import as_json, provenance

    from .law.recall_run import compute_recall

    torch.set_num_threads(1)
    began = time.process_time()
    training, results = compute_recall(row, None, None)
    accuracy = [point["accuracy"] for point in training.curve]
    fifths = [statistics.mean(accuracy[i * len(accuracy) // 5 : (i + 1) * len(accuracy) // 5]) for i in range(5)]
    record = {
        "config": dataclasses.asdict(row),
        "results": results,
        "cpu_seconds": time.process_time() - began,
        "training_accuracy": [round(value, 3) for value in fifths],
        "load": round(os.getloadavg()[0], 2),
    }
    return as_json(record | vars(provenance(threads=1, command="longlora-edu study law --pilots")))


def _sort(row) -> str:
    from .study.spec import Run

    return f"text, {row.steps} steps" if isinstance(row, Run) else row.task
