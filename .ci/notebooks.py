"""Refuse notebooks, given as files, that travel badly: without their outputs, with widget state, or too large.

Outputs are committed as `longlora-edu course build` left them: readers who run nothing see every picture.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from longlora_edu.course.build.assemble import LARGEST


def faults(path: Path) -> list[str]:
    """List what is wrong with one notebook, as sentences."""
    data = path.read_bytes()
    notebook = json.loads(data)
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    found = []
    if not outputs and any(cell["cell_type"] == "code" for cell in notebook["cells"]):
        found.append("must keep its outputs, got none: longlora-edu course build")
    if "widgets" in notebook["metadata"]:
        found.append("must hold no widget state, got some in its metadata")
    if any("widget-view" in kind for output in outputs for kind in output.get("data", ())):
        found.append("must hold no live widget among its outputs, got one")
    if len(data) > LARGEST:
        found.append(f"must be at most {LARGEST} bytes, got {len(data)}")
    return found


if __name__ == "__main__":
    messages = [f"{name} {fault}" for name in sys.argv[1:] for fault in faults(Path(name))]
    sys.exit("\n".join(messages) or 0)
