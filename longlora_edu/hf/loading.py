"""Models and tokenizers from a folder, a GGUF file or the hub, with errors that say which file to bring."""

from __future__ import annotations

import copy
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import torch
import transformers
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ..runs.records import read_json
from .base_reach import reach_of
from .configs import causal_config, gguf_config, in_a_line, odd_entry, why
from .families import attention_layers
from .positions import forget_lengths, rotary_modules
from .processes import own_device
from .tokens import mark_controls

UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    ImportError,
    RuntimeError,
    SafetensorError,
    UnpicklingError,
    EOFError,
    IndexError,
)


def empty_model(model: str) -> PreTrainedModel:
    """The model without its weights, from its config alone: all that a recipe refuses can be tried on it.

    Raises:
        ValueError: where there is no model, and for a config that transformers can build none from.
    """
    config = copy.deepcopy(causal_config(model))
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config)
    except Exception as error:  # sizes that do not fit fail wherever they are used first
        raise ValueError(
            f"the config must describe a model that transformers can build, got {model!r}: {why(model, error)}"
        ) from None


def check_family(model: str) -> PreTrainedModel:
    """Refuse a model that S²-Attn or new positions cannot be given to, from its config alone: no weights are read.

    Returns the model without its weights.

    Raises:
        ValueError: naming what the model has; where there is no model, saying which file to bring.
    """
    empty = empty_model(model)
    attention_layers(empty)
    rotary_modules(empty)
    reach_of(empty.config)
    return empty


def load_causal_model(
    model: str, *, dtype: torch.dtype = torch.float32, load_in: Literal["4bit", "8bit"] | None = None
) -> PreTrainedModel:
    """Load a causal language model in evaluation mode. `model` is a folder, a `.gguf` file, or an ID on the hub.

    `load_in` keeps its Linear layers in 4 bits (NF4, its scales quantised too, as in QLoRA, arXiv 2305.14314) or 8, by
    bitsandbytes, and computes in `dtype`.

    Raises:
        ValueError: where there is none, saying how to point to one; for damaged files, and for files without some of
            the weights, which transformers would fill at random.
    """
    causal_config(model)
    _check_shards(model)
    options = _source(model) | _unpacked(model) | {"dtype": dtype} | _codes(model, dtype, load_in)
    try:
        loaded, about = AutoModelForCausalLM.from_pretrained(**options, output_loading_info=True)
    except UNREADABLE as error:
        if is_out_of_memory(error):
            raise
        if odd := odd_entry(model):
            raise ValueError(f"the config must be readable, got {model!r}: {odd}") from None
        raise ValueError(f"{_unreadable('the weights', model, error)}: bring the files again, whole") from None
    if missing := sorted(about["missing_keys"]):
        raise ValueError(
            f"model must hold all weights of its config, got {model} without {len(missing)} of them, {missing[0]} among"
            " those: bring all its files"
        )
    return forget_lengths(loaded)


def load_tokenizer(model: str) -> PreTrainedTokenizerBase:
    """Load the tokenizer that belongs to a model; see `load_causal_model`.

    Raises:
        ValueError: where there is none.
    """
    source = _source(model)
    causal_config(model)  # the tokenizer's loader reads it too, and stumbles
    files = "bring its files, mostly tokenizer.json and tokenizer_config.json"
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(**source)
    except UNREADABLE as error:
        raise ValueError(f"{_unreadable('the tokenizer', model, error)}: {files}") from None
    if not tokenizer("a", add_special_tokens=False)["input_ids"]:  # of some families, no files are an empty one
        raise ValueError(f"the tokenizer must know words, got {len(tokenizer)} of them in {model!r}: {files}")
    mark_controls(tokenizer)
    return tokenizer


def save_tokenizer(model: str, folder: Path, context: int) -> None:
    """Write a model's tokenizer with a longer maximum; with its own it would cut texts to the old context."""
    tokenizer: Any = AutoTokenizer.from_pretrained(**_source(model))  # as it is: load_tokenizer marks control tokens
    tokenizer.model_max_length = max(tokenizer.model_max_length, context)
    for name in ("is_local", "local_files_only"):  # how it was loaded here
        tokenizer.init_kwargs.pop(name, None)
    tokenizer.save_pretrained(folder)


def is_out_of_memory(error: BaseException) -> bool:
    """Recognise an error about full memory, on a GPU or beside it: each library words it in its own way."""
    full = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return full or any(words in str(error) for words in ("can't allocate memory", "Cannot allocate memory"))


def _check_shards(model: str) -> None:
    """Refuse an index of shards that names a file outside of the model's folder: transformers would read it."""
    folder = Path(model)
    for index in sorted(folder.glob("*.index.json")) if folder.is_dir() else ():
        found = read_json(index)
        shards = found.get("weight_map") if isinstance(found, dict) else None
        if not isinstance(shards, dict):
            raise ValueError(f"{index} must hold a weight_map, got none: bring the files again, whole")
        for shard in shards.values():
            if not isinstance(shard, str) or shard in ("", ".", "..") or Path(shard).name != shard or "\\" in shard:
                raise ValueError(f"{index} must name files beside it, got {shard!r}, which is not one of the model's")


def _source(model: str) -> dict:
    """The arguments by which transformers loads from a place.

    Raises:
        ValueError: for a file that is no model.
    """
    path, options = Path(model), {"trust_remote_code": False}  # otherwise it would ask, and wait
    if path.suffix == ".gguf":
        return options | {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    if path.is_file():
        raise ValueError(f"model must be a folder, a .gguf file or an ID on the hub, got the file {model}")
    return options | {"pretrained_model_name_or_path": model}


def _unpacked(model: str) -> dict:
    """Options for a GGUF file: its config with its positions, and weights that can learn and be saved."""
    if Path(model).suffix != ".gguf":
        return {}
    # Unasked, newer transformers take the file for packed weights.
    packed = getattr(transformers, "GgufConfig", None)
    options = {"quantization_config": packed(dequantize=True)} if packed else {}
    return options | {"config": copy.deepcopy(gguf_config(Path(model)))}


def _codes(model: str, dtype: torch.dtype, load_in: str | None) -> dict:
    """Options for a base in 4 or 8 bits.

    Raises:
        ValueError: where bitsandbytes is missing, and for a GGUF file.
    """
    if load_in is None:
        return {}
    if find_spec("bitsandbytes") is None:
        raise ValueError('load_in must find bitsandbytes, got none: python -m pip install "longlora-edu[qlora]"')
    if Path(model).suffix == ".gguf":
        raise ValueError(f"load_in must be left out for a .gguf file, got {load_in}: merge or convert it to a folder")
    own = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}
    own |= {"bnb_4bit_compute_dtype": dtype}
    config = BitsAndBytesConfig(**own) if load_in == "4bit" else BitsAndBytesConfig(load_in_8bit=True)
    return {"quantization_config": config, "device_map": {"": own_device()}}


def _unreadable(what: str, model: str, error: Exception) -> str:
    return f"{what} must be readable, got {model!r}: {in_a_line(error)}"
