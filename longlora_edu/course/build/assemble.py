"""Source cells → the cells of an edition: stubs or solutions, folded hints, nbgrader's marks, one set-up for all."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from ...runs.records import replace_file
from .frame import foot, head, set_up
from .outputs import execute
from .repository import Repository, read_repository
from .routes import lesson_rows, read_routes, route_rows
from .sealing import sealed, sealed_until
from .source import DIRECTIVE, Lesson, lessons, sections, slug, stub, without_marks

if TYPE_CHECKING:
    import nbformat


Edition = Literal["student", "solution", "instructor", "classroom", "assignment"]
SEALED = ("student", "classroom", "assignment")  # the editions in which answers cannot be read
EDITIONS = get_args(Edition)
STUBS = ("student", "assignment")  # editions in which an exercise is still to be written
UNSOLVED = ("classroom", "assignment")  # editions whose hints end before the solution
LARGEST = 300_000
HIDDEN = {"jupyter": {"source_hidden": True}, "cellView": "form"}
IMPORTS, MANY = re.compile(r"^(?:import|from) ", re.MULTILINE), 3  # a cell that brings in this many is folded
# Cells of these calls hold an answer.
ANSWERS = re.compile(r"^course\.(?:reveal|quiz|parsons)\(", re.MULTILINE)


def edition(
    lesson: Lesson, kind: Edition, *, neighbours: Sequence[Lesson] = (), solved: bool = False
) -> nbformat.NotebookNode:
    """One lesson as a notebook without outputs. `neighbours` are all lessons, for the links to the next one.

    In the student edition answers are sealed: reveals, quizzes, worked solutions. It has stubs, unless it is `solved`,
    which is how its outputs are made. The classroom edition is for nbgrader: sealed, with the marks by which nbgrader
    takes the solutions out, and with hints that end before the solution. The assignment is the student edition without
    solutions.

    Raises:
        ValueError: for an unknown edition, or a source that refers to what is not there.
    """
    import nbformat

    if kind not in EDITIONS:
        raise ValueError(f"edition must be one of {', '.join(EDITIONS)}, got {kind!r}")
    repository = read_repository(lesson.root)
    # Only the student edition is kept where a badge could find it.
    top = head(lesson, neighbours, repository if kind == "student" else None)
    cells = [_text(top, "head"), *([] if lesson.moved else [_set_up(repository)])]
    made: list[tuple[str | None, Any]] = []  # each cell, and before it the prediction that opens it
    for index, source in enumerate(lesson.cells):
        if source.metadata.get("instructor") and kind != "instructor":
            continue
        after = lesson.cells[index + 1] if index + 1 < len(lesson.cells) else None
        cell = _cell(lesson, source, after, kind, neighbours, stubs=kind in STUBS and not solved)
        made.append((source.metadata.get("after") if kind in SEALED else None, cell))
    for key, neighbouring in groupby(made, key=lambda one: one[0]):
        pieces = [cell for _, cell in neighbouring]
        cells += pieces if key is None else [_held(key, pieces)]
    cells += [] if lesson.moved else [_text(foot(lesson, neighbours), "foot")]
    seen: set[str] = set()
    for cell in cells:
        # A cell keeps its id while others come and go; the second of two equal cells counts on.
        cell.id = next(name for count in range(len(cells)) if (name := _digest(cell.id, count)) not in seen)
        seen.add(cell.id)
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.nbformat_minor = 5
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            **({"accelerator": "GPU"} if lesson.uses_gpu else {}),  # else a free quota would be spent on nothing
            "colab": {"provenance": [], "toc_visible": True} | ({"gpuType": "T4"} if lesson.uses_gpu else {}),
            "longlora_edu": {"lesson": lesson.name, "edition": kind, "source_sha256": lesson.digest},
        }
    )
    return notebook


def build(source: Path, out: Path, kind: Edition, *, wanted: tuple[str, ...] = (), run: bool = True) -> list[Path]:
    """Write the notebooks of an edition into `out`, with the outputs of the solution run unless `run=False`.

    Raises:
        ValueError: for a source with problems of form, or a notebook past the largest size that travels well.
        nbclient.exceptions.CellExecutionError: when a solution fails.
    """
    import nbformat

    everything = lessons(source)
    written = []
    for lesson in lessons(source, wanted, moved=True):
        notebook = edition(lesson, kind, neighbours=everything)
        if run and not lesson.moved:
            solved = notebook if kind not in STUBS else edition(lesson, kind, neighbours=everything, solved=True)
            outputs = execute(solved)
            for cell in notebook.cells:
                if cell.cell_type == "code":
                    cell.outputs, cell.execution_count = outputs.get(cell.id, ([], None))
        nbformat.validate(notebook)
        text = as_text(notebook)
        if len(text.encode()) > LARGEST:
            raise ValueError(f"{lesson.name} must be at most {LARGEST} bytes, got {len(text.encode())}")
        out.mkdir(parents=True, exist_ok=True)
        replace_file(path := out / f"{lesson.name}.ipynb", text.encode())
        written.append(path)
    return written


def as_text(notebook: nbformat.NotebookNode) -> str:
    """Return a notebook as the JSON text that is written to its file: a change of a cell is a change of its lines."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _held(key: str, pieces: list):
    """Return one sealed cell that holds the cells `pieces` and shows them once the prediction `key` is committed."""
    import nbformat

    texts = [("text" if piece.cell_type == "markdown" else "code", piece.source) for piece in pieces]
    cell = nbformat.v4.new_code_cell(sealed_until(key, texts), metadata=HIDDEN)
    cell.id = pieces[0].id
    if tags := sorted({tag for piece in pieces for tag in piece.metadata.get("tags", ())}):
        cell.metadata["tags"] = tags
    return cell


