"""The site's sources: what is gathered, how links are rewritten, and what the check of built pages sees."""

from __future__ import annotations

import importlib
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from repository.test_architecture import MACHINERY, READ, READING_ORDER, USE

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs" / "site"
sys.path[:0] = [str(SITE), str(SITE.parent)]

import api  # noqa: E402
import card  # noqa: E402
import check  # noqa: E402
import collect  # noqa: E402

from longlora_edu.course.build.repository import Repository  # noqa: E402
from longlora_edu.course.build.source import lessons  # noqa: E402

CONF = runpy.run_path(str(SITE / "conf.py"))
GUIDE = ROOT / "INSTRUCTOR.md"


def written(folder, **pages):
    """A built site of a few pages, named by what stands before .html."""
    for name, body in pages.items():
        (folder / f"{name}.html").write_text(f"<html><body>{body}</body></html>", encoding="utf-8")
    return folder


def test_every_document_and_lesson_is_in_a_chapter():
    there = {page for chapter in collect.pages().values() for page in chapter}
    documents = [*ROOT.glob("docs/*.md"), *ROOT.glob("notebooks/*.md"), *ROOT.glob("notebooks/*.ipynb")]
    documents += [*ROOT.glob("benchmarks/*.md"), *ROOT.glob("*.md")]
    names = {path.relative_to(ROOT).as_posix() for path in documents} - {"README.md"}
    assert names - there == set()
    assert {page for page in there if not page.startswith("api/")} - names == collect.OWN


def test_lessons_stand_in_their_order():
    lessons = [page for page in collect.pages()["The course"] if page.endswith(".ipynb")]
    sources = {path.stem for path in (ROOT / "notebooks" / "source").glob("[0-9]*.py")}
    assert lessons == sorted(lessons) and sources <= {Path(page).stem for page in lessons}


def test_the_sidebar_says_minutes_and_how_hard_the_exercises_get_and_leaves_out_pages_that_moved():
    (lesson,) = lessons(ROOT / "notebooks" / "source", ("03",))
    assert re.fullmatch(r"03 The reference, and its gradient · \d\d min · ●●●●", collect.said_of(lesson))
    names = [f"notebooks/{name}.ipynb" for name in (lesson.name, *collect.moved())]
    assert len(names) > 1
    shown = collect._contents("x", names, {f"notebooks/{lesson.name}": "03 said"})
    assert "03 said <notebooks/03_reference>" in shown and shown.count("notebooks/") == 1


def test_a_page_that_moved_is_an_orphan_without_buttons(tmp_path):
    page = collect._notebook(f"notebooks/{min(collect.moved())}.ipynb", tmp_path)
    assert '"orphan": true' in page and "Run this" not in page


def test_the_reference_has_a_page_for_each_room_in_the_order_of_the_shelves():
    assert list(api.modules(ROOT)) == [*READ, *USE, *MACHINERY]


def test_a_folder_that_names_nothing_as_public_is_documented_file_by_file():
    pages = api.reference(ROOT)
    files = {path.stem for path in (ROOT / "longlora_edu" / "training").glob("*.py")} - {"__init__"}
    assert {f"longlora_edu.training.{name}" for name in files} <= set(pages["training"].split())


@pytest.mark.parametrize("name", READING_ORDER)
def test_what_a_module_names_as_public_it_defines_itself(name):
    module = importlib.import_module(f"longlora_edu.{name}")
    public = [getattr(module, public) for public in getattr(module, "__all__", ())]
    others = [thing for thing in public if getattr(thing, "__module__", "").startswith("longlora_edu.")]
    assert all(f"{thing.__module__}.".startswith(f"{module.__name__}.") for thing in others), "documented in two places"


def test_nothing_is_run_and_no_script_is_asked_of_a_server():
    assert CONF["nb_execution_mode"] == "off"
    assert CONF["nb_ipywidgets_js"] == {}
    assert CONF["mathjax_path"].removeprefix("mathjax/") in collect.MATHJAX
    assert CONF["html_copy_source"] is False
    assert {f"{name}.js" for name in CONF["mathjax3_config"]["loader"]["load"]} <= set(collect.MATHJAX)


@pytest.mark.parametrize("path", [*SITE.rglob("*"), *(ROOT / "docs" / "slides").rglob("*")], ids=lambda path: path.name)
def test_no_source_of_the_site_or_the_slides_names_a_server(path):
    if path.is_file() and path.suffix != ".pyc":
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"[\"'(=]https?://\w", text)
        assert path.name == "check.py" or not check.CDN.search(text)


