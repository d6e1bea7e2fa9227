"""Extend a real model: its recipe, its data and its run, from settings to an adapter folder.

Works on one device, or under torchrun on several: each process takes its share of a step's windows, and the curve is
that of one process which takes them all.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.distributed
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..corpus import DocumentRule, read_corpus
from ..geometry import Boundary, group_size_from_ratio
from ..longlora import LongLoRAConfig
from ..progress import Progress, Silent, step_by_step
from ..records import (
    as_json,
    check_integer,
    claim_folder,
    peak_memory,
    provenance,
    read_json,
    started_settings,
    write_json,
)
from ..rope import RopeMethod
from ..train import Metrics, TrainSettings, train
from .attention import use_dense
from .data import TokenWindows, check_ids, length_histogram, read_pairs, tokenised, tokenised_pair
from .loading import check_family, load_model, load_tokenizer
from .loss import NextTokenLoss
from .positions import context_length
from .recipe import longlora


@dataclass(frozen=True)
class TrainingSettings:
    """What `longlora-edu train` can be told.

    A step is `accumulate` micro-batches of `batch` windows, over all processes together. `data` is a file or folder of
    text, of which `document` says what is one, or a `.json`/`.jsonl` file of instruction pairs. `rope=None` is YaRN
    where the context is stretched, and the model's own positions within its trained context. `dense=True` trains with
    full attention, for comparison.

    Raises:
        ValueError: naming the field, its rule and the value.
    """

    model: str
    data: str
    context: int
    document: DocumentRule = "file"
    group_ratio: float = 1 / 4
    rope: RopeMethod | None = None
    boundary: Boundary = "split"
    train: Literal["adapters", "all"] = "adapters"
    rank: int = 8
    bf16: bool = False
    gradient_checkpointing: bool = False
    dense: bool = False
    batch: int = 1
    accumulate: int = 8
    rate: float = 2e-4
    warmup: int = 20
    steps: int = 1000
    seed: int = 0
    threads: int | None = None
    checkpoint_every: int = 25

    def __post_init__(self) -> None:
        for name in ("context", "rank", "batch", "accumulate", "steps", "checkpoint_every"):
            check_integer(name, getattr(self, name), at_least=1)
        for name in ("warmup", "seed"):
            check_integer(name, getattr(self, name), at_least=0)
        if not 0 < self.rate < math.inf:
            raise ValueError(f"rate must be positive and finite, got {self.rate}")
        group = group_size_from_ratio(self.context, self.group_ratio)
        if self.boundary != "split" and self.context % group:
            raise ValueError(
                f"context must be a multiple of its group of {group} under boundary={self.boundary!r}, "
                f"got {self.context}: change it or group_ratio, or take boundary='split', which cuts any length"
            )
        self.recipe()

    def recipe(self, trained_context: int | None = None) -> LongLoRAConfig:
        """The recipe of the run, on a model of this context."""
        within = trained_context is not None and self.context <= trained_context
        return LongLoRAConfig(
            self.context,
            group_ratio=self.group_ratio,
            boundary=self.boundary,
            rope=self.rope or ("default" if within else "yarn"),
            rank=self.rank,
            alpha=2 * self.rank,
            train=self.train,
        )


@dataclass(frozen=True)
class TextData:
    """Windows of long documents. `held_out` are the texts that are never trained on."""

    windows: TokenWindows
    texts: tuple[np.ndarray, ...]
    held_out: tuple[np.ndarray, ...]

    @property
    def lengths(self) -> tuple[int, ...]:
        """Of all documents, in tokens."""
        return tuple(map(len, self.texts))

    @property
    def mean_length(self) -> float:
        """Of what is drawn, in tokens."""
        return self.windows.length

    def draw(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        ids = self.windows.draw(rng, count)
        return ids, ids


@dataclass(frozen=True)
class PairData:
    """Instruction pairs, drawn one at a time; those longer than the context are left out and counted."""

    pairs: tuple[tuple[np.ndarray, np.ndarray], ...]
    left_out: int
    lengths: tuple[int, ...]

    @property
    def texts(self) -> tuple[np.ndarray, ...]:
        """What is drawn from."""
        return tuple(ids for ids, _ in self.pairs)

    @property
    def mean_length(self) -> float:
        """Of what is drawn, in tokens."""
        return float(np.mean([len(ids) for ids in self.texts]))

    def draw(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        ids, labels = self.pairs[rng.integers(len(self.pairs))]
        return ids[None], labels[None]


def read_data(settings: TrainingSettings, tokenizer) -> TextData | PairData:
    """The data of a run, tokenised.

    Raises:
        ValueError: when nothing in it can be trained on at this context, naming the longest.
    """
    path = Path(settings.data)
    if path.suffix in (".json", ".jsonl") and path.is_file():
        if settings.batch != 1:
            raise ValueError(f"batch must be 1 for instruction pairs, whose lengths differ, got {settings.batch}")
        if settings.boundary != "split":
            raise ValueError(f"boundary must be 'split' for instruction pairs, got {settings.boundary!r}")
        everything = [tokenised_pair(pair, tokenizer) for pair in read_pairs(path)]
        fitting = tuple(pair for pair in everything if len(pair[0]) <= settings.context)
        lengths = tuple(len(ids) for ids, _ in everything)
        if not fitting:
            raise ValueError(f"data must hold a pair of at most {settings.context} tokens, got {min(lengths)} at least")
        return PairData(fitting, len(everything) - len(fitting), lengths)
    corpus = read_corpus(path, settings.document)
    texts, held_out = tokenised(corpus.train, tokenizer), tokenised(corpus.held_out, tokenizer)
    windows = TokenWindows(texts, settings.context)
    return TextData(windows, tuple(texts), tuple(held_out))


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
    with _group() as (rank, world):
        return _run(settings, folder, rank, world, resume, progress, on_data)


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
    device = _device()
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
        model.gradient_checkpointing_enable({"use_reentrant": False})
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


@contextmanager
def _group() -> Iterator[tuple[int, int]]:
    """This process's rank and how many there are, in the group of torchrun if there is one."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield 0, 1
        return
    torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    yield torch.distributed.get_rank(), world
    # The first process still writes; leaving now would end the others' threads, and them, with an abort.
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def _device() -> str:
    if not torch.cuda.is_available():
        return "cpu"
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return "cuda"
