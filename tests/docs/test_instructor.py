from __future__ import annotations

import re
from pathlib import Path

import pytest

from longlora_edu import cost
from longlora_edu.course.bugs import BUGS
from longlora_edu.course.build.minutes import minutes
from longlora_edu.course.build.routes import read_routes
from longlora_edu.course.build.source import lessons
from longlora_edu.geometry import S2Geometry

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "INSTRUCTOR.md").read_text(encoding="utf-8")
CALLS = re.findall(r"^\| ([^|]+) \| `([^`]+)` \| `([^`]+)` \|$", TEXT, re.MULTILINE)
NAMES = {"S2Geometry": S2Geometry, "llama": cost.ModelShape.llama2_7b()} | vars(cost)


def routes():
    """The rows of each table that begins with a minute."""
    tables = re.split(r"^\| minute ", TEXT, flags=re.MULTILINE)[1:]
    return [re.findall(r"^\| (\d+)(?:–(\d+))? \|", table.split("\n\n")[0], re.MULTILINE) for table in tables]


def test_there_are_calls_to_run():
    assert len(CALLS) >= 15


@pytest.mark.parametrize(("what", "call", "value"), CALLS, ids=[what for what, _, _ in CALLS])
def test_every_number_comes_out_of_its_call(what, call, value):
    assert repr(eval(call, dict(NAMES))) == value


@pytest.mark.parametrize("settings", re.findall(r"explorer\.html#([^)]+)\)", TEXT))
def test_links_into_the_explorer_name_settings_that_it_takes(settings):
    said = dict(part.split("=") for part in settings.split("&"))
    assert list(said) == ["n", "g", "shift", "heads", "boundary", "layers"]
    S2Geometry(int(said["n"]), int(said["g"]), int(said["heads"]), int(said["shift"]), said["boundary"])
    assert int(said["n"]) <= 128 and int(said["heads"]) <= 8 and 1 <= int(said["layers"]) <= 32


def test_there_are_five_polls_each_with_a_link_an_answer_and_predicted_wrong_ones():
    polls = re.split(r"^### Poll \d · ", TEXT.split("\n## 20 minutes")[0], flags=re.MULTILINE)[1:]
    assert len(polls) == 5
    for poll in polls:
        assert poll.count("explorer.html#") == 1
        assert re.search(r"\s\*\*[A-D]\.\*\*\s", poll)
        assert poll.index("- A: ") < poll.index("explorer.html#"), "the explorer shows the answer"
        assert "**Predicted:**" in poll


def test_the_minutes_of_each_route_follow_each_other_and_add_up():
    lengths = []
    for rows in routes():
        spans = [(int(start), int(end)) for start, end in rows if end]
        assert spans[0][0] == 0
        assert all(before[1] == after[0] for before, after in zip(spans, spans[1:], strict=False))
        lengths.append(spans[-1][1])
    assert lengths == [20, 50, 90, 90]


def text_of(title):
    (found,) = re.findall(rf"^## {title}.*?(?=^## )", TEXT, re.MULTILINE | re.DOTALL)
    return found


def test_the_fifty_minutes_start_the_demo_early_enough_for_its_report():
    start, report = (
        int(re.search(rf"^\| (\d+)–\d+ \| .*{words}", text_of("50 minutes"), re.MULTILINE)[1])
        for words in (r"\*\*Start the demo\*\*", r"\*\*Open the report\*\*")
    )
    assert report - start >= 2 * int(re.search(r"took (\d+) s", TEXT)[1]) / 60, "twice as long as it was recorded"


def test_every_route_has_objectives_key_points_and_all_but_the_shortest_a_reserve():
    for title in ("20 minutes", "50 minutes", "90 minutes", "Talk, then lab"):
        said = " ".join(text_of(title).split())
        assert "**Objectives**" in said and "**Key points**" in said
    for title in ("50 minutes", "90 minutes", "Talk, then lab"):
        start, end = re.findall(r"^\| (\d+)–(\d+) \| Reserve", text_of(title), re.MULTILINE)[-1]
        assert int(end) - int(start) >= 4 and int(end) in (50, 90)


def test_no_poll_comes_twice_in_the_talk_and_the_lab_that_follows():
    talk = re.findall(r"\*\*Poll (\d)\*\*", text_of("50 minutes").partition("*Skip points*")[0])
    assert talk == ["1", "2", "3", "4"]
    rows = "\n".join(line for line in text_of("Talk, then lab").splitlines() if line.startswith("|"))
    assert not re.findall(r"poll \d", rows, re.IGNORECASE)
    assert set(re.findall(r"\*\*poll (\d)\*\*", text_of("90 minutes"))) == {"5"}


@pytest.mark.parametrize("title", ["90 minutes", "Talk, then lab"])
def test_a_lab_gives_each_lesson_its_core_and_comes_to_none_before_what_it_needs(title):
    source = ROOT / "notebooks" / "source"
    known = {lesson.number: lesson for lesson in lessons(source)}
    before = {entry["number"]: entry["before"] for entry in read_routes(source)["lesson"]}
    done = {"00", "05", "06"}  # at home, and by the bridge
    if title == "Talk, then lab":
        done.add("02a")  # by the talk
    said = " ".join(text_of(title).split()).lower()
    assert "bridge for lessons 05 and 06" in said and "lesson 00" in said
    taught = re.findall(r"^\| (\d+)–(\d+) \| \[Lesson (\w+)\]\(.*?\)(.*)", text_of(title), re.MULTILINE)
    assert len(taught) >= 3
    for start, end, number, rest in taught:
        assert set(before[number]) <= done, number
        if "exercises only" not in rest:
            assert int(end) - int(start) >= minutes(known[number])[0], number
        done.add(number)


def test_the_work_before_the_lesson_is_counted():
    rows = [int(row) for row in re.findall(r"^\| (\d+) \|", text_of("Before the lesson"), re.MULTILINE)]
    assert sum(rows) == int(re.search(r"## Before the lesson: (\d+) minutes", TEXT)[1]) == 45


def test_the_source_of_a_wrong_answer_is_named():
    assert "AiDotNet" in BUGS["alternate_groups"].seen_in
    assert "AiDotNet's `LongLoRAAdapter`" in TEXT and "documentation of a library" not in TEXT


@pytest.mark.parametrize(
    "sentence",
    [
        "embeddings and norms as they are",
        "And now?",
        "would leak the future, and can be",
        "the position rule must come along",
        "at best",
        "which most sparse methods cannot",
    ],
)
def test_a_sentence_that_was_misread_is_gone(sentence):
    assert sentence not in " ".join(TEXT.split())


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", TEXT))))
def test_links_lead_to_files_that_are_there(target):
    assert (ROOT / target).exists()


def test_every_exercise_has_its_predicted_wrong_answers():
    (table,) = re.findall(r"^## Predicted wrong answers.*?(?=^## )", TEXT, re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"\b\d+\.\d\b", table))
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "notebooks/source").glob("[0-9]*.py"))
    exercises = {
        number for source in sources for number in re.findall(r"^# ### Exercise (\d+\.\d)", source, re.MULTILINE)
    }
    assert named == exercises
