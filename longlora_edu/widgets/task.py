"""A task: a button for work of some seconds, and the picture of what came of it."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import ipywidgets

from ..runs.progress import Advance
from .display import Picture, show
from .panel import Area, check_control, control_row


class Task:
    """A button for work of some seconds, a bar that shows how far it is, and the picture of what came of it.

    `work(progress, **values)` is a plain function that returns a `Picture`; `progress` is a `Progress` as everywhere,
    and the values are the controls' at the press. Moving a control never starts anything. `picture` stands there first.
    Errors are treated as in a `Panel`, but ipywidgets only logs what a click raises: `press` raises it. Interrupting
    the kernel leaves everything as it was before.
    """

    def __init__(
        self, work: Callable[..., Picture], controls: Mapping[str, ipywidgets.Widget], *, label: str, picture: Picture
    ) -> None:
        self.work, self.controls, self.picture, self.errors = work, dict(controls), picture, []
        for name, control in self.controls.items():
            check_control(name, control)
        self.button = ipywidgets.Button(description=label, layout=ipywidgets.Layout(width="max-content"))
        self.bar = Bar()
        self.area = Area(picture)
        self.box = ipywidgets.VBox([control_row(self.controls), self.button, self.bar.box, self.area.box])
        self.button.on_click(self.press)

    def press(self, _: object = None) -> Picture:
        """Do the work with the values at hand, and show its picture: what the button calls."""
        self.button.disabled = True
        try:
            self.picture = self.work(self.bar, **{name: control.value for name, control in self.controls.items()})
        except Exception as error:
            self.errors.append(error)
            self.area.say(error)
            raise
        finally:
            self.button.disabled = False
        self.area.show(self.picture)
        return self.picture

    def show(self) -> None:
        """Publish the task, with its picture where there is no kernel."""
        show(self.box, self.picture)


class Bar:
    """A `Progress` in a notebook: a bar, and beside it how much is done and how long the rest may take."""

    def __init__(self) -> None:
        self.bar = ipywidgets.IntProgress(value=0, min=0, max=1, layout=ipywidgets.Layout(width="240px"))
        self.text = ipywidgets.HTML()
        self.box = ipywidgets.HBox([self.bar, self.text], layout=ipywidgets.Layout(visibility="hidden"))

    def show(self) -> None:
        """Publish the bar, and a sentence where there is no kernel."""
        show(self.box, "<p>(While this cell runs, a bar shows how far it is.)</p>")

    @contextmanager
    def stage(self, what: str, total: int, unit: str) -> Iterator[Advance]:
        """As every `Progress`: shows the bar while the work goes on."""
        began = time.monotonic()
        self.bar.value, self.bar.max, self.text.value = 0, total, html.escape(what)
        self.box.layout.visibility = "visible"

        def advance(amount: int, text: str = "") -> None:
            self.bar.value += amount
            done, seconds = max(self.bar.value, 1), time.monotonic() - began
            left = f"about {seconds / done * (total - done):.0f} s left" if done < total else f"{seconds:.1f} s"
            at = f" ({text})" if text else ""
            self.text.value = html.escape(f"{what}{at}: {done:,} of {total:,} {unit}, {left}")

        try:
            yield advance
        except BaseException:  # the kernel's interrupt too
            self.text.value = html.escape(f"{what}: stopped")
            raise
