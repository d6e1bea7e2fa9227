"""Neighbours of S²-Attn: sparse patterns, each written as one rule or several joined by *or*.

A pattern is causal attention to the keys that any of its rules allows. Some patterns have two kinds of masks and give
them to the two halves of the heads, or to even and odd layers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import numpy as np
from matplotlib.colors import ListedColormap

from .picture import picture_of
from .style import DENSE, EMPTY, INK, PLAIN, SCREEN, SHIFTED, Style, dress, new_axes, percent

# rule(query, key): may the query look at the key, were there no causality? Integers or arrays that broadcast.
Rule = Callable[[np.ndarray, np.ndarray], np.ndarray]


def window(width: int) -> Rule:
    """Build a rule: a query sees the last `width` keys, its own among them."""
    return lambda query, key: query - key < width


def cells(size: int, shift: int = 0) -> Rule:
    """Build a rule: a query sees the keys of its own cell of `size` tokens, cells beginning at `shift`."""
    return lambda query, key: (query - shift) // size == (key - shift) // size


def every(step: int, within: int | None = None) -> Rule:
    """Build a rule: a query sees every `step`-th key before it, up to `within` tokens back."""
    return lambda query, key: ((query - key) % step == 0) & (query - key < (within or query.size))


def first(count: int) -> Rule:
    """Build a rule: every query sees the first `count` keys (global tokens, or attention sinks)."""
    return lambda query, key: key < count


def last_of_cells(size: int) -> Rule:
    """Build a rule: a query sees the last key of each cell, where a summary of the cell could stand."""
    return lambda query, key: key % size == size - 1


def random_cells(size: int, count: int, seed: int = 0) -> Rule:
    """Build a rule in blocks of `size` tokens: each block of queries sees `count` earlier blocks, drawn by `seed`."""

    def rule(query: np.ndarray, key: np.ndarray) -> np.ndarray:
        number = -(-query.size // size)
        rng = np.random.default_rng(seed)
        chosen = np.zeros((number, number), dtype=bool)
        for row in range(1, number):
            chosen[row, rng.choice(row, size=min(count, row), replace=False)] = True
        return chosen[query // size, key // size]

    return rule


@dataclass(frozen=True)
class SparsePattern:
    """One or two kinds of masks; two are divided `"heads"` by halves, or `"layers"` by turns."""

    kinds: tuple[tuple[Rule, ...], ...]
    divided: Literal["heads", "layers"] = "heads"

    def masks(self, seq_len: int) -> np.ndarray:
        """Return bool (kinds, n, n), a mask for each kind of head or layer: True where the query (row) sees the key."""
        query, key = np.ogrid[:seq_len, :seq_len]
        return np.stack(
            [reduce(np.logical_or, [rule(query, key) for rule in k], False) & (key <= query) for k in self.kinds]
        )

    def mask(self, seq_len: int, layer: int, heads: int) -> np.ndarray:
        """bool (h, n, n): the masks of one layer."""
        masks = self.masks(seq_len)
        if self.divided == "layers":
            return masks[[layer % len(masks)] * heads]
        return masks[[min(int(head >= heads // 2), len(masks) - 1) for head in range(heads)]]

    def pairs(self, seq_len: int) -> float:
        """Count the (query, key) pairs of one head, on average over the kinds of masks."""
        return float(self.masks(seq_len).sum(axis=(1, 2)).mean())


def named_patterns(group: int) -> dict[str, SparsePattern]:
    """Patterns by name, with about as many keys a query as groups of `group` tokens have; full attention first."""
    half, small = group // 2, max(1, group // 16)
    plain, shifted = (cells(group),), (cells(group, group // 2),)
    return {
        "full attention": SparsePattern(((window(2**31),),)),
        "S²-Attn (heads)": SparsePattern((plain, shifted)),
        "Swin, causal (layers)": SparsePattern((plain, shifted), "layers"),
        "short attention": SparsePattern((plain,)),
        "sliding window": SparsePattern(((window(half),),)),
        "Longformer, sinks": SparsePattern(((first(small), window(half - small)),)),
        "BigBird": SparsePattern(((first(small), window(half // 2), random_cells(half // 4, 1)),)),
        "dilated window": SparsePattern(((every(4, 4 * half),),)),
        "strided": SparsePattern(((window(half // 2), every(half // 4)),)),
        "blocks and summaries": SparsePattern(((cells(half), last_of_cells(half // 4)),)),
    }


def plot_patterns(patterns: Mapping[str, SparsePattern], seq_len: int, *, columns: int = 5, style: Style = SCREEN):
    """Draw the masks of several patterns: rows look at columns; what only the second kind allows is hatched too."""
    rows = -(-len(patterns) // columns)
    figure = new_axes(style, width=0.5 * columns, height=0.72 * rows)[0].figure
    figure.clear()
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    edges = np.arange(seq_len + 1) - 0.5
    for ax, (name, pattern) in zip(axes, patterns.items(), strict=False):
        masks = pattern.masks(seq_len)
        one, two = masks[0], masks[-1]
        kinds = one + 2 * two.astype(int) if len(masks) > 1 else one.astype(int)
        ax.pcolormesh(edges, edges, kinds, cmap=ListedColormap([EMPTY, PLAIN, SHIFTED, DENSE]), vmin=0, vmax=3)
        only = np.ma.masked_not_equal(kinds, 2)
        if only.count():
            ax.pcolor(edges, edges, only, cmap=ListedColormap([SHIFTED]), hatch="////", edgecolor=INK, linewidth=0)
        ax.set(aspect="equal", xticks=[], yticks=[], ylim=(seq_len - 0.5, -0.5))
        dress(ax, style, title=f"{name}\n{pattern.pairs(seq_len):,.0f} pairs", grid=False)
        ax.title.set_fontsize(style.small)
    for ax in axes[len(patterns) :]:
        ax.set_axis_off()
    return axes


def describe_patterns(patterns: Mapping[str, SparsePattern], seq_len: int) -> str:
    """Describe `plot_patterns` in a sentence, with the share of the pairs of full attention that each computes."""
    full = seq_len * (seq_len + 1) / 2
    parts = [f"{name} {percent(pattern.pairs(seq_len) / full)}" for name, pattern in patterns.items()]
    listed = ", ".join(parts)
    return f"Masks of {len(patterns)} patterns over {seq_len} tokens, with the share of all causal pairs: {listed}."


show_patterns = picture_of(plot_patterns, describe_patterns)
