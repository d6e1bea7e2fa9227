"""One attention layer extended, as an adapter with two switches: for readers who know adapters from elsewhere."""

from __future__ import annotations

import copy

import torch
from einops import rearrange
from torch import Tensor, nn

from .attention import s2_attention
from .geometry import S2Pattern
from .longlora import ATTENTION_PROJECTIONS
from .lora import add_lora, merge_lora
from .model import LlamaAttention, rotate


class LongLoRAAdapter(nn.Module):
    """LoRA on one attention layer, and S²-Attn in that layer while it trains.

    `attention_layer` is a TinyLlama's attention or one of transformers with the same four projections (Llama,
    Mistral, Qwen2, …). It stays as it was: the adapter shares its weights and wraps them. The adapter stands in
    for it: same arguments, same kind of result.

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
        for name, length in (
            ("original_context_length", original_context_length),
            ("extended_context_length", extended_context_length),
        ):
            if not isinstance(length, int) or isinstance(length, bool) or length <= 0:
                raise ValueError(f"{name} must be a positive integer, got {length!r}")
        if extended_context_length <= original_context_length:
            raise ValueError(
                f"extended_context_length must be above original_context_length = {original_context_length}, "
                f"got {extended_context_length}"
            )
        if attention_shift_size is not None and not 0 <= attention_shift_size < original_context_length:
            raise ValueError(
                f"attention_shift_size must be from 0 to original_context_length - 1 = "
                f"{original_context_length - 1}, got {attention_shift_size}"
            )
        alpha = rank if alpha is None else alpha
        # A copy of the shell only: the projections are wrapped here and stay bare in the caller's layer.
        layer = copy.copy(attention_layer)
        layer._modules = dict(attention_layer._modules)
        add_lora(layer, ATTENTION_PROJECTIONS, rank=rank, alpha=alpha)
        if not freeze_base_layer:
            layer.requires_grad_(True)
        self.layer = layer
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
    def is_training(self) -> bool:
        """`module.training`, by the name other libraries use."""
        return self.training

    @is_training.setter
    def is_training(self, value: bool) -> None:
        self.train(value)

    def forward(self, hidden_states: Tensor, position_embeddings: tuple[Tensor, Tensor], *args, **kwargs):
        """What the wrapped layer returns for (b n width) and its rotary tables: dense, or S² under both switches.

        Under S² a TinyLlama layer takes `segments`; a transformers layer takes no mask and no cache.

        Raises:
            ValueError: for a sequence longer than `extended_context_length`, or a mask or cache under S².
        """
        length = hidden_states.shape[1]
        if length > self.extended_context_length:
            raise ValueError(f"sequence must fit extended_context_length = {self.extended_context_length}, got {length}")
        if not (self.is_training and self.use_shifted_attention):
            return self.layer(hidden_states, position_embeddings, *args, **kwargs)
        ours = isinstance(self.layer, LlamaAttention)
        segments = _segments(*args, **kwargs) if ours else _refuse_masks(*args, **kwargs)
        q, k, v = (
            rearrange(project(hidden_states), "b n (h d) -> b h n d", d=_head_dim(self.layer))
            for project in (self.layer.q_proj, self.layer.k_proj, self.layer.v_proj)
        )
        cos, sin = (_half_table(table, q.shape[-1]) for table in position_embeddings)
        out = s2_attention(
            rotate(q, cos, sin), rotate(k, cos, sin), v, self._pattern.geometry(length, q.shape[1]), segments=segments
        )
        out = self.layer.o_proj(rearrange(out, "b h n d -> b n (h d)"))
        return out if ours else (out, None)

    def merge_to_original_layer(self) -> nn.Module:
        """A new layer of the original's kind with LoRA folded in: plain and dense, equal to this in evaluation."""
        merged = copy.deepcopy(self.layer)
        merge_lora(merged)
        return merged.requires_grad_(True).eval()

    def reset_state(self) -> None:
        """Forget what calls left behind. That is gradients only: the adapter keeps nothing between calls."""
        self.zero_grad(set_to_none=True)


def _check_layer(layer) -> None:
    if layer is None:
        raise ValueError("attention_layer must be an attention module, got None")
    missing = [name for name in ATTENTION_PROJECTIONS if not isinstance(getattr(layer, name, None), nn.Linear)]
    if missing:
        raise ValueError(
            f"attention_layer must have Linear projections {', '.join(ATTENTION_PROJECTIONS)}, "
            f"got {type(layer).__name__} without {', '.join(missing)}"
        )
    # What a layer does between projection and attention would be lost; refuse rather than compute something else.
    for name in ("q_norm", "k_norm", "sliding_window", "sinks"):
        if getattr(layer, name, None) is not None:
            raise ValueError(f"attention_layer must not have {name}, got {type(layer).__name__} with it")
    if getattr(layer, "is_causal", True) is False:
        raise ValueError(f"attention_layer must be causal, got {type(layer).__name__}, which is not")


def _head_dim(layer: nn.Module) -> int:
    return layer.head_dim if hasattr(layer, "head_dim") else layer.config.head_dim


def _half_table(table: Tensor, head_dim: int) -> Tensor:
    # transformers hands over (b n d) with both halves equal; TinyLlama (n, d/2).
    half = table[..., : head_dim // 2]
    return half.unsqueeze(1) if half.dim() == 3 else half


def _segments(segments: Tensor | None = None) -> Tensor | None:
    return segments


def _refuse_masks(attention_mask=None, past_key_values=None, **_) -> None:
    for name, value in (("attention_mask", attention_mask), ("past_key_values", past_key_values)):
        if value is not None:
            kind = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
            raise ValueError(f"{name} must be None while the adapter trains with S², got {kind}")
