"""Show results of the studies in a lesson: the tables and verdicts of the page of evidence, as recorded."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from ...runs.records import recorded
from .cards import card, publish
from .html_tables import table_of

SIGNS = {"agrees": "right", "disagrees": "wrong"}


def show_study(name: str, *numbers: int) -> None:
    """Publish parts of a study by their numbers, from 1, all by default, folded; of those that lack rows, how many.

    A lesson names its two or three telling numbers; this is the appendix behind them. A verdict is about the small
    model: *cannot tell* is one as well.

    Raises:
        ValueError: for a study or a part that there is none of.
    """
    record = recorded("studies")
    if name not in record["studies"]:
        raise ValueError(f"name must be one of {', '.join(record['studies'])}, got {name!r}")
    study = record["studies"][name]
    parts = study["parts"]
    if wrong := set(numbers) - set(range(1, len(parts) + 1)):
        raise ValueError(f"numbers must be from 1 to {len(parts)}, got {min(wrong)}")
    chosen = [parts[number - 1] for number in numbers] or parts
    there = [part for part in chosen if "tables" in part]
    waiting = [part for part in chosen if part not in there]
    if there:
        pieces = [_said(study["question"]), *(piece for part in there for piece in _pieces(part))]
        pieces += [_said(study["caveat"])] if study["caveat"] else []
        if any(part["rows"] for part in there):  # what has none says itself where it comes from
            pieces.append(_said(studied_line(record["about"])))
        verdicts = sum(len(part["claims"]) for part in there)
        tables = sum(len(part["tables"]) for part in there)
        counts = [_count(tables, "table"), *([_count(verdicts, "verdict")] if verdicts else [])]
        summary = f"Open the appendix. {_plain(study['question'])} {', '.join(counts)}"
        inside = "".join(content for content, _ in pieces)
        publish(
            f"<details><summary>{html.escape(summary)}</summary>{inside}</details>",
            "\n".join([summary, *(text for _, text in pieces)]),
        )
    if waiting:
        lacking = "; ".join(f"{part['title']} ({part['missing']} of {part['rows']} runs)" for part in waiting)
        text = f"Not recorded yet: {lacking}. `{study['command']}`"
        publish(card("todo", text), text)


def studied_line(about: dict) -> str:
    """Name the source of the studies' numbers: runs, days, machine and versions."""
    days = about["days"][0] if len(about["days"]) == 1 else f"{about['days'][0]} to {about['days'][-1]}"
    where = f"{', '.join(about['processors'])}, one thread a row, torch {', '.join(about['torch'])}"
    return f"From {about['rows']} recorded runs, {days}, on {where}; docs/evidence.md names each and its command"


def _pieces(part: dict) -> Iterator[tuple[str, str]]:
    """Yield the tables, verdicts and notes of a part, each as HTML and as text."""
    for table in part["tables"]:
        caption = _plain(f"{part['title']}. {table['note']}".strip())
        yield table_of(table["headings"], table["rows"], caption=caption)
    for claim in part["claims"]:
        verdict = claim["verdict"].capitalize()
        # A claim and its outcome are two things: the sign shows the outcome, which is in words as well.
        sign, sentence = SIGNS.get(claim["verdict"].split()[0], "note"), f"{verdict}: {claim['statement']}"
        yield card(sign, sentence, html.escape(claim["because"])), f"{sentence} ({claim['because']})"
    for note in part["notes"]:
        yield _said(note)


def _said(sentence: str) -> tuple[str, str]:
    plain = _plain(sentence)
    return f"<p>{html.escape(plain)}</p>", plain


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'s' * (number != 1)}"


def _plain(text: str) -> str:
    """Without the page's marks for emphasis and code."""
    return re.sub(r"[*`]([^*`]+)[*`]", r"\1", text)
