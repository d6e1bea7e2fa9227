"""Models and tokenizers from a folder, a GGUF file or the hub, with errors that say what to bring."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers
from safetensors import SafetensorError
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
)

from ..runs.records import read_json
from .configs import find_config, gguf_config
from .families import attention_layers
from .positions import rope_of

UNREADABLE = (OSError, ValueError, KeyError, TypeError, ImportError, RuntimeError, SafetensorError)


def check_family(model: str) -> None:
    """Refuse a model that S²-Attn or new positions cannot be given to, from its config alone: no weights are read.

    Raises:
        ValueError: naming what the model has; where there is no model, saying which file to bring.
    """
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(_causal_config(model))
    attention_layers(empty)
    rope_of(empty)


def load_model(model: str, *, bf16: bool = False) -> PreTrainedModel:
    """A causal language model in evaluation mode. `model` is a folder, a `.gguf` file, or an ID on the hub.

    Raises:
        ValueError: where there is none, saying how to point to one; for damaged files, and for files without some of
            the weights, which transformers would fill at random.
    """
    _causal_config(model)
    options = _source(model) | _unpacked(model) | {"dtype": torch.bfloat16 if bf16 else torch.float32}
    try:
        loaded, about = AutoModelForCausalLM.from_pretrained(**options, output_loading_info=True)
    except UNREADABLE as error:
        if is_out_of_memory(error):
            raise
        raise ValueError(f"{_unreadable('the weights', model, error)}: bring the files again, whole") from None
    if missing := sorted(about["missing_keys"]):
        raise ValueError(
            f"model must hold all weights of its config, got {model} without {len(missing)} of them, {missing[0]} among"
            " those: bring all its files"
        )
    return loaded


def load_tokenizer(model: str):
    """The tokenizer that belongs to a model; see `load_model`.

    Raises:
        ValueError: where there is none.
    """
    find_config(model)
    files = "bring its files, mostly tokenizer.json and tokenizer_config.json"
    try:
        tokenizer = AutoTokenizer.from_pretrained(**_source(model))
    except UNREADABLE as error:
        raise ValueError(f"{_unreadable('the tokenizer', model, error)}: {files}") from None
    if not tokenizer("a", add_special_tokens=False)["input_ids"]:  # of some families, no files are an empty one
        raise ValueError(f"the tokenizer must know words, got {len(tokenizer)} of them in {model!r}: {files}")
    return tokenizer


def is_out_of_memory(error: BaseException) -> bool:
    """Does an error say that memory was full, on a GPU or beside it? Each library says so in its own way."""
    full = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return full or any(words in str(error) for words in ("can't allocate memory", "Cannot allocate memory"))


def _causal_config(model: str) -> PreTrainedConfig:
    """The config of a model that reads from left to right, as far as the kind of its config tells."""
    path = find_config(model)
    if path.suffix != ".gguf":
        read_json(path)  # it names the place of a mistake
    try:
        config = gguf_config(path) if path.suffix == ".gguf" else AutoConfig.from_pretrained(**_source(model))
    except UNREADABLE as error:
        raise ValueError(_unreadable("the config", model, error)) from None
    if config.is_encoder_decoder:
        raise ValueError(
            f"model must read from left to right, got {config.model_type!r}, an encoder and a decoder, for which "
            "S²-Attn is not defined"
        )
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ValueError(f"model must be a causal language model of transformers, got {config.model_type!r}")
    return config


def _source(model: str) -> dict:
    path, options = Path(model), {"trust_remote_code": False}  # otherwise it would ask, and wait
    if path.suffix == ".gguf":
        return options | {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    return options | {"pretrained_model_name_or_path": model}


def _unpacked(model: str) -> dict:
    """Unasked, newer transformers take a GGUF file for packed weights, which can neither learn nor be saved."""
    config = getattr(transformers, "GgufConfig", None) if Path(model).suffix == ".gguf" else None
    return {"quantization_config": config(dequantize=True)} if config else {}


def _unreadable(what: str, model: str, error: Exception) -> str:
    reason = (" ".join(str(error).split()) or type(error).__name__).rstrip(".:")
    return f"{what} must be readable, got {model!r}: {reason:.300}"
