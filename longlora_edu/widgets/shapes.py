"""The models that the explorers of ranks and costs compare."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

from ..cost import ModelShape
from ..model import LlamaConfig
from ..records import read_json

ASSETS = Path(str(files("longlora_edu"))) / "assets"


def shape_of(config: LlamaConfig) -> ModelShape:
    """The sizes of a TinyLlama, as the formulas of `cost` want them."""
    return ModelShape(
        width=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        ffn_width=config.intermediate_size,
        vocabulary=config.vocab_size,
        tied=config.tie_word_embeddings,
    )


@cache
def known_shapes() -> dict[str, ModelShape]:
    """The small model that travels with the package, and Llama-2-7B."""
    config = LlamaConfig.from_json(read_json(ASSETS / "model" / "config.json"))
    return {"small model": shape_of(config), "Llama-2-7B": ModelShape.llama2_7b()}
