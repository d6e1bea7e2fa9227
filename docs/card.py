"""The picture that a link to the site shows where it is shared, drawn from the geometry: `python docs/card.py`."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from longlora_edu.geometry import S2Geometry
from longlora_edu.plots import plot_mask
from longlora_edu.plots.style import INK, PLAIN, PROJECTOR

CARD = Path(__file__).resolve().with_name("card.png")
SIZE = (1200, 630)  # what sites that show links ask for
GEOMETRY = S2Geometry(seq_len=16, group_size=4, num_heads=2)
NAME = "longlora_edu"
SAYS = "Make a small model read further on your laptop, then find out why it works."
HEADS = ("Half of the heads: groups", "The other half: shifted")


def draw() -> Image.Image:
    """Draw a head of each kind, and what the course is about; no number of a record, which would go stale."""
    figure = Figure(figsize=(SIZE[0] / 100, SIZE[1] / 100), dpi=100, facecolor="white")
    figure.add_artist(Rectangle((0, 0.975), 1, 0.025, facecolor=PLAIN, edgecolor="none"))
    figure.text(0.05, 0.84, NAME, fontsize=40, color=INK, weight="bold")
    figure.text(0.05, 0.755, SAYS, fontsize=21, color=INK)
    style = replace(PROJECTOR, text=18, small=15)
    for head, title in enumerate(HEADS):
        ax = figure.add_axes((0.05 + 0.47 * head, 0.05, 0.43, 0.58), anchor="W")
        plot_mask(GEOMETRY, head, style=style, ax=ax)
        if ax.get_legend():
            ax.get_legend().remove()
        ax.set(xlabel="", ylabel="", xticks=(), yticks=())
        ax.set_title(title, fontsize=20, color=INK, loc="left", pad=12)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return Image.open(buffer).convert("RGB")


def main() -> None:
    """Write the picture."""
    draw().quantize(64).save(CARD, optimize=True)
    print(f"{CARD.name}: {CARD.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
