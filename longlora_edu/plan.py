"""The cost of extending a model, estimated from its config: parameters, time, memory, and whether S²-Attn pays.

Needs a model's `config.json` and no weights. Everything follows in closed form from `cost.py`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from .cost import Flops, ModelShape, forward_flops, training_flops
from .geometry import S2Geometry, group_size_from_ratio
from .runs.validate import check_size, is_integer

# Decoders that `ModelShape` counts exactly but for biases and norms inside attention: thousandths of their weights.
COUNTED = ("llama", "mistral", "qwen2", "qwen3", "olmo2", "phi3", "smollm3", "longlora_edu")
PAYS, PAYS_A_LITTLE = 1.5, 1.15
STRETCHES = 2  # so many times its context a model goes with stretched positions alone: docs/what_to_use.md
LOSS_CHUNK = 1024  # rows of logits that the loss holds at a time


@dataclass(frozen=True)
class TrainingMemory:
    """Estimated bytes on the device that trains, for each use. Allocators add some tenths to it."""

    weights: int
    optimizer: int
    activations: int
    loss: int

    @property
    def total(self) -> int:
        return self.weights + self.optimizer + self.activations + self.loss


@dataclass(frozen=True)
class Advice:
    """A method to use for a longer context, and why, in a sentence: the rows of `docs/what_to_use.md`."""

    use: Literal["nothing", "stretch only", "full attention", "S²"]
    why: str


@dataclass(frozen=True)
class Plan:
    """The estimate that `plan` returns.

    `gain` is the FLOPs of a dense training step over those of one with S², both causal and with recomputation. The
    clock may say more or less: measured steps were from a fifth slower to an eighth faster than their count.
    """

    context: int
    trained_context: int | None
    group_size: int
    parameters: int
    trained: int
    step: Flops
    attention_share: float
    gain: float
    sequences: int
    memory: TrainingMemory
    hours: float | None
    hours_dense: float | None
    verdict: str

    @property
    def trained_share(self) -> float:
        """Trained weights over all, adapters among both."""
        return self.trained / self.parameters

    @property
    def advice(self) -> Advice:
        """The method for this model and length. Memory does not change it: S² saves none beside a flash kernel."""
        return advise(self.context, self.trained_context, self.gain)


def advise(context: int, trained_context: int | None, gain: float) -> Advice:
    """Choose between nothing, stretched positions alone, and training with full attention or S².

    `gain` is how many times as fast a step with S² is, by FLOPs. A model of unknown trained context needs training.
    """
    if trained_context is not None and context <= trained_context:
        return Advice("nothing", f"the model reads {trained_context:,} tokens already")
    if trained_context is not None and context <= STRETCHES * trained_context:
        return Advice(
            "stretch only",
            f"at {context / trained_context:.3g} times its context, new positions alone may do: measure that first, "
            "and train if it must find what stands far back",
        )
    if gain < PAYS:
        return Advice(
            "full attention",
            f"with stretched positions: S² would make a step {gain:.2f} times as fast by FLOPs, and on a small "
            "model it was worse in use",
        )
    return Advice(
        "S²",
        f"with stretched positions: a step is {gain:.2f} times as fast by FLOPs; end with a part of full attention, "
        "and measure what it must find",
    )


def shape_from_config(config: dict) -> tuple[ModelShape, int | None]:
    """Return the shape that a parsed `config.json` states, and its context (`max_position_embeddings`), or None.

    Raises:
        ValueError: naming the field, for a family whose layers are of another kind, a window that S²-Attn would not
            honour, or a size that is missing.
    """
    if not isinstance(config, dict):
        raise ValueError(f"config must be a JSON object, got {type(config).__name__}")
    if (family := config.get("model_type")) not in COUNTED:
        raise ValueError(f"model_type must be one of {', '.join(COUNTED)}, got {family!r}: its layers are not counted")
    names = {
        "width": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads",
        "ffn_width": "intermediate_size", "vocabulary": "vocab_size",
    }  # fmt: skip
    if missing := [name for name in names.values() if name not in config]:
        raise ValueError(f"config must state {missing[0]}, got none")
    kinds = config.get("layer_types")
    window = config.get("sliding_window") if config.get("use_sliding_window", True) and not kinds else None
    if window is not None:
        raise ValueError(f"sliding_window must be null for S²-Attn (set it, where it may be dropped), got {window}")
    if other := sorted(set(kinds or ()) - {"full_attention"}):
        raise ValueError(f"layer_types must all be full_attention for S²-Attn, got {', '.join(other)}")
    sizes = {field: config[name] for field, name in names.items()}
    shape = ModelShape(
        **sizes,
        kv_heads=config.get("num_key_value_heads") or sizes["heads"],
        head_dim=config.get("head_dim") or sizes["width"] // sizes["heads"],
        tied=bool(config.get("tie_word_embeddings", False)),
    )
    return shape, config.get("max_position_embeddings")


def _is_size(value: Any) -> bool:
    return is_integer(value) and value > 0


def _is_switch(value: Any) -> bool:
    return isinstance(value, bool)


def _is_name(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_token(value: Any) -> bool:
    return value is None or (is_integer(value) and value >= 0)


def _is_share(value: Any) -> bool:
    return isinstance(value, float) and 0 <= value <= 1


# Entries that say nothing about positions, windows or what else attention may be, and what each may be so that nothing
# but the entries has to be asked. Anything else is for transformers to judge.
PLAIN: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("hidden_size", "intermediate_size", "max_position_embeddings", "num_attention_heads"), _is_size),
    **dict.fromkeys(("num_hidden_layers", "vocab_size"), _is_size),
    **dict.fromkeys(("head_dim", "num_key_value_heads", "pretraining_tp"), lambda n: n is None or _is_size(n)),
    **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), _is_token),
    **dict.fromkeys(("attention_bias", "mlp_bias", "tie_word_embeddings", "use_cache"), _is_switch),
    **dict.fromkeys(("attention_dropout", "initializer_range", "rms_norm_eps"), _is_share),
    **dict.fromkeys(("_name_or_path", "transformers_version"), _is_name),
    **dict.fromkeys(("dtype", "torch_dtype"), lambda kind: kind in (None, "float32", "float16", "bfloat16")),
    "architectures": lambda names: names == ["LlamaForCausalLM"],
    "hidden_act": lambda name: name == "silu",
    "model_type": lambda name: name == "llama",
    "rope_theta": lambda base: isinstance(base, int | float) and base > 1,
}


def is_plain(config: dict) -> bool:
    """Tell whether a config is of a Llama that S²-Attn and new positions can be given to, by its entries alone.

    False says that it takes the whole recipe, tried on the model, to know: half of the seconds of `plan`.
    """
    if not {"model_type", "max_position_embeddings"} <= set(config) <= set(PLAIN):
        return False
    if not all(PLAIN[name](value) for name, value in config.items()):
        return False
    shape, _ = shape_from_config(config)
    whole = shape.head_dim % 2 == 0 and shape.heads % shape.kv_heads == 0
    whole = whole and (config.get("pad_token_id") or 0) < shape.vocabulary
    return whole and (shape.head_dim * shape.heads == shape.width or bool(config.get("head_dim")))


def plan(
    shape: ModelShape,
    context: int,
    *,
    trained_context: int | None = None,
    group_ratio: float = 1 / 4,
    train: Literal["adapters", "all"] = "adapters",
    rank: int = 8,
    steps: int = 1000,
    batch: int = 1,
    accumulate: int = 64,
    memory: float | None = None,
    tflops: float | None = None,
    checkpointing: bool = True,
    bf16: bool = True,
) -> Plan:
    """Estimate a run of `steps` on one device, each of `accumulate` times `batch` sequences of `context` tokens.

    `batch` sequences are in memory at a time.

    Within the trained context nothing is stretched, and the verdict says so.

    `memory` is what the device has, in bytes; `tflops` what it reaches on such work, in 10¹² FLOPs a second (without it
    there are no hours). With `checkpointing` the forward pass is computed twice.

    Raises:
        ValueError: for sizes that are not positive.
    """
    for name, value in (("steps", steps), ("batch", batch), ("accumulate", accumulate)):
        check_size(name, value)
    for name, value in (("memory", memory), ("tflops", tflops)):
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive and finite, got {value}")
    if train not in ("adapters", "all"):
        raise ValueError(f"train must be 'adapters' or 'all', got {train!r}")
    geometry = S2Geometry(context, group_size_from_ratio(context, group_ratio), shape.heads)
    lora = rank if train == "adapters" else None
    sparse, dense = (_step(shape, context, g, lora, checkpointing) for g in (geometry, None))
    gain = dense.total / sparse.total
    kinds: dict[str, Any] = {"train": train, "rank": rank, "checkpointing": checkpointing, "bf16": bf16}
    needed, sequences = training_memory(shape, context, batch=batch, **kinds), steps * batch * accumulate
    adapters = shape.lora_parameters(rank) if train == "adapters" else 0
    reads = trained_context is not None and context <= trained_context
    within = f"nothing to stretch: the model reads {trained_context} tokens already; " if reads else ""
    hours, hours_dense = (
        sequences * flops.total / (tflops * 1e12) / 3600 if tflops else None for flops in (sparse, dense)
    )
    return Plan(
        context,
        trained_context,
        geometry.group_size,
        shape.parameters.total + adapters,
        trained_parameters(shape, train=train, rank=rank),
        sparse,
        dense.attention_share,
        gain,
        sequences,
        needed,
        hours,
        hours_dense,
        within + _verdict(gain, needed, memory, train, checkpointing, bf16, batch, stretches=not within),
    )


def trained_parameters(shape: ModelShape, *, train: Literal["adapters", "all"] = "adapters", rank: int = 8) -> int:
    """Count the weights that train: all, or LoRA on attention with the input embedding and the norms."""
    weights = shape.parameters
    if train == "all":
        return weights.total
    return shape.lora_parameters(rank) + weights.embedding + weights.norm


def training_memory(
    shape: ModelShape,
    context: int,
    *,
    train: Literal["adapters", "all"] = "adapters",
    rank: int = 8,
    checkpointing: bool = True,
    bf16: bool = True,
    batch: int = 1,
) -> TrainingMemory:
    """Estimate the bytes to train `batch` sequences of `context` tokens, with attention that keeps no score matrix.

    Frozen weights in 2 bytes under bf16; trained ones in 4, and 12 for gradient and Adam's two moments. A layer keeps
    its input, or without checkpointing about all that its Linear layers read and write. Attention holds queries and
    keys in float32 as well, since rotary positions make them so under autocast, and a key and a value for each query
    head where the model has fewer. The loss goes chunk by chunk.
    """
    size = 2 if bf16 else 4
    trained = trained_parameters(shape, train=train, rank=rank)
    frozen = 0 if train == "all" else shape.parameters.total - shape.parameters.embedding - shape.parameters.norm
    copies = trained * size if bf16 else 0  # autocast's own, of what is kept in float32
    streams = 4 * shape.width + 2 * (shape.heads + shape.kv_heads) * shape.head_dim + 4 * shape.ffn_width
    turned = 4 * (shape.heads + shape.kv_heads) if bf16 else 0
    expanded = 2 * size * shape.heads if shape.kv_heads < shape.heads else 0
    tokens = batch * context
    inside = tokens * (size * streams + shape.head_dim * (turned + expanded))
    stream = shape.layers * tokens * shape.width * 4  # float32 under autocast too
    kept = stream + inside if checkpointing else stream + shape.layers * inside
    loss = min(tokens, LOSS_CHUNK) * shape.vocabulary * (size + 8)
    return TrainingMemory(frozen * size + trained * 4 + copies, trained * 12, kept, loss)


def _step(shape: ModelShape, context: int, geometry: S2Geometry | None, rank: int | None, checkpointing: bool) -> Flops:
    """Count one sequence through a step: forward, backward, and the forward pass again under checkpointing."""
    step = training_flops(shape, context, geometry, rank=rank, causal=True)
    if not checkpointing:
        return step
    again = forward_flops(shape, context, geometry, causal=True)
    parts = ("attention", "projections", "ffn", "head")
    return dataclasses.replace(step, **{part: getattr(step, part) + getattr(again, part) for part in parts})


def _verdict(
    gain: float,
    needed: TrainingMemory,
    memory: float | None,
    train: str,
    checkpointing: bool,
    bf16: bool,
    batch: int,
    *,
    stretches: bool,
) -> str:
    if memory is not None and needed.total > memory:
        lower = (
            ["--batch 1"] * (batch > 1)
            + ["--gradient-checkpointing"] * (not checkpointing)
            + ["--train adapters"] * (train == "all")
        )
        lower += ["--bf16"] * (not bf16) + ["a shorter --context", "a smaller model"]
        return (
            f"does not fit: it needs about {needed.total / 1e9:.1f} GB of {memory / 1e9:.1f}; "
            f"in this order, try {', '.join(lower)}"
        )
    if gain < PAYS_A_LITTLE:
        return (
            f"train dense{' with YaRN' if stretches else ''} instead: S² would make a step {gain:.2f} times as fast "
            "by FLOPs, and full attention trains the far distances that S² leaves out"
        )
    if gain < PAYS:
        return f"S² pays a little: by FLOPs a step is {gain:.2f} times as fast as with full attention"
    return f"S² pays: by FLOPs a step is {gain:.2f} times as fast as with full attention"
