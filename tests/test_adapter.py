from __future__ import annotations

import copy
import math
import re

import numpy as np
import pytest
import torch
import transformers as hf
from oracles import allowed_pairs
from torch import nn
from transformers.models.gemma.modeling_gemma import GemmaAttention
from transformers.models.granite.modeling_granite import GraniteAttention
from transformers.models.llama.modeling_llama import LlamaAttention as HFLlamaAttention
from transformers.models.mistral.modeling_mistral import MistralAttention
from transformers.models.qwen2.modeling_qwen2 import Qwen2Attention
from transformers.models.qwen3.modeling_qwen3 import Qwen3Attention

from longlora_edu.adapter import LongLoRAAdapter
from longlora_edu.geometry import S2Pattern
from longlora_edu.lora import LoRALinear
from longlora_edu.model import LlamaAttention, LlamaConfig, TinyLlama, load_tiny_llama, save_tiny_llama
from longlora_edu.rope import Rope

GROUP, TARGET, LENGTH, HEAD_DIM = 4, 16, 11, 4
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")
REQUIRED = {"rank": 2, "original_context_length": GROUP, "extended_context_length": TARGET}


def hf_config(kind, heads=4, kv_heads=2, **changes):
    sizes = {"hidden_size": 12, "num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": HEAD_DIM}
    return kind(**sizes | changes, attn_implementation="sdpa")


LAYERS = {
    "tiny": lambda: LlamaAttention(tiny_config(4, 4)),
    "tiny grouped keys": lambda: LlamaAttention(tiny_config(4, 2)),
    "tiny odd heads": lambda: LlamaAttention(tiny_config(3, 1)),
    "tiny one head": lambda: LlamaAttention(tiny_config(1, 1)),
    "llama": lambda: HFLlamaAttention(hf_config(hf.LlamaConfig), 0),
    "llama odd heads": lambda: HFLlamaAttention(hf_config(hf.LlamaConfig, 3, 1, attention_bias=True), 0),
    "mistral": lambda: MistralAttention(hf_config(hf.MistralConfig, sliding_window=None), 0),
    "qwen2": lambda: Qwen2Attention(hf_config(hf.Qwen2Config, 3, 3), 0),
    "gemma": lambda: GemmaAttention(hf_config(hf.GemmaConfig, 2, 1), 0),
    "granite": lambda: GraniteAttention(hf_config(hf.GraniteConfig, attention_multiplier=0.7), 0),
}
every_layer = pytest.mark.parametrize("kind", LAYERS)


def tiny_config(heads, kv_heads, **changes):
    sizes = {"hidden_size": 12, "intermediate_size": 10, "num_hidden_layers": 2, "max_position_embeddings": GROUP}
    return LlamaConfig(
        Rope(HEAD_DIM, 100.0, trained_length=GROUP),
        **sizes | {"num_attention_heads": heads, "num_key_value_heads": kv_heads} | changes,
    )


