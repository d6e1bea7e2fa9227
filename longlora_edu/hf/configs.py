"""The config of a model, from a folder, a file or the hub."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, PreTrainedConfig

from ..runs.records import read_json

# The entries about stretched positions in a GGUF file, by their names in a config. "none" and 0 stretch nothing.
GGUF_ENTRIES = {
    "scaling.type": "rope_type",
    "scaling.factor": "factor",
    "scale_linear": "factor",
    "scaling.original_context_length": "original_max_position_embeddings",
    "scaling.finetuned": "finetuned",
}


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
        try:
            config = AutoConfig.from_pretrained(model, trust_remote_code=False)
        except Exception as error:  # each family checks its entries in its own way
            raise ValueError(f"the config must be readable, got {model!r}: {in_a_line(error)}") from None
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
    """Find the file with a model's config; from the hub, a copy.

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


def in_a_line(error: Exception) -> str:
    """The reason of another library's error, in one line."""
    return f"{(' '.join(str(error).split()) or type(error).__name__).rstrip('.:'):.300}"


def _value(field) -> object:
    """A single entry of a GGUF file: text, a number or a truth value."""
    value = field.parts[field.data[0]]
    return bytes(value).decode() if field.types[-1].name == "STRING" else value[0].item()
