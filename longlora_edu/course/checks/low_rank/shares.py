"""Which share of all weights LongLoRA trains, and the formulas that learners write instead."""

from __future__ import annotations

from collections.abc import Callable

from ....cost import ModelShape
from ....plots.low_rank import describe_shares, plot_shares
from ....widgets import Picture
from ..diagnosis import Mistake, Passed, exercise
from ..numbers import expect_numbers

SHAPES = {
    "Llama-2-7B": ModelShape.llama2_7b(),
    "the small model": ModelShape(192, 4, 4, 4, 48, 512, 256),
    "SmolLM2-135M, tied": ModelShape(576, 30, 9, 3, 64, 1536, 49152, tied=True),
}


@exercise("06.trainable_share")
def trainable_share(function: Callable) -> Passed:
    """`function(shape, rank)`: trained over all weights, 0 to 1, of LoRA on q, k, v, o with embedding and norms."""
    cases = [(shape, rank) for shape in SHAPES.values() for rank in (8, 64)]
    expect_numbers(function, cases, _share(), WRONG_SHARES, whole=False)
    shares = {}
    for name, shape in SHAPES.items():
        weights, lora = shape.parameters, shape.lora_parameters(8)
        parts = {"LoRA": lora, "norms": weights.norm, "embeddings": weights.embedding}
        shares[name] = {part: count / (weights.total + lora) for part, count in parts.items()}
    return Passed("All three shapes and both ranks come out.", Picture(plot_shares(shares), describe_shares(shares)))


def _share(
    *,
    lora: Callable = lambda shape, rank: shape.lora_parameters(rank),
    embedding: Callable = lambda shape: shape.parameters.embedding,
    norms: Callable = lambda shape: shape.parameters.norm,
    everything: Callable = lambda shape, lora: shape.parameters.total + lora,
    times: float = 1,
) -> Callable:
    """The right formula, unless one of its parts is replaced."""

    def share(shape: ModelShape, rank: int) -> float:
        added = lora(shape, rank)
        return times * (added + embedding(shape) + norms(shape)) / everything(shape, added)

    return share


def _width_everywhere(shape: ModelShape, rank: int) -> int:
    return 8 * shape.layers * rank * shape.width


WRONG_SHARES = (
    Mistake(
        "lora_not_in_all",
        "LoRA's own weights are not among all weights: add them below the line too",
        _share(everything=lambda shape, lora: shape.parameters.total),
    ),
    Mistake("percent", "This is a percentage: a share lies between 0 and 1", _share(times=100)),
    Mistake(
        "one_layer",
        "LoRA is counted for a single layer: every layer has its own",
        _share(lora=lambda shape, rank: shape.lora_parameters(rank) // shape.layers),
    ),
    Mistake(
        "product",
        "LoRA adds rank · (in + out) to a Linear, not rank · in · out",
        _share(lora=lambda shape, rank: shape.layers * rank * sum(a * b for a, b in list(shape.linears.values())[:4])),
    ),
    Mistake(
        "all_linears",
        "The feed-forward layers are counted too: LoRA goes on q, k, v and o",
        _share(lora=lambda shape, rank: shape.lora_parameters(rank, tuple(shape.linears))),
    ),
    Mistake(
        "two_of_four",
        "LoRA is counted on q and v only: here k and o have it too",
        _share(lora=lambda shape, rank: shape.lora_parameters(rank, ("q_proj", "v_proj"))),
    ),
    Mistake(
        "width_everywhere",
        "Every projection is counted as width → width: with fewer key heads than query heads k and v are narrower, "
        "see shape.linears",
        _share(lora=_width_everywhere),
    ),
    Mistake(
        "tied_twice",
        "In the tied model the embedding is counted twice: embedding and head are one matrix there",
        _share(everything=lambda shape, lora: shape.parameters.total + shape.tied * shape.parameters.embedding + lora),
    ),
    Mistake(
        "head_counted",
        "The head is counted as trained: LongLoRA frees the input embedding, lm_head stays frozen",
        _share(embedding=lambda shape: shape.parameters.embedding + shape.parameters.head),
    ),
    Mistake("embedding_forgotten", "The embedding is not among what trains", _share(embedding=lambda shape: 0)),
    Mistake("norms_forgotten", "The norms are not among what trains", _share(norms=lambda shape: 0)),
    Mistake(
        "last_norm_forgotten",
        "One norm is missing: two stand in each layer, and one more before the head",
        _share(norms=lambda shape: 2 * shape.layers * shape.width),
    ),
    Mistake(
        "one_norm_a_layer",
        "Only one norm a layer is counted: one stands before attention, one before the feed-forward half",
        _share(norms=lambda shape: (shape.layers + 1) * shape.width),
    ),
)
