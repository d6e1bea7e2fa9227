from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import nbformat
import pytest
from helpers import ROOT

from longlora_edu.course.build.assemble import build, edition
from longlora_edu.course.build.frame import set_up
from longlora_edu.course.build.outputs import execute, portable, swallowed_errors
from longlora_edu.course.build.sealing import unsealed
from longlora_edu.course.build.source import QUANTITY, lessons, problems, read_lesson, stub
from longlora_edu.widgets.display import HINT

SOURCE = ROOT / "notebooks" / "source"
HEADER = """# ---
# jupyter:
#   longlora_edu:
#     title: Small things
# ---
"""
LESSON = (
    HEADER
    + '''
# %% [markdown]
# {{beginners: Mask}}
#
# {{claim: all-heads}}

# %% claim="all-heads" tags=["training"]
1 + 1

# %% [markdown] instructor=true
# They will say: all of them.

# %% [markdown]
# ### Exercise 7.1 · Double
# Double it.

# %% exercise="double" difficulty=2 importance=5 minutes=8 points=3
def double(x):
    """Twice x."""
    ### BEGIN SOLUTION
    y = x
    return y + x
    ### END SOLUTION

# %% check="double"
try:
    assert double(2) == 4
except NotImplementedError:
    raise
print("twice")

# %% [markdown] hints="double"
# Add.
#
# ---
# Add it.
#
# ---
# Add it to itself.
'''
)
GLOSSARY = "# Words\n\n## Mask\nWho sees whom.\n\n*For beginners:* One. Two. Three.\n"
CLAIMS = "# Claims\n\n## all-heads\n> All heads.\n\n**Verdict**: false.\n\nHalf.\n\n**Computed in**: lesson 07\n"


