"""The whole site and its slides, built as the README says and opened from the disk. Minutes, hence slow."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from helpers import CHROMIUM_OPTIONS, chromium

ROOT = Path(__file__).parents[2]
GROUPS = "02a_wall_and_shift"  # the lesson about groups
PAGES = [
    "index",
    f"notebooks/{GROUPS}",
    "notebooks/03_reference",
    "notebooks/glossary",
    "explorer",
    "docs/claims",
    "docs/compared",
    "docs/proof",
    "docs/real_models",
    "benchmarks/README",
    "INSTRUCTOR",
    "slides",
    "api/index",
    "api/geometry",
    "api/cli",
    "search",
]
pytestmark = pytest.mark.slow
# What a slide shows of itself: the lowest and the rightmost thing on it, its smallest letters, pictures not loaded.
MEASURE = """() => {
    const shown = [...Reveal.getCurrentSlide().querySelectorAll("*")].filter(e => !e.closest("aside") && e.offsetWidth);
    const boxes = shown.map(e => e.getBoundingClientRect());
    const letters = shown.filter(e => [...e.childNodes].some(c => c.nodeType === 3 && c.textContent.trim()));
    return {
        title: shown.find(e => e.tagName === "H2").textContent,
        bottom: Math.max(...boxes.map(b => b.bottom)), right: Math.max(...boxes.map(b => b.right)),
        smallest: Math.min(...letters.map(e => parseFloat(getComputedStyle(e).fontSize))),
        shrunk: shown.filter(e => e.tagName === "IMG" && e.width < e.naturalWidth - 1).length,
        missing: shown.filter(e => e.tagName === "IMG" && !e.naturalWidth).length,
    };
}"""


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        opened = started.chromium.launch(executable_path=chromium(), args=CHROMIUM_OPTIONS)
        yield opened
        opened.close()


def opened(browser, path, seen, *, query="", scheme="light", width=1280, height=720):
    """A page from the disk; what it asks of anything but the disk, and its errors, go into `seen`."""
    page = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme).new_page()
    page.on("request", lambda asked: asked.url.startswith(("file:", "data:", "blob:")) or seen.append(asked.url))
    page.on("requestfailed", lambda asked: seen.append(f"failed: {asked.url}"))
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.on("console", lambda said: seen.append(said.text) if said.type == "error" else None)
    page.goto(path.as_uri() + query)  # once: a second visit would break off what the first still loads
    return page


def test_every_lesson_is_there_with_its_outputs_and_without_live_widgets(site):
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        page = (site / "notebooks" / f"{path.stem}.html").read_text(encoding="utf-8")
        outputs = [output for cell in nbformat.read(path, 4).cells for output in cell.get("outputs", [])]
        pictures = sum(output.get("data", {}).get("text/html", "").count("<img ") for output in outputs)
        assert page.count("data:image/png;base64,") == pictures, path.stem
        assert pictures or not outputs, path.stem  # the page that leads old links on has neither
        assert "widget-view" not in page and "require.js" not in page and "requirejs" not in page
        assert len(re.findall(r'<img alt="[^"]+', page)) >= pictures


def test_every_module_of_the_reading_order_has_its_functions_and_their_source(site):
    page = (site / "api" / "geometry.html").read_text(encoding="utf-8")
    assert 'id="longlora_edu.geometry.S2Geometry.future_pairs"' in page
    assert "_modules/longlora_edu/geometry.html" in page
    assert "longlora-edu plan" in (site / "api" / "cli.html").read_text(encoding="utf-8")


@pytest.mark.browser
@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_from_the_disk_and_asks_nothing_of_a_network(site, browser, name):
    seen = []
    page = opened(browser, site / f"{name}.html", seen)
    page.wait_for_timeout(500)
    assert seen == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "wider than its window"
    page.context.close()


@pytest.mark.browser
def test_formulas_are_set(site, browser):
    seen = []
    page = opened(browser, site / "notebooks" / "03_reference.html", seen)
    page.wait_for_selector("mjx-container svg")
    formulas = page.locator("span.math, div.math").count()
    assert page.locator("mjx-container").count() == formulas > 20
    assert page.locator("mjx-container mjx-assistive-mml").count() == formulas, "for those who hear them"
    assert page.locator("mjx-merror").count() == 0 and seen == []
    page.context.close()


@pytest.mark.browser
def test_the_search_finds_a_word_of_a_lesson_from_the_disk(site, browser):
    seen = []
    page = opened(browser, site / "search.html", seen, query="?q=boundary")
    page.wait_for_selector(f"#search-results li a[href^='notebooks/{GROUPS}.html']")  # results come one by one
    assert seen == []
    page.context.close()


@pytest.mark.browser
def test_pictures_keep_a_white_ground_in_the_dark(site, browser):
    page = opened(browser, site / "notebooks" / f"{GROUPS}.html", [], scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    ground = "getComputedStyle(document.querySelector('.cell_output img')).backgroundColor"
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.context.close()


@pytest.mark.browser
def test_on_a_telephone_no_page_is_wider_than_the_screen(site, browser):
    for name in ("index", f"notebooks/{GROUPS}", "docs/compared", "api/geometry"):
        page = opened(browser, site / f"{name}.html", [], width=390, height=800)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        page.context.close()


def walked(page):
    """Walk all slides; what each shows of itself."""
    page.wait_for_function("window.Reveal && Reveal.isReady()")
    slides = []
    while True:
        page.wait_for_timeout(400)
        slides.append(page.evaluate(MEASURE))
        if page.evaluate("Reveal.isLastSlide()"):
            break
        page.evaluate("Reveal.next()")
    return slides


@pytest.mark.browser
@pytest.mark.parametrize(("name", "least"), [("index.html", 25), ("lab.html", 6)])
def test_every_slide_fits_its_screen_in_letters_for_a_room(site, browser, name, least):
    seen = []
    page = opened(browser, site / "slides" / name, seen)
    slides = walked(page)
    assert len(slides) >= least
    for slide in slides:
        assert slide["bottom"] <= 684 and slide["right"] <= 1240, slide  # below stands the number of the slide
        assert slide["smallest"] >= 24, slide  # 18 points
        assert slide["shrunk"] == slide["missing"] == 0, slide
    assert seen == []
    page.context.close()


@pytest.mark.browser
def test_on_a_telephone_held_upright_a_slide_fills_its_width_in_letters_to_read(site, browser):
    seen = []
    page = opened(browser, site / "slides" / "index.html", seen, width=390, height=844)
    slides = walked(page)
    assert len(slides) >= 25
    scale = page.evaluate("Reveal.getScale()")
    for slide in slides:
        assert 340 <= slide["right"] <= 390 and slide["bottom"] <= 844, slide
        assert slide["smallest"] * scale >= 14, slide
    assert seen == []
    page.context.close()
