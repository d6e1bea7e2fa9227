"""A Linear with a low-rank side path: add it to a model, train it, merge it, and exchange it with PEFT.

LoRA freezes a model and learns, for some of its Linear layers, a correction of low rank. LongLoRA
also trains embeddings and norms directly (`free_modules`). Both travel in one adapter folder.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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


def __getattr__(name: str):
    # Loaded when first asked for: the settings of an extension are read where there is no torch, in a browser tab.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".files" if name.endswith("_adapter") else ".layers", __name__), name)
