"""Which share of all weights LongLoRA trains, and the formulas that learners write instead."""

from __future__ import annotations

from collections.abc import Callable

from ....cost import ModelShape
from ....plots.low_rank import describe_shares, plot_shares
from ....widgets import Picture
from ..diagnosis import Passed, exercise
from ..numbers import Wrong, expect_numbers

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
    Wrong(
        "lora_not_in_all",
        _share(everything=lambda shape, lora: shape.parameters.total),
        "LoRA's own weights are not among all weights: add them below the line too",
    ),
    Wrong("percent", _share(times=100), "This is a percentage: a share lies between 0 and 1"),
    Wrong(
        "one_layer",
        _share(lora=lambda shape, rank: shape.lora_parameters(rank) // shape.layers),
        "LoRA is counted for a single layer: every layer has its own",
    ),
    Wrong(
        "product",
        _share(lora=lambda shape, rank: shape.layers * rank * sum(a * b for a, b in list(shape.linears.values())[:4])),
        "LoRA adds rank · (in + out) to a Linear, not rank · in · out",
    ),
    Wrong(
        "all_linears",
        _share(lora=lambda shape, rank: shape.lora_parameters(rank, tuple(shape.linears))),
        "The feed-forward layers are counted too: LoRA goes on q, k, v and o",
    ),
    Wrong(
        "two_of_four",
        _share(lora=lambda shape, rank: shape.lora_parameters(rank, ("q_proj", "v_proj"))),
        "LoRA is counted on q and v only: here k and o have it too",
    ),
    Wrong(
        "width_everywhere",
        _share(lora=_width_everywhere),
        "Every projection is counted as width → width: with fewer key heads than query heads k and v are narrower, "
        "see shape.linears",
    ),
    Wrong(
        "tied_twice",
        _share(everything=lambda shape, lora: shape.parameters.total + shape.tied * shape.parameters.embedding + lora),
        "In the tied model the embedding is counted twice: embedding and head are one matrix there",
    ),
    Wrong(
        "head_counted",
        _share(embedding=lambda shape: shape.parameters.embedding + shape.parameters.head),
        "The head is counted as trained: LongLoRA frees the input embedding, lm_head stays frozen",
    ),
    Wrong("embedding_forgotten", _share(embedding=lambda shape: 0), "The embedding is not among what trains"),
    Wrong("norms_forgotten", _share(norms=lambda shape: 0), "The norms are not among what trains"),
    Wrong(
        "last_norm_forgotten",
        _share(norms=lambda shape: 2 * shape.layers * shape.width),
        "One norm is missing: two stand in each layer, and one more before the head",
    ),
    Wrong(
        "one_norm_a_layer",
        _share(norms=lambda shape: (shape.layers + 1) * shape.width),
        "Only one norm a layer is counted: one stands before attention, one before the feed-forward half",
    ),
)
