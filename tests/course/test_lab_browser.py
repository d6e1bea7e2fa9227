"""Lessons in a real JupyterLab in a real browser: they run, the explorer answers to keyboard and mouse."""

from __future__ import annotations

import os
import re
import sys
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest
from helpers import CHROMIUM_OPTIONS, LAB_READY, RUN_ALL, chromium, need

from longlora_edu.course.build.assemble import build
from longlora_edu.course.build.lab import served_lab

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "notebooks" / "source"
SAVE = "async () => await window.jupyterapp.commands.execute('docmanager:save')"

PYTHON = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
# One of each kind of panel that a lesson shows.
PANELS = {
    "explorer": "from longlora_edu.widgets.explorer import explorer\nexplorer(n=8)",
    "prediction": "from longlora_edu.course import predict\npredict('02.a', 'Who hears whom?', ['a', 'b'])",
    "quiz": "from longlora_edu.course import Question, quiz\n"
    "quiz('02.b', Question('Which half?', right=('heads', 'Yes.'), wrong=[('tokens', 'No.')]))",
    "panel": "from longlora_edu.widgets.cost_explorer import cost_explorer\ncost_explorer().show()",
    "another": "from longlora_edu.widgets.rank_explorer import rank_explorer\nrank_explorer().show()",
}


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory):
    """Where pictures are kept: the folder `LONGLORA_EDU_SCREENSHOTS`, or one of pytest's own."""
    folder = Path(os.environ.get("LONGLORA_EDU_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """JupyterLab on a folder with the solution edition of four lessons, as `longlora-edu lab` sets it up."""
    chromium()
    need("browser", sys.modules.get("playwright") or pytest.importorskip("playwright"), "needs playwright")
    pytest.importorskip("jupyterlab")
    folder = tmp_path_factory.mktemp("lab")
    build(SOURCE, folder / "notebooks", "solution", wanted=("00", "02a", "02b", "07"), run=False)
    cells = [nbformat.v4.new_code_cell(source) for source in PANELS.values()]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=PYTHON), folder / "notebooks" / "panels.ipynb")
    alive = nbformat.v4.new_code_cell("from longlora_edu import course\ncourse.living_model(variant='stretched')")
    nbformat.write(nbformat.v4.new_notebook(cells=[alive], metadata=PYTHON), folder / "notebooks" / "alive.ipynb")
    options = {"LONGLORA_EDU_PROFILE": "ci", "OMP_NUM_THREADS": "1", "LONGLORA_EDU_PROGRESS": str(folder / "p.json")}
    with served_lab(folder / "notebooks", folder, options) as address:
        yield address


def test_a_server_that_does_not_start_says_why(tmp_path):
    pytest.importorskip("jupyterlab")
    server = served_lab(tmp_path / "nowhere", tmp_path)
    with pytest.raises(ValueError, match="JupyterLab must start, got: (.|\n)*nowhere"), server:
        pass


@pytest.fixture(scope="module")  # Playwright's loop would get in the way of other files' own
def browser():
    executable = chromium()
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


@contextmanager
def lesson(browser, server, name, screenshots):
    """A lesson that was opened and run to its end; at the end of the block, no error may have come up in the page."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{server}/lab/tree/{name}.ipynb?reset", timeout=120_000)
    page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.sessionContext", timeout=120_000)
    page.evaluate(LAB_READY)
    assert page.evaluate(RUN_ALL) is True, f"a cell of {name} failed"
    yield page
    page.screenshot(path=screenshots / f"{name}.png")
    assert page.locator(".jp-OutputArea-output[data-mime-type*='error']").count() == 0
    assert page.locator(".jp-Dialog").count() == 0, "a dialog is in the way"
    assert errors == []
    page.close()


def serious_faults(page, selector):
    """What axe finds that is serious or critical, inside of what is ours."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, context=selector)
    return [
        (violation["id"], violation["nodes"][0]["html"][:200])
        for violation in found.response["violations"]
        if violation["impact"] in ("serious", "critical")
    ]


def canvas_of(page):
    """What the explorer drew, as a data URL: it changes when the picture does."""
    return page.evaluate("() => document.querySelector('.longlora-explorer canvas').toDataURL()")


def commit_first_prediction(page):
    commit_prediction(page, page.get_by_role("button", name="Commit").first)


def commit_prediction(page, commit):
    commit.scroll_into_view_if_needed()
    panel = commit.locator("xpath=ancestor::div[contains(@class,'widget-vbox')][1]")
    if panel.get_by_role("radio").count():
        panel.get_by_role("radio").first.check()
    else:
        panel.locator("input").first.fill("12")
        panel.locator("input").first.press("Tab")
    commit.click()
    panel.get_by_text(re.compile("Committed:")).wait_for()


@pytest.mark.parametrize("name", ["00_start_here", "02a_wall_and_shift"])
def test_the_explorer_answers_to_keyboard_and_mouse(name, browser, server, screenshots):
    with lesson(browser, server, name, screenshots) as page:
        assert page.locator(".longlora-explorer").count() == 0, "it would show the answer"
        commit_first_prediction(page)
        explorer = page.locator(".longlora-explorer").first
        explorer.scroll_into_view_if_needed()
        before, said = canvas_of(page), explorer.inner_text()
        explorer.locator("input[type=range]").nth(1).focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function(
            "before => document.querySelector('.longlora-explorer canvas').toDataURL() !== before", arg=before
        )
        assert explorer.inner_text() != said
        before = canvas_of(page)
        box = explorer.locator("canvas").first.bounding_box()
        page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"])
        page.wait_for_function(
            "before => document.querySelector('.longlora-explorer canvas').toDataURL() !== before", arg=before
        )
        explorer.screenshot(path=screenshots / f"{name}-explorer.png")
        assert serious_faults(page, ".longlora-explorer") == []


def test_predictions_and_quizzes_take_answers_in_the_browser(browser, server, screenshots):
    # Of a lesson that no other test answers: what is committed stays so.
    with lesson(browser, server, "02b_reach", screenshots) as page:
        commit_first_prediction(page)


def test_training_starts_and_stops_by_its_buttons(browser, server, screenshots):
    with lesson(browser, server, "07_extend_a_small_model", screenshots) as page:
        start = page.get_by_role("button", name=re.compile("Start|Train"))
        assert start.count() == 0, "its curve would show the answer"
        question = page.locator(".widget-vbox:has([role=radio], input[type=radio])")
        for commit in question.get_by_role("button", name="Commit").all():
            commit_prediction(page, commit)
        start = start.first
        start.scroll_into_view_if_needed()
        start.click()
        stop = page.get_by_role("button", name="Stop").first
        stop.click(timeout=30_000)
        page.get_by_text(re.compile("[Ss]topped|[Dd]one|[Ff]inished")).first.wait_for(timeout=60_000)


def test_the_living_model_gets_its_weights_from_the_kernel_and_reads(browser, server, screenshots):
    with lesson(browser, server, "alive", screenshots) as page:
        rows = page.locator("[data-part=rows]")
        rows.get_by_text(re.compile("stretched")).first.wait_for(timeout=120_000)
        before = rows.inner_text()
        assert re.search(r"\d\.\d\d", before), before
        page.get_by_role("radio", name=re.compile("after")).first.check()
        rows.get_by_text(re.compile("after")).first.wait_for(timeout=120_000)
        assert rows.inner_text() != before


def parts_of(page):
    """What each cell shows of its panel: the picture that stands in, the widget, and what says that one is missing."""
    return page.evaluate(
        """() => [...document.querySelectorAll('.jp-CodeCell')].map(cell => {
            const seen = what => [...cell.querySelectorAll(what)].some(part => part.checkVisibility());
            const words = [...cell.querySelectorAll('.jp-OutputArea-output')].filter(part => part.checkVisibility());
            return {still: seen('[class^=longlora-still-] > :first-child'), widget: seen('.widget-vbox'),
                    error: words.some(part => /Error|Loading widget/.test(part.textContent))};
        })"""
    )


def wait_for_parts(page, wanted):
    for _ in range(60):
        if parts_of(page) == [wanted] * len(PANELS):
            return
        page.wait_for_timeout(500)
    assert dict(zip(PANELS, parts_of(page), strict=True)) == dict.fromkeys(PANELS, wanted)


def test_a_saved_lesson_shows_pictures_when_it_is_opened_again_and_widgets_when_it_is_run(browser, server, screenshots):
    alive = {"still": False, "widget": True, "error": False}
    saved = {"still": True, "widget": False, "error": False}
    with lesson(browser, server, "panels", screenshots) as page:
        wait_for_parts(page, alive)
        page.evaluate(SAVE)
        page.evaluate("async () => await window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.goto(f"{server}/lab/tree/panels.ipynb?reset", timeout=120_000)
    page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.sessionContext", timeout=120_000)
    page.evaluate(LAB_READY)
    wait_for_parts(page, saved)
    page.screenshot(path=screenshots / "panels-saved.png")
    assert page.evaluate(RUN_ALL) is True
    wait_for_parts(page, alive)
    page.close()
