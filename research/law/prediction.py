"""The law as code: recall at a distance from what the geometry says of training, fitted on pilots only.

    recall  =  chance + (1 - chance) * sigmoid( a + b ln(visible) + c ln(trained around d) - g leap )

`a` belongs to a task, and to each setting of older pilots; the rest is one law for all. Under the training pattern only
what can be seen counts: hops seen directly as in dense use, those that only a path reaches with the weight `relay`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .exposure import exposure_of, middle, reached
from .pilots import Pilot
from .recall import HOPS, Recall
from .statements import VALUES

OCTAVES = (0.25, 0.35, 0.5, 0.7, 1.0)
SMALLEST = 1e-4  # a share below what DRAWN hops can show
SHRINK = 0.1  # ridge on b, c and g: what the pilots do not show is small
CLIP = 0.01
WIDEST, NARROWEST = 0.15, 0.05  # half of an interval, in the middle and at the ends
TERMS = 3


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
    visible: float
    trained: float
    leap: float
    relay: float
    intercepts: dict[str, float]
    error: float

    @property
    def tasks(self) -> list[str]:
        """The tasks that the law predicts: without a pilot of its own a task has no intercept."""
        return [task for task in HOPS if task in self.intercepts]

    def dense(self, row: Recall, distance: float, setting: str, layout: str | None = None) -> float:
        """Predict the recall of dense use at a distance."""
        score = self.intercepts[setting] + np.dot(
            [self.visible, self.trained, self.leap], terms_of(row, distance, self.octaves, layout)
        )
        chance = chance_of(row.task)
        return chance + (1 - chance) / (1 + math.exp(-score))

    def rate(self, row: Recall, kind: str, use: str) -> float:
        """Predict the recall of a class, in dense use or under the training pattern."""
        found = self.dense(row, middle(row, kind), row.task)
        if use == "dense":
            return found
        chance = chance_of(row.task)
        direct, path = reached(row, kind)
        return chance + (found - chance) * (direct + self.relay * path)


def terms_of(row: Recall, distance: float, octaves: float, layout: str | None = None) -> list[float]:
    """Return the two things that the law goes by, as logarithms, and the leap."""
    exposure = exposure_of(row, layout)
    around = exposure.around(distance, octaves)
    return [math.log(exposure.share + SMALLEST), math.log(around + SMALLEST), -row.leap]


def fit_law(pilots: Sequence[Pilot]) -> Fit:
    """Fit the law by weighted least squares on the logits of the dense pilots; octaves and relay by search.

    Raises:
        ValueError: without a dense pilot.
    """
    dense = [pilot for pilot in pilots if pilot.use == "dense"]
    if not dense:
        raise ValueError("pilots must hold one of dense use, got none")
    best = min((_fit(dense, octaves) for octaves in OCTAVES), key=lambda fit: fit.error)
    sparse = [pilot for pilot in pilots if pilot.use == "sparse" and pilot.kind]

    def error(relay: float) -> float:
        fit = replace(best, relay=relay)
        return float(np.mean([abs(fit.rate(one.row, one.kind, "sparse") - one.rate) for one in sparse]))

    relays = [float(relay) for relay in np.linspace(0, 1, 11)]
    return replace(best, relay=min(relays, key=error)) if sparse else best


def predict_recall(fit: Fit, row: Recall, kind: str, use: str) -> Prediction:
    """Predict one cell."""
    return Prediction.around(fit.rate(row, kind, use))


def _fit(pilots: Sequence[Pilot], octaves: float) -> Fit:
    settings = sorted({pilot.setting for pilot in pilots})
    lines = [
        [float(pilot.setting == name) for name in settings] + terms_of(pilot.row, pilot.distance, octaves, pilot.layout)
        for pilot in pilots
    ]
    rates = np.array([pilot.rate for pilot in pilots])
    chances = np.array([chance_of(pilot.row.task) for pilot in pilots])
    skill = np.clip((rates - chances) / (1 - chances), CLIP, 1 - CLIP)
    weight = np.sqrt(skill * (1 - skill) + CLIP)
    ridge = np.hstack([np.zeros((TERMS, len(settings))), SHRINK**0.5 * np.eye(TERMS)])
    matrix = np.vstack([np.array(lines) * weight[:, None], ridge])
    target = np.concatenate([np.log(skill / (1 - skill)) * weight, np.zeros(TERMS)])
    found, *_ = np.linalg.lstsq(matrix, target, rcond=None)
    numbers = [float(number) for number in found[len(settings) :]]
    fit = Fit(octaves, *numbers, 0.5, dict(zip(settings, map(float, found), strict=False)), 0.0)
    errors = [fit.dense(one.row, one.distance, one.setting, one.layout) - one.rate for one in pilots]
    return replace(fit, error=float(np.mean(np.abs(errors))))
