"""The course in environments of their own: one shaped like Colab's, and nbgrader's for its marks."""

from __future__ import annotations

import json

import nbformat
import pytest
from helpers import ROOT, RUN_NOTEBOOKS, clean_copy, elsewhere, environment, run

from longlora_edu import __version__
from longlora_edu.course.build.assemble import build
from longlora_edu.course.build.repository import Repository
from longlora_edu.course.build.stamp import stamp

COLAB = ROOT / "tests" / "constraints-colab.txt"


def pinned(name):
    """A pin of this checkout's constraints."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith(f"{name}=="))


# What a learner's first cell finds there: the module that says so, and no GPU.
IN_COLAB = """
import importlib.machinery, sys, types
colab, output = types.ModuleType("google.colab"), types.ModuleType("google.colab.output")
colab.__spec__ = importlib.machinery.ModuleSpec("google.colab", None)  # accelerate asks for it
output.enable_custom_widget_manager = lambda: None
output._widgets = types.SimpleNamespace(_installed_url=None)
sys.modules |= {"google.colab": colab, "google.colab.output": output}
"""


def installed(python):
    """Each distribution of an environment with its version."""
    return {one["name"]: one["version"] for one in json.loads(run(python, "-m", "pip", "list", "--format=json"))}


@pytest.mark.slow
def test_the_course_runs_on_what_colab_ships_and_its_first_cell_installs_this_package_alone(tmp_path):
    """The address in the first cell is answered by a repository on this disk: nothing else differs from Colab's way."""
    home = Repository("somebody/longlora-edu", "v9")
    checkout = clean_copy(tmp_path / "checkout")
    stamp(checkout, home)
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"], ["tag", home.ref]):
        run("git", "-c", "user.name=Test", "-c", "user.email=test@localhost", *command, cwd=checkout)
    build(checkout / "notebooks" / "source", tmp_path / "course", "solution", run=False)
    # The package's own requirements that are not pinned there are preinstalled on Colab too.
    others = ["nbformat", "psutil", "rich", "safetensors", "tqdm", "typer>=0.19"]
    names = [line.split("==")[0] for line in COLAB.read_text(encoding="utf-8").splitlines() if "==" in line]
    # And so are lesson 09's, in versions that change by the week: ours stand for them.
    real = [pinned(name) for name in ("transformers", "peft", "accelerate")]
    python = environment(tmp_path / "colab", "-c", COLAB, pinned("torch"), *names, *others, *real)
    (tmp_path / "ipython" / "profile_default" / "startup").mkdir(parents=True)
    (tmp_path / "ipython" / "profile_default" / "startup" / "colab.py").write_text(IN_COLAB)
    settings = {"LONGLORA_EDU_PROFILE": "ci", "IPYTHONDIR": str(tmp_path / "ipython"), "GIT_CONFIG_COUNT": "1"}
    settings |= {"GIT_CONFIG_KEY_0": f"url.{checkout.as_uri()}.insteadOf", "CUDA_VISIBLE_DEVICES": ""}
    settings |= {"GIT_CONFIG_VALUE_0": f"https://github.com/{home.name}"}
    before = installed(python)
    run(python, "-c", RUN_NOTEBOOKS, tmp_path / "course", env=elsewhere(python, **settings), cwd=tmp_path)
    after = installed(python)
    assert before["ipywidgets"] == "7.7.1"
    assert {name: after[name] for name in after if after[name] != before.get(name)} == {"longlora-edu": __version__}
    *_, said = nbformat.read(tmp_path / "course" / "00_start_here.ipynb", 4).cells[1].outputs
    assert "No GPU is attached: everything works, slower." in said["data"]["text/plain"]


VALIDATE = """
import json, sys
import nbformat
from nbgrader.nbgraderformat import SCHEMA_VERSION, MetadataValidator
cells = 0
for path in sys.argv[1:]:
    notebook = nbformat.read(path, 4)
    MetadataValidator().validate_nb(notebook)
    cells += sum("nbgrader" in cell.metadata for cell in notebook.cells)
print(json.dumps({"schema": SCHEMA_VERSION, "cells": cells}))
"""


@pytest.mark.slow
def test_nbgrader_accepts_the_marks_of_every_exercise(tmp_path):
    paths = sorted((ROOT / "notebooks").glob("*.ipynb"))
    marked = sum(
        "nbgrader" in cell["metadata"] for path in paths for cell in json.loads(path.read_text("utf-8"))["cells"]
    )
    python = environment(tmp_path / "nbgrader", "nbgrader")
    found = json.loads(run(python, "-c", VALIDATE, *paths))
    assert found == {"schema": 3, "cells": marked}
    assert marked >= 24
