from __future__ import annotations

import copy
import gc
import inspect
import io
import json
import pickle
import weakref
from fractions import Fraction

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

transformers = pytest.importorskip("transformers")

from helpers import smollm2_file  # noqa: E402
from oracles import allowed_pairs  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from transformers.masking_utils import create_causal_mask  # noqa: E402

from longlora_edu.hf import sparse_attention as plug  # noqa: E402
from longlora_edu.hf import use_dense, use_s2  # noqa: E402

LENGTH, GROUP, VOCAB = 13, 4, 40
NO_WINDOW = {"sliding_window": None}
TINY = {
    "vocab_size": VOCAB, "hidden_size": 48, "intermediate_size": 32, "num_hidden_layers": 2, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2, "attn_implementation": "sdpa",
}  # fmt: skip
# Six query heads on three of keys and values: half of the heads ends inside a pair that shares its keys.
GROUPED = TINY | {"num_attention_heads": 6, "num_key_value_heads": 3}
FAMILIES = {
    "Llama": GROUPED,
    "Mistral": GROUPED | NO_WINDOW,
    "Qwen2": GROUPED,
    "Qwen3": GROUPED | {"head_dim": 8},
    "Phi3": GROUPED,
    "GPTNeoX": TINY | {"num_attention_heads": 6},
    "Olmo2": GROUPED,
    "Granite": GROUPED | {"attention_multiplier": 0.7},
    "SmolLM3": GROUPED,
    "Gemma": GROUPED | {"head_dim": 8},
    "Cohere": GROUPED,
    "Starcoder2": GROUPED | NO_WINDOW,
}


