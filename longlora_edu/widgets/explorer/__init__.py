"""The explorer of S²-Attn: one ES module that draws in a notebook and on a page of its own.

The rule is in `geometry.js`, and a test holds it equal to `S2Geometry`; `widget` (which needs anywidget) ties it to a
kernel, `page` puts it into one HTML file.
"""

from __future__ import annotations

from ...geometry import S2Geometry
from .page import module, page

__all__ = ["S2Explorer", "explorer", "module", "page"]  # noqa: F822 - S2Explorer comes with anywidget


def explorer(
    n: int | None = None,
    g: int = 4,
    shift: int | None = None,
    heads: int = 4,
    boundary: str = "split",
    layers: int = 3,
    *,
    words: str = "",
    tour: bool = False,
    projector: bool = False,
):
    """An `S2Explorer` with these settings, ready to be the last line of a cell; its still picture goes with it.

    n is the number of tokens, 16 or as many as `words` has, which then stand along the axes; g is the group size;
    `shift=None` is half a group. Without anywidget it is the still picture alone (`Still`), whose caption has the link
    to the page that moves.

    Raises:
        ValueError: for settings that `S2Geometry` refuses, or beyond what the explorer draws.
    """
    from traitlets import TraitError

    n = n or len(words.split()) or 16
    try:
        from .widget import S2Explorer
    except ImportError:
        from ...plots import PROJECTOR, SCREEN
        from .still import Still

        geometry = S2Geometry(n, g, heads, shift, boundary)
        return Still(geometry, layers, style=PROJECTOR if projector else SCREEN)

    settings = {"n": n, "g": g, "heads": heads, "boundary": boundary, "layers": layers, "words": words}
    if shift is not None:
        settings["shift"] = shift
    try:
        return S2Explorer(**settings, tour=tour, projector=projector)
    except TraitError as error:
        raise ValueError(str(error)) from None


def __getattr__(name: str):
    if name == "S2Explorer":
        from .widget import S2Explorer

        return S2Explorer
    raise AttributeError(f"module {__name__} has no attribute {name}")
