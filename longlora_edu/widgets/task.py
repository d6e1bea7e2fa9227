"""A bar for work of some seconds in a cell."""

from __future__ import annotations

import html
import time
from collections.abc import Iterator
from contextlib import contextmanager

import ipywidgets

from ..runs.progress import Advance
from .display import show


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
