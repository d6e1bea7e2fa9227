"""Whole measurements of a real model, with or without its adapter, as records for the commands."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from ..runs.progress import Progress, Silent
from ..runs.records import provenance, read_json
from ..runs.validate import check_integer
from ..training.corpus import DocumentRule, read_corpus
from ..training.longqa import is_exact
from .base_reach import reach_of
from .configs import causal_config
from .data import check_ids, tokenised
from .loading import load_causal_model, load_tokenizer, save_tokenizer
from .pairs import Pair, read_pairs, tokenised_pair
from .recipe import load_longlora, merge_longlora
from .scores import answer, score_answers, score_perplexity, score_retrieval
from .tokens import opening_ids, token_names


def with_adapter(model: str, adapter: Path | None, *, bf16: bool = False) -> PreTrainedModel:
    """The model, an adapter merged into it if one is named: dense, in evaluation mode, on the CPU.

    Merging is done in float32; `bf16` then rounds the weights, and leaves the frequencies of the positions alone.
    A base that is stored in bfloat16 is loaded so, which changes no number: only one layer at a time is in float32.
    """
    stored = torch.bfloat16 if bf16 and causal_config(model).dtype == torch.bfloat16 else torch.float32
    if adapter is None:
        return load_causal_model(model, dtype=torch.bfloat16 if bf16 else torch.float32).eval()
    merged = merge_longlora(load_longlora(load_causal_model(model, dtype=stored), adapter)).eval()
    if bf16:
        for weight in merged.parameters():
            weight.data = weight.data.bfloat16()
        merged.config.dtype = torch.bfloat16
    return merged


def trained_in_bf16(adapter: Path | None) -> bool:
    """Tell whether the base of an adapter was in bfloat16 when it was trained: its folder says so."""
    path = Path(adapter or "") / "config.json"
    found = read_json(path) if adapter and path.is_file() else {}
    return isinstance(found, dict) and found.get("dtype") == "bfloat16"


def on_device(model: PreTrainedModel) -> PreTrainedModel:
    """The model, moved to the GPU if there is one."""
    device: Any = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device)


def measure_text(
    model: str,
    data: Path,
    lengths: Sequence[int] | None = None,
    *,
    document: DocumentRule = "file",
    adapter: Path | None = None,
    stride: int | None = None,
    windows: int = 50,
    trials: int = 10,
    seed: int = 0,
    bf16: bool = False,
    progress: Progress | None = None,
) -> dict:
    """Perplexity by length and position and passkeys, on the held-out side of `data`; its own context by default."""
    check_integer("windows", windows, at_least=1)
    check_integer("trials", trials, at_least=0)
    tokenizer = load_tokenizer(model)
    corpus, opening = read_corpus(data, document), opening_ids(tokenizer)
    texts = tokenised(corpus.held_out, tokenizer)
    loaded = on_device(with_adapter(model, adapter, bf16=bf16 or trained_in_bf16(adapter)))
    check_ids(texts, loaded)
    lengths = sorted(lengths or [reach_of(loaded.config).length])
    total = sum(lengths) * (windows + 5 * trials)
    with (progress or Silent()).stage("Measuring", total, "tok") as advance:
        options = {"stride": stride, "most": windows, "opening": opening, "on_tokens": advance}
        score = score_perplexity(loaded, texts, lengths, **options)
        keys = {}
        if trials:
            keys = score_retrieval(loaded, tokenizer, texts, lengths, trials=trials, seed=seed, on_tokens=advance)
    return {
        "model": model,
        "adapter": str(adapter) if adapter else None,
        "windows": score.windows,
        "stride": score.stride,
        "windows_begin_with": token_names(tokenizer, opening),
        "files_left_out": len(corpus.left_out),
        "perplexity": score.perplexity,
        "nats_by_position": [round(float(nats), 4) for nats in score.by_position],
        "passkey": keys,
        **dataclasses.asdict(provenance(threads=torch.get_num_threads())),
    }


def measure_answers(
    model: str, data: Path, *, adapter: Path | None = None, bf16: bool = False, progress: Progress | None = None
) -> dict:
    """Count the pairs of a `.json` or `.jsonl` file that are answered exactly; those beyond the context count apart."""
    pairs = read_pairs(data)
    tokenizer = load_tokenizer(model)
    texts = [tokenised_pair(pair, tokenizer)[0] for pair in pairs]
    loaded = on_device(with_adapter(model, adapter, bf16=bf16 or trained_in_bf16(adapter)))
    check_ids(texts, loaded)
    total, context = sum(map(len, texts)), reach_of(loaded.config).length
    with (progress or Silent()).stage("Answering", total, "tok") as advance:
        exact, left_out = score_answers(loaded, tokenizer, pairs, is_exact, context=context, on_tokens=advance)
    return {
        "model": model,
        "adapter": str(adapter) if adapter else None,
        "exact": exact,
        "context": context,
        "left_out": left_out,
        **dataclasses.asdict(provenance(threads=torch.get_num_threads())),
    }


def ask(
    model: str, text: str, question: str, *, adapter: Path | None = None, most: int = 64, bf16: bool = False
) -> dict:
    """Answer one question about a long text, greedily.

    Raises:
        ValueError: for an empty question, and when text and question are longer than the context.
    """
    if not question.strip():
        raise ValueError("the question must have at least one token, got an empty text")
    tokenizer, loaded = (
        load_tokenizer(model),
        on_device(with_adapter(model, adapter, bf16=bf16 or trained_in_bf16(adapter))),
    )
    ids, labels = tokenised_pair(Pair(f"{text}\n\n{question}" if text else question, ""), tokenizer)
    prompt: np.ndarray = ids[labels < 0]
    check_ids([ids], loaded)
    context = reach_of(loaded.config).length
    if len(prompt) + most > context:
        raise ValueError(f"text, question and answer must fit into {context} tokens, got {len(prompt)} and {most}")
    return {"prompt_tokens": len(prompt), "answer": answer(loaded, tokenizer, prompt, most=most).strip()}


def merge_into(model: str, adapter: Path, out: Path, *, bf16: bool = False) -> dict:
    """Write the merged model and its tokenizer to a new folder.

    Raises:
        ValueError: for a folder that holds something already.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"out must be a new or an empty folder, got {out} with something in it")
    merged = with_adapter(model, adapter, bf16=bf16)
    merged.save_pretrained(out)
    context = reach_of(merged.config).length
    save_tokenizer(model, out, context)
    return {
        "out": str(out),
        "parameters": sum(weight.numel() for weight in merged.parameters()),
        "context": context,
    }
