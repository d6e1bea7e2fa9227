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

    Cells are text: HTML in them is shown as it is written.

    Raises:
        ValueError: for a row with more or fewer cells than there are headings.
    """
    for row in rows:
        if len(row) != len(headings):
            raise ValueError(f"rows must have {len(headings)} cells, one a heading, got {list(row)}")
    head = "".join(f'<th scope="col">{html.escape(str(name))}</th>' for name in headings)
    body = "".join(
        f'<tr><th scope="row">{html.escape(str(row[0]))}</th>'
        f"{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row[1:])}</tr>"
        for row in rows
    )
    table = f"<table><caption>{html.escape(caption)}</caption><tr>{head}</tr>{body}</table>"
    lines = [" | ".join(map(str, row)) for row in (headings, *rows)]
    return table, "\n".join([caption, *lines])
