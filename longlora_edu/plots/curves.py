"""Bits per byte before and after, by context length and by position; and the training loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from .picture import picture_of
from .style import AFTER, BEFORE, INK, LOSS, PASSKEY, REFERENCE, SCREEN, STRETCHED, TEXT, Style, dress, new_axes

BITS_PER_NAT = 1 / math.log(2)
GUESSED_DIGIT = math.log2(10)
LINES = {
    "before": {"color": BEFORE, "linestyle": "--", "marker": "o", "markerfacecolor": "white"},
    "stretched": {"color": STRETCHED, "linestyle": ":", "marker": "^"},
    "after": {"color": AFTER, "linestyle": "-", "marker": "s"},
}


def by_length(scores: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """Lengths, int (l,), rising, and their scores, float (l,). Keys may be text, as JSON leaves them.

    Raises:
        ValueError: for a mapping without a length.
    """
    ordered = sorted((int(length), float(score)) for length, score in scores.items())
    if not ordered:
        raise ValueError("scores must hold at least one length, got none")
    return tuple(np.array(column) for column in zip(*ordered, strict=True))


def running_mean(values: Sequence[float], width: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean over each `width` neighbours, (n - width + 1,), after the index in their middle: no padding at the ends.

    Raises:
        ValueError: when `width` is not from 1 to the number of values.
    """
    values = np.asarray(values, dtype=float)
    if not 1 <= width <= len(values):
        raise ValueError(f"width must be from 1 to the number of values, {len(values)}, got {width}")
    sums = np.cumsum(np.concatenate([[0.0], values]))
    return np.arange(len(values) - width + 1) + (width - 1) / 2, (sums[width:] - sums[:-width]) / width


def means_between(values: Sequence[float], positions: Sequence[int]) -> dict[tuple[int, int], float]:
    """Return {(a, b): mean over a < p <= b} for neighbouring `positions` a, b; stretches without values are left out.

    `values[p - 1]` belongs to position p = 1, 2, …
    """
    values = np.asarray(values, dtype=float)
    stretches = zip(positions[:-1], positions[1:], strict=True)
    return {(a, b): float(values[a:b].mean()) for a, b in stretches if len(values[a:b])}


