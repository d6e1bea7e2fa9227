"""`longlora-edu study`: compute the rows of a study or a single row, and write the evidence page from records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from longlora_edu.cli.app import app, check_device, clear_errors

QUESTIONS = {
    "attention": "1: full, short, S², wrapped or masked attention while training; when the shift matters.",
    "positions": "7: position rules by training attention, and which band of frequencies carries the difference.",
    "parts": "2: what must be trained: ranks, embeddings, norms, all weights.",
    "lengths": "3: loss by evaluation length and position, also past the target.",
    "passkeys": "8: passkeys before, after and on the way; two stages; without passkeys in the mix.",
    "cost": "10: FLOPs in closed form beside the paper's and measured times.",
    "steps": "9: how many steps each way of training needs.",
    "shift": "6: direction, amount and boundary of the shift.",
    "groups": "5: the size of a group.",
    "patterns": "4: other sparse patterns, tested as trained and dense.",
    "others": "11: other ways to the same length on the same budget.",
    "controls": "What the evidence lacks: controls, study 9 with linear interpolation, further seeds.",
    "all": "All eleven, in this order.",
}
_Out = Annotated[Path | None, typer.Option(help="Folder of the records; benchmarks/results/runs in a checkout.")]
_Corpus = Annotated[Path | None, typer.Option(help="A file or folder of your own text.")]
_Models = Annotated[Path | None, typer.Option(help="Folder of further base models.")]
_Device = Annotated[Literal["cpu", "cuda"], typer.Option(help="Device to compute on.")]
SUITABLE = "Device to compute on; by default the CPU for the small model, a GPU for its sibling."
_OwnDevice = Annotated[Literal["cpu", "cuda"] | None, typer.Option(help=SUITABLE, show_default=False)]
_Threads = Annotated[
    int, typer.Option(min=1, help="CPU threads of a row; their number changes results in the last bits.")
]
_Resume = Annotated[bool, typer.Option("--resume", help="Continue interrupted rows from their checkpoints.")]

study_app = typer.Typer(
    no_args_is_help=True, help="Run grids of small experiments, and write the evidence page from their records."
)
app.add_typer(study_app, name="study")


def _grid(name: str) -> Callable[..., None]:
    def command(
        seeds: Annotated[int, typer.Option(min=1, help="Number of seeds (data order and LoRA).")] = 3,
        profile: Annotated[
            Literal["cpu", "gpu"], typer.Option(help="Base: the small model (cpu), or its larger sibling (gpu).")
        ] = "cpu",
        jobs: Annotated[int, typer.Option(min=1, help="Rows computed at a time, each in a process.")] = 2,
        threads: _Threads = 1,
        out: _Out = None,
        corpus: _Corpus = None,
        models: _Models = None,
        device: _OwnDevice = None,
        resume: _Resume = False,
        only: Annotated[str | None, typer.Option(help="Compute a single row, by its key.")] = None,
        part: Annotated[
            list[int] | None, typer.Option(help="Part of the study by number, from 1; may be repeated; all by default.")
        ] = None,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", "--budget", help="Print the budget, compute nothing.")
        ] = False,
    ) -> None:
        with clear_errors(f"study {name}", out or Path(".")):
            from .study.inputs import Inputs, default_folder
            from .study.questions import study_parts

            folder = out or default_folder()
            where = device or {"cpu": "cpu", "gpu": "cuda"}[profile]
            if not dry_run:
                check_device(where)
            inputs = Inputs.open(corpus and str(corpus.resolve()), models, where, planning=dry_run)
            parts = study_parts(name, profile=profile, seeds=seeds)
            if wrong := set(part or ()) - set(range(1, len(parts) + 1)):
                raise ValueError(f"--part must be from 1 to {len(parts)}, got {min(wrong)}")
            parts = [parts[number - 1] for number in part] if part else parts
            needed = [row for part in parts for row in part.rows]
            rows = dict.fromkeys((*needed, *(row for part in parts for row in part.wanted)))
            try:
                _make_bases(rows, inputs, threads, resume, dry_run)
                rows = [row for row in rows if only in (None, inputs.key(row))]
                if only and not rows:
                    raise ValueError(f"--only must be the key of a row of {name}, got {only}")
                if name == "controls" and dry_run:
                    for number, each in enumerate(parts, 1):
                        _compute(f"{number}. {each.title}", each.rows, inputs, folder, jobs, threads, resume, dry_run)
                _compute(f"Study {name}", rows, inputs, folder, jobs, threads, resume, dry_run)
            except KeyboardInterrupt:
                again = f"longlora-edu study {name} --resume"
                typer.echo(
                    f"\nStopped. Finished rows are kept; continue the others with the same options and:\n  {again}",
                    err=True,
                )
                raise typer.Exit(130) from None

    return command


for _name, _question in QUESTIONS.items():
    study_app.command(_name, help=_question)(_grid(_name))


@study_app.command()
def run(
    key: Annotated[str, typer.Argument(help="Key of the row: the name of its record.")],
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; by default those of the record, else 1.")
    ] = None,
    out: _Out = None,
    corpus: _Corpus = None,
    models: _Models = None,
    device: _Device = "cpu",
    resume: _Resume = False,
    missing: Annotated[bool, typer.Option("--missing", help="Do nothing if there is a record.")] = False,
    side_by_side: Annotated[int, typer.Option(min=1, help="Number of rows that share the machine.")] = 1,
) -> None:
    """Compute one row; if it is recorded, compute it again, print both and say whether they agree."""
    with clear_errors(f"study run {key}", out or Path(".")):
        from longlora_edu.runs.progress import Terminal

        from .study.grid import TAKEN
        from .study.inputs import Inputs, default_folder
        from .study.locks import locked, work_folder
        from .study.rerun import DIFFERENT, compare_rows
        from .study.row import compute, read_record, record_path, save_record

        check_device(device)
        folder = out or default_folder()
        inputs = Inputs.open(corpus and str(corpus.resolve()), models, device)
        path = record_path(folder, key)
        with locked(folder, key) as free:
            if not free:
                typer.echo(f"longlora-edu: {key} is being computed by another process", err=True)
                raise typer.Exit(TAKEN)
            then = read_record(path) if path.exists() else None
            if then and missing:
                return
            settings = _settings_of(key, inputs, folder)
            if threads is None:
                threads = then["machine"]["threads"] if then else 1
            options = {"work": None if then else work_folder(folder), "resume": resume, "side_by_side": side_by_side}
            now = compute(settings, inputs, threads=threads, progress=Terminal(), **options)
            if then is None:
                typer.echo(f"{save_record(folder, now)}: done")
                return
            again = save_record(work_folder(folder) / "again", now)
        found = compare_rows(then, now)
        typer.echo(f"{found.text()}\n{path}\n{again}")
        if found.word == DIFFERENT:
            raise typer.Exit(1)


@study_app.command()
def documents(
    corpus: _Corpus = None,
    to: Annotated[Path | None, typer.Option(help="File to write; benchmarks/results/window_documents.json.")] = None,
) -> None:
    """Record which held-out document each window of the rows is of, for intervals over documents."""
    with clear_errors("study documents", to or Path(".")):
        from .study.inputs import Inputs
        from .study.windows import RECORD, write_documents

        typer.echo(write_documents(Inputs.open(corpus and str(corpus.resolve())).corpus, to or RECORD))


@study_app.command()
def sibling(
    models: _Models = None,
    device: _Device = "cuda",
    threads: _Threads = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
) -> None:
    """Pretrain the base of `--profile gpu`: a larger sibling of the small model, with a longer context."""
    with clear_errors("study sibling", models or Path(".")):
        from .study.inputs import default_models

        check_device(device)
        _make_sibling((models or default_models()) / "sibling", device, threads, resume)


@study_app.command()
def report(
    out: _Out = None,
    docs: Annotated[Path, typer.Option(help="Folder of evidence.md and its pictures.")] = Path("docs"),
    lessons: Annotated[
        Path | None, typer.Option(help="File for the lessons; by default the package's, unless --out is given.")
    ] = None,
) -> None:
    """Write the evidence page and the lessons' file from the records; parts without records are marked."""
    with clear_errors("study report", out or Path(".")):
        from .study.digest import write_digest
        from .study.evidence import write_evidence
        from .study.inputs import default_digest, default_folder

        folder = out or default_folder()
        typer.echo(write_evidence(folder, docs))
        # With --out the records may be of another machine: keep the lessons as they are, unless --lessons names a file.
        if path := lessons or (None if out else default_digest()):
            typer.echo(write_digest(folder, path))


