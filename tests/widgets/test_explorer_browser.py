"""The explorer's page in a real browser, opened as a file: keyboard, mouse, links, tour, pixels."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import chromium_session, serious_faults
from PIL import Image

from longlora_edu.geometry import S2Geometry
from longlora_edu.plots import layers_needed, style
from longlora_edu.widgets.explorer import module

pytestmark = pytest.mark.browser
PAGE = Path(__file__).parents[2] / "docs" / "explorer.html"
# A canvas of our own, drawn by the module itself; and where its matrices stand.
DRAW = """async ([code, setting]) => {
    const m = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
    const canvas = document.createElement("canvas");
    const scale = 2;
    const place = m.draw(canvas, canvas.getContext("2d"), setting, m.measure(setting), { width: 1000, scale });
    const panels = Object.entries(place.panels).map(([name, { x, y, side }]) => [name, [x, y, side]]);
    return [canvas.toDataURL(), Object.fromEntries(panels)];
}"""
TWO = """async ([code]) => {
    const { default: explorer } = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
    const values = { n: 16, g: 4, shift: 2, heads: 4, boundary: "split", layers: 3, projector: false, tour: false };
    const listeners = [];
    window.model = {
        get: (name) => values[name],
        set: (name, value) => { values[name] = value; listeners.forEach(([e, f]) => e === `change:${name}` && f()); },
        on: (event, listener) => listeners.push([event, listener]),
        off: (event, listener) => listeners.splice(listeners.findIndex(([e, f]) => e === event && f === listener), 1),
        save_changes: () => {},
    };
    document.querySelector("main").innerHTML = "<div id='one'></div><div id='two'></div>";
    window.ends = ["one", "two"].map((id) => explorer.render({ model, el: document.getElementById(id) }));
    window.listening = () => listeners.length;
}"""


@pytest.fixture(scope="module")
def browser():
    with chromium_session() as browser:
        yield browser


@pytest.fixture
def opened(browser):
    """A function that opens the page with some settings behind the #; no error may come up in any page."""
    errors, contexts = [], []

    def opened(settings="", width=1200, reduced_motion="reduce", **options):
        # With less motion nothing begins by itself, and a picture stands still until something is done.
        options["reduced_motion"] = reduced_motion
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: errors.append(request.url) if request.url.startswith("http") else None)
        page.goto(f"{PAGE.as_uri()}#{settings}")
        page.locator(".s2x-picture").wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []


def drawn(page):
    return page.evaluate("() => document.querySelector('canvas').toDataURL()")


def readout(page):
    return page.locator(".s2x-readout").inner_text()


def slider(page, name):
    return page.get_by_role("slider", name=name, exact=True)


def wait_for_link(page, settings):
    page.wait_for_function("settings => location.hash === '#' + settings", arg=settings)


def test_keys_on_a_slider_change_picture_words_and_link(opened):
    page = opened("n=16&g=4")
    picture, words = drawn(page), readout(page)
    slider(page, "Group size").focus()
    page.keyboard.press("ArrowRight")
    assert drawn(page) != picture and readout(page) != words
    assert page.get_by_label("Link to these settings").input_value().endswith("explorer.html#" + hash_of(g=5))
    wait_for_link(page, hash_of(g=5))
    page.keyboard.press("ArrowLeft")
    assert (drawn(page), readout(page)) == (picture, words)


def hash_of(n=16, g=4, shift=2, heads=4, boundary="split", layers=3, more=""):
    return f"n={n}&g={g}&shift={shift}&heads={heads}&boundary={boundary}&layers={layers}{more}"


