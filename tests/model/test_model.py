from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import oracles
import pytest
import torch
import transformers
from safetensors.torch import load_file, save, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from longlora_edu.geometry import S2Pattern
from longlora_edu.model import (
    TOKENIZER_FILES,
    LlamaConfig,
    TinyLlama,
    bundled_config,
    bundled_model,
    load_tiny_llama,
    rotate,
    rotation_tables,
    save_tiny_llama,
)
from longlora_edu.rope import Rope

TRAINED = 16
ROPES = {
    "default": Rope(8, 100.0, trained_length=TRAINED),
    "linear": Rope(8, 100.0, "linear", 4, TRAINED),
    "ntk": Rope(8, 100.0, "ntk", 4, TRAINED),
    "dynamic": Rope(8, 100.0, "dynamic", 4, TRAINED),
    "yarn": Rope(8, 100.0, "yarn", 4, TRAINED),
}
SHAPES = {
    "plain": {},
    "gqa": {"num_key_value_heads": 2},
    "tied": {"tie_word_embeddings": True},
    "wide heads": {"hidden_size": 20, "num_key_value_heads": 1},
}
# Both sides compute in float64 but for the angles and, in transformers, the norms, which stay in float32. Logits
# are of order 1, so that leaves 1e-6; a wrong frequency or a head read in another order moves them by 0.01 or more.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def some_config(method="default", **changes):
    rope = ROPES[method]
    length = TRAINED if method == "dynamic" else round(TRAINED * rope.factor)
    fields = {"hidden_size": 32, "intermediate_size": 24, "num_hidden_layers": 2, "max_position_embeddings": length}
    return LlamaConfig(rope, **fields | changes)


def some_model(method="default", seed=0, **changes):
    """In evaluation mode, with weights large enough that attention is sharp and logits are of order 1."""
    generator = torch.Generator().manual_seed(seed)
    model = TinyLlama(some_config(method, **changes), generator=generator)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=parameter.shape[1] ** -0.5, generator=generator)
            else:
                parameter.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


def some_ids(length, batch=2, seed=0):
    return torch.randint(256, (batch, length), generator=torch.Generator().manual_seed(seed))


def transformers_model(model, **options):
    """The same weights in transformers' own class, without a file in between."""
    theirs = LlamaForCausalLM._from_config(transformers.LlamaConfig(**model.config.as_json()), **options)
    theirs.load_state_dict(model.state_dict())
    return theirs.eval()


@torch.no_grad()
def logits_of(model, ids, **options):
    out = model(ids, **options)
    return out if isinstance(out, torch.Tensor) else out.logits


