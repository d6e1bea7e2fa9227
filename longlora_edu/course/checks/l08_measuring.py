"""Checks of lesson 08: the same bytes with more and more before them, and whether a difference is more than luck."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...plots.arms import paired_difference
from .exercise import Mistake, Passed, check, compare, expect, expect_number

# Exercise 8.1: the same bytes, given more and more.


@check("08.last_bits")
def last_bits(function: Callable) -> Passed:
    """Check `function(nats_of, windows, length, tail) -> float`: bits of the last bytes, given a context `length`."""
    windows = np.random.default_rng(0).integers(256, size=(5, 40), dtype=np.uint8)
    compare(
        function,
        [(_nats_of, windows, length, tail) for length, tail in ((40, 8), (24, 8), (12, 5))],
        _last_bits,
        BITS_MISTAKES,
        read=lambda answer, *_: expect_number(answer, "the bits"),
        otherwise=lambda value, right, nats_of, windows, length, tail: (
            f"at length {length} and tail {tail} the answer is {right:.4f} bits, got {value:.4f}"
        ),
        within=1e-6,
    )
    return Passed("The same bytes at every length, and only the context before them differs.")


def _nats_of(ids: np.ndarray) -> np.ndarray:
    """A model of the check: (w, m) ids to nats (w, m - 1) that depend on the byte and on how much stands before it."""
    ids = np.asarray(ids)
    if ids.ndim != 2 or ids.shape[1] < 2:
        raise ValueError(f"nats_of must be given windows (w, m) of at least 2 bytes, got shape {ids.shape}")
    return (1 + ids[:, 1:] / 256) * (1 + 1 / np.arange(1, ids.shape[1]))


def _bits(nats: np.ndarray) -> float:
    return float(nats.mean()) / math.log(2)


def _last_bits(nats_of, windows: np.ndarray, length: int, tail: int) -> float:
    return _bits(nats_of(windows[:, -length:])[:, -tail:])


BITS_MISTAKES = {
    "other bytes": Mistake(
        "you cut the windows at their end: then each length is measured on other bytes. Keep the last ones: "
        "`windows[:, -length:]`",
        lambda nats_of, windows, length, tail: _bits(nats_of(windows[:, :length])[:, -tail:]),
    ),
    "all positions": Mistake(
        "this is the mean over all positions, the first ones with hardly any context too; take the last `tail`",
        lambda nats_of, windows, length, tail: _bits(nats_of(windows[:, -length:])),
    ),
    "nats": Mistake("this is in nats; a bit is `log(2)` of them", lambda *case: _last_bits(*case) * math.log(2)),
    "whole window": Mistake(
        "the model was given the whole window whatever `length` says",
        lambda nats_of, windows, length, tail: _bits(nats_of(windows)[:, -tail:]),
    ),
    "no context": Mistake(
        "the model was given the last bytes alone: `length` bytes belong to what it reads",
        lambda nats_of, windows, length, tail: _bits(nats_of(windows[:, -tail - 1 :])[:, -tail:]),
    ),
    "too much context": Mistake(
        "the model was given `tail` bytes too many: the last bytes count among the `length`",
        lambda nats_of, windows, length, tail: _bits(nats_of(windows[:, -length - tail :])[:, -tail:]),
    ),
    "one byte more": Mistake(
        "the model was given one byte too many: `length` counts the bytes that it reads, the measured ones included",
        lambda nats_of, windows, length, tail: _bits(nats_of(windows[:, -length - 1 :])[:, -tail:]),
    ),
    "first bytes": Mistake(
        "you measure the first `tail` losses; the last ones are asked for: `[:, -tail:]`",
        lambda nats_of, windows, length, tail: _bits(nats_of(windows[:, -length:])[:, :tail]),
    ),
    "one too early": Mistake(
        "you are one byte too early: the last loss is that of the last byte, so `[:, -tail:]`",
        lambda nats_of, windows, length, tail: _bits(nats_of(windows[:, -length:])[:, -tail - 1 : -1]),
    ),
    "sum": Mistake(
        "this is a sum over the bytes; take the mean",
        lambda nats_of, windows, length, tail: _last_bits(nats_of, windows, length, tail) * tail * len(windows),
        also=lambda nats_of, windows, length, tail: _last_bits(nats_of, windows, length, tail) * tail,
    ),
    "windows cut": Mistake(
        "the first axis counts windows, the second bytes: cut with `[:, -length:]`, and the losses with `[:, -tail:]`",
        lambda nats_of, windows, length, tail: _bits(nats_of(windows[-length:])[-tail:]),
        also=(
            lambda nats_of, windows, length, tail: _bits(nats_of(windows[:, -length:])[-tail:]),
            lambda nats_of, windows, length, tail: _bits(nats_of(windows[-length:])[:, -tail:]),
        ),
    ),
    "perplexity": Mistake(
        "this is a perplexity: do not take the exponential", lambda *case: math.exp(_last_bits(*case) * math.log(2))
    ),
    "times": Mistake(
        "nats are divided by `log(2)`, not multiplied", lambda *case: _last_bits(*case) * math.log(2) ** 2
    ),
}


# Exercise 8.2: is the difference real?


@check("08.paired")
def paired(function: Callable) -> Passed:
    """Check `function(mine, other) -> (mean, standard error)` of the differences over the same windows."""
    rng = np.random.default_rng(0)
    cases = []
    for count in (200, 12):
        windows = rng.normal(1.1, 0.3, count)  # windows differ a lot, arms hardly
        cases.append((windows + rng.normal(0.02, 0.03, count), windows + rng.normal(0, 0.03, count)))
    compare(
        function,
        cases,
        lambda *case: paired_difference(*case)[0],
        MEAN_MISTAKES,
        read=lambda answer, *_: _pair(answer)[0],
        otherwise=lambda value, right, *_: ("mean", f"the mean difference is {right:.4f}, got {value:.4f}"),
        within=1e-6,
    )
    compare(
        function,
        cases,
        lambda *case: paired_difference(*case)[1],
        ERROR_MISTAKES,
        read=lambda answer, *_: _pair(answer)[1],
        otherwise=lambda value, right, *_: ("error", f"the standard error is {right:.5f}, got {value:.5f}"),
        within=1e-6,
    )
    return Passed("Windows differ far more than arms do; taken pairwise, what is common to both cancels.")


def _pair(answer) -> tuple[float, ...]:
    two = isinstance(answer, tuple | list) and len(answer) == 2
    expect(two, "type", "return two numbers, the mean and its standard error")
    return tuple(expect_number(*pair) for pair in zip(answer, ("the mean", "the error"), strict=True))


def _spread(mine: np.ndarray, other: np.ndarray) -> float:
    return (mine - other).std(ddof=1)


SPREAD = "this is the spread of single differences; that of their mean is smaller by `sqrt(n)`"
MEAN_MISTAKES = {
    "order": Mistake(
        "the two have changed places: the mean comes first, its standard error second",
        lambda *case: paired_difference(*case)[1],
    ),
    "sign": Mistake("the sign is turned round: mine minus other", lambda mine, other: (other - mine).mean()),
    "absolute": Mistake(
        "keep the signs: the mean of absolute differences is never near zero",
        lambda mine, other: abs(mine - other).mean(),
    ),
}
ERROR_MISTAKES = {
    "interval": Mistake(
        "this is half of a 95 % interval: the standard error itself is asked for, without the 1.96",
        lambda *case: 1.96 * paired_difference(*case)[1],
        also=lambda *case: 2 * paired_difference(*case)[1],
    ),
    "unpaired": Mistake(
        "this treats the two lists as if they came from different windows; take the spread of the differences",
        lambda mine, other: math.sqrt((mine.var(ddof=1) + other.var(ddof=1)) / len(mine)),
    ),
    "no root": Mistake(SPREAD, _spread),
    "no root, biased": Mistake(SPREAD, lambda mine, other: (mine - other).std()),
    "divided by n": Mistake(
        "divide the spread by `sqrt(n)`, not by `n`",
        lambda mine, other: _spread(mine, other) / len(mine),
        also=lambda mine, other: (mine - other).std() / len(mine),
    ),
    "variance": Mistake(
        "this is the variance of the mean: take its square root",
        lambda mine, other: _spread(mine, other) ** 2 / len(mine),
    ),
    "ddof": Mistake(
        "nearly: the mean was estimated from the same differences, so divide by n - 1: `std(ddof=1)`",
        lambda mine, other: (mine - other).std() / math.sqrt(len(mine)),
    ),
}
