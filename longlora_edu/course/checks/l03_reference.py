"""Checks of lesson 03: masked attention on one head, S²-Attn on all of them, and the gradient by hand.

`attend` and `backward` are written here once more, on purpose: what they take for right is compared with the
reference by a test, and their options are the mistakes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from ...geometry import S2Geometry
from ...plots import Picture, show_tables
from ...reference import full_attention, s2_attention
from ..bugs import diagnose
from .exercise import (
    CLOSE,
    CheckFailed,
    Mistake,
    Passed,
    attention_weights,
    called,
    check,
    compare,
    expect,
    expect_array,
    name_by_mask,
    same,
    show_head,
    show_weights,
    type_of,
)

TINY = S2Geometry(8, 4, 2)
MASK = TINY.mask()[1]  # of a shifted head
# Sizes on which the gallery of bugs is not tried: ragged ends, a group longer than the sequence, other shifts.
OTHERS = (S2Geometry(10, 4, 2), S2Geometry(11, 3, 3), S2Geometry(5, 8, 2), S2Geometry(12, 4, 2, shift=1))
NAMES = ("dq", "dk", "dv")


@check("03.masked_attention")
def masked_attention(function: Callable) -> Passed:
    """Check `function(q, k, v, mask)`: (n, d) of one head, mask bool (n, n); a query without any key gets zeros."""
    rng = np.random.default_rng(3)
    cases = [(*_random_qkv(rng, n, width, wide=wide), MASK[:n, :n]) for n, width, wide in ((8, 4, 4), (6, 9, 5))]
    otherwise = "The output is not that of masked softmax attention, in a way this check does not know."
    picture = partial(_show_own_weights, function)
    compare(function, cases, attend, ATTENTION_MISTAKES, read=_output, otherwise=otherwise, picture=picture)
    empty, large = np.tri(5, dtype=bool), np.tri(6, dtype=bool)
    empty[2] = False
    inputs = (*_random_qkv(np.random.default_rng(4), 5, 3), empty)
    compare(function, [inputs], attend, otherwise=_name_empty_row)
    q, k, v = _random_qkv(np.random.default_rng(7), 6, 4)
    inputs = (200 * q, 200 * k, v, large)
    compare(function, [inputs], _full_attention, HIGHEST_MISTAKES, otherwise=_name_large_scores)
    picture = show_tables({"the weights of a shifted head": _right_weights()[1]}, allowed=MASK)
    return Passed("Every row sums to 1, a row without a key is zero, and scores in the thousands do no harm.", picture)


@check("03.s2_forward")
def s2_forward(function: Callable) -> Passed:
    """Check `function(q, k, v, geometry)`: (b, h, n, d), S²-Attn under the split boundary."""

    def read(out, expected, q, k, v, geometry):
        size = f"{geometry.seq_len} tokens, groups of {geometry.group_size}, {q.shape[1]} heads"
        return expect_array(out, q.shape, what=f"the output for {size}")

    def answer(q, k, v, geometry):
        return read(called(function, q, k, v, geometry), None, q, k, v, geometry)

    answer(*_random_qkv(np.random.default_rng(0), 2, 2, 8, 4), TINY)
    if bug := diagnose(answer):
        geometry = S2Geometry(15, 5, 3) if bug.name in ("odd_group", "smaller_half_shifted") else TINY
        raise CheckFailed(bug.sentence, mistake=bug.name, picture=show_head(answer, s2_attention, geometry))
    rng = np.random.default_rng(1)
    geometries = (TINY, S2Geometry(15, 5, 4), S2Geometry(16, 4, 3), *OTHERS)
    cases = [(*_random_qkv(rng, 2, g.num_heads, g.seq_len, 4), g) for g in geometries]

    def picture(answer_there, expected, q, k, v, geometry):
        return show_head(answer, s2_attention, geometry)

    otherwise = partial(_name_beyond_the_gallery, answer)
    compare(function, cases, s2_attention, read=read, otherwise=otherwise, picture=picture)
    tables = dict(zip(("head 0, plain", "head 1, shifted"), _right_weights(), strict=True))
    picture = show_tables(tables, allowed=TINY.mask())
    return Passed("The library's own numbers: odd groups, odd heads, any shift, ragged ends.", picture)


@check("03.softmax_backward")
def softmax_backward(function: Callable) -> Passed:
    """Check `function(weights, d_weights)`: (n, n), the gradient of the scores, each row by itself."""
    q, k, v, weights, grad_out = _forward()
    d_weights = grad_out @ v.T
    compare(
        function,
        [(weights, d_weights)],
        through_softmax,
        SOFTMAX_MISTAKES,
        read=lambda answer, *_: expect_array(answer, (8, 8), what="d_scores"),
        otherwise="These are not the gradients of the scores. Each row of those sums to 0: compare the sums.",
        picture=lambda mine, right, *_: show_tables({"yours": mine, "right": right}),
    )
    tables = {"weights": weights, "d_weights": d_weights, "d_scores": through_softmax(weights, d_weights)}
    return Passed(
        "Every row sums to 0: what one score gains, others lose. Forbidden keys get 0 without a word about the mask.",
        show_tables(tables, allowed=MASK),
    )


@check("03.attention_backward")
def attention_backward(function: Callable) -> Passed:
    """Check `function(grad_out, q, k, v, weights)`: (dq, dk, dv) of one head; `weights` are the forward pass's."""
    q, k, v, weights, grad_out = _forward()

    def picture(mine, right, *_):
        name = NAMES[_differs(mine, right)[-1]]
        return show_weights(*(_received(form, name) for form in (function, backward)))

    options = {"read": _three, "otherwise": _name_gradients, "picture": picture}
    compare(function, [(grad_out, q, k, v, weights)], backward, BACKWARD_MISTAKES, **options)
    tables = {f"loss at a query, size of {name}": _received(backward, name) for name in ("dk", "dv")}
    return Passed(
        "The whole backward pass of a head. Gradient flows to the keys that the query looked at, and to no other.",
        show_tables(tables, allowed=MASK),
    )


