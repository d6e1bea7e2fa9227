"""Models and tokenizers from a folder, a GGUF file or the hub, with errors that say what to bring."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel


def load_model(model: str, *, bf16: bool = False) -> PreTrainedModel:
    """A causal language model in evaluation mode. `model` is a folder, a `.gguf` file, or an ID on the hub.

    Raises:
        ValueError: where there is none, saying how to point to one.
    """
    dtype = torch.bfloat16 if bf16 else torch.float32
    try:
        return AutoModelForCausalLM.from_pretrained(**_source(model), dtype=dtype)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(_not_found("model", model, error)) from None


def load_tokenizer(model: str):
    """The tokenizer that belongs to a model; see `load_model`.

    Raises:
        ValueError: where there is none.
    """
    try:
        return AutoTokenizer.from_pretrained(**_source(model))
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(_not_found("tokenizer", model, error)) from None


def _source(model: str) -> dict:
    path = Path(model)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ValueError(f"{path} does not exist")
        return {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    return {"pretrained_model_name_or_path": model}


def _not_found(what: str, model: str, error: Exception) -> str:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    where = "a folder that holds it" if Path(model).exists() else "a folder, a .gguf file or an ID that the hub knows"
    return (
        f"{what} must be found in {where}, got {model!r}: {reason} "
        "Without the hub, bring the files of the model and name their folder."
    )
