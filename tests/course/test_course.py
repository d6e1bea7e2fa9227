from __future__ import annotations

import base64
import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import ipywidgets
import numpy as np
import pytest
import torch
from helpers import ROOT
from IPython.core.formatters import DisplayFormatter

from longlora_edu.course import (
    Journal,
    Question,
    after,
    draw,
    open_sealed,
    parsons,
    predict,
    quiz,
    reveal,
    run_sealed,
    show_study,
)
from longlora_edu.course.checks import (
    CheckFailed,
    Passed,
    attention_weights,
    called,
    check,
    expect_array,
    expect_tensor,
)
from longlora_edu.course.notebook import environment, folded, studied
from longlora_edu.course.notebook.draw import compare_drawing
from longlora_edu.course.notebook.environment import Profile, granted_cores
from longlora_edu.course.notebook.folded import encoded
from longlora_edu.course.notebook.parsons import needs
from longlora_edu.course.notebook.predict import judge
from longlora_edu.geometry import S2Geometry
from longlora_edu.plots import show_comparison
from longlora_edu.reference import s2_attention
from longlora_edu.runs.records import recorded, recorded_line
from longlora_edu.widgets import drawing
from longlora_edu.widgets.display import still_alone

# The journal.


def test_the_journal_keeps_kinds_and_keys_apart_and_survives_a_restart(journal):
    journal.note("quiz", "02.q", 1)
    journal.note("predictions", "02.q", "all of them")
    journal.note("quiz", "02.q", 2)
    again = Journal(journal.path)
    assert again.all() == {"quiz": {"02.q": 2}, "predictions": {"02.q": "all of them"}}
    assert again.get("quiz", "02.none") is None
    assert json.loads(journal.path.read_text())["quiz"]["02.q"] == 2


NOTES = """
import sys
from longlora_edu.course.notebook.journal import Journal
journal = Journal(sys.argv[1])
for number in range(60):
    journal.note("quiz", f"{sys.argv[2]}.{number}", number)
"""


def test_three_notebooks_that_answer_at_once_lose_nothing(journal):
    commands = [[sys.executable, "-c", NOTES, str(journal.path), name] for name in "abc"]
    notebooks = [subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}) for command in commands]
    assert [notebook.wait(timeout=300) for notebook in notebooks] == [0, 0, 0]
    assert len(journal.all()["quiz"]) == 180


def test_two_open_notebooks_do_not_overwrite_each_other(journal):
    other = Journal(journal.path)
    journal.note("quiz", "02.q", 1)
    other.note("quiz", "03.q", 2)
    journal.note("quiz", "04.q", 3)
    assert set(journal.all()["quiz"]) == {"02.q", "03.q", "04.q"}


def test_the_journal_is_where_the_environment_says_or_beside_the_notebook(tmp_path, monkeypatch):
    monkeypatch.setenv("LONGLORA_EDU_PROGRESS", str(tmp_path / "mine.json"))
    assert Journal().path == tmp_path / "mine.json"
    monkeypatch.delenv("LONGLORA_EDU_PROGRESS")
    assert str(Journal().path) == "progress.json"


def test_a_damaged_journal_is_named_and_left_as_it_is(journal):
    journal.path.write_text("{")
    with pytest.raises(ValueError, match=re.escape(str(journal.path))):
        journal.note("quiz", "02.q", 1)
    assert journal.path.read_text() == "{"


# Predictions.


def test_a_prediction_is_stored_when_it_is_committed_and_the_answer_opens_by_that(journal, published):
    _, answer, button, said = predict("02.leak", "How many?", unit="pairs", journal=journal).children
    assert answer.value == ""  # no default could be right
    reveal("02.leak", 16, "Counted.", unit="pairs", journal=journal)
    box = widget_of(published)
    answer.value = "12 pairs"
    assert journal.get("predictions", "02.leak") is None
    button.click()
    assert journal.get("predictions", "02.leak") == 12
    assert "12 pairs" in said.value
    shown = box.value
    assert "You said 12 pairs; it is 16 pairs" in shown
    assert "Counted." in shown
    assert answer.disabled and button.description == "Committed"  # what was seen cannot be predicted any more
    answer.value = "16 pairs"
    button.click()
    assert journal.get("predictions", "02.leak") == 12
    assert not button.disabled  # else the browser would take the keyboard's focus away, and Shift+Enter with it


