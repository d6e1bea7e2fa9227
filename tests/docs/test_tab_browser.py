"""The lessons in a browser tab, as a reader meets them: *Run this*, a kernel that answers, work that is kept.

Chromium is given Python from files (`tab_python.py`). NumPy for browsers is on a server out of reach here: that the
cells which the tab promises run without torch is the affair of `test_torchless.py`.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import warnings

import pytest
from helpers import chromium_session, need
from tab_python import install_python, served

pytestmark = [pytest.mark.slow, pytest.mark.browser]
SLOW = 600_000  # ms: Python starts in a tab in 11 s; on two busy cores that took eight minutes


@pytest.fixture(scope="module")
def address(site, tmp_path_factory):
    """The built site on localhost, with Python beside it."""
    need("browser", shutil.which("npm"), "needs npm, for Python's core in a browser")
    need("docs", importlib.util.find_spec("jupyterlite_pyodide_kernel"), "needs `pip install -e '.[docs]'`")
    copy = tmp_path_factory.mktemp("served") / "site"
    shutil.copytree(site, copy)
    install_python(copy / "lite", tmp_path_factory.mktemp("python"))
    with served(copy) as at:
        yield at


@pytest.fixture(scope="module")
def context():
    with chromium_session() as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(SLOW)
        yield context


@pytest.fixture(scope="module")
def lesson(site):
    """The name of the lesson about groups: the first of number 02."""
    return min(path.stem for path in (site / "notebooks").glob("02a_*.ipynb"))


def run_a_line(page, line):
    """Type a line into the first cell of code below, run it, and give what it printed."""
    page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell .cm-content").first.click()
    page.keyboard.press("Escape")
    page.keyboard.press("a")  # a cell above
    page.keyboard.press("Enter")
    page.keyboard.insert_text(line)
    active = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell.jp-mod-active")
    assert line.splitlines()[0] in active.locator(".cm-content").inner_text()
    page.keyboard.press("Control+Enter")
    active.locator(".jp-InputPrompt", has_text=re.compile(r"\[(\*|\d+)\]")).wait_for(timeout=60_000)  # it was taken
    output = active.locator(".jp-OutputArea-output").first
    output.wait_for()
    return output.inner_text()


def first_line(page, line, printed):
    """Run a line in a kernel that is just starting; where nothing comes, load the page again as a reader would."""
    from playwright.sync_api import TimeoutError as NoAnswer

    for _ in range(2):
        try:
            return run_a_line(page, line)
        except NoAnswer as error:
            warnings.warn(f"the kernel did not answer; the page said {printed}: {error}", stacklevel=2)
            page.reload()
            page.locator(".jp-NotebookPanel .jp-CodeCell").first.wait_for()
    return run_a_line(page, line)


def test_run_this_opens_the_lesson_the_kernel_answers_and_what_is_saved_is_kept(address, context, lesson):
    page = context.new_page()
    printed = []
    page.on("console", lambda message: printed.append(message.text[:200]))
    page.goto(f"{address}/notebooks/{lesson}.html")
    page.get_by_role("link", name="Run this in your browser").click()
    page.locator(".jp-NotebookPanel .jp-CodeCell").first.wait_for()
    assert page.locator(".jp-NotebookPanel h1").first.inner_text().startswith(lesson.partition("_")[0])

    assert "6 * 7 = 42" in first_line(page, 'print(f"6 * 7 = {6 * 7}")', printed)
    install = "%pip install -q longlora-edu --no-deps\nimport longlora_edu, sys\n"
    assert "emscripten" in run_a_line(page, f"{install}print(longlora_edu.__version__, sys.platform)")

    mark = "kept across a reload"
    run_a_line(page, f'print("{mark}")')
    page.keyboard.press("Escape")
    page.keyboard.press("Control+s")
    page.locator(".jp-NotebookPanel.jp-mod-dirty, .jp-Document.jp-mod-dirty").wait_for(state="detached")
    page.wait_for_timeout(2000)
    page.reload()
    page.locator(".jp-NotebookPanel .jp-CodeCell").first.wait_for()
    page.get_by_text(mark).first.wait_for()
    page.close()


def test_a_lesson_s_page_has_a_live_explorer_that_takes_a_key(address, context, lesson):
    page = context.new_page()
    page.goto(f"{address}/notebooks/{lesson}.html")
    fold = page.locator("details:has(iframe.explorer)").first
    fold.locator("summary").first.click()  # which a reader opens who has predicted
    frame = fold.locator("iframe.explorer")
    frame.scroll_into_view_if_needed()
    inside = frame.content_frame
    slider = inside.locator("input[type=range]").first
    slider.wait_for()
    before, said = slider.input_value(), inside.locator("main").inner_text()
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert slider.input_value() != before
    assert inside.locator("main").inner_text() != said
    page.close()


def test_a_lesson_that_needs_torch_says_where_it_runs(address, context, site):
    elsewhere = next(
        path for path in sorted((site / "lite/files/notebooks").glob("*.ipynb"))
        if "This lesson trains or measures with torch" in path.read_text(encoding="utf-8")
    )  # fmt: skip
    page = context.new_page()
    page.goto(f"{address}/lite/lab/index.html?path=notebooks/{elsewhere.name}")
    shown = page.locator(".jp-RenderedMarkdown")
    shown.get_by_text("This lesson trains or measures with torch").first.wait_for()
    page.close()
