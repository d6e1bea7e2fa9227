"""A TinyLlama as a folder that transformers loads: `config.json`, `model.safetensors`, and a tokenizer of bytes."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import torch
from safetensors.torch import save

from ..lora.files import check_tensors, existing_file, read_weights
from ..runs.records import read_json, replace_file, write_json
from .config import LlamaConfig, bundled_folder
from .llama import TinyLlama

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def save_tiny_llama(model: TinyLlama, folder: Path) -> None:
    """Write `config.json`, `model.safetensors` and the byte tokenizer: a folder that transformers loads.

    Raises:
        ValueError: for a model with LoRA layers, which no plain Llama has.
    """
    folder = Path(folder)
    if any(".lora_A." in name for name in model.state_dict()):
        raise ValueError("model must be merged before it is saved, got one with LoRA layers: see merge_to_dense")
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight")
    replace_file(folder / "model.safetensors", save(state, metadata={"format": "pt"}))
    for name in TOKENIZER_FILES:
        replace_file(folder / name, (files("longlora_edu") / "assets" / "model" / name).read_bytes())
    write_json(folder / "config.json", model.config.as_json())


def load_tiny_llama(folder: Path) -> TinyLlama:
    """Load a model, in evaluation mode, from a folder of `save_tiny_llama` or of transformers (a Llama of bytes).

    Raises:
        ValueError: saying what was found, for a missing, damaged or foreign config or weights file.
    """
    config = LlamaConfig.from_json(read_json(existing_file(Path(folder) / "config.json")))
    weights = Path(folder) / "model.safetensors"
    state = read_weights(weights)
    with torch.random.fork_rng(devices=[]):  # fresh weights that nobody sees must not use up the caller's numbers
        model = TinyLlama(config)
    if config.tie_word_embeddings:
        state.setdefault("lm_head.weight", state.get("model.embed_tokens.weight", model.lm_head.weight))
    check_tensors(weights, model.state_dict(), state)
    model.load_state_dict(state)
    return model.eval()


def bundled_model(trained_context: int = 512) -> TinyLlama:
    """Load a small model of the package, trained at 512 bytes, or at 256, on the standard library's source.

    The studies and lesson 05 use the model of 256 bytes, everything else that of 512.

    Raises:
        ValueError: for another context.
    """
    return load_tiny_llama(bundled_folder(trained_context))
