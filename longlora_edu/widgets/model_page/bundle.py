"""The model page's JavaScript as text: the engine, which runs in a worker and under Node, and the face around it."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
SHARED = FOLDER.parent / "explorer"  # the rule of who looks at whom and the colours are the explorer's own
ENGINE = ("geometry", "kernel", "pattern", "weights", "llama", "chances", "session")
WORKER = ("worker",)
FACE = (
    "geometry", "colours", "pattern", "theme", "client", "bytes", "hidden", "chart", "desk", "reading", "writing",
    "hiding", "looking", "leaking", "alive", "launch",
)  # fmt: skip


def sources(names: tuple[str, ...]) -> str:
    """Modules in one text, in the order of their names; what they import stands before them."""
    texts = []
    for name in names:
        folder = FOLDER if (FOLDER / f"{name}.js").exists() else SHARED
        texts.append((folder / f"{name}.js").read_text(encoding="utf-8"))
    return "\n".join(re.sub(r"^import [^;]*;\n", "", text, flags=re.MULTILINE) for text in texts)


@cache
def engine() -> str:
    """The ES module that computes: no document, no worker, nothing of the page."""
    return sources(ENGINE)


@cache
def worker() -> str:
    """The engine as the script of a worker, without exports."""
    return re.sub(r"^export ", "", sources(ENGINE + WORKER), flags=re.MULTILINE)


@cache
def module() -> str:
    """The page's ES module: `export default { render }` for anywidget; the worker's script stands in it as a string."""
    script = json.dumps(worker()).replace("</", "<\\/").replace("<!--", "<\\!--")
    return f"const WORKER_SOURCE = {script};\n{sources(FACE)}"


@cache
def style() -> str:
    """The style sheet; every rule is below the class `mp`."""
    return (FOLDER / "model.css").read_text(encoding="utf-8")
