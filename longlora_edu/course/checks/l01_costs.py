"""Checks of lesson 01: the FLOPs of attention, and the length from which it costs more than everything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...cost import ModelShape, forward_flops
from ...plots import attention_crossover, show_growth
from .exercise import Mistake, Passed, check, compare_numbers

# (seq_len, heads, head_dim, causal)
ATTENTION_CASES = [(8, 2, 4, False), (8, 2, 4, True), (9, 3, 16, True), (100, 1, 8, False), (64, 4, 32, True)]


def _attention(n: int, heads: int, head_dim: int, causal: bool) -> int:
    shape = ModelShape(heads * head_dim, 1, heads, heads, head_dim, ffn_width=1, vocabulary=1)
    return forward_flops(shape, n, causal=causal).attention


DIAGONAL = (
    "the causal case is half of the square, and it is a little more: the diagonal is not cut in two. "
    "Query 0 sees 1 key, query 1 sees 2, and so on: what is the sum?"
)

WRONG_ATTENTION = {
    "half": Mistake(
        "exactly half of it. Two things come in twos here: attention is two products (scores, then weighted values), "
        "and a multiply-add is two FLOPs",
        lambda n, h, d, c: _attention(n, h, d, c) / 2,
    ),
    "quarter": Mistake(
        "exactly a quarter of it: that is one multiply-add for each pair and feature. A multiply-add is two FLOPs, and "
        "attention is two products: scores, then weighted values",
        lambda n, h, d, c: _attention(n, h, d, c) / 4,
    ),
    "never causal": Mistake(
        "right for full squares, but `causal=True` changes nothing: a query then looks at itself and what is before it",
        lambda n, h, d, c: _attention(n, h, d, False),
    ),
    "always causal": Mistake(
        "right for `causal=True`, but with `causal=False` whole squares are counted: every query meets every key",
        lambda n, h, d, c: _attention(n, h, d, True),
    ),
    "twice": Mistake(
        "exactly twice of it: two products, and two FLOPs for each multiply-add, are four for each pair and feature",
        lambda n, h, d, c: 2 * _attention(n, h, d, c),
    ),
    "causal the other way round": Mistake(
        "the two cases are swapped: `causal=True` is the smaller number",
        lambda n, h, d, c: _attention(n, h, d, not c),
    ),
    "half a square": Mistake(DIAGONAL, lambda n, h, d, c: 2 * h * d * n * n if c else _attention(n, h, d, c)),
    "half a square, rounded": Mistake(
        DIAGONAL, lambda n, h, d, c: 4 * h * d * (n * n // 2) if c else _attention(n, h, d, c)
    ),
    "half, of half a square": Mistake(
        "two things at once. A factor of two is missing throughout: attention is two products, and a multiply-add is "
        "two FLOPs. And the causal case is more than half of the square: query 0 sees 1 key, query 1 sees 2",
        lambda n, h, d, c: 2 * h * d * (n * n // 2 if c else n * n),
        also=lambda n, h, d, c: h * d * n * n if c else 2 * h * d * n * n,
    ),
    "without itself": Mistake(
        "in the causal case a query is missing from its own keys: a token may look at itself",
        lambda n, h, d, c: 2 * h * d * n * (n - 1) if c else _attention(n, h, d, c),
    ),
    "linear": Mistake(
        "this grows with `seq_len`, not with its square: every query meets many keys, so count pairs first",
        lambda n, h, d, c: 4 * n * h * d,
    ),
    "one head": Mistake(
        "the FLOPs of one head: every head computes all pairs",
        lambda n, h, d, c: _attention(n, 1, d, c),
    ),
    "no features": Mistake(
        "`head_dim` is missing: the product of a query and a key runs over all features",
        lambda n, h, d, c: _attention(n, h, 1, c),
    ),
    "projections": Mistake(
        "that counts the projections q, k, v and o as well: they have weights and grow with n. Here it is scores and "
        "weighted values only",
        lambda n, h, d, c: _attention(n, h, d, c) + 8 * n * (h * d) ** 2,
    ),
}


@check("01.attention_flops")
def attention_flops(function: Callable) -> Passed:
    """FLOPs of scores and weighted values of one layer, for (seq_len, heads, head_dim, causal)."""
    compare_numbers(function, ATTENTION_CASES, _attention, WRONG_ATTENTION)
    return Passed("Pairs, times features, times two products, times two: the same as `cost.forward_flops`.")


# Heads that do not fill the width, grouped keys, a tied head: sizes that tell formulas apart.
CROSSOVER_CASES = [
    (ModelShape.llama2_7b(),),
    (ModelShape(64, 2, 4, 2, 8, 101, 51),),
    (ModelShape(48, 3, 4, 4, 16, 80, 1000, tied=True),),
    (ModelShape(64, 2, 4, 4, 16, 128, 640),),
]


def _weights(shape: ModelShape) -> int:
    """Everything that is multiplied with each token: all weights but norms and the look-up of the embedding."""
    parameters = shape.parameters
    return parameters.attention + parameters.ffn + shape.width * shape.vocabulary


def _first_length(weights: int, keys_width: int, layers: int) -> int:
    """The first n with 4 · layers · keys_width · n² > 2 · weights · n."""
    return weights // (2 * layers * keys_width) + 1


def _crossover_with(**changes: Any):
    def formula(shape: ModelShape) -> int:
        weights = changes.get("weights", _weights)(shape)
        width = changes.get("width", lambda shape: shape.heads * shape.head_dim)(shape)
        return _first_length(weights, width, changes.get("layers", lambda shape: shape.layers)(shape))

    return formula


WRONG_CROSSOVER = {
    "one too early": Mistake(
        "one token too early: at this length attention does not cost more than the rest yet. Mind `>` and `>=`, and "
        "rounding",
        lambda shape: attention_crossover(shape) - 1,
    ),
    "total": Mistake(
        "one token too late. Is attention counted on both sides? The rest is everything but attention, so not `total`",
        lambda shape: attention_crossover(shape) + 1,
    ),
    "equal is enough": Mistake(
        "where both cost the same, attention does not cost *more* yet: where the division has no remainder, it is the "
        "next length",
        lambda shape: -(-_weights(shape) // (2 * shape.layers * shape.heads * shape.head_dim)),
    ),
    "no head": Mistake(
        "the language model's head is missing from the rest: `forward_flops(...).head`, a product with the whole "
        "vocabulary",
        _crossover_with(weights=lambda shape: _weights(shape) - shape.width * shape.vocabulary),
    ),
    "all parameters": Mistake(
        "that counts all parameters, but the embedding is looked up, not multiplied, and norms are left out here. "
        "Add up the fields of `forward_flops` instead",
        _crossover_with(weights=lambda shape: shape.parameters.total),
    ),
    "feed-forward only": Mistake(
        "that is where attention passes the feed-forward half alone: projections and head are part of the rest",
        _crossover_with(weights=lambda shape: shape.parameters.ffn),
    ),
    "projections only": Mistake(
        "that is where attention passes its own projections: the feed-forward half and the head are part of the rest",
        _crossover_with(weights=lambda shape: shape.parameters.attention),
    ),
    "one layer": Mistake(
        "the attention of one layer against the weights of all layers: count the same layers on both sides",
        _crossover_with(layers=lambda shape: 1),
    ),
    "width": Mistake(
        "attention works on `heads * head_dim` features, which need not be `width`",
        _crossover_with(width=lambda shape: shape.width),
    ),
    "key heads": Mistake(
        "sharing keys and values saves memory and projections, not scores: every *query* head computes all pairs",
        _crossover_with(width=lambda shape: shape.kv_heads * shape.head_dim),
    ),
    "causal": Mistake(
        "that is the length for a causal kernel, which computes half of the pairs. Count as the paper does here: "
        "`causal=False`",
        lambda shape: _weights(shape) // (shape.layers * shape.heads * shape.head_dim),
    ),
}


@check("01.crossover")
def crossover(function: Callable) -> Passed:
    """The smallest length at which the attention of a forward pass costs more FLOPs than everything else."""
    compare_numbers(function, CROSSOVER_CASES, attention_crossover, WRONG_CROSSOVER)
    shape = ModelShape.llama2_7b()
    sentence = f"For Llama-2-7B attention is the larger half from {attention_crossover(shape):,} tokens on."
    return Passed(sentence, show_growth(shape))
