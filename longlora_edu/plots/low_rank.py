"""A low-rank correction drawn to scale, what trains in models of several sizes, and what each set of parts achieves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from .picture import picture_of
from .style import AFTER, DENSE, FROZEN, INK, SCREEN, TRAINED, TRAINED_HATCH, Style, dress, new_axes, percent

# What trains is one colour; the kind of mark says which part it is.
PART_HATCHES = {"LoRA": TRAINED_HATCH, "norms": "xxxx", "embeddings": "//"}


def plot_low_rank(outputs: int, inputs: int, rank: int, *, style: Style = SCREEN, ax: Axes | None = None) -> Axes:
    """Draw a frozen weight (outputs, inputs) and its correction B A, to scale: as much ink as there are numbers."""
    ax = new_axes(style, width=1.3, height=0.8)[0] if ax is None else ax
    widest = max(outputs, inputs)
    gap, line = 0.22 * widest, {"edgecolor": INK, "linewidth": style.thin}
    trained = {"facecolor": TRAINED, **line}
    text = {"ha": "center", "va": "center", "fontsize": style.text, "color": INK}
    under = {"ha": "center", "va": "top", "fontsize": style.small, "color": INK}
    left = 0.0
    for name, rows, columns, look in (
        ("W, frozen", outputs, inputs, {"facecolor": FROZEN, **line}),
        ("B", outputs, rank, trained),
        ("A", rank, inputs, trained),
    ):
        bottom = (outputs - rows) / 2
        ax.add_patch(Rectangle((left, bottom), columns, rows, **look))
        below = bottom - 0.05 * widest
        ax.text(left + columns / 2, below, f"{name}\n{rows:,} × {columns:,}", **under)
        left += columns
        if name != "A":
            ax.text(left + gap / 2, outputs / 2, "+" if name == "W, frozen" else "·", **text)
            left += gap
    ax.set(xlim=(-0.02 * widest, left + 0.02 * widest), ylim=(-0.32 * widest, 1.02 * outputs), aspect="equal")
    ax.set_axis_off()
    return ax


def plot_shares(models: Mapping[str, Mapping[str, float]], *, style: Style = SCREEN, ax: Axes | None = None) -> Axes:
    """Plot the share of all weights that trains, `models[name][part]`, 0 to 1; parts are stacked."""
    ax = new_axes(style, width=1.3, height=0.35 + 0.12 * len(models))[0] if ax is None else ax
    for row, parts in enumerate(models.values()):
        left = 0.0
        for part, share in parts.items():
            look = {"facecolor": TRAINED, "hatch": PART_HATCHES.get(part), "edgecolor": INK, "linewidth": style.thin}
            ax.barh(row, share, left=left, height=0.6, label=part if row == 0 else None, **look)
            left += share
        place = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
        ax.annotate(percent(left, 1), (left, row), fontsize=style.small, color=INK, **place)
    ax.set_yticks(range(len(models)), labels=list(models))
    ax.invert_yaxis()
    ax.set_xlim(0, 1.15 * max(sum(parts.values()) for parts in models.values()))
    ax.xaxis.set_major_formatter(lambda value, _: percent(value))
    ax.legend(fontsize=style.small, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0)
    return dress(ax, style, x="share of all weights that trains")


def plot_parts(
    arms: Mapping[str, Mapping], *, base: float, y: str = "", style: Style = SCREEN, ax: Axes | None = None
) -> Axes:
    """Draw the score of each arm at each learning rate tried, `arms[name][rate]`; the best of an arm is filled.

    Further left is better. `base` is a score to compare with: a line.
    """
    ax = new_axes(style, width=1.3, height=0.3 + 0.12 * len(arms))[0] if ax is None else ax
    for row, scores in enumerate(arms.values()):
        values = np.array(list(scores.values()))
        look = {"linestyle": "", "marker": "o", "markersize": style.marker, "markeredgewidth": style.thin}
        ax.plot(values, [row] * len(values), color=DENSE, markerfacecolor="white", zorder=2, **look)
        best = values.min()
        ax.plot(best, row, color=AFTER, zorder=3, **look)
        place = {"xytext": (0, style.marker), "textcoords": "offset points", "ha": "center", "va": "bottom"}
        ax.annotate(f"{best:.3f}", (best, row), fontsize=style.small, color=INK, **place)
    ax.axvline(base, color=INK, linestyle=":", linewidth=style.line)
    ax.set_yticks(range(len(arms)), labels=list(arms))
    ax.set_ylim(len(arms) - 0.5, -0.8)
    ax.margins(x=0.08)
    return dress(ax, style, x=y)


def describe_low_rank(outputs: int, inputs: int, rank: int) -> str:
    """Describe `plot_low_rank` in a sentence with its numbers."""
    frozen, trained = outputs * inputs, rank * (outputs + inputs)
    return (
        f"To scale: a frozen weight of {outputs:,} × {inputs:,} numbers, and its correction, B of {outputs:,} × {rank} "
        f"times A of {rank} × {inputs:,}: {trained:,} numbers beside {frozen:,}, {percent(trained / frozen, 2)}."
    )


def describe_shares(models: Mapping[str, Mapping[str, float]]) -> str:
    """Describe `plot_shares` in a sentence with its numbers."""
    parts = [
        f"{name} {percent(sum(shares.values()), 1)} ("
        + ", ".join(f"{part} {percent(share, 2)}" for part, share in shares.items())
        + ")"
        for name, shares in models.items()
    ]
    return f"Share of all weights that trains: {'; '.join(parts)}."


def describe_parts(arms: Mapping[str, Mapping], *, base: float, what: str) -> str:
    """Describe `plot_parts` in a sentence with its numbers: the best of each arm."""
    parts = [f"{name} {min(scores.values()):.3f}" for name, scores in arms.items()]
    chosen = ", the best of the rates tried" if any(len(scores) > 1 for scores in arms.values()) else ""
    return f"{what}{chosen}: {'; '.join(parts)}. To compare with: {base:.3f}."


show_low_rank = picture_of(plot_low_rank, describe_low_rank)
show_shares = picture_of(plot_shares, describe_shares)
show_parts = picture_of(plot_parts, describe_parts)
