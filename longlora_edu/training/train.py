"""A training loop that knows no model: steps, schedule, checkpoints, resume.

The caller brings parameters, optimizers and an objective that is a pure function of the step. So nothing but
parameters, optimizer state and the curve so far has to be saved, and a run that was killed ends at the same
weights, bit for bit at the same thread count, as one that was not.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..runs.records import replace_file

Metrics = dict[str, Any]  # numbers, and None where there was nothing to measure
Objective = Callable[[int, int], tuple[Tensor, Metrics]]


@dataclass(frozen=True)
class TrainSettings:
    """How to train. `accumulate` micro-batches make one step; learning rates are those of the optimizers' groups.

    The schedule rises linearly over `warmup` steps, then stays (`"constant"`) or falls to zero along a line or
    half a cosine. Gradients longer than `clip` are shortened to it.
    """

    steps: int
    accumulate: int = 1
    warmup: int = 0
    decay: Literal["constant", "linear", "cosine"] = "constant"
    clip: float = 1.0
    checkpoint_every: int = 25

    def __post_init__(self) -> None:
        for name in ("steps", "accumulate", "checkpoint_every", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not 0 <= self.warmup <= self.steps:
            raise ValueError(f"warmup must be from 0 to steps = {self.steps}, got {self.warmup}")
        if self.decay not in ("constant", "linear", "cosine"):
            raise ValueError(f"decay must be one of constant, linear, cosine, got {self.decay!r}")

    def learning_rate_factor(self, step: int) -> float:
        """What the learning rates are multiplied by at `step`, counted from 0."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        if self.decay == "linear":
            return 1 - progress
        return 0.5 * (1 + math.cos(math.pi * progress)) if self.decay == "cosine" else 1.0


@dataclass(frozen=True)
class TrainResult:
    """The curve of a run, one mapping a step: `loss`, `seconds` since the start, and what the objective measured."""

    curve: tuple[Metrics, ...]

    @property
    def seconds(self) -> float:
        """Time spent in steps, over all the processes that took part."""
        return self.curve[-1]["seconds"] if self.curve else 0.0


def train(
    parameters: Mapping[str, nn.Parameter],
    optimizers: Sequence[torch.optim.Optimizer],
    objective: Objective,
    settings: TrainSettings,
    *,
    checkpoint: Path | None = None,
    resume: bool = False,
    on_step: Callable[[int, Metrics], None] = lambda step, metrics: None,
    stop: Callable[[], bool] = lambda: False,
    writes: bool = True,
) -> TrainResult:
    """Minimise `objective(step, part) -> (loss, metrics)` over `parameters`, in place.

    `checkpoint` is one file, replaced whole every `settings.checkpoint_every` steps and at the end. With
    `resume` the run goes on from it if it is there. `on_step` sees each finished step: draw progress there.
    `stop` is asked before each step; if it says so, the run ends there, its checkpoint written: nothing is lost.
    `writes=False` is for all but one of several processes that train together: they read the checkpoint only.

    Raises:
        ValueError: for a checkpoint that is damaged or belongs to another run, saying what was found.
        FloatingPointError: when a loss or gradient is not finite. Parameters keep the last finite step, and the
            message names the last good checkpoint.
    """
    curve: list[Metrics] = []
    if resume and checkpoint is not None and checkpoint.exists():
        curve = load_checkpoint(checkpoint, parameters, optimizers, settings)
    saved = len(curve)
    before = curve[-1]["seconds"] if curve else 0.0
    began = time.perf_counter()
    for step in range(len(curve), settings.steps):
        if stop():
            if checkpoint is not None and writes and saved < step:
                save_checkpoint(checkpoint, parameters, optimizers, settings, curve)
            break
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        parts = []
        for part in range(settings.accumulate):
            loss, metrics = objective(step, part)
            _check_finite("loss", loss.item(), step, checkpoint if saved else None, saved)
            (loss / settings.accumulate).backward()
            parts.append({"loss": loss.item(), **metrics})
        norm = nn.utils.clip_grad_norm_(parameters.values(), settings.clip).item()
        _check_finite("gradient", norm, step, checkpoint if saved else None, saved)
        with _rates_times(settings.learning_rate_factor(step), optimizers):
            for optimizer in optimizers:
                optimizer.step()
        seconds = before + time.perf_counter() - began
        curve.append({"step": step + 1, "seconds": seconds, "gradient_norm": norm, **mean_metrics(parts)})
        if checkpoint is not None and ((step + 1) % settings.checkpoint_every == 0 or step + 1 == settings.steps):
            if writes:
                save_checkpoint(checkpoint, parameters, optimizers, settings, curve)
            saved = step + 1
        on_step(step, curve[-1])
    return TrainResult(tuple(curve))


