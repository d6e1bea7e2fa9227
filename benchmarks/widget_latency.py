"""How long does a widget take to answer a key? Measured in JupyterLab, in a real browser, from the key to the paint.

Opens a notebook with each widget in a cell, presses arrow keys on one of its sliders, and takes the time from the
browser's own time stamp of the key to the first frame that shows another picture (pixels for the explorer, which draws
in the browser; the address of the image for panels, whose picture comes from the kernel). Writes
`benchmarks/results/widget_latency.json`. About two minutes; nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import NamedTuple

import nbformat

from longlora_edu.course.build.lab import served_lab
from longlora_edu.runs.records import provenance, write_json

RESULT = Path(__file__).parent / "results" / "widget_latency.json"
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
OPTIONS += ["--disable-sync", "--no-first-run"]


class Case(NamedTuple):
    """A widget to measure: the cell that shows it, its slider, and what in the page changes with the picture."""

    cell: str
    slider: str
    seen: str


# Three rows of pixels cross everything that a setting can move.
PIXELS = """() => {
    const canvas = document.querySelector(".longlora-explorer canvas"), context = canvas.getContext("2d");
    return [0.12, 0.35, 0.5].map((at) => {
        const row = context.getImageData(0, Math.floor(at * canvas.height), canvas.width, 1).data;
        let sum = 7;
        for (let i = 0; i < row.length; i++) sum = (sum * 31 + row[i]) | 0;
        return sum;
    }).join();
}"""
IMAGE = "() => { const i = document.querySelector('.longlora-panel img'); return i?.complete ? i.src : null; }"
HANDLE = ".longlora-controls [role=slider]"
CASES = {
    "explorer": Case(
        "from longlora_edu.widgets.explorer import explorer\nexplorer(n=32, g=4)", ".longlora-explorer [name=g]", PIXELS
    ),
    "rope": Case("from longlora_edu.widgets.rope_explorer import rope_explorer\nrope_explorer().show()", HANDLE, IMAGE),
    "rank": Case("from longlora_edu.widgets.rank_explorer import rank_explorer\nrank_explorer().show()", HANDLE, IMAGE),
    "cost": Case("from longlora_edu.widgets.cost_explorer import cost_explorer\ncost_explorer().show()", HANDLE, IMAGE),
}
# Looks once a frame; the timeout in the frame that shows the change comes after that frame was painted.
WATCH = """() => {
    window.answer = new Promise((resolve) => addEventListener("keydown", (event) => {
        const look = () => {
            const now = seen();
            if (now !== null && now !== before) setTimeout(() => resolve(performance.now() - event.timeStamp));
            else if (performance.now() - event.timeStamp > 3000) resolve(null);
            else requestAnimationFrame(look);
        };
        const before = shown;
        requestAnimationFrame(look);
    }, { capture: true, once: true }));
    window.shown = seen();
}"""
READY = """async () => {
    const app = window.jupyterapp; await app.restored;
    const panel = app.shell.currentWidget; await panel.context.ready; await panel.sessionContext.ready;
    await panel.sessionContext.session.kernel.info;
}"""


def measure(browser, address: str, folder: Path, case: Case) -> dict:
    """Milliseconds of each press: to the left end of the slider, to its right end, and back."""
    cells = [nbformat.v4.new_code_cell(case.cell)]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), folder / "latency.ipynb")
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.goto(f"{address}/lab/tree/latency.ipynb?reset", timeout=120_000)
    page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.sessionContext", timeout=120_000)
    page.evaluate(READY)
    page.evaluate("async () => await window.jupyterapp.commands.execute('notebook:run-all-cells')")
    slider = page.locator(case.slider).first
    slider.wait_for(timeout=60_000)
    slider.focus()
    page.wait_for_timeout(1500)
    page.evaluate(f"() => {{ window.seen = {case.seen}; }}")
    value = "(e) => e.value ?? e.getAttribute('aria-valuenow')"
    first, again, known = [], [], {slider.evaluate(value)}
    for key in ("ArrowLeft", "ArrowRight", "ArrowLeft"):
        for _ in range(40):
            before = slider.evaluate(value)
            page.evaluate(WATCH)
            page.keyboard.press(key)
            if slider.evaluate(value) == before:
                break  # the end of the slider
            waited = page.evaluate("() => answer")
            if waited is None:
                raise RuntimeError(f"no change within 3 s after {key} on {case.slider} at {before}")
            (again if slider.evaluate(value) in known else first).append(waited)
            known.add(slider.evaluate(value))
            page.wait_for_timeout(120)  # nobody presses faster, and the kernel comes to rest
    page.close()
    return {"first": summary(first), "again": summary(again), "all": summary(first + again)}


def summary(milliseconds: list[float]) -> dict:
    """How many presses, their median, and what nine out of ten stay below."""
    ordered = sorted(milliseconds)
    ninth = ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))]
    return {"presses": len(ordered), "median_ms": round(statistics.median(ordered), 1), "p90_ms": round(ninth, 1)}


def main() -> None:
    """Measure the named widgets, by default all."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("widgets", nargs="*", choices=[*CASES, []], help="which widgets; all without a name")
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    rows = {}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    with (
        tempfile.TemporaryDirectory() as name,
        sync_playwright() as playwright,
        served_lab(Path(name), Path(name)) as address,
    ):
        browser = playwright.chromium.launch(executable_path=executable, args=OPTIONS)
        version = browser.version
        for widget in arguments.widgets or CASES:
            rows[widget] = measure(browser, address, Path(name), CASES[widget])
            print(widget, rows[widget])
        browser.close()
    about = dataclasses.asdict(provenance())
    write_json(arguments.out, {"widgets": rows, "browser": version, "load_before": load, **about})


if __name__ == "__main__":
    main()