def tiny_model(family="Llama", **changes):
    """A random model whose attention is far from uniform, in float64 and in training mode."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**FAMILIES[family] | changes)
    return sharpened(transformers.AutoModelForCausalLM.from_config(config))


def sharpened(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model.double().train()


def some_ids(rows=2, length=LENGTH, seed=0):
    return torch.randint(3, VOCAB, (rows, length), generator=torch.Generator().manual_seed(seed))


def outputs_and_gradients(model, real=None, **inputs):
    """Logits at real tokens, and the gradient of something that no symmetry hides, of every weight."""
    model.zero_grad()
    logits = model(**inputs, use_cache=False).logits
    logits = logits[real] if real is not None else logits
    weights = torch.linspace(-1, 1, logits.numel()).reshape(logits.shape)
    (logits * weights).mean().backward()
    return logits.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def stock_eager(model, geometry, segments=None, real=None, **inputs):
    """The same from stock transformers, given a mask of its own for every head: nothing of ours runs."""
    model = copy.deepcopy(model)
    model.set_attn_implementation("eager")
    mask = torch.from_numpy(allowed_pairs(*geometry))[None]
    if segments is not None:
        mask = mask & (segments[:, :, None] == segments[:, None, :])[:, None]
    rows = inputs["input_ids"].shape[0]
    additive = torch.zeros(rows, *mask.shape[1:], dtype=model.dtype).masked_fill(~mask, torch.finfo(model.dtype).min)
    return outputs_and_gradients(model, real, attention_mask=additive, **inputs)


def assert_same(ours, theirs, **tolerance):
    # Eager attention computes its softmax in float32 whatever the model is in.
    tolerance = tolerance or {"rtol": 1e-6, "atol": 1e-6}
    torch.testing.assert_close(ours[0], theirs[0], **tolerance)
    assert ours[1].keys() == theirs[1].keys()
    for name, gradient in ours[1].items():
        torch.testing.assert_close(
            gradient, theirs[1][name], **tolerance, msg=lambda text, name=name: f"{name}: {text}"
        )


def largest_difference(a, b):
    return (a - b).abs().max().item()


def logits_of(model, ids, **inputs):
    with torch.no_grad():
        return model(ids, **inputs).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_training_equals_stock_eager_under_a_mask_of_each_head(family):
    model, ids = tiny_model(family), some_ids()
    expected = stock_eager(model, (LENGTH, GROUP, 6, 2, "split"), input_ids=ids)
    dense = logits_of(model, ids)
    report = use_s2(model, group_size=GROUP)
    assert (report.model, report.layers, report.before, report.after) == (type(model).__name__, 2, "sdpa", "s2_attn")
    ours = outputs_and_gradients(model, input_ids=ids)
    assert_same(ours, expected)
    assert largest_difference(ours[0], dense) > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_evaluation_is_stock_sdpa_to_the_bit(family):
    model, ids = tiny_model(family).eval(), some_ids()
    mask = torch.ones_like(ids)
    mask[0, :5] = 0
    expected = [logits_of(model, ids), logits_of(model, ids, attention_mask=mask)]
    use_s2(model, group_size=GROUP)
    found = [logits_of(model, ids), logits_of(model, ids, attention_mask=mask)]
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("heads", "kv_heads", "settings", "length", "geometry"),
    [
        (3, 1, {"group_size": 4}, 13, (13, 4, 3, 2, "split")),
        (9, 3, {"group_size": 5}, 13, (13, 5, 9, 2, "split")),
        (1, 1, {"group_size": 4}, 13, (13, 4, 1, 2, "split")),
        (6, 6, {"group_size": 4, "shift": 1}, 13, (13, 4, 6, 1, "split")),
        (6, 2, {"group_size": 4, "shift": 0}, 12, (12, 4, 6, 0, "split")),
        (6, 3, {"group_size": 40}, 13, (13, 40, 6, 20, "split")),
        (6, 3, {"group_size": 1}, 5, (5, 1, 6, 0, "split")),
        (6, 3, {"group_size": 4}, 1, (1, 4, 6, 2, "split")),
        (6, 3, {"group_size": 4, "boundary": "wrap"}, 12, (12, 4, 6, 2, "wrap")),
        (6, 3, {"group_size": 4, "boundary": "masked", "shift": 3}, 12, (12, 4, 6, 3, "masked")),
        (6, 3, {"group_ratio": 1 / 4}, 13, (13, 4, 6, 2, "split")),
        (6, 3, {"group_ratio": Fraction(1, 2), "shift": 1}, 13, (13, 7, 6, 1, "split")),
    ],
)
def test_heads_groups_shifts_and_boundaries_are_those_asked_for(heads, kv_heads, settings, length, geometry):
    model = tiny_model(num_attention_heads=heads, num_key_value_heads=kv_heads, hidden_size=8 * heads)
    ids = some_ids(length=length)
    expected = stock_eager(model, geometry, input_ids=ids)
    use_s2(model, **settings)
    assert_same(outputs_and_gradients(model, input_ids=ids), expected)


def test_padding_on_either_side_is_neither_read_nor_written():
    model, ids = tiny_model(), some_ids(rows=3)
    real = torch.ones_like(ids, dtype=torch.bool)
    real[0, :5], real[1, 9:] = False, False
    positions = (real.cumsum(1) - 1).clamp(min=0)
    segments = torch.where(real, 0, -1)
    inputs = {"input_ids": ids, "position_ids": positions}
    expected = stock_eager(model, (LENGTH, GROUP, 6, 2, "split"), segments, real, **inputs)
    use_s2(model, group_size=GROUP)
    assert_same(outputs_and_gradients(model, real, attention_mask=real.long(), **inputs), expected)
    changed = inputs | {"input_ids": ids.masked_fill(~real, 7)}
    torch.testing.assert_close(
        logits_of(model, changed["input_ids"], attention_mask=real.long(), position_ids=positions)[real],
        expected[0], rtol=1e-6, atol=1e-6,
    )  # fmt: skip


def test_packed_documents_are_read_from_the_positions_when_there_is_no_mask():
    model, ids = tiny_model(), some_ids()
    positions = torch.tensor([[*range(5), *range(1), *range(7)], [*range(13)]])
    segments = torch.tensor([[0] * 5 + [1] + [2] * 7, [0] * 13])
    inputs = {"input_ids": ids, "position_ids": positions}
    expected = stock_eager(model, (LENGTH, GROUP, 6, 2, "split"), segments, **inputs)
    dense = stock_eager(model, (LENGTH, LENGTH, 6, 0, "split"), segments, **inputs)
    torch.testing.assert_close(
        logits_of(model, ids, position_ids=positions, use_cache=False), dense[0], rtol=1e-6, atol=1e-6
    )
    use_s2(model, group_size=GROUP)
    assert_same(outputs_and_gradients(model, **inputs), expected)


def test_the_scale_of_the_module_is_kept():
    model, ids = tiny_model(), some_ids()
    for layer in model.model.layers:
        layer.self_attn.scaling = 0.9
    expected = stock_eager(model, (LENGTH, GROUP, 6, 2, "split"), input_ids=ids)
    use_s2(model, group_size=GROUP)
    assert_same(outputs_and_gradients(model, input_ids=ids), expected)


def test_attention_dropout_is_applied_in_training_and_nowhere_else():
    model, ids = tiny_model(attention_dropout=0.3), some_ids()
    torch.manual_seed(1)
    expected = stock_eager(model, (LENGTH, GROUP, 6, 2, "split"), input_ids=ids)
    use_s2(model, group_size=GROUP, when="always")
    torch.manual_seed(1)
    assert_same(outputs_and_gradients(model, input_ids=ids), expected)
    model.eval()
    torch.testing.assert_close(logits_of(model, ids), logits_of(model, ids), rtol=0, atol=0)
    assert largest_difference(logits_of(model, ids), expected[0]) > 1e-3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_is_about_as_close_as_eager_attention_in_it(dtype, autocast):
    model, ids = tiny_model(), some_ids()
    geometry = (LENGTH, GROUP, 6, 2, "split")
    exact = stock_eager(model, geometry, input_ids=ids)[0]
    model.float() if autocast else model.to(dtype)
    with torch.autocast("cpu", dtype, enabled=autocast):
        naive = stock_eager(model, geometry, input_ids=ids)[0]
        use_s2(model, group_size=GROUP)
        ours, gradients = outputs_and_gradients(model, input_ids=ids)
    assert ours.dtype == dtype
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert largest_difference(ours, exact) <= 2 * largest_difference(naive, exact)


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_changes_nothing(reentrant):
    model, ids = tiny_model(), some_ids()
    mask = torch.ones_like(ids)
    mask[1, :3] = 0
    use_s2(model, group_size=GROUP)
    expected = outputs_and_gradients(model, input_ids=ids, attention_mask=mask)
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": reentrant})
    model.enable_input_require_grads()
    assert_same(outputs_and_gradients(model, input_ids=ids, attention_mask=mask), expected, rtol=1e-12, atol=1e-12)


def test_a_model_compiles_as_one_graph_in_both_modes():
    model, ids = tiny_model(num_hidden_layers=1), some_ids()
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    use_s2(model, group_size=GROUP)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    for train, inputs in [(True, {}), (True, {"attention_mask": mask}), (False, {"attention_mask": mask})]:
        model.train(train)
        found, expected = (logits_of(run, ids, use_cache=False, **inputs)[mask.bool()] for run in (compiled, model))
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_steps_of_a_compiled_model_are_compiled_once():
    model = tiny_model(num_hidden_layers=1).train()
    use_s2(model, group_size=GROUP)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    losses = []
    for step in range(4):
        with torch._dynamo.config.patch(error_on_recompile=step > 0):
            loss = compiled(some_ids(), use_cache=False).logits.square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert len(set(losses)) == 4
    use_s2(model, group_size=GROUP + 1)
    with torch._dynamo.config.patch(error_on_recompile=True), pytest.raises(Exception, match="[Rr]ecompil"):
        compiled(some_ids(), use_cache=False)


class Sizes(TorchDispatchMode):
    """The number of elements of the largest tensor that any operation makes."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **kwargs or {})
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.numel())
        return out


