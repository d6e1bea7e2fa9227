"""A table of slides → a notebook whose cells say which slide they are on; and the minutes that the slides take."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import nbformat
from drawings import picture
from figures import GUIDE, controls, fill

EXPLORER = re.compile(r"\[([^\]]+)\]\(docs/(explorer\.html#[^)]+)\)")
WORDS_A_MINUTE, POLL_MINUTES = 140, 2
ASK = (
    "Read the question. Everybody ticks a box first, on paper; then cards or hands: count A, B, C, D. Two minutes. "
    "Then go on."
)


def read_table(path: Path, talk: Path | None = None) -> dict:
    """Read the title of a deck and its slides, numbers filled in; a slide that names one of the `talk` is that slide.

    Raises:
        ValueError: for a slide that the talk does not have.
    """
    table = tomllib.loads(fill(path.read_text(encoding="utf-8")))
    shown = {slide.get("title"): slide for slide in read_table(talk)["slide"]} if talk else {}
    table["slide"] = [_again(slide, shown) if "talk" in slide else slide for slide in table["slide"]]
    return table


def _again(slide: dict, shown: dict[str, dict]) -> dict:
    if slide["talk"] not in shown:
        raise ValueError(f"a slide must be one of the talk, got {slide['talk']!r}")
    kept = {key: value for key, value in shown[slide["talk"]].items() if key not in ("skip", "instead")}
    return kept | {"block": slide["block"]}


def minutes(slide: dict) -> float:
    """Count the minutes of a slide: its notes read aloud, two for a poll and its question, and what is done besides."""
    words = len(slide["say"].split())
    if "poll" in slide:
        asked = poll(slide["poll"])
        words += len(f"{asked['question']} {asked['choices']}".split())
    return words / WORDS_A_MINUTE + POLL_MINUTES * ("poll" in slide) + slide.get("doing", 0)


def deck(table: dict) -> nbformat.NotebookNode:
    """Make the notebook that nbconvert's slides exporter takes. Pictures are code cells with an output and no code.

    Raises:
        ValueError: for a poll, a discussion or a picture that is not there.
    """
    cells = [cell for slide in table["slide"] for cell in _cells(slide)]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"  # the same table gives the same page
    return nbformat.v4.new_notebook(cells=cells, metadata={"title": table["title"]})


def poll(number: int) -> dict[str, str]:
    """Read a poll of INSTRUCTOR.md: name, question, choices, link into the explorer, answer, notes."""
    body = _instructor(rf"^### Poll {number} · (.*?)(?=^##)", f"poll {number}")
    name, _, rest = body.partition("\n")
    question, choices, reveal, *notes = rest.strip().split("\n\n")
    said, target = EXPLORER.search(reveal).groups()
    answer = re.search(r"\*\*[A-D]\.\*\*.*", reveal, re.DOTALL)[0]
    return {
        "name": name,
        "question": question.strip("*").replace("\n", " "),
        "choices": choices,
        "link": f'<a target="_blank" href="{target}&projector=1&ask=1">In the explorer: {said}</a>',
        "answer": answer.replace("\n", " ").replace(" − ", "&nbsp;−&nbsp;"),
        "notes": "\n\n".join(notes),
    }


def discussion(number: int) -> tuple[str, str]:
    """Read a question of INSTRUCTOR.md, and the notes for whoever leads the discussion."""
    body = _instructor(rf"^\*\*{number}\. (.*?)(?=^\*\*\d\. |^## )", f"discussion {number}")
    question, _, notes = body.partition("**")
    return question.replace("\n", " "), notes.strip()


def must_stay() -> str:
    """Read the sentences that must stay in any route, as a list."""
    return _instructor(r"^\*\*Five sentences that must stay\*\*.*?\n\n(.*?)(?=^## )", "the five sentences")


def _cells(slide: dict) -> Iterator[nbformat.NotebookNode]:
    if "poll" in slide:
        yield from _poll(slide)
        return
    yield _slide(slide, slide["title"])
    if "draw" in slide:
        html = picture(slide["draw"]).html
        yield nbformat.v4.new_code_cell("", outputs=[nbformat.v4.new_output("display_data", {"text/html": html})])
    if slide.get("table") == "controls":
        yield _text(controls())
    asked = [discussion(number) for number in slide.get("discussion", ())]
    for question, _ in asked:
        yield _text(f"**{question}**")
    if slide.get("must_stay"):
        yield _text(must_stay())
    if "text" in slide:
        yield _text(slide["text"].strip())
    asked += [discussion(number) for number in slide.get("discussion_notes", ())]
    yield _notes("\n\n".join([_said(slide), *(notes for _, notes in asked)]))


def _poll(slide: dict) -> Iterator[nbformat.NotebookNode]:
    """The question, and one step on the answer, so that nobody reads it too early."""
    asked, slide = poll(slide["poll"]), {"kind": "question"} | slide
    title = f"Poll {slide['poll']} · {asked['name']}"
    yield _slide(slide, title)
    yield _text(f"{asked['question']}\n\n{cards(asked['choices'])}")
    yield _notes(f"{_skip(slide)}*{ASK}*")
    yield _slide(slide, title, "subslide")
    right = asked["answer"][2]
    yield _text(f"{cards(asked['choices'], right)}\n\n{asked['answer']}\n\n{asked['link']}")
    yield _notes(f"{slide['say'].strip()}\n\n{asked['notes']}")


def cards(choices: str, right: str = "") -> str:
    """Set a list of choices as cards, each with its letter in a colour and a shape; the `right` one marked."""
    items = []
    for letter, words in re.findall(r"^- ([A-D]): (.*)$", choices, re.MULTILINE):
        mark = ' class="right"' if letter == right else ""
        items.append(f'<li{mark}><b class="card card-{letter}">{letter}</b> {words}</li>')
    return f'<ul class="cards{" answered" if right else ""}">{"".join(items)}</ul>'


def _said(slide: dict) -> str:
    return f"{_skip(slide)}{slide['say'].strip()}"


def _skip(slide: dict) -> str:
    """The line above the notes of a slide that may fall, before it is shown: a poll's stands with its question."""
    if "skip" not in slide:
        return ""
    return f"**Is it minute {slide['skip']} already? Skip this slide. {slide.get('instead', '')}".strip() + "**\n\n"


def _instructor(pattern: str, what: str) -> str:
    found = re.search(pattern, GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(f"a slide must show what INSTRUCTOR.md has, got {what}")
    return found[1].strip("\n")


def _slide(slide: dict, title: str, step: str = "slide") -> nbformat.NotebookNode:
    cell = _text(f'## {title}\n\n<p class="minute">minute {slide["block"]}</p>', step)
    cell.metadata["slideshow"]["data"] = {"kind": slide.get("kind", "picture")}
    return cell


def _notes(text: str) -> nbformat.NotebookNode:
    """Text for the speaker's window, where the links of the guide lead nowhere."""
    return _text(re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text), "notes")


def _text(text: str, step: str = "-") -> nbformat.NotebookNode:
    return nbformat.v4.new_markdown_cell(text, metadata={"slideshow": {"slide_type": step}})
