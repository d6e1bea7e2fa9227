"""A Linear with a low-rank side path: add it to a model, train it, merge it, and exchange it with PEFT.

LoRA freezes a model and learns, for some of its Linear layers, a correction of low rank. LongLoRA
also trains embeddings and norms as they are (`free_modules`). Both travel in one adapter folder.
"""

from .files import load_adapter, save_adapter
from .layers import LoRALinear, LoRAReport, MergeReport, add_lora, free_modules, merge_lora

__all__ = [
    "LoRALinear",
    "LoRAReport",
    "MergeReport",
    "add_lora",
    "free_modules",
    "load_adapter",
    "merge_lora",
    "save_adapter",
]
