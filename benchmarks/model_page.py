"""Parity and speed of the model page: its engine under Node against torch, its answers in Chromium against the clock.

    python benchmarks/model_page.py docs/model.html --adapter longlora-demo/adapter

Parity: for each of the twelve switches, the logits of the page's own engine against torch on the numbers that the page
stores, over 10,240 held-out bytes, half of them at positions beyond 1,024; and bits per byte against the models before
packing. Speed: from the input event to the answer in the page, in a real browser, opened as a file without a network.
Writes `benchmarks/results/model_page.json`; about ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

from longlora_edu.geometry import S2Pattern
from longlora_edu.model import TinyLlama
from longlora_edu.runs.records import provenance, write_json
from longlora_edu.training.corpus import Windows, standard_library
from longlora_edu.widgets.model_page import Packed, exact_models, parts_of
from longlora_edu.widgets.model_page.bundle import engine

# As documented: the folders that were given say nothing about the record, and are those of a machine.
COMMAND = "python benchmarks/model_page.py docs/model.html --adapter longlora-demo/adapter"
RESULT = Path(__file__).parent / "results" / "model_page.json"
PATTERNS = ("dense", "s2", "short", "wrap")
VARIANTS = ("before", "stretched", "after")
WINDOWS = 5
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
OPTIONS += ["--disable-sync", "--no-first-run"]
# Reads windows with every switch and leaves the logits of each in a file.
RUN = """
import * as m from "./engine.mjs";
import { readFileSync, writeFileSync } from "node:fs";
const { length, group, runs } = JSON.parse(readFileSync("given.json"));
const opened = m.openPack(Uint8Array.from(readFileSync("pack.bin")).buffer);
const session = m.newSession({ header: opened.header, models: m.readModels(opened), capacity: length });
const windows = new Uint8Array(readFileSync("windows.bin"));
for (const [model, name] of runs)
  for (let at = 0; at * length < windows.length; at++) {
    const ids = windows.slice(at * length, (at + 1) * length);
    const { cache } = m.finish(session.run({ model, pattern: { name, group }, ids, anew: true }));
    writeFileSync(`${model}-${name}-${at}.bin`, cache.logits);
  }
"""
# Puts a text into the field, as a reader would, and waits until it has been read; milliseconds, and the longest time
# between two frames meanwhile.
READ = """async (text) => {
    const field = document.querySelector("[data-part=text]"), status = document.querySelector("[data-part=status]");
    status.textContent = "";
    field.value = text;
    let [longest, last, done] = [0, performance.now(), false];
    const watch = (now) => {
        [longest, last] = [Math.max(longest, now - last), now];
        if (!done) requestAnimationFrame(watch);
    };
    requestAnimationFrame(watch);
    const began = performance.now();
    field.dispatchEvent(new InputEvent("input", { inputType: "insertText" }));
    await new Promise((resolve) => {
        const look = () => (status.textContent.startsWith("Read ") ? resolve() : setTimeout(look));
        look();
    });
    const time = performance.now() - began;
    await new Promise((resolve) => setTimeout(resolve, 400)); // what is painted later counts as blocking too
    done = true;
    return [time, longest];
}"""


@torch.inference_mode()
def torch_logits(model: TinyLlama, ids: np.ndarray, name: str, group: int) -> torch.Tensor:
    """Logits that torch computes for one window with a pattern, float32 (n, 256)."""
    sparse = None
    if name != "dense":
        sparse = S2Pattern(group, 0 if name == "short" else None, "wrap" if name == "wrap" else "split")
    for attention in model.attention_layers:
        attention.sparse = sparse
    model.train(sparse is not None)  # S² is computed while training
    return model(torch.from_numpy(ids)[None].long(), beyond_context=True)[0]


def bits(logits: torch.Tensor, ids: np.ndarray) -> float:
    """Bits per byte of a window."""
    return torch.nn.functional.cross_entropy(logits[:-1], torch.from_numpy(ids[1:]).long()).item() / np.log(2)


def parity(data: bytes, base: Path, adapter: Path, windows: np.ndarray) -> dict:
    """The page's engine against torch on the stored weights, and against the models before packing."""
    packed, group = Packed.read(data), Packed.read(data).header["group"]
    exact = exact_models(base, adapter)
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "engine.mjs").write_text(engine(), encoding="utf-8")
        (folder / "main.mjs").write_text(RUN, encoding="utf-8")
        (folder / "pack.bin").write_bytes(data)
        windows.tofile(folder / "windows.bin")
        for variant in VARIANTS:
            stored = packed.model(variant)
            runs = [(variant, pattern) for pattern in PATTERNS]
            given = {"length": windows.shape[1], "group": group, "runs": runs}
            (folder / "given.json").write_text(json.dumps(given))
            subprocess.run(["node", "main.mjs"], cwd=folder, check=True)
            for _, pattern in runs:
                largest, same, sums = 0.0, 0, np.zeros(3)
                for at, ids in enumerate(windows):
                    path = folder / f"{variant}-{pattern}-{at}.bin"
                    said = torch.from_numpy(np.fromfile(path, np.float32).reshape(-1, 256))
                    path.unlink()
                    meant = torch_logits(stored, ids, pattern, group)
                    largest = max(largest, (said - meant).abs().max().item())
                    same += int((said.argmax(1) == meant.argmax(1)).sum())
                    before = torch_logits(exact[variant], ids, pattern, group)
                    sums += [bits(said, ids), bits(meant, ids), bits(before, ids)]
                page, stored_bits, exact_bits = sums / len(windows)
                found[f"{variant} {pattern}"] = {
                    "largest_logit_difference": largest,
                    "same_argmax": same / windows.size,
                    "bits_per_byte": {"page": page, "torch_stored": stored_bits, "torch_before_packing": exact_bits},
                    "packing_error": page / exact_bits - 1,
                }
                print(variant, pattern, found[f"{variant} {pattern}"], flush=True)
    return found


