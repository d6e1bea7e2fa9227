"""The moving pictures in a notebook: a scene as plain values, drawn and played by the browser itself."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from ..display import show
from .moving_still import MovingStill

FOLDER = Path(__file__).parent
MODULES = ("colours", "theme", "moving")  # the first two are the explorer's own


@cache
def moving_module() -> str:
    """Join the ES module from its files; what one imports stands before it."""
    places = [FOLDER if name == "moving" else FOLDER.parent / "explorer" for name in MODULES]
    texts = [(place / f"{name}.js").read_text(encoding="utf-8") for name, place in zip(MODULES, places, strict=True)]
    return "\n".join(re.sub(r"^import [^;]*;\n", "", text, flags=re.MULTILINE) for text in texts)


class Moving(anywidget.AnyWidget):
    """A picture that moves. `scene` is what `scenes` computes; nothing of it changes once it is shown."""

    _esm = moving_module()
    _css = (FOLDER / "moving.css").read_text(encoding="utf-8")
    scene = traitlets.Dict().tag(sync=True)

    def __init__(self, scene: dict, **settings: Any) -> None:
        super().__init__(scene=scene, **settings)

    def still(self) -> MovingStill:
        """Draw the picture that stands for it where nothing moves."""
        return MovingStill(self.scene)

    def _ipython_display_(self, **_: Any) -> None:
        show(self, self.still())  # the one hook that ipywidgets 7 and 8 both leave to a subclass
