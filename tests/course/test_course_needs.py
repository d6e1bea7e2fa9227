"""A lesson without one of its packages, a learner's standing, and answers that are numbers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from longlora_edu.course import Journal, require
from longlora_edu.course.build.assemble import edition
from longlora_edu.course.build.minutes import minutes
from longlora_edu.course.build.routes import lesson_rows, read_routes
from longlora_edu.course.build.source import lessons
from longlora_edu.course.notebook.overview import overview, standing

SOURCE = Path(__file__).parents[2] / "notebooks" / "source"
WITHOUT = """
import sys
for name in ("transformers", "peft"):
    sys.modules[name] = None
import jupytext
from IPython.core.interactiveshell import InteractiveShell
from longlora_edu.course.build.frame import set_up
shell = InteractiveShell.instance()
for source in (set_up(None), *(cell.source for cell in jupytext.read(sys.argv[1]).cells if cell.cell_type == "code")):
    done = shell.run_cell(source, store_history=True)
    if not done.success:
        print("stopped by", type(done.error_in_exec).__name__, "in the cell:", source[source.index("course.req"):][:15])
        break
"""


def test_a_package_that_is_there_is_not_mentioned(published):
    require("numpy", "jupytext", install="anything")
    assert published == []


def test_a_missing_package_is_named_with_the_way_to_get_it_and_stops(published):
    with pytest.raises(ModuleNotFoundError, match="needs not_there and nor_this, not installed here") as stopped:
        require("numpy", "not_there", "nor_this", install="longlora-edu[x]")
    assert stopped.value.name == "not_there"
    assert stopped.value._render_traceback_() == [
        "ModuleNotFoundError: This lesson needs not_there and nor_this, not installed here."
    ]
    (shown,) = published
    assert "numpy" not in shown["text/plain"]
    assert "python -m pip install 'longlora-edu[x]'" in shown["text/plain"]
    assert "restart the kernel" in shown["text/html"]


@pytest.mark.parametrize("name", ["09_real_model"])
def test_the_lesson_about_real_models_stops_at_once_without_transformers(name, tmp_path):
    environment = os.environ | {"LONGLORA_EDU_PROFILE": "ci", "LONGLORA_EDU_PROGRESS": str(tmp_path / "progress.json")}
    command = [sys.executable, "-c", WITHOUT, str(SOURCE / f"{name}.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "This lesson needs transformers and peft, not installed here." in done.stdout
    assert "pip install 'longlora-edu[hf]'" in done.stdout
    assert done.stdout.endswith("stopped by ModuleNotFoundError in the cell: course.require(\n")
    assert "Traceback" not in done.stdout  # a sentence, no trace through the library


# Where a learner stands.


def test_a_learner_stands_where_the_journal_says(tmp_path, capsys):
    journal = Journal(tmp_path / "progress.json")
    overview(journal)
    assert "Nothing noted yet" in capsys.readouterr().out
    journal.note("predictions", "02.leak", "4")
    journal.note("exercises", "02.own_mask", {"attempts": 3, "passed": True})
    journal.note("exercises", "02.reach", {"attempts": 1, "passed": False, "mistake": "shape"})
    journal.note("quiz", "00.1", {"answer": "8 by 8", "right": True})
    journal.note("quiz", "00.2", {"answer": "1", "right": False})
    assert standing(journal) == [
        ("00", 0, "none yet", "1 right of 2"),
        ("02", 1, "1 solved of 2 tried, in 4 attempts", "none yet"),
    ]
    overview(journal)
    assert "lesson 02: 1 predictions, exercises 1 solved of 2 tried, in 4 attempts" in capsys.readouterr().out


# The map in lesson 00.


def test_the_map_names_each_lesson_with_its_title_and_minutes():
    start, *others = everything = lessons(SOURCE)
    text = "\n".join(cell.source for cell in edition(start, "student", neighbours=everything).cells)
    rows = re.findall(
        r"^\| (\d\d[a-c]?) \| \[(.+?)\]\((.+?)\.ipynb\) \|.*?\| (\d+) min \| (\d+) min \|", text, re.MULTILINE
    )
    assert rows == [(one.number, one.title, one.name, *map(str, minutes(one))) for one in others]
    assert "- **To the result**: 00, 02a, 05, 06, 07, 08 (" in text


def test_a_map_that_names_no_lesson_or_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the source folder must hold routes.toml, got none in"):
        read_routes(tmp_path)
    with pytest.raises(ValueError, match="lesson must be one of 00, .*, got '99' in routes.toml"):
        lesson_rows({"lesson": [{"number": "99"}]}, lessons(SOURCE))


def test_a_file_to_read_beside_a_lesson_counts_in_its_minutes():
    (lesson,) = [one for one in lessons(SOURCE) if one.number == "12"]
    (reading,) = [cell for cell in lesson.cells if cell.cell_type == "markdown" and "minutes" in cell.metadata]
    core, whole = minutes(lesson)
    asked = reading.metadata.pop("minutes")
    assert minutes(lesson) == (core - asked, whole - asked) and asked >= 5
