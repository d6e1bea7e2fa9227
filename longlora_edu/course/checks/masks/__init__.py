"""Checks of lesson 02: who sees whom, how many pairs that is, how far it carries, and where the future leaks."""

from .counts import count_pairs, layers_needed, leaked_pairs
from .drawn import masked_boundary, plain_mask, s2_mask
from .reach import heard_after

__all__ = [
    "count_pairs",
    "heard_after",
    "layers_needed",
    "leaked_pairs",
    "masked_boundary",
    "plain_mask",
    "s2_mask",
]
