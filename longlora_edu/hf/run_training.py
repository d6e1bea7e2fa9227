"""Extend a real model: its recipe, its data and its run, from settings to an adapter folder.

Works on one device, or under torchrun on several: each process takes its share of a step's windows, and the curve is
that of one process which takes them all.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..runs.progress import Progress, Silent, step_by_step
from ..runs.records import as_json, claim_folder, peak_memory, provenance, read_json, started_settings, write_json
from ..training.train import Metrics, TrainSettings, train
from .data import TextData, check_ids, length_histogram, read_data
from .loading import check_family, load_model, load_tokenizer
from .loss import NextTokenLoss
from .pairs import PairData
from .positions import context_length
from .processes import own_device, process_group
from .recipe import longlora
from .settings import TrainingSettings
from .sparse_attention import use_dense

__all__ = ["TrainingSettings", "recompute_activations", "run_training"]


def run_training(
    settings: TrainingSettings, folder: Path, *, resume: bool = False, progress: Progress | None = None, on_data=None
) -> dict:
    """Run or finish a training in `folder`; returns what `run.json` holds. `adapter/` (or `model/`) is what it made.

    `on_data(histogram, data)` is called before training, so that a face can show what there is to train on.

    Raises:
        ValueError: before anything is written, for settings, model or data that cannot work, and for a folder that
            holds a run already.
        FloatingPointError: when a loss is not finite; the last good checkpoint stays.
    """
    with process_group() as (rank, world):
        return _run(settings, folder, rank, world, resume, progress, on_data)


def recompute_activations(model: nn.Module) -> None:
    """Gradient checkpointing: layers keep their inputs only and compute the rest again in the backward pass."""
    # The second is its older name, which transformers 6 will not know.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def _run(settings: TrainingSettings, folder: Path, rank: int, world: int, resume: bool, progress, on_data) -> dict:
    if settings.accumulate % world:
        raise ValueError(f"accumulate must be a multiple of the {world} processes, got {settings.accumulate}")
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    identity = {"run": "train", **dataclasses.asdict(settings), "threads": torch.get_num_threads()}
    # What a folder holds already is known before anything is loaded.
    if started_settings(folder) is not None and claim_folder(folder, identity, result="run.json", resume=resume):
        return read_json(folder / "run.json")
    if world > 1:
        torch.distributed.barrier()  # the first process may write there once all have looked
    device = own_device()
    check_family(settings.model)
    tokenizer = load_tokenizer(settings.model)
    data = read_data(settings, tokenizer)
    if on_data is not None and rank == 0:
        on_data(length_histogram(data.lengths, settings.context), data)
    model = load_model(settings.model, bf16=settings.bf16 and settings.train == "adapters")
    check_ids(data.texts, model)
    torch.manual_seed(settings.seed)
    model = longlora(model, settings.recipe(context_length(model.config)))
    if settings.dense:
        use_dense(model)
    parameters = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    for weight in parameters.values():
        weight.data = weight.data.float()  # small steps of half-precision weights would be rounded away
    loss = NextTokenLoss(model)
    checkpoint = folder / "checkpoint.safetensors"
    if resume:
        _check_readable(checkpoint)
    if rank == 0:
        claim_folder(folder, identity, result="run.json", resume=resume)

    if settings.gradient_checkpointing:
        recompute_activations(model)
    loss.to(device).train()
    if world > 1:
        loss = DistributedDataParallel(loss)
    objective = _Objective(loss, data, settings, rank, world, device)
    optimizer = torch.optim.AdamW(parameters.values(), lr=settings.rate, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = TrainSettings(
        settings.steps,
        accumulate=settings.accumulate // world,
        warmup=min(settings.warmup, settings.steps),
        decay="cosine",
        checkpoint_every=settings.checkpoint_every,
    )
    tokens = round(settings.accumulate * settings.batch * data.mean_length)
    shown = progress if progress is not None and rank == 0 else Silent()
    with shown.stage("Training", settings.steps * tokens, "tok") as advance:
        on_step = step_by_step(advance, tokens, "loss", "loss")
        result = train(
            parameters,
            [optimizer],
            objective,
            schedule,
            checkpoint=checkpoint,
            resume=resume,
            on_step=on_step,
            writes=rank == 0,
        )
    if rank != 0:
        return {}
    model.eval()
    out = folder / ("adapter" if settings.train == "adapters" else "model")
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    record = as_json(
        {
            "settings": dataclasses.asdict(settings),
            "attention": "dense" if settings.dense else "S2",
            "trainable_parameters": sum(weight.numel() for weight in parameters.values()),
            "parameters": sum(weight.numel() for weight in model.parameters()),
            "seconds": result.seconds,
            "tokens_per_second": sum(point["tokens"] for point in result.curve) / result.seconds,
            "peak_rss_bytes": peak_memory(),
            "peak_device_bytes": torch.cuda.max_memory_allocated() if device == "cuda" else None,
            "processes": world,
            "curve": result.curve,
            **dataclasses.asdict(provenance(threads=torch.get_num_threads())),
        }
    )
    write_json(folder / "run.json", record)
    checkpoint.unlink()
    return record


@dataclass(frozen=True)
class _Objective:
    """The windows of (seed, step, part) and nothing else; part `p` of process `r` is part `p · world + r`."""

    loss: nn.Module
    data: TextData | PairData
    settings: TrainingSettings
    rank: int
    world: int
    device: str

    def __call__(self, step: int, part: int) -> tuple[Tensor, Metrics]:
        rng = np.random.default_rng([self.settings.seed, step, part * self.world + self.rank])
        ids, labels = (torch.from_numpy(a).to(self.device) for a in self.data.draw(rng, self.settings.batch))
        with torch.autocast(self.device, torch.bfloat16, enabled=self.settings.bf16):
            nats, count = self.loss(ids, labels)
        loss = nats / count
        means = torch.stack([loss.detach(), torch.tensor(float(ids.numel()), device=self.device)])
        if self.world > 1:
            torch.distributed.all_reduce(means, torch.distributed.ReduceOp.SUM)
            means /= self.world
        mean, tokens = means.tolist()
        return loss, {"nats_per_token": mean, "tokens": tokens * self.settings.accumulate}  # of a whole step


def _check_readable(checkpoint: Path) -> None:
    try:
        if checkpoint.exists():
            safe_open(checkpoint, framework="pt").keys()
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{checkpoint} must be readable, got a damaged file ({error}): bring a copy of it, or delete it and resume "
            "from the first step"
        ) from None
