"""The pictures of the slides, by name, in the sizes of a projector: each returns a `Picture` with its sentence."""

from __future__ import annotations

import numpy as np
from figures import LLAMA_RANK, figures, trained_shares
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle

from longlora_edu import plots
from longlora_edu.cost import ModelShape, training_flops
from longlora_edu.geometry import S2Geometry
from longlora_edu.plots import (
    DENSE,
    EMPTY,
    FROZEN,
    FUTURE,
    FUTURE_HATCH,
    INK,
    PLAIN,
    PROJECTOR,
    SHIFTED,
    TRAINED,
    Picture,
)
from longlora_edu.plots.style import TRAINED_HATCH
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


def long_text() -> Picture:
    """A long text as pages of lines, the last of them framed: as much as the base was trained to read."""
    own, target = _lengths()
    pages, ax = target // own, _sheet(high=2.9)
    width, top, lines = WIDE / pages, 2.25, 11
    for page in range(pages):
        left, last = page * width + 0.25, page == pages - 1
        for line in range(lines):
            long = (width - 0.5) * (1, 0.7, 0.9, 0.45, 0.8)[(line + 2 * page) % 5]  # ragged, as code is
            y = top - 0.14 - 0.17 * line
            ax.plot([left, left + long], [y, y], color=PLAIN if last else FROZEN, linewidth=5, solid_capstyle="butt")
    frame = Rectangle(((pages - 1) * width + 0.1, top - 0.17 * lines - 0.08), width - 0.2, 0.17 * lines + 0.12)
    frame.set(fill=False, edgecolor=INK, linewidth=4)
    ax.add_patch(frame)
    ax.text(WIDE - 0.1, top + 0.2, f"trained to read {own:,} bytes", ha="right", fontsize=20, color=INK)
    ax.text(0.25, top + 0.2, f"the text: {target:,} bytes", fontsize=20, color=INK)
    return Picture(ax, f"A text of {target:,} bytes in {pages} parts. A frame holds the last part, {own:,} bytes.")


def looking_back() -> Picture:
    """The sentence in a row, and one look of its last word at each word before it."""
    words = SENTENCE.split()
    last, dog = len(words) - 1, words.index("dog")
    ax = _sheet()
    width = WIDE / len(words)
    for at, word in enumerate(words):
        ax.text((at + 0.5) * width, 0.75, word.rstrip(","), ha="center", fontsize=17, color=INK)
        if at == last:
            continue
        bold = at == dog
        arrow = FancyArrowPatch(
            ((last + 0.5) * width, 1.15),
            ((at + 0.5) * width, 1.15),
            connectionstyle=f"arc3,rad={0.16 + 0.034 * (last - at):.3f}",
            arrowstyle="-|>",
            mutation_scale=24 if bold else 14,
            linewidth=5 if bold else 1.8,
            color=PLAIN if bold else DENSE,
        )
        ax.add_patch(arrow)
    said = "each arrow is a look; the thick one says who slept"
    ax.text(WIDE / 2, 0.15, said, ha="center", fontsize=20, color=INK)
    alt = f"The word “it” looks back at each of the {last} words before it; the look at “dog” is thick."
    return Picture(ax, alt)


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
    words = [word.rstrip(",") for word in SENTENCE.split()]
    n, dog = len(words), words.index("dog")
    axes, alt = _masks(
        [(S2Geometry(n, n, 2, shift=0), 0, "full attention"), (S2Geometry(n, 4, 2, shift=0), 0, "groups of 4")]
    )
    for ax in axes:
        ax.add_patch(Circle((dog, n - 1), 0.62, fill=False, edgecolor=SHIFTED, linewidth=5, clip_on=False))
        ax.text(n - 0.2, n - 1, "← “it”", va="center", fontsize=18, color=INK)
        ax.text(dog - 0.35, n - 0.3, "↑ “dog”", va="top", fontsize=18, color=INK)
        ax.set_xticks([])
    return Picture(axes, f"{alt} A ring marks the look of “it” at “dog”: allowed left, cut right.")


