"""Checkpoints: weights, optimizer state, settings and curve of a run in one safetensors file, checked before use.

The file holds a SHA-256 over all of it. A file with a valid digest can still be of another run, so names, dtypes and
shapes are compared with what this run would have written.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..runs.records import replace_file

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FORMAT = 2  # 1 had no digest
ADVICE = "bring a copy of it, or delete it and resume from the first step"
Kind = tuple[tuple[int, ...], torch.dtype]


def save_checkpoint(
    path: Path,
    parameters: Mapping[str, nn.Parameter],
    optimizers: Sequence[torch.optim.Optimizer],
    settings: DataclassInstance,
    curve: Sequence[dict],
) -> None:
    """Write all that a run needs to go on into one file.

    The number of threads is noted, not compared: with another one a resumed run is right, but not the same bit for bit.
    """
    about = {
        "format": FORMAT,
        "settings": run_settings(settings, optimizers),
        "threads": torch.get_num_threads(),
        "idle": [_idle(optimizer) for optimizer in optimizers],
        "curve": list(curve),
    }
    text = json.dumps(about)
    state = {f"parameter.{name}": parameter for name, parameter in parameters.items()}
    for place, optimizer in enumerate(optimizers):
        for number, fields in optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{place}.{number}.{field}": torch.as_tensor(value) for field, value in fields.items()}
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    replace_file(path, save(state, metadata={"longlora_edu": text, "sha256": _digest(text, state)}))


def load_checkpoint(
    path: Path,
    parameters: Mapping[str, nn.Parameter],
    optimizers: Sequence[torch.optim.Optimizer],
    settings: DataclassInstance,
) -> list[dict]:
    """Put a checkpoint's weights and optimizer state into place; returns the curve so far.

    Raises:
        ValueError: before anything changes, for a file that is damaged, or that was written by a run with other
            settings, optimizers or parameters.
    """
    metadata, state = _read(path)
    text, digest = metadata.get("longlora_edu"), metadata.get("sha256")
    if text is None:
        raise ValueError(f"checkpoint {path} must be one of longlora_edu, got a foreign safetensors file")
    if digest is None:
        raise ValueError(
            f"checkpoint {path} must hold a digest, got one of an older version: finish its run with that version, or "
            "delete it and resume from the first step"
        )
    if digest != _digest(text, state):
        raise ValueError(f"checkpoint {path} must be as it was written, got one that was damaged since: {ADVICE}")
    about = _checked(path, _parsed(text), run_settings(settings, optimizers))
    _check_tensors(path, state, dict(_expected(parameters, optimizers, about["idle"])))
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(state[f"parameter.{name}"])
    for place, optimizer in enumerate(optimizers):
        own = optimizer.state_dict()
        own["state"] = {}
        for name, tensor in state.items():
            if name.startswith(prefix := f"optimizer.{place}."):
                number, _, field = name.removeprefix(prefix).partition(".")
                own["state"].setdefault(int(number), {})[field] = tensor
        optimizer.load_state_dict(own)
    return about["curve"]


def run_settings(settings: DataclassInstance, optimizers: Sequence[torch.optim.Optimizer]) -> dict:
    """Return what two processes must agree on to be one run, as JSON gives it back."""
    values = dataclasses.asdict(settings)
    for place, optimizer in enumerate(optimizers):
        values[f"optimizer {place}"] = type(optimizer).__name__
        for number, group in enumerate(optimizer.state_dict()["param_groups"]):
            values |= {f"optimizer {place} group {number} {name}": value for name, value in group.items()}
    return json.loads(json.dumps(values, default=float))


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            return metadata, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except Exception as error:  # a reader of a binary format fails in many ways
        raise ValueError(f"checkpoint {path} must be readable, got a damaged file: {error}; {ADVICE}") from None


def _parsed(text: str) -> object:
    """Parse the description in a checkpoint, which is JSON; None where it is not."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _checked(path: Path, about, now: dict) -> dict:
    """Return the description in a checkpoint, if it is one of this run."""
    kinds = {"format": int, "settings": dict, "threads": int, "idle": list, "curve": list}
    if not isinstance(about, dict) or any(not isinstance(about.get(name), kind) for name, kind in kinds.items()):
        raise ValueError(f"checkpoint {path} must describe its run, got another description: {ADVICE}")
    if about["format"] != FORMAT:
        raise ValueError(f"checkpoint {path} must be of format {FORMAT}, got {about['format']}: use its own version")
    then = about["settings"]
    if changed := [name for name in now | then if then.get(name) != now.get(name)]:
        changes = ", ".join(f"{name} {then.get(name)} then, {now.get(name)} now" for name in changed)
        raise ValueError(f"checkpoint {path} must be of the same run, got other settings: {changes}")
    curve, steps = about["curve"], now["steps"]
    counted = [point.get("step") if isinstance(point, dict) else None for point in curve]
    if len(curve) > steps or counted != list(range(1, len(curve) + 1)):
        raise ValueError(
            f"checkpoint {path} must have a curve of at most {steps} steps, one after the other, got {len(curve)} "
            f"points: {ADVICE}"
        )
    if any(not isinstance(point.get("seconds"), (int, float)) for point in curve):
        raise ValueError(f"checkpoint {path} must have seconds at each point of its curve, got none: {ADVICE}")
    return about


