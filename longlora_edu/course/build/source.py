"""The source of a lesson: a percent script, with marks for exercises, checks, hints and notes for teachers.

Cell metadata carries the marks: `exercise="name" difficulty=2 importance=5 minutes=8`, `check="name"`,
`hints="name"` (three, separated by `---`), `instructor=true`, `claim="id"`, `worked="name"` (folded until the check of
that exercise has passed), `after="key"` (folded until that prediction is committed; for a text too, which then may hold
no formula), `folded="The clock"` (a cell whose source is folded under that title). In text, `{{beginners: Term}}`
pulls three sentences from the glossary, `{{claim: id}}` a statement and its verdict from `docs/claims.md`, and
`{{lessons}}` and `{{routes}}` the map of `routes.toml`. A heading that ends in "· more" opens what is not core.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
FILES = "[0-9][0-9]*_*"  # of lessons: 00_start_here, 02a_wall_and_shift
DIRECTIVE = re.compile(r"^\{\{(beginners|claim|lessons|routes)(?:: *([^}]+?))? *\}\}$", re.MULTILINE)
# A measured quantity in prose goes stale; a cell computes it instead.
QUANTITY = re.compile(r"\d[\d.,]*\s*(?:%|×|(?:s|GB|bits?|ppl)\b)|×\s*\d")
SECTIONS = ("Why", "Predict", "Play", "Reveal", "Build", "Break it", "Recap", "Quiz", "Discuss")


@dataclass(frozen=True)
class Lesson:
    """One source file. `cells` are nbformat's, as jupytext reads them. One that `moved` only says where to go."""

    path: Path
    title: str
    cells: tuple
    digest: str
    moved: bool = False

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def number(self) -> str:
        """Two digits, and a letter where a subject has several lessons: 02a."""
        return self.name.partition("_")[0]

    @property
    def subject(self) -> str:
        """Two digits: what keys of predictions, quizzes and exercises begin with."""
        return self.name[:2]

    @property
    def root(self) -> Path:
        """The folder that holds `notebooks/` and `docs/`."""
        return self.path.resolve().parents[2]

    @property
    def uses_gpu(self) -> bool:
        """Whether a cell computes on a CUDA device where there is one."""
        return any(cell.cell_type == "code" and "cuda" in cell.source for cell in self.cells)

    @cached_property
    def solutions(self) -> dict[str, str]:
        """The whole cell of each exercise, without the marks."""
        return {
            cell.metadata["exercise"]: without_marks(cell.source) for cell in self.cells if "exercise" in cell.metadata
        }

    def with_claims(self, text: str) -> str:
        """Put the statements and verdicts of claims into a text, where it asks for them; nothing for one not there."""
        if "{{claim" not in text:
            return text
        claims = sections((self.root / "docs/claims.md").read_text(encoding="utf-8"))
        return DIRECTIVE.sub(lambda found: claims.get(found[2], "") if found[1] == "claim" else found[0], text)

    @cached_property
    def hints(self) -> dict[str, list[str]]:
        """Three texts for each exercise."""
        return {
            cell.metadata["hints"]: [hint.strip() for hint in re.split(r"^---$", cell.source, flags=re.MULTILINE)]
            for cell in self.cells
            if "hints" in cell.metadata
        }


def read_lesson(path: Path) -> Lesson:
    """Read the source of one lesson, a Python file in which `# %%` begins a cell.

    Raises:
        ValueError: for a file without a title.
    """
    import jupytext

    text = path.read_text(encoding="utf-8")
    notebook = jupytext.reads(text, fmt="py:percent")
    about = notebook.metadata.get("longlora_edu", {})
    if "title" not in about:
        raise ValueError(f"{path.name} must name its title in its header, got {dict(about)}")
    digest = hashlib.sha256(text.replace("\r\n", "\n").encode()).hexdigest()
    return Lesson(path, about["title"], tuple(notebook.cells), digest, bool(about.get("moved")))


