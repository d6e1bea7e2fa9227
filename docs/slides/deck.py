"""A table of slides → a notebook whose cells say which slide they are on: polls, questions, text and pictures."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import nbformat
from pictures import picture, section_text

ROOT = Path(__file__).resolve().parents[2]
EXPLORER = re.compile(r"\[([^\]]+)\]\(docs/(explorer\.html#[^)]+)\)")
# Between sentences, but not after "1." or inside of an abbreviation.
SENTENCE = re.compile(r"(?:(?<=[a-z)][.?!])|(?<=[.?!]\")) (?=[A-Z\"])")


def read_table(path: Path) -> dict:
    """The title of a deck and its slides."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def deck(table: dict) -> nbformat.NotebookNode:
    """The notebook that nbconvert's slides exporter takes. Pictures are code cells with an output and no code.

    Raises:
        ValueError: for a poll, a discussion or a section that is not there.
    """
    cells = [cell for slide in table["slide"] for cell in _cells(slide)]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"  # the same table gives the same page
    return nbformat.v4.new_notebook(cells=cells, metadata={"title": table["title"]})


def poll(number: int) -> dict[str, str]:
    """A poll as INSTRUCTOR.md has it: name, question, choices, link into the explorer, answer, notes."""
    body = _instructor(rf"^### Poll {number} · (.*?)(?=^##)", f"poll {number}")
    name, _, rest = body.partition("\n")
    question, choices, reveal, *notes = rest.strip().split("\n\n")
    said, target = EXPLORER.search(reveal).groups()
    answer = re.search(r"\*\*[A-D]\.\*\*.*", reveal, re.DOTALL)[0]
    return {
        "name": name,
        "question": question.strip("*").replace("\n", " "),
        "choices": choices,
        "link": f'<a target="_blank" href="{target}&projector=1">In the explorer: {said}</a>',
        "answer": answer.replace("\n", " ").replace(" − ", "&nbsp;−&nbsp;"),
        "notes": "\n\n".join(notes),
    }


def discussion(number: int) -> tuple[str, str]:
    """A question, and the notes for whoever leads the discussion."""
    body = _instructor(rf"^\*\*{number}\. (.*?)(?=^\*\*\d\. |^## )", f"discussion {number}")
    question, _, notes = body.partition("**")
    return question.replace("\n", " "), notes.strip()


def must_stay() -> str:
    """The sentences that must stay in any route, as a list."""
    return _instructor(r"^\*\*Four sentences that must stay\*\*.*?\n\n(.*?)(?=^## )", "the four sentences")


def _cells(slide: dict) -> Iterator[nbformat.NotebookNode]:
    if "poll" in slide:
        yield from _poll(slide)
        return
    yield _slide(slide, slide["title"])
    if "picture" in slide:
        html = picture(slide["lesson"], slide["section"], slide["picture"]).html
        yield nbformat.v4.new_code_cell("", outputs=[nbformat.v4.new_output("display_data", {"text/html": html})])
    for number in slide.get("discussion", ()):
        question, notes = discussion(number)
        yield _text(f"**{question}**")
        yield _notes(notes)
    if "paragraph" in slide:
        said = SENTENCE.split(section_text(slide["lesson"], slide["section"])[slide["paragraph"] - 1])
        yield _text(" ".join(said[at - 1] for at in slide.get("sentences", range(1, len(said) + 1))))
    if "text" in slide:
        yield _text(slide["text"])
    if slide.get("must_stay"):
        yield _text(must_stay())


def _poll(slide: dict) -> Iterator[nbformat.NotebookNode]:
    """The question, and one step down the answer, so that nobody reads it too early."""
    asked, slide = poll(slide["poll"]), {"kind": "question"} | slide
    title = f"Poll {slide['poll']} · {asked['name']}"
    yield _slide(slide, title)
    yield _text(f"{asked['question']}\n\n{asked['choices']}")
    yield _notes(asked["notes"])
    yield _slide(slide, title, "subslide")
    yield _text(f"{asked['answer']}\n\n{asked['link']}")


def _instructor(pattern: str, what: str) -> str:
    found = re.search(pattern, (ROOT / "INSTRUCTOR.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(f"a slide must show what INSTRUCTOR.md has, got {what}")
    return found[1].strip("\n")


def _slide(slide: dict, title: str, step: str = "slide") -> nbformat.NotebookNode:
    cell = _text(f'## {title}\n\n<p class="minute">minute {slide["minute"]}</p>', step)
    cell.metadata["slideshow"]["data"] = {"kind": slide.get("kind", "picture")}
    return cell


def _notes(text: str) -> nbformat.NotebookNode:
    """For the speaker's window, where the links of the guide lead nowhere."""
    return _text(re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text), "notes")


def _text(text: str, step: str = "-") -> nbformat.NotebookNode:
    return nbformat.v4.new_markdown_cell(text, metadata={"slideshow": {"slide_type": step}})
