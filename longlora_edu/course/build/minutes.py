"""Minutes that a lesson takes, by counting: its core, and all of it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .source import Lesson

WORDS_A_MINUTE = 200
ANSWER_MINUTES, LINE_MINUTES = 2, 1  # a prediction or a quiz; a line that a learner writes
CORE = 30  # the most that the core of a lesson may take
HEADING = re.compile(r"^(#{2,}) +(.+?) *$", re.MULTILINE)
MORE = "· more"
ANSWERED = re.compile(r"\b(?:predict|draw|quiz)\(\n? *\"")
# What is folded, or stands in a link's address, is not read; a claim comes with its verdict.
UNREAD = re.compile(r"\{\{beginners: .+?\}\}|<details>.*?</details>|(?<=\])\([^)]*\)", re.DOTALL)


def minutes(lesson: Lesson) -> tuple[int, int]:
    """Count the minutes of the core and of all: (25, 60).

    200 words a minute, two minutes for a prediction or a quiz, one for a line to write. Text marked with `minutes` asks
    for as many more beside the lesson: to read a file. A heading that ends in "· more" takes its section out of the
    core, down to the next heading of its level or above.
    """
    core = whole = 0.0
    for more, cost in _costs(lesson):
        whole += cost
        core += 0 if more else cost
    return math.ceil(core), math.ceil(whole)


def said_minutes(lesson: Lesson) -> str:
    """Format `minutes` for the head of a lesson."""
    core, whole = minutes(lesson)
    return f"core {core} min · all {whole} min" if whole > core else f"{core} min"


def _costs(lesson: Lesson) -> Iterator[tuple[bool, float]]:
    """Yield whether a piece is *more*, and its minutes."""
    level = 0  # of the heading that opened the part marked as more; 0 in the core
    for cell in lesson.cells:
        if cell.metadata.get("instructor") or "hints" in cell.metadata:
            continue
        if cell.cell_type == "code":
            lines = _lines_to_write(cell.source) if "exercise" in cell.metadata else 0
            yield bool(level), ANSWER_MINUTES * len(ANSWERED.findall(cell.source)) + LINE_MINUTES * lines
            continue
        yield bool(level), cell.metadata.get("minutes", 0)
        text = UNREAD.sub("", lesson.with_claims(cell.source))
        pieces = HEADING.split(text)
        yield bool(level), len(pieces[0].split()) / WORDS_A_MINUTE
        for marks, heading, body in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
            if not level or len(marks) <= level:
                level = len(marks) if heading.endswith(MORE) else 0
            yield bool(level), len(f"{heading} {body}".split()) / WORDS_A_MINUTE


def _lines_to_write(source: str) -> int:
    inside = source.partition("### BEGIN SOLUTION")[2].partition("### END SOLUTION")[0]
    return sum(bool(line.strip()) for line in inside.splitlines())
