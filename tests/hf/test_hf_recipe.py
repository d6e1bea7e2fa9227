from __future__ import annotations

import copy
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

from longlora_edu.hf import load_longlora, longlora, merge_longlora, use_s2  # noqa: E402
from longlora_edu.longlora import LongLoRAConfig, apply_longlora  # noqa: E402
from longlora_edu.lora import load_adapter, save_adapter  # noqa: E402
from longlora_edu.model import LlamaConfig, TinyLlama, load_tiny_llama, save_tiny_llama  # noqa: E402
from longlora_edu.rope import Rope  # noqa: E402
from longlora_edu.runs.records import write_json  # noqa: E402

TRAINED, TARGET, THETA, FACTOR = 16, 64, 100.0, 4.0
METHODS = ["linear", "ntk", "dynamic", "yarn"]
SIZES = {
    "vocab_size": 48, "hidden_size": 32, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": TRAINED, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
}  # fmt: skip
GROUPED = SIZES | {"num_key_value_heads": 2}
PARTIAL = {"rope_type": "default", "rope_theta": THETA, "partial_rotary_factor": 0.5}


def base_of(family="llama", seed=0, **changes):
    """A random model that its config describes, in evaluation mode."""
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": THETA}}
    config = {
        "llama": lambda: transformers.LlamaConfig(**GROUPED | rope | changes),
        "mistral": lambda: transformers.MistralConfig(**GROUPED | rope | {"sliding_window": None} | changes),
        "qwen2": lambda: transformers.Qwen2Config(**GROUPED | rope | {"tie_word_embeddings": True} | changes),
        "qwen3": lambda: transformers.Qwen3Config(**GROUPED | rope | {"head_dim": 8} | changes),
        "phi3": lambda: transformers.Phi3Config(**GROUPED | rope | changes),
        "gpt_neox": lambda: transformers.GPTNeoXConfig(**SIZES | {"rope_parameters": PARTIAL} | changes),
    }[family]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


