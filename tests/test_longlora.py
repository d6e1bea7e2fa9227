from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from longlora_edu.geometry import S2Pattern
from longlora_edu.longlora import LongLoRAConfig, apply_longlora, merge_to_dense, stretched_rope
from longlora_edu.lora import LoRALinear, add_lora, merge_lora
from longlora_edu.model import LlamaConfig, TinyLlama, load_tiny_llama, save_tiny_llama
from longlora_edu.rope import Rope
from longlora_edu.training.corpus import Document, Windows
from longlora_edu.training.objective import LanguageModelObjective
from longlora_edu.training.train import TrainSettings, train

TRAINED, TARGET = 16, 64
METHODS = ["linear", "ntk", "dynamic", "yarn"]
WIDTH, FFN, LAYERS = 32, 24, 2
TEXT = Document("text", (b"def name(self):\n    return self.name\n\n" * 20))


def some_model(seed=0, **changes):
    fields = {"hidden_size": WIDTH, "intermediate_size": FFN, "num_hidden_layers": LAYERS}
    config = LlamaConfig(
        Rope(8, 100.0, trained_length=TRAINED), **fields | {"max_position_embeddings": TRAINED} | changes
    )
    return TinyLlama(config, generator=torch.Generator().manual_seed(seed))


def shake(model, seed=0):
    """As if it had been trained: every weight that trains is somewhere else."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return model


@torch.no_grad()
def logits_of(model, length=TARGET):
    out = model(torch.randint(256, (2, length), generator=torch.Generator().manual_seed(0)))
    return out if isinstance(out, torch.Tensor) else out.logits


def trainable(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def some_steps(model, length, steps=1, rate=1e-2):
    objective = LanguageModelObjective(model.train(), Windows((TEXT,), length + 1), batch=2, seed=0)
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    optimizer = torch.optim.AdamW(parameters.values(), lr=rate)
    return train(parameters, [optimizer], objective, TrainSettings(steps)).curve


# What trains, and what the report says.


def test_lora_embeddings_and_norms_train_and_nothing_else():
    model = some_model()
    apply_longlora(model, LongLoRAConfig(TARGET))
    expected = {"model.embed_tokens.weight", "model.norm.weight"}
    for layer in range(LAYERS):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            expected.add(f"model.layers.{layer}.{norm}.weight")
        for projection in "qkvo":
            for side in "AB":
                expected.add(f"model.layers.{layer}.self_attn.{projection}_proj.lora_{side}.weight")
    assert trainable(model) == expected


def test_the_trainable_share_is_the_count_by_hand():
    report = apply_longlora(some_model(num_key_value_heads=2), LongLoRAConfig(TARGET, rank=4))
    attention = WIDTH * (32 + 16 + 16) + 32 * WIDTH
    plain = 2 * 256 * WIDTH + LAYERS * (attention + 3 * WIDTH * FFN + 2 * WIDTH) + WIDTH
    lora = LAYERS * 4 * ((WIDTH + 32) + 2 * (WIDTH + 16) + (32 + WIDTH))
    free = 256 * WIDTH + LAYERS * 2 * WIDTH + WIDTH
    assert (report.trainable_parameters, report.all_parameters) == (lora + free, plain + lora)
    assert report.trainable_share == (lora + free) / (plain + lora)


def test_a_tied_head_trains_with_the_embedding_and_counts_once():
    tied = some_model(tie_word_embeddings=True)
    report = apply_longlora(tied, LongLoRAConfig(TARGET))
    untied = apply_longlora(some_model(), LongLoRAConfig(TARGET))
    assert tied.lm_head.weight.requires_grad
    assert report.trainable_parameters == untied.trainable_parameters
    assert report.all_parameters == untied.all_parameters - 256 * WIDTH


def test_plain_lora_is_the_recipe_without_what_also_trains():
    model = some_model()
    report = apply_longlora(model, LongLoRAConfig(TARGET, targets=["q_proj"], also_train=[]))
    assert trainable(model) == {
        f"model.layers.{i}.self_attn.q_proj.lora_{side}.weight" for i in (0, 1) for side in "AB"
    }
    assert (report.targets, report.also_train) == (("q_proj",), ())


def test_training_everything_adds_no_lora():
    model = some_model().requires_grad_(False)
    report = apply_longlora(model, LongLoRAConfig(TARGET, train="all"))
    assert not any(isinstance(module, LoRALinear) for module in model.modules())
    assert report.trainable_share == 1
    assert (report.train, report.rank, report.alpha, report.targets, report.also_train) == ("all", None, None, (), ())
    assert model.attention_layers[0].sparse == S2Pattern(16)
    assert model.config.context_length == TARGET


def test_a_report_says_what_changed():
    report = apply_longlora(
        some_model(), LongLoRAConfig(TARGET, shift=3, boundary="wrap", rope="linear", rank=2, alpha=6)
    )
    assert dataclasses.asdict(report) | {"trainable_parameters": 0, "all_parameters": 0} == {
        "trained_context": TRAINED,
        "target_context": TARGET,
        "rope": dataclasses.asdict(Rope(8, 100.0, "linear", 4, TRAINED)),
        "pattern": {"group_size": 16, "shift": 3, "boundary": "wrap"},
        "train": "adapters",
        "rank": 2,
        "alpha": 6,
        "targets": ("q_proj", "k_proj", "v_proj", "o_proj"),
        "also_train": ("embed_tokens", "input_layernorm", "post_attention_layernorm", "norm"),
        "trainable_parameters": 0,
        "all_parameters": 0,
    }


def test_lora_starts_the_same_unless_another_generator_says_so():
    first, again, other = some_model(), some_model(), some_model()
    apply_longlora(first, LongLoRAConfig(TARGET))
    torch.manual_seed(5)
    state = torch.get_rng_state()
    apply_longlora(again, LongLoRAConfig(TARGET))
    assert torch.equal(torch.get_rng_state(), state)
    apply_longlora(other, LongLoRAConfig(TARGET), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(dict(first.state_dict()), dict(again.state_dict()), rtol=0, atol=0)
    name = "model.layers.0.self_attn.q_proj.lora_A.weight"
    assert (first.state_dict()[name] != other.state_dict()[name]).any()


# Groups and positions.


@pytest.mark.parametrize(
    ("fields", "pattern"),
    [
        ({"context_length": 583}, S2Pattern(146)),
        ({"context_length": 64, "group_ratio": 1 / 3}, S2Pattern(22)),
        ({"context_length": 64, "group_size": 10}, S2Pattern(10)),
        ({"context_length": 64, "group_size": 10, "group_ratio": 0.5, "shift": 0}, S2Pattern(10, 0)),
        ({"context_length": 64, "boundary": "masked"}, S2Pattern(16, None, "masked")),
    ],
)
def test_the_group_is_a_fixed_share_of_the_target_rounded_up(fields, pattern):
    assert LongLoRAConfig(**fields).pattern == pattern


@pytest.mark.parametrize("method", METHODS)
def test_the_factor_is_target_over_trained_and_frequencies_change(method):
    model = some_model()
    before = model.config.rope.frequencies(TARGET)
    apply_longlora(model, LongLoRAConfig(TARGET, rope=method))
    assert model.config.rope == Rope(8, 100.0, method, 4, TRAINED)
    assert (model.config.context_length, model.config.trained_context) == (TARGET, TRAINED)
    assert np.abs(model.config.rope.frequencies(TARGET) / before - 1).max() > 0.1
    assert all(attention.config is model.config for attention in model.attention_layers)
    assert logits_of(model.eval()).shape == (2, TARGET, 256)


def test_dynamic_keeps_the_maximum_at_the_trained_length_and_the_others_move_it():
    for method in ["default", *METHODS]:
        model = some_model()
        apply_longlora(model, LongLoRAConfig(TARGET, rope=method))
        assert model.config.max_position_embeddings == (TRAINED if method == "dynamic" else TARGET)


def test_default_positions_are_a_control_that_stretches_nothing():
    model = some_model()
    report = apply_longlora(model, LongLoRAConfig(TARGET, rope="default"))
    assert report.rope == Rope(8, 100.0, trained_length=TRAINED)
    assert model.config.context_length == TARGET


def test_an_original_context_that_the_model_does_not_know_can_be_stated():
    rope = Rope(8, 100.0)
    model = TinyLlama(LlamaConfig(rope, hidden_size=WIDTH, num_hidden_layers=1, max_position_embeddings=32))
    report = apply_longlora(model, LongLoRAConfig(TARGET, trained_length=TRAINED))
    assert (report.trained_context, report.rope.factor) == (TRAINED, 4)


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_a_second_stage_counts_from_the_original_context(tmp_path, method, on_disk):
    model = some_model()
    apply_longlora(model, LongLoRAConfig(2 * TRAINED, rope=method))
    merge_to_dense(shake(model))
    if on_disk:
        save_tiny_llama(model, tmp_path)
        model = load_tiny_llama(tmp_path)
    report = apply_longlora(model, LongLoRAConfig(8 * TRAINED, rope=method))
    assert (report.trained_context, report.rope) == (TRAINED, Rope(8, 100.0, method, 8, TRAINED))
    assert (model.config.trained_context, model.config.context_length) == (TRAINED, 8 * TRAINED)
    assert report.pattern == S2Pattern(32)


def test_training_looks_inside_groups_and_evaluation_everywhere():
    model, config = some_model(), LongLoRAConfig(TARGET)
    dense = apply_longlora(model, config) and logits_of(model.eval())
    group = config.pattern.group_size
    sparse = logits_of(model.train())
    # Up to the shift every head has but one cell, so both see the same.
    torch.testing.assert_close(sparse[:, : group // 2], dense[:, : group // 2])
    assert (sparse - dense)[:, group // 2 :].abs().amax(dim=(0, 2)).min() > 0
    torch.testing.assert_close(logits_of(model.eval()), dense, rtol=0, atol=0)


def test_extending_changes_nothing_but_the_positions_at_first():
    plain, extended = some_model().eval(), some_model().eval()
    apply_longlora(extended, LongLoRAConfig(TARGET, rope="default"))
    torch.testing.assert_close(logits_of(extended, TRAINED), logits_of(plain, TRAINED), rtol=0, atol=0)
    assert not extended.training


# Merging.


@pytest.mark.parametrize("method", METHODS)
def test_the_merged_model_is_the_unmerged_one(method):
    model = some_model().double()
    apply_longlora(model, LongLoRAConfig(TARGET, rope=method))
    before = logits_of(shake(model).eval())
    assert merge_to_dense(model) is model
    torch.testing.assert_close(logits_of(model), before, rtol=1e-12, atol=1e-12)
    assert all(type(attention.q_proj) is torch.nn.Linear for attention in model.attention_layers)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_merged_model_is_dense_in_training_too():
    model = some_model()
    apply_longlora(model, LongLoRAConfig(TARGET))
    merge_to_dense(shake(model))
    torch.testing.assert_close(logits_of(model.train()), logits_of(model.eval()), rtol=0, atol=0)
    assert {attention.sparse for attention in model.attention_layers} == {None}


@pytest.mark.parametrize("changes", [{"train": "all"}, None])
def test_a_model_without_lora_can_be_merged_too(changes):
    model = some_model()
    if changes:
        apply_longlora(model, LongLoRAConfig(TARGET, **changes))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    merge_to_dense(model)
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("method", ["default", *METHODS])
def test_transformers_loads_the_merged_model_with_its_positions(tmp_path, method, tied):
    model = some_model(num_key_value_heads=2, tie_word_embeddings=tied)
    fast = 4 if method == "yarn" and tied else None
    apply_longlora(model, LongLoRAConfig(TARGET, rope=method, beta_fast=fast))
    save_tiny_llama(shake(merge_to_dense(shake(model)), seed=1).eval(), tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    ours = logits_of(model.double())
    assert ours.std() > 0.3
    # transformers keeps angles and norms in float32.
    torch.testing.assert_close(logits_of(theirs.double()), ours, rtol=1e-5, atol=1e-5)
    assert theirs.config.max_position_embeddings == (TRAINED if method == "dynamic" else TARGET)


# Training.


@pytest.mark.parametrize("mode", ["adapters", "all"])
def test_a_few_steps_lower_the_loss_and_move_only_what_trains(mode):
    model = some_model()
    apply_longlora(model, LongLoRAConfig(TARGET, train=mode))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    curve = some_steps(model, TARGET, steps=8)
    assert curve[-1]["loss"] < curve[0]["loss"] - 0.2
    moved = {name for name, parameter in model.named_parameters() if (parameter != before[name]).any()}
    assert moved == trainable(model)


def test_plain_lora_at_the_short_context_can_come_first():
    model = some_model()
    add_lora(model, ["q_proj", "v_proj"], rank=2, alpha=4, generator=torch.Generator().manual_seed(0))
    some_steps(model, TRAINED, steps=2)
    adapted = logits_of(model.eval(), TRAINED)
    merge_lora(model)
    report = apply_longlora(model, LongLoRAConfig(TARGET, rope="default"))
    torch.testing.assert_close(logits_of(model, TRAINED), adapted)
    assert report.targets == ("q_proj", "k_proj", "v_proj", "o_proj")
    assert some_steps(model, TARGET, steps=4)[-1]["loss"] < 5.6


# What is refused, before anything changes.


def snapshot(model):
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return model.config, [layer.sparse for layer in model.attention_layers], trainable(model), weights


def assert_refused(model, config, message):
    before, random = snapshot(model), torch.get_rng_state()
    with pytest.raises(ValueError, match=message):
        apply_longlora(model, config)
    after = snapshot(model)
    assert after[:3] == before[:3]
    torch.testing.assert_close(after[3], before[3], rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"context_length": TRAINED}, "context_length must be above the trained context of 16, got 16"),
        ({"context_length": 8}, "context_length must be above the trained context of 16, got 8"),
        ({"trained_length": 64}, "context_length must be above the trained context of 64, got 64"),
        ({"rope": "longrope"}, "method must be one of default, linear, ntk, dynamic, yarn, got 'longrope'"),
        (
            {"targets": ["q_prj"]},
            r"targets must name modules of the model, got 'q_prj' \(near it: q_proj, .*; in the model",
        ),
        ({"targets": []}, "targets must name at least one module, got none"),
        ({"targets": ["norm"]}, "targets must name plain nn.Linear modules, got model.norm"),
        (
            {"also_train": ["embed"]},
            r"also_train must name modules of the model, got 'embed' \(near it: .*embed_tokens",
        ),
        ({"also_train": ["self_attn"]}, "also_train must name modules without LoRA layers inside, got model.layers.0"),
    ],
)
def test_a_recipe_that_does_not_fit_the_model_changes_nothing(fields, message):
    assert_refused(some_model(), LongLoRAConfig(**{"context_length": TARGET} | fields), message)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rope": "junk"}, "rope must be one of default, linear, ntk, dynamic, yarn, llama3, longrope, got 'junk'"),
        ({"rank": 0}, "rank must be a positive integer, got 0"),
        ({"alpha": -1.0}, "alpha must be a number above 0, got -1.0"),
        ({"beta_fast": 1}, "beta_fast must be finite and above 1, got 1"),
        ({"beta_fast": 8, "rope": "linear"}, "beta_fast must be None for rope='linear', got 8"),
        ({"targets": [3]}, "each of targets must be a text, got 3"),
        ({"also_train": 3}, "also_train must be a list of names, got 3"),
    ],
)
def test_fields_that_fit_no_model_are_refused_at_once(fields, message):
    with pytest.raises(ValueError, match=message):
        LongLoRAConfig(TARGET, **fields)


def test_a_model_with_lora_layers_is_not_extended_again():
    model = some_model()
    apply_longlora(model, LongLoRAConfig(TARGET))
    assert_refused(model, LongLoRAConfig(2 * TARGET), "model must have no LoRA layers yet, got model.layers.0")
    assert_refused(model, LongLoRAConfig(2 * TARGET, train="all"), "model must have no LoRA layers yet")


@pytest.mark.parametrize("first", METHODS)
@pytest.mark.parametrize("second", ["default", *METHODS])
def test_a_base_stretched_by_another_rule_is_refused_by_name(first, second):
    model = some_model()
    apply_longlora(model, LongLoRAConfig(TARGET, rope=first))
    merge_to_dense(model)
    if second == first:
        apply_longlora(model, LongLoRAConfig(2 * TARGET, rope=second))
        return
    message = f"rope must be '{first}', with which this model is already stretched by 4, got '{second}'"
    assert_refused(model, LongLoRAConfig(2 * TARGET, rope=second), message)


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_fast_end_of_yarn_stays_through_the_second_stage(tmp_path, on_disk):
    model = some_model()
    report = apply_longlora(model, LongLoRAConfig(2 * TRAINED, beta_fast=4))
    assert report.rope == Rope(8, 100.0, "yarn", 2, TRAINED, 4)
    merge_to_dense(model)
    if on_disk:
        save_tiny_llama(model, tmp_path)
        model = load_tiny_llama(tmp_path)
    message = "beta_fast must be 4, with which this model is already stretched, got 8"
    assert_refused(model, LongLoRAConfig(TARGET, beta_fast=8), message)
    assert apply_longlora(model, LongLoRAConfig(TARGET)).rope == Rope(8, 100.0, "yarn", 4, TRAINED, 4)


def test_files_from_before_there_was_a_choice_of_the_fast_end_are_read():
    model = some_model()
    apply_longlora(model, LongLoRAConfig(TARGET))
    fields = model.config.as_json()
    del fields["longlora_rope"]["beta_fast"]
    assert LlamaConfig.from_json(fields) == model.config


def test_a_factor_is_never_compounded():
    model = some_model()
    apply_longlora(model, LongLoRAConfig(TARGET))
    merge_to_dense(model)
    message = "trained_length must be 16, from which this model is already stretched, got 64"
    assert_refused(model, LongLoRAConfig(2 * TARGET, trained_length=TARGET), message)
    with pytest.raises(ValueError, match=message):
        stretched_rope(model.config.rope, "yarn", trained_length=TARGET, target_length=2 * TARGET)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"context_length": 0}, "context_length must be positive, got 0"),
        ({"train": "some"}, "train must be 'adapters' or 'all', got 'some'"),
        ({"trained_length": 0}, "trained_length must be positive, got 0"),
        ({"group_ratio": 0.0}, "ratio must be .*above 0 and at most 1, got 0.0"),
        ({"group_ratio": 1.5}, "ratio must be .*above 0 and at most 1, got 1.5"),
        ({"group_size": 0}, "group_size must be positive, got 0"),
        ({"shift": 16}, "shift must be from 0 to group_size - 1 = 15, got 16"),
        ({"boundary": "none"}, "boundary must be one of split, wrap, masked, got 'none'"),
        ({"boundary": "wrap", "group_size": 10}, "seq_len must be a multiple of group_size .* got 64 and 10"),
        ({"targets": "q_proj"}, "targets must be a list of names, got the text 'q_proj'"),
        ({"also_train": "norm"}, "also_train must be a list of names, got the text 'norm'"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        LongLoRAConfig(**{"context_length": TARGET} | fields)
