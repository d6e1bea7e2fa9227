"""JupyterLab at the first lesson, without news pop-ups, drawing outputs that are off the screen as well."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

FIRST = "00_start_here.ipynb"


def open_lab(folder: Path, *, browser: bool = True) -> int:
    """Serve `folder` until the reader stops it; returns JupyterLab's exit status.

    The course's settings are defaults: what a reader has set for themselves stays as it is.

    Raises:
        ValueError: for a folder without the first lesson, or where JupyterLab is not installed.
    """
    if not (folder / FIRST).exists():
        raise ValueError(
            f"the folder must hold {FIRST}, got {folder}: name it with `longlora-edu lab FOLDER`, "
            "or get one with `longlora-edu course copy .`"
        )
    if importlib.util.find_spec("jupyterlab") is None:
        raise ValueError("jupyterlab must be installed, got none: python -m pip install 'longlora-edu[lab]'")
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder.resolve()}"]
    command += [f"--LabApp.default_url=/lab/tree/{FIRST}", *([] if browser else ["--no-browser"])]
    return subprocess.run(command, env=lab_environment(dict(os.environ)), check=False).returncode


def lab_environment(environment: dict[str, str]) -> dict[str, str]:
    """`environment` with the course's JupyterLab defaults added to the places where Jupyter looks for them."""
    ours = str(Path(str(files("longlora_edu"))) / "assets" / "jupyter")
    paths = [ours, *filter(None, [environment.get("JUPYTER_CONFIG_PATH")])]
    return environment | {"JUPYTER_CONFIG_PATH": os.pathsep.join(paths)}