@pytest.mark.parametrize(
    ("keys", "after"),
    [
        ("n", {"n": 17}),
        ("N", {"n": 15}),
        ("g", {"g": 5}),
        ("G", {"g": 3, "shift": 1}),
        ("s", {"shift": 3}),
        ("ss", {"shift": 3}),
        ("S", {"shift": 1}),
        ("h", {"heads": 5}),
        ("l", {"layers": 4}),
        ("L", {"layers": 2}),
        ("b", {"boundary": "wrap"}),
        ("bb", {"boundary": "masked"}),
        ("bbb", {}),
        ("bn", {"boundary": "wrap", "n": 20}),
        ("p", {"more": "&projector=1"}),
        ("pp", {}),
    ],
)
def test_letters_move_the_settings_while_the_focus_is_inside(opened, keys, after):
    page = opened(hash_of())
    page.locator("canvas").focus()
    for key in keys:
        page.keyboard.press(f"Shift+{key}" if key.isupper() else key)
    assert page.get_by_label("Link to these settings").input_value().endswith("#" + hash_of(**after))


def test_keys_are_left_alone_where_they_mean_something_else(opened):
    page = opened(hash_of())
    for place, key in ((page.get_by_label("Link to these settings"), "g"), (page.locator("canvas"), "Control+g")):
        place.focus()
        page.keyboard.press(key)
    page.locator("select").focus()
    page.keyboard.press("m")  # choosing in a list by its first letter
    assert page.get_by_label("Link to these settings").input_value().endswith("#" + hash_of(boundary="masked"))


def test_a_notebook_around_the_explorer_does_not_get_its_keys(opened):
    page = opened()
    page.evaluate("() => { window.got = []; document.addEventListener('keydown', (e) => got.push(e.key)); }")
    page.locator("canvas").focus()
    for key in ("b", "ArrowDown", "x", "Enter", "Escape", "Shift+Enter", "Control+s"):
        page.keyboard.press(key)
    assert page.evaluate("() => got") == ["Enter", "Control", "s"]


def test_the_mouse_points_at_a_token_and_a_click_holds_it(opened):
    page = opened("n=16&g=4&layers=1")
    canvas, said = page.locator("canvas"), page.locator(".s2x-query")
    nobody, nothing = drawn(page), said.inner_text()
    assert nothing.startswith("No token is chosen")
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.45 * box["height"])
    match = re.match(r"Token (\d+): on a plain head it looks at", said.inner_text())
    assert match and drawn(page) != nobody
    assert (
        canvas.get_attribute("aria-valuenow") == match[1]
        and canvas.get_attribute("aria-valuetext") in said.inner_text()
    )
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] - 30)
    assert said.inner_text() == nothing and drawn(page) == nobody
    page.mouse.click(box["x"] + 0.2 * box["width"], box["y"] + 0.45 * box["height"])
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] - 30)
    assert said.inner_text().startswith(f"Token {match[1]}:")


def test_arrows_on_the_picture_walk_through_the_tokens(opened):
    page = opened("n=8&g=4&layers=1")
    page.locator("canvas").focus()
    walked = []
    for key in ("ArrowDown", "ArrowDown", "ArrowUp", "ArrowUp", "Home", "ArrowRight", "End", "ArrowDown"):
        page.keyboard.press(key)
        walked.append(int(page.locator("canvas").get_attribute("aria-valuenow")))
    assert walked == [0, 1, 0, 7, 0, 1, 7, 0]
    for _ in range(5):
        page.keyboard.press("ArrowDown")
    meant = "Token 5: on a plain head it looks at 4 and 5; on a shifted head it looks at 2 to 5."
    assert page.locator(".s2x-query").inner_text() == f"{meant} Within 1 layer it hears 2 to 5."
    page.keyboard.press("Escape")
    assert page.locator(".s2x-query").inner_text().startswith("No token is chosen")


def test_touch_points_at_a_token(opened):
    page = opened("n=16&g=4", width=390, has_touch=True, is_mobile=True)
    box = page.locator("canvas").bounding_box()
    page.evaluate("y => window.scrollTo(0, y)", box["y"] - 20)
    page.touchscreen.tap(box["x"] + 0.3 * box["width"], 20 + 0.25 * box["height"])
    assert page.locator(".s2x-query").inner_text().startswith("Token ")


