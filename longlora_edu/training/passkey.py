"""Passkeys: a number hidden in a long document, and asked for at its end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..runs.validate import check_number
from .corpus import Windows

DIGITS = 5
STATEMENT, QUESTION = b"\n# passkey ", b"\n# passkey "
OVERHEAD = len(STATEMENT) + DIGITS + 1 + len(QUESTION) + DIGITS


def hide_passkey(window: np.ndarray, depth: float, rng: np.random.Generator) -> np.ndarray:
    """Copy `window`, uint8 (n,), with a passkey stated at `depth` and asked for at the end.

    The text becomes `… # passkey 48213 … # passkey 48213`: the last five bytes are the answer, so a model
    retrieves the key exactly if it ranks each of them first given all bytes before. Depth 0 states the key
    at the start, 1 just before the question. The length stays `n`; text at the end gives way.

    Raises:
        ValueError: when the window has no room, or the depth is not within 0 and 1.
    """
    room = len(window) - OVERHEAD
    if room < 0:
        raise ValueError(f"window must have at least {OVERHEAD} bytes for a passkey, got {len(window)}")
    if not 0 <= depth <= 1:
        raise ValueError(f"depth must be from 0 to 1, got {depth}")
    key = rng.integers(ord("0"), ord("9") + 1, size=DIGITS, dtype=np.uint8)
    cut = round(depth * room)
    return np.concatenate(
        [window[:cut], _bytes(STATEMENT), key, _bytes(b"\n"), window[cut:room], _bytes(QUESTION), key]
    )


@dataclass(frozen=True)
class PasskeyMix:
    """Share of training windows that carry a passkey, and the weight of its digits in the loss.

    `share` is the part of windows with a passkey, at a uniformly drawn depth; each answer digit weighs
    `weight` times as much as any other byte.
    """

    share: float = 0.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "share", check_number("share", self.share, within=(0, 1)))
        object.__setattr__(self, "weight", check_number("weight", self.weight, above=0))

    def batch(self, windows: Windows, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw `count` windows of n bytes, uint8 (b, n), and tell which end in a passkey's answer, bool (b,)."""
        ids = windows.draw(rng, count)
        carries = rng.random(count) < self.share
        for row in np.flatnonzero(carries):
            ids[row] = hide_passkey(ids[row], rng.random(), rng)
        return ids, carries


def _bytes(text: bytes) -> np.ndarray:
    return np.frombuffer(text, dtype=np.uint8)
