"""Commit to an answer before you see it: the prediction is stored, and the answer opens beside it."""

from __future__ import annotations

import html
import math
import os
import re
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import ipywidgets
import numpy as np

from ...plots import Picture
from ...widgets import show
from .cards import ShownOnce, card, with_code
from .draw import DONE, compare_drawing
from .folded import FOLD, answer_card, happened, hold, questions
from .journal import Journal

SAME, CLOSE = 0.02, 0.15  # relative to the answer: counted as right, and as close
NUMBER = re.compile(r"[+-]?(?:\d[\d,_ ]*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
BELOW = "The answer opens where it is computed, further down."
ASK_NUMBER, ASK_CHOICE = "Write a number first, as 12 or 0.5.", "Choose one first."


def predict(
    key: str,
    question: str,
    choices: Sequence[str] | None = None,
    *,
    unit: str | None = None,
    journal: Journal | None = None,
) -> ipywidgets.VBox:
    """Ask, and store what is committed. Give `choices`, or the `unit` of a number. No answer stands there at first.

    Commit opens what `reveal` and `after` hold back under the same key. Returns the panel as well (its children are the
    question, the answer, the button and a line that says what was stored), so that a test can press the button.

    Raises:
        ValueError: without exactly one of `choices` and `unit`.
    """
    if (choices is None) == (unit is None):
        raise ValueError(f"predict must be given choices or a unit, got choices={choices!r} and unit={unit!r}")
    journal = journal or Journal()
    questions[key] = question
    before = journal.get("predictions", key)
    if choices is None:
        answer = ipywidgets.Text(
            value="" if before is None else _plain(before), placeholder="a number", description=f"{unit}:"
        )
    else:
        options = list(choices)
        answer = ipywidgets.RadioButtons(
            options=options,
            value=before if before in options else None,
            description="I say:",
            layout=ipywidgets.Layout(width="auto"),
        )
    button = ipywidgets.Button(description="Commit", tooltip="Store this answer, and see what it is")
    status = ipywidgets.HTML(value=_committed(before, unit))

    def close():
        """Take no further answer. The button stays enabled: a browser takes the focus from a disabled one."""
        answer.disabled, button.description = True, DONE
        button.on_click(commit, remove=True)

    def commit(_):
        said = answer.value if choices is not None else number_in(answer.value)
        if said is None:
            status.value = ASK_CHOICE if choices is not None else ASK_NUMBER
            return
        journal.note("predictions", key, said)
        status.value = _committed(said, unit)
        if happened("predictions", key):  # an answer that has been seen can no longer be predicted
            close()
        else:
            status.value += f". {BELOW}"

    button.on_click(commit)
    if before is not None:  # the cell is run again: its answer has been seen
        close()
        button.disabled = True
    panel = ShownOnce([ipywidgets.HTML(value=f"<b>Predict.</b> {with_code(question)}"), answer, button, status])
    items = "".join(f"<li>{with_code(choice)}</li>" for choice in choices or ())
    listed = f"<ul>{items}</ul>" if items else f"<p>Your answer: how many {html.escape(unit or '')}?</p>"
    show(panel, card("note", f"Predict. {question}", listed))
    return panel


def reveal(
    key: str,
    answer: Any,
    text: str = "",
    *,
    unit: str = "",
    picture: Picture | None = None,
    because: Mapping[Any, str] | None = None,
    journal: Journal | None = None,
) -> None:
    """Hold back the computed `answer`, its sentence and its picture until `key` is committed; then show them at once.

    After `draw` the answer is a bool array (rows, columns), or a mapping from the names of the points to their heights.
    `because` maps wrong answers to what leads there: whoever gave one reads it before `text`.
    """
    journal = journal or Journal()
    drawn = isinstance(answer, np.ndarray | Mapping)
    truth = "drawn below" if drawn else f"{_plain(answer)} {unit}".strip()

    def content() -> str:
        said = None if os.environ.get(FOLD) else journal.get("predictions", key)
        if drawn:
            kind, title, both = compare_drawing(said, answer)
            return answer_card(kind, title, text, both, picture)
        if said is None:
            return answer_card("note", truth, text, picture)
        mine, verdict = f"{_plain(said)} {unit}".strip(), judge(said, answer)
        right = f"You said {mine}, and so it is" if _is_number(answer) else f"You said: {mine}. So it is"
        titles = {"right": right, "close": f"You said {mine}: close. It is {truth}"}
        return answer_card(
            verdict,
            titles.get(
                verdict, f"You said {mine}; it is {truth}" if _is_number(answer) else f"You said: {mine}. But: {truth}"
            ),
            f"{_reason(said, because or {})} {text}".strip() if verdict != "right" else text,
            picture,
        )

    hold(
        "predictions",
        key,
        content,
        summary="The answer opens when you commit yours. Open it anyway",
        text=f"It is {truth}. {text}",
        journal=journal,
    )


def judge(said: Any, answer: Any) -> str:
    """Compare a prediction with the answer: "right", "close" or "wrong". Only numbers can be close.

    A whole number is right when it is hit, any other within 2 %; what is within 15 % is close.
    """
    if not (_is_number(said) and _is_number(answer)):
        return "right" if str(said) == str(answer) else "wrong"
    whole = float(answer).is_integer() and not isinstance(answer, float)
    if math.isclose(said, answer, rel_tol=1e-9 if whole else SAME):
        return "right"
    return "close" if math.isclose(said, answer, rel_tol=CLOSE) else "wrong"


def number_in(text: str) -> float | None:
    """The number that a learner has typed, with its unit or without; None where there is not exactly one."""
    found = NUMBER.findall(text.replace("−", "-"))
    return float(re.sub(r"[,_ ]", "", found[0])) if len(found) == 1 else None


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _reason(said: Any, because: Mapping[Any, str]) -> str:
    if isinstance(said, Real):
        near = (sentence for number, sentence in because.items() if math.isclose(number, said, rel_tol=SAME))
        return next(near, "")
    return because.get(said, "")


def _committed(value: Any, unit: str | None) -> str:
    return "" if value is None else f"Committed: {with_code(_plain(value))} {html.escape(unit or '')}"


def _plain(value: Any) -> str:
    if _is_number(value):
        return f"{float(value):,.4g}" if not float(value).is_integer() else f"{int(value):,}"
    return str(value)
