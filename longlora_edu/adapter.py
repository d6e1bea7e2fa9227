"""An adapter for one attention layer: LoRA and S²-Attn behind two switches."""

from __future__ import annotations

import copy
from typing import Any

from einops import rearrange
from torch import Tensor, nn

from .attention import s2_attention
from .geometry import S2Pattern
from .longlora import ATTENTION_PROJECTIONS
from .lora import add_lora, merge_lora
from .model import LlamaAttention, rotate
from .runs.validate import check_integer

# Layers of transformers that do nothing but project, rotate by halves, attend and project: those S² can stand in for.
KNOWN_LAYERS = (
    "LlamaAttention", "MistralAttention", "MixtralAttention", "Qwen2Attention", "Qwen2MoeAttention", "GemmaAttention",
    "GraniteAttention",
)  # fmt: skip


class LongLoRAAdapter(nn.Module):
    """Add LoRA to one attention layer, and S²-Attn while that layer trains.

    `attention_layer` is a TinyLlama's attention or one of transformers (Llama, Mistral, Qwen2, …; `KNOWN_LAYERS`).
    It stays as it was, what trains in it included; the adapter is a layer of its own on the same weights, in the
    same memory. The adapter stands in for it: same arguments, same kind of result.

    Sparse attention needs *both* switches: `is_training`, which reads and writes `module.training`, and
    `use_shifted_attention`. Otherwise the layer computes what it always did, with LoRA added. The group is
    `original_context_length` at every length; the shift is half of it unless `attention_shift_size` says
    otherwise; `alpha` defaults to `rank`. (`LongLoRAConfig` keeps the paper's: a quarter of the target, 8 and 16.)

    Positions are not the layer's business: rotary tables come in with each call, and stretching them to the
    extended length is the caller's part, as in `apply_longlora`.

    Raises:
        ValueError: naming the argument, its rule and the value.
    """

    def __init__(
        self,
        attention_layer: nn.Module,
        *,
        rank: int,
        original_context_length: int,
        extended_context_length: int,
        alpha: float | None = None,
        attention_shift_size: int | None = None,
        freeze_base_layer: bool = True,
    ) -> None:
        super().__init__()
        _check_layer(attention_layer)
        check_integer("original_context_length", original_context_length, at_least=1)
        check_integer("extended_context_length", extended_context_length, at_least=1)
        if extended_context_length <= original_context_length:
            raise ValueError(
                f"extended_context_length must be above original_context_length = {original_context_length}, "
                f"got {extended_context_length}"
            )
        if attention_shift_size is not None:
            check_integer("attention_shift_size", attention_shift_size, at_least=0)
            if attention_shift_size >= original_context_length:
                raise ValueError(
                    f"attention_shift_size must be below original_context_length = {original_context_length}, "
                    f"got {attention_shift_size}"
                )
        alpha = rank if alpha is None else alpha
        weights = {id(weight): nn.Parameter(weight.detach()) for weight in attention_layer.parameters()}
        layer = _copy(attention_layer, weights)
        add_lora(layer, ATTENTION_PROJECTIONS, rank=rank, alpha=alpha)
        if not freeze_base_layer:
            layer.requires_grad_(True)
        self.attention_layer = layer
        self.use_shifted_attention = True
        self._rank, self._alpha, self._freeze_base_layer = rank, alpha, freeze_base_layer
        self._extended_context_length = extended_context_length
        self._pattern = S2Pattern(original_context_length, attention_shift_size)
        self.train(attention_layer.training)

    rank = property(lambda self: self._rank, doc="Rank of the low-rank path of each projection.")
    alpha = property(lambda self: self._alpha, doc="LoRA's scale, over rank.")
    freeze_base_layer = property(lambda self: self._freeze_base_layer, doc="Whether only LoRA is trained.")
    original_context_length = property(lambda self: self._pattern.group_size, doc="The trained context: the group.")
    extended_context_length = property(lambda self: self._extended_context_length, doc="The longest sequence taken.")
    attention_shift_size = property(lambda self: self._pattern.shift, doc="By how many tokens half the heads shift.")

    @property
    def sparse(self) -> S2Pattern | None:
        """The pattern in training, None with `use_shifted_attention` off; TinyLlama reads it from its attention."""
        return self._pattern if self.use_shifted_attention else None

    @property
    def is_training(self) -> bool:
        """`module.training`, by the name other libraries use."""
        return self.training

    @is_training.setter
    def is_training(self, value: bool) -> None:
        self.train(value)

    def forward(self, hidden_states: Tensor, position_embeddings: tuple[Tensor, Tensor], *args: Any, **kwargs: Any):
        """Run the wrapped layer on (b n width) and its rotary tables: dense, or with S² under both switches.

        Under S² a layer of transformers takes no mask and no cache.

        Raises:
            ValueError: for a sequence longer than `extended_context_length`, or a mask or cache under S².
        """
        layer: Any = self.attention_layer
        cache = kwargs.get("past_key_values")
        length = hidden_states.shape[1] + (0 if cache is None else cache.get_seq_length(layer.layer_idx))
        if length > self.extended_context_length:
            raise ValueError(
                f"sequence must fit extended_context_length = {self.extended_context_length}, got {length}"
            )
        if isinstance(layer, LlamaAttention):
            layer.sparse = self.sparse  # it does the rest itself
        elif self.is_training and self.sparse:
            _refuse_masks(*args, **kwargs)
            return self._shifted(hidden_states, *position_embeddings), None
        return layer(hidden_states, position_embeddings, *args, **kwargs)

    def _shifted(self, hidden_states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Compute a layer of transformers with S² in place of its attention."""
        layer: Any = self.attention_layer
        q, k, v = (
            rearrange(project(hidden_states), "b n (h d) -> b h n d", d=layer.head_dim)
            for project in (layer.q_proj, layer.k_proj, layer.v_proj)
        )
        # transformers hands over (b n d) with both halves equal.
        cos, sin = (table[:, None, :, : layer.head_dim // 2] for table in (cos, sin))
        geometry = self._pattern.geometry(q.shape[2], q.shape[1])
        q, k, dropout = rotate(q, cos, sin), rotate(k, cos, sin), layer.attention_dropout
        out = s2_attention(q, k, v, geometry, scale=layer.scaling, dropout=dropout)
        return layer.o_proj(rearrange(out, "b h n d -> b n (h d)"))

    def merge_to_original_layer(self) -> nn.Module:
        """Return a new layer of the original's kind with LoRA merged: dense, and equal to this in evaluation."""
        merged = _copy(self.attention_layer)
        merge_lora(merged)
        if isinstance(merged, LlamaAttention):
            merged.sparse = None
        return merged.requires_grad_(True).eval()

    def reset_state(self) -> None:
        """Clear gradients, all that calls leave behind: the adapter keeps nothing else between calls."""
        self.zero_grad(set_to_none=True)


def _check_layer(layer: nn.Module) -> None:
    if layer is None:
        raise ValueError("attention_layer must be an attention module, got None")
    kind = type(layer).__name__
    missing = [name for name in ATTENTION_PROJECTIONS if not isinstance(getattr(layer, name, None), nn.Linear)]
    if missing:
        raise ValueError(
            f"attention_layer must have Linear projections {', '.join(ATTENTION_PROJECTIONS)}, "
            f"got {kind} without {', '.join(missing)}"
        )
    # Norms of q and k, another rotary layout, a cap on scores, …: refuse rather than compute something else.
    from_transformers = type(layer).__module__.startswith("transformers.models.")
    if not (type(layer) is LlamaAttention or (from_transformers and kind in KNOWN_LAYERS)):
        more = [name for name, _ in layer.named_children() if name not in ATTENTION_PROJECTIONS]
        raise ValueError(
            f"attention_layer must be a TinyLlama's or one of transformers' {', '.join(KNOWN_LAYERS)}, "
            f"got {kind}{', which also has ' if more else ''}{', '.join(more)}"
        )
    window = getattr(layer, "sliding_window", getattr(layer.config, "sliding_window", None))
    if window is not None:
        raise ValueError(f"attention_layer must have no sliding window, got {kind} with one of {window} tokens")
    if getattr(layer, "is_causal", True) is False:
        raise ValueError(f"attention_layer must be causal, got {kind}, which is not")


def _copy(layer: nn.Module, known: dict | None = None) -> nn.Module:
    """Copy a layer deeply, except for its config, which switches a whole model, and the objects `known` by id."""
    return copy.deepcopy(layer, {id(layer.config): layer.config} | (known or {}))


def _refuse_masks(attention_mask: Tensor | None = None, past_key_values: object = None, **_: object) -> None:
    for name, value, how in (
        ("attention_mask", attention_mask, "under sdpa, without padding"),
        ("past_key_values", past_key_values, "with use_cache=False"),
    ):
        if value is not None:
            kind = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(
                f"{name} must be None while the adapter trains with S² (a model passes none {how}), got {kind}"
            )
