"""What was trained, measured and used: `evaluate`, `generate`, `merge`; and `longqa`, which makes questions for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ...training.corpus import DocumentRule
from ..app import app, clear_errors
from .shared import HalfPrecision, Json, Model, enough_memory, no_notes


@app.command()
def evaluate(
    model: Model,
    data: Annotated[Path, typer.Option(help="Text to score (file, folder), or pairs to answer (.json, .jsonl).")],
    context: Annotated[list[int] | None, typer.Option(help="Lengths to measure; several times.")] = None,
    document: Annotated[DocumentRule, typer.Option(help="What of a folder of text is one, as in `train`.")] = "file",
    adapter: Annotated[Path | None, typer.Option(help="An adapter folder of `train` on top of the model.")] = None,
    stride: Annotated[int | None, typer.Option(help="Tokens between windows; the longest length.")] = None,
    windows: Annotated[int, typer.Option(help="Windows at most.")] = 50,
    trials: Annotated[int, typer.Option(help="Passkeys at each length and depth; 0 for none.")] = 10,
    seed: Annotated[int, typer.Option(help="Of passkeys and their places.")] = 0,
    bf16: HalfPrecision = False,
    out: Annotated[Path | None, typer.Option(help="Write the record to this file as well.")] = None,
    as_json: Json = False,
) -> None:
    """Measure with dense attention: perplexity by length and position and passkeys, or exact answers to pairs."""
    lower = ["--bf16"] * (not bf16) + ["a shorter --context", "a smaller model"]
    with clear_errors("evaluate", out or Path(".")), no_notes(), enough_memory(lower):
        from ...hf.measure import measure_answers, measure_text
        from ...runs.progress import Silent, Terminal
        from ...runs.records import as_json as plain
        from ...runs.records import write_json

        progress = Silent() if as_json else Terminal()
        if data.suffix in (".json", ".jsonl"):
            record = measure_answers(model, data, adapter=adapter, bf16=bf16, progress=progress)
        else:
            options = {
                "document": document,
                "stride": stride,
                "windows": windows,
                "trials": trials,
                "seed": seed,
                "bf16": bf16,
            }
            record = measure_text(model, data, context, adapter=adapter, progress=progress, **options)
        if out is not None:
            write_json(out, record)
        typer.echo(json.dumps(plain(record), indent=1)) if as_json else _show_measured(record)


@app.command()
def generate(
    model: Model,
    question: Annotated[str, typer.Option(help="What to ask about the file.")],
    file: Annotated[Path | None, typer.Option(help="A long text that stands before the question.")] = None,
    adapter: Annotated[Path | None, typer.Option(help="An adapter folder of `train` on top of the model.")] = None,
    most: Annotated[int, typer.Option("--max-new-tokens", min=1, help="Tokens to write at most.")] = 64,
    bf16: HalfPrecision = False,
    as_json: Json = False,
) -> None:
    """Ask about a long file: dense attention with a cache, greedy, through the chat template where there is one."""
    lower = ["--bf16"] * (not bf16) + ["a shorter --file", "a smaller model"]
    with clear_errors("generate", file or Path(".")), no_notes(), enough_memory(lower):
        from ...hf.measure import ask

        text = file.read_text(encoding="utf-8", errors="replace") if file else ""
        found = ask(model, text, question, adapter=adapter, most=most, bf16=bf16)
        typer.echo(json.dumps(found, indent=1) if as_json else found["answer"])


@app.command()
def merge(
    model: Model,
    adapter: Annotated[Path, typer.Option(help="An adapter folder of `train`.")],
    out: Annotated[Path, typer.Option(help="Folder for the merged model.")],
    bf16: Annotated[bool, typer.Option("--bf16", help="Write the weights in bfloat16; merged in float32.")] = False,
    as_json: Json = False,
) -> None:
    """Fold an adapter into its model: a folder that stock transformers loads."""
    lower = ["a machine with 4 bytes a weight of main memory", "a smaller model"]
    with clear_errors("merge", out), no_notes(), enough_memory(lower):
        from ...hf.measure import merge_into

        found = merge_into(model, adapter, out, bf16=bf16)
        typer.echo(
            json.dumps(found) if as_json else f"{out}: {found['parameters']:,} weights, {found['context']} tokens"
        )


@app.command()
def longqa(
    out: Annotated[Path, typer.Option(help="Folder for train.jsonl and held_out.jsonl.")] = Path("longqa"),
    length: Annotated[int, typer.Option(help="Bytes of text before a question, at most.")] = 8192,
    train_count: Annotated[int, typer.Option("--train", help="Questions to train on.")] = 2000,
    held_out: Annotated[int, typer.Option(help="Questions about documents that are never trained on.")] = 200,
    corpus: Annotated[Path | None, typer.Option(help="Python source; the standard library's own by default.")] = None,
    seed: Annotated[int, typer.Option(help="Of questions and excerpts.")] = 0,
    as_json: Json = False,
) -> None:
    """Make questions about long documents whose answers are computed, in the LongAlpaca format."""
    with clear_errors("longqa", out):
        from ...training.corpus import read_corpus, standard_library
        from ...training.longqa import make_questions, write_questions

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
        return
    for length, perplexity in record["perplexity"].items():
        keys = record["passkey"].get(length)
        found = "" if keys is None else "; passkeys by depth " + " ".join(f"{p.rate:.0%}" for p in keys.values())
        typer.echo(f"{length:>8,} tokens: perplexity {perplexity:.3f}{found}")
    typer.echo(f"{record['windows']} windows, one every {record['stride']:,} tokens; dense attention")