def _check_tensors(path: Path, found: dict[str, Tensor], expected: dict[str, Kind]) -> None:
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or extra:
        raise ValueError(
            f"checkpoint {path} must hold the {len(expected)} tensors of this run and no others, got {len(found)}: "
            f"missing {', '.join(missing[:3]) or 'none'}, not expected {', '.join(extra[:3]) or 'none'}: {ADVICE}"
        )
    for name, (shape, dtype) in expected.items():
        if (tuple(found[name].shape), found[name].dtype) != (shape, dtype):
            raise ValueError(
                f"checkpoint {path} must hold {name} as {dtype} of shape {shape}, "
                f"got {found[name].dtype} of shape {tuple(found[name].shape)}: {ADVICE}"
            )


def _expected(parameters, optimizers, idle: list) -> Iterator[tuple[str, Kind]]:
    """Yield name, shape and dtype of each tensor of a checkpoint of this run."""
    for name, parameter in parameters.items():
        yield f"parameter.{name}", (tuple(parameter.shape), parameter.dtype)
    for place, optimizer in enumerate(optimizers):
        without = idle[place] if place < len(idle) and isinstance(idle[place], list) else []
        number = 0
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if number not in without:
                    for field, kind in _state_of_step(optimizer, group, parameter).items():
                        yield f"optimizer.{place}.{number}.{field}", kind
                number += 1


def _state_of_step(optimizer: torch.optim.Optimizer, group: dict, parameter: Tensor) -> dict[str, Kind]:
    """Return what the optimizer keeps of a parameter after a step, tried out on a parameter of a few numbers."""
    # Optimizers do not say this before their first step, and a step on the real parameter would change it.
    small = torch.zeros([2] * parameter.dim(), dtype=parameter.dtype, device=parameter.device, requires_grad=True)
    small.grad = torch.zeros_like(small)
    options = {name: value for name, value in group.items() if name != "params"}
    make: Any = type(optimizer)  # each kind has arguments of its own
    trial = make([{**options, "params": [small]}], lr=group["lr"])
    trial.step()
    state = {field: torch.as_tensor(value) for field, value in trial.state[small].items()}
    return {
        field: (tuple(parameter.shape if value.shape == small.shape else value.shape), value.dtype)
        for field, value in state.items()
    }


def _idle(optimizer: torch.optim.Optimizer) -> list[int]:
    """Return the numbers of the parameters of which nothing is kept yet: they never had a gradient."""
    count = sum(len(group["params"]) for group in optimizer.param_groups)
    kept = optimizer.state_dict()["state"]
    return [number for number in range(count) if not kept.get(number)]


def _digest(text: str, state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over a checkpoint's description and, by name, all its tensors."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(state):
        tensor = state[name]
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
