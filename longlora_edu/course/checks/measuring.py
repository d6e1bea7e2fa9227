"""Checks of lesson 08: the same bytes with more and more before them, and whether a difference is more than luck."""

from __future__ import annotations

import math

import numpy as np

from ...plots.arms import paired_difference
from .diagnosis import CheckFailed, Passed, called, exercise
from .numbers import expect_number

# Exercise 8.1: the same bytes, given more and more.


@exercise("08.last_bits")
def last_bits(function) -> Passed:
    """`function(nats_of, windows, length, tail) -> float`: bits of the last bytes, given a context of `length`."""
    windows = np.random.default_rng(0).integers(256, size=(5, 40), dtype=np.uint8)
    for length, tail in ((40, 8), (24, 8), (12, 5)):
        value = expect_number(called(function, _nats_of, windows.copy(), length, tail), "the bits")
        right = _bits(_nats_of(windows[:, -length:])[:, -tail:])
        if not math.isclose(value, right, rel_tol=1e-6):
            _name_the_measure(value, right, windows, length, tail)
    return Passed("The same bytes at every length, and only the context before them differs.")


def _nats_of(ids: np.ndarray) -> np.ndarray:
    """A model of the check: (w, m) ids to nats (w, m - 1) that depend on the byte and on how much stands before it."""
    ids = np.asarray(ids)
    if ids.ndim != 2 or ids.shape[1] < 2:
        raise ValueError(f"nats_of must be given windows (w, m) of at least 2 bytes, got shape {ids.shape}")
    return (1 + ids[:, 1:] / 256) * (1 + 1 / np.arange(1, ids.shape[1]))


def _bits(nats: np.ndarray) -> float:
    return float(nats.mean()) / math.log(2)


def _name_the_measure(value: float, right: float, windows: np.ndarray, length: int, tail: int) -> None:
    context = windows[:, -length:]
    mistakes = {
        "other bytes": (
            _bits(_nats_of(windows[:, :length])[:, -tail:]),
            "you cut the windows at their end: then each length is measured on other bytes. Keep the last ones: "
            "`windows[:, -length:]`",
        ),
        "all positions": (
            _bits(_nats_of(context)),
            "this is the mean over all positions, the first ones with hardly any context too; take the last `tail`",
        ),
        "nats": (right * math.log(2), "this is in nats; a bit is `log(2)` of them"),
        "whole window": (
            _bits(_nats_of(windows)[:, -tail:]),
            "the model was given the whole window whatever `length` says",
        ),
        "no context": (
            _bits(_nats_of(windows[:, -tail - 1 :])[:, -tail:]),
            "the model was given the last bytes alone: `length` bytes belong to what it reads",
        ),
        "perplexity": (math.exp(right * math.log(2)), "this is a perplexity: do not take the exponential"),
        "times": (right * math.log(2) ** 2, "nats are divided by `log(2)`, not multiplied"),
    }
    for name, (wrong, sentence) in mistakes.items():
        if math.isclose(value, wrong, rel_tol=1e-6):
            raise CheckFailed(sentence, mistake=name)
    raise CheckFailed(f"at length {length} and tail {tail} the answer is {right:.4f} bits, got {value:.4f}")


# Exercise 8.2: is the difference real?


@exercise("08.paired")
def paired(function) -> Passed:
    """`function(mine, other) -> (mean, standard error)` of the differences over the same windows."""
    rng = np.random.default_rng(0)
    for count in (200, 12):
        windows = rng.normal(1.1, 0.3, count)  # windows differ a lot, arms hardly
        mine, other = windows + rng.normal(0.02, 0.03, count), windows + rng.normal(0, 0.03, count)
        value = called(function, mine.copy(), other.copy())
        if not isinstance(value, tuple | list) or len(value) != 2:
            raise CheckFailed("return two numbers, the mean and its standard error", mistake="type")
        mean, error = (
            expect_number(number, name) for number, name in zip(value, ("the mean", "the error"), strict=True)
        )
        _name_the_difference(mean, error, mine, other)
    return Passed("Windows differ far more than arms do; taken pairwise, what is common to both cancels.")


def _name_the_difference(mean: float, error: float, mine: np.ndarray, other: np.ndarray) -> None:
    right, right_error = paired_difference(mine, other)
    count, spread = len(mine), right_error * len(mine) ** 0.5
    if not math.isclose(mean, right, rel_tol=1e-6):
        if math.isclose(mean, -right, rel_tol=1e-6):
            raise CheckFailed("the sign is turned round: mine minus other", mistake="sign")
        if math.isclose(mean, abs(mine - other).mean(), rel_tol=1e-6):
            raise CheckFailed("keep the signs: the mean of absolute differences is never near zero", mistake="absolute")
        raise CheckFailed(f"the mean difference is {right:.4f}, got {mean:.4f}", mistake="mean")
    mistakes = {
        "unpaired": (
            math.sqrt((mine.var(ddof=1) + other.var(ddof=1)) / count),
            "this treats the two lists as if they came from different windows; take the spread of the differences",
        ),
        "no root": (spread, "this is the spread of single differences; that of their mean is smaller by `sqrt(n)`"),
        "no root, biased": (
            (mine - other).std(),
            "this is the spread of single differences; that of their mean is smaller by `sqrt(n)`",
        ),
        "divided by n": (spread / count, "divide the spread by `sqrt(n)`, not by `n`"),
        "variance": (right_error**2, "this is the variance of the mean: take its square root"),
        "ddof": (
            (mine - other).std() / math.sqrt(count),
            "nearly: the mean was estimated from the same differences, so divide by n - 1: `std(ddof=1)`",
        ),
    }
    if math.isclose(error, right_error, rel_tol=1e-6):
        return
    for name, (wrong, sentence) in mistakes.items():
        if math.isclose(error, wrong, rel_tol=1e-6):
            raise CheckFailed(sentence, mistake=name)
    raise CheckFailed(f"the standard error is {right_error:.5f}, got {error:.5f}", mistake="error")
