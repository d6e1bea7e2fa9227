"""Draw a picture of a lesson again for a room: larger letters, thicker lines, made to fit a slide.

The code is the lesson's own. Of all that comes before a picture only the statements it depends on are run, so that
nothing is trained or measured for a slide.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from longlora_edu import plots
from longlora_edu.course.build.source import Lesson, lessons
from longlora_edu.course.notebook.environment import Profile
from longlora_edu.plots import PROJECTOR, SCREEN, Picture

ROOT = Path(__file__).resolve().parents[2]
# Inches at 100 dots each, on a slide of 1280 × 720 with a title above and a line below.
LARGEST = (11.6, 4.6)
SHOWN_ELSEWHERE = ("predict", "reveal", "quiz", "print")
DRAWS = re.compile(r"\bPicture\(|\b\w+\.show_(?!caught|panel|study|table)\w+\(|\bshow_probe\(")
DEFINITIONS = (ast.FunctionDef, ast.ClassDef)
IMPORTS = (ast.Import, ast.ImportFrom)
BINDS_ANEW = (ast.Assign, *DEFINITIONS, *IMPORTS)


@cache
def lesson_of(number: str) -> Lesson:
    """The source of a lesson by its number."""
    return lessons(ROOT / "notebooks" / "source", (number,))[0]


def section_text(number: str, section: str) -> list[str]:
    """The paragraphs of a section of a lesson, each as one line, without headings and without directives."""
    cells = _section(lesson_of(number), section)
    body = "\n\n".join(cell.source for _, cell in cells if cell.cell_type == "markdown")
    body = body[body.index(f" {section}\n") :]
    parts = [part.strip().replace("\n", " ") for part in body.split("\n\n")[1:]]
    return [part for part in parts if part and not part.startswith(("#", "{{"))]


def picture(number: str, section: str, which: int = 1) -> Picture:
    """A picture of a section, in projector style and no larger than a slide has room for.

    Raises:
        ValueError: for a section that does not draw as many.
    """
    lesson = lesson_of(number)
    drawing = [at for at, cell in _section(lesson, section) if cell.cell_type == "code" and DRAWS.search(cell.source)]
    if which > len(drawing):
        raise ValueError(f"a section must draw {which} picture(s), got {len(drawing)} in {section!r} of {lesson.name}")
    shown = lesson.cells[: drawing[which - 1] + 1]
    code = [ast.parse(cell.source).body for cell in shown if cell.cell_type == "code"]
    *before, last = code
    draws = [statement for statement in last if not _calls(statement, SHOWN_ELSEWHERE)]
    names = {"profile": Profile("laptop")}  # what the set-up cell says elsewhere
    with _for_a_room(), _own_journal(), contextlib.redirect_stdout(io.StringIO()):
        _run([*needed([statement for cell in before for statement in cell], draws)], names)
        _run(draws[:-1], names)
        with _fitted_pictures():
            return eval(compile(ast.Expression(draws[-1].value), lesson.name, "eval"), names)


def needed(before: list[ast.stmt], wanted: list[ast.stmt]) -> list[ast.stmt]:
    """Of the statements `before`, those that bind a name which the `wanted` ones read, or which such a one reads.

    A statement that only changes what another made is not seen: pictures are made from values.
    """
    read = {name for statement in wanted for name in _read(statement)}
    chosen = []
    for statement in reversed(before):
        if (bound := _bound(statement)) & read:
            chosen.append(statement)
            if isinstance(statement, BINDS_ANEW):  # what had the name before is not what is read
                read -= bound
            read |= _read(statement)
    return chosen[::-1]


def _fitted(drawing, alt: str, *, dpi: int = 100) -> Picture:
    """As `Picture`, on a sheet that a slide has room for. Letters keep their size when the sheet shrinks."""
    figure = np.ravel(drawing)[0].figure
    figure.set_size_inches(*np.minimum(figure.get_size_inches(), LARGEST))
    figure.draw_without_rendering()  # matplotlib lays square axes out right only the second time
    return Picture(drawing, alt, dpi=100)


@contextlib.contextmanager
def _fitted_pictures() -> Iterator[None]:
    """For the moment a picture, however a lesson makes it, is one that fits a slide."""
    makers = [(module, module.Picture) for module in (plots, plots.picture)]
    try:
        for module, _ in makers:
            module.Picture = _fitted
        yield
    finally:
        for module, before in makers:
            module.Picture = before


@contextlib.contextmanager
def _for_a_room() -> Iterator[None]:
    """Lessons draw in the style that is the default; for the moment its sizes are those of the projector."""
    sizes = dict(vars(SCREEN))
    vars(SCREEN).update(vars(PROJECTOR))
    try:
        yield
    finally:
        vars(SCREEN).update(sizes)


@contextlib.contextmanager
def _own_journal() -> Iterator[None]:
    """Nobody's predictions are read or written for a slide."""
    before = os.environ.get("LONGLORA_EDU_PROGRESS")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LONGLORA_EDU_PROGRESS"] = str(Path(folder) / "progress.json")
        try:
            yield
        finally:
            os.environ.pop("LONGLORA_EDU_PROGRESS")
            if before is not None:
                os.environ["LONGLORA_EDU_PROGRESS"] = before


def _section(lesson: Lesson, section: str) -> list[tuple[int, object]]:
    """Cells from the heading of a section to the next heading of any cell, each with its number."""
    found, inside = [], False
    for at, cell in enumerate(lesson.cells):
        if cell.cell_type == "markdown":
            headings = [line.lstrip("#").strip() for line in cell.source.splitlines() if line.startswith("##")]
            if headings:
                inside = headings[-1] == section
        if inside:
            found.append((at, cell))
    if not found:
        raise ValueError(f"a section must be a heading of lesson {lesson.number}, got {section!r}")
    return found


def _run(statements: list[ast.stmt], names: dict) -> None:
    exec(compile(ast.Module(statements, type_ignores=[]), "lesson", "exec"), names)


def _calls(statement: ast.stmt, functions: tuple[str, ...]) -> bool:
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call):
        return False
    return (call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")) in functions


def _read(statement: ast.stmt) -> set[str]:
    read = _names(statement, ast.Load)
    if isinstance(statement, ast.AugAssign):
        return read | _names(statement, ast.Store)
    if isinstance(statement, DEFINITIONS):  # its own variables are nobody else's
        inside = {node.arg for node in ast.walk(statement) if isinstance(node, ast.arg)}
        return read - inside - _names(statement, ast.Store)
    return read


def _bound(statement: ast.stmt) -> set[str]:
    if isinstance(statement, IMPORTS):
        return {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
    return {statement.name} if isinstance(statement, DEFINITIONS) else _names(statement, ast.Store)


def _names(statement: ast.stmt, context: type) -> set[str]:
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, context)}
