"""The slides against the guide and the clock, and the pictures of a room."""

from __future__ import annotations

import ast
import io
import re
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from PIL import Image

from longlora_edu.geometry import S2Geometry
from longlora_edu.longlora import LongLoRAConfig, apply_longlora
from longlora_edu.model import bundled_model

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs" / "slides"))

import build  # noqa: E402
import deck  # noqa: E402
import drawings  # noqa: E402
import figures  # noqa: E402

TABLE = deck.read_table(build.TABLE)
SLIDES = TABLE["slide"]
LAB = deck.read_table(build.LAB, build.TABLE)["slide"]
GUIDE = (ROOT / "INSTRUCTOR.md").read_text(encoding="utf-8")
KEYS = {"block", "say", "doing", "title", "kind", "text", "draw", "table", "poll", "discussion", "must_stay", "skip"}
KEYS |= {"discussion_notes", "instead"}
RESERVE = "46–50"


def route(title):
    """The rows of a route: their minutes as written, and what is in them."""
    (text,) = re.findall(rf"^## {title}.*?(?=^## )", GUIDE, re.MULTILINE | re.DOTALL)
    return re.findall(r"^\| (\d+–\d+) \| (.*) \|$", text, re.MULTILINE)


def length(block):
    start, end = map(int, block.split("–"))
    return end - start


def bare_deck(monkeypatch, slides=SLIDES):
    """The deck with nothing drawn."""
    monkeypatch.setattr(deck, "picture", lambda name: type("Drawn", (), {"html": f"<figure>{name}</figure>"}))
    return deck.deck({"title": "x", "slide": slides})


def test_the_notes_read_aloud_and_the_polls_fit_each_row_of_the_route_and_leave_the_reserve():
    spent = defaultdict(float)
    for slide in SLIDES:
        spent[slide["block"]] += deck.minutes(slide)
    assert list(spent) == [block for block, _ in route("50 minutes")]
    assert {block: minutes for block, minutes in spent.items() if minutes > length(block)} == {}
    assert spent[RESERVE] == 0 and length(RESERVE) >= 4
    assert sum(spent.values()) <= 45
    del spent[RESERVE]
    assert {block: minutes for block, minutes in spent.items() if minutes < 0.7 * length(block)} == {}, "nothing to do"
    assert sum(spent.values()) >= 38, "the speaker stands there with every slide shown"


def test_the_lab_shows_its_poll_and_the_slides_of_the_talk_at_its_own_minutes():
    rows = dict(route("90 minutes"))
    spent = defaultdict(float)
    for slide in LAB:
        spent[slide["block"]] += deck.minutes(slide)
    assert {block: minutes for block, minutes in spent.items() if block not in rows or minutes > length(block)} == {}
    assert "poll 5" in rows[LAB[0]["block"]] and LAB[0]["poll"] == 5
    bridge = [slide["title"] for slide in SLIDES if slide["block"] == "27–32"]
    assert [slide["title"] for slide in LAB[1:]] == [*bridge, "Five sentences that stay"]
    assert not [slide for slide in LAB if "skip" in slide], "the minutes of the talk"


def test_a_slide_that_the_talk_does_not_have_is_refused(tmp_path):
    (tmp_path / "lab.toml").write_text('[[slide]]\nblock = "1–2"\ntalk = "Nothing"\n', encoding="utf-8")
    with pytest.raises(ValueError, match="a slide must be one of the talk, got 'Nothing'"):
        deck.read_table(tmp_path / "lab.toml", build.TABLE)


def test_what_the_class_draws_or_fills_in_it_is_asked_to_before_the_answer_is_shown():
    said = " ".join(" ".join([slide["say"], f"<{slide.get('draw', slide.get('table', ''))}>"]) for slide in SLIDES)
    said = " ".join(said.split())
    for asked, shown in (
        ("first empty grid", "<twice_the_text>"),
        ("grid two is a plain head, grid three a shifted one", "<heads>"),
        ("turn your sheet over, and draw the way", "<relay>"),
        ("Two lines on your sheet", "<controls>"),
        ("fill in the first column", "<bits>"),
        ("would this method help with your text", "<>"),
    ):
        assert asked in said and said.index(asked) < said.rindex(shown), asked


def test_a_minute_is_140_words_and_a_poll_two_minutes_with_its_question():
    assert deck.minutes({"say": "word " * 280}) == 2
    assert deck.minutes({"say": "", "doing": 1.5}) == 1.5
    asked = deck.poll(1)
    words = len(f"{asked['question']} {asked['choices']}".split())
    assert deck.minutes({"say": "", "poll": 1}) == 2 + words / 140


