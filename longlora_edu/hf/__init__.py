"""S²-Attn and the LongLoRA recipe inside transformers and PEFT."""

from .recipe import LongLoRAModel, load_longlora, longlora, merge_longlora
from .sparse_attention import AttentionReport, S2Settings, use_dense, use_s2

__all__ = [
    "AttentionReport",
    "LongLoRAModel",
    "S2Settings",
    "load_longlora",
    "longlora",
    "merge_longlora",
    "use_dense",
    "use_s2",
]
