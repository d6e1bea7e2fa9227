"""The explorers with sliders: every handler is driven, and a broken one turns this file red."""

from __future__ import annotations

import io
import sys

import ipywidgets
import numpy as np
import pytest
from helpers import CHROMIUM_OPTIONS, chromium, widget_of
from matplotlib.colors import to_rgb
from PIL import Image

from longlora_edu import plots
from longlora_edu.plots import PROJECTOR, SCREEN
from longlora_edu.widgets import Picture
from longlora_edu.widgets.canvas import Canvas
from longlora_edu.widgets.cost_explorer import cost_explorer
from longlora_edu.widgets.display import still_alone
from longlora_edu.widgets.panel import CONTROLS, PANEL, Panel, reachable
from longlora_edu.widgets.rank_explorer import random_spectrum, rank_explorer, recorded_updates
from longlora_edu.widgets.rope_explorer import rope_explorer
from longlora_edu.widgets.shapes import known_shapes
from longlora_edu.widgets.task import Bar

EXPLORERS = {"rope": rope_explorer, "rank": rank_explorer, "cost": cost_explorer}
CONTROL_NAMES = {
    "rope": ["method", "factor", "base", "head_dim", "trained_length"],
    "rank": ["matrix", "rank"],
    "cost": ["model", "length", "ratio", "causal"],
}


def pixel(alt, size=(8, 4)):
    buffer = io.BytesIO()
    Image.new("P", size).save(buffer, format="png")
    return Picture(buffer.getvalue(), alt)


def slider(**options):
    return ipywidgets.IntSlider(**({"value": 2, "min": 1, "max": 9, "description": "Number"} | options))


def inside(widget):
    """A widget and all widgets in it."""
    return [widget, *(found for child in getattr(widget, "children", ()) for found in inside(child))]


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB"), int)


# A panel.


def test_a_panel_follows_its_controls_in_one_widget():
    panel = Panel(
        lambda n, flag: pixel(f"{n} {flag}"), {"n": slider(), "flag": ipywidgets.Checkbox(description="Flag")}
    )
    (area,) = (widget for widget in inside(panel.box) if PANEL in widget._dom_classes)
    assert isinstance(area, ipywidgets.HTML)
    assert (panel.picture.alt, panel.picture.html in area.value) == ("2 False", True)
    panel.controls["n"].value = 5
    panel.controls["flag"].value = True
    assert (panel.picture.alt, panel.picture.html in area.value) == ("5 True", True)
    assert panel.values == {"n": 5, "flag": True}
    assert [w for w in inside(panel.box) if PANEL in w._dom_classes] == [area]
    assert [w for w in inside(panel.box) if isinstance(w, ipywidgets.Output)] == []
    assert panel.errors == []


def test_a_panel_asks_its_view_once_for_the_same_values():
    asked = []
    panel = Panel(lambda n: asked.append(n) or pixel(str(n)), {"n": slider()})
    for value in (3, 2, 3, 4):
        panel.controls["n"].value = value
    assert asked == [2, 3, 4]
    assert panel.picture.alt == "4"


def test_a_panel_keeps_the_shape_of_its_first_picture():
    panel = Panel(lambda n: pixel(str(n), (8, 4)), {"n": slider()})
    assert "max-width:8px;aspect-ratio:8/4" in panel.area.box.value
    panel.area.say(ValueError("no"))
    assert "max-width:8px;aspect-ratio:8/4" in panel.area.box.value


def test_a_broken_view_is_said_kept_and_raised_and_the_panel_goes_on():
    def view(n):
        if n > 5:
            raise ValueError(f"n must be <= 5, got {n}")
        return pixel(str(n))

    panel = Panel(view, {"n": slider()})
    with pytest.raises(ValueError, match="n must be <= 5, got 7"):
        panel.controls["n"].value = 7
    assert [str(error) for error in panel.errors] == ["n must be <= 5, got 7"]
    assert "<b>✗ ValueError:</b> n must be &lt;= 5, got 7" in panel.area.box.value
    assert 'role="alert"' in panel.area.box.value
    panel.controls["n"].value = 3
    assert panel.picture.html in panel.area.box.value


@pytest.mark.parametrize("broken", [1, 5, 9], ids=["least", "middle", "greatest"])
def test_driving_a_panel_with_a_broken_handler_turns_red(broken):
    def view(n):
        if n == broken:
            raise KeyError("planted")
        return pixel(str(n))

    panel = Panel(view, {"n": slider()})
    with pytest.raises(KeyError, match="planted"):
        panel.drive()
    assert len(panel.errors) == 1


def test_driving_a_panel_visits_each_end_and_comes_back():
    asked = []
    controls = {"n": slider(), "word": ipywidgets.Dropdown(options=["a", "b", "c"], value="b", description="Word")}
    panel = Panel(lambda n, word: asked.append((n, word)) or pixel(f"{n}{word}"), controls)
    panel.drive()
    assert asked == [(2, "b"), (1, "b"), (5, "b"), (9, "b"), (2, "a"), (2, "c")]
    assert panel.picture.alt == "2b"


