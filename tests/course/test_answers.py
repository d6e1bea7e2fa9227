"""No answer before its Commit, in any lesson: not in a source, an output, a picture, an explorer or the next cell."""

from __future__ import annotations

import ast
import html
import json
import re
from pathlib import Path

import learners
import nbformat
import pytest

from longlora_edu.course import Question
from longlora_edu.course.build.assemble import ANSWERS, edition
from longlora_edu.course.build.sealing import sealed, sealed_until, unsealed
from longlora_edu.course.build.source import BEGIN, END, lessons

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
LESSONS = {lesson.name: lesson for lesson in lessons(NOTEBOOKS / "source")}
STUDENT = {name: edition(lesson, "student", neighbours=list(LESSONS.values())) for name, lesson in LESSONS.items()}
each_lesson = pytest.mark.parametrize("name", list(LESSONS))
# Explorers that show nothing a prediction asks for, each with the reason.
FREE = {
    "04_meaning_to_speed": "pairs by length; what is asked comes from a clock",
    "09_real_model": "which models are refused; nothing is asked of it",
}
EXPLORER = re.compile(r"\b(?:explorer|\w+_explorer|show_panel)\(")
LONG = 25  # letters of a string that would give an answer away


def code_of(lesson):
    return [cell for cell in lesson.cells if cell.cell_type == "code"]


def calls(source, *names):
    """The calls of `course.<name>` in a cell."""
    for node in ast.walk(ast.parse(source)):
        of_course = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in names
        if of_course and isinstance(node.func.value, ast.Name) and node.func.value.id == "course":
            yield node


def strings(node):
    """The constant strings inside a node, f-strings by their constant parts."""
    return [part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)]


def key_of(call):
    return call.args[0].value


def legible(notebook):
    """All that can be read in a stored notebook without opening anything: sources, outputs, without picture data."""
    return re.sub(r"base64,[A-Za-z0-9+/=]+", "", json.dumps(notebook, ensure_ascii=False))


def committed(name):
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", 4)


def test_sealing_can_be_undone_and_cannot_be_read():
    source = 'course.reveal("03.x", "exactly zero", "because")'
    cell = sealed(source, worked="03.y")
    assert unsealed(cell) == source
    assert "zero" not in cell
    assert 'worked="03.y"' in cell
    later = sealed_until("03.x", [("text", "It was the *wall*."), ("code", source)])
    assert 'after="03.x"' in later
    assert "wall" not in later
    assert unsealed(later) == f"<p>It was the <em>wall</em>.</p>\n\n{source}"
    assert unsealed("x = 1") == "x = 1"
    ast.parse(cell)


@each_lesson
def test_cells_with_an_answer_are_sealed_and_hidden(name):
    sources = {cell.id: cell for cell in STUDENT[name].cells}
    originals = {cell.id: cell for cell in edition(LESSONS[name], "solution", neighbours=list(LESSONS.values())).cells}
    held = [key for key, cell in originals.items() if cell.cell_type == "code" and ANSWERS.search(cell.source)]
    assert held
    for key in held:
        assert unsealed(sources[key].source) == originals[key].source != sources[key].source
        assert sources[key].metadata["jupyter"] == {"source_hidden": True}
        assert sources[key].metadata["cellView"] == "form"


@each_lesson
def test_nothing_that_a_reveal_says_can_be_read_before_it_opens(name):
    text = legible(committed(name))
    said = {
        part.strip()
        for cell in code_of(LESSONS[name])
        for call in calls(cell.source, "reveal")
        for argument in [*call.args[1:], *(keyword.value for keyword in call.keywords if keyword.arg == "because")]
        for part in strings(argument)
        if len(part.strip()) >= LONG
    }
    asked = " ".join(
        part
        for cell in code_of(LESSONS[name])
        for call in calls(cell.source, "predict", "draw")
        for part in strings(call)
    )
    listed = " ".join(
        part
        for cell in code_of(LESSONS[name])
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.List | ast.Dict)
        for part in strings(node)
    )
    for part in said:
        if part not in asked and part not in listed:  # a choice is shown with its question
            assert json.dumps(part, ensure_ascii=False)[1:-1] not in text, part


