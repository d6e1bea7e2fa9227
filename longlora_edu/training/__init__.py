"""Texts, tasks and loops: everything that trains or measures the small model."""
