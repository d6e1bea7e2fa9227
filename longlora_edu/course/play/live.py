"""Lesson 07's training on the reader's machine: the demo's recipe, on a budget that fits there, stopped at will."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from ...demo.run import DemoSettings, measure
from ...longlora import LongLoRAReport, apply_longlora, merge_longlora
from ...model import TinyLlama, bundled_model
from ...runs.progress import Progress, Silent
from ...training.corpus import Windows, read_corpus, standard_library
from ...training.finetune import finetune
from ...training.train import Metrics
from ..notebook.environment import Profile


@dataclass(frozen=True)
class ExtendResult:
    """What a live run leaves: the merged model, what was changed, the curve, and what was measured before and after.

    `before` and `after` hold what the demo's report holds under these names, on smaller samples. A run that was
    stopped has fewer steps than its settings say, and is otherwise whole. `seconds` are those of everything.
    """

    settings: DemoSettings
    model: TinyLlama
    report: LongLoRAReport
    curve: tuple[Metrics, ...]
    before: dict
    after: dict
    seconds: float

    @property
    def stopped(self) -> bool:
        """Was it ended early?"""
        return len(self.curve) < self.settings.steps

    @property
    def tokens_per_second(self) -> float:
        """Bytes trained on in a second of training; 0 when there was no step."""
        tokens = len(self.curve) * self.settings.batch * self.settings.context
        return tokens / self.curve[-1]["seconds"] if self.curve else 0.0


def live_settings(profile: Profile) -> DemoSettings:
    """The demo on this kind of machine: ×8 on a laptop or a GPU, ×4 on Binder's one core, ×2 in a look of seconds."""
    return profile.choose(
        laptop=DemoSettings(context=2048, steps=40, windows=32, trials=3),
        gpu=DemoSettings(context=2048, steps=80, windows=100, trials=8),
        binder=DemoSettings(context=1024, steps=32, windows=20, trials=2),
        ci=DemoSettings(context=512, steps=6, batch=2, windows=8, trials=1),
    )


def extend(
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
    corpus = read_corpus(Path(settings.corpus)) if settings.corpus else standard_library()
    windows = Windows(corpus.train, settings.context + 1)
    before = measure(model, corpus, settings, progress, "Before")
    report = apply_longlora(model, settings.recipe(), generator=torch.Generator().manual_seed(settings.seed))
    with _interrupts_stop(stop) as stopped:
        result = finetune(
            model,
            windows,
            settings.finetune(),
            checkpoint=checkpoint,
            resume=checkpoint is not None,
            progress=progress,
            on_step=on_step,
            stop=stopped,
        )
    merge_longlora(model)
    after = measure(model, corpus, settings, progress, "After")
    return ExtendResult(settings, model, report, result.curve, before, after, time.perf_counter() - began)


@contextmanager
def _interrupts_stop(stop: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
    """`stop`, which an interrupt makes true instead of breaking a step in two. Only a main thread hears interrupts."""
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    heard = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: heard.set())
    try:
        yield lambda: heard.is_set() or stop()
    finally:
        # None stands for a handler that was not set from Python, and cannot be put back.
        signal.signal(signal.SIGINT, signal.default_int_handler if before is None else before)
