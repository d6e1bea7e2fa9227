"""Panels of lesson 07: train with a button, watch the curve, stop without loss; and replay a run that was recorded."""

from __future__ import annotations

import html
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import ipywidgets
from matplotlib.axes import Axes

from ...demo.run import DemoSettings
from ...plots import SCREEN, Picture, Style, describe_loss, plot_loss, show_loss
from ...plots.style import new_axes
from ...runs.progress import Advance
from ...runs.records import recorded
from ...training.train import Metrics
from ...widgets import show
from ...widgets.panel import Panel
from ..notebook.cards import card
from .live import ExtendResult, extend_live

# Of the time that passes, at most this share goes into drawing: training is what the reader waits for.
DRAWING_SHARE = 0.05
NOT_YOURS = (
    "<p><small>This is the demo's recorded run, and not yours: a panel is not saved with its notebook. Your run, if "
    "there was one, is drawn further down.</small></p>"
)
AGAIN = "<p><small>Run this cell to use the panel again.</small></p>"
LEARNING = "Training"  # the stage in which a stop ends something
EARLY = "Stopped before the first step: nothing was trained. Press Start to begin again."
_panels: dict[DemoSettings, Training] = {}


class _StoppedEarly(Exception):
    """Ends a run that was stopped while the base was measured: there is nothing to keep."""