def loss_series(curve: Sequence[Mapping]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return steps and bits of `"loss"`, `"text"`, `"passkey"` and `"reference"`, where they were measured.

    Raises:
        ValueError: for an empty curve.
    """
    if not curve:
        raise ValueError("curve must hold at least one step, got none")
    fields = {
        "loss": ("loss", BITS_PER_NAT),
        "text": ("bits_per_byte", 1),
        "passkey": ("passkey_nats", BITS_PER_NAT),
        "reference": ("reference_nats", BITS_PER_NAT),
    }
    series = {}
    for name, (field, scale) in fields.items():
        measured = [(point["step"], point[field] * scale) for point in curve if point.get(field) is not None]
        if measured:
            series[name] = tuple(np.array(column) for column in zip(*measured, strict=True))
    return series


def plot_bits_by_length(
    before: Mapping,
    after: Mapping,
    *,
    stretched: Mapping | None = None,
    trained_context: int,
    style: Style = SCREEN,
    ax: Axes | None = None,
) -> Axes:
    """Draw bits per byte of the same bytes, given more and more context: does it help, or break the model?

    `before`, `stretched` (positions stretched, nothing trained) and `after` map a length (a number, or its text) to
    bits per byte.
    """
    ax = new_axes(style)[0] if ax is None else ax
    steps = _given(before, stretched, after)
    curves = {name: by_length(scores) for name, scores in steps.items()}
    for name, (lengths, bits) in curves.items():
        line = LINES[name] | {"linewidth": style.line, "markersize": style.marker, "markeredgewidth": style.line}
        ax.plot(lengths, bits, label=name, zorder=3, **line)
    highest = max(curves, key=lambda name: curves[name][1][-1])
    for name, (lengths, bits) in curves.items():
        if name == "stretched":
            continue  # its end lies too near that after training for two numbers
        offset = (0, style.marker) if name == highest else (0, -style.marker - style.small)
        place = {"xytext": offset, "textcoords": "offset points", "ha": "center"}
        ax.annotate(f"{bits[-1]:.2f}", (lengths[-1], bits[-1]), fontsize=style.small, color=INK, **place)
    ticks = sorted({*curves["before"][0], *curves["after"][0]})
    ax.set_xscale("log", base=2)
    ax.set(xticks=ticks, ylim=(0, 1.12 * max(bits.max() for _, bits in curves.values())))
    ax.margins(x=0.08)
    ax.xaxis.set_minor_locator(NullLocator())
    _mark_trained(ax, trained_context, style)
    return dress(ax, style, x="context (bytes)", y="bits per byte")


def plot_bits_by_position(
    before: Sequence[float],
    after: Sequence[float],
    *,
    stretched: Sequence[float] | None = None,
    trained_context: int,
    width: int = 64,
    style: Style = SCREEN,
    ax: Axes | None = None,
) -> Axes:
    """Draw bits per byte at each position of long windows, as a running mean over `width` positions.

    The first value belongs to position 1, the first byte that has one before it.
    """
    ax = new_axes(style)[0] if ax is None else ax
    top = 0.0
    for name, values in _given(before, stretched, after).items():
        centres, means = running_mean(values, min(width, len(values)))
        line = {"color": LINES[name]["color"], "linestyle": LINES[name]["linestyle"], "linewidth": style.line}
        ax.plot(centres + 1, means, label=name, **line)
        top = max(top, means.max())
    ax.set(xlim=(0, len(before) + 1), ylim=(0, 1.12 * top))
    _mark_trained(ax, trained_context, style)
    y = f"bits per byte\n(running mean over {min(width, len(before))})"
    return dress(ax, style, x="position in the window (bytes)", y=y)


def plot_loss(curve: Sequence[Mapping], *, style: Style = SCREEN, ax: Axes | None = None) -> Axes:
    """Plot the training loss, step by step, in bits: text and digits asked for apart, the weighted loss behind them.

    `curve` is a list of mappings with `step`, `loss` (nats), and where measured `bits_per_byte`, `passkey_nats` and
    `reference_nats`.
    """
    series = loss_series(curve)
    ax = new_axes(style)[0] if ax is None else ax
    looks = {
        "loss": ("loss, weighted mean", {"color": LOSS, "linewidth": 2 * style.line}),
        "text": ("text, per byte", {"color": TEXT, "linewidth": style.line}),
        # Each mark is the mean of the few windows of a step that carry a key: a line between them would be noise.
        "passkey": (
            "passkey, per digit",
            {"color": PASSKEY, "linestyle": "", "marker": "D", "markersize": style.marker / 2},
        ),
        "reference": (
            "reference, per digit",
            {"color": REFERENCE, "linestyle": "", "marker": "o", "markersize": style.marker / 2},
        ),
    }
    for name, (steps, bits) in series.items():
        label, look = looks[name]
        ax.plot(steps, bits, label=label, **look)
    digits = "passkey" in series or "reference" in series
    if digits:
        ax.axhline(GUESSED_DIGIT, color=PASSKEY, linewidth=style.thin, linestyle="--", label="a guessed digit")
    ax.set_ylim(0, 1.12 * max([bits.max() for _, bits in series.values()] + [GUESSED_DIGIT] * digits))
    ax.legend(fontsize=style.small, frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)
    return dress(ax, style, x="step", y="bits")


def describe_bits_by_length(
    before: Mapping, after: Mapping, *, stretched: Mapping | None = None, trained_context: int
) -> str:
    """Describe `plot_bits_by_length` in a sentence with its numbers."""
    parts = []
    for name, scores in _given(before, stretched, after).items():
        values = (f"{bits:.2f} at {length:,}" for length, bits in zip(*by_length(scores), strict=True))
        parts.append(f"{name.capitalize()}: {', '.join(values)}.")
    return f"Bits per byte by context length in bytes, trained context {trained_context:,}. {' '.join(parts)}"


def describe_bits_by_position(
    before: Sequence[float], after: Sequence[float], *, stretched: Sequence[float] | None = None, trained_context: int
) -> str:
    """Describe `plot_bits_by_position` in a sentence with its numbers."""
    positions = (0, trained_context, max(len(before), trained_context))
    means = {name: means_between(values, positions) for name, values in _given(before, stretched, after).items()}
    parts = [
        f"{', '.join(f'{mean[a, b]:.2f} {name}' for name, mean in means.items())} over positions {a + 1:,} to {b:,}"
        for a, b in means["before"]
    ]
    return f"Bits per byte by position, trained context {trained_context:,} bytes: {'; '.join(parts)}."


def describe_loss(curve: Sequence[Mapping]) -> str:
    """Describe `plot_loss` in a sentence with its numbers."""
    names = {
        "text": "text, per byte",
        "passkey": "passkey digits, each",
        "reference": "reference digits, each",
        "loss": "the weighted loss",
    }
    parts = []
    for name, (_, bits) in loss_series(curve).items():
        count = max(1, len(bits) // 10)
        parts.append(f"{names[name]}: {bits[:count].mean():.2f} at first, {bits[-count:].mean():.2f} in the end")
    return f"Bits over {curve[-1]['step']:,} steps (means of a tenth of them). {'; '.join(parts).capitalize()}."


def _given(before, stretched, after) -> dict:
    """Map the name of each measured step (before, stretched, after) to its numbers; leave out those that are None."""
    return {name: step for name, step in zip(LINES, (before, stretched, after), strict=True) if step is not None}


def _mark_trained(ax: Axes, trained_context: int, style: Style) -> None:
    label = f"trained context: {trained_context:,}"
    ax.axvline(trained_context, color=INK, linestyle=":", linewidth=style.line, label=label, zorder=1)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda length, _: f"{length:,.0f}"))
    ax.legend(fontsize=style.small, framealpha=0.9, loc="best")


show_bits_by_length = picture_of(plot_bits_by_length, describe_bits_by_length)
show_loss = picture_of(plot_loss, describe_loss)
