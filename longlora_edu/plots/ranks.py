"""The share of a matrix that a low rank keeps, and its weights beside those of embeddings and norms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from ..cost import ModelShape
from .budget import short
from .style import AFTER, INK, LOSS, SCREEN, TRAINED, Style, dress, new_axes, percent

LINES = (
    {"color": LOSS, "linestyle": "--", "marker": "o", "markerfacecolor": "white"},
    {"color": AFTER, "linestyle": "-", "marker": "s"},
    {"color": INK, "linestyle": ":", "marker": "^"},
)
MARKS = ("o", "s", "^")


def kept_energy(singular_values: Sequence[float]) -> np.ndarray:
    """float (n + 1,): the share of a matrix's squared entries that its best approximation of rank 0, 1, … n keeps.

    No matrix of that rank keeps more (Eckart and Young), so it is a bound on what LoRA could learn of a full update.

    Raises:
        ValueError: for anything but singular values, from the largest down, that are not all 0.
    """
    values = np.asarray(singular_values, dtype=float)
    if values.ndim != 1 or not len(values) or (np.diff(values) > 0).any() or values[-1] < 0 or values[0] == 0:
        raise ValueError("singular_values must be one row of numbers from the largest down, at least one above 0")
    energy = np.concatenate([[0.0], np.cumsum(values**2)])
    return energy / energy[-1]


def trained_weights(shape: ModelShape, rank: int) -> dict[str, int]:
    """Count the weights that the recipe trains: LoRA of this rank on q, k, v and o, the input embedding, the norms."""
    parameters = shape.parameters
    parts = {"LoRA on attention": shape.lora_parameters(rank)}
    return parts | {"embeddings": parameters.embedding, "norms": parameters.norm}


def plot_energy(
    spectra: Mapping[str, Sequence[float]], rank: int, *, style: Style = SCREEN, ax: Axes | None = None
) -> Axes:
    """Draw the share of each matrix that a low rank keeps, by rank, and what is kept at `rank`. Three matrices at most.

    `spectra` maps a name to singular values.

    Raises:
        ValueError: for more than three spectra, or a rank that one of them does not have.
    """
    kept = _kept(spectra, rank)
    ax = new_axes(style)[0] if ax is None else ax
    longest = max(map(len, kept.values())) - 1
    for (name, shares), look in zip(kept.items(), LINES, strict=False):
        ranks = np.arange(1, len(shares))
        ax.plot(ranks, shares[1:], **(look | {"marker": "", "linewidth": style.line}))
        line = {"linewidth": style.line, "markersize": 1.3 * style.marker, "markeredgewidth": style.line, "zorder": 3}
        ax.plot(rank, shares[rank], label=f"{name}: {percent(shares[rank])}", **look, **line)
    ax.axvline(rank, color=INK, linewidth=style.thin, zorder=1)
    ticks = [2**power for power in range(int(np.log2(longest)) + 1)]
    ax.set_xscale("log", base=2)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    shares = np.linspace(0, 1, 5)
    ax.set(xlim=(0.9, 1.1 * longest), ylim=(0, 1.45))
    ax.set_yticks(shares, [percent(share) for share in shares])
    ax.legend(fontsize=style.small, loc="upper left", framealpha=1)
    return dress(ax, style, title=f"What rank {rank} can keep of an update", x="rank", y="share of squared entries")


def plot_trained_weights(
    shapes: Mapping[str, ModelShape], rank: int, *, style: Style = SCREEN, ax: Axes | None = None
) -> Axes:
    """Plot the trained share of all weights at `rank`, part by part. At most three models.

    A logarithmic axis: equal steps to the right are equal factors.
    """
    if len(shapes) > len(MARKS):
        raise ValueError(f"shapes must be at most {len(MARKS)}, got {len(shapes)}")
    ax = new_axes(style)[0] if ax is None else ax
    look = {"linestyle": "", "markeredgecolor": INK, "color": TRAINED, "markersize": 1.7 * style.marker}
    rows = ("LoRA on attention", "embeddings", "norms", "all three")
    # A little apart, for where two models have the same share.
    lines = np.linspace(-0.14, 0.14, len(shapes)) if len(shapes) > 1 else [0.0]
    for (name, shape), mark, line in zip(shapes.items(), MARKS, lines, strict=False):
        parts = trained_weights(shape, rank)
        weights = [*parts.values(), sum(parts.values())]
        shares = np.array(weights) / (shape.parameters.total + weights[0])
        places = np.arange(len(rows)) + line
        ax.plot(shares, places, marker=mark, label=name, markeredgewidth=style.thin, zorder=3, **look)
        for place, share, count in zip(places, shares, weights, strict=True):
            beside = {"xytext": (1.3 * style.marker, 0), "textcoords": "offset points", "va": "center"}
            ax.annotate(short(count), (share, place), fontsize=style.small, color=INK, **beside)
    ax.set_xscale("log")
    ax.set(xlim=(1e-5, 10), ylim=(len(rows) - 0.4, -1.3))
    ax.xaxis.set_minor_locator(NullLocator())
    ticks = [10.0**power for power in range(-5, 1)]
    ax.set_xticks(ticks, [f"{100 * tick:g}\N{NO-BREAK SPACE}%" for tick in ticks])
    ax.set_yticks(range(len(rows)), rows)
    ax.legend(fontsize=style.small, loc="upper left", framealpha=1, ncols=len(shapes))
    return dress(ax, style, title=f"What trains at rank {rank}", x="share of all weights")


def describe_energy(spectra: Mapping[str, Sequence[float]], rank: int) -> str:
    """Describe `plot_energy` in a sentence with its numbers."""
    kept = _kept(spectra, rank)
    parts = [f"{percent(shares[rank])} of {name} ({len(shares) - 1} ranks)" for name, shares in kept.items()]
    return f"Rank {rank} can keep {', '.join(parts)}, as a share of the squared entries."


def describe_trained_weights(shapes: Mapping[str, ModelShape], rank: int) -> str:
    """Describe `plot_trained_weights` in a sentence with its numbers."""
    sentences = []
    for name, shape in shapes.items():
        parts = trained_weights(shape, rank)
        everything = shape.parameters.total + parts["LoRA on attention"]
        listed = ", ".join(f"{part} {count:,}" for part, count in parts.items())
        sentences.append(f"{name}: {listed}, together {percent(sum(parts.values()) / everything, 1)} of all weights")
    return f"Trained weights at rank {rank}. {'; '.join(sentences)}."


def _kept(spectra: Mapping[str, Sequence[float]], rank: int) -> dict[str, np.ndarray]:
    if len(spectra) > len(LINES):
        raise ValueError(f"spectra must be at most {len(LINES)}, got {len(spectra)}")
    kept = {name: kept_energy(values) for name, values in spectra.items()}
    for name, shares in kept.items():
        if not 1 <= rank < len(shares):
            raise ValueError(f"rank must be from 1 to {len(shares) - 1} for {name}, got {rank}")
    return kept
