"""What the checks of lesson 03 share: running code that may divide by zero, and pictures of who looks at whom."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ....geometry import S2Geometry
from ....plots import describe_comparison, describe_tables, plot_comparison, plot_tables
from ....widgets import Picture
from ..diagnosis import CheckFailed, called

TINY = S2Geometry(8, 4, 2)
SEEN = 1e-9  # a weight below is what rounding left of a zero


def answered(function: Callable, *inputs):
    """What the learner's function returns for copies of `inputs`, without NumPy's own warnings.

    Raises:
        CheckFailed: also when an array that it was given has changed.
        NotImplementedError: from a stub.
    """
    copies = [x.copy() if isinstance(x, np.ndarray) else x for x in inputs]
    with np.errstate(all="ignore"):
        answer = called(function, *copies)
    if any(isinstance(x, np.ndarray) and not np.array_equal(x, copy) for x, copy in zip(inputs, copies, strict=True)):
        sentence = (
            "An array that was handed in has changed: make a new one instead of writing into it (as `x *= …` does)."
        )
        raise CheckFailed(sentence, mistake="inputs_changed")
    return answer


def random_qkv(rng: np.random.Generator, *shape: int, wide: int | None = None) -> tuple[np.ndarray, ...]:
    """float64 q, k (…, n, d) and v (…, n, wide), `shape` ending in n and d."""
    q, k = rng.normal(size=(2, *shape))
    return q, k, rng.normal(size=(*shape[:-1], wide or shape[-1]))


def attend(
    q, k, v, mask, *, scale=None, axis=-1, first=None, then=None, hidden=-np.inf, transposed=False, normal=True
) -> np.ndarray:
    """(n, d): masked softmax attention of one head, and with the other arguments the ways to get it wrong.

    `first` replaces the mask of the scores, `then` is a mask of the weights, `hidden` what a forbidden score becomes.
    """
    scores = q @ k.T * (1 / math.sqrt(q.shape[1]) if scale is None else scale)
    scores = np.where(mask if first is None else first, scores, hidden)
    if not normal:
        return np.where(mask, scores, 0) @ v
    with np.errstate(all="ignore"):
        weights = np.exp(scores - scores.max())
        weights = np.nan_to_num(weights / weights.sum(axis=axis, keepdims=True))
    if then is not None:
        weights = weights * then
    return (weights.T if transposed else weights) @ v


def beside(mine: np.ndarray, right: np.ndarray) -> Picture:
    """Weights (n, n) of a learner beside the right ones: as masks where those differ, else as numbers."""
    masks = np.abs(mine) > SEEN, np.abs(right) > SEEN
    if not np.array_equal(*masks):
        return Picture(plot_comparison(*masks), describe_comparison(*masks))
    tables = {"yours": mine, "right": right}
    allowed = masks[1] if len(right) else None
    return Picture(plot_tables(tables, allowed=allowed), describe_tables(tables, allowed=allowed))
