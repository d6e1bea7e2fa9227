"""Outputs that stay folded until a prediction is committed or a check has passed, and then open by themselves.

A fold is a `<details>` whose text is written in character references (`&#72;` for H): a browser shows it as it is when
it is opened, with or without a kernel, and nobody reads it by chance in a saved notebook.
"""

from __future__ import annotations

import ast
import base64
import html
import json
import os
import re
import textwrap
from collections.abc import Callable
from typing import Any

import ipywidgets

from ...plots import Picture
from ...widgets import show
from ...widgets.display import WIDGET_VIEW, still_alone
from .cards import card, publish, with_code
from .journal import Journal

OPENS = "This opens when you commit your answer to {} and run this cell. Open it anyway"
SHORT = 60  # letters of a question by which it is recognised
FOLD = "LONGLORA_EDU_FOLD"  # set while the outputs of the stored notebooks are made: everything stays folded there
SPOKEN = re.compile(r'((?:alt|title|aria-label)=")([^"]*)(")')

# The questions asked in this kernel, by key.
questions: dict[str, str] = {}
# What waits, by kind and key of the journal; each opens its own output.
_waiting: dict[tuple[str, str], list[Callable[[], None]]] = {}


def encoded(content: str) -> str:
    """The same HTML with its text, and the sentences of its pictures, in character references."""
    parts = re.split(r"(<[^>]*>)", content)
    return "".join(SPOKEN.sub(lambda found: found[1] + _references(found[2]) + found[3], part) if part[:1] == "<"
                   else _references(part) for part in parts)  # fmt: skip


def folded(content: str, summary: str) -> str:
    """HTML under a line to click on; what is inside is encoded."""
    return f"<details><summary>{html.escape(summary)}</summary>{encoded(content)}</details>"


def opens_when(key: str) -> str:
    """Say when a fold opens, with the beginning of the question that was asked; its key where none was."""
    question = textwrap.shorten(questions.get(key, "").replace("`", "").replace("*", ""), SHORT, placeholder="…")
    return OPENS.format(f"“{question}”" if question else key)


def happened(kind: str, key: str) -> bool:
    """Open what waits for this entry of the journal; False where nothing does."""
    waiting = _waiting.pop((kind, key), [])
    for open_it in waiting:
        open_it()
    return bool(waiting)


def is_open(kind: str, key: str, journal: Journal) -> bool:
    """Whether a prediction was committed, or a check has passed."""
    entry = None if os.environ.get(FOLD) else journal.get(kind, key)
    return entry is not None and (kind != "exercises" or bool(entry.get("passed")))


def hold(kind: str, key: str, content: Callable[[], str], *, summary: str, text: str, journal: Journal) -> None:
    """Display the HTML of `content()`, folded until the journal holds an entry `key`; `text` is its plain form."""
    if is_open(kind, key, journal):
        publish(content(), text)
        return
    box = ipywidgets.HTML(value=folded(content(), summary))

    def open_it() -> None:
        box.value = content()

    _waiting.setdefault((kind, key), []).append(open_it)
    show(box, box.value)


def after(key: str, make: Callable, *args: Any, journal: Journal | None = None, **options: Any) -> None:
    """Show what `make(*args, **options)` shows, an explorer for example, once the prediction `key` is committed.

    course.after("03.flat_row", explorer, n=8, g=4)
    course.after("05.beyond", rope_explorer(method="default").show)
    """
    _hold_outputs(
        "predictions",
        key,
        _captured(lambda: make(*args, **options)),
        opens_when(key),
        journal or Journal(),
    )


def run_sealed(data: str, *, worked: str | None = None, journal: Journal | None = None) -> None:
    """Run a sealed cell in the notebook; with `worked`, its output and its code stay folded until that check passes."""
    source = base64.b64decode(data).decode()
    if worked is None:
        _run(source)
        return
    summary = f"Worked solution of {worked}: opens when its check has passed. Open it anyway"
    _hold_outputs("exercises", worked, _code_and_outputs(source), summary, journal or Journal())


