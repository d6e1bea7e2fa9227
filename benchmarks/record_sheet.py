"""Does `notebooks/one_sheet.py` do what it says, and what happens where one of its lines is wrong?

Runs the command as a reader would, in a process of its own, and notes its output, time and memory. Compares logits and
gradients with the package's, and text and references after training with torch's recipe on the same windows. Then it
breaks the sheet in three places, one at a time, and trains each. Writes `longlora_edu/assets/results/one_sheet.json`
after each part; `--only` renews one, which then names its own day and machine. About an hour on two cores.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from longlora_edu.course.play.sheet import (
    BREAKS,
    draw_material,
    lines_of_code,
    load_sheet,
    read_densely,
    sheet_file,
    train_form,
)
from longlora_edu.longlora import LongLoRAConfig, apply_longlora, merge_to_dense
from longlora_edu.model import TinyLlama, load_tiny_llama
from longlora_edu.runs.marked import fill_marked
from longlora_edu.runs.records import provenance, read_json, write_json

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "longlora_edu" / "assets" / "results" / "one_sheet.json"
THREADS = 2


def with_lora(sheet, folder: Path, factor: int, dtype=np.float32, seed: int = 0):
    """The sheet's model with LoRA that is not zero, and the package's with the same weights, ready to train."""
    m = sheet.read_model(folder)
    m.w = {name: array.astype(dtype) for name, array in m.w.items()}
    m.config = sheet.stretch(m.config, factor)
    rng = np.random.default_rng(seed)
    sheet.add_lora(m, rng)
    for name in m.w:
        if "lora_B" in name:
            m.w[name] += (0.05 * rng.standard_normal(m.w[name].shape)).astype(dtype)
    model = load_tiny_llama(folder)
    apply_longlora(model, LongLoRAConfig(m.config["max_position_embeddings"], rank=sheet.RANK, alpha=sheet.ALPHA))
    model.to(torch.from_numpy(np.zeros(0, dtype)).dtype)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(m.w[own_name(name)]))
    return m, model


def own_name(name: str) -> str:
    """The sheet's name of a parameter: the package calls the frozen weight beside LoRA `base`."""
    return name.replace(".base.", ".")


def torch_loss(sheet, model: TinyLlama, ids: np.ndarray, answers: np.ndarray) -> torch.Tensor:
    """One window's part of the loss of a batch, written with torch."""
    tokens = torch.as_tensor(ids)
    nats = F.cross_entropy(model(tokens[None, :-1])[0], tokens[1:], reduction="none")
    counts = torch.ones_like(nats)
    counts[torch.as_tensor(answers) - 1] = sheet.WEIGHT
    return (nats * counts).sum() / counts.sum() / sheet.BATCH


def gradient_errors(sheet, m, model: TinyLlama, window, group: int) -> dict[str, float]:
    """How far the sheet's gradient of each trained array is from torch's, relative to torch's."""
    sheet.add_gradients(m, *window, group)
    torch_loss(sheet, model.train(), *window).backward()
    errors = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            right = parameter.grad.numpy()
            errors[own_name(name)] = float(np.linalg.norm(m.grads[own_name(name)] - right) / np.linalg.norm(right))
    return errors


def by_torch(steps: int, count: int) -> dict:
    """The package's recipe in torch on the windows of `train_form`: S2 in training, Adam, the same schedule."""
    sheet = load_sheet()
    given = draw_material(sheet, steps=steps, count=count)
    model = load_tiny_llama(sheet.BASE)
    length = given.m.config["max_position_embeddings"]
    apply_longlora(model, LongLoRAConfig(length, rank=sheet.RANK, alpha=sheet.ALPHA))
    trained = [parameter for parameter in model.train().parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=sheet.RATE, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda done: min(1, (done + 1) / 10) * (1 + np.cos(np.pi * (done + 1) / steps)) / 2
    )
    for batch in given.batches:
        optimizer.zero_grad()
        for window in batch:
            torch_loss(sheet, model, *window).backward()
        optimizer.step()
        schedule.step()
    given.m.w = {name: tensor.numpy() for name, tensor in merge_to_dense(model).state_dict().items()}
    return read_densely(sheet, given)


def stretched(count: int) -> dict:
    """How the base reads the windows of `train_form` with its positions stretched and nothing trained."""
    sheet = load_sheet()
    return read_densely(sheet, draw_material(sheet, steps=1, count=count))


