"""Position rules that stretch one band of frequencies and leave the others as trained."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import get_args

import numpy as np

from longlora_edu.model import TinyLlama
from longlora_edu.rope import Rope

from .spec import Band

# Turns within the trained length: slow pairs never complete one, fast pairs complete eight.
TURNS = {"slow": (0, 1), "middle": (1, 8), "fast": (8, math.inf)}


@dataclass(frozen=True)
class BandRope(Rope):
    """A `Rope` of method `"linear"` that divides the frequencies of one band by `factor`, and no other.

    Nothing outside of the studies knows this rule: a model with it cannot be saved for transformers.
    """

    band: Band = "slow"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.band not in get_args(Band):
            raise ValueError(f"band must be one of {', '.join(get_args(Band))}, got {self.band!r}")
        if self.method != "linear" or self.trained_length is None:
            raise ValueError(f"method must be 'linear', with a trained_length, got {self.method!r}")

    def frequencies(self, seq_len: int | None = None) -> np.ndarray:
        """Compute the frequencies, float64 (d/2,), in radians per token: stretched in the band, else as trained.

        `seq_len` changes nothing: the rule is linear.
        """
        inside = in_band(self, self.band)
        return np.where(inside, super().frequencies(seq_len), unstretched(self).frequencies())


def unstretched(rope: Rope) -> Rope:
    """Return the rule before any stretching."""
    return Rope(rope.head_dim, rope.base, trained_length=rope.trained_length)


def in_band(rope: Rope, band: Band) -> np.ndarray:
    """Return bool (d/2,): the pairs of features whose turns within the trained length lie in the band."""
    turns = unstretched(rope).frequencies() * rope.trained_length / (2 * math.pi)
    least, most = TURNS[band]
    return (turns >= least) & (turns < most)


def stretch_band(model: TinyLlama, band: Band) -> None:
    """Stretch one band only of a model that was stretched linearly, in place."""
    values = {field.name: getattr(model.config.rope, field.name) for field in dataclasses.fields(Rope)}
    set_rope(model, BandRope(**values, band=band))


def set_rope(model: TinyLlama, rope: Rope) -> None:
    """Replace the position rule of a model and of each of its layers, in place."""
    model.config = dataclasses.replace(model.config, rope=rope)
    for attention in model.attention_layers:
        attention.config = model.config
