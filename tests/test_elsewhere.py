"""The course in environments of their own: one shaped like Colab's, and nbgrader's for its marks."""

from __future__ import annotations

import json
import os
import subprocess
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COLAB = ROOT / "tests" / "constraints-colab.txt"


def run(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, **options)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    return done.stdout


def environment(folder, *requirements):
    """The Python of a new virtual environment with `requirements`, and nothing of the one that runs the tests."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    run(python, "-m", "pip", "install", "-q", *requirements)
    return python


def pinned(name):
    """A pin of this checkout's constraints."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith(f"{name}=="))


RUN = """
import sys
from pathlib import Path
import ipywidgets, nbformat
from nbclient import NotebookClient
failed = []
for path in sorted(Path(sys.argv[1]).glob("*.ipynb")):
    notebook = nbformat.read(path, 4)
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": sys.argv[1]}})
    try:
        client.execute()
    except Exception as error:
        failed.append(f"{path.name}: {error}")
    widgets = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {})
    outputs = [output for model in widgets.get("state", {}).values() for output in model["state"].get("outputs", [])]
    failed += [f"{path.name}: {output}" for output in outputs if output["output_type"] == "error"]
print(ipywidgets.__version__)
sys.exit("\\n".join(failed) or 0)
"""


@pytest.mark.slow
def test_the_course_runs_on_what_colab_ships(tmp_path):
    from longlora_edu.course.editions import build

    build(ROOT / "notebooks" / "source", tmp_path / "course", "solution", run=False)
    # The package's own requirements that are not pinned there come with it, as they are preinstalled on Colab.
    others = ["nbformat", "psutil", "rich", "safetensors", "tqdm", "typer>=0.19"]
    names = [line.split("==")[0] for line in COLAB.read_text(encoding="utf-8").splitlines() if "==" in line]
    python = environment(tmp_path / "colab", "-c", COLAB, pinned("torch"), *names, *others)
    run(python, "-m", "pip", "install", "-q", "--no-deps", ROOT)
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    # Otherwise nbclient would find the kernel of the environment that runs the tests.
    clean["PATH"] = os.pathsep.join([str(python.parent), clean["PATH"]])
    clean |= {"LONGLORA_EDU_PROFILE": "ci", "OMP_NUM_THREADS": "1", "JUPYTER_PREFER_ENV_PATH": "1"}
    out = run(python, "-c", RUN, tmp_path / "course", env=clean, cwd=tmp_path)
    assert out.strip() == "7.7.1"


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
