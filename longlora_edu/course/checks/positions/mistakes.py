"""What wrong rotations, frequencies and ramps compute, and what their authors should read."""

from __future__ import annotations

import numpy as np

from ....rope import Rope

# Name of the mistake -> the numbers it leads to, and the sentence.
Wrong = dict[str, tuple[np.ndarray, str]]


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
    if form == "sign":
        return np.concatenate([first * cos + second * sin, second * cos + first * sin], axis=-1)
    new_first = first * cos - second * sin
    return np.concatenate([new_first, second * cos + (new_first if form == "overwritten" else first) * sin], axis=-1)


def wrong_scores(q: np.ndarray, k: np.ndarray, positions: np.ndarray, frequencies: np.ndarray) -> Wrong:
    """Forms of the first exercise, on these inputs."""

    def form(**how) -> np.ndarray:
        return scores(q, k, positions, frequencies, **how)

    right, head_dim = form(), q.shape[-1]
    return {
        "interleaved": (
            form(form="interleaved"),
            "you turn the pairs (0, 1), (2, 3), …; Llama's weights are stored for the pairs (i, i + d/2): split the "
            "features into two halves",
        ),
        "k_other_way": (
            form(k_sign=-1.0),
            "the keys turn the other way, so that the score depends on the sum of the two positions: turn q and k "
            "the same way, and the difference remains",
        ),
        "only_q": (form(turns="q"), "only the queries are turned: turn the keys by their own positions too"),
        "only_k": (form(turns="k"), "only the keys are turned: turn the queries by their own positions too"),
        "not_turned": (form(turns=""), "nothing is turned: these are the scores of q and k as they came"),
        "not_a_rotation": (
            form(form="sign"),
            "both halves are added, so lengths change: a rotation has one minus, first · cos - second · sin",
        ),
        "overwritten": (
            form(form="overwritten"),
            "the second half is turned with the first half's new values: keep the old first half until both are done",
        ),
        "degrees": (
            scores(q, k, positions, frequencies * np.pi / 180),
            "the angles are taken as degrees: position · frequency is in radians, as NumPy's cos and sin want it",
        ),
        "scaled": (
            right / np.sqrt(head_dim),
            "these are divided by √d: here the plain products are asked for, the scale comes with the softmax",
        ),
        "transposed": (right.T, "rows must be queries and columns keys: this is the transpose, keys first"),
    }


def wrong_frequencies(head_dim: int, base: float, factor: float, rule: str) -> Wrong:
    """Forms of the second exercise."""

    def plain(base: float, step: float = 2.0) -> np.ndarray:
        return base ** -(np.arange(head_dim // 2) * step / head_dim)

    exponent = head_dim / (head_dim - 2)
    swapped = plain(base) / factor if rule == "ntk" else plain(base * factor**exponent)
    forms = {
        "not_stretched": (plain(base), "the factor is not used: these are the trained frequencies"),
        "rules_swapped": (swapped, f'this is the other rule: rule="{rule}" was asked for'),
        "one_index_a_pair": (
            plain(base, 1.0) / factor if rule == "linear" else plain(base * factor**exponent, 1.0),
            "the exponent grows by 1/d a pair and must grow by 2/d: pair i has base ** (-2 i / d)",
        ),
    }
    if rule == "linear":
        forms["multiplied"] = (
            plain(base) * factor,
            "the frequencies are multiplied by the factor: to interpolate, positions shrink, so divide",
        )
        forms["base_scaled"] = (
            plain(base * factor),
            "the base is multiplied by the factor; linear interpolation leaves the base alone and divides every "
            "frequency by the factor",
        )
        return forms
    forms["exponent_forgotten"] = (
        plain(base * factor),
        "the base is multiplied by the factor itself; so that the last pair slows down by exactly the factor, "
        "multiply by factor ** (d / (d - 2))",
    )
    forms["exponent_upside_down"] = (
        plain(base * factor ** (1 / exponent)),
        "the exponent is (d - 2) / d and must be d / (d - 2): the last pair has the exponent (d - 2) / d already, "
        "and the two must cancel",
    )
    forms["stretched_twice"] = (
        plain(base * factor**exponent) / factor,
        "the base is raised and the frequencies are divided as well: NTK-aware does the first only",
    )
    forms["base_lowered"] = (
        plain(base / factor**exponent),
        "the base is divided, which makes every pair turn faster: multiply it",
    )
    return forms


def wrong_yarn(plain: np.ndarray, rope: Rope, low: int, high: int) -> Wrong:
    """Forms of the third exercise: `plain` are the trained frequencies, `rope` is the YaRN that is right."""
    factor, pairs = rope.factor, np.arange(len(plain))
    slope = (pairs - low) / (high - low)
    ramp = np.clip(slope, 0, 1)
    doubled = np.clip((2 * pairs - low) / (high - low), 0, 1)

    def mixed(share: np.ndarray) -> np.ndarray:
        return plain / factor * share + plain * (1 - share)

    return {
        "ramp_inverted": (
            mixed(1 - ramp),
            "the ramp is upside down: fast pairs, which tell near distances apart, must stay, and the slow ones, which "
            "never complete a turn, must be divided by the factor",
        ),
        "not_clipped": (
            mixed(slope),
            "the ramp goes on below 0 and above 1: clip it, or pairs outside of it turn faster than trained, or "
            "backwards",
        ),
        "all_divided": (plain / factor, "every pair is divided: that is linear interpolation, the ramp is not used"),
        "not_stretched": (plain, "no pair is divided by the factor: these are the trained frequencies"),
        "multiplied": (
            plain * factor * ramp + plain * (1 - ramp),
            "the slow pairs are multiplied by the factor: to interpolate, divide",
        ),
        "wavelengths_mixed": (
            plain / (factor * ramp + (1 - ramp)),
            "the ramp mixes wavelengths: YaRN mixes the two frequencies, the divided one and the trained one",
        ),
        "features_for_pairs": (
            mixed(doubled),
            "the ramp counts features, two a pair: low and high are numbers of pairs, 0, 1, … d/2 - 1",
        ),
        "step_for_ramp": (
            np.where(pairs >= high, plain / factor, plain),
            "this is a step: between low and high the share of the divided frequency must rise in a straight line",
        ),
        "attention_factor": (
            mixed(ramp) * rope.attention_factor,
            "the attention factor is mixed into the frequencies: it scales cos and sin, angles stay without it",
        ),
    }