class Training:
    """A button that calls `extend_live(settings, …)` in a thread of its own, and shows how it goes.

    `take()` calls the same function here and now, unless the button has done so. `result` is the last run that
    finished, or was stopped after a step; None before. Values of controls never start anything.
    """

    def __init__(
        self, settings: DemoSettings, *, extend: Callable[..., ExtendResult] = extend_live, style: Style = SCREEN
    ) -> None:
        self.settings, self.result, self.error = settings, None, None
        self._extend, self._style = extend, style
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._ax = new_axes(style)[0]
        self._curve: list[Metrics] = []
        self._draw_after = 0.0
        self._note = ""
        self._learning = False  # whether there are steps that a stop could spare
        self._begun = False  # whether the run has come to its training
        self.start = ipywidgets.Button(description="Start training", tooltip="Extend the small model on this machine")
        self.stop = ipywidgets.Button(
            description="Stop", tooltip="End after this step; keep what was learned", disabled=True
        )
        self.bar = ipywidgets.FloatProgress(min=0, max=1, description="Waiting")
        self.line = ipywidgets.HTML(value="Nothing runs yet.")
        self.picture = ipywidgets.HTML()
        buttons = ipywidgets.HBox([self.start, self.stop])
        self.panel = ipywidgets.VBox([buttons, self.bar, self.line, self.picture])
        self.start.on_click(lambda _: self.press_start())
        self.stop.on_click(lambda _: self.press_stop())

    def show(self) -> None:
        """Publish the panel; where nothing is live, the demo's recorded curve stands in its place, and says so."""
        curve = recorded("demo")["train"]["curve"]
        show(self.panel, show_loss(curve, style=self._style, lead="A recorded run.").html + NOT_YOURS, hint=AGAIN)

    def press_start(self) -> None:
        """Start a run, as the first button does; nothing while one is under way."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def press_stop(self) -> None:
        """End the training after its step and measure it, as the second button does.

        Before the first step this ends the run, and keeps nothing of it; the last measurement goes to its end.
        """
        self._stop.set()
        if self._learning:
            self.line.value = "Stopping after this step; what was learned so far is measured next."
        elif self._begun and self._thread is not None and self._thread.is_alive():
            self._note = "no step is left to stop; the measurement goes on · "

    def wait(self) -> None:
        """Return when the run under way, if any, is over. An interrupt stops the run.

        Raises:
            Exception: what the run raised.
        """
        while self._thread is not None and self._thread.is_alive():
            try:
                self._thread.join(timeout=0.2)
            except KeyboardInterrupt:
                self.press_stop()
        error, self.error = self.error, None
        if error is not None:
            raise error

    def take(self) -> ExtendResult:
        """The result of the button's run, waiting for it to finish; without one, of a run here and now.

        Raises:
            ValueError: when that run is stopped before its first step.
            Exception: what the run raised.
        """
        self.wait()
        if self.result is None:
            print("Nobody has pressed Start, so this cell trains. The bar is in the panel above; interrupt to stop.")
            self._run()
            self.wait()
        if self.result is None:
            early = ValueError("training must take a step, got a stop before the first one: run this cell again")
            early._render_traceback_ = lambda: [str(early)]
            raise early
        return self.result

    def _run(self) -> None:
        self.error, self._curve, self._draw_after = None, [], 0.0
        self._stop.clear()
        self._note, self._begun, self.picture.value = "", False, ""
        self.start.disabled, self.stop.disabled = True, False
        try:
            result = self._extend(self.settings, on_step=self._step, stop=self._stop.is_set, progress=self)
            if not result.curve:
                raise _StoppedEarly
            self.result = result
            self._draw()
            self.bar.description, self.line.value = "Done", self._summary(self.result)
        except _StoppedEarly:
            self.bar.description, self.line.value = "Stopped", EARLY
        except Exception as error:  # a thread would swallow it: `wait` raises it again
            self.error = error
            self.bar.description, self.line.value = "Failed", card("wrong", f"{type(error).__name__}: {error}")
        finally:
            self.start.disabled, self.stop.disabled = False, True

    @contextmanager
    def stage(self, what: str, total: int, unit: str) -> Iterator[Advance]:
        """This panel as the `Progress` of a run: the bar moves, the line says how fast and how long still."""
        began, done = time.perf_counter(), 0
        name = what.partition(":")[0]
        self._learning = name == LEARNING
        self._begun = self._begun or self._learning
        said = name if self._learning else f"Measuring: {name[0].lower()}{name[1:]}"
        self.bar.value, self.bar.description = 0.0, name if self._learning else "Measuring"
        self.line.value = html.escape(said)

        def advance(amount: int, text: str = "") -> None:
            nonlocal done
            if self._stop.is_set() and not self._begun:
                raise _StoppedEarly
            done += amount
            rate = done / max(time.perf_counter() - began, 1e-9)
            self.bar.value = done / total
            words = [
                said,
                self._loss() if self._learning else text,
                f"{rate:,.0f} bytes a second",
                f"{(total - done) / rate:.0f} s left",
            ]
            if not (self._learning and self._stop.is_set()):
                self.line.value = html.escape(self._note + " · ".join(word for word in words if word))

        try:
            yield advance
        finally:
            self._learning = False

    def _loss(self) -> str:
        """Return the last loss as text, in bits a byte, the unit of the curve; empty before the first step."""
        return f"loss {self._curve[-1]['loss'] / math.log(2):.2f} bits" if self._curve else ""

    def _step(self, step: int, metrics: Metrics) -> None:
        self._curve.append(metrics)
        if (now := time.perf_counter()) >= self._draw_after:
            self._draw()
            took = time.perf_counter() - now
            self._draw_after = now + took / DRAWING_SHARE

    def _draw(self) -> None:
        if self._curve:
            self.picture.value = _loss_picture(self._ax, self._curve, self.settings.steps, self._style).html

    def _summary(self, result: ExtendResult) -> str:
        how = (
            f"Stopped after {len(result.curve)} of {self.settings.steps}" if result.stopped else f"{len(result.curve)}"
        )
        text = f"{how} steps at {result.tokens_per_second:,.0f} bytes a second; {result.seconds:.0f} s with measuring."
        return html.escape(text)


def training(settings: DemoSettings) -> Training:
    """The panel for these settings: the one there is, with its run, when the cell is run once more."""
    if settings not in _panels:
        _panels[settings] = Training(settings)
    return _panels[settings]


def replay(curve: Sequence[Metrics], *, style: Style = SCREEN) -> Panel:
    """A recorded curve up to the step on a slider, on the axes of the whole. Nothing is trained.

    Raises:
        ValueError: for an empty curve.
    """
    curve, ax = tuple(curve), new_axes(style)[0]
    plot_loss(curve, style=style, ax=ax)  # refuses an empty one
    height = ax.get_ylim()

    def view(step: int) -> Picture:
        return _loss_picture(ax, curve[:step], len(curve), style, height)

    slider = ipywidgets.IntSlider(value=len(curve), min=1, max=len(curve), description="Step")
    return Panel(view, {"step": slider})


def _loss_picture(
    ax: Axes, curve: Sequence[Metrics], steps: int, style: Style, height: tuple[float, float] | None = None
) -> Picture:
    """`plot_loss` on axes that are used again, wide enough for all `steps`."""
    ax.clear()
    plot_loss(curve, style=style, ax=ax)
    ax.set(xlim=(0, steps + 1), ylim=height)
    return Picture(ax, describe_loss(curve), dpi=80)
