"""Boxes of text in a notebook: the few styles that every front end leaves in place."""

from __future__ import annotations

import html
import re

import ipywidgets

from ...plots import AFTER, BEFORE, INK, PLAIN

# Never colour alone: each kind has its own word and border.
KINDS = {
    "right": ("✓", PLAIN),
    "close": ("≈", AFTER),
    "wrong": ("✗", BEFORE),
    "todo": ("…", "#767676"),
    "note": ("→", AFTER),
}


def card(kind: str, title: str, body: str = "") -> str:
    """A box as safe HTML: `title` is plain text with code in backticks, `body` may hold HTML."""
    sign, colour = KINDS[kind]
    title = with_code(title)
    return (
        f'<div style="border-left:6px solid {colour};padding:6px 12px;margin:6px 0;background-color:#F7F7F7;'
        f'color:{INK}"><b>{sign} {title}</b>{f"<div>{body}</div>" if body else ""}</div>'
    )


def with_code(text: str) -> str:
    """Plain text as safe HTML, with code where backticks are."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def publish(content: str, text: str) -> None:
    """Show HTML in a notebook, with `text` for where there is no HTML."""
    from IPython.display import display

    display({"text/html": content, "text/plain": text}, raw=True)


class ShownOnce(ipywidgets.VBox):
    """A box that was shown when it was made: returned by the last line of a cell, it is not shown a second time."""

    def _ipython_display_(self, **_) -> None:
        """The hook that ipywidgets 7 and 8 both ask first."""
