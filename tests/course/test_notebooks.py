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
from forked_kernels import forked_kernels

from longlora_edu.course.build.assemble import LARGEST, build, edition
from longlora_edu.course.build.frame import set_up
from longlora_edu.course.build.minutes import CORE, minutes
from longlora_edu.course.build.outputs import LOCAL_PATH, swallowed_errors
from longlora_edu.course.build.repository import read_repository
from longlora_edu.course.build.routes import missing_steps, read_routes
from longlora_edu.course.build.source import lessons, problems, sections, slug

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
LESSONS = {lesson.name: lesson for lesson in lessons(NOTEBOOKS / "source")}
NAMES = [
    "00_start_here",
    "01_why_long_context_is_expensive",
    "02a_wall_and_shift",
    "02b_reach",
    "02c_seam_and_leak",
    "03_reference",
    "04_meaning_to_speed",
    "05_stretching_positions",
    "06_lora_and_what_longlora_trains",
    "07_extend_a_small_model",
    "08_did_it_work",
    "09_real_model",
    "10_bug_gallery_and_critics",
    "11_where_the_idea_went",
    "12_read_the_sheet",
]
MOVED = ["02_groups_shift_boundary"]
each_lesson = pytest.mark.parametrize("name", NAMES)
KINDS = ["student", "solution"]


def committed(name):
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", 4)


def html_outputs(notebook):
    return [output.data["text/html"] for output in outputs_of(notebook) if "text/html" in output.get("data", {})]


def outputs_of(notebook):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


# Their form.


def test_the_course_is_these_fifteen_lessons():
    assert list(LESSONS) == NAMES
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == sorted(NAMES + MOVED)


@pytest.mark.parametrize("name", MOVED)
def test_an_old_name_says_where_to_go(name):
    (lesson,) = lessons(NOTEBOOKS / "source", (name,), moved=True)
    assert lesson.moved
    notebook = committed(name)
    assert notebook.cells == edition(lesson, "student").cells, "build it again: longlora-edu course build"
    assert all(cell.cell_type == "markdown" for cell in notebook.cells)
    links = set(re.findall(r"\]\((\w+)\.ipynb\)", notebook.cells[1].source))
    assert links == {other for other in NAMES if other.startswith(name[:2])}
    exercises = re.findall(r"\b2\.\d", "".join(notebook.cells[1].source))
    assert {"2.1", "2.3", "2.4", "2.5", "2.6", "2.7"} <= set(exercises)


@each_lesson
def test_the_core_of_a_lesson_takes_half_an_hour_at_most(name):
    core, whole = minutes(LESSONS[name])
    assert 0 < core <= min(CORE, whole)
    said = f"core {core} min · all {whole} min" if whole > core else f"{core} min"
    assert f"*{said}*" in committed(name).cells[0].source


# Words that nobody says aloud. An option of a function may have such a name.
BANNED = re.compile(r"\b(?:foret(?:ell|old)\w*|dear(?:er|est)?|besides|surely|whatever)\b(?!=)", re.IGNORECASE)


@pytest.mark.parametrize("path", sorted((NOTEBOOKS / "source").glob("*.py")), ids=lambda path: path.stem)
def test_a_lesson_speaks_as_people_do(path):
    found = [
        f"{number}: {line.strip()}"
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if BANNED.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("line", "fine"),
    [
        ("# which is dear", False),
        ("# Whatever it is", False),
        ("kept(run, besides=(q, k))", True),
        ("# a dearth", True),
    ],
)
def test_the_look_at_words_tells_them_apart(line, fine):
    assert (BANNED.search(line) is None) is fine


# The map.


def test_routes_go_through_what_their_lessons_need():
    routes = read_routes(NOTEBOOKS / "source")
    assert missing_steps(routes) == []
    assert ["00", *(entry["number"] for entry in routes["lesson"])] == [lesson.number for lesson in LESSONS.values()]
    broken = {**routes, "route": [{"who": "In a hurry", "lessons": ["00", "02a", "07"]}]}
    assert missing_steps(broken) == [f"route 'In a hurry' has 07 without {lesson} before it" for lesson in ("05", "06")]


@each_lesson
def test_what_a_lesson_says_it_needs_is_in_the_map(name):
    needs = next((e["before"] for e in read_routes(NOTEBOOKS / "source")["lesson"] if e["number"] in name[:3]), ["00"])
    top = "\n".join(cell.source for cell in LESSONS[name].cells[:2] if cell.cell_type == "markdown")
    asked = re.findall(r"\((\d\d[a-c]?)_\w+\.ipynb\)", top.partition("You need first")[2].partition("Where it runs")[0])
    later = {"01"}  # "you can read it later"
    assert set(asked) - later <= {*needs, "00"} | {e for n in needs for e in before_of(n)}, (asked, needs)


def before_of(number):
    """All lessons that one needs, through others too."""
    table = {entry["number"]: entry["before"] for entry in read_routes(NOTEBOOKS / "source")["lesson"]}
    found = list(table.get(number, ()))
    return {*found, *(deeper for one in found for deeper in before_of(one))}


@each_lesson
def test_a_lesson_follows_the_template(name):
    assert problems(LESSONS[name]) == []


