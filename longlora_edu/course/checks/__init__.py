"""Exercise checks that say which mistake they saw: one file a lesson; `exercise` is the engine they share."""

from .exercise import CheckFailed, Passed, attention_weights, called, check, expect_array, expect_tensor

__all__ = ["CheckFailed", "Passed", "attention_weights", "called", "check", "expect_array", "expect_tensor"]
