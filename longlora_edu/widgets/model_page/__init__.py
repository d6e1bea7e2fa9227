"""A small model alive in a page: its weights packed, its forward pass in JavaScript, its face.

The page holds a base, its adapter and the engine that runs both, and needs no kernel and no network:
`python -m longlora_edu.widgets.model_page longlora-demo docs/model.html` writes it. `model_desk` is the same in a
notebook, where the weights come from the kernel.
"""

from .model_html import Sample, model_page, parts_of
from .packing import Packed, exact_models, pack

__all__ = ["Packed", "Sample", "exact_models", "model_page", "pack", "parts_of"]