def shake(module, seed=0):
    """As if it had been trained: every parameter that trains is somewhere else."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype), alpha=0.5)
    return module


def some_layer(kind, dtype=torch.float64):
    """Random weights and biases, large enough for attention to choose, in evaluation mode."""
    return shake(LAYERS[kind]().to(dtype)).eval()


def some_adapter(kind, **changes):
    """An adapter whose LoRA does something, and the layer that it was given."""
    layer = some_layer(kind)
    torch.manual_seed(0)
    adapter = LongLoRAAdapter(layer, **REQUIRED | changes)
    with torch.no_grad():
        for name, parameter in adapter.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))))
    return adapter, layer


def inputs(kind, length=LENGTH, batch=2, dtype=torch.float64, **options):
    """What a model calls its attention with: hidden states and rotary tables, in the form of its ecosystem."""
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(batch, length, 12, generator=generator, dtype=dtype, **options)
    angles = torch.outer(torch.arange(length), torch.tensor([1.0, 0.3])).to(dtype)
    tables = angles.cos(), angles.sin()
    if not kind.startswith("tiny"):
        tables = tuple(torch.cat([table, table], dim=-1)[None] for table in tables)
    return hidden, tables


def call(layer, kind, hidden, tables):
    """The output of an attention layer of either kind."""
    if kind.startswith("tiny"):
        return layer(hidden, tables)
    out, weights = layer(hidden_states=hidden, position_embeddings=tables, attention_mask=None, position_ids=None)
    assert weights is None
    return out


def by_hand(weights, hidden, heads, kv_heads, mask, scale=None):
    """Projections, rotation, softmax under a mask (h n n), and the way out, from tensors alone."""

    def project(name, x, count):
        out = x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0)
        return out.unflatten(-1, (count, -1)).transpose(1, 2) if count else out

    def rotated(x):
        angles = torch.outer(torch.arange(x.shape[2]), torch.tensor([1.0, 0.3])).to(x.dtype)
        pairs = torch.complex(x[..., :2].contiguous(), x[..., 2:].contiguous())
        pairs = pairs * torch.polar(torch.ones_like(angles), angles)
        return torch.cat([pairs.real, pairs.imag], dim=-1)

    q, k = rotated(project("q_proj", hidden, heads)), rotated(project("k_proj", hidden, kv_heads))
    v = project("v_proj", hidden, kv_heads)
    k, v = (x.repeat_interleave(heads // kv_heads, dim=1) for x in (k, v))
    scores = q @ k.transpose(2, 3) * (scale or 1 / math.sqrt(HEAD_DIM))
    probabilities = scores.masked_fill(~torch.from_numpy(mask), -math.inf).softmax(dim=-1)
    return project("o_proj", (probabilities @ v).transpose(1, 2).flatten(2), None)


def with_lora(adapter):
    """Leaves for autograd by their names in the adapter, and the weights that they make, by hand."""
    leaves = {
        name.removeprefix("attention_layer."): parameter.detach().clone().requires_grad_()
        for name, parameter in adapter.named_parameters()
    }
    weights = {}
    for name in PROJECTIONS:
        update = leaves[f"{name}.lora_B.weight"] @ leaves[f"{name}.lora_A.weight"]
        weights[f"{name}.weight"] = leaves[f"{name}.base.weight"] + adapter.alpha / adapter.rank * update
        if f"{name}.base.bias" in leaves:
            weights[f"{name}.bias"] = leaves[f"{name}.base.bias"]
    return leaves, weights


def expected(adapter, layer, hidden, length=LENGTH, *, sparse, shift=GROUP // 2):
    """The output by hand, and the leaves it was made from."""
    leaves, weights = with_lora(adapter)
    heads, kv_heads = (getattr(layer, f"{name}_proj").out_features // HEAD_DIM for name in "qk")
    mask = np.broadcast_to(np.tri(length, dtype=bool), (heads, length, length)).copy()
    if sparse:
        mask = allowed_pairs(length, GROUP, heads, shift, "split")
    return by_hand(weights, hidden, heads, kv_heads, mask, getattr(layer, "scaling", None)), leaves


# What it computes.


@every_layer
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_at_first_evaluation_is_that_of_the_layer_to_the_bit(kind, dtype):
    layer = some_layer(kind, dtype)
    hidden, tables = inputs(kind, dtype=dtype)
    out = call(LongLoRAAdapter(layer, **REQUIRED), kind, hidden, tables)
    torch.testing.assert_close(out, call(layer, kind, hidden, tables), rtol=0, atol=0)


@every_layer
@pytest.mark.parametrize("length", [1, GROUP, LENGTH, TARGET])
def test_under_both_switches_it_is_sparse_attention_by_hand(kind, length):
    adapter, layer = some_adapter(kind)
    hidden, tables = inputs(kind, length)
    sparse, _ = expected(adapter, layer, hidden, length, sparse=True)
    torch.testing.assert_close(call(adapter.train(), kind, hidden, tables), sparse, rtol=1e-10, atol=1e-10)


@every_layer
@pytest.mark.parametrize(("training", "shifted"), [(True, False), (False, True), (False, False)])
def test_with_a_switch_off_it_is_dense_attention_by_hand(kind, training, shifted):
    adapter, layer = some_adapter(kind)
    hidden, tables = inputs(kind)
    dense, _ = expected(adapter, layer, hidden, sparse=False)
    sparse, _ = expected(adapter, layer, hidden, sparse=True)
    adapter.is_training, adapter.use_shifted_attention = training, shifted
    torch.testing.assert_close(call(adapter, kind, hidden, tables), dense, rtol=1e-10, atol=1e-10)
    assert (dense - sparse).abs().max() > 0.1


@pytest.mark.parametrize("shift", [0, 1, 3])
def test_half_of_the_heads_shift_by_what_is_asked(shift):
    adapter, layer = some_adapter("llama", attention_shift_size=shift)
    hidden, tables = inputs("llama")
    sparse, _ = expected(adapter, layer, hidden, sparse=True, shift=shift)
    torch.testing.assert_close(call(adapter.train(), "llama", hidden, tables), sparse, rtol=1e-10, atol=1e-10)


@every_layer
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("freeze", [True, False])
def test_gradients_in_training_are_those_by_hand(kind, sparse, freeze):
    adapter, layer = some_adapter(kind, freeze_base_layer=freeze)
    hidden, tables = inputs(kind, requires_grad=True)
    adapter.train().use_shifted_attention = sparse
    direction = torch.randn(2, LENGTH, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (call(adapter, kind, hidden, tables) * direction).sum().backward()

    by_hand_hidden = hidden.detach().clone().requires_grad_()
    out, leaves = expected(adapter, layer, by_hand_hidden, sparse=sparse)
    (out * direction).sum().backward()
    torch.testing.assert_close(hidden.grad, by_hand_hidden.grad, rtol=1e-9, atol=1e-9)
    for name, parameter in adapter.named_parameters():
        if freeze and "lora" not in name:
            assert parameter.grad is None
        else:
            torch.testing.assert_close(
                parameter.grad, leaves[name.removeprefix("attention_layer.")].grad, rtol=1e-9, atol=1e-9
            )
    assert all(parameter.grad is None for parameter in layer.parameters())


@pytest.mark.parametrize("sparse", [True, False])
def test_gradients_are_those_of_finite_differences(sparse):
    adapter, _ = some_adapter("tiny odd heads")
    adapter.train().use_shifted_attention = sparse
    hidden, tables = inputs("tiny odd heads", 6, batch=1, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: adapter(x, tables), [hidden], fast_mode=True)


def test_packed_documents_stay_apart_under_both_switches():
    adapter, _ = some_adapter("tiny grouped keys")
    hidden, tables = inputs("tiny grouped keys", length=8, batch=1)
    segments = torch.tensor([[0, 0, 0, 1, 1, 1, -1, -1]])
    other = hidden.clone()
    other[:, :3] += 1
    for training in (True, False):
        adapter.is_training = training
        first, second = adapter(hidden, tables, segments), adapter(other, tables, segments=segments)
        torch.testing.assert_close(first[:, 3:6], second[:, 3:6])
        assert (first - second)[:, :3].abs().max() > 0.1
        torch.testing.assert_close(first[:, 6:], torch.zeros(1, 2, 12, dtype=torch.float64))


def test_dropout_of_the_layer_acts_in_training_only():
    layer = HFLlamaAttention(hf_config(hf.LlamaConfig, attention_dropout=0.5), 0)
    adapter = LongLoRAAdapter(shake(layer).train(), **REQUIRED)
    hidden, tables = inputs("llama", dtype=torch.float32)
    torch.manual_seed(0)
    first, second = (call(adapter, "llama", hidden, tables) for _ in range(2))
    assert (first - second).abs().max() > 0.01
    adapter.eval()
    first, second = (call(adapter, "llama", hidden, tables) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


# The layer it was given.


@every_layer
@pytest.mark.parametrize("freeze", [True, False])
def test_the_given_layer_stays_as_it_was(kind, freeze):
    layer = some_layer(kind).train()
    before, fields = copy.deepcopy(layer), dict(vars(layer))
    adapter = LongLoRAAdapter(layer, **REQUIRED, freeze_base_layer=freeze)
    adapter.eval().requires_grad_(False)
    assert {name: vars(layer)[name] for name in fields} == fields
    assert [(n, type(m), m.training) for n, m in layer.named_modules()] == [
        (n, type(m), m.training) for n, m in before.named_modules()
    ]
    assert all(parameter.requires_grad for parameter in layer.parameters())
    hidden, tables = inputs(kind)
    torch.testing.assert_close(call(layer, kind, hidden, tables), call(before, kind, hidden, tables), rtol=0, atol=0)


@every_layer
def test_weights_are_shared_with_the_given_layer(kind):
    layer = some_layer(kind)
    adapter = LongLoRAAdapter(layer, **REQUIRED, freeze_base_layer=False)
    for name in PROJECTIONS:
        base = getattr(adapter.attention_layer, name).base
        assert base.weight.data_ptr() == getattr(layer, name).weight.data_ptr()
    shake(adapter)
    hidden, tables = inputs(kind)
    changed, _ = by_hand_dense(layer, hidden)
    torch.testing.assert_close(call(layer, kind, hidden, tables), changed, rtol=1e-10, atol=1e-10)
    added = {name for name, _ in adapter.named_parameters() if "lora" in name}
    assert len(added) == 8


def by_hand_dense(layer, hidden):
    weights = dict(layer.named_parameters())
    heads, kv_heads = (getattr(layer, f"{name}_proj").out_features // HEAD_DIM for name in "qk")
    mask = np.broadcast_to(np.tri(LENGTH, dtype=bool), (heads, LENGTH, LENGTH)).copy()
    return by_hand(weights, hidden, heads, kv_heads, mask, getattr(layer, "scaling", None)), weights


@pytest.mark.parametrize("freeze", [True, False])
def test_what_trains_is_lora_and_the_base_unless_frozen(freeze):
    adapter = LongLoRAAdapter(some_layer("qwen2"), **REQUIRED, freeze_base_layer=freeze)
    kinds = {name.split(".", 2)[2]: parameter.requires_grad for name, parameter in adapter.named_parameters()}
    assert kinds == {
        "base.weight": not freeze,
        "base.bias": not freeze,
        "lora_A.weight": True,
        "lora_B.weight": True,
    }


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_layer_is_taken_over(training):
    assert LongLoRAAdapter(some_layer("tiny").train(training), **REQUIRED).is_training is training


def test_a_pattern_that_the_layer_had_gives_way_to_the_adapters():
    layer = some_layer("tiny")
    layer.sparse = S2Pattern(2)
    adapter = LongLoRAAdapter(layer, **REQUIRED).train()
    assert adapter.merge_to_original_layer().sparse is None
    adapter.use_shifted_attention = False
    hidden, tables = inputs("tiny")
    dense, _ = by_hand_dense(layer, hidden)
    torch.testing.assert_close(adapter(hidden, tables), dense, rtol=1e-10, atol=1e-10)
    assert layer.sparse == S2Pattern(2)


# Its arguments and switches.


def test_arguments_are_properties():
    adapter = LongLoRAAdapter(
        some_layer("tiny"),
        rank=3,
        original_context_length=8,
        extended_context_length=64,
        alpha=5.0,
        attention_shift_size=1,
        freeze_base_layer=False,
    )
    assert (adapter.rank, adapter.alpha, adapter.freeze_base_layer) == (3, 5.0, False)
    assert (adapter.original_context_length, adapter.extended_context_length) == (8, 64)
    assert adapter.attention_shift_size == 1
    assert isinstance(adapter.attention_layer, LlamaAttention)
    for name in ("rank", "alpha", "original_context_length", "attention_shift_size"):
        with pytest.raises(AttributeError):
            setattr(adapter, name, 2)


def test_defaults_are_alpha_of_rank_half_a_group_of_shift_and_a_frozen_base():
    adapter = LongLoRAAdapter(some_layer("tiny"), rank=3, original_context_length=7, extended_context_length=8)
    assert (adapter.alpha, adapter.attention_shift_size, adapter.freeze_base_layer) == (3, 3, True)
    assert adapter.use_shifted_attention is True
    lora = adapter.attention_layer.q_proj
    assert isinstance(lora, LoRALinear)
    assert (lora.rank, lora.scaling) == (3, 1.0)


def test_is_training_is_the_mode_of_the_module():
    adapter = LongLoRAAdapter(some_layer("tiny"), **REQUIRED)
    for mode in (True, False):
        adapter.is_training = mode
        assert (adapter.is_training, adapter.training) == (mode, mode)
        assert all(module.training is mode for module in adapter.modules())
        adapter.train(not mode)
        assert adapter.is_training is not mode


def test_reset_state_forgets_gradients_and_no_weights():
    adapter, _ = some_adapter("llama")
    hidden, tables = inputs("llama")
    before = {name: parameter.clone() for name, parameter in adapter.named_parameters()}
    out = call(adapter.train(), "llama", hidden, tables)
    out.sum().backward()
    assert any(parameter.grad is not None for parameter in adapter.parameters())
    adapter.reset_state()
    assert all(parameter.grad is None for parameter in adapter.parameters())
    torch.testing.assert_close(dict(adapter.named_parameters()), before, rtol=0, atol=0)
    torch.testing.assert_close(call(adapter, "llama", hidden, tables), out, rtol=0, atol=0)


# Merging.


@every_layer
def test_the_merged_layer_is_plain_dense_and_equal_in_evaluation(kind):
    adapter, layer = some_adapter(kind)
    hidden, tables = inputs(kind)
    call(adapter.train(), kind, hidden, tables)
    merged = adapter.merge_to_original_layer()
    assert type(merged) is type(layer)
    assert [type(getattr(merged, name)) for name in PROJECTIONS] == [nn.Linear] * 4
    assert set(merged.state_dict()) == set(layer.state_dict())
    assert not merged.training
    assert all(parameter.requires_grad for parameter in merged.parameters())
    dense = call(adapter.eval(), kind, hidden, tables)
    for mode in (False, True):
        torch.testing.assert_close(call(merged.train(mode), kind, hidden, tables), dense, rtol=1e-11, atol=1e-11)


def test_merging_leaves_the_adapter_as_it_was_and_shares_nothing_with_it():
    adapter, layer = some_adapter("qwen2")
    hidden, tables = inputs("qwen2")
    before = call(adapter, "qwen2", hidden, tables)
    shake(adapter.merge_to_original_layer())
    torch.testing.assert_close(call(adapter, "qwen2", hidden, tables), before, rtol=0, atol=0)
    assert isinstance(adapter.attention_layer.q_proj, LoRALinear)
    assert adapter.attention_layer.config is layer.config


# Inside a model.


def tiny_model():
    return TinyLlama(tiny_config(4, 2, max_position_embeddings=TARGET), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("place", [0, 1])
def test_it_stands_in_for_the_attention_of_a_tiny_llama(tmp_path, place):
    stock, model = shake(tiny_model()).double(), shake(tiny_model()).double()
    ids = torch.randint(256, (2, LENGTH), generator=torch.Generator().manual_seed(0))
    adapter = LongLoRAAdapter(model.model.layers[place].self_attn, **REQUIRED)
    model.model.layers[place].self_attn = adapter
    torch.testing.assert_close(model.eval()(ids), stock.eval()(ids), rtol=0, atol=0)
    torch.testing.assert_close(model(ids, last=3), stock(ids)[:, -3:])

    stock.model.layers[place].self_attn.sparse = S2Pattern(GROUP)
    torch.testing.assert_close(model.train()(ids), stock.train()(ids))
    torch.testing.assert_close(model(ids, last=3), stock(ids)[:, -3:])
    assert adapter.is_training
    model(ids).square().sum().backward()
    assert adapter.attention_layer.q_proj.lora_B.weight.grad.abs().max() > 0

    shake(adapter)
    trained = model.eval().float()(ids)
    model.model.layers[place].self_attn = adapter.merge_to_original_layer()
    torch.testing.assert_close(model(ids), trained)
    save_tiny_llama(model, tmp_path)
    torch.testing.assert_close(load_tiny_llama(tmp_path)(ids), trained)


@pytest.fixture
def stock_and_adapted():
    """A transformers model, and the same one with an adapter in place of each attention layer."""
    config = hf_config(hf.LlamaConfig, 3, 1, intermediate_size=10, num_hidden_layers=2, vocab_size=20)
    config.max_position_embeddings, config.eos_token_id = TARGET, None
    stock = shake(hf.LlamaForCausalLM(config).double()).eval()
    adapted = copy.deepcopy(stock)
    for layer in adapted.model.layers:
        layer.self_attn = LongLoRAAdapter(layer.self_attn, **REQUIRED)
    return stock, adapted


IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]])


def test_it_stands_in_for_the_attention_of_a_transformers_model(stock_and_adapted):
    stock, adapted = stock_and_adapted
    torch.testing.assert_close(adapted(IDS).logits, stock(IDS).logits, rtol=0, atol=0)
    # With a mask for each head, stock attention is the oracle of S².
    mask = torch.from_numpy(allowed_pairs(LENGTH, GROUP, 3, GROUP // 2, "split"))[None]
    sparse = adapted.train()(IDS, use_cache=False, attention_mask=torch.ones_like(IDS), labels=IDS)
    torch.testing.assert_close(sparse.logits, stock(IDS, attention_mask=mask).logits)
    assert (sparse.logits - stock(IDS).logits).abs().max() > 0.1
    sparse.loss.backward()
    for layer in adapted.model.layers:
        assert layer.self_attn.attention_layer.v_proj.lora_B.weight.grad.abs().max() > 0
        assert layer.self_attn.attention_layer.v_proj.base.weight.grad is None
    for layer in adapted.model.layers:
        layer.self_attn.use_shifted_attention = False
    torch.testing.assert_close(adapted(IDS, use_cache=False).logits, stock(IDS).logits)


def test_it_generates_with_a_cache_in_evaluation(stock_and_adapted):
    stock, adapted = stock_and_adapted
    options = {"max_new_tokens": TARGET - LENGTH, "do_sample": False, "pad_token_id": 0}
    expected = stock.generate(IDS, **options)
    assert expected.shape == (1, TARGET)
    assert torch.equal(adapted.generate(IDS, **options), expected)

    for layer in adapted.model.layers:
        shake(layer.self_attn)
    merged = copy.deepcopy(adapted)
    for layer in merged.model.layers:
        layer.self_attn = layer.self_attn.merge_to_original_layer()
    torch.testing.assert_close(adapted(IDS).logits, merged(IDS).logits)
    assert torch.equal(adapted.generate(IDS, **options), merged.generate(IDS, **options))
    assert (adapted(IDS).logits - stock(IDS).logits).abs().max() > 0.1


def test_how_a_model_attends_can_still_be_switched(stock_and_adapted):
    stock, adapted = stock_and_adapted
    adapted.set_attn_implementation("eager")
    assert adapted.model.layers[0].self_attn.attention_layer.config._attn_implementation == "eager"
    torch.testing.assert_close(adapted(IDS).logits, stock(IDS).logits, rtol=1e-4, atol=1e-4)


def test_masks_and_caches_are_refused_under_both_switches(stock_and_adapted):
    _, adapted = stock_and_adapted
    adapted.train()
    message = r"past_key_values must be None while the adapter trains with S² \(.*use_cache=False\), got DynamicCache"
    with pytest.raises(ValueError, match=message):
        adapted(IDS, use_cache=True)
    padded = torch.ones_like(IDS)
    padded[0, :2] = 0
    message = r"attention_mask must be None while .*without padding\), got a tensor of shape \(1, 1, 11, 11\)"
    with pytest.raises(ValueError, match=message):
        adapted(IDS, attention_mask=padded, use_cache=False)
    adapted.eval()(IDS, attention_mask=padded)


@pytest.mark.parametrize("training", [True, False])
@every_layer
def test_a_sequence_beyond_the_extended_context_is_refused(kind, training):
    adapter, _ = some_adapter(kind)
    adapter.is_training = training
    hidden, tables = inputs(kind, TARGET + 1)
    with pytest.raises(ValueError, match="sequence must fit extended_context_length = 16, got 17"):
        call(adapter, kind, hidden, tables)


def test_generation_beyond_the_extended_context_is_refused(stock_and_adapted):
    _, adapted = stock_and_adapted
    with pytest.raises(ValueError, match="sequence must fit extended_context_length = 16, got 17"):
        adapted.generate(IDS, max_new_tokens=TARGET - LENGTH + 2, do_sample=False, pad_token_id=0)


# The adapter of the same purpose in another ecosystem: tokens shift around a layer that looks at one token at a time.


def shifted_around(layer, x, group):
    """Shift the tokens inside every second group, apply `layer` to each token, shift them back."""
    groups = list(x.split(group, dim=1))
    rolled = [part.roll(-(group // 2), dims=1) if i % 2 else part for i, part in enumerate(groups)]
    out = layer(torch.cat(rolled, dim=1)).split(group, dim=1)
    return torch.cat([part.roll(group // 2, dims=1) if i % 2 else part for i, part in enumerate(out)], dim=1)


def test_shifting_around_a_layer_that_sees_one_token_is_exactly_nothing():
    linear = LoRALinear(nn.Linear(12, 12), 2, 2, generator=torch.Generator().manual_seed(0))
    shake(linear)
    hidden, _ = inputs("tiny", TARGET, dtype=torch.float32)
    torch.testing.assert_close(shifted_around(linear, hidden, GROUP), linear(hidden), rtol=0, atol=0)


def test_shifting_inside_attention_changes_what_is_computed():
    adapter, _ = some_adapter("tiny")
    hidden, tables = inputs("tiny", TARGET)
    with_shift = adapter.train()(hidden, tables)
    adapter.use_shifted_attention = False
    without = adapter(hidden, tables)
    changed = (with_shift - without).abs().amax(dim=(0, 2)) > 1e-3
    # Nothing comes before the first tokens, so groups leave out nothing that they saw.
    assert changed.tolist() == [False] * (GROUP // 2) + [True] * (TARGET - GROUP // 2)


@pytest.mark.parametrize("shift", [None, 0])
def test_only_a_shift_inside_attention_carries_news_over_the_border_of_a_group(shift):
    adapter, _ = some_adapter("tiny", attention_shift_size=shift)
    linear = shake(LoRALinear(nn.Linear(12, 12), 2, 2, generator=torch.Generator().manual_seed(0)).double())
    hidden, tables = inputs("tiny", TARGET)
    told = hidden.clone()
    told[:, GROUP - 1] += 1

    def who_hears(layer):
        return torch.nonzero((layer(told) - layer(hidden)).abs().amax(dim=(0, 2)) > 1e-6).flatten().tolist()

    assert who_hears(lambda x: shifted_around(linear, x, GROUP)) == [GROUP - 1]
    heard = who_hears(lambda x: adapter.train()(x, tables))
    assert heard == ([3, 4, 5] if shift is None else [3])


# What is refused.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank": 0}, "rank must be a positive integer, got 0"),
        ({"rank": 2.5}, "rank must be a positive integer, got 2.5"),
        ({"alpha": 0}, "alpha must be a number above 0, got 0"),
        ({"alpha": math.nan}, "alpha must be a number above 0, got nan"),
        ({"original_context_length": 0}, "original_context_length must be an integer, at least 1, got 0"),
        ({"original_context_length": 4.0}, "original_context_length must be an integer, at least 1, got 4.0"),
        ({"original_context_length": True}, "original_context_length must be an integer, at least 1, got True"),
        ({"extended_context_length": -8}, "extended_context_length must be an integer, at least 1, got -8"),
        ({"extended_context_length": None}, "extended_context_length must be an integer, at least 1, got None"),
        ({"extended_context_length": 4}, "extended_context_length must be above original_context_length = 4, got 4"),
        ({"extended_context_length": 3}, "extended_context_length must be above original_context_length = 4, got 3"),
        ({"attention_shift_size": 4}, "attention_shift_size must be below original_context_length = 4, got 4"),
        ({"attention_shift_size": -1}, "attention_shift_size must be an integer, at least 0, got -1"),
        ({"attention_shift_size": 1.5}, "attention_shift_size must be an integer, at least 0, got 1.5"),
    ],
)
def test_an_argument_out_of_range_is_refused(changes, message):
    layer = some_layer("tiny")
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        LongLoRAAdapter(layer, **REQUIRED | changes)
    assert [type(getattr(layer, name)) for name in PROJECTIONS] == [nn.Linear] * 4


class OddAttention(LlamaAttention):
    """An attention of the reader's own, which may compute anything."""


