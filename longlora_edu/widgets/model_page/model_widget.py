"""The model page in a notebook: the same module, its weights sent by the kernel when the browser asks for them."""

from __future__ import annotations

from typing import Any

try:
    import anywidget
except ImportError as error:
    raise ImportError(
        "the living model needs anywidget: python -m pip install anywidget, or open docs/model.html in a browser"
    ) from error
import traitlets

from ..display import show
from .bundle import module, style
from .model_html import Sample
from .model_still import ModelStill
from .packing import VARIANTS, Packed

PATTERNS = ("dense", "s2", "short", "wrap")


class ModelDesk(anywidget.AnyWidget):
    """A base and its adapter to type to, computed by the browser: the model page in a cell.

    The weights are no trait: a saved notebook would keep a copy of them. The browser asks once, and `pack` goes over
    the comm. `variant` is before, stretched or after, `attention` dense, s2, short or wrap; `group` 0 is a quarter of
    the text; `text` is what stands in the field.

    Raises:
        traitlets.TraitError: naming the setting, its rule and the value.
    """

    _esm = module()
    _css = style()
    samples = traitlets.List().tag(sync=True)
    variant = traitlets.Unicode("after").tag(sync=True)
    attention = traitlets.Unicode("dense").tag(sync=True)
    group = traitlets.Int(0).tag(sync=True)
    text = traitlets.Unicode("").tag(sync=True)

    def __init__(self, pack: bytes, samples: tuple[Sample, ...] = (), **settings: Any) -> None:
        self.packed = Packed.read(pack)
        self._pack = pack
        super().__init__(samples=[vars(sample) for sample in samples], **settings)
        self.on_msg(self._answer)

    def _answer(self, _widget, content, _buffers) -> None:
        if content == {"ask": "pack"}:
            self.send({"answer": "pack"}, [self._pack])

    @traitlets.validate("variant", "attention", "group")
    def _is_known(self, proposal):
        name, value = proposal["trait"].name, proposal["value"]
        if name == "group":
            if not 0 <= value <= self.packed.header["context"]:
                raise traitlets.TraitError(f"group must be from 0 to {self.packed.header['context']}, got {value}")
            return value
        known = VARIANTS if name == "variant" else PATTERNS
        if value not in known:
            raise traitlets.TraitError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        return value

    def still(self) -> ModelStill:
        """The picture that stands for the page where nothing moves."""
        text = self.text or (self.samples[0]["text"] if self.samples else "")
        return ModelStill(self.packed, text)

    def _ipython_display_(self, **_) -> None:
        show(self, self.still())  # the one hook that ipywidgets 7 and 8 both leave to a subclass