@each_lesson
def test_the_pictures_of_a_reveal_are_inside_its_fold(name):
    ids = {
        cell.id
        for cell in edition(LESSONS[name], "solution", neighbours=list(LESSONS.values())).cells
        if cell.cell_type == "code" and re.search(r"^course\.reveal\(", cell.source, re.MULTILINE)
    }
    shown = [cell for cell in committed(name).cells if cell.id in ids]
    assert len(shown) == len(ids) > 0
    for cell in shown:
        outputs = [output.data.get("text/html", "") for output in cell.outputs if "data" in output]
        folded = [content for content in outputs if content.startswith("<details>")]
        assert folded, name
        for content in outputs:
            assert "<img" not in re.sub(r"<details>.*?</details>", "", content, flags=re.DOTALL), name
        for content in folded:
            said = re.sub(r"<summary>.*?</summary>|<[^>]*>", "", content, flags=re.DOTALL)
            assert not re.search(r"[A-Za-z]{4,}", said), "not encoded"
            assert re.search(r"[A-Za-z]{4,}", html.unescape(said)), "and says nothing"


@each_lesson
def test_commit_itself_reveals(name):
    """The question and its answer are one cell: when it is answered, nothing else is to be run."""
    for cell in code_of(LESSONS[name]):
        asked = {key_of(call) for call in calls(cell.source, "predict", "draw")}
        assert asked == {key_of(call) for call in calls(cell.source, "reveal")}


@each_lesson
def test_a_cell_with_a_reveal_prints_nothing_after_its_question(name):
    for cell in code_of(LESSONS[name]):
        asked = [call.lineno for call in calls(cell.source, "predict", "draw")]
        printed = [
            node.lineno
            for node in ast.walk(ast.parse(cell.source))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        ]
        assert not asked or all(line < min(asked) for line in printed)


@each_lesson
def test_explorers_wait_for_the_prediction_that_they_would_answer(name):
    loose = [
        cell.source
        for cell in code_of(LESSONS[name])
        if EXPLORER.search(re.sub(r"^(?:from|import) .*$", "", cell.source, flags=re.MULTILINE))
        and "course.after(" not in cell.source
    ]
    assert not loose or name in FREE


@each_lesson
def test_what_waits_for_a_prediction_or_a_check_waits_for_one_that_is_there(name):
    lesson = LESSONS[name]
    asked = {key_of(call) for cell in code_of(lesson) for call in calls(cell.source, "predict", "draw")}
    for cell in lesson.cells:
        assert cell.metadata.get("worked", next(iter(lesson.solutions), None)) in {*lesson.solutions, None}
        assert cell.metadata.get("after", next(iter(asked))) in asked
    after = [key_of(call) for cell in code_of(lesson) for call in calls(cell.source, "after")]
    assert set(after) <= asked


@each_lesson
def test_a_verdict_opens_when_the_code_that_computes_it_does(name):
    """A verdict answers the prediction before it as well as the numbers below it do."""
    cells = LESSONS[name].cells
    opened = {cell.metadata["claim"]: cell.metadata.get("after") for cell in cells if "claim" in cell.metadata}
    told = {}
    for cell in cells:
        told |= dict.fromkeys(re.findall(r"{{claim: (.+?)}}", cell.source), cell.metadata.get("after"))
    assert told == opened