def some_ids(rows=2, length=TARGET, seed=0):
    return torch.randint(1, 48, (rows, length), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def logits_of(model, length=TARGET):
    out = model(some_ids(length=length))
    return out if isinstance(out, torch.Tensor) else out.logits


def some_steps(model, steps=1, seed=0, rate=3e-2):
    """A real optimiser on real gradients, at the long context; the losses."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)
    losses = []
    for step in range(steps):
        ids = some_ids(seed=seed + step)
        loss = model.train()(ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    model.eval()
    return losses


def trainable(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def rotary_of(model):
    return next(part for part in model.modules() if hasattr(part, "inv_freq"))


# What trains, in each family's own names.

LLAMA_NAMES = {"embed_tokens", "input_layernorm", "post_attention_layernorm", "norm"}


@pytest.mark.parametrize(
    ("family", "targets", "also"),
    [
        ("llama", {"q_proj", "k_proj", "v_proj", "o_proj"}, LLAMA_NAMES),
        ("mistral", {"q_proj", "k_proj", "v_proj", "o_proj"}, LLAMA_NAMES),
        ("qwen3", {"q_proj", "k_proj", "v_proj", "o_proj"}, LLAMA_NAMES | {"q_norm", "k_norm"}),
        ("phi3", {"qkv_proj", "o_proj"}, LLAMA_NAMES),
        (
            "gpt_neox",
            {"query_key_value", "dense"},
            {"embed_in", "input_layernorm", "post_attention_layernorm", "final_layer_norm"},
        ),
    ],
)
def test_the_default_names_are_found_in_each_family(family, targets, also):
    model = longlora(base_of(family), LongLoRAConfig(TARGET, rope="ntk"))
    expected = set()
    for name, part in base_of(family).named_modules():
        last = name.rpartition(".")[2]
        if last in targets and "mlp" not in name:
            expected |= {f"base_model.model.{name}.lora_{side}.default.weight" for side in "AB"}
        elif last in also:
            keys = (key for key, _ in part.named_parameters())
            expected |= {f"base_model.model.{name}.modules_to_save.default.{key}" for key in keys}
    assert trainable(model) == expected
    assert isinstance(model, peft.PeftModel)
    assert set(model.peft_config["default"].target_modules) == targets
    assert set(model.peft_config["default"].modules_to_save) == also


def test_given_names_rank_and_alpha_are_taken_as_they_are():
    config = LongLoRAConfig(TARGET, rank=2, alpha=6, targets=["mlp.up_proj", "q_proj"], also_train=["model.norm"])
    model = longlora(base_of(), config)
    expected = {"base_model.model.model.norm.modules_to_save.default.weight"}
    for layer in range(2):
        for name in ("self_attn.q_proj", "mlp.up_proj"):
            path = f"base_model.model.model.layers.{layer}.{name}"
            expected |= {f"{path}.lora_{side}.default.weight" for side in "AB"}
    assert trainable(model) == expected
    assert (model.peft_config["default"].r, model.peft_config["default"].lora_alpha) == (2, 6)


def test_a_tied_head_trains_with_the_embedding_and_stays_one_weight():
    base = base_of("qwen2")
    model = longlora(base, LongLoRAConfig(TARGET))
    before = base.get_input_embeddings().weight.detach().clone()
    some_steps(model)
    merged = merge_longlora(model)
    assert merged.get_output_embeddings().weight is merged.get_input_embeddings().weight
    assert merged.config.tie_word_embeddings
    assert (merged.get_input_embeddings().weight != before).any()


def test_training_everything_returns_the_model_itself_without_lora(tmp_path):
    base = base_of().requires_grad_(False)
    model = longlora(base, LongLoRAConfig(TARGET, train="all"))
    assert model is base
    assert trainable(model) == {name for name, _ in model.named_parameters()}
    assert not (logits_of(model.train()) == logits_of(model.eval())).all()
    some_steps(model)
    expected = logits_of(model)
    assert merge_longlora(model) is base
    model.save_pretrained(tmp_path)
    stock = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(logits_of(stock), expected)
    assert stock.config.max_position_embeddings == TARGET


# Positions.


def frequencies_by_hand(method, width):
    """What each method's paper says, one pair of features at a time, at the target length."""
    plain = [THETA ** (-2 * i / width) for i in range(width // 2)]
    if method == "linear":
        return [f / FACTOR for f in plain]
    if method in ("ntk", "dynamic"):
        stretch = FACTOR if method == "ntk" else FACTOR * TARGET / TRAINED - (FACTOR - 1)
        return [(THETA * stretch ** (width / (width - 2))) ** (-2 * i / width) for i in range(width // 2)]
    low, high = (width * math.log(TRAINED / (turns * 2 * math.pi)) / (2 * math.log(THETA)) for turns in (32, 1))
    low, high = max(math.floor(low), 0), min(math.ceil(high), width - 1)
    ramp = [min(max((i - low) / (high - low), 0), 1) for i in range(width // 2)]
    return [f / FACTOR * r + f * (1 - r) for f, r in zip(plain, ramp, strict=True)]


@pytest.mark.parametrize("family", ["llama", "gpt_neox"])
@pytest.mark.parametrize("method", METHODS)
def test_each_method_reaches_the_frequencies_that_the_living_model_uses(method, family):
    changes = {"hidden_size": 64} if family == "gpt_neox" else {}
    base = base_of(family, **changes)
    plain = rotary_of(base).inv_freq.clone()
    longlora(base, LongLoRAConfig(TARGET, rope=method))
    logits_of(base)
    rotary = rotary_of(base)
    np.testing.assert_allclose(rotary.inv_freq, frequencies_by_hand(method, 8), rtol=1e-6)
    assert (rotary.inv_freq / plain - 1).abs().max() > 0.1
    np.testing.assert_allclose(rotary.attention_scaling, 0.1 * math.log(4) + 1 if method == "yarn" else 1)
    assert rotary.config is base.config


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("default", {"rope_type": "default", "rope_theta": THETA}),
        ("linear", {"rope_type": "linear", "rope_theta": THETA, "factor": 4.0}),
        ("ntk", {"rope_type": "default", "rope_theta": THETA * 4 ** (8 / 6)}),
        ("dynamic", {"rope_type": "dynamic", "rope_theta": THETA, "factor": 4.0}),
        (
            "yarn",
            {"rope_type": "yarn", "rope_theta": THETA, "factor": 4.0, "original_max_position_embeddings": TRAINED},
        ),
    ],
)
def test_the_config_states_the_rule_in_the_words_of_transformers(method, parameters):
    config = longlora(base_of(), LongLoRAConfig(TARGET, rope=method)).config
    assert config.rope_parameters == parameters
    assert config.max_position_embeddings == (TRAINED if method == "dynamic" else TARGET)


def test_at_first_nothing_changes_but_the_positions():
    expected = logits_of(base_of(), TRAINED)
    model = longlora(base_of(), LongLoRAConfig(TARGET, rope="default")).eval()
    torch.testing.assert_close(logits_of(model, TRAINED), expected, rtol=0, atol=0)


def test_another_model_that_was_built_from_the_same_config_is_left_alone():
    first = base_of()
    second = transformers.LlamaForCausalLM(first.config)
    before = second.config.to_dict()
    model = longlora(first, LongLoRAConfig(TARGET))
    assert second.config.to_dict() == before
    assert second.config is not model.config


def test_training_looks_inside_groups_of_the_config_and_evaluation_everywhere():
    model = longlora(base_of(), LongLoRAConfig(TARGET, shift=5))
    same = longlora(base_of(), LongLoRAConfig(TARGET, group_size=16, shift=5, rank=1))
    other = longlora(base_of(), LongLoRAConfig(TARGET, group_size=24, shift=5))
    sparse, dense = logits_of(model.train()), logits_of(model.eval())
    torch.testing.assert_close(sparse[:, :5], dense[:, :5])
    assert (sparse - dense)[:, 16:].abs().amax(dim=(0, 2)).min() > 0
    torch.testing.assert_close(logits_of(same.train()), sparse)
    assert (logits_of(other.train()) - sparse)[:, 16:24].abs().max() > 1e-3
    assert model.config.longlora["s2"] == {"group_size": 16, "shift": 5, "boundary": "split"}


def test_generation_may_go_past_the_old_context():
    base = base_of()
    base.generation_config.max_length = TRAINED
    model = longlora(base, LongLoRAConfig(TARGET, rope="dynamic")).eval()
    assert model.generate(some_ids(1, 30), do_sample=False, eos_token_id=-1).shape == (1, TARGET)


# One adapter folder, and the way through it and back.

ROUND_TRIPS = {"llama": "yarn", "qwen2": "linear", "mistral": "ntk", "gpt_neox": "dynamic", "phi3": "ntk"}
FRESH_PROCESS = """
import sys, torch
from pathlib import Path
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
from longlora_edu.hf import load_longlora, merge_longlora
ids = torch.tensor(eval(sys.argv[2]))
for folder in sorted(Path(sys.argv[1]).iterdir()):
    base = AutoModelForCausalLM.from_pretrained(folder / "base")
    model = load_longlora(base, folder / "adapter")
    with torch.no_grad():
        logits = {"adapter": model(ids).logits}
        merged = merge_longlora(model)
        logits["merged"] = merged(ids).logits
    merged.save_pretrained(folder / "merged")
    save_file(logits, folder / "logits.safetensors")
"""


@pytest.fixture(scope="module")
def trips(tmp_path_factory):
    """For each family: a model trained for one step and saved here, loaded, merged and saved by a fresh process."""
    root, expected = tmp_path_factory.mktemp("trips"), {}
    for family, method in ROUND_TRIPS.items():
        base = base_of(family)
        base.save_pretrained(root / family / "base")
        model = longlora(base, LongLoRAConfig(TARGET, rope=method))
        some_steps(model)
        model.save_pretrained(root / family / "adapter")
        expected[family] = logits_of(model)
    arguments = [sys.executable, "-c", FRESH_PROCESS, str(root), str(some_ids().tolist())]
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    subprocess.run(arguments, check=True, timeout=300, env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"})
    return root, expected


@pytest.mark.parametrize("family", ROUND_TRIPS)
def test_an_adapter_comes_back_in_a_fresh_process_and_stock_transformers_loads_the_merged_model(trips, family):
    root, expected = trips
    fresh = load_file(root / family / "logits.safetensors")
    stock = transformers.AutoModelForCausalLM.from_pretrained(root / family / "merged")
    assert expected[family].std() > 0.3
    torch.testing.assert_close(fresh["adapter"], expected[family])
    torch.testing.assert_close(fresh["merged"], expected[family], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits_of(stock), expected[family], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ROUND_TRIPS)
def test_both_folders_state_the_positions(trips, family):
    root, method = trips[0], ROUND_TRIPS[family]
    width = 4 if family == "gpt_neox" else 8
    rope = Rope(width, THETA, method, FACTOR, TRAINED)
    for folder in ("adapter", "merged"):
        config = json.loads((root / family / folder / "config.json").read_text())
        config["rope_parameters"].pop("partial_rotary_factor", None)
        assert config["rope_parameters"] == rope.rope_parameters()
        assert config["max_position_embeddings"] == (TRAINED if method == "dynamic" else TARGET)
        assert ("longlora" in config) == (folder == "adapter")


@pytest.mark.parametrize("family", ROUND_TRIPS)
def test_the_files_of_peft_alone_give_other_logits(trips, family):
    root, expected = trips
    base = transformers.AutoModelForCausalLM.from_pretrained(root / family / "base")
    alone = logits_of(peft.PeftModel.from_pretrained(base, root / family / "adapter").eval())
    assert (alone - expected[family]).abs().max() > 0.1
    # Positions are all that is missing: where they do not matter yet, the logits are right.
    if ROUND_TRIPS[family] != "yarn":
        torch.testing.assert_close(alone[:, 0], expected[family][:, 0])


def test_an_adapter_that_is_loaded_to_train_goes_on_as_if_it_had_not_stopped(tmp_path):
    base = base_of()
    model = longlora(base_of(), LongLoRAConfig(TARGET))
    some_steps(model)
    model.save_pretrained(tmp_path)
    loaded = load_longlora(base, tmp_path, trainable=True)
    assert trainable(loaded) == trainable(model)
    np.testing.assert_allclose(some_steps(loaded, 2, seed=1), some_steps(model, 2, seed=1), rtol=1e-6)


def test_an_adapter_that_is_loaded_to_be_used_is_frozen(tmp_path):
    longlora(base_of(), LongLoRAConfig(TARGET)).save_pretrained(tmp_path)
    state = torch.get_rng_state()
    loaded = load_longlora(base_of().train(), tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    assert trainable(loaded) == set()
    assert not any(module.training for module in loaded.modules())


def test_an_adapter_folder_is_not_taken_for_a_model(trips):
    with pytest.raises(ValueError, match=r"call longlora_edu.hf.load_longlora\(base, folder\)"):
        transformers.AutoModelForCausalLM.from_pretrained(trips[0] / "llama" / "adapter")


def test_an_original_context_that_the_model_does_not_know_can_be_stated(tmp_path):
    model = longlora(base_of(max_position_embeddings=32), LongLoRAConfig(TARGET, trained_length=TRAINED))
    assert model.config.rope_parameters["factor"] == FACTOR
    model.save_pretrained(tmp_path)
    loaded = load_longlora(base_of(max_position_embeddings=32), tmp_path)
    torch.testing.assert_close(logits_of(loaded), logits_of(model.eval()), rtol=0, atol=0)


@pytest.mark.parametrize("method", METHODS)
def test_a_second_stage_counts_from_the_original_context(tmp_path, method):
    model = longlora(base_of(), LongLoRAConfig(2 * TRAINED, rope=method))
    some_steps(model)
    merge_longlora(model).save_pretrained(tmp_path / "first")
    first = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "first")
    second = longlora(first, LongLoRAConfig(TARGET, rope=method))
    np.testing.assert_allclose(Rope(**second.config.longlora_rope).frequencies(TARGET), frequencies_by_hand(method, 8))
    second.save_pretrained(tmp_path / "adapter")
    base = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "first")
    torch.testing.assert_close(
        logits_of(load_longlora(base, tmp_path / "adapter")), logits_of(second.eval()), rtol=0, atol=0
    )
    with pytest.raises(
        ValueError, match="base must have the max_position_embeddings|base must have the rope_parameters"
    ):
        load_longlora(base_of(), tmp_path / "adapter")


def test_a_merged_model_is_dense_in_training_too_and_trains_whole():
    model = longlora(base_of(), LongLoRAConfig(TARGET))
    some_steps(model)
    merged = merge_longlora(model)
    torch.testing.assert_close(logits_of(merged.train()), logits_of(merged.eval()), rtol=0, atol=0)
    assert trainable(merged) == {name for name, _ in base_of().named_parameters()}
    assert type(merged) is transformers.LlamaForCausalLM
    with pytest.raises(
        ValueError, match="model must come from longlora or load_longlora, got a plain LlamaForCausalLM"
    ):
        merge_longlora(merged)


# One format with the small model of this package.


def tiny_llama(tied):
    config = LlamaConfig(
        Rope(8, THETA, trained_length=TRAINED), hidden_size=32, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=TRAINED, tie_word_embeddings=tied,
    )  # fmt: skip
    return TinyLlama(config, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("tied", [False, True])
def test_an_adapter_of_the_small_model_loads_on_its_transformers_twin(tmp_path, tied):
    model = tiny_llama(tied)
    save_tiny_llama(model, tmp_path / "base")
    recipe = LongLoRAConfig(TARGET)
    apply_longlora(model, recipe)
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.requires_grad):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)), alpha=0.1)
    save_adapter(model, tmp_path / "adapter", also_trained=recipe.also_train)
    write_json(tmp_path / "adapter" / "config.json", model.config.as_json())
    base = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    loaded = load_longlora(base, tmp_path / "adapter")
    torch.testing.assert_close(logits_of(loaded), logits_of(model.eval()), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits_of(loaded.train()), logits_of(loaded.eval()), rtol=0, atol=0)
    merged = merge_longlora(loaded)
    torch.testing.assert_close(logits_of(merged), logits_of(model.eval()), rtol=1e-4, atol=1e-5)


def test_an_adapter_of_the_twin_loads_on_the_small_model(tmp_path):
    save_tiny_llama(tiny_llama(False), tmp_path / "base")
    twin = longlora(
        transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base"), LongLoRAConfig(TARGET, rope="default")
    )
    some_steps(twin)
    twin.save_pretrained(tmp_path / "adapter")
    small = load_tiny_llama(tmp_path / "base")
    load_adapter(small, tmp_path / "adapter")
    torch.testing.assert_close(logits_of(small, TRAINED), logits_of(twin, TRAINED), rtol=1e-4, atol=1e-5)


# Inside transformers.Trainer, unchanged, on one process and on two.

TRAINING = """
import sys
import torch, transformers
from longlora_edu.hf import longlora
from longlora_edu.longlora import LongLoRAConfig

class Losses(transformers.TrainerCallback):
    def on_log(self, args, state, control, logs, **kwargs):
        if state.is_world_process_zero and "loss" in logs:
            print("loss", state.global_step, repr(float(logs["loss"])), flush=True)

def train(folder, rows_per_device, resume=None):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=48, hidden_size=32, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=16, pad_token_id=0, bos_token_id=0, eos_token_id=0,
    )
    model = longlora(transformers.LlamaForCausalLM(config), LongLoRAConfig(64))
    ids = 1 + (torch.arange(64) + 5 * torch.arange(16)[:, None]) % 47
    arguments = transformers.TrainingArguments(
        folder, per_device_train_batch_size=rows_per_device, max_steps=4, learning_rate=1e-2, logging_steps=1,
        save_steps=2, report_to="none", use_cpu=True, disable_tqdm=True, seed=0, logging_nan_inf_filter=False,
        gradient_checkpointing=True,
    )
    rows = [{"input_ids": row, "labels": row} for row in ids]
    transformers.Trainer(model, arguments, train_dataset=rows, callbacks=[Losses()]).train(resume)
    return model

if __name__ == "__main__":
    train(sys.argv[1], int(sys.argv[2]))
    if torch.distributed.is_initialized():  # left to the interpreter's exit, gloo's threads now and then abort it
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
"""


def losses_in(text):
    return [float(line.split()[2]) for line in text.splitlines() if line.startswith("loss ")]


def test_the_trainer_of_transformers_trains_it_and_its_checkpoints_keep_the_positions(tmp_path, capsys):
    space = {"__name__": "training"}
    exec(TRAINING, space)
    model = space["train"](str(tmp_path), 4)
    losses = losses_in(capsys.readouterr().out)
    assert len(losses) == 4
    assert losses[-1] < losses[0]
    torch.manual_seed(0)
    base = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**GROUPED | {"rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0}})
    )
    loaded = load_longlora(base, tmp_path / "checkpoint-4")
    torch.testing.assert_close(logits_of(loaded), logits_of(model.eval()), rtol=0, atol=0)
    space["train"](str(tmp_path / "again"), 4, str(tmp_path / "checkpoint-2"))
    np.testing.assert_allclose(losses_in(capsys.readouterr().out), losses[2:], rtol=0, atol=1e-6)


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one(tmp_path):
    script = tmp_path / "training.py"
    script.write_text(TRAINING)
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    several = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    curves = []
    for launcher, rows in (([sys.executable], 4), (several, 2)):
        command = [*launcher, str(script), str(tmp_path / f"out{rows}"), str(rows)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
        curves.append(losses_in(done.stdout))
    assert len(curves[0]) == 4
    assert curves[0][-1] < curves[0][0]
    np.testing.assert_allclose(curves[1], curves[0], rtol=0, atol=1e-5)
    one, two = (load_file(tmp_path / out / "checkpoint-4" / "adapter_model.safetensors") for out in ("out4", "out2"))
    torch.testing.assert_close(two, one, rtol=1e-3, atol=1e-4)


# What is refused, before anything changes.


def snapshot(model):
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = model.config.to_dict(), model.config._attn_implementation, trainable(model), model.training
    return state, weights, rotary_of(model).inv_freq.clone() if not isinstance(model, GPT2) else torch.zeros(1)


GPT2 = transformers.GPT2LMHeadModel


def assert_refused(model, message, change):
    before, random = snapshot(model), torch.get_rng_state()
    with pytest.raises(ValueError, match=message):
        change(model)
    after = snapshot(model)
    assert after[0] == before[0]
    torch.testing.assert_close(after[1:], before[1:], rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), random)
    assert not any("lora" in name for name, _ in model.named_modules())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"context_length": TRAINED}, "context_length must be above the trained context of 16, got 16"),
        ({"trained_length": TARGET}, "context_length must be above the trained context of 64, got 64"),
        ({"rope": "longrope"}, "got 'longrope'"),
        ({"targets": ["q_prj"]}, r"targets must name modules of the model, got 'q_prj' \(near it: q_proj"),
        ({"targets": ["query_key_value"]}, "targets must name modules of the model, got 'query_key_value'"),
        ({"targets": []}, "targets must name at least one module, got none"),
        ({"targets": ["norm"]}, "targets must name Linear modules, got model.norm, which is LlamaRMSNorm"),
        ({"also_train": ["ln_f"]}, "also_train must name modules of the model, got 'ln_f'"),
        ({"also_train": ["self_attn"]}, "also_train must name modules without LoRA layers inside, got model.layers.0"),
    ],
)
def test_a_recipe_that_does_not_fit_the_model_changes_nothing(fields, message):
    fields = {"context_length": TARGET} | fields  # some are refused by the config, others by the model
    assert_refused(base_of(), message, lambda model: longlora(model, LongLoRAConfig(**fields)))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"rope_type": "linear", "factor": 2.0}, "rope must be 'linear', with which .* stretched by 2, got 'yarn'"),
        ({"rope_type": "dynamic", "factor": 2.0}, "rope must be 'dynamic', with which .* stretched by 2, got 'yarn'"),
        (
            {"rope_type": "llama3", "factor": 2.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
             "original_max_position_embeddings": 8},
            "rope must be 'llama3', with which this model is already stretched by 2, got 'yarn'",
        ),
        (
            {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 8, "beta_slow": 2},
            "rope_parameters must hold only the fields of 'yarn', got {'beta_slow': 2}",
        ),
    ],
)  # fmt: skip
def test_a_base_scaled_by_another_rule_is_refused_by_name(rule, message):
    base = base_of(rope_parameters={"rope_theta": THETA} | rule)
    assert_refused(base, message, lambda model: longlora(model, LongLoRAConfig(TARGET)))


