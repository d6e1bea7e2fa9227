"""The slides' table against the guide and the lessons it takes from, and the pictures drawn again for a room."""

from __future__ import annotations

import ast
import io
import re
import sys
from pathlib import Path

import pytest
from PIL import Image

from longlora_edu.plots import PROJECTOR, SCREEN

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs" / "slides"))

import deck  # noqa: E402
import pictures  # noqa: E402

TABLE = deck.read_table(ROOT / "docs" / "slides" / "fifty_minutes.toml")
SLIDES = TABLE["slide"]
KEYS = {"minute", "title", "kind", "text", "poll", "discussion", "must_stay"}
KEYS |= {"lesson", "section", "picture", "paragraph", "sentences"}


def bare_deck(monkeypatch, slides=SLIDES):
    """The deck with nothing drawn."""
    monkeypatch.setattr(deck, "picture", lambda *section: type("Drawn", (), {"html": f"<figure>{section}</figure>"}))
    return deck.deck({"title": "x", "slide": slides})


def test_slides_follow_the_minutes_of_the_fifty_minute_route():
    guide = (ROOT / "INSTRUCTOR.md").read_text(encoding="utf-8")
    (route,) = re.findall(r"^## 50 minutes.*?(?=^## )", guide, re.MULTILINE | re.DOTALL)
    minutes = re.findall(r"^\| (\d+(?:–\d+)?) \|", route, re.MULTILINE)
    assert list(dict.fromkeys(slide["minute"] for slide in SLIDES)) == minutes


def test_all_polls_are_asked_once_and_in_order():
    assert [slide["poll"] for slide in SLIDES if "poll" in slide] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("slide", SLIDES, ids=lambda slide: slide.get("title", f"poll {slide.get('poll')}"))
def test_a_slide_says_only_what_the_builder_knows(slide):
    assert set(slide) - KEYS == set()
    assert "poll" in slide or {"title", "minute"} <= set(slide)
    assert slide.get("kind") in (None, "opening", "question")
    assert ("lesson" in slide) == ("section" in slide) == bool({"picture", "paragraph"} & set(slide))


def test_the_deck_has_text_pictures_and_notes_but_no_code(monkeypatch):
    notebook = bare_deck(monkeypatch)
    steps = [cell.metadata.slideshow.slide_type for cell in notebook.cells if cell.cell_type == "markdown"]
    assert steps.count("slide") == len(SLIDES)
    assert steps.count("subslide") == 5, "the answers"
    assert steps.count("notes") == 5 + sum(len(slide.get("discussion", ())) for slide in SLIDES)
    drawn = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(drawn) == sum("picture" in slide for slide in SLIDES) >= 10
    assert {cell.source for cell in drawn} == {""}


def test_the_deck_has_no_formulas_since_the_slides_have_no_typesetter(monkeypatch):
    assert not [cell.source for cell in bare_deck(monkeypatch).cells if "$" in cell.source]


def test_an_answer_does_not_stand_on_the_slide_that_asks(monkeypatch):
    notebook = bare_deck(monkeypatch, [{"poll": 2, "minute": "1"}])
    title, asked, notes, _, answered = (cell.source for cell in notebook.cells)
    assert title.startswith("## Poll 2 · Now with the shift")
    assert asked.startswith("The same, and on half") and asked.count("- ") == 4 and "**" not in asked
    assert answered.startswith("**C.**") and 'href="explorer.html#n=32' in answered and "&projector=1" in answered
    assert notes.startswith("**Predicted:**")


def test_notes_hold_no_links_since_they_lead_nowhere_from_a_slide(monkeypatch):
    cells = bare_deck(monkeypatch).cells
    notes = [cell.source for cell in cells if cell.metadata.get("slideshow", {}).get("slide_type") == "notes"]
    assert "Lesson 10 has them all" in " ".join(notes).replace("\n", " ")
    assert not [note for note in notes if "](" in note]


def test_sentences_of_a_paragraph_are_told_apart():
    assert deck.SENTENCE.split('It works. "Is it so?" Yes, by 1.5 bits. End.') == [
        "It works.",
        '"Is it so?"',
        "Yes, by 1.5 bits.",
        "End.",
    ]


def test_what_the_guide_does_not_have_is_refused():
    with pytest.raises(ValueError, match="a slide must show what INSTRUCTOR.md has, got poll 9"):
        deck.poll(9)


@pytest.mark.parametrize(
    ("slide", "at"),
    [(slide, slide["picture"]) for slide in SLIDES if "picture" in slide],
    ids=lambda value: value.get("title") if isinstance(value, dict) else None,
)
def test_every_picture_is_one_that_its_section_draws(slide, at):
    lesson = pictures.lesson_of(slide["lesson"])
    drawn = [cell for _, cell in pictures._section(lesson, slide["section"]) if pictures.DRAWS.search(cell.source)]
    assert len(drawn) >= at


def test_a_picture_for_a_room_fits_a_slide_in_the_sizes_of_the_projector():
    before = dict(vars(SCREEN))
    drawn = pictures.picture("02a", "Why")
    width, height = Image.open(io.BytesIO(drawn.png)).size
    assert width == 1160 and abs(height - 460) <= 1  # versions of matplotlib round differently
    assert drawn.alt.startswith("Masks over 12 words")
    assert dict(vars(SCREEN)) == before != vars(PROJECTOR)


def test_a_section_or_picture_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="a section must be a heading of lesson 02a, got 'Nowhere'"):
        pictures.picture("02a", "Nowhere")
    with pytest.raises(ValueError, match=r"a section must draw 7 picture\(s\), got 1 in 'Why' of 02a_wall"):
        pictures.picture("02a", "Why", 7)


@pytest.mark.parametrize(
    ("before", "wanted", "needed"),
    [
        ("import numpy as np\nimport os\na = np.ones(3)\nb = os.name", "draw(a)", "import numpy as np\na = np.ones(3)"),
        ("a = 1\na = 2\nb = a", "draw(b)", "a = 2\nb = a"),
        ("a = 1\na += 2", "draw(a)", "a = 1\na += 2"),
        ("a = 1\nif a:\n    b = 2\nprint(b)", "draw(b)", "a = 1\nif a:\n    b = 2"),
        ("k = 1\ndef f(y):\n    y += k\n    return y\ny = slow()", "f", "k = 1\ndef f(y):\n    y += k\n    return y"),
        ("result = long_training()\nx = 1", "draw(x)", "x = 1"),
        ("from m import (a, b)\nc = 1", "draw(b)", "from m import a, b"),
    ],
)  # fmt: skip
def test_of_what_comes_before_only_what_is_needed_is_run(before, wanted, needed):
    kept = pictures.needed(ast.parse(before).body, ast.parse(wanted).body)
    assert "\n".join(map(ast.unparse, kept)) == needed