@pytest.mark.parametrize("inputs", ["plain", "padded", "packed"])
def test_training_makes_no_tensor_of_length_squared(inputs):
    length = 96
    model, ids = tiny_model(num_hidden_layers=1), some_ids(rows=1, length=length)
    given = {"use_cache": False}
    if inputs == "padded":
        given["attention_mask"] = torch.arange(length)[None] >= 5
    if inputs == "packed":
        given["position_ids"] = torch.arange(length)[None] % 32

    def largest():
        with Sizes() as sizes:
            model(ids, **given).logits.sum().backward()
        return sizes.largest

    if inputs != "plain":
        assert largest() >= length**2  # stock sdpa does
    use_s2(model, group_size=8)
    assert largest() < length**2


@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_generation_with_a_cache_is_stock_sdpa_to_the_bit(cache):
    model, ids = tiny_model().eval(), some_ids()
    mask = torch.ones_like(ids)
    mask[0, :5] = 0
    wanted = {
        "attention_mask": mask, "max_new_tokens": 6, "do_sample": False, "cache_implementation": cache,
        "output_logits": True, "return_dict_in_generate": True, "disable_compile": True, "eos_token_id": None,
    }  # fmt: skip
    expected = model.generate(ids, **wanted)
    use_s2(model, group_size=GROUP)
    found = model.generate(ids, **wanted)
    assert found.sequences.tolist() == expected.sequences.tolist()
    torch.testing.assert_close(found.logits, expected.logits, rtol=0, atol=0)


