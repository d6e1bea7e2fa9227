"""Lesson 00 and the case of lesson 08: what they say in words is what the records have."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from longlora_edu.course import recorded
from longlora_edu.course.build.source import lessons
from longlora_edu.course.play.retrieval import read_probe, show_probe

SOURCE = Path(__file__).parents[2] / "notebooks" / "source"


def lesson(number):
    return lessons(SOURCE, (number,))[0]


def test_the_recorded_probe_is_a_probe_and_says_what_the_lesson_says():
    with_shift, without = (read_probe(recorded("probe")[name]) for name in ("with", "without"))
    assert (with_shift.settings.shift, without.settings.shift) == (8, 0)
    assert with_shift.accuracy.rate == 1
    low, high = without.accuracy.interval
    assert low <= without.chance <= high
    assert "no shift, across a border: 14" in show_probe([with_shift, without]).alt


def test_the_first_five_minutes_need_no_word_about_the_machine():
    headings = re.findall(r"^# ## (.+)$", lesson("00").path.read_text("utf-8"), re.MULTILINE)
    assert headings.index("Where am I?") > headings.index("Play: move the wall")
    before = lesson("00").path.read_text("utf-8").partition("## Where am I?")[0]
    for word in ("environment", "kernel", "pip", "progress.json"):
        assert word not in before, word
    words = len(re.sub(r"^(?!# ).*$", "", before, flags=re.MULTILINE).split())
    assert words / 200 + 2 <= 5


def test_the_small_model_writes_before_and_after_in_the_record():
    writing = recorded("demo")["writing"]
    assert len({writing[when] for when in ("before", "stretched", "after")}) == 3
    assert "demo['writing'][when]" in lesson("00").path.read_text("utf-8")


def of_100(step, kind):
    count = step["references"][kind]
    return 100 * count["found"] / count["of"]


def test_the_record_still_tells_the_case_of_lesson_08():
    """Each sentence of the story; a new record that says otherwise wants a new story."""
    demo = recorded("demo")
    target = str(demo["target_context"])
    before, stretched, after = (demo[when] for when in ("before", "stretched", "after"))
    bits = [step["bits_per_byte"][target] for step in (before, stretched, after)]
    assert (bits[0] - bits[1]) / (bits[0] - bits[2]) > 0.9, "stretched positions repair the text"
    assert stretched["passkey"][target] > 0.8 > 0.2 > before["passkey"][target], "and find passkeys"
    assert of_100(after, "<=G") - of_100(stretched, "<=G") > 50, "training teaches the finding"
    short, full = demo["arms"]["short"], demo["arms"]["full"]
    assert of_100(after, "G-2G") > 1.5 * of_100(short, "G-2G"), "the shift carries it across a wall"
    assert of_100(full, ">2G") > 1.5 * of_100(after, ">2G"), "full attention carries it further"
    spread = [arm["bits_per_byte"][target] for arm in (short, after, full)]
    assert max(spread) < 1.1 * min(spread), "plain text hardly tells them apart"


@pytest.mark.parametrize("number", ["00", "02a", "02b", "02c", "08", "11"])
def test_no_measured_number_stands_in_the_prose_of_the_demo(number):
    prose = "\n".join(cell.source for cell in lesson(number).cells if cell.cell_type == "markdown")
    demo = recorded("demo")
    for step in (demo["before"], demo["stretched"], demo["after"], *demo["arms"].values()):
        for value in step["bits_per_byte"].values():
            assert f"{value:.2f}" not in prose
