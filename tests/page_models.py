"""Small random models with an adapter, for what reads folders of models, and what torch computes with them."""

from __future__ import annotations

import torch

from longlora_edu.geometry import S2Pattern
from longlora_edu.longlora import LongLoRAConfig, apply_longlora
from longlora_edu.lora import save_adapter
from longlora_edu.model import LlamaConfig, TinyLlama, save_tiny_llama
from longlora_edu.rope import Rope
from longlora_edu.runs.records import write_json


def folders(folder, *, seed=0, heads=2, kv_heads=2, tied=False, layers=2, width=40, context=64, method="yarn"):
    """A small random base and an adapter of it that changes everything an adapter may change."""
    generator = torch.Generator().manual_seed(seed)
    config = LlamaConfig(
        Rope(8, trained_length=16),
        hidden_size=width,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=16,
        tie_word_embeddings=tied,
    )
    model = TinyLlama(config, generator=generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3, generator=generator)
    save_tiny_llama(model, folder / "base")
    recipe = LongLoRAConfig(context, rope=method, rank=4)
    apply_longlora(model, recipe, generator=generator)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    save_adapter(model, folder / "adapter", also_trained=recipe.also_train)
    write_json(folder / "adapter" / "config.json", model.config.as_json())
    return folder / "base", folder / "adapter"


def logits(model, ids, name, group):
    """Logits that torch computes for a text with a pattern, float32 (n, 256)."""
    if name == "dense":
        sparse = None
    else:
        sparse = S2Pattern(group, 0 if name == "short" else None, "wrap" if name == "wrap" else "split")
    for attention in model.attention_layers:
        attention.sparse = sparse
    model.train(sparse is not None)  # S² is computed while training
    with torch.inference_mode():
        return model(torch.tensor([list(ids)]), beyond_context=True)[0].numpy()
