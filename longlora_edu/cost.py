"""Closed-form costs of a model: parameters, FLOPs, bytes and (query, key) pairs.

Nothing here is measured. FLOPs are those of the matrix products, two for each multiply-add; norms,
softmax, rotary positions and the embedding look-up are left out, as in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

from .geometry import S2Geometry
from .runs.validate import check_size

ATTENTION_LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj")


@dataclass(frozen=True)
class _Parts:
    @property
    def total(self) -> int:
        return sum(astuple(self))


@dataclass(frozen=True)
class Parameters(_Parts):
    """Number of weights in each part of a model. A tied head has none of its own."""

    embedding: int
    attention: int
    ffn: int
    norm: int
    head: int


@dataclass(frozen=True)
class Flops(_Parts):
    """Floating-point operations for one sequence, over all layers, in each part of a model."""

    attention: int
    projections: int
    ffn: int
    head: int
    adapters: int = 0

    @property
    def attention_share(self) -> float:
        """Scores and weighted values over the total: the share that S²-Attn can reduce."""
        return self.attention / self.total


@dataclass(frozen=True)
class AttentionBytes:
    """Bytes for the attention scores of one layer, for three ways to compute them. Queries, keys and values are
    extra.
    """

    masked: int
    grouped: int
    flash: int


@dataclass(frozen=True)
class ModelShape:
    """The sizes of a Llama-like decoder: gated FFN of three matrices, RMSNorm, no biases.

    `heads * head_dim` need not be `width`. `tied` means that the head is the embedding, counted once.

    Raises:
        ValueError: for a size that is no positive integer, or heads that kv_heads does not divide.
    """

    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn_width: int
    vocabulary: int
    tied: bool = False

    def __post_init__(self) -> None:
        for field in fields(self)[:-1]:
            object.__setattr__(self, field.name, check_size(field.name, getattr(self, field.name)))
        if self.heads % self.kv_heads:
            raise ValueError(f"heads must be a multiple of kv_heads, got {self.heads} and {self.kv_heads}")

    @classmethod
    def llama2_7b(cls) -> ModelShape:
        """Return the shape of Llama-2-7B, the model of the paper's cost tables: 6,738,415,616 parameters."""
        return cls(width=4096, layers=32, heads=32, kv_heads=32, head_dim=128, ffn_width=11008, vocabulary=32000)

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """(in, out) of the Linear layers of one decoder layer, by the names transformers gives them."""
        wide, queries, keys, ffn = self.width, self.heads * self.head_dim, self.kv_heads * self.head_dim, self.ffn_width
        attention = [(wide, queries), (wide, keys), (wide, keys), (queries, wide)]
        gated = {"gate_proj": (wide, ffn), "up_proj": (wide, ffn), "down_proj": (ffn, wide)}
        return dict(zip(ATTENTION_LINEARS, attention, strict=True)) | gated

    @property
    def parameters(self) -> Parameters:
        """Count every weight of the model by kind, two norms a layer and one at the end included."""
        table = self.vocabulary * self.width
        attention = 2 * self.layers * self.width * self.head_dim * (self.heads + self.kv_heads)
        ffn, norm = 3 * self.layers * self.width * self.ffn_width, (2 * self.layers + 1) * self.width
        return Parameters(table, attention, ffn, norm, head=0 if self.tied else table)

    def embedding_share(self) -> float:
        """The input embedding over all weights: 1.9 % of Llama-2-7B, 21 % of a model of 135M with a tied head."""
        return self.parameters.embedding / self.parameters.total

    def lora_parameters(self, rank: int, targets: Sequence[str] = ATTENTION_LINEARS) -> int:
        """Count the weights that LoRA of this rank adds: rank · (in + out) for each target in each layer."""
        if unknown := [name for name in targets if name not in self.linears]:
            raise ValueError(f"targets must be among {', '.join(self.linears)}, got {', '.join(unknown)}")
        return self.layers * check_size("rank", rank) * sum(sum(self.linears[name]) for name in set(targets))