def test_an_answer_that_comes_after_the_commit_is_open_at_once(journal, published):
    _, answer, button, _ = predict("02.leak", "How many?", unit="pairs", journal=journal).children
    answer.value = "16"
    button.click()
    reveal("02.leak", 16, "Counted.", unit="pairs", journal=journal)
    assert "You said 16 pairs, and so it is" in published[-1]["text/html"]


def test_a_cell_that_is_run_again_does_not_ask_again(journal, published):
    _, answer, button, _ = predict("02.leak", "How many?", unit="pairs", journal=journal).children
    answer.value = "12"
    button.click()
    _, answer, button, said = predict("02.leak", "How many?", unit="pairs", journal=journal).children
    assert answer.disabled and button.disabled and "12 pairs" in said.value
    _, field, button, _ = draw("05.x", "How?", curve=["1", "2"], between=(0, 8), journal=journal).children
    assert not button.disabled
    field.heights = [2.0, 6.0]
    button.click()
    assert draw("05.x", "How?", curve=["1", "2"], between=(0, 8), journal=journal).children[2].disabled


@pytest.mark.parametrize("typed", ["", "many", "3 or 4"])
def test_only_one_number_can_be_committed(typed, journal, published):
    _, answer, button, said = predict("02.leak", "How many?", unit="pairs", journal=journal).children
    answer.value = typed
    button.click()
    assert "Write a number first" in said.value
    assert journal.get("predictions", "02.leak") is None


@pytest.mark.parametrize(
    ("said", "answer", "verdict"),
    [
        (97, 97, "right"),
        (90, 97, "close"),
        (98, 97, "close"),
        (50, 97, "wrong"),
        (2.52, 2.5, "right"),
        (2.3, 2.5, "close"),
        (0, 0, "right"),
        (1, 0, "wrong"),
        ("a half", "a half", "right"),
        ("a half", "a quarter", "wrong"),
    ],
)
def test_numbers_are_judged_by_closeness(said, answer, verdict):
    assert judge(said, answer) == verdict


def test_a_wrong_answer_with_a_known_reason_is_answered(journal, published):
    journal.note("predictions", "02.who", "tokens")
    reveal("02.who", "heads", "All tokens move.", because={"tokens": "Half of them?"}, journal=journal)
    assert "Half of them? All tokens move." in published[-1]["text/html"]
    journal.note("predictions", "02.leak", 8)
    reveal("02.leak", 16, "Counted.", unit="pairs", because={8: "That is one head."}, journal=journal)
    assert "That is one head. Counted." in published[-1]["text/html"]


def test_a_choice_is_asked_for_before_it_is_committed_and_kept_when_the_cell_runs_again(journal, published):
    _, answer, button, said = predict("02.who", "Who?", ["heads", "tokens"], journal=journal).children
    button.click()
    assert "Choose one" in said.value
    assert journal.get("predictions", "02.who") is None
    answer.value = "heads"
    button.click()
    again = predict("02.who", "Who?", ["heads", "tokens"], journal=journal)
    assert again.children[1].value == "heads"
    assert "Committed: heads" in again.children[3].value


def test_an_answer_without_a_prediction_is_folded_and_not_legible(journal, published):
    picture = show_comparison(np.eye(2), np.eye(2))
    reveal("02.none", 0.25, "a <quarter>", picture=picture, journal=journal)
    content = still_alone(published[-2]["text/html"])
    assert content.startswith("<details><summary>The answer opens when you commit yours")
    assert content.endswith("</details>")
    assert "quarter" not in content and "0.25" not in content and "same: 2 pairs" not in content
    assert "a <quarter>" in html.unescape(html.unescape(content))
    assert "<img alt=" in content  # the picture is inside
    assert "quarter" not in published[-2]["text/plain"]


def test_encoding_changes_what_is_read_and_not_what_is_seen():
    content = '<p>Only <b>one</b> &lt;in&gt; ten</p><img alt="ten cells" src="data:image/png;base64,Zm9v">'
    hidden = encoded(content)
    assert html.unescape(hidden) == html.unescape(content)
    assert "one" not in hidden and "cells" not in hidden
    assert 'src="data:image/png;base64,Zm9v"' in hidden


def test_an_explorer_opens_when_the_prediction_is_committed(journal, published, monkeypatch):
    outputs = [{"output_type": "display_data", "data": {"text/html": "<b>all four</b>"}, "metadata": {}}]
    monkeypatch.setattr(folded, "_captured", lambda make: outputs)
    after("02.walls", lambda: None, journal=journal)
    assert "four" not in published[-2]["text/html"]
    live = widget_of(published)
    assert live.outputs[0]["data"]["text/html"].startswith("<details>")
    journal.note("predictions", "02.walls", 4)
    assert folded.happened("predictions", "02.walls")
    assert live.outputs == tuple(outputs)
    after("02.walls", lambda: None, journal=journal)
    assert still_alone(published[-2]["text/html"]) == "<b>all four</b>"