def test_a_boundary_that_wraps_takes_whole_groups_and_says_so(opened):
    page = opened("n=30&g=8&shift=4")
    page.locator("select").select_option("wrap")
    rule = "With wrap the tokens must be a multiple of the group size, 8: 30 tokens became 32."
    assert page.locator(".s2x-note").inner_text() == rule
    tokens = slider(page, "Tokens")
    tokens.focus()
    page.keyboard.press("ArrowRight")
    assert tokens.input_value() == "40" and page.locator(".s2x-note").inner_text() == ""
    page.keyboard.press("g")
    assert (tokens.input_value(), slider(page, "Group size").input_value()) == ("36", "9")
    assert page.locator(".s2x-note").inner_text().endswith("40 tokens became 36.")
    assert "Whole groups only" in page.locator(".s2x-rule").inner_text()


def test_a_link_opens_its_settings_and_says_what_it_could_not_do(opened):
    page = opened("n=32&g=8&shift=4&boundary=wrap")
    assert "32 pairs look at a later token" in readout(page)
    assert page.locator(".s2x-note").inner_text() == ""
    page.evaluate("() => { location.hash = 'n=24&g=8&shift=3&heads=9'; }")
    page.wait_for_function("() => document.querySelector('input[name=n]').value === '24'")
    assert slider(page, "Shift").input_value() == "3"
    assert page.locator(".s2x-note").inner_text() == "heads must be from 1 to 8, but the link says 9."


def test_settings_survive_a_reload(opened):
    page = opened("n=24&g=6")
    page.locator("canvas").focus()
    page.keyboard.press("l")
    wait_for_link(page, hash_of(n=24, g=6, shift=3, layers=4))
    page.reload()
    assert slider(page, "Layers").input_value() == "4"


def test_the_link_is_copied(opened):
    page = opened("n=24&g=6")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy link").click()
    page.get_by_text(re.compile("The link is (copied|selected)")).wait_for()


def test_the_picture_is_saved_with_its_words(opened):
    page = opened("n=24&g=6&boundary=wrap")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save PNG").click()
    assert download.value.suggested_filename == "s2_n24_g6_shift3_wrap.png"
    image = np.asarray(Image.open(download.value.path()).convert("L"))
    shown = page.locator("canvas").bounding_box()
    assert image.shape[1] == 2 * 1160 and image.shape[0] / image.shape[1] > shown["height"] / shown["width"]
    assert (image[-400:] < 80).any() and (image[:40] == 255).all()


def test_projector_is_larger(opened):
    page = opened(width=1400)
    sizes = """() => [getComputedStyle(document.querySelector('.s2x')).fontSize,
        document.querySelector('canvas').clientHeight]"""
    before = page.evaluate(sizes)
    page.get_by_role("button", name="Projector").click()
    after = page.evaluate(sizes)
    assert (before[0], after[0]) == ("14px", "20px") and after[1] > before[1]
    assert page.get_by_role("button", name="Projector").get_attribute("aria-pressed") == "true"


def test_a_poll_hides_its_numbers_until_they_are_asked_for(opened):
    page = opened("n=32&g=8&shift=4&heads=2&layers=1&ask=1")
    hidden = drawn(page)
    label = "() => document.querySelector('canvas').getAttribute('aria-label')"
    assert not page.locator(".s2x-readout").is_visible() and "after 7" not in page.evaluate(label)
    page.get_by_role("button", name="Show the numbers").click()
    assert "only after 7 layers" in readout(page) and "only after 7" in page.evaluate(label)
    assert drawn(page) != hidden and not page.get_by_role("button", name="Show the numbers").is_visible()


def test_without_a_shift_no_head_is_called_shifted_since_a_poll_asks_where_to_shift(opened):
    written = """shift => {
        const said = [], drawing = CanvasRenderingContext2D.prototype, write = drawing.fillText;
        drawing.fillText = function (text, ...rest) { said.push(text); return write.call(this, text, ...rest); };
        const slider = document.querySelector("input[id$=shift]");
        slider.value = shift;
        slider.dispatchEvent(new Event("input", { bubbles: true }));
        return new Promise(done => setTimeout(() => { drawing.fillText = write; done(said.join("|")); }, 300));
    }"""
    page = opened("n=32&g=8&shift=4&heads=2&layers=1&ask=1")
    assert "shifted" not in page.evaluate(written, 0)
    assert "shifted by 4" in page.evaluate(written, 4)