def attend(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: np.ndarray,
    *,
    scale: float | None = None,
    axis: int | None = -1,
    first: np.ndarray | None = None,
    then: np.ndarray | None = None,
    hidden: float = -np.inf,
    transposed: bool = False,
    normal: bool = True,
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


def through_softmax(weights: np.ndarray, d_weights: np.ndarray) -> np.ndarray:
    """The right answer of `softmax_backward`."""
    return weights * (d_weights - (weights * d_weights).sum(axis=-1, keepdims=True))


def backward(
    grad_out: np.ndarray,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    weights: np.ndarray,
    *,
    scales: tuple[int, int] = (1, 1),
    softmax: Callable = through_softmax,
    dk_transposed: bool = True,
    dv_transposed: bool = True,
    meet: str = "kq",
    values_scaled: bool = False,
    d_weights_transposed: bool = False,
    not_weighted: bool = False,
):
    """The right answer of `attention_backward`, and with the other arguments the ways to get it wrong.

    `scales` are how many times dq and dk are scaled; `meet` says which of q and k dq is made of, and dk.
    """
    scale, named = 1 / math.sqrt(q.shape[1]), {"q": q, "k": k}
    d_weights = v @ grad_out.T if d_weights_transposed else grad_out @ v.T
    d_scores = d_weights if not_weighted else softmax(weights, d_weights)
    dq = scale ** scales[0] * d_scores @ named[meet[0]]
    dk = scale ** scales[1] * (d_scores.T if dk_transposed else d_scores) @ named[meet[1]]
    dv = (weights.T if dv_transposed else weights) @ grad_out
    return dq, dk, scale * dv if values_scaled else dv


def _name_empty_row(out, right, q, k, v, mask) -> tuple[str, str]:
    if np.isnan(out[2]).any():
        return "empty_row_nan", (
            "A query that may look at nothing, such as padding, came out as NaN: 0 divided by 0. Divide by 1 where the "
            "sum is 0 (and mind that -inf minus -inf is NaN too)."
        )
    if same(out[2], v.mean(axis=0)):
        return "empty_row_averages", (
            "A query that may look at nothing averages all values: a large negative score hides nothing when all "
            "scores are that low. Use -inf, or set the forbidden exponentials to 0."
        )
    return "other", "A query that may look at nothing must come out as zeros."


def _name_large_scores(out, *_) -> tuple[str, str]:
    if not np.isfinite(out).all():
        return "overflow", (
            "With scores in the thousands exp overflows: inf divided by inf. Subtract the highest allowed score of "
            "each row first; the quotient does not notice."
        )
    return "other", (
        "With scores in the thousands the output is wrong: subtract the highest score of each row, not of "
        "the whole table, or quiet rows underflow to nothing."
    )


def _name_beyond_the_gallery(function: Callable, out, right, q, k, v, geometry: S2Geometry) -> tuple[str, str]:
    length, group, shift = geometry.seq_len, geometry.group_size, geometry.shift
    where = f"{length} tokens in groups of {group}"
    if same(out, s2_attention(q, k, v, S2Geometry(length, group, geometry.num_heads))):
        return "half_a_group_assumed", f"The shift is `geometry.shift`, here {shift}: not half a group everywhere."
    empty = (out == 0).all(axis=(0, 1, 3))
    if empty.any() and not empty.all():
        return "last_cell_dropped", (
            f"With {where} some tokens get no output, {np.flatnonzero(empty).tolist()} among them: where the group "
            "does not divide the length, the last cell is shorter, and it counts."
        )
    other = "other", f"The output is wrong with {where}, shifted by {shift}, though its mask is right."
    return name_by_mask(function, geometry) or other


def _name_gradients(answers, right, *_) -> tuple[str, str]:
    if all(any(same(one, other) for other in right) for one in answers):
        return "order", "All three are right, in another order: return dq, dk, dv."
    wrong = _differs(answers, right)
    for number in wrong:
        if same(answers[number], -right[number]):
            name = NAMES[number]
            return "sign", f"{name} has the wrong sign: this is the gradient itself, not a step of the optimiser."
    names = [NAMES[number] for number in wrong]
    first = "dv" if "dv" in names else names[0]
    mine, expected = (three[NAMES.index(first)] for three in (answers, right))
    times = (mine * expected).sum() / (expected**2).sum()
    factor = f", {times:.3g} times what it must be" if same(mine, times * expected) and abs(times) > CLOSE else ""
    return "other", f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} wrong: begin with {first}{factor}."


