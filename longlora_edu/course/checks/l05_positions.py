"""Checks of lesson 05: rotated scores, stretched frequencies, YaRN's ramp."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ...plots import Picture
from ...plots.rotary import plot_scores, show_by_pair, show_scores
from ...rope import Rope
from .exercise import Mistake, Passed, check, compare, expect_array

IN_PLACE = (
    "in_place",
    "q or k is not what it was before the call: write the turned halves into a new array, since "
    "the second half still needs the old first half",
)


@check("05.rotary_scores")
def rotary_scores(function: Callable) -> Passed:
    """Check `function(q, k, positions, frequencies)`: float (n, n), the unscaled scores of rotated queries and keys."""
    cases = []
    for length, head_dim, start, seed in ((5, 4, 0, 0), (8, 2, 3, 1), (6, 16, 100, 2)):
        q, k = np.random.default_rng(seed).normal(size=(2, length, head_dim))
        cases.append((q, k, np.arange(start, start + length), Rope(head_dim, base=100.0).frequencies()))
    # Tokens with gaps between them: only there does it show who counts the rows instead of reading `positions`.
    q, k = np.random.default_rng(3).normal(size=(2, 6, 8))
    cases.append((q, k, np.array([0, 1, 4, 9, 10, 30]), Rope(8, base=100.0).frequencies()))
    compare(
        function,
        cases,
        scores,
        SCORE_MISTAKES,
        read=lambda answer, right, *_: expect_array(answer, right.shape, what="the scores"),
        otherwise="These are not the scores of rotated queries and keys: turn each pair (i, i + d/2) of q and of k "
        "by position · frequency[i], then take the product of every query with every key",
        picture=lambda mine, right, *_: show_scores({"yours": mine, "right": right}),
        changed=IN_PLACE,
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


@check("05.stretched_frequencies")
def stretched_frequencies(function: Callable) -> Passed:
    """Check `function(head_dim, base, factor, rule)`: float (d/2,), for the rules "linear" and "ntk"."""
    for rule in ("linear", "ntk"):
        sizes = ((8, 10_000.0, 4.0), (48, 10_000.0, 8.0), (128, 500_000.0, 3.0), (16, 10_000.0, 1.5))
        _compare(
            function,
            [(*size, rule) for size in sizes],
            lambda head_dim, base, factor, rule: Rope(head_dim, base, rule, factor).frequencies(),
            _frequency_mistakes(rule),
            trained=lambda head_dim, base, *_: _plain(head_dim, base),
            what=f'the frequencies for rule="{rule}"',
            otherwise=lambda mine, right, head_dim, base, factor, rule: (
                f'For rule="{rule}", head_dim {head_dim} and factor {factor:g} the frequencies are not those '
                f"of the rule: pair 0 has {mine[0]:.4g} and must have {right[0]:.4g}, the last has {mine[-1]:.4g} "
                f"and must have {right[-1]:.4g}"
            ),
        )
    curves = {rule: Rope(48, method=rule, factor=8).frequencies() / _plain(48) for rule in ("linear", "ntk")}
    return Passed("Both rules are right for every size.", _show(curves))


@check("05.yarn_frequencies")
def yarn_frequencies(function: Callable) -> Passed:
    """Check `function(frequencies, factor, low, high)`: float (d/2,), kept up to pair `low`, divided from `high` on."""
    sizes = ((48, 1e4, 8.0, 256), (64, 1e4, 4.0, 4096), (128, 5e5, 16.0, 8192))
    ropes = [Rope(head_dim, base, "yarn", factor, trained) for head_dim, base, factor, trained in sizes]
    cases = {(rope.factor, *_ramp_ends(rope)): rope for rope in ropes}

    def otherwise(mine, right, plain, factor, low, high):
        middle = (low + high) // 2
        return (
            f"With factor {factor:g} and a ramp from pair {low} to {high} these are not YaRN's frequencies: "
            f"pair {middle} has {mine[middle]:.4g} and must have {right[middle]:.4g}"
        )

    _compare(
        function,
        [(_plain(rope.head_dim, rope.base), *case) for case, rope in cases.items()],
        lambda plain, *case: cases[case].frequencies(),
        YARN_MISTAKES
        | {
            "attention_factor": Mistake(
                "The attention factor is mixed into the frequencies: it scales cos and sin, angles stay without it",
                lambda plain, *case: cases[case].frequencies() * cases[case].attention_factor,
            )
        },
        trained=lambda plain, *_: plain,
        what="the frequencies",
        otherwise=otherwise,
    )
    rope = Rope(48, method="yarn", factor=8, trained_length=256)
    curves = {"linear": np.full(24, 1 / 8), "yarn": rope.frequencies() / _plain(48)}
    return Passed("Near pairs are kept, far pairs interpolated, a ramp between.", _show(curves))


def scores(
    q: np.ndarray,
    k: np.ndarray,
    positions: np.ndarray,
    frequencies: np.ndarray,
    *,
    k_sign: float = 1.0,
    turns: str = "qk",
    form: str = "halves",
) -> np.ndarray:
    """float (n, n): the scores of rotated queries and keys; right, unless an option says otherwise."""
    angles = positions[:, None] * frequencies
    q = turned(q, angles, form) if "q" in turns else q
    k = turned(k, k_sign * angles, form) if "k" in turns else k
    return q @ k.T


def turned(x: np.ndarray, angles: np.ndarray, form: str = "halves") -> np.ndarray:
    """x (n, d) with each pair turned by angles (n, d/2); only `form="halves"` is right."""
    cos, sin = np.cos(angles), np.sin(angles)
    if form == "interleaved":
        first, second = x[:, 0::2], x[:, 1::2]
        return np.stack([first * cos - second * sin, second * cos + first * sin], axis=-1).reshape(x.shape)
    first, second = np.split(x, 2, axis=-1)
    if form == "two_minus":
        return np.concatenate([first * cos - second * sin, second * cos - first * sin], axis=-1)
    if form == "sign":
        return np.concatenate([first * cos + second * sin, second * cos + first * sin], axis=-1)
    new_first = first * cos - second * sin
    return np.concatenate([new_first, second * cos + (new_first if form == "overwritten" else first) * sin], axis=-1)


def _compare(
    function: Callable, cases: list, right: Callable, mistakes: dict, *, trained: Callable, what: str, otherwise
) -> None:
    """`compare` over the trained frequencies, so that a slow pair counts as much as a fast one."""

    def over(form: Callable) -> Callable:
        return lambda *case: form(*case) / trained(*case)

    compare(
        function,
        cases,
        over(right),
        {name: Mistake(m.sentence, over(m.form), [over(form) for form in m.forms[1:]]) for name, m in mistakes.items()},
        read=lambda answer, ratio, *case: expect_array(answer, ratio.shape, what=what) / trained(*case),
        otherwise=lambda mine, ratio, *case: otherwise(mine * trained(*case), ratio * trained(*case), *case),
        picture=lambda mine, ratio, *_: _show({"yours": mine, "right": ratio}),
    )


def _plain(head_dim: int, base: float = 10_000.0, step: float = 2.0) -> np.ndarray:
    return base ** -(np.arange(head_dim // 2) * step / head_dim)


def _ramp_ends(rope: Rope) -> tuple[int, int]:
    # The last pair that turns 32 times within the trained length, and the first that turns at most once.
    turns = Rope(rope.head_dim, rope.base).frequencies() * rope.trained_length / (2 * np.pi)
    return max(int((turns >= 32).sum()) - 1, 0), int((turns > 1).sum())


def _show(curves: dict[str, np.ndarray]) -> Picture:
    log = all((values > 0).all() for values in curves.values())
    y = "frequency, over the trained one"
    return show_by_pair(curves, y=y, log=log, what="Frequency over the trained one")


SCORE_MISTAKES = {
    "interleaved": Mistake(
        "You turn the pairs (0, 1), (2, 3), …; Llama's weights are stored for the pairs (i, i + d/2): split the "
        "features into two halves",
        partial(scores, form="interleaved"),
    ),
    "k_other_way": Mistake(
        "The keys turn the other way, so that the score depends on the sum of the two positions: turn q and k "
        "the same way, and the difference remains",
        partial(scores, k_sign=-1.0),
    ),
    "only_q": Mistake(
        "Only the queries are turned: turn the keys by their own positions too", partial(scores, turns="q")
    ),
    "only_k": Mistake(
        "Only the keys are turned: turn the queries by their own positions too", partial(scores, turns="k")
    ),
    "positions_not_read": Mistake(
        "You count the rows, 0, 1, 2, …: a token stands where `positions` says, and there may be gaps",
        lambda q, k, positions, frequencies: scores(q, k, np.arange(len(q)), frequencies),
        also=lambda q, k, positions, frequencies: scores(q, k, positions[0] + np.arange(len(q)), frequencies),
    ),
    "not_turned": Mistake("Nothing is turned: these are the scores of q and k as they came", partial(scores, turns="")),
    "subtracted_twice": Mistake(
        "Both halves are subtracted: a rotation has one minus, and the second half is second · cos + first · sin",
        partial(scores, form="two_minus"),
    ),
    "not_a_rotation": Mistake(
        "Both halves are added, so lengths change: a rotation has one minus, first · cos - second · sin",
        partial(scores, form="sign"),
    ),
    "overwritten": Mistake(
        "The second half is turned with the first half's new values: keep the old first half until both are done",
        partial(scores, form="overwritten"),
    ),
    "other_way": Mistake(
        "Queries and keys turn clockwise, so a key that stands before counts as one that comes after: the minus "
        "belongs to the first half, first · cos - second · sin, second · cos + first · sin",
        lambda q, k, positions, frequencies: scores(q, k, positions, -frequencies),
    ),
    "turns_for_radians": Mistake(
        "There is a 2π too many: a frequency is in radians a token already, so the angle is position · frequency",
        lambda q, k, positions, frequencies: scores(q, k, positions, 2 * np.pi * frequencies),
    ),
    "degrees": Mistake(
        "The angles are taken as degrees: position · frequency is in radians, as NumPy's cos and sin want it",
        lambda q, k, positions, frequencies: scores(q, k, positions, frequencies * np.pi / 180),
    ),
    "scaled": Mistake(
        "These are divided by √d: here the plain products are asked for, the scale comes with the softmax",
        lambda q, *others: scores(q, *others) / np.sqrt(q.shape[1]),
    ),
    "transposed": Mistake(
        "Rows must be queries and columns keys: this is the transpose, keys first", lambda *case: scores(*case).T
    ),
}


def _raised(base: float, factor: float, head_dim: int) -> float:
    """The base of NTK-aware scaling."""
    return base * factor ** (head_dim / (head_dim - 2))


def _frequency_mistakes(rule: str) -> dict[str, Mistake]:
    rules = {
        "linear": lambda d, base, s, step=2.0: _plain(d, base, step) / s,
        "ntk": lambda d, base, s, step=2.0: _plain(d, _raised(base, s, d), step),
    }
    right, other = rules.pop(rule), *rules.values()
    both = {
        "not_stretched": Mistake(
            "The factor is not used: these are the trained frequencies", lambda d, base, s, rule: _plain(d, base)
        ),
        "rules_swapped": Mistake(
            f'This is the other rule: rule="{rule}" was asked for', lambda d, base, s, rule: other(d, base, s)
        ),
        "factor_rounded": Mistake(
            "The factor is rounded to a whole number: it is the ratio of two lengths, 1.5 as well as 8",
            lambda d, base, s, rule: right(d, base, np.ceil(s)),
            also=[
                lambda d, base, s, rule: right(d, base, np.floor(s)),
                lambda d, base, s, rule: right(d, base, round(s)),
            ],
        ),
        "one_index_a_pair": Mistake(
            "The exponent grows by 1/d a pair and must grow by 2/d: pair i has base ** (-2 i / d)",
            lambda d, base, s, rule: right(d, base, s, 1.0),
        ),
        "minus_forgotten": Mistake(
            "Your clocks get faster from pair to pair, and they must get slower: the exponent is negative, "
            "base ** (-2 i / d)",
            lambda d, base, s, rule: right(d, base, s, -2.0),
            also=[
                lambda d, base, s, rule: right(d, base, s, -1.0),
                lambda d, base, s, rule: _plain(d, base, -2.0) * (s if rule == "linear" else 1),
            ],
        ),
    }
    return both | (LINEAR_MISTAKES if rule == "linear" else NTK_MISTAKES)


LINEAR_MISTAKES = {
    "multiplied": Mistake(
        "The frequencies are multiplied by the factor: to interpolate, positions shrink, so divide",
        lambda d, base, s, rule: _plain(d, base) * s,
    ),
    "base_scaled": Mistake(
        "The base is multiplied by the factor; linear interpolation leaves the base alone and divides every "
        "frequency by the factor",
        lambda d, base, s, rule: _plain(d, base * s),
    ),
}
NTK_MISTAKES = {
    "exponent_forgotten": Mistake(
        "The base is multiplied by the factor itself; so that the last pair slows down by exactly the factor, "
        "multiply by factor ** (d / (d - 2))",
        lambda d, base, s, rule: _plain(d, base * s),
    ),
    "exponent_upside_down": Mistake(
        "The exponent is (d - 2) / d and must be d / (d - 2): the last pair has the exponent (d - 2) / d already, "
        "and the two must cancel",
        lambda d, base, s, rule: _plain(d, base * s ** ((d - 2) / d)),
    ),
    "stretched_twice": Mistake(
        "The base is raised and the frequencies are divided as well: NTK-aware does the first only",
        lambda d, base, s, rule: _plain(d, _raised(base, s, d)) / s,
    ),
    "base_lowered": Mistake(
        "The base is divided, which makes every pair turn faster: multiply it",
        lambda d, base, s, rule: _plain(d, base / s ** (d / (d - 2))),
    ),
}


def _mixed(share: Callable[..., np.ndarray]) -> Callable:
    """The form in which `share(pairs, low, high)` of each frequency is the divided one."""

    def form(plain, factor, low, high):
        part = share(np.arange(len(plain)), low, high)
        return plain / factor * part + plain * (1 - part)

    return form


def _ramp(pairs: np.ndarray, low: int, high: int) -> np.ndarray:
    return np.clip((pairs - low) / (high - low), 0, 1)


def _with_ramp(form: Callable) -> Callable:
    return lambda plain, factor, low, high: form(plain, factor, _ramp(np.arange(len(plain)), low, high))


def _line_between_frequencies(plain: np.ndarray, factor: float, low: int, high: int) -> np.ndarray:
    stretched = np.where(np.arange(len(plain)) < low, plain, plain / factor)
    stretched[low : high + 1] = np.linspace(plain[low], plain[high] / factor, high - low + 1)
    return stretched


YARN_MISTAKES = {
    "ramp_inverted": Mistake(
        "The ramp is upside down: fast pairs, which tell near distances apart, must stay, and the slow ones, which "
        "never complete a turn, must be divided by the factor",
        _mixed(lambda pairs, low, high: 1 - _ramp(pairs, low, high)),
    ),
    "not_clipped": Mistake(
        "The ramp goes on below 0 and above 1: clip it, or pairs outside of it turn faster than trained, or backwards",
        _mixed(lambda pairs, low, high: (pairs - low) / (high - low)),
    ),
    "all_divided": Mistake(
        "Every pair is divided: that is linear interpolation, the ramp is not used",
        lambda plain, factor, low, high: plain / factor,
    ),
    "not_stretched": Mistake(
        "No pair is divided by the factor: these are the trained frequencies",
        lambda plain, factor, low, high: plain,
    ),
    "multiplied": Mistake(
        "The slow pairs are multiplied by the factor: to interpolate, divide",
        _with_ramp(lambda plain, factor, ramp: plain * factor * ramp + plain * (1 - ramp)),
    ),
    "trained_part_forgotten": Mistake(
        "The share of the trained frequency is missing, so that the fast pairs stand still: add "
        "`frequencies * (1 - share)`",
        _with_ramp(lambda plain, factor, ramp: plain / factor * ramp),
    ),
    "divided_part_forgotten": Mistake(
        "The share of the divided frequency is missing, so that the slow pairs stand still: add "
        "`frequencies / factor * share`",
        _with_ramp(lambda plain, factor, ramp: plain * (1 - ramp)),
    ),
    "ramp_over_all_pairs": Mistake(
        "Your ramp goes over all pairs. It begins at pair `low` and ends at pair `high`: (i - low) / (high - low)",
        _mixed(lambda pairs, low, high: pairs / (len(pairs) - 1)),
        also=_mixed(lambda pairs, low, high: pairs / len(pairs)),
    ),
    "line_between_frequencies": Mistake(
        "You draw a straight line between two frequencies. It is the share that rises in a straight line; each pair "
        "mixes its own two frequencies by it",
        _line_between_frequencies,
    ),
    "ramp_one_step_off": Mistake(
        "Your ramp is one step too short or too long: the share is 0 at pair `low` itself and 1 at pair `high` itself, "
        "with high - low steps between",
        _mixed(lambda pairs, low, high: _ramp(pairs, low, high - 1)),
        also=[
            _mixed(lambda pairs, low, high: _ramp(pairs, low, high + 1)),
            _mixed(lambda pairs, low, high: _ramp(pairs, low + 1, high)),
            _mixed(lambda pairs, low, high: _ramp(pairs, low - 1, high)),
            _mixed(lambda pairs, low, high: _ramp(pairs, low - 1, high - 1)),
            _mixed(lambda pairs, low, high: _ramp(pairs, low + 1, high + 1)),
        ],
    ),
    "wavelengths_mixed": Mistake(
        "The ramp mixes wavelengths: YaRN mixes the two frequencies, the divided one and the trained one",
        _with_ramp(lambda plain, factor, ramp: plain / (factor * ramp + (1 - ramp))),
    ),
    "features_for_pairs": Mistake(
        "The ramp counts features, two a pair: low and high are numbers of pairs, 0, 1, … d/2 - 1",
        _mixed(lambda pairs, low, high: _ramp(2 * pairs, low, high)),
    ),
    "step_for_ramp": Mistake(
        "This is a step: between low and high the share of the divided frequency must rise in a straight line",
        _mixed(lambda pairs, low, high: pairs >= high),
        also=[
            _mixed(lambda pairs, low, high: pairs > low),
            _mixed(lambda pairs, low, high: pairs >= low),
            _mixed(lambda pairs, low, high: pairs > high),
            _mixed(lambda pairs, low, high: pairs >= (low + high) / 2),
            _mixed(lambda pairs, low, high: pairs > (low + high) / 2),
        ],
    ),
}