def test_a_worked_solution_opens_when_its_check_has_passed(journal, published):
    data = base64.b64encode(b"answer_of_this_test = 41 + 1").decode()
    run_sealed(data, worked="02.mask", journal=journal)
    live = widget_of(published)
    assert "answer_of_this_test" not in live.outputs[0]["data"]["text/html"]
    check_mask(mask_of, journal=journal)
    assert "answer_of_this_test = 41 + 1" in live.outputs[0]["data"]["text/html"]
    assert vars(sys.modules["__main__"])["answer_of_this_test"] == 42  # what it computes is there in any case


def test_texts_and_code_open_together_when_the_prediction_is_committed(journal, published):
    pieces = [("text", "<p>It was the <em>wall</em>.</p>"), ("code", "of_this_test = 6 * 7\nprint(of_this_test)")]
    data = base64.b64encode(json.dumps(pieces).encode()).decode()
    open_sealed(data, after="02.x", journal=journal)
    live = widget_of(published)
    assert "wall" not in live.outputs[0]["data"]["text/html"]
    assert vars(sys.modules["__main__"])["of_this_test"] == 42  # what it computes is there in any case
    journal.note("predictions", "02.x", 4)
    assert folded.happened("predictions", "02.x")
    text, printed, code = live.outputs
    assert text["data"] == {"text/html": "<p>It was the <em>wall</em>.</p>", "text/plain": "It was the wall."}
    assert printed["text"] == "42\n"
    assert re.match(r"<details><summary>The code</summary><pre>.*of_this_test = 6", code["data"]["text/html"])


def test_outputs_that_are_stored_stay_folded(journal, published, monkeypatch):
    monkeypatch.setenv("LONGLORA_EDU_FOLD", "1")
    journal.note("predictions", "02.none", 1)
    reveal("02.none", 0.25, "a quarter", journal=journal)
    assert still_alone(published[-2]["text/html"]).startswith("<details>")
    assert "You said" not in html.unescape(published[-2]["text/html"])


def widget_of(published):
    """The living widget of the last output."""
    known = ipywidgets.Widget._instances if hasattr(ipywidgets.Widget, "_instances") else ipywidgets.Widget.widgets
    return known[published[-1]["application/vnd.jupyter.widget-view+json"]["model_id"]].children[0]


def test_a_question_leaves_safe_words_where_no_widget_lives(journal, published):
    predict("02.who", "Who & why?", ["heads", "<tokens>"], journal=journal)
    bundle, view = published
    assert set(bundle) == {"text/html", "text/plain"}
    assert set(view) == {"application/vnd.jupyter.widget-view+json"}
    assert "Who &amp; why?" in bundle["text/html"]
    assert "&lt;tokens&gt;" in bundle["text/html"]


@pytest.mark.parametrize("options", [{}, {"choices": ["a"], "unit": "pairs"}])
def test_a_prediction_needs_choices_or_a_unit(options, journal):
    with pytest.raises(ValueError, match="must be given choices or a unit"):
        predict("02.x", "?", journal=journal, **options)


# Drawings.


def test_cells_are_marked_and_compared(journal, published):
    _, field, button, said = draw("02.mask", "Who?", cells=(["0", "1"], ["0", "1"]), journal=journal).children
    truth = np.tri(2) > 0
    reveal("02.mask", truth, "Both see 0.", journal=journal)
    box = widget_of(published)
    assert "Both see 0." not in box.value
    field.marked = [[0, 0], [1, 1]]
    button.click()
    assert journal.get("predictions", "02.mask")["cells"] == [[0, 0], [1, 1]]
    assert "1 of 4 cells are otherwise" in box.value
    assert "1 missing" in box.value  # in the sentence of the picture
    assert field.disabled and "Committed" in said.value


def test_a_curve_is_drawn_to_its_end_before_it_counts(journal, published):
    _, field, button, said = draw(
        "05.beyond", "How?", curve=["256", "512"], between=(0, 8), unit="bits", journal=journal
    ).children
    field.heights = [2.0, None]
    button.click()
    assert "every point" in said.value and journal.get("predictions", "05.beyond") is None
    field.heights = [2.0, 6.0]
    assert said.value == ""  # what was missing is there now
    button.click()
    for answer, verdict in (({"256": 2.1, "512": 5.8}, "fits"), ({"256": 2.1, "512": 5.0}, "close"),
                            ({"256": 7.0, "512": 1.0}, "another way: for “256” you drew 2, and it is 7")):  # fmt: skip
        reveal("05.beyond", answer, journal=journal)
        assert verdict in published[-1]["text/html"]


