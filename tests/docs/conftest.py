"""The built site, for the tests that open it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import need

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The built folder. The command itself fails on a warning, a link that leads nowhere, or a foreign server."""
    packages = ("sphinx", "myst_nb", "furo", "sphinx_revealjs", "mathjax", "jupytext", "jupyterlite_core")
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    need("docs", not missing, f"needs `pip install -e '.[docs]'`, without which there is no {', '.join(missing)}")
    out = tmp_path_factory.mktemp("site") / "site"
    command = [sys.executable, ROOT / "docs" / "site" / "build.py", "--out", out]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out
