"""The small model: its shape, its modules, and the folder it is kept in."""

from importlib import import_module
from typing import TYPE_CHECKING

from .config import LlamaConfig, bundled_config

if TYPE_CHECKING:
    from .folder import TOKENIZER_FILES, bundled_model, load_tiny_llama, save_tiny_llama
    from .llama import LlamaAttention, LlamaLayer, TinyLlama, rotate, rotation_tables

__all__ = [
    "TOKENIZER_FILES",
    "LlamaAttention",
    "LlamaConfig",
    "LlamaLayer",
    "TinyLlama",
    "bundled_config",
    "bundled_model",
    "load_tiny_llama",
    "rotate",
    "rotation_tables",
    "save_tiny_llama",
]
_FOLDER = ("TOKENIZER_FILES", "bundled_model", "load_tiny_llama", "save_tiny_llama")


def __getattr__(name: str):
    # Loaded when first asked for: the shape of the model is read where there is no torch, in a browser tab.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".folder" if name in _FOLDER else ".llama", __name__), name)
