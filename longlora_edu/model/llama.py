"""A Llama in one file, small enough for a CPU, with its parameters named as transformers names them.

Notable about it: bytes instead of tokens, rotary positions from a `Rope` value, RMS norms, SwiGLU, grouped
key/value heads, and one switch in each attention layer: a sparse pattern that is used in training only.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..attention import full_attention, s2_attention
from ..geometry import S2Pattern
from ..rope import Leap, Rope
from .config import LlamaConfig


class LlamaAttention(nn.Module):
    """Attention of one layer. With `sparse` set it computes S²-Attn while training, dense attention otherwise.

    `sparse` may be any pattern whose `geometry(seq_len, num_heads)` `s2_attention` can run under `impl`.
    """

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        width, head_dim = config.hidden_size, config.head_dim
        self.config = config
        self.sparse: S2Pattern | None = None
        self.impl = "auto"
        self.q_proj = nn.Linear(width, config.num_attention_heads * head_dim, bias=False)
        self.k_proj = nn.Linear(width, config.num_key_value_heads * head_dim, bias=False)
        self.v_proj = nn.Linear(width, config.num_key_value_heads * head_dim, bias=False)
        self.o_proj = nn.Linear(config.num_attention_heads * head_dim, width, bias=False)

    def forward(
        self,
        x: Tensor,
        rotation: tuple[Tensor, Tensor],
        segments: Tensor | None = None,
        last: int | None = None,
        kept: list[Tensor] | None = None,
    ) -> Tensor:
        """Attend within x (b n width); rotation: cos and sin, each (n, head_dim / 2); segments: (b n) or None.

        With `last`, only the last tokens ask, of all n, and the result is (b last width): always dense. So it is with
        `kept`, the keys and values of the tokens before these: theirs are added to it.
        """
        asking = x if last is None else x[:, -last:]
        q, k, v = (
            rearrange(project(tokens), "b n (h d) -> b h n d", d=self.config.head_dim)
            for project, tokens in ((self.q_proj, asking), (self.k_proj, x), (self.v_proj, x))
        )
        q, k = rotate(q, *(table[-asking.shape[1] :] for table in rotation)), rotate(k, *rotation)
        if kept is not None:
            k, v = kept[:] = [torch.cat(pair, dim=2) for pair in zip(kept, (k, v), strict=True)] if kept else [k, v]
        if self.sparse is not None and self.training and last is None and kept is None:
            geometry = self.sparse.geometry(q.shape[2], q.shape[1])
            out = s2_attention(q, k, v, geometry, segments=segments, impl=self.impl)
        else:
            out = full_attention(q, k, v, segments=segments)
        return self.o_proj(rearrange(out, "b h n d -> b n (h d)"))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (i, i + d/2) of x (b h n d) by its angle: the layout that Llama checkpoints are stored for."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)


class LlamaMLP(nn.Module):
    """Feed-forward half of a layer, SwiGLU: a gate of the width `intermediate_size`."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class LlamaLayer(nn.Module):
    """Attention, then feed-forward; each reads a normed copy of its input and adds to the input."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.self_attn = LlamaAttention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.mlp = LlamaMLP(config)

    def forward(self, x: Tensor, *attending: Any, **options: Any) -> Tensor:
        """Take x (b n width) and what else `LlamaAttention` takes; return (b n width), or the last tokens alone."""
        heard = self.self_attn(self.input_layernorm(x), *attending, **options)
        x = x[:, -heard.shape[1] :] + heard
        return x + self.mlp(self.post_attention_layernorm(x))


class LlamaBody(nn.Module):
    """The modules between token ids and the head, under the names of transformers; `TinyLlama` runs them."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers: Any = nn.ModuleList(LlamaLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps)


