"""Blocks of a text that a command writes anew; a person writes the rest around them."""

from __future__ import annotations

import re
from collections.abc import Mapping

MARKDOWN = "<!-- {} -->"


def fill_marked(text: str, blocks: Mapping[str, str], comment: str = MARKDOWN, *, where: str = "the page") -> str:
    """Return the text with each block, by name, in place of what stands between its marks; an empty block adds no line.

    Marks are comments on lines of their own, of `name` and of `/name`; `comment` holds `{}` in the name's place.
    `where` names the text in an error.

        <!-- speed -->
        this line is replaced
        <!-- /speed -->

    Raises:
        ValueError: for a name whose marks do not stand there exactly once.
    """
    for name, block in blocks.items():
        first, last = (re.escape(comment.format(mark)) for mark in (name, f"/{name}"))
        between = re.compile(rf"(?<=^{first}\n).*?(?=^{last}$)", re.DOTALL | re.MULTILINE)
        if (count := len(between.findall(text))) != 1:
            raise ValueError(f"{where} must hold the marks of {name!r} once, got {count}")
        text = between.sub(lambda _, block=block: f"{block}\n" if block else "", text)
    return text
