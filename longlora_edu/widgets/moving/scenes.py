"""Scenes of the moving pictures, as plain values: tokens, cells, hops and angles, and a sentence for each stop."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...geometry import S2Geometry
from ...rope import Rope


def shift_scene(words: str, group_size: int, shift: int | None = None, boundary: str = "split") -> dict:
    """Describe the shift: from groups side by side (time 0) to shifted ones (1), then a value on its way (2).

    Raises:
        ValueError: for settings that `S2Geometry` refuses, fewer than two groups, or a masked boundary.
    """
    names = words.split()
    geometry = S2Geometry(len(names), group_size, 2, shift, boundary)
    if len(names) <= group_size or not geometry.shift:
        raise ValueError(f"words must fill more than a group and be shifted, got {len(names)} in {group_size}")
    if boundary == "masked":
        raise ValueError("boundary must be 'split' or 'wrap' to be shown, got 'masked': its words move as under 'wrap'")
    wraps = boundary == "wrap"
    source, target = (len(names) - 1, 0) if wraps else (group_size - 1, group_size)
    before, after = names[group_size - 1 : group_size + 1]
    moving = "On the shifted head everything is on its way, and each wall ends up between two other words."
    says = [f"Groups of {group_size}. On both heads a wall stands between “{before}” and “{after}”."]
    if wraps:
        first = " and ".join(f"“{word}”" for word in names[: geometry.shift])
        says += [
            f"Everything has moved {geometry.shift} places to the left. {first} had no room: they stand last now.",
            f"“{names[target]}” stands behind “{names[source]}”, so it may look at it: at its own future.",
        ]
    else:
        says += [
            f"On the shifted head all groups begin {geometry.shift} words later. “{before}” and “{after}” share one.",
            f"What “{before}” says hops to “{after}” on the shifted head. On the plain head it stops at the wall.",
        ]
    return {
        "kind": "shift", "words": names, "group": group_size, "shift": geometry.shift, "wraps": wraps,
        "from": source, "to": target, "says": says, "moving": moving, "end": 2, "step": 0.05,
        "slider": "Shift, then send",
    }  # fmt: skip


def pulse_scene(words: str, group_size: int, source: int, shift: int | None = None) -> dict:
    """Describe who has heard a word after each layer, and on which kind of head each newcomer heard it.

    Raises:
        ValueError: for a source that is none of the words, or settings that `S2Geometry` refuses.
    """
    names = words.split()
    if not 0 <= source < len(names):
        raise ValueError(f"source must be from 0 to {len(names) - 1}, got {source}")
    geometry = S2Geometry(len(names), group_size, 2, shift)
    plain, shifted = geometry.mask()
    heard = [np.arange(len(names)) == source]
    hops: list[list[dict]] = []
    while len(hops) < 2 * len(names):
        ways = [_way(query, heard[-1], plain, shifted) for query in np.flatnonzero(~heard[-1])]
        found = [way for way in ways if way]
        if not found:
            break
        hops.append(found)
        now = heard[-1].copy()
        now[[way["target"] for way in found]] = True
        heard.append(now)
    says = [f"“{names[source]}” says something. Nobody has heard it yet."]
    for layer, now in enumerate(heard[1:], 1):
        new = " ".join(names[token] for token in np.flatnonzero(now & ~heard[layer - 1]))
        kinds = sorted({"shifted" if way["shifted"] else "plain" for way in hops[layer - 1]})
        says.append(f"Layer {layer}, on {' and '.join(kinds)} heads: now “{new}” has heard it too.")
    last = int(np.flatnonzero(heard[-1])[-1])
    ends = "That is the last word." if last == len(names) - 1 else "No head looks across the next wall."
    says[-1] += f" {ends}"
    return {
        "kind": "pulse", "words": names, "heard": [now.tolist() for now in heard], "hops": hops, "says": says,
        "end": len(hops), "step": 0.05, "slider": "Layer",
    }  # fmt: skip


def _way(query: int, heard: np.ndarray, plain: np.ndarray, shifted: np.ndarray) -> dict | None:
    """Find the nearest token from which `query` hears it in this layer, plain heads first."""
    for mask, is_shifted in ((plain, False), (shifted, True)):
        if (sources := np.flatnonzero(mask[query] & heard)).size:
            return {"source": int(sources[-1]), "target": int(query), "shifted": is_shifted}
    return None


def clocks_scene(rope: Rope, pairs: Sequence[int], target: int) -> dict:
    """Describe pairs of features as clocks.

    Of each: the tokens that a turn takes, the arc that training has seen, and the speed under the rule of `rope`.

    Raises:
        ValueError: for a rope without a trained length, a target not beyond it, or the number of no pair.
    """
    trained = rope.trained_length
    if trained is None or target <= trained:
        raise ValueError(f"target must be beyond the trained length, got {target} for {trained}")
    plain, stretched = Rope(rope.head_dim, rope.base).frequencies(), rope.frequencies(target)
    if wrong := [pair for pair in pairs if not 0 <= pair < len(plain)]:
        raise ValueError(f"pairs must be from 0 to {len(plain) - 1}, got {wrong[0]}")
    clocks = [
        {
            "name": f"pair {pair}",
            "turn": f"a turn in {2 * math.pi / plain[pair]:,.0f}",
            "frequency": float(plain[pair]),
            "stretched": float(stretched[pair]),
            "seen": float(trained * plain[pair]),
        }
        for pair in pairs
    ]
    return {
        "kind": "clocks", "clocks": clocks, "trained": trained, "end": target, "step": 1, "slider": "Position",
        "stops": [trained, target], "stretch": f"stretch by {rope.method} × {rope.factor:g}",
        "says": [f"Clocks at position 0. Trained on {trained:,} positions, asked for {target:,}."],
    }  # fmt: skip
