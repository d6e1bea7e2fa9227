"""The model page where nothing moves: how each of its models reads one text, drawn by Python."""

from __future__ import annotations

import html

import numpy as np
import torch

from ...model import TinyLlama
from ...plots import SCREEN, Style, describe_bits_by_position, plot_bits_by_position
from ..display import Picture
from .packing import VARIANTS, Packed

LINK = "docs/model.html"


@torch.inference_mode()
def bits_of(model: TinyLlama, data: bytes) -> np.ndarray:
    """Bits that each next byte of a text costs a model with dense attention: float32 (n - 1,)."""
    ids = torch.frombuffer(bytearray(data), dtype=torch.uint8).long()
    logits = model.eval()(ids[None, :-1], beyond_context=True)[0]
    return (torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none") / np.log(2)).numpy()


class ModelStill(Picture):
    """Bits per byte of one text by position, before, stretched and after, with the way to the page that is alive.

    Without the stretched model, training would get the credit for what stretched positions do.
    """

    def __init__(self, packed: Packed, text: str, *, style: Style = SCREEN) -> None:
        data = text.encode()[: packed.header["context"]]
        read = {variant: bits_of(packed.model(variant), data) for variant in VARIANTS}
        read |= {"trained_context": packed.header["trained"]}
        drawing = plot_bits_by_position(**read, style=style)
        drawing.legend(fontsize=style.small, frameon=False)
        super().__init__(drawing, describe_bits_by_position(**read))
        self.caption = f"To type, switch and ask without a kernel, open {LINK} in a browser."

    @property
    def html(self) -> str:
        """The figure with its caption."""
        caption = f"<figcaption>{html.escape(self.caption)}</figcaption></figure>"
        return super().html.removesuffix("</figure>") + caption