def _make_bases(rows, inputs, threads: int, resume: bool, dry_run: bool) -> None:
    """Build any missing base model first; with `--dry-run`, only report it."""
    from .study.sibling import SIBLING
    from .study.spec import Run

    if all(inputs.has(row.base) for row in rows if isinstance(row, Run)):
        return
    if dry_run:
        size = f"{SIBLING.steps:,} steps of {SIBLING.batch * SIBLING.context:,} bytes"
        typer.echo(f"Base sibling is not there yet and is made first, in {size}: longlora-edu study sibling")
    else:
        _make_sibling(inputs.base_folder("sibling"), inputs.device, threads, resume)


def _make_sibling(folder: Path, device: str, threads: int, resume: bool) -> None:
    from longlora_edu.runs.progress import Terminal

    from .study.sibling import make_sibling

    options = {"device": device, "threads": threads, "resume": resume, "progress": Terminal()}
    record = make_sibling(folder, **options)
    typer.echo(f"{folder}: {record['parameters']:,} parameters, {record['bits_per_byte']:.3f} bits/byte held out")


def _settings_of(key: str, inputs, folder: Path):
    """Find the settings of a key: in its record, in the file for its worker process, or among all studies' rows."""
    from .study.locks import load_settings
    from .study.part import PROFILES
    from .study.questions import studies
    from .study.row import read_record, record_path
    from .study.spec import settings_from

    path = record_path(folder, key)
    if path.exists():
        record = read_record(path)
        settings = settings_from(record["kind"], record["config"])
    else:
        settings = load_settings(folder, key)
    if settings and inputs.key(settings) == key:
        return settings
    for row in (row for profile in PROFILES for study in studies(profile=profile) for row in study.rows):
        try:
            if inputs.key(row) == key:
                return row
        except ValueError:  # a base that was not made here is that of no key of this machine
            continue
    raise ValueError(f"key must be that of a row on this text and these models, got {key}")


