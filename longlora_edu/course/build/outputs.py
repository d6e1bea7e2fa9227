"""Run a notebook as a learner would, and keep what may travel: pictures and text, no widget ids, no machine's paths."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ...widgets.display import WIDGET_VIEW, still_alone

if TYPE_CHECKING:
    import nbformat


# Home folders, temporary ones, site-packages: nothing that a reader elsewhere could have.
LOCAL_PATH = re.compile(r"(?:/(?:home|root|tmp|work|opt|usr|Users|private|mnt)/|[A-Z]:\\\\?Users)[\w./\\-]*")
KEPT = ("text/html", "text/plain", "image/png", "text/markdown", "text/latex")


def execute(notebook: nbformat.NotebookNode, *, timeout: int = 600) -> dict[str, tuple[list, int | None]]:
    """Run a notebook and return the outputs and execution count of each cell by its id. The notebook stays as it is.

    Runs in a folder of its own, with a new journal, so that nobody's predictions are in the outputs, and with every
    answer closed.

    Raises:
        nbclient.exceptions.CellExecutionError: when a cell fails.
        ValueError: for an output that names a path of this machine, or a widget that swallowed an error.
    """
    import nbformat
    from nbclient import NotebookClient

    running = nbformat.from_dict(notebook)
    with tempfile.TemporaryDirectory() as folder:
        journal = str(Path(folder) / "progress.json")
        environment = dict(os.environ) | {"LONGLORA_EDU_PROGRESS": journal, "LONGLORA_EDU_FOLD": "1"}
        client = NotebookClient(
            running, timeout=timeout, kernel_name="python3", resources={"metadata": {"path": folder}}
        )
        client.execute(env=environment)
    if errors := swallowed_errors(running):
        raise ValueError(f"no widget may swallow an error, got {errors[0]}")
    return {
        cell.id: ([kept for output in cell.outputs if (kept := portable(output))], cell.execution_count)
        for cell in running.cells
        if cell.cell_type == "code"
    }


def portable(output: nbformat.NotebookNode) -> dict | None:
    """An output without what only lives in a running kernel; None where nothing is left.

    Raises:
        ValueError: for a path of this machine.
    """
    import nbformat

    if output.output_type == "stream":
        if output.name == "stderr":
            return None
        lines = [line.rsplit("\r", 1)[-1] for line in output.text.split("\n")]
        output = output | {"text": "\n".join(lines)}
        texts = [output["text"]]
    elif output.output_type == "error":
        texts = ["\n".join(output.traceback)]
    else:
        data = {kind: content for kind, content in output.data.items() if kind in KEPT}
        # A widget without a still form is somebody's progress bar.
        if not data or (WIDGET_VIEW in output.data and "text/html" not in data):
            return None
        if "text/html" in data:
            data["text/html"] = still_alone(data["text/html"])
        output = output | {"data": data, "metadata": {}}
        texts = [str(content) for kind, content in data.items() if kind.startswith("text/")]
    for text in texts:
        if found := LOCAL_PATH.search(re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)):
            raise ValueError(f"outputs must not name paths of a machine, got {found.group()!r}")
    return nbformat.from_dict(output)


def swallowed_errors(notebook: nbformat.NotebookNode) -> list[str]:
    """Errors that ended in a widget instead of a cell: execution itself does not see them."""
    widgets = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {})
    return [
        f"{output.get('ename')}: {output.get('evalue')}"
        for model in widgets.get("state", {}).values()
        for output in model.get("state", {}).get("outputs", [])
        if output.get("output_type") == "error"
    ]
