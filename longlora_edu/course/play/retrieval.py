"""Pictures of the retrieval probe: places of key, border and question, and which pattern learns to find the key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ...plots.curves import running_mean
from ...plots.picture import picture_of
from ...plots.style import DENSE, EMPTY, INK, PLAIN, SCREEN, SHIFTED, Style, axes_for, dress, new_axes, percent
from ...runs.records import Proportion
from ...training.probe import ProbeResult, ProbeSettings, places

LINES = {"inside": "--", "across": "-", "far": ":"}
NAMES = {"inside": "inside a group", "across": "across a border", "far": "too far for the shift"}


def read_probe(record: Mapping) -> ProbeResult:
    """Read one probe of `recorded("probe")`, as `run_probe` returned it."""
    scores = (Proportion(record[name]["successes"], record[name]["trials"]) for name in ("accuracy", "dense"))
    return ProbeResult(ProbeSettings(**record["settings"]), tuple(record["curve"]), *scores)


def plot_places(settings: ProbeSettings, *, style: Style = SCREEN, ax: Axes | None = None) -> Axes:
    """Draw the cells of a plain and a shifted head, and where the number to find and the question for it may stand.

    Only the first two groups are drawn.
    """
    ax = new_axes(style, width=1.3, height=0.55)[0] if ax is None else ax
    length = min(settings.seq_len, 2 * settings.group_size)
    geometry = settings.geometry
    for row, (shifted, colour) in enumerate(((False, PLAIN), (True, SHIFTED))):
        for number, cell in enumerate(geometry.cells(shifted=shifted)):
            for tokens in cell:
                look = {"facecolor": colour, "alpha": (0.75, 0.35)[number % 2]}
                ax.add_patch(Rectangle((tokens.start, row + 0.1), len(tokens), 0.8, linewidth=0, **look))
                line = {"edgecolor": INK, "linewidth": style.thin, "fill": False}
                ax.add_patch(Rectangle((tokens.start, row + 0.1), len(tokens), 0.8, **line))
    keys, questions = _stretches(settings)
    text = {"ha": "center", "va": "center", "fontsize": style.small, "color": INK}
    for stretch, word in ((keys, "key"), (questions, "?")):
        ax.add_patch(
            Rectangle((stretch.start, -0.9), len(stretch), 0.8, facecolor=EMPTY, edgecolor=INK, linewidth=style.thin)
        )
        ax.text((stretch.start + stretch.stop) / 2, -0.5, word, **text)
    shift = f"shifted by {settings.shift}" if settings.shift else "not shifted"
    ax.set(xlim=(0, length), ylim=(2, -1), yticks=(-0.5, 0.5, 1.5))
    ax.set_yticklabels(["key and\nquestion", "plain head", f"other head,\n{shift}"])
    ax.set_xticks(range(0, length + 1, max(1, settings.group_size // 2)))
    return dress(ax, style, title="Cells: who can see whom", x="token", grid=False)


def plot_learning(
    results: Sequence[ProbeResult], *, width: int = 8, style: Style = SCREEN, ax: Axes | None = None
) -> Axes:
    """Draw accuracy while training, a running mean over `width` steps, of one probe or several; chance as a line.

    Colour says which pattern, the kind of line which place; the numbers are those of the test after training.

    Raises:
        ValueError: without a result.
    """
    _check(results)
    ax = new_axes(style)[0] if ax is None else ax
    for result in results:
        centres, means = running_mean([point["accuracy"] for point in result.curve], min(width, len(result.curve)))
        look = {"color": SHIFTED if result.settings.shift else PLAIN, "linestyle": LINES[result.settings.place]}
        ax.plot(centres + 1, means, linewidth=style.line, label=_named(result), **look)
    ax.axhline(results[0].chance, color=DENSE, linewidth=style.line, linestyle="-.", label="a guess")
    ax.set(ylim=(0, 1.05))
    ax.yaxis.set_major_formatter(lambda value, _: percent(value))
    ax.legend(fontsize=style.small, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)
    return dress(ax, style, x="step", y="answers right")


def plot_probe(
    results: Sequence[ProbeResult], *, style: Style = SCREEN, axes: Sequence[Axes] | None = None
) -> np.ndarray:
    """Draw `plot_places` of the first result beside `plot_learning` of all: the task and the result. Returns two axes.

    Raises:
        ValueError: without a result, or when `axes` are not two.
    """
    _check(results)
    axes = axes_for(axes, 2, style, width=2.1)
    plot_places(results[0].settings, style=style, ax=axes[0])
    plot_learning(results, style=style, ax=axes[1])
    return axes


def describe_probe(results: Sequence[ProbeResult]) -> str:
    """Describe `plot_probe`: where key and question stand, and the share of right answers of each arm beside chance."""
    _check(results)
    settings = results[0].settings
    keys, questions = _stretches(settings)
    parts = [
        f"{_named(result)}, {percent(result.dense.rate)} with dense attention, at best {percent(result.ceiling)}"
        for result in results
    ]
    return (
        f"A key at tokens {keys.start} to {keys.stop - 1} of {settings.seq_len}, its question at {questions.start} to "
        f"{questions.stop - 1}, groups of {settings.group_size}. Answers right after {len(results[0].curve)} steps: "
        f"{'; '.join(parts)}. A guess is right in {percent(results[0].chance, 1)}."
    )


def _named(result: ProbeResult) -> str:
    shift = f"shift {result.settings.shift}" if result.settings.shift else "no shift"
    return f"{shift}, {NAMES[result.settings.place]}: {percent(result.accuracy.rate)}"


def _stretches(settings: ProbeSettings) -> tuple[range, range]:
    """Ranges of tokens in which key and question may stand the first time."""
    where = places(settings)
    first = where[where[:, 1] < where[0, 1] + settings.group_size]
    return tuple(range(int(column.min()), int(column.max()) + 1) for column in first.T)


def _check(results: Sequence[ProbeResult]) -> None:
    if not results:
        raise ValueError("results must hold at least one probe, got none")


show_probe = picture_of(plot_probe, describe_probe)