def test_on_a_projector_the_last_corner_of_the_matrices_is_on_the_screen(opened):
    page = opened("n=32&g=8&shift=4&heads=2&layers=7&projector=1&ask=1", width=1280)
    page.set_viewport_size({"width": 1280, "height": 720})
    page.reload()
    page.wait_for_timeout(300)
    corner = """() => {
        const canvas = document.querySelector('canvas'), box = canvas.getBoundingClientRect();
        const pixels = canvas.getContext('2d');
        for (let y = Math.round(720 - box.top) - 1; y > 0; y--) {
            const at = pixels.getImageData(0, y, canvas.width, 1).data;
            for (let x = 0.7 * canvas.width | 0; x < canvas.width; x++)
                if (at[4 * x + 2] > at[4 * x] + 40) return y + box.top;
        }
    }"""
    seen = page.evaluate(corner)
    whole = page.evaluate(corner.replace("Math.round(720 - box.top) - 1", "canvas.height - 1"))
    assert seen == whole and 500 < seen < 720


@pytest.mark.parametrize("settings", ["", "n=128&g=16&heads=8&boundary=wrap", "projector=1", "heads=1", "tour=1"])
def test_a_telephone_needs_no_sideways_scroll(opened, settings):
    page = opened(settings, width=390)
    for details in page.locator("details:not([inert])").all():
        details.locator("summary").click()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    assert page.locator("canvas").bounding_box()["width"] <= 390


@pytest.mark.parametrize("settings", ["", "heads=8&n=32", "projector=1&heads=1"])
def test_the_picture_follows_the_width(opened, settings):
    page = opened(settings)
    for width in (960, 700, 520, 300, 1300):
        page.set_viewport_size({"width": width, "height": 900})
        fits = "() => { const c = document.querySelector('canvas'); return c.width === c.clientWidth; }"
        page.wait_for_function(fits)
        assert page.locator("canvas").bounding_box()["width"] <= width


def test_the_table_says_what_the_mask_says(opened):
    page = opened("n=12&g=4&shift=1&heads=3&boundary=wrap&layers=2")
    assert page.locator("tbody tr").count() == 0
    page.get_by_text("The picture as a table").first.click()
    page.locator("tbody tr").nth(11).wait_for()
    geometry = S2Geometry(12, 4, 3, 1, "wrap")
    mask, heard = geometry.mask(), layers_needed(geometry, 2)
    for token, row in enumerate(page.locator("tbody tr").all()):
        name, plain, shifted, ahead, hears = row.locator("th, td").all_inner_texts()
        later = [key for key in np.flatnonzero(mask[2, token]) if key > token]
        assert name == str(token)
        assert tokens_of(plain) == np.flatnonzero(mask[0, token]).tolist()
        assert tokens_of(shifted) == np.flatnonzero(mask[2, token]).tolist()
        assert tokens_of(ahead) == later
        assert tokens_of(hears) == np.flatnonzero(heard[token]).tolist()


def tokens_of(text):
    """`0, 3 to 5 and 9` as a list."""
    ranges = [part.split(" to ") for part in re.split(", | and ", text) if part != "none"]
    return [token for ends in ranges for token in range(int(ends[0]), int(ends[-1]) + 1)]


