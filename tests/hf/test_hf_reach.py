"""The context that a base reads already: one answer from every form of config, and every command goes by it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
import transformers
from small_models import byte_level_tokenizer, gguf_file, small_llama
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from typer.testing import CliRunner

from longlora_edu.cli import app
from longlora_edu.hf import load_longlora, longlora, merge_longlora
from longlora_edu.hf.base_reach import reach_of
from longlora_edu.hf.configs import causal_config, gguf_config
from longlora_edu.hf.families import UNREAD, refuse_inputs
from longlora_edu.hf.loading import check_family
from longlora_edu.hf.measure import ask
from longlora_edu.hf.run_training import TrainingSettings, rehearse
from longlora_edu.longlora import LongLoRAConfig
from longlora_edu.plan import PLAIN

THETA = 500.0
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LONGROPE = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [1.0, 2.0, 4.0, 8.0]}
LONGROPE_64 = LONGROPE | {"original_max_position_embeddings": 64}


def config_of(maximum, rule=None, **more):
    rule = {"rope_type": "default"} if rule is None else rule
    return small_llama(max_position_embeddings=maximum, rope_parameters={"rope_theta": THETA} | rule, **more).config


def base_of(maximum, rule=None, **more):
    return transformers.LlamaForCausalLM(config_of(maximum, rule, **more)).eval()


def folder_of(model, path):
    model.save_pretrained(path)
    byte_level_tokenizer().save_pretrained(path)
    return str(path)


def yarn(factor, original, **more):
    return {"rope_type": "yarn", "factor": float(factor), "original_max_position_embeddings": original} | more


def llama3(factor, original):
    return LLAMA3 | {"factor": float(factor), "original_max_position_embeddings": original}


# Each published way to state a stretch, for several lengths and factors: (maximum, rule, what it reads, from where).
STATED = [
    form
    for original, factor in [(64, 2), (64, 4), (96, 3), (128, 8), (40, 1.5)]
    for full in [round(original * factor)]
    for form in [
        (full, None, full, full),
        (original, {"rope_type": "linear", "factor": float(factor)}, full, original),
        (full, {"rope_type": "linear", "factor": float(factor), "original_max_position_embeddings": original}, full,
         original),
        (original, {"rope_type": "dynamic", "factor": float(factor)}, full, original),
        (full, yarn(factor, original), full, original),
        (original, yarn(factor, original), full, original),  # written in by hand, the maximum left as it was
        (round(original * 1.25), yarn(factor, original), full, original),  # a maximum with room for the answer
        (full, llama3(2 * factor, original), full, original),  # its factor is not its reach
        (full, LONGROPE | {"original_max_position_embeddings": original}, full, original),
    ]
]  # fmt: skip


@pytest.mark.parametrize(("maximum", "rule", "length", "origin"), STATED)
def test_every_form_of_config_has_one_reach(maximum, rule, length, origin):
    reach = reach_of(config_of(maximum, rule))
    assert (reach.length, reach.origin) == (length, origin)


@pytest.mark.parametrize("word", ["type", "rope_type"])
@pytest.mark.parametrize(("maximum", "rule", "length", "origin"), STATED)
def test_files_of_transformers_4_have_the_same_reach(maximum, rule, length, origin, word, tmp_path):
    values = config_of(maximum, rule).to_dict()
    del values["rope_parameters"]
    stated = rule and {word if name == "rope_type" else name: value for name, value in rule.items()}
    if rule and rule["rope_type"] == "longrope":  # Phi-3's, which state the original length beside the rule
        values |= {"model_type": "phi3", "pad_token_id": 0}
        values["original_max_position_embeddings"] = stated.pop("original_max_position_embeddings")
    (tmp_path / "config.json").write_text(json.dumps(values | {"rope_theta": THETA, "rope_scaling": stated or None}))
    config = causal_config(str(tmp_path))
    assert config.rope_parameters["rope_theta"] == THETA
    assert (reach_of(config).length, reach_of(config).origin) == (length, origin)


@pytest.mark.parametrize(("maximum", "rule", "length", "origin"), STATED)
@pytest.mark.parametrize("share", [0.3, 1])
def test_within_reach_nothing_is_refused_and_no_position_moves(maximum, rule, length, origin, share):
    base = base_of(maximum, rule)
    before, stated = base.model.rotary_emb.inv_freq.clone(), dict(base.config.rope_parameters)
    model = longlora(base, LongLoRAConfig(round(share * length), rope="default"))
    assert (model.config.rope_parameters, model.config.max_position_embeddings) == (stated, maximum)
    assert torch.equal(base.model.rotary_emb.inv_freq, before)


@pytest.mark.parametrize(("maximum", "rule", "length", "origin"), STATED)
def test_beyond_its_reach_a_base_goes_on_by_its_own_rule_or_is_refused_by_name(maximum, rule, length, origin):
    kind = "yarn" if rule is None else rule["rope_type"]
    base, target = base_of(maximum, rule), 3 * length
    if kind == "longrope":
        with pytest.raises(ValueError, match="rope(_type)? must be one of .*'longrope'"):
            longlora(base, LongLoRAConfig(target, rope=kind))
        return
    config = longlora(base, LongLoRAConfig(target, rope=kind)).config
    stretch = 3.0 if rule is None else 3 * rule["factor"]
    assert config.rope_parameters["factor"] == pytest.approx(stretch)
    assert config.rope_parameters.get("original_max_position_embeddings", origin) == origin
    assert reach_of(config).length == target
    if rule is not None:
        other = "linear" if kind == "yarn" else "yarn"
        message = f"rope must be '{kind}', with which this model is already stretched by {rule['factor']:g}, got"
        with pytest.raises(ValueError, match=message):
            longlora(base_of(maximum, rule), LongLoRAConfig(target, rope=other))


@pytest.mark.parametrize(
    ("original", "factor", "times"), [(64, 8, 2), (64, 32, 4), (32, 8, 3), (128, 4, 1.5), (64, 2, 8)]
)
def test_a_stretched_llama3_base_has_the_frequencies_of_transformers(original, factor, times):
    full = original * factor
    base = base_of(full, llama3(factor, original))
    plain = base.model.rotary_emb.inv_freq.clone()
    model = longlora(base, LongLoRAConfig(round(times * full), rope="llama3"))
    expected, _ = ROPE_INIT_FUNCTIONS["llama3"](config_of(round(times * full), llama3(times * factor, original)))
    torch.testing.assert_close(base.model.rotary_emb.inv_freq, expected, rtol=0, atol=0)
    assert (plain / expected).max() > 1.2
    assert model.config.rope_parameters == {"rope_theta": THETA} | llama3(times * factor, original)


SPELLED_OUT = [
    {"beta_fast": 32.0}, {"beta_slow": 1}, {"truncate": True}, {"finetuned": True}, {"finetuned": False},
    {"attention_factor": 0.1 * math.log(4) + 1}, {"attention_factor": round(0.1 * math.log(4) + 1, 8)},
    {"beta_fast": 32, "beta_slow": 1.0, "truncate": True, "attention_factor": 0.1 * math.log(4) + 1},
]  # fmt: skip
OTHERWISE = [{"beta_slow": 2}, {"truncate": False}, {"attention_factor": 1.0}, {"mscale": 0.7}]


@pytest.mark.parametrize("fields", SPELLED_OUT)
def test_defaults_of_yarn_that_are_spelled_out_change_nothing(fields):
    spelled, plain = (
        longlora(base_of(256, yarn(4, 64, **more)), LongLoRAConfig(512)).get_base_model() for more in (fields, {})
    )
    assert spelled.config.rope_parameters == plain.config.rope_parameters
    assert torch.equal(spelled.model.rotary_emb.inv_freq, plain.model.rotary_emb.inv_freq)


@pytest.mark.parametrize("fields", OTHERWISE)
def test_another_yarn_can_be_kept_and_not_stretched(fields):
    model = longlora(base_of(256, yarn(4, 64, **fields)), LongLoRAConfig(200, rope="default"))
    assert model.config.rope_parameters == {"rope_theta": THETA} | yarn(4, 64, **fields)
    with pytest.raises(ValueError, match=f"only the fields of 'yarn', got .*{next(iter(fields))}"):
        longlora(base_of(256, yarn(4, 64, **fields)), LongLoRAConfig(512))


def test_a_yarn_with_another_fast_end_goes_on_with_it():
    rule = yarn(4, 64, beta_fast=16.0)
    model = longlora(base_of(256, rule), LongLoRAConfig(512)).get_base_model()
    assert model.config.rope_parameters == {"rope_theta": THETA} | rule | {"factor": 8.0}
    expected, _ = ROPE_INIT_FUNCTIONS["yarn"](config_of(512, yarn(8, 64, beta_fast=16.0)))
    torch.testing.assert_close(model.model.rotary_emb.inv_freq, expected, rtol=1e-6, atol=0)
    for target in (200, 512):  # within its reach, and beyond
        with pytest.raises(ValueError, match="beta_fast must be 16.* got 8"):
            longlora(base_of(256, rule), LongLoRAConfig(target, beta_fast=8))


# A second stage, from the files of the first.


@pytest.mark.parametrize("method", ["linear", "ntk", "dynamic", "yarn"])
@pytest.mark.parametrize("second", [48, 128, 256, 512, 640])
def test_a_merged_model_reads_what_it_was_extended_to_and_goes_on_from_the_first_length(method, second, tmp_path):
    first = merge_longlora(longlora(base_of(64), LongLoRAConfig(256, rope=method)))
    first.save_pretrained(tmp_path / "first")
    frequencies = first.model.rotary_emb.inv_freq
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "first")
    assert reach_of(loaded.config).length == 256
    settings = TrainingSettings("base", "text", second)
    own = settings.recipe(reach_of(loaded.config)).rope
    rule = "ntk" if method == "ntk" and second > 256 else own  # in a file it is a plain model with a larger base
    model = longlora(loaded, LongLoRAConfig(second, rope=rule))
    if second <= 256:
        assert torch.equal(loaded.model.rotary_emb.inv_freq, frequencies)
        assert reach_of(model.config).length == 256
    else:
        at_once = longlora(base_of(64), LongLoRAConfig(second, rope=method)).get_base_model()
        torch.testing.assert_close(loaded.model.rotary_emb.inv_freq, at_once.model.rotary_emb.inv_freq)
    model.save_pretrained(tmp_path / "second")
    base = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "first")
    again = load_longlora(base, tmp_path / "second")
    torch.testing.assert_close(base.model.rotary_emb.inv_freq, loaded.model.rotary_emb.inv_freq, rtol=0, atol=0)
    merge_longlora(again).save_pretrained(tmp_path / "merged")
    stock = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(stock.model.rotary_emb.inv_freq, loaded.model.rotary_emb.inv_freq, rtol=1e-6, atol=0)
    assert reach_of(stock.config).length == max(second, 256)


KEPT = [llama3(8, 64), LONGROPE_64, yarn(4, 64, beta_fast=16.0), yarn(8, 64), {"rope_type": "linear", "factor": 8.0}]


@pytest.mark.parametrize("rule", KEPT)
def test_a_kept_rule_of_any_kind_survives_the_adapter_folder(rule, tmp_path):
    maximum = 64 if rule["rope_type"] == "linear" else 512
    model = longlora(base_of(maximum, rule), LongLoRAConfig(128, rope="default"))
    model.save_pretrained(tmp_path)
    base = base_of(maximum, rule)
    load_longlora(base, tmp_path)
    assert base.config.rope_parameters == {"rope_theta": THETA} | rule
    with pytest.raises(ValueError, match="base must have the rope_parameters of the one trained on"):
        load_longlora(base_of(maximum), tmp_path)


# The original length, where a config states another.


@pytest.mark.parametrize(
    ("maximum", "factor", "original"), [(256, 4, 64), (512, 8, 64), (96, 2, 48), (120, 3, 40), (64, 1.5, 40)]
)
def test_an_original_length_may_be_stated_beside_a_linear_factor(maximum, factor, original):
    rule = {"rope_type": "linear", "factor": float(factor)}
    reach = reach_of(config_of(maximum, rule), original)
    assert (reach.origin, reach.length) == (original, round(original * factor))
    config = LongLoRAConfig(4 * reach.length, rope="linear", trained_length=original)
    assert longlora(base_of(maximum, rule), config).config.rope_parameters["factor"] == 4 * reach.length / original


DYNAMIC = {"rope_type": "dynamic", "factor": 2.0}


@pytest.mark.parametrize(
    ("maximum", "rule"),
    [(256, yarn(4, 64)), (64, yarn(4, 64)), (64, DYNAMIC), (512, llama3(8, 64)), (512, LONGROPE_64)],
)
def test_an_original_length_that_contradicts_the_config_is_refused(maximum, rule):
    with pytest.raises(
        ValueError, match="trained_length must be 64, from which this model is already stretched, got 32"
    ):
        reach_of(config_of(maximum, rule), 32)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("max_position_embeddings", "64", "max_position_embeddings must be a number, at least 1, got '64'"),
        ("max_position_embeddings", 0, "max_position_embeddings must be a number, at least 1, got 0"),
        ("max_position_embeddings", True, "max_position_embeddings must be a number, at least 1, got True"),
        ("factor", "4", "the factor of rope_parameters must be a number, at least 1, got '4'"),
        ("factor", 0.5, "the factor of rope_parameters must be a number, at least 1, got 0.5"),
        ("factor", math.inf, "the factor of rope_parameters must be a number, at least 1, got inf"),
        (
            "original_max_position_embeddings",
            [64],
            r"original_max_position_embeddings must be a number, .*, got \[64\]",
        ),
    ],
)
def test_numbers_of_a_config_that_are_none_are_refused_by_name(field, value, message):
    config = config_of(256, yarn(4, 64))
    if field == "max_position_embeddings":
        vars(config)[field] = value
    else:
        config.rope_parameters[field] = value
    with pytest.raises(ValueError, match=message):
        reach_of(config)


# Plan, train and use go by the same answer.


def invoke(*options):
    return CliRunner().invoke(app, [str(option) for option in options])


PLANNED = [
    (64, None, {}), (64, {"rope_type": "linear", "factor": 4.0}, {}), (64, yarn(4, 64), {}),
    (512, llama3(8, 64), {}), (512, LONGROPE_64, {}),
    (256, yarn(4, 64, beta_slow=2.0), {}), (64, None, {"model_type": "qwen2", "sliding_window": 32}),
    (64, None, {"model_type": "mistral", "sliding_window": 32}),
    (64, None, {"model_type": "mistral", "sliding_window": None}),
    (64, None, {"model_type": "qwen3", "sliding_window": 32, "use_sliding_window": True, "max_window_layers": 0}),
    (64, None, {"model_type": "phi3"}), (64, None, {"model_type": "olmo2"}),
]  # fmt: skip


@pytest.mark.parametrize(("maximum", "rule", "more"), PLANNED)
@pytest.mark.parametrize("context", [48, 2048])
def test_plan_recommends_nothing_that_training_refuses_and_refuses_nothing_else(maximum, rule, more, context, tmp_path):
    values = config_of(maximum, rule).to_dict() | more
    (tmp_path / "config.json").write_text(json.dumps(values))
    done = invoke("plan", "--model", tmp_path, "--context", context, "--tflops", 100)
    try:
        rehearse(TrainingSettings(str(tmp_path), "", context))
        accepted = True
    except ValueError:
        accepted = False
    assert (done.exit_code == 0) == accepted, done.output
    if accepted:
        length = reach_of(transformers.AutoConfig.from_pretrained(tmp_path)).length
        assert ("nothing to stretch: the model reads" in done.output) == (context <= length)


BY_HAND = {
    "model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 64,
    "num_attention_heads": 4, "max_position_embeddings": 64,
}  # fmt: skip
ENTRIES = sorted(set(PLAIN) - {"model_type", "_name_or_path", "transformers_version"})


@pytest.mark.parametrize("name", ENTRIES)
def test_plan_recommends_nothing_of_an_odd_entry_that_training_refuses(name, tmp_path):
    for value in ("odd", -1, 0, 2.5, True, None, [], {}, 3):
        (tmp_path / "config.json").write_text(json.dumps(BY_HAND | {name: value}))
        done = invoke("plan", "--model", tmp_path, "--context", 256, "--tflops", 100)
        assert type(done.exception) in (SystemExit, type(None)), (value, done.exception)
        if done.exit_code == 0:
            rehearse(TrainingSettings(str(tmp_path), "", 256))


@pytest.mark.parametrize(
    ("maximum", "rule"),
    [(512, LONGROPE_64), (256, yarn(4, 64, beta_slow=2.0)), (256, yarn(4, 64, truncate=False)),
     (256, yarn(4, 64, attention_factor=1.0)), (128, LONGROPE | {"original_max_position_embeddings": 32})],
)  # fmt: skip
def test_train_recommends_nothing_before_it_refuses(maximum, rule, tmp_path):
    model = folder_of(base_of(maximum, rule), tmp_path / "model")
    options = ["--data", __file__, "--context", 2048, "--out", tmp_path / "run"]
    done = invoke("train", "--model", model, *options)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "model must have positions that can be stretched" in done.stderr


@pytest.mark.parametrize(("original", "factor"), [(64, 8), (64, 32), (32, 8), (128, 4), (64, 2)])
def test_a_stretch_of_llama3_is_said_to_be_unmeasured(original, factor, tmp_path):
    full = original * factor
    model = folder_of(base_of(full, llama3(factor, original)), tmp_path / "model")
    said = "positions: llama3 goes on with 3 times its factor; how well a model reads so has not been measured"
    within, beyond = (
        invoke("plan", "--model", model, "--context", context, "--tflops", 1) for context in (full, 3 * full)
    )
    assert "measured" not in within.stdout
    assert said in beyond.stdout
    shown = invoke("plan", "--model", model, "--context", 3 * full, "--tflops", 1, "--json")
    assert json.loads(shown.stdout)["caution"] == said


@pytest.mark.parametrize(("maximum", "rule", "length", "origin"), STATED[:9])
def test_a_question_may_be_as_long_as_the_reach_and_no_longer(maximum, rule, length, origin, tmp_path):
    model = folder_of(base_of(maximum, rule), tmp_path / "model")
    fitting = length - 8 - len("\n\nq?")
    assert ask(model, "x" * fitting, "q?", most=8)["prompt_tokens"] == length - 8
    with pytest.raises(ValueError, match=f"must fit into {length} tokens, got"):
        ask(model, "x" * (fitting + 1), "q?", most=8)


# What a GGUF file states beside the entries that transformers reads.


@pytest.mark.parametrize(
    ("entries", "rule", "length"),
    [
        ({}, {"rope_type": "default"}, 64),
        ({"scaling.type": "none"}, {"rope_type": "default"}, 64),
        ({"scaling.type": "linear", "scaling.factor": 4.0}, {"rope_type": "linear", "factor": 4.0}, 256),
        ({"scale_linear": 2.0}, {"rope_type": "linear", "factor": 2.0}, 128),
        (
            {"scaling.type": "linear", "scaling.factor": 4.0, "scaling.original_context_length": 16},
            {"rope_type": "linear", "factor": 4.0, "original_max_position_embeddings": 16},
            64,
        ),
        ({"scaling.type": "yarn", "scaling.factor": 4.0, "scaling.original_context_length": 16}, yarn(4, 16), 64),
        (
            {"scaling.type": "yarn", "scaling.factor": 2.0, "scaling.original_context_length": 64,
             "scaling.finetuned": True},
            yarn(2, 64, finetuned=True),
            128,
        ),
    ],
)  # fmt: skip
def test_positions_in_a_gguf_file_are_honoured(entries, rule, length, tmp_path):
    config = gguf_config(gguf_file(tmp_path / "model.gguf", entries))
    assert config.rope_parameters == {"rope_theta": THETA} | rule
    assert reach_of(config).length == length


@pytest.mark.parametrize(
    ("entries", "tensor", "named"),
    [
        ({"scaling.type": "longrope", "scaling.factor": 4.0}, None, "longrope"),
        ({"scaling.type": "something"}, None, "something"),
        ({"scaling.type": "yarn", "scaling.factor": 4.0, "scaling.attn_factor": 0.9}, None, "rope.scaling.attn_factor"),
        ({"scaling.type": "yarn", "scaling.factor": 4.0, "scaling.yarn_beta_fast": 9.0}, None, "yarn_beta_fast"),
        ({}, np.array([1, 1, 4, 8], np.float32), "rope_freqs.weight"),
        ({"scaling.type": "linear", "scaling.factor": 4.0}, np.full(4, 8, np.float32), "rope_freqs.weight"),
    ],
)
def test_positions_in_a_gguf_file_that_no_config_states_are_refused(entries, tensor, named, tmp_path):
    with pytest.raises(ValueError, match=f"must hold positions that a config can state, got .*{named}"):
        gguf_config(gguf_file(tmp_path / "model.gguf", entries, tensor))


# Families that leave head_dim open, or ask for the mask of a window that no layer has.

MOE = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}


def family_of(name, **more):
    sizes = {
        "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0, "eos_token_id": 2,
    }  # fmt: skip
    return transformers.AutoConfig.for_model(name, **sizes | more)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("mixtral", MOE),
        ("minimax", MOE | {"layer_types": ["full_attention"] * 2}),
        ("mixtral", MOE | {"num_attention_heads": 2, "num_key_value_heads": 1}),
        ("mixtral", MOE | {"hidden_size": 64}),
        ("minimax", MOE | {"layer_types": ["full_attention"] * 2, "hidden_size": 64}),
        ("qwen2_moe", MOE | {"shared_expert_intermediate_size": 16}),
    ],
)
@pytest.mark.parametrize("method", ["linear", "dynamic", "yarn"])
def test_a_family_that_leaves_head_dim_open_is_stretched_and_read_back(name, more, method, tmp_path):
    base = transformers.AutoModelForCausalLM.from_config(family_of(name, **more))
    assert getattr(base.config, "head_dim", None) is None
    base.save_pretrained(tmp_path / "base")
    model = longlora(base, LongLoRAConfig(256, rope=method))
    ids = torch.randint(3, 64, (1, 100), generator=torch.Generator().manual_seed(0))
    model.train()(input_ids=ids, labels=ids).loss.backward()
    model.save_pretrained(tmp_path / "adapter")
    again = load_longlora(transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base"), tmp_path / "adapter")
    with torch.no_grad():
        expected = model.eval()(ids).logits
        torch.testing.assert_close(again(ids).logits, expected)
        merge_longlora(again).save_pretrained(tmp_path / "merged")
        stock = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
        torch.testing.assert_close(stock(ids).logits, expected, rtol=1e-3, atol=1e-4)


def test_a_mask_for_no_layer_is_refused_in_a_layer_that_reads_it():
    with pytest.raises(ValueError, match="attention_mask must be given to the model as .* with 0 axes"):
        refuse_inputs(40, 40, UNREAD, {})


# A config that describes nothing.

ODD = [
    {"num_attention_heads": 0}, {"hidden_size": "32"}, {"layer_types": 5}, {"num_hidden_layers": -1.5},
    {"rope_parameters": 3}, {"vocab_size": None}, {"hidden_act": "no such"}, {"num_key_value_heads": 3},
    {"max_position_embeddings": "many"},
]  # fmt: skip


@pytest.mark.parametrize("change", ODD, ids=str)
def test_an_odd_config_ends_in_a_sentence(change, tmp_path):
    values = config_of(64).to_dict() | change
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"must|sliding|config"):
        check_family(str(tmp_path))
    for command in ("plan", "train"):
        options = ["--tflops", 1] if command == "plan" else ["--data", __file__, "--out", tmp_path / "out"]
        done = invoke(command, "--model", tmp_path, "--context", 256, *options)
        assert (done.exit_code, type(done.exception)) == (1, SystemExit), (change, done.output, done.exception)
        assert "Traceback" not in done.output
