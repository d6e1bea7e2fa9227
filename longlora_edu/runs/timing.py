"""Time and memory, measured so that ways to compute the same thing can be compared on a machine that does other work.

Never as absolute times: ways take turns, and what counts is the ratio of neighbours in time.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from .records import check_integer, peak_memory


@dataclass(frozen=True)
class Ratio:
    """Of two ways, how many times as long the one takes: the median over pairs of neighbours, and the middle half."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, ours: list[float], theirs: list[float]) -> Ratio:
        ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
        if len(ratios) == 1:
            return cls(ratios[0], ratios[0], ratios[0])
        low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
        return cls(median, low, high)


def in_turns(
    ways: Mapping[str, Callable[[], object]], *, repeats: int, device: str | torch.device = "cpu"
) -> dict[str, list[float]]:
    """Seconds of `repeats` calls of each way, after one call each that does not count.

    Ways take turns, and every other round goes through them backwards, so that a machine that slows down or heats up
    slows all alike. On a GPU it is time until the device has finished.

    Raises:
        ValueError: when `repeats` is not a positive integer.
    """
    check_integer("repeats", repeats, at_least=1)
    device = torch.device(device)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for function in ways.values():
        function()
    for turn in range(repeats):
        for name in list(ways) if turn % 2 == 0 else list(ways)[::-1]:
            taken[name].append(seconds_of(ways[name], device))
    return taken


def seconds_of(function: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, the device having finished."""
    wait_for(device)
    start = time.perf_counter()
    function()
    wait_for(device)
    return time.perf_counter() - start


def wait_for(device: torch.device) -> None:
    """Return when everything asked of the device is done; on CPU it is."""
    if device.type != "cpu":
        torch.get_device_module(device).synchronize(device)


def peak_of(function: Callable[[], object], device: str | torch.device = "cpu") -> int | None:
    """The most bytes held while `function` runs: by torch on a CUDA device, else by this process as a whole.

    A process as a whole also holds what it freed before and keeps for later, so compare fresh processes. None where
    the system does not let a process start counting anew (it is a feature of Linux).
    """
    device = torch.device(device)
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        function()
        return torch.cuda.max_memory_allocated(device)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    function()
    return peak_memory()