def _differs(answers, right) -> list[int]:
    return [number for number, pair in enumerate(zip(answers, right, strict=True)) if not same(*pair)]


def _output(answer, expected, *_) -> np.ndarray:
    return expect_array(answer, expected.shape, what="the output")


def _three(answer, expected, grad_out, q, *_) -> list[np.ndarray]:
    several = isinstance(answer, tuple | list)
    kind = f"{len(answer)} values" if several else type_of(answer)
    three = several and len(answer) == 3
    expect(three, "type", f"three arrays must come back, `return dq, dk, dv`, got {kind}")
    return [expect_array(x, q.shape, what=name) for name, x in zip(NAMES, answer, strict=True)]


def _random_qkv(rng: np.random.Generator, *shape: int, wide: int | None = None) -> tuple[np.ndarray, ...]:
    """float64 q, k (…, n, d) and v (…, n, wide), `shape` ending in n and d."""
    q, k = rng.normal(size=(2, *shape))
    return q, k, rng.normal(size=(*shape[:-1], wide or shape[-1]))


def _forward() -> tuple[np.ndarray, ...]:
    """q, k, v (8, 4), the weights of a shifted head and a gradient of its output."""
    rng = np.random.default_rng(6)
    q, k, v = _random_qkv(rng, 8, 4)
    return q, k, v, attend(q, k, np.eye(8), MASK), rng.normal(size=(8, 4))


def _full_attention(q, k, v, mask) -> np.ndarray:
    return full_attention(q[None, None], k[None, None], v[None, None])[0, 0]


def _right_weights() -> np.ndarray:
    return attention_weights(s2_attention, TINY)


def _show_own_weights(function: Callable, *_) -> Picture:
    q, k, _ = _random_qkv(np.random.default_rng(8), 8, 4)
    inputs = (q, k, np.eye(8), MASK)
    return show_weights(expect_array(called(function, *inputs), (8, 8), what="the output"), attend(*inputs))


