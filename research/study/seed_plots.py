"""Plots of arms with one point per seed, so that a difference can be compared with the spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from longlora_edu.plots.style import (
    AFTER,
    BEFORE,
    DENSE,
    FUTURE,
    INK,
    MAGNITUDE,
    PASSKEY,
    PLAIN,
    SCREEN,
    SHIFTED,
    TEXT,
    Style,
    dress,
    new_axes,
    percent,
    readable_on,
)

from .part import StudyPicture

ARM_LOOKS = [
    {"color": SHIFTED, "linestyle": "-", "marker": "s"},
    {"color": DENSE, "linestyle": "-.", "marker": "D"},
    {"color": PLAIN, "linestyle": "--", "marker": "o"},
    {"color": FUTURE, "linestyle": ":", "marker": "^"},
    {"color": AFTER, "linestyle": (0, (5, 1)), "marker": "v"},
    {"color": BEFORE, "linestyle": (0, (3, 1, 1, 1)), "marker": "P"},
    {"color": TEXT, "linestyle": (0, (1, 1)), "marker": "X"},
    {"color": PASSKEY, "linestyle": "-", "marker": "."},
]
Series = Mapping[str, Mapping[float, Sequence[float]]]


def plot_seeds(
    arms: Mapping[str, Sequence[float]],
    *,
    x: str = "bits per byte",
    reference: float | None = None,
    style: Style = SCREEN,
    ax: Axes | None = None,
) -> Axes:
    """Plot a row per arm: seeds as points, their mean as a stroke with its number, and a line at `reference`.

    The axis does not begin at zero.

    Raises:
        ValueError: without an arm.
    """
    _check(arms)
    if ax is None:
        beside = 0.013 * max(0, max(map(len, arms)) - 20)  # long names leave the points their room
        ax = new_axes(style, width=1 + beside, height=max(0.5, 0.17 * len(arms) + 0.3))[0]
    if reference is not None:
        ax.axvline(reference, color=DENSE, linewidth=style.thin, linestyle="--")
    for row, values in enumerate(arms.values()):
        ax.plot(values, [row] * len(values), "o", color=PLAIN, markersize=style.marker, alpha=0.7)
        mean = float(np.mean(values))
        ax.plot([mean, mean], [row - 0.35, row + 0.35], color=INK, linewidth=style.line)
        ax.annotate(f"{mean:.3f}", (max(values), row), (style.marker, 0), textcoords="offset points", va="center",
                    fontsize=style.small, color=INK)  # fmt: skip
    ax.set_yticks(range(len(arms)), list(arms))
    ax.set_ylim(len(arms) - 0.4, -0.6)
    ax.margins(x=0.18)
    return dress(ax, style, x=x)


def describe_seeds(arms: Mapping[str, Sequence[float]], *, x: str = "bits per byte") -> str:
    """Describe `plot_seeds` in a sentence with its numbers."""
    _check(arms)
    return f"{x[0].upper()}{x[1:]}: {'; '.join(f'{name} {_numbers(values)}' for name, values in arms.items())}."


def plot_series(
    series: Series,
    *,
    x: str,
    y: str = "bits per byte",
    powers: bool = True,
    shares: bool = False,
    style: Style = SCREEN,
    ax: Axes | None = None,
) -> Axes:
    """Plot a line per arm through the means over seeds, with a band from the lowest to the highest.

    `powers` doubles along x; `shares` go from 0 to 100 % along y, which else does not begin at zero.

    Raises:
        ValueError: without a line.
    """
    _check(series)
    ax = new_axes(style, width=1.3)[0] if ax is None else ax
    places = sorted({place for line in series.values() for place in line})
    for (name, line), look in zip(series.items(), _looks(len(series)), strict=True):
        where = sorted(line)
        ax.plot(where, [np.mean(line[place]) for place in where], label=name, linewidth=style.line,
                markersize=style.marker if len(where) < 20 else 0, **look)  # fmt: skip
        low, high = ([pick(line[place]) for place in where] for pick in (min, max))
        ax.fill_between(where, low, high, color=look["color"], alpha=0.25, linewidth=0)
    if powers:
        ax.set_xscale("log", base=2)
        ax.set_xticks(places)
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{place:,.0f}"))
    if shares:
        ax.set_ylim(0, 1.03)
        ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: percent(share)))
    ax.legend(fontsize=style.small, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return dress(ax, style, x=x, y=y)


def describe_series(series: Series, *, x: str, y: str = "bits per byte") -> str:
    """Describe `plot_series` in a sentence with the numbers at both ends of each line."""
    _check(series)
    parts = []
    for name, line in series.items():
        first, last = min(line), max(line)
        parts.append(f"{name} {_numbers(line[first])} at {first:,.0f} and {_numbers(line[last])} at {last:,.0f}")
    return f"{y[0].upper()}{y[1:]} by {x}: {'; '.join(parts)}."


def plot_maps(
    maps: Mapping[str, Mapping[int, Mapping[float, float]]],
    *,
    style: Style = SCREEN,
    axes: Sequence[Axes] | None = None,
) -> np.ndarray:
    """Plot passkeys found, one map per title: a column per length, a row per depth, the share as colour and number.

    Raises:
        ValueError: without a map, or when `axes` are not one a map.
    """
    _check(maps)
    axes = new_axes(style, len(maps), width=0.62 * len(maps) + 0.1, height=0.75) if axes is None else np.ravel(axes)
    if len(axes) != len(maps):
        raise ValueError(f"axes must be one a map, {len(maps)}, got {len(axes)}")
    for ax, (title, cells) in zip(axes, maps.items(), strict=True):
        lengths, depths = sorted(cells), sorted(next(iter(cells.values())))
        values = np.array([[cells[length][depth] for length in lengths] for depth in depths])
        image = ax.imshow(values, cmap=MAGNITUDE, vmin=0, vmax=1, aspect="auto")
        for row, column in np.ndindex(values.shape):
            value = values[row, column]
            ax.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=style.small,
                    color=readable_on(image.cmap(value)))  # fmt: skip
        ax.set_xticks(range(len(lengths)), [f"{length:,}" for length in lengths])
        ax.set_yticks(range(len(depths)), [percent(depth) for depth in depths])
        dress(ax, style, title=title, x="length", y="depth" if ax is axes[0] else "", grid=False)
        ax.tick_params(axis="x", labelrotation=45)
    return axes


def describe_maps(maps: Mapping[str, Mapping[int, Mapping[float, float]]]) -> str:
    """Describe `plot_maps` in a sentence: the mean over depths at each length."""
    _check(maps)
    parts = []
    for title, cells in maps.items():
        shares = ", ".join(f"{percent(float(np.mean(list(cells[n].values()))))} at {n:,}" for n in sorted(cells))
        parts.append(f"{title}: {shares}")
    return f"Passkeys found, over all depths. {'; '.join(parts)}."


def seeds_picture(
    name: str, arms: Mapping[str, Sequence[float]], *, x: str, reference: float | None = None
) -> StudyPicture:
    """Pair `plot_seeds` with its description, as a picture of a study."""
    return StudyPicture(name, lambda: plot_seeds(arms, x=x, reference=reference), describe_seeds(arms, x=x))


def series_picture(name: str, series: Series, *, x: str, y: str = "bits per byte", **options: Any) -> StudyPicture:
    """Pair `plot_series` with its description, as a picture of a study."""
    return StudyPicture(name, lambda: plot_series(series, x=x, y=y, **options), describe_series(series, x=x, y=y))


def _numbers(values: Sequence[float]) -> str:
    mean = f"{np.mean(values):.3f}"
    return f"{mean} ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else mean


def _looks(count: int) -> list[dict]:
    return [ARM_LOOKS[index % len(ARM_LOOKS)] for index in range(count)]


def _check(arms: Mapping) -> None:
    if not arms:
        raise ValueError("arms must be at least one, got none")
