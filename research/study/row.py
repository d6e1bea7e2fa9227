"""One row: compute it and keep its record, a JSON file with settings, provenance and results."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch
from filelock import FileLock

from longlora_edu.model import TinyLlama, load_tiny_llama, save_tiny_llama
from longlora_edu.runs.progress import Progress, Silent
from longlora_edu.runs.records import as_json, peak_memory, provenance, quoted, read_json, write_json
from longlora_edu.training.pretrain import thinned
from longlora_edu.training.probe import ProbeSettings, run_probe

from ..law.recall import Recall
from .extension import extend_run
from .inputs import Inputs
from .metrics import measured, passkey_map, tokens_of
from .spec import Run, Settings, config_of, key_of, kind_of, settings_from

CURVE_POINTS = 20
FIELDS = ("kind", "key", "config", "ground", "curve", "results", "cost", "command", "date", "machine", "versions")


def compute(
    settings: Settings,
    inputs: Inputs,
    *,
    threads: int,
    work: Path | None = None,
    resume: bool = False,
    side_by_side: int = 1,
    progress: Progress | None = None,
) -> dict:
    """Compute a run now and return its record; a checkpoint in `work` lets an interrupted one resume."""
    torch.set_num_threads(threads)
    load, cpu = _load(), time.process_time()
    key = inputs.key(settings)
    find = {Run: _extension, ProbeSettings: _probe, Recall: _recall}[type(settings)]
    curve, results, cost = find(settings, inputs, key, work, resume, progress or Silent())
    # Seconds of runs that share a machine are no measurement; who reads them must be able to tell. Those of the
    # processor do not count what others took.
    cost["cpu_seconds"] = time.process_time() - cpu
    cost |= {"device": inputs.device, "runs_side_by_side": side_by_side, "load_before": load, "load_after": _load()}
    return as_json(
        {
            "kind": kind_of(settings),
            "key": key,
            "config": config_of(settings),
            "ground": inputs.about(settings) | ({"text": inputs.corpus.source} if isinstance(settings, Run) else {}),
            "curve": curve,
            "results": results,
            "cost": cost,
            **vars(provenance(threads=threads, command=command(key, threads, inputs))),
        }
    )


def command(key: str, threads: int, inputs: Inputs) -> str:
    """Return the command that computes this row again."""
    other = f" --corpus {quoted(inputs.source)}" if inputs.source else ""
    other += f" --device {inputs.device}" if inputs.device != "cpu" else ""
    return f"longlora-edu study run {key} --threads {threads}{other}"


def record_path(folder: Path, key: str) -> Path:
    """Return the path of a key's record."""
    return Path(folder) / f"{key}.json"


def save_record(folder: Path, record: dict) -> Path:
    """Write a record whole, under its key; return its path."""
    path = record_path(folder, record["key"])
    write_json(path, record)
    return path


def read_record(path: Path) -> dict:
    """Read a record; check that it is complete and that its name matches its settings.

    Raises:
        ValueError: naming the file, for one that is damaged, lacks a field, or was renamed or edited.
    """
    record = read_json(path)
    if not isinstance(record, dict) or (missing := [name for name in FIELDS if name not in record]):
        lacks = ", ".join(missing) if isinstance(record, dict) else "all of it"
        raise ValueError(f"{path} must be the record of a run, got a file without {lacks}")
    inputs = {name: record["ground"][name] for name in ("base", "corpus", "law") if name in record["ground"]}
    key = key_of(settings_from(record["kind"], record["config"]), inputs)
    if not key == record["key"] == Path(path).stem:
        raise ValueError(f"{path} must be named by its settings, {key}, got a record of {record['key']}")
    return record


def read_rows(folder: Path) -> list[dict]:
    """Read all records of a folder, by name; none where there is no folder.

    Raises:
        ValueError: as `read_record` does.
    """
    return [read_record(path) for path in sorted(Path(folder).glob("*.json"))]


def differences(then: dict, now: dict) -> list[str]:
    """List the numbers in which two records of one run differ: none if it was reproduced. Seconds are ignored."""
    return list(_differing({"curve": then["curve"], "results": then["results"]}, now))