def _received(function: Callable, name: str) -> np.ndarray:
    """Measure (n, n): how much of dq, dk or dv a token (column) receives from a loss at the output of a query (row)."""
    q, k, v, weights, grad_out = _forward()
    rows = []
    for query in range(len(q)):
        inputs = np.where(np.arange(len(q))[:, None] == query, grad_out, 0), q, k, v, weights
        three = _three(called(function, *inputs), None, *inputs)
        rows.append(np.linalg.norm(three[NAMES.index(name)], axis=1))
    return np.array(rows)


def _attending(options: Callable[..., dict]) -> Callable:
    """Return a function of (q, k, v, mask) that calls `attend` with the options that `options(q, mask)` returns."""
    return lambda q, k, v, mask: attend(q, k, v, mask, **options(q, mask))


def _sums_in_columns(q, k, v, mask, *, below_the_highest: bool = False) -> np.ndarray:
    """Compute the output after a forgotten `keepdims`: weights divided by the sums of other rows.

    `below_the_highest` is for a learner who subtracts the highest visible score of each row before.
    """
    scores = q @ k.T / np.sqrt(q.shape[1])
    if below_the_highest:
        scores = scores - scores.max(axis=1, keepdims=True, where=mask, initial=-np.inf)
    totals = np.where(mask, np.exp(scores), 0).sum(axis=1)
    return attend(q, k, v, mask, then=totals[:, None] / totals[None, :])


def _below(highest: Callable) -> Callable:
    """Return a function of (q, k, v, mask): attention that subtracts `highest(scores, mask)` before the exponential.

    A row in which nothing is left comes out as zeros.
    """

    def form(q, k, v, mask):
        scores = q @ k.T / np.sqrt(q.shape[1])
        exponentials = np.where(mask, np.exp(scores - highest(scores, mask)), 0)
        total = exponentials.sum(axis=-1, keepdims=True)
        return exponentials / np.where(total == 0, 1, total) @ v

    return form


def _spoiled(form: Callable) -> Callable:
    """Return `form` with NaN, from 0 / 0, in rows whose weights all vanish though they may look at a key."""

    def nan(q, k, v, mask):
        out = form(q, k, v, mask)
        return np.where((out == 0).all(axis=1, keepdims=True) & mask.any(axis=1, keepdims=True), np.nan, out)

    return nan


