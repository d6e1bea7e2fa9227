from __future__ import annotations

import re
from pathlib import Path

import pytest

from longlora_edu import cost
from longlora_edu.geometry import S2Geometry
from longlora_edu.runs.records import recorded

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "INSTRUCTOR.md").read_text(encoding="utf-8")
CALLS = re.findall(r"^\| ([^|]+) \| `([^`]+)` \| `([^`]+)` \|$", TEXT, re.MULTILINE)
NAMES = {"S2Geometry": S2Geometry, "llama": cost.ModelShape.llama2_7b(), "demo": recorded("demo")} | vars(cost)


def routes():
    """The rows of each table that begins with a minute."""
    tables = re.split(r"^\| minute ", TEXT, flags=re.MULTILINE)[1:]
    return [re.findall(r"^\| (\d+)(?:–(\d+))? \|", table.split("\n\n")[0], re.MULTILINE) for table in tables]


def test_there_are_calls_to_run():
    assert len(CALLS) >= 20


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
    assert lengths == [20, 50, 90]


def test_the_fifty_minutes_start_the_demo_at_minute_5_and_open_its_report_at_minute_30():
    (route,) = re.findall(r"^## 50 minutes.*?(?=^## )", TEXT, re.MULTILINE | re.DOTALL)
    assert re.search(r"^\| 5 \| \*\*Start the demo\*\*", route, re.MULTILINE)
    assert re.search(r"^\| 30–\d+ \| \*\*Open the report\*\*", route, re.MULTILINE)


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