def assert_same_weights(model, other):
    torch.testing.assert_close(dict(model.state_dict()), dict(other.state_dict()), rtol=0, atol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_state_dict_is_that_of_transformers(shape):
    ours = some_model(**SHAPES[shape])
    theirs = LlamaForCausalLM(transformers.LlamaConfig(**ours.config.as_json())).state_dict()
    assert {name: tensor.shape for name, tensor in ours.state_dict().items()} == {
        name: tensor.shape for name, tensor in theirs.items()
    }


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", ROPES)
def test_logits_are_those_of_transformers(method, shape):
    model = some_model(method, **SHAPES[shape])
    ids = some_ids(4 * TRAINED if method != "default" else TRAINED)
    ours, theirs = logits_of(model.double(), ids), logits_of(transformers_model(model).double(), ids)
    assert 0.3 < ours.std() < 3
    torch.testing.assert_close(ours, theirs, **CLOSE)


def test_dynamic_logits_are_those_of_transformers_at_every_length():
    model = some_model("dynamic")
    for length in (TRAINED // 2, TRAINED, TRAINED + 1, 40, 64):
        ids = some_ids(length)
        # A fresh one each time: theirs remembers the longest input it has seen.
        theirs = logits_of(transformers_model(model).double(), ids)
        torch.testing.assert_close(logits_of(model.double(), ids), theirs, **CLOSE)


def test_every_rope_method_gives_other_logits():
    state, ids = some_model().state_dict(), some_ids(64)
    outputs = []
    for method in ROPES:
        model = some_model(method)
        model.load_state_dict(state)
        outputs.append(logits_of(model, ids, beyond_context=True))
    for i, first in enumerate(outputs):
        for second in outputs[:i]:
            assert (first - second).abs().max() > 0.01


def test_rotation_keeps_lengths_and_depends_on_distance_only():
    cos, sin = rotation_tables(Rope(8, 100.0), 12, torch.device("cpu"))
    q, k = torch.randn(2, 1, 1, 1, 8, generator=torch.Generator().manual_seed(0)).expand(2, 1, 1, 12, 8)
    q, k = rotate(q, cos, sin), rotate(k, cos, sin)
    torch.testing.assert_close(q.norm(dim=-1), q.norm(dim=-1)[..., :1].expand(1, 1, 12))
    scores = (q @ k.mT)[0, 0]
    for distance in range(12):
        diagonal = scores.diagonal(-distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand(12 - distance))
    assert scores[:, 0].std() > 0.01


def test_rotation_keeps_the_dtype_of_its_input():
    cos, sin = rotation_tables(Rope(8, 100.0), 3, torch.device("cpu"))
    assert rotate(torch.ones(1, 1, 3, 8, dtype=torch.bfloat16), cos, sin).dtype == torch.bfloat16


@pytest.mark.parametrize("last", [1, 5, TRAINED])
def test_the_last_logits_are_the_last_of_all(last):
    model, ids = some_model(), some_ids(TRAINED)
    segments = torch.arange(TRAINED).expand(2, -1) // 7
    for options in ({}, {"segments": segments}):
        alone, whole = logits_of(model, ids, last=last, **options), logits_of(model, ids, **options)
        torch.testing.assert_close(alone, whole[:, -last:])
    sparse(model).train()
    torch.testing.assert_close(model(ids, last=last), model(ids)[:, -last:])


@pytest.mark.parametrize("method", ["default", "linear", "ntk", "yarn"])
def test_tokens_read_in_pieces_give_the_logits_of_the_whole(method):
    model, ids = some_model(method), some_ids(TRAINED)
    whole = logits_of(model, ids)
    sparse(model).train()  # keeping is for writing, and dense in any mode
    kept = [[] for _ in model.attention_layers]
    pieces = [model(part, kept=kept) for part in ids.split([5, 1, 1, TRAINED - 7], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole)
    keys, values = kept[-1]
    assert keys.shape[2] == values.shape[2] == TRAINED
    assert model(ids[:, :1], last=1, kept=kept, beyond_context=True).shape[1] == 1


def test_kept_keys_are_refused_where_they_cannot_be_right():
    model, ids = some_model(), some_ids(TRAINED)
    layers = len(model.attention_layers)
    with pytest.raises(ValueError, match=f"kept must be {layers} lists, one a layer, and goes without segments, got 1"):
        model(ids, kept=[[]])
    with pytest.raises(ValueError, match="goes without segments, got .* and segments"):
        model(ids, kept=[[] for _ in range(layers)], segments=torch.zeros_like(ids))
    with pytest.raises(ValueError, match="angles that do not change with the length, got positions by 'dynamic'"):
        some_model("dynamic")(ids, kept=[[] for _ in range(layers)])
    kept = [[] for _ in range(layers)]
    model(ids, kept=kept)
    with pytest.raises(ValueError, match=f"must fit the context of {TRAINED} tokens, got {TRAINED + 1}"):
        model(ids[:, :1], kept=kept)


def test_bytes_may_come_as_bytes():
    model, ids = some_model(), some_ids(TRAINED)
    torch.testing.assert_close(logits_of(model, ids.to(torch.uint8)), logits_of(model, ids), rtol=0, atol=0)


def test_fresh_weights_follow_the_generator():
    first, again, other = (
        TinyLlama(some_config(), generator=torch.Generator().manual_seed(seed)).state_dict() for seed in (0, 0, 1)
    )
    torch.testing.assert_close(dict(first), dict(again), rtol=0, atol=0)
    assert all((first[name] != other[name]).any() for name in first if "norm" not in name)


def test_fresh_weights_are_small_and_smaller_where_layers_add_up():
    model = TinyLlama(some_config(num_hidden_layers=8), generator=torch.Generator().manual_seed(0))
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2:
            adds = name.endswith(("o_proj.weight", "down_proj.weight"))
            # 0.02 / sqrt(2 * 8); a deviation of 700 numbers or more is known to 3 %.
            np.testing.assert_allclose(parameter.std().item(), 0.005 if adds else 0.02, rtol=0.15, err_msg=name)


def test_fresh_weights_predict_nothing():
    logits = logits_of(TinyLlama(some_config(), generator=torch.Generator().manual_seed(0)), some_ids(TRAINED))
    np.testing.assert_allclose(logits.softmax(-1).max(), 1 / 256, rtol=1)


# S²-Attn: in training only.


def sparse(model, boundary="split", group_size=4, shift=None):
    for attention in model.attention_layers:
        attention.sparse = S2Pattern(group_size, shift, boundary)
    return model


@pytest.mark.parametrize("boundary", ["split", "wrap", "masked"])
@pytest.mark.parametrize("shape", ["plain", "gqa"])
def test_training_is_transformers_under_a_mask_by_head(boundary, shape):
    model = sparse(some_model(**SHAPES[shape]).double(), boundary)
    ids = some_ids(TRAINED)
    mask = torch.from_numpy(oracles.allowed_pairs(TRAINED, 4, 4, 2, boundary)).expand(2, -1, -1, -1)
    added = torch.zeros(mask.shape, dtype=torch.float64).masked_fill(~mask, torch.finfo(torch.float64).min)
    theirs = transformers_model(model, attn_implementation="sdpa").double()
    expected = logits_of(theirs, ids, attention_mask=added)
    torch.testing.assert_close(logits_of(model.train(), ids), expected, **CLOSE)
    assert (expected - logits_of(theirs, ids)).abs().max() > 0.1


def test_evaluation_is_dense_to_the_last_bit_whatever_training_does():
    ids = some_ids(TRAINED)
    model = some_model()
    dense = logits_of(model, ids)
    sparse(model)
    torch.testing.assert_close(logits_of(model, ids), dense, rtol=0, atol=0)
    assert (logits_of(model.train(), ids) - dense).abs().max() > 0.1
    torch.testing.assert_close(logits_of(model.eval(), ids), dense, rtol=0, atol=0)


def test_training_without_a_pattern_is_dense():
    model, ids = some_model(), some_ids(TRAINED)
    torch.testing.assert_close(logits_of(model.train(), ids), logits_of(model.eval(), ids), rtol=0, atol=0)


def moved_by(model, token, length):
    """The positions whose logits move when one token is another."""
    ids = some_ids(length, batch=1)
    other = ids.clone()
    other[0, token] = (ids[0, token] + 1) % 256
    change = (logits_of(model, ids) - logits_of(model, other)).abs().amax(dim=(0, 2))
    # Either nothing or a real change: rounding alone, near 1e-15, is neither here nor there.
    assert ((change < 1e-12) | (change > 1e-9)).all(), change
    return {int(position) for position in torch.nonzero(change > 1e-9)}


@pytest.mark.parametrize("boundary", ["split", "wrap", "masked"])
@pytest.mark.parametrize("heads", [3, 4])
def test_a_token_moves_the_logits_it_can_reach_through_all_layers_and_no_others(boundary, heads):
    model = sparse(some_model(num_attention_heads=heads, num_key_value_heads=heads).double(), boundary).train()
    heard = oracles.closure(oracles.allowed_pairs(TRAINED, 4, heads, 2, boundary), 2)
    for token in range(TRAINED):
        assert moved_by(model, token, TRAINED) == set(np.flatnonzero(heard[:, token])), token


@pytest.mark.parametrize(("boundary", "leaks"), [("split", False), ("masked", False), ("wrap", True)])
def test_only_wrap_lets_the_future_into_earlier_logits(boundary, leaks):
    model = sparse(some_model().double(), boundary).train()
    earlier = [position < token for token in range(TRAINED) for position in moved_by(model, token, TRAINED)]
    assert any(earlier) == leaks
    dense = model.eval()
    assert all(min(moved_by(dense, token, TRAINED)) == token for token in range(TRAINED))


SEGMENTS = torch.tensor([[0] * 8 + [1] * 5 + [-1] * 3])


def test_documents_packed_in_one_row_read_as_if_they_were_alone():
    model, ids = some_model().double(), some_ids(TRAINED, batch=1)
    packed = logits_of(model, ids, segments=SEGMENTS)
    for part in (slice(0, 8), slice(8, 13)):
        torch.testing.assert_close(packed[:, part], logits_of(model, ids[:, part]), **CLOSE)
    assert torch.isfinite(packed).all()


@pytest.mark.parametrize("training", [False, True])
def test_a_packed_document_does_not_hear_what_stands_around_it(training):
    model, ids = sparse(some_model().double()).train(training), some_ids(TRAINED, batch=1)
    other = ids.clone()
    other[0, :8] = 7
    other[0, 13:] = 9
    before, after = (logits_of(model, text, segments=SEGMENTS)[:, 8:13] for text in (ids, other))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-12)
    assert (logits_of(model, ids) - logits_of(model, other))[:, 8:13].abs().max() > 0.01


# What is refused before it runs.


def test_a_sequence_beyond_the_context_is_refused_unless_asked_for():
    model, ids = some_model(), some_ids(TRAINED + 1)
    with pytest.raises(ValueError, match=r"sequence must fit the context of 16 tokens, got 17; .*apply_longlora"):
        model(ids)
    beyond = logits_of(model.double(), ids, beyond_context=True)
    torch.testing.assert_close(beyond, logits_of(transformers_model(model).double(), ids), **CLOSE)


@pytest.mark.parametrize("method", ROPES)
def test_the_context_is_what_the_rope_was_stretched_to(method):
    config = some_config(method)
    assert (config.context_length, config.trained_context) == (16 if method == "default" else 64, 16)
    length = config.context_length
    with pytest.raises(ValueError, match=f"must fit the context of {length} tokens, got {length + 1}"):
        some_model(method)(some_ids(length + 1))


def test_a_trained_context_that_nobody_stated_follows_from_the_factor():
    rope = dataclasses.replace(ROPES["ntk"], trained_length=None)
    assert dataclasses.replace(some_config(), rope=rope, max_position_embeddings=64).trained_context == 16


def test_ids_without_a_batch_are_refused():
    with pytest.raises(ValueError, match=re.escape("ids must have shape (b, n), got (16,)")):
        some_model()(some_ids(TRAINED)[0])


@pytest.mark.parametrize("last", [0, -1, 17])
def test_last_logits_that_are_not_there_are_refused(last):
    with pytest.raises(ValueError, match=f"last must be from 1 to the 16 tokens there are, got {last}"):
        some_model()(some_ids(TRAINED), last=last)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_key_value_heads": 3}, "num_key_value_heads must divide num_attention_heads = 4, got 3"),
        ({"num_key_value_heads": 0}, "num_key_value_heads must be a positive integer, got 0"),
        ({"hidden_size": -1}, "hidden_size must be a positive integer, got -1"),
        ({"num_hidden_layers": "2"}, "num_hidden_layers must be a positive integer, got '2'"),
        ({"vocab_size": True}, "vocab_size must be a positive integer, got True"),
        ({"max_position_embeddings": 16.0}, "max_position_embeddings must be a positive integer, got 16.0"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        some_config(**changes)


# The folder on disk.


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", ROPES)
def test_transformers_loads_what_was_saved_and_computes_the_same(tmp_path, method, shape):
    model = some_model(method, **SHAPES[shape])
    save_tiny_llama(model, tmp_path)
    theirs, info = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    assert theirs.dtype == torch.float32
    ids = some_ids(model.config.context_length)
    torch.testing.assert_close(logits_of(theirs.double(), ids), logits_of(model.double(), ids), **CLOSE)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", ROPES)
def test_a_model_comes_back_as_it_was_saved(tmp_path, method, shape):
    model = some_model(method, **SHAPES[shape]).train()
    save_tiny_llama(model, tmp_path)
    again = load_tiny_llama(tmp_path)
    assert again.config == model.config
    assert not again.training
    assert_same_weights(again, model)
    assert (again.lm_head.weight is again.model.embed_tokens.weight) == model.config.tie_word_embeddings


@pytest.mark.parametrize("method", ROPES)
def test_the_origin_of_the_rope_survives_a_save_by_transformers(tmp_path, method):
    model = some_model(method)
    save_tiny_llama(model, tmp_path / "ours")
    AutoModelForCausalLM.from_pretrained(tmp_path / "ours").save_pretrained(tmp_path / "theirs")
    again = load_tiny_llama(tmp_path / "theirs")
    assert again.config == model.config
    assert_same_weights(again, model)


def test_a_llama_that_transformers_made_can_be_loaded(tmp_path):
    torch.manual_seed(0)
    theirs = LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=256,
            hidden_size=32,
            intermediate_size=24,
            num_hidden_layers=1,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
            rms_norm_eps=1e-6,
            rope_parameters={"rope_type": "linear", "rope_theta": 500.0, "factor": 4.0},
        )
    ).eval()
    theirs.save_pretrained(tmp_path)
    ours = load_tiny_llama(tmp_path)
    assert ours.config.rope == Rope(8, 500.0, "linear", 4, 16)
    ids = some_ids(64)
    torch.testing.assert_close(logits_of(ours.double(), ids), logits_of(theirs.double(), ids), **CLOSE)


def test_saving_and_loading_leave_the_random_state_and_the_model_alone(tmp_path):
    model = some_model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    save_tiny_llama(model, tmp_path)
    load_tiny_llama(tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)


def test_a_model_with_lora_layers_is_not_saved_as_a_llama(tmp_path):
    from longlora_edu.lora import add_lora

    model = some_model()
    add_lora(model, ["q_proj"], rank=2, alpha=4)
    with pytest.raises(ValueError, match="model must be merged before it is saved, got one with LoRA layers"):
        save_tiny_llama(model, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def folder(tmp_path):
    save_tiny_llama(some_model(), tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ValueError, match=f"must hold {name}, got "):
        load_tiny_llama(folder)


@pytest.mark.parametrize("keep", [0, 5, 60, -1])
def test_cut_weights_are_refused(folder, keep):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"model.safetensors must be a safetensors file, got "):
        load_tiny_llama(folder)


def test_weights_that_are_no_safetensors_are_refused(folder):
    (folder / "model.safetensors").write_bytes(b"\x80\x02}q\x00." * 100)
    with pytest.raises(ValueError, match="must be a safetensors file, got "):
        load_tiny_llama(folder)


def test_weights_of_another_model_are_refused(folder):
    save_file({"transformer.wte.weight": torch.zeros(3, 4)}, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"must hold the \d+ tensors of its config, got no .* unexpected transformer"):
        load_tiny_llama(folder)


def test_weights_without_an_embedding_to_tie_are_refused(folder):
    save_tiny_llama(some_model(tie_word_embeddings=True), folder)
    state = load_file(folder / "model.safetensors")
    assert "lm_head.weight" not in state
    del state["model.embed_tokens.weight"]
    (folder / "model.safetensors").write_bytes(save(state))
    with pytest.raises(ValueError, match=r"tensors of its config, got no model.embed_tokens.weight$"):
        load_tiny_llama(folder)


def test_weights_of_another_shape_are_refused(folder):
    state = load_file(folder / "model.safetensors")
    state["model.norm.weight"] = torch.ones(7)
    (folder / "model.safetensors").write_bytes(save(state))
    shape = r"must hold model.norm.weight of shape and kind \(\(32,\), 'float'\), got \(\(7,\)"
    with pytest.raises(ValueError, match=shape):
        load_tiny_llama(folder)


ORIGIN = dataclasses.asdict(ROPES["default"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gpt2"}, "model_type must be 'llama', got 'gpt2'"),
        ({"model_type": None}, "model_type must be 'llama', got None"),
        ({"attention_bias": True}, "attention_bias must be False, got True"),
        ({"mlp_bias": True}, "mlp_bias must be False, got True"),
        ({"hidden_act": "gelu"}, "hidden_act must be 'silu', got 'gelu'"),
        ({"hidden_size": ...}, "config must have the fields of a Llama, got none for hidden_size"),
        ({"rope_parameters": ..., "vocab_size": ...}, "got none for vocab_size, rope_parameters"),
        ({"hidden_size": "wide"}, "hidden_size must be a positive integer, got 'wide'"),
        ({"num_attention_heads": 0, "head_dim": None}, "num_attention_heads must be a positive integer, got 0"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 100.0}}, "rope_type must be one of .* got 'llama3'"),
        (
            {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0, "partial_rotary_factor": 0.5}},
            "rope_parameters must hold only the fields of 'default', got {'partial_rotary_factor': 0.5}",
        ),
        (
            {"rope_parameters": {"rope_type": "linear", "rope_theta": 100.0, "factor": 2.0}},
            "longlora_rope must agree with what rope_parameters say, .*linear.*, got .*default",
        ),
        ({"longlora_rope": ORIGIN | {"head_dim": 4}}, "longlora_rope must agree with what rope_parameters say"),
        ({"longlora_rope": {"factor": 2}}, "longlora_rope must have the fields base, .*trained_length, got {'factor'"),
        ({"longlora_rope": 3}, "longlora_rope must have the fields base, .*trained_length, got 3"),
    ],
)
def test_a_config_that_cannot_be_run_is_refused(folder, changes, message):
    config = json.loads((folder / "config.json").read_text()) | changes
    config = {name: value for name, value in config.items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        load_tiny_llama(folder)


def test_a_dynamic_model_whose_maximum_was_set_to_the_target_is_refused(tmp_path):
    """transformers would leave its frequencies as they were trained at every length up to that."""
    save_tiny_llama(some_model("dynamic"), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"max_position_embeddings": 64}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="longlora_rope must agree with what rope_parameters say"):
        load_tiny_llama(tmp_path)