def test_a_linear_base_that_says_where_it_began_is_stretched_from_there():
    rule = {"rope_type": "linear", "factor": 2.0, "rope_theta": THETA}
    config = LongLoRAConfig(8 * TRAINED, rope="linear", trained_length=TRAINED)
    model = longlora(base_of(rope_parameters=rule), config)
    assert model.config.rope_parameters == rule | {"factor": 8.0}
    message = "rope must be 'linear', with which this model is already stretched by 2, got 'yarn'"
    config = LongLoRAConfig(8 * TRAINED, trained_length=TRAINED)
    assert_refused(base_of(rope_parameters=rule), message, lambda model: longlora(model, config))


@pytest.mark.parametrize("method", ["linear", "dynamic", "yarn"])
def test_a_rule_that_a_family_would_not_keep_is_refused_by_name(method):
    # Phi-3 reads "yarn" back as "longrope" and takes no other rule, whatever was written.
    message = f"rope must be a rule that Phi3Config accepts, got '{method}'"
    assert_refused(base_of("phi3"), message, lambda model: longlora(model, LongLoRAConfig(TARGET, rope=method)))


class ForgetfulConfig(transformers.LlamaConfig):
    """A family that knows no other rule, and says nothing."""

    @classmethod
    def from_dict(cls, values, **options):
        return super().from_dict(values | {"rope_parameters": {"rope_type": "default", "rope_theta": THETA}}, **options)


