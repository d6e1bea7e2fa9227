"""Commands for real models: plan, train, evaluate, generate, merge, and questions to train on."""

from __future__ import annotations

import json
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..geometry import Boundary
from ..rope import RopeMethod
from ..training.corpus import DocumentRule
from .app import app, clear_errors, fields_of, options_given

if TYPE_CHECKING:
    from ..hf.settings import TrainingSettings

_Model = Annotated[str, typer.Option(help="The model: a folder, a .gguf file, or an ID on the hub.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_TrainedLength = Annotated[
    int | None, typer.Option(min=1, help="Original context of the model, if its config states another.")
]
_HalfPrecision = Annotated[bool, typer.Option("--bf16", help="Compute in bfloat16: half the memory.")]


@contextmanager
def enough_memory(lower: Sequence[str]) -> Iterator[None]:
    """Turn running out of memory into a sentence that lists the settings to reduce, in order."""
    try:
        yield
    except Exception as error:
        from ..hf.loading import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        wanted = re.search(r"tried to allocate [\d.]+ \w+", str(error), re.IGNORECASE)
        what = f"out of memory ({wanted[0].lower()})" if wanted else "out of memory"
        raise ValueError(f"{what}; in this order, try {', '.join(lower)}") from None


@contextmanager
def no_notes() -> Iterator[None]:
    """Silence other libraries' progress bars and notes where output goes to a file or a pipe."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*deprecated and will be removed in v6", category=FutureWarning)
        if not sys.stderr.isatty():
            from transformers.utils import logging

            logging.disable_progress_bar()
        yield


@app.command("plan")
def plan_command(
    model: Annotated[str, typer.Option(help="The model: a folder with config.json, that file, or an ID on the hub.")],
    context: Annotated[int, typer.Option(help="Target context in tokens.")],
    memory: Annotated[float | None, typer.Option(help="Memory of the device, in GB.")] = None,
    tflops: Annotated[
        float | None, typer.Option(help="Speed of the device; by default measured for ten seconds.")
    ] = None,
    group_ratio: Annotated[float, typer.Option(help="Group size over context.")] = 0.25,
    train: Annotated[Literal["adapters", "all"], typer.Option(help="Weights to train.")] = "adapters",
    rank: Annotated[int, typer.Option(help="Rank of LoRA.")] = 8,
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = 1000,
    batch: Annotated[int, typer.Option(help="Sequences at a time on the device.")] = 1,
    accumulate: Annotated[int, typer.Option(help="Batches per step.")] = 64,
    gradient_checkpointing: Annotated[bool, typer.Option(help="Save memory: compute the forward pass twice.")] = True,
    bf16: Annotated[bool, typer.Option(help="Compute in bfloat16.")] = True,
    trained_length: _TrainedLength = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Estimate the cost of extending a model, and whether S² pays, from its config alone."""
    with clear_errors("plan", Path(model)):
        from ..plan import is_plain, plan, shape_from_config
        from ..runs.records import as_json as plain
        from ..runs.records import read_json
        from ..runs.timing import reached_tflops

        path = Path(model) / "config.json" if Path(model).is_dir() else Path(model)
        stated = read_json(path) if path.suffix == ".json" and path.is_file() else None
        if isinstance(stated, dict) and trained_length is None and is_plain(stated):
            (shape, trained), caution = shape_from_config(stated), None
        else:
            from ..hf.configs import causal_config
            from ..hf.run_training import TrainingSettings, rehearse

            shape, _ = shape_from_config(causal_config(model).to_dict())
            settings = TrainingSettings(
                model, "", context, group_ratio=group_ratio, train=train, rank=rank, trained_length=trained_length
            )
            reach = rehearse(settings)
            trained, caution = reach.length, reach.caution(context)
        options = {"group_ratio": group_ratio, "train": train, "rank": rank, "steps": steps, "batch": batch}
        options |= {
            "accumulate": accumulate,
            "checkpointing": gradient_checkpointing,
            "bf16": bf16,
            "trained_context": trained,
        }
        options |= {"memory": memory * 1e9 if memory is not None else None}
        plan(shape, context, **options, tflops=tflops)  # what is refused is refused before ten seconds are spent
        rate = tflops or reached_tflops(bf16=bf16)
        found = plan(shape, context, **options, tflops=rate)
        assumed = "given" if tflops else "measured on products of matrices for ten seconds: hours are a lower bound"
        if as_json:
            more = {
                "trained_share": found.trained_share,
                "tflops": rate,
                "caution": caution,
                "advice": plain(found.advice),
            }
            typer.echo(json.dumps(plain(found) | more, indent=1))
            return
        _show_plan(found, rate, assumed)
        if caution:
            typer.echo(caution)


def show_plan_of(settings: TrainingSettings) -> None:
    """Print the plan of a run; its hours are estimated from a second of computing. Says why if the family is unknown.

    Raises:
        ValueError: for a model that the run would refuse, before anything is recommended.
    """
    from ..hf.configs import causal_config
    from ..hf.run_training import rehearse
    from ..plan import plan, shape_from_config
    from ..runs.timing import reached_tflops

    reach = rehearse(settings)
    if caution := reach.caution(settings.context):
        typer.echo(caution)
    try:
        shape, _ = shape_from_config(causal_config(settings.model).to_dict())
    except ValueError as error:
        typer.echo(f"plan: {error}")
        return
    found = plan(
        shape, settings.context, trained_context=reach.length, group_ratio=settings.group_ratio, train=settings.train,
        rank=settings.rank, steps=settings.steps, batch=settings.batch, accumulate=settings.accumulate,
        checkpointing=settings.gradient_checkpointing, bf16=settings.half is not None,
        tflops=reached_tflops(seconds=1, bf16=settings.half is not None),
    )  # fmt: skip
    hours = found.hours_dense if settings.dense else found.hours
    time = "as long as the epochs take" if settings.epochs else f"at least {hours:,.2g} hours on one device"
    typer.echo(
        f"plan: {found.trained:,} of {found.parameters:,} weights learn ({found.trained_share:.1%}), "
        f"about {found.memory.total / 1e9:.1f} GB; {time}; {found.verdict}"
    )


def _show_plan(found, tflops: float, assumed: str) -> None:
    memory = found.memory
    rows = [
        ("parameters", f"{found.parameters:,}"),
        ("trained", f"{found.trained:,} ({found.trained_share:.1%})"),
        ("context", f"{found.trained_context or 'unknown'} to {found.context}, groups of {found.group_size}"),
        ("attention in a dense step", f"{found.attention_share:.0%} of its FLOPs"),
        ("a step with S²", f"{found.gain:.2f} times as fast as dense by FLOPs (flash kernels on both sides)"),
        (
            "memory",
            f"about {memory.total / 1e9:.1f} GB: weights {memory.weights / 1e9:.1f}, optimizer "
            f"{memory.optimizer / 1e9:.1f}, activations {memory.activations / 1e9:.1f}, loss {memory.loss / 1e9:.1f}",
        ),
        ("hours", f"{found.hours:,.1f} with S², {found.hours_dense:,.1f} dense, for {found.sequences:,} sequences"),
        ("assumed", f"{tflops:.3g} TFLOPS, {assumed}"),
    ]
    rows.append(("use", f"{found.advice.use}: {found.advice.why}"))
    for name, value in rows:
        typer.echo(f"{name:<26}{value}")
    typer.echo(found.verdict)


@app.command("train")
def train_command(
    ctx: typer.Context,
    model: Annotated[str | None, typer.Option(help="The model: a folder, a .gguf file, or an ID on the hub.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Training data: text (file, folder) or pairs (.json, .jsonl).")
    ] = None,
    context: Annotated[int | None, typer.Option(help="Target context in tokens.")] = None,
    document: Annotated[
        DocumentRule | None, typer.Option(help="One document of a folder: each file, or each package; file by default.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for checkpoint, adapter and record.")] = Path("longlora-run"),
    group_ratio: Annotated[float | None, typer.Option(help="Group size over context; 0.25 by default.")] = None,
    rope: Annotated[
        RopeMethod | None, typer.Option(help="Rule that stretches positions; the model's own by default, else yarn.")
    ] = None,
    boundary: Annotated[
        Boundary | None, typer.Option(help="Rule for the ends of shifted heads; split by default.")
    ] = None,
    train: Annotated[
        Literal["adapters", "all"] | None, typer.Option(help="Weights to train; adapters by default.")
    ] = None,
    rank: Annotated[int | None, typer.Option(help="Rank of LoRA; 8 by default.")] = None,
    targets: Annotated[
        list[str] | None, typer.Option(help="What LoRA is put on: attention (the default), mlp, or modules by name.")
    ] = None,
    dropout: Annotated[float | None, typer.Option(help="Dropout of LoRA; 0 by default.")] = None,
    rslora: Annotated[bool | None, typer.Option("--rslora", help="Divide LoRA by the root of its rank.")] = None,
    load_in: Annotated[
        Literal["4bit", "8bit"] | None, typer.Option(help="Quantise the frozen base by bitsandbytes.")
    ] = None,
    bf16: Annotated[bool | None, typer.Option("--bf16", help="Compute in bfloat16.")] = None,
    fp16: Annotated[
        bool | None, typer.Option("--fp16", help="Compute in float16 with a scaled loss: where bfloat16 is slow.")
    ] = None,
    gradient_checkpointing: Annotated[
        bool | None, typer.Option("--gradient-checkpointing", help="Save memory: compute the forward pass twice.")
    ] = None,
    dense: Annotated[bool | None, typer.Option("--dense", help="Train with full attention, for comparison.")] = None,
    batch: Annotated[int | None, typer.Option(help="Windows at a time on each device; 1 by default.")] = None,
    accumulate: Annotated[int | None, typer.Option(help="Batches per step, over all devices; 8 by default.")] = None,
    rate: Annotated[float | None, typer.Option("--lr", help="Learning rate; 2e-4 by default.")] = None,
    warmup: Annotated[int | None, typer.Option(help="Steps of warm-up; 20 by default.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps; 1000 by default.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the data, instead of --steps.")] = None,
    validate_every: Annotated[
        int | None, typer.Option(help="Steps between losses on held-out text; none by default.")
    ] = None,
    report_to: Annotated[
        list[str] | None, typer.Option(help="Also write the curve for this program: tensorboard.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of data order and LoRA; 0 by default.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    trained_length: _TrainedLength = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run in --out.")] = False,
    as_json: _Json = False,
) -> None:
    """Extend a pretrained model with S²-Attn and LoRA; with torchrun, on all its devices."""
    with clear_errors("train", out), no_notes():
        from ..hf.run_training import TrainingSettings, run_training
        from ..runs.claim import started_settings
        from ..runs.progress import Silent, Terminal

        started = fields_of(TrainingSettings, started_settings(out) if resume else None)
        chosen = started | options_given(ctx, TrainingSettings)
        chosen |= {name: _found_again(path) for name, path in (("model", model), ("data", data)) if path is not None}
        for name in ("model", "data", "context"):
            if name not in chosen:
                raise ValueError(f"--{name} must be given to start a run, got none (--resume continues one)")
        settings = TrainingSettings(**chosen)
        speaks = os.environ.get("RANK", "0") == "0"  # under torchrun, one for all
        if speaks and settings.bf16 and (half := _half_here()) != "--bf16":
            typer.echo(
                f"warning: this GPU emulates bfloat16, several times slower; {half} computes in what it has", err=True
            )
        if speaks and not as_json:
            show_plan_of(settings)
        progress = Silent() if as_json else Terminal()
        show = (lambda *data: None) if as_json else (lambda *data: _show_lengths(settings.context, *data))
        with enough_memory(_lower(settings)):
            record = run_training(
                settings, out, resume=resume, progress=progress, on_data=show, report_to=report_to or ()
            )
        if speaks and as_json:
            typer.echo(json.dumps(record, indent=1))
        elif speaks:
            if record["windows_begin_with"]:
                typer.echo(f"every window begins with {record['windows_begin_with']}")
            first, last = (record["curve"][place]["nats_per_token"] for place in (0, -1))
            typer.echo(
                f"{out}: {record['settings']['steps']} steps, loss {first:.3f} to {last:.3f} nats/token, "
                f"{record['tokens_per_second']:,.0f} tokens/s, peak memory {record['peak_rss_bytes'] / 1e9:.1f} GB"
            )


def _lower(settings) -> list[str]:
    """List the settings to reduce when out of memory, least costly first."""
    tries = {
        f"--batch 1 --accumulate {settings.accumulate * settings.batch}": settings.batch > 1,
        "--gradient-checkpointing": not settings.gradient_checkpointing,
        "--train adapters": settings.train == "all",
        _half_here(): settings.half is None,
    }
    fewer = [option for option, helps in tries.items() if helps]
    return [*fewer, "a shorter --context", "a smaller model (and a new --out: a run keeps its settings)"]


def _half_here() -> str:
    import torch

    from ..runs.number_format import half_option

    return half_option("cuda" if torch.cuda.is_available() else "cpu")


def _found_again(path: str | Path) -> str:
    """Make a path absolute, so that a run can be resumed from another folder; leave a hub ID as it is."""
    return str(Path(path).resolve()) if Path(path).exists() else str(path)


def _show_lengths(context: int, histogram, data) -> None:
    typer.echo("document lengths, in tokens:")
    for longest, documents, tokens in histogram:
        typer.echo(f"  up to {longest:>9,}: {documents:>6} documents, {tokens:>12,} tokens")
    reach = sum(length >= context for length in data.lengths)
    if skipped := getattr(data, "skipped", ()):
        shown = ", ".join(skipped[:3]) + (" …" if len(skipped) > 3 else "")
        typer.echo(f"{len(skipped)} files hold no text (empty, binary or .json) and are left out: {shown}")
    if left_out := getattr(data, "left_out", 0):
        typer.echo(f"{left_out} pairs are longer than {context} tokens and are left out")
    elif hasattr(data, "windows") and reach < 8:
        typer.echo(f"warning: only {reach} documents reach {context} tokens; the others are not used")


@app.command()
def evaluate(
    model: _Model,
    data: Annotated[Path, typer.Option(help="Text to score (file, folder), or pairs to answer (.json, .jsonl).")],
    context: Annotated[list[int] | None, typer.Option(help="Length to measure, in tokens; may be repeated.")] = None,
    document: Annotated[
        DocumentRule, typer.Option(help="One document of a folder: each file, or each package.")
    ] = "file",
    adapter: Annotated[Path | None, typer.Option(help="An adapter folder of `train`, added to the model.")] = None,
    stride: Annotated[int | None, typer.Option(help="Tokens between windows; the longest length by default.")] = None,
    windows: Annotated[int, typer.Option(help="Largest number of windows.")] = 50,
    trials: Annotated[int, typer.Option(help="Passkeys at each length and depth; 0 for none.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of passkeys and their places.")] = 0,
    bf16: _HalfPrecision = False,
    out: Annotated[Path | None, typer.Option(help="Also write the record to this file.")] = None,
    as_json: _Json = False,
) -> None:
    """Measure with dense attention: perplexity and passkeys by length, or exact answers to pairs."""
    lower = ["--bf16"] * (not bf16) + ["a shorter --context", "a smaller model"]
    with clear_errors("evaluate", out or Path(".")), no_notes(), enough_memory(lower):
        from ..hf.measure import measure_answers, measure_text
        from ..runs.progress import Silent, Terminal
        from ..runs.records import as_json as plain
        from ..runs.records import write_json

        progress = Silent() if as_json else Terminal()
        if data.suffix in (".json", ".jsonl"):
            record = measure_answers(model, data, adapter=adapter, bf16=bf16, progress=progress)
        else:
            options = {"document": document, "stride": stride, "windows": windows, "trials": trials, "seed": seed}
            record = measure_text(model, data, context, adapter=adapter, bf16=bf16, progress=progress, **options)
        if out is not None:
            write_json(out, record)
        typer.echo(json.dumps(plain(record), indent=1)) if as_json else _show_measured(record)


@app.command()
def generate(
    model: _Model,
    question: Annotated[str, typer.Option(help="The question about the file.")],
    file: Annotated[Path | None, typer.Option(help="A long text, put before the question.")] = None,
    adapter: Annotated[Path | None, typer.Option(help="An adapter folder of `train`, added to the model.")] = None,
    most: Annotated[int, typer.Option("--max-new-tokens", min=1, help="Largest number of tokens to generate.")] = 64,
    bf16: _HalfPrecision = False,
    as_json: _Json = False,
) -> None:
    """Answer a question about a long file: dense attention, greedy decoding, the chat template if there is one."""
    lower = ["--bf16"] * (not bf16) + ["a shorter --file", "a smaller model"]
    with clear_errors("generate", file or Path(".")), no_notes(), enough_memory(lower):
        from ..hf.measure import ask
        from ..training.corpus import as_utf8

        text = as_utf8(file.read_bytes(), file).decode() if file else ""
        found = ask(model, text, question, adapter=adapter, most=most, bf16=bf16)
        typer.echo(json.dumps(found, indent=1) if as_json else found["answer"])


@app.command()
def merge(
    model: _Model,
    adapter: Annotated[Path, typer.Option(help="An adapter folder of `train`.")],
    out: Annotated[Path, typer.Option(help="Folder for the merged model.")],
    bf16: Annotated[
        bool, typer.Option("--bf16", help="Write the weights in bfloat16; they are merged in float32.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Merge an adapter into its model: a folder that stock transformers loads."""
    lower = ["a machine with 4 bytes a weight of main memory", "a smaller model"]
    with clear_errors("merge", out), no_notes(), enough_memory(lower):
        from ..hf.measure import merge_into

        found = merge_into(model, adapter, out, bf16=bf16)
        typer.echo(
            json.dumps(found) if as_json else f"{out}: {found['parameters']:,} weights, {found['context']} tokens"
        )


@app.command()
def longqa(
    out: Annotated[Path, typer.Option(help="Folder for train.jsonl and held_out.jsonl.")] = Path("longqa"),
    length: Annotated[int, typer.Option(help="Largest number of bytes before a question.")] = 8192,
    train_count: Annotated[int, typer.Option("--train", help="Questions to train on.")] = 2000,
    held_out: Annotated[int, typer.Option(help="Questions about documents that are never trained on.")] = 200,
    corpus: Annotated[Path | None, typer.Option(help="Python source; the standard library's own by default.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of questions and excerpts.")] = 0,
    as_json: _Json = False,
) -> None:
    """Make questions about long documents, with computed answers, in the LongAlpaca format."""
    with clear_errors("longqa", out):
        from ..training.corpus import read_corpus, standard_library
        from ..training.longqa import make_questions, write_questions

        text = read_corpus(corpus) if corpus else standard_library()
        found = {}
        for side, documents, count in (("train", text.train, train_count), ("held_out", text.held_out, held_out)):
            questions = make_questions(documents, length, count, seed=seed)
            write_questions(out / f"{side}.jsonl", questions)
            found[side] = len(questions)
        typer.echo(
            json.dumps(found) if as_json else f"{out}: {found['train']} to train on, {found['held_out']} held out"
        )


def _show_measured(record: dict) -> None:
    if "exact" in record:
        exact = record["exact"]
        typer.echo(f"{exact.successes} of {exact.trials} answers are exact ({exact.rate:.1%})")
        if record["left_out"]:
            typer.echo(f"{record['left_out']} pairs are longer than {record['context']} tokens and are not scored")
        return
    for length, perplexity in record["perplexity"].items():
        keys = record["passkey"].get(length)
        found = "" if keys is None else "; passkeys by depth " + " ".join(f"{p.rate:.0%}" for p in keys.values())
        typer.echo(f"{length:>8,} tokens: perplexity {perplexity:.3f}{found}")
    opening = f", each begins with {record['windows_begin_with']}" if record["windows_begin_with"] else ""
    typer.echo(f"{record['windows']} windows, one every {record['stride']:,} tokens{opening}; dense attention")
    if record["files_left_out"]:
        typer.echo(f"{record['files_left_out']} files hold no text (empty, binary or .json) and are left out")
