"""A sealed cell: it does what its source does, and nobody reads the answer in it by chance."""

from __future__ import annotations

import base64
import re

LINE = 100  # letters in a line of a sealed cell


def sealed(source: str, *, worked: str | None = None, after: str | None = None) -> str:
    """The cell for `source`, which `course.run_sealed` runs.

    `worked` is the key of the check that opens its output and its code, `after` that of the prediction that does.
    """
    data = base64.b64encode(source.encode()).decode()
    lines = "\n".join(data[start : start + LINE] for start in range(0, len(data), LINE))
    title, option = "Sealed: it holds an answer", ""
    if worked:
        title, option = f"Worked solution: opens when the check of {worked} has passed", f', worked="{worked}"'
    elif after:
        title, option = f"Sealed: opens when {after} is committed", f', after="{after}"'
    return f'# @title {title}\ncourse.run_sealed("""\n{lines}\n"""{option})'


def sealed_text(markdown: str, *, after: str) -> str:
    """The cell that shows a text once the prediction `after` is committed, which `course.open_text` does."""
    from markdown_it import MarkdownIt

    page = MarkdownIt("commonmark").enable("table").render(markdown)
    return sealed(page, after=after).replace("course.run_sealed(", "course.open_text(")


def unsealed(cell: str) -> str:
    """The source inside a sealed cell; any other cell as it is."""
    found = re.search(r'(?:run_sealed|open_text)\("""\n([A-Za-z0-9+/=\n]+)\n"""', cell)
    return base64.b64decode(found[1]).decode() if found else cell