@pytest.fixture
def checkout(tmp_path):
    """A folder with one lesson and what it refers to."""
    for name, text in {
        "notebooks/source/07_small.py": LESSON,
        "notebooks/source/08_next.py": HEADER.replace("Small", "Next"),
        "notebooks/glossary.md": GLOSSARY,
        "docs/claims.md": CLAIMS,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def lesson(checkout):
    return read_lesson(checkout / "notebooks/source/07_small.py")


def sources(notebook, kind="code"):
    return [cell.source for cell in notebook.cells if cell.cell_type == kind]


def test_a_student_gets_the_stub_and_the_solution_innermost_of_four_folds(lesson):
    notebook = edition(lesson, "student")
    written = next(source for source in sources(notebook) if "def double" in source)
    assert written == 'def double(x):\n    """Twice x."""\n    raise NotImplementedError("double: your lines go here")'
    folded = next(source for source in sources(notebook, "markdown") if "Hint 1" in source)
    assert re.findall(r"<summary>(.+?)</summary>", folded) == ["Hint 1", "Hint 2", "Hint 3", "Solution"]
    assert folded.count("</details>") == 4
    assert "    y = x\n    return y + x\n```" in folded
    assert not any("They will say" in source for source in sources(notebook, "markdown"))


def test_the_other_editions_have_the_solution_and_the_instructor_has_the_notes(lesson):
    for kind, notes in (("solution", False), ("instructor", True)):
        notebook = edition(lesson, kind)
        code = "\n".join(sources(notebook))
        assert "    y = x\n    return y + x" in code
        assert "SOLUTION" not in code
        assert not any("raises-exception" in cell.metadata.get("tags", []) for cell in notebook.cells)
        assert any("They will say" in source for source in sources(notebook, "markdown")) is notes


def test_exercises_are_rated_and_cells_carry_the_marks_of_nbgrader(lesson):
    notebook = edition(lesson, "student")
    text = next(source for source in sources(notebook, "markdown") if "Exercise 7.1" in source)
    assert "Difficulty ●●○○○ · importance ●●●●● · about 8 minutes · roughly 2 lines" in text
    marks = [cell.metadata["nbgrader"] for cell in notebook.cells if "nbgrader" in cell.metadata]
    both = {"task": False, "schema_version": 3}
    assert marks == [
        {"grade": False, "solution": True, "locked": False, "grade_id": "double"} | both,
        {"grade": True, "solution": False, "locked": True, "grade_id": "check_double", "points": 3} | both,
    ]


def test_the_source_of_a_quiz_is_folded_because_its_answers_stand_in_it(checkout):
    path = checkout / "notebooks/source/08_next.py"
    path.write_text(HEADER + '\n# %%\ncourse.quiz("08.quiz")\n\n# %%\nprint("course.quiz(")\n')
    asked, other = edition(read_lesson(path), "student").cells[2:4]
    assert asked.metadata == {"jupyter": {"source_hidden": True}, "cellView": "form"}
    assert other.metadata == {}


HELD = """
# %% [markdown] after="08.walls"
# It was the **wall**.

# %% after="08.walls" tags=["training"]
1 + 1

# %% [markdown]
# Go on.

# %% after="08.walls"
2 + 2

# %% folded="The clock"
x = 1
"""


def test_what_gives_an_answer_away_is_sealed_together_and_long_code_is_folded(checkout):
    path = checkout / "notebooks/source/08_next.py"
    path.write_text(HEADER + HELD)
    together, text, alone, clock = edition(read_lesson(path), "student").cells[2:6]
    hidden = {"jupyter": {"source_hidden": True}, "cellView": "form"}
    assert together.metadata == hidden | {"tags": ["training"]}
    assert unsealed(together.source) == "<p>It was the <strong>wall</strong>.</p>\n\n1 + 1"
    assert "wall" not in together.source.replace("08.walls", "")
    assert 'course.open_sealed("""' in together.source and together.source.endswith('""", after="08.walls")')
    assert text.source == "Go on."
    assert (unsealed(alone.source), alone.metadata, clock.metadata) == ("2 + 2", hidden, hidden)
    assert clock.source == "# @title The clock\nx = 1"
    assert [cell.source for cell in edition(read_lesson(path), "instructor").cells[2:4]] == [
        "It was the **wall**.",
        "1 + 1",
    ]
    path.write_text(HEADER + HELD.replace("**wall**", "$s$"))
    assert "08_next holds back a text with a formula, which it cannot draw: 'It was the $s$.'" in problems(
        read_lesson(path)
    )


def test_boxes_and_claims_are_pulled_in(lesson):
    text = "\n".join(sources(edition(lesson, "student"), "markdown"))
    assert "<summary>For beginners: mask</summary>\n\nOne. Two. Three.\n" in text
    assert "(glossary.md#mask)" in text
    assert "> All heads.\n\n**Verdict**: false.\n\nHalf." in text
    assert "Computed in" not in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("{{beginners: Mask}}", "{{beginners: Task}}"),
            "07_small asks for 'Task', which must be a heading of glossary",
        ),
        (("{{claim: all-heads}}", "{{claim: x}}"), "07_small asks for 'x', which must be a heading of claims.md"),
        (("### END SOLUTION", "###"), "exercise double must have one solution between its marks, got 1 and 0"),
    ],
)
def test_what_is_not_there_is_named(change, message, lesson):
    lesson.path.write_text(LESSON.replace(*change), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        edition(read_lesson(lesson.path), "student")


def test_a_term_without_words_for_beginners_is_named(checkout, lesson):
    (checkout / "notebooks/glossary.md").write_text("## Mask\nWho sees whom.\n")
    with pytest.raises(ValueError, match="'Mask' in glossary.md must have a paragraph"):
        edition(lesson, "student")


def test_an_unknown_edition_is_refused(lesson):
    with pytest.raises(ValueError, match="edition must be one of student, .*, assignment, got 'clean'"):
        edition(lesson, "clean")


def test_lessons_link_to_each_other_and_to_the_glossary(checkout):
    first, second = lessons(checkout / "notebooks/source")
    heads = [edition(one, "student", neighbours=[first, second]).cells[0].source for one in (first, second)]
    assert "[08 Next things →](08_next.ipynb)" in heads[0]
    assert "[← 07 Small things](07_small.ipynb)" in heads[1]
    assert all("[glossary](glossary.md)" in head for head in heads)
    assert heads[0].startswith("# 07 · Small things")


def test_ids_stay_when_cells_come_and_go(lesson):
    before = {cell.source: cell.id for cell in edition(lesson, "student").cells}
    lesson.path.write_text(LESSON.replace("# %% [markdown]\n# {{", "# %%\n0\n\n# %%\n0\n\n# %% [markdown]\n# {{", 1))
    changed = edition(read_lesson(lesson.path), "student").cells
    assert {cell.source: cell.id for cell in changed if cell.source in before} == before
    assert len({cell.id for cell in changed}) == len(changed) == len(before) + 2


def test_the_outputs_of_the_solution_stand_under_the_stubs(checkout):
    (path,) = build(checkout / "notebooks/source", checkout / "notebooks", "student", wanted=("07",))
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    check = next(cell for cell in notebook.cells if cell.source.startswith("try:"))
    assert check.outputs[0].text == "twice\n"
    assert check.metadata["tags"] == ["raises-exception"]
    assert notebook.metadata.longlora_edu.source_sha256 == lessons(checkout / "notebooks/source")[0].digest
    assert "widgets" not in notebook.metadata
    assert notebook.cells[1].source == set_up(None)
    assert notebook.cells[1].outputs[0].data["text/plain"].startswith("profile ")
    assert [cell.metadata["tags"] for cell in notebook.cells if cell.source == "1 + 1"] == [["training"]]


def test_a_solution_that_fails_and_a_notebook_too_large_are_not_written(checkout, monkeypatch):
    from nbclient.exceptions import CellExecutionError

    source = checkout / "notebooks/source"
    (source / "07_small.py").write_text(LESSON.replace("return y + x", "return y"))
    with pytest.raises(CellExecutionError, match="AssertionError"):
        build(source, checkout / "out", "student", wanted=("07",))
    monkeypatch.setattr("longlora_edu.course.build.assemble.LARGEST", 1000)
    with pytest.raises(ValueError, match="07_small must be at most 1000 bytes, got"):
        build(source, checkout / "out", "student", wanted=("07",), run=False)
    assert not list(checkout.glob("out/*.ipynb"))


def test_sources_are_read_or_refused_by_name(checkout):
    source = checkout / "notebooks/source"
    assert [one.name for one in lessons(source, ("08",))] == ["08_next"]
    with pytest.raises(ValueError, match="lesson must be one of 07_small, 08_next, got '09'"):
        lessons(source, ("09",))
    with pytest.raises(ValueError, match="must hold lessons, got none"):
        lessons(checkout)
    (source / "08_next.py").write_text("# %%\n1\n")
    with pytest.raises(ValueError, match=r"08_next.py must name its title in its header, got \{\}"):
        lessons(source)


def test_the_template_is_held(lesson):
    found = "\n".join(problems(lesson))
    assert all(f"has no section '{name}'" in found for name in ("Why", "Break it", "Discuss"))
    assert "has no prediction" in found
    assert "asks 0 quiz questions, not three" in found
    assert "hints" not in found
    lesson.path.write_text(LESSON.replace("# ---\n# Add it.\n", "").replace("Double it.", "Saves 40 %."))
    found = "\n".join(problems(read_lesson(lesson.path)))
    assert "has 2 hints for double, not three" in found
    assert "says '40 %' in its text" in found


@pytest.mark.parametrize("text", ["40%", "40 %", "1.3×", "× 8", "3 s", "2 GB", "1.08 bits", "5 ppl"])
def test_measured_quantities_have_no_place_in_prose(text):
    assert QUANTITY.search(f"it takes {text} more")


@pytest.mark.parametrize("text", ["S²-Attn", "lesson 02 so far", "8 tokens", "groups of 4", "2 heads", "L = 3 steps"])
def test_other_numbers_do(text):
    assert not QUANTITY.search(text)


def test_a_stub_keeps_what_stands_around_the_solution():
    source = "a = 1\nif a:\n    ### BEGIN SOLUTION\n    b = 2\n    ### END SOLUTION\nc = 3"
    assert stub(source, "it") == 'a = 1\nif a:\n    raise NotImplementedError("it: your lines go here")\nc = 3'


# What travels.


def stream(text, name="stdout"):
    return nbformat.v4.new_output("stream", name=name, text=text)


def display(**data):
    return nbformat.v4.new_output("display_data", data={kind.replace("__", "/"): text for kind, text in data.items()})


def test_outputs_lose_what_only_a_kernel_knows():
    bundle = display(text__html="<b>words</b>", text__plain="words")
    bundle.data["application/vnd.jupyter.widget-view+json"] = {"model_id": "1"}
    assert portable(bundle)["data"] == {"text/html": "<b>words</b>", "text/plain": "words"}
    still = f'<div class="longlora-still-0f"><b>words</b>{HINT}<style>.a:has(.b) {{display: none}}</style></div>'
    assert portable(display(text__html=still, text__plain="words"))["data"] == portable(bundle)["data"]
    del bundle.data["text/html"]
    assert portable(bundle) is None  # the progress bar of another library
    del bundle.data["text/plain"]
    assert portable(bundle) is None
    assert portable(stream("a warning", "stderr")) is None
    assert portable(stream("1 of 2\r2 of 2\ndone\n"))["text"] == "2 of 2\ndone\n"


@pytest.mark.parametrize("place", ["home", "tmp", "root", "Users", "C:"])
def test_no_output_names_a_path_of_a_machine(place):
    path = "\\".join([place, "Users", "me"]) if place == "C:" else "/".join(["", place, "me", "x.py"])
    for output in (stream(f"see {path} there"), display(text__plain=path), display(text__html=f"<b>{path}</b>")):
        with pytest.raises(ValueError, match="must not name paths of a machine, got"):
            portable(output)
    assert portable(display(text__html=f'<img src="data:image/png;base64,AA/{place}/x=">')) is not None


def test_errors_that_a_widget_swallowed_are_found():
    """`Output` catches what its block raises: the cell is green, the reader sees a trace."""
    cells = [
        nbformat.v4.new_code_cell(
            "import ipywidgets\nout = ipywidgets.Output()\nwith out:\n    1 / 0\nout", id="broken"
        )
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    with pytest.raises(ValueError, match="no widget may swallow an error, got ZeroDivisionError"):
        execute(notebook)
    assert swallowed_errors(nbformat.v4.new_notebook()) == []


def test_the_command_builds_and_guards_the_student_edition(checkout, monkeypatch):
    from typer.testing import CliRunner

    from longlora_edu.cli import app

    monkeypatch.chdir(checkout)
    built = CliRunner().invoke(app, ["course", "build", "--no-execute"])
    assert built.exit_code == 0, built.output
    assert sorted(path.name for path in (checkout / "notebooks").glob("*.ipynb")) == ["07_small.ipynb", "08_next.ipynb"]
    before = (checkout / "notebooks/07_small.ipynb").read_text()
    refused = CliRunner().invoke(app, ["course", "build", "--no-execute", "--edition", "solution"])
    assert refused.exit_code == 1
    assert "out must not be where the student edition is kept for solution" in refused.output
    assert (checkout / "notebooks/07_small.ipynb").read_text() == before
    done = CliRunner().invoke(
        app, ["course", "build", "--no-execute", "--edition", "solution", "--out", "solved", "07"]
    )
    assert done.exit_code == 0, done.output
    metadata = json.loads((checkout / "solved/07_small.ipynb").read_text())["metadata"]
    assert metadata["longlora_edu"]["edition"] == "solution"


def test_the_lab_opens_at_the_first_lesson_with_the_settings_of_the_course(checkout, monkeypatch):
    from longlora_edu.course.build import lab

    with pytest.raises(ValueError, match="the folder must hold 00_start_here.ipynb, got"):
        lab.open_lab(checkout)
    (checkout / "notebooks/00_start_here.ipynb").write_text("{}")
    started = []
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "mine")

    class Process:
        def __init__(self, command, **options):
            started.append((command, options))

        def wait(self, timeout=None):
            return 0

        poll = wait

    monkeypatch.setattr(lab.subprocess, "Popen", Process)
    monkeypatch.setattr(lab.os, "geteuid", lambda: 0)
    assert lab.open_lab(checkout / "notebooks", browser=False) == 0
    ((command, options),) = started
    assert "--LabApp.default_url=/lab/tree/00_start_here.ipynb" in command
    assert {"--no-browser", "--allow-root"} <= set(command)
    ours, theirs = options["env"]["JUPYTER_CONFIG_PATH"].split(lab.os.pathsep)
    assert theirs == "mine"
    settings = json.loads((lab.Path(ours) / "labconfig/default_setting_overrides.json").read_text())
    assert settings["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"
    monkeypatch.setattr(lab.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="jupyterlab must be installed, got none"):
        lab.open_lab(checkout / "notebooks")


def test_a_gpu_is_asked_for_by_lessons_that_use_one_only():
    asked = {lesson.name: "accelerator" in edition(lesson, "student").metadata for lesson in lessons(SOURCE)}
    uses = {name: "cuda" in (SOURCE / f"{name}.py").read_text(encoding="utf-8") for name in asked}
    assert asked == uses and set(asked.values()) == {True, False}


FIRST_CELL = """
import importlib.util
import sys
import types
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "longlora_edu" else found(name, *rest)
if {colab}:
    sys.modules["google.colab"] = types.ModuleType("google.colab")
from IPython.core.interactiveshell import InteractiveShell
from longlora_edu.course.build.frame import set_up
from longlora_edu.course.build.repository import Repository
shell = InteractiveShell.instance()
shell.register_magic_function(lambda line: print("pip", line), magic_name="pip")
done = shell.run_cell(set_up(Repository("someone/long-lora", "v1") if {stamped} else None))
print(done.success)
"""


def test_the_first_cell_finds_a_wheel_that_is_kaggle_s_data(tmp_path):
    (tmp_path / "data" / "mine").mkdir(parents=True)
    (wheel := tmp_path / "data" / "mine" / "longlora_edu-0.2.0-py3-none-any.whl").touch()
    assert "/kaggle/input" in set_up(None)
    program = FIRST_CELL.format(colab=False, stamped=False)
    program = program.replace("else None)", f"else None).replace('/kaggle/input', {str(tmp_path / 'data')!r})")
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path, env=dict(os.environ) | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert f'pip install -q "{wheel}"' in done.stdout and done.stdout.rstrip().endswith("True"), done.stdout


@pytest.mark.parametrize(
    ("colab", "stamped", "wheel", "said"),
    [
        (True, True, False, 'pip install -q --no-deps "longlora-edu @ git+https://github.com/someone/long-lora@v1"'),
        (False, True, False, 'pip install -q "longlora-edu @ git+https://github.com/someone/long-lora@v1"'),
        (True, False, True, 'pip install -q --no-deps "longlora_edu-0.2.0-py3-none-any.whl"'),
        (False, True, True, 'pip install -q "longlora_edu-0.2.0-py3-none-any.whl"'),
        (
            False,
            False,
            False,
            "put its wheel beside this notebook (on Kaggle, add it as data), and run this cell again",
        ),
    ],
)
def test_the_first_cell_installs_on_any_host(colab, stamped, wheel, said, tmp_path):
    if wheel:
        for version in ("0.1.0", "0.2.0"):
            (tmp_path / f"longlora_edu-{version}-py3-none-any.whl").touch()
    done = subprocess.run(
        [sys.executable, "-c", FIRST_CELL.format(colab=colab, stamped=stamped)],
        cwd=tmp_path, env=dict(os.environ) | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said in done.stdout + done.stderr
    assert done.stdout.rstrip().endswith(str(stamped or wheel)), done.stdout + done.stderr
