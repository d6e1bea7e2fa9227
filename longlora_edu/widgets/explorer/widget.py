"""The explorer in a notebook: settings that `S2Geometry` checks, drawn by the browser itself."""

from __future__ import annotations

try:
    import anywidget
except ImportError as error:
    raise ImportError(
        "the explorer needs anywidget: python -m pip install anywidget, or open docs/explorer.html in a browser"
    ) from error
import traitlets

from ...geometry import S2Geometry
from ...plots import PROJECTOR, SCREEN
from ..display import show
from .page import module, style
from .still import Still, link

LIMITS = {"n": (1, 128), "g": (1, 128), "heads": (1, 8), "layers": (1, 32)}


class S2Explorer(anywidget.AnyWidget):
    """S²-Attn to play with: who looks at whom, who hears whom, the leak and the cost, drawn without the kernel.

    `geometry` is what is shown, as a value; assign one to move all its settings at once. A single setting that
    contradicts the others is refused, as `S2Geometry` refuses it. A shift that is not given is half a group.
    `words` is a sentence whose words stand along the axes, a token each; `challenge` and its `score` are the reader's.

    Raises:
        traitlets.TraitError: naming the setting, its rule and the value.
    """

    _esm = module()
    _css = style()
    n = traitlets.Int(16).tag(sync=True)
    g = traitlets.Int(4).tag(sync=True)
    shift = traitlets.Int().tag(sync=True)
    heads = traitlets.Int(4).tag(sync=True)
    boundary = traitlets.Unicode("split").tag(sync=True)
    layers = traitlets.Int(3).tag(sync=True)
    projector = traitlets.Bool(False).tag(sync=True)
    tour = traitlets.Bool(False).tag(sync=True)
    words = traitlets.Unicode("").tag(sync=True)
    challenge = traitlets.Bool(False).tag(sync=True)
    score = traitlets.Int(0).tag(sync=True)

    @traitlets.default("shift")
    def _half_a_group(self) -> int:
        return self.g // 2

    @traitlets.validate("n", "g", "shift", "heads", "boundary", "layers")
    def _agrees_with_the_others(self, proposal):
        # All of them each time: which one traitlets asks for first is its own affair.
        fields = {name: getattr(self, name) for name in ("n", "g", "heads", "shift", "boundary", "layers")}
        fields[proposal["trait"].name] = proposal["value"]
        for name, (low, high) in LIMITS.items():
            if not low <= fields[name] <= high:
                raise traitlets.TraitError(f"{name} must be from {low} to {high}, got {fields[name]}")
        del fields["layers"]
        try:
            S2Geometry(*fields.values())
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from None
        return proposal["value"]

    @property
    def geometry(self) -> S2Geometry:
        """The geometry that the explorer shows now."""
        return S2Geometry(self.n, self.g, self.heads, self.shift, self.boundary)

    @geometry.setter
    def geometry(self, geometry: S2Geometry) -> None:
        with self.hold_trait_notifications():
            self.n, self.g, self.heads = geometry.seq_len, geometry.group_size, geometry.num_heads
            self.shift, self.boundary = geometry.shift, geometry.boundary

    @property
    def link(self) -> str:
        """The page of the explorer and, behind the #, the settings that are shown now."""
        return link(self.geometry, self.layers)

    def still(self) -> Still:
        """The picture that stands for the explorer where nothing moves."""
        return Still(self.geometry, self.layers, style=PROJECTOR if self.projector else SCREEN)

    def _ipython_display_(self, **_) -> None:
        show(self, self.still())  # the one hook that ipywidgets 7 and 8 both leave to a subclass
