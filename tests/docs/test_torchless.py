"""The lessons in a browser tab: each cell that is promised there runs without torch, and the rest is text."""

from __future__ import annotations

import json
import subprocess
import sys

import nbformat
import pytest
from helpers import ROOT
from tab_cells import LESSONS, RUN, carried, promised, torchless

from longlora_edu.course.build.assemble import edition
from longlora_edu.course.build.sealing import sealed, sealed_until


def cells(*sources):
    """A notebook of code cells."""
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])


def kept(*sources):
    """The code cells that a tab has left of `sources`."""
    made, _, _ = torchless.for_the_tab(cells(*sources))
    return [cell.source for cell in made.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_every_cell_that_the_tab_promises_runs_without_torch(lesson, tmp_path):
    sources = promised(lesson)
    if not carried(lesson):
        return
    done = subprocess.run(
        [sys.executable, "-c", torchless.WITHOUT + RUN],
        input=json.dumps(sources), cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.rstrip().endswith("loaded"), done.stdout[-200:]


def test_lessons_that_compute_in_numpy_are_there_whole():
    shares = {}
    for lesson in LESSONS:
        _, runs, cells = torchless.for_the_tab(edition(lesson, "solution", neighbours=LESSONS))
        shares[lesson.name] = runs / cells
    numpy_only = [lesson.name for lesson in LESSONS if "import torch" not in (lesson.path.read_text(encoding="utf-8"))]
    assert sum(shares[name] == 1 for name in numpy_only) >= 2, shares
    assert all(shares[name] >= 0.7 for name in numpy_only), shares


def test_what_computes_in_numpy_is_imported_without_torch():
    modules = [
        "course", "course.bugs", "course.build.copies", "course.checks.exercise", "course.play.bug_gallery",
        "course.play.retrieval", "course.play.sheet", "cost", "geometry", "longlora", "model", "model.config", "plan",
        "plots", "reference", "rope", "runs.records", "training.corpus", "training.passkey", "training.probe",
        "widgets.cost_explorer", "widgets.explorer", "widgets.panel", "widgets.rank_explorer", "widgets.rope_explorer",
        "widgets.task",
    ]  # fmt: skip
    works = torchless.working([f"import longlora_edu.{name}" for name in modules])
    assert [statement for statement, fine in works.items() if not fine] == []
    assert torchless.working(["import torch", "import longlora_edu.attention"]) == {
        "import torch": False,
        "import longlora_edu.attention": False,
    }


def test_the_shape_of_the_model_and_the_settings_are_read_without_torch():
    code = "from longlora_edu.model import bundled_config; from longlora_edu.longlora import LongLoRAConfig\n"
    code += "print(bundled_config().rope.head_dim, LongLoRAConfig(2048).pattern.group_size)"
    done = subprocess.run(
        [sys.executable, "-c", torchless.WITHOUT + code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    from longlora_edu.model import bundled_model

    assert done.stdout.split() == [str(bundled_model().config.rope.head_dim), "512"]


def test_a_name_that_a_lazy_package_lacks_is_missing_as_everywhere():
    import longlora_edu.lora
    import longlora_edu.model

    for package in (longlora_edu.lora, longlora_edu.model):
        assert all(getattr(package, name) is not None for name in package.__all__)
        with pytest.raises(AttributeError, match="has no attribute 'unheard_of'"):
            _ = package.unheard_of


@pytest.mark.parametrize(
    ("sources", "left"),
    [
        (["import numpy as np", "x = np.ones(2)"], ["import numpy as np", "x = np.ones(2)"]),
        (["import torch", "x = torch.ones(2)", "y = x + 1", "z = 3"], ["z = 3"]),
        (["import torch\nx = torch.ones(2)\nprint(x)", "x = 3", "x + 1"], ["x = 3", "x + 1"]),
        (["from longlora_edu.attention import s2_attention", "s2_attention(1)"], []),
        (["from longlora_edu.training import probe", "r = probe.run_probe(1)", "r"], [0]),
        (["from longlora_edu import course", "course.living_model()", "course.predict"], [0, 1, 2]),
        (["def f():\n    import torch\n    return torch", "f()"], []),
        (["def f(torch):\n    return torch", "f(2)"], ["def f(torch):\n    return torch", "f(2)"]),
        (["x = 1", "course.require('transformers', install='y')", "x"], ["x = 1"]),
        (["%matplotlib inline\nx = 1", "x"], ["%matplotlib inline\nx = 1", "x"]),
        (["import torch", "share = torch.pi", "for n in (1, 2):\n    share = n\n    print(share)"], [-1]),
    ],
)
def test_what_needs_torch_is_lost_and_nothing_else(sources, left):
    assert [cell for cell in kept(*sources) if not cell.startswith("# Lines that need torch")] == [
        sources[each] if isinstance(each, int) else each for each in left
    ]


def test_what_a_sealed_cell_needs_is_seen_and_it_is_kept_or_lost_as_a_whole():
    needs = "import torch\nimport math\nx = torch.pi"
    pieces = [("text", "It is *half*."), ("code", needs)]
    for cell in (sealed(needs), sealed_until("01.half", pieces)):
        assert kept(cell, "x", "import math") == ["import math"]
    for cell in (sealed("import math"), sealed_until("01.half", [("text", "import torch"), ("code", "y = 1")])):
        assert kept(cell) == [cell]


def test_a_set_up_keeps_the_lines_that_need_no_torch():
    (cell,) = kept("import math\n\nimport torch\n\nhalf = math.pi\nwhole = torch.pi")
    assert cell.splitlines()[1:] == ["import math", "", "", "half = math.pi"]


def test_a_lost_cell_shows_its_code_and_what_it_printed():
    notebook = cells("import torch\nprint(torch.pi)")
    notebook.cells[0].outputs = [
        nbformat.v4.new_output("stream", text="3.14\n"),
        nbformat.v4.new_output("display_data", data={"text/html": '<img alt="a curve" src="data:,">'}),
    ]
    made, runs, all_cells = torchless.for_the_tab(notebook, "A note.")
    (text,) = (cell.source for cell in made.cells)
    assert (runs, all_cells, made.cells[0].cell_type) == (0, 1, "markdown")
    assert "needs torch" in text and "```text\n3.14\n```" in text and '<img alt="a curve"' in text
    assert text.endswith("A note.") and notebook.cells[0].cell_type == "code"
