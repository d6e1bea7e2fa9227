"""Extend a base model with the settings of a run: other positions, attention and trained parts than the recipe's."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from longlora_edu.longlora import EMBEDDINGS_AND_NORMS, LongLoRAConfig, apply_longlora, merge_to_dense
from longlora_edu.model import TinyLlama
from longlora_edu.runs.progress import Progress
from longlora_edu.training.corpus import Corpus, Windows
from longlora_edu.training.extend import Extension, extend_model
from longlora_edu.training.finetune import FinetuneSettings

from .bands import TURNS, set_rope, stretch_band
from .embedding_lora import add_embedding_lora, merge_embedding_lora
from .layouts import lay_out
from .spec import Run

PASSKEY_WEIGHT = 5.0


def extend_run(
    run: Run,
    base: TinyLlama,
    corpus: Corpus,
    *,
    checkpoint: Path | None = None,
    resume: bool = False,
    start: Callable[[Run], TinyLlama] | None = None,
    progress: Progress | None = None,
    on_step: Callable[[TinyLlama, int], None] = lambda model, step: None,
) -> Extension:
    """Train `base`, in place, with the settings of a run. `on_step` sees the model before step 0 and after each step.

    `start` gives the merged model of the run that this one starts from; without it that run is computed first.

    Raises:
        ValueError: for settings that do not fit the base, such as a target that is not above its trained context.
    """
    if run.start is not None:
        base = start(run.start) if start else extend_run(run.start, base, corpus, progress=progress).model

    def begin(model: TinyLlama) -> None:
        prepare(run, model)
        on_step(model, 0)

    rates = (run.rate, run.seed, run.passkey_share, PASSKEY_WEIGHT)
    return extend_model(
        base,
        Windows(corpus.train, run.window + 1) if run.steps else None,
        FinetuneSettings(run.steps, run.batch, *rates) if run.steps else None,
        prepare=begin,
        merge=merge_run,
        forward=Skipping(base, run.target, run.seed) if run.skip else None,
        checkpoint=checkpoint,
        resume=resume,
        progress=progress,
        on_step=lambda step, metrics: on_step(base, step + 1),
    )


def prepare(run: Run, model: TinyLlama) -> None:
    """Set positions, training attention and trained parts, in place. At the trained context nothing is stretched."""
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
    model.leap = run.leaps


def merge_run(model: TinyLlama) -> TinyLlama:
    """Make a trained model plain and dense, in place."""
    merge_embedding_lora(model)
    return merge_to_dense(model)


@dataclass(frozen=True)
class Skipping:
    """The model with positions that skip once, by a random distance at a random place, up to the target (PoSE).

    Both are drawn by the seed and the text itself, so that a step stays a function of its windows.

    Source: arXiv 2309.10400, with two chunks.
    """

    model: TinyLlama
    target: int
    seed: int

    def __call__(self, ids: Tensor) -> Tensor:
        return self.model(ids, positions=self.positions(ids))

    def positions(self, ids: Tensor) -> Tensor:
        """Draw rising positions below the target, int (n,)."""
        length = ids.shape[1]
        rng = np.random.default_rng([self.seed, zlib.crc32(ids.cpu().numpy().tobytes())])
        where, leap = rng.integers(1, length), rng.integers(0, self.target - length + 1)
        tokens = torch.arange(length, device=ids.device)
        return tokens + leap * (tokens >= where)