@pytest.mark.parametrize(
    ("drawn", "truth", "between", "verdict"),
    [
        (
            [2.0, 2.5, 3.0, 3.5],
            [1.12, 3.62, 5.8, 6.17],
            (0, 10),
            "wrong",
        ),  # a gentle rise, where a model breaks at once
        ([1.5, 3.2, 5.0, 6.5], [1.12, 3.62, 5.8, 6.17], (0, 10), "right"),
        ([1.2, 2.4, 4.4, 6.0], [1.12, 3.62, 5.8, 6.17], (0, 10), "close"),
        ([2.4, 1.3, 1.2, 1.1, 1.1], [1.48, 1.2, 1.15, 1.1, 1.05], (0, 3), "wrong"),  # its first point far too high
        ([1.2] * 5, [1.6, 1.2, 1.15, 1.1, 1.05], (0, 3), "wrong"),  # flat, where there is a fall
        ([1.5, 1.25, 1.15, 1.1, 1.1], [1.48, 1.2, 1.15, 1.1, 1.05], (0, 3), "right"),
    ],
)
def test_a_curve_is_close_at_each_point_or_not_at_all(drawn, truth, between, verdict):
    names = [str(place) for place in range(len(truth))]
    said = {"curve": drawn, "between": list(between), "unit": "bits"}
    assert compare_drawing(said, dict(zip(names, truth, strict=True)))[0] == verdict


@pytest.mark.parametrize(
    ("drawn", "title"),
    [
        ([1.9, 1.5, 1.2, 1.1, 1.0], "Your curve goes the right way, but for “to 128” you drew 1.9, and it is 1.48"),
        ([2.5, 2.6, 2.7, 2.8, 2.9], "The curve goes another way: for “to 2048” you drew 2.9, and it is 1.11"),
    ],
)
def test_a_wrong_curve_is_told_whether_its_way_or_its_height_is_wrong(drawn, title):
    # The last step upwards is too small to see.
    truth = dict(zip([f"to {128 * n}" for n in (1, 2, 4, 8, 16)], [1.48, 1.2, 1.12, 1.08, 1.11], strict=True))
    said = {"curve": drawn, "between": [0, 3], "unit": "bits"}
    assert compare_drawing(said, truth)[:2] == ("wrong", title)


@pytest.mark.parametrize("living", [True, False], ids=["anywidget", "plain widgets"])
def test_both_kinds_of_fields_read_alike(living, monkeypatch):
    if not living:
        monkeypatch.setitem(sys.modules, "anywidget", None)
    field, read = drawing.cells_field(["0", "1"], ["0", "1"], "mask", [[1, 0]])
    assert read() == [[1, 0]]
    curve, drawn = drawing.curve_field(["256", "512"], "curve", low=0, high=8, unit="bits")
    assert drawn() is None
    if living:
        curve.heights = [1.0, 2.0]
    else:
        for slider, height in zip(curve.children, (1.0, 2.0), strict=True):
            slider.value = height
    assert drawn() == pytest.approx([1.0, 2.0])


@pytest.mark.parametrize("options", [{}, {"cells": (["0"], ["0"]), "curve": ["0"]}])
def test_a_drawing_needs_cells_or_a_curve(options, journal):
    with pytest.raises(ValueError, match="must be given cells or a curve"):
        draw("02.x", "?", journal=journal, **options)


# Puzzles.

LINES = ["a = 1", "b = a + 1", "return b"]


def test_lines_are_put_in_order_and_the_first_wrong_one_is_named(journal, published):
    panel = parsons("02.lines", "Order them.", LINES, fill=(1, "a + 1", ["1+a"]), journal=journal)
    assert panel.order != [0, 1, 2]
    still = published[0]["text/html"]
    assert "\n".join(LINES) not in still and "a + 1" not in still  # neither the order nor the blank
    panel.order = [1, 0, 2]
    panel.check.click()
    assert "line 1" in panel.said.value
    panel.order = [0, 1, 2]
    panel.check.click()
    assert "blank" in panel.said.value
    panel.blank.value = "a+1"
    panel.check.click()
    assert "✓" in panel.said.value
    assert journal.get("puzzles", "02.lines") == {"attempts": 3, "passed": True}


