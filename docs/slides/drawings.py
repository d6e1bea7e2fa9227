"""The pictures of the slides, by name, in the sizes of a projector: each returns a `Picture` with its sentence."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from longlora_edu import plots
from longlora_edu.cost import ModelShape, training_flops
from longlora_edu.geometry import S2Geometry
from longlora_edu.plots import DENSE, EMPTY, FUTURE, FUTURE_HATCH, INK, PLAIN, PROJECTOR, SHIFTED, Picture
from longlora_edu.runs.records import recorded

SENTENCE = "The dog that chased the cat all afternoon was tired, so it"
# Inches at 100 dots each, on a slide of 1280 × 720 with a title above and two lines below.
WIDE, HIGH = 11.6, 4.4


def picture(name: str) -> Picture:
    """Draw a picture by its name.

    Raises:
        ValueError: for a name that is not in `PICTURES`.
    """
    if name not in PICTURES:
        raise ValueError(f"a picture must be one of {', '.join(PICTURES)}, got {name!r}")
    return PICTURES[name]()


def looking_back() -> Picture:
    """The sentence in a row, and one look of its last word at each word before it."""
    words = SENTENCE.split()
    last, dog = len(words) - 1, words.index("dog")
    ax = _sheet()
    width = WIDE / len(words)
    for at, word in enumerate(words):
        ax.text((at + 0.5) * width, 0.55, word.rstrip(","), ha="center", fontsize=17, color=INK)
        if at == last:
            continue
        bold = at == dog
        arrow = FancyArrowPatch(
            ((last + 0.5) * width, 0.95),
            ((at + 0.5) * width, 0.95),
            connectionstyle=f"arc3,rad={0.16 + 0.022 * (last - at):.3f}",
            arrowstyle="-|>",
            mutation_scale=24 if bold else 14,
            linewidth=5 if bold else 1.8,
            color=PLAIN if bold else DENSE,
        )
        ax.add_patch(arrow)
    ax.text(
        WIDE / 2, 0.05, "one look for each word before it; the look at “dog” says who slept", ha="center", fontsize=20
    )
    return Picture(ax, f"The word “it” looks back at each of the {last} words before it; the look at “dog” is thick.")


def draw_it() -> Picture:
    """An empty grid of six words, for a class to fill in."""
    words = ["The", "dog", "ran", "and", "then", "sat"]
    n, ax = len(words), _row(1)[0]
    ax.set(xlim=(0, n), ylim=(n, 0), aspect="equal", xticks=np.arange(n) + 0.5, yticks=np.arange(n) + 0.5)
    ax.set_xticklabels(words, fontsize=20)
    ax.set_yticklabels(words, fontsize=20)
    ax.tick_params(length=0, labeltop=True, labelbottom=False)
    for at in range(n + 1):
        ax.axhline(at, color=INK, linewidth=2)
        ax.axvline(at, color=INK, linewidth=2)
    return Picture(ax, f"An empty grid with the words {', '.join(words)} along both sides.")


def twice_the_text() -> Picture:
    """Two triangles: the looks in a text, and in one twice as long, on the same scale."""
    small, large = (S2Geometry(n, n, 2, shift=0) for n in (12, 24))
    figure = Figure(figsize=(WIDE, HIGH))
    side = 3.8  # inches of the larger one
    places = ((1.6, side / 2), (6.2, side))
    axes = np.array([figure.add_axes((x / WIDE, 0.3 / HIGH, wide / WIDE, wide / HIGH)) for x, wide in places])
    for ax, geometry in zip(axes, (small, large), strict=True):
        n = geometry.seq_len
        plots.plot_mask(geometry, 0, style=PROJECTOR, ax=ax)
        ax.set_title(f"{n} words: {geometry.pairs() // 2} looks", loc="left", fontsize=20)
        ax.set(xlabel="", ylabel="", xticks=[], yticks=[])
    return Picture(axes, "A triangle of 78 looks for 12 words, and one of 300 looks for 24 words.")


def groups() -> Picture:
    """All looks, and those that are left inside groups of four."""
    n = len(SENTENCE.split())
    return _masks(
        [(S2Geometry(n, n, 2, shift=0), 0, "full attention"), (S2Geometry(n, 4, 2, shift=0), 0, "groups of 4")]
    )


def heads() -> Picture:
    """A plain head and a shifted one over the sentence."""
    geometry = S2Geometry(len(SENTENCE.split()), 4, 2)
    return _masks([(geometry, 0, "plain: half of the heads"), (geometry, 1, "shifted: the other half")])


def relay() -> Picture:
    """The way back from the last token to the first, hop by hop."""
    geometry = S2Geometry(16, 4, 2)
    ax = plots.plot_hops(geometry, style=PROJECTOR, ax=_sheet(axis=True))
    return Picture(ax, plots.describe_hops(geometry))


def ends() -> Picture:
    """The three rules for the ends of a shifted head."""
    geometries = [S2Geometry(8, 4, 2, boundary=boundary) for boundary in ("split", "wrap", "masked")]
    axes = plots.plot_boundaries(geometries, style=PROJECTOR, axes=_row(3))
    return Picture(axes, plots.describe_boundaries(geometries))


def full_again() -> Picture:
    """A plain head, a shifted head, and the same head in use."""
    geometry = S2Geometry(12, 4, 2)
    full = S2Geometry(12, 12, 2, shift=0)
    return _masks(
        [(geometry, 0, "training: plain"), (geometry, 1, "training: shifted"), (full, 0, "in use: all heads")]
    )


def trained_parts() -> Picture:
    """The share of the weights that learn, in the demo's record."""
    recipe = recorded("demo")["recipe"]
    return Picture(
        plots.plot_trainable(recipe, style=PROJECTOR, ax=_sheet(axis=True, high=2.6)), plots.describe_trainable(recipe)
    )


