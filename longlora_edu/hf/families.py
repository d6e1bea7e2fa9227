"""Checks of models and inputs: anything of transformers that S²-Attn would ignore is refused by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.masking_utils import causal_mask_function

# The borders of packed documents again, for other kernels: `refuse_borders` compares them with the positions.
PACKED = ("cu_seq_lens_q", "cu_seq_lens_k", "seq_idx", "max_length_q", "max_length_k")
# What families hand on to attention though it has no effect there. Anything else must be off: None or False.
WITHOUT_EFFECT = {
    "position_ids", "cache_position", "use_cache", "output_hidden_states", "output_router_logits", "num_items_in_batch",
    *PACKED,
}  # fmt: skip
MEANINGS = {
    "sliding_window": "a sliding window",
    "softcap": "soft-capped logits",
    "s_aux": "attention sinks",
    "position_bias": "a bias of the scores",
    "cache": "a paged cache",
}
UNREAD = torch.zeros((), dtype=torch.bool)  # a mask for no layer


def transformer_of(model: nn.Module) -> PreTrainedModel:
    """Find the transformers model that `model` is, or that it wraps.

    Raises:
        ValueError: if there is none.
    """
    for part in model.modules() if isinstance(model, nn.Module) else ():
        if isinstance(part, PreTrainedModel):
            return part
    raise ValueError(f"model must be, or hold, a transformers PreTrainedModel, got {type(model).__name__}")


def attention_layers(model: PreTrainedModel) -> list[nn.Module]:
    """The layers of a model that ask transformers which attention to compute: the ones that S² will run in.

    Raises:
        ValueError: naming what S² would have to ignore in this model.
    """
    name, config = type(model).__name__, model.config
    layers = [part for part in model.modules() if _dispatches(type(part))]
    if not layers or not model._can_set_attn_implementation():
        raise ValueError(f"{name} must dispatch attention through transformers' AttentionInterface, and does not")
    several = getattr(config, "is_heterogeneous", False)  # its config does not answer for all layers
    parts = {"layers with settings of their own": sorted(config.per_layer_attributes or ())} if several else None
    for what, found in (parts or _not_honoured(model, config, layers)).items():
        if found:
            raise ValueError(
                f"{name} must have causal self-attention and nothing else for S²-Attn, got {what}: {found}"
            )
    if not model._supports_sdpa:
        raise ValueError(f"{name} must support stock sdpa, its dense attention beside S²-Attn, and does not")
    return layers


def refuse_inputs(query_length: int, key_length: int, attention_mask: Tensor | None, arguments: dict) -> None:
    """Refuse a call of attention with lengths, a mask or arguments that S² does not compute.

    Raises:
        ValueError: for anything but whole sequences under the mask of `s2_attention_mask`, naming what was found.
    """
    refuse_lengths(query_length, key_length)
    if attention_mask is not None and (attention_mask.ndim != 2 or attention_mask.dtype != torch.int32):
        raise ValueError(
            "attention_mask must be given to the model as (b n), 1 for a token and 0 for padding, under S²-Attn, "
            f"got {attention_mask.dtype} with {attention_mask.ndim} axes in an attention layer"
        )
    if arguments.pop("is_causal", None) is False:
        raise ValueError("is_causal must be True under S²-Attn, got False")
    for name, value in arguments.items():
        # A tensor is not False either, but comparing it would say so for each element.
        if name not in WITHOUT_EFFECT and value is not None and value is not False:
            meaning = MEANINGS.get(name, "a keyword argument that it does not know")
            raise ValueError(f"{name} must be off under S²-Attn, which would ignore {meaning}, got {_short(value)}")


def refuse_borders(positions: Tensor | None, arguments: dict) -> None:
    """Check that borders of packed documents, where a collator gives them, are those of the positions (b n).

    S² reads documents from `position_ids` alone. TRL's packing and `DataCollatorWithFlattening` may say both.

    Raises:
        ValueError: for borders without positions, and for others.
    """
    for name in PACKED[:3]:
        if (borders := arguments.get(name)) is None:
            continue
        if positions is None or positions.ndim != 2:
            raise ValueError(f"{name} must come with position_ids (b n) under S²-Attn, which reads documents from them")
        expected = _borders(positions[:, 1:] != positions[:, :-1] + 1)
        whole = name == "seq_idx" and borders.shape == positions.shape  # the number of each token's document
        got = _borders(borders[:, 1:] != borders[:, :-1]) if whole else torch.as_tensor(borders).tolist()
        if got != expected:
            raise ValueError(
                f"{name} must have the borders of position_ids under S²-Attn, {_few(expected)}, got {_few(got)}"
            )


def refuse_lengths(query_length: int, key_length: int) -> None:
    """Refuse a call whose queries are not as many as its keys: S² computes whole sequences only.

    Raises:
        ValueError: if the lengths differ, as in decoding with a cache.
    """
    if query_length != key_length:
        raise ValueError(
            f"queries must be as many as keys under S²-Attn, got {query_length} and {key_length}: to decode with a "
            "cache, call eval() under when='training', or pass use_cache=False"
        )


def read_segments(
    *,
    q_length: int,
    kv_length: int,
    mask_function: Callable,
    attention_mask: Tensor | None,
    batch_size: int,
    device: torch.device,
    use_vmap: bool = False,
    local_size: int | None = None,
    no_windows: bool = False,
    **_: object,
) -> Tensor | None:
    """Read the arguments of a mask function as segments (b n), int32; None is one document a row, no padding.

    `no_windows`: some families ask for the mask of a window though none of their layers has one. They get `UNREAD`,
    which `refuse_inputs` refuses in any layer that reads it.

    Raises:
        ValueError: for any mask but a causal one with padding and packed documents.
    """
    refuse_lengths(q_length, kv_length)
    if no_windows and local_size is not None:
        return UNREAD
    packed = mask_function is not causal_mask_function
    # Packing is causality *and* equal documents; or-masks, windows and masks of a model's own are something else.
    if use_vmap or local_size is not None or (packed and mask_function.__name__ != "and_mask"):
        raise ValueError(
            f"the mask must be causal, with padding and packing at most, under S²-Attn, got {mask_function.__name__}"
        )
    if attention_mask is not None:
        if attention_mask.shape != (batch_size, q_length):
            raise ValueError(
                f"attention_mask must be shaped (b n), as the input, under S²-Attn, got {tuple(attention_mask.shape)} "
                f"and {(batch_size, q_length)}"
            )
        # Compiled code cannot choose by values: it reads the mask even where nothing is padded.
        if not torch.compiler.is_compiling() and attention_mask.all():
            attention_mask = None
    if attention_mask is None and not packed:
        return None
    segments = torch.zeros(batch_size, q_length, dtype=torch.int32, device=device)
    if packed:
        # A token that may not look at the one before it begins a document.
        batch, token = torch.arange(batch_size, device=device)[:, None], torch.arange(q_length, device=device)[None]
        goes_on = mask_function(batch, torch.zeros_like(batch), token[:, 1:], token[:, :-1])
        segments[:, 1:] = (~goes_on).cumsum(1)
    return segments if attention_mask is None else segments.masked_fill(~attention_mask, -1)


@cache
def _dispatches(kind: type[nn.Module]) -> bool:
    # The same look at the source by which transformers decides whether a family can switch, for one class.
    try:
        return "ALL_ATTENTION_FUNCTIONS" in inspect.getsource(inspect.unwrap(kind.forward))
    except (OSError, TypeError):
        return False


def _not_honoured(model: PreTrainedModel, config: PreTrainedConfig, layers: list[nn.Module]) -> dict[str, object]:
    """List what S² does not compute: a name and, where the model has it, something that is true."""
    kinds = getattr(config, "layer_types", None)
    heads, kv_heads = (getattr(config, f"num_{kind}_heads", None) for kind in ("attention", "key_value"))
    uneven = isinstance(heads, int) and isinstance(kv_heads, int) and (kv_heads < 1 or heads % kv_heads)
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    return {
        "parts with configs of their own (give use_s2 its text decoder)": [
            part for part in config.sub_configs if getattr(config, part, None) is not None
        ],
        "an encoder and a decoder, is_encoder_decoder": config.is_encoder_decoder,
        "cross-attention, add_cross_attention": getattr(config, "add_cross_attention", False),
        "query heads that key heads do not divide": f"{heads} and {kv_heads}" if uneven else None,
        "attention that is not causal": sorted(
            {type(layer).__name__ for layer in layers if getattr(layer, "is_causal", False) is not True}
        ),
        "soft-capped logits, attn_logit_softcapping": getattr(config, "attn_logit_softcapping", None),
        "attention sinks": [name for name, _ in model.named_parameters() if name.endswith("sinks")][:1],
        "layer_types": sorted(set(kinds or ()) - {"full_attention"}),
        "sliding_window (where it may be dropped, set it to None)": None if kinds else window,
        "output_attentions": config.output_attentions,
    }


def _borders(begins: Tensor) -> list[int]:
    """Return where documents begin in rows laid end to end, and the end; `begins`, bool (b n-1), of each next token."""
    begins = torch.cat([begins.new_ones(len(begins), 1), begins], dim=1)
    return [*begins.flatten().nonzero().flatten().tolist(), begins.numel()]


def _few(numbers: list) -> str:
    return f"[{', '.join(map(str, numbers[:8]))}{', …' if len(numbers) > 8 else ''}]"


def _short(value) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