class FixedRotary(torch.nn.Module):
    """A family whose frequencies do not come from its config."""

    def __init__(self, config):
        super().__init__()
        self.inv_freq, self.attention_scaling = torch.tensor([1.0, 0.5, 0.25, 0.125]), 1.0


def test_a_family_that_does_not_follow_its_config_is_refused():
    base = base_of()
    message = "rope must be a rule that ForgetfulConfig keeps, got 'yarn', read back as .*default"
    base.config.__class__ = ForgetfulConfig
    assert_refused(base, message, lambda model: longlora(model, LongLoRAConfig(TARGET)))
    base = base_of()
    base.model.rotary_emb = FixedRotary(base.config)
    message = "rope must be a rule that FixedRotary follows, got 'linear'"
    assert_refused(base, message, lambda model: longlora(model, LongLoRAConfig(TARGET, rope="linear")))


def test_models_without_one_rotary_rule_are_refused():
    config = transformers.GPT2Config(vocab_size=48, n_embd=16, n_layer=1, n_head=2, n_positions=TRAINED)
    message = "model must have rotary positions .*, got GPT2LMHeadModel"
    assert_refused(GPT2(config), message, lambda model: longlora(model, LongLoRAConfig(TARGET)))
    gemma = transformers.Gemma3TextConfig(**GROUPED | {"head_dim": 8})
    model = transformers.Gemma3ForCausalLM(gemma)
    with pytest.raises(ValueError, match="rope_parameters must be one rule for all layers, got one each for"):
        longlora(model, LongLoRAConfig(TARGET))