@pytest.mark.parametrize(
    "setting",
    [
        (12, 4, 2, 4, "split"),
        (12, 4, 1, 3, "wrap"),
        (18, 6, 4, 2, "masked"),
        (11, 20, 7, 2, "split"),
        (32, 8, 4, 1, "wrap"),
    ],
    ids=str,
)
def test_each_square_has_the_colour_of_what_it_means(opened, setting):
    n, g, shift, heads, boundary = setting
    state = {"n": n, "g": g, "shift": shift, "heads": heads, "boundary": boundary, "layers": 3, "projector": False}
    data, panels = opened().evaluate(DRAW, [module(), state])
    pixels = np.asarray(Image.open(io.BytesIO(decoded(data))).convert("RGB")).astype(int)
    geometry = S2Geometry(n, g, heads, shift, boundary)
    mask = geometry.mask()
    query, key = np.indices((n, n))
    for name, head, colour in (("plain", 0, style.PLAIN), ("shifted", heads - 1, style.SHIFTED)):
        squares = patches(pixels, panels[name], n)
        if name == "plain" and heads == 1:
            assert (squares == rgb(style.EMPTY)).all()
            continue
        may, later = mask[head], mask[head] & (key > query)
        assert (squares[~may] == rgb(style.EMPTY)).all()
        assert (squares[may & ~later] == rgb(colour)).all()
        # Hatched: its own colour between stripes, and none of the others.
        assert later.any() == (boundary == "wrap" and name == "shifted")
        assert not (squares[later] == rgb(colour)).all(axis=-1).any()
        assert (squares[later] == rgb(style.FUTURE)).all(axis=-1).any() or not later.any()
        assert (squares[later] != rgb(style.FUTURE)).any() or not later.any()
    needed = layers_needed(geometry, 3)
    squares = patches(pixels, panels["reach"], n, corner=True)
    ramp = [rgb(style.EMPTY), *(255 * style.MAGNITUDE(1 - 0.85 * 0.75 ** np.arange(3))[:, :3])]
    for layers, colour in enumerate(ramp):
        np.testing.assert_allclose(
            squares[needed == layers], np.broadcast_to(colour, squares[needed == layers].shape), atol=4
        )


def decoded(data):
    import base64

    return base64.b64decode(data.partition(",")[2])


def rgb(colour):
    return np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)])


def patches(pixels, panel, n, corner=False):
    """(n n 9 3): 3 × 3 pixels of each square, from its middle, or from a corner where no number stands."""
    left, top, side = (2 * value for value in panel)
    place = 0.2 if corner else 0.5
    centres = ((np.arange(n) + place) * side / n).astype(int)
    around = np.arange(-1, 2)
    rows, columns = int(top) + centres[:, None] + around, int(left) + centres[:, None] + around
    return pixels[rows[:, None, :, None], columns[None, :, None, :]].reshape(n, n, 9, 3)


def test_the_tour_waits_for_each_action_and_dims_the_rest(opened):
    page = opened("n=40&g=5")
    page.get_by_role("button", name="Tour").click()
    tour, following = page.locator(".s2x-tour"), page.locator("[data-do=next]")
    actions = [
        lambda: [page.keyboard.press("ArrowDown") for _ in range(7)],
        lambda: [page.keyboard.press("ArrowRight") for _ in range(2)],
        lambda: page.locator("select").select_option("wrap"),
        lambda: page.locator("select").select_option("masked"),
        lambda: [page.keyboard.press("l") for _ in range(6)],
        lambda: [page.keyboard.press("n") for _ in range(32)],
    ]
    for at, act in enumerate(actions):
        assert tour.locator(".s2x-step").inner_text().startswith(f"Step {at + 1} of 6")
        assert following.is_disabled() and tour.locator(".s2x-outcome").inner_text() == ""
        assert page.locator(".s2x-control[inert]").count() >= 5
        page.keyboard.press("Enter")  # too early: nothing is taken yet
        act()
        assert following.is_enabled(), f"step {at + 1}"
        assert tour.locator(".s2x-outcome").inner_text() in page.locator(".s2x-live").inner_text() != ""
        if at % 2:
            page.keyboard.press("Enter")
        else:
            following.click()
    assert tour.is_hidden() and page.locator("[inert]").count() == 0
    assert page.evaluate("() => document.activeElement.dataset.do") == "tour"


