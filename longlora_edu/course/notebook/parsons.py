"""Lines of a program to put in order, with one blank to fill in: a first step where writing it would be a leap."""

from __future__ import annotations

import ast
import html
import random
from collections.abc import Sequence

import ipywidgets

from ...widgets import show
from .cards import ShownOnce, card
from .folded import encoded
from .journal import Journal

BLANK = "……"
Fill = tuple[int, str, Sequence[str]]


def parsons(
    key: str,
    task: str,
    lines: Sequence[str],
    *,
    fill: Fill | None = None,
    advice: str = "",
    then: str = "Now write them in the cell below, without looking.",
    journal: Journal | None = None,
) -> Puzzle:
    """Show `lines`, statements in a right order, in another one, each with buttons that move it up and down.

    Every order is right in which each line stands below those that make the names it uses. `fill` is (line, what is
    blank there, other ways to write it). `advice` is said of a wrong blank, and `then` when all is right. The answer is
    noted under "puzzles".

    Raises:
        ValueError: with fewer than two lines, or a blank that is not in its line.
    """
    if len(lines) < 2:
        raise ValueError(f"parsons must be given at least two lines, got {len(lines)}")
    if fill and fill[1] not in lines[fill[0]]:
        raise ValueError(f"the blank must stand in line {fill[0]}, got {fill[1]!r} and {lines[fill[0]]!r}")
    puzzle = Puzzle(key, task, list(lines), fill, journal or Journal(), advice, then)
    mixed = "\n".join(puzzle.line(number) for number in puzzle.order)
    answer = encoded(f"<pre>{html.escape(chr(10).join(lines))}</pre>")
    still = f"<pre>{html.escape(mixed)}</pre><details><summary>The lines in order</summary>{answer}</details>"
    show(puzzle, card("note", f"Put the lines in order. {task}", still))
    return puzzle


def needs(lines: Sequence[str]) -> list[set[int]]:
    """For each line, the numbers of those above it that it has to wait for.

    needs(["a = 1", "b = 2", "return a + b"]) == [set(), set(), {0, 1}]
    """
    made, found = {}, []
    for number, line in enumerate(lines):
        tree = ast.parse(line)
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        stored = {node.id for node in names if isinstance(node.ctx, ast.Store)}
        read = {node.id for node in names if isinstance(node.ctx, ast.Load)}
        # A name that is made once more waits for those that read its old value, too.
        waits = {made[name] for name in read | stored if name in made}
        waits |= {other for other, (_, used) in enumerate(found) if used & stored}
        found.append((waits, read))
        inner = {
            node.id
            for part in ast.walk(tree)
            if isinstance(part, ast.comprehension)
            for node in ast.walk(part.target)
            if isinstance(node, ast.Name)
        }
        made |= dict.fromkeys(stored - inner, number)
    last = len(lines) - 1
    if lines[last].startswith("return"):
        found[last] = (set(range(last)), found[last][1])
    return [waits for waits, _ in found]


class Puzzle(ShownOnce):
    """Panel of a puzzle: lines to put in order, perhaps with a gap to fill in.

    `order` lists the lines' numbers as they stand. `blank` is the field of the gap, `check` the button, `said` the
    answer's place.
    """

    def __init__(
        self, key: str, task: str, lines: list[str], fill: Fill | None, journal: Journal, advice: str, then: str
    ) -> None:
        self._key, self._lines, self._fill, self._journal = key, lines, fill, journal
        self._advice, self._then = advice, then
        self._needs = needs(lines)
        self._order = list(range(len(lines)))
        while self._order == sorted(self._order):
            random.Random(key).shuffle(self._order)
            key += "'"
        self.rows = [self._row(place) for place in range(len(lines))]
        self.blank = ipywidgets.Text(placeholder=f"instead of {BLANK}", description="Blank:")
        self.check = ipywidgets.Button(description="Check the order")
        self.said = ipywidgets.HTML()
        self.check.on_click(self._judge)
        title = ipywidgets.HTML(value=f"<b>Put the lines in order.</b> {html.escape(task)}")
        super().__init__([title, *self.rows, *([self.blank] if fill else []), self.check, self.said])
        self.order = self._order

    @property
    def order(self) -> list[int]:
        """The numbers of the lines, top to bottom."""
        return self._order

    @order.setter
    def order(self, order: list[int]) -> None:
        self._order = list(order)
        for row, number in zip(self.rows, self._order, strict=True):
            row.children[
                2
            ].value = (
                f"<code style='white-space:pre-wrap;overflow-wrap:anywhere'>{html.escape(self.line(number))}</code>"
            )
            for button, way in zip(row.children[:2], ("up", "down"), strict=True):
                button.tooltip = f"Move {way}: {self.line(number).strip()}"

    def line(self, number: int) -> str:
        """A line as it is shown, with its blank."""
        line = self._lines[number]
        return line.replace(self._fill[1], BLANK, 1) if self._fill and self._fill[0] == number else line

    def _row(self, place: int) -> ipywidgets.HBox:
        def move(by: int):
            def moved(_):
                other = place + by
                if 0 <= other < len(self._order):
                    order = list(self._order)
                    order[place], order[other] = order[other], order[place]
                    self.order = order

            return moved

        buttons = []
        for by, name in ((-1, "↑"), (1, "↓")):
            button = ipywidgets.Button(description=name, layout=ipywidgets.Layout(width="36px"))
            button.on_click(move(by))
            buttons.append(button)
        return ipywidgets.HBox([*buttons, ipywidgets.HTML()])

    def _judge(self, _) -> None:
        before = self._journal.get("puzzles", self._key) or {"attempts": 0}
        early = (
            (place, number, needed)
            for place, number in enumerate(self._order)
            for needed in sorted(self._needs[number])
            if needed not in self._order[:place]
        )
        wrong = next(early, None)
        filled = not self._fill or any(
            self.blank.value.replace(" ", "") == way.replace(" ", "") for way in (self._fill[1], *self._fill[2])
        )
        if wrong is not None:
            place, number, needed = wrong
            line, other = self.line(number).strip(), self.line(needed).strip()
            verdict = card("wrong", f"Look at line {place + 1}: `{line}` has to wait for `{other}`.")
        elif not filled:
            verdict = card("wrong", f"The order is right. What belongs into the blank? {self._advice}".rstrip())
        else:
            verdict = card("right", f"These are the lines. {self._then}")
        self._journal.note(
            "puzzles", self._key, {"attempts": before["attempts"] + 1, "passed": wrong is None and filled}
        )
        self.said.value = verdict
