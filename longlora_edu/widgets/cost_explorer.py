"""The explorer of costs: FLOPs and bytes in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets

from ..geometry import S2Geometry
from ..plots import SCREEN, Budget, Style, describe_bytes, describe_flops, plot_bytes, plot_flops
from .canvas import Canvas
from .display import Picture
from .panel import Panel
from .shapes import known_shapes

if TYPE_CHECKING:  # and inside of what measures: costs are counted in a browser tab, without torch
    pass

LENGTHS = tuple(2**power for power in range(8, 18))
RATIOS = [("1/2 of the length", 1 / 2), ("1/4 of the length", 1 / 4), ("1/8 of the length", 1 / 8)]
RATIOS += [("1/16 of the length", 1 / 16)]


def cost_view(model: str, length: int, ratio: float, causal: bool, *, canvas: Canvas, style: Style) -> Picture:
    """Draw FLOPs by part and bytes of one forward pass of a model of `known_shapes`.

    Where whole squares are counted the boundary is the paper's own, "wrap": its Table 11 comes out.
    """
    shape = known_shapes()[model]
    geometry = S2Geometry.with_ratio(length, ratio, shape.heads, boundary="split" if causal else "wrap")
    budget = Budget(shape, geometry, causal)

    def draw(left, right):
        plot_flops(budget, style=style, ax=left)
        plot_bytes(budget, style=style, ax=right)

    return canvas.picture(draw, f"{model}. {describe_flops(budget)} {describe_bytes(budget)}")


def cost_explorer(*, model: str = "Llama-2-7B", length: int = 8192, style: Style = SCREEN) -> Panel:
    """A panel of costs in closed form: `cost_explorer().show()`. `controls` are model, length, ratio and causal."""
    canvas = Canvas(style, 2, width=1.8)
    counts = [("whole squares, as in the paper", False), ("what a causal kernel computes", True)]
    controls = {
        "model": ipywidgets.Dropdown(options=list(known_shapes()), value=model, description="Model"),
        "length": ipywidgets.SelectionSlider(
            options=[(f"{n:,}", n) for n in LENGTHS], value=length, description="Tokens"
        ),
        "ratio": ipywidgets.SelectionSlider(options=RATIOS, value=1 / 4, description="Group"),
        "causal": ipywidgets.Dropdown(options=counts, value=False, description="Count"),
    }
    return Panel(lambda **values: cost_view(**values, canvas=canvas, style=style), controls)
