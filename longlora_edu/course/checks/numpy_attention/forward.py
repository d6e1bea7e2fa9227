"""The two exercises of the forward pass: masked attention on one head, and S²-Attn on all of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ....geometry import S2Geometry
from ....plots import describe_tables, plot_tables
from ....reference import full_attention, s2_attention
from ....widgets import Picture
from ...bugs import diagnose
from ..diagnosis import CheckFailed, Passed, attention_weights, exercise, expect_array
from ..forms import expect_values, same
from .shared import SEEN, TINY, answered, attend, beside, random_qkv

# What the gallery of bugs is not tried on: ragged ends, a group longer than the sequence, shifts of their own.
OTHERS = (S2Geometry(10, 4, 2), S2Geometry(11, 3, 3), S2Geometry(5, 8, 2), S2Geometry(12, 4, 2, shift=1))


@exercise("03.masked_attention")
def masked_attention(function: Callable) -> Passed:
    """`function(q, k, v, mask)`: (n, d) of one head, mask bool (n, n); a query without any key gets zeros."""
    rng = np.random.default_rng(3)
    for length, width, wide in ((8, 4, 4), (6, 9, 5)):
        inputs = (*random_qkv(rng, length, width, wide=wide), TINY.mask()[1, :length, :length])
        out = expect_array(answered(function, *inputs), (length, wide), what="the output")
        wrong = {mistake: (attend(*inputs, **form), said) for mistake, (form, said) in _mistakes(*inputs).items()}
        otherwise = "The output is not that of masked softmax attention, in a way this check does not know."
        expect_values(out, attend(*inputs), wrong, otherwise=otherwise, picture=lambda *_: _weights(function))
    _check_empty_row(function)
    _check_large_scores(function)
    weights, mask = _right_weights(), TINY.mask()[1]
    tables = {"the weights of a shifted head": weights}
    picture = Picture(plot_tables(tables, allowed=mask), describe_tables(tables, allowed=mask))
    return Passed("Every row sums to 1, a row without a key is zero, and scores in the thousands do no harm.", picture)


@exercise("03.s2_forward")
def s2_forward(function: Callable) -> Passed:
    """`function(q, k, v, geometry)`: (b, h, n, d), S²-Attn under the split boundary."""

    def answer(q, k, v, geometry):
        what = f"the output for {geometry.seq_len} tokens, groups of {geometry.group_size}, {q.shape[1]} heads"
        return expect_array(answered(function, q, k, v, geometry), q.shape, what=what)

    answer(*random_qkv(np.random.default_rng(0), 2, 2, 8, 4), TINY)
    if bug := diagnose(answer):
        geometry = S2Geometry(15, 5, 3) if bug.name in ("odd_group", "smaller_half_shifted") else TINY
        raise CheckFailed(bug.sentence, mistake=bug.name, picture=_heads(answer, geometry))
    rng = np.random.default_rng(1)
    for geometry in (TINY, S2Geometry(15, 5, 4), S2Geometry(16, 4, 3), *OTHERS):
        inputs = random_qkv(rng, 2, geometry.num_heads, geometry.seq_len, 4)
        out, right = answer(*inputs, geometry), s2_attention(*inputs, geometry)
        if not same(out, right):
            mistake, sentence = _beyond_the_gallery(out, inputs, geometry, right)
            raise CheckFailed(sentence, mistake=mistake, picture=_heads(answer, geometry))
    tables = {f"head {head}, {kind}": _right_weights(head) for head, kind in enumerate(("plain", "shifted"))}
    allowed = TINY.mask()
    picture = Picture(plot_tables(tables, allowed=allowed), describe_tables(tables, allowed=allowed))
    return Passed("The library's own numbers: odd groups, odd heads, any shift, ragged ends.", picture)


def _mistakes(q, k, v, mask) -> dict[str, tuple[dict, str]]:
    """Arguments of `attend` that make each mistake, and what to say."""
    length, width = q.shape
    everything = np.ones_like(mask)
    scores = q @ k.T / np.sqrt(width)
    below = scores - scores.max(axis=1, keepdims=True, where=mask, initial=-np.inf)
    columns = (
        "Without `keepdims=True` the sums of the rows stand in the columns, and every weight is divided by the sum of "
        "another row."
    )
    not_scaled = "The scores must be divided by sqrt(d), d being the width of a head, or wide heads get a softmax "
    return {
        "missing_scale": ({"scale": 1.0}, not_scaled + "that is too sharp."),
        "scaled_by_width": ({"scale": 1 / width}, "You divide by d; divide by its square root."),
        "scaled_by_tokens": (
            {"scale": 1 / np.sqrt(length)},
            "You divide by the root of the number of tokens. d is the width of a head, `q.shape[-1]`.",
        ),
        "scale_upside_down": ({"scale": np.sqrt(width)}, "You multiply by sqrt(d); divide by it."),
        "softmax_over_queries": (
            {"axis": 0},
            "The softmax runs down the columns, over the queries. Each query shares out its own attention: sum over "
            "the keys, the last axis.",
        ),
        "softmax_over_everything": (
            {"axis": None},
            "All weights together sum to 1. Each row must: sum over the last axis, with `keepdims=True`.",
        ),
        "keepdims_forgotten": ({"then": _sums_in_columns(scores, mask)}, columns),
        "keepdims_forgotten_after_the_maximum": ({"then": _sums_in_columns(below, mask)}, columns),
        "mask_after_softmax": (
            {"first": everything, "then": mask},
            "The mask comes after the softmax: forbidden keys have taken their share before they are removed, so the "
            "rows do not sum to 1. Mask the scores.",
        ),
        "mask_ignored": ({"first": everything}, "The mask is not used: every query looks at every key."),
        "zero_instead_of_minus_infinity": (
            {"hidden": 0.0},
            "A forbidden score became 0, and exp(0) is 1: a weight like any other. It must become -inf.",
        ),
        "mask_upside_down": ({"first": ~mask}, "The mask is upside down: True means that the query may look."),
        "mask_transposed": ({"first": mask.T}, "The mask is transposed: its rows are queries, its columns keys."),
        "weights_transposed": (
            {"transposed": True},
            "The weights are transposed when they meet the values: each row of weights belongs to one query.",
        ),
        "no_softmax": ({"normal": False}, "The scores are used as weights: the softmax is missing."),
    }


def _sums_in_columns(scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What turns right weights into those of a forgotten `keepdims`."""
    totals = np.where(mask, np.exp(scores), 0).sum(axis=1)
    return totals[:, None] / totals[None, :]


