"""Time and memory, measured so that several ways to compute the same thing can be compared on a busy machine.

Absolute times mislead there. So ways take turns, and the ratio of neighbours in time is what counts.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .number_format import number_format
from .records import peak_memory
from .validate import check_integer

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Ratio:
    """Time of one way over that of another: the median over pairs of neighbours, and the middle half of them."""

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
    ways: Mapping[str, Callable[[], object]],
    *,
    repeats: int,
    device: str | torch.device = "cpu",
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Measure the seconds of `repeats` calls of each way, after one call each that does not count.

    Every other round goes through the ways backwards, so that a machine that slows down or heats up slows all alike.
    On a GPU it is time until the device has finished.

    Raises:
        ValueError: when `repeats` is not a positive integer.
    """
    check_integer("repeats", repeats, at_least=1)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for function in ways.values():
        function()
    for turn in range(repeats):
        for name in list(ways) if turn % 2 == 0 else list(ways)[::-1]:
            taken[name].append(seconds_of(ways[name], device, clock))
    return taken


def median_seconds(
    ways: Mapping[str, Callable[[], object]], *, repeats: int, device: str | torch.device = "cpu"
) -> dict[str, float]:
    """Measure the median seconds of each way, called as `in_turns` does.

    On CPU these are seconds of processor time on one thread, which other work on the machine does not lengthen.

    Raises:
        ValueError: when `repeats` is not a positive integer.
    """
    if _is_cpu(device):
        with _one_thread():
            taken = in_turns(ways, repeats=repeats, clock=time.process_time)
    else:
        taken = in_turns(ways, repeats=repeats, device=device)
    return {name: statistics.median(times) for name, times in taken.items()}


def seconds_of(
    function: Callable[[], object], device: str | torch.device = "cpu", clock: Callable[[], float] = time.perf_counter
) -> float:
    """Measure one call, from an idle device to an idle device."""
    wait_for(device)
    start = clock()
    function()
    wait_for(device)
    return clock() - start


def wait_for(device: str | torch.device) -> None:
    """Return when everything asked of the device is done; on CPU it is."""
    if not _is_cpu(device):
        import torch

        device = torch.device(device)
        torch.get_device_module(device).synchronize(device)


def peak_of(function: Callable[[], object], device: str | torch.device = "cpu") -> int | None:
    """Measure the most bytes held while `function` runs: by torch on a CUDA device, else by this process as a whole.

    A process as a whole also holds what it freed before and keeps for later, so compare fresh processes. None where
    the system does not let a process start counting anew (it is a feature of Linux).
    """
    gc.collect()
    if not _is_cpu(device):
        import torch

        torch.cuda.reset_peak_memory_stats(device)
        function()
        return torch.cuda.max_memory_allocated(device)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    function()
    return peak_memory()


def that_fit(lengths: Sequence[int], bytes_of: Callable[[int], float], device: str | torch.device) -> tuple[int, ...]:
    """Keep the lengths that need at most half of a GPU's free memory, and always the first; on a CPU keep all.

    Another notebook on the same GPU takes its share: what is free counts, not what the card has.
    """
    import torch

    if torch.device(device).type != "cuda":
        return tuple(lengths)
    free, _ = torch.cuda.mem_get_info(device)
    return tuple(length for at, length in enumerate(lengths) if at == 0 or bytes_of(length) <= free / 2)


def kept_bytes(function: Callable[[], object], *, besides: Iterable[torch.Tensor] = ()) -> int:
    """Count the bytes that autograd keeps for the backward pass of `function`, each storage once, without `besides`.

    A count, not a measurement: the same on every machine with the same kernels.
    """
    import torch

    known = {x.untyped_storage().data_ptr() for x in besides}
    kept: dict[int, torch.Tensor] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = x  # alive until all are counted: an address is used again
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        out = function()
    total = sum(x.untyped_storage().nbytes() for x in kept.values())
    del out
    return total


def reached_tflops(*, seconds: float = 10.0, width: int = 1024, bf16: bool = True, device: str | None = None) -> float:
    """Measure 10¹² FLOPs a second of square products of `width`, the median over about `seconds`.

    A training step reaches a part of this rate, so hours planned with it are a lower bound.

    Raises:
        ValueError: for seconds that are not positive.
    """
    if not seconds > 0:
        raise ValueError(f"seconds must be positive, got {seconds}")
    import torch

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.float32
    if bf16:  # on an older GPU the rate of what it has instead, not that of an emulation
        dtype = torch.bfloat16 if _is_cpu(device) else number_format(device, "measure")
    left, right = torch.randn(2, width, width, device=device, dtype=dtype)
    rates, began = [], time.perf_counter()
    while not rates or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        (left @ right).sum().item()  # asking for the value waits for the device
        rates.append(2 * width**3 / (time.perf_counter() - start) / 1e12)
    return statistics.median(rates)


def _is_cpu(device: str | torch.device) -> bool:
    return str(device).partition(":")[0] == "cpu"


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