class TinyLlama(nn.Module):
    """A byte-level Llama. Its state dict is that of transformers' `LlamaForCausalLM`, key by key."""

    def __init__(self, config: LlamaConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.leap: Leap | None = None  # `finetune` draws its positions by this; evaluation never does
        self.model = LlamaBody(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02, generator=generator)
        # Each layer adds to the residual stream twice; without this its size would grow with depth.
        for layer in self.model.layers:
            for projection in (layer.self_attn.o_proj, layer.mlp.down_proj):
                nn.init.normal_(
                    projection.weight, std=0.02 / (2 * config.num_hidden_layers) ** 0.5, generator=generator
                )
        if config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    @property
    def attention_layers(self) -> list[LlamaAttention]:
        return [layer.self_attn for layer in self.model.layers]

    def forward(
        self,
        ids: Tensor,
        *,
        segments: Tensor | None = None,
        positions: Tensor | None = None,
        last: int | None = None,
        kept: list[list[Tensor]] | None = None,
        beyond_context: bool = False,
    ) -> Tensor:
        """Compute logits (b, n, vocabulary), or of the `last` positions only, for token ids (b, n).

        `beyond_context=True` permits more tokens than the model was made for: to measure how it fails.
        `positions` (n,), rising integers, say where the tokens stand if not at 0 … n - 1: all rotary angles follow.
        `kept`, a list for each layer, empty at first, keeps keys and values: the next call passes the tokens that come
        after these, and computes no others again. Attention is dense then.

        Raises:
            ValueError: for a sequence longer than the context, ids of another shape, `last` not from 1 to n,
                positions that are not one a token, or `kept` that does not fit the layers, segments, or positions
                whose angles change with the length ("dynamic").
        """
        if not isinstance(ids, Tensor) or ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
            raise ValueError(f"ids must be a tensor of integers, got {getattr(ids, 'dtype', ids)!r:.60}")
        if ids.dim() != 2:
            raise ValueError(f"ids must have shape (b, n), got {tuple(ids.shape)}")
        if kept is not None and (len(kept) != len(self.model.layers) or segments is not None):
            raise ValueError(
                f"kept must be {len(self.model.layers)} lists, one a layer, and goes without segments, got {len(kept)}"
                + (" and segments" if segments is not None else "")
            )
        if kept is not None and self.config.rope.method == "dynamic":
            raise ValueError("kept keys need angles that do not change with the length, got positions by 'dynamic'")
        before = kept[0][0].shape[2] if kept and kept[0] else 0
        length = before + ids.shape[1]
        if length > self.config.context_length and not beyond_context:
            raise ValueError(
                f"sequence must fit the context of {self.config.context_length} tokens, got {length}; "
                "extend the model with apply_longlora, or pass beyond_context=True to see it fail"
            )
        if last is not None and not 0 < last <= ids.shape[1]:
            raise ValueError(f"last must be from 1 to the {ids.shape[1]} tokens there are, got {last}")
        if positions is not None and positions.shape != ids.shape[1:]:
            raise ValueError(f"positions must have shape ({ids.shape[1]},), one a token, got {tuple(positions.shape)}")
        x = self.model.embed_tokens(ids.long())
        rotation = rotation_tables(self.config.rope, length if positions is None else int(positions[-1]) + 1, x.device)
        rotation = tuple(table[before:] if positions is None else table[positions] for table in rotation)
        *layers, final = self.model.layers
        *earlier, at_final = kept or [None] * len(self.model.layers)
        for layer, own in zip(layers, earlier, strict=True):
            x = layer(x, rotation, segments, kept=own)
        # Nobody reads the final layer's other tokens. Under S² they are computed all the same: it has no "last".
        sparse = final.self_attn.sparse is not None and self.training and kept is None
        x = final(x, rotation, segments, None if sparse else last, at_final)
        return self.lm_head(self.model.norm(x if last is None else x[:, -last:]))


def rotation_tables(rope: Rope, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Compute cos and sin, each float32 (n, d/2), in float32 as transformers does, so that logits agree."""
    frequencies = torch.from_numpy(rope.frequencies(length)).to(device, torch.float32)
    angles = torch.outer(torch.arange(length, dtype=torch.float32, device=device), frequencies)
    return angles.cos() * rope.attention_factor, angles.sin() * rope.attention_factor
