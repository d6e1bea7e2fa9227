"""How long it takes and what is kept: measured so that ways to compute the same thing can be compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


def median_seconds(
    functions: Mapping[str, Callable[[], object]], *, repeats: int, device: str | torch.device = "cpu"
) -> dict[str, float]:
    """The median of `repeats` calls of each function, after one call each that does not count.

    Functions take turns, so that a machine that slows down slows them all. On CPU it is processor time on one thread:
    what else the machine has to do does not count. Elsewhere it is time until the device has finished: a call to a GPU
    returns before its work is done.

    Raises:
        ValueError: when `repeats` is not positive.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be positive, got {repeats}")
    device = torch.device(device)
    taken: dict[str, list[float]] = {name: [] for name in functions}
    with _one_thread() if device.type == "cpu" else _as_it_is():
        for _ in range(repeats + 1):
            for name, function in functions.items():
                taken[name].append(_seconds(function, device))
    return {name: statistics.median(times[1:]) for name, times in taken.items()}


def kept_bytes(function: Callable[[], object], *, besides: Iterable[Tensor] = ()) -> int:
    """Bytes that autograd keeps for the backward pass of `function`, storages counted once; `besides` do not count.

    A count, not a measurement: the same on every machine with the same kernels.
    """
    known = {x.untyped_storage().data_ptr() for x in besides}
    kept: dict[int, Tensor] = {}

    def keep(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = x  # alive until all are counted: an address is used again
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        out = function()
    total = sum(x.untyped_storage().nbytes() for x in kept.values())
    del out
    return total


def _seconds(function: Callable[[], object], device: torch.device) -> float:
    if device.type == "cpu":
        start = time.process_time()
        function()
        return time.process_time() - start
    wait = torch.get_device_module(device).synchronize
    wait(device)
    start = time.perf_counter()
    function()
    wait(device)
    return time.perf_counter() - start


@contextmanager
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _as_it_is():
    yield
