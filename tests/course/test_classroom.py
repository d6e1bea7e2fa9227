"""A class with nbgrader: assignment out, ten submissions in, graded, and feedback back."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from longlora_edu.course.build.assemble import build, edition
from longlora_edu.course.build.source import BEGIN, END, lessons

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "notebooks" / "source"
NAME = "03_reference"
(LESSON,) = lessons(SOURCE, (NAME,))
# Ten made-up students: which of the four exercises each has solved; the others they leave or get wrong.
STUDENTS = {f"student{number}": {place for place in range(4) if number >> place & 1} for number in range(10)}
WRONG = {  # a plausible wrong answer to the first exercise, for those who have not solved it
    "masked_attention": (
        "def masked_attention(q, k, v, mask):\n    return np.where(mask, q @ k.T / np.sqrt(q.shape[-1]), 0) @ v\n"
    ),
}


def solution_lines(lesson):
    """The lines between the marks that are nobody else's."""
    for cell in lesson.cells:
        if "exercise" in cell.metadata:
            inside = cell.source.partition(BEGIN)[2].partition(END)[0]
            yield from (line.strip() for line in inside.splitlines() if len(line.strip()) > 30)


def test_the_classroom_edition_has_marks_for_nbgrader_and_hints_without_solution():
    notebook = edition(LESSON, "classroom")
    exercises = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("solution")]
    checks = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade")]
    assert len(exercises) == len(checks) == 4
    assert all(cell.source.count(BEGIN) == cell.source.count(END) == 1 for cell in exercises)
    assert all(cell.metadata.nbgrader.points > 0 and cell.metadata.nbgrader.locked for cell in checks)
    elsewhere = "\n".join(cell.source for cell in notebook.cells if cell not in exercises)
    # Hints may quote a line; nowhere is a solution.
    for cell in exercises:
        inside = cell.source.partition(BEGIN)[2].partition(END)[0].strip()
        assert inside not in elsewhere
    assert "<summary>Solution</summary>" not in elsewhere


def nbgrader(folder, *arguments):
    """Run one of nbgrader's commands in a course folder."""
    options = {"LONGLORA_EDU_PROFILE": "ci", "OMP_NUM_THREADS": "1"}
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    # nbgrader calls alembic by its name.
    options["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=folder,
        env=os.environ | options | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=3000,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


@pytest.mark.slow
def test_a_class_goes_round(tmp_path):
    pytest.importorskip("nbgrader")
    (tmp_path / "nbgrader_config.py").write_text(
        "c = get_config()\nc.CourseDirectory.course_id = 'longlora'\nc.ExecutePreprocessor.timeout = 600\n"
        "c.ClearSolutions.code_stub = {'python': 'raise NotImplementedError'}\n",
        encoding="utf-8",
    )
    build(SOURCE, tmp_path / "source/one", "classroom", wanted=(NAME,), run=False)
    nbgrader(tmp_path, "generate_assignment", "one", "--create")
    released = nbformat.read(tmp_path / f"release/one/{NAME}.ipynb", 4)
    text = "\n".join(cell.source for cell in released.cells)
    assert BEGIN not in text
    given = [line for line in solution_lines(LESSON) if line in re.sub(r"(?s)<details>.*?</details>", "", text)]
    assert given == []

    names = list(LESSON.solutions)
    for student, solved in STUDENTS.items():
        handed_in = nbformat.read(tmp_path / f"release/one/{NAME}.ipynb", 4)
        for cell in handed_in.cells:
            about = cell.metadata.get("nbgrader", {})
            if not about.get("solution"):
                continue
            name = about["grade_id"]
            if names.index(name) in solved:
                cell.source = LESSON.solutions[name]
            elif name in WRONG:
                cell.source = WRONG[name]
        folder = tmp_path / f"submitted/{student}/one"
        folder.mkdir(parents=True)
        nbformat.write(handed_in, folder / f"{NAME}.ipynb")
    nbgrader(tmp_path, "autograde", "one", "--create")
    nbgrader(tmp_path, "generate_feedback", "one")

    from nbgrader.api import Gradebook

    points = [next(c.metadata["points"] for c in LESSON.cells if c.metadata.get("exercise") == name) for name in names]
    with Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as gradebook:
        for student, solved in STUDENTS.items():
            assert gradebook.find_submission("one", student).score == sum(points[place] for place in solved)
    for student, solved in STUDENTS.items():
        feedback = (tmp_path / f"feedback/{student}/one/{NAME}.html").read_text(encoding="utf-8")
        assert "Score" in feedback
        if 0 not in solved:  # it says which mistake it was
            assert "softmax is missing" in feedback
