"""Binder's environment without Docker and without its index: `python benchmarks/binder.py FOLDER`.

Installs `binder/requirements.txt`, less its index line, beside what Binder's own image brings, and this package with
`--no-deps`, as `binder/postBuild` does. Then: `python benchmarks/notebooks.py --python FOLDER/bin/python --memory 2`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Of the course's requirements, what the environment of repo2docker 2026.4 for this Python has already.
IMAGE = ("ipykernel==7.0.1", "ipywidgets==8.1.7", "psutil==7.1.0")


def requirements() -> list[str]:
    """Binder's list, without the index that the `+cpu` build of torch is on."""
    lines = (ROOT / "binder" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line.removesuffix("+cpu") for line in lines if line and not line.startswith(("#", "--"))]


def make(folder: Path) -> Path:
    """Make the environment in `folder`; returns its Python."""
    venv.create(folder, with_pip=True, clear=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    for what in ([*IMAGE, *requirements()], ["--no-deps", str(ROOT)]):
        subprocess.run([python, "-m", "pip", "install", "-q", *what], check=True)
    return python


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(make(Path(sys.argv[1])))
