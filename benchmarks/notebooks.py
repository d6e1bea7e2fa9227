"""Time and peak memory of each notebook on one thread, in the profile of a Binder: `python benchmarks/notebooks.py`.

Writes `benchmarks/results/notebooks.json`. A Binder promises one core and little memory: a lesson should stay under a
minute and a gigabyte there, and no cell but the training one over ten seconds. `--python` runs the lessons in another
environment, such as that of `benchmarks/binder.py`; `--memory 2` ends a kernel that wants more than two gigabytes.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
from datetime import datetime
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from rich.console import Console
from rich.table import Table

from longlora_edu.course.build.assemble import edition
from longlora_edu.course.build.source import lessons
from longlora_edu.runs.records import read_json, write_json

ROOT = Path(__file__).parents[1]
ASK = """import dataclasses, json
from longlora_edu.runs.records import peak_memory, provenance
print(json.dumps({"peak": peak_memory()} | dataclasses.asdict(provenance(threads=1, command=""))))"""
# Private memory that may be written, as a container counts it; the files of libraries, which may be dropped, are not.
LIMITED = "import resource, runpy; resource.setrlimit(resource.RLIMIT_DATA, ({0}, {0})); " + (
    "runpy.run_module('ipykernel_launcher', run_name='__main__')"
)


def kernel(folder: Path, python: str, memory: float | None) -> AsyncKernelManager:
    """A kernel of this Python, whatever kernels are installed, which may hold `memory` gigabytes."""
    start = ["-c", LIMITED.format(int(memory * 2**30))] if memory else ["-m", "ipykernel_launcher"]
    spec = {"argv": [python, *start, "-f", "{connection_file}"], "display_name": "measured", "language": "python"}
    (folder / "kernels" / "measured").mkdir(parents=True)
    (folder / "kernels" / "measured" / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    found = KernelSpecManager(kernel_dirs=[str(folder / "kernels")])
    return AsyncKernelManager(kernel_name="measured", kernel_spec_manager=found)


def measure(lesson, everything, arguments) -> tuple[dict, dict]:
    """Run the solution edition of one lesson; a last cell asks its kernel how much it held, and what it is."""
    notebook = edition(lesson, "solution", neighbours=everything)
    notebook.cells.append(nbformat.v4.new_code_cell(ASK, id="ask"))
    with tempfile.TemporaryDirectory() as folder:
        options = {"LONGLORA_EDU_PROFILE": arguments.profile, "OMP_NUM_THREADS": "1"}
        options["LONGLORA_EDU_PROGRESS"] = str(Path(folder) / "progress.json")
        inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        manager = kernel(Path(folder), arguments.python, arguments.memory)
        began = datetime.now()
        client = NotebookClient(notebook, timeout=600, km=manager, resources={"metadata": {"path": folder}})
        client.execute(env=inherited | options, cleanup_kc=True)
        seconds = (datetime.now() - began).total_seconds()
    timed = [(_seconds(cell), cell) for cell in notebook.cells if cell.cell_type == "code"]
    training = [took for took, cell in timed if "training" in cell.metadata.get("tags", [])]
    others = [took for took, cell in timed if "training" not in cell.metadata.get("tags", [])]
    about = json.loads(notebook.cells[-1].outputs[0].text)
    return {
        "seconds": round(seconds, 1),
        "longest_cell_seconds": round(max(others), 1),
        "training_cell_seconds": round(max(training), 1) if training else None,
        "peak_rss_bytes": about.pop("peak"),
    }, about


def _seconds(cell) -> float:
    times = cell.metadata.get("execution", {})
    ends = [times.get(name) for name in ("iopub.execute_input", "shell.execute_reply")]
    first, last = (datetime.fromisoformat(end.replace("Z", "+00:00")) for end in ends)
    return (last - first).total_seconds()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("lessons", nargs="*", help="such as 07: measured again, the others' results stay")
    options.add_argument("--profile", default="binder")
    options.add_argument(
        "--python", default=sys.executable, help="whose kernels run the lessons; this one's without it"
    )
    options.add_argument("--memory", type=float, help="gigabytes that a kernel may hold")
    options.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "notebooks.json")
    arguments = options.parse_args()
    said = {name: getattr(arguments, name) for name in ("profile", "python", "memory")}
    words = [f"--{name}={value}" for name, value in said.items() if value != options.get_default(name)]
    command = shlex.join(["python", "benchmarks/notebooks.py", *words])
    arguments.python = os.path.abspath(arguments.python)  # a symbolic link stays one: it names the environment
    everything = lessons(ROOT / "notebooks" / "source")
    table = Table("lesson", "seconds", "longest cell", "training cell", "peak GB")
    results = read_json(arguments.out)["notebooks"] if arguments.lessons and arguments.out.exists() else {}
    results = {lesson.name: results[lesson.name] for lesson in everything if lesson.name in results}  # not the moved
    for lesson in lessons(ROOT / "notebooks" / "source", tuple(arguments.lessons)):
        found, about = measure(lesson, everything, arguments)
        results[lesson.name] = found
        cells = [found["seconds"], found["longest_cell_seconds"], found["training_cell_seconds"] or ""]
        table.add_row(lesson.name, *map(str, cells), f"{found['peak_rss_bytes'] / 1e9:.2f}")
        about["command"] = command
        settings = {"profile": arguments.profile, "memory_limit_gb": arguments.memory}
        write_json(arguments.out, settings | {"notebooks": results} | about)
    Console().print(table)


if __name__ == "__main__":
    main()
