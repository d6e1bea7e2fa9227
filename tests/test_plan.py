from __future__ import annotations

import json

import pytest

from longlora_edu.cost import ModelShape, step_ratio
from longlora_edu.geometry import S2Geometry
from longlora_edu.longlora import LongLoRAConfig, apply_longlora
from longlora_edu.model import bundled_model
from longlora_edu.plan import (
    COUNTED,
    STRETCHES,
    advise,
    is_plain,
    plan,
    shape_from_config,
    trained_parameters,
    training_memory,
)

LLAMA = ModelShape.llama2_7b()
CONFIG = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "intermediate_size": 11008,
    "vocab_size": 32000,
    "max_position_embeddings": 4096,
}


def test_a_config_says_the_shape_and_the_context():
    assert shape_from_config(CONFIG) == (LLAMA, 4096)
    assert shape_from_config(CONFIG | {"sliding_window": 9, "use_sliding_window": False}) == (LLAMA, 4096)
    grouped = CONFIG | {"num_key_value_heads": 8, "head_dim": 64, "tie_word_embeddings": True}
    shape, _ = shape_from_config(grouped)
    assert (shape.kv_heads, shape.head_dim, shape.tied) == (8, 64, True)
    assert shape_from_config({k: v for k, v in CONFIG.items() if k != "max_position_embeddings"})[1] is None


@pytest.mark.parametrize("family", [family for family in COUNTED if family != "longlora_edu"])
def test_the_count_is_that_of_transformers(family):
    import torch
    import transformers

    sizes = CONFIG | {
        "model_type": family, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 96, "vocab_size": 512, "pad_token_id": 0,
        "tie_word_embeddings": False,
    }  # fmt: skip
    config = transformers.AutoConfig.for_model(**sizes)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    counted = shape_from_config(config.to_dict() | {"sliding_window": None})[0].parameters.total
    assert counted == pytest.approx(model.num_parameters(), rel=0.01)  # biases and norms inside attention are left out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt_neox"}, "model_type must be one of llama, .*, got 'gpt_neox'"),
        ({"model_type": None}, "got None"),
        ({"hidden_size": 0}, "width must be a positive integer, got 0"),
        ({"sliding_window": 4096}, r"sliding_window must be null for S²-Attn \(set it, where .*, got 4096"),
        ({"layer_types": ["sliding_attention", "full_attention"]}, "must all be full_attention .*, got sliding_att"),
    ],
)
def test_a_config_that_cannot_be_counted_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        shape_from_config(CONFIG | change)
    with pytest.raises(ValueError, match="config must state vocab_size, got none"):
        shape_from_config({name: value for name, value in CONFIG.items() if name != "vocab_size"})
    with pytest.raises(ValueError, match="config must be a JSON object, got list"):
        shape_from_config([])


def test_trained_parameters_are_those_that_the_recipe_trains():
    model = bundled_model()
    shape, _ = shape_from_config(json.loads(json.dumps(model.config.as_json() | {"model_type": "llama"})))
    report = apply_longlora(model, LongLoRAConfig(2048))
    assert trained_parameters(shape) == report.trainable_parameters
    found = plan(shape, 2048, trained_context=256)
    assert found.trained_share == pytest.approx(report.trainable_share)
    assert trained_parameters(shape, train="all") == shape.parameters.total


def test_the_gain_is_that_of_the_closed_form_and_grows_with_the_context():
    found = plan(LLAMA, 32768, trained_context=4096, checkpointing=False)
    assert found.group_size == 8192
    assert found.gain == pytest.approx(step_ratio(LLAMA, S2Geometry(32768, 8192, 32), rank=8))
    gains = [plan(LLAMA, context).gain for context in (8192, 16384, 32768, 65536)]
    assert gains == sorted(gains)


def test_a_billion_tokens_in_as_many_groups_are_planned_without_building_a_cell(monkeypatch):
    monkeypatch.setattr(S2Geometry, "cells", None)
    found = plan(LLAMA, 10**9, trained_context=4096, group_ratio=1e-9)
    assert found.group_size == 1
    assert found.gain > 1000


def test_what_is_not_kept_is_computed_again():
    kept, again = (plan(LLAMA, 8192, checkpointing=checkpointing) for checkpointing in (False, True))
    assert again.step.total > kept.step.total
    assert again.memory.activations < kept.memory.activations / 5
    # A forward pass more on two to three of them.
    assert 1.3 < again.step.total / kept.step.total < 1.5


