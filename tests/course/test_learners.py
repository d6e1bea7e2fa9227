"""Learners as data: each misconception has a source, an answer, a choice and code, and they are what they say."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from pathlib import Path

import learners
import numpy as np
import pytest

from longlora_edu.course import checks
from longlora_edu.course.build.source import lessons
from longlora_edu.course.checks import (
    l01_costs,
    l02a_wall_and_shift,
    l02b_reach,
    l02c_seam_and_leak,
    l03_reference,
    l05_positions,
    l06_lora,
    l10_bugs,
)
from longlora_edu.course.notebook.journal import Journal

ROOT = Path(__file__).parents[2]
MISCONCEPTIONS = learners.read("misconceptions")
SOLUTIONS = {
    f"{lesson.subject}.{name}": code
    for lesson in lessons(ROOT / "notebooks/source")
    for name, code in lesson.solutions.items()
}
each_misconception = pytest.mark.parametrize("entry", MISCONCEPTIONS, ids=[entry["id"] for entry in MISCONCEPTIONS])


def test_there_are_forty_misconceptions_and_more_each_once():
    assert len(MISCONCEPTIONS) >= 40
    assert len({entry["id"] for entry in MISCONCEPTIONS}) == len(MISCONCEPTIONS)
    assert len(learners.read("fresh")) == 20
    assert len(learners.read("odd")) >= 100


@each_misconception
def test_a_misconception_has_a_source_that_is_there(entry):
    assert entry["source"] and entry["belief"] and entry["distractor"]
    claims = (ROOT / "docs/claims.md").read_text(encoding="utf-8")
    for claim in re.findall(r"claims\.md#([\w-]+)", entry["source"]):
        assert f"\n## {claim}\n" in claims
    if "gallery.py: " in entry["source"]:
        bug = re.search(r"gallery\.py: (\w+)", entry["source"])[1]
        assert f'name="{bug}"' in (ROOT / "longlora_edu/course/bugs/gallery.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("entry", [e for e in MISCONCEPTIONS if "call" in e], ids=lambda entry: entry["id"])
def test_its_wrong_answer_is_what_its_code_gives_and_not_the_right_one(entry):
    """In a small case, so that the answer can be said without a program."""
    assert str(eval(entry["call"], learners.written(entry))) == entry["answer"]
    right = learners.written({"exercise": entry["exercise"], "code": SOLUTIONS[entry["exercise"]]})
    if entry["id"] != "the-formula-is-the-test":  # it calls no function at all
        assert str(eval(entry["call"], right)) != entry["answer"]


# Answers of a check that say what was computed, and not what was thought.
NAMELESS = {"right", "other", "value", "exception", "loss", "step", "mean", "error", "type", "shape", "rank", "dtype"}


@pytest.fixture(scope="module")
def verdicts():
    """The name and the sentence with which its check answers each misconception."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr("IPython.display.display", lambda *_, **__: None)
        journal = Journal(Path(folder) / "progress.json")
        return {entry["id"]: learners.verdict(entry, journal) for entry in MISCONCEPTIONS}


@pytest.mark.slow
def test_every_misconception_is_named_by_a_message_of_its_own(verdicts):
    nameless = {name: verdict for name, verdict in verdicts.items() if verdict[0] in NAMELESS}
    assert not nameless
    said = Counter((entry["exercise"], verdicts[entry["id"]][0]) for entry in MISCONCEPTIONS)
    assert max(said.values()) == 1, [what for what, count in said.items() if count > 1]


def test_no_message_depends_on_a_literal_of_the_test_set():
    """Nothing that learners write or say stands in the checks: they know mistakes, not these learners."""
    folder = Path(checks.__file__).parent
    source = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    for entry in MISCONCEPTIONS:
        for said in (entry["id"], entry["distractor"], entry["belief"], entry.get("call", entry["id"])):
            assert f'"{said}"' not in source


# Each mistake by its own form: none stands in another's shadow.

TABLES = [
    (l01_costs.attention_flops, l01_costs.WRONG_ATTENTION),
    (l01_costs.crossover, l01_costs.WRONG_CROSSOVER),
    (l02a_wall_and_shift.plain_mask, l02a_wall_and_shift.PLAIN_MISTAKES),
    (l02a_wall_and_shift.s2_mask, l02a_wall_and_shift.S2_MISTAKES),
    (l02c_seam_and_leak.masked_boundary, l02c_seam_and_leak.MASKED_MISTAKES),
    (l02a_wall_and_shift.count_pairs, l02a_wall_and_shift.PAIRS_MISTAKES),
    (l02b_reach.layers_needed, l02b_reach.LAYERS_MISTAKES),
    (l02c_seam_and_leak.leaked_pairs, l02c_seam_and_leak.LEAK_MISTAKES),
    (l03_reference.masked_attention, l03_reference.ATTENTION_MISTAKES),
    (l03_reference.masked_attention, l03_reference.HIGHEST_MISTAKES),
    (l03_reference.softmax_backward, l03_reference.SOFTMAX_MISTAKES),
    (l03_reference.attention_backward, l03_reference.BACKWARD_MISTAKES),
    (l05_positions.rotary_scores, l05_positions.SCORE_MISTAKES),
    (l05_positions.yarn_frequencies, l05_positions.YARN_MISTAKES),
    (l06_lora.trainable_share, l06_lora.WRONG_SHARES),
    (l10_bugs.longformer_mask, l10_bugs.LONGFORMER),
]
FORMS = [
    pytest.param(check, table, name, number, id=f"{check.key}: {name}, {number}")
    for check, table in TABLES
    for name, mistake in table.items()
    for number in range(len(mistake.forms))
]


@pytest.mark.parametrize(("check", "table", "name", "number"), FORMS)
def test_each_form_of_a_mistake_is_called_by_its_name(check, table, name, number, journal, monkeypatch):
    monkeypatch.setattr("IPython.display.display", lambda *_, **__: None)
    form = table[name].forms[number]

    def learner(*case):
        answer = form(*case)
        return np.array(answer) if isinstance(answer, np.ndarray) else answer

    with pytest.raises(checks.CheckFailed) as caught:
        check(learner, journal=journal)
    assert caught.value.args[0].startswith(table[name].sentence)
