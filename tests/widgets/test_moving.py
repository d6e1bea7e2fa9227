"""Pictures that move: what they show agrees with the geometry and the rope, and a still says all of it."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys

import numpy as np
import pytest

from longlora_edu.course import SENTENCE
from longlora_edu.geometry import S2Geometry
from longlora_edu.rope import Rope
from longlora_edu.widgets import moving
from longlora_edu.widgets.moving.moving_still import MovingStill
from longlora_edu.widgets.moving.moving_widget import moving_module
from longlora_edu.widgets.moving.scenes import clocks_scene, pulse_scene, shift_scene

WORDS = SENTENCE.split()
YARN = Rope(48, method="yarn", factor=8, trained_length=256)


def test_in_the_running_sentence_it_cannot_look_at_dog():
    geometry = S2Geometry(len(WORDS), 4, 2)
    it, dog = WORDS.index("it"), WORDS.index("dog")
    assert (len(WORDS), dog, it) == (12, 1, 11)
    assert not any(geometry.allows(head, it, dog) for head in (0, 1))
    assert [bool(geometry.reach(layers)[it, dog]) for layers in (4, 5)] == [False, True]


@pytest.mark.parametrize(("words", "group", "shift"), [(SENTENCE, 4, None), (SENTENCE, 4, 1), ("a b c d e f g", 3, 2)])
def test_the_value_hops_where_a_wall_was_and_a_shifted_cell_is(words, group, shift):
    scene = shift_scene(words, group, shift)
    geometry = S2Geometry(len(words.split()), group, 2, shift)
    assert not geometry.allows(0, scene["to"], scene["from"])
    assert geometry.allows(1, scene["to"], scene["from"])
    assert len(scene["says"]) == scene["end"] + 1
    json.dumps(scene)


def test_rolled_the_first_word_looks_at_the_last():
    scene = shift_scene(SENTENCE, 4, boundary="wrap")
    geometry = S2Geometry(12, 4, 2, boundary="wrap")
    assert scene["wraps"] and geometry.allows(1, scene["to"], scene["from"])
    assert (scene["from"], scene["to"]) == (11, 0)
    assert "its own future" in scene["says"][-1]


@pytest.mark.parametrize("source", range(12))
def test_the_pulse_is_who_has_heard_after_each_layer(source):
    geometry, scene = S2Geometry(12, 4, 2), pulse_scene(SENTENCE, 4, source)
    assert np.flatnonzero(scene["heard"][0]).tolist() == [source]
    for layers, heard in enumerate(scene["heard"][1:], 1):
        assert heard == geometry.reach(layers)[:, source].tolist()
    assert (geometry.reach(40)[:, source] == scene["heard"][-1]).all(), "it ended too early"
    masks = geometry.mask()
    for layer, ways in enumerate(scene["hops"]):
        for way in ways:
            assert masks[int(way["shifted"]), way["target"], way["source"]]
            assert scene["heard"][layer][way["source"]] and not scene["heard"][layer][way["target"]]
    assert len(scene["says"]) == len(scene["heard"]) == scene["end"] + 1


def test_without_a_shift_the_pulse_ends_at_the_wall():
    scene = pulse_scene(SENTENCE, 4, 1, shift=0)
    assert np.flatnonzero(scene["heard"][-1]).tolist() == [1, 2, 3]
    assert scene["says"][-1].endswith("No head looks across the next wall.")


def test_clocks_turn_as_the_rope_says():
    scene = clocks_scene(YARN, [0, 8, 14, 23], 2048)
    plain, stretched = Rope(48).frequencies(), YARN.frequencies(2048)
    for pair, clock in zip([0, 8, 14, 23], scene["clocks"], strict=True):
        assert (clock["frequency"], clock["stretched"]) == (plain[pair], stretched[pair])
        assert clock["seen"] == pytest.approx(256 * plain[pair])
    said = MovingStill(scene).alt
    assert (
        "beyond the shaded arc that training has seen on: pair 14" in said
        and "With stretch by yarn × 8: no clock" in said
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: shift_scene("a b", 4), "words must fill more than a group and be shifted, got 2 in 4"),
        (lambda: shift_scene(SENTENCE, 4, 0), "must fill more than a group and be shifted, got 12 in 4"),
        (lambda: shift_scene(SENTENCE, 4, boundary="masked"), "boundary must be 'split' or 'wrap' .*, got 'masked'"),
        (lambda: shift_scene(SENTENCE, 4, 4), "shift must be from 0 to"),
        (lambda: pulse_scene(SENTENCE, 4, 12), "source must be from 0 to 11, got 12"),
        (lambda: clocks_scene(YARN, [0], 256), "target must be beyond the trained length, got 256 for 256"),
        (lambda: clocks_scene(Rope(48), [0], 256), "got 256 for None"),
        (lambda: clocks_scene(YARN, [24], 2048), "pairs must be from 0 to 23, got 24"),
    ],
)
def test_what_cannot_be_shown_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_still_stands_beside_the_widget_and_instead_of_it(published, monkeypatch):
    made = moving.show_pulse(SENTENCE, group_size=4, source=1)
    made._ipython_display_()
    shown, live = published  # the still, then the widget that hides it
    assert "application/vnd.jupyter.widget-view+json" in live
    assert shown["text/plain"] == " ".join(made.scene["says"])
    assert '<img alt="“dog” says something.' in shown["text/html"]
    monkeypatch.setitem(sys.modules, "longlora_edu.widgets.moving.moving_widget", None)
    assert isinstance(moving.show_shift(SENTENCE, group_size=4), MovingStill)
    assert isinstance(moving.show_clocks(YARN, [0], target=2048), MovingStill)


def node(lines):
    """What a script prints that has the module's functions."""
    script = shutil.which("node") or pytest.skip("needs node")
    text = moving_module().replace("export default { render };", "").replace("export ", "")
    done = subprocess.run(
        [script, "--input-type=module", "-e", text + lines], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_browser_computes_hands_slots_and_stops_as_python_does():
    scene = clocks_scene(YARN, [8, 14, 23], 2048)
    found = node(
        f"const scene = {json.dumps(scene)};"
        "console.log(JSON.stringify([scene.clocks.map((c) => [1, 255, 257, 2048].map((at) => handAt(c, at, false))),"
        "[0, 1, 11].map((token) => rolledSlot(token, 2, 12, 1)), [0, 1, 256, 2048].map((t) => nextStop(scene, t)),"
        "[0, 0.9, 1, 2].map((t) => saidAt({ says: ['a', 'b', 'c'] }, t))]))"
    )
    hands, slots, stops, said = found
    for clock, four in zip(scene["clocks"], hands, strict=True):
        for position, hand in zip((1, 255, 257, 2048), four, strict=True):
            angle = position * clock["frequency"] % (2 * math.pi)
            assert hand["angle"] == pytest.approx(angle)
            assert hand["unseen"] == (clock["seen"] < 2 * math.pi and angle > clock["seen"])
    assert [hand["unseen"] for hand in hands[1]] == [False, False, True, True]
    assert slots == [10, 11, 9]
    assert stops == [256, 256, 2048, 0]
    assert said == ["a", "a", "b", "c"]
