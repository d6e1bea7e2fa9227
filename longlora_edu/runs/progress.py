"""Progress of long work: a bar on a terminal, plain lines elsewhere, nothing when silent."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TextIO

Advance = Callable[..., None]


class Progress(Protocol):
    """Display of a stage of work. `advance(amount, text="")` moves it on."""

    def stage(self, what: str, total: int, unit: str) -> AbstractContextManager[Advance]: ...


def step_by_step(advance: Advance, amount: int, name: str, metric: str) -> Callable[[int, dict], None]:
    """Make an `on_step` for `train` that advances by `amount` a step, at once by all that a resumed run had done."""
    done = 0

    def on_step(step: int, metrics: dict) -> None:
        nonlocal done
        advance((step + 1 - done) * amount, f"{name} {metrics[metric]:.3f}")
        done = step + 1

    return on_step


class Silent:
    """Progress that shows nothing."""

    @contextmanager
    def stage(self, what: str, total: int, unit: str) -> Iterator[Advance]:
        yield lambda amount, text="": None


class Terminal:
    """A tqdm bar where `stream` is a terminal; a line every `interval` seconds where it is a file or a pipe."""

    def __init__(self, stream: TextIO | None = None, *, interval: float = 10.0) -> None:
        self.stream = stream or sys.stderr
        self.interval = interval

    @contextmanager
    def stage(self, what: str, total: int, unit: str) -> Iterator[Advance]:
        if self.stream.isatty():
            yield from self._bar(what, total, unit)
        else:
            yield from self._lines(what, total, unit)

    def _bar(self, what: str, total: int, unit: str) -> Iterator[Advance]:
        from tqdm import tqdm

        with tqdm(total=total, desc=what, unit=unit, unit_scale=True, file=self.stream, dynamic_ncols=True) as bar:

            def advance(amount: int, text: str = "") -> None:
                bar.set_postfix_str(text, refresh=False)
                bar.update(amount)

            yield advance

    def _lines(self, what: str, total: int, unit: str) -> Iterator[Advance]:
        began, done, shown = time.monotonic(), 0, time.monotonic()
        print(f"{what} ...", file=self.stream, flush=True)

        def advance(amount: int, text: str = "") -> None:
            nonlocal done, shown
            done += amount
            now = time.monotonic()
            if now - shown < self.interval and done < total:
                return
            shown = now
            rate = done / max(now - began, 1e-9)
            left = (total - done) / rate
            line = f"  {done / total:4.0%}  {text + '  ' if text else ''}{rate:,.0f} {unit}/s  {left:.0f} s left"
            print(line, file=self.stream, flush=True)

        yield advance
