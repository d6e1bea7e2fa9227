"""Speed-up over dense attention: measured, and as the count of pairs promises."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from .picture import picture_of
from .style import DENSE, INK, SCREEN, Style, dress, new_axes

LOOKS = (("-", "s"), (":", "^"), ("-.", "v"))


def speed_ratios(seconds: Mapping[int, Mapping[str, float]], *, against: str = "dense") -> dict[str, dict[int, float]]:
    """Compute the speed-up of each way over `against`: `ratios[name][length]`, lengths rising.

    `seconds[length][name]` are times; a way that was not timed at a length has no ratio there.

    Raises:
        ValueError: when `against` was not timed at some length.
    """
    ratios: dict[str, dict[int, float]] = {}
    for length, times in sorted(seconds.items()):
        if against not in times:
            raise ValueError(f"seconds must hold {against!r} at every length, got {', '.join(times)} at {length}")
        for name, time in times.items():
            if name != against:
                ratios.setdefault(name, {})[length] = times[against] / time
    return ratios


def crossover(ratios: Mapping[int, float]) -> float | None:
    """The length from which on the ratio stays above 1, between lengths by their logarithms; None if it ends below.

    The shortest length measured if the ratio was never below 1.
    """
    points = sorted(ratios.items())
    below = [index for index, (_, ratio) in enumerate(points) if ratio < 1]
    if not below:
        return float(points[0][0])
    if below[-1] == len(points) - 1:
        return None
    (short, low), (long, high) = points[below[-1] : below[-1] + 2]
    share = -math.log(low) / (math.log(high) - math.log(low))
    return math.exp(math.log(short) + share * (math.log(long) - math.log(short)))


def plot_speed(
    ratios: Mapping[str, Mapping[int, float]],
    promised: Mapping[int, float],
    *,
    promise: str = "the count of pairs",
    style: Style = SCREEN,
    ax: Axes | None = None,
) -> Axes:
    """Draw how many times as fast as dense attention it is, by sequence length; dashed, what `promise` promises.

    Both axes are logarithmic: above the line at 1 it pays, below it costs.

    Raises:
        ValueError: for more ways than there are looks, three.
    """
    if len(ratios) > len(LOOKS):
        raise ValueError(f"ratios must be of at most {len(LOOKS)} ways, got {len(ratios)}")
    ax = new_axes(style, width=1.2, height=1.1)[0] if ax is None else ax
    ax.axhline(1, color=DENSE, linewidth=style.line, label="dense attention")
    lengths = sorted(promised)
    pairs = [promised[length] for length in lengths]
    ax.plot(lengths, pairs, color=DENSE, linestyle="--", linewidth=style.line, label=f"promised by {promise}")
    for (name, points), (line, marker) in zip(ratios.items(), LOOKS, strict=False):
        look = {"color": INK, "linestyle": line, "linewidth": style.line, "marker": marker, "markersize": style.marker}
        ax.plot(*zip(*sorted(points.items()), strict=True), label=f"measured: {name}", **look)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=2)
    low = min([1.0, *(ratio for points in ratios.values() for ratio in points.values())])
    high = max([*promised.values(), *(ratio for points in ratios.values() for ratio in points.values())])
    exponents = np.arange(math.floor(math.log2(low)), math.ceil(math.log2(high)) + 1)
    ax.set(xticks=lengths, yticks=2.0**exponents, ylim=(2.0 ** (exponents[0] - 0.1), 2.0 ** (exponents[-1] + 0.1)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda length, _: f"{length:,.0f}"))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}"))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
    ax.legend(fontsize=style.small, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)
    return dress(ax, style, x="tokens", y="times faster than dense")


def describe_speed(ratios: Mapping[str, Mapping[int, float]], promised: Mapping[int, float]) -> str:
    """Describe `plot_speed` in a sentence with its numbers."""

    def listed(points: Mapping[int, float]) -> str:
        return ", ".join(f"{points[n]:.2f} at {n:,}" for n in sorted(points))

    parts = [f"promised by the count of pairs {listed(promised)}"]
    for name, points in ratios.items():
        even = crossover(points)
        pays = f"pays from about {even:,.0f} tokens" if even else "does not pay at the longest"
        parts.append(f"{name} measured {listed(points)}, {pays}")
    return f"Times faster than dense attention by tokens: {'; '.join(parts)}."


show_speed = picture_of(plot_speed, describe_speed)