def attention_pairs(shape: ModelShape, seq_len: int, geometry: S2Geometry | None = None, *, causal: bool) -> int:
    """Count the (query, key) pairs of one layer, over all heads; dense attention without a geometry.

    `causal=True` counts what a query may look at, `causal=False` the whole square of each cell: about twice as many.
    """
    geometry = _geometry(shape, seq_len, geometry)
    # The square of a cell of c tokens is its c (c + 1) / 2 pairs twice, less the c on the diagonal.
    return geometry.pairs() if causal else 2 * geometry.pairs() - geometry.num_heads * geometry.seq_len


def forward_flops(
    shape: ModelShape, seq_len: int, geometry: S2Geometry | None = None, *, causal: bool = False
) -> Flops:
    """Count the FLOPs of one forward pass over one sequence; dense attention without a geometry.

    `causal=False` is the count of the paper's Table 11: 4 · n² · width · layers for dense attention. Its S² column is
    the rolled form, `boundary="wrap"`. A causal kernel (`causal=True`) does half of that and gains less than the table.
    """
    pairs, n, weights = attention_pairs(shape, seq_len, geometry, causal=causal), int(seq_len), shape.parameters
    head = 2 * n * shape.width * shape.vocabulary  # a tied head costs as much as any
    return Flops(4 * shape.layers * shape.head_dim * pairs, 2 * n * weights.attention, 2 * n * weights.ffn, head)


def training_flops(
    shape: ModelShape,
    seq_len: int,
    geometry: S2Geometry | None = None,
    *,
    rank: int | None = None,
    causal: bool = False,
) -> Flops:
    """Count the FLOPs of one training step on one sequence: forward, and the gradients of both factors of each product.

    That is 3 times the forward pass. With LoRA on q, k, v and o (`rank`) the frozen matrices need no gradient, 2 times,
    attention still 3 times, adapters 3 times their own product. Gradient checkpointing would add one forward pass.
    """
    once = forward_flops(shape, seq_len, geometry, causal=causal)
    times, adapters = (3, 0) if rank is None else (2, 6 * int(seq_len) * shape.lora_parameters(rank))
    return Flops(3 * once.attention, times * once.projections, times * once.ffn, times * once.head, adapters)


def step_ratio(shape: ModelShape, geometry: S2Geometry, *, rank: int | None = None, causal: bool = True) -> float:
    """Divide the FLOPs of a dense training step by those of one with S²-Attn.

    Real steps gain less: what else they do takes time too, and small cells fill a device less well.
    """
    dense, sparse = (training_flops(shape, geometry.seq_len, g, rank=rank, causal=causal) for g in (None, geometry))
    return dense.total / sparse.total


def attention_bytes(
    shape: ModelShape, geometry: S2Geometry, *, batch: int = 1, bytes_per_element: int = 2
) -> AttentionBytes:
    """Count the bytes for the scores of one layer: the whole matrix, the cells only, and with flash attention.

    That is one float32 for each query and head: with flash, S²-Attn saves time, not memory (the paper's Table 12).
    """
    batch, size = check_size("batch", batch), check_size("bytes_per_element", bytes_per_element)
    rows = batch * shape.heads * geometry.seq_len
    cells = batch * attention_pairs(shape, geometry.seq_len, geometry, causal=False)
    return AttentionBytes(masked=rows * geometry.seq_len * size, grouped=cells * size, flash=rows * 4)


def kv_cache_bytes(shape: ModelShape, seq_len: int, *, batch: int = 1, bytes_per_element: int = 2) -> int:
    """Count the bytes of the keys and values of `seq_len` tokens, over all layers: 2 GiB for Llama-2-7B at 4,096 in
    fp16.
    """
    elements = 2 * shape.layers * shape.kv_heads * shape.head_dim * check_size("seq_len", seq_len)
    return elements * check_size("batch", batch) * check_size("bytes_per_element", bytes_per_element)


def _geometry(shape: ModelShape, seq_len: int, geometry: S2Geometry | None) -> S2Geometry:
    if geometry is None:
        return S2Geometry(seq_len, seq_len, shape.heads, shift=0)  # a single cell is dense attention
    if (geometry.seq_len, geometry.num_heads) != (seq_len, shape.heads):
        expected = f"{seq_len} tokens and {shape.heads} heads"
        raise ValueError(f"geometry must have {expected}, got {geometry.seq_len} and {geometry.num_heads}")
    return geometry
