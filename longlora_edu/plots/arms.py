"""Arms of one experiment that differ in the attention of training only: bits per byte by position, and paired.

`record` is `training_attention.json`; an arm is one of `record["arms"]`. `short`, `s2` and `full` were trained,
`yarn` only had its positions stretched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from .curves import running_mean
from .picture import picture_of
from .style import (
    DENSE,
    INK,
    LOSS,
    PLAIN,
    SCREEN,
    SHIFTED,
    Style,
    dress,
    new_axes,
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


def plot_positions(
    record: Mapping, names: Sequence[str], mode: str, *, width: int = 4, style: Style = SCREEN, ax: Axes | None = None
) -> Axes:
    """Draw bits per byte by position in long windows, of some arms: a running mean over `width` values.

    `mode`, one of `MODES`, is the attention that they were measured with; dotted lines are borders of groups.

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


def borders(record: Mapping) -> list[int]:
    """List the positions, in bytes, at which groups end inside the target."""
    group = record["arms"]["s2"]["pattern"]["group_size"]
    return list(range(group, record["target_context"], group))


def describe_positions(record: Mapping, names: Sequence[str], mode: str) -> str:
    """Describe `plot_positions` in a sentence with its numbers."""
    parts = []
    for name in names:
        bits, every = _positions(record)[mode][name], record["arms"][name]["positions_in_each_mean"]
        after = np.mean([bits[border // every] for border in borders(record)])
        before = np.mean([bits[border // every - 1] for border in borders(record)])
        parts.append(f"{NAMES[name]} {before:.2f} just before a border of groups and {after:.2f} just after")
    return f"Bits per byte by position, attention {mode}: {'; '.join(parts)}."


def _positions(record: Mapping) -> dict[str, dict[str, np.ndarray]]:
    arms = {name: record["arms"][name] for name in TRAINED}
    return {
        AS_TRAINED: {n: np.array(a["as_trained"]["bits_per_byte_by_position"]) for n, a in arms.items()},
        DENSE_USE: {n: np.array(a["bits_per_byte_by_position"]) for n, a in arms.items()},
    }


show_positions = picture_of(plot_positions, describe_positions)
