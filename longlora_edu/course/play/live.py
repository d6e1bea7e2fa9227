"""Lesson 07's training on the reader's machine: the demo's recipe, on a budget that fits there, stopped at will."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ...demo.ladder import measure_step
from ...demo.run import DemoSettings, save_extension
from ...longlora import LongLoRAReport, apply_longlora
from ...model import TinyLlama, bundled_model
from ...runs.progress import Progress, Silent
from ...training.corpus import Windows, read_corpus, standard_library
from ...training.extend import extend_model
from ...training.train import Metrics
from ..notebook.environment import Profile


@dataclass(frozen=True)
class ExtendResult:
    """Result of a live run: the merged model, the changes made, the curve, and the steps of the ladder.

    `before`, `stretched` and `after` hold what the demo's report holds under these names, on smaller samples. A run
    that was stopped has fewer steps than its settings say, and is otherwise whole. `seconds` are those of everything.
    `adapter` is a folder that goes with the result, None where all weights were trained.
    """

    settings: DemoSettings
    model: TinyLlama
    report: LongLoRAReport
    curve: tuple[Metrics, ...]
    before: dict
    stretched: dict
    after: dict
    seconds: float
    adapter: tempfile.TemporaryDirectory | None = None

    @property
    def stopped(self) -> bool:
        """Whether the run ended before its last step."""
        return len(self.curve) < self.settings.steps

    @property
    def tokens_per_second(self) -> float:
        """Bytes trained on in a second of training; 0 when there was no step."""
        tokens = len(self.curve) * self.settings.batch * self.settings.context
        return tokens / self.curve[-1]["seconds"] if self.curve else 0.0


def live_settings(profile: Profile) -> DemoSettings:
    """Return the demo's settings for this machine: ×4 the context on a laptop or a GPU, ×2 on Binder or in a test."""
    return profile.choose(
        laptop=DemoSettings(context=2048, steps=40, windows=32, trials=3, references=32),
        gpu=DemoSettings(context=2048, windows=100, trials=8, references=100),
        binder=DemoSettings(context=1024, steps=32, windows=20, trials=2, references=12),
        ci=DemoSettings(context=1024, steps=6, batch=1, windows=8, trials=1, references=4),
    )


def extend_live(
    settings: DemoSettings | Profile,
    *,
    on_step: Callable[[int, Metrics], None] = lambda step, metrics: None,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> ExtendResult:
    """Extend the small model: measure it, apply LongLoRA, train, merge, and measure again; on a GPU if there is one.

    `stop` is asked before each step, and an interrupt (Ctrl-C, a notebook's square button) counts as a yes: training
    ends there, and what was trained so far is merged and measured. With `checkpoint` the steps are kept in that file
    too, and a later call with the same settings goes on from it.

    Raises:
        ValueError: for a target not above the trained context, a text without a document long enough, or a
            checkpoint of another run.
    """
    settings = live_settings(settings) if isinstance(settings, Profile) else settings
    progress = progress or Silent()
    began = time.perf_counter()
    model = bundled_model().to("cuda" if torch.cuda.is_available() else "cpu")
    trained = model.config.trained_context
    corpus = read_corpus(Path(settings.corpus)) if settings.corpus else standard_library()
    windows = Windows(corpus.train, settings.context + 1)
    kept = tempfile.TemporaryDirectory(prefix="longlora-adapter-") if settings.train == "adapters" else None
    extension = extend_model(
        model,
        windows,
        settings.finetune(),
        prepare=lambda model: apply_longlora(
            model, settings.recipe(), generator=torch.Generator().manual_seed(settings.seed)
        ),
        measure=lambda model, when: measure_step(
            model, corpus, settings, progress, when, trained=trained, references=when != "before"
        ),
        save=lambda model: kept and save_extension(model, Path(kept.name), settings.recipe()),
        checkpoint=checkpoint,
        resume=checkpoint is not None,
        progress=progress,
        on_step=on_step,
        stop=stop,
        interrupt_stops=True,
    )
    return ExtendResult(
        settings,
        extension.model,
        extension.report,
        extension.training.curve,
        extension.before,
        extension.stretched,
        extension.after,
        time.perf_counter() - began,
        kept,
    )