def test_a_line_moves_by_its_buttons(journal, published):
    panel = parsons("02.lines", "Order them.", LINES, journal=journal)
    before = list(panel.order)
    panel.rows[0].children[1].click()  # down
    assert panel.order == [before[1], before[0], before[2]]
    panel.rows[1].children[0].click()  # up
    assert panel.order == before


def test_a_puzzle_has_its_own_words_for_a_wrong_blank_and_for_the_next_step(journal, published):
    words = {"advice": "Count from one.", "then": "Now all of it."}
    panel = parsons("02.lines", "Order them.", LINES, fill=(1, "a + 1", []), journal=journal, **words)
    panel.order = [0, 1, 2]
    panel.blank.value = "a"
    panel.check.click()
    assert "What belongs into the blank? Count from one." in panel.said.value
    panel.blank.value = "a + 1"
    panel.check.click()
    assert "These are the lines. Now all of it." in panel.said.value


def test_lines_that_may_change_places_do(journal, published):
    panel = parsons("02.lines", "Order them.", ["a = 1", "b = 2", "return a + b"], journal=journal)
    panel.order = [1, 0, 2]
    panel.check.click()
    assert "✓" in panel.said.value


def test_a_line_waits_for_those_that_make_its_names():
    lines = ["a = 1", "a = a + 1", "b = sum(i for i in range(a))", "c = 3", "return b + c"]
    assert needs(lines) == [set(), {0}, {1}, set(), {0, 1, 2, 3}]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lines": ["one"]}, "at least two lines, got 1"),
        ({"lines": LINES, "fill": (1, "not there", [])}, "must stand in line 1"),
    ],
)
def test_a_puzzle_needs_lines_and_a_blank_that_is_there(options, message, journal):
    with pytest.raises(ValueError, match=message):
        parsons("02.lines", "?", journal=journal, **options)


# Quizzes.

QUESTION = Question("Which half?", right=("of the heads", "Yes."), wrong=[("of the tokens", "No: all tokens.")])


def test_each_choice_of_a_quiz_has_its_own_feedback_and_is_noted(journal, published):
    panel = quiz("02.quiz", QUESTION, QUESTION, journal=journal)
    _, answer, said = panel.children[1].children
    answer.value = "of the tokens"
    assert "No: all tokens." in said.value
    assert journal.get("quiz", "02.quiz.2") == {"answer": "of the tokens", "right": False}
    answer.value = "of the heads"
    assert "Yes." in said.value
    assert journal.get("quiz", "02.quiz.2")["right"] is True
    assert journal.get("quiz", "02.quiz.1") is None


def test_code_in_a_question_and_in_its_feedback_is_shown_as_code(journal, published):
    question = Question("What does `f(a < b)` do?", right=("this", "It calls `f`."), wrong=[("that", "No: `g` does.")])
    panel = quiz("02.quiz", question, journal=journal)
    asked, answer, said = panel.children[0].children
    assert "<code>f(a &lt; b)</code>" in asked.value and "`" not in asked.value
    answer.value = "that"
    assert "<code>g</code>" in said.value and "`" not in said.value
    assert "`" not in html.unescape(published[0]["text/html"])


def test_a_stored_notebook_folds_what_a_check_says_of_the_solution(journal, published, monkeypatch):
    @check("02.x")
    def judge(answer):
        return Passed("The bottom row decides.")

    monkeypatch.setenv("LONGLORA_EDU_FOLD", "1")
    judge(1, journal=journal)
    shown = published[-1]
    assert "bottom row" not in shown["text/html"] + shown["text/plain"]
    assert "bottom row" in html.unescape(shown["text/html"])
    monkeypatch.delenv("LONGLORA_EDU_FOLD")
    judge(1, journal=journal)
    assert "bottom row" in published[-1]["text/html"]


def test_a_wrong_choice_is_set_apart_from_the_right_one(journal, published):
    _, answer, button, _ = predict("02.way", "Which?", ["it falls", "it rises"], journal=journal).children
    answer.value = "it rises"
    button.click()
    reveal("02.way", "it falls", "Measured.", journal=journal)
    assert "You said: it rises. But: it falls" in published[-1]["text/html"]


def test_a_panel_is_not_shown_again_for_being_the_last_line_of_a_cell(journal, published):
    asked = predict("02.leak", "How many?", unit="pairs", journal=journal)
    quizzed = quiz("02.q", Question("Right?", right=("yes", "it is"), wrong=[("no", "it is not")]), journal=journal)
    assert len(published) == 4  # a picture and a widget each
    assert [DisplayFormatter().format(panel) for panel in (asked, quizzed)] == [({}, {}), ({}, {})]
    assert len(published) == 4  # a picture and a widget each


