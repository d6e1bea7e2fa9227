"""Intervals that redraw the text as well: documents first, then seeds.

Held-out windows come from few documents, and windows of one document are alike. So documents are redrawn, with
replacement and all their windows, and the mean over seeds is computed again on each redrawn text. A deviation over
seeds by Student's t is added to it. The interval holds 95 % of the sums.

A text of unequal documents is as good as fewer equal ones: `effective` counts them, and the documents' part is
widened as Student's t is for so few.

Source: Owen, "The pigeonhole bootstrap", 2007, has the case of two crossed factors; the second is Student's here,
because resampling three seeds would draw the same one three times in nine.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from .verdict import BOTH, Difference, student

REPLICATES = 4000
NORMAL = 1.959964
Statistic = Callable[..., np.ndarray]


def effective(documents: Sequence[int]) -> float:
    """Count the equal documents that would be as good: one over the sum of the squared shares of windows."""
    counts = np.bincount(np.asarray(documents))
    return float(counts.sum() ** 2 / (counts**2).sum())


def redrawn(statistic: Statistic, arms: Sequence[np.ndarray], documents: Sequence[int]) -> np.ndarray:
    """Redraw the documents and compute how far the mean over seeds moves: (REPLICATES,).

    Each arm is (seeds, windows). `statistic` takes each arm's means over windows, (..., seeds), to values of the same
    shape.
    """
    _, which = np.unique(np.asarray(documents), return_inverse=True)
    count = which.max() + 1
    sizes = np.bincount(which)
    sums = [np.stack([np.bincount(which, weights=row, minlength=count) for row in arm]) for arm in arms]
    rng = np.random.default_rng([19, 0])
    # How often each document is drawn, in as many draws as there are documents.
    times = np.stack([np.bincount(row, minlength=count) for row in rng.integers(count, size=(REPLICATES, count))])
    means = [(times @ arm.T) / (times @ sizes)[:, None] for arm in sums]
    now = statistic(*(arm.mean(axis=1) for arm in arms))
    return statistic(*means).mean(axis=-1) - now.mean()


def with_documents(found: Difference, moved: np.ndarray, documents: Sequence[int]) -> Difference:
    """Widen an interval over seeds by what redrawing the documents does.

    Raises:
        ValueError: for windows of a single document, which cannot be redrawn.
    """
    equal = effective(documents)
    if equal < 1.5:
        raise ValueError(f"documents must be several, got windows that are worth {equal:.1f}")
    moved = moved * (math.sqrt(equal / (equal - 1)) * student(equal - 1) / NORMAL)
    half, by_documents = None, float(np.quantile(np.abs(moved), 0.95))
    if found.error is not None:
        seeds = found.error * np.random.default_rng([19, 1]).standard_t(found.degrees, size=REPLICATES)
        half = float(np.quantile(np.abs(moved + seeds), 0.95))
    count = len(np.unique(documents))
    return dataclasses.replace(found, half=half, by_documents=by_documents, documents=count, over=BOTH)