def test_always_is_s2_in_evaluation_and_decodes_without_a_cache_only():
    model, ids = tiny_model(), some_ids()
    expected = stock_eager(model, (LENGTH, GROUP, 6, 2, "split"), input_ids=ids)[0]
    use_s2(model, group_size=GROUP, when="always")
    model.eval()
    torch.testing.assert_close(logits_of(model, ids), expected, rtol=1e-6, atol=1e-6)
    found = model.generate(ids, max_new_tokens=3, do_sample=False, use_cache=False, eos_token_id=None)
    assert found[:, LENGTH].tolist() == expected[:, -1].argmax(-1).tolist()
    with pytest.raises(ValueError, match=r"queries must be as many as keys .* got 1 and 14.*use_cache=False"):
        model.generate(ids, max_new_tokens=3, do_sample=False, eos_token_id=None)


def test_never_is_stock_sdpa_in_training():
    model, ids = tiny_model(), some_ids()
    expected = outputs_and_gradients(model, input_ids=ids)
    use_s2(model, group_size=GROUP, when="never")
    assert_same(outputs_and_gradients(model, input_ids=ids), expected, rtol=0, atol=0)


def test_use_dense_restores_what_the_model_had():
    model, ids = tiny_model(attn_implementation="eager"), some_ids()
    config, names, text = model.config.to_dict(), list(model.state_dict()), repr(model)
    expected = outputs_and_gradients(model, input_ids=ids)
    assert use_s2(model, group_size=GROUP).before == "eager"
    assert list(model.state_dict()) == names
    report = use_dense(model)
    assert (report.before, report.after, report.settings) == ("s2_attn", "eager", None)
    assert (model.config._attn_implementation, model.config.to_dict(), repr(model)) == ("eager", config, text)
    assert_same(outputs_and_gradients(model, input_ids=ids), expected, rtol=0, atol=0)
    assert model(ids, output_attentions=True).attentions[0].shape == (2, 6, LENGTH, LENGTH)
    with pytest.raises(ValueError, match="model must be under use_s2, got attention 'eager'"):
        use_dense(model)


def test_a_second_call_replaces_the_settings_of_the_first():
    model, ids = tiny_model(), some_ids()
    expected = stock_eager(model, (LENGTH, 6, 6, 3, "split"), input_ids=ids)
    use_s2(model, group_size=GROUP)
    assert use_s2(model, group_size=6).before == "sdpa"
    assert_same(outputs_and_gradients(model, input_ids=ids), expected)
    model.set_attn_implementation("eager")
    assert use_s2(model, group_size=6).before == "eager"
    assert use_dense(model).after == "eager"


