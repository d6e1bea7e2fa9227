"""`longlora-edu bench`: measure speed and memory beside a baseline of the same run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import typer

from longlora_edu.cli.app import app, check_device, clear_errors
from longlora_edu.runs.number_format import number_format

bench_app = typer.Typer(
    no_args_is_help=True, help="Measure speed and memory on this machine, as ratios to baselines of the same run."
)
app.add_typer(bench_app, name="bench")

_Device = Annotated[str, typer.Option(help="cpu or cuda.")]
_Json = Annotated[Path | None, typer.Option("--json", help="Write the record to this file.")]
_Plot = Annotated[Path | None, typer.Option(help="Draw the picture into this PNG.")]
_Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; all by default.")]


@bench_app.command()
def attention(
    against: Annotated[
        list[str] | None, typer.Option(help="Baseline: dense, flex (CUDA), published or dense_mask; may be repeated.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; each implementation runs once in each.")] = 9,
    device: _Device = "cpu",
    threads: _Threads = None,
    json: _Json = None,
    plot: _Plot = None,
) -> None:
    """Time attention alone, forward and backward, beside a lower bound: one causal call on the same groups."""

    def measure(progress):
        from .bench import bench_attention

        return bench_attention(device=device, against=against or ["dense"], repeats=repeats, progress=progress)

    _run("attention", measure, device, threads, json, plot)


@bench_app.command()
def step(
    model: Annotated[str, typer.Option(help="small, or a real model: a folder, a GGUF file or an ID.")] = "small",
    context: Annotated[list[int] | None, typer.Option(help="Context in tokens; may be repeated.")] = None,
    train: Annotated[Literal["adapters", "all"], typer.Option(help="Weights to train.")] = "adapters",
    group_ratio: Annotated[float, typer.Option(help="Group size over context.")] = 0.25,
    bf16: Annotated[bool, typer.Option("--bf16", help="Use autocast to bfloat16.")] = False,
    gradient_checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Compute the forward pass twice.")
    ] = False,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; each attention runs once in each.")] = 5,
    device: _Device = "cpu",
    threads: _Threads = None,
    json: _Json = None,
    plot: _Plot = None,
) -> None:
    """Time a whole training step with S² and with dense attention, beside the ratio of their FLOPs."""

    def measure(progress):
        from .bench import StepSettings, bench_step

        settings = StepSettings(model, train, bf16, gradient_checkpointing, group_ratio, device)
        return bench_step(settings, context, repeats=repeats, progress=progress)

    _run("step", measure, device, threads, json, plot)


@bench_app.command()
def scaling(
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None, typer.Option(help="Dtype; by default what the device is for.")
    ] = None,
    longest: Annotated[int, typer.Option(min=2048, help="Up to this many tokens, doubling from 2,048.")] = 131072,
    dense_up_to: Annotated[int, typer.Option(help="Dense attention up to this many tokens.")] = 16384,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; each implementation runs once in each.")] = 5,
    device: _Device = "cpu",
    threads: _Threads = None,
    json: _Json = None,
    plot: _Plot = None,
) -> None:
    """Measure time and memory per token by length, and the length from which S² is faster."""

    def measure(progress):
        from .bench import bench_scaling
        from .bench.scaling import SCALING_LENGTHS

        kind = dtype or str(number_format(device, "measure")).removeprefix("torch.")
        lengths = [length for length in SCALING_LENGTHS if length <= longest]
        return bench_scaling(
            device=device, dtype=kind, lengths=lengths, dense_up_to=dense_up_to, repeats=repeats, progress=progress
        )

    _run("scaling", measure, device, threads, json, plot)


def _run(kind: str, measure, device: str, threads: int | None, json: Path | None, plot: Path | None) -> None:
    with clear_errors(f"bench {kind}", Path(".")):
        import torch
        from rich.console import Console

        from longlora_edu.runs.progress import Terminal
        from longlora_edu.runs.records import as_json, provenance, replace_file, write_json

        from .bench.report_tables import tables

        if device.split(":")[0] not in ("cpu", "cuda"):
            raise ValueError(f"--device must be cpu or cuda, got {device}")
        check_device(device)
        if threads is not None:
            torch.set_num_threads(threads)
        result = as_json(measure(Terminal()))
        record = result | dataclasses.asdict(provenance(threads=torch.get_num_threads()))
        for table in tables(kind, result):
            Console().print(table)
        if json is not None:
            write_json(json, record)
            typer.echo(f"wrote {json}")
        if plot is not None:
            from longlora_edu.plots import png

            from .bench.speed_plots import plot_bench

            replace_file(plot, png(plot_bench(kind, record)))
            typer.echo(f"wrote {plot}")
