"""The moving pictures on paper: their stops side by side or one below the other, with all their sentences."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.patches import Circle, Rectangle, Wedge

from ...plots.style import BEFORE, EMPTY, FUTURE, INK, PLAIN, SCREEN, SHIFTED, Style, new_axes
from ..display import Picture


class MovingStill(Picture):
    """A scene as one picture; its sentence says every stop."""

    def __init__(self, scene: dict, *, style: Style = SCREEN) -> None:
        draw, alt = {"shift": (_shift, _says), "pulse": (_pulse, _says), "clocks": (_clocks, _say_clocks)}[
            scene["kind"]
        ]
        super().__init__(draw(scene, style), alt(scene))


def _says(scene: dict) -> str:
    return " ".join(scene["says"])


def _words(
    ax: Axes, words: list[str], places: list[float], y: float, style: Style, marked: set[int] = frozenset()
) -> None:
    for token, (word, place) in enumerate(zip(words, places, strict=True)):
        look = {"facecolor": FUTURE if token in marked else "white", "edgecolor": INK, "linewidth": style.thin}
        ax.add_patch(Rectangle((place + 0.04, y + 0.2), 0.92, 0.6, alpha=0.75, zorder=3, **look))
        ax.text(place + 0.5, y + 0.5, word, ha="center", va="center", fontsize=style.small, color=INK, zorder=4)


def _band(ax: Axes, start: float, stop: float, y: float, colour: str, style: Style) -> None:
    size = (start + 0.02, y), stop - start - 0.04, 1
    ax.add_patch(Rectangle(*size, facecolor=colour, alpha=0.3, linewidth=0))
    ax.add_patch(Rectangle(*size, fill=False, edgecolor=colour, linewidth=style.line))


def _bare(ax: Axes) -> Axes:
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return ax


def _shift(scene: dict, style: Style) -> Axes:
    """A plain head above, the shifted one below, and the hop where the wall was."""
    words, group, shift = scene["words"], scene["group"], scene["shift"]
    n = len(words)
    ax = new_axes(style, width=1.9, height=0.75)[0]
    title = {"fontsize": style.text, "color": INK, "ha": "left", "va": "bottom", "weight": "bold"}
    ax.text(0, 0, "A plain head: its groups stay", **title)
    for start in range(0, n, group):
        _band(ax, start, min(start + group, n), 0.1, PLAIN, style)
    _words(ax, words, list(range(n)), 0.1, style)
    rolled = scene["wraps"]
    ax.text(
        0, 2, f"A shifted head{', rolled: the words have moved' if rolled else ': its groups begin later'}", **title
    )
    if rolled:
        for start in range(0, n, group):
            _band(ax, start, start + group, 2.1, SHIFTED, style)
        places = [token - shift if token >= shift else n - shift + token for token in range(n)]
    else:
        for start, stop in zip([0, *range(shift, n, group)], [*range(shift, n, group), n], strict=True):
            _band(ax, start, stop, 2.1, SHIFTED, style)
        places = list(range(n))
    _words(ax, words, places, 2.1, style, set(range(shift)) if rolled else frozenset())
    ends = [(places[scene[end]] + 0.5, 2.28) for end in ("from", "to")]
    arrow = {"arrowstyle": "->", "linewidth": style.line, "color": INK, "connectionstyle": "arc3,rad=-0.6", "zorder": 6}
    ax.annotate("", xy=ends[1], xytext=ends[0], arrowprops=arrow | {"linestyle": "--" if rolled else "-"})
    if not rolled:
        ax.plot([group, group], [0, 1.2], color=INK, linewidth=2 * style.line, zorder=5)
    ax.set(xlim=(0, n), ylim=(3.2, -0.4))
    return _bare(ax)


def _pulse(scene: dict, style: Style) -> Axes:
    """Draw the words below, and a row of circles a layer above: filled where a token has heard the marked word.

    A line is how a newcomer heard it from the layer below: solid on a plain head, dashed on a shifted one.
    """
    words, heard = scene["words"], scene["heard"]
    ax = new_axes(style, width=1.9, height=0.3 + 0.22 * len(heard))[0]
    _words(ax, words, list(range(len(words))), -0.5, style, {heard[0].index(True)})
    for layer, now in enumerate(heard[1:], 1):
        for token, has in enumerate(now):
            look = {"markerfacecolor": INK if has else EMPTY, "markeredgecolor": INK, "markersize": 2 * style.marker}
            ax.plot(token + 0.5, layer, "o", zorder=3, **look)
    for layer, ways in enumerate(scene["hops"]):
        for way in ways:
            look = {"color": SHIFTED, "linestyle": "--"} if way["shifted"] else {"color": PLAIN}
            ends = [way["source"] + 0.5, way["target"] + 0.5], [layer + (0.16 if layer else 0.3), layer + 0.84]
            ax.plot(*ends, linewidth=style.line, zorder=2, **look)
    ax.set(xlim=(0, len(words)), ylim=(-0.5, len(heard) - 0.6))
    _bare(ax).set_yticks(range(len(heard)), ["words", *(f"layer {layer}" for layer in range(1, len(heard)))])
    ax.tick_params(length=0, labelsize=style.small, colors=INK)
    return ax


def _clocks(scene: dict, style: Style) -> Axes:
    """A row as trained and a row as stretched, hands at the target; beyond the shaded arc they are dashed and red."""
    ax = new_axes(style, width=1.6, height=1.25)[0]
    for row, key in enumerate(("frequency", "stretched")):
        for column, clock in enumerate(scene["clocks"]):
            centre, seen = (column, 1.2 * row), min(clock["seen"], 2 * math.pi)
            ax.add_patch(Circle(centre, 0.42, facecolor=EMPTY, edgecolor=INK, linewidth=style.thin))
            # The axis points down: angles are turned with it.
            ax.add_patch(Wedge(centre, 0.42, -math.degrees(seen), 0, facecolor=PLAIN, alpha=0.35, linewidth=0))
            angle, unseen = _hand(scene, clock, key)
            hand = [column, column + 0.4 * math.cos(angle)], [centre[1], centre[1] - 0.4 * math.sin(angle)]
            look = {"color": BEFORE, "linestyle": "--"} if unseen else {"color": INK, "linestyle": "-"}
            ax.plot(*hand, linewidth=1.5 * style.line, **look)
    labels = [f"{clock['name']}\n{clock['turn']}" for clock in scene["clocks"]]
    ax.set(xlim=(-0.5, len(labels) - 0.5), ylim=(1.75, -0.5), aspect="equal")
    _bare(ax).set_xticks(range(len(labels)), labels)
    ax.set_yticks([0, 1.2], [f"position {scene['end']:,},\nnot stretched", scene["stretch"].replace(" by ", "\nby ")])
    ax.tick_params(length=0, labelsize=style.small, colors=INK)
    return ax


def _hand(scene: dict, clock: dict, key: str) -> tuple[float, bool]:
    """Return where a hand points at the target, and whether training never saw it there."""
    angle = scene["end"] * clock[key] % (2 * math.pi)
    return angle, clock["seen"] < 2 * math.pi and angle > clock["seen"] + 1e-9


def _say_clocks(scene: dict) -> str:
    lost, kept = [], []
    for clock in scene["clocks"]:
        for names, key in ((lost, "frequency"), (kept, "stretched")):
            if _hand(scene, clock, key)[1]:
                names.append(f"{clock['name']} ({clock['turn']})")
    return (
        f"{scene['says'][0]} At position {scene['end']:,} the hand is beyond the shaded arc that training has seen on: "
        f"{'; '.join(lost) or 'no clock'}. With {scene['stretch']}: {'; '.join(kept) or 'no clock'}."
    )