def positions() -> Picture:
    """Two rulers: the positions of a long text as they are, and stretched into the range that the base knows."""
    demo = recorded("demo")
    own, target = demo["model"]["trained_context"], demo["target_context"]
    ax = _sheet(high=3.4)
    scale = (WIDE - 0.4) / target
    rows = ((2.3, target, "as they are"), (0.75, own, "stretched: the far ones share the known range"))
    for y, length, title in rows:
        known = min(own, length)
        ax.add_patch(Rectangle((0.2, y), known * scale, 0.45, facecolor=PLAIN, edgecolor=INK, linewidth=2))
        if length > own:
            rest = Rectangle((0.2 + own * scale, y), (length - own) * scale, 0.45, facecolor=FUTURE, edgecolor=INK)
            rest.set(hatch=FUTURE_HATCH, linewidth=2)
            ax.add_patch(rest)
            ax.text(0.2 + own * scale + 0.1, y - 0.36, "never met in training", fontsize=18, color=INK)
        ax.text(0.2, y - 0.36, f"known: 0 to {own - 1:,}", fontsize=18, color=INK)
        ax.text(0.2, y + 0.56, f"Positions of {target:,} bytes, {title}", fontsize=20, color=INK)
    return Picture(
        ax, f"Of {target:,} positions the base knows the first {own}; stretched, all lie among those it knows."
    )


def bits() -> Picture:
    """Bits per byte by length: the base, stretched positions, after training."""
    demo = recorded("demo")
    steps = {when: demo[when]["bits_per_byte"] for when in ("before", "stretched", "after")}
    steps["trained_context"] = demo["model"]["trained_context"]
    ax = plots.plot_bits_by_length(**steps, style=PROJECTOR, ax=_sheet(axis=True))
    own = demo["own_window"]["bits_per_byte"][str(steps["trained_context"])]
    ax.axhline(own, color=INK, linewidth=2.4, linestyle=(0, (1, 2)))
    ax.annotate("the base with its own window", (0.25, own), (0, 18), xycoords=("axes fraction", "data"),
                textcoords="offset points", fontsize=16, color=INK)  # fmt: skip
    alt = plots.describe_bits_by_length(**steps)
    return Picture(ax, f"{alt} The base with its own window: {own:.2f}.")


def references() -> Picture:
    """Named references found, by distance: stretched alone, without a shift, with S², with full attention."""
    demo = recorded("demo")
    arms = demo["arms"]
    steps = {"stretched": demo["stretched"], "short": arms["short"], "after": demo["after"], "full": arms["full"]}
    found = {name: step["references"] for name, step in steps.items()}
    return Picture(
        plots.plot_references(found, style=PROJECTOR, ax=_sheet(axis=True)), plots.describe_references(found)
    )


def step_bars() -> Picture:
    """The FLOPs of a training step with causal kernels: attention, and everything else, full and S²."""
    llama = ModelShape.llama2_7b()
    counted = {
        "full": training_flops(llama, 8192, rank=8, causal=True),
        "S²": training_flops(llama, 8192, S2Geometry(8192, 2048, llama.heads), rank=8, causal=True),
    }
    whole = counted["full"].total
    ax = _sheet(high=2.8)
    said = []
    for y, (name, flops) in zip((1.6, 0.4), counted.items(), strict=True):
        share, rest = flops.attention_share * flops.total / whole, (1 - flops.attention_share) * flops.total / whole
        long = WIDE - 1.0
        ax.text(0.75, y + 0.3, name, ha="right", fontsize=22, color=INK)
        ax.add_patch(Rectangle((0.9, y), share * long, 0.7, facecolor=SHIFTED, edgecolor=INK, linewidth=2))
        ax.add_patch(Rectangle((0.9 + share * long, y), rest * long, 0.7, facecolor=EMPTY, edgecolor=INK, linewidth=2))
        ax.text(0.9 + (share + rest / 2) * long, y + 0.25, "everything else", ha="center", fontsize=20, color=INK)
        said.append(f"{name}: attention {100 * share:.0f}, everything else {100 * rest:.0f}")
    ax.text(1.0, 2.45, "attention", fontsize=20, color=INK)
    return Picture(ax, "FLOPs of a training step, of 100 with full attention: " + "; ".join(said) + ".")


PICTURES = {
    made.__name__: made
    for made in (
        looking_back, draw_it, twice_the_text, groups, heads, relay, ends, full_again, trained_parts, positions, bits,
        references, step_bars,
    )
}  # fmt: skip


def _sheet(*, axis: bool = False, high: float = HIGH) -> Axes:
    """One pair of axes on a sheet that a slide has room for; a tenth of an inch is 0.1 where nothing is measured."""
    figure = Figure(figsize=(WIDE, high), layout="constrained")
    ax = figure.subplots()
    if not axis:
        ax.set(xlim=(0, WIDE), ylim=(0, high))
        ax.set_axis_off()
    return ax


def _row(count: int) -> np.ndarray:
    return Figure(figsize=(WIDE, HIGH), layout="constrained").subplots(1, count, squeeze=False)[0]


def _masks(shown: list[tuple[S2Geometry, int, str]]) -> Picture:
    axes = _row(len(shown))
    said = []
    for ax, (geometry, head, title) in zip(axes, shown, strict=True):
        plots.plot_mask(geometry, head, style=PROJECTOR, ax=ax)
        looks = int(geometry.mask()[head].sum())
        ax.set_title(f"{title}\n{looks} looks", loc="left", fontsize=20)
        ax.set(xlabel="", ylabel="")
        said.append(f"{title}, {looks} looks")
    return Picture(axes, f"Masks over {shown[0][0].seq_len} words: {'; '.join(said)}.")
