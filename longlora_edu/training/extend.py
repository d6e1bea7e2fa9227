"""Extend a model: measure, prepare, train, merge, measure again, as the demo, lesson 07 and the studies all do."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

from ..longlora import LongLoRAReport, merge_to_dense
from ..model import TinyLlama
from .corpus import Windows
from .finetune import FinetuneSettings, finetune
from .train import TrainResult


@dataclass(frozen=True)
class Extension:
    """A merged, dense model, and how it came about.

    `report` is what `prepare` returned; `before`, `stretched` (prepared, nothing trained) and `after` what `measure`
    did. The counts of parameters are those while training, LoRA's own included; without a step nothing was trained.
    """

    model: TinyLlama
    report: LongLoRAReport | None
    training: TrainResult
    before: dict | None
    stretched: dict | None
    after: dict | None
    trained_parameters: int
    all_parameters: int


def extend_model(
    model: TinyLlama,
    windows: Windows | None,
    settings: FinetuneSettings | None,
    *,
    prepare: Callable[[TinyLlama], LongLoRAReport | None],
    measure: Callable[[TinyLlama, str], dict | None] = lambda model, when: None,
    save: Callable[[TinyLlama], None] = lambda model: None,
    merge: Callable[[TinyLlama], TinyLlama] = merge_to_dense,
    stop: Callable[[], bool] = lambda: False,
    interrupt_stops: bool = False,
    **options: Any,
) -> Extension:
    """Extend `model` in place and return it merged, in evaluation mode.

    `prepare` applies the recipe. `measure` is called with "before", with "stretched" when the model is prepared and
    nothing is trained, and with "after". `save` sees the trained model before it is merged. `settings=None` trains
    nothing. With `interrupt_stops`, Ctrl-C during training ends it after the step at hand, as `stop` does. Further
    options are those of `finetune`.
    """
    before = measure(model, "before")
    report = prepare(model)
    stretched = measure(model, "stretched")
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    every = sum(parameter.numel() for parameter in model.parameters())
    training = TrainResult(())
    if settings is not None:
        with _until_interrupted(stop) if interrupt_stops else nullcontext(stop) as stopped:
            training = finetune(model, cast(Windows, windows), settings, stop=stopped, **options)
    save(model)
    model = merge(model).eval()
    after = measure(model, "after")
    return Extension(model, report, training, before, stretched, after, trained if settings else 0, every)


@contextmanager
def _until_interrupted(stop: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
    """Give a `stop` that an interrupt makes true, instead of breaking a step in two. Only a main thread gets those."""
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    interrupted = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    try:
        yield lambda: interrupted.is_set() or stop()
    finally:
        # None stands for a handler that was not set from Python, and cannot be put back.
        signal.signal(signal.SIGINT, signal.default_int_handler if before is None else before)