def _compute(title, rows, inputs, folder: Path, jobs: int, threads: int, resume: bool, dry_run: bool) -> None:
    from longlora_edu.runs.progress import Terminal

    from .study.grid import estimated_seconds, make_plan, run_grid, seconds_a_byte
    from .study.inputs import default_folder
    from .study.row import read_rows

    plan = make_plan(rows, inputs, folder)
    speeds, by = seconds_a_byte(read_rows(folder)), ""
    if not speeds:  # another machine's hours are better than none
        speeds, by = seconds_a_byte(read_rows(default_folder())), f" by the rows in {default_folder()}"
    seconds = estimated_seconds(plan.missing.values(), speeds, inputs.device)
    if not plan.missing:
        hours = "none"
    elif seconds is None:
        hours = "unknown: no row like some of them is recorded yet"
    else:
        hours = f"about {seconds / 3600 / jobs:.1f}{by}"
    typer.echo(
        f"{title}: {len(plan.done) + len(plan.missing)} rows, {len(plan.done)} recorded, "
        f"{len(plan.missing)} to compute with {plan.steps:,} steps; "
        f"{jobs} at a time on {threads} thread{'s' * (threads > 1)} each; hours: {hours}"
    )
    if dry_run or not plan.missing:
        return
    options = {"jobs": jobs, "threads": threads, "resume": resume, "progress": Terminal(), "title": title}
    failed = run_grid(plan, inputs, folder, **options, on_row=_headline)
    typer.echo(f"{folder}: {len(plan.missing) - len(failed)} rows done")
    if failed:
        raise ValueError(f"all rows must succeed, got {len(failed)} that failed: {', '.join(failed)}")


def _headline(record: dict) -> str:
    from .study.spec import settings_from

    settings, results = settings_from(record["kind"], record["config"]), record["results"]
    if "bits_per_byte" not in results:
        return f"{record['key']} {settings.place} shift {settings.shift}: {results['accuracy']['rate']:.0%}"
    bits = results["bits_per_byte"][str(settings.target)]
    what = f"{settings.attention} {settings.rope} {settings.train} seed {settings.seed}"
    return f"{record['key']} {what}: {bits:.3f} at {settings.target}, passkeys {results['passkey']['rate']:.0%}"
