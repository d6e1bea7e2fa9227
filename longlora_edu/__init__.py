"""Shifted sparse attention and the LongLoRA recipe: a reference, a fast path, and a course."""

__version__ = "0.1.0"
