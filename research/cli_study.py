"""The studies: `longlora-edu study NAME` computes a grid, `run` a single row, `report` writes the page."""

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
    "lengths": "3: by evaluation length and position, past the target too.",
    "passkeys": "8: passkeys before, after and on the way; two stages; without passkeys in the mix.",
    "cost": "10: FLOPs in closed form beside the paper's and measured times.",
    "steps": "9: how many steps each way of training needs.",
    "shift": "6: direction, amount and boundary of the shift.",
    "groups": "5: the size of a group.",
    "patterns": "4: other sparse patterns, tested as trained and dense.",
    "others": "11: other ways to the same length on the same budget.",
    "all": "All eleven, in this order.",
}
_Out = Annotated[Path | None, typer.Option(help="Folder of the records; benchmarks/results/runs in a checkout.")]
_Corpus = Annotated[Path | None, typer.Option(help="A file or folder of your own text.")]
_Models = Annotated[Path | None, typer.Option(help="Folder of further base models.")]
_Device = Annotated[Literal["cpu", "cuda"], typer.Option(help="Where to compute.")]
SUITABLE = "Where to compute; the small model on the CPU, its sibling on a GPU."
_OwnDevice = Annotated[Literal["cpu", "cuda"] | None, typer.Option(help=SUITABLE, show_default=False)]
_Threads = Annotated[int, typer.Option(min=1, help="CPU threads of a row; results depend on them bitwise.")]
_Resume = Annotated[bool, typer.Option("--resume", help="Let interrupted rows go on from their checkpoints.")]

study_app = typer.Typer(
    no_args_is_help=True, help="Run a grid of small experiments, and make the evidence of its records."
)
app.add_typer(study_app, name="study")


def _grid(name: str) -> Callable[..., None]:
    def command(
        seeds: Annotated[int, typer.Option(min=1, help="Of data order and LoRA.")] = 3,
        profile: Annotated[Literal["cpu", "gpu"], typer.Option(help="The small model, or its larger sibling.")] = "cpu",
        jobs: Annotated[int, typer.Option(min=1, help="Rows at a time, each a process.")] = 2,
        threads: _Threads = 1,
        out: _Out = None,
        corpus: _Corpus = None,
        models: _Models = None,
        device: _OwnDevice = None,
        resume: _Resume = False,
        only: Annotated[str | None, typer.Option(help="A single row, by its key.")] = None,
        part: Annotated[list[int] | None, typer.Option(help="Its parts by number, from 1; all by default.")] = None,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", "--budget", help="Print the budget, compute nothing.")
        ] = False,
    ) -> None:
        with clear_errors(f"study {name}", out or Path(".")):
            from .study.ground import Ground, default_folder
            from .study.questions import parts_of

            folder = out or default_folder()
            where = device or {"cpu": "cpu", "gpu": "cuda"}[profile]
            if not dry_run:
                check_device(where)
            ground = Ground.open(corpus and str(corpus.resolve()), models, where, planning=dry_run)
            parts = parts_of(name, profile=profile, seeds=seeds)
            if wrong := set(part or ()) - set(range(1, len(parts) + 1)):
                raise ValueError(f"--part must be from 1 to {len(parts)}, got {min(wrong)}")
            parts = [parts[number - 1] for number in part] if part else parts
            rows = dict.fromkeys(row for part in parts for row in part.rows)
            try:
                _make_bases(rows, ground, threads, resume, dry_run)
                rows = [row for row in rows if only in (None, ground.key(row))]
                if only and not rows:
                    raise ValueError(f"--only must be the key of a row of {name}, got {only}")
                _compute(f"Study {name}", rows, ground, folder, jobs, threads, resume, dry_run)
            except KeyboardInterrupt:
                again = f"longlora-edu study {name} --resume"
                typer.echo(
                    f"\nStopped. Finished rows are kept, begun ones go on with the options given and:\n  {again}",
                    err=True,
                )
                raise typer.Exit(130) from None

    return command


for _name, _question in QUESTIONS.items():
    study_app.command(_name, help=_question)(_grid(_name))


@study_app.command()
def run(
    key: Annotated[str, typer.Argument(help="Of a row: the name of its record.")],
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; those of the record, else 1.")] = None,
    out: _Out = None,
    corpus: _Corpus = None,
    models: _Models = None,
    device: _Device = "cpu",
    resume: _Resume = False,
    missing: Annotated[bool, typer.Option("--missing", help="Do nothing where there is a record.")] = False,
    side_by_side: Annotated[int, typer.Option(min=1, help="How many rows share the machine.")] = 1,
) -> None:
    """Compute one row; where it is recorded, compute it again and compare the numbers."""
    with clear_errors(f"study run {key}", out or Path(".")):
        from longlora_edu.runs.progress import Terminal

        from .study.grid import TAKEN
        from .study.ground import Ground, default_folder
        from .study.locks import claimed, work_folder
        from .study.row import compute, differences, read_record, record_path, save_record

        check_device(device)
        folder = out or default_folder()
        ground = Ground.open(corpus and str(corpus.resolve()), models, device)
        path = record_path(folder, key)
        with claimed(folder, key) as free:
            if not free:
                typer.echo(f"longlora-edu: {key} is being computed by another process", err=True)
                raise typer.Exit(TAKEN)
            then = read_record(path) if path.exists() else None
            if then and missing:
                return
            settings = _settings_of(key, ground, folder)
            if threads is None:
                threads = then["machine"]["threads"] if then else 1
            options = {"work": None if then else work_folder(folder), "resume": resume, "side_by_side": side_by_side}
            now = compute(settings, ground, threads=threads, progress=Terminal(), **options)
            if then is None:
                typer.echo(f"{save_record(folder, now)}: done")
                return
        found = differences(then, now)
        if found:
            shown = "\n  ".join(found[:10])
            typer.echo(f"longlora-edu: {len(found)} numbers differ from {path}:\n  {shown}", err=True)
            raise typer.Exit(1)
        typer.echo(f"{path}: every number is the same")