def test_attention_that_cannot_be_made_sparse_is_refused_before_anything_changes():
    base = base_of("mistral", sliding_window=8)
    assert_refused(base, "sliding", lambda model: longlora(model, LongLoRAConfig(TARGET)))


def test_tied_weights_that_peft_would_tear_apart_are_refused():
    message = "must leave a head tied to model.embed_tokens to the embedding, got lm_head"
    for fields in ({"also_train": ["lm_head"]}, {"targets": ["lm_head"]}):
        config = LongLoRAConfig(TARGET, **fields)
        assert_refused(base_of("qwen2"), message, lambda model, config=config: longlora(model, config))
    message = "an embedding tied to (lm_head|embed_out) .* it knows embed_tokens, lm_head, got .*embed_in"
    config = LongLoRAConfig(TARGET, rope="linear")
    assert_refused(base_of("gpt_neox", tie_word_embeddings=True), message, lambda model: longlora(model, config))
    config = LongLoRAConfig(TARGET, rope="linear", also_train=["final_layer_norm"])
    assert trainable(longlora(base_of("gpt_neox", tie_word_embeddings=True), config))


def test_a_model_that_has_adapters_already_is_refused():
    model = longlora(base_of(), LongLoRAConfig(TARGET))
    with pytest.raises(ValueError, match="model must be a transformers model without adapters, got LongLoRAModel"):
        longlora(model, LongLoRAConfig(2 * TARGET))
    with pytest.raises(
        ValueError, match=r"model must have no adapters yet, got model.layers.0.self_attn.q_proj, .*more"
    ):
        longlora(model.get_base_model(), LongLoRAConfig(2 * TARGET))


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapter")
    model = longlora(base_of(), LongLoRAConfig(TARGET))
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("base", "message"),
    [
        (lambda: base_of("mistral"), "base must have model_type 'llama' .*, got 'mistral'"),
        (lambda: base_of(hidden_size=64), "base must have the hidden_size of the one trained on, 32 .*, got 64"),
        (lambda: base_of(vocab_size=49), "base must have the vocab_size of the one trained on, 48 .*, got 49"),
        (lambda: base_of(num_hidden_layers=1), "base must have the num_hidden_layers of .* 2 .*, got 1"),
        (lambda: base_of(num_key_value_heads=4), "base must have the num_key_value_heads of .* 2 .*, got 4"),
        (lambda: base_of(tie_word_embeddings=True), "base must have the tie_word_embeddings of .* False .*, got True"),
        (lambda: base_of(max_position_embeddings=32), "base must have the max_position_embeddings of .* 16 .*, got 32"),
        (
            lambda: base_of(rope_parameters={"rope_type": "default", "rope_theta": 200.0}),
            r"base must have the rope_parameters of .*100.0.*, got .*200.0",
        ),
    ],
)
def test_an_adapter_is_not_put_on_another_base(adapter, base, message):
    assert_refused(base(), message, lambda model: load_longlora(model, adapter))


