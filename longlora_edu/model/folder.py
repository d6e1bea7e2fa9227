"""A TinyLlama as a folder that transformers loads: `config.json`, `model.safetensors`, and a tokenizer of bytes."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ..runs.records import read_json, replace_file, write_json
from .config import LlamaConfig
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
    folder = Path(folder)
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise ValueError(f"model folder must hold {name}, got {folder} without it")
    config = LlamaConfig.from_json(read_json(folder / "config.json"))
    weights = folder / "model.safetensors"
    try:
        state = load(weights.read_bytes())
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{weights} must be a safetensors file, got one that cannot be read: {error}") from None
    with torch.random.fork_rng(devices=[]):  # fresh weights that nobody sees must not use up the caller's numbers
        model = TinyLlama(config)
    if config.tie_word_embeddings:
        state.setdefault("lm_head.weight", state.get("model.embed_tokens.weight"))
    _check_state(weights, state, model.state_dict())
    model.load_state_dict(state)
    return model.eval()


def bundled_model() -> TinyLlama:
    """Load the small model of the package: trained at 256 bytes on the standard library's source."""
    return load_tiny_llama(Path(str(files("longlora_edu") / "assets" / "model")))


def _check_state(path: Path, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or extra:
        raise ValueError(
            f"{path} must hold the weights its config.json describes, got {len(found)} tensors: "
            f"missing {missing[:3] or 'none'}, not expected {extra[:3] or 'none'}"
        )
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape:
            raise ValueError(f"{path}: {name} must have shape {tuple(tensor.shape)}, got {tuple(found[name].shape)}")