def lessons(folder: Path, wanted: tuple[str, ...] = (), *, moved: bool = False) -> list[Lesson]:
    """All lessons of a source folder in order, or those whose names begin with what is `wanted`.

    Old names that only say where to go come along where `moved` asks for them.

    Raises:
        ValueError: for a wanted lesson that is not there, or an empty folder.
    """
    paths = sorted(folder.glob(f"{FILES}.py"))
    if not paths:
        raise ValueError(f"the source folder must hold lessons, got none in {folder}")
    for name in wanted:
        if not any(path.stem.startswith(name) for path in paths):
            raise ValueError(f"lesson must be one of {', '.join(path.stem for path in paths)}, got {name!r}")
    chosen = [read_lesson(path) for path in paths if not wanted or path.stem.startswith(tuple(wanted))]
    return [lesson for lesson in chosen if moved or not lesson.moved]


def without_marks(source: str) -> str:
    """A cell without the lines that only mark its solution."""
    return "\n".join(line for line in source.splitlines() if line.strip() not in (BEGIN, END))


def stub(source: str, name: str) -> str:
    """The exercise cell as a learner gets it: what stands between the marks is for them to write.

    Raises:
        ValueError: without exactly one pair of marks.
    """
    lines = source.splitlines()
    begins = [number for number, line in enumerate(lines) if line.strip() == BEGIN]
    ends = [number for number, line in enumerate(lines) if line.strip() == END]
    if len(begins) != 1 or len(ends) != 1 or ends[0] < begins[0]:
        raise ValueError(f"exercise {name} must have one solution between its marks, got {len(begins)} and {len(ends)}")
    indent = lines[begins[0]][: -len(lines[begins[0]].lstrip())]
    todo = f'{indent}raise NotImplementedError("{name}: your lines go here")'
    return "\n".join([*lines[: begins[0]], todo, *lines[ends[0] + 1 :]])


def sections(text: str) -> dict[str, str]:
    """Split a Markdown file into the texts under its `## headings`."""
    parts = re.split(r"^## +(.+?) *$", text, flags=re.MULTILINE)[1:]
    return {heading: body.strip() for heading, body in zip(parts[::2], parts[1::2], strict=True)}


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def problems(lesson: Lesson) -> list[str]:
    """List the faults of a source, one sentence each: the template, the exercises, the marks, numbers in prose."""
    found = []
    prose = [cell.source for cell in lesson.cells if cell.cell_type == "markdown"]
    headings = re.findall(r"^## +(.+?) *$", "\n".join(prose), flags=re.MULTILINE)
    kinds = [re.split(r":| · |, ", heading)[0] for heading in headings]
    found += [f"has no section {section!r}" for section in SECTIONS if section not in kinds]
    for text in prose:
        statement = "\n".join(line for line in text.splitlines() if not line.startswith(">"))
        found += [
            f"says {match.group()!r} in its text" for match in QUANTITY.finditer(re.sub(r"`[^`]*`", "", statement))
        ]
    names = [cell.metadata.get("exercise") for cell in lesson.cells if "exercise" in cell.metadata]
    checks = [cell.metadata.get("check") for cell in lesson.cells if "check" in cell.metadata]
    if names != checks or sorted(names) != sorted(lesson.hints):
        found.append(f"must have a check and hints for each exercise, has {names}, {checks}, {list(lesson.hints)}")
    found += [
        f"has {len(hints)} hints for {name}, not three" for name, hints in lesson.hints.items() if len(hints) != 3
    ]
    found += [
        f"holds back a text with a formula, which it cannot draw: {cell.source[:60]!r}"
        for cell in lesson.cells
        if cell.cell_type == "markdown" and "after" in cell.metadata and "$" in cell.source
    ]
    for cell in lesson.cells:
        if "exercise" in cell.metadata and (missing := {"difficulty", "importance", "minutes"} - set(cell.metadata)):
            found.append(f"does not rate {cell.metadata['exercise']} by {', '.join(sorted(missing))}")
    for what, name in (("predict(", "a prediction"), ("reveal(", "a reveal"), ("quiz(", "a quiz")):
        if not any(what in cell.source for cell in lesson.cells if cell.cell_type == "code"):
            found.append(f"has no {name.removeprefix('a ')}")
    core = (cell.source for cell in lesson.cells if cell.cell_type == "code" and '.more"' not in cell.source)
    asked = sum(source.count("Question(") for source in core)
    if asked != 3:
        found.append(f"asks {asked} quiz questions, not three")
    return [f"{lesson.name} {problem}" for problem in found]
