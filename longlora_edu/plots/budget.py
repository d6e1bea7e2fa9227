"""FLOPs and bytes of a forward pass by part, dense and with S²-Attn: closed form, nothing measured."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from ..cost import ModelShape, attention_bytes, attention_pairs, forward_flops, kv_cache_bytes
from ..geometry import S2Geometry
from .style import DENSE, EMPTY, FROZEN, INK, PLAIN, SCREEN, SHIFTED, Style, dress, new_axes, percent

# Heads as in the masks; what S²-Attn cannot save is pale.
LOOKS = {
    "dense attention": {"color": DENSE},
    "plain heads": {"color": PLAIN},
    "shifted heads": {"color": SHIFTED, "hatch": "\\\\"},
    "linear layers": {"color": FROZEN},
    "logits": {"color": EMPTY, "hatch": ".."},
}


@dataclass(frozen=True)
class Budget:
    """Costs of one forward pass of a model, dense and under a geometry, which must have as many heads as the model.

    `causal=False` is the paper's count, whole squares; `causal=True` what a causal kernel computes.
    """

    shape: ModelShape
    geometry: S2Geometry
    causal: bool = False

    def flops(self) -> dict[str, dict[str, int]]:
        """FLOPs of one forward pass by row and part: `flops()["S²-Attn"]["plain heads"]`."""
        length, geometry = self.geometry.seq_len, self.geometry
        dense, sparse = (forward_flops(self.shape, length, g, causal=self.causal) for g in (None, geometry))
        rest = {"linear layers": dense.projections + dense.ffn, "logits": dense.head}
        # Without a shift every head is as a plain one.
        alike = attention_pairs(self.shape, length, dataclasses.replace(geometry, shift=0), causal=self.causal)
        pairs = attention_pairs(self.shape, length, geometry, causal=self.causal)
        plain = sparse.attention // pairs * (alike // geometry.num_heads * len(geometry.plain_heads))
        halves = {"plain heads": plain, "shifted heads": sparse.attention - plain}
        return {"dense": {"dense attention": dense.attention} | rest, "S²-Attn": halves | rest}

    def attention_shares(self) -> dict[str, float]:
        """Attention over the total, by row."""
        return {row: 1 - (p["linear layers"] + p["logits"]) / sum(p.values()) for row, p in self.flops().items()}

    def bytes(self) -> dict[str, int]:
        """Bytes in 16 bits an element: the scores of one layer in three forms, and the cache of all layers."""
        scores = attention_bytes(self.shape, self.geometry)
        return {
            "whole score matrix": scores.masked,
            "scores of the cells": scores.grouped,
            "streaming kernel": scores.flash,
            "KV cache, all layers": kv_cache_bytes(self.shape, self.geometry.seq_len),
        }


def plot_flops(budget: Budget, *, style: Style = SCREEN, ax: Axes | None = None) -> Axes:
    """Draw FLOPs of a forward pass by part, dense above and with S²-Attn below, as shares of the dense one."""
    flops = budget.flops()
    ax = new_axes(style)[0] if ax is None else ax
    whole, shares = sum(flops["dense"].values()), budget.attention_shares()
    drawn = set()
    for row, (name, parts) in enumerate(flops.items()):
        left = 0.0
        for part, count in parts.items():
            label = None if part in drawn else part
            look = {"edgecolor": INK, "linewidth": style.thin, "height": 0.55, "label": label}
            ax.barh(row, count / whole, left=left, **look, **LOOKS[part])
            left += count / whole
            drawn.add(part)
        look = {"va": "center", "fontsize": style.small, "color": INK}
        ax.text(left + 0.02, row, f"{short(sum(parts.values()), 'FLOP')}\nattention {percent(shares[name], 1)}", **look)
    ax.set(xlim=(0, 1.55), ylim=(1.5, -1.75))
    ax.set_yticks(range(2), flops)
    ticks = (0, 0.25, 0.5, 0.75, 1)
    ax.set_xticks(ticks, [percent(tick) for tick in ticks])
    ax.legend(fontsize=style.small, loc="upper left", ncols=2, framealpha=1)
    ratio = whole / sum(flops["S²-Attn"].values())
    title = f"Forward pass: dense is {ratio:.2f} times S²-Attn"
    return dress(ax, style, title=title, x="FLOPs over those of dense attention", grid=False)


def plot_bytes(budget: Budget, *, style: Style = SCREEN, ax: Axes | None = None) -> Axes:
    """Draw bytes of the scores of one layer in three forms, and of the KV cache. The axis is logarithmic."""
    sizes = budget.bytes()
    ax = new_axes(style)[0] if ax is None else ax
    colours, marks = (DENSE, PLAIN, INK, EMPTY), ("s", "D", "o", "^")
    for row, (size, colour, mark) in enumerate(zip(sizes.values(), colours, marks, strict=True)):
        look = {"marker": mark, "markersize": 1.7 * style.marker, "markeredgewidth": style.thin}
        ax.plot(size, row, linestyle="", color=colour, markeredgecolor=INK, zorder=3, **look)
        beside = {"xytext": (1.7 * style.marker, 0), "textcoords": "offset points", "va": "center"}
        ax.annotate(binary(size), (size, row), fontsize=style.small, color=INK, **beside)
    ax.set_xscale("log", base=2)
    ax.set(xlim=(2.0**10, 2.0**51), ylim=(len(sizes) - 0.5, -0.5))
    ax.xaxis.set_minor_locator(NullLocator())
    ticks = [2.0**power for power in (10, 20, 30, 40)]
    ax.set_xticks(ticks, [binary(tick) for tick in ticks])
    ax.set_yticks(range(len(sizes)), sizes)
    title = f"Memory at {budget.geometry.seq_len:,} tokens, 16 bits"
    return dress(ax, style, title=title, x="bytes (scores: of one layer)")


def describe_flops(budget: Budget) -> str:
    """Describe `plot_flops` in a sentence with its numbers."""
    rows = []
    for (row, parts), share in zip(budget.flops().items(), budget.attention_shares().values(), strict=True):
        rows.append(f"{row} {short(sum(parts.values()), 'FLOP')}, of which attention is {percent(share, 1)}")
    counted = "what a causal kernel computes" if budget.causal else "whole squares, as in the paper"
    geometry = budget.geometry
    pass_over = f"One forward pass over {geometry.seq_len:,} tokens in groups of {geometry.group_size:,}"
    return f"{pass_over}, counting {counted}: {'; '.join(rows)}."


def describe_bytes(budget: Budget) -> str:
    """Describe `plot_bytes` in a sentence with its numbers."""
    listed = ", ".join(f"{name} {binary(size)}" for name, size in budget.bytes().items())
    return f"Memory at {budget.geometry.seq_len:,} tokens in 16 bits, scores of one layer: {listed}."


def short(count: float, unit: str = "") -> str:
    """A count in three digits: 8.39M for 8,388,608, and 8.39 MFLOP with a unit."""
    space = "\N{NO-BREAK SPACE}" if unit else ""
    for size, letter in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{space}{letter}{unit}"
    return f"{count:.3g}{space}{unit}"


def binary(count: float) -> str:
    """Bytes in powers of 1,024: 2 GiB for 2,147,483,648."""
    for power, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if count >= 2**power:
            return f"{count / 2**power:.3g}\N{NO-BREAK SPACE}{unit}"
    return f"{count:.0f}\N{NO-BREAK SPACE}B"
