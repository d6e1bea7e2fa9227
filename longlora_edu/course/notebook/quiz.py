"""Questions with an answer to every choice, the wrong ones first of all."""

from __future__ import annotations

import html
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import ipywidgets

from ...widgets import show
from .cards import ShownOnce, card, with_code
from .folded import encoded
from .journal import Journal


@dataclass(frozen=True)
class Question:
    """A question, its right choice and the wrong ones, each a pair of choice and feedback.

    Raises:
        ValueError: without a wrong choice, or for a choice without feedback.
    """

    text: str
    right: tuple[str, str]
    wrong: Sequence[tuple[str, str]] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        if not self.wrong:
            raise ValueError(f"wrong must hold at least one choice, got none for {self.text!r}")
        for choice, feedback in (self.right, *self.wrong):
            if not feedback.strip():
                raise ValueError(f"every choice must have feedback, got none for {choice!r}")

    def choices(self, key: str, number: int) -> list[tuple[str, str]]:
        """All choices, in an order that depends on `key` and on the question's number, from 0, in its quiz.

        The right one moves on by a place with each question, so that no quiz has it at the same place throughout.
        """
        seed = random.Random(key)
        choices = seed.sample(list(self.wrong), len(self.wrong))
        choices.insert((seed.randrange(12) + number) % (len(choices) + 1), self.right)
        return choices


def quiz(key: str, *questions: Question, journal: Journal | None = None) -> ipywidgets.VBox:
    """Ask `questions` one below the other; choosing shows the feedback and notes the answer."""
    journal = journal or Journal()
    rows, static = [], []
    for number, question in enumerate(questions, 1):
        choices = question.choices(key, number - 1)
        rows.append(_row(f"{key}.{number}", number, question, dict(choices), journal))
        items = "".join(
            f"<li><details><summary>{html.escape(choice)}</summary>{encoded(with_code(feedback))}</details></li>"
            for choice, feedback in choices
        )
        static.append(f"<p><b>{number}. {with_code(question.text)}</b></p><ul>{items}</ul>")
    panel = ShownOnce(rows)
    show(panel, card("note", "Quiz: open a choice to see what speaks for or against it", "".join(static)))
    return panel


def _row(key: str, number: int, question: Question, feedback: dict[str, str], journal: Journal) -> ipywidgets.VBox:
    answer = ipywidgets.RadioButtons(
        options=list(feedback), value=None, description="Answer:", layout=ipywidgets.Layout(width="auto")
    )
    feedback_box = ipywidgets.HTML()

    def chosen(change):
        right = change["new"] == question.right[0]
        journal.note("quiz", key, {"answer": change["new"], "right": right})
        feedback_box.value = card(
            "right" if right else "wrong", "Right" if right else "Not this one", with_code(feedback[change["new"]])
        )

    answer.observe(chosen, names="value")
    return ipywidgets.VBox(
        [ipywidgets.HTML(value=f"<b>{number}. {with_code(question.text)}</b>"), answer, feedback_box]
    )