def without(name):
    return lambda folder: (folder / name).unlink()


def rewritten(name, **changes):
    def change(folder):
        values = json.loads((folder / name).read_text())
        for key, value in changes.items():
            values[key] = value
        (folder / name).write_text(json.dumps({key: value for key, value in values.items() if value is not None}))

    return change


def cut(folder):
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def one_tensor_less(folder):
    tensors = load_file(folder / "adapter_model.safetensors")
    tensors.pop("base_model.model.model.norm.weight")
    save_file(tensors, folder / "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without("config.json"), "must hold config.json, got none: PEFT's files alone lose the positions .*#181"),
        (without("adapter_config.json"), "must hold adapter_config.json, got .*adapter_model.safetensors"),
        (without("adapter_model.safetensors"), "must hold adapter_model.safetensors, got .*adapter_config.json"),
        (
            rewritten("config.json", longlora_rope=None),
            "config.json must be the config of a model stretched by longlora",
        ),
        (
            rewritten("config.json", max_position_embeddings=128),
            "config.json must reach 64 tokens by its longlora_rope, got 128",
        ),
        (
            rewritten("config.json", rope_parameters={"rope_type": "linear", "rope_theta": THETA, "factor": 4.0}),
            "config.json must fit the base: longlora_rope must agree with what rope_parameters say",
        ),
        (rewritten("adapter_config.json", peft_type="IA3"), "peft_type 'LORA', got"),
        (rewritten("adapter_config.json", target_modules=["q_prj"]), "adapter_config.json must fit the base: "),
        (rewritten("adapter_config.json", r=4), "must hold .*lora_A.weight of shape and kind .*4, 32.*, got .*8, 32"),
        (cut, "adapter_model.safetensors must be a safetensors file, got"),
        (one_tensor_less, "must hold the 22 tensors of its config, got no base_model.model.model.norm.weight"),
    ],
)
def test_a_folder_that_is_not_whole_changes_nothing(adapter, tmp_path, damage, message):
    for path in adapter.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    damage(tmp_path)
    assert_refused(base_of(), message, lambda model: load_longlora(model, tmp_path))


def test_plain_s2_can_still_be_switched_on_after_merging():
    merged = merge_longlora(longlora(base_of(), LongLoRAConfig(TARGET)))
    use_s2(merged, group_size=16)
    assert not (logits_of(copy.deepcopy(merged).train()) == logits_of(merged.eval())).all()
