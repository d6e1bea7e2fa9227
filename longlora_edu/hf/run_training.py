"""Extend a real model: load, prepare, train, save; from settings to an adapter folder.

Works on one device, or under torchrun on several: each process takes its share of a step's windows, and the curve is
that of one process which takes them all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

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
from .data import TextData, check_ids, length_histogram, read_data
from .input_hashes import input_hashes
from .loading import check_family, load_causal_model, load_tokenizer, save_tokenizer
from .loss import NextTokenLoss
from .pairs import IGNORED, PairData
from .processes import own_device, process_group
from .recipe import longlora, merge_longlora
from .settings import TrainingSettings
from .sparse_attention import use_dense
from .tokens import opening_ids, token_names

__all__ = ["TrainingSettings", "recompute_activations", "rehearse", "run_training"]

OnData = Callable[[list[tuple[int, int, int]], TextData | PairData], None]


def run_training(
    settings: TrainingSettings,
    folder: Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    on_data: OnData | None = None,
) -> dict:
    """Run or finish a training in `folder`; returns the content of `run.json`. `adapter/` (or `model/`) is its result.

    `on_data(histogram, data)` is called before training, so that a caller can show what there is to train on.

    Raises:
        ValueError: before anything is written, for settings, model or data that cannot work, and for a folder that
            holds a run already.
        FloatingPointError: when a loss is not finite; the last good checkpoint stays.
    """
    with process_group() as (rank, world), ExitStack() as held:
        if settings.accumulate % world:
            raise ValueError(f"accumulate must be a multiple of the {world} processes, got {settings.accumulate}")
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
        loaded = _load(settings, on_data if rank == 0 else None)
        run = _prepare(settings, loaded, rank, world)
        if resume:
            _check_readable(folder / CHECKPOINT)
        if rank == 0:
            inputs = input_hashes(settings.model, loaded.data)
            hold = claimed_folder(folder, identity, inputs=inputs, scratch=(CHECKPOINT,), **claim)
            if held.enter_context(hold):
                raise ValueError(f"{folder} must not be finished meanwhile, got a result: see it with --resume")
        result = _train(run, folder, resume, progress if rank == 0 else None)
        return _save(run, result, folder) if rank == 0 else {}


def rehearse(settings: TrainingSettings) -> Reach:
    """Apply the recipe of a run to its model without weights; returns how far the base reads already.

    Raises:
        ValueError: for all that the run would refuse of this model: `plan` and `train` both ask here.
    """
    empty = check_family(settings.model)
    reach = reach_of(empty.config, settings.trained_length)
    with torch.device("meta"):
        longlora(empty, settings.recipe(reach))
    return reach


def recompute_activations(model: nn.Module) -> None:
    """Gradient checkpointing: layers keep their inputs only and compute the rest again in the backward pass."""
    # The second is its older name, which transformers 6 will not know.
    enable: Any = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True)
class _Loaded:
    """The base of a run, what it is trained on, and the tokens that begin its windows by name."""

    model: PreTrainedModel
    data: TextData | PairData
    reach: Reach
    opening: str | None


@dataclass(frozen=True)
class _Run:
    """A run that can begin: the wrapped model, the weights that learn, and the loss of a part of a step."""

    settings: TrainingSettings
    base: _Loaded
    model: PeftModel | PreTrainedModel
    parameters: dict[str, nn.Parameter]
    objective: _Objective


def _load(settings: TrainingSettings, on_data: OnData | None) -> _Loaded:
    """Read the data and the model, the cheap and likely refusals first."""
    reach = rehearse(settings)
    tokenizer = load_tokenizer(settings.model)
    data = read_data(settings, tokenizer)
    if on_data is not None:
        on_data(length_histogram(data.lengths, settings.context), data)
    model = load_causal_model(settings.model, bf16=settings.bf16 and settings.train == "adapters")
    check_ids(data.texts, model)
    opening = opening_ids(tokenizer) if isinstance(data, TextData) else []
    return _Loaded(model, data, reach, token_names(tokenizer, opening))


def _prepare(settings: TrainingSettings, base: _Loaded, rank: int, world: int) -> _Run:
    """Give the model the recipe and put it on the device of this process."""
    device = own_device()
    torch.manual_seed(settings.seed)
    model = longlora(base.model, settings.recipe(base.reach))
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
    return _Run(settings, base, model, parameters, _Objective(loss, base.data, settings, rank, world, device))


def _train(run: _Run, folder: Path, resume: bool, progress: Progress | None) -> TrainResult:
    """Take the steps, or those that are left."""
    settings, world = run.settings, run.objective.world
    optimizer = torch.optim.AdamW(run.parameters.values(), lr=settings.rate, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = TrainSettings(
        settings.steps,
        accumulate=settings.accumulate // world,
        warmup=min(settings.warmup, settings.steps),
        decay="cosine",
        checkpoint_every=settings.checkpoint_every,
    )
    tokens = round(settings.accumulate * settings.batch * run.base.data.mean_length)
    with (progress or Silent()).stage("Training", settings.steps * tokens, "tok") as advance:
        return train(
            run.parameters,
            [optimizer],
            run.objective,
            schedule,
            checkpoint=folder / CHECKPOINT,
            resume=resume,
            on_step=step_by_step(advance, tokens, "loss", "loss"),
            writes=run.objective.rank == 0,
        )


def _save(run: _Run, result: TrainResult, folder: Path) -> dict:
    """Write the adapter or the model, then the record; the checkpoint goes last."""
    settings, model, data = run.settings, run.model.eval(), run.base.data
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
            "peak_device_bytes": torch.cuda.max_memory_allocated() if run.objective.device == "cuda" else None,
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
    data: TextData | PairData
    settings: TrainingSettings
    rank: int
    world: int
    device: str

    def __call__(self, step: int, part: int) -> tuple[Tensor, Metrics]:
        own = part * self.world + self.rank
        ids, labels, dropout = self._drawn(step, own)
        torch.manual_seed(dropout)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.settings.bf16):
            nats, count = self.loss(*(torch.from_numpy(values).to(self.device) for values in (ids, labels)))
        loss = nats / count * (int(count) * self.settings.accumulate / self._labels_of(step))
        means = torch.stack([loss.detach(), torch.tensor(float(ids.size), device=self.device)])
        if self.world > 1:
            torch.distributed.all_reduce(means, torch.distributed.ReduceOp.SUM)
            means /= self.world
        mean, tokens = means.tolist()
        return loss, {"nats_per_token": mean, "tokens": tokens * self.settings.accumulate}  # of a whole step

    def _drawn(self, step: int, part: int) -> tuple[np.ndarray, np.ndarray, int]:
        """Ids and labels of a part, and the seed of its dropout."""
        rng = np.random.default_rng([self.settings.seed, step, part])
        ids, labels = self.data.draw(rng, self.settings.batch)
        return ids, labels, int(rng.integers(2**63))

    def _labels_of(self, step: int) -> int:
        """Number of labels in all parts of a step, those of other processes among them."""
        if step not in self._counted:
            parts = (self._drawn(step, part) for part in range(self.settings.accumulate))
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
