"""Neighbours of S²-Attn: sparse patterns drawn by one rule, and what each does to a model not trained for it.

A pattern is causal attention to keys that any of its *parts* allows. Some patterns have two kinds of masks and give
them to two halves of the heads, or to even and odd layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, reduce
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from matplotlib.colors import ListedColormap

from ...model import TinyLlama, bundled_model
from ...model.llama import rotate, rotation_tables
from ...plots import DENSE, EMPTY, INK, PLAIN, SCREEN, SHIFTED, Style, percent
from ...plots.style import dress, new_axes
from ...training.corpus import Windows, standard_library

Part = Callable[[np.ndarray, np.ndarray], np.ndarray]


def window(width: int) -> Part:
    """The last `width` keys."""
    return lambda query, key: query - key < width


def cells(size: int, shift: int = 0) -> Part:
    """Keys of the same cell of `size` tokens, cells beginning at `shift`."""
    return lambda query, key: (query - shift) // size == (key - shift) // size


def every(step: int, within: int | None = None) -> Part:
    """Every `step`-th key before the query, up to `within` tokens back."""
    return lambda query, key: ((query - key) % step == 0) & (query - key < (within or query.size))


def first(count: int) -> Part:
    """The first `count` keys, for everybody: global tokens, or attention sinks."""
    return lambda query, key: key < count


def last_of_cells(size: int) -> Part:
    """The last key of each cell: a place where a summary of the cell could stand."""
    return lambda query, key: key % size == size - 1


def random_cells(size: int, count: int, seed: int = 0) -> Part:
    """For each cell of queries `count` cells of keys, drawn once."""

    def part(query: np.ndarray, key: np.ndarray) -> np.ndarray:
        number = -(-query.size // size)
        rng = np.random.default_rng(seed)
        chosen = np.zeros((number, number), dtype=bool)
        for row in range(1, number):
            chosen[row, rng.choice(row, size=min(count, row), replace=False)] = True
        return chosen[query // size, key // size]

    return part


@dataclass(frozen=True)
class Pattern:
    """One or two kinds of masks; two are divided `"heads"` by halves, or `"layers"` by turns."""

    kinds: tuple[tuple[Part, ...], ...]
    divided: Literal["heads", "layers"] = "heads"

    def masks(self, seq_len: int) -> np.ndarray:
        """bool (kinds, n, n), True where query n (rows) may look at key n (columns)."""
        query, key = np.ogrid[:seq_len, :seq_len]
        return np.stack(
            [reduce(np.logical_or, [part(query, key) for part in k], False) & (key <= query) for k in self.kinds]
        )

    def mask(self, seq_len: int, layer: int, heads: int) -> np.ndarray:
        """bool (h, n, n): the masks of one layer."""
        masks = self.masks(seq_len)
        if self.divided == "layers":
            return masks[[layer % len(masks)] * heads]
        return masks[[head * len(masks) // heads for head in range(heads)]]

    def pairs(self, seq_len: int) -> float:
        """Pairs of a head, on average over the kinds."""
        return float(self.masks(seq_len).sum(axis=(1, 2)).mean())


def patterns(group: int) -> dict[str, Pattern]:
    """Patterns by name, with about as many keys a query as groups of `group` tokens have; full attention first."""
    half, small = group // 2, max(1, group // 16)
    plain, moved = (cells(group),), (cells(group, group // 2),)
    return {
        "full attention": Pattern(((window(2**31),),)),
        "S²-Attn (heads)": Pattern((plain, moved)),
        "Swin, causal (layers)": Pattern((plain, moved), "layers"),
        "short attention": Pattern((plain,)),
        "sliding window": Pattern(((window(half),),)),
        "Longformer, sinks": Pattern(((first(small), window(half - small)),)),
        "BigBird": Pattern(((first(small), window(half // 2), random_cells(half // 4, 1)),)),
        "dilated window": Pattern(((every(4, 4 * half),),)),
        "strided": Pattern(((window(half // 2), every(half // 4)),)),
        "blocks and summaries": Pattern(((cells(half), last_of_cells(half // 4)),)),
    }


@torch.inference_mode()
def bits_under(pattern: Pattern, *, length: int = 256, windows: int = 24, seed: int = 0) -> float:
    """Bits per byte of the bundled model on held-out text, if all attention followed `pattern`; nothing is trained."""
    ids, model = _texts(length, windows, seed), _model()
    logits = logits_under(model, ids[:, :-1], pattern)
    nats = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    return nats.item() / math.log(2)


def logits_under(model: TinyLlama, ids: torch.Tensor, pattern: Pattern) -> torch.Tensor:
    """The model's logits (b, n, vocabulary) with `pattern` in place of the causal mask of every layer."""
    x, length = model.model.embed_tokens(ids), ids.shape[1]
    rotation = rotation_tables(model.config.rope, length, ids.device)
    for number, layer in enumerate(model.model.layers):
        attention, heard = layer.self_attn, layer.input_layernorm(x)
        q, k, v = (
            rearrange(project(heard), "b n (h d) -> b h n d", d=model.config.head_dim)
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        mask = torch.from_numpy(pattern.mask(length, number, q.shape[1]))
        out = F.scaled_dot_product_attention(rotate(q, *rotation), rotate(k, *rotation), v, mask[None])
        x = x + attention.o_proj(rearrange(out, "b h n d -> b n (h d)"))
        x = x + layer.mlp(layer.post_attention_layernorm(x))
    return model.lm_head(model.model.norm(x))


def plot_patterns(shown: dict[str, Pattern], seq_len: int, *, columns: int = 5, style: Style = SCREEN):
    """The masks of several patterns: rows look at columns; what only the second kind allows is hatched too."""
    rows = -(-len(shown) // columns)
    figure = new_axes(style, width=0.5 * columns, height=0.72 * rows)[0].figure
    figure.clear()
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    edges = np.arange(seq_len + 1) - 0.5
    for ax, (name, pattern) in zip(axes, shown.items(), strict=False):
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
    for ax in axes[len(shown) :]:
        ax.set_axis_off()
    return axes


def describe_patterns(shown: dict[str, Pattern], seq_len: int) -> str:
    """The same as a sentence, with the share of the pairs of full attention that each computes."""
    full = seq_len * (seq_len + 1) / 2
    parts = [f"{name} {percent(pattern.pairs(seq_len) / full)}" for name, pattern in shown.items()]
    return (
        f"Masks of {len(shown)} patterns over {seq_len} tokens, with the share of all causal pairs: {', '.join(parts)}."
    )


@cache
def _model() -> TinyLlama:
    return bundled_model().eval()


@cache
def _texts(length: int, windows: int, seed: int) -> torch.Tensor:
    drawn = Windows(standard_library().held_out, length + 1).draw(np.random.default_rng([seed, 3]), windows)
    return torch.from_numpy(drawn.astype(np.int64))
