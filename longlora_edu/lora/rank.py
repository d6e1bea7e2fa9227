"""The rule for LoRA's two numbers, which settings ask for where there is no torch."""

from __future__ import annotations

from typing import Any

from ..runs.validate import check_number, check_size


def checked_rank_and_alpha(rank: object, alpha: Any) -> tuple[int, float]:
    """Return both as plain numbers, if LoRA can use them. A rank above the layer's sizes is wasteful, not wrong."""
    rank = check_size("rank", rank)
    try:
        alpha = check_number("alpha", alpha, above=0)
    except ValueError:
        raise ValueError(f"alpha must be a number above 0, got {alpha!r:.60}") from None
    return rank, float(alpha)