def test_the_tour_is_left_by_escape_and_holds_back_keys_of_what_is_dimmed(opened):
    page = opened("tour=1")
    page.keyboard.press("g")
    page.keyboard.press("b")
    assert (slider(page, "Group size").input_value(), page.locator("select").input_value()) == ("4", "split")
    page.keyboard.press("Escape")
    assert page.locator(".s2x-tour").is_hidden() and page.locator("[inert]").count() == 0
    page.keyboard.press("g")
    assert slider(page, "Group size").input_value() == "5"


def test_two_views_of_one_model_agree_and_end_without_a_trace(opened):
    page = opened()
    page.evaluate(TWO, [module()])
    one, two = page.locator("#one"), page.locator("#two")
    one.get_by_label("Group size").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.querySelector('#two input[name=g]').value === '5'")
    assert one.locator(".s2x-readout").inner_text() == two.locator(".s2x-readout").inner_text()
    page.evaluate("() => { model.set('g', 8); model.set('shift', 7); }")  # as a kernel does, one by one
    page.wait_for_function("() => document.querySelector('#one input[name=shift]').value === '7'")
    two.locator("[data-do=tour]").click()
    one.locator(".s2x-tour").wait_for()
    page.evaluate("() => ends.forEach((end) => end())")
    assert page.evaluate("() => listening()") == 0


def test_what_a_notebook_says_about_lists_and_tables_does_not_reach_the_explorer(opened):
    looks = """() => ["dt", "dd", "td", "p", "kbd"].map((name) => {
        const { float, width, margin, fontSize, textAlign } = getComputedStyle(document.querySelector(`.s2x ${name}`));
        return [name, float, width, margin, fontSize, textAlign].join();
    })"""
    page = opened()
    for details in page.locator("details").all():
        details.locator("summary").click()
    before = page.evaluate(looks)
    page.evaluate("() => document.body.classList.add('text')")
    page.add_style_tag(  # as JupyterLab's style sheet does under .jp-RenderedHTMLCommon
        content=".text dl dt { float: left; width: 20%; } .text dl dd { float: left; width: 80%; margin: 1em; }"
        " .text td { text-align: right; font-size: 9px; } .text p { margin: 1em; } .text table { width: 1px; }"
    )
    assert page.evaluate(looks) == before


def test_a_pressed_button_stays_legible_under_the_mouse(opened):
    page = opened("projector=1")
    button = page.get_by_role("button", name="Projector")
    colours = "(e) => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor]"
    away = button.evaluate(colours)
    button.hover()
    assert button.evaluate(colours) == away == ["rgb(255, 255, 255)", "rgb(34, 34, 34)"]


def test_nothing_moves_where_less_motion_is_asked_for(opened):
    duration = "() => getComputedStyle(document.querySelector('canvas')).transitionDuration"
    assert opened(reduced_motion="reduce").evaluate(duration) == "0s"
    assert opened(reduced_motion="no-preference").evaluate(duration) != "0s"


def test_a_screen_reader_hears_where_a_slider_stopped(opened):
    page = opened()
    slider(page, "Tokens").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_text("17 tokens in groups of 4, shift 2, 4 heads, boundary split.").wait_for(state="attached")
    assert "17 tokens in groups of 4" in page.locator("canvas").get_attribute("aria-label")


def said(page):
    return page.locator(".s2x-query").inner_text()


def test_a_message_goes_its_way_by_itself_once_and_again_when_asked(opened):
    page = opened(reduced_motion="no-preference")
    end = "Layer 3, on a plain head: token 10 hears token 8. The message stops here. No layer is left."
    page.wait_for_function("end => document.querySelector('.s2x-query').textContent === end", arg=end)
    button = page.locator("[data-do=play]")
    before = drawn(page)
    button.click()
    assert button.inner_text().startswith("■ Stop")
    page.wait_for_function("() => document.querySelector('.s2x-query').textContent.startsWith('Layer 1')")
    assert drawn(page) != before
    button.click()
    assert said(page).startswith("No token is chosen") and button.inner_text().startswith("▶ Play")