def test_four_polls_are_asked_and_none_after_its_answer_was_shown():
    assert [slide["poll"] for slide in SLIDES if "poll" in slide] == [1, 2, 3, 4], "as they are counted aloud"
    before = SLIDES[: next(at for at, slide in enumerate(SLIDES) if slide.get("poll") == 2)]
    shown = " ".join(f"{slide.get('title', '')} {slide.get('text', '')} {slide['say']}" for slide in before)
    assert "half of the heads" not in shown.lower() and "shifted" not in shown.lower()
    assert "half of the" not in deck.poll(1)["question"] + deck.poll(2)["question"]
    first = deck.poll(1)
    assert "shift" not in first["name"] + first["question"] + first["choices"], "not explained yet"


def test_attention_is_drawn_before_anything_is_counted():
    drawn = [slide["draw"] for slide in SLIDES if "draw" in slide]
    assert drawn[:2] == ["long_text", "looking_back"] and drawn.index("step_bars") == len(drawn) - 1


def test_a_slide_that_may_be_skipped_is_named_at_its_minute_in_the_guide():
    (line,) = re.findall(r"^\*Skip points\*: when a slide begins.*?\n\n", GUIDE, re.MULTILINE | re.DOTALL)
    said = " ".join(line.split())
    skipped = {slide["skip"]: slide.get("title", f"Poll {slide.get('poll')}") for slide in SLIDES if "skip" in slide}
    assert len(skipped) >= 4
    assert re.findall(r"[Aa]t (\d+), \*\*(.+?)\*\*", said) == [(str(at), title) for at, title in skipped.items()]


def test_a_slide_falls_when_it_comes_a_minute_late_and_its_line_stands_where_it_can_still_fall(monkeypatch):
    now = defaultdict(float)
    for slide in SLIDES:
        begins = int(slide["block"].partition("–")[0]) + now[slide["block"]]
        now[slide["block"]] += deck.minutes(slide)
        if "skip" in slide:
            assert begins + 0.75 <= slide["skip"] <= begins + 2, (slide.get("title"), begins)
        assert "skip" in slide or "instead" not in slide
    (late,) = [slide for slide in SLIDES if slide.get("poll") == 4]
    asks, answers = (
        cell.source for cell in bare_deck(monkeypatch, [late]).cells if cell.metadata.slideshow.slide_type == "notes"
    )
    assert asks.startswith(f"**Is it minute {late['skip']} already? Skip this slide. Say the answer: ")
    assert "Skip" not in answers, "too late: the question was shown"


@pytest.mark.parametrize("slide", SLIDES, ids=lambda slide: slide.get("title", f"poll {slide.get('poll')}"))
def test_a_slide_says_only_what_the_builder_knows(slide):
    assert set(slide) - KEYS == set()
    assert {"block", "say"} <= set(slide) and ("poll" in slide or "title" in slide)
    assert slide.get("kind") in (None, "opening", "question", "words", "sentences")
    assert slide.get("draw") in (None, *drawings.PICTURES)
    assert {"poll", "draw", "table", "text", "discussion", "must_stay"} & set(slide), "a slide that shows nothing"


def test_words_are_explained_where_they_first_stand():
    explained = {
        "token": "called tokens",
        "head": "is called a head",
        "layer": "is called a layer",
        "bits per byte": "Bits per byte say",
        "passkey": "number hidden in a long text",
        "embeddings": "turn a token into a vector, a list of numbers",
        "weights": "numbers, its *weights*",
        "rank": "*Rank*: how wide the tall one is",
        "FLOP": "multiplications and additions (FLOPs)",
        "training step": "reads a text, compares its guesses with it, and corrects its weights",
        "hears": "a word hears another one, after so many layers",
    }
    for word, words in explained.items():
        said = [f"{slide.get('title', '')} {slide.get('text', '')} {slide['say']}" for slide in SLIDES]
        polls = [deck.poll(slide["poll"])["question"] if "poll" in slide else "" for slide in SLIDES]
        said = [f"{asked} {text}" for asked, text in zip(polls, said, strict=True)]
        said = [" ".join(text.split()) for text in said]
        first = next(at for at, text in enumerate(said) if re.search(rf"\b{word}s?\b", text, re.IGNORECASE))
        assert words in said[first] or words in said[first + 1], (word, first)


@pytest.mark.parametrize("word", ["loss", "rolling"])
def test_a_word_that_the_talk_never_explains_is_not_in_it(word):
    shown = " ".join(f"{slide.get('title', '')} {slide.get('text', '')} {slide['say']}" for slide in SLIDES)
    assert not re.search(rf"\b{word}\b", shown)


