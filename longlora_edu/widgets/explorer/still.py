"""The explorer where nothing moves: the same pictures, numbers and link, made by Python."""

from __future__ import annotations

import html

from ...cost import ModelShape, attention_bytes, forward_flops
from ...geometry import S2Geometry
from ...plots import SCREEN, Style, describe_masks, describe_reach, plot_masks, plot_reach
from ...plots.style import new_axes
from ..display import Picture

HEAD_DIM = 64  # of the FLOPs that are counted, here and in the module


def link(geometry: S2Geometry, layers: int) -> str:
    """Return a link with which somebody else sees the same: the page and, behind the #, the settings."""
    settings = {
        "n": geometry.seq_len,
        "g": geometry.group_size,
        "shift": geometry.shift,
        "heads": geometry.num_heads,
        "boundary": geometry.boundary,
        "layers": layers,
    }
    return "explorer.html#" + "&".join(f"{name}={value}" for name, value in settings.items())


def shape(geometry: S2Geometry) -> ModelShape:
    """One layer of attention with these heads, the part of a model that the explorer counts."""
    width = geometry.num_heads * HEAD_DIM
    return ModelShape(width, 1, geometry.num_heads, geometry.num_heads, HEAD_DIM, ffn_width=1, vocabulary=1)


def describe_cost(geometry: S2Geometry) -> str:
    """FLOPs and bytes of one layer of attention, as a sentence that says what is counted."""
    layer, length = shape(geometry), geometry.seq_len
    dense, sparse = (forward_flops(layer, length, g, causal=True).attention for g in (None, geometry))
    size = attention_bytes(layer, geometry)
    return (
        f"One layer forward, scores and weighted values, {geometry.num_heads} heads of dimension {HEAD_DIM}: "
        f"{sparse:,} FLOPs instead of {dense:,}. Its scores in 16 bits: {size.masked:,} bytes as the whole matrix, "
        f"{size.grouped:,} as cells only, {size.flash:,} where a flash kernel keeps one number a query."
    )


class Still(Picture):
    """A picture of the explorer, with what it costs and the link to the living one in its caption."""

    def __init__(self, geometry: S2Geometry, layers: int, *, style: Style = SCREEN) -> None:
        kinds = [heads for heads in (geometry.plain_heads, geometry.shifted_heads) if heads]
        axes = new_axes(style, len(kinds) + 1, width=0.62 * (len(kinds) + 1))
        plot_masks(geometry, style=style, axes=axes[:-1])
        plot_reach(geometry, layers, style=style, ax=axes[-1])
        super().__init__(axes, f"{describe_masks(geometry)} {describe_reach(geometry, layers)}")
        self.caption = f"{describe_cost(geometry)} To play without a kernel: docs/{link(geometry, layers)}"

    @property
    def html(self) -> str:
        """The figure with its caption."""
        caption = f"<figcaption>{html.escape(self.caption)}</figcaption></figure>"
        return super().html.removesuffix("</figure>") + caption