def test_a_quiz_can_be_read_without_a_kernel(journal, published):
    quiz("02.quiz", QUESTION, journal=journal)
    assert published[0]["text/html"].count("<details>") == 2
    assert "No: all tokens." not in published[0]["text/html"]  # nobody reads it by chance
    assert "No: all tokens." in html.unescape(published[0]["text/html"])


def test_the_order_of_choices_does_not_give_the_answer_away_and_stays_the_same():
    question = Question("?", right=("r", "x"), wrong=[(w, "x") for w in "abc"])
    orders = {tuple(choice for choice, _ in question.choices(str(key), 0)) for key in range(20)}
    assert len(orders) > 5
    assert question.choices("k", 2) == question.choices("k", 2)
    assert len({order.index("r") for order in orders}) == 4


def test_the_right_choices_of_one_quiz_stand_in_different_places():
    questions = [Question(str(n), right=("r", "x"), wrong=[(w, "x") for w in "ab"]) for n in range(3)]
    for key in range(10):
        places = [[c for c, _ in q.choices(str(key), n)].index("r") for n, q in enumerate(questions)]
        assert sorted(places) == [0, 1, 2]


def test_questions_must_have_wrong_choices_and_feedback():
    with pytest.raises(ValueError, match="at least one choice, got none for 'Who"):
        Question("Who?", right=("a", "b"))
    with pytest.raises(ValueError, match="must have feedback, got none for 'w'"):
        Question("Who?", right=("a", "b"), wrong=[("w", " ")])


# Checks.


def mask_of(n):
    return np.tri(n) > 0


@check("02.mask")
def check_mask(function):
    mask = expect_array(called(function, 3), (3, 3), what="the mask", kind="b")
    if mask[0, 1]:
        raise CheckFailed("your mask looks ahead", mistake="ahead")
    return Passed("This is the causal mask.")


def test_a_right_answer_is_noted_and_said(journal, published):
    check_mask(mask_of, journal=journal)
    assert journal.get("exercises", "02.mask") == {"attempts": 1, "passed": True}
    assert "This is the causal mask." in published[-1]["text/html"]


def test_attempts_are_counted_until_it_is_right(journal, published):
    for _ in range(2):
        with pytest.raises(CheckFailed, match="your mask looks ahead"):
            check_mask(lambda n: mask_of(n).T, journal=journal)
    assert journal.get("exercises", "02.mask") == {"attempts": 2, "passed": False, "mistake": "ahead"}
    check_mask(mask_of, journal=journal)
    check_mask(mask_of, journal=journal)
    assert journal.get("exercises", "02.mask") == {"attempts": 3, "passed": True}


def test_what_is_solved_stays_solved_when_it_is_broken_again(journal, published):
    check_mask(mask_of, journal=journal)
    with pytest.raises(CheckFailed, match="your mask looks ahead"):
        check_mask(lambda n: mask_of(n).T, journal=journal)
    assert journal.get("exercises", "02.mask") == {"attempts": 2, "passed": True, "mistake": "ahead"}


def test_a_stub_is_told_apart_from_a_wrong_answer(journal, published):
    def stub(n):
        raise NotImplementedError("your lines go here")

    with pytest.raises(NotImplementedError) as caught:
        check_mask(stub, journal=journal)
    assert caught.value._render_traceback_() == ["NotImplementedError: see above"]
    assert journal.get("exercises", "02.mask") is None
    assert "not written yet" in published[-1]["text/html"]


def raises_index_error(n):
    rows = [1]
    return rows[n]


@pytest.mark.parametrize(
    ("wrong", "mistake", "sentence"),
    [
        (raises_index_error, "exception", r"raised IndexError on the line `return rows\[n\]`: list index"),
        (lambda n: None, "type", "must be a NumPy array, got NoneType .did you forget `return`"),
        (lambda n: [[True]], "type", "must be a NumPy array, got list"),
        (lambda n: mask_of(n)[0], "rank", r"must have 2 axes \(3, 3\), got 1: \(3,\)"),
        (lambda n: mask_of(4), "shape", r"must have shape \(3, 3\), got \(4, 4\)"),
        (lambda n: np.tri(n), "dtype", "must hold True and False, got dtype float64"),
        (3, "no function", "a function is needed here, got int"),
    ],
)
def test_whatever_a_learner_hands_in_is_answered_in_one_sentence(wrong, mistake, sentence, journal, published):
    with pytest.raises(CheckFailed, match=sentence) as caught:
        check_mask(wrong, journal=journal)
    assert caught.value.mistake == mistake
    assert caught.value._render_traceback_() == ["Not yet: see above"]  # the card says it, once
    assert caught.value.__suppress_context__