def test_the_distances_of_numbers_have_one_name_each():
    names = ("within a group", "one to two groups", "further")
    head = figures.controls().splitlines()[0]
    assert [name for name in names if name in head] == list(names)
    talk = build.TABLE.read_text(encoding="utf-8")
    for text in (GUIDE, talk, figures.HARD_QUESTIONS.read_text(encoding="utf-8"), head):
        assert not re.search(r"up to G|G to 2G|beyond 2G|[Aa]cross one wall|numbers across a wall", text)


def test_the_controls_are_rows_of_the_record_from_the_sceptics_to_full_attention():
    rows = figures.controls().splitlines()
    assert [row.split(" | ")[0].strip("| ").split(",")[0] for row in rows[2:]] == [
        "The base with its own window",
        "The base as it is",
        "Positions stretched",
        "After training with S²",
        "Trained without a shift",
        "Trained with full attention",
    ]


def test_the_deck_has_text_pictures_and_notes_on_every_slide_but_no_code(monkeypatch):
    notebook = bare_deck(monkeypatch)
    steps = [cell.metadata.slideshow.slide_type for cell in notebook.cells if cell.cell_type == "markdown"]
    assert steps.count("slide") == len(SLIDES)
    assert steps.count("subslide") == 4, "the answers"
    assert steps.count("notes") == len(SLIDES) + 4
    drawn = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(drawn) == sum("draw" in slide for slide in SLIDES) >= 10
    assert {cell.source for cell in drawn} == {""}


def test_the_deck_has_no_formulas_and_no_name_of_a_number(monkeypatch):
    assert not [cell.source for cell in bare_deck(monkeypatch).cells if "$" in cell.source or "{{" in cell.source]


def test_an_answer_does_not_stand_on_the_slide_that_asks_nor_in_the_explorer_it_opens(monkeypatch):
    notebook = bare_deck(monkeypatch, [{"poll": 3, "block": "1–2", "say": "Seven."}])
    title, asked, notes, _, answered, more = (cell.source for cell in notebook.cells)
    assert title.startswith("## Poll 3 · How far")
    assert asked.startswith("Same setting") and asked.count("<li>") == 4 and "**" not in asked
    assert "Seven" not in notes and more.startswith("Seven.") and "**Predicted:**" in more
    assert "**C.**" in answered and 'href="explorer.html#n=32' in answered and "&ask=1" in answered


def test_a_choice_has_a_letter_besides_its_colour():
    assert re.findall(r'card-([A-D])">\1</b>', deck.cards("- A: one\n- B: two\n- C: three\n- D: four")) == list("ABCD")


def test_notes_hold_no_links_since_they_lead_nowhere_from_a_slide(monkeypatch):
    cells = bare_deck(monkeypatch).cells
    notes = [cell.source for cell in cells if cell.metadata.get("slideshow", {}).get("slide_type") == "notes"]
    assert "Lesson 10 has them all" in " ".join(notes).replace("\n", " ")
    assert not [note for note in notes if "](" in note]


def test_what_the_guide_does_not_have_is_refused():
    with pytest.raises(ValueError, match="a slide must show what INSTRUCTOR.md has, got poll 9"):
        deck.poll(9)
    with pytest.raises(ValueError, match="a picture must be one of long_text, .*, got 'nothing'"):
        drawings.picture("nothing")
    with pytest.raises(ValueError, match="a number must be one of .*, got 'unheard'"):
        figures.fill("{{unheard}}")


@pytest.mark.parametrize("name", drawings.PICTURES)
def test_a_picture_fits_a_slide_and_says_what_it_shows(name):
    drawn = drawings.picture(name)
    width, height = Image.open(io.BytesIO(drawn.png)).size
    assert abs(width - 1160) <= 1 and height <= 441
    assert len(drawn.alt) > 40


def test_the_bars_of_a_step_and_of_the_board_are_cut_where_attention_ends():
    share = int(figures.figures()["attention_percent"])
    (full,) = re.findall(r"^ +full  \[(=+)\]\[(=+)\]", GUIDE, re.MULTILINE)
    (sparse,) = re.findall(r"^ +S2    \[(=+)\]\[(=+)\]", GUIDE, re.MULTILINE)
    assert abs(100 * len(full[0]) / len("".join(full)) - share) <= 1.5
    assert full[1] == sparse[1]
    assert abs(len(full[0]) / len(sparse[0]) - float(figures.figures()["times_pairs"])) < 0.5
    said = re.search(r"full: attention (\d+).*S²: attention (\d+)", drawings.step_bars().alt)
    assert int(said[1]) == share and int(said[2]) == round(share / float(figures.figures()["times_pairs"]))


