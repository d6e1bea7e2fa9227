from __future__ import annotations

import base64
import io
import re

import ipywidgets
import numpy as np
import pytest
from helpers import box_of, widget_of
from PIL import Image

from longlora_edu.geometry import S2Geometry
from longlora_edu.plots import (
    describe_comparison,
    describe_masks,
    plot_comparison,
    plot_masks,
    show_by_pair,
    show_masks,
)
from longlora_edu.widgets import Picture, show
from longlora_edu.widgets.display import NARROW, WIDGET_VIEW, still_alone

GEOMETRY = S2Geometry(8, 4, 2)


@pytest.fixture(scope="module")
def picture():
    return Picture(plot_masks(GEOMETRY), describe_masks(GEOMETRY))


def test_a_picture_is_published_as_html_with_its_sentence(picture):
    bundle = picture._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}
    assert bundle["text/plain"] == picture.alt == describe_masks(GEOMETRY)
    (alt,) = re.findall(r'<img alt="([^"]+)"', bundle["text/html"])
    assert alt == picture.alt
    (data,) = re.findall(r'src="data:image/png;base64,([^"]+)"', bundle["text/html"])
    assert Image.open(io.BytesIO(base64.b64decode(data))).size[0] > 300


def test_a_sentence_that_is_code_elsewhere_is_escaped():
    html = Picture(plot_masks(GEOMETRY), 'two <masks> & "more"').html
    assert 'alt="two &lt;masks&gt; &amp; &quot;more&quot;"' in html


def test_a_picture_on_disk_carries_its_sentence(picture, tmp_path):
    picture.save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as image:
        assert image.text["Description"] == picture.alt


def test_few_colours_make_small_pictures_that_look_the_same(picture):
    from longlora_edu.plots import png

    large = png(plot_masks(GEOMETRY), dpi=100)
    assert len(picture.png) < 0.7 * len(large)
    pixels = [np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), int) for data in (large, picture.png)]
    assert np.abs(pixels[0] - pixels[1]).mean() < 1


def test_a_plot_and_its_sentence_come_as_one_picture(picture):
    shown = show_masks(GEOMETRY)
    assert (shown.alt, shown.png) == (picture.alt, picture.png)
    assert show_masks(GEOMETRY, lead="Look.").alt == f"Look. {picture.alt}"
    one = show_masks(GEOMETRY, heads=(1,), dpi=50)  # an option that only the plot has
    assert Image.open(io.BytesIO(one.png)).size[0] < Image.open(io.BytesIO(shown.png)).size[0]
    curves = {"yours": np.array([1.0, 0.5])}
    # `y` goes to the plot and `what` to the sentence.
    assert show_by_pair(curves, y="over the trained one", what="Frequency").alt.startswith("Frequency, by pair")
    assert show_masks.__name__ == "show_masks" and "with its sentence" in show_masks.__doc__


def test_an_option_that_neither_the_plot_nor_the_sentence_has_is_refused():
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        show_masks(GEOMETRY, colour="red")


@pytest.mark.parametrize("alt", ["", " ", None])
def test_a_picture_without_a_sentence_is_refused(alt):
    with pytest.raises(ValueError, match="alt must be a sentence"):
        Picture(plot_masks(GEOMETRY), alt)


def test_a_widget_is_published_with_what_stands_in_for_it(picture, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append((data, raw)))
    slider = ipywidgets.IntSlider()
    show(slider, picture)
    (bundle, raw), (view, raw_too) = shown
    assert raw is raw_too is True
    assert set(view) == {WIDGET_VIEW}
    assert set(view[WIDGET_VIEW]) == {"version_major", "version_minor", "model_id"}
    assert (view[WIDGET_VIEW]["version_major"], view[WIDGET_VIEW]["version_minor"]) == (2, 0)
    assert widget_of(view) is slider
    assert set(bundle) == {"text/html", "text/plain"}
    assert picture.html in bundle["text/html"]
    assert bundle["text/plain"] == picture.alt
    show(slider, "<b>words</b>")
    assert "<b>words</b>" in shown[2][0]["text/html"]
    assert shown[2][0]["text/plain"] == "an interactive panel"


def test_the_rule_that_hides_a_picture_comes_with_its_own_widget_alone(picture, published):
    for _ in range(2):
        show(ipywidgets.IntSlider(), picture)
    classes = [re.search(r'<div class="([\w-]+)">', bundle["text/html"])[1] for bundle in published[::2]]
    assert len(set(classes)) == 2
    for bundle, view, name in zip(published[::2], published[1::2], classes, strict=True):
        _, rule = box_of(view).children
        assert rule.value.startswith(f"<style>.{name}, ")
        assert rule.value.endswith(f"{{display: none}} {NARROW}</style>")
        assert rule.layout.display == "none"
        assert f".{name} {{" not in bundle["text/html"]  # else a saved notebook would hide its own picture


HTML = ["<b>words</b>", "<ul>\n<li>a</li>\n</ul>", "<div><div>nested</div></div>", "a &lt; b", "<style>b {}</style>"]


@pytest.mark.parametrize("html", HTML)
def test_what_travels_is_the_picture_alone(html, published):
    show(ipywidgets.IntSlider(), html)
    assert still_alone(published[0]["text/html"]) == html
    assert still_alone(html) == html


def test_two_masks_stand_side_by_side_with_what_differs_hatched():
    right, mine = GEOMETRY.mask()[1], GEOMETRY.mask()[0]
    axes = plot_comparison(mine, right)
    extra, missing = (mine & ~right).sum(), (right & ~mine).sum()
    titles = [f"yours: {extra} too many (hatched)\n{missing} missing (×)", "right"]
    assert [ax.get_title(loc="left") for ax in axes] == titles
    assert [np.asarray(ax.collections[0].get_array()).sum() for ax in axes] == [mine.sum(), right.sum()]
    assert (np.ma.filled(axes[0].collections[1].get_array(), 0) > 0).sum() == extra
    crosses = {(query, key) for key, query in axes[0].collections[2].get_offsets()}
    assert crosses == {(query, key) for query, key in np.argwhere(right & ~mine)}
    sentence = describe_comparison(mine, right)
    assert f"{extra} pairs too many, {missing} missing, of {right.sum()}" in sentence


def test_masks_that_agree_or_have_other_shapes_are_described_too():
    mask = GEOMETRY.mask()[0]
    assert "are the same" in describe_comparison(mask, mask)
    assert len(plot_comparison(mask, mask)[0].collections) == 1
    assert "(3, 3), the right one (8, 8)" in describe_comparison(mask[:3, :3], mask)
    assert len(plot_comparison(mask[:3, :3], mask)[0].collections) == 1