def test_a_badge_keeps_its_words_and_its_link():
    badge = "[![Open in Colab](https://example.org/badge.svg)](https://example.org/launch)"
    assert collect.relink(badge, GUIDE, Path()) == "[Open in Colab](https://example.org/launch)"
    assert collect.relink("[![Licence: X](https://example.org/x)](LICENSE)", GUIDE, ROOT / "build" / "x").endswith(
        "[Licence: X](LICENSE)"
    )


def test_pictures_from_elsewhere_go_and_our_own_stay(tmp_path):
    assert collect.relink("a ![old](https://example.org/x.png) b", GUIDE, tmp_path) == "a  b"
    own = "![S²-Attn, drawn](docs/s2_attention.png)"
    assert collect.relink(own, GUIDE, tmp_path) == own
    assert (tmp_path / "docs" / "s2_attention.png").exists()


@pytest.mark.parametrize(
    ("said", "page", "becomes"),
    [
        ("[R](README.md)", "INSTRUCTOR.md", "[R](/index.md)"),
        ("[R](../README.md#two-commands)", "docs/claims.md", "[R](/index.md#two-commands)"),
        ("[x](docs/explorer.html#n=8&g=4)", "INSTRUCTOR.md", '<a href="docs/explorer.html#n=8&g=4">x</a>'),
        ("[`f`](../longlora_edu/rope.py)", "notebooks/07_x.ipynb", "[`f`](/api/rope.md)"),
        ("[`f`](../longlora_edu/model/folder.py)", "notebooks/07_x.ipynb", "[`f`](/api/model.md)"),
        ("[the model](longlora_edu/model)", "README.md", "[the model](/api/model.md)"),
        ('[`f`](longlora_edu/rope.py "by its name")', "README.md", '[`f`](/api/rope.md "by its name")'),
        ("[here](#discuss)", "INSTRUCTOR.md", "[here](#discuss)"),
        ("[far](https://example.org/page)", "INSTRUCTOR.md", "[far](https://example.org/page)"),
        (
            "```python\nrows[0](gone)\n```\n[R](README.md)",
            "INSTRUCTOR.md",
            "```python\nrows[0](gone)\n```\n[R](/index.md)",
        ),
        ("[of a Binder](binder)", "README.md", "of a Binder"),
        ("[b](benchmarks/README.md)", "README.md", "[b](benchmarks/README.md)"),
    ],
)
def test_links_lead_to_where_the_site_has_it(said, page, becomes, tmp_path):
    assert collect.relink(said, ROOT / page, tmp_path) == becomes


def test_a_file_that_a_page_links_to_comes_along(tmp_path):
    collect.relink('[demo](longlora_edu/assets/results/demo.json) [t](tests/oracles.py "a test")', GUIDE, tmp_path)
    assert (tmp_path / "longlora_edu" / "assets" / "results" / "demo.json").exists()
    assert (tmp_path / "tests" / "oracles.py").exists()


def test_a_lesson_has_buttons_that_run_it_and_a_file_to_take_along(tmp_path):
    lesson = min(path.stem for path in (ROOT / "notebooks").glob("03_*.ipynb"))
    page = collect._notebook(f"notebooks/{lesson}.ipynb", tmp_path)
    assert f'href=\\"../lite/lab/index.html?path=notebooks/{lesson}.ipynb\\"' in page
    assert f'href=\\"{lesson}.ipynb\\" download' in page
    assert (tmp_path / "_extra" / "notebooks" / f"{lesson}.ipynb").exists()


def test_an_explorer_of_a_lesson_is_put_there_itself_with_its_settings():
    output = "<p>docs/explorer.html#n=8&amp;g=4&amp;shift=2</p>"
    shown = collect.live(output)
    assert '<iframe class="explorer" src="../docs/explorer.html#n=8&amp;g=4&amp;shift=2"' in shown
    assert "As a picture" in shown
    assert collect.live("<p>docs/model.html</p>") == '<p><a href="../docs/model.html">docs/model.html</a></p>'
    assert collect.live("<p>nothing</p>") == "<p>nothing</p>"


@pytest.mark.parametrize(
    ("source", "folded"),
    [("import a\nfrom b import c", True), ("import a\na.x()", False), ("%pip install x", False), ("", False)],
)
def test_a_cell_that_only_imports_is_folded(source, folded):
    assert collect.only_imports(source) is folded


def test_the_first_page_has_the_readme_s_numbers_and_lessons(tmp_path):
    text = collect._landing(tmp_path)
    assert "{{" not in text and "Teach a small model to read" in text
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lessons = re.compile(r"^\[.*\]\(notebooks/(\w+)\.ipynb\) \|", re.MULTILINE)
    assert lessons.findall(text) == lessons.findall(readme) != []
    assert "lite/lab/index.html?path=notebooks/02a_" in text


