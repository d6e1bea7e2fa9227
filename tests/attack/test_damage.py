"""Attacks on what lies on the disk: bits flipped in a checkpoint, inputs changed between start and resume."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from attack_sizes import sizes
from helpers import tiny_bundled_model, write_text
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from longlora_edu.demo import run as demo
from longlora_edu.runs.records import as_json
from longlora_edu.training import checkpoint as checkpoint_module
from longlora_edu.training.train import TrainSettings, train

ADVICE = "bring a copy"


class Toy:
    """Least squares, trained by Muon and AdamW: a matrix, an offset and the state of both optimizers."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.parameters = {
            "matrix": torch.nn.Parameter(torch.randn(4, 3, generator=generator)),
            "offset": torch.nn.Parameter(torch.randn(3, generator=generator)),
        }
        self.optimizers = [
            torch.optim.Muon([self.parameters["matrix"]], lr=0.05),
            torch.optim.AdamW([self.parameters["offset"]], lr=0.05),
        ]

    def objective(self, step, part):
        x = torch.from_numpy(np.random.default_rng([step, part]).standard_normal((6, 4))).float()
        return (x @ self.parameters["matrix"] + self.parameters["offset"]).square().mean(), {}

    def train(self, checkpoint, steps=6):
        return train(
            self.parameters, self.optimizers, self.objective, TrainSettings(steps, checkpoint_every=2),
            checkpoint=checkpoint, resume=True,
        )  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "checkpoint.safetensors"
    Toy().train(path)
    return path


def outcome_of(path, about) -> str | None:
    """None if a resume from this checkpoint is refused in a sentence, before anything has changed."""
    toy = Toy()
    before = [parameter.detach().clone() for parameter in toy.parameters.values()]
    try:
        toy.train(path)
    except ValueError as error:
        message = str(error)
        if "\n" in message or not message.startswith(f"checkpoint {path} must "):
            return f"{about}: {message[:200]}"
    except Exception as error:
        return f"{about}: {error!r}"
    else:
        return f"{about}: not noticed"
    same = all(torch.equal(a, b) for a, b in zip(before, toy.parameters.values(), strict=True))
    return None if same and not any(optimizer.state for optimizer in toy.optimizers) else f"{about}: half loaded"


def flipped(checkpoint, places, tmp_path):
    """Outcomes of a resume, with one bit flipped at each of these places (byte, bit)."""
    data, path = checkpoint.read_bytes(), tmp_path / "flipped.safetensors"
    for byte, bit in places:
        damaged = bytearray(data)
        damaged[byte] ^= 1 << bit
        path.write_bytes(damaged)
        yield outcome_of(path, f"bit {bit} of byte {byte}")


def header_of(checkpoint) -> int:
    """Bytes before the first tensor: eight of length, then names, shapes and metadata."""
    return 8 + int.from_bytes(checkpoint.read_bytes()[:8], "little")


@sizes(sample=40, full=300)
def test_a_bit_flipped_in_a_tensor_is_noticed(checkpoint, tmp_path, table, count):
    header, size = header_of(checkpoint), checkpoint.stat().st_size
    places = [(byte, bit) for byte in range(header, size) for bit in range(8)]
    outcomes = flipped(checkpoint, random.Random(0).sample(places, count), tmp_path)
    table.row("one bit flipped in a checkpoint's tensors, then --resume", list(outcomes))


@sizes(sample=30, full=100)
def test_a_bit_flipped_in_header_or_metadata_is_noticed(checkpoint, tmp_path, table, count):
    places = [(byte, bit) for byte in range(header_of(checkpoint)) for bit in range(8)]
    outcomes = flipped(checkpoint, random.Random(1).sample(places, count), tmp_path)
    table.row("one bit flipped in its header or metadata", list(outcomes))


def changes_of_a_checkpoint():
    """Changes that an editor could make to a checkpoint, with a valid digest afterwards, by name."""
    yield "no metadata", lambda about, state: None
    yield "foreign metadata", lambda about, state: {"format": "pt"}
    for about in ("[]", "3", "null", '"text"', "{}", json.dumps({"settings": {}}), "[" * 5000):
        yield f"description {about[:20]}", lambda _, state, about=about: about
    for name in ("format", "settings", "threads", "idle", "curve"):
        yield f"no {name}", lambda about, state, name=name: about.pop(name) and about
        yield f"{name} of another kind", lambda about, state, name=name: about | {name: "x"}
    yield "a longer curve", lambda about, state: about | {"curve": about["curve"] * 2}
    yield "a curve out of order", lambda about, state: about | {"curve": about["curve"][::-1]}
    yield "a curve of numbers", lambda about, state: about | {"curve": [1, 2]}
    for name in ("optimizer.0.0.momentum_buffer", "optimizer.1.0.exp_avg", "optimizer.1.0.step", "parameter.matrix"):
        yield f"without {name}", lambda about, state, name=name: state.pop(name) is None or about
        yield f"{name} in another shape", lambda about, state, name=name: state.update({name: torch.ones(7)}) or about
        yield (
            f"{name} in another dtype",
            lambda about, state, name=name: state.update({name: state[name].half()}) or about,
        )
    for name in ("parameter.more", "optimizer.2.0.exp_avg", "optimizer.1.9.exp_avg", "optimizer.x", "more"):
        yield f"with {name}", lambda about, state, name=name: state.update({name: torch.ones(3)}) or about