def save_checkpoint(
    path: Path,
    parameters: Mapping[str, nn.Parameter],
    optimizers: Sequence[torch.optim.Optimizer],
    settings: TrainSettings,
    curve: Sequence[Metrics],
) -> None:
    """Everything a run needs to go on, in one safetensors file: weights, optimizer state, settings and curve.

    The number of threads is noted, not compared: with another one a resumed run is right, but not the same bit for bit.
    """
    about = {"settings": _settings(settings, optimizers), "threads": torch.get_num_threads(), "curve": list(curve)}
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in _tensors(parameters, optimizers).items()}
    replace_file(path, save(state, metadata={"longlora_edu": json.dumps(about)}))


def load_checkpoint(
    path: Path,
    parameters: Mapping[str, nn.Parameter],
    optimizers: Sequence[torch.optim.Optimizer],
    settings: TrainSettings,
) -> list[Metrics]:
    """Put a checkpoint's weights and optimizer state into place; returns the curve so far.

    Raises:
        ValueError: before anything changes, for a file that is damaged, or that was written by a run with other
            settings, optimizers or parameters.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("longlora_edu", "null"))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        raise ValueError(f"checkpoint {path} must be readable, got a damaged file: {error}") from None
    if about is None:
        raise ValueError(f"checkpoint {path} must be one of longlora_edu, got a foreign safetensors file")
    then, now = about["settings"], _settings(settings, optimizers)
    if changed := [name for name in now | then if then.get(name) != now.get(name)]:
        changes = ", ".join(f"{name} {then.get(name)} then, {now.get(name)} now" for name in changed)
        raise ValueError(f"checkpoint {path} must be of the same run, got other settings: {changes}")
    if others := sorted({name for name in state if name.startswith("parameter.")} - set(_tensors(parameters, []))):
        raise ValueError(f"checkpoint {path} must hold the parameters of this run only, got {', '.join(others[:3])}")
    for name, parameter in parameters.items():
        found = state.get(f"parameter.{name}")
        if found is None or found.shape != parameter.shape:
            what = "no such tensor" if found is None else f"shape {tuple(found.shape)}"
            raise ValueError(f"checkpoint {path} must hold {name} of shape {tuple(parameter.shape)}, got {what}")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(state[f"parameter.{name}"])
    for index, optimizer in enumerate(optimizers):
        own = optimizer.state_dict()
        own["state"] = {}
        for key, tensor in state.items():
            if key.startswith(prefix := f"optimizer.{index}."):
                parameter_index, _, field = key.removeprefix(prefix).partition(".")
                own["state"].setdefault(int(parameter_index), {})[field] = tensor
        optimizer.load_state_dict(own)
    return about["curve"]


@contextmanager
def _rates_times(factor: float, optimizers: Sequence[torch.optim.Optimizer]) -> Iterator[None]:
    """Learning rates scaled for one step. They are the caller's, who may use the optimizers again."""
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    rates = [group["lr"] for group in groups]
    try:
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * factor
        yield
    finally:
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate


def _settings(settings: TrainSettings, optimizers: Sequence[torch.optim.Optimizer]) -> dict:
    """What two processes must agree on to be one run, as JSON gives it back."""
    values: dict[str, Any] = dataclasses.asdict(settings)
    for index, optimizer in enumerate(optimizers):
        values[f"optimizer {index}"] = type(optimizer).__name__
        for number, group in enumerate(optimizer.state_dict()["param_groups"]):
            values |= {f"optimizer {index} group {number} {name}": value for name, value in group.items()}
    return json.loads(json.dumps(values, default=float))


def _tensors(parameters, optimizers) -> dict[str, Tensor]:
    tensors = {f"parameter.{name}": parameter for name, parameter in parameters.items()}
    for index, optimizer in enumerate(optimizers):
        for parameter_index, fields in optimizer.state_dict()["state"].items():
            for field, value in fields.items():
                tensors[f"optimizer.{index}.{parameter_index}.{field}"] = torch.as_tensor(value)
    return tensors


def mean_metrics(parts: Sequence[Metrics]) -> Metrics:
    """The mean of several, field by field, over those that have a number: some have no passkey to measure."""
    names = dict.fromkeys(name for part in parts for name in part)
    values = {name: [part[name] for part in parts if part.get(name) is not None] for name in names}
    return {name: sum(numbers) / len(numbers) if numbers else None for name, numbers in values.items()}


def _check_finite(what: str, value: float, step: int, checkpoint: Path | None, saved: int) -> None:
    if math.isfinite(value):
        return
    kept = f"the last good checkpoint is {checkpoint}, of step {saved}" if checkpoint else "no checkpoint was written"
    raise FloatingPointError(f"{what} must be finite, got {value} at step {step + 1}; {kept}")