OF_ALL_KEYS = _below(lambda scores, mask: scores.max(axis=-1, keepdims=True))
OF_THE_TABLE = _below(lambda scores, mask: scores.max())
HIGHEST_MISTAKES = {
    "highest_of_hidden_keys": Mistake(
        "You subtract the highest score of the whole row, and that may be a forbidden key's: then all visible ones "
        "underflow to 0. Take the highest *visible* score: `max(…, where=mask, initial=…)`, or hide before you take "
        "the maximum.",
        OF_ALL_KEYS,
        also=_spoiled(OF_ALL_KEYS),
    ),
    "highest_of_the_table": Mistake(
        "You subtract the highest score of the whole table, so that quiet rows underflow to 0. Each row has a highest "
        "score of its own: `axis=-1, keepdims=True`.",
        OF_THE_TABLE,
        also=_spoiled(OF_THE_TABLE),
    ),
}
COLUMNS = (
    "Without `keepdims=True` the sums of the rows stand in the columns, and every weight is divided by the sum of "
    "another row."
)
ATTENTION_MISTAKES = {
    "missing_scale": Mistake(
        "The scores must be divided by sqrt(d), d being the width of a head, or wide heads get a softmax that is too "
        "sharp.",
        _attending(lambda q, mask: {"scale": 1.0}),
    ),
    "scaled_by_width": Mistake(
        "You divide by d; divide by its square root.", _attending(lambda q, mask: {"scale": 1 / q.shape[1]})
    ),
    "scaled_by_tokens": Mistake(
        "You divide by the root of the number of tokens. d is the width of a head, `q.shape[-1]`.",
        _attending(lambda q, mask: {"scale": 1 / np.sqrt(q.shape[0])}),
    ),
    "scale_upside_down": Mistake(
        "You multiply by sqrt(d); divide by it.", _attending(lambda q, mask: {"scale": np.sqrt(q.shape[1])})
    ),
    "softmax_over_queries": Mistake(
        "The softmax runs down the columns, over the queries. Each query shares out its own attention: sum over "
        "the keys, the last axis.",
        _attending(lambda q, mask: {"axis": 0}),
    ),
    "softmax_over_everything": Mistake(
        "All weights together sum to 1. Each row must: sum over the last axis, with `keepdims=True`.",
        _attending(lambda q, mask: {"axis": None}),
    ),
    "keepdims_forgotten": Mistake(COLUMNS, _sums_in_columns),
    "keepdims_forgotten_after_the_maximum": Mistake(COLUMNS, partial(_sums_in_columns, below_the_highest=True)),
    "roles_swapped": Mistake(
        "Queries and keys have changed places: row i of the scores belongs to query i, so it is `q @ k.T`.",
        lambda q, k, v, mask: _attending(lambda q, mask: {})(k, q, v, mask),
    ),
    "mask_after_softmax": Mistake(
        "The mask comes after the softmax: forbidden keys have taken their share before they are removed, so the "
        "rows do not sum to 1. Mask the scores.",
        _attending(lambda q, mask: {"first": np.ones_like(mask), "then": mask}),
    ),
    "mask_ignored": Mistake(
        "The mask is not used: every query looks at every key.",
        _attending(lambda q, mask: {"first": np.ones_like(mask)}),
    ),
    "zero_instead_of_minus_infinity": Mistake(
        "A forbidden score became 0, and exp(0) is 1: a weight like any other. It must become -inf.",
        _attending(lambda q, mask: {"hidden": 0.0}),
    ),
    "mask_upside_down": Mistake(
        "The mask is upside down: True means that the query may look.", _attending(lambda q, mask: {"first": ~mask})
    ),
    "mask_transposed": Mistake(
        "The mask is transposed: its rows are queries, its columns keys.", _attending(lambda q, mask: {"first": mask.T})
    ),
    "weights_transposed": Mistake(
        "The weights are transposed when they meet the values: each row of weights belongs to one query.",
        _attending(lambda q, mask: {"transposed": True}),
    ),
    "no_softmax": Mistake(
        "The scores are used as weights: the softmax is missing.", _attending(lambda q, mask: {"normal": False})
    ),
}

SOFTMAX_MISTAKES = {
    "row_sum_forgotten": Mistake(
        "The row's own sum is missing: raising one score lowers all other weights of its row, so subtract "
        "`(weights * d_weights).sum(axis=-1, keepdims=True)` before you multiply.",
        lambda p, dp: p * dp,
    ),
    "row_sum_not_weighted": Mistake(
        "The sum that is subtracted must be weighted: sum `weights * d_weights`, not `d_weights` alone.",
        lambda p, dp: p * (dp - dp.sum(axis=-1, keepdims=True)),
    ),
    "row_mean": Mistake(
        "You subtract the plain mean of the row. Each entry counts by its weight: sum `weights * d_weights`.",
        lambda p, dp: p * (dp - dp.mean(axis=-1, keepdims=True)),
    ),
    "mean_of_products": Mistake(
        "You subtract the mean of `weights * d_weights`. The weights share out 1 already, so sum the products and "
        "divide by nothing.",
        lambda p, dp: p * (dp - (p * dp).mean(axis=-1, keepdims=True)),
    ),
    "keepdims_forgotten": Mistake(
        "Without `keepdims=True` the sums of the rows stand in the columns: every entry loses the sum of another row. "
        "(In a square table NumPy cannot notice.)",
        lambda p, dp: p * (dp - (p * dp).sum(axis=-1)),
    ),
    "sum_over_queries": Mistake(
        "You sum down the columns. Each query has a softmax of its own: sum along the last axis.",
        lambda p, dp: p * (dp - (p * dp).sum(axis=0, keepdims=True)),
    ),
    "sum_over_everything": Mistake(
        "You sum the whole table. Each query has a softmax of its own: sum along the last axis, keepdims=True.",
        lambda p, dp: p * (dp - (p * dp).sum()),
    ),
    "diagonal_only": Mistake(
        "This is the diagonal of the Jacobian alone, p (1 - p), as in a sigmoid. A score moves the other weights of "
        "its row too.",
        lambda p, dp: p * (1 - p) * dp,
    ),
    "not_multiplied_by_the_weights": Mistake(
        "The difference must be multiplied by the weights: a key without weight gets no gradient.",
        lambda p, dp: dp - (p * dp).sum(axis=-1, keepdims=True),
    ),
    "sign": Mistake(
        "The sign is wrong: d_weights minus the sum of its row, not the other way round.",
        lambda p, dp: -through_softmax(p, dp),
    ),
    "passed_through": Mistake(
        "d_weights came back as it was: the softmax stands between weights and scores.", lambda p, dp: dp
    ),
}