def test_nothing_begins_by_itself_where_less_motion_is_asked_for_and_the_way_stands_there_at_once(opened):
    page = opened(hash_of(layers=7))
    page.wait_for_timeout(300)
    assert said(page).startswith("No token is chosen")
    before = drawn(page)
    page.keyboard.press("m")
    assert said(page) == "Layer 7, on a plain head: token 2 hears token 0. Arrived, after 7 layers."
    assert drawn(page) != before
    slider(page, "Layers").focus()
    page.keyboard.press("ArrowLeft")
    assert said(page).startswith("No token is chosen")


def test_a_link_with_settings_gives_nothing_away(opened):
    page = opened(hash_of(), reduced_motion="no-preference")
    page.wait_for_timeout(1200)
    assert said(page).startswith("No token is chosen")


def test_what_the_reader_does_ends_the_show(opened):
    page = opened(reduced_motion="no-preference")
    page.wait_for_function("() => document.querySelector('.s2x-query').textContent.startsWith('Layer 1')")
    page.keyboard.press("g")
    assert said(page).startswith("No token is chosen")
    page.wait_for_timeout(1200)
    assert said(page).startswith("No token is chosen")


def test_keys_work_before_anything_was_touched(opened):
    page = opened(hash_of())
    page.keyboard.press("g")
    wait_for_link(page, hash_of(g=5))


def test_a_sentence_stands_along_the_axes_and_travels_in_the_link(opened):
    page = opened(hash_of(layers=1))
    bare = drawn(page)
    page.get_by_label("Words, a token each").fill("does it hear the dog?")
    assert slider(page, "Tokens").input_value() == "5" and drawn(page) != bare
    wait_for_link(page, hash_of(n=5, layers=1, more="&words=does%20it%20hear%20the%20dog%3F"))
    page.locator("canvas").focus()
    for _ in range(4):
        page.keyboard.press("ArrowDown")
    assert said(page).endswith("“the” hears: does it hear.")
    page.reload()
    assert page.get_by_label("Words, a token each").input_value() == "does it hear the dog?"
    page.get_by_role("button", name="Take the dog").click()
    assert said(page).endswith("“it” hears: was tired, so.")


def test_one_button_makes_it_cheat_and_fair_again(opened):
    page = opened(hash_of(shift=0))
    fair = drawn(page)
    page.get_by_role("button", name="Make it cheat").click()
    assert "8 pairs look at the future: the hatched ones." in page.locator(".s2x-note").inner_text()
    assert page.locator("select").input_value() == "wrap" and drawn(page) != fair
    page.get_by_role("button", name="Play fair").click()
    assert page.locator("select").input_value() == "split"
    assert "No pair looks at a later token" in readout(page)


def test_a_challenge_keeps_the_best_score_and_sends_it_without_the_way(opened):
    page = opened("challenge=1&score=500")
    score = page.locator(".s2x-score")
    assert "1,600 pairs" in score.inner_text() and score.inner_text().endswith("The link you opened: 500 pairs.")
    for name in ("Tokens", "Heads", "Layers"):
        assert (
            slider(page, name).is_disabled() or page.locator(f"[data-part={NAMES[name]}]").get_attribute("inert") == ""
        )
    group = slider(page, "Group size")
    group.fill("16")
    group.fill("4")
    assert "does not hear the first in time. Your best: 960 pairs." in score.inner_text()
    wait_for_link(page, "challenge=1&score=960")
    page.get_by_role("button", name="Leave the challenge").click()
    assert page.locator(".s2x-challenge").is_hidden() and page.locator("[inert]").count() == 0


NAMES = {"Tokens": "n", "Heads": "heads", "Layers": "layers"}