@each_lesson
def test_a_lesson_imports_at_most_a_dozen_names_of_the_package(name):
    names = set()
    for cell in LESSONS[name].cells:
        imports = re.findall(r"^from longlora_edu[\w.]* import (.+)$", cell.source, re.MULTILINE)
        names.update(part for line in imports for part in re.findall(r"(\w+)(?:,|$)", line))
    assert len(names) <= 12, sorted(names)


def test_there_are_enough_deep_exercises_where_they_matter():
    deep = Counter(
        name
        for name, lesson in LESSONS.items()
        for cell in lesson.cells
        if "exercise" in cell.metadata and cell.metadata["difficulty"] >= 2
    )
    assert deep.total() >= 12
    assert sum(count for name, count in deep.items() if name[:2] in ("02", "03", "04", "06")) > deep.total() / 2


def test_sealed_texts_have_no_link_out_of_the_course():
    """The site rewrites links to the docs in open text; a sealed one would lead nowhere there."""
    sealed = [cell for lesson in LESSONS.values() for cell in lesson.cells if "after" in cell.metadata]
    assert len(sealed) > 20
    assert [cell.source for cell in sealed if "](../" in cell.source] == []


def test_names_of_exercises_predictions_and_quizzes_are_used_once():
    keys = Counter()
    for lesson in LESSONS.values():
        code = "\n".join(cell.source for cell in lesson.cells if cell.cell_type == "code")
        predicted, quizzes, revealed, puzzles = (
            re.findall(rf'\b(?:{name})\(\s*"([^"]+)"', code) for name in ("predict|draw", "quiz", "reveal", "parsons")
        )
        assert set(predicted) == set(revealed), lesson.name
        assert all(re.match(rf"{lesson.subject}(\.|$)", key) for key in (*predicted, *quizzes, *puzzles)), lesson.name
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


CLAIMS = sections((ROOT / "docs/claims.md").read_text(encoding="utf-8"))
LINES = re.compile(r"^\*\*Computed in\*\*: these lines\n\n```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_every_claim_has_a_verdict_and_is_computed_once_in_a_lesson_or_on_the_page():
    computed = Counter(
        cell.metadata["claim"] for lesson in LESSONS.values() for cell in lesson.cells if "claim" in cell.metadata
    )
    here = [claim for claim, body in CLAIMS.items() if LINES.search(body)]
    assert len(CLAIMS) >= 11
    assert sorted([*computed, *here]) == sorted(CLAIMS)
    assert max(computed.values()) == 1
    for claim, body in CLAIMS.items():
        assert body.startswith("> "), claim
        assert re.search(r"^\*\*Verdict\*\*: ", body, re.MULTILINE), claim
        if claim in here:
            continue
        (where,) = re.findall(r"^\*\*Computed in\*\*: .*lesson (\d\d[a-c]?)", body, re.MULTILINE)
        assert [
            lesson.number for lesson in LESSONS.values() if f'claim="{claim}"' in lesson.path.read_text("utf-8")
        ] == [where]


@pytest.mark.parametrize("claim", [claim for claim, body in CLAIMS.items() if LINES.search(body)])
def test_what_the_page_of_claims_computes_comes_out(claim):
    (lines,) = LINES.findall(CLAIMS[claim])
    assert "assert " in lines
    exec(compile(lines, claim, "exec"), {})


def test_the_table_of_claims_names_their_lessons():
    table = re.findall(
        r"^\| ([\d–a-c]+) \| \[.+?\]\(#(.+?)\)", (ROOT / "docs/claims.md").read_text("utf-8"), re.MULTILINE
    )
    said = {
        claim: re.findall(r"^\*\*Computed in\*\*: .*lesson (\d\d[a-c]?)", body, re.MULTILINE)
        for claim, body in CLAIMS.items()
    }
    assert {claim: number for number, claim in table} == {claim: (found or ["–"])[0] for claim, found in said.items()}


@each_lesson
def test_a_lesson_has_two_claims_at_most(name):
    assert sum("claim" in cell.metadata for cell in LESSONS[name].cells) <= 2


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


def run(paths, report, variables):
    """Run notebooks by nbmake, as a reader's machine would with the least work: what went wrong, by the name of each.

    One pytest for all, without the plugins that happen to be installed: starting it takes as long as a short lesson.
    Each notebook has a kernel and a folder of its own, where its journal is kept; torch and the like are loaded once
    for all kernels (`forked_kernels`).
    """
    options = {"LONGLORA_EDU_PROFILE": "ci", "OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "nbmake.pytest_plugin", "--nbmake", "--overwrite", "-q"]
    command += ["-p", "no:cacheprovider", f"--junitxml={report}", *map(str, paths)]
    clean = {name: value for name, value in os.environ.items() if name != "LONGLORA_EDU_PROGRESS"}
    done = subprocess.run(
        command,
        cwd=report.parent,
        env=clean | options | variables,
        capture_output=True,
        text=True,
        timeout=600 * len(paths),
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
        started[kind] = pool.submit(run, every, tmp_path_factory.mktemp("report") / f"{kind}.xml", variables)

    def finished(kind, name):
        if kind not in started:
            for each in {kind} if "PYTEST_XDIST_WORKER" in os.environ else {kind for kind, _ in wanted}:
                start(each)
        return started[kind].result()[name], nbformat.read(paths[kind, name], 4)

    with forked_kernels(tmp_path_factory.mktemp("kernels")) as variables, ThreadPoolExecutor(2) as pool:
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
