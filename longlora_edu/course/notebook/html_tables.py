"""Tables of computed numbers in a notebook, with headings that a screen reader finds."""

from __future__ import annotations

import html
from collections.abc import Sequence

from .cards import publish


def show_table(headings: Sequence[str], rows: Sequence[Sequence], *, caption: str) -> None:
    """Publish rows under their headings, as HTML and as text; the first cell of a row is its heading.

    Raises:
        ValueError: for a row with more or fewer cells than there are headings.
    """
    publish(*table_of(headings, rows, caption=caption))


def table_of(headings: Sequence[str], rows: Sequence[Sequence], *, caption: str) -> tuple[str, str]:
    """Return a table as the pair (HTML, plain text); the first cell of a row is its heading.

    Cells are text: HTML in them is shown as it is written. Columns of words begin at the left, as names do; numbers
    stay at the right, where JupyterLab puts all.

    Raises:
        ValueError: for a row with more or fewer cells than there are headings.
    """
    for row in rows:
        if len(row) != len(headings):
            raise ValueError(f"rows must have {len(headings)} cells, one a heading, got {list(row)}")
    words = [any(len(str(row[column]).split()) > 3 for row in rows) for column in range(len(headings))]
    left = [' style="text-align:left"' if column == 0 or words[column] else "" for column in range(len(headings))]
    head = "".join(
        f'<th scope="col"{at}>{html.escape(str(name))}</th>' for name, at in zip(headings, left, strict=True)
    )
    body = "".join(
        f'<tr><th scope="row"{left[0]}>{html.escape(str(row[0]))}</th>'
        f"{''.join(f'<td{at}>{html.escape(str(cell))}</td>' for cell, at in zip(row[1:], left[1:], strict=True))}</tr>"
        for row in rows
    )
    table = f"<table><caption>{html.escape(caption)}</caption><tr>{head}</tr>{body}</table>"
    lines = [" | ".join(map(str, row)) for row in (headings, *rows)]
    return table, "\n".join([caption, *lines])