def test_models_of_one_config_live_side_by_side():
    shared = transformers.LlamaConfig(**GROUPED)
    first, second, third = (sharpened(transformers.LlamaForCausalLM(shared)) for _ in range(3))
    assert first.config is second.config
    ids = some_ids()
    stock = [outputs_and_gradients(model, input_ids=ids) for model in (first, second, third)]
    expected = [
        stock_eager(first, (LENGTH, 4, 6, 2, "split"), input_ids=ids),
        stock_eager(second, (LENGTH, 6, 6, 1, "split"), input_ids=ids),
    ]
    use_s2(first, group_size=4)
    use_s2(second, group_size=6, shift=1)
    third.eval()
    assert_same(outputs_and_gradients(first, input_ids=ids), expected[0])
    assert_same(outputs_and_gradients(second, input_ids=ids), expected[1])
    first.eval()  # each has its own mode, too
    assert_same(outputs_and_gradients(first, input_ids=ids), stock[0], rtol=0, atol=0)
    assert_same(outputs_and_gradients(second, input_ids=ids), expected[1])
    assert_same(outputs_and_gradients(third, input_ids=ids), stock[2], rtol=0, atol=0)
    assert shared._attn_implementation == "sdpa"


@pytest.mark.parametrize("how", ["deepcopy", "pickle", "torch.save"])
def test_copies_keep_the_settings_and_have_a_mode_of_their_own(how):
    model, ids = tiny_model(), some_ids()
    use_s2(model, group_size=GROUP)
    expected = outputs_and_gradients(model, input_ids=ids)
    file = io.BytesIO()
    if how == "deepcopy":
        twin = copy.deepcopy(model)
    elif how == "pickle":
        twin = pickle.loads(pickle.dumps(model))
    else:
        torch.save(model, file)
        twin = torch.load(io.BytesIO(file.getvalue()), weights_only=False)
    model.eval()
    assert_same(outputs_and_gradients(twin, input_ids=ids), expected, rtol=0, atol=0)
    use_dense(model)
    assert_same(outputs_and_gradients(twin, input_ids=ids), expected, rtol=0, atol=0)
    assert use_dense(twin).after == "sdpa"
    assert twin(ids, output_attentions=True).logits.shape == (2, LENGTH, VOCAB)


@pytest.mark.parametrize("take", [copy.deepcopy, lambda config: config], ids=["copied", "shared"])
def test_a_model_built_from_the_config_of_another_is_refused_until_it_is_told(take):
    model, ids = tiny_model(), some_ids()
    use_s2(model, group_size=GROUP)
    other = transformers.LlamaForCausalLM(take(model.config))
    for train in (True, False):
        with pytest.raises(ValueError, match="a model must have its own use_s2, got one whose config .* was taken"):
            other.train(train)(ids)
    assert use_s2(other, group_size=GROUP).before == "sdpa"
    other(ids)
    use_dense(other)
    assert model.config._attn_implementation == "s2_attn"


def test_saved_models_are_stock(tmp_path):
    model, ids = tiny_model(), some_ids()
    stock = model.config.to_dict()
    use_s2(model, group_size=GROUP)
    model.save_pretrained(tmp_path)
    text = (tmp_path / "config.json").read_text(encoding="utf-8")
    assert "s2" not in text
    assert "attn_implementation" not in text
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.config._attn_implementation == "sdpa"
    assert json.loads(text)["architectures"] == ["LlamaForCausalLM"]
    assert loaded.config.to_dict().keys() == stock.keys()
    # Not to the bit: loaded weights lie elsewhere in memory, and sums are cut accordingly.
    torch.testing.assert_close(logits_of(loaded.eval(), ids), logits_of(model.eval(), ids), rtol=1e-12, atol=1e-12)


def test_nothing_keeps_a_model_alive():
    gc.collect()
    before = len(plug._SWITCHES)
    model = tiny_model()
    use_s2(model, group_size=GROUP)
    twin = copy.deepcopy(model)
    assert len(plug._SWITCHES) == before + 2
    gone = weakref.ref(model), weakref.ref(model.config), weakref.ref(twin)
    del model, twin
    gc.collect()
    assert [reference() for reference in gone] == [None] * 3
    assert len(plug._SWITCHES) == before


