"""`longlora-edu plan`: what extending a model would cost, from its config alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..app import app, clear_errors


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
    with clear_errors("plan", Path(model)):
        from ...hf.configs import read_config
        from ...plan import plan as make_plan
        from ...plan import shape_from_config
        from ...runs.calibrate import reached_tflops
        from ...runs.records import as_json as plain

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


def show_plan_of(settings) -> None:
    """What `plan` says about the run, where it can count the family."""
    from ...hf.configs import read_config
    from ...plan import plan as make_plan
    from ...plan import shape_from_config

    config = read_config(settings.model)
    try:
        shape, trained = shape_from_config(config)
    except ValueError as error:
        typer.echo(f"plan: {error}")
        return
    stretched = trained if trained is not None and trained < settings.context else None
    found = make_plan(
        shape, settings.context, trained_context=stretched, group_ratio=settings.group_ratio, train=settings.train,
        rank=settings.rank, steps=settings.steps, batch=settings.batch * settings.accumulate,
        checkpointing=settings.gradient_checkpointing, bf16=settings.bf16,
    )  # fmt: skip
    typer.echo(
        f"plan: {found.trained:,} of {found.parameters:,} weights learn ({found.trained_share:.1%}), "
        f"about {found.memory.total / 1e9:.1f} GB; {found.verdict}"
    )


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
