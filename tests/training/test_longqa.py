from __future__ import annotations

import ast
import json

import pytest

from longlora_edu.training.corpus import Document, standard_library
from longlora_edu.training.longqa import facts, is_exact, make_questions

SOURCE = """
LIMIT = 80
NAME = "box"
TWICE = 1
TWICE = 2
LONG = "{}"
lower = 3
if LIMIT:
    INSIDE = 4


class Box:
    def open(self):
        return helper(NAME)

    def close(self):
        pass

    def __len__(self):
        return 0


class Tin:
    def close(self):
        pass


def helper(x):
    return recursive(x)


def recursive(x):
    return recursive(x - 1)


def single():
    return 1


def caller():
    def inner():
        return 0

    return single() + shared()


def shared():
    return 2


def other():
    return shared()
""".format("x" * 60)
DOCUMENT = Document("box.py", SOURCE.encode())


def test_only_what_has_one_right_answer_is_asked():
    found = {(fact.question, fact.answer) for fact in facts(DOCUMENT)}
    assert found == {
        ("What is the value of LIMIT?", "80"),
        ("What is the value of NAME?", '"box"'),
        ("Which class defines the method open?", "Box"),
        ("Which function calls single?", "caller"),
    }


def test_the_evidence_stands_where_it_is_said_to_stand():
    lines = SOURCE.splitlines()
    for fact in facts(DOCUMENT):
        inside = "\n".join(lines[fact.lines[0] : fact.lines[1] + 1])
        asked = fact.question.removesuffix("?").split()[-1]
        assert asked in inside
        assert fact.answer in inside


def test_what_is_not_python_is_passed_over():
    assert facts(Document("x.txt", b"not: python [")) == ()
    assert facts(Document("x.py", b"a = '\xff'")) == ()


def test_excerpts_are_whole_lines_that_hold_the_evidence_and_fill_the_room():
    for length in (60, 200, 400, 10_000):
        for item in make_questions([DOCUMENT], length, 30, seed=length):
            excerpt = item.instruction.removeprefix("Below is a part of a Python file.\n\n").split("\n\nQuestion: ")[0]
            assert excerpt in SOURCE
            assert len(excerpt.encode()) <= length
            assert item.output in excerpt
            assert item.instruction.endswith("\nAnswer: ")
            assert len(excerpt) >= min(length, len(SOURCE)) - 75 - 2  # the longest line does not fit any more


def test_kinds_are_drawn_evenly_and_a_seed_gives_the_same_set_again():
    items = make_questions([DOCUMENT], 500, 300)
    assert {kind: 80 < sum(item.kind == kind for item in items) < 120 for kind in ("constant", "method", "caller")} == {
        "constant": True, "method": True, "caller": True,
    }  # fmt: skip
    assert make_questions([DOCUMENT], 500, 300) == items
    assert make_questions([DOCUMENT], 500, 300, seed=1) != items


def test_an_item_is_one_line_of_the_known_format():
    item = make_questions([DOCUMENT], 500, 1)[0]
    line = json.loads(json.dumps(item.as_json()))
    assert set(line) == {"instruction", "output", "document", "kind"}
    assert line["document"] == "box.py"


def test_no_fact_within_the_length_is_said():
    with pytest.raises(ValueError, match="documents must hold a fact within 5 bytes, got none in 1 documents"):
        make_questions([DOCUMENT], 5, 1)
    with pytest.raises(ValueError, match="count must be an integer, at least 1, got 0"):
        make_questions([DOCUMENT], 5, 0)


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("80", True),
        (" 80.\nmore", True),
        ("`80`", True),
        ("81", False),
        ("80 it is", False),
        ("", False),
        ("\n", False),
    ],
)
def test_an_exact_match_is_of_the_first_line(answer, right):
    assert is_exact(answer, "80") is right


def test_the_standard_library_holds_thousands_of_facts_on_both_sides():
    corpus = standard_library()
    names = {
        side: {item.document for item in make_questions(getattr(corpus, side), 4096, 50)}
        for side in ("train", "held_out")
    }
    assert not names["train"] & names["held_out"]
    sample = [fact for document in corpus.held_out[:10] for fact in facts(document)]
    assert len(sample) > 50
    for fact in sample:
        if fact.kind == "constant":
            assert type(ast.literal_eval(fact.answer)) in (int, float, str)
