"""Show results of the studies in a lesson: the tables and verdicts of the page of evidence, as recorded."""

from __future__ import annotations

import html
import re

from ...runs.records import recorded
from .cards import card, publish
from .html_tables import show_table

SIGNS = {"agrees": "right", "disagrees": "wrong"}


def show_study(name: str, *numbers: int) -> None:
    """Publish parts of a study by their numbers, from 1, all by default; of those that lack rows, how many.

    A verdict is about the small model: *cannot tell* is one as well.

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
        _say(study["question"])
        for part in there:
            _show(part)
        if study["caveat"]:
            _say(study["caveat"])
        if any(part["rows"] for part in there):  # what has none says itself where it comes from
            print(studied_line(record["about"]))
    if waiting:
        lacking = "; ".join(f"{part['title']} ({part['missing']} of {part['rows']} runs)" for part in waiting)
        text = f"Not recorded yet: {lacking}. `{study['command']}`"
        publish(card("todo", text), text)


def studied_line(about: dict) -> str:
    """Name the source of the studies' numbers: runs, days, machine and versions."""
    days = about["days"][0] if len(about["days"]) == 1 else f"{about['days'][0]} to {about['days'][-1]}"
    where = f"{', '.join(about['processors'])}, one thread a row, torch {', '.join(about['torch'])}"
    return f"From {about['rows']} recorded runs, {days}, on {where}; docs/evidence.md names each and its command"


def _show(part: dict) -> None:
    for table in part["tables"]:
        show_table(table["headings"], table["rows"], caption=_plain(f"{part['title']}. {table['note']}".strip()))
    for claim in part["claims"]:
        verdict = claim["verdict"].capitalize()
        # A claim and its outcome are two things: the sign shows the outcome, which is in words as well.
        sign, sentence = SIGNS.get(claim["verdict"].split()[0], "note"), f"{verdict}: {claim['statement']}"
        publish(card(sign, sentence, html.escape(claim["because"])), f"{sentence} ({claim['because']})")
    for note in part["notes"]:
        _say(note)


def _say(sentence: str) -> None:
    plain = _plain(sentence)
    publish(f"<p>{html.escape(plain)}</p>", plain)


def _plain(text: str) -> str:
    """Without the page's marks for emphasis and code."""
    return re.sub(r"[*`]([^*`]+)[*`]", r"\1", text)
