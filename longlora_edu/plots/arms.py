"""Arms of one experiment that differ in the attention of training only: by length, by position, by depth, and pairwise.

`record` is `training_attention.json`; an arm is one of `record["arms"]`. `short`, `s2` and `full` were trained,
`yarn` only had its positions stretched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from .curves import by_length, running_mean
from .picture import picture_of
from .style import (
    DENSE,
    INK,
    LOSS,
    MAGNITUDE,
    PLAIN,
    SCREEN,
    SHIFTED,
    Style,
    axes_for,
    dress,
    new_axes,
    percent,
    readable_on,
)

NAMES = {"yarn": "YaRN only", "short": "short", "s2": "S²", "full": "full"}
LINES = {
    "yarn": {"color": LOSS, "linestyle": ":", "marker": "^"},
    "short": {"color": PLAIN, "linestyle": "--", "marker": "o"},
    "s2": {"color": SHIFTED, "linestyle": "-", "marker": "s"},
    "full": {"color": DENSE, "linestyle": "-.", "marker": "D"},
}
TRAINED = ("short", "s2", "full")
MODES = AS_TRAINED, DENSE_USE = "as in training", "dense"
Z = 1.959964


def paired_difference(mine: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """Mean of `mine - other` over the same windows, and its standard error: most of the spread of both cancels.

    Raises:
        ValueError: when they are not equally many, or fewer than two.
    """
    mine, other = np.asarray(mine, dtype=float), np.asarray(other, dtype=float)
    if mine.shape != other.shape or mine.ndim != 1 or len(mine) < 2:
        raise ValueError(f"mine and other must be two lists of one length, got shapes {mine.shape} and {other.shape}")
    differences = mine - other
    return float(differences.mean()), float(differences.std(ddof=1) / len(differences) ** 0.5)


def seed_differences(record: Mapping, mine: str, other: str) -> list[float]:
    """`mine - other` in bits per byte at the target length, one a seed that both were trained with."""
    target = str(record["target_context"])
    first = [record["arms"][arm]["bits_per_byte"][target] for arm in (mine, other)]
    others = [record["other_seeds"].get(arm, {}) for arm in (mine, other)]
    seeds = sorted(set(others[0]) & set(others[1]))
    return [first[0] - first[1]] + [
        others[0][seed]["bits_per_byte"] - others[1][seed]["bits_per_byte"] for seed in seeds
    ]


def plot_arms_by_length(record: Mapping, *, style: Style = SCREEN, axes: Sequence[Axes] | None = None) -> np.ndarray:
    """Bits per byte with dense attention, given more and more context: all arms, and the trained ones under a lens.

    Returns two axes; the second does not begin at zero.

    Raises:
        ValueError: when `axes` are not two.
    """
    axes = axes_for(axes, 2, style, width=2.0)
    for ax, names in zip(axes, (tuple(NAMES), TRAINED), strict=True):
        for name in names:
            lengths, bits = by_length(record["arms"][name]["bits_per_byte"])
            ax.plot(lengths, bits, label=NAMES[name], linewidth=style.line, markersize=style.marker, **LINES[name])
        ax.set_xscale("log", base=2)
        ax.set_xticks(lengths)
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda length, _: f"{length:,.0f}"))
        dress(ax, style, x="context (bytes)", y="bits per byte")
    axes[0].set_ylim(bottom=0)
    axes[0].legend(fontsize=style.small, loc="lower left")
    axes[1].set_title("the trained ones, enlarged", fontsize=style.text, loc="left", color=INK)
    return axes


def plot_arms_by_position(
    record: Mapping, *, width: int = 4, style: Style = SCREEN, axes: Sequence[Axes] | None = None
) -> np.ndarray:
    """Bits per byte by position in long windows: under the pattern of training, and dense. Returns two axes.

    Each value is the mean of some neighbouring positions; drawn is a running mean over `width` of them.

    Raises:
        ValueError: when `axes` are not two.
    """
    axes = axes_for(axes, 2, style, width=2.0)
    for ax, mode in zip(axes, MODES, strict=True):
        plot_positions(record, TRAINED, mode, width=width, style=style, ax=ax)
    axes[1].legend(fontsize=style.small)
    return axes


def plot_positions(
    record: Mapping, names: Sequence[str], mode: str, *, width: int = 4, style: Style = SCREEN, ax: Axes | None = None
) -> Axes:
    """One panel of `plot_arms_by_position`: some arms, measured with the attention of `mode`, one of `MODES`.

    The axes are the same for all arms and modes.
    """
    ax = new_axes(style, width=1.3)[0] if ax is None else ax
    drawn = {}
    for arm_mode, curves in _positions(record).items():
        drawn |= {(name, arm_mode): running_mean(bits, width) for name, bits in curves.items()}
    for name in names:
        centres, means = drawn[name, mode]
        every = record["arms"][name]["positions_in_each_mean"]
        look = {key: LINES[name][key] for key in ("color", "linestyle")}
        ax.plot((centres + 0.5) * every, means, label=NAMES[name], linewidth=0.75 * style.line, **look)
    for border in borders(record):
        ax.axvline(border, color=INK, linewidth=style.thin, linestyle=":")
    everything = np.concatenate([means for _, means in drawn.values()])
    margin = 0.05 * np.ptp(everything)
    ax.set(ylim=(everything.min() - margin, everything.max() + margin))
    ax.set_xticks([0, *borders(record), record["target_context"]])
    return dress(ax, style, title=mode, x="position (bytes)", y="bits per byte")


def plot_arms_passkeys(record: Mapping, *, style: Style = SCREEN, axes: Sequence[Axes] | None = None) -> np.ndarray:
    """Passkeys found at the target length by depth: under the pattern of training, and dense. Returns two axes.

    Raises:
        ValueError: when `axes` are not two.
    """
    axes = axes_for(axes, 2, style, width=2.0, height=0.8)
    for ax, (title, cells) in zip(axes, _passkeys(record).items(), strict=True):
        rates = np.array([list(row.values()) for row in cells.values()])
        edges = [np.arange(size + 1) - 0.5 for size in rates.shape]
        look = {"cmap": MAGNITUDE, "vmin": 0, "vmax": 1, "edgecolors": "white", "linewidth": style.line / 2}
        ax.pcolormesh(edges[1], edges[0], rates, **look)
        for (row, column), rate in np.ndenumerate(rates):
            text = {"ha": "center", "va": "center", "fontsize": style.small, "color": readable_on(MAGNITUDE(rate))}
            ax.text(column, row, percent(rate), **text)
        depths = [f"{depth:g}" for depth in next(iter(cells.values()))]
        ax.set(xticks=range(len(depths)), xticklabels=depths, yticks=range(len(cells)), ylim=edges[0][[-1, 0]])
        ax.set_yticklabels([NAMES[name] for name in cells])
        dress(ax, style, title=title, x="depth of the key (0: start)", grid=False)
    return axes


def plot_differences(record: Mapping, *, to: str = "s2", style: Style = SCREEN, ax: Axes | None = None) -> Axes:
    """Plot the distance of the other trained arms to `to` at the target length, in bits per byte; left of 0 is better.

    The bar is the 95 % interval of the mean over windows (first seed), each ring one seed.
    """
    ax = new_axes(style, width=1.2, height=0.6)[0] if ax is None else ax
    others = [name for name in TRAINED if name != to]
    for row, name in enumerate(others):
        mean, error = _difference(record, name, to)
        look = {"color": LINES[name]["color"], "linewidth": style.line, "markersize": style.marker}
        ax.errorbar(mean, row, xerr=Z * error, fmt=LINES[name]["marker"], capsize=style.marker, **look)
        seeds = seed_differences(record, name, to)
        rings = {"facecolor": "none", "edgecolor": INK, "s": style.marker**2, "linewidth": style.thin, "zorder": 3}
        ax.scatter(seeds, np.full(len(seeds), row + 0.25), **rings)
    ax.axvline(0, color=INK, linewidth=style.thin)
    ax.set(yticks=range(len(others)), ylim=(-0.5, len(others) - 0.4))
    ax.set_yticklabels([f"{NAMES[name]} − {NAMES[to]}" for name in others])
    return dress(ax, style, x="difference (bits per byte)")


def borders(record: Mapping) -> list[int]:
    """Positions at which groups end inside the target."""
    group = record["arms"]["s2"]["pattern"]["group_size"]
    return list(range(group, record["target_context"], group))


def describe_arms_by_length(record: Mapping) -> str:
    """Describe `plot_arms_by_length` in a sentence with its numbers."""
    parts = []
    for name in NAMES:
        columns = by_length(record["arms"][name]["bits_per_byte"])
        scores = ", ".join(f"{bits:.3f} at {n:,}" for n, bits in zip(*columns, strict=True))
        parts.append(f"{NAMES[name]}: {scores}")
    return f"Bits per byte with dense attention, by context length in bytes. {'. '.join(parts)}."


def describe_arms_by_position(record: Mapping) -> str:
    """Describe `plot_arms_by_position` in a sentence with its numbers."""
    return " ".join(describe_positions(record, TRAINED, mode) for mode in MODES)


def describe_positions(record: Mapping, names: Sequence[str], mode: str) -> str:
    """Describe `plot_positions` in a sentence with its numbers."""
    parts = []
    for name in names:
        bits, every = _positions(record)[mode][name], record["arms"][name]["positions_in_each_mean"]
        after = np.mean([bits[border // every] for border in borders(record)])
        before = np.mean([bits[border // every - 1] for border in borders(record)])
        parts.append(f"{NAMES[name]} {before:.2f} just before a border of groups and {after:.2f} just after")
    return f"Bits per byte by position, attention {mode}: {'; '.join(parts)}."


def describe_arms_passkeys(record: Mapping) -> str:
    """Describe `plot_arms_passkeys` in a sentence with its numbers."""
    parts = []
    for title, cells in _passkeys(record).items():
        for name, row in cells.items():
            rates = ", ".join(f"{percent(rate)} at depth {depth:g}" for depth, rate in row.items())
            parts.append(f"{NAMES[name]}, {title}: {rates}")
    return f"Passkeys found at {record['target_context']:,} bytes. {'; '.join(parts)}."


def describe_differences(record: Mapping, *, to: str = "s2") -> str:
    """Describe `plot_differences` in a sentence with its numbers."""
    parts = []
    for name in TRAINED:
        if name != to:
            mean, error = _difference(record, name, to)
            seeds = ", ".join(f"{difference:+.4f}" for difference in seed_differences(record, name, to))
            parts.append(f"{NAMES[name]} {mean:+.4f}, give or take {Z * error:.4f} over windows; by seed {seeds}")
    return f"Difference to {NAMES[to]} in bits per byte at {record['target_context']:,} bytes. {'. '.join(parts)}."


def _difference(record: Mapping, mine: str, other: str) -> tuple[float, float]:
    return paired_difference(*(record["arms"][arm]["bits_per_byte_by_window"] for arm in (mine, other)))


def _positions(record: Mapping) -> dict[str, dict[str, np.ndarray]]:
    arms = {name: record["arms"][name] for name in TRAINED}
    return {
        AS_TRAINED: {n: np.array(a["as_trained"]["bits_per_byte_by_position"]) for n, a in arms.items()},
        DENSE_USE: {n: np.array(a["bits_per_byte_by_position"]) for n, a in arms.items()},
    }


def _passkeys(record: Mapping) -> dict[str, dict[str, dict[float, float]]]:
    target = str(record["target_context"])
    arms = record["arms"]

    def rates(row: Mapping) -> dict[float, float]:
        return {float(depth): cell["rate"] for depth, cell in row.items()}

    return {
        AS_TRAINED: {name: rates(arms[name]["as_trained"]["passkey_by_depth"]) for name in TRAINED},
        DENSE_USE: {name: rates(arms[name]["passkey_by_depth"][target]) for name in NAMES},
    }


show_arms_by_length = picture_of(plot_arms_by_length, describe_arms_by_length)
show_arms_by_position = picture_of(plot_arms_by_position, describe_arms_by_position)
show_positions = picture_of(plot_positions, describe_positions)
show_arms_passkeys = picture_of(plot_arms_passkeys, describe_arms_passkeys)
show_differences = picture_of(plot_differences, describe_differences)