def passed_on() -> Picture:
    """Four words in two layers: what one has looked at in layer 1 goes along when another looks at it in layer 2."""
    words = SENTENCE.split()[-4:]
    ax, width, layers = _sheet(), WIDE / 5, (0.95, 2.55, 4.15)
    places = [(at + 1.5) * width for at in range(len(words))]
    for layer, name in enumerate(("the text", "layer 1", "layer 2")):
        ax.text(0.2, layers[layer], name, va="center", fontsize=20, color=INK)
        for at, x in enumerate(places):
            heard = (layer, at) in ((0, 0), (1, 1), (2, 3))
            box = {"boxstyle": "round,pad=0.35", "edgecolor": INK, "facecolor": PLAIN if heard else EMPTY}
            ink = "white" if heard else INK
            ax.text(x, layers[layer], words[at].rstrip(","), ha="center", va="center", fontsize=19, color=ink, bbox=box)
    for (low, left), (high, right) in (((0, 0), (1, 1)), ((1, 1), (2, 3))):
        ends = (places[right], layers[high] - 0.36), (places[left], layers[low] + 0.36)
        ax.add_patch(FancyArrowPatch(*ends, arrowstyle="-|>", mutation_scale=24, linewidth=5, color=PLAIN))
    ax.set_ylim(0.4, 4.7)
    return Picture(ax, "In layer 1 “tired” looks at “was”. In layer 2 “it” looks at “tired”, and so hears “was”.")


def heads() -> Picture:
    """A plain head and a shifted one over the sentence, with the row of a word that only one of them lets see."""
    words = [word.rstrip(",") for word in SENTENCE.split()]
    n, row = len(words), 4  # the first of its group on the plain head
    geometry = S2Geometry(n, 4, 2)
    axes, alt = _masks([(geometry, 0, "plain: half of the heads"), (geometry, 1, "shifted: the other half")])
    for ax in axes:
        ax.text(n - 0.2, row, f"← “{words[row]}”", va="center", fontsize=18, color=INK)
        ax.set_xticks([])
    seen = np.flatnonzero(geometry.mask()[1, row])[:-1]
    for line, column in enumerate(seen):
        axes[1].text(column - 0.35, n - 0.3 + 1.1 * line, f"↑ “{words[column]}”", va="top", fontsize=18, color=INK)
    said = " and ".join(f"“{words[column]}”" for column in seen)
    return Picture(axes, f"{alt} Left “{words[row]}” sees itself only, right also {said}.")


def relay() -> Picture:
    """The way back from the last token to the first, hop by hop, the last layer on top."""
    geometry = S2Geometry(16, 4, 2)
    ax = plots.plot_hops(geometry, style=PROJECTOR, ax=_sheet(axis=True))
    kinds = [label.get_text().split(": ")[1] for label in ax.get_yticklabels()]
    ax.set_yticks(ax.get_yticks(), [f"layer {len(kinds) - at}: {kind}" for at, kind in enumerate(kinds)])
    ax.set(ylabel="")
    return Picture(ax, plots.describe_hops(geometry))


def ends() -> Picture:
    """The three rules for the ends of a shifted head."""
    geometries = [S2Geometry(8, 4, 2, boundary=boundary) for boundary in ("split", "wrap", "masked")]
    axes = plots.plot_boundaries(geometries, style=PROJECTOR, axes=_row(3))
    for ax, rule in zip(axes, ("cut", "wrapped around", "wrapped, true order"), strict=True):
        ax.set_title(rule, loc="left", fontsize=20)
        ax.set(xlabel="", ylabel="")
        if ax.get_legend():
            ax.get_legend().remove()
    axes[1].text(5.3, 0.5, "ahead →", ha="right", va="center", fontsize=18, color=INK)
    return Picture(axes, plots.describe_boundaries(geometries))


def full_again() -> Picture:
    """A plain head, a shifted head, and the same head in use."""
    geometry = S2Geometry(12, 4, 2)
    full = S2Geometry(12, 12, 2, shift=0)
    shown = [(geometry, 0, "training: plain"), (geometry, 1, "training: shifted"), (full, 0, "in use: all heads")]
    return Picture(*_masks(shown))


def trained_parts() -> Picture:
    """The parts that learn, in the demo's record and in Llama-2-7B as the paper trains it."""
    said, demo = figures(), recorded("demo")
    ax = _sheet(high=3.0)
    alts = []
    rows = (
        (
            1.75,
            f"Ours, rank {said['rank']}",
            trained_shares(demo),
            (said["share_lora"], said["share_direct"]),
        ),
        (0.35, f"Llama-2-7B, rank {LLAMA_RANK}", None, (said["llama_lora"], said["llama_direct"])),
    )
    for y, name, shares, (lora, direct) in rows:
        shares = shares or (float(lora) / 100, float(direct) / 100)
        left = 0.2
        for share, look in zip((*shares, 1 - sum(shares)), _looks(), strict=True):
            ax.add_patch(Rectangle((left, y), share * (WIDE - 0.4), 0.6, edgecolor=INK, linewidth=2, **look))
            left += share * (WIDE - 0.4)
        title = f"{name}: LoRA {lora} %, embeddings and norms {direct} %"
        ax.text(0.2, y + 0.74, title, fontsize=19, color=INK)
        alts.append(f"{name}: LoRA {lora} %, embeddings and norms {direct} %")
    return Picture(ax, f"What learns, of all weights. {'; '.join(alts)}. The rest is frozen.")


