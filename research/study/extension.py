"""From a run's settings to an extended model: begin with a base, stretch, train, merge."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from longlora_edu.longlora import EMBEDDINGS_AND_NORMS, LongLoRAConfig, apply_longlora, merge_longlora
from longlora_edu.model import TinyLlama
from longlora_edu.runs.progress import Progress
from longlora_edu.runs.records import peak_memory
from longlora_edu.training.corpus import Corpus, Windows
from longlora_edu.training.finetune import FinetuneSettings, finetune
from longlora_edu.training.train import Metrics

from .bands import TURNS, set_rope, stretch_band
from .embedding_lora import add_embedding_lora, merge_embedding_lora
from .layouts import lay_out
from .spec import Run

PASSKEY_WEIGHT = 5.0


@dataclass(frozen=True)
class Extended:
    """A merged, dense model, and how it came about: one mapping a step, and what the training needed."""

    model: TinyLlama
    curve: tuple[Metrics, ...] = ()
    seconds: float = 0.0
    peak_rss_bytes: int | None = None
    trainable_parameters: int = 0
    all_parameters: int = 0


def extend(
    run: Run,
    base: TinyLlama,
    corpus: Corpus,
    *,
    checkpoint: Path | None = None,
    resume: bool = False,
    start: Callable[[Run], TinyLlama] | None = None,
    progress: Progress | None = None,
    on_step: Callable[[TinyLlama, int], None] = lambda model, step: None,
) -> Extended:
    """Train `base`, in place, as the run says. `on_step` sees the unmerged model before step 0 and after each step.

    `start` gives the merged model of the run that this one starts from; without it that run is computed first.

    Raises:
        ValueError: for settings that do not fit the base, such as a target that is not above its trained context.
    """
    if run.start is not None:
        base = start(run.start) if start else extend(run.start, base, corpus, progress=progress).model
    prepare(run, base)
    counts = {
        "trainable_parameters": sum(p.numel() for p in base.parameters() if p.requires_grad),
        "all_parameters": sum(p.numel() for p in base.parameters()),
    }
    on_step(base, 0)
    if not run.steps:
        return Extended(merged(base), **counts | {"trainable_parameters": 0})
    result = finetune(
        base,
        Windows(corpus.train, run.window + 1),
        FinetuneSettings(run.steps, run.batch, run.rate, run.seed, run.passkey_share, PASSKEY_WEIGHT),
        forward=Skipping(base, run.target, run.seed) if run.skip else None,
        checkpoint=checkpoint,
        resume=resume,
        progress=progress,
        on_step=lambda step, metrics: on_step(base, step + 1),
    )
    return Extended(merged(base), result.curve, result.seconds, peak_memory(), **counts)


def prepare(run: Run, model: TinyLlama) -> None:
    """Positions, training attention and what trains, in place. At the trained context nothing is stretched."""
    trained = model.config.trained_context
    if run.rope_base is not None:
        set_rope(model, dataclasses.replace(model.config.rope, base=run.rope_base))
    if run.target == trained:
        if run.train != "all":
            raise ValueError(f"train must be 'all' where the target is the trained context, got {run.train!r}")
        lay_out(model.requires_grad_(True), run)
        return
    embeddings, *norms = EMBEDDINGS_AND_NORMS
    whole = [embeddings] * ("embeddings" in run.parts) + norms * ("norms" in run.parts)
    generator = torch.Generator().manual_seed(run.seed)
    recipe = LongLoRAConfig(
        run.target,
        rope="linear" if run.rope in TURNS else run.rope,
        rank=run.rank,
        alpha=2 * run.rank,
        also_train=tuple(whole),
        train=run.train,
    )
    apply_longlora(model, recipe, generator=generator)
    if run.rope in TURNS:
        stretch_band(model, run.rope)
    if run.train == "adapters" and "embedding-lora" in run.parts:
        add_embedding_lora(model, rank=run.rank, alpha=2 * run.rank, generator=generator)
    lay_out(model, run)


def merged(model: TinyLlama) -> TinyLlama:
    """A plain dense model, in evaluation mode, in place."""
    merge_embedding_lora(model)
    return merge_longlora(model).eval()


@dataclass(frozen=True)
class Skipping:
    """The model with positions that leap once, by a random distance at a random place, up to the target (PoSE).

    Both are drawn by the seed and the text itself, so that a step stays a function of its windows.

    Source: arXiv 2309.10400, with two chunks.
    """

    model: TinyLlama
    target: int
    seed: int

    def __call__(self, ids: Tensor) -> Tensor:
        return self.model(ids, positions=self.positions(ids))

    def positions(self, ids: Tensor) -> Tensor:
        """int (n,), rising, below the target."""
        length = ids.shape[1]
        rng = np.random.default_rng([self.seed, zlib.crc32(ids.cpu().numpy().tobytes())])
        where, leap = rng.integers(1, length), rng.integers(0, self.target - length + 1)
        tokens = torch.arange(length, device=ids.device)
        return tokens + leap * (tokens >= where)
