"""Hashes of what a training reads, so that a resumed run notices when its data or its base model has changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from ..runs.records import hash_files
from .configs import find_config
from .data import TextData
from .pairs import PairData

WEIGHTS = ("*.safetensors", "*.bin", "*.index.json")
TOKENIZER = ("tokenizer*", "vocab*", "merges*", "special_tokens_map.json", "added_tokens.json", "chat_template*")
TOKENIZER += ("*.model", "*.tiktoken", "*.jinja")


def input_hashes(model: str, data: TextData | PairData) -> dict[str, str]:
    """Return hashes of the tokens to train on and of the model's files: its config, its tokenizer and its weights."""
    path = find_config(model)
    hashes = {"data": _hash_tokens(data)}
    if path.suffix == ".gguf":  # one file for all three
        return hashes | {"model": hash_files([path])}
    folder = path.parent
    kinds = {"config": ("config.json",), "tokenizer": TOKENIZER, "weights": WEIGHTS}
    return hashes | {kind: hash_files(_matching(folder, patterns)) for kind, patterns in kinds.items()}


def _matching(folder: Path, patterns: tuple[str, ...]) -> set[Path]:
    return {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}


def _hash_tokens(data: TextData | PairData) -> str:
    digest = hashlib.sha256()
    parts = data.pairs if isinstance(data, PairData) else [(text,) for text in data.texts]
    for part in parts:  # ids, or ids and labels
        for ids in part:
            digest.update(f"{len(ids)}\0".encode())
            digest.update(np.ascontiguousarray(ids).data)
    return digest.hexdigest()[:16]
