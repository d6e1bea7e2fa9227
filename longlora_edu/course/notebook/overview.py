"""A learner's progress, lesson by lesson, from the journal."""

from __future__ import annotations

from .cards import publish
from .journal import Journal

COLUMNS = ("lesson", "predictions", "exercises", "quiz")
LEFT = 'style="text-align:left"'


def standing(journal: Journal | None = None) -> list[tuple[str, int, str, str]]:
    """A row for each lesson with an entry: its number, predictions committed, exercises solved, questions right.

    Keys of the journal begin with the number of their lesson.
    """
    entries = (journal or Journal()).all()
    kinds = [entries.get(kind, {}) for kind in ("predictions", "exercises", "quiz")]
    rows = []
    for lesson in sorted({key.partition(".")[0] for kind in kinds for key in kind}):
        predictions, tried, answers = ([kind[key] for key in kind if key.startswith(f"{lesson}.")] for kind in kinds)
        solved, attempts = (sum(exercise[what] for exercise in tried) for what in ("passed", "attempts"))
        in_all = f"in {attempts} attempt{'s' * (attempts != 1)}"
        exercises = f"{solved} solved of {len(tried)} tried, {in_all}" if tried else "none yet"
        right = f"{sum(answer['right'] for answer in answers)} right of {len(answers)}" if answers else "none yet"
        rows.append((lesson, len(predictions), exercises, right))
    return rows


def overview(journal: Journal | None = None) -> None:
    """Show `standing` as a table, and where it is kept."""
    rows = standing(journal)
    if not rows:
        text = "Nothing noted yet: commit a prediction, answer a quiz or run a check, then run this cell again."
        publish(f"<p>{text}</p>", text)
        return
    head = "".join(f'<th scope="col" {LEFT}>{name}</th>' for name in COLUMNS)
    body = "".join(
        f'<tr><th scope="row" {LEFT}>{row[0]}</th>{"".join(f"<td {LEFT}>{cell}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    summary = "; ".join(f"lesson {row[0]}: {row[1]} predictions, exercises {row[2]}, quiz {row[3]}" for row in rows)
    publish(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>", summary)
