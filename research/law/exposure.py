"""What the geometry says of a row before anything is trained: two numbers of training, and one of sparse use.

- *Visible*: the share of training chains each of whose hops has its two places in one cell of some head.
- *Trained around d*: the same share, each visible hop counted by how near its distance is to d, in octaves. Positions
  that leap change the distance and not who sees whom.
- *Sparse use*: of the hops of a class, the share that some head sees directly, and the share that only a path through
  several cells and layers reaches.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cache

import numpy as np

from longlora_edu.geometry import S2Geometry

from .distances import draw_chain
from .recall import HEADS, Recall

DRAWN = 2000  # hops, enough for two digits
COARSE = 32  # tokens of a group in which paths are looked for
LAYERS = {"references": 4, "keys": 2, "hops2": 2, "hops3": 2}


@dataclass(frozen=True)
class Exposure:
    """Training hops of a row: whether the chain that each is of is all `visible`, and its distance in positions."""

    visible: np.ndarray
    distance: np.ndarray

    @property
    def share(self) -> float:
        """The share of hops that are visible."""
        return float(self.visible.mean())

    def around(self, distance: float, octaves: float) -> float:
        """The share of hops that are visible and near `distance`: half as much for each `octaves` between."""
        far = np.abs(np.log2(np.maximum(1, self.distance) / distance))
        return float((self.visible * 0.5 ** (far / octaves)).mean())


@cache
def hops_of(row: Recall, where: str, count: int = DRAWN) -> np.ndarray:
    """Draw hops (m, 2) of a layout or class: the same for every seed of the row."""
    if where == "mixed":  # the demo's: half across the border of a page, half log-uniform
        return np.concatenate([hops_of(row, "aligned", count // 2), hops_of(row, "log", count // 2)])
    rng = np.random.default_rng(zlib.crc32(f"{row.task} {where} {row.length} {row.group}".encode()))
    room = row.training_room if where == row.layout else row.room
    chains = [draw_chain(where, room, row.hops, rng) for _ in range(max(1, count // row.hops))]
    return np.array([pair for chain in chains for pair in zip(chain, chain[1:], strict=False)])


def sees(row: Recall, hops: np.ndarray) -> np.ndarray:
    """Return for each hop whether some head lets the later place look at the earlier one."""
    geometry, (keys, queries) = row.geometry, hops.T
    return np.any([geometry.allows(head, queries, keys) for head in range(HEADS)], axis=0)


@cache
def exposure_of(row: Recall, layout: str | None = None) -> Exposure:
    """Compute what a row trains; `layout` may be `"mixed"`, the demo's."""
    hops = hops_of(row, layout or row.layout)
    distance = (hops[:, 1] - hops[:, 0]).astype(float)
    if row.arm == "windows":  # the one leap falls between two lines as often as they are far apart
        rng = np.random.default_rng(0)
        distance += (rng.random(len(hops)) < distance / row.group) * rng.uniform(0, row.length - row.group, len(hops))
        return Exposure(np.ones(len(hops), dtype=bool), distance)
    if row.leaps is not None:
        rng = np.random.default_rng(1)
        drawn = [row.leaps.positions(row.length, rng) for _ in range(50)]
        distance = np.array([drawn[i % 50][b] - drawn[i % 50][a] for i, (a, b) in enumerate(hops)], dtype=float)
    return Exposure(np.repeat(sees(row, hops).reshape(-1, row.hops).all(axis=1), row.hops), distance)


@cache
def reached(row: Recall, kind: str) -> tuple[float, float]:
    """Return the shares of a class's chains whose hops are all seen directly, and those that only a path connects."""
    hops = hops_of(row, kind)
    direct = sees(row, hops).reshape(-1, row.hops)
    scale = max(1, row.group // COARSE)
    everywhere = _reach(row.geometry, scale, LAYERS[row.task])
    path = everywhere[hops[:, 1] // scale, hops[:, 0] // scale].reshape(-1, row.hops)
    whole = direct.all(axis=1)
    return float(whole.mean()), float((path.all(axis=1) & ~whole).mean())


@cache
def _reach(geometry: S2Geometry, scale: int, layers: int) -> np.ndarray:
    """Compute who hears whom on a text `scale` times as coarse: borders stand where they stood."""
    coarse = S2Geometry(geometry.seq_len // scale, geometry.group_size // scale, HEADS, geometry.shift // scale)
    return coarse.reach(layers)


@cache
def middle(row: Recall, kind: str) -> float:
    """Return the median distance of a class."""
    hops = hops_of(row, kind)
    return float(np.median(hops[:, 1] - hops[:, 0]))
