"""Checks of lesson 05: rotated scores, stretched frequencies, YaRN's ramp."""

from .rotary import rotary_scores, stretched_frequencies, yarn_frequencies

__all__ = ["rotary_scores", "stretched_frequencies", "yarn_frequencies"]