def by_command() -> dict:
    """Run the sheet as a reader does, in a fresh process: what it prints, and what it costs."""
    code = (
        "import runpy; from longlora_edu.runs.records import peak_memory; "
        f"runpy.run_path({str(sheet_file())!r}, run_name='__main__'); print(peak_memory())"
    )
    variables = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    environment = os.environ | dict.fromkeys(variables, str(THREADS)) | {"PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    seconds = time.perf_counter() - began
    # Not as text: Python would take the progress line's returns for ends of lines.
    printed = run.stdout.decode().replace(os.linesep, "\n").strip("\n").split("\n")
    *lines, peak = [shown for line in printed if (shown := line.split("\r")[-1])]
    return {"lines": lines, "seconds": seconds, "peak_rss_bytes": int(peak), "load": os.getloadavg()[0]}


def form() -> dict[str, int]:
    """Lines of code, and all lines."""
    source = sheet_file().read_text(encoding="utf-8")
    return {"code": len(lines_of_code(source)), "all": len(source.splitlines())}


def base() -> dict:
    """Which model was extended: its trained length, and a hash of its weights."""
    sheet = load_sheet()
    digest = hashlib.sha256((sheet.BASE / "model.safetensors").read_bytes()).hexdigest()
    return {"trained_length": sheet.read_model(sheet.BASE).config["max_position_embeddings"], "sha256": digest}


def equality() -> dict:
    """The largest differences from the package, on the real model at twice its length."""
    sheet = load_sheet()
    m, model = with_lora(sheet, sheet.BASE, 2)
    n = m.config["max_position_embeddings"]
    code = sheet.read_windows(n + 1)["held out"][0]
    window = sheet.hide_references(code, n // 4, np.random.default_rng(0))
    errors = gradient_errors(sheet, m, model, window, n // 4)
    with torch.no_grad():
        expected = model.eval()(torch.as_tensor(window[0][None, :-1]))[0].numpy()
    logits = sheet.forward(m, window[0][:-1], n)[0]
    return {"gradient_error": max(errors.values()), "logit_error": float(abs(logits - expected).max())}


def with_output(readme: str, record: dict) -> str:
    """The text of the README with what the command printed, between its marks, and what it cost."""
    run, form, cost = record["run"], record["form"], record["equality"]
    lines = "\n".join(run["lines"][1:])
    own, _, stretched, trained = (line.split(" bits")[0].split()[-1] for line in run["lines"])
    said = (
        f"The text pays: the base with its own window needs {own} bits a byte, stretched alone {stretched}, after "
        f"training {trained}; whether for the answers or for the groups was not separated. {form['code']} "
        f"lines of code; {run['seconds']:.0f} seconds on "
        f"{record['machine']['threads']} cores and {run['peak_rss_bytes'] / 1e9:.2f} GB; gradients within "
        f"{cost['gradient_error']:.0e} of torch's, relative ([the record](longlora_edu/assets/results/one_sheet.json))."
    )
    return fill_marked(readme, {"sheet": f"```text\n{lines}\n```\n\n{said}"})


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument(
        "--only",
        choices=["run", "equality", "stretched", "sheet", "torch", *BREAKS],
        help="renew one part of the record",
    )
    options.add_argument("--steps", type=int, default=240)
    options.add_argument("--windows", type=int, default=100)
    options.add_argument("--out", type=Path, default=OUT)
    options.add_argument("--readme", action="store_true", help="measure nothing, write the record into the README")
    told = options.parse_args()
    if told.readme:
        page = ROOT / "README.md"
        page.write_text(with_output(page.read_text(encoding="utf-8"), read_json(told.out)), encoding="utf-8")
        return
    torch.set_num_threads(THREADS)
    parts = {
        "run": by_command,
        "equality": equality,
        "stretched": lambda: stretched(told.windows),
        "sheet": lambda: train_form(steps=told.steps, count=told.windows),
        "torch": lambda: by_torch(told.steps, told.windows),
    }
    parts |= {
        name: lambda changes=changes: train_form(*changes, steps=told.steps, count=told.windows)
        for name, changes in BREAKS.items()
    }
    about = {"settings": {"steps": told.steps, "windows": told.windows}}
    record = read_json(told.out) if told.only and told.out.exists() else {}
    for name, part in parts.items():
        if told.only in (None, name):
            print(f"{name} ...", flush=True)
            record[name] = part()
            now = dataclasses.asdict(provenance(threads=THREADS))
            if told.only:  # the rest is of the day and the machine that the record names
                record[name] |= {"renewed": about | now}
            else:
                record |= {"form": form(), "base": base()} | about | now
            write_json(told.out, record)


if __name__ == "__main__":
    main()
