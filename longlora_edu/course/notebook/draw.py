"""Predict by drawing: mark cells, or draw a curve, and see yours beside the truth."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import ipywidgets
import numpy as np

from ...plots import Picture, show_comparison, show_drawn_curve
from ...widgets import show
from ...widgets.drawing import cells_field, curve_field
from .cards import ShownOnce, card
from .folded import happened, questions
from .journal import Journal

NEAR = 0.1  # cells are close when a tenth is otherwise
# A curve is compared by what there is to see in it: at each point, over the range of the truth, or over a fifth of the
# field's height where the truth is flatter than that.
FITS, CLOSE, FLATTEST = 0.2, 0.4, 0.2
RISES = 0.1  # of its range: a smaller step of the truth is flat
DONE = "Committed"  # on a button that takes no further answer
UNFINISHED = "Draw every point first: drag each circle up or down."


def draw(
    key: str,
    question: str,
    *,
    cells: tuple[Sequence[str], Sequence[str]] | None = None,
    curve: Sequence[str] | None = None,
    between: tuple[float, float] = (0.0, 1.0),
    unit: str = "",
    across: str = "",
    journal: Journal | None = None,
) -> ipywidgets.VBox:
    """Ask for a drawing: `cells` are the names of rows and columns to mark, `curve` those of points to move.

    Both answer to the mouse and to the keyboard: arrows move, space marks. `reveal` under the same key takes a bool
    array (rows, columns), or the heights of the curve. `unit` is what a curve's heights are in, `across` what its
    points are. Returns the panel: question, field, button, status.

        course.draw("03.mask", "Whom does token 5 see?", cells=(["5"], list("01234567")))
        course.draw("05.beyond", "How does it go on?", curve=["256", "512"], between=(0, 8), unit="bits per byte",
                    across="bytes read")

    Raises:
        ValueError: without exactly one of `cells` and `curve`.
    """
    if (cells is None) == (curve is None):
        raise ValueError(f"draw must be given cells or a curve, got cells={cells!r} and curve={curve!r}")
    journal = journal or Journal()
    questions[key] = question
    how = (
        "Click on cells, or go with the arrow keys and mark with Space."
        if cells
        else "Drag the circles up or down, or use the arrow keys."
    )
    before = journal.get("predictions", key) or {}
    if cells is not None:
        rows, columns = ([str(name) for name in names] for names in cells)
        field, read = cells_field(rows, columns, question, before.get("cells", ()))
        entry = {"shape": [len(rows), len(columns)]}
        blank = "".join(
            f'<tr><th scope="row">{html.escape(name)}</th>{"<td>☐</td>" * len(columns)}</tr>' for name in rows
        )
        head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in columns)
        still = f"<p>Mark the cells on paper.</p><table><thead><tr><th></th>{head}</tr></thead>{blank}</table>"
    else:
        names = [str(name) for name in curve]
        low, high = map(float, between)
        field, read = curve_field(
            names, question, low=low, high=high, unit=unit, across=across, heights=before.get("curve", ())
        )
        entry = {"names": names, "between": [low, high], "unit": unit}
        still = (
            f"<p>Draw the curve on paper: {html.escape(' '.join([', '.join(names), across]).strip())} across, "
            f"{low:g} to {high:g} {html.escape(unit)} upwards.</p>"
        )
    button = ipywidgets.Button(description="Commit", tooltip="Store this drawing, and see the answer")
    status = ipywidgets.HTML(value="Committed: your drawing" if before else "")

    def close():
        """Take no further answer. The button stays enabled: a browser takes the focus from a disabled one."""
        button.description = DONE
        button.on_click(commit, remove=True)
        if hasattr(field, "disabled"):
            field.disabled = True

    def commit(_):
        drawn = read()
        if drawn is None:
            status.value = UNFINISHED
            return
        journal.note("predictions", key, entry | {"cells" if cells is not None else "curve": drawn})
        status.value = "Committed: your drawing"
        if happened("predictions", key):
            close()

    def drawn_on(_):
        if status.value == UNFINISHED and read() is not None:
            status.value = ""

    button.on_click(commit)
    if before:  # the cell is run again: its answer has been seen
        close()
        button.disabled = True
    if hasattr(field, "heights"):
        field.observe(drawn_on, names="heights")
    asked = ipywidgets.HTML(value=f"<b>Draw.</b> {html.escape(question)} <small>{how}</small>")
    panel = ShownOnce([asked, field, button, status])
    show(panel, card("note", f"Draw. {question}", still))
    return panel


def compare_drawing(said: dict | None, answer: Any) -> tuple[str, str, Picture]:
    """The verdict on a drawing, its title, and both side by side; without a drawing the truth alone.

    Cells are right when all are, close when at most a tenth is otherwise. A curve is right when it is off by at most
    a fifth of the truth's range at each point, close by two fifths; else its title says whether it rises and falls as
    the truth does, and names the worst point.
    """
    if isinstance(answer, np.ndarray) and answer.dtype == bool:
        if said is None:
            return "note", f"{int(answer.sum())} cells of {answer.size}", show_comparison(answer, answer)
        mine = np.zeros(said["shape"], dtype=bool)
        for row, column in said["cells"]:
            mine[row, column] = True
        wrong = int((mine != answer).sum())
        kind = "right" if not wrong else "close" if wrong <= NEAR * answer.size else "wrong"
        title = "Your drawing is right" if not wrong else f"{wrong} of {answer.size} cells are otherwise"
        return kind, title, show_comparison(mine, answer)
    right = {str(name): float(value) for name, value in dict(answer).items()}
    names, heights = list(right), list(right.values())
    if said is None:
        return "note", "Measured", show_drawn_curve(names, None, heights)
    low, high = said["between"]
    truth = np.clip(heights, low, high)
    off = np.abs(np.array(said["curve"]) - truth) / max(np.ptp(truth), FLATTEST * (high - low))
    kind = "right" if off.max() <= FITS else "close" if off.max() <= CLOSE else "wrong"
    worst = int(off.argmax())
    drawn, measured = f"{said['curve'][worst]:.3g}", f"{heights[worst]:.3g}"
    way = "Your curve goes the right way, but" if _goes_along(said["curve"], truth) else "The curve goes another way:"
    titles = {
        "right": "Your curve fits",
        "close": "Your curve is close",
        "wrong": f"{way} for “{names[worst]}” you drew {drawn}, and it is {measured}",
    }
    return kind, titles[kind], show_drawn_curve(names, said["curve"], heights, unit=said["unit"])


def _goes_along(drawn: Sequence[float], truth: np.ndarray) -> bool:
    """Tell whether the drawing rises and falls wherever the truth does so by more than a tenth of its range."""
    steps = np.diff(truth)
    clear = np.abs(steps) > RISES * np.ptp(truth)
    return bool((np.sign(np.diff(drawn)) == np.sign(steps))[clear].all()) and bool(clear.any())