def speed(page_file: Path, text: str) -> dict:
    """Milliseconds in Chromium, from the input to the answer."""
    from playwright.sync_api import sync_playwright

    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=OPTIONS)
        page = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True).new_page()
        page.set_default_timeout(120_000)
        page.goto(page_file.resolve().as_uri())
        page.locator("[data-ready=yes]").wait_for()
        page.wait_for_function(
            "() => /to compare, with/.test(document.querySelector('[data-part=status]').textContent)"
        )
        found = {"chromium": browser.version}
        for size in (256, 2048):
            tries = [
                page.evaluate(READ, f"{at}{text[1:size]}") for at in range(3)
            ]  # another first byte: nothing is kept
            found[f"read_{size}_ms"] = [round(time) for time, _ in tries]
            found[f"longest_frame_{size}_ms"] = [round(frame) for _, frame in tries]
        page.evaluate(READ, text[:2000])
        typed = [page.evaluate(READ, text[: 2000 + at])[0] for at in range(1, 31)]
        found["type_one_byte_ms"] = {"median": round(statistics.median(typed), 1), "most": round(max(typed), 1)}
        for pattern in PATTERNS[1:]:
            page.locator(f"input[data-set=attention][value={pattern}]").check()
            # Another first byte than ever before: no pattern has anything of it.
            found[f"read_2048_{pattern}_ms"] = round(page.evaluate(READ, f"{pattern[0]}{text[1:2048]}")[0])
        browser.close()
    return found


def main() -> None:
    """Measure, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--adapter", type=Path, required=True, help="the folder that the page was made from")
    parser.add_argument("--base", type=Path, default=Path(str(files("longlora_edu") / "assets" / "model")))
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    text = given.page.read_text(encoding="utf-8")
    data, samples = parts_of(text)
    header = Packed.read(data).header
    corpus = standard_library()
    windows = Windows(corpus.held_out, header["context"]).draw(np.random.default_rng(0), WINDOWS)
    record = {
        "page_bytes": len(text.encode()),
        "pack_bytes": len(data),
        "kind": header["kind"],
        "trained": header["trained"],
        "context": header["context"],
        "group": header["group"],
        "held_out_bytes": windows.size,
        "positions_beyond_1024": int((np.arange(windows.shape[1]) >= 1024).sum()) * WINDOWS,
        "corpus": corpus.hash[:16],
        "load_before": os.getloadavg()[0],
        "speed": speed(given.page, samples[0].text),
        "switches": parity(data, given.base, given.adapter, windows),
        **dataclasses.asdict(provenance(threads=torch.get_num_threads(), command=COMMAND)),
    }
    write_json(given.out, record)
    print(given.out)


if __name__ == "__main__":
    main()
