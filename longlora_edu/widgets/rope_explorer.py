"""The explorer of positions: what each rule does to near and far, from the frequencies alone."""

from __future__ import annotations

import ipywidgets

from ..plots import SCREEN, Style, describe_angles, describe_wavelengths, plot_angles, plot_wavelengths
from ..plots.rotary import RULE_NAMES
from ..rope import Rope, RopeMethod
from .canvas import Canvas
from .display import Picture
from .panel import Panel


def rope_view(
    method: RopeMethod, factor: int, base: float, head_dim: int, trained_length: int, *, canvas: Canvas, style: Style
) -> Picture:
    """Draw wavelengths and angles of one rule, for `factor` times the trained length. The default has no factor."""
    rope = Rope(head_dim, base, method, 1.0 if method == "default" else float(factor), trained_length)
    target = factor * trained_length

    def draw(left, right):
        plot_wavelengths(rope, target, style=style, ax=left)
        plot_angles(rope, target, style=style, ax=right)

    return canvas.picture(draw, f"{describe_wavelengths(rope, target)} {describe_angles(rope, target)}")


def rope_explorer(*, method: RopeMethod = "linear", factor: int = 8, style: Style = SCREEN) -> Panel:
    """A panel of position rules: `rope_explorer().show()`. It begins with the small model's sizes.

    `controls` are method, factor (target over trained length), base, head_dim and trained_length.
    """
    canvas = Canvas(style, 2, width=1.8)
    lengths = [(f"{length:,}", length) for length in (256, 512, 1024, 2048, 4096, 8192)]
    controls = {
        "method": ipywidgets.Dropdown(
            options=[(name, rule) for rule, name in RULE_NAMES.items()], value=method, description="Rule"
        ),
        "factor": ipywidgets.IntSlider(value=factor, min=1, max=16, description="Stretch by"),
        "base": ipywidgets.Dropdown(
            options=[(f"{base:,}", base) for base in (10_000, 100_000, 500_000, 1_000_000)], description="Base"
        ),
        "head_dim": ipywidgets.Dropdown(options=[32, 48, 64, 128], value=48, description="Head dimension"),
        "trained_length": ipywidgets.Dropdown(options=lengths, description="Trained length"),
    }
    return Panel(lambda **values: rope_view(**values, canvas=canvas, style=style), controls)
