"""Passkeys found by length and depth, named references by distance, and the share of parameters trained."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from ..runs.records import Proportion
from .picture import picture_of
from .style import (
    AFTER,
    DENSE,
    FROZEN,
    INK,
    MAGNITUDE,
    SCREEN,
    SHIFTED,
    STRETCHED,
    TRAINED,
    TRAINED_HATCH,
    Style,
    dress,
    new_axes,
    percent,
    readable_on,
)

STEP_NAMES = {
    "stretched": "stretched, nothing trained",
    "after": "trained with S²",
    "short": "trained without a shift",
    "full": "trained with full attention",
}
STEP_COLOURS = {"stretched": STRETCHED, "after": AFTER, "short": SHIFTED, "full": DENSE}
STEP_HATCHES = {"stretched": "....", "short": "////"}
DISTANCES = {"<=G": "within a group", "G-2G": "one to two groups", ">2G": "beyond two"}


def passkey_rates(cells: Mapping) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lengths (l,), depths (d,), and the share of passkeys found at each, (d, l), of `cells[length][depth]`.

    A cell is a `Proportion`, what JSON makes of one, or a plain rate; keys may be text, as JSON leaves them.

    Raises:
        ValueError: when there are no cells, or the lengths do not have the same depths.
    """
    by_length = {
        int(length): {float(depth): _rate(cell) for depth, cell in row.items()} for length, row in cells.items()
    }
    lengths = sorted(by_length)
    depths = sorted(by_length[lengths[0]]) if lengths else []
    if not depths:
        raise ValueError("cells must hold at least one length and depth, got none")
    for length in lengths:
        if sorted(by_length[length]) != depths:
            raise ValueError(f"cells must have the depths {depths} at every length, got {sorted(by_length[length])}")
    rates = np.array([[by_length[length][depth] for length in lengths] for depth in depths])
    return np.array(lengths), np.array(depths), rates


def parameter_counts(recipe: Mapping) -> tuple[int, int]:
    """Count the parameters that were trained and those that were frozen; LoRA's own count as trained."""
    trained = recipe["trainable_parameters"]
    return trained, round(trained / recipe["trainable_share"]) - trained


def plot_passkeys(cells: Mapping, *, title: str = "", style: Style = SCREEN, ax: Axes | None = None) -> Axes:
    """Draw the share of hidden numbers found, by context length (columns) and by depth in the document (rows)."""
    lengths, depths, rates = passkey_rates(cells)
    ax = new_axes(style, height=0.85)[0] if ax is None else ax
    edges = [np.arange(size + 1) - 0.5 for size in rates.shape]
    ax.pcolormesh(
        edges[1], edges[0], rates, cmap=MAGNITUDE, vmin=0, vmax=1, edgecolors="white", linewidth=style.line / 2
    )
    for (row, column), rate in np.ndenumerate(rates):
        text = {"ha": "center", "va": "center", "fontsize": style.text, "color": readable_on(MAGNITUDE(rate))}
        ax.text(column, row, percent(rate), **text)
    ax.set(xticks=range(len(lengths)), xticklabels=[f"{length:,}" for length in lengths], ylim=edges[0][[-1, 0]])
    ax.set(yticks=range(len(depths)), yticklabels=[f"{depth:g}" for depth in depths])
    return dress(ax, style, title=title, x="context (bytes)", y="depth of the key\n(0: start, 1: end)", grid=False)


