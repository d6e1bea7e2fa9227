"""FLOPs, bytes and seconds as a sequence grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from ..cost import ModelShape, forward_flops
from .picture import picture_of
from .style import DENSE, EMPTY, FROZEN, INK, LOSS, SCREEN, Style, dress, new_axes, percent

PARTS = {
    "attention": ("attention: pairs of tokens", DENSE, ""),
    "projections": ("projections q, k, v, o", LOSS, ""),
    "ffn": ("feed-forward", FROZEN, ""),
    "head": ("head, the logits", EMPTY, ".."),
}
# What is measured side by side, by name: colour, dash, marker.
LOOKS = {
    "explicit attention": (DENSE, ":", "^"),
    "fused attention": (DENSE, "-", "s"),
    "fused S²": (INK, "--", "o"),
    "linear layers": (LOSS, "-.", "D"),
}


def flop_shares(shape: ModelShape, lengths: Sequence[int]) -> dict[str, np.ndarray]:
    """The share of each part in the FLOPs of a forward pass, (l,) by part; dense, the whole square counted."""
    flops = [forward_flops(shape, length) for length in lengths]
    return {part: np.array([getattr(count, part) / count.total for count in flops]) for part in PARTS}


def attention_crossover(shape: ModelShape, *, causal: bool = False) -> int:
    """The first length at which attention needs more FLOPs than everything else together."""
    length = 1
    while forward_flops(shape, length, causal=causal).attention_share <= 0.5:
        length *= 2
    below, above = length // 2, length
    while above - below > 1:
        middle = (below + above) // 2
        if forward_flops(shape, middle, causal=causal).attention_share <= 0.5:
            below = middle
        else:
            above = middle
    return above


def plot_flop_shares(
    shape: ModelShape, lengths: Sequence[int], *, style: Style = SCREEN, ax: Axes | None = None
) -> Axes:
    """Draw which share of a forward pass's FLOPs is attention and which has weights, at each length."""
    ax = new_axes(style, width=1.35)[0] if ax is None else ax
    bottom = np.zeros(len(lengths))
    for part, share in flop_shares(shape, lengths).items():
        label, colour, hatch = PARTS[part]
        look = {"color": colour, "edgecolor": INK, "linewidth": style.thin, "hatch": hatch, "label": label}
        ax.bar(range(len(lengths)), share, bottom=bottom, width=0.7, **look)
        if part == "attention":
            for place, value in enumerate(share):
                # In the middle of its own part, or the share would seem to be that of the part above.
                ax.text(place, value / 2, percent(value), ha="center", va="center", fontsize=style.small, color="white")
        bottom += share
    ax.set(xticks=range(len(lengths)), xticklabels=[f"{length:,}" for length in lengths], ylim=(0, 1))
    ax.yaxis.set_major_formatter(lambda value, _: percent(value))
    handles, labels = ax.get_legend_handles_labels()
    ax.legend(
        handles[::-1], labels[::-1], fontsize=style.small, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5)
    )
    return dress(ax, style, x="tokens", y="share of the FLOPs", grid=False)


def plot_growth(
    shape: ModelShape, *, shortest: int = 1024, longest: int = 131_072, style: Style = SCREEN, ax: Axes | None = None
) -> Axes:
    """Draw FLOPs of one sequence by its length: attention as a square, with a causal kernel, and everything else."""
    ax = new_axes(style, width=1.2)[0] if ax is None else ax
    lengths = np.unique(np.geomspace(shortest, longest, 60).astype(int))
    square, triangle = ([forward_flops(shape, int(n), causal=c).attention for n in lengths] for c in (False, True))
    rest = [(count := forward_flops(shape, int(n))).total - count.attention for n in lengths]
    look = {"linewidth": style.line}
    ax.loglog(lengths, square, color=DENSE, label="attention, whole square", **look)
    ax.loglog(lengths, triangle, color=DENSE, linestyle="--", label="attention, causal kernel", **look)
    ax.loglog(lengths, rest, color=LOSS, linestyle="-.", label="everything with weights", **look)
    for causal in (False, True):
        where = attention_crossover(shape, causal=causal)
        if shortest <= where <= longest:
            flops = forward_flops(shape, where, causal=causal).attention
            ax.plot(where, flops, marker="o", color=INK, markersize=style.marker, zorder=4)
            side = -style.marker if not causal else style.marker  # each label away from the other line
            ax.annotate(
                f"{where:,}", (where, flops), xytext=(side, -side), textcoords="offset points", color=INK,
                ha="left" if causal else "right", va="top" if causal else "bottom", fontsize=style.small,
            )  # fmt: skip
    _by_length(ax, [n for n in 2 ** np.arange(20) if shortest <= n <= longest][::2])
    ax.legend(fontsize=style.small, frameon=False)
    return dress(ax, style, x="tokens", y="FLOPs of a forward pass")


def plot_measured(
    measured: Mapping[str, Mapping[int, float]], *, unit: str = "ms", style: Style = SCREEN, ax: Axes | None = None
) -> Axes:
    """Plot measurements `measured[name][length]` on logarithmic axes: slope 1 is linear, slope 2 quadratic."""
    ax = new_axes(style, width=1.2)[0] if ax is None else ax
    for name, row in measured.items():
        colour, dash, marker = LOOKS[name]
        lengths = sorted(row)
        ax.loglog(
            lengths, [row[n] for n in lengths], color=colour, linestyle=dash, marker=marker, linewidth=style.line,
            markersize=style.marker, label=name,
        )  # fmt: skip
    _by_length(ax, sorted({n for row in measured.values() for n in row}))
    ax.legend(fontsize=style.small, frameon=False)
    return dress(ax, style, x="tokens", y=unit)


def describe_flop_shares(shape: ModelShape, lengths: Sequence[int]) -> str:
    """Describe `plot_flop_shares` in a sentence with its numbers."""
    shares = flop_shares(shape, lengths)["attention"]
    listed = ", ".join(f"{percent(share, 1)} at {n:,} tokens" for share, n in zip(shares, lengths, strict=True))
    return f"The share of attention in the FLOPs of a dense forward pass: {listed}. The rest is layers with weights."


def describe_growth(shape: ModelShape) -> str:
    """Describe `plot_growth` in a sentence with its numbers."""
    square, triangle = (attention_crossover(shape, causal=causal) for causal in (False, True))
    return (
        "FLOPs by length: attention grows with the square of the length, everything with weights in step with it. "
        f"Attention passes the rest at {square:,} tokens where whole squares are counted, at {triangle:,} with a "
        "causal kernel."
    )


def describe_measured(measured: Mapping[str, Mapping[int, float]], *, unit: str = "ms") -> str:
    """Describe `plot_measured` in a sentence with its numbers."""
    parts = []
    for name, row in measured.items():
        lengths = sorted(row)
        parts.append(f"{name}: " + ", ".join(f"{row[n]:,.3g} at {n:,}" for n in lengths))
    return f"Measured in {unit}, by number of tokens. {'; '.join(parts)}."


def _by_length(ax: Axes, ticks: Sequence[int]) -> None:
    ax.set_xticks(ticks)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda length, _: f"{length:,.0f}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.minorticks_off()


show_flop_shares = picture_of(plot_flop_shares, describe_flop_shares)
show_growth = picture_of(plot_growth, describe_growth)
show_measured = picture_of(plot_measured, describe_measured)
