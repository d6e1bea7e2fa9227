"""The small model under a pattern that it was not trained for: how many bits of a byte each neighbour of S² costs."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange

from ...model import TinyLlama, bundled_model
from ...model.llama import rotate, rotation_tables
from ...plots.neighbours import SparsePattern
from ...training.corpus import Windows, standard_library


@torch.inference_mode()
def bits_under(pattern: SparsePattern, *, length: int = 256, windows: int = 24, seed: int = 0) -> float:
    """Bits per byte of the bundled model on held-out text, if all attention followed `pattern`; nothing is trained."""
    ids, model = _texts(length, windows, seed), _model()
    logits = logits_under(model, ids[:, :-1], pattern)
    nats = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    return nats.item() / math.log(2)


def logits_under(model: TinyLlama, ids: torch.Tensor, pattern: SparsePattern) -> torch.Tensor:
    """The model's logits (b, n, vocabulary) with `pattern` in place of the causal mask of every layer."""
    x, length = model.model.embed_tokens(ids), ids.shape[1]
    rotation = rotation_tables(model.config.rope, length, ids.device)
    for number, layer in enumerate(model.model.layers):
        attention, normed = layer.self_attn, layer.input_layernorm(x)
        q, k, v = (
            rearrange(project(normed), "b n (h d) -> b h n d", d=model.config.head_dim)
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        mask = torch.from_numpy(pattern.mask(length, number, q.shape[1]))
        out = F.scaled_dot_product_attention(rotate(q, *rotation), rotate(k, *rotation), v, mask[None])
        x = x + attention.o_proj(rearrange(out, "b h n d -> b n (h d)"))
        x = x + layer.mlp(layer.post_attention_layernorm(x))
    return model.lm_head(model.model.norm(x))


@cache
def _model() -> TinyLlama:
    return bundled_model().eval()


@cache
def _texts(length: int, windows: int, seed: int) -> torch.Tensor:
    drawn = Windows(standard_library().held_out, length + 1).draw(np.random.default_rng([seed, 3]), windows)
    return torch.from_numpy(drawn.astype(np.int64))