@pytest.mark.parametrize(
    ("address", "named"), [(None, "docs/card.png"), ("x/y", "https://x.github.io/y/docs/card.png")]
)
def test_a_shared_link_shows_a_picture_by_its_whole_address_where_there_is_one(address, named, tmp_path, monkeypatch):
    stated = address and Repository(address, "v1")
    monkeypatch.setattr(collect, "read_repository", lambda root: stated)
    head = collect._landing(tmp_path).split("---")[1]
    assert f'"property=og:image": "{named}"' in head and collect.CARD_SAYS in head and '"description": "' in head
    assert CONF["html_favicon"] == "_static/logo.svg" and (ROOT / "docs" / "logo.svg").is_file()


def test_the_picture_of_a_shared_link_is_what_its_command_draws_and_small():
    kept = Image.open(card.CARD)
    assert kept.size == card.SIZE and card.CARD.stat().st_size <= 300_000
    apart = np.asarray(card.draw(), dtype=int) - np.asarray(kept.convert("RGB"), dtype=int)
    assert abs(apart).mean() < 4, "python docs/card.py"


def test_a_part_that_others_made_is_left_out_of_the_check(tmp_path):
    (tmp_path / "lite").mkdir()
    (tmp_path / "lite" / "a.js").write_text("fetch('https://cdn.jsdelivr.net/npm/x')")
    assert check.problems(tmp_path) == ["lite/a.js names cdn.jsdelivr.net"]
    assert check.problems(tmp_path, apart=tmp_path / "lite") == []


def test_a_link_to_nothing_is_refused():
    with pytest.raises(ValueError, match="a link must lead to a file, got 'docs/gone.md' in INSTRUCTOR.md"):
        collect.relink("[x](docs/gone.md)", GUIDE, Path())


def test_formulas_and_tables_of_docstrings_are_shown_as_they_are_written():
    formula, table = ["    S = q k^T", ""], ["| a | b |", "|---|---|", ""]
    lines = ["One sentence.", "", *formula, "and", "", *table, "Raises:", "    ValueError: x"]
    CONF["preformatted"](None, "function", "f", None, None, lines)
    shown = [line and f"    {line}" for line in (*formula, *table)]
    as_text = [".. code-block:: text", ""]
    literal = [*as_text, *shown[:2], "and", "", *as_text, *shown[2:]]
    assert lines == ["One sentence.", "", *literal, "Raises:", "    ValueError: x"]


def test_good_pages_have_no_problems(tmp_path):
    (tmp_path / "a.css").write_text("b { background: url('data:image/png;base64,AA'); }")
    first = '<link rel="stylesheet" href="a.css"><h2 id="x">x</h2><a href="second.html#y">to y</a><a href="#x">up</a>'
    second = '<p id="y">y</p><a href="https://example.org">away</a><a href="explorer.html#n=8">settings</a>'
    assert check.problems(written(tmp_path, first=first, second=second, explorer="<p>moves</p>")) == []


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ('<a href="gone.html">x</a>', "has a link to 'gone.html', which is no file"),
        ('<a href="#gone">x</a>', "has a link to '#gone', which is no place there"),
        ('<img src="gone.png">', "has a link to 'gone.png', which is no file"),
        ('<img src="https://example.org/x.png">', "loads https://example.org/x.png"),
        ('<script src="//example.org/x.js"></script>', "loads //example.org/x.js"),
        ('<link rel="preconnect" href="https://example.org">', "loads https://example.org"),
        ('<img srcset="https://example.org/x.png 2x" src="">', "loads https://example.org/x.png"),
        ('<iframe src="https://example.org"></iframe>', "loads https://example.org"),
        ("<style>@import 'https://example.org/x.css';</style>", "loads https://example.org/x.css"),
        ('<p style="background: url(https://example.org/x)">', "loads https://example.org/x"),
        ("<script>load('https://cdn.example.org/x')</script>", "names cdn.example.org"),
        ("<script>load('https://unpkg.com/x')</script>", "names unpkg.com"),
    ],
)
def test_the_check_of_pages_sees_a_planted_fault(body, found, tmp_path):
    problems = check.problems(written(tmp_path, page=body))
    assert f"page.html {found}" in problems


def test_the_check_of_pages_reads_scripts_and_style_sheets_too(tmp_path):
    (tmp_path / "a.js").write_text("fetch('https://cdn.jsdelivr.net/npm/x')")
    (tmp_path / "a.css").write_text("@font-face { src: url(https://example.org/font.woff2); }")
    assert check.problems(tmp_path) == [
        "a.css loads https://example.org/font.woff2",
        "a.js names cdn.jsdelivr.net",
    ]
