"""The config of a model, from a folder, a file or the hub."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, PreTrainedConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from ..runs.records import read_json
from ..runs.validate import is_integer

# The entries about stretched positions in a GGUF file, by their names in a config. "none" and 0 stretch nothing.
GGUF_ENTRIES = {
    "scaling.type": "rope_type",
    "scaling.factor": "factor",
    "scale_linear": "factor",
    "scaling.original_context_length": "original_max_position_embeddings",
    "scaling.finetuned": "finetuned",
}

# Sizes that no model is without, and those that some families state otherwise or leave open.
SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
NUMBERS_OF_ROPE = ("rope_theta", "factor", "original_max_position_embeddings", "partial_rotary_factor")
MORE_SIZES = ("intermediate_size", "num_key_value_heads", "head_dim", "max_position_embeddings")


def causal_config(model: str) -> PreTrainedConfig:
    """The config of a model that reads from left to right, with what transformers makes of its entries.

    `model` is a folder with `config.json`, that file, a `.gguf` file, or an ID on the hub.

    Raises:
        ValueError: where there is none, saying which file to bring; for entries that transformers cannot read, and for
            a model of another kind.
    """
    path = find_config(model)
    if path.suffix == ".gguf":
        config = gguf_config(path)
    else:
        if not isinstance(values := read_json(path), dict):  # it names the place of a mistake
            raise ValueError(f"{path} must hold a JSON object, got {type(values).__name__}")
        if odd := _odd_size(values, SIZES):
            raise ValueError(f"the config must be readable, got {model!r}: {odd}")
        try:
            config = AutoConfig.from_pretrained(model, trust_remote_code=False)
        except Exception as error:  # each family checks its entries in its own way
            raise ValueError(f"the config must be readable, got {model!r}: {why(model, error)}") from None
    if config.is_encoder_decoder:
        raise ValueError(
            f"model must read from left to right, got {config.model_type!r}, an encoder and a decoder, for which "
            "S²-Attn is not defined"
        )
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise ValueError(f"model must be a causal language model of transformers, got {config.model_type!r}")
    return config


@cache
def gguf_config(path: Path) -> PreTrainedConfig:
    """The config of a GGUF file, with the stretched positions that transformers leaves out.

    It is kept, since reading the file takes seconds: copy it before a change.

    Raises:
        ValueError: for a file that is damaged, of a family that transformers does not read, or with positions that
            cannot be stated in a config.
    """
    try:
        from gguf import GGUFReader

        config = AutoConfig.from_pretrained(path.parent, gguf_file=path.name)
        reader = GGUFReader(path)
        said = {name.partition(".rope.")[2]: _value(field) for name, field in reader.fields.items() if ".rope." in name}
    except Exception as error:  # a reader of a binary format fails in many ways
        raise ValueError(f"{path} must be a GGUF file that transformers reads, got {error!r:.300}") from None
    said = {name: value for name, value in said.items() if name.startswith("scal") and value not in (0, False, "none")}
    # Factors of single frequencies, as Llama 3.1 and Phi 3 have them.
    unknown = [tensor.name for tensor in reader.tensors if tensor.name.startswith("rope_") and (tensor.data != 1).any()]
    unknown += [f"rope.{name}" for name in said if name not in GGUF_ENTRIES]
    kind = said.get("scaling.type", "linear")
    if unknown or kind not in ("linear", "yarn"):
        raise ValueError(
            f"{path} must hold positions that a config can state, got {unknown[0] if unknown else kind}: "
            "take the model from its folder with config.json"
        )
    rule = {GGUF_ENTRIES[name]: value for name, value in said.items()}
    if rule.get("factor", 1) != 1:
        config.rope_parameters = config.rope_parameters | {"rope_type": kind} | rule
        config.standardize_rope_params()
    return config


def find_config(model: str) -> Path:
    """Find the file with a model's config: a file itself (`.gguf` too), a folder's config.json, or a copy from the hub.

    The hub's is downloaded where its cache does not hold it.

    Raises:
        ValueError: where there is none, saying which file to bring.
    """
    path = Path(model)
    if path.is_file():
        return path
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ValueError(f"model must be a folder with config.json, got {path} without one")
        return path / "config.json"
    if path.suffix == ".gguf" or path.is_absolute() or model.startswith(".") or model.count("/") > 1:
        raise ValueError(f"model must be a folder, a .gguf file or an ID on the hub, got {model}, which does not exist")
    try:
        from transformers.utils import cached_file

        return Path(str(cached_file(model, "config.json")))
    except (OSError, ImportError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"model must be a folder with config.json or an ID that the hub knows, got {model!r}: {reason} "
            f"Without the hub, bring config.json of {model} (with its weights and tokenizer, to train) and name its "
            "folder."
        ) from None


def odd_entry(model: str) -> str | None:
    """Name an entry of a model's config that is of the wrong kind; see `odd_value`."""
    path = find_config(model)
    return None if path.suffix == ".gguf" else odd_value(read_json(path))


def odd_value(values: dict[str, Any]) -> str | None:
    """Name an entry of a config that is of the wrong kind, with its rule and value, after another library stumbled.

    None where there is none that we know: not every family means the same by every name, so nothing is refused for it.
    """
    if odd := _odd_size(values, (*SIZES, *MORE_SIZES)):
        return odd
    kinds = values.get("layer_types")
    if kinds is not None and not (isinstance(kinds, list) and all(isinstance(kind, str) for kind in kinds)):
        return f"layer_types must be a list of names, got {kinds!r:.60}"
    for name in ("rope_parameters", "rope_scaling"):
        rule = values.get(name)
        if rule is None:
            continue
        if not isinstance(rule, dict):
            return f"{name} must be an object with a rope_type, got {rule!r:.60}"
        known = sorted({"default", *ROPE_INIT_FUNCTIONS})
        kind = rule.get("rope_type", rule.get("type", "default"))
        if not isinstance(kind, str) or kind not in known:
            return f"the rope_type of {name} must be one of {', '.join(known)}, got {kind!r:.60}"
        beside = {"original_max_position_embeddings": values.get("original_max_position_embeddings")}
        for field, value in (beside | rule).items():
            if field in NUMBERS_OF_ROPE and value is not None and not (_is_number(value) and value > 0):
                return f"{field} must be a number above 0, got {value!r:.60}"
    return None


def why(model: str, error: Exception) -> str:
    """Name the entry of a config that made another library fail, or where none is odd, give its error in one line."""
    return odd_entry(model) or in_a_line(error)


def in_a_line(error: Exception) -> str:
    """The reason of another library's error, in one line."""
    return f"{(' '.join(str(error).split()) or type(error).__name__).rstrip('.:'):.300}"


def _odd_size(values: dict, names: Sequence[str]) -> str | None:
    """Describe the first of `names` whose value is no size, in a sentence with rule and value; None where all are.

    Lists are left alone: some families have one size for each layer.
    """
    for name in names:
        value = values.get(name)
        if value is not None and not isinstance(value, list) and not (is_integer(value) and value > 0):
            return f"{name} must be a positive integer, got {value!r:.60}"
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _value(field) -> object:
    """A single entry of a GGUF file: text, a number or a truth value."""
    value = field.parts[field.data[0]]
    return bytes(value).decode() if field.types[-1].name == "STRING" else value[0].item()
