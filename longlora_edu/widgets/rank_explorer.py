"""The explorer of ranks: how much of a full update a low rank could keep, and what it costs beside the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import ipywidgets
import numpy as np

from ..plots import SCREEN, Style, describe_energy, describe_trained_weights, plot_energy, plot_trained_weights
from ..runs.records import read_json
from .canvas import Canvas
from .display import Picture
from .panel import Panel
from .shapes import ASSETS, known_shapes

EMBEDDINGS = "embed_tokens"


def recorded_updates() -> dict[str, list[float]]:
    """Singular values of what full fine-tuning added to each matrix of the small model, from the record.

    From 256 to 2,048 bytes, all weights; `benchmarks/update_spectra.py` makes it again.
    """
    return read_json(ASSETS / "results" / "update_spectra.json")["singular_values"]


@cache
def random_spectrum(rows: int, columns: int) -> np.ndarray:
    """Singular values of a matrix of independent normal numbers: as far from low rank as a matrix gets."""
    numbers = np.random.default_rng(0).standard_normal((rows, columns))
    return np.linalg.svd(numbers, compute_uv=False)


def rank_view(
    matrix: str, rank: int, *, updates: Mapping[str, Sequence[float]], canvas: Canvas, style: Style
) -> Picture:
    """Show the share of an update that `rank` keeps, beside random numbers and embeddings, and what trains then."""
    size = len(updates[matrix])
    spectra = {"random numbers": random_spectrum(size, size), f"update of {matrix}": updates[matrix]}
    if matrix != EMBEDDINGS and EMBEDDINGS in updates:
        spectra[f"update of {EMBEDDINGS}"] = updates[EMBEDDINGS]
    shapes = known_shapes()

    def draw(left, right):
        plot_energy(spectra, rank, style=style, ax=left)
        plot_trained_weights(shapes, rank, style=style, ax=right)

    return canvas.picture(draw, f"{describe_energy(spectra, rank)} {describe_trained_weights(shapes, rank)}")


def rank_explorer(
    updates: Mapping[str, Sequence[float]] | None = None, *, rank: int = 8, style: Style = SCREEN
) -> Panel:
    """A panel of LoRA ranks: `rank_explorer().show()`.

    `updates` maps the name of a matrix to the singular values of its full update, from the largest down; without,
    those of `recorded_updates`. `controls` are matrix and rank.

    Raises:
        ValueError: without an update.
    """
    updates = dict(recorded_updates() if updates is None else updates)
    if not updates:
        raise ValueError("updates must hold at least one matrix, got none")
    canvas = Canvas(style, 2, width=1.8)
    highest = min(128, *(len(values) for values in updates.values()))
    controls = {
        "matrix": ipywidgets.Dropdown(
            options=list(updates), value="layer 2, q_proj" if "layer 2, q_proj" in updates else next(iter(updates)),
            description="Matrix",
        ),
        "rank": ipywidgets.IntSlider(value=min(rank, highest), min=1, max=highest, description="Rank"),
    }  # fmt: skip
    return Panel(lambda **values: rank_view(**values, updates=updates, canvas=canvas, style=style), controls)