def test_the_answer_stays_in_sight_on_a_telephone(opened):
    page = opened("n=16&g=4", width=390, has_touch=True, is_mobile=True)
    box = page.locator("canvas").bounding_box()
    page.evaluate("y => window.scrollTo(0, y)", box["y"] + 0.4 * box["height"])
    page.touchscreen.tap(box["x"] + 0.5 * box["width"], 300)
    answer = page.locator(".s2x-query").bounding_box()
    assert said(page).startswith("Token ") and 0 <= answer["y"] < 120


@pytest.mark.parametrize("width", [390, 1280])
def test_what_can_be_touched_is_44_points_high(opened, width):
    page = opened("challenge=1", width=width)
    small = """() => [...document.querySelectorAll('.s2x :is(button, input, select, summary)')]
        .filter((element) => element.offsetParent && element.getBoundingClientRect().height < 43.9)
        .map((element) => element.outerHTML.slice(0, 80))"""
    assert page.evaluate(small) == []


def test_the_tour_ends_with_a_way_on(opened):
    page = opened(hash_of())
    page.evaluate("() => history.replaceState(null, '', '#tour=1')")
    page.reload()
    for step in range(6):
        page.keyboard.press("Escape") if step > 5 else None
        act = [
            lambda: [page.keyboard.press("ArrowDown") for _ in range(7)],
            lambda: [page.keyboard.press("ArrowRight") for _ in range(2)],
            lambda: page.locator("select").select_option("wrap"),
            lambda: page.locator("select").select_option("masked"),
            lambda: [page.keyboard.press("l") for _ in range(6)],
            lambda: [page.keyboard.press("n") for _ in range(32)],
        ][step]
        act()
        page.locator("[data-do=next]").click()
    way = page.locator(".s2x-note a")
    assert way.inner_text() == "Go on to lesson 02a"
    target = (PAGE.parent / way.get_attribute("href")).resolve()
    assert target.is_file()


def test_cost_is_folded_and_says_its_numbers_in_bars(opened):
    page = opened(hash_of())
    assert not page.locator(".s2x-bars").is_visible()
    page.get_by_text("Cost: FLOPs and bytes").click()
    assert "40,960 FLOPs" not in page.locator(".s2x-costs").inner_text()
    assert "38,912 FLOPs instead of 139,264." in page.locator(".s2x-costs").inner_text()
    widths = page.evaluate(
        "() => [...document.querySelectorAll('.s2x-bars p')].map((p) => "
        "[...p.children].reduce((sum, i) => sum + parseFloat(i.style.width), 0))"
    )
    np.testing.assert_allclose(widths, [100, 100 * 38912 / 139264, 100, 23.4375, 12.5], atol=0.01)


def test_dark_is_dark_everywhere_and_a_notebook_decides_for_itself(opened):
    ground = """() => {
        const canvas = document.querySelector('canvas');
        const pixel = canvas.getContext('2d').getImageData(1, 1, 1, 1).data;
        const colour = (e) => getComputedStyle(e).backgroundColor;
        return [[...pixel.slice(0, 3)], colour(document.body), colour(document.querySelector('.s2x'))];
    }"""
    light, dark = opened(color_scheme="light"), opened(color_scheme="dark")
    assert light.evaluate(ground) == [[255, 255, 255], "rgb(250, 250, 250)", "rgb(255, 255, 255)"]
    assert dark.evaluate(ground) == [[27, 30, 33], "rgb(18, 20, 22)", "rgb(27, 30, 33)"]
    dark.evaluate("() => { document.body.dataset.jpThemeLight = 'true'; }")
    dark.wait_for_function("() => !document.querySelector('.s2x').classList.contains('s2x-dark')")
    assert dark.evaluate(ground)[0] == [255, 255, 255]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "settings", ["", "projector=1&n=128&g=16", "tour=1", "challenge=1", "n=30&g=8&boundary=wrap&heads=1"]
)
def test_axe_finds_no_serious_fault(opened, settings, scheme):
    page = opened(settings, color_scheme=scheme)
    for details in page.locator("details:not([inert])").all():
        details.locator("summary").click()
    assert serious_faults(page) == []
