"""S²-Attn and the LongLoRA recipe inside transformers and PEFT."""

from .attention import use_dense, use_s2
from .recipe import LongLoRAModel, load_longlora, longlora, merge_longlora

__all__ = ["LongLoRAModel", "load_longlora", "longlora", "merge_longlora", "use_dense", "use_s2"]
