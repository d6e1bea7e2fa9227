"""A sheet in Markdown → one HTML page: numbers filled in, masks drawn, polls and sentences taken from the guide."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

from deck import discussion, must_stay, poll
from figures import controls, figures, fill
from markdown_it import MarkdownIt

from longlora_edu import cost
from longlora_edu.geometry import S2Geometry

SHEETS = Path(__file__).with_name("sheets")
DIRECTIVE = re.compile(r"^\[\[(\w+)((?: \d+)*)\]\]$", re.MULTILINE)
CALL = re.compile(r"\{\{= (.+?) \}\}")
NAMES = {"S2Geometry": S2Geometry, "llama": cost.ModelShape.llama2_7b(), **vars(cost)}
# What is left out of the five sentences, in order, for a class to fill in: with these words a poll would be answered.
GAPS = (
    *("all earlier ones", "four times", "inside its group", "half of the *heads*", "half a group later"),
    *("two layers", "the\n   ending", "training", "full", "stretched position settings", "the text", "over a wall"),
)
BLANK = "<span class=blank></span>"
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def sheet(name: str) -> str:
    """Return a sheet of the folder `sheets` as a page of its own.

    Raises:
        ValueError: for a number or a part that nobody knows.
    """
    source = (SHEETS / f"{name}.md").read_text(encoding="utf-8")
    source = DIRECTIVE.sub(lambda found: part(found[1], [int(number) for number in found[2].split()]), source)
    source = fill(CALL.sub(lambda found: str(eval(found[1], dict(NAMES))), source))
    return _page(source)


def document(path: Path) -> str:
    """Return a document of the repository as a page in the teacher's folder: of its links, those into the explorer."""
    source = path.read_text(encoding="utf-8")
    source = source.replace("](docs/explorer.html#", "](slides/explorer.html#")
    return _page(re.sub(r"\[([^\]]+)\]\((?!slides/)[^)]+\)", r"\1", source))


def _page(source: str) -> str:
    body = MarkdownIt("commonmark", {"html": True}).enable("table").render(source)
    body = body.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
    title = re.search(r"^# (.+)$", source, re.MULTILINE)[1]
    return PAGE.format(title=escape(title), style=(SHEETS / "sheet.css").read_text(encoding="utf-8"), body=body)


def part(name: str, numbers: list[int]) -> str:
    """Return what a directive stands for: `[[blank 12]]`, `[[votes 1 2]]`, `[[discussion 1]]`, `[[credit]]` and others.

    Raises:
        ValueError: for a directive that there is not.
    """
    if name in ("blank", "triangle"):
        return grid(*numbers, filled=name == "triangle")
    if name == "votes":
        return votes(numbers)
    if name == "discussion":
        return "\n\n".join(_unlinked(discussion(number)[1]) for number in numbers)
    parts = {"controls": controls, "credit": credit, "cloze": cloze, "relay": relay}
    if name not in parts:
        raise ValueError(
            f"a directive must be one of blank, triangle, votes, discussion, {', '.join(parts)}, got {name!r}"
        )
    return parts[name]()


def grid(tokens: int, *, filled: bool = False) -> str:
    """Draw an empty mask to fill in, or with the triangle that a token may see."""
    side, edge = (30, 26) if tokens <= 6 else (19, 22)
    squares = []
    for row in range(tokens):
        for column in range(tokens):
            colour = "#0072B2" if filled and column <= row else "#fff"
            at = f'x="{edge + column * side}" y="{edge + row * side}" width="{side}" height="{side}"'
            squares.append(f'<rect {at} fill="{colour}" stroke="#777"/>')
        middle = edge + (row + 0.68) * side
        squares.append(f'<text x="{edge - 6}" y="{middle}" text-anchor="end">{row}</text>')
        squares.append(f'<text x="{edge + (row + 0.5) * side}" y="{edge - 7}" text-anchor="middle">{row}</text>')
    size = edge + tokens * side + 2
    name = f"A {'filled' if filled else 'blank'} mask of {tokens} tokens"
    return _svg(size, size, squares, name)


def relay() -> str:
    """Draw rows of sixteen tokens, cut as plain and shifted heads cut them, by turns: two more rows than are needed."""
    side, high, left = 34, 20, 130
    rows, lines = 9, []
    for layer in range(rows):
        shifted = layer % 2
        y = 6 + layer * (high + 8)
        geometry = S2Geometry(16, 4, 2)
        name = f"{'' if layer else 'last layer: '}{'shifted' if shifted else 'plain'}"
        lines.append(f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{name}</text>')
        for cell in geometry.cells(shifted=bool(shifted)):
            for tokens in cell:
                at = f'x="{left + tokens.start * side}" y="{y}" width="{len(tokens) * side}" height="{high}"'
                lines.append(
                    f'<rect {at} fill="{"#FBE5B6" if shifted else "#D3E6F3"}" stroke="#222" stroke-width="2"/>'
                )
    bottom = 6 + rows * (high + 8) + 12
    for token in range(16):
        lines.append(f'<text x="{left + (token + 0.5) * side}" y="{bottom}" text-anchor="middle">{token}</text>')
    return _svg(
        left + 16 * side + 4,
        bottom + 8,
        lines,
        f"{rows} layers of sixteen tokens, the last layer on top, to draw the way in",
    )


def votes(numbers: list[int]) -> str:
    """Make a row for each poll: its name, four boxes to tick, and a line for the reason."""
    boxes = "".join(f"<i>{letter}</i>" for letter in "ABCD")
    rows = [
        f'<div class="vote"><b>Poll {n} · {escape(poll(n)["name"])}</b> {boxes}<span></span></div>' for n in numbers
    ]
    return f'<div class="votes">{"".join(rows)}</div>'


def credit() -> str:
    """Return the table of the controls to fill in, rows in their order; a dash stays where nothing was asked."""
    rows = [row.strip("| ").split(" | ") for row in controls().splitlines()[2:]]
    lines = [f"| {step} | | {'–' if wall == '–' else ''} |" for step, _, _, wall, _ in rows]
    return "\n".join(["| | bits per byte | found |", "|---|---|---|", *lines])


def cloze(gaps: tuple[str, ...] = GAPS) -> str:
    """Return the sentences that must stay, with gaps for a class to fill in; numbers are gaps, too.

    Raises:
        ValueError: for a gap whose words the sentences do not have.
    """
    before, after = "", must_stay()
    # The first number of the fifth sentence stands after "the text", the others after "over a wall".
    numbers = [figures()[name] for name in ("bits_before", "bits_stretched", "wall_short", "wall_after", "wall_full")]
    for words in (*gaps, *numbers[2:]):
        if words == "over a wall":
            for number in numbers[:2]:
                after = after.replace(number, BLANK, 1)
        if words not in after:
            raise ValueError(f"the sentences must have the words of every gap, in order, got {words!r}")
        head, _, after = after.partition(words)
        before += f"{head}{BLANK}"
    return before + after


def _svg(width: float, height: float, parts: list[str], name: str) -> str:
    box = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    style = 'font-family="sans-serif" font-size="14" fill="#222"'
    return f'<svg {box} role="img" aria-label="{escape(name)}" {style}>{"".join(parts)}</svg>'


def _unlinked(text: str) -> str:
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text)