def _looks() -> tuple[dict, dict, dict]:
    """LoRA, embeddings and norms, what is frozen."""
    return {"facecolor": TRAINED, "hatch": TRAINED_HATCH}, {"facecolor": TRAINED, "hatch": "//"}, {"facecolor": FROZEN}


def positions() -> Picture:
    """Two rulers along the same long text: its positions as they are, and the known ones spread over all of it."""
    own, target = _lengths()
    ax = _sheet(high=3.9)
    scale = (WIDE - 0.4) / target
    for y, known, title in (
        (2.45, own, "as they are"),
        (0.6, target, "stretched: what is known, spread over all"),
    ):
        ax.add_patch(Rectangle((0.2, y), known * scale, 0.55, facecolor=PLAIN, edgecolor=INK, linewidth=2))
        rest = Rectangle((0.2 + known * scale, y), (target - known) * scale, 0.55, facecolor=FUTURE, edgecolor=INK)
        rest.set(hatch=FUTURE_HATCH, linewidth=2)
        ax.add_patch(rest)
        ax.text(0.2, y + 0.68, f"A text of {target:,} bytes. Positions {title}", fontsize=20, color=INK)
        marks = [(quarter * target // 4, quarter * target // 4 * own // known) for quarter in range(5)]
        for place, number in marks:
            at, side = 0.2 + place * scale, {0: "left", target: "right"}.get(place, "center")
            ax.plot([at, at], [y - 0.12, y], color=INK, linewidth=2)
            ax.text(at, y - 0.42, f"{number:,}", ha=side, fontsize=18, color=INK)
    ax.text(0.2 + (own + target) / 2 * scale, 2.62, "never met in training", ha="center", fontsize=20, color=INK,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 4})  # fmt: skip
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
        "full": training_flops(llama, 8192, rank=LLAMA_RANK, causal=True),
        "S²": training_flops(llama, 8192, S2Geometry(8192, 2048, llama.heads), rank=LLAMA_RANK, causal=True),
    }
    whole = counted["full"].total
    ax = _sheet(high=3.9)
    said = []
    for y, (name, flops) in zip((2.0, 0.3), counted.items(), strict=True):
        share, rest = flops.attention_share * flops.total / whole, (1 - flops.attention_share) * flops.total / whole
        long = WIDE - 1.0
        ax.text(0.75, y + 0.4, name, ha="right", fontsize=22, color=INK)
        ax.add_patch(Rectangle((0.9, y), share * long, 1.0, facecolor=SHIFTED, edgecolor=INK, linewidth=2))
        ax.add_patch(Rectangle((0.9 + share * long, y), rest * long, 1.0, facecolor=EMPTY, edgecolor=INK, linewidth=2))
        ax.text(0.9, y + 1.12, f"attention {100 * share:.0f}", fontsize=20, color=INK)
        text = f"everything else {100 * rest:.0f}"
        ax.text(0.9 + (share + rest / 2) * long, y + 0.42, text, ha="center", fontsize=20, color=INK)
        said.append(f"{name}: attention {100 * share:.0f}, everything else {100 * rest:.0f}")
    ax.text(0.9, 3.6, "A training step of Llama-2-7B with 8,192 tokens. Full: 100", fontsize=20, color=INK)
    return Picture(ax, "FLOPs of a training step, of 100 with full attention: " + "; ".join(said) + ".")


PICTURES = {
    made.__name__: made
    for made in (
        long_text, looking_back, draw_it, twice_the_text, passed_on, groups, heads, relay, ends, full_again,
        trained_parts, positions, bits, references, step_bars,
    )
}  # fmt: skip


def _lengths() -> tuple[int, int]:
    """The bytes that the base was trained to read, and those that it gets."""
    demo = recorded("demo")
    return demo["model"]["trained_context"], demo["target_context"]


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


def _masks(shown: list[tuple[S2Geometry, int, str]]) -> tuple[np.ndarray, str]:
    axes = _row(len(shown))
    said = []
    for ax, (geometry, head, title) in zip(axes, shown, strict=True):
        plots.plot_mask(geometry, head, style=PROJECTOR, ax=ax)
        looks = int(geometry.mask()[head].sum())
        ax.set_title(f"{title}\n{looks} looks", loc="left", fontsize=20)
        ax.set(xlabel="", ylabel="")
        said.append(f"{title}, {looks} looks")
    return axes, f"Masks over {shown[0][0].seq_len} words: {'; '.join(said)}."
