"""The command line: `longlora-edu demo` does the project's main job, `longlora-edu pretrain` makes the small model."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from . import __version__
from .geometry import Boundary
from .rope import RopeMethod

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"longlora-edu {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Learn LongLoRA by running it: shifted sparse attention, and a small model that reads eight times further."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the report, the adapter and the merged model.")] = Path(
        "longlora-demo"
    ),
    context: Annotated[int | None, typer.Option(help="Target context in bytes; 2048 by default.")] = None,
    group_ratio: Annotated[float | None, typer.Option(help="Group as a part of the context; 0.25 by default.")] = None,
    rope: Annotated[RopeMethod | None, typer.Option(help="How positions are stretched; yarn by default.")] = None,
    boundary: Annotated[Boundary | None, typer.Option(help="The ends of shifted heads; split by default.")] = None,
    train: Annotated[
        Literal["adapters", "all"] | None,
        typer.Option(help="LoRA with embeddings and norms, or all weights; adapters by default."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps; 80 by default.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of data order, LoRA and samples; 0 by default.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; results depend on them bitwise.")] = None,
    corpus: Annotated[Path | None, typer.Option(help="A file or folder of your own text.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A look in under half a minute.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run in --out.")] = False,
) -> None:
    """Extend the small model from 256 to 2,048 bytes with LongLoRA, and measure before and after."""
    given = {
        "context": context,
        "group_ratio": group_ratio,
        "rope": rope,
        "boundary": boundary,
        "train": train,
        "steps": steps,
        "seed": seed,
        "threads": threads,
        "corpus": str(corpus.resolve()) if corpus else None,
    }
    with _clear_errors("demo", out):
        from .demo import QUICK, DemoSettings, run_demo
        from .progress import Terminal
        from .records import started_settings

        # A run goes on as it was started; a flag that says otherwise is refused by run_demo.
        started = _fields_of(DemoSettings, started_settings(out) if resume else None)
        chosen = {name: value for name, value in given.items() if value is not None}
        settings = DemoSettings(**started | (QUICK if quick else {}) | chosen)
        report = run_demo(settings, out, resume=resume, progress=Terminal())
        _show_demo(report, out)


@app.command()
def pretrain(
    out: Annotated[Path, typer.Option(help="Folder for the model and the record of the run.")] = Path("pretrained"),
    steps: Annotated[int | None, typer.Option(help="Optimiser steps.")] = None,
    batch: Annotated[int | None, typer.Option(help="Windows of 256 bytes a step.")] = None,
    rope_base: Annotated[float | None, typer.Option(help="Base of the rotary frequencies.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights and data order.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    corpus: Annotated[Path | None, typer.Option(help="A file or folder of your own text.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run in --out.")] = False,
) -> None:
    """Make the small model from scratch (the one in the package took over an hour on two cores)."""
    with _clear_errors("pretrain", out):
        from .corpus import read_corpus, standard_library
        from .pretrain import PretrainConfig, run_pretraining
        from .progress import Terminal
        from .records import started_settings

        started = (started_settings(out) if resume else None) or {}
        given = {"steps": steps, "batch": batch, "rope_base": rope_base, "seed": seed}
        chosen = {name: value for name, value in given.items() if value is not None}
        config = PretrainConfig(**_fields_of(PretrainConfig, started) | chosen)
        source = str(corpus.resolve()) if corpus else started.get("corpus", "standard library")
        text = standard_library() if source == "standard library" else read_corpus(Path(source))
        threads = threads or started.get("threads")
        record = run_pretraining(config, text, out, threads=threads, resume=resume, progress=Terminal())
        context = record["config"]["context"]
        typer.echo(
            f"{out}: {record['parameters']:,} parameters, {record['bits_per_byte']:.3f} bits/byte held out "
            f"at {context} bytes, passkey found in {record['passkey']['rate']:.1%} of trials"
        )


@app.command()
def plan(
    model: Annotated[str, typer.Option(help="A folder with config.json, that file, or an ID on the hub.")],
    context: Annotated[int, typer.Option(help="Target context in tokens.")],
    memory: Annotated[float | None, typer.Option(help="What the device has, in GB.")] = None,
    tflops: Annotated[float | None, typer.Option(help="What it reaches; measured for ten seconds if left out.")] = None,
    group_ratio: Annotated[float, typer.Option(help="Group as a part of the context.")] = 0.25,
    train: Annotated[Literal["adapters", "all"], typer.Option(help="What learns.")] = "adapters",
    rank: Annotated[int, typer.Option(help="Of LoRA.")] = 8,
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = 1000,
    batch: Annotated[int, typer.Option(help="Sequences a step.")] = 64,
    gradient_checkpointing: Annotated[bool, typer.Option(help="Compute the forward pass twice, keep little.")] = True,
    bf16: Annotated[bool, typer.Option(help="Compute in bfloat16.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what extending a model would cost and whether S² would pay, from its config alone."""
    with _clear_errors("plan", Path(model)):
        from .calibrate import reached_tflops
        from .hf.configs import read_config
        from .plan import plan as make_plan
        from .plan import shape_from_config
        from .records import as_json as plain

        shape, trained = shape_from_config(read_config(model))
        options = {"group_ratio": group_ratio, "train": train, "rank": rank, "steps": steps, "batch": batch}
        options |= {"checkpointing": gradient_checkpointing, "bf16": bf16, "trained_context": trained}
        options |= {"memory": memory * 1e9 if memory is not None else None}
        make_plan(shape, context, **options, tflops=tflops)  # what is refused is refused before ten seconds are spent
        rate = tflops or reached_tflops(bf16=bf16)
        found = make_plan(shape, context, **options, tflops=rate)
        assumed = "given" if tflops else "measured on products of matrices for ten seconds: hours are a lower bound"
        if as_json:
            typer.echo(json.dumps(plain(found) | {"trained_share": found.trained_share, "tflops": rate}, indent=1))
        else:
            _show_plan(found, rate, assumed)


