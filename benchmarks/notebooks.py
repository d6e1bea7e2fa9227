"""Time and peak memory of each notebook on one thread, in the profile of a Binder: `python benchmarks/notebooks.py`.

Writes `benchmarks/results/notebooks.json`. A Binder promises one core and little memory: a lesson should stay under a
minute and a gigabyte there, and no cell but the training one over ten seconds.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
from datetime import datetime
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from rich.console import Console
from rich.table import Table

from longlora_edu.course.editions import edition, lessons
from longlora_edu.records import provenance, read_json, write_json

ROOT = Path(__file__).parents[1]
PEAK = "from longlora_edu.records import peak_memory\nprint(peak_memory())"


def measure(lesson, everything, profile: str) -> dict:
    """Run the solution edition of one lesson; a cell more asks its kernel for the peak of its memory."""
    notebook = edition(lesson, "solution", neighbours=everything)
    notebook.cells.append(nbformat.v4.new_code_cell(PEAK, id="peak"))
    with tempfile.TemporaryDirectory() as folder:
        options = {"LONGLORA_EDU_PROFILE": profile, "OMP_NUM_THREADS": "1"}
        options["LONGLORA_EDU_PROGRESS"] = str(Path(folder) / "progress.json")
        began = datetime.now()
        client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}})
        client.execute(env=os.environ | options)
        seconds = (datetime.now() - began).total_seconds()
    timed = [(_seconds(cell), cell) for cell in notebook.cells if cell.cell_type == "code"]
    training = [took for took, cell in timed if "training" in cell.metadata.get("tags", [])]
    others = [took for took, cell in timed if "training" not in cell.metadata.get("tags", [])]
    return {
        "seconds": round(seconds, 1),
        "longest_cell_seconds": round(max(others), 1),
        "training_cell_seconds": round(max(training), 1) if training else None,
        "peak_rss_bytes": int(notebook.cells[-1].outputs[0].text),
    }


def _seconds(cell) -> float:
    times = cell.metadata.get("execution", {})
    ends = [times.get(name) for name in ("iopub.execute_input", "shell.execute_reply")]
    first, last = (datetime.fromisoformat(end.replace("Z", "+00:00")) for end in ends)
    return (last - first).total_seconds()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("lessons", nargs="*", help="such as 07: measured again, the others' results stay")
    options.add_argument("--profile", default="binder")
    options.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "notebooks.json")
    arguments = options.parse_args()
    everything = lessons(ROOT / "notebooks" / "source")
    table = Table("lesson", "seconds", "longest cell", "training cell", "peak GB")
    results = read_json(arguments.out)["notebooks"] if arguments.lessons else {}
    for lesson in lessons(ROOT / "notebooks" / "source", tuple(arguments.lessons)):
        found = results[lesson.name] = measure(lesson, everything, arguments.profile)
        cells = [found["seconds"], found["longest_cell_seconds"], found["training_cell_seconds"] or ""]
        table.add_row(lesson.name, *map(str, cells), f"{found['peak_rss_bytes'] / 1e9:.2f}")
        about = dataclasses.asdict(provenance(threads=1, command="python benchmarks/notebooks.py"))
        write_json(arguments.out, {"profile": arguments.profile, "notebooks": results} | about)
    Console().print(table)


if __name__ == "__main__":
    main()
