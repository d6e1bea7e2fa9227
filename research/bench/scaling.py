"""`bench scaling`: time and memory per token by length at one group size, and the length from which S²-Attn is
faster.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch

from longlora_edu.geometry import S2Geometry
from longlora_edu.runs.progress import Progress, Silent
from longlora_edu.runs.timing import Ratio, in_turns, peak_of

from . import implementations as ways
from .attention_speed import HEAD_DIM, HEADS

GROUP = 512
SCALING_LENGTHS = tuple(2**power for power in range(11, 18))
DENSE_UP_TO = 16384  # on CPU dense attention takes a minute at 32,768
SHORT_LENGTHS = (32, 64, 128, 256, 512, 1024, 2048)
RATIO = 1 / 4


def bench_scaling(
    *,
    device: str = "cpu",
    dtype: str = "float32",
    lengths: Sequence[int] = SCALING_LENGTHS,
    group: int = GROUP,
    dense_up_to: int = DENSE_UP_TO,
    repeats: int = 5,
    progress: Progress | None = None,
) -> dict:
    """Measure two tables: `fixed_group`, where cost per token should stay flat, and `fixed_ratio`, where S² overtakes.

    A pass is forward and backward over one sequence of 8 heads of 64. Bytes are the most that the process (or the
    GPU) held above q, k, v and the output's gradient; on CPU each is of a fresh process.
    """
    where, kind = torch.device(device), getattr(torch, dtype)
    fixed_group, fixed_ratio = [], {}
    with (progress or Silent()).stage("Scaling", sum(lengths) + sum(SHORT_LENGTHS), "tok") as advance:
        for length in lengths:
            passes = {"s2": _pass(length, group, kind, where)}
            if length <= dense_up_to:
                passes["dense"] = _pass(length, None, kind, where)
            taken = in_turns(passes, repeats=repeats, device=where)
            seconds = {name: statistics.median(times) for name, times in taken.items()}
            row = {"length": length, "seconds": seconds}
            row["nanoseconds_a_token"] = {name: time / length * 1e9 for name, time in seconds.items()}
            row["bytes_a_token"] = {
                name: None if (peak := extra_bytes(length, size, dtype, device)) is None else peak / length
                for name, size in (("s2", group), ("dense", None))
                if name in passes
            }
            fixed_group.append(row)
            advance(length)
        for length in SHORT_LENGTHS:
            passes = {
                "s2": _pass(length, max(1, round(length * RATIO)), kind, where),
                "dense": _pass(length, None, kind, where),
            }
            taken = in_turns(passes, repeats=max(repeats, 15), device=where)
            fixed_ratio[length] = Ratio.of(taken["dense"], taken["s2"])
            advance(length)
    return {
        "heads": HEADS,
        "head_dim": HEAD_DIM,
        "device": torch.cuda.get_device_name(device) if where.type == "cuda" else device,
        "dtype": dtype,
        "group": group,
        "repeats": repeats,
        "fixed_group": fixed_group,
        "group_ratio": RATIO,
        "dense_over_s2": fixed_ratio,
    }


def extra_bytes(length: int, group: int | None, dtype: str, device: str) -> int | None:
    """Measure the peak bytes of one pass above its inputs; None where the system does not say."""
    if torch.device(device).type == "cuda":
        return _extra_bytes(length, group, dtype, device)
    # Fresh: what a process freed before, it may still hold.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_extra_bytes, length, group, dtype, device).result()


def _extra_bytes(length: int, group: int | None, dtype: str, device: str) -> int | None:
    kind, where = getattr(torch, dtype), torch.device(device)
    _pass(64, 16, kind, where)()  # libraries load what they need at the first call
    step = _pass(length, group, kind, where)
    if where.type == "cuda":
        before = torch.cuda.memory_allocated(where)
        return peak_of(step, where) - before
    before = peak_of(lambda: None)
    peak = peak_of(step)
    return None if before is None or peak is None else peak - before


def _pass(length: int, group: int | None, dtype: torch.dtype, device: torch.device) -> Callable[[], object]:
    *inputs, grad = ways.leaves((1, length, HEADS, HEAD_DIM), dtype, device)
    way = ways.dense() if group is None else ways.s2(S2Geometry(length, group, HEADS))
    return ways.step_of(way, inputs, grad)
