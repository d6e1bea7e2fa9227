"""Pieces of the report's page: headings, paragraphs, tables and pictures, as HTML that loads nothing."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

from matplotlib.axes import Axes

from ..plots import png

STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --line: #ccc; --quiet: #555 }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --paper: #16181b; --line: #484c52; --quiet: #aeb4bb } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1rem; max-width: 60rem; font: 1rem/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); overflow-wrap: break-word }
h1 { font-size: 1.6rem; line-height: 1.2 } h2 { font-size: 1.2rem; margin: 2.5rem 0 0.5rem }
p, figcaption { max-width: 42rem } .lead { font-size: 1.1rem }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1.5rem }
figure { margin: 1rem 0 0; max-width: 38rem } figcaption { font-size: 0.9rem; color: var(--quiet) }
img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: 4px }
table { border-collapse: collapse; margin: 0.75rem 0 1.5rem; font-variant-numeric: tabular-nums }
caption { text-align: left; font-weight: 600; padding-bottom: 0.25rem }
th, td { border-bottom: 1px solid var(--line); padding: 0.3rem 0.7rem 0.3rem 0; text-align: left; vertical-align: top }
th { font-weight: 600 } th[scope=row] { font-weight: 400; min-width: 6em; overflow-wrap: anywhere }
.facts td { overflow-wrap: anywhere }
pre { white-space: pre-wrap; overflow-wrap: anywhere; border-left: 3px solid var(--line); padding-left: 0.7rem }
@media (max-width: 40rem) { table { display: block; overflow-x: auto } }
details { margin-top: 2.5rem } summary { cursor: pointer; font-weight: 600 }
"""


def document(title: str, parts: Iterable[str]) -> str:
    """Make a whole page of parts that are HTML already; the title is text."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{escape(title)}</h1>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def heading(text: str) -> str:
    """Make a section's heading."""
    return f"<h2>{escape(text)}</h2>"


def paragraph(text: str, *, kind: str = "") -> str:
    """Make a paragraph of text; `kind` is one of the style's classes."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def fact_table(rows: Iterable[tuple[str, str]]) -> str:
    """Make a table of names and values of any length: a long word may break anywhere."""
    return f'<div class="facts">\n{table([], rows)}\n</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str = "") -> str:
    """Make a table of text whose first column names its rows; an empty `head` leaves its columns without names."""
    lines = [f"<caption>{escape(caption)}</caption>"] if caption else []
    if head:
        lines.append("<tr>" + "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head) + "</tr>")
    for name, *cells in rows:
        values = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        lines.append(f'<tr><th scope="row">{escape(name)}</th>{values}</tr>')
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def figure(axes: Axes, alt: str, caption: str) -> str:
    """Embed the picture of `axes` in the page, with `alt` as its text."""
    data = base64.b64encode(png(axes)).decode()
    return (
        f'<figure>\n<img alt="{escape(alt)}" src="data:image/png;base64,{data}">\n'
        f"<figcaption>{escape(caption)}</figcaption>\n</figure>"
    )


def side_by_side(*figures: str) -> str:
    """Put pictures into columns where there is room."""
    return '<div class="pictures">\n' + "\n".join(figures) + "\n</div>"
