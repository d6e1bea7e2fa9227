"""The moving pictures in a real browser: they play, they wait where less motion is asked for, they fit a phone."""

from __future__ import annotations

import json

import pytest
from helpers import chromium_session, serious_faults

from longlora_edu.course import SENTENCE
from longlora_edu.rope import Rope
from longlora_edu.widgets import moving
from longlora_edu.widgets.moving.moving_widget import FOLDER, moving_module

pytestmark = pytest.mark.browser
SCENES = {
    "shift": moving.show_shift(SENTENCE, group_size=4),
    "wrap": moving.show_shift(SENTENCE, group_size=4, boundary="wrap"),
    "pulse": moving.show_pulse(SENTENCE, group_size=4, source=1),
    "clocks": moving.show_clocks(Rope(48, method="yarn", factor=8, trained_length=256), [0, 8, 14, 23], target=2048),
}
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>moving</title>
<meta name="viewport" content="width=device-width"><style>{style}</style></head><body><main id="here"></main>
<script type="module">{module}
window.stop = render({{ model: {{ get: () => ({scene}) }}, el: document.getElementById("here") }});
</script></body></html>"""
DRAWN = "() => document.querySelector('canvas').toDataURL()"


@pytest.fixture(scope="module")
def browser():
    with chromium_session() as browser:
        yield browser


@pytest.fixture(params=SCENES)
def address(request, tmp_path):
    """The page of one picture, and its scene."""
    module = moving_module().replace("export default { render };", "")
    style = (FOLDER / "moving.css").read_text(encoding="utf-8")
    scene = SCENES[request.param].scene
    path = tmp_path / "moving.html"
    path.write_text(PAGE.format(style=style, module=module, scene=json.dumps(scene)), encoding="utf-8")
    return path.as_uri(), scene


def opened(browser, address, **options):
    page = browser.new_page(**{"viewport": {"width": 1000, "height": 800}} | options)
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(address)
    page.locator("canvas").wait_for()
    return page


def test_it_plays_and_the_slider_stands_still(browser, address):
    page = opened(browser, address[0])
    first = page.evaluate(DRAWN)
    page.get_by_role("button", name="Play").click()
    page.wait_for_function(f"before => ({DRAWN})() !== before", arg=first)
    page.get_by_role("button", name="Pause").click()
    stopped = page.evaluate(DRAWN)
    page.wait_for_timeout(200)
    assert page.evaluate(DRAWN) == stopped
    page.locator("input[type=range]").focus()
    page.keyboard.press("End")
    assert page.evaluate(DRAWN) != stopped
    assert float(page.locator("input[type=range]").input_value()) == address[1]["end"]
    assert page.errors == [] and serious_faults(page) == []
    page.evaluate("() => window.stop()")
    page.close()


def test_who_asks_for_less_motion_gets_steps(browser, address):
    uri, scene = address
    page = opened(browser, uri, reduced_motion="reduce")
    button, slider = page.get_by_role("button", name="Next step"), page.locator("input[type=range]")
    button.click()
    stop = scene.get("stops", [1])[0]
    assert float(slider.input_value()) == stop, "it moved on its way"
    drawn = page.evaluate(DRAWN)
    page.wait_for_timeout(300)
    assert page.evaluate(DRAWN) == drawn
    if "stops" not in scene:
        assert page.locator(".mv-said").inner_text() == scene["says"][1]
    page.close()


def test_an_arrow_moves_the_slider_and_stays_in_the_picture(browser, address):
    page = opened(browser, address[0])
    page.evaluate("() => document.addEventListener('keydown', (event) => (window.escaped = event.key))")
    slider = page.locator("input[type=range]")
    slider.focus()
    before = float(slider.input_value())
    page.keyboard.press("ArrowRight")
    assert float(slider.input_value()) > before
    assert page.evaluate("() => window.escaped") is None  # JupyterLab would leave the cell
    page.keyboard.press("Shift+Enter")
    assert page.evaluate("() => window.escaped") == "Enter"  # which runs the cell
    page.close()


def test_on_the_way_no_wall_is_said_to_stand_where_it_was(browser, tmp_path):
    module = moving_module().replace("export default { render };", "")
    style = (FOLDER / "moving.css").read_text(encoding="utf-8")
    scene = SCENES["shift"].scene
    path = tmp_path / "moving.html"
    path.write_text(PAGE.format(style=style, module=module, scene=json.dumps(scene)), encoding="utf-8")
    page = opened(browser, path.as_uri())
    slider, said = page.locator("input[type=range]"), page.locator(".mv-said")
    slider.focus()
    page.keyboard.press("Home")
    assert said.inner_text() == scene["says"][0]
    page.keyboard.press("ArrowRight")
    assert said.inner_text() == scene["moving"]
    slider.fill("1")
    assert said.inner_text() == scene["says"][1]
    page.close()


def test_it_fits_a_phone_and_a_thumb(browser, address):
    page = opened(browser, address[0], viewport={"width": 320, "height": 700})
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 320
    heights = page.evaluate(
        "() => [...document.querySelectorAll('button, input[type=range], label.mv-check')].map((e) => e.offsetHeight)"
    )
    assert min(heights) >= 44
    assert page.errors == []
    page.close()


def test_stretched_the_hands_come_back(browser, tmp_path):
    module = moving_module().replace("export default { render };", "")
    path = tmp_path / "clocks.html"
    style = (FOLDER / "moving.css").read_text(encoding="utf-8")
    path.write_text(PAGE.format(style=style, module=module, scene=json.dumps(SCENES["clocks"].scene)), encoding="utf-8")
    page = opened(browser, path.as_uri())
    page.locator("input[type=range]").fill("2048")
    assert "never saw it: pair 14, pair 23" in page.locator(".mv-said").inner_text()
    page.get_by_label("stretch by yarn").check()
    assert page.locator(".mv-said").inner_text() == "Every hand stands where training has seen it."
    page.close()
