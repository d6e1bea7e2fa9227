"""The lessons in a browser tab: JupyterLite with a Python compiled for browsers, no server and no install.

What a reader's browser fetches: the pages of `lite/` from this site; Python, NumPy and matplotlib from the server that
the Pyodide kernel names; the pure packages from the package index. `python docs/site/build.py` makes it with the rest.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import nbformat
from torchless import LEAST, for_the_tab, try_all_at_once

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ROOT / "longlora_edu" / "assets" / "jupyter" / "labconfig" / "default_setting_overrides.json"
BESIDE = ("notebooks/glossary.md", "docs/claims.md", "docs/explorer.html")
# A tab reads no weights, and has the lessons as its files.
LEFT_OUT = (".safetensors", "assets/course/notebooks/", "assets/course/docs/model.html")
LIMIT = 3_000_000  # bytes of our own, without JupyterLite itself
SET_UP = """# @title Set-up: where am I?
%pip install -q longlora-edu anywidget
from longlora_edu.course import check_environment

environment = check_environment()
profile = environment.profile
environment"""
# The core of npm's pyodide 314.0.7 is 13.5 MB unpacked. What NumPy and matplotlib weigh there was not measured.
NOTE = (
    "*This copy runs in your browser. The first time it fetches Python (14 MB), and its first cell fetches NumPy, "
    "matplotlib and other packages from public servers. What you write is kept in this browser; download the notebook "
    "to take it along.*"
)
ELSEWHERE = (
    "This lesson trains or measures with torch, which a browser tab does not have. It runs on a laptop, on Colab and "
    "on Binder; the pages of this site show it with its results."
)


def lite(out: Path) -> dict[str, int]:
    """Write JupyterLite with the lessons into the folder `out`; returns the bytes of our own files by name.

    Raises:
        ValueError: when they are above `LIMIT`.
        subprocess.CalledProcessError: when a builder fails.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = contents(folder / "contents")
        wheel = slim_wheel(folder)
        own[wheel.name] = wheel.stat().st_size
        if sum(own.values()) > LIMIT:
            raise ValueError(f"own files of the tab must have at most {LIMIT:,} bytes, got {sum(own.values()):,}")
        shutil.copy(SETTINGS, folder / "overrides.json")
        config = {
            "LiteBuildConfig": {
                "contents": [str(folder / "contents")],
                "no_sourcemaps": True,
                "apps": ["lab", "notebooks", "tree"],
                "settings_overrides": [str(folder / "overrides.json")],
            },
            "PipliteAddon": {"piplite_urls": [str(wheel)]},
        }
        (folder / "jupyter_lite_config.json").write_text(json.dumps(config), encoding="utf-8")
        command = [sys.executable, "-m", "jupyterlite_core", "build", "--output-dir", str(out.resolve())]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, env=_paths())
    # The builder's memory. Left behind, a second build would think its settings written that are not.
    (out / ".jupyterlite.doit.db").unlink(missing_ok=True)
    return own


def contents(folder: Path) -> dict[str, int]:
    """Write the lessons for the tab and the pages that they lead to; returns the bytes of each."""
    paths, sizes = sorted((ROOT / "notebooks").glob("[0-9][0-9]*_*.ipynb")), {}
    stored = {path.name: nbformat.read(path, as_version=4) for path in paths}
    try_all_at_once(stored.values())
    (folder / "notebooks").mkdir(parents=True)
    for name, notebook in stored.items():
        target = folder / "notebooks" / name
        target.write_text(nbformat.writes(lesson_for_the_tab(notebook)), encoding="utf-8")
        sizes[target.name] = target.stat().st_size
    for name in BESIDE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
        sizes[name] = (folder / name).stat().st_size
    return sizes


def lesson_for_the_tab(stored: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return a stored notebook as the tab has it; of one that mostly needs torch, a page that says where it runs."""
    made, runs, cells = for_the_tab(stored, NOTE)
    if runs < LEAST * cells:
        made.cells = [nbformat.v4.new_markdown_cell(f"{stored.cells[0].source}\n\n{ELSEWHERE}", id="elsewhere")]
    for cell in made.cells:
        if "set-up" in cell.metadata.get("tags", []) and cell.cell_type == "code":
            cell.source, cell.outputs = SET_UP, []
    made.metadata["kernelspec"] = {"name": "python", "display_name": "Python (in the browser)", "language": "python"}
    return made


def slim_wheel(folder: Path) -> Path:
    """Build the wheel of this checkout and leave out what no tab reads: weights, and the course's own copies."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "whole")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (whole,) = (folder / "whole").glob("*.whl")
    slim = folder / whole.name
    with zipfile.ZipFile(whole) as full, zipfile.ZipFile(slim, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as kept:
        names = [name for name in full.namelist() if not any(part in name for part in LEFT_OUT)]
        rows = []
        for name in (name for name in names if not name.endswith(".dist-info/RECORD")):
            data = full.read(name)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            rows.append(f"{name},sha256={digest},{len(data)}")
            kept.writestr(name, data)
        (record,) = (name for name in names if name.endswith(".dist-info/RECORD"))
        kept.writestr(record, "\n".join([*rows, f"{record},,", ""]))
    return slim


def _paths() -> dict[str, str]:
    """The environment of the builder: it finds extensions beside every package that this Python can import."""
    beside = [Path(entry).parents[2] / "share" / "jupyter" for entry in sys.path if entry.endswith("site-packages")]
    given = os.environ.get("JUPYTER_PATH", "")
    there = [str(path) for path in beside if path.is_dir()]
    return os.environ | {"JUPYTER_PATH": os.pathsep.join(filter(None, [given, *there]))}
