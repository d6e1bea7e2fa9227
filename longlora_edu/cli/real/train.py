"""`longlora-edu train`: extend a pretrained model, on one device or on several."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from ...geometry import Boundary
from ...rope import RopeMethod
from ...training.corpus import DocumentRule
from ..app import app, clear_errors, fields_of
from .plan import show_plan_of
from .shared import Json, enough_memory, no_notes


@app.command()
def train(
    model: Annotated[str | None, typer.Option(help="A folder, a .gguf file, or an ID on the hub.")] = None,
    data: Annotated[Path | None, typer.Option(help="Text (file, folder) or pairs (.json, .jsonl).")] = None,
    context: Annotated[int | None, typer.Option(help="Target context in tokens.")] = None,
    document: Annotated[DocumentRule | None, typer.Option(help="What of a folder of text is one; file.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for checkpoint, adapter and record.")] = Path("longlora-run"),
    group_ratio: Annotated[float | None, typer.Option(help="Group as a part of the context; 0.25.")] = None,
    rope: Annotated[RopeMethod | None, typer.Option(help="How positions are stretched; yarn, where they are.")] = None,
    boundary: Annotated[Boundary | None, typer.Option(help="The ends of shifted heads; split.")] = None,
    what: Annotated[Literal["adapters", "all"] | None, typer.Option("--train", help="What learns; adapters.")] = None,
    rank: Annotated[int | None, typer.Option(help="Of LoRA; 8.")] = None,
    bf16: Annotated[bool | None, typer.Option("--bf16", help="Compute in bfloat16.")] = None,
    gradient_checkpointing: Annotated[
        bool | None, typer.Option("--gradient-checkpointing", help="Keep little, compute the forward pass twice.")
    ] = None,
    dense: Annotated[bool | None, typer.Option("--dense", help="Full attention in training, to compare.")] = None,
    batch: Annotated[int | None, typer.Option(help="Windows at a time on a device; 1.")] = None,
    accumulate: Annotated[int | None, typer.Option(help="Batches a step, over all devices; 8.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate; 2e-4.")] = None,
    warmup: Annotated[int | None, typer.Option(help="Steps of warm-up; 20.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps; 1000.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of data order and LoRA; 0.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run in --out.")] = False,
    as_json: Json = False,
) -> None:
    """Extend a pretrained model with S²-Attn and LoRA; under torchrun, on all its devices."""
    given = {
        "model": _found_again(model), "data": _found_again(data), "context": context, "document": document,
        "group_ratio": group_ratio, "rope": rope, "boundary": boundary, "train": what, "rank": rank, "bf16": bf16,
        "gradient_checkpointing": gradient_checkpointing, "dense": dense, "batch": batch, "accumulate": accumulate,
        "rate": lr, "warmup": warmup, "steps": steps, "seed": seed, "threads": threads,
    }  # fmt: skip
    with clear_errors("train", out), no_notes():
        from ...hf.run_training import TrainingSettings, run_training
        from ...runs.progress import Silent, Terminal
        from ...runs.records import started_settings

        started = fields_of(TrainingSettings, started_settings(out) if resume else None)
        chosen = started | {name: value for name, value in given.items() if value is not None}
        for name in ("model", "data", "context"):
            if name not in chosen:
                raise ValueError(f"--{name} must be given to start a run, got none (--resume goes on with one)")
        settings = TrainingSettings(**chosen)
        speaks = os.environ.get("RANK", "0") == "0"  # under torchrun, one for all
        if speaks and not as_json:
            show_plan_of(settings)
        progress = Silent() if as_json else Terminal()
        show = (lambda *data: None) if as_json else (lambda *data: _show_lengths(settings.context, *data))
        with enough_memory(_lower(settings)):
            record = run_training(settings, out, resume=resume, progress=progress, on_data=show)
        if speaks and as_json:
            typer.echo(json.dumps(record, indent=1))
        elif speaks:
            first, last = (record["curve"][place]["nats_per_token"] for place in (0, -1))
            typer.echo(
                f"{out}: {settings.steps} steps, loss {first:.3f} to {last:.3f} nats/token, "
                f"{record['tokens_per_second']:,.0f} tokens/s, peak memory {record['peak_rss_bytes'] / 1e9:.1f} GB"
            )


def _lower(settings) -> list[str]:
    """What of a run can be lowered to need less memory, the cheapest first."""
    tries = {
        f"--batch 1 --accumulate {settings.accumulate * settings.batch}": settings.batch > 1,
        "--gradient-checkpointing": not settings.gradient_checkpointing,
        "--train adapters": settings.train == "all",
        "--bf16": not settings.bf16,
    }
    fewer = [option for option, helps in tries.items() if helps]
    return [*fewer, "a shorter --context", "a smaller model (and a new --out: a run keeps its settings)"]


def _found_again(path: str | Path | None) -> str | None:
    """A path on this machine in full, so that a run can be resumed from elsewhere; an ID as it is."""
    return None if path is None else str(Path(path).resolve()) if Path(path).exists() else str(path)


def _show_lengths(context: int, histogram, data) -> None:
    typer.echo("document lengths, in tokens:")
    for longest, documents, tokens in histogram:
        typer.echo(f"  up to {longest:>9,}: {documents:>6} documents, {tokens:>12,} tokens")
    reach = sum(length >= context for length in data.lengths)
    if left_out := getattr(data, "left_out", 0):
        typer.echo(f"{left_out} pairs are longer than {context} tokens and are left out")
    elif hasattr(data, "windows") and reach < 8:
        typer.echo(f"warning: only {reach} documents reach {context} tokens; the others are not used")
