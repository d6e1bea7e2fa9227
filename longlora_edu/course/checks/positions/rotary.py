"""Checks of lesson 05: rotated scores, stretched frequencies, YaRN's ramp."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ....plots.rotary import describe_by_pair, describe_scores, plot_by_pair, plot_scores
from ....rope import Rope
from ....widgets import Picture
from ..diagnosis import CheckFailed, Passed, called, exercise, expect_array
from ..forms import expect_values, same
from .mistakes import Wrong, scores, wrong_frequencies, wrong_scores, wrong_yarn


@exercise("05.rotary_scores")
def rotary_scores(function: Callable) -> Passed:
    """`function(q, k, positions, frequencies)`: float (n, n), the unscaled scores of rotated queries and keys."""
    for length, head_dim, start, seed in ((5, 4, 0, 0), (8, 2, 3, 1), (6, 16, 100, 2)):
        rng = np.random.default_rng(seed)
        q, k = rng.normal(size=(2, length, head_dim))
        positions, frequencies = np.arange(start, start + length), Rope(head_dim, base=100.0).frequencies()
        given = q.copy(), k.copy()
        answer = called(function, q, k, positions, frequencies)
        expect_array(answer, (length, length), what="the scores")
        if not (same(q, given[0]) and same(k, given[1])):
            raise CheckFailed(
                "q or k is not what it was before the call: write the turned halves into a new array, since "
                "the second half still needs the old first half",
                mistake="in_place",
            )
        right = scores(q, k, positions, frequencies)
        expect_values(
            answer,
            right,
            wrong_scores(q, k, positions, frequencies),
            otherwise="these are not the scores of rotated queries and keys: turn each pair (i, i + d/2) of q and of k "
            "by position · frequency[i], then take the product of every query with every key",
            picture=lambda mine, right: Picture(
                plot_scores({"yours": mine, "right": right}), describe_scores(mine, right)
            ),
        )
    same_everywhere = np.ones((8, 4))
    table = scores(same_everywhere, same_everywhere, np.arange(100, 108), Rope(4, base=20.0).frequencies())
    return Passed(
        "Every size and start comes out. Below, one query and one key stand at each of eight positions: every diagonal "
        "has one score, so it is the distance that counts, not the place.",
        Picture(
            plot_scores({"one q and one k, everywhere": table}),
            f"Scores of the same query and key at eight positions: {table[0, 0]:.2f} at distance 0, "
            f"{table[1, 0]:.2f} at distance 1, {table[2, 0]:.2f} at distance 2, equal along each diagonal.",
        ),
    )


@exercise("05.stretched_frequencies")
def stretched_frequencies(function: Callable) -> Passed:
    """`function(head_dim, base, factor, rule)`: float (d/2,), for the rules "linear" and "ntk"."""
    for rule in ("linear", "ntk"):
        for head_dim, base, factor in ((8, 10_000.0, 4.0), (48, 10_000.0, 8.0), (128, 500_000.0, 3.0)):
            found = called(function, head_dim, base, factor, rule)
            expect_array(found, (head_dim // 2,), what=f'the frequencies for rule="{rule}"')
            right = Rope(head_dim, base, rule, factor).frequencies()
            _compare(
                found,
                right,
                Rope(head_dim, base).frequencies(),
                wrong_frequencies(head_dim, base, factor, rule),
                otherwise=f'for rule="{rule}", head_dim {head_dim} and factor {factor:g} the frequencies are not those '
                f"of the rule: pair 0 has {found[0]:.4g} and must have {right[0]:.4g}, the last has {found[-1]:.4g} "
                f"and must have {right[-1]:.4g}",
            )
    trained = Rope(48).frequencies()
    curves = {rule: Rope(48, method=rule, factor=8).frequencies() / trained for rule in ("linear", "ntk")}
    return Passed("Both rules are right for every size.", _picture(curves))


@exercise("05.yarn_frequencies")
def yarn_frequencies(function: Callable) -> Passed:
    """`function(frequencies, factor, low, high)`: float (d/2,), kept up to pair `low`, divided from pair `high` on."""
    for head_dim, base, factor, trained in ((48, 1e4, 8.0, 256), (64, 1e4, 4.0, 4096), (128, 5e5, 16.0, 8192)):
        rope = Rope(head_dim, base, "yarn", factor, trained)
        plain = Rope(head_dim, base).frequencies()
        low, high = _ramp_ends(rope)
        found = called(function, plain.copy(), factor, low, high)
        expect_array(found, (head_dim // 2,), what="the frequencies")
        right = rope.frequencies()
        _compare(
            found,
            right,
            plain,
            wrong_yarn(plain, rope, low, high),
            otherwise=f"with factor {factor:g} and a ramp from pair {low} to {high} these are not YaRN's frequencies: "
            f"pair {(low + high) // 2} has {found[(low + high) // 2]:.4g} and must have "
            f"{right[(low + high) // 2]:.4g}",
        )
    trained, rope = Rope(48).frequencies(), Rope(48, method="yarn", factor=8, trained_length=256)
    curves = {"linear": np.full(24, 1 / 8), "yarn": rope.frequencies() / trained}
    return Passed("Near pairs are kept, far pairs interpolated, a ramp between.", _picture(curves))


def _ramp_ends(rope: Rope) -> tuple[int, int]:
    # The last pair that turns 32 times within the trained length, and the first that turns at most once.
    turns = Rope(rope.head_dim, rope.base).frequencies() * rope.trained_length / (2 * np.pi)
    return max(int((turns >= 32).sum()) - 1, 0), int((turns > 1).sum())


def _compare(found: np.ndarray, right: np.ndarray, trained: np.ndarray, wrong: Wrong, *, otherwise: str) -> None:
    # Over the trained ones, so that a slow pair counts as much as a fast one.
    expect_values(
        found / trained,
        right / trained,
        {name: (form / trained, said) for name, (form, said) in wrong.items()},
        otherwise=otherwise,
        picture=lambda mine, right: _picture({"yours": mine, "right": right}),
    )


def _picture(curves: dict[str, np.ndarray]) -> Picture:
    log = all((values > 0).all() for values in curves.values())
    axes = plot_by_pair(curves, y="frequency, over the trained one", log=log)
    return Picture(axes, describe_by_pair(curves, what="Frequency over the trained one"))