@app.command()
def lab(
    folder: Annotated[Path, typer.Argument(help="Where the notebooks are.")] = Path("notebooks"),
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Open JupyterLab at the first lesson."""
    with _clear_errors("lab", folder):
        from .course.lab import open_lab

        raise typer.Exit(open_lab(folder, browser=browser))


course = typer.Typer(no_args_is_help=True, help="Build the notebooks of the course.")
app.add_typer(course, name="course")


@course.command()
def build(
    lesson: Annotated[list[str] | None, typer.Argument(help="Lessons, such as 02; all by default.")] = None,
    edition: Annotated[Literal["student", "solution", "instructor"], typer.Option(help="Which one.")] = "student",
    source: Annotated[Path, typer.Option(help="Folder of the sources.")] = Path("notebooks/source"),
    out: Annotated[Path, typer.Option(help="Folder for the notebooks.")] = Path("notebooks"),
    execute: Annotated[bool, typer.Option(help="Store the outputs of the solution run.")] = True,
) -> None:
    """Write an edition of the lessons from their source."""
    with _clear_errors("course build", out):
        from .course.editions import build as build_edition

        if edition != "student" and out.resolve() == source.resolve().parent:
            raise ValueError(f"out must not be where the student edition is kept for {edition}, got {out}")
        for path in build_edition(source, out, edition, wanted=tuple(lesson or ()), run=execute):
            typer.echo(f"{path}: {path.stat().st_size / 1000:.0f} kB")


@contextmanager
def _clear_errors(command: str, out: Path) -> Iterator[None]:
    """A sentence instead of a trace for what a user can put right; bugs keep their trace."""
    try:
        yield
    except KeyboardInterrupt:
        resumable = (out / "settings.json").exists()
        again = f"longlora-edu {command} --resume --out {shlex.quote(str(out))}"
        lost = f"Nothing but the steps since the last checkpoint is lost; go on with:\n  {again}"
        typer.echo(f"\nStopped. {lost if resumable else 'Nothing had been done yet.'}", err=True)
        raise typer.Exit(130) from None
    except (ValueError, OSError, FloatingPointError) as error:
        typer.echo(f"longlora-edu: {error}", err=True)
        raise typer.Exit(1) from None


def _fields_of(kind: type, started: dict | None) -> dict:
    return {name: started[name] for name in kind.__dataclass_fields__ if name in started} if started else {}


def _show_plan(found, tflops: float, assumed: str) -> None:
    memory = found.memory
    rows = [
        ("parameters", f"{found.parameters:,}"),
        ("trained", f"{found.trained:,} ({found.trained_share:.1%})"),
        ("context", f"{found.trained_context or 'unknown'} to {found.context}, groups of {found.group_size}"),
        ("attention in a dense step", f"{found.attention_share:.0%} of its FLOPs"),
        ("a step with S²", f"{found.gain:.2f} times as fast as dense, at best (flash kernels on both sides)"),
        (
            "memory",
            f"about {memory.total / 1e9:.1f} GB: weights {memory.weights / 1e9:.1f}, optimizer "
            f"{memory.optimizer / 1e9:.1f}, activations {memory.activations / 1e9:.1f}, loss {memory.loss / 1e9:.1f}",
        ),
        ("hours", f"{found.hours:,.1f} with S², {found.hours_dense:,.1f} dense, for {found.sequences:,} sequences"),
        ("assumed", f"{tflops:.3g} TFLOPS, {assumed}"),
    ]
    for name, value in rows:
        typer.echo(f"{name:<26}{value}")
    typer.echo(found.verdict)


def _show_demo(report: dict, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    # Under a pipe rich would guess 80 columns and break lines.
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    before, after = report["before"], report["after"]
    table = Table(title=f"From {report['model']['trained_context']} to {report['target_context']} bytes of context")
    table.add_column("context")
    for heading in ("bits/byte before", "after", "passkey before", "after"):
        table.add_column(heading, justify="right")
    for length in after["bits_per_byte"]:
        table.add_row(
            str(length),
            f"{before['bits_per_byte'][length]:.3f}",
            f"{after['bits_per_byte'][length]:.3f}",
            f"{before['passkey'][length]:.1%}",
            f"{after['passkey'][length]:.1%}",
        )
    console.print(table)
    recipe, run = report["recipe"], report["train"]
    typer.echo(
        f"trained {recipe['trainable_share']:.1%} of the weights ({recipe['train']}) for {run['steps']} steps in "
        f"{run['seconds']:.0f} s, {run['tokens_per_second']:,.0f} bytes/s, {run['attention']}"
    )
    typer.echo(f"{report['seconds']:.0f} s in all, peak memory {run['peak_rss_bytes'] / 1e9:.2f} GB")
    typer.echo(f"open {out / 'report.html'}")


if __name__ == "__main__":
    app()
