"""Plots of the records of `longlora-edu bench`."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from longlora_edu.plots.speed import plot_speed
from longlora_edu.plots.style import DENSE, INK, SCREEN, Style, dress, new_axes


def plot_bench(kind: str, record: dict, *, style: Style = SCREEN) -> Axes:
    """Plot a record of `bench attention`, `step` or `scaling`."""
    return {"attention": plot_lower_bound, "step": plot_steps, "scaling": plot_scaling}[kind](record, style=style)


def plot_lower_bound(record: dict, *, style: Style = SCREEN, ax: Axes | None = None) -> Axes:
    """Plot each case's time over its lower bound: the median, and the middle half of the pairs."""
    ax = new_axes(style, width=1.4)[0] if ax is None else ax
    rows = record["rows"][::-1]
    names = [f"{row['dtype']}, {row['batch']} × {row['length']:,}, groups of {row['group']:,}" for row in rows]
    found = [row["to_lower_bound"] for row in rows]
    middle = [ratio["median"] for ratio in found]
    spread = [[r["median"] - r["low"] for r in found], [r["high"] - r["median"] for r in found]]
    ax.axvline(1, color=DENSE, linewidth=style.line)
    ax.errorbar(middle, names, xerr=spread, fmt="o", color=INK, markersize=style.marker, elinewidth=style.line)
    low, high = min(0.9, *(r["low"] for r in found)), max(1.15, *(r["high"] for r in found))
    ax.set_xlim(low - 0.03, high + 0.03)
    return dress(ax, style, x="times the lower bound (forward and backward)")


def plot_steps(record: dict, *, style: Style = SCREEN, ax: Axes | None = None) -> Axes:
    """Plot the speed-up of a training step by context, beside the ratio of FLOPs."""
    measured = {row["context"]: row["times_faster"]["median"] for row in record["rows"]}
    promised = {row["context"]: row["promised"] for row in record["rows"]}
    return plot_speed({"a training step": measured}, promised, promise="FLOPs", style=style, ax=ax)


def plot_scaling(record: dict, *, style: Style = SCREEN, ax: Axes | None = None) -> Axes:
    """Plot nanoseconds per token by length at one group size: flat for S²-Attn, rising for dense attention."""
    ax = new_axes(style, width=1.2)[0] if ax is None else ax
    looks = {"s2": (f"S²-Attn, groups of {record['group']}", INK, "-", "s"), "dense": ("dense", DENSE, "--", "o")}
    for name, (label, colour, line, marker) in looks.items():
        points = {
            row["length"]: row["nanoseconds_a_token"][name]
            for row in record["fixed_group"]
            if name in row["nanoseconds_a_token"]
        }
        look = {"color": colour, "linestyle": line, "marker": marker, "markersize": style.marker}
        ax.plot(list(points), list(points.values()), label=label, linewidth=style.line, **look)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xticks([row["length"] for row in record["fixed_group"]])
    ax.xaxis.set_major_formatter(FuncFormatter(lambda length, _: f"{length / 1024:,.0f}k"))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda time, _: f"{time:,.0f}"))
    ax.yaxis.set_minor_formatter(FuncFormatter(lambda time, _: ""))
    ax.legend(fontsize=style.small, frameon=False)
    return dress(ax, style, x="tokens", y="nanoseconds a token")
