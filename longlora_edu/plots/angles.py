"""The effect of a position rule on each pair of rotated features: length of a turn, and angles that are new."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from ..rope import Rope
from .rotary import RULE_LOOKS, RULE_NAMES
from .style import INK, SCREEN, Style, dress, new_axes


@dataclass(frozen=True)
class PairAngles:
    """Each array is (d/2,), one value a pair of features, the fastest first.

    - `trained`, `stretched`: wavelengths, the tokens that one full turn takes, before and under the rule.
    - `turned`: has the pair turned full circle within the trained length, so that no angle is new to it?
    - `near`: the angle between neighbouring tokens, over the one of training. Below 1 they are squeezed.
    - `far`: the angle over the whole target length, over the one that training saw. Above 1 it is extrapolated.
    - `unseen`: does the pair meet angles that it never had in training? Extrapolated, and never turned full circle.
    """

    trained: np.ndarray
    stretched: np.ndarray
    turned: np.ndarray
    near: np.ndarray
    far: np.ndarray
    unseen: np.ndarray


def pair_angles(rope: Rope, target_length: int) -> PairAngles:
    """Compute the effect of `rope` on the pairs of a model trained without it, at `target_length` tokens.

    `far` is always `near` times target over trained length: a rule can only choose, pair by pair, which of the
    two it leaves as trained.

    Raises:
        ValueError: for a rope that does not state its trained length, or a target below it.
    """
    if rope.trained_length is None:
        raise ValueError("rope must state its trained_length, got None")
    if target_length < rope.trained_length:
        raise ValueError(
            f"target_length must be at least the trained length {rope.trained_length}, got {target_length}"
        )
    before, after = Rope(rope.head_dim, rope.base).frequencies(), rope.frequencies(target_length)
    near = after / before
    far = near * target_length / rope.trained_length
    trained = 2 * math.pi / before
    turned = trained <= rope.trained_length
    # A rule that asks for exactly the trained angle must not miss it by a rounding error.
    return PairAngles(trained, 2 * math.pi / after, turned, near, far, ~turned & (far > 1 + 1e-9))


def plot_wavelengths(rope: Rope, target_length: int, *, style: Style = SCREEN, ax: Axes | None = None) -> Axes:
    """Plot the tokens that a full turn takes, pair by pair, as trained and under the rule.

    On the grey ground lie the pairs that never turned full circle in training.
    """
    angles = pair_angles(rope, target_length)
    ax = new_axes(style)[0] if ax is None else ax
    top = 10 ** math.ceil(math.log10(max(angles.stretched.max(), target_length)) + 0.2)
    ax.axhspan(rope.trained_length, top, color=INK, alpha=0.07, linewidth=0, zorder=0)
    for length, dash, name in ((rope.trained_length, ":", "trained length"), (target_length, "-.", "target length")):
        ax.axhline(length, color=INK, linestyle=dash, linewidth=style.line, label=f"{name} {length:,}", zorder=1)
    count = len(angles.trained)
    if rope.method != "default":
        ax.plot(angles.stretched, label=RULE_NAMES[rope.method], **(_sizes(style, count) | RULE_LOOKS[rope.method]))
    ax.plot(angles.trained, label="default, as trained", **(_sizes(style, count) | RULE_LOOKS["default"]))
    ticks = [10**power for power in range(1, round(math.log10(top)) + 1)]
    ax.set(yscale="log", ylim=(2 * math.pi / 1.5, top))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_yticks(ticks, [f"{tick:,}" if tick < 1_000_000 else f"{tick // 1_000_000:,}M" for tick in ticks])
    ax.legend(fontsize=style.small, loc="upper left", framealpha=1)
    title = f"Pairs that turned full circle in training: {np.count_nonzero(angles.turned)} of {count}"
    return _dress_pairs(ax, count, style, title, "tokens for one turn")


def plot_angles(rope: Rope, target_length: int, *, style: Style = SCREEN, ax: Axes | None = None) -> Axes:
    """Plot the angle under the rule divided by that of training, pair by pair: 1 is as trained. Returns the axes.

    One line is the angle between neighbours, the other that over the target length, divided by that over the trained
    length; crosses mark pairs with angles never seen.
    """
    angles = pair_angles(rope, target_length)
    ax = new_axes(style)[0] if ax is None else ax
    pairs = np.arange(len(angles.near))
    colour = {"color": RULE_LOOKS[rope.method]["color"]}
    ax.axhline(1, color=INK, linestyle=":", linewidth=style.line, zorder=1)
    look = _sizes(style, len(pairs)) | colour
    ax.plot(pairs, angles.far, label="far: over the whole length", marker="^", **look)
    hollow = {"linestyle": "--", "marker": "v", "markerfacecolor": "white"}
    ax.plot(pairs, angles.near, label="near: between neighbours", **hollow, **look)
    unseen = {"linestyle": "", "marker": "x", "color": INK, "markersize": 1.6 * style.marker}
    unseen["markeredgewidth"] = style.thin
    ax.plot(pairs[angles.unseen], angles.far[angles.unseen], label="never seen in training", zorder=4, **unseen)
    low, high = math.floor(math.log2(angles.near.min()) + 1e-9), math.ceil(math.log2(angles.far.max()) - 1e-9)
    ax.set_yscale("log", base=2)
    ax.set_ylim(2.0 ** (low - 0.5), 2.0 ** (high + 0.5 + 0.45 * max(high - low, 2)))
    ax.yaxis.set_minor_locator(NullLocator())
    powers = range(low, high + 1, max(1, (high - low) // 6))
    ax.set_yticks([2.0**p for p in powers], [f"{2**p}" if p >= 0 else f"1/{2**-p}" for p in powers])
    ax.legend(fontsize=style.small, loc="upper right", framealpha=1)
    title = f"Pairs that meet angles never seen: {np.count_nonzero(angles.unseen)} of {len(pairs)}"
    return _dress_pairs(ax, len(pairs), style, title, "angle over that of training")


def describe_wavelengths(rope: Rope, target_length: int) -> str:
    """Describe `plot_wavelengths` in a sentence with its numbers."""
    angles = pair_angles(rope, target_length)
    stretched = f", and in {angles.stretched[0]:,.0f} to {angles.stretched[-1]:,.0f} under {RULE_NAMES[rope.method]}"
    return (
        f"{len(angles.turned)} pairs of features turn once in {angles.trained[0]:,.0f} to {angles.trained[-1]:,.0f} "
        f"tokens as trained{stretched if rope.method != 'default' else ''}; {np.count_nonzero(angles.turned)} of them "
        f"turned full circle within the trained length of {rope.trained_length:,}. Target: {target_length:,}."
    )


def describe_angles(rope: Rope, target_length: int) -> str:
    """Describe `plot_angles` in a sentence with its numbers."""
    angles = pair_angles(rope, target_length)
    louder = f"; scores are multiplied by {rope.attention_factor**2:.3g}" if rope.attention_factor != 1 else ""
    return (
        f"Under {RULE_NAMES[rope.method]} the angle between neighbours is {_span(angles.near)} times that of training, "
        f"and the angle over {target_length:,} tokens {_span(angles.far)} times that over {rope.trained_length:,}; "
        f"{np.count_nonzero(angles.unseen)} of {len(angles.unseen)} pairs meet angles never seen in training{louder}."
    )


def _dress_pairs(ax: Axes, count: int, style: Style, title: str, y: str) -> Axes:
    ax.set(xlim=(-0.5, count - 0.5), xticks=range(0, count, count // 8 or 1))
    return dress(ax, style, title=title, x="pair of features (0 turns fastest)", y=y)


def _sizes(style: Style, count: int) -> dict:
    every = max(1, count // 32)
    return {"linewidth": style.line, "markersize": 0.8 * style.marker, "markevery": every, "zorder": 3}


def _span(values: np.ndarray) -> str:
    low, high = f"{values.min():.3g}", f"{values.max():.3g}"
    return low if low == high else f"{low} to {high}"