def open_sealed(data: str, *, after: str, journal: Journal | None = None) -> None:
    """Show sealed texts, what sealed code computes, and its folded source, once the prediction `after` is committed.

    The code runs in any case: cells below may need its names.
    """
    outputs: list[dict] = []
    for kind, body in json.loads(base64.b64decode(data)):
        if kind == "text":
            outputs.append(_shown(body))
            continue
        source, *computed = _code_and_outputs(body)
        outputs += [*computed, _shown(f"<details><summary>The code</summary>{source['data']['text/html']}</details>")]
    _hold_outputs("predictions", after, outputs, opens_when(after), journal or Journal())


def _code_and_outputs(source: str) -> list[dict]:
    outputs = _captured(lambda: _run(source))
    return [_shown(f"<pre><code>{html.escape(source)}</code></pre>"), *outputs]


def _shown(content: str) -> dict:
    text = html.unescape(re.sub(r"<[^>]*>", "", content)).strip()
    return {"output_type": "display_data", "data": {"text/html": content, "text/plain": text}, "metadata": {}}


def _run(source: str) -> None:
    """Run source as a cell: with the notebook's own names, and the value of the last line is shown."""
    from IPython import get_ipython
    from IPython.display import display

    shell = get_ipython()
    names = shell.user_ns if shell is not None else vars(__import__("__main__"))
    tree = ast.parse(source)
    last = ast.Expression(tree.body.pop().value) if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<sealed cell>", "exec"), names)
    value = eval(compile(last, "<sealed cell>", "eval"), names) if last else None
    if value is not None:
        display(value)


def _captured(show_something: Callable[[], Any]) -> list[dict]:
    """Capture what a function displays and prints as outputs of a notebook; a value that it returns is displayed."""
    from IPython.display import display
    from IPython.utils.capture import capture_output

    with capture_output() as caught:
        value = show_something()
        if value is not None:
            display(value)
    said = [{"output_type": "stream", "name": "stdout", "text": caught.stdout}] if caught.stdout else []
    return said + [
        {"output_type": "display_data", "data": dict(output.data), "metadata": dict(output.metadata or {})}
        for output in caught.outputs
    ]


def _hold_outputs(kind: str, key: str, outputs: list[dict], summary: str, journal: Journal) -> None:
    content = "".join(_as_html(output) for output in outputs)
    # A widget hides the row that holds its still picture. Inside another widget that row would be the whole output.
    outputs = [output for output in outputs if not _is_still(output)]
    live = ipywidgets.Output()
    if is_open(kind, key, journal):
        live.outputs = tuple(outputs)
        show(live, content)
        return
    closed = {"text/html": folded(content, summary), "text/plain": summary}
    live.outputs = ({"output_type": "display_data", "data": closed, "metadata": {}},)

    def open_it() -> None:
        live.outputs = tuple(outputs)

    _waiting.setdefault((kind, key), []).append(open_it)
    show(live, closed["text/html"])


def _is_still(output: dict) -> bool:
    content = output.get("data", {}).get("text/html", "")
    return still_alone(content) != content


def _as_html(output: dict) -> str:
    if output["output_type"] == "stream":
        return f"<pre>{html.escape(output['text'])}</pre>"
    data = output["data"]
    if "text/html" in data:
        return still_alone(data["text/html"])
    return "" if WIDGET_VIEW in data else f"<pre>{html.escape(data.get('text/plain', ''))}</pre>"


def _references(text: str) -> str:
    return "".join(letter if letter.isspace() else f"&#{ord(letter)};" for letter in html.unescape(text))


def answer_card(kind: str, title: str, text: str, *pictures: Picture | None) -> str:
    """A verdict with its sentence, which may have code in backticks, and pictures under it."""
    return card(kind, title, with_code(text) + "".join(picture.html for picture in pictures if picture))