def test_numbers_must_be_finite():
    with pytest.raises(CheckFailed, match="must be finite, got NaN"):
        expect_array(np.full(2, np.nan), (2,))
    with pytest.raises(CheckFailed, match="must be finite, got NaN"):
        expect_tensor(torch.full((2,), torch.nan), (2,), like=torch.zeros(1))


@pytest.mark.parametrize(
    ("wrong", "mistake", "sentence"),
    [
        (np.zeros(2), "type", "must be a torch tensor, got ndarray"),
        (torch.zeros(3), "shape", r"must have shape \(2,\), got \(3,\)"),
        (torch.zeros(2, dtype=torch.float64), "dtype", "dtype of its input, torch.float32, got torch.float64"),
        (torch.zeros(2, device="meta"), "device", "must stay on cpu, got meta"),
    ],
)
def test_tensors_are_looked_at_the_same_way(wrong, mistake, sentence):
    with pytest.raises(CheckFailed, match=sentence) as caught:
        expect_tensor(wrong, (2,), like=torch.zeros(1))
    assert caught.value.mistake == mistake


def test_a_mask_can_be_read_off_any_attention_function():
    geometry = S2Geometry(10, 4, 3, boundary="split")
    weights = attention_weights(s2_attention, geometry)
    np.testing.assert_array_equal(weights > 0, geometry.mask())
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-12)


# The environment.


def test_a_profile_chooses_its_own_value_or_that_of_a_larger_machine():
    sizes = {"laptop": 4, "binder": 2}
    assert [Profile(name).choose(**sizes) for name in ("laptop", "binder", "ci", "gpu")] == [4, 2, 2, 4]
    assert Profile("gpu").choose(laptop=4, gpu=8) == 8
    with pytest.raises(ValueError, match="must be given laptop=…, got binder"):
        Profile("ci").choose(binder=1)
    with pytest.raises(ValueError, match="must be given profiles, got desk"):
        Profile("ci").choose(laptop=1, desk=2)
    with pytest.raises(ValueError, match="profile must be one of binder, laptop, gpu, ci, got 'desk'"):
        Profile("desk")


def test_the_environment_is_said_in_one_line(monkeypatch):
    monkeypatch.setenv("LONGLORA_EDU_PROFILE", "ci")
    said = str(environment.check_environment())
    assert said.startswith("profile ci · ")
    assert f"torch {torch.__version__}" in said
    assert f"ipywidgets {ipywidgets.__version__}" in said
    assert "\n" not in said


def test_colab_without_a_gpu_is_told_what_to_do(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "google.colab", object())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    line, advice = str(environment.check_environment()).split("\n")
    assert "CPU" in line
    assert "Change runtime type, T4 GPU" in advice


@pytest.mark.parametrize(
    ("limit", "cores"), [(None, None), ("", None), ("1.0", 1), ("0.5", 1), ("3.7", 3), ("0", None)]
)
def test_a_hub_says_how_many_cores_it_grants(limit, cores, monkeypatch):
    monkeypatch.setattr(environment, "CONTAINER", Path("not-there"))
    monkeypatch.delenv("CPU_LIMIT", raising=False)
    if limit is not None:
        monkeypatch.setenv("CPU_LIMIT", limit)
    assert granted_cores() == cores


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000\n", None), ("100000 100000\n", 1), ("50000 100000\n", 1), ("350000 100000\n", 3)]
)
def test_without_a_hub_the_container_says_it(text, cores, tmp_path, monkeypatch):
    (tmp_path / "cpu.max").write_text(text)
    monkeypatch.setattr(environment, "CONTAINER", tmp_path / "cpu.max")
    monkeypatch.delenv("CPU_LIMIT", raising=False)
    assert granted_cores() == cores
    monkeypatch.setenv("CPU_LIMIT", "2")
    assert granted_cores() == 2


