"""Checks of lesson 06: a LoRA layer, its merge, what LongLoRA trains besides, and the other LoRA+."""

from .layers import lora_layer, merged
from .recipe import loraplus_groups, train_as_longlora
from .shares import trainable_share

__all__ = ["lora_layer", "loraplus_groups", "merged", "train_as_longlora", "trainable_share"]
