"""The small model: its shape, its modules, and the folder it is kept in."""

from .config import LlamaConfig
from .folder import TOKENIZER_FILES, bundled_model, load_tiny_llama, save_tiny_llama
from .llama import LlamaAttention, LlamaLayer, TinyLlama, rotate, rotation_tables

__all__ = [
    "TOKENIZER_FILES",
    "LlamaAttention",
    "LlamaConfig",
    "LlamaLayer",
    "TinyLlama",
    "bundled_model",
    "load_tiny_llama",
    "rotate",
    "rotation_tables",
    "save_tiny_llama",
]
