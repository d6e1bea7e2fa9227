"""Publish a widget together with a picture for where no widget can live."""

from __future__ import annotations

import re

import ipywidgets

from ..plots.picture import Picture

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
HINT = "<p><small>Saved as it stood. Run this cell to use it again.</small></p>"
# ipywidgets give a choice one line of a fixed height; on a telephone it needs several. Their HTML has the circle after
# the words: it belongs beside the first line.
NARROW = (
    ".longlora-live .widget-radio-box label {height: auto; line-height: 1.4; margin: 3px 0; white-space: normal; "
    "display: flex; flex-direction: row-reverse; justify-content: flex-end; align-items: flex-start} "
    ".longlora-live .widget-radio-box input {flex: none; height: auto; line-height: 1.4; margin-top: 0.25em} "
    ".longlora-live :is(.widget-radio, .widget-radio-box, .widget-text, .widget-html) {max-width: 100%}"
)
_STILL = re.compile(
    r'<div class="longlora-still-\w+">(?P<picture>.*)<p><small>[^<]*</small></p><style>[^<]*</style></div>', re.DOTALL
)


def show(widget: ipywidgets.DOMWidget, picture: Picture | str, *, hint: str = HINT) -> None:
    """Publish a live widget, and before it what stands in for it where its kernel is gone or there never was one.

    `picture` is a `Picture` or safe HTML (no script, style or iframe: a notebook that is not trusted loses them), and
    `hint` the paragraph below it, of small text alone.
    These are two outputs: of one with both, JupyterLab shows "model not found" and no picture when it opens a saved
    notebook again. The widget brings the rule that hides the picture, so the rule lives exactly as long as the widget.
    The views are made by hand, because ipywidgets 7 and 8 make theirs in different ways.
    """
    from IPython.display import display

    fallback = picture.html if isinstance(picture, Picture) else str(picture)
    text = picture.alt if isinstance(picture, Picture) else "an interactive panel"
    rule = ipywidgets.HTML(layout=ipywidgets.Layout(display="none"))
    live = ipywidgets.VBox([widget, rule])
    live.add_class("longlora-live")
    still, row = f".longlora-still-{live.model_id}", ".jp-OutputArea-child"
    rule.value = f"<style>{still}, {row}:has({still}) {{display: none}} {NARROW}</style>"
    # The sentence of an error has no element inside, and a widget has.
    error = f"{row}:has({still}) + {row} > .jp-OutputArea-output.jupyter-widgets:not(:has(*))"
    saved = f'<div class="{still[1:]}">{fallback}{hint}<style>{error} {{display: none}}</style></div>'
    display({"text/html": saved, "text/plain": text}, raw=True)
    display({WIDGET_VIEW: {"version_major": 2, "version_minor": 0, "model_id": live.model_id}}, raw=True)


def still_alone(html: str) -> str:
    """The picture of an output that `show` published, without what ties it to its widget; other HTML as it is."""
    found = _STILL.fullmatch(html)
    return found["picture"] if found else html
