"""The lessons themselves: their form, what is committed of them, and that they run, as stubs and as solutions."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest

from longlora_edu.course.build.assemble import LARGEST, build, edition
from longlora_edu.course.build.frame import set_up
from longlora_edu.course.build.outputs import LOCAL_PATH, swallowed_errors
from longlora_edu.course.build.repository import read_repository
from longlora_edu.course.build.source import lessons, problems, sections, slug

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
LESSONS = {lesson.name: lesson for lesson in lessons(NOTEBOOKS / "source")}
NAMES = [
    "00_start_here",
    "01_why_long_context_is_expensive",
    "02_groups_shift_boundary",
    "03_reference",
    "04_meaning_to_speed",
    "05_stretching_positions",
    "06_lora_and_what_longlora_trains",
    "07_extend_a_small_model",
    "08_did_it_work",
    "09_real_model",
    "10_bug_gallery_and_critics",
]
each_lesson = pytest.mark.parametrize("name", NAMES)
KINDS = ["student", "solution"]


def committed(name):
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", 4)


def html_outputs(notebook):
    return [output.data["text/html"] for output in outputs_of(notebook) if "text/html" in output.get("data", {})]


def outputs_of(notebook):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


# Their form.


def test_the_course_is_these_eleven_lessons():
    assert list(LESSONS) == NAMES
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == NAMES


@each_lesson
def test_a_lesson_follows_the_template(name):
    assert problems(LESSONS[name]) == []


@each_lesson
def test_a_lesson_imports_at_most_a_dozen_names_of_the_package(name):
    names = set()
    for cell in LESSONS[name].cells:
        imports = re.findall(r"^from longlora_edu[\w.]* import (.+)$", cell.source, re.MULTILINE)
        names.update(part for line in imports for part in re.findall(r"(\w+)(?:,|$)", line))
    # Lesson 09 walks through the modules of hf/ one by one and chooses the number format, besides what all lessons do.
    assert len(names) <= (17 if name == "09_real_model" else 12), sorted(names)


def test_there_are_enough_deep_exercises_where_they_matter():
    deep = Counter(
        name
        for name, lesson in LESSONS.items()
        for cell in lesson.cells
        if "exercise" in cell.metadata and cell.metadata["difficulty"] >= 2
    )
    assert deep.total() >= 12
    assert sum(count for name, count in deep.items() if name[:2] in ("02", "03", "04", "06")) > deep.total() / 2


def test_names_of_exercises_predictions_and_quizzes_are_used_once():
    keys = Counter()
    for lesson in LESSONS.values():
        code = "\n".join(cell.source for cell in lesson.cells if cell.cell_type == "code")
        predicted, quizzes, revealed, puzzles = (
            re.findall(rf'\b(?:{name})\(\s*"([^"]+)"', code) for name in ("predict|draw", "quiz", "reveal", "parsons")
        )
        assert set(predicted) == set(revealed), lesson.name
        assert all(re.match(rf"{lesson.number}(\.|$)", key) for key in (*predicted, *quizzes, *puzzles)), lesson.name
        keys.update(predicted + quizzes + puzzles)
    assert max(keys.values()) == 1


@each_lesson
def test_a_claim_stands_right_above_the_cell_that_computes_it(name):
    cells = LESSONS[name].cells
    for index, cell in enumerate(cells):
        asked = re.findall(r"\{\{claim: *(.+?) *\}\}", cell.source) if cell.cell_type == "markdown" else []
        assert len(asked) <= 1
        for claim in asked:
            assert cells[index + 1].metadata.get("claim") == claim


def test_every_claim_has_a_verdict_and_is_computed_in_one_lesson():
    claims = sections((ROOT / "docs/claims.md").read_text(encoding="utf-8"))
    computed = Counter(
        cell.metadata["claim"] for lesson in LESSONS.values() for cell in lesson.cells if "claim" in cell.metadata
    )
    assert len(claims) >= 11
    assert set(computed) == set(claims)
    assert max(computed.values()) == 1
    for claim, body in claims.items():
        assert body.startswith("> "), claim
        assert re.search(r"^\*\*Verdict\*\*: ", body, re.MULTILINE), claim
        (where,) = re.findall(r"^\*\*Computed in\*\*: .*lesson (\d\d)", body, re.MULTILINE)
        assert [
            lesson.number for lesson in LESSONS.values() if f'claim="{claim}"' in lesson.path.read_text("utf-8")
        ] == [where]


def test_words_for_beginners_are_three_sentences_without_a_symbol():
    terms = sections((NOTEBOOKS / "glossary.md").read_text(encoding="utf-8"))
    assert len(terms) >= 30
    for term, body in terms.items():
        (said,) = re.findall(r"^\*For beginners:\* *(.+?)(?:\n\n|\Z)", body, re.MULTILINE | re.DOTALL)
        assert len(re.findall(r"[.!?](?=\s|$)", said)) == 3, term
        assert not re.search(r"[\d=+*/^_`$\\<>²√×·%]", said), term


# What is committed.


@each_lesson
def test_what_is_committed_was_built_from_the_source_that_is(name):
    notebook, lesson = committed(name), LESSONS[name]
    nbformat.validate(notebook)
    fresh = edition(lesson, "student", neighbours=list(LESSONS.values()))
    assert notebook.metadata == fresh.metadata, "build it again: longlora-edu course build"
    for cell, now in zip(notebook.cells, fresh.cells, strict=True):
        assert (cell.id, cell.cell_type, cell.source, cell.metadata) == (
            now.id,
            now.cell_type,
            now.source,
            now.metadata,
        )


@each_lesson
def test_a_visitor_sees_everything_and_nothing_of_the_machine(name):
    notebook = committed(name)
    assert (NOTEBOOKS / f"{name}.ipynb").stat().st_size <= LARGEST
    assert "widgets" not in notebook.metadata
    assert notebook.cells[1].source == set_up(read_repository(ROOT))
    assert all(output.output_type != "error" for output in outputs_of(notebook))
    assert not any("widget-view" in kind for output in outputs_of(notebook) for kind in output.get("data", {}))
    text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", json.dumps(notebook, ensure_ascii=False))
    assert not LOCAL_PATH.search(text)
    assert not re.search(r"<(script|style|iframe|svg)\b", text)
    assert not re.search(r"\bid=\\?[\"']", text)


@each_lesson
def test_every_picture_says_what_it_shows(name):
    notebook = committed(name)
    assert not any("image/png" in output.get("data", {}) for output in outputs_of(notebook))
    images = [tag for html in html_outputs(notebook) for tag in re.findall(r"<img[^>]*>", html)]
    for tag in images:
        assert re.search(r'alt="[^"]{15,}"', tag), tag[:200]
    assert images
    assert not re.search(r"!\[\s*\]\(", "\n".join(cell.source for cell in notebook.cells))


@each_lesson
def test_links_between_lessons_and_into_the_glossary_resolve(name):
    text = "\n".join(cell.source for cell in committed(name).cells if cell.cell_type == "markdown")
    anchors = {
        path.name: {slug(heading) for heading in re.findall(r"^#+ +(.+?) *$", path.read_text("utf-8"), re.MULTILINE)}
        for path in NOTEBOOKS.glob("*.md")
    }
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        assert not file or (NOTEBOOKS / file).exists(), target
        assert not anchor or file not in anchors or anchor in anchors[file], target
    assert "(glossary.md)" in text


# That they run.


def run(paths, report):
    """Run notebooks by nbmake, as a reader's machine would with the least work: what went wrong, by the name of each.

    One pytest for all, without the plugins that happen to be installed: starting it takes as long as a short lesson.
    Each notebook has a kernel and a folder of its own, where its journal is kept.
    """
    options = {"LONGLORA_EDU_PROFILE": "ci", "OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "nbmake.pytest_plugin", "--nbmake", "--overwrite", "-q"]
    command += ["-p", "no:cacheprovider", f"--junitxml={report}", *map(str, paths)]
    clean = {name: value for name, value in os.environ.items() if name != "LONGLORA_EDU_PROGRESS"}
    done = subprocess.run(
        command, cwd=report.parent, env=clean | options, capture_output=True, text=True, timeout=600 * len(paths)
    )
    wrong = dict.fromkeys((path.stem for path in paths), done.stdout + done.stderr)
    for case in ElementTree.parse(report).iter("testcase") if report.exists() else ():
        faults = [part for part in case if part.tag in ("failure", "error", "skipped")]
        wrong[Path(case.get("name")).stem] = "\n".join(f"{part.get('message')} {part.text}" for part in faults)
    return wrong


@pytest.fixture(scope="session")
def runs(request, tmp_path_factory):
    """Gives the run of a lesson: what went wrong, and the notebook with its outputs.

    All lessons of an edition that this session asks for run when the first is asked for. One process runs both
    editions side by side, most of a short run being the start of a kernel; under xdist each process has one of them.
    """
    items = [item for item in request.session.items if "runs" in getattr(item, "fixturenames", ())]
    wanted = sorted({(item.callspec.params["kind"], item.callspec.params["name"]) for item in items})
    paths, started = {}, {}

    def start(kind):
        for name in [name for other, name in wanted if other == kind]:
            folder = tmp_path_factory.mktemp(f"{kind}-{name}")
            (paths[kind, name],) = build(NOTEBOOKS / "source", folder, kind, wanted=(name,), run=False)
        every = [path for (other, _), path in paths.items() if other == kind]
        started[kind] = pool.submit(run, every, tmp_path_factory.mktemp("report") / f"{kind}.xml")

    def finished(kind, name):
        if kind not in started:
            for each in {kind} if "PYTEST_XDIST_WORKER" in os.environ else {kind for kind, _ in wanted}:
                start(each)
        return started[kind].result()[name], nbformat.read(paths[kind, name], 4)

    with ThreadPoolExecutor(2) as pool:
        yield finished


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.xdist_group(kind)) for kind in KINDS])
@each_lesson
def test_it_runs(kind, name, runs):
    wrong, notebook = runs(kind, name)
    assert wrong == ""
    assert swallowed_errors(notebook) == []
    errors = [output.ename for output in outputs_of(notebook) if output.output_type == "error"]
    exercises = [cell for cell in LESSONS[name].cells if "exercise" in cell.metadata]
    assert errors == (["NotImplementedError"] * len(exercises) if kind == "student" else [])
    checks = [cell for cell in notebook.cells if "raises-exception" in cell.metadata.get("tags", [])]
    assert len(checks) == (len(exercises) if kind == "student" else 0)
    assert not any("Not yet:" in str(output) for output in outputs_of(notebook))
