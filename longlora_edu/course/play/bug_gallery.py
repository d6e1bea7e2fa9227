"""The bug gallery to look at: each mistake's mask beside the right one, and which tests would have caught it."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

import ipywidgets
import numpy as np

from ...geometry import S2Geometry
from ...plots import SCREEN, Style, describe_comparison, plot_comparison
from ...reference import s2_attention, s2_attention_backward
from ...widgets import Picture
from ...widgets.canvas import Canvas
from ...widgets.panel import Panel
from ..bugs import BUGS, Bug
from ..checks.exercise import attention_weights
from ..notebook.cards import publish

SIZES = {"3 groups of 4": S2Geometry(12, 4, 2), "3 groups of 5": S2Geometry(15, 5, 2)}


class Exhibit(Picture):
    """A picture with words under it that everybody sees, and not only who cannot see the picture."""

    def __init__(self, picture: Picture, caption: str) -> None:
        super().__init__(picture.png, picture.alt)
        self.caption = caption

    @property
    def html(self) -> str:
        """The figure, and the caption below it."""
        words = html.escape(self.caption)
        return super().html.replace("</figure>", f"<figcaption>{words}</figcaption></figure>")


def exhibit(name: str, size: str, padded: bool, *, canvas: Canvas | None = None, style: Style = SCREEN) -> Exhibit:
    """Show the mask of a head under the mistake `name` beside the right one: the head on which they differ most.

    `padded` makes the last two tokens padding. The pictures come from pushing values, not from reading code.
    """
    bug, geometry = BUGS[name], SIZES[size]
    segments = np.where(np.arange(geometry.seq_len) < geometry.seq_len - 2, 0, -1)[None] if padded else None
    mine, right = (
        attention_weights(lambda *inputs, f=f: f(*inputs, segments=segments), geometry)
        for f in (bug.function, s2_attention)
    )
    differences = np.abs(mine - right).max(axis=(1, 2))
    difference = differences.max()
    head = int(np.flatnonzero(differences == difference)[-1])
    kind = "shifted" if head in geometry.shifted_heads else "plain"
    mine, right = mine[head], right[head]

    def draw(*axes) -> None:
        plot_comparison(mine > 0, right > 0, style=style, axes=axes)
        for ax, title in zip(axes, ("with the mistake", f"right ({kind} head)"), strict=True):
            ax.set_title(title, fontsize=style.text, loc="left")

    alt = describe_comparison(mine > 0, right > 0).replace("Your mask", f"{bug.title}. The mask of a {kind} head")
    seen = f"Seen in: {bug.seen_in}." if bug.published else "Published nowhere that we know."
    visible = f"Weights differ by up to {difference:.2f}." if difference > 1e-9 else "Here it does not show at all."
    canvas = canvas or Canvas(style, 2, width=1.3, height=1.1)
    return Exhibit(canvas.picture(draw, alt), f"{bug.symptom} {visible} {seen}")


def gallery_explorer(*, style: Style = SCREEN) -> Panel:
    """Pick a mistake and see what a head hears: `gallery_explorer().show()`."""
    canvas = Canvas(style, 2, width=1.3, height=1.1)
    controls = {
        "name": ipywidgets.Dropdown(options=[(bug.title, name) for name, bug in BUGS.items()], description="Mistake"),
        "size": ipywidgets.Dropdown(options=list(SIZES), description="Groups"),
        "padded": ipywidgets.Checkbox(value=False, description="the last two tokens are padding", indent=False),
    }
    return Panel(lambda **values: exhibit(**values, canvas=canvas, style=style), controls)


def caught_by(function: Callable, *, seed: int = 0) -> dict[str, bool]:
    """Run seven tests on `function`: True where a test notices that it is not S²-Attn.

    The first two need no reference at all. The even sizes are 16 tokens in groups of 4 with 2 heads and the odd ones
    15, 5 and 3, except where the name of the test says otherwise.
    """
    rng = np.random.default_rng(seed)
    even, odd = S2Geometry(16, 4, 2), S2Geometry(15, 5, 3)
    q, k, v, direction, grad = rng.standard_normal((5, 1, 2, 16, 4))
    weights = attention_weights(function, even)
    step, nudge = 1e-5, direction * 1e-5
    slope = (grad * (function(q + nudge, k, v, even) - function(q - nudge, k, v, even))).sum() / (2 * step)
    derived = (s2_attention_backward(grad, q, k, v, even)[0] * direction).sum()
    marks = np.where(np.arange(16) < 13, 0, -1)[None]
    return {
        "shapes": not (function(q, k, v, even).shape == q.shape and np.isfinite(weights).all()),
        "future": bool((weights > 1e-9)[:, ~np.tri(16, dtype=bool)].any()),
        "mask": not np.array_equal(weights > 1e-9, even.mask()),
        "gradient": not np.isclose(slope, derived, rtol=1e-4),
        "reference": _differs(function, even, (q, k, v)),
        "odd sizes": _differs(function, odd, rng.standard_normal((3, 1, 3, 15, 4))),
        "padding": _differs(function, even, (q, k, v), segments=marks),
    }


def show_caught(bugs: Sequence[Bug] = tuple(BUGS.values())) -> None:
    """Publish `caught_by` for several mistakes as a table, one a row."""
    rows = {bug.title: caught_by(bug.function) for bug in bugs}
    names = list(next(iter(rows.values())))
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = "".join(
        f'<tr><th scope="row" style="text-align:left">{html.escape(title)}</th>'
        + "".join(f'<td style="white-space:nowrap">{"✗ caught" if caught[name] else "passes"}</td>' for name in names)
        + "</tr>"
        for title, caught in rows.items()
    )
    text = "; ".join(
        f"{title}: {', '.join(name for name in names if caught[name]) or 'by none'}" for title, caught in rows.items()
    )
    content = f'<table><thead><tr><th scope="col">mistake</th>{head}</tr></thead><tbody>{body}</tbody></table>'
    publish(content, f"Caught by: {text}.")


def _differs(function: Callable, geometry: S2Geometry, inputs, **options) -> bool:
    return not np.allclose(function(*inputs, geometry, **options), s2_attention(*inputs, geometry, **options))