def test_a_config_that_is_no_object_is_refused(folder):
    (folder / "config.json").write_text("[1]")
    with pytest.raises(ValueError, match="config must be a JSON object, got list"):
        load_tiny_llama(folder)


def test_a_config_that_is_no_json_is_refused(folder):
    (folder / "config.json").write_text('{"model_type": "llama",')
    with pytest.raises(ValueError, match=r"config.json must be JSON, got .* at line 1 column 24"):
        load_tiny_llama(folder)


def test_a_config_without_an_origin_takes_it_from_rope_parameters(folder):
    config = json.loads((folder / "config.json").read_text())
    del config["longlora_rope"], config["head_dim"]
    (folder / "config.json").write_text(json.dumps(config))
    assert load_tiny_llama(folder).config.rope == Rope(8, 100.0, trained_length=16)


# The byte tokenizer.


def unicode_of_bytes():
    """GPT-2's table: printable bytes of Latin-1 stand for themselves, the others for what follows U+0100."""
    table, extra = [], 256
    for byte in range(256):
        if 33 <= byte <= 126 or 161 <= byte <= 172 or 174 <= byte <= 255:
            table.append(chr(byte))
        else:
            table.append(chr(extra))
            extra += 1
    return table


def byte_tokenizer():
    """A BPE without merges: every byte is a token, and its number is its id."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {character: byte for byte, character in enumerate(unicode_of_bytes())},
            "merges": [],
        },
    }


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tiny_llama(some_model(), folder)
    assert [json.loads((folder / name).read_text(encoding="utf-8")) for name in TOKENIZER_FILES] == [
        byte_tokenizer(),
        {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False},
    ]
    return AutoTokenizer.from_pretrained(folder)


def test_the_tokenizer_has_256_bytes_and_nothing_special(tokenizer):
    assert len(tokenizer) == tokenizer.vocab_size == 256
    assert tokenizer.all_special_ids == []
    tokens = tokenizer.convert_ids_to_tokens(list(range(256)))
    assert tokens == unicode_of_bytes()
    assert tokenizer.convert_tokens_to_ids(tokens) == list(range(256))


TEXTS = [
    "",
    "plain",
    " leading",
    "trailing \n",
    "\n\n\t\r\n",
    "don't  re-join , this .",
    "Ā",
    "Grüße, 世界 🦙",
    "\0end\0",
]


@pytest.mark.parametrize("text", [*TEXTS, "".join(map(chr, range(0x250)))])
def test_encoding_gives_the_bytes_and_decoding_the_text(tokenizer, text):
    ids = tokenizer(text)["input_ids"]
    assert ids == list(text.encode()) == tokenizer.encode(text)
    assert tokenizer.decode(ids) == text == tokenizer.decode(ids, skip_special_tokens=True)


def test_byte_0_ends_a_document_in_the_config_and_nowhere_else(folder):
    config = transformers.AutoConfig.from_pretrained(folder)
    assert (config.bos_token_id, config.eos_token_id) == (0, 0)


def test_the_package_carries_a_model_of_512_bytes_and_one_of_256():
    for context in (512, 256):
        assert bundled_model(context).config == bundled_config(context)
        assert bundled_config(context).trained_context == context
    assert bundled_config() == bundled_config(512)
    for call in (bundled_model, bundled_config):
        with pytest.raises(ValueError, match="trained_context must be one of 512, 256, got 1024"):
            call(1024)
