"""What the geometry says of a row before anything is trained: what training shows, and what sparse use lets be seen.

An answer needs certain *looks*, pairs of places of which the later one attends to the earlier one. One hop is one look,
two hops are two, one in each of two layers. Three hops in two layers need three looks, one of them longer:

    layer 1: p1 looks at p0, and knows the value; p3, which asks, looks at p2, and knows the name of p1
    layer 2: p3 looks at p1

- *Visible*: the share of training chains each of whose looks has its two places in one cell of some head.
- *Trained around d*: the same share, each visible look counted by how near its distance is to d, in octaves. Positions
  that leap change the distance and not who sees whom.
- *Sparse use*: of the chains of a class, the share whose looks are all seen by heads of a kind, plain or shifted, that
  training let see such looks. Heads that never saw any have not learned to find them.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cache

import numpy as np

from longlora_edu.geometry import S2Geometry

from .distances import draw_chain
from .recall import HEADS, Recall

DRAWN = 2000  # looks, enough for two digits
COARSE = 32  # tokens of a group in which paths are looked for
LAYERS = {"references": 4, "keys": 2, "hops2": 2, "hops3": 2}
LOOKS = {1: ((0, 1),), 2: ((0, 1), (1, 2)), 3: ((0, 1), (1, 3), (2, 3))}  # places of a chain, by its hops
USED = 0.02  # heads of a kind have learned to look if they see more than this share of the trained looks


@dataclass(frozen=True)
class Exposure:
    """Training looks (m, k): `visible`, whether all looks of the chain are seen, and `distance`, in positions."""

    visible: np.ndarray
    distance: np.ndarray

    @property
    def share(self) -> float:
        """The share of chains that are visible."""
        return float(self.visible.mean())

    def around(self, distance: float, octaves: float) -> float:
        """The share of looks that are visible and near `distance`: half as much for each `octaves` between."""
        far = np.abs(np.log2(np.maximum(1, self.distance) / distance))
        return float((self.visible * 0.5 ** (far / octaves)).mean())


@cache
def looks_of(row: Recall, where: str, count: int = DRAWN) -> np.ndarray:
    """Draw the looks (m, k, 2) of chains of a layout or class: the same for every seed of the row."""
    if where == "mixed":  # the demo's: half across the border of a page, half log-uniform
        return np.concatenate([looks_of(row, "aligned", count // 2), looks_of(row, "log", count // 2)])
    rng = np.random.default_rng(zlib.crc32(f"{row.task} {where} {row.length} {row.group}".encode()))
    room = row.training_room if where == row.layout else row.room
    chains = np.array([draw_chain(where, room, row.hops, rng) for _ in range(max(1, count // row.hops))])
    return chains[:, np.array(LOOKS[row.hops])]


def seen_by_kind(row: Recall, looks: np.ndarray) -> np.ndarray:
    """Return (2, m, k): whether a plain head sees each look, and whether a shifted one does."""
    geometry, (keys, queries) = row.geometry, np.moveaxis(looks, -1, 0)
    seen = [
        np.any([geometry.allows(head, queries, keys) for head in heads], axis=0)
        if len(heads) else np.zeros(queries.shape, dtype=bool)
        for heads in (geometry.plain_heads, geometry.shifted_heads)
    ]  # fmt: skip
    return np.array(seen)


@cache
def exposure_of(row: Recall, layout: str | None = None) -> Exposure:
    """Compute what a row trains; `layout` may be `"mixed"`, the demo's."""
    looks = looks_of(row, layout or row.layout)
    distance = (looks[..., 1] - looks[..., 0]).astype(float)
    if row.arm == "windows":  # the one leap falls between two lines as often as they are far apart
        rng = np.random.default_rng(0)
        leaps = rng.random(distance.shape) < distance / row.group
        distance += leaps * rng.uniform(0, row.length - row.group, distance.shape)
        return Exposure(np.ones(distance.shape, dtype=bool), distance)
    if row.leaps is not None:
        rng = np.random.default_rng(1)
        drawn = np.array([row.leaps.positions(row.length, rng) for _ in range(50)])
        places = np.take_along_axis(drawn[np.arange(len(looks)) % 50][:, None], looks, axis=2)
        distance = (places[..., 1] - places[..., 0]).astype(float)
    visible = seen_by_kind(row, looks).any(axis=0).all(axis=1, keepdims=True)
    return Exposure(np.broadcast_to(visible, distance.shape), distance)


@cache
def seen_in_use(row: Recall, kind: str) -> float:
    """Return the share of a class's chains that sparse use can answer: heads that learned to look see all looks."""
    trained = seen_by_kind(row, looks_of(row, row.layout))
    whole = trained.any(axis=0).all(axis=1)
    used = trained[:, whole].mean(axis=(1, 2)) > USED if whole.any() else np.zeros(2, dtype=bool)
    return float(seen_by_kind(row, looks_of(row, kind))[used].any(axis=0).all(axis=1).mean())


@cache
def only_by_path(row: Recall, kind: str) -> float:
    """Return the share of a class's chains with a look that only a path through several cells and layers connects."""
    looks = looks_of(row, kind)
    scale = max(1, row.group // COARSE)
    everywhere = _reach(row.geometry, scale, LAYERS[row.task])
    connected = everywhere[looks[..., 1] // scale, looks[..., 0] // scale].all(axis=1)
    return float((connected & ~seen_by_kind(row, looks).any(axis=0).all(axis=1)).mean())


@cache
def _reach(geometry: S2Geometry, scale: int, layers: int) -> np.ndarray:
    """Compute who hears whom on a text `scale` times as coarse: borders stand where they stood."""
    coarse = S2Geometry(geometry.seq_len // scale, geometry.group_size // scale, HEADS, geometry.shift // scale)
    return coarse.reach(layers)


@cache
def middle(row: Recall, kind: str) -> tuple[float, ...]:
    """Return the median distance of each look of a class."""
    looks = looks_of(row, kind)
    return tuple(map(float, np.median(looks[..., 1] - looks[..., 0], axis=0)))
