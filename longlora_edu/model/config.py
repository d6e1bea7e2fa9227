"""The shape of a TinyLlama, and its `config.json`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from ..rope import Rope
from ..runs.validate import check_flag, check_number, check_size


@dataclass(frozen=True)
class LlamaConfig:
    """Shape of a TinyLlama; the fields have the names of a transformers `LlamaConfig`.

    Raises:
        ValueError: naming the field, its rule and the value.
    """

    rope: Rope
    hidden_size: int = 192
    intermediate_size: int = 512
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    num_key_value_heads: int = 4
    max_position_embeddings: int = 256
    vocab_size: int = 256
    rms_norm_eps: float = 1e-5
    tie_word_embeddings: bool = False

    def __post_init__(self) -> None:
        for name, size in _check_sizes(vars(self)).items():
            object.__setattr__(self, name, size)
        if not isinstance(self.rope, Rope):
            raise ValueError(f"rope must be a Rope, got {self.rope!r}")
        object.__setattr__(self, "rms_norm_eps", check_number("rms_norm_eps", self.rms_norm_eps, above=0))
        check_flag("tie_word_embeddings", self.tie_word_embeddings)
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_key_value_heads must divide num_attention_heads = {self.num_attention_heads}, "
                f"got {self.num_key_value_heads}"
            )

    @property
    def head_dim(self) -> int:
        return self.rope.head_dim

    @property
    def context_length(self) -> int:
        """The longest sequence the model is meant for. *dynamic* keeps the trained length in the config."""
        grows = self.rope.factor if self.rope.method == "dynamic" else 1
        return round(self.max_position_embeddings * grows)

    @property
    def trained_context(self) -> int:
        """The context before any stretching, in tokens."""
        return self.rope.trained_length or round(self.max_position_embeddings / self.rope.factor)

    def as_json(self) -> dict:
        """Return the `config.json` that transformers reads."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.max_position_embeddings,
            "rope_parameters": self.rope.rope_parameters(),
            # transformers keeps and ignores this; it states what rope_parameters cannot: where the stretch began.
            "longlora_rope": dataclasses.asdict(self.rope),
            "rms_norm_eps": self.rms_norm_eps,
            "tie_word_embeddings": self.tie_word_embeddings,
            "attention_bias": False,
            "mlp_bias": False,
            "hidden_act": "silu",
            "bos_token_id": 0,
            "eos_token_id": 0,
            "dtype": "float32",
        }

    @classmethod
    def from_json(cls, values: dict) -> LlamaConfig:
        """Read a `config.json`, if TinyLlama can run it.

        Raises:
            ValueError: for another model type, or a field whose value would change the computation.
        """
        if not isinstance(values, dict):
            raise ValueError(f"config must be a JSON object, got {type(values).__name__}")
        if values.get("model_type") != "llama":
            raise ValueError(f"model_type must be 'llama', got {values.get('model_type')!r}")
        fixed = {"attention_bias": False, "mlp_bias": False, "hidden_act": "silu"}
        for name, value in fixed.items():
            if values.get(name, value) != value:
                raise ValueError(f"{name} must be {value!r}, got {values[name]!r}")
        names = [name for name in cls.__dataclass_fields__ if name != "rope"]
        if missing := [name for name in (*names, "rope_parameters") if name not in values]:
            raise ValueError(f"config must have the fields of a Llama, got none for {', '.join(missing)}")
        _check_sizes(values)
        head_dim = values.get("head_dim") or values["hidden_size"] // values["num_attention_heads"]
        rope = Rope.from_rope_parameters(
            values["rope_parameters"],
            head_dim=head_dim,
            max_position_embeddings=values["max_position_embeddings"],
        )
        if "longlora_rope" in values:
            rope = stated_rope(values["longlora_rope"], rope)
        return cls(rope, **{name: values[name] for name in names})


_SIZES = [name for name, field in LlamaConfig.__dataclass_fields__.items() if field.type == "int"]


def bundled_config(trained_context: int = 512) -> LlamaConfig:
    """Read the shape of a model in the package; its weights, and torch, stay where they are."""
    text = (bundled_folder(trained_context) / "config.json").read_text(encoding="utf-8")
    return LlamaConfig.from_json(json.loads(text))


def bundled_folder(trained_context: int = 512) -> Path:
    """Return the folder of a small model that travels with the package.

    Raises:
        ValueError: for another trained context than 512 or 256.
    """
    names = {512: "model", 256: "model256"}
    if trained_context not in names:
        raise ValueError(f"trained_context must be one of 512, 256, got {trained_context!r}")
    return Path(str(files("longlora_edu") / "assets" / names[trained_context]))


def _check_sizes(values: Mapping) -> dict[str, int]:
    return {name: check_size(name, values[name]) for name in _SIZES}


def stated_rope(fields: dict, rope: Rope) -> Rope:
    """Return the rule of positions that the config's own entry `longlora_rope` states.

    It knows more than `rope`, the rule that transformers reads: *ntk* and its factor are only *default* there.

    Raises:
        ValueError: if the two would turn positions differently, or a field is missing.
    """
    names = {field.name for field in dataclasses.fields(Rope)}
    # Files that were written before there was a choice do not state YaRN's fast end.
    if not isinstance(fields, dict) or set(fields) | {"beta_fast"} != names:
        raise ValueError(f"longlora_rope must have the fields {', '.join(sorted(names))}, got {fields}")
    stated = Rope(**fields)
    same = (stated.head_dim, stated.rope_parameters()) == (rope.head_dim, rope.rope_parameters())
    if not same or (stated.method == "dynamic" and stated.trained_length != rope.trained_length):
        raise ValueError(f"longlora_rope must agree with what rope_parameters say, {rope}, got {stated}")
    return stated