LAYERS_REFUSED = {
    "none": (lambda: None, "attention_layer must be an attention module, got None"),
    "a linear": (
        lambda: nn.Linear(4, 4),
        "attention_layer must have Linear projections q_proj, k_proj, v_proj, o_proj, "
        "got Linear without q_proj, k_proj, v_proj, o_proj",
    ),
    "no module": (lambda: "q_proj", "got str without q_proj"),
    "a whole layer": (lambda: tiny_model().model.layers[0], "got LlamaLayer without q_proj"),
    "an adapter": (
        lambda: LongLoRAAdapter(some_layer("tiny"), **REQUIRED),
        "got LongLoRAAdapter without q_proj, k_proj, v_proj, o_proj",
    ),
    "norms": (
        lambda: Qwen3Attention(hf_config(hf.Qwen3Config), 0),
        "attention_layer must be a TinyLlama's or one of transformers' LlamaAttention, .*, "
        "got Qwen3Attention, which also has q_norm, k_norm$",
    ),
    "of one's own": (lambda: OddAttention(tiny_config(2, 2)), "got OddAttention$"),
    "a window": (
        lambda: MistralAttention(hf_config(hf.MistralConfig, sliding_window=8), 0),
        "attention_layer must have no sliding window, got MistralAttention with one of 8 tokens",
    ),
    "a window in some layers": (
        lambda: Qwen2Attention(
            hf_config(hf.Qwen2Config, use_sliding_window=True, sliding_window=8, max_window_layers=0), 0
        ),
        "attention_layer must have no sliding window, got Qwen2Attention with one of 8 tokens",
    ),
    "no direction": (
        lambda: GemmaAttention(hf_config(hf.GemmaConfig, use_bidirectional_attention=True), 0),
        "attention_layer must be causal, got GemmaAttention, which is not",
    ),
}


@pytest.mark.parametrize("kind", LAYERS_REFUSED)
def test_a_layer_that_it_cannot_stand_in_for_is_refused(kind):
    make, message = LAYERS_REFUSED[kind]
    with pytest.raises(ValueError, match=message):
        LongLoRAAdapter(make(), **REQUIRED)


def test_a_layer_without_a_window_in_a_model_with_some_is_taken():
    kinds = ["full_attention", "sliding_attention"]
    config = hf_config(
        hf.Qwen2Config, use_sliding_window=True, sliding_window=8, layer_types=kinds, num_hidden_layers=2
    )
    LongLoRAAdapter(Qwen2Attention(config, 0), **REQUIRED)
    with pytest.raises(ValueError, match="sliding window"):
        LongLoRAAdapter(Qwen2Attention(config, 1), **REQUIRED)
