"""Checks of lesson 03: masked attention on one head, S²-Attn forward, and the gradient by hand."""

from .backward import attention_backward, softmax_backward
from .forward import masked_attention, s2_forward

__all__ = ["attention_backward", "masked_attention", "s2_forward", "softmax_backward"]