def test_a_peft_model_is_switched_through_its_wrapper():
    model, ids = tiny_model(), some_ids()
    expected = stock_eager(model, (LENGTH, GROUP, 6, 2, "split"), input_ids=ids)[0]
    wrapped = get_peft_model(model, LoraConfig(target_modules=["q_proj", "v_proj"])).train()
    assert use_s2(wrapped, group_size=GROUP).model == "LlamaForCausalLM"
    torch.testing.assert_close(logits_of(wrapped, ids), expected, rtol=1e-6, atol=1e-6)
    assert use_dense(wrapped).after == "sdpa"


def test_a_training_step_with_the_defaults_of_transformers_is_accepted():
    model, ids = tiny_model(), some_ids()
    use_s2(model, group_size=GROUP)
    loss = model(
        ids, labels=ids, attention_mask=torch.ones_like(ids), num_items_in_batch=torch.tensor(20),
        output_hidden_states=True, output_attentions=False, is_causal=True, sliding_window=None,
    ).loss  # fmt: skip
    loss.backward()
    assert loss.isfinite()


class NotOnSdpa(transformers.LlamaForCausalLM):
    _supports_sdpa = False


def vision_model(**changes):
    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**tower, image_size=8, patch_size=4),
        text_config=transformers.LlamaConfig(**GROUPED),
    )
    return transformers.LlavaForConditionalGeneration(config)


def of_family(model_class, config_class, **settings):
    def build():
        return getattr(transformers, model_class)(getattr(transformers, config_class)(**settings))

    return build


T5 = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2, "vocab_size": VOCAB}
EAGER = GROUPED | {"attn_implementation": "eager"}
SMALL = {"hidden_size": 16, "num_hidden_layers": 1}