BACKWARD_MISTAKES = {
    "scale_missing_in_dq": Mistake(
        "The scale is missing in dq: the scores are scale · q kᵀ, so q moves them by scale · k.",
        partial(backward, scales=(0, 1)),
    ),
    "scale_missing_in_dk": Mistake(
        "The scale is missing in dk: the scores are scale · q kᵀ, so k moves them by scale · q.",
        partial(backward, scales=(1, 0)),
    ),
    "scale_missing": Mistake(
        "The scale is missing in dq and dk: it stands in the scores, so it stands in both gradients, and not in dv.",
        partial(backward, scales=(0, 0)),
    ),
    "scaled_twice": Mistake(
        "dq and dk are scaled twice: the chain passes through the scale once.", partial(backward, scales=(2, 2))
    ),
    "dk_not_transposed": Mistake(
        "dk needs `d_scores.T`: key j collects from all queries that looked at it, column j of d_scores.",
        partial(backward, dk_transposed=False),
    ),
    "dv_not_transposed": Mistake(
        "dv needs `weights.T`: value j collects from all queries that took some of it, column j of the weights.",
        partial(backward, dv_transposed=False),
    ),
    "neither_transposed": Mistake(
        "dk and dv need the transposed tables: a key or value collects from all queries that looked at it, a column.",
        partial(backward, dk_transposed=False, dv_transposed=False),
    ),
    "row_sum_forgotten": Mistake(
        "The sum of each row is missing on the way through the softmax: dv is right, dq and dk are not.",
        partial(backward, softmax=lambda p, dp: p * dp),
    ),
    **{
        f"softmax_{name}": Mistake(
            f"dv is right. On the way through the softmax, from d_weights to d_scores: {mistake.sentence[0].lower()}"
            f"{mistake.sentence[1:]}",
            partial(backward, softmax=mistake.form),
        )
        for name, mistake in SOFTMAX_MISTAKES.items()
        if name not in ("row_sum_forgotten", "passed_through")
    },
    "softmax_skipped": Mistake(
        "The softmax is skipped: d_weights is not d_scores. Between them stands the Jacobian of exercise 3.3.",
        partial(backward, not_weighted=True),
    ),
    "q_and_k_swapped": Mistake(
        "q and k are exchanged: the gradient of q is made of keys, and that of k of queries.",
        partial(backward, meet="qk"),
    ),
    "dq_of_queries": Mistake(
        "dq is made of keys: query i meets every key j by the number in row i, column j of d_scores. `d_scores @ k`.",
        partial(backward, meet="qq"),
        also=partial(backward, meet="qq", dk_transposed=False),
    ),
    "dk_of_keys": Mistake(
        "dk is made of queries: key j collects from all queries that looked at it. `d_scores.T @ q`.",
        partial(backward, meet="kk"),
        also=partial(backward, meet="kk", dk_transposed=False),
    ),
    "dv_scaled": Mistake(
        "dv is divided by sqrt(d), and the values never met the scale: it stands in the scores, so in dq and dk.",
        partial(backward, values_scaled=True),
        also=partial(backward, values_scaled=True, scales=(0, 0)),
    ),
    "d_weights_transposed": Mistake(
        "d_weights is transposed: queries stand in its rows, and a row of grad_out belongs to a query. "
        "`grad_out @ v.T`.",
        partial(backward, d_weights_transposed=True),
    ),
}