@study_app.command()
def sibling(
    models: _Models = None,
    device: _Device = "cuda",
    threads: _Threads = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
) -> None:
    """Make the base of the profile gpu: a larger sibling of the small model, with a longer context."""
    with clear_errors("study sibling", models or Path(".")):
        from .study.ground import default_models

        check_device(device)
        _make_sibling((models or default_models()) / "sibling", device, threads, resume)


@study_app.command()
def report(
    out: _Out = None,
    docs: Annotated[Path, typer.Option(help="Folder of evidence.md and its pictures.")] = Path("docs"),
    lessons: Annotated[Path | None, typer.Option(help="File for the lessons; the package's, without --out.")] = None,
) -> None:
    """Write the page of evidence and what lessons tell of it; what is not recorded yet is said to be so."""
    with clear_errors("study report", out or Path(".")):
        from .study.digest import write_digest
        from .study.evidence import write_evidence
        from .study.ground import default_digest, default_folder

        folder = out or default_folder()
        typer.echo(write_evidence(folder, docs))
        # Records from elsewhere are not what the package's own lessons tell, unless that is asked for.
        if path := lessons or (None if out else default_digest()):
            typer.echo(write_digest(folder, path))


def _make_bases(rows, ground, threads: int, resume: bool, dry_run: bool) -> None:
    """What rows begin with and is not there is made first; a budget says so."""
    from .study.sibling import SIBLING
    from .study.spec import Run

    if all(ground.has(row.base) for row in rows if isinstance(row, Run)):
        return
    if dry_run:
        size = f"{SIBLING.steps:,} steps of {SIBLING.batch * SIBLING.context:,} bytes"
        typer.echo(f"Base sibling is not there yet and is made first, in {size}: longlora-edu study sibling")
    else:
        _make_sibling(ground.base_folder("sibling"), ground.device, threads, resume)


def _make_sibling(folder: Path, device: str, threads: int, resume: bool) -> None:
    from longlora_edu.runs.progress import Terminal

    from .study.sibling import make_sibling

    options = {"device": device, "threads": threads, "resume": resume, "progress": Terminal()}
    record = make_sibling(folder, **options)
    typer.echo(f"{folder}: {record['parameters']:,} parameters, {record['bits_per_byte']:.3f} bits/byte held out")


def _settings_of(key: str, ground, folder: Path):
    """What a key means: by its record, by word of a grid, or as a row of any study."""
    from .study.locks import ordered
    from .study.part import PROFILES
    from .study.questions import studies
    from .study.row import read_record, record_path
    from .study.spec import settings_from

    path = record_path(folder, key)
    if path.exists():
        record = read_record(path)
        settings = settings_from(record["kind"], record["config"])
    else:
        settings = ordered(folder, key)
    if settings and ground.key(settings) == key:
        return settings
    for row in (row for profile in PROFILES for study in studies(profile=profile) for row in study.rows):
        try:
            if ground.key(row) == key:
                return row
        except ValueError:  # a base that was not made here is that of no key of this machine
            continue
    raise ValueError(f"key must be that of a row on this text and these models, got {key}")


def _compute(title, rows, ground, folder: Path, jobs: int, threads: int, resume: bool, dry_run: bool) -> None:
    from longlora_edu.runs.progress import Terminal

    from .study.grid import estimated_seconds, make_plan, run_grid, seconds_a_byte
    from .study.ground import default_folder
    from .study.row import read_rows

    plan = make_plan(rows, ground, folder)
    speeds, by = seconds_a_byte(read_rows(folder)), ""
    if not speeds:  # another machine's hours are better than none
        speeds, by = seconds_a_byte(read_rows(default_folder())), f" by the rows in {default_folder()}"
    seconds = estimated_seconds(plan.missing.values(), speeds, ground.device)
    if not plan.missing:
        hours = "none"
    elif seconds is None:
        hours = "unknown: no row like some of them is recorded yet"
    else:
        hours = f"about {seconds / 3600 / jobs:.1f}{by}"
    typer.echo(
        f"{title}: {len(rows)} rows, {len(plan.done)} recorded, {len(plan.missing)} to compute "
        f"with {plan.steps:,} steps; {jobs} at a time on {threads} thread{'s' * (threads > 1)} each; hours: {hours}"
    )
    if dry_run or not plan.missing:
        return
    options = {"jobs": jobs, "threads": threads, "resume": resume, "progress": Terminal(), "title": title}
    failed = run_grid(plan, ground, folder, **options, on_row=_headline)
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
