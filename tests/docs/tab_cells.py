"""The cells that the browser tab promises, and the program that runs them one by one, for two Pythons without torch."""

from __future__ import annotations

import sys
from functools import cache

from helpers import ROOT

from longlora_edu.course.build.assemble import edition
from longlora_edu.course.build.source import Lesson, lessons

sys.path.insert(0, str(ROOT / "docs" / "site"))

import torchless  # noqa: E402

LESSONS = lessons(ROOT / "notebooks" / "source")
# Cells in the order of a notebook, each in IPython as a kernel would run it; the first error ends it.
RUN = """
import json
import os
import sys
import matplotlib
matplotlib.use("agg")
os.environ["LONGLORA_EDU_PROFILE"] = "ci"
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for number, cell in enumerate(json.load(sys.stdin)):
    done = shell.run_cell(cell, silent=False, store_history=False)
    if not done.success:
        print(f"cell {number} failed: {cell}")
        sys.exit(1)
print("loaded", *sorted(name for name in ("torch", "psutil", "safetensors", "transformers") if name in sys.modules))
"""


@cache
def _of(name: str, kind: str) -> tuple[list[str], int, int]:
    (lesson,) = (each for each in LESSONS if each.name == name)
    notebook, runs, cells = torchless.for_the_tab(edition(lesson, kind, neighbours=LESSONS))
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"], runs, cells


def carried(lesson: Lesson) -> bool:
    """Whether the tab has the lesson, whose student edition it is made of."""
    _, runs, cells = _of(lesson.name, "student")
    return runs >= torchless.LEAST * cells


def promised(lesson: Lesson) -> list[str]:
    """Return the lesson's cells that run in the tab, with every exercise solved."""
    sources, runs, _ = _of(lesson.name, "solution")
    assert len(sources) == runs > 0
    return sources
