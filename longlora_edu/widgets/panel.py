"""A panel: controls, and under them the picture that a plain function makes of their values."""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Mapping
from functools import lru_cache

import ipywidgets
from PIL import Image

from ..plots.style import BEFORE, INK
from .display import Picture, show
from .names import slider_names

PANEL, CONTROLS = "longlora-panel", "longlora-controls"  # CSS classes: how a page, or a test, finds them
NUMBERS = (ipywidgets.IntSlider, ipywidgets.FloatSlider, ipywidgets.BoundedIntText, ipywidgets.BoundedFloatText)
CHOICES = (ipywidgets.Dropdown, ipywidgets.SelectionSlider, ipywidgets.RadioButtons, ipywidgets.ToggleButtons)
SWITCHES = (ipywidgets.Checkbox, ipywidgets.ToggleButton)


class Panel:
    """Controls, and one picture that follows them.

    `view(**values)` is a plain function of the controls' values, by the names in `controls`, and returns a `Picture`;
    it is asked once for the same values. A control's `description` is what it is called, on the page and by a screen
    reader. `box` is the widget; `show` publishes it.

    An exception in `view` is said in the panel, kept in `errors`, and raised to whoever assigned the value.

    Raises:
        ValueError: for a control of another kind than in `NUMBERS`, `CHOICES` and `SWITCHES`, or without a description.
    """

    def __init__(self, view: Callable[..., Picture], controls: Mapping[str, ipywidgets.Widget]) -> None:
        self.view, self.controls, self.errors = lru_cache(256)(view), dict(controls), []
        for name, control in self.controls.items():
            check_control(name, control)
        self.picture = self.view(**self.values)
        self.area = Area(self.picture)
        self.box = ipywidgets.VBox([control_row(self.controls), self.area.box])
        for control in self.controls.values():
            control.observe(self._draw, names="value")

    @property
    def values(self) -> dict:
        """The arguments of `view`: the controls' values."""
        return {name: control.value for name, control in self.controls.items()}

    def show(self) -> None:
        """Publish the panel, with its picture where there is no kernel."""
        show(self.box, self.picture)

    def drive(self) -> None:
        """Set each control to its least, middle and greatest value in turn, and back: for tests.

        Raises:
            Exception: the first that `view` raises.
        """
        for control in self.controls.values():
            before = control.value
            for value in reachable(control):
                control.value = value
            control.value = before

    def _draw(self, _) -> None:
        try:
            self.picture = self.view(**self.values)
        except Exception as error:
            self.errors.append(error)
            self.area.say(error)
            raise
        self.area.show(self.picture)


class Area:
    """One HTML widget, `box`, for all pictures to come; it keeps the shape of the first, so the page stands still."""

    def __init__(self, picture: Picture) -> None:
        width, height = Image.open(io.BytesIO(picture.png)).size
        self.frame = f"max-width:{width}px;aspect-ratio:{width}/{height}"
        self.box = ipywidgets.HTML()
        self.box.add_class(PANEL)
        self.show(picture)

    def show(self, picture: Picture) -> None:
        """Put a picture there."""
        self.box.value = f'<div style="{self.frame}">{picture.html}</div>'

    def say(self, error: Exception) -> None:
        """Put a sentence there that says what went wrong."""
        sentence = f"<b>✗ {html.escape(type(error).__name__)}:</b> {html.escape(str(error))}"
        look = f"border-left:6px solid {BEFORE};padding:6px 12px;color:{INK};background-color:white"
        self.box.value = f'<div style="{self.frame}"><p role="alert" style="{look}">{sentence}</p></div>'


def control_row(controls: Mapping[str, ipywidgets.Widget]) -> ipywidgets.Box:
    """Controls beside each other, as many as fit in a line, with room for their names."""
    for control in controls.values():
        control.style.description_width = "initial"
        control.layout.width = "max-content" if isinstance(control, ipywidgets.Dropdown) else "330px"
        control.layout.margin = "2px 18px 2px 2px"
    row = ipywidgets.Box([*controls.values(), *slider_names()], layout=ipywidgets.Layout(flex_flow="row wrap"))
    row.add_class(CONTROLS)
    return row


def reachable(control: ipywidgets.Widget) -> list:
    """The least, middle and greatest value of a control; first, middle and last where it is a choice."""
    if isinstance(control, SWITCHES):
        return [False, True]
    if isinstance(control, CHOICES):
        # Options are values, or pairs of a text and a value.
        values = [option[1] if isinstance(option, tuple) else option for option in control.options]
        return [values[0], values[len(values) // 2], values[-1]]
    middle = control.min + (control.max - control.min) / 2
    return [control.min, type(control.min)(middle), control.max]


def check_control(name: str, control: ipywidgets.Widget) -> None:
    """Check that a control has a description and that a test can set it."""
    if not isinstance(control, NUMBERS + CHOICES + SWITCHES):
        kinds = ", ".join(kind.__name__ for kind in NUMBERS + CHOICES + SWITCHES)
        raise ValueError(f"controls must each be one of {kinds}, got {type(control).__name__} for {name!r}")
    if not control.description.strip():
        raise ValueError(f"controls must each have a description, their name for eye and ear, got none for {name!r}")
