"""How many FLOPs a second this device reaches, measured on the products that a model is made of."""

from __future__ import annotations

import time
from statistics import median

import torch


def reached_tflops(*, seconds: float = 10.0, width: int = 1024, bf16: bool = True, device: str | None = None) -> float:
    """10¹² FLOPs a second of square products of `width`, median over about `seconds`: the best a step could reach.

    A training step reaches a part of it, so hours planned with this rate are a lower bound.

    Raises:
        ValueError: for seconds that are not positive.
    """
    if not seconds > 0:
        raise ValueError(f"seconds must be positive, got {seconds}")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    left, right = torch.randn(2, width, width, device=device, dtype=torch.bfloat16 if bf16 else torch.float32)
    rates, began = [], time.perf_counter()
    while not rates or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        (left @ right).sum().item()  # asking for the value waits for the device
        rates.append(2 * width**3 / (time.perf_counter() - start) / 1e12)
    return median(rates)
