"""The README as a front page: short, in order, and every number in it read from a record or from the lessons."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from longlora_edu.course.build.minutes import minutes
from longlora_edu.course.build.source import lessons
from longlora_edu.runs.marked import fill_marked
from longlora_edu.runs.records import read_json

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))

import animation  # noqa: E402
import front  # noqa: E402

RECORD = read_json(ROOT / front.RECORD)
README, DEMO = (path.read_text(encoding="utf-8") for path in (front.README, front.DEMO))


def words(text):
    """What a reader reads: without comments, tags, targets of links and the lines of tables."""
    text = re.sub(r"<!--.*?-->|</?[a-z][^>]*>", "", text, flags=re.DOTALL)
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return [word for word in text.split() if re.search(r"\w", word)]


def block(name, text=README):
    return re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text, re.DOTALL)[1].strip()


def test_what_comes_first_is_short():
    assert len(words(README.split("\n## Reference\n")[0])) <= 600
    assert len(words(README)) <= 1500


def test_the_parts_stand_in_their_order():
    parts = ["# longlora_edu", "<!-- line -->", "<!-- badges -->", "<picture>", "<!-- ladder -->"]
    parts += ["## Learn", "## Teach", "## Use", "## Two commands", "## Reference"]
    places = [README.index(f"{part}\n") for part in parts]
    assert places == sorted(places) and places[0] == 0


def test_numbers_come_from_the_record_of_the_demo():
    again = "python docs/front.py"
    assert block("line") == front.line(RECORD), again
    assert block("ladder") == front.ladder(RECORD), again
    assert block("demo", DEMO) == front.demo_prints(RECORD), again


def test_the_ladder_has_five_lines_and_the_record_s_own_numbers():
    rows = block("ladder").splitlines()[2:7]
    assert [row.split("|")[1].strip() for row in rows] == list(front.LINES.values())
    bits = [float(row.split("|")[2]) for row in rows]
    target = str(RECORD["target_context"])
    steps = RECORD | RECORD["arms"]
    assert bits == [round(steps[name]["bits_per_byte"][target], 2) for name in front.LINES]
    near = RECORD["after"]["references"]["<=G"]
    assert f"| {round(100 * near['found'] / near['of'])} % |" in rows[3]


def test_a_record_with_other_numbers_gives_other_lines():
    other = RECORD | {"target_context": 4096, "seconds": 61.0, "after": RECORD["after"]}
    assert "8× further on your laptop in 2 minutes" in front.line(other)


def test_every_lesson_is_in_the_table_with_its_minutes():
    everything = lessons(ROOT / "notebooks" / "source")
    rows = [row for row in block("course").splitlines() if "](notebooks/" in row]
    shares = front.tab_shares(everything)
    assert block("course") == front.course(everything, shares), "python docs/front.py"
    assert len(rows) == len(everything)
    for row, lesson in zip(rows, everything, strict=True):
        assert lesson.title in row and f"| {minutes(lesson)[0]} " in row
        assert row.endswith("whole") is (shares[lesson.name] == 1)


def test_marks_that_are_missing_are_refused():
    with pytest.raises(ValueError, match="the page must hold the marks of 'x' once, got 0"):
        fill_marked("no marks", {"x": "block"})


def test_the_film_lasts_eight_seconds_and_is_small():
    film = animation.scenes()
    assert sum(scene.milliseconds for scene in film) == 8000
    with Image.open(animation.GIF) as gif:
        durations = []
        for at in range(gif.n_frames):
            gif.seek(at)
            durations.append(gif.info["duration"])
    assert sum(durations) == 8000
    assert animation.GIF.stat().st_size <= 1.5e6 and animation.STILL.stat().st_size <= 1e5


def test_the_film_shows_what_the_geometry_says():
    film = animation.scenes()
    assert [scene.geometry.shift for scene in film[:3]] == [0, 1, 2]
    cut = [scene for scene in film if scene.geometry.boundary == "split" and scene.geometry.shift == 2]
    assert [scene.layers for scene in cut] == list(range(1, 8))
    assert [scene.corner for scene in cut] == [False] * 6 + [True]
    wrapped = [scene for scene in film if scene.geometry.boundary == "wrap"]
    assert {scene.lit for scene in wrapped} == {True, False}
    leak = wrapped[-1].geometry.future_pairs()
    assert leak > 0 and f"{leak} pairs look at the future" in wrapped[-1].caption


def test_the_still_is_the_scene_in_which_the_corner_is_filled():
    scene = next(scene for scene in animation.scenes() if scene.corner)
    drawn = np.asarray(animation.draw(scene), dtype=int)
    kept = np.asarray(Image.open(animation.STILL).convert("RGB"), dtype=int)
    assert drawn.shape == kept.shape
    assert abs(drawn - kept).mean() < 4, "python docs/animation.py"


def test_the_picture_stands_still_for_who_asked_for_that():
    picture = re.search(r"<picture>(.*?)</picture>", README, re.DOTALL)[1]
    assert 'media="(prefers-reduced-motion: reduce)" srcset="docs/shift.png"' in picture
    assert 'src="docs/shift.gif"' in picture and re.search(r'alt="[^"]{40,}"', picture)