def _differing(then, now, path: str = ""):
    if isinstance(then, dict) and isinstance(now, dict):
        for name in then:
            if name != "seconds":
                yield from _differing(then[name], now.get(name), f"{path}.{name}" if path else name)
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for index, pair in enumerate(zip(then, now, strict=True)):
            yield from _differing(*pair, f"{path}[{index}]")
    elif then != now:
        yield f"{path}: {then} then, {now} now"


def _extension(run: Run, inputs: Inputs, key: str, work: Path | None, resume: bool, progress: Progress):
    base = inputs.base(run.base)
    trained, maps = base.config.trained_context, {}
    # A map on the way is part of no checkpoint, so a run that draws them begins anew.
    checkpoint = work / f"{key}.safetensors" if work and not run.maps_at else None
    if checkpoint:
        checkpoint.parent.mkdir(parents=True, exist_ok=True)

    def on_step(model, step: int) -> None:
        if step in run.maps_at:
            maps[step] = passkey_map(run, model, inputs.corpus, trained)

    def start(earlier: Run) -> TinyLlama:
        return started(earlier, inputs, work, resume, progress)

    options = {"checkpoint": checkpoint, "resume": resume, "start": start, "progress": progress, "on_step": on_step}
    whole, cpu = not (checkpoint and resume and checkpoint.exists()), time.process_time()
    extended = extend_run(run, base, inputs.corpus, **options)
    training, cpu, peak = extended.training, time.process_time() - cpu, peak_memory()
    began = time.perf_counter()
    with progress.stage("Measuring", tokens_of(run, trained), "B") as advance:
        results = measured(run, extended.model, inputs.corpus, trained=trained, on_tokens=advance)
    results |= {"passkey_maps": maps} if maps else {}
    curve = thinned(training.curve, -(-len(training.curve) // CURVE_POINTS)) if training.curve else []
    cost = {
        "trainable_parameters": extended.trained_parameters,
        "all_parameters": extended.all_parameters,
        "training_bytes": run.steps * run.batch * run.window,
        "training_seconds": training.seconds,
        "training_cpu_seconds": cpu if whole else None,  # not known of what an interrupted process had done before
        "training_peak_rss_bytes": peak if run.steps else None,
        "measuring_tokens": tokens_of(run, trained),
        "measuring_seconds": time.perf_counter() - began,
    }
    if checkpoint:
        checkpoint.unlink(missing_ok=True)
    return curve, results, cost


def started(run: Run, inputs: Inputs, work: Path | None, resume: bool, progress: Progress) -> TinyLlama:
    """Return the merged model that a run starts from: computed, or taken from `work`, where several share it."""
    base = inputs.base(run.base)
    if work is None:
        return extend_run(run, base, inputs.corpus, progress=progress).model
    folder = work / "starts" / inputs.key(run)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):  # whoever comes second waits, and finds it made
        if not (folder / "config.json").exists():  # the last file of a model folder
            checkpoint = folder.with_suffix(".safetensors")
            model = extend_run(run, base, inputs.corpus, checkpoint=checkpoint, resume=resume, progress=progress).model
            save_tiny_llama(model, folder)
            checkpoint.unlink(missing_ok=True)
        return load_tiny_llama(folder).to(inputs.device)


def _probe(settings: ProbeSettings, inputs: Inputs, key: str, work, resume: bool, progress: Progress):
    began = time.perf_counter()
    found = run_probe(settings)
    results = {"accuracy": found.accuracy, "dense": found.dense, "ceiling": found.ceiling, "chance": found.chance}
    curve = thinned(found.curve, -(-len(found.curve) // CURVE_POINTS))
    return curve, results, {"training_seconds": time.perf_counter() - began}


def _recall(row: Recall, inputs: Inputs, key: str, work: Path | None, resume: bool, progress: Progress):
    from ..law.recall_run import compute_recall  # which computes with pieces of this folder

    text = row.task == "references"
    checkpoint = work / f"{key}.safetensors" if work and text else None
    if checkpoint:
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    ground = (inputs.base("package"), inputs.corpus) if text else (None, None)
    training, results = compute_recall(row, *ground, checkpoint=checkpoint, resume=resume, progress=progress)
    seconds = {
        "training_seconds": training.seconds,
        "measuring_seconds": time.perf_counter() - began - training.seconds,
    }
    if checkpoint:
        checkpoint.unlink(missing_ok=True)
    return thinned(training.curve, -(-len(training.curve) // CURVE_POINTS)), results, seconds


def _load() -> float | None:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
