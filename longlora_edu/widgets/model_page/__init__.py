"""A small model alive in a page: its weights packed, its forward pass in JavaScript, its face.

The page holds a base, its adapter and the engine that runs both, and needs no kernel and no network:
`python -m longlora_edu.widgets.model_page longlora-demo docs/model.html` writes it. `model_desk` is the same in a
notebook, where the weights come from the kernel.
"""

from __future__ import annotations

from typing import Any

from .model_html import Sample, held_out_samples, model_page, parts_of
from .packing import Packed, exact_models, pack

__all__ = [
    "ModelDesk",  # noqa: F822
    "Packed",
    "Sample",
    "exact_models",
    "held_out_samples",
    "model_desk",
    "model_page",
    "pack",
    "parts_of",
]


def model_desk(packed: bytes, samples: tuple[Sample, ...], **settings: Any):
    """A `ModelDesk` of what `pack` made, ready to be the last line of a cell.

    `samples` are the texts to take, the first of which is read at once; `settings` are the desk's switches. Without
    anywidget it is the still picture alone (`ModelStill`).

    Raises:
        ValueError: for no text, or a switch that is none of the desk's.
    """
    from traitlets import TraitError

    if not samples:
        raise ValueError("samples must hold at least one text, got none")
    try:
        from .model_widget import ModelDesk
    except ImportError:
        from .model_still import ModelStill

        return ModelStill(Packed.read(packed), samples[0].text)
    try:
        return ModelDesk(packed, samples, **settings)
    except TraitError as error:
        raise ValueError(str(error)) from None


def __getattr__(name: str):
    if name == "ModelDesk":
        from .model_widget import ModelDesk

        return ModelDesk
    raise AttributeError(f"module {__name__} has no attribute {name}")
