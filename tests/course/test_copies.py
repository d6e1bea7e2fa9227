"""The course in a folder of one's own, whose changes are never written over."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from longlora_edu.cli import app
from longlora_edu.course.build import copies
from longlora_edu.course.build.copies import copy_course, material

ROOT = Path(__file__).parents[2]


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_student_edition_is_copied_with_its_outputs_and_what_it_links_to(tmp_path):
    paths = copy_course(tmp_path / "mine")
    found = contents(tmp_path / "mine")
    assert sorted(path.relative_to(tmp_path / "mine").as_posix() for path in paths) == sorted(found)
    assert sum(name.endswith(".ipynb") for name in found) == 16
    assert all(content == (ROOT / name).read_bytes() for name, content in found.items())
    # A lesson may also name a file of the package, and the guide for teachers what only a checkout has.
    links = re.compile(r"\]\((?!http|#|\.\./longlora_edu)([^)#\s\\]+)")
    named = {
        link for path in (tmp_path / "mine" / "notebooks").iterdir() for link in links.findall(path.read_text("utf-8"))
    }
    assert {"glossary.md", "../INSTRUCTOR.md", "02a_wall_and_shift.ipynb"} <= named
    assert {link for link in named if not (tmp_path / "mine" / "notebooks" / link).exists()} == set()
    guide = links.findall((tmp_path / "mine" / "INSTRUCTOR.md").read_text("utf-8"))
    assert {
        link for link in guide if link.endswith((".ipynb", ".html")) and not (tmp_path / "mine" / link).exists()
    } == set()


def test_what_a_learner_changed_is_named_and_nothing_is_written(tmp_path):
    copy_course(tmp_path)
    assert len(copy_course(tmp_path)) == 25  # the same again is no harm
    before = contents(tmp_path)
    for name in ("03_reference", "07_extend_a_small_model"):
        (tmp_path / "notebooks" / f"{name}.ipynb").write_text("mine", encoding="utf-8")
    (tmp_path / "notebooks" / "glossary.md").unlink()
    mine = contents(tmp_path)
    with pytest.raises(
        ValueError,
        match=r"must hold no other version of what is copied, got notebooks/03_reference.ipynb, "
        r"notebooks/07_extend_a_small_model.ipynb: nothing was written",
    ):
        copy_course(tmp_path)
    assert contents(tmp_path) == mine != before


def test_the_solution_edition_is_built_on_the_spot_or_says_what_it_needs(tmp_path, monkeypatch):
    done = CliRunner().invoke(app, ["course", "copy", str(tmp_path), "--edition", "solution"])
    assert done.exit_code == 0, done.output
    assert "longlora-edu lab" in done.output
    notebook = nbformat.read(tmp_path / "notebooks" / "03_reference.ipynb", 4)
    assert notebook.metadata.longlora_edu.edition == "solution"
    assert not any("raise NotImplementedError" in cell.source for cell in notebook.cells)
    refused = CliRunner().invoke(app, ["course", "copy", str(tmp_path)])
    assert refused.exit_code == 1
    assert "got notebooks/00_start_here.ipynb" in refused.output
    monkeypatch.setattr(copies.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="jupytext must be installed for the instructor edition, got none"):
        copy_course(tmp_path / "other", "instructor")


def test_an_installed_package_reads_the_copy_that_it_carries(tmp_path, monkeypatch):
    assert material() == ROOT
    monkeypatch.setattr(copies, "files", lambda name: tmp_path / name)
    (tmp_path / "longlora_edu" / "assets" / "course").mkdir(parents=True)
    assert material() == tmp_path / "longlora_edu" / "assets" / "course"


def test_a_letter_that_the_terminal_does_not_have_costs_no_result(tmp_path):
    """As on Windows, where what is piped has an encoding with few letters."""
    command = [sys.executable, "-m", "longlora_edu.cli", "course", "copy", "copied→"]
    environment = dict(os.environ) | {"PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert b'longlora-edu lab "copied?' in done.stdout
    assert (tmp_path / "copied→" / "notebooks" / "glossary.md").exists()


def test_the_student_edition_needs_nothing_that_builds_notebooks(tmp_path):
    code = "import sys; sys.modules['nbformat'] = sys.modules['jupytext'] = None\n"
    code += "from longlora_edu.cli import app; app(['course', 'copy', '.'])"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert (tmp_path / "notebooks" / "00_start_here.ipynb").exists()
