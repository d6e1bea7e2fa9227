"""A sealed cell: it does what its source does, and nobody reads the answer in it by chance."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence

LINE = 100  # letters in a line of a sealed cell


def sealed(source: str, *, worked: str | None = None) -> str:
    """The cell for `source`, which `course.run_sealed` runs. `worked` is the key of the check that opens it."""
    if worked:
        title = f"Worked solution: opens when the check of {worked} has passed"
        return _cell(title, "run_sealed", source, f', worked="{worked}"')
    return _cell("Sealed: it holds an answer", "run_sealed", source)


def sealed_until(key: str, pieces: Sequence[tuple[str, str]]) -> str:
    """One cell for texts and code that stand below each other: `course.open_sealed` opens them when `key` is committed.

    `pieces` are ("text", Markdown) or ("code", source).
    """
    from markdown_it import MarkdownIt

    page = MarkdownIt("commonmark").enable("table")
    stored = [(kind, page.render(body) if kind == "text" else body) for kind, body in pieces]
    return _cell(f"Sealed: opens when {key} is committed", "open_sealed", json.dumps(stored), f', after="{key}"')


def unsealed(cell: str, *, texts: bool = True) -> str:
    """Return the source inside a sealed cell; any other cell as it is. `texts=False` leaves out sealed sentences."""
    found = re.search(r'(run_sealed|open_sealed)\("""\n([A-Za-z0-9+/=\n]+)\n"""', cell)
    if not found:
        return cell
    inside = base64.b64decode(found[2]).decode()
    return (
        inside
        if found[1] == "run_sealed"
        else "\n".join(body for kind, body in json.loads(inside) if texts or kind == "code")
    )


def _cell(title: str, function: str, content: str, options: str = "") -> str:
    data = base64.b64encode(content.encode()).decode()
    lines = "\n".join(data[start : start + LINE] for start in range(0, len(data), LINE))
    return f'# @title {title}\ncourse.{function}("""\n{lines}\n"""{options})'
