"""A lesson without one of its packages, a learner's standing, and answers that are numbers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell

from longlora_edu.course import Journal
from longlora_edu.course.build import lessons
from longlora_edu.course.notebook import needs
from longlora_edu.course.notebook.needs import _LeaveOut
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
    done.raise_error()
"""


@pytest.fixture
def shell():
    shell = InteractiveShell()
    shell.ast_transformers.append(_LeaveOut())
    return shell


def run(shell, source, capsys):
    shell.run_cell(source).raise_error()
    return capsys.readouterr().out


def test_a_cell_that_imports_what_is_not_there_is_left_out_and_says_so(shell, capsys):
    assert run(shell, "import not_there.part as gone\nprint(1)", capsys) == (
        "left out: it needs not_there.part, which is not here\n"
    )


def test_what_depends_on_a_cell_left_out_is_left_out_too_and_nothing_else(shell, capsys):
    run(shell, "from not_there import tool\nx = 1\ndef use():\n    return tool", capsys)
    assert "left out: it needs x" in run(shell, "y = x + 1", capsys)
    assert "left out: it needs y" in run(shell, "print(y)", capsys)
    assert "left out: it needs use" in run(shell, "[use() for _ in range(2)]", capsys)
    assert run(shell, "import math\nprint(math.floor(2.5))", capsys) == "2\n"
    # A name made anew is there again.
    assert run(shell, "x = 5\nprint('made')", capsys) == "made\n"
    assert run(shell, "print(x)", capsys) == "5\n"


def test_names_inside_modules_that_are_there_count_as_there(shell, capsys):
    source = "from longlora_edu.geometry import S2Geometry\nprint(S2Geometry(8, 4, 2).pairs())"
    assert run(shell, source, capsys) == "36\n"


def test_without_a_shell_needs_only_tells(capsys):
    assert needs.needs("numpy", install="anything")
    assert capsys.readouterr().out == ""
    assert not needs.needs("numpy", "not_there", install="longlora-edu[x]")
    assert "needs not_there, not installed here" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["09_real_model"])
def test_the_lesson_about_real_models_runs_without_transformers(name, tmp_path):
    environment = os.environ | {"LONGLORA_EDU_PROFILE": "ci", "LONGLORA_EDU_PROGRESS": str(tmp_path / "progress.json")}
    command = [sys.executable, "-c", WITHOUT, str(SOURCE / f"{name}.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "This lesson needs transformers and peft, not installed here." in done.stdout
    assert done.stdout.count("left out: it needs") >= 10
    assert done.stdout.count("an interactive panel") == 2  # the prediction and the quiz do not depend on them


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
        ("02", 1, "1 of 2 tried, 4 attempts", "none yet"),
    ]
    overview(journal)
    assert "lesson 02: 1 predictions, exercises 1 of 2 tried, 4 attempts" in capsys.readouterr().out


# The map in lesson 00.


def test_the_map_names_each_lesson_with_its_title_and_minutes():
    start, *others = lessons(SOURCE)
    text = start.path.read_text("utf-8")
    rows = re.findall(r"^# \| (\d\d) \| \[(.+?)\]\((.+?)\.ipynb\) \|.*?\| (\d+) \|", text, re.MULTILINE)
    assert rows == [(lesson.number, lesson.title, lesson.name, str(lesson.minutes)) for lesson in others]
