"""The law as code: recall at a distance from what the geometry says of training, fitted on pilots only.

    recall  =  chance + (1 - chance) * sigmoid( a + c ln(trained around d) - g leap )

`a` belongs to a task, and to each setting of older pilots; the rest is one law for all. An answer with several looks
takes the mean of their logarithms. Under the training pattern recall above chance is multiplied by the share that heads
which learned to look can see.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .exposure import exposure_of, middle, seen_in_use
from .pilots import Pilot
from .recall import HOPS, Recall
from .statements import VALUES

OCTAVES = (0.25, 0.35, 0.5, 0.7, 1.0)
SMALLEST = 1e-4  # a share below what DRAWN hops can show
SHRINK = 0.1  # ridge on c and g: what the pilots do not show is small
CLIP = 0.01
WIDEST, NARROWEST = 0.15, 0.05  # half of an interval, in the middle and at the ends


def chance_of(task: str) -> float:
    """Return the recall of a guess: five digits, or one of eight values."""
    return 0.0 if task == "references" else 1 / VALUES


@dataclass(frozen=True)
class Prediction:
    """The recall of a cell, and the interval that it must lie in."""

    rate: float
    low: float
    high: float

    @classmethod
    def around(cls, rate: float) -> Prediction:
        """Put an interval around a rate: ± 15 points in the middle, narrower where little can vary."""
        half = min(WIDEST, NARROWEST + (WIDEST - NARROWEST) * rate * (1 - rate) / 0.09)
        return cls(rate, max(0.0, rate - half), min(1.0, rate + half))


@dataclass(frozen=True)
class Fit:
    """The law fitted to pilots: its numbers, the intercept of each setting, and the error on the dense pilots."""

    octaves: float
    trained: float
    leap: float
    intercepts: dict[str, float]
    error: float

    @property
    def tasks(self) -> list[str]:
        """The tasks that the law predicts: without a pilot of its own a task has no intercept."""
        return [task for task in HOPS if task in self.intercepts]

    def dense(self, row: Recall, distances: Sequence[float], setting: str, layout: str | None = None) -> float:
        """Predict the recall of dense use, given the distance of each look."""
        terms = terms_of(row, distances, self.octaves, layout)
        score = self.intercepts[setting] + np.dot([self.trained, self.leap], terms)
        chance = chance_of(row.task)
        return chance + (1 - chance) / (1 + math.exp(-score))

    def rate(self, row: Recall, kind: str, use: str) -> float:
        """Predict the recall of a class, in dense use or under the training pattern."""
        found = self.dense(row, middle(row, kind), row.task)
        if use == "dense":
            return found
        chance = chance_of(row.task)
        return chance + (found - chance) * seen_in_use(row, kind)


def terms_of(row: Recall, distances: Sequence[float], octaves: float, layout: str | None = None) -> list[float]:
    """Return what the law goes by: the logarithm of what is trained around the distances, and the leap."""
    exposure = exposure_of(row, layout)
    around = [math.log(exposure.around(distance, octaves) + SMALLEST) for distance in distances]
    return [sum(around) / len(around), -row.leap]


def fit_law(pilots: Sequence[Pilot]) -> Fit:
    """Fit the law by weighted least squares on the logits of the dense pilots; octaves by search.

    Raises:
        ValueError: without a dense pilot.
    """
    dense = [pilot for pilot in pilots if pilot.use == "dense"]
    if not dense:
        raise ValueError("pilots must hold one of dense use, got none")
    return min((_fit(dense, octaves) for octaves in OCTAVES), key=lambda fit: fit.error)


def error_with_share(pilots: Sequence[Pilot]) -> float:
    """Return the error on the dense pilots of a law that has the share of visible training looks as a further term."""
    dense = [pilot for pilot in pilots if pilot.use == "dense"]
    return min(_fit(dense, octaves, with_share=True).error for octaves in OCTAVES)


def predict_recall(fit: Fit, row: Recall, kind: str, use: str) -> Prediction:
    """Predict one cell."""
    return Prediction.around(fit.rate(row, kind, use))


def _fit(pilots: Sequence[Pilot], octaves: float, *, with_share: bool = False) -> Fit:
    settings = sorted({pilot.setting for pilot in pilots})
    lines = [
        [float(pilot.setting == name) for name in settings]
        + terms_of(pilot.row, pilot.distances, octaves, pilot.layout)
        + with_share * [math.log(exposure_of(pilot.row, pilot.layout).share + SMALLEST)]
        for pilot in pilots
    ]
    rates = np.array([pilot.rate for pilot in pilots])
    chances = np.array([chance_of(pilot.row.task) for pilot in pilots])
    skill = np.clip((rates - chances) / (1 - chances), CLIP, 1 - CLIP)
    weight = np.sqrt(skill * (1 - skill) + CLIP)
    terms = len(lines[0]) - len(settings)
    ridge = np.hstack([np.zeros((terms, len(settings))), SHRINK**0.5 * np.eye(terms)])
    matrix = np.vstack([np.array(lines) * weight[:, None], ridge])
    target = np.concatenate([np.log(skill / (1 - skill)) * weight, np.zeros(terms)])
    found, *_ = np.linalg.lstsq(matrix, target, rcond=None)
    fitted = chances + (1 - chances) / (1 + np.exp(-np.array(lines) @ found))
    intercepts = dict(zip(settings, map(float, found), strict=False))
    trained, leap = map(float, found[len(settings) : len(settings) + 2])
    return Fit(octaves, trained, leap, intercepts, float(np.mean(np.abs(fitted - rates))))
