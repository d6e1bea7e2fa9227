"""Extend a real model: load, prepare, train, save; from settings to an adapter folder.

Works on one device, or under torchrun on several: each process takes its share of a step's windows, and the curve is
that of one process which takes them all.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.distributed
from peft import PeftModel
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel

from ..runs.claim import check_folder, claimed_folder, started_settings
from ..runs.progress import Progress, Silent, step_by_step
from ..runs.records import as_json, peak_memory, provenance, read_json, write_json
from ..training.train import Metrics, TrainResult, TrainSettings, train
from .base_reach import Reach, reach_of
from .data import TextData, check_ids, draw_in_passes, length_histogram, read_data
from .input_hashes import input_hashes
from .loading import check_family, load_causal_model, load_tokenizer, save_tokenizer
from .loss import NextTokenLoss
from .pairs import IGNORED, PairData
from .processes import own_device, process_group
from .recipe import longlora, merge_longlora
from .run_log import RunLog
from .scores import windows_of
from .settings import TrainingSettings
from .sparse_attention import use_dense
from .tokens import opening_ids, token_names, with_opening

__all__ = ["TrainingSettings", "recompute_activations", "rehearse", "run_training"]

OnData = Callable[[list[tuple[int, int, int]], TextData | PairData], None]


def run_training(
    settings: TrainingSettings,
    folder: Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    on_data: OnData | None = None,
    report_to: Sequence[str] = (),
) -> dict:
    """Run or finish a training in `folder`; returns the content of `run.json`. `adapter/` (or `model/`) is its result.

    `on_data(histogram, data)` is called before training, so that a caller can show what there is to train on.
    `log.jsonl` grows by a line a step; `report_to=("tensorboard",)` writes TensorBoard's files beside it.

    Raises:
        ValueError: before anything is written, for settings, model or data that cannot work, and for a folder that
            holds a run already.
        FloatingPointError: when a loss is not finite; the last good checkpoint stays.
    """
    with process_group() as (rank, world), ExitStack() as held:
        if settings.accumulate % world:
            raise ValueError(f"accumulate must be a multiple of the {world} processes, got {settings.accumulate}")
        log = RunLog(folder, report_to)
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        identity = {"run": "train", **dataclasses.asdict(settings), "threads": torch.get_num_threads()}
        # What a folder holds already is known before anything is loaded.
        claim = {"result": "run.json", "resume": resume}
        if started_settings(folder) is not None and check_folder(folder, identity, **claim):
            if rank == 0:
                (folder / CHECKPOINT).unlink(missing_ok=True)  # a process that was killed may have left it
            return read_json(folder / "run.json")
        if world > 1:
            torch.distributed.barrier()  # the first process may write there once all have looked
        loaded = _load(settings, on_data if rank == 0 else None, progress if rank == 0 else None)
        run = _prepare(loaded, rank, world)
        if resume:
            _check_readable(folder / CHECKPOINT)
        if rank == 0:
            inputs = input_hashes(settings.model, loaded.data)
            hold = claimed_folder(folder, identity, inputs=inputs, scratch=(CHECKPOINT,), **claim)
            if held.enter_context(hold):
                raise ValueError(f"{folder} must not be finished meanwhile, got a result: see it with --resume")
        result = _train(run, folder, resume, log, progress if rank == 0 else None)
        return _save(run, result, folder) if rank == 0 else {}


def rehearse(settings: TrainingSettings) -> Reach:
    """Apply the recipe of a run to its model without weights; returns how far the base reads already.

    Raises:
        ValueError: for all that the run would refuse of this model: `plan` and `train` both ask here.
    """
    empty = check_family(settings.model)
    reach = reach_of(empty.config, settings.trained_length)
    with torch.device("meta"):
        longlora(empty, settings.recipe(reach), dropout=settings.dropout, rslora=settings.rslora)
    return reach


def recompute_activations(model: nn.Module) -> None:
    """Turn on gradient checkpointing: layers keep their inputs only and compute the rest again in the backward pass."""
    # The second is its older name, which transformers 6 will not know.
    enable: Any = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


CHECKPOINT = "checkpoint.safetensors"
VALIDATION_WINDOWS = 16


@dataclass(frozen=True)
class _Loaded:
    """The base of a run, what it is trained on, and the tokens that begin its windows by name.

    `settings` are those of the run, with the steps that its epochs make; `validation` are windows (1, n) held out.
    """

    settings: TrainingSettings
    model: PreTrainedModel
    data: TextData | PairData
    reach: Reach
    opening: str | None
    validation: list[np.ndarray]


@dataclass(frozen=True)
class _Run:
    """A run that can begin: the wrapped model, the weights that learn, and the loss of a part of a step."""

    base: _Loaded
    model: PeftModel | PreTrainedModel
    parameters: dict[str, nn.Parameter]
    objective: _Objective


def _load(settings: TrainingSettings, on_data: OnData | None, progress: Progress | None) -> _Loaded:
    """Read the data and the model, the cheap and likely refusals first."""
    reach = rehearse(settings)
    tokenizer = load_tokenizer(settings.model)
    data = read_data(settings, tokenizer, progress)
    opening = opening_ids(tokenizer) if isinstance(data, TextData) else []
    validation = _held_out_windows(data, settings.context, opening) if settings.validate_every else []
    if settings.epochs is not None:
        steps = math.ceil(settings.epochs * data.in_a_pass / (settings.batch * settings.accumulate))
        settings = dataclasses.replace(settings, steps=steps)
    if on_data is not None:
        on_data(length_histogram(data.lengths, settings.context), data)
    dtype = getattr(torch, settings.half) if settings.half and settings.train == "adapters" else torch.float32
    model = load_causal_model(settings.model, dtype=dtype, load_in=settings.load_in)
    check_ids(data.texts, model)
    return _Loaded(settings, model, data, reach, token_names(tokenizer, opening), validation)


def _held_out_windows(data: TextData | PairData, context: int, opening: Sequence[int]) -> list[np.ndarray]:
    """The windows (1, n) that the loss is measured on during training: some of the held-out side, evenly out of all.

    Raises:
        ValueError: when no held-out text is long enough.
    """
    length = context - len(opening)
    try:
        rows = windows_of(data.held_out if isinstance(data, TextData) else (), length, length)
    except ValueError as error:
        raise ValueError(f"validate_every must be 0 without held-out text: {error}") from None
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(VALIDATION_WINDOWS, len(rows))).round().astype(int))]
    return [with_opening(row[None], opening) for row in rows]


def _prepare(base: _Loaded, rank: int, world: int) -> _Run:
    """Give the model the recipe and put it on the device of this process."""
    device, settings = own_device(), base.settings
    torch.manual_seed(settings.seed)
    model = longlora(base.model, settings.recipe(base.reach), dropout=settings.dropout, rslora=settings.rslora)
    if settings.dense:
        use_dense(model)
    parameters = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    for weight in parameters.values():
        weight.data = weight.data.float()  # small steps of half-precision weights would be rounded away
    loss = NextTokenLoss(model)
    if settings.gradient_checkpointing:
        recompute_activations(model)
    loss.to(device).train()
    if world > 1:
        loss = DistributedDataParallel(loss)
    return _Run(base, model, parameters, _Objective(loss, base, rank, world, device))


def _train(run: _Run, folder: Path, resume: bool, log: RunLog, progress: Progress | None) -> TrainResult:
    """Take the steps, or those that are left."""
    settings, objective = run.base.settings, run.objective
    scaler = torch.amp.GradScaler(objective.device.type) if settings.fp16 else None
    optimizer = torch.optim.AdamW(run.parameters.values(), lr=settings.rate, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = TrainSettings(
        settings.steps,
        accumulate=settings.accumulate // objective.world,
        warmup=min(settings.warmup, settings.steps),
        decay="cosine",
        checkpoint_every=settings.checkpoint_every,
    )
    tokens = round(settings.accumulate * settings.batch * run.base.data.mean_length)
    with (progress or Silent()).stage("Training", settings.steps * tokens, "tok") as advance:
        show = step_by_step(advance, tokens, "loss", "loss")

        def on_step(step: int, point: Metrics) -> None:
            show(step, point)
            if objective.rank == 0:
                log(step, point)

        return train(
            run.parameters,
            [optimizer],
            objective,
            schedule,
            checkpoint=folder / CHECKPOINT,
            resume=resume,
            on_step=on_step,
            writes=objective.rank == 0,
            scaler=scaler,
            over_processes=objective.over_processes,
            measure=objective.validate,
        )


def _save(run: _Run, result: TrainResult, folder: Path) -> dict:
    """Write the adapter or the model, then the record; the checkpoint goes last."""
    settings, model, data = run.base.settings, run.model.eval(), run.base.data
    counted = sum(weight.numel() for weight in run.parameters.values())
    weights = sum(weight.numel() for weight in model.parameters())
    context = reach_of(model.config).length
    out = folder / ("adapter" if settings.train == "adapters" else "model")
    # All weights trained make a model like any other.
    (model if settings.train == "adapters" else merge_longlora(model)).save_pretrained(str(out))
    save_tokenizer(settings.model, out, context)
    record = as_json(
        {
            "settings": dataclasses.asdict(settings),
            "attention": "dense" if settings.dense else "S2",
            "context": {"before": run.base.reach.length, "after": context},
            "windows_begin_with": run.base.opening,
            "files_left_out": len(getattr(data, "skipped", ())),
            "pairs_left_out": getattr(data, "left_out", 0),
            "trainable_parameters": counted,
            "parameters": weights,
            "seconds": result.seconds,
            "tokens_per_second": sum(point["tokens"] for point in result.curve) / result.seconds,
            "peak_rss_bytes": peak_memory(),
            "peak_device_bytes": torch.cuda.max_memory_allocated() if run.objective.device.type == "cuda" else None,
            "processes": run.objective.world,
            "curve": result.curve,
            **dataclasses.asdict(provenance(threads=torch.get_num_threads())),
        }
    )
    write_json(folder / "run.json", record)
    (folder / CHECKPOINT).unlink()
    return record


@dataclass(frozen=True)
class _Objective:
    """The loss of one part of a step: windows, dropout and all are a function of (seed, step, part) and nothing else.

    Part `p` of process `r` is part `p · world + r`. The parts of a step weigh what they hold: their sum over
    `accumulate` is the mean over the step's labels, however these are divided.
    """

    loss: nn.Module
    base: _Loaded
    rank: int
    world: int
    device: torch.device

    def __call__(self, step: int, part: int) -> tuple[Tensor, Metrics]:
        settings = self.base.settings
        ids, labels, dropout = self._drawn(step, part * self.world + self.rank)
        torch.manual_seed(dropout)
        # Gradients are summed over the processes once a step: in the backward pass of its last part.
        last = (part + 1) * self.world == settings.accumulate
        with nullcontext() if last or self.world == 1 else cast(Any, self.loss).no_sync(), self._half():
            nats, count = self.loss(torch.from_numpy(ids).to(self.device), torch.from_numpy(labels))
        loss = nats / count * (count * settings.accumulate / self._labels_of(step))
        tokens = torch.full((), float(ids.size * settings.accumulate), device=self.device)  # of a whole step
        return loss, {"nats_per_token": loss, "tokens": tokens}

    def over_processes(self, numbers: Tensor) -> Tensor:
        """Return the mean of each number over the processes; all must call it, and `numbers` may be overwritten."""
        if self.world > 1:
            torch.distributed.all_reduce(numbers, torch.distributed.ReduceOp.SUM)
        return numbers / self.world

    def validate(self, step: int) -> Metrics:
        """Return the mean loss on the held-out windows, in a dict; an empty one if it is not time to measure.

        Each process measures its share, and all must call it: the mean is over all shares. Measuring leaves the model
        in training mode.
        """
        every, total = self.base.settings.validate_every, self.base.settings.steps
        if not every or ((step + 1) % every and step + 1 != total):
            return {}
        model = cast(nn.Module, self.loss.module) if self.world > 1 else self.loss
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        model.eval()
        with torch.no_grad(), self._half():
            for ids in map(torch.from_numpy, self.base.validation[self.rank :: self.world]):
                nats, count = model(ids.to(self.device), ids)
                sums += torch.stack([nats.double(), torch.full_like(nats, count).double()])
        model.train()
        nats, count = self.over_processes(sums).tolist()
        return {"validation_nats_per_token": nats / count}

    def _half(self) -> torch.autocast:
        half = self.base.settings.half
        return torch.autocast(self.device.type, getattr(torch, half or "bfloat16"), enabled=half is not None)

    def _drawn(self, step: int, part: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Ids and labels of a part, and the seed of its dropout."""
        settings, data = self.base.settings, self.base.data
        rng = np.random.default_rng([settings.seed, step, part])
        if settings.epochs is None:
            ids, labels = data.draw(rng, settings.batch)
        else:
            first = (step * settings.accumulate + part) * settings.batch
            ids, labels = draw_in_passes(data, settings.seed, first, settings.batch)
        return ids, labels, int(rng.integers(2**63))

    def _labels_of(self, step: int) -> int:
        """Number of labels in all parts of a step, those of other processes among them."""
        if step not in self._counted:
            parts = (self._drawn(step, part) for part in range(self.base.settings.accumulate))
            self._counted.clear()
            self._counted[step] = sum(int((labels[:, 1:] != IGNORED).sum()) for _, labels, _ in parts)
        return self._counted[step]

    @cached_property
    def _counted(self) -> dict[int, int]:
        return {}


def _check_readable(checkpoint: Path) -> None:
    try:
        if checkpoint.exists():
            safe_open(checkpoint, framework="pt").keys()
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{checkpoint} must be readable, got a damaged file ({error}): bring a copy of it, or delete it and resume "
            "from the first step"
        ) from None
