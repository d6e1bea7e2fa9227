"""Predictions in a real JupyterLab: drawn by keyboard and mouse, committed, and opened by that; lines put in order."""

from __future__ import annotations

import re
import sys

import nbformat
import pytest
from helpers import CHROMIUM_OPTIONS, LAB_READY, RUN_ALL, chromium, need

from longlora_edu.course.build.lab import served_lab
from longlora_edu.course.build.sealing import sealed

pytestmark = pytest.mark.browser
CELLS = [
    "import numpy as np\nfrom longlora_edu import course\nfrom longlora_edu.widgets.explorer import explorer",
    sealed(
        'course.draw("09.mask", "Who looks at whom?", cells=(["0", "1"], ["0", "1"]))\n'
        'course.reveal("09.mask", np.tri(2) > 0, "Token 1 sees both.")'
    ),
    sealed(
        'course.draw("09.curve", "How does it go on?", curve=["256", "512"], between=(0, 8), unit="bits per byte")\n'
        'course.reveal("09.curve", {"256": 1.0, "512": 6.0}, "It breaks at once.")'
    ),
    sealed(
        'course.predict("09.number", "How many?", unit="pairs")\n'
        'course.reveal("09.number", 97, "Counted.", unit="pairs")'
    ),
    'course.after("09.number", explorer, n=8, g=4, heads=2, layers=1)',
    sealed('course.parsons("09.lines", "Two lines.", ["a = 1", "return a"])'),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A notebook with one of each, run to its end."""
    executable = chromium()
    need("browser", sys.modules.get("playwright") or pytest.importorskip("playwright"), "needs playwright")
    pytest.importorskip("jupyterlab")
    sync_api = pytest.importorskip("playwright.sync_api")
    folder = tmp_path_factory.mktemp("answers")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    (folder / "notebooks").mkdir()
    nbformat.write(notebook, folder / "notebooks/answers.ipynb")
    options = {"OMP_NUM_THREADS": "1", "LONGLORA_EDU_PROGRESS": str(folder / "p.json")}
    with served_lab(folder / "notebooks", folder, options) as address, sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_OPTIONS)
        page = browser.new_page(viewport={"width": 1280, "height": 1600})
        page.goto(f"{address}/lab/tree/answers.ipynb?reset", timeout=240_000)
        page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.sessionContext", timeout=240_000)
        page.evaluate(LAB_READY)
        assert page.evaluate(RUN_ALL) is True
        yield page
        browser.close()


def commit(page, number):
    button = page.get_by_role("button", name="Commit").nth(number)
    button.scroll_into_view_if_needed()
    button.click()


def test_cells_are_drawn_by_keyboard_and_the_answer_opens(page):
    assert not any(said.is_visible() for said in page.get_by_text("Token 1 sees both.").all())
    grid = page.get_by_role("grid")
    grid.scroll_into_view_if_needed()
    first = grid.get_by_role("gridcell").first
    first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    selected = [cell.get_attribute("aria-selected") for cell in grid.get_by_role("gridcell").all()]
    assert selected == ["true", "false", "true", "true"]
    commit(page, 0)
    page.get_by_text("Your drawing is right").wait_for()
    assert any(said.is_visible() for said in page.get_by_text("Token 1 sees both.").all())


def test_a_curve_is_drawn_by_keyboard_and_mouse(page):
    sliders = page.locator("circle[role=slider]")
    sliders.first.scroll_into_view_if_needed()
    commit(page, 1)
    page.get_by_text("Draw every point first").wait_for()
    sliders.nth(0).focus()
    for _ in range(15):
        page.keyboard.press("ArrowDown")
    assert sliders.nth(0).get_attribute("aria-valuetext").startswith("1 bits")
    box = page.locator("svg.longlora-draw").bounding_box()
    page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 0.27 * box["height"])
    assert "not drawn" not in sliders.nth(1).get_attribute("aria-valuetext")
    commit(page, 1)
    page.get_by_text(re.compile("Your curve (fits|is close)")).wait_for()


def test_a_number_opens_its_answer_and_the_explorer_that_waits(page):
    assert page.locator(".longlora-explorer").count() == 0
    field = page.get_by_placeholder("a number")
    field.fill("90")
    field.press("Tab")
    commit(page, 2)
    page.get_by_text("You said 90 pairs: close. It is 97 pairs").wait_for()
    page.locator(".longlora-explorer").first.wait_for()


def test_lines_are_put_in_order_by_buttons(page):
    page.get_by_role("button", name="↓").first.click()
    page.get_by_role("button", name="Check the order").click()
    page.get_by_text("These are the lines").wait_for()


def test_nothing_of_it_is_hard_to_reach(page):
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, context=".jp-Notebook .longlora-draw")
    serious = [v["id"] for v in found.response["violations"] if v["impact"] in ("serious", "critical")]
    assert serious == []
