"""Commit to an answer before you see it: the prediction is stored, and stands beside the number when it comes."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import ipywidgets

from ...widgets import show
from .cards import ShownOnce, card, publish
from .journal import Journal


def predict(
    key: str,
    question: str,
    choices: Sequence[str] | None = None,
    *,
    unit: str | None = None,
    journal: Journal | None = None,
) -> ipywidgets.VBox:
    """Ask, and store what is committed. Give `choices`, or the `unit` of a number.

    Returns the panel as well (its children are the question, the answer, the button and a line that says what was
    stored), so that a test can press the button.

    Raises:
        ValueError: without exactly one of `choices` and `unit`.
    """
    if (choices is None) == (unit is None):
        raise ValueError(f"predict must be given choices or a unit, got choices={choices!r} and unit={unit!r}")
    journal = journal or Journal()
    before = journal.get("predictions", key)
    if choices is None:
        answer = ipywidgets.FloatText(value=before or 0.0, description=f"{unit}:")
    else:
        options = list(choices)
        answer = ipywidgets.RadioButtons(
            options=options,
            value=before if before in options else None,
            description="I say:",
            layout=ipywidgets.Layout(width="max-content"),
        )
    button = ipywidgets.Button(description="Commit", tooltip="Store this answer")
    status = ipywidgets.HTML(value=_committed(before, unit))

    def commit(_):
        if answer.value is None:
            status.value = "Choose one first."
            return
        journal.note("predictions", key, answer.value)
        status.value = _committed(answer.value, unit)

    button.on_click(commit)
    panel = ShownOnce([ipywidgets.HTML(value=f"<b>Predict.</b> {html.escape(question)}"), answer, button, status])
    items = "".join(f"<li>{html.escape(choice)}</li>" for choice in choices or ())
    listed = f"<ul>{items}</ul>" if items else f"<p>Your answer, in {html.escape(unit or '')}?</p>"
    show(panel, card("note", f"Predict. {question}", listed))
    return panel


def reveal(key: str, answer: Any, text: str = "", *, unit: str = "", journal: Journal | None = None) -> None:
    """Show the computed `answer` beside the prediction under `key`; folded when nothing was predicted."""
    predicted = (journal or Journal()).get("predictions", key)
    truth = f"{_plain(answer)} {unit}".strip()
    body = f"{html.escape(text)}"
    if predicted is None:
        inside = card("note", truth, body)
        content = f"<details><summary>Nothing predicted yet. Open to see the answer.</summary>{inside}</details>"
        publish(content, f"The answer: {truth}. {text}")
        return
    close = isinstance(answer, Real) and not isinstance(answer, bool) and math.isclose(predicted, answer, rel_tol=0.02)
    right = close or str(predicted) == str(answer)
    mine = f"{_plain(predicted)} {unit}".strip()
    title = f"You said {mine}, and so it is" if right else f"You said {mine}; it is {truth}"
    publish(card("right" if right else "wrong", title, body), f"{title}. {text}")


def _committed(value: Any, unit: str | None) -> str:
    return "" if value is None else f"Committed: {html.escape(_plain(value))} {html.escape(unit or '')}"


def _plain(value: Any) -> str:
    if isinstance(value, Real) and not isinstance(value, bool):
        return f"{float(value):,.4g}" if not float(value).is_integer() else f"{int(value):,}"
    return str(value)