@pytest.mark.parametrize(
    ("control", "values"),
    [
        (slider(min=1, max=16), [1, 8, 16]),
        (ipywidgets.FloatSlider(min=0, max=1), [0, 0.5, 1]),
        (ipywidgets.BoundedIntText(min=2, max=4), [2, 3, 4]),
        (ipywidgets.SelectionSlider(options=[("few", 10), ("some", 20), ("many", 30), ("all", 40)]), [10, 30, 40]),
        (ipywidgets.ToggleButtons(options=["x"]), ["x", "x", "x"]),
        (ipywidgets.Checkbox(), [False, True]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_kind_of_control_can_be_driven(control, values):
    assert reachable(control) == values
    for value in values:
        control.value = value


def test_controls_without_a_name_or_a_value_to_drive_are_refused():
    with pytest.raises(ValueError, match="controls must each have a description, .* got none for 'n'"):
        Panel(lambda n: pixel("x"), {"n": slider(description=" ")})
    with pytest.raises(ValueError, match="controls must each be one of IntSlider, .* got Text for 'n'"):
        Panel(lambda n: pixel("x"), {"n": ipywidgets.Text(description="Number")})


def test_a_panel_is_published_with_its_picture_as_it_stands(published):
    panel = Panel(lambda n: pixel(f"{n} of 9"), {"n": slider()})
    panel.controls["n"].value = 4
    panel.show()
    bundle, view = published
    assert widget_of(view) is panel.box
    assert (still_alone(bundle["text/html"]), bundle["text/plain"]) == (panel.picture.html, "4 of 9")


def test_sliders_get_names_where_there_is_anywidget_and_work_where_there_is_none(monkeypatch):
    pytest.importorskip("anywidget")
    row = Panel(lambda n: pixel("x"), {"n": slider()}).box.children[0]
    assert CONTROLS in row._dom_classes
    assert [type(widget).__name__ for widget in row.children] == ["IntSlider", "SliderNames"]
    monkeypatch.setitem(sys.modules, "anywidget", None)
    panel = Panel(lambda n: pixel(str(n)), {"n": slider()})
    assert [type(widget).__name__ for widget in panel.box.children[0].children] == ["IntSlider"]
    panel.drive()


@pytest.mark.browser
def test_in_a_browser_each_handle_is_named_by_its_own_description():
    from longlora_edu.widgets.names import NAME_SLIDERS

    executable = chromium()
    sync_api = pytest.importorskip("playwright.sync_api")
    view = '<div class="jupyter-widgets"><label class="widget-label">{}</label>{}</div>'
    handle = '<div class="slider-container"><div><div class="{}" role="slider"></div></div></div>'
    views = [view.format("Rule", "<select></select>"), view.format("Tokens", handle.format("noUi-handle"))]
    views += [view.format("Group", handle.format("ui-slider-handle"))]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_OPTIONS)
        page = browser.new_page()
        page.set_content(f'<div class="longlora-controls">{views[0]}{views[1]}<div id="names"></div></div>')
        page.add_script_tag(
            content=f"{NAME_SLIDERS}\nrender({{ el: document.querySelector('#names') }});", type="module"
        )
        page.wait_for_selector("[aria-label]", state="attached")
        page.evaluate("html => document.querySelector('#names').insertAdjacentHTML('afterend', html)", views[2])
        page.wait_for_selector("[aria-label=Group]", state="attached")
        found = page.evaluate("() => [...document.querySelectorAll('[role=slider]')].map(e => e.ariaLabel)")
        browser.close()
    assert found == ["Tokens", "Group"]


# The canvas.


def draw_bars(count):
    def draw(ax):
        ax.bar(range(count), range(1, count + 1), color=plots.PLAIN, label="bars")
        ax.plot(range(count), color=plots.SHIFTED, label="line")
        ax.axhspan(0, 1, alpha=0.1)
        ax.text(0, 1, f"{count} bars")
        ax.legend(loc="upper left")
        ax.set(title=f"{count}", xlim=(-1, 10), ylim=(0, 10 if count < 5 else 20), xticks=range(0, count, 2))

    return draw


def test_a_picture_does_not_depend_on_those_before_it():
    canvas = Canvas(SCREEN)
    first, second, again = (canvas.picture(draw_bars(count), f"{count}") for count in (3, 7, 3))
    assert first.png == again.png
    assert first.png != second.png
    assert again.alt == "3"
    for axes in (canvas.axes,):
        assert [len(axes[0].patches), len(axes[0].lines), len(axes[0].texts)] == [4, 1, 1]
        assert [text.get_text() for text in axes[0].get_legend().get_texts()] == ["line", "bars"]


def test_a_background_is_drawn_again_when_limits_or_ticks_change():
    canvas = Canvas(SCREEN)

    def draw(limit, ticks, label):
        return lambda ax: ax.set(xlim=(0, limit), xticks=ticks, xlabel=label)

    pictures = [
        canvas.picture(draw(*look), "x").png
        for look in ((4, [1], "a"), (8, [1], "a"), (8, [1, 2], "a"), (8, [1, 2], "b"))
    ]
    assert len(set(pictures)) == 4


def test_the_quick_colours_are_nearly_the_right_ones():
    picture = Canvas(SCREEN).picture(draw_bars(8), "bars")
    shown = pixels(picture).reshape(-1, 3)
    for colour in (plots.PLAIN, plots.SHIFTED):
        right = np.array([255 * channel for channel in to_rgb(colour)])
        assert np.abs(shown - right).max(axis=1).min() <= 8
    assert len(picture.png) < 20_000


def test_a_canvas_draws_what_matplotlib_draws():
    canvas = Canvas(SCREEN)
    canvas.picture(draw_bars(3), "x")
    quick = pixels(canvas.picture(draw_bars(7), "x"))
    for artist in canvas.figure.findobj():
        artist.set_animated(False)
    whole = pixels(Picture(plots.png(canvas.axes, dpi=100), "x"))
    assert np.abs(quick - whole).mean() < 2  # of 255: the palette


# The explorers.


@pytest.mark.parametrize("style", [SCREEN, PROJECTOR], ids=["screen", "projector"])
@pytest.mark.parametrize("name", EXPLORERS)
def test_every_control_of_every_explorer_can_be_driven(name, style):
    panel = EXPLORERS[name](style=style)
    assert list(panel.controls) == CONTROL_NAMES[name]
    before = panel.picture
    panel.drive()
    assert panel.errors == []
    assert panel.picture is before


@pytest.mark.parametrize("name", EXPLORERS)
def test_every_control_of_an_explorer_changes_picture_and_words(name):
    panel = EXPLORERS[name]()
    for control in panel.controls.values():
        assert control.description.strip()
        before = panel.picture
        control.value = next(value for value in reachable(control) if value != control.value)
        assert panel.picture.alt != before.alt
        assert panel.picture.png != before.png


def test_the_rope_explorer_takes_every_rule_at_every_factor():
    panel = rope_explorer()
    said = set()
    for method in ("default", "linear", "ntk", "dynamic", "yarn"):
        panel.controls["method"].value = method
        for factor in (1, 8, 16):
            panel.controls["factor"].value = factor
            said.add(panel.picture.alt)
    assert len(said) == 15
    panel.controls["method"].value = "linear"
    panel.controls["factor"].value = 4
    assert "the angle between neighbours is 0.25 times" in panel.picture.alt
    assert "Target: 1,024" in panel.picture.alt


def test_the_rank_explorer_shows_what_was_recorded_or_what_it_is_given():
    recorded = recorded_updates()
    assert {len(values) for values in recorded.values()} == {192}
    assert len(recorded) == 17
    kept = plots.kept_energy(recorded["layer 2, q_proj"])[8]
    assert f"{plots.percent(kept)} of update of layer 2, q_proj" in rank_explorer().picture.alt
    panel = rank_explorer({"mine": [2.0, 1.0, 0.5]}, rank=2)
    assert panel.controls["rank"].max == 3
    assert "95\u00a0% of update of mine (3 ranks)" in panel.picture.alt
    with pytest.raises(ValueError, match="updates must hold at least one matrix, got none"):
        rank_explorer({})


def test_random_numbers_have_no_rank_to_speak_of():
    values = random_spectrum(64, 64)
    np.testing.assert_allclose((values**2).sum(), 64 * 64, rtol=0.1)
    assert plots.kept_energy(values)[8] < 0.4


def test_the_small_model_has_the_shape_of_its_weights():
    from longlora_edu.model import bundled_model

    shapes = known_shapes()
    assert shapes["small model"].parameters.total == sum(weight.numel() for weight in bundled_model().parameters())
    assert shapes["Llama-2-7B"].parameters.total == 6_738_415_616


def test_the_cost_explorer_shows_the_papers_table_where_it_counts_as_the_paper():
    panel = cost_explorer(length=65_536)
    assert "dense 3.12\u00a0PFLOP, of which attention is 72.2\u00a0%; S²-Attn 1.43\u00a0PFLOP" in panel.picture.alt
    panel.controls["causal"].value = True
    assert "counting what a causal kernel computes: dense 1.99\u00a0PFLOP" in panel.picture.alt


# A bar.


def test_a_bar_says_how_long_the_rest_may_take(monkeypatch):
    now = iter([0.0, 6.0, 12.0])
    monkeypatch.setattr("longlora_edu.widgets.task.time.monotonic", lambda: next(now))
    bar = Bar()
    with bar.stage("Working", 4, "steps") as advance:
        advance(2)
        assert bar.text.value == "Working: 2 of 4 steps, about 6 s left"
        advance(2)
    assert bar.text.value == "Working: 4 of 4 steps, 12.0 s"