def test_one_granted_core_is_binder_and_one_thread(monkeypatch, threads):
    monkeypatch.delenv("LONGLORA_EDU_PROFILE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CPU_LIMIT", "1")
    torch.set_num_threads(2)
    found = environment.check_environment()
    assert (found.profile.name, found.threads, torch.get_num_threads()) == ("binder", 1, 1)
    monkeypatch.setenv("CPU_LIMIT", "8")
    assert environment.check_environment().profile.name == "laptop"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "T4")
    assert str(environment.check_environment()).startswith("profile gpu · GPU T4")


# Records.


def test_records_say_where_they_come_from():
    record = recorded("demo")
    assert record["command"] in recorded_line("demo")
    assert record["versions"]["torch"] in recorded_line("demo")
    assert record["date"][:10] in recorded_line("demo")
    with pytest.raises(ValueError, match="name must be one of .*demo.*, got 'nothing'"):
        recorded("nothing")


def test_a_card_shows_code_in_backticks_as_code_and_the_rest_as_text():
    from longlora_edu.course.notebook.cards import card

    assert "✓ use <code>a &lt; b</code> &amp; go</b>" in card("right", "use `a < b` & go")


def told(parts):
    about = {"rows": 3, "days": ["2026-11-01", "2026-11-02"], "processors": ["a processor"], "torch": ["2.13.0"]}
    study = {
        "question": "How small?",
        "caveat": "One seed, in *bytes*.",
        "command": "longlora-edu study groups",
        "parts": parts,
    }
    return {"about": about, "studies": {"groups": study}}


@pytest.fixture
def show(monkeypatch):
    """`show_study` of a record that is made up."""

    def show_made_up(record, *numbers, name="groups"):
        monkeypatch.setattr(studied, "recorded", lambda name: record)
        show_study(name, *numbers)

    return show_made_up


def test_a_lesson_folds_the_tables_and_verdicts_of_a_study_and_where_they_come_from(show, published):
    table = {"headings": ["arm", "bits"], "rows": [["S² & short", "1.05"]], "note": "Read *this* first."}
    claims = [
        {"statement": "It holds.", "verdict": "agrees", "because": "+1 < 2"},
        {"statement": "It fails.", "verdict": "disagrees", "because": "no"},
        {"statement": "Who knows.", "verdict": "cannot tell at this size", "because": "wide"},
    ]
    part = {"title": "Ratios", "rows": 3, "missing": 0, "tables": [table], "claims": claims, "notes": ["Also `this`."]}
    show(told([part]))
    (shown,) = published
    contents = shown["text/html"]
    assert "<caption>Ratios. Read this first.</caption>" in contents
    assert "S² &amp; short" in contents and "+1 &lt; 2" in contents
    assert [sign in contents for sign in ("✓ Agrees", "✗ Disagrees", "→ Cannot tell")] == [True] * 3
    assert contents.startswith(
        "<details><summary>Open the appendix. How small? 1 table, 3 verdicts</summary><p>How small?</p>"
    )
    assert "<p>Also this.</p><p>One seed, in bytes.</p>" in contents
    assert "3 recorded runs, 2026-11-01 to 2026-11-02, on a processor" in contents
    assert contents.endswith("</p></details>") and contents.count("<details>") == 1
    assert "It fails. (no)" in shown["text/plain"]


def test_parts_that_lack_rows_say_how_many_and_how_to_compute_them(show, published, capsys):
    lacking = [{"title": "Ratios", "rows": 17, "missing": 4}, {"title": "Sizes", "rows": 2, "missing": 2}]
    show(told(lacking))
    (text,) = [shown["text/plain"] for shown in published]
    assert text == "Not recorded yet: Ratios (4 of 17 runs); Sizes (2 of 2 runs). `longlora-edu study groups`"
    assert capsys.readouterr().out == ""


def test_a_part_without_rows_is_not_said_to_come_from_them(show, published):
    table = {"headings": ["tokens", "clock"], "rows": [["1,024", "1.34"]], "note": "By another command."}
    show(told([{"title": "Times", "rows": 0, "missing": 0, "tables": [table], "claims": [], "notes": []}]))
    assert "By another command." in "".join(shown["text/html"] for shown in published)
    assert "recorded runs" not in published[-1]["text/plain"]
    assert published[-1]["text/plain"].splitlines()[0] == "Open the appendix. How small? 1 table"  # and no 0 verdicts


def test_a_study_or_part_that_there_is_none_of_is_refused(show):
    record = told([{"title": "Ratios", "rows": 17, "missing": 4}])
    with pytest.raises(ValueError, match="numbers must be from 1 to 1, got 2"):
        show(record, 2)
    with pytest.raises(ValueError, match="name must be one of groups, got 'nothing'"):
        show(record, name="nothing")