def test_every_quoted_number_is_that_of_its_record():
    assert figures.refresh(write=False) == []


def test_a_number_that_went_stale_is_written_anew_and_nothing_else(tmp_path, monkeypatch):
    stale = GUIDE.replace("training to ", "training to 9")
    assert stale != GUIDE
    (tmp_path / "guide.md").write_text(stale, encoding="utf-8")
    monkeypatch.setattr(figures, "QUOTING", (tmp_path / "guide.md", figures.HARD_QUESTIONS))
    assert figures.refresh(write=True) == [
        "guide.md quotes another number than the record: python docs/slides/figures.py"
    ]
    assert (tmp_path / "guide.md").read_text(encoding="utf-8") == GUIDE
    (tmp_path / "guide.md").write_text(GUIDE.replace("Passkeys say little", "Passkeys say"), encoding="utf-8")
    (problem,) = figures.refresh(write=False)
    assert problem.startswith("no document has the quoted sentence 'with its own window of {{own}} bytes")


def test_what_the_hard_questions_say_of_training_windows_is_in_the_record():
    demo = figures.recorded("demo")
    windows = demo["recipe"]["reference_share"] * (1 - demo["recipe"]["plain_share"])
    assert 0.45 < windows < 0.55, "about half of the training windows carried references"
    assert demo["settings"]["seed"] == 0


def test_what_is_said_around_the_numbers_is_true_of_the_record():
    said = {name: float(value.replace(",", "")) for name, value in figures.figures().items()}
    assert said["bits_after"] > said["bits_own"] - 0.01, "the long text bought nothing for the average letter"
    assert said["bits_before"] - said["bits_stretched"] > 10 * abs(said["bits_stretched"] - said["bits_after"])
    assert abs(said["bits_short"] - said["bits_after"]) < 0.03, "you would never see the shift in this column"
    assert said["wall_short"] < said["wall_after"] < said["wall_full"], "what the shift carries over a wall"
    assert said["far_after"] < said["far_full"], "there full attention is ahead"
    assert said["keys_stretched"] == said["keys_of"], "the base knew that game already"
    assert said["correction_numbers"] >= said["matrix_numbers"], "LoRA saves nothing here"
    assert said["layers_wanted"] > said["layers"], "the last word never hears the first one"
    assert said["own"] < 900 < said["target"], "a number that was set 900 bytes ago"
    assert said["near_short"] < said["near_after"], "without the shift it is fewer"
    assert said["wall_stretched"] < said["wall_short"] < said["wall_after"], "T teaches it, S carries it over a wall"
    assert said["short_text_before"] < said["short_text_after"] < said["short_text_stretched"], "a part of the loss"
    assert said["step_135m_clock"] > said["step_135m_flops"], "how can it be more?"
    slower = figures.recorded("step_small_adapters")["rows"]
    assert all(row["times_faster"]["median"] < row["promised"] for row in slower), "with our small model it was less"
    assert round(said["step_8192"], 1) < said["times_pairs"]


def test_the_layers_of_the_small_model_carry_news_over_two_groups_and_two_and_a_half_at_most():
    demo, group = figures.recorded("demo"), 64
    heard = S2Geometry(8 * group, group, 2).reach(demo["model"]["layers"])
    far = [(row - heard[row].argmax()) / group for row in range(4 * group, 8 * group)]
    assert min(far) == 2 and 2.4 < max(far) < 2.5


def test_the_shares_of_what_learns_are_those_of_the_model_that_the_demo_trains():
    demo = figures.recorded("demo")
    model = bundled_model()
    names = ("group_ratio", "boundary", "rope", "train", "rank")
    config = LongLoRAConfig(demo["target_context"], **{name: demo["settings"][name] for name in names})
    apply_longlora(model, config)
    weights = dict(model.named_parameters())
    whole = sum(weight.numel() for weight in weights.values())
    learns = {name: weight.numel() / whole for name, weight in weights.items() if weight.requires_grad}
    direct = sum(share for name, share in learns.items() if "embed" in name or "norm" in name)
    assert figures.trained_shares(demo) == pytest.approx((sum(learns.values()) - direct, direct))


def test_the_count_of_names_is_that_of_the_tests():
    source = (ROOT / "longlora_edu" / "training" / "references.py").read_text(encoding="utf-8")
    (count,) = [
        node.value.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "COUNT"
    ]
    assert count == figures.NAMES_IN_A_WINDOW