def _check_empty_row(function: Callable) -> None:
    mask = np.tri(5, dtype=bool)
    mask[2] = False
    inputs = (*random_qkv(np.random.default_rng(4), 5, 3), mask)
    out, right = answered(function, *inputs), attend(*inputs)
    if np.isnan(out[2]).any():
        raise CheckFailed(
            "A query that may look at nothing, such as padding, came out as NaN: 0 divided by 0. Divide by 1 where the "
            "sum is 0 (and mind that -inf minus -inf is NaN too).",
            mistake="empty_row_nan",
        )
    if same(out[2], inputs[2].mean(axis=0)):
        raise CheckFailed(
            "A query that may look at nothing averages all values: a large negative score hides nothing when all "
            "scores are that low. Use -inf, or set the forbidden exponentials to 0.",
            mistake="empty_row_averages",
        )
    expect_values(out, right, {}, otherwise="A query that may look at nothing must come out as zeros.")


def _check_large_scores(function: Callable) -> None:
    q, k, v = random_qkv(np.random.default_rng(7), 6, 4)
    inputs = (200 * q, 200 * k, v, np.tri(6, dtype=bool))
    out = answered(function, *inputs)
    if not np.isfinite(out).all():
        raise CheckFailed(
            "With scores in the thousands exp overflows: inf divided by inf. Subtract the highest allowed score of "
            "each row first; the quotient does not notice.",
            mistake="overflow",
        )
    expect_values(
        out,
        _row_by_row(*inputs),
        {},
        otherwise="With scores in the thousands the output is wrong: subtract the highest score of each row, not of "
        "the whole table, or quiet rows underflow to nothing.",
    )


def _row_by_row(q, k, v, mask) -> np.ndarray:
    return full_attention(q[None, None], k[None, None], v[None, None])[0, 0]


def _right_weights(head: int = 1) -> np.ndarray:
    return attention_weights(s2_attention, TINY)[head]


def _weights(function: Callable) -> Picture:
    q, k, _ = random_qkv(np.random.default_rng(8), 8, 4)
    inputs = (q, k, np.eye(8), TINY.mask()[1])
    return beside(expect_array(answered(function, *inputs), (8, 8), what="the output"), attend(*inputs))


def _heads(answer: Callable, geometry: S2Geometry) -> Picture:
    """The first head whose mask is wrong, or the last one."""
    mine, right = attention_weights(answer, geometry), attention_weights(s2_attention, geometry)
    differs = [head for head in range(geometry.num_heads) if not same(mine[head] > SEEN, right[head] > SEEN)]
    head = differs[0] if differs else -1
    return beside(mine[head], right[head])


def _beyond_the_gallery(out, inputs, geometry: S2Geometry, right) -> tuple[str, str]:
    length, group, shift = geometry.seq_len, geometry.group_size, geometry.shift
    where = f"{length} tokens in groups of {group}"
    if same(out, s2_attention(*inputs, S2Geometry(length, group, geometry.num_heads))):
        return "half_a_group_assumed", f"The shift is `geometry.shift`, here {shift}: not half a group everywhere."
    empty = (out == 0).all(axis=(0, 1, 3))
    if empty.any() and not empty.all():
        return "last_cell_dropped", (
            f"With {where} some tokens get no output, {np.flatnonzero(empty).tolist()} among them: where the group "
            "does not divide the length, the last cell is shorter, and it counts."
        )
    return "other", f"The output is wrong with {where}, shifted by {shift}. Compare the masks."
