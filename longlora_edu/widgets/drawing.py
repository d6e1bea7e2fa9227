"""A field to draw an answer in: cells to mark, or a curve; the browser draws it, and plain widgets where it cannot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import ipywidgets
import traitlets

from ..plots.style import AFTER, INK

STYLE = f"""
.longlora-draw {{ border-collapse: collapse; font: 12px sans-serif; color: {INK}; background: white;
  touch-action: none; user-select: none; max-width: 100%; }}
.longlora-draw th {{ font-weight: normal; padding: 2px 6px; background: white; text-align: center; }}
.longlora-draw td {{ width: 26px; height: 24px; border: 1px solid #767676; text-align: center; cursor: pointer;
  background: white; color: {INK}; }}
.longlora-draw td[aria-selected="true"] {{ background: {AFTER}; color: white; }}
.longlora-draw td:focus, .longlora-draw circle:focus {{ outline: 3px solid {INK}; outline-offset: -3px; }}
.longlora-draw .grid {{ stroke: #ccc; }}
.longlora-draw .line {{ stroke: {AFTER}; stroke-width: 2.5; }}
.longlora-draw circle {{ cursor: ns-resize; stroke: {AFTER}; stroke-width: 2; fill: {AFTER}; }}
.longlora-draw circle.unset {{ fill: white; stroke-dasharray: 3 2; }}
.longlora-draw text {{ fill: {INK}; font: 12px sans-serif; }}
"""

Field = tuple[ipywidgets.DOMWidget, Callable[[], list | None]]


def cells_field(rows: Sequence[str], columns: Sequence[str], label: str, marked: Sequence = ()) -> Field:
    """A table of cells to mark, and a function that gives the marked ones as pairs of row and column."""
    made = _living(kind="cells", rows=list(rows), columns=list(columns), label=label, marked=[list(p) for p in marked])
    if made is not None:
        return made, lambda: sorted([int(row), int(column)] for row, column in made.marked)
    look = {"width": "34px", "height": "28px", "padding": "0"}
    boxes = [
        [
            ipywidgets.ToggleButton(
                value=[row, column] in [list(p) for p in marked],
                description="·",
                tooltip=f"{name}, {other}",
                layout=ipywidgets.Layout(**look),
            )
            for column, other in enumerate(columns)
        ]
        for row, name in enumerate(rows)
    ]
    head = ipywidgets.HTML(value="columns: " + ", ".join(columns))
    lines = [ipywidgets.HBox([ipywidgets.Label(value=name), *line]) for name, line in zip(rows, boxes, strict=True)]
    return ipywidgets.VBox([head, *lines]), lambda: [
        [row, column] for row, line in enumerate(boxes) for column, box in enumerate(line) if box.value
    ]


def curve_field(
    columns: Sequence[str],
    label: str,
    *,
    low: float,
    high: float,
    unit: str,
    across: str = "",
    heights: Sequence[float] = (),
) -> Field:
    """Points to move between `low` and `high`, and a function that gives their heights, None until all are drawn."""
    axes = {"low": low, "high": high, "unit": unit, "across": across}
    made = _living(kind="curve", columns=list(columns), label=label, heights=list(heights), **axes)
    if made is not None:

        def drawn() -> list | None:
            done = len(made.heights) == len(columns) and None not in made.heights
            return [float(height) for height in made.heights] if done else None

        return made, drawn
    sliders = [
        ipywidgets.FloatSlider(min=low, max=high, step=(high - low) / 40, description=name, readout_format=".2f")
        for name in columns
    ]
    for slider, height in zip(sliders, heights, strict=False):
        slider.value = height
    moved: set[int] = set(range(len(heights)))
    for at, slider in enumerate(sliders):
        slider.observe(lambda _, at=at: moved.add(at), names="value")
    return ipywidgets.VBox(sliders), lambda: [s.value for s in sliders] if len(moved) == len(sliders) else None


def _living(**settings):
    """The field that the browser draws; None without anywidget."""
    try:
        import anywidget
    except ImportError:
        return None

    class DrawingField(anywidget.AnyWidget):
        """A kernel's side of `drawing.js`."""

        _esm = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
        _css = STYLE
        kind = traitlets.Unicode("cells").tag(sync=True)
        rows = traitlets.List().tag(sync=True)
        columns = traitlets.List().tag(sync=True)
        label = traitlets.Unicode("").tag(sync=True)
        unit = traitlets.Unicode("").tag(sync=True)
        across = traitlets.Unicode("").tag(sync=True)
        low = traitlets.Float(0).tag(sync=True)
        high = traitlets.Float(1).tag(sync=True)
        marked = traitlets.List().tag(sync=True)
        heights = traitlets.List().tag(sync=True)
        disabled = traitlets.Bool(False).tag(sync=True)

    return DrawingField(**settings)
