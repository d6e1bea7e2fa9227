"""Publish a widget together with a picture for where no widget can live."""

from __future__ import annotations

from ipywidgets import DOMWidget

from ..plots.picture import Picture

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def show(widget: DOMWidget, picture: Picture | str) -> None:
    """Publish a live widget together with what stands in for it where there is no kernel.

    `picture` is a `Picture` or safe HTML (no script, style or iframe: those blank the whole output). One bundle,
    made by hand, because ipywidgets 7 and 8 make theirs in different ways.
    """
    from IPython.display import display

    fallback = picture.html if isinstance(picture, Picture) else str(picture)
    text = picture.alt if isinstance(picture, Picture) else "an interactive panel"
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    display({WIDGET_VIEW: view, "text/html": fallback, "text/plain": text}, raw=True)
