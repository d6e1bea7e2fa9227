"""A training loop that knows no model: steps, schedule, checkpoints, resume.

The caller brings parameters, optimizers and an objective that is a pure function of the step. So nothing but
parameters, optimizer state and the curve so far has to be saved, and a run that was killed ends at the same
weights, bit for bit at the same thread count, as one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ..runs.validate import check_choice, check_integer, check_number, set_integers
from .checkpoint import load_checkpoint, save_checkpoint

Metrics = dict[str, Any]  # numbers, tensors of one, and None where there was nothing to measure
Objective = Callable[[int, int], tuple[Tensor, Metrics]]
Decay = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True)
class TrainSettings:
    """Length and schedule of a training. `accumulate` micro-batches make one step.

    Learning rates are those of the optimizers' groups. The schedule rises linearly over `warmup` steps, then stays
    (`"constant"`) or falls to zero along a line or half a cosine. Gradients longer than `clip` are shortened to it.

    Raises:
        ValueError: naming the field, its rule and the value.
    """

    steps: int
    accumulate: int = 1
    warmup: int = 0
    decay: Decay = "constant"
    clip: float = 1.0
    checkpoint_every: int = 25

    def __post_init__(self) -> None:
        set_integers(self, "steps", "accumulate", "checkpoint_every")
        object.__setattr__(self, "warmup", check_integer("warmup", self.warmup))
        if not 0 <= self.warmup <= self.steps:
            raise ValueError(f"warmup must be from 0 to steps = {self.steps}, got {self.warmup}")
        check_choice("decay", self.decay, get_args(Decay))
        object.__setattr__(self, "clip", check_number("clip", self.clip, above=0))

    def learning_rate_factor(self, step: int) -> float:
        """Return the factor of the rates at `step`, counted from 0: a linear rise over `warmup` steps, then `decay`."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        if self.decay == "linear":
            return 1 - progress
        return 0.5 * (1 + math.cos(math.pi * progress)) if self.decay == "cosine" else 1.0


@dataclass(frozen=True)
class TrainResult:
    """Curve of a run, one mapping a step: `loss`, `seconds` since the start, and what the objective measured."""

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
    scaler: torch.amp.GradScaler | None = None,
    over_processes: Callable[[Tensor], Tensor] = lambda numbers: numbers,
    measure: Callable[[int], Metrics] = lambda step: {},
) -> TrainResult:
    """Minimise `objective(step, part) -> (loss, metrics)` over `parameters`, in place.

    `checkpoint` is one file, replaced whole every `settings.checkpoint_every` steps and at the end. With
    `resume` the run goes on from it if it is there. `on_step` sees each finished step: draw progress there.
    `stop` is asked before each step; if it says so, the run ends there, its checkpoint written: nothing is lost.
    `writes=False` is for all but one of several processes that train together: they read the checkpoint only.
    `over_processes` averages the numbers of a step over them: once a step, where the device is waited for once, too.
    `measure` sees each finished step as well, before its checkpoint; what it returns joins the curve.
    `scaler` multiplies a float16 loss so that small gradients survive. A step whose gradients overflow is left out, as
    AMP does, and the scale is lowered; its state is in the curve (`loss_scale`, `steps_at_scale`).

    Raises:
        ValueError: for a checkpoint that is damaged or belongs to another run, saying what was found.
        FloatingPointError: when a loss or gradient is not finite. Parameters keep the last finite step, and the
            message names the last good checkpoint.
    """
    curve: list[Metrics] = []
    if resume and checkpoint is not None and checkpoint.exists():
        curve = load_checkpoint(checkpoint, parameters, optimizers, settings)
    if scaler is not None and curve:
        _restore(scaler, curve[-1])
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
            parts.append({"loss": loss.detach(), **metrics})
            loss = loss / settings.accumulate
            (loss if scaler is None else scaler.scale(loss)).backward()
        if scaler is not None:
            for optimizer in optimizers:
                scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(parameters.values(), settings.clip)
        *parts, found = _as_numbers([*parts, {"gradient_norm": norm}], over_processes)
        last_good = checkpoint if saved else None
        for part in parts:
            _check_finite("loss", part["loss"], step, last_good, saved)
        if scaler is None:
            _check_finite("gradient", found["gradient_norm"], step, last_good, saved)
        with _rates_times(settings.learning_rate_factor(step), optimizers):
            for optimizer in optimizers:
                optimizer.step() if scaler is None else scaler.step(optimizer)
        if scaler is not None:
            scaler.update()
            state = scaler.state_dict()
            found |= {"loss_scale": state["scale"], "steps_at_scale": state["_growth_tracker"]}
            if not math.isfinite(found["gradient_norm"]):
                found["gradient_norm"] = None
        seconds = before + time.perf_counter() - began
        curve.append({"step": step + 1, "seconds": seconds, **found, **mean_metrics(parts), **measure(step)})
        if checkpoint is not None and ((step + 1) % settings.checkpoint_every == 0 or step + 1 == settings.steps):
            if writes:
                save_checkpoint(checkpoint, parameters, optimizers, settings, curve)
            saved = step + 1
        on_step(step, curve[-1])
    return TrainResult(tuple(curve))


@contextmanager
def _rates_times(factor: float, optimizers: Sequence[torch.optim.Optimizer]) -> Iterator[None]:
    """Scale learning rates for one step. They are the caller's, who may use the optimizers again."""
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    rates = [group["lr"] for group in groups]
    try:
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * factor
        yield
    finally:
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate


def mean_metrics(parts: Sequence[Metrics]) -> Metrics:
    """Average metrics field by field, over those that have a number: some have no passkey to measure."""
    names = dict.fromkeys(name for part in parts for name in part)
    values = {name: [part[name] for part in parts if part.get(name) is not None] for name in names}
    return {name: sum(numbers) / len(numbers) if numbers else None for name, numbers in values.items()}


def _as_numbers(parts: Sequence[Metrics], over_processes: Callable[[Tensor], Tensor]) -> list[Metrics]:
    """Return metrics with numbers for tensors, all read in one wait for the device."""
    places = [(part, name) for part in parts for name, value in part.items() if isinstance(value, Tensor)]
    numbers = over_processes(torch.stack([part[name].detach().double() for part, name in places])).tolist()
    for (part, name), number in zip(places, numbers, strict=True):
        part[name] = number
    return list(parts)


def _restore(scaler: torch.amp.GradScaler, point: Metrics) -> None:
    state = scaler.state_dict()
    scaler.load_state_dict(state | {"scale": point["loss_scale"], "_growth_tracker": point["steps_at_scale"]})


def _check_finite(what: str, value: float, step: int, checkpoint: Path | None, saved: int) -> None:
    if math.isfinite(value):
        return
    kept = f"the last good checkpoint is {checkpoint}, of step {saved}" if checkpoint else "no checkpoint was written"
    raise FloatingPointError(f"{what} must be finite, got {value} at step {step + 1}; {kept}")