# What the lowest version of transformers that we allow says of a model that later ones dispatch.
UNDISPATCHED = "must dispatch attention through transformers' AttentionInterface"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (of_family("BertModel", "BertConfig", **TINY, num_attention_heads=6), "not causal: .'BertSelfAttention'"),
        (of_family("T5ForConditionalGeneration", "T5Config", **T5), f"an encoder and a decoder|{UNDISPATCHED}"),
        (of_family("T5EncoderModel", "T5Config", **T5), f"not causal: .'T5Attention'|{UNDISPATCHED}"),
        (
            of_family("GPT2LMHeadModel", "GPT2Config", n_embd=16, n_layer=1, n_head=2, add_cross_attention=True),
            "cross-attention",
        ),
        (of_family("MistralForCausalLM", "MistralConfig", **GROUPED), r"sliding_window .*set it to None\): 4096"),
        (
            of_family("Qwen2ForCausalLM", "Qwen2Config", **GROUPED, use_sliding_window=True, max_window_layers=1),
            "layer_types: .'sliding_attention'",
        ),
        (of_family("Gemma2ForCausalLM", "Gemma2Config", **EAGER, head_dim=8), "soft-capped logits.*: 50"),
        (
            of_family("GptOssForCausalLM", "GptOssConfig", **EAGER, head_dim=8, num_local_experts=2),
            "attention sinks: .'model.layers.0.self_attn.sinks'",
        ),
        (
            of_family("LlamaForCausalLM", "LlamaConfig", **EAGER, output_attentions=True),
            "output_attentions: True",
        ),
        (vision_model, r"parts with configs of their own .*: (?=.*'vision_config').*'text_config'"),
        (of_family("MambaForCausalLM", "MambaConfig", **SMALL), "must dispatch attention"),
        (of_family("FalconForCausalLM", "FalconConfig", **SMALL, num_attention_heads=2), "must dispatch"),
        (lambda: NotOnSdpa(transformers.LlamaConfig(**EAGER)), "must support stock sdpa"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_model_with_anything_that_would_be_ignored_is_refused(build, message):
    model = build()
    config = model.config
    before = config._attn_implementation
    with pytest.raises(ValueError, match=message):
        use_s2(model, group_size=GROUP)
    assert model.config is config
    assert config._attn_implementation == before


def test_the_text_decoder_of_a_vision_model_can_be_switched():
    model, ids = sharpened(vision_model()), some_ids()
    dense = logits_of(model, ids)
    assert use_s2(model.model.language_model, group_size=GROUP).layers == 2
    assert model.config._attn_implementation == model.model.vision_tower.config._attn_implementation == "sdpa"
    assert largest_difference(logits_of(model, ids), dense) > 1e-3
    torch.testing.assert_close(logits_of(model.eval(), ids), dense, rtol=0, atol=0)


def four_axes():
    return torch.ones(2, 1, LENGTH, LENGTH, dtype=torch.bool).tril()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"attention_mask": four_axes()}, r"attention_mask must be given to the model as \(b n\).*bool with 4 axes"),
        ({"attention_mask": four_axes().double()}, r"attention_mask must be .* got torch.float64 with 4 axes"),
        (
            {"attention_mask": torch.ones(2, LENGTH + 2)},
            r"attention_mask must be .* got \(2, 15\) and \(2, 13\)",
        ),
        ({"output_attentions": True}, "output_attentions must be off under use_s2"),
        ({"is_causal": False}, "the mask must be causal, .* got bidirectional_mask_function"),
        ({"sliding_window": 4}, "sliding_window must be off under S²-Attn, which would ignore a sliding window, got 4"),
        ({"softcap": 30.0}, "softcap must be off .* soft-capped logits, got 30.0"),
        ({"s_aux": torch.zeros(6)}, r"s_aux must be off .* attention sinks, got a tensor of shape \(6,\)"),
        ({"position_bias": torch.zeros(1)}, "position_bias must be off .* a bias of the scores"),
        ({"cache": "paged"}, "cache must be off .* a paged cache"),
        ({"cu_seq_lens_q": torch.tensor([0, 13])}, r"cu_seq_lens_q must come with position_ids \(b n\) under S²-Attn"),
        ({"unheard_of": 0}, "unheard_of must be off .* a keyword argument that it does not know, got 0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_inputs_that_would_be_ignored_are_refused(inputs, message):
    model = tiny_model(num_hidden_layers=1)
    use_s2(model, group_size=GROUP)
    with pytest.raises(ValueError, match=message):
        model(some_ids(), **inputs)


def test_a_layer_that_asks_for_attention_that_is_not_causal_is_refused():
    model = tiny_model(num_hidden_layers=1)
    use_s2(model, group_size=GROUP)
    qkv = torch.zeros(3, 2, 6, LENGTH, 8, dtype=torch.float64)
    with pytest.raises(ValueError, match="is_causal must be True under S²-Attn, got False"):
        plug.s2_attention_forward(model.model.layers[0].self_attn, *qkv, None, is_causal=False)


def test_attention_weights_are_refused_by_families_that_do_not_hand_the_wish_on():
    config = transformers.GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=VOCAB)
    model = transformers.GPT2LMHeadModel(config)
    use_s2(model, group_size=GROUP)
    for run in (model, copy.deepcopy(model).eval()):
        with pytest.raises(ValueError, match="output_attentions must be off"):
            run(some_ids(), output_attentions=True)


def test_decoding_in_training_mode_is_refused():
    model, ids = tiny_model(), some_ids()
    use_s2(model, group_size=GROUP)
    cache = model(ids).past_key_values
    with pytest.raises(ValueError, match=r"queries must be as many as keys .* got 1 and 14.*call eval\(\)"):
        model(ids[:, :1], past_key_values=cache)


def test_a_layer_in_another_mode_than_its_model_is_refused():
    model = tiny_model()
    use_s2(model, group_size=GROUP)
    model.model.layers[1].eval()
    with pytest.raises(ValueError, match="a layer must be in the mode of its model .* training=True and False"):
        model(some_ids())


