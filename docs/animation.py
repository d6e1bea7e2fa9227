"""The README's moving picture and its still, drawn from the geometry: `python docs/animation.py`.

Eight seconds: the shift goes from 0 to 2, the layers from 1 to 7, until the last token hears the first; then the
boundary wraps as in the paper's pseudo-code, and the pairs that look at the future light up.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from longlora_edu.geometry import S2Geometry
from longlora_edu.plots import layers_needed, mask_kinds, plot_mask
from longlora_edu.plots.style import EMPTY, FUTURE, INK, PLAIN, SCREEN, SHIFTED, dress

DOCS = Path(__file__).resolve().parent
GIF, STILL = DOCS / "shift.gif", DOCS / "shift.png"
START = S2Geometry(seq_len=16, group_size=4, num_heads=2, shift=0)
LAYERS = 7  # 2r - 1 for r = 4 groups
RED = "#D00000"  # only here: a reader has two seconds to find the leak
SIZE = (7.6, 4.5)


@dataclass(frozen=True)
class Scene:
    """One picture of the film: what is drawn, for how long in milliseconds, and whether the leak is lit."""

    geometry: S2Geometry
    layers: int
    milliseconds: int
    lit: bool = False

    @property
    def caption(self) -> str:
        """The sentence above the picture; its numbers come from the geometry."""
        if self.geometry.boundary == "wrap":
            leak = self.geometry.future_pairs()
            return f"Wrapped, as in the paper's pseudo-code: {leak} pairs look at the future."
        if self.corner:
            return f"After {self.layers} layers the last token hears the first."
        if self.layers > 1:
            return f"Layers pass on what they heard: {self.layers} layers."
        if self.geometry.shift:
            return f"On half of the heads the groups begin {self.geometry.shift} later."
        return f"A token looks inside its own group of {self.geometry.group_size}. Cheap, but there are walls."

    @property
    def corner(self) -> bool:
        """Whether the last token hears the first."""
        return bool(self.geometry.reach(self.layers)[-1, 0])


def scenes() -> list[Scene]:
    """List the film's pictures, eight seconds in all."""
    shifted = replace(START, shift=START.group_size // 2)
    wrapped = replace(shifted, boundary="wrap")
    film = [Scene(START, 1, 1100), Scene(replace(START, shift=1), 1, 250), Scene(shifted, 1, 1050)]
    film += [Scene(shifted, layers, 300) for layers in range(2, LAYERS)]
    film += [Scene(shifted, LAYERS, 1500)]
    blinks = [Scene(wrapped, 1, 250, lit=bool(at % 2)) for at in range(5)]
    return [*film, *blinks, Scene(wrapped, 1, 1350, lit=True)]


def draw(scene: Scene, dpi: int = 100) -> Image.Image:
    """Draw one picture: left a head of the shifted half, right who hears whom after the layers so far."""
    figure = Figure(figsize=SIZE, dpi=dpi, facecolor="white")
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.08, right=0.985, top=0.83, bottom=0.11, wspace=0.22)
    figure.text(0.02, 0.925, scene.caption, fontsize=13, color=INK, weight="bold")
    geometry = scene.geometry
    plot_mask(geometry, geometry.num_heads - 1, style=SCREEN, ax=left)
    if left.get_legend():
        left.get_legend().remove()
    leak = mask_kinds(geometry, geometry.num_heads - 1) == 2
    for row, column in np.argwhere(leak):
        colour = RED if scene.lit else FUTURE
        left.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=colour, edgecolor=INK, zorder=4))
    left.set_title(f"Shifted heads, shift {geometry.shift}", loc="left", fontsize=11, color=INK)
    needed = layers_needed(geometry, scene.layers)
    seen = (needed > 0).astype(int)
    seen[needed == 1] = 2
    seen[np.triu_indices(geometry.seq_len, 1)] *= 3
    colours = ListedColormap([EMPTY, SHIFTED, PLAIN, RED if scene.lit else FUTURE])
    edges = np.arange(geometry.seq_len + 1) - 0.5
    right.pcolormesh(edges, edges, np.minimum(seen, 3), cmap=colours, vmin=0, vmax=3, edgecolors="white", linewidth=0.7)
    ticks = range(0, geometry.seq_len, 2)
    limits = {"xlim": (-0.5, geometry.seq_len - 0.5), "ylim": (geometry.seq_len - 0.5, -0.5)}
    right.set(aspect="equal", xticks=ticks, yticks=ticks, **limits)
    plural = "s" * (scene.layers > 1)
    dress(right, SCREEN, title=f"After {scene.layers} layer{plural}", x="token that is heard", y="", grid=False)
    last = geometry.seq_len - 1
    if geometry.boundary == "split":  # the corner that is to be filled
        right.add_patch(Rectangle((-0.5, last - 0.5), 1, 1, fill=False, edgecolor=RED, linewidth=2.5, clip_on=False))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return Image.open(buffer).convert("RGB")


def main() -> None:
    """Write the film and its still: the scene in which the corner is filled."""
    film = scenes()
    pictures = [draw(scene) for scene in film]
    palette = Image.new("RGB", (pictures[0].width, 3 * pictures[0].height))
    for at, picture in enumerate((pictures[8], *pictures[-2:])):  # between them all colours occur
        palette.paste(picture, (0, at * picture.height))
    palette = palette.quantize(64)
    frames = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    times = [scene.milliseconds for scene in film]
    frames[0].save(GIF, save_all=True, append_images=frames[1:], duration=times, loop=0, optimize=True)
    still = next(picture for scene, picture in zip(film, pictures, strict=True) if scene.corner)
    still.quantize(64).save(STILL, optimize=True)
    print(f"{GIF.name}: {sum(times) / 1000} s, {GIF.stat().st_size:,} bytes; {STILL.name}: {STILL.stat().st_size:,}")


if __name__ == "__main__":
    main()