def plot_references(steps: Mapping[str, Mapping], *, style: Style = SCREEN, ax: Axes | None = None) -> Axes:
    """Plot the share of named references found, by distance: one bar a step, with its 95 % interval (Wilson).

    `steps` maps a name (`"stretched"`, `"after"`, or an arm: `"short"`, `"full"`) to `{distance: {"found", "of"}}`.
    """
    # Four bars a distance need the room: names below them touch, and the legend is cut.
    ax = new_axes(style, width=1 if len(steps) < 4 else 1.5)[0] if ax is None else ax
    width = 0.8 / len(steps)
    for number, (name, found) in enumerate(steps.items()):
        counts = [Proportion(cell["found"], cell["of"]) for cell in found.values()]
        rates = np.array([count.rate for count in counts])
        ends = np.abs(np.array([count.interval for count in counts]).T - rates)
        places = np.arange(len(counts)) + (number - (len(steps) - 1) / 2) * width
        look = {"color": STEP_COLOURS.get(name, DENSE), "hatch": STEP_HATCHES.get(name), "edgecolor": "white"}
        ax.bar(places, rates, width, label=STEP_NAMES.get(name, name), **look)
        ax.errorbar(places, rates, ends, fmt="none", color=INK, linewidth=style.thin)
        for place, rate, high in zip(places, rates, ends[1], strict=True):
            ax.text(place, rate + high + 0.02, percent(rate), ha="center", va="bottom", fontsize=style.small, color=INK)
    names = list(next(iter(steps.values())))
    ax.set(xticks=range(len(names)), xticklabels=[DISTANCES.get(name, name) for name in names], ylim=(0, 1.15))
    ax.yaxis.set_major_formatter(lambda value, _: percent(value))
    ax.legend(fontsize=style.small, frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)
    return dress(ax, style, x="distance from the number to its question", y="references found")


def plot_trainable(recipe: Mapping, *, style: Style = SCREEN, ax: Axes | None = None) -> Axes:
    """Draw one bar: the share of all parameters that was trained, and the share that stayed frozen."""
    trained, frozen = parameter_counts(recipe)
    ax = new_axes(style, height=0.4)[0] if ax is None else ax
    share = trained / (trained + frozen)
    look = {"edgecolor": INK, "linewidth": style.thin}
    ax.barh(0, share, color=TRAINED, hatch=TRAINED_HATCH, label=f"trained: {trained:,} ({percent(share, 1)})", **look)
    ax.barh(0, 1 - share, left=share, color=FROZEN, label=f"frozen: {frozen:,}", **look)
    ax.set(xlim=(0, 1), ylim=(-0.5, 0.5), yticks=[])
    ax.xaxis.set_major_formatter(lambda value, _: percent(value))
    ax.legend(fontsize=style.small, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, borderaxespad=0)
    return dress(ax, style, x="share of all parameters", grid=False)


def describe_passkeys(cells: Mapping) -> str:
    """Describe `plot_passkeys` in a sentence with its numbers."""
    lengths, depths, rates = passkey_rates(cells)
    means = ", ".join(
        f"{percent(rate)} at {length:,}" for length, rate in zip(lengths, rates.mean(axis=0), strict=True)
    )
    row, column = np.unravel_index(rates.argmin(), rates.shape)
    return (
        f"Passkeys found, by context length in bytes (mean over depths): {means}. "
        f"Fewest, {percent(rates[row, column])}, at {lengths[column]:,} and depth {depths[row]:g}."
    )


def describe_references(steps: Mapping[str, Mapping]) -> str:
    """Describe `plot_references` in a sentence with its numbers."""
    parts = []
    for name, found in steps.items():
        counts = (
            f"{percent(cell['found'] / cell['of'])} {DISTANCES.get(kind, kind)} ({cell['found']} of {cell['of']})"
            for kind, cell in found.items()
        )
        parts.append(f"{STEP_NAMES.get(name, name)}: {', '.join(counts)}")
    return f"Named references found, by distance. {'; '.join(parts)}."


def describe_trainable(recipe: Mapping) -> str:
    """Describe `plot_trainable` in a sentence with its numbers."""
    trained, frozen = parameter_counts(recipe)
    return f"{trained:,} of {trained + frozen:,} parameters were trained ({percent(trained / (trained + frozen), 1)})."


def _rate(cell) -> float:
    if isinstance(cell, Mapping):
        return float(cell["rate"])
    return float(getattr(cell, "rate", cell))


show_references = picture_of(plot_references, describe_references)
show_passkeys = picture_of(plot_passkeys, describe_passkeys)
show_trainable = picture_of(plot_trainable, describe_trainable)