def test_masks_other_than_causal_ones_are_refused():
    model = tiny_model()
    use_s2(model, group_size=GROUP)
    given = {"inputs_embeds": torch.zeros(2, LENGTH, 48), "attention_mask": None, "past_key_values": None}

    def first_token_too(batch, head, query, key):
        return key == 0

    with pytest.raises(ValueError, match="the mask must be causal, with padding and packing at most"):
        create_causal_mask(model.config, **given, or_mask_function=first_token_too)
    if "block_sequence_ids" in inspect.signature(create_causal_mask).parameters:  # later than the lowest version
        with pytest.raises(ValueError, match="the mask must be causal"):
            create_causal_mask(model.config, **given, block_sequence_ids=torch.zeros(2, LENGTH, dtype=torch.long))
    model.config.sliding_window = 4
    with pytest.raises(ValueError, match="the mask must be causal"):
        transformers.masking_utils.create_sliding_window_causal_mask(model.config, **given)
    model.config.is_causal = False
    with pytest.raises(ValueError, match="the mask must be causal"):
        create_causal_mask(model.config, **given)
    assert use_dense(model).after == "sdpa"  # whatever its config has become


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "exactly one of group_size and group_ratio must be given, got None and None"),
        ({"group_size": 4, "group_ratio": 0.25}, "exactly one of .* got 4 and 0.25"),
        ({"group_size": 0}, "group_size must be positive, got 0"),
        ({"group_size": 4, "shift": 4}, "shift must be from 0 to group_size - 1 = 3, got 4"),
        ({"group_ratio": 1.5}, "ratio must be a number above 0 and at most 1, got 1.5"),
        ({"group_ratio": 0.25, "shift": -1}, "shift must be from 0 .* got -1"),
        ({"group_ratio": 0.25, "shift": 1.5}, "shift must be an integer, got 1.5"),
        ({"group_ratio": 0.25, "boundary": "open"}, "boundary must be one of split, wrap, masked, got 'open'"),
        ({"group_size": 4, "when": "sometimes"}, "when must be one of training, always, never, got 'sometimes'"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    model = tiny_model()
    with pytest.raises(ValueError, match=message):
        use_s2(model, **settings)
    assert model.config._attn_implementation == "sdpa"


def test_what_holds_no_transformers_model_is_refused():
    with pytest.raises(ValueError, match="model must be, or hold, a transformers PreTrainedModel, got Linear"):
        use_s2(torch.nn.Linear(2, 2), group_size=GROUP)
    with pytest.raises(ValueError, match="got str"):
        use_dense("HuggingFaceTB/SmolLM2-135M")


def test_a_length_that_a_boundary_cannot_take_is_refused_when_it_comes():
    model = tiny_model()
    use_s2(model, group_size=GROUP, boundary="wrap")
    with pytest.raises(ValueError, match="seq_len must be a multiple of group_size .* got 13 and 4"):
        model(some_ids())


@pytest.fixture(scope="module")
def real_model():
    """SmolLM2-135M: 9 query heads on 3 of keys and values, so that the fifth head is shifted inside a shared group."""
    file = smollm2_file()
    return transformers.AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)


@pytest.mark.slow
def test_the_real_135m_model_equals_stock_eager_in_training_and_sdpa_in_evaluation(real_model):
    ids = torch.randint(49152, (1, 130), generator=torch.Generator().manual_seed(0))
    real_model.eval()
    dense = logits_of(real_model, ids)
    expected = stock_eager(real_model.train(), (130, 40, 9, 20, "split"), input_ids=ids)
    use_s2(real_model, group_size=40)
    ours = outputs_and_gradients(real_model, input_ids=ids)
    scale = expected[0].abs().max().item()
    # Thirty layers in float32 leave a few parts in 100,000; a mask that is wrong anywhere, more than one in 100.
    torch.testing.assert_close(ours[0], expected[0], rtol=0, atol=1e-4 * scale)
    # By length, not by element: roundings move one weight of 576 by 1e-3 of the largest, the whole by 1e-4 (measured).
    # A shift that is off by one token moves every tensor's gradient by more than four tenths of its length.
    for name, gradient in ours[1].items():
        assert (gradient - expected[1][name]).norm() < 1e-2 * expected[1][name].norm(), name
    assert largest_difference(ours[0], dense) > 0.01 * scale
    torch.testing.assert_close(logits_of(real_model.eval(), ids), dense, rtol=0, atol=0)
