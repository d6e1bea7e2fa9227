"""Other ways to fine-tune little of a model: how many weights each trains, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

from ...cost import ModelShape


@dataclass(frozen=True)
class Tuning:
    """A method, the weights that it trains on one shape, and whether what it adds takes room in the context."""

    name: str
    source: str
    weights: int
    uses_context: bool = False


def tunings(
    shape: ModelShape, *, rank: int = 8, prompt: int = 100, bottleneck: int = 64, masked: float = 0.005
) -> tuple[Tuning, ...]:
    """Parameter-efficient methods side by side, the fewest weights first, full fine-tuning last.

    `prompt` is the number of trained vectors of prompt and prefix tuning, `bottleneck` the width of input tuning's
    adapter, `masked` the share of weights that masked-weight tuning chooses.

    Raises:
        ValueError: for a number that is not above 0, or a share above 1.
    """
    for name, value in (("rank", rank), ("prompt", prompt), ("bottleneck", bottleneck), ("masked", masked)):
        if not value > 0:
            raise ValueError(f"{name} must be above 0, got {value}")
    if masked > 1:
        raise ValueError(f"masked must be a share of at most 1, got {masked}")
    table, lora = shape.parameters, shape.lora_parameters(rank)
    keys = shape.kv_heads * shape.head_dim
    outputs = sum(out for _, out in shape.linears.values())
    methods = (
        Tuning("prompt tuning", "Lester et al. 2021", prompt * shape.width, uses_context=True),
        Tuning("prefix tuning", "Li and Liang 2021", 2 * shape.layers * prompt * keys, uses_context=True),
        Tuning("bias tuning (biases added)", "Zaken et al. 2022", shape.layers * outputs),
        Tuning("scaling of hidden states", "Liu et al. 2022", shape.layers * (2 * keys + shape.ffn_width)),
        Tuning("input tuning", "An et al. 2022", 2 * shape.width * bottleneck),
        Tuning("masked weights", "Sung et al. 2021", round(masked * table.total)),
        Tuning("norms only", "", table.norm),
        Tuning(f"LoRA, rank {rank}", "Hu et al. 2022", lora),
        Tuning(f"LoRA, rank {rank}, embeddings and norms", "LongLoRA", lora + table.embedding + table.norm),
        Tuning("all weights", "", table.total),
    )
    return tuple(sorted(methods, key=lambda method: method.weights))
