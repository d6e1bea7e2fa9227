"""The two exercises of the backward pass: through the softmax, and to dq, dk and dv."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ....plots import describe_tables, plot_tables
from ....widgets import Picture
from ..diagnosis import CheckFailed, Passed, exercise, expect_array
from ..forms import expect_values, same
from .shared import TINY, answered, attend, beside, random_qkv

NAMES = ("dq", "dk", "dv")


@exercise("03.softmax_backward")
def softmax_backward(function: Callable) -> Passed:
    """`function(weights, d_weights)`: (n, n), the gradient of the scores, each row by itself."""
    q, k, v, weights, grad_out = _forward()
    d_weights = grad_out @ v.T
    found = expect_array(answered(function, weights, d_weights), (8, 8), what="d_scores")
    right = through_softmax(weights, d_weights)
    wrong = {name: (form(weights, d_weights), said) for name, (form, said) in SOFTMAX_MISTAKES.items()}
    otherwise = "These are not the gradients of the scores. Each row of those sums to 0: compare the sums."

    def picture(mine, right):
        tables = {"yours": mine, "right": right}
        return Picture(plot_tables(tables), describe_tables(tables))

    expect_values(found, right, wrong, otherwise=otherwise, picture=picture)
    tables, mask = {"weights": weights, "d_weights": d_weights, "d_scores": right}, TINY.mask()[1]
    return Passed(
        "Every row sums to 0: what one score gains, others lose. Forbidden keys get 0 without a word about the mask.",
        Picture(plot_tables(tables, allowed=mask), describe_tables(tables, allowed=mask)),
    )


@exercise("03.attention_backward")
def attention_backward(function: Callable) -> Passed:
    """`function(grad_out, q, k, v, weights)`: (dq, dk, dv) of one head, weights being those of the forward pass."""
    q, k, v, weights, grad_out = _forward()
    found, right = _three(function, grad_out, q, k, v, weights), backward(grad_out, q, k, v, weights)
    wrong = [name for name, one, other in zip(NAMES, found, right, strict=True) if not same(one, other)]
    if wrong:
        mistake, sentence = _named(found, right, wrong, (grad_out, q, k, v, weights))
        picture = beside(*(_received(form, wrong[-1]) for form in (function, backward)))
        raise CheckFailed(sentence, mistake=mistake, picture=picture)
    tables = {f"loss at a query, size of {name}": _received(backward, name) for name in ("dk", "dv")}
    return Passed(
        "The whole backward pass of a head. Gradient flows to the keys that the query looked at, and to no other.",
        Picture(plot_tables(tables, allowed=TINY.mask()[1]), describe_tables(tables, allowed=TINY.mask()[1])),
    )


def through_softmax(weights: np.ndarray, d_weights: np.ndarray) -> np.ndarray:
    """The right answer of `softmax_backward`."""
    return weights * (d_weights - (weights * d_weights).sum(axis=-1, keepdims=True))


def backward(
    grad_out,
    q,
    k,
    v,
    weights,
    *,
    scales=(1, 1),
    softmax=through_softmax,
    dk_transposed=True,
    dv_transposed=True,
    swapped=False,
    not_weighted=False,
):
    """The right answer of `attention_backward`, and with the other arguments the ways to get it wrong.

    `scales` are how many times dq and dk are scaled, `swapped` exchanges q and k in them.
    """
    scale = 1 / math.sqrt(q.shape[1])
    d_scores = grad_out @ v.T if not_weighted else softmax(weights, grad_out @ v.T)
    meets_dq, meets_dk = (q, k) if swapped else (k, q)
    dq = scale ** scales[0] * d_scores @ meets_dq
    dk = scale ** scales[1] * (d_scores.T if dk_transposed else d_scores) @ meets_dk
    return dq, dk, (weights.T if dv_transposed else weights) @ grad_out


def _named(found, right, wrong: list[str], inputs) -> tuple[str, str]:
    for name, (form, sentence) in BACKWARD_MISTAKES.items():
        if all(same(*pair) for pair in zip(found, backward(*inputs, **form), strict=True)):
            return name, sentence
    if all(any(same(one, other) for other in right) for one in found):
        return "order", "All three are right, in another order: return dq, dk, dv."
    for name, one, other in zip(NAMES, found, right, strict=True):
        if name in wrong and same(one, -other):
            return "sign", f"{name} has the wrong sign: this is the gradient itself, not a step of the optimiser."
    first = "dv" if "dv" in wrong else wrong[0]
    return "other", f"{' and '.join(wrong)} {'are' if len(wrong) > 1 else 'is'} wrong: begin with {first}."


def _forward():
    """q, k, v (8, 4), the weights of a shifted head and a gradient of its output."""
    rng = np.random.default_rng(6)
    q, k, v = random_qkv(rng, 8, 4)
    return q, k, v, attend(q, k, np.eye(8), TINY.mask()[1]), rng.normal(size=(8, 4))


def _three(function: Callable, grad_out, q, k, v, weights) -> list[np.ndarray]:
    answer = answered(function, grad_out, q, k, v, weights)
    if not isinstance(answer, tuple | list) or len(answer) != 3:
        found = f"{len(answer)} values" if isinstance(answer, tuple | list) else type(answer).__name__
        hint = " (did you forget `return`?)" if answer is None else ""
        raise CheckFailed(f"three arrays must come back, `return dq, dk, dv`, got {found}{hint}", mistake="type")
    return [expect_array(x, q.shape, what=name) for name, x in zip(NAMES, answer, strict=True)]


def _received(function: Callable, name: str) -> np.ndarray:
    """(n, n): how much of dq, dk or dv each token (column) receives from a loss at the output of one query (row)."""
    q, k, v, weights, grad_out = _forward()
    rows = []
    for query in range(len(q)):
        alone = np.zeros_like(grad_out)
        alone[query] = grad_out[query]
        rows.append(np.linalg.norm(_three(function, alone, q, k, v, weights)[NAMES.index(name)], axis=1))
    return np.array(rows)


SOFTMAX_MISTAKES = {
    "row_sum_forgotten": (
        lambda p, dp: p * dp,
        "The row's own sum is missing: raising one score lowers all other weights of its row, so subtract "
        "`(weights * d_weights).sum(axis=-1, keepdims=True)` before you multiply.",
    ),
    "row_sum_not_weighted": (
        lambda p, dp: p * (dp - dp.sum(axis=-1, keepdims=True)),
        "The sum that is subtracted must be weighted: sum `weights * d_weights`, not `d_weights` alone.",
    ),
    "row_mean": (
        lambda p, dp: p * (dp - dp.mean(axis=-1, keepdims=True)),
        "You subtract the plain mean of the row. Each entry counts by its weight: sum `weights * d_weights`.",
    ),
    "keepdims_forgotten": (
        lambda p, dp: p * (dp - (p * dp).sum(axis=-1)),
        "Without `keepdims=True` the sums of the rows stand in the columns: every entry loses the sum of another row. "
        "(In a square table NumPy cannot notice.)",
    ),
    "sum_over_queries": (
        lambda p, dp: p * (dp - (p * dp).sum(axis=0, keepdims=True)),
        "You sum down the columns. Each query has a softmax of its own: sum along the last axis.",
    ),
    "sum_over_everything": (
        lambda p, dp: p * (dp - (p * dp).sum()),
        "You sum the whole table. Each query has a softmax of its own: sum along the last axis, keepdims=True.",
    ),
    "diagonal_only": (
        lambda p, dp: p * (1 - p) * dp,
        "This is the diagonal of the Jacobian alone, p (1 - p), as in a sigmoid. A score moves the other weights of "
        "its row too.",
    ),
    "not_multiplied_by_the_weights": (
        lambda p, dp: dp - (p * dp).sum(axis=-1, keepdims=True),
        "The difference must be multiplied by the weights: a key without weight gets no gradient.",
    ),
    "sign": (
        lambda p, dp: p * ((p * dp).sum(axis=-1, keepdims=True) - dp),
        "The sign is wrong: d_weights minus the sum of its row, not the other way round.",
    ),
    "passed_through": (
        lambda p, dp: dp,
        "d_weights came back as it was: the softmax stands between weights and scores.",
    ),
}

BACKWARD_MISTAKES = {
    "scale_missing_in_dq": (
        {"scales": (0, 1)},
        "The scale is missing in dq: the scores are scale · q kᵀ, so q moves them by scale · k.",
    ),
    "scale_missing_in_dk": (
        {"scales": (1, 0)},
        "The scale is missing in dk: the scores are scale · q kᵀ, so k moves them by scale · q.",
    ),
    "scale_missing": (
        {"scales": (0, 0)},
        "The scale is missing in dq and dk: it stands in the scores, so it stands in both gradients, and not in dv.",
    ),
    "scaled_twice": (
        {"scales": (2, 2)},
        "dq and dk are scaled twice: the chain passes through the scale once.",
    ),
    "dk_not_transposed": (
        {"dk_transposed": False},
        "dk needs `d_scores.T`: key j collects from all queries that looked at it, column j of d_scores.",
    ),
    "dv_not_transposed": (
        {"dv_transposed": False},
        "dv needs `weights.T`: value j collects from all queries that took some of it, column j of the weights.",
    ),
    "neither_transposed": (
        {"dk_transposed": False, "dv_transposed": False},
        "dk and dv need the transposed tables: a key or value collects from all queries that looked at it, a column.",
    ),
    "row_sum_forgotten": (
        {"softmax": lambda p, dp: p * dp},
        "The sum of each row is missing on the way through the softmax: dv is right, dq and dk are not.",
    ),
    "softmax_skipped": (
        {"not_weighted": True},
        "The softmax is skipped: d_weights is not d_scores. Between them stands the Jacobian of exercise 3.3.",
    ),
    "q_and_k_swapped": (
        {"swapped": True},
        "q and k are exchanged: the gradient of q is made of keys, and that of k of queries.",
    ),
}
