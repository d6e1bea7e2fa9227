"""The explorer in a notebook: settings that `S2Geometry` checks, drawn by the browser itself."""

from __future__ import annotations

try:
    import anywidget
except ImportError as error:
    raise ImportError(
        "the explorer needs anywidget: python -m pip install anywidget, or open docs/explorer.html in a browser"
    ) from error
import traitlets

from ...cost import ModelShape, attention_bytes, forward_flops
from ...geometry import S2Geometry
from ...plots import describe_masks, describe_reach, new_axes, percent, plot_masks, plot_reach
from ..display import Picture, show
from .page import LIMITS, module, style

HEAD_DIM = 64  # of what is counted; the module says the same


def _setting(name: str, default: int) -> traitlets.Int:
    low, high = LIMITS[name]
    return traitlets.Int(default, min=low, max=high).tag(sync=True)


class S2Explorer(anywidget.AnyWidget):
    """S²-Attn to play with: who looks at whom, who hears whom, the leak and the cost, drawn without the kernel.

    `geometry` is what is shown, as a value; assign one to move all settings at once. `shift=None` is half a group.
    A single setting that contradicts the others is refused, as `S2Geometry` refuses it.

    Raises:
        traitlets.TraitError: naming the setting, its rule and the value.
    """

    _esm = module()
    _css = style()
    n = _setting("n", 16)
    g = _setting("g", 4)
    shift = traitlets.Int().tag(sync=True)
    heads = _setting("heads", 4)
    boundary = traitlets.Unicode("split").tag(sync=True)
    layers = _setting("layers", 3)
    projector = traitlets.Bool(False).tag(sync=True)
    tour = traitlets.Bool(False).tag(sync=True)

    def __init__(self, *, shift: int | None = None, **settings) -> None:
        super().__init__(**settings, **({} if shift is None else {"shift": shift}))

    @traitlets.default("shift")
    def _half_a_group(self) -> int:
        return self.g // 2

    @traitlets.validate("n", "g", "shift", "heads", "boundary")
    def _agrees(self, proposal):
        try:
            self.geometry  # noqa: B018  asking is the check
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from None
        return proposal["value"]

    @property
    def geometry(self) -> S2Geometry:
        """What the explorer shows now."""
        return S2Geometry(self.n, self.g, self.heads, self.shift, self.boundary)

    @geometry.setter
    def geometry(self, geometry: S2Geometry) -> None:
        with self.hold_trait_notifications():
            self.n, self.g, self.heads = geometry.seq_len, geometry.group_size, geometry.num_heads
            self.shift, self.boundary = geometry.shift, geometry.boundary

    def picture(self) -> Picture:
        """What stands for the explorer where nothing moves: the masks, who hears whom, and all numbers as its text."""
        return explorer_picture(self.geometry, self.layers)

    def _ipython_display_(self, **_) -> None:
        # The only hook that both ipywidgets 7 and 8 leave alone.
        show(self, self.picture())
