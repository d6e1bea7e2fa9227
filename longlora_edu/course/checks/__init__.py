"""Exercise checks that say which mistake they saw. One file a lesson's subject; `diagnosis` is what they share."""

from .diagnosis import CheckFailed, Passed, attention_weights, called, exercise, expect_array, expect_tensor

__all__ = ["CheckFailed", "Passed", "attention_weights", "called", "exercise", "expect_array", "expect_tensor"]
