"""`bench attention`: time S²-Attn, forward and backward, beside one causal call on the same groups."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from longlora_edu.cost import ModelShape, attention_pairs
from longlora_edu.geometry import S2Geometry
from longlora_edu.runs.number_format import number_format
from longlora_edu.runs.progress import Progress, Silent
from longlora_edu.runs.timing import Ratio, in_turns

from . import implementations as ways

HEADS, HEAD_DIM = 8, 64
CASE_SIZES = ((1, 2048, 512), (1, 8192, 2048), (4, 2048, 512))  # b, n, g
BASELINES = ("dense", "flex", "published", "dense_mask")
OURS, BOUND, PACKED = "s2", "lower bound", "s2, packed documents"


@dataclass(frozen=True)
class Case:
    """One size in one dtype, with q, k and v as a model projects them."""

    dtype: str
    batch: int
    length: int
    group: int

    @property
    def geometry(self) -> S2Geometry:
        return S2Geometry(self.length, self.group, HEADS)


def grid(device: str) -> list[Case]:
    """List the cases for a device: half precision and longer sequences on a GPU."""
    if torch.device(device).type == "cpu":
        return [Case(dtype, *size) for dtype in ("float32", "bfloat16") for size in CASE_SIZES]
    half = str(number_format(device, "measure")).removeprefix("torch.")
    return [Case(half, *size) for size in (*CASE_SIZES, (1, 16384, 4096), (1, 32768, 8192), (1, 65536, 16384))]


def bench_attention(
    *,
    device: str = "cpu",
    against: Sequence[str] = ("dense",),
    repeats: int = 9,
    cases: Sequence[Case] | None = None,
    progress: Progress | None = None,
) -> dict:
    """Time every case and divide by the lower bound; check the results against dense attention under a mask.

    The lower bound is one causal call over b·n/g groups that already lie side by side: a quarter of the pairs where
    the group is a quarter of the sequence. Split S² has a little fewer pairs (`pairs` says how many, as a share).

    Raises:
        ValueError: for a baseline that is none, or that cannot run here.
    """
    if unknown := sorted(set(against) - set(BASELINES)):
        raise ValueError(f"against must be among {', '.join(BASELINES)}, got {unknown[0]}")
    if "flex" in against and torch.device(device).type != "cuda":
        raise ValueError(f"flex must run on cuda, where FlexAttention has a backward pass, got {device}")
    cases = grid(device) if cases is None else list(cases)
    rows = []
    with (progress or Silent()).stage("Attention", len(cases), "case") as advance:
        for case in cases:
            rows.append(_row(case, torch.device(device), against, repeats))
            advance(1, {})
    ratios = [row["to_lower_bound"].median for row in rows]
    return {
        "heads": HEADS,
        "head_dim": HEAD_DIM,
        "device": _device_name(device),
        "repeats": repeats,
        "rows": rows,
        "geometric_mean_to_lower_bound": math.exp(statistics.fmean(map(math.log, ratios))),
        "largest_to_lower_bound": max(ratios),
    }


def _row(case: Case, device: torch.device, against: Sequence[str], repeats: int) -> dict:
    dtype, geometry = getattr(torch, case.dtype), case.geometry
    *inputs, grad = ways.leaves((case.batch, case.length, HEADS, HEAD_DIM), dtype, device)
    groups = case.batch * case.length // case.group
    *packed, packed_grad = ways.leaves((groups, HEADS, case.group, HEAD_DIM), dtype, device)
    segments = torch.from_numpy(packed_documents(case)).to(device)
    others = {"dense": ways.dense, "flex": lambda: ways.compiled_flex(geometry)}
    others |= {"published": lambda: ways.published(geometry), "dense_mask": lambda: ways.s2(geometry, "dense_mask")}
    steps = {
        OURS: ways.step_of(ways.s2(geometry), inputs, grad),
        BOUND: ways.step_of(ways.lower_bound(), packed, packed_grad),
        PACKED: ways.step_of(ways.s2(geometry, segments=segments), inputs, grad),
    } | {name: ways.step_of(others[name](), inputs, grad) for name in against}
    error = largest_error(case, device)
    taken = in_turns(steps, repeats=repeats, device=device)
    shape = ModelShape(1, 1, HEADS, HEADS, HEAD_DIM, 1, 1)
    bound_pairs = HEADS * case.length * (case.group + 1) / 2
    return {
        "dtype": case.dtype,
        "batch": case.batch,
        "length": case.length,
        "group": case.group,
        "seconds": {name: statistics.median(times) for name, times in taken.items()},
        "to_lower_bound": Ratio.of(taken[OURS], taken[BOUND]),
        "pairs_to_lower_bound": geometry.pairs() / bound_pairs,
        "packed_to_plain": Ratio.of(taken[PACKED], taken[OURS]),
        "times_faster": {name: Ratio.of(taken[name], taken[OURS]) for name in against},
        "pairs_of_dense": attention_pairs(shape, case.length, causal=True) / geometry.pairs(),
        "largest_error": error,
    }


def largest_error(case: Case, device: torch.device) -> float:
    """Compare output and gradients of a plain and a shifted head with float32 attention under a mask.

    As a share of the largest value of each. The mask of all heads of a long sequence would not fit.
    """
    geometry = S2Geometry(case.length, case.group, 2)
    dtype = getattr(torch, case.dtype)
    *inputs, grad = ways.leaves((1, case.length, 2, HEAD_DIM), dtype, device, seed=1)
    exact = [x.detach().float().requires_grad_() for x in inputs]
    ours = ways.step_of(ways.s2(geometry), inputs, grad)()
    right = ways.step_of(ways.s2(geometry, "dense_mask"), exact, grad.float())()
    return max(((one.float() - two).abs().max() / two.abs().max()).item() for one, two in zip(ours, right, strict=True))


def packed_documents(case: Case, seed: int = 0) -> np.ndarray:
    """Draw segments (b n) of documents whose lengths are log-uniform from a quarter of a group to two groups."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(case.batch):
        lengths: list[int] = []
        while sum(lengths) < case.length:
            lengths.append(round(math.exp(rng.uniform(math.log(case.group / 4), math.log(case.group * 2)))))
        rows.append(np.repeat(np.arange(len(lengths)), lengths)[: case.length])
    return np.stack(rows)


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else str(device)
