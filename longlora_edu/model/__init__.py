"""The small model: its shape, its modules, and the folder it is kept in."""

from .config import LlamaConfig
from .folder import TOKENIZER_FILES, bundled_model, load_model, save_model
from .llama import LlamaAttention, LlamaLayer, TinyLlama, rotate, rotation_tables

__all__ = [
    "TOKENIZER_FILES",
    "LlamaAttention",
    "LlamaConfig",
    "LlamaLayer",
    "TinyLlama",
    "bundled_model",
    "load_model",
    "rotate",
    "rotation_tables",
    "save_model",
]
