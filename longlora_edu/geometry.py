"""The rule of who may look at whom: groups, the shift of half the heads, and the boundary at the ends.

Everything in this package that needs to know about groups asks an `S2Geometry`. It holds five
settings and no tensors, so that a mask, a kernel, a plot and a cost formula cannot disagree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from numbers import Rational
from typing import Any, Literal, get_args

import numpy as np

from .runs.validate import check_choice, check_integer, check_positive

Boundary = Literal["split", "wrap", "masked"]
Cell = tuple[range, ...]


@dataclass(frozen=True)
class S2Geometry:
    """Shifted sparse attention (S²-Attn) for one sequence length, as a value.

    Every head cuts the sequence into cells of `group_size` tokens, and a token looks only inside
    its own cell, backwards. The first `num_heads // 2` heads are *plain*: cells begin at token 0.
    The others are *shifted*: cells begin at token `shift`, as after `roll(-shift)`. What becomes of
    the `shift` tokens before the first full cell is the `boundary` rule:

    - `"split"`: they form a short cell of their own, and so does the short end. Nothing sees the
      future. This is what the official flash path computes.
    - `"wrap"`: they join the last `group_size - shift` tokens, *behind* them, so the earliest tokens
      look at the latest ones: the future. The paper's Algorithm 1; kept to measure its leak.
    - `"masked"`: the same cell in true order: late tokens may look at the first ones, never the
      other way round.

    Heads are *query* heads. `shift=None` means `group_size // 2`; 0 is short attention without a
    shift; shifting the other way is `group_size - shift`. Under `"split"` the length need not be a
    multiple of the group, and a group longer than the sequence is one cell (two on heads shifted within it).

    Source: LongLoRA (arXiv 2309.12307) section 3.2; for the boundaries, its appendix B.3.

    Raises:
        ValueError: naming the field, its rule and the value, for anything out of range.
    """

    seq_len: int
    group_size: int
    num_heads: int
    shift: int | None = None
    boundary: Boundary = "split"

    def __post_init__(self) -> None:
        for name in ("seq_len", "group_size", "num_heads"):
            object.__setattr__(self, name, check_positive(name, getattr(self, name)))
        shift = self.group_size // 2 if self.shift is None else check_integer("shift", self.shift)
        if not 0 <= shift < self.group_size:
            raise ValueError(f"shift must be from 0 to group_size - 1 = {self.group_size - 1}, got {shift}")
        object.__setattr__(self, "shift", shift)
        check_choice("boundary", self.boundary, get_args(Boundary))
        if self.boundary != "split" and self.seq_len % self.group_size:
            raise ValueError(
                f"seq_len must be a multiple of group_size under boundary={self.boundary!r}, "
                f"got {self.seq_len} and {self.group_size}"
            )

    @classmethod
    def with_groups(
        cls, seq_len: int, num_groups: int, num_heads: int, shift: int | None = None, boundary: Boundary = "split"
    ) -> S2Geometry:
        """Build the geometry with at most `num_groups` groups: the group size is rounded up."""
        return cls.with_ratio(
            seq_len, Fraction(1, check_positive("num_groups", num_groups)), num_heads, shift, boundary
        )

    @classmethod
    def with_ratio(
        cls,
        seq_len: int,
        ratio: float | Fraction,
        num_heads: int,
        shift: int | None = None,
        boundary: Boundary = "split",
    ) -> S2Geometry:
        """Build the geometry whose group is `ratio` of the sequence, rounded up: 583 tokens at 1/4 give 146."""
        return cls(seq_len, group_size_from_ratio(seq_len, ratio), num_heads, shift, boundary)

    @property
    def plain_heads(self) -> range:
        """Query heads whose cells begin at token 0."""
        return range(self.num_heads // 2)

    @property
    def shifted_heads(self) -> range:
        """Query heads whose cells begin at token `shift`; the larger half when `num_heads` is odd."""
        return range(self.num_heads // 2, self.num_heads)

    def allows(self, head: Any, query: Any, key: Any):
        """Return whether `query` may look at `key` on `head`: integers or arrays (NumPy, torch) that broadcast.

        The one rule. A token's coordinate on its head's grid is its position minus the head's
        shift; tokens whose coordinates fall into the same cell may talk, later to earlier.
        """
        shift = (head >= self.num_heads // 2) * self.shift
        query_coordinate, key_coordinate = query - shift, key - shift
        if self.boundary != "split":
            query_coordinate, key_coordinate = query_coordinate % self.seq_len, key_coordinate % self.seq_len
        same_cell = query_coordinate // self.group_size == key_coordinate // self.group_size
        earlier = key_coordinate <= query_coordinate if self.boundary == "wrap" else key <= query
        return same_cell & earlier

    def mask(self) -> np.ndarray:
        """Return the rule as bool (h, n, n), True where query n (rows) may look at key n (columns)."""
        head, query, key = np.ogrid[: self.num_heads, : self.seq_len, : self.seq_len]
        return self.allows(head, query, key)

    def cells(self, *, shifted: bool) -> tuple[Cell, ...]:
        """List the cells of a plain or a shifted head, in order of their coordinate.

        A cell is one range of tokens, or two where it wraps around the end. Read the ranges in order:
        causal attention over the tokens in that order is everything a cell computes.
        """
        return _cells(self, shifted)

    def pairs(self) -> int:
        """Count the (query, key) pairs that are computed, over all heads: the work, in closed form.

        10 tokens, groups of 4, shift 1, "split":

            plain      0 1 2 3 | 4 5 6 7 | 8 9        10 + 10 + 3     = 23 pairs
            shifted    0 | 1 2 3 4 | 5 6 7 8 | 9      1 + 10 + 10 + 1 = 22 pairs
        """
        length, group = self.seq_len, self.group_size
        before: int = min(self.shift, length) if self.boundary == "split" else 0  # pyrefly: ignore
        plain, shifted = _pairs(length, group), _pairs(before, group) + _pairs(length - before, group)
        return len(self.plain_heads) * plain + len(self.shifted_heads) * shifted

    def future_pairs(self) -> int:
        """Count the `pairs` that look at a later token, over all heads: the leak. 0 unless `"wrap"`."""
        if self.boundary != "wrap":
            return 0
        shift: int = self.shift  # pyrefly: ignore[bad-assignment] (no longer None)
        return len(self.shifted_heads) * shift * (self.group_size - shift)

    def reach(self, num_layers: int) -> np.ndarray:
        """Return bool (n, n): whether a value at token n (columns) can arrive at token n (rows) within `num_layers`.

        Under `"split"` with a shift and both kinds of heads, the last of r groups' last token hears the very
        first token after 2r - 1 layers.
        """
        layers = check_positive("num_layers", num_layers)
        step = np.logical_or.reduce(self.mask(), axis=0).astype(np.float32)
        heard = np.eye(self.seq_len, dtype=np.float32)
        for _ in range(layers):
            further = np.minimum(step @ heard, 1)
            if np.array_equal(further, heard):
                break
            heard = further
        return heard > 0


@dataclass(frozen=True)
class S2Pattern:
    """A geometry that has not met its sequence yet: the same group for every length.

    A model carries this; each forward pass asks `geometry` for the length and heads at hand.
    """

    group_size: int
    shift: int | None = None
    boundary: Boundary = "split"

    def __post_init__(self) -> None:
        # One group of one head: the constructor that checks the fields, without a length to blame.
        shift = S2Geometry(
            check_positive("group_size", self.group_size), self.group_size, 1, self.shift, self.boundary
        ).shift
        object.__setattr__(self, "group_size", int(self.group_size))
        object.__setattr__(self, "shift", shift)

    def geometry(self, seq_len: int, num_heads: int) -> S2Geometry:
        """Lay this pattern over `seq_len` tokens and `num_heads` query heads."""
        return S2Geometry(seq_len, self.group_size, num_heads, self.shift, self.boundary)


def group_size_from_ratio(seq_len: int, ratio: float | Fraction) -> int:
    """Round `seq_len * ratio` up, in exact arithmetic: a third of 9 tokens is 3, never 4.

    A float stands for a fraction. 0.1 is taken for 1/10, though in binary it is a little more, and 1 / r for one r-th.
    This finds any fraction with a denominator up to 2**26; for finer ones pass a `Fraction`, which is taken as it is.
    """
    if isinstance(ratio, bool) or not isinstance(ratio, Rational | float) or not 0 < ratio <= 1:
        raise ValueError(f"ratio must be a number above 0 and at most 1, got {ratio!r}")
    exact = _simple_fraction(ratio) if isinstance(ratio, float) else Fraction(ratio)
    return math.ceil(check_positive("seq_len", seq_len) * exact)


def _simple_fraction(number: float) -> Fraction:
    """Find the fraction that `number` was written for: 1/3, not the 6004799503160661/2**54 that a float holds."""
    largest = 1  # denominator
    while float(fraction := Fraction(number).limit_denominator(largest)) != number:
        largest *= 2
    return fraction


def _pairs(tokens: int, group: int) -> int:
    """Pairs on one head whose cells are laid over `tokens` from the first: full cells, then what is left."""
    full, rest = divmod(tokens, group)
    # In a cell of c tokens the first looks at 1, the last at c: 1 + ... + c = c (c + 1) / 2, or 10 for c = 4.
    return full * (group * (group + 1) // 2) + rest * (rest + 1) // 2


@cache
def _cells(geometry: S2Geometry, shifted: bool) -> tuple[Cell, ...]:
    """Cut the tokens of one head into cells. 12 tokens, groups of 4, shift 2:

        plain, any boundary   0 1 2 3 | 4 5 6 7 | 8 9 10 11
        shifted, "split"      0 1 | 2 3 4 5 | 6 7 8 9 | 10 11
        shifted, "wrap"       2 3 4 5 | 6 7 8 9 | 10 11 then 0 1     <- 0 and 1 come last: they see the future
        shifted, "masked"     2 3 4 5 | 6 7 8 9 | 0 1 then 10 11     <- the same cell in true order

    Full cells begin at `first`, the head's shift, one group after another; the last may be short. In front of them
    lies the `head` of `first` tokens. It is a cell of its own, or shares one with the `tail`, as long as a full cell.
    """
    length, group = geometry.seq_len, geometry.group_size
    first: int = geometry.shift if shifted else 0  # pyrefly: ignore[bad-assignment] (no longer None)
    wraps = geometry.boundary != "split" and first > 0
    starts = range(first, length - group + first if wraps else length, group)
    cells = [(range(start, min(start + group, length)),) for start in starts]
    head, tail = range(min(first, length)), range(length - group + first, length)
    if not wraps:
        return ((head,), *cells) if first else tuple(cells)
    return (*cells, (tail, head) if geometry.boundary == "wrap" else (head, tail))
