"""Checks of lesson 04: cells as rows of a batch, the roll there and back, and a test that catches a leak."""

from .grouped import in_groups, rolled
from .proof import looks_ahead

__all__ = ["in_groups", "looks_ahead", "rolled"]
