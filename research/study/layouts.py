"""Training attention of the studies: S² and other sparse patterns, set for the heads and layers of a model.

All sparse ones let a token look at no more keys than a group has. How many pairs that makes differs (`pairs_of_full`):
a group's first token sees only itself, while a window is full nearly everywhere.
Those that no cells describe are computed as dense attention under a mask (`impl="dense_mask"`): no faster than full.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from longlora_edu.geometry import S2Geometry, S2Pattern
from longlora_edu.model import TinyLlama
from longlora_edu.plots.neighbours import every, window

from .spec import Run


class AllShifted(S2Geometry):
    """A geometry with all heads shifted."""

    @property
    def plain_heads(self) -> range:
        return range(0)

    @property
    def shifted_heads(self) -> range:
        return range(self.num_heads)

    def allows(self, head: Any, query: Any, key: Any):
        last = self.num_heads - 1  # a shifted head, whatever `head` is; 0 * head keeps the shape
        return super().allows(0 * head + last, query, key)


@dataclass(frozen=True)
class OnlyShifted:
    """An `S2Pattern` with every head shifted."""

    group_size: int
    shift: int | None = None

    def geometry(self, seq_len: int, num_heads: int) -> AllShifted:
        """Lay this pattern over `seq_len` tokens and `num_heads` query heads."""
        return AllShifted(seq_len, self.group_size, num_heads, self.shift)


@dataclass(frozen=True)
class MaskGeometry:
    """A sparse pattern without cells, on one length: a rule of who may look at whom.

    - `"window"`: a token sees the `group_size` tokens that end with itself.
    - `"dilated"`: half of the heads as `"window"`, the others every second token, twice as far back.
    - `"strided"`: half of the heads as `"window"`, the others every r-th token from itself to the first, r groups
      being in the sequence.
    - `"blocks"`: head i sees the whole group i groups before its own (modulo r); where there is none, its own so far.
    """

    kind: Literal["window", "dilated", "strided", "blocks"]
    seq_len: int
    group_size: int
    num_heads: int

    def allows(self, head: Any, query: Any, key: Any):
        """Return whether `query` may look at `key` on `head`: integers or arrays (NumPy, torch) that broadcast."""
        groups = -(-self.seq_len // self.group_size)
        if self.kind == "blocks":
            own, other = query // self.group_size, key // self.group_size
            before = head % groups
            elsewhere = (before > 0) & (own >= before)
            return (elsewhere & (other == own - before)) | (~elsewhere & (other == own) & (key <= query))
        near = far = window(self.group_size)
        if self.kind != "window":
            far = every(2, 2 * self.group_size) if self.kind == "dilated" else every(groups, self.seq_len)
        late = head >= self.num_heads // 2
        return (key <= query) & ((near(query, key) & ~late) | (far(query, key) & late))

    def mask(self) -> np.ndarray:
        """Return the rule as bool (h, n, n), True where query n (rows) may look at key n (columns)."""
        head, query, key = np.ogrid[: self.num_heads, : self.seq_len, : self.seq_len]
        return self.allows(head, query, key)

    def pairs(self) -> int:
        """Count the allowed (query, key) pairs, over all heads."""
        return int(self.mask().sum())


@dataclass(frozen=True)
class MaskPattern:
    """A `MaskGeometry` for any sequence length."""

    kind: str
    group_size: int

    def geometry(self, seq_len: int, num_heads: int) -> MaskGeometry:
        """Lay this pattern over `seq_len` tokens and `num_heads` query heads."""
        return MaskGeometry(self.kind, seq_len, self.group_size, num_heads)


def layer_patterns(run: Run, layers: int) -> list:
    """List the training pattern of each layer."""
    group = run.group_size
    if run.attention == "full":
        return [S2Pattern(run.window, 0)] * layers  # one group without a shift
    if run.attention == "short":
        return [S2Pattern(group, 0)] * layers
    if run.attention in ("s2", "wrap", "masked"):
        boundary = "split" if run.attention == "s2" else run.attention
        return [S2Pattern(group, run.shift, boundary)] * layers
    if run.attention == "shifted":
        return [OnlyShifted(group, run.shift)] * layers
    if run.attention == "layers":
        return [(S2Pattern(group, 0), OnlyShifted(group, run.shift))[layer % 2] for layer in range(layers)]
    return [MaskPattern(run.attention, group)] * layers


def lay_out(model: TinyLlama, run: Run) -> TinyLlama:
    """Set every layer's training attention to that of the run, in place."""
    layers = model.attention_layers
    for attention, pattern in zip(layers, layer_patterns(run, len(layers)), strict=True):
        attention.sparse = pattern
        attention.impl = "dense_mask" if isinstance(pattern, MaskPattern) else "auto"
    return model


def pairs_of_full(run: Run, layers: int, heads: int) -> float:
    """Divide the pairs of the run's training attention by those of full causal attention."""
    counted = sum(pattern.geometry(run.window, heads).pairs() for pattern in layer_patterns(run, layers))
    full = dataclasses.replace(run, attention="full")
    return counted / sum(pattern.geometry(run.window, heads).pairs() for pattern in layer_patterns(full, layers))