def rewritten(checkpoint, change, path):
    """A copy of a checkpoint with a change and a digest that fits it."""
    with safe_open(checkpoint, framework="pt") as file:
        about = json.loads(file.metadata()["longlora_edu"])
    state = load_file(checkpoint)
    changed = change(about, state)
    if changed is None or changed == {"format": "pt"}:
        return save_file(state, path, metadata=changed)
    text = changed if isinstance(changed, str) else json.dumps(changed)
    metadata = {"longlora_edu": text, "sha256": checkpoint_module._digest(text, state)}
    return save_file(state, path, metadata=metadata)


def test_a_checkpoint_of_anything_else_is_refused_in_a_sentence(checkpoint, tmp_path, table):
    outcomes = []
    for name, change in changes_of_a_checkpoint():
        path = tmp_path / "changed.safetensors"
        rewritten(checkpoint, change, path)
        outcomes.append(outcome_of(path, name))
    for keep in (0, 1, 7, 8, 100, -1):
        path.write_bytes(checkpoint.read_bytes()[:keep])
        outcomes.append(outcome_of(path, f"{keep} bytes"))
    table.row("foreign, older or crafted checkpoints with a valid digest", outcomes)


# What a run reads, changed between its start and its resume.


def refusal(call) -> str:
    try:
        call()
    except ValueError as error:
        return str(error)
    return "no refusal"


def test_inputs_of_a_demo_that_changed_are_refused_by_name(tmp_path, monkeypatch, threads, table):
    monkeypatch.setattr(demo, "bundled_model", tiny_bundled_model)
    text, base = write_text(tmp_path / "text.py"), tmp_path / "base"
    shutil.copytree(demo.bundled_folder(), base)
    monkeypatch.setattr(demo, "bundled_folder", lambda: base)
    settings = demo.DemoSettings(
        context=320, steps=2, batch=1, threads=1, windows=2, trials=1, references=2, corpus=str(text)
    )
    with monkeypatch.context() as patch:
        patch.setattr(demo, "save_adapter", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            demo.run_demo(settings, tmp_path / "out")

    def resume():
        demo.run_demo(settings, tmp_path / "out", resume=True)

    outcomes = []
    for path, change, word in (
        (text, lambda data: data[:-1] + b"!", "got text"),
        (base / "model.safetensors", lambda data: data[:-1] + bytes([data[-1] ^ 1]), "got model"),
        (base / "config.json", lambda data: data.replace(b"1e-05", b"1e-06"), "got model"),
        (tmp_path / "out" / "before.json", lambda data: b"{}", "before.json must be as this run wrote it"),
        (tmp_path / "out" / "before.json", lambda data: data.replace(b"1", b"2", 1), "before.json must be as this"),
        (tmp_path / "out" / "checkpoint.safetensors", lambda data: data[:-1] + bytes([data[-1] ^ 1]), ADVICE),
        (tmp_path / "out" / "settings.json", lambda data: data.replace(b'"seed": 0', b'"seed": 1'), "seed 1 then, 0"),
        (tmp_path / "out" / "settings.json", lambda data: data[:-9], "must be JSON"),
    ):
        kept = path.read_bytes()
        assert change(kept) != kept
        path.write_bytes(change(kept))
        said = refusal(resume)
        outcomes.append(None if word in said else f"{path.name}: {said}")
        path.write_bytes(kept)
    table.row("inputs and files of a demo changed before --resume", outcomes)
    resume()


def test_inputs_of_a_training_that_changed_are_refused_by_name(tmp_path, monkeypatch, threads, table):
    pytest.importorskip("transformers")
    from longlora_edu.hf import run_training as training

    base, text = tmp_path / "base", write_text(tmp_path / "text.py", 3000)
    shutil.copytree(demo.bundled_folder(), base)
    settings = training.TrainingSettings(
        str(base), str(text), 300, steps=2, accumulate=1, warmup=0, threads=1, checkpoint_every=1
    )
    with monkeypatch.context() as patch:
        patch.setattr(training, "provenance", lambda **_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            training.run_training(settings, tmp_path / "out")
    out = tmp_path / "out"

    def scaled(data):
        weights = {name: tensor * 1.05 for name, tensor in load_file(base / "model.safetensors").items()}
        save_file(weights, tmp_path / "scaled.safetensors", metadata={"format": "pt"})
        return (tmp_path / "scaled.safetensors").read_bytes()

    outcomes = []
    for path, change, word in (
        (text, lambda data: b"!" + data[1:], "got data"),
        (text, None, "does not exist"),
        (base / "model.safetensors", scaled, "got weights"),
        (base / "config.json", lambda data: data.replace(b"1e-05", b"1e-04"), "got config"),
        (base / "tokenizer_config.json", lambda data: data + b" ", "got tokenizer"),
        (out / "checkpoint.safetensors", lambda data: data[:-1] + bytes([data[-1] ^ 1]), ADVICE),
    ):
        kept = path.read_bytes()
        path.write_bytes(change(kept)) if change else path.unlink()
        assert not path.exists() or path.read_bytes() != kept
        said = refusal(lambda: training.run_training(settings, out, resume=True))
        outcomes.append(None if word in said else f"{path.name}: {said}")
        path.write_bytes(kept)
    table.row("data, config, tokenizer, weights of a training changed before --resume", outcomes)
    record = training.run_training(settings, out, resume=True)
    assert record["settings"] == as_json(dataclasses.asdict(settings))
    assert not (out / "checkpoint.safetensors").exists()
    assert Path(out / "adapter" / "adapter_model.safetensors").exists()