def _cell(
    lesson: Lesson, source, after, kind: Edition, neighbours: Sequence[Lesson], *, stubs: bool
) -> nbformat.NotebookNode:
    import nbformat

    marks = source.metadata
    if "hints" in marks:
        return _text(_folded_hints(lesson, marks["hints"], solved=kind not in UNSOLVED), source.source)
    if source.cell_type == "markdown":
        text = DIRECTIVE.sub(lambda match: _directive(lesson, neighbours, *match.groups()), source.source)
        if after is not None and "exercise" in after.metadata:
            text += f"\n\n{_rating(after)}"
        return _text(text, source.source)
    cell = nbformat.v4.new_code_cell(without_marks(source.source))
    cell.id = source.source
    if tags := list(marks.get("tags", [])):
        cell.metadata["tags"] = tags
    if kind in SEALED and (ANSWERS.search(source.source) or "worked" in marks):
        worked = f"{lesson.number[:2]}.{marks['worked']}" if "worked" in marks else None
        cell.source = sealed(cell.source, worked=worked)
        cell.metadata |= HIDDEN
    elif (title := marks.get("folded")) or _only_imports(cell.source):
        cell.source = f"# @title {title or 'Imports'}\n{cell.source}"
        cell.metadata |= HIDDEN
    if "exercise" in marks:
        if stubs:
            cell.source = stub(source.source, marks["exercise"])
        elif kind == "classroom":
            cell.source = source.source  # with its marks
        cell.metadata["nbgrader"] = _nbgrader(f"{marks['exercise']}", solution=True)
    elif "check" in marks:
        if stubs:  # so that "run all" goes on past what is not written yet
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "raises-exception"]
        points = next(c.metadata.get("points", 1) for c in lesson.cells if c.metadata.get("exercise") == marks["check"])
        cell.metadata["nbgrader"] = _nbgrader(f"check_{marks['check']}", grade=True, points=points)
    return cell


def _only_imports(source: str) -> bool:
    """Return whether a cell begins with an import, has `MANY` or more, and no more other lines than these."""
    lines = [line for line in source.splitlines() if line.strip()]
    imports = len(IMPORTS.findall(source))
    return imports >= MANY and lines[0].startswith(("import ", "from ")) and 2 * imports >= len(lines)


def _nbgrader(grade_id: str, *, solution: bool = False, grade: bool = False, points: int | None = None) -> dict:
    about = {"grade": grade, "solution": solution, "locked": grade, "task": False}
    return about | {"grade_id": grade_id, "schema_version": 3} | ({"points": points} if points is not None else {})


def _directive(lesson: Lesson, neighbours: Sequence[Lesson], what: str, name: str) -> str:
    if what in ("lessons", "routes"):
        folder = lesson.path.parent
        return {"lessons": lesson_rows, "routes": route_rows}[what](read_routes(folder), neighbours or lessons(folder))
    file = lesson.root / ("notebooks/glossary.md" if what == "beginners" else "docs/claims.md")
    body = sections(file.read_text(encoding="utf-8")).get(name)
    if body is None:
        raise ValueError(f"{lesson.name} asks for {name!r}, which must be a heading of {file.name}")
    if what == "claim":
        return "\n".join(line for line in body.splitlines() if not line.startswith("**Computed in**")).strip()
    simple = next((part for part in body.split("\n\n") if part.startswith("*For beginners:*")), None)
    if simple is None:
        raise ValueError(f"{name!r} in {file.name} must have a paragraph that begins with '*For beginners:*'")
    text = simple.removeprefix("*For beginners:*").strip()
    # "Group" becomes "group", while RoPE and NTK stay as they are.
    shown = name[0].lower() + name[1:] if name.split()[0][1:].islower() else name
    return (
        f"<details><summary>For beginners: {shown}</summary>\n\n"
        f"{text}\n\n[In the glossary](glossary.md#{slug(name)})\n\n</details>"
    )


def _folded_hints(lesson: Lesson, name: str, *, solved: bool) -> str:
    """Return an exercise's hints as Markdown: each folded into the one before, the solution innermost if `solved`."""
    folded = f"<details><summary>Solution</summary>\n\n```python\n{lesson.solutions[name].strip()}\n```\n\n</details>"
    folded = folded if solved else "The solution comes with the feedback."
    for number, hint in reversed(list(enumerate(lesson.hints[name], 1))):
        inside = f"{hint}\n\n{folded}".strip()
        folded = f"<details><summary>Hint {number}</summary>\n\n{inside}\n\n</details>"
    return folded


def _rating(cell) -> str:
    marks = cell.metadata
    dots = {name: "●" * marks[name] + "○" * (5 - marks[name]) for name in ("difficulty", "importance")}
    inside = cell.source.partition("### BEGIN SOLUTION")[2].partition("### END SOLUTION")[0].strip().splitlines()
    lines = f"roughly {len(inside)} lines" if len(inside) > 1 else "one line"
    return (
        f"*Difficulty {dots['difficulty']} · importance {dots['importance']} · about {marks['minutes']} minutes · "
        f"{lines}. Stuck? Open a hint; skipping is fine too: nothing below needs it.*"
    )


def _set_up(repository: Repository | None) -> nbformat.NotebookNode:
    import nbformat

    cell = nbformat.v4.new_code_cell(set_up(repository), metadata=HIDDEN | {"tags": ["set-up"]})
    cell.id = set_up(None)  # the same cell, wherever the repository lives
    return cell


def _text(text: str, key: str) -> nbformat.NotebookNode:
    import nbformat

    cell = nbformat.v4.new_markdown_cell(text)
    cell.id = key
    return cell


def _digest(text: str, count: int) -> str:
    return hashlib.sha256(f"{text}\0{count}".encode()).hexdigest()[:12]
