"""Pictures that move: the shift, a word that travels through the layers, positions as clocks.

`scenes` computes what is shown and says it in words; the browser draws it, and waits for a press where the reader asks
for less motion. Without anywidget, and on paper, a still stands in its place.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...rope import Rope
from .moving_still import MovingStill
from .scenes import clocks_scene, pulse_scene, shift_scene


def show_shift(words: str, *, group_size: int, shift: int | None = None, boundary: str = "split"):
    """Show words in groups, and how the groups of a shifted head glide: a value then hops where a wall was.

    Under `boundary="wrap"` the words move instead, and the first ones fly behind the last.

    Raises:
        ValueError: for settings that `S2Geometry` refuses, or fewer than two groups.
    """
    return _moving(shift_scene(words, group_size, shift, boundary))


def show_pulse(words: str, *, group_size: int, source: int, shift: int | None = None):
    """Show how what one word says travels, layer by layer, until nobody else hears it.

    Raises:
        ValueError: for a source that is none of the words, or settings that `S2Geometry` refuses.
    """
    return _moving(pulse_scene(words, group_size, source, shift))


def show_clocks(rope: Rope, pairs: Sequence[int], *, target: int):
    """Show pairs of features as clocks whose hands turn with the position, up to `target`.

    The arc that training has seen is shaded; beyond it a hand is dashed and red. A switch turns the rule of `rope` on.

    Raises:
        ValueError: for a rope without a trained length, a target not beyond it, or a pair that there is none of.
    """
    return _moving(clocks_scene(rope, pairs, target))


def _moving(scene: dict):
    try:
        from .moving_widget import Moving
    except ImportError:
        return MovingStill(scene)
    return Moving(scene)