def test_hours_rest_on_a_rate_or_are_not_given():
    assert plan(LLAMA, 8192).hours is None
    slow, fast = (plan(LLAMA, 8192, steps=10, batch=2, accumulate=1, tflops=rate) for rate in (100, 200))
    assert slow.hours == pytest.approx(2 * fast.hours)
    assert slow.hours == pytest.approx(20 * slow.step.total / 100e12 / 3600)
    assert slow.hours_dense / slow.hours == pytest.approx(slow.gain)


def test_memory_counts_what_learns_more_than_what_is_frozen():
    adapters, everything = (training_memory(LLAMA, 8192, train=train) for train in ("adapters", "all"))
    assert everything.optimizer == 12 * LLAMA.parameters.total
    assert adapters.optimizer == 12 * trained_parameters(LLAMA)
    assert adapters.weights == pytest.approx(2 * LLAMA.parameters.total, rel=0.1)
    assert adapters.total == sum((adapters.weights, adapters.optimizer, adapters.activations, adapters.loss))
    assert training_memory(LLAMA, 16384).loss == training_memory(LLAMA, 8192).loss
    assert training_memory(LLAMA, 8192, bf16=False).weights > adapters.weights


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({"context": 4097}, "^train dense with YaRN instead"),
        ({"context": 4096}, "nothing to stretch: the model reads 4096 tokens already; train dense instead"),
        ({"context": 512}, "nothing to stretch: the model reads 4096 tokens already; train dense instead"),
        ({"context": 16384}, "S² pays a little"),
        ({"context": 32768}, "S² pays: "),
        (
            {"context": 32768, "memory": 16e9},
            "does not fit: it needs about .* GB of 16.0; in this order, try a shorter --context",
        ),
        (
            {"context": 32768, "memory": 16e9, "train": "all", "checkpointing": False, "bf16": False},
            "try --gradient-checkpointing, --train adapters, --bf16",
        ),
    ],
)
def test_the_verdict_says_what_to_do(options, verdict):
    import re

    assert re.search(verdict, plan(LLAMA, trained_context=4096, **options).verdict)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be a positive integer, got 0"),
        ({"batch": 1.5}, "batch must be a positive integer, got 1.5"),
        ({"memory": 0}, "memory must be positive and finite, got 0"),
        ({"tflops": float("inf")}, "tflops must be positive and finite, got inf"),
        ({"train": "some"}, "train must be 'adapters' or 'all', got 'some'"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        plan(LLAMA, **{"context": 8192, "trained_context": 4096} | options)


@pytest.mark.parametrize(
    ("context", "trained", "gain", "use", "why"),
    [
        (4096, 4096, 9.0, "nothing", "the model reads 4,096 tokens already"),
        (4097, 4096, 9.0, "stretch only", "at 1 times its context"),
        (8192, 4096, 9.0, "stretch only", "at 2 times its context, new positions alone may do"),
        (8193, 4096, 1.2, "full attention", "S² would make a step 1.20 times as fast by FLOPs"),
        (8193, 4096, 1.49, "full attention", "1.49 times"),
        (8193, 4096, 1.5, "S²", "1.50 times as fast by FLOPs; end with a part of full attention, and measure"),
        (8192, None, 1.2, "full attention", "1.20"),
    ],
)
def test_the_advice_is_one_of_four_with_its_reason(context, trained, gain, use, why):
    found = advise(context, trained, gain)
    assert found.use == use
    assert why in found.why


def test_a_plan_gives_the_advice_of_its_own_numbers():
    uses = [plan(LLAMA, n, trained_context=4096).advice.use for n in (4096, 8192, 16384, 32768)]
    assert uses == ["nothing", "stretch only", "full attention", "S²"]
    assert STRETCHES == 2


# The command.


def run(*options):
    from typer.testing import CliRunner

    from longlora_edu.cli import app

    return CliRunner().invoke(app, ["plan", *map(str, options)])


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


def test_the_command_reads_a_folder_or_the_file_itself(folder):
    for model in (folder, folder / "config.json"):
        done = run("--model", model, "--context", 32768, "--memory", 80, "--tflops", 200)
        assert done.exit_code == 0, done.output
        assert "S² pays: by FLOPs a step is" in done.output
        assert "200 TFLOPS, given" in done.output
        assert f"use                       S²: {plan(LLAMA, 32768, trained_context=4096).advice.why}" in done.output
        assert f"{plan(LLAMA, 32768, tflops=200).hours:,.1f} with S²" in done.output


def test_the_command_prints_json(folder):
    found = json.loads(run("--model", folder, "--context", 32768, "--tflops", 200, "--json").output)
    assert found["gain"] == pytest.approx(plan(LLAMA, 32768).gain)
    assert found["tflops"] == 200
    assert found["advice"]["use"] == "S²"
    assert found["memory"]["optimizer"] == plan(LLAMA, 32768).memory.optimizer


def test_without_a_rate_the_machine_is_measured_and_that_is_said(folder, monkeypatch):
    import longlora_edu.runs.timing

    monkeypatch.setattr(longlora_edu.runs.timing, "reached_tflops", lambda bf16: 0.5)
    assert "0.5 TFLOPS, measured on products" in run("--model", folder, "--context", 8192).output


def test_a_rate_is_measured_in_the_time_it_is_given():
    import time

    from longlora_edu.runs.timing import reached_tflops

    began = time.perf_counter()
    assert 0 < reached_tflops(seconds=0.05, width=64) < 1000
    assert time.perf_counter() - began < 5
    with pytest.raises(ValueError, match="seconds must be positive, got 0"):
        reached_tflops(seconds=0)


def test_the_command_says_which_file_to_bring(tmp_path, folder, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "empty").mkdir()
    for model, message in (
        (tmp_path / "empty", "must be a folder with config.json, got"),
        ("someone/model-7b", "bring config.json of someone/model-7b"),
    ):
        done = run("--model", model, "--context", 8192)
        assert done.exit_code == 1
        assert message in done.output
    done = run("--model", folder, "--context", 4096, "--tflops", 1)
    assert (done.exit_code, "nothing to stretch: the model reads 4096 tokens already" in done.output) == (0, True)


def test_memory_counts_sequences_at_a_time_expanded_keys_and_turned_queries():
    import dataclasses

    one, many = (training_memory(LLAMA, 8192, batch=batch) for batch in (1, 16))
    assert many.activations == 16 * one.activations
    assert (many.weights, many.optimizer) == (one.weights, one.optimizer)
    grouped = dataclasses.replace(LLAMA, kv_heads=8)
    # Per token and layer: k and v are read and written once less for 24 heads, and copied for all 32.
    fewer, copies, turned = 2 * 2 * 24 * 128, 2 * 2 * 32 * 128, 4 * 24 * 128
    assert training_memory(grouped, 8192).activations - one.activations == 8192 * (copies - fewer - turned)
    assert "try --batch 1, --gradient" in plan(LLAMA, 8192, batch=16, memory=20e9, checkpointing=False).verdict


def test_a_config_that_could_be_refused_is_not_plain():
    assert is_plain(CONFIG)
    assert is_plain(CONFIG | {"rope_theta": 500_000, "architectures": ["LlamaForCausalLM"], "hidden_act": "silu"})
    for change in (
        {"model_type": "qwen2"}, {"rope_scaling": {"rope_type": "linear", "factor": 2}}, {"rope_theta": "high"},
        {"num_attention_heads": 3}, {"head_dim": 7}, {"architectures": ["Other"]}, {"max_position_embeddings": None},
        {"quantization_config": {}}, {"layer_types": ["full_attention"]},
    ):  # fmt: skip
        assert not is_plain(CONFIG | change), change


def test_plan_of_a_plain_config_starts_in_two_seconds_without_a_model_library(folder):
    import os
    import subprocess
    import sys
    from pathlib import Path

    code = (
        "import resource, sys\nfrom longlora_edu.cli import app\n"
        f"app(['plan', '--model', {str(folder)!r}, '--context', '32768', '--tflops', '60'], standalone_mode=False)\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(sorted({'torch', 'transformers', 'peft'} & set(sys.modules)), used.ru_utime + used.ru_stime)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    libraries, seconds = done.stdout.splitlines()[-1].rsplit(" ", 1)
    assert libraries == "[]"
    assert float(seconds) < 2