@each_lesson
def test_no_visible_cell_holds_a_solution(name):
    visible = [
        re.sub(r"\s+", "", cell.source)
        for cell in STUDENT[name].cells
        if cell.cell_type == "code" and unsealed(cell.source) == cell.source
    ]
    for cell in LESSONS[name].cells:
        if "exercise" not in cell.metadata:
            continue
        inside = cell.source.partition(BEGIN)[2].partition(END)[0].splitlines()
        lines = {re.sub(r"\s+", "", line.partition("#")[0]) for line in inside}
        lines = {line for line in lines if len(line) >= 20}
        for other in visible:
            found = {line for line in lines if line in other}
            assert not lines or len(found) <= len(lines) / 2, (cell.metadata["exercise"], found)


def questions():
    """All questions of all quizzes, with the key of the quiz and their number in it."""
    for lesson in LESSONS.values():
        for cell in code_of(lesson):
            for call in calls(cell.source, "quiz"):
                for number, inner in enumerate(call.args[1:]):
                    options = {word.arg: ast.literal_eval(word.value) for word in inner.keywords}
                    yield key_of(call), number, Question(ast.literal_eval(inner.args[0]), **options)


def test_every_misconception_is_a_choice_of_a_quiz_with_its_answer():
    feedback = {choice: said for _, _, question in questions() for choice, said in question.wrong}
    missing = [entry["id"] for entry in learners.read("misconceptions") if entry["distractor"] not in feedback]
    assert missing == []


@pytest.mark.parametrize("end", [max, min])
def test_the_right_choice_is_seldom_the_longest_or_the_shortest(end):
    asked = [question for _, _, question in questions()]
    at_the_end = []
    for question in asked:
        right, wrong = len(question.right[0]), [len(choice) for choice, _ in question.wrong]
        if right not in wrong and end([right, *wrong]) == right:
            at_the_end.append(question.right[0])
    by_chance = sum(1 / (1 + len(q.wrong)) for q in asked) / len(asked)
    assert len(at_the_end) <= (by_chance + 0.1) * len(asked), at_the_end


def test_the_right_choice_begins_as_the_wrong_ones_do():
    told = [
        (key, question.right[0])
        for key, _, question in questions()
        if question.right[0][0].isalpha()
        and all(choice[0].isalpha() for choice, _ in question.wrong)
        and question.right[0][0].islower() not in {choice[0].islower() for choice, _ in question.wrong}
        and not question.right[0].startswith("rearrange(")  # code beside code
    ]
    assert told == []


def test_the_right_choice_stands_at_every_place():
    places = {}
    for key, number, question in questions():
        order = [choice for choice, _ in question.choices(key, number)]
        places.setdefault(key, []).append(order.index(question.right[0]))
    assert all(len(set(found)) > 1 for found in places.values())
    first = sum(found.count(0) for found in places.values())
    assert first <= 0.45 * sum(len(found) for found in places.values())


def test_at_least_four_predictions_are_drawn():
    drawn = [
        key_of(call) for lesson in LESSONS.values() for cell in code_of(lesson) for call in calls(cell.source, "draw")
    ]
    assert len(drawn) >= 4


def test_the_hardest_exercises_begin_with_lines_to_order():
    puzzles = [
        key_of(call)
        for lesson in LESSONS.values()
        for cell in code_of(lesson)
        for call in calls(cell.source, "parsons")
    ]
    assert {key[:2] for key in puzzles} >= {"02", "03", "04", "06"}


def test_a_fold_names_the_question_that_opens_it(journal):
    from longlora_edu import course
    from longlora_edu.course.notebook import folded

    assert (
        folded.opens_when("99.never_asked")
        == "This opens when you commit your answer to 99.never_asked and run this cell. Open it anyway"
    )
    course.predict(
        "99.far",
        "What does `token 5` hear, *before* and after the shift, on each of the two heads?",
        ["a", "b"],
        journal=journal,
    )
    assert folded.opens_when("99.far") == (
        "This opens when you commit your answer to “What does token 5 hear, before and after the shift, on each…” and "
        "run this cell. Open it anyway"
    )
    course.draw("99.near", "Draw it.", curve=["1", "2"], unit="bits", journal=journal)
    assert "“Draw it.”" in folded.opens_when("99.near")
