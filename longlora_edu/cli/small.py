"""Commands for the small model: `demo` extends it, `pretrain` makes it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..geometry import Boundary
from ..rope import RopeMethod
from .app import app, check_device, clear_errors, fields_of, options_given, show_left_out


@app.command()
def demo(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder for the report, the adapter and the merged model.")] = Path(
        "longlora-demo"
    ),
    context: Annotated[int | None, typer.Option(help="Target context in bytes; 2048 by default.")] = None,
    group_ratio: Annotated[float | None, typer.Option(help="Group size over context; 0.25 by default.")] = None,
    rope: Annotated[RopeMethod | None, typer.Option(help="Rule that stretches positions; yarn by default.")] = None,
    boundary: Annotated[
        Boundary | None, typer.Option(help="Rule for the ends of shifted heads; split by default.")
    ] = None,
    train: Annotated[
        Literal["adapters", "all"] | None,
        typer.Option(help="LoRA with embeddings and norms, or all weights; adapters by default."),
    ] = None,
    rank: Annotated[int | None, typer.Option(help="Rank of LoRA; 96 by default.")] = None,
    leap: Annotated[
        float | None, typer.Option(help="Probability of a leap of positions at each half group; 0.0 by default.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps; 264 by default.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of data order, LoRA and samples; 0 by default.")] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; their number changes results in the last bits.")
    ] = None,
    corpus: Annotated[Path | None, typer.Option(help="A file or folder of your own text.")] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(help="Train another arm on the same text: short (no shift) or full; may be repeated."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Run a small version in half a minute.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run in --out.")] = False,
) -> None:
    """Extend the small model from 512 to 2,048 bytes with LongLoRA, and measure before and after."""
    with clear_errors("demo", out):
        from ..demo.run import QUICK, DemoSettings, run_demo
        from ..runs.claim import started_settings
        from ..runs.progress import Terminal

        # A resumed run keeps its settings; run_demo refuses an option that differs.
        started = fields_of(DemoSettings, started_settings(out) if resume else None)
        settings = DemoSettings(**started | (QUICK if quick else {}) | options_given(ctx, DemoSettings))
        report = run_demo(settings, out, resume=resume, progress=Terminal())
        show_left_out(report["corpus"].get("left_out", ()))
        _show_demo(report, out)


@app.command("pretrain")
def pretrain_command(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder for the model and the record of the run.")] = Path("pretrained"),
    steps: Annotated[int | None, typer.Option(help="Optimiser steps.")] = None,
    batch: Annotated[int | None, typer.Option(help="Windows per step.")] = None,
    context: Annotated[int | None, typer.Option(help="Bytes of a window; 512 by default.")] = None,
    hidden_size: Annotated[int | None, typer.Option("--width", help="Width of the model; 192 by default.")] = None,
    intermediate_size: Annotated[
        int | None, typer.Option("--ffn-width", help="Feed-forward width; 512 by default.")
    ] = None,
    layers: Annotated[int | None, typer.Option(help="Number of layers; 4 by default.")] = None,
    heads: Annotated[int | None, typer.Option(help="Number of heads; 4 by default.")] = None,
    rope_base: Annotated[float | None, typer.Option(help="Base of the rotary frequencies.")] = None,
    passkey_share: Annotated[float | None, typer.Option(help="Share of windows with a passkey.")] = None,
    passkey_weight: Annotated[float | None, typer.Option(help="Weight of a passkey's digits in the loss.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights and data order.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Device to train on.")] = "cpu",
    corpus: Annotated[Path | None, typer.Option(help="A file or folder of your own text.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run in --out.")] = False,
) -> None:
    """Pretrain the small model from scratch (the one in the package took over two hours on one core)."""
    with clear_errors("pretrain", out):
        check_device(device)
        from ..runs.claim import started_settings
        from ..runs.progress import Terminal
        from ..training.corpus import read_corpus, standard_library
        from ..training.pretrain import PretrainConfig, run_pretraining

        started = (started_settings(out) if resume else None) or {}
        config = PretrainConfig(**fields_of(PretrainConfig, started) | options_given(ctx, PretrainConfig))
        source = str(corpus.resolve()) if corpus else started.get("corpus", "standard library")
        text = standard_library() if source == "standard library" else read_corpus(Path(source))
        show_left_out(text.left_out)
        threads = threads or started.get("threads")
        options = {"threads": threads, "resume": resume, "device": device, "progress": Terminal()}
        record = run_pretraining(config, text, out, **options)
        context = record["config"]["context"]
        typer.echo(
            f"{out}: {record['parameters']:,} parameters, {record['bits_per_byte']:.3f} bits/byte held out "
            f"at {context} bytes, passkey found in {record['passkey']['rate']:.1%} of trials"
        )


def _show_demo(report: dict, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from ..demo.ladder import ladder_rows

    # Under a pipe rich would guess 80 columns and break lines.
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    table = Table(title=f"From {report['model']['trained_context']:,} to {report['target_context']:,} bytes of context")
    table.add_column("dense attention, the same last bytes")
    for heading in ("bits/byte", "references within G", "G to 2G", "beyond 2G"):
        table.add_column(heading, justify="right")
    for row in ladder_rows(report):
        table.add_row(*row)
    console.print(table)
    console.print(report["sentence"], soft_wrap=True)
    typer.echo(f"\nThe model goes on after …{report['writing']['prompt_end'][-60:]!r}")
    for name in ("before", "stretched", "after"):
        typer.echo(f"  {name + ':':<10} {report['writing'][name]!r}")
    typer.echo("")
    recipe, run = report["recipe"], report["train"]
    typer.echo(
        f"trained {recipe['trainable_share']:.1%} of the weights ({recipe['train']}) for {run['steps']} steps in "
        f"{run['seconds']:.0f} s, {run['tokens_per_second']:,.0f} bytes/s, {run['attention']}"
    )
    typer.echo(f"{report['seconds']:.0f} s in all, peak memory {run['peak_rss_bytes'] / 1e9:.2f} GB")
    typer.echo(f"open {out / 'report.html'}")
