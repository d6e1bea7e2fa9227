"""Rotary positions: pairs of features as clocks, what a rule does to each pair, and what comes of it by length."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from .curves import by_length
from .picture import picture_of
from .style import AFTER, BEFORE, DENSE, EMPTY, INK, MAGNITUDE, PLAIN, SCREEN, Style, axes_for, dress, new_axes

# Colour, line and mark of each position rule, and of a learner's answer beside the right one, in every picture.
RULE_LOOKS = {
    "default": {"color": BEFORE, "linestyle": "--", "marker": "o", "markerfacecolor": "white"},
    "linear": {"color": INK, "linestyle": ":", "marker": "^"},
    "ntk": {"color": DENSE, "linestyle": "-.", "marker": "D"},
    "dynamic": {"color": DENSE, "linestyle": "-", "marker": "v", "markerfacecolor": "white"},
    "yarn": {"color": AFTER, "linestyle": "-", "marker": "s"},
    "yours": {"color": BEFORE, "linestyle": "--", "marker": "x"},
    "right": {"color": PLAIN, "linestyle": "-", "marker": "."},
}
RULE_NAMES = {
    "default": "default",
    "linear": "linear (PI)",
    "ntk": "NTK-aware",
    "dynamic": "dynamic NTK",
    "yarn": "YaRN",
}


def plot_clocks(
    frequencies: np.ndarray,
    positions: Sequence[int],
    pairs: Sequence[int],
    *,
    title: str = "",
    style: Style = SCREEN,
    ax: Axes | None = None,
) -> Axes:
    """Draw each pair of features as a clock (rows) at each position (columns), turned by position · frequency.

    `frequencies` (d/2,) in radians per token. Hands start at the right and turn as angles do, against the clock.
    """
    ax = new_axes(style, width=0.32 + 0.13 * len(positions), height=0.3 + 0.2 * len(pairs))[0] if ax is None else ax
    for row, pair in enumerate(pairs):
        for column, position in enumerate(positions):
            angle = position * frequencies[pair]
            ax.add_patch(Circle((column, row), 0.4, facecolor=EMPTY, edgecolor=INK, linewidth=style.thin))
            # The axis points down, so that pair 0 is on top: the sine is turned with it.
            hand = [column, column + 0.38 * math.cos(angle)], [row, row - 0.38 * math.sin(angle)]
            ax.plot(*hand, color=PLAIN, linewidth=style.line, solid_capstyle="round")
    ax.set(xlim=(-0.5, len(positions) - 0.5), ylim=(len(pairs) - 0.5, -0.5), aspect="equal")
    ax.set(xticks=range(len(positions)), xticklabels=[f"{position:,}" for position in positions])
    labels = [f"pair {pair}: a turn\nin {_tokens(frequencies[pair])} tokens" for pair in pairs]
    ax.set_yticks(range(len(pairs)), labels=labels)
    dress(ax, style, title=title, x="position", grid=False)
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.tick_params(length=0)
    return ax


def plot_by_pair(
    curves: Mapping[str, np.ndarray],
    *,
    y: str,
    title: str = "",
    turns_once: int | None = None,
    log: bool = True,
    style: Style = SCREEN,
    ax: Axes | None = None,
) -> Axes:
    """Plot one number for each pair of features, `curves[rule]` (d/2,), one line a rule; `y` is the label of the axis.

    `turns_once` is the first pair that completes no turn within the trained length: a line stands before it.
    """
    ax = new_axes(style, width=1.3)[0] if ax is None else ax
    for name, values in curves.items():
        look = RULE_LOOKS.get(name, {"color": INK})
        every = max(1, len(values) // 8)
        size = {
            "linewidth": style.line,
            "markersize": style.marker,
            "markevery": every,
            "label": RULE_NAMES.get(name, name),
        }
        ax.plot(np.arange(len(values)), values, **look, **size)
    if turns_once is not None:
        ax.axvline(turns_once - 0.5, color=INK, linestyle=":", linewidth=style.thin)
        note = {"fontsize": style.small, "color": INK, "va": "bottom", "xycoords": ("data", "axes fraction")}
        note |= {"textcoords": "offset points", "annotation_clip": False}
        ax.annotate("← full turns in training", (turns_once - 0.5, 0), xytext=(-3, 3), ha="right", **note)
        ax.annotate("never a full turn →", (turns_once - 0.5, 0), xytext=(3, 3), ha="left", **note)
    if log:
        ax.set_yscale("log", base=2)
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}" if value >= 1 else f"1/{1 / value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
    ax.legend(fontsize=style.small, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0)
    return dress(ax, style, title=title, x="pair of features (0 turns fastest: near; the last slowest: far)", y=y)


def plot_rules_by_length(
    scores: Mapping[str, Mapping], *, trained_context: int, style: Style = SCREEN, ax: Axes | None = None
) -> Axes:
    """Draw bits per byte of the same bytes given more and more context, `scores[rule][length]`, one line a rule."""
    ax = new_axes(style, width=1.3)[0] if ax is None else ax
    ends, ticks = [], set()
    for name, by in scores.items():
        lengths, bits = by_length(by)
        size = {"linewidth": style.line, "markersize": style.marker, "markeredgewidth": style.thin}
        ax.plot(lengths, bits, label=RULE_NAMES.get(name, name), **RULE_LOOKS.get(name, {"color": INK}), **size)
        ends.append((bits[-1], lengths[-1], f"{RULE_NAMES.get(name, name)} {bits[-1]:.2f}"))
        ticks.update(lengths)
    top = 1.08 * max(bits for by in scores.values() for bits in by_length(by)[1])
    ax.set_xscale("log", base=2)
    ax.set(xticks=sorted(ticks), ylim=(0, top))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda length, _: f"{length:,.0f}"))
    ax.axvline(trained_context, color=INK, linestyle=":", linewidth=style.thin)
    _label_ends(ax, ends, top, style)
    return dress(ax, style, x="context (bytes); dotted: trained", y="bits per byte")


def plot_scores(
    tables: Mapping[str, np.ndarray], *, style: Style = SCREEN, axes: Sequence[Axes] | None = None
) -> np.ndarray:
    """Draw tables of scores (n, n) side by side, queries down, keys across, in the same shades: brighter is higher.

    Returns the axes, one a table.

    Raises:
        ValueError: when there are not as many axes as tables.
    """
    axes = axes_for(axes, len(tables), style, width=0.7 * len(tables))
    ends = [end(table) for table in tables.values() for end in (np.min, np.max)]
    for ax, (title, scores) in zip(axes, tables.items(), strict=True):
        shades = {"cmap": MAGNITUDE, "vmin": min(ends), "vmax": max(ends)}
        ax.pcolormesh(scores, edgecolors="white", linewidth=style.thin / 2, **shades)
        ax.set_xticks(np.arange(len(scores)) + 0.5, labels=range(len(scores)))
        ax.set_yticks(np.arange(len(scores)) + 0.5, labels=range(len(scores)))
        ax.invert_yaxis()
        ax.set_aspect("equal")
        dress(ax, style, title=title, x="key", y="query" if ax is axes[0] else "", grid=False)
    return axes


def describe_clocks(frequencies: np.ndarray, positions: Sequence[int], pairs: Sequence[int]) -> str:
    """Describe `plot_clocks` in a sentence with its numbers."""
    turns = "; ".join(
        f"pair {pair} turns once in {_tokens(frequencies[pair])} tokens and has made "
        f"{positions[-1] * frequencies[pair] / (2 * math.pi):.2f} turns at position {positions[-1]:,}"
        for pair in pairs
    )
    return f"Clock hands of {len(pairs)} pairs of features at positions {', '.join(map(str, positions))}: {turns}."


def describe_by_pair(curves: Mapping[str, np.ndarray], *, what: str) -> str:
    """Describe `plot_by_pair` in a sentence with its numbers: the ends, and the largest value of each rule."""
    parts = [
        f"{RULE_NAMES.get(name, name)} {values[0]:.3g} at pair 0, {values[-1]:.3g} at pair {len(values) - 1}, "
        f"at most {np.max(values):.3g} (pair {int(np.argmax(values))})"
        for name, values in curves.items()
    ]
    return f"{what}, by pair of features: {'; '.join(parts)}."


def describe_rules_by_length(scores: Mapping[str, Mapping], *, trained_context: int) -> str:
    """Describe `plot_rules_by_length` in a sentence with its numbers."""
    parts = [
        f"{RULE_NAMES.get(name, name)} "
        + ", ".join(f"{bits:.2f} at {length:,}" for length, bits in zip(*by_length(by), strict=True))
        for name, by in scores.items()
    ]
    return f"Bits per byte by context length in bytes, trained context {trained_context:,}: {'; '.join(parts)}."


def describe_scores(tables: Mapping[str, np.ndarray]) -> str:
    """Describe `plot_scores` of a learner's table and the right one: the place at which they differ most."""
    mine, right = tables.values()
    differs = np.abs(np.asarray(mine) - np.asarray(right))
    query, key = np.unravel_index(differs.argmax(), differs.shape)
    return (
        f"Scores of {len(right)} queries and keys, yours beside the right ones: they differ most at query {query} and "
        f"key {key}, {mine[query, key]:.3f} instead of {right[query, key]:.3f}."
    )


def _tokens(frequency: float) -> str:
    return f"{2 * math.pi / frequency:,.3g}" if frequency > 0.06 else f"{2 * math.pi / frequency:,.0f}"


def _label_ends(ax: Axes, ends: Sequence[tuple[float, float, str]], top: float, style: Style) -> None:
    """Write the text of each (value, length, text) right of the axes at its value, higher where another stands.

    `top` is the upper end of the value axis: texts stand a share of it apart.
    """
    least = 0.075 * top * style.small / 9.5 * 5.0 / style.size[0] * style.size[1] / 3.4
    lowest = -math.inf
    for value, length, text in sorted(ends):
        lowest = max(value, lowest + least)
        ax.annotate(
            text, (length, value), xytext=(1.02, lowest), textcoords=("axes fraction", "data"), va="center",
            fontsize=style.small, color=INK, annotation_clip=False,
        )  # fmt: skip


show_clocks = picture_of(plot_clocks, describe_clocks)
show_by_pair = picture_of(plot_by_pair, describe_by_pair)
show_rules_by_length = picture_of(plot_rules_by_length, describe_rules_by_length)
show_scores = picture_of(plot_scores, describe_scores)
