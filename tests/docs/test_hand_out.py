"""What a teacher hands out: complete, filled from records, built without a network, and silent about answers."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "docs" / "classroom"), str(ROOT / "docs" / "slides")]

import deck  # noqa: E402
import figures  # noqa: E402
import hand_out  # noqa: E402
import sheets  # noqa: E402

from longlora_edu.course.build.assemble import edition  # noqa: E402
from longlora_edu.course.build.source import lessons  # noqa: E402

NAMES = (*hand_out.FOR_STUDENTS, *hand_out.FOR_TEACHERS)
LESSONS = lessons(ROOT / "notebooks" / "source")
MAIL = (sheets.SHEETS / "setup_mail.txt").read_text(encoding="utf-8")


def text_of(name):
    return (sheets.SHEETS / f"{name}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_a_sheet_is_one_page_with_a_title_whose_numbers_and_parts_are_all_filled_in(name):
    page = sheets.sheet(name)
    assert not re.search(r"\{\{|\[\[|<script|https?://", page)
    assert re.search(r"<title>.+</title>", page) and "<style>" in page


def test_every_sheet_of_the_folder_is_handed_out():
    assert {path.stem for path in sheets.SHEETS.glob("*.md")} == set(NAMES)


def test_the_handout_has_blank_masks_boxes_for_the_polls_of_the_talk_and_no_answer():
    page = sheets.sheet("handout")
    assert page.count("A blank mask of") == 3 and 'fill="#0072B2"' not in page
    assert re.findall(r"<b>Poll (\d)", page) == ["1", "2", "3", "4"]
    words = re.sub(r"<[^>]+>", " ", page.partition("</style>")[2])
    for answer in ("half of the heads", "two layers for each wall", "in use attention is full", "half a group later"):
        assert answer not in " ".join(words.split()).lower()
    assert len(re.findall(r"^\| \*\*", text_of("handout"), re.MULTILINE)) == 11, "eleven words"
    assert page.count('<section class="sheet">') == 2, "two pages"
    front, back = page.split('<section class="sheet">')[1:]
    assert "shifted" not in front.lower() and "Turn over after poll 3" in front and "shifted" in back


def test_the_table_to_fill_in_has_the_rows_of_the_controls_and_no_number_of_theirs():
    shown = [row.strip("| ").split(" | ") for row in figures.controls().splitlines()[2:]]
    blank = [row.strip("| ").split(" |")[0] for row in sheets.credit().splitlines()[2:]]
    assert blank == [row[0] for row in shown]
    assert not set(re.findall(r"\d+\.\d+|\d+ %", sheets.credit()))


def test_more_layers_are_drawn_than_the_news_needs():
    assert 9 == sheets.relay().count('text-anchor="end"') > 7


def test_gaps_are_in_all_five_sentences_and_numbers_are_gaps_too():
    lines = re.split(r"(?m)^\d\. ", sheets.cloze())[1:]
    assert [line.count("blank") for line in lines] == [2, 3, 2, 3, 2 + 5]
    assert not re.search(r"\d\.\d", lines[4])
    with pytest.raises(ValueError, match="the sentences must have the words of every gap, in order, got 'nobody said'"):
        sheets.cloze(("nobody said",))
    with pytest.raises(ValueError, match="a directive must be one of blank, .*, got 'song'"):
        sheets.part("song", [])


def test_the_primer_takes_ten_minutes_and_uses_no_word_before_it_is_explained():
    body = sheets.sheet("primer").partition("</style>")[2]
    words = len(re.sub(r"<svg.*?</svg>|<[^>]+>", " ", body, flags=re.DOTALL).split())
    assert 5 <= words / 140 <= 10
    said = re.sub(r"^#.*$", "", text_of("primer"), flags=re.MULTILINE)
    for word in ("token", "query", "key", "value", "causal mask", "head", "layer", "LoRA", "context"):
        bold = re.search(rf"\*\*{word}s?\*\*", said)
        assert bold and not re.search(rf"\b{word}s?\b", said[: bold.start()]), word


def test_the_homework_and_its_rubric_give_the_same_points():
    tasks = [int(points) for points in re.findall(r"^\*\*Task \d .*\((\d+) points", text_of("homework"), re.MULTILINE)]
    assert sum(tasks) == 20
    assert tasks == [int(points) for points in re.findall(r"^## Task \d \((\d+)\)", text_of("homework_rubric"), re.M)]
    parts = re.split(r"^\*\*Task ", text_of("homework").partition("## Rules")[0], flags=re.MULTILINE)[1:]
    assert [sum(map(int, re.findall(r"\((\d)\)", part))) for part in parts] == tasks
    rules = " ".join(text_of("homework").partition("## Rules")[2].split())
    assert "Late work" in rules and "Assistants" in rules


def test_there_are_five_exam_questions_each_with_an_answer_and_its_points():
    asked, answered = text_of("exam").split('<section class="sheet">')[1:]
    names = re.findall(r"^\*\*(\d\. \w.*?)\*\* ", asked, re.MULTILINE)
    assert [name[0] for name in names] == list("12345")
    assert re.findall(r"^\*\*(.+?)\*\* \*Answer\*: ", answered, re.MULTILINE) == names
    assert "*Answer*" not in asked, "the first page can be handed out"


def test_model_answers_are_those_of_the_library():
    page = " ".join(re.sub(r"<[^>]+>", " ", sheets.sheet("exam")).split())
    assert "plain 20, shifted 16 (cells of 2, 4 and 2 tokens), full 36" in page
    assert "2r − 1 ≤ 12, so r = 6." in page
    assert "tokens 14 and 15, 4 pairs" in page
    rubric = " ".join(re.sub(r"<[^>]+>", " ", sheets.sheet("homework_rubric")).split())
    assert "plain 30, shifted 26, full 78" in rubric
    assert "after one layer itself and tokens 2, 3; after two also 0, 1" in rubric


@pytest.mark.parametrize("name", ["assistants_talk", "assistants_lab"])
def test_a_sheet_for_assistants_has_ten_questions_and_each_is_answered_by_a_question_or_a_deed(name):
    rows = re.findall(r"^\| (\d+)\. (.+?) \| (.+?) \| (.+) \|$", text_of(name), re.MULTILINE)
    assert [int(number) for number, *_ in rows] == list(range(1, 11))
    assert all("?" in ask or "Read it aloud" in ask for *_, ask in rows)
    assert "**Objectives.**" in text_of(name) and "**Key points**" in text_of(name)


def test_what_assistants_are_told_of_passkeys_is_true_of_the_record():
    said = figures.figures()
    assert "the base knew them" in text_of("assistants_lab")
    assert int(said["keys_after"]) <= int(said["keys_stretched"]) == int(said["keys_of"])


def test_the_two_questions_to_discuss_are_answered_with_their_price():
    page = sheets.sheet("discussion")
    assert page.count("<blockquote>") == 2 and page.count("The price") >= 2
    assert "no direct path" in page and "So can any pattern that is only a mask" in " ".join(page.split())


def test_the_mail_is_short_and_its_check_says_ready_here(tmp_path):
    assert len(MAIL.split()) <= 220 and "check_setup.py" in MAIL and '"ready"' in MAIL
    check = ROOT / "docs" / "classroom" / "check_setup.py"
    done = subprocess.run([sys.executable, check], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "ready"), done.stdout


def test_the_check_says_what_to_do_where_nothing_is_installed(tmp_path):
    check = ROOT / "docs" / "classroom" / "check_setup.py"
    done = subprocess.run([sys.executable, "-I", "-S", check], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and "ready" not in done.stdout
    assert "torch is missing for" in done.stdout and "run step 2 of the mail" in done.stdout


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.number)
def test_in_the_assignment_solutions_are_absent_and_all_else_is_as_in_the_student_edition(lesson):
    assigned, student = (edition(lesson, kind, neighbours=LESSONS).cells for kind in ("assignment", "student"))
    everything = "\n".join(cell.source for cell in assigned)
    assert "<summary>Solution</summary>" not in everything and "BEGIN SOLUTION" not in everything
    for solution in lesson.solutions.values():
        body = solution.strip().partition('"""\n')[2] or solution.strip()
        assert body not in everything
    folds = [at for at, cell in enumerate(student) if "<summary>Solution</summary>" in cell.source]
    assert len(folds) == len(lesson.solutions)
    for at, (mine, theirs) in enumerate(zip(assigned, student, strict=True)):
        if at in folds:
            assert mine.source.count("<summary>Hint ") == theirs.source.count("<summary>Hint ") == 3
        elif at:  # the first has badges in the student edition, where an address is stamped
            assert mine.source == theirs.source


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder, built with every socket blocked; the deck itself is drawn by another test."""
    out = tmp_path_factory.mktemp("classroom") / "all"
    (out / "old").mkdir(parents=True)

    def blocked(*_, **__):
        raise AssertionError("nothing here needs a network")

    def deck_alone(where):
        where.mkdir(parents=True)
        (where / "index.html").write_text("the deck", encoding="utf-8")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(socket, "socket", blocked)
        patched.setattr(hand_out.slides, "build", deck_alone)
        patched.setattr(hand_out.slides, "browser", lambda: None)
        undone = hand_out.build(out)
    assert [sentence.split()[0] for sentence in undone] == ["slides.pdf", "stick/START.txt"]
    return out


def test_one_command_builds_all_that_the_guide_promises(folder):
    guide = (ROOT / "INSTRUCTOR.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^\| in `build/classroom` .*?\n\n", guide, re.MULTILINE | re.DOTALL)
    promised = []
    for row in table.strip().splitlines()[2:]:
        first, *others = re.findall(r"`([^`]+)`", row.split(" | ")[0].lstrip("| "))
        promised += [first, *(f"{first.partition('/')[0]}/{name}" for name in others)]
    promised.remove("teacher/slides.pdf")  # wants a browser
    assert len(promised) >= 12
    assert [name for name in promised if not (folder / name).exists()] == []
    assert not (folder / "old").exists()


def test_the_course_of_the_students_has_no_guide_for_teachers_and_no_solution(folder):
    for place in ("students", "stick"):
        course = folder / place / "course"
        assert "with your teacher" in (course / "INSTRUCTOR.md").read_text(encoding="utf-8")
        notebooks = sorted((course / "notebooks").glob("*.ipynb"))
        assert len(notebooks) >= 11
        for path in notebooks:
            notebook = nbformat.read(path, as_version=4)
            assert notebook.metadata.longlora_edu.edition == "assignment"
            assert "Solution</summary>" not in path.read_text(encoding="utf-8")
            assert not any(cell.get("outputs") for cell in notebook.cells)


def test_the_stick_starts_with_two_lines_that_ask_no_network_and_names_no_wheels_that_it_lacks(folder):
    lines = [line for line in hand_out._start(wheels=True).splitlines() if line.startswith("python ")]
    assert lines == [hand_out.INSTALL, hand_out.OPEN]
    assert "--no-index --find-links wheels" in lines[0]
    start = (folder / "stick" / "START.txt").read_text(encoding="utf-8")
    assert not (folder / "stick" / "wheels").exists()
    assert [line for line in start.splitlines() if line.startswith("python ")] == [hand_out.OPEN]
    assert "wheels" not in start and "step 2 of the setup mail" in start
    for name in ("explorer.html", "model.html", "slides/index.html", "check_setup.py", "course/notebooks"):
        assert (folder / "stick" / name).exists()


def test_a_teacher_without_the_extra_reads_what_to_install(monkeypatch):
    monkeypatch.setattr(hand_out.slides, "find_spec", lambda name: name)
    assert hand_out.slides.lacking() is None
    monkeypatch.setattr(hand_out.slides, "find_spec", lambda name: None)
    assert hand_out.slides.lacking() == (
        'nbconvert and sphinx_revealjs must be there: python -m pip install -c constraints.txt -e ".[lab,docs]"'
    )


@pytest.mark.parametrize("name", hand_out.DOCUMENTS)
def test_a_document_in_the_folder_links_only_to_what_lies_beside_it(folder, name):
    links = re.findall(r'href="([^"]+)"', (folder / "teacher" / f"{name}.html").read_text(encoding="utf-8"))
    assert {link.partition("#")[0] for link in links} <= {"slides/explorer.html"}
    assert bool(links) == (name == "guide")


def test_links_of_the_front_page_lead_to_what_is_there(folder):
    links = re.findall(r'href="([^"]+)"', (folder / "index.html").read_text(encoding="utf-8"))
    assert len(links) >= 15
    assert [link for link in links if not (folder / link).exists()] == []


def test_wheels_are_asked_of_pip_in_the_versions_that_were_tested(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(hand_out.subprocess, "run", lambda command, **options: asked.append((command, options)))
    hand_out._fetch_wheels(tmp_path, ("--index-url", "x"))
    ((command, options),) = asked
    assert command[1:4] == ["-m", "pip", "wheel"] and command[-2:] == ["--index-url", "x"]
    assert str(ROOT / "constraints.txt") in command and f"{ROOT}[lab]" in command and options == {"check": True}


def test_the_polls_of_the_handout_are_those_of_the_deck():
    table = deck.read_table(ROOT / "docs" / "slides" / "fifty_minutes.toml")
    asked = [slide["poll"] for slide in table["slide"] if "poll" in slide]
    assert f"[[votes {' '.join(map(str, asked))}]]" in text_of("handout")
