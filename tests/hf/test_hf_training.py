"""The path of a real model through the command line, on the small model of the package: it has the layout of one."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from helpers import smollm2_file, write_text
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from longlora_edu.cli import app
from longlora_edu.hf import longlora
from longlora_edu.hf.configs import causal_config
from longlora_edu.hf.data import TokenWindows, length_histogram, read_data, tokenised
from longlora_edu.hf.loading import check_family, load_causal_model, load_tokenizer
from longlora_edu.hf.loss import NextTokenLoss, check_head
from longlora_edu.hf.measure import with_adapter
from longlora_edu.hf.pairs import IGNORED, Pair, read_pairs, tokenised_pair
from longlora_edu.hf.run_training import TrainingSettings, run_training
from longlora_edu.hf.scores import TAIL, score_perplexity, score_retrieval, windows_of
from longlora_edu.longlora import LongLoRAConfig
from longlora_edu.training.corpus import Document
from longlora_edu.training.passkey import hide_passkey

ROOT = Path(__file__).parents[2]
MODEL = str(ROOT / "longlora_edu" / "assets" / "model256")  # small and quick to extend: its context is 256


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(MODEL)


@pytest.fixture
def text(tmp_path):
    return write_text(tmp_path / "text.py")


def settings_for(text, **options):
    quick = {
        "model": MODEL,
        "data": str(text),
        "context": 320,
        "steps": 3,
        "accumulate": 2,
        "warmup": 1,
        "rate": 2e-3,
        "checkpoint_every": 1,
        "threads": 1,
    }
    return TrainingSettings(**quick | options)


@pytest.fixture
def copied(tmp_path):
    """A copy of the small model, to be damaged."""
    return Path(shutil.copytree(MODEL, tmp_path / "copied"))


def invoke(*options):
    return CliRunner().invoke(app, [str(option) for option in options])


# Data.


def test_documents_become_tokens_with_a_sign_of_their_end(tokenizer):
    (ids,) = tokenised([Document("a", "né".encode())], tokenizer)
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    assert ids.tolist() == [*"né".encode(), *end]


def test_windows_stay_inside_a_document():
    windows = TokenWindows([np.arange(10), np.arange(100, 104), np.arange(200, 230)], 5)
    rows = windows.draw(np.random.default_rng(0), 200)
    assert (np.diff(rows) == 1).all()
    assert not ((rows >= 100) & (rows < 200)).any()
    assert {row[0] for row in rows} >= {0, 5, 200, 225}


def test_no_document_long_enough_is_said_with_the_longest():
    with pytest.raises(ValueError, match="at least 20 tokens, got 10 as the longest: bring longer .*--context"):
        TokenWindows([np.arange(10), np.arange(4)], 20)
    with pytest.raises(ValueError, match="length must be positive, got 0"):
        TokenWindows([np.arange(10)], 0)


def test_the_histogram_counts_each_document_once():
    lengths = [1, 60, 64, 65, 500, 1024, 1025, 9000]
    rows = length_histogram(lengths, 1024)
    assert rows == [(64, 3, 125), (128, 1, 65), (256, 0, 0), (512, 1, 500), (1024, 1, 1024), (9000, 2, 10025)]
    assert sum(count for _, count, _ in length_histogram([], 1024)) == 0


def test_pairs_are_read_from_both_formats(tmp_path):
    items = [{"instruction": "a", "output": "b", "input": ""}, {"instruction": "c", "output": "d"}]
    (tmp_path / "x.json").write_text(json.dumps(items))
    (tmp_path / "x.jsonl").write_text("\n\n".join(map(json.dumps, items)))
    assert read_pairs(tmp_path / "x.json") == read_pairs(tmp_path / "x.jsonl") == [Pair("a", "b"), Pair("c", "d")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "x.jsonl",
            '{"instruction": "a", "output": "b"}\n{"instruction" 1}',
            "line 2, column 16, must be JSON",
        ),
        ("x.json", '[\n {"instruction": }]', "x.json, line 2, column 18, must be JSON"),
        ("x.json", "{}", "must hold a list of instruction pairs, got dict"),
        ("x.jsonl", "\n", "must hold at least one instruction pair, got none"),
        ("x.jsonl", '{"instruction": "a"}', "line 1, must have the text 'output', got"),
        ("x.json", '[{"instruction": "a", "output": 3}]', "item 1, must have the text 'output'"),
        ("x.jsonl", "[1]", "line 1, must have the text 'instruction'"),
        ("x.jsonl", '{"instruction": "a", "output": " "}', "line 1, must have the text 'output', got"),
    ],
)
def test_bad_pairs_are_named_with_their_place(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_pairs(tmp_path / name)


def test_bytes_that_are_no_text_are_named_with_their_line(tmp_path):
    (tmp_path / "x.jsonl").write_bytes(b'{"instruction": "a", "output": "b"}\n{"instruction": "\xff"}')
    with pytest.raises(ValueError, match=r"x\.jsonl, line 2, must be UTF-8, got byte 0xff"):
        read_pairs(tmp_path / "x.jsonl")


@pytest.mark.parametrize("separator", ["\u2028", "\x85", "\x1c"])
def test_a_line_of_pairs_ends_where_json_says(separator, tmp_path):
    line = json.dumps({"instruction": f"a{separator}b", "output": "c"}, ensure_ascii=False)
    (tmp_path / "x.jsonl").write_text(f"\ufeff{line}\r\n{line}\r\n", encoding="utf-8", newline="")
    assert read_pairs(tmp_path / "x.jsonl") == 2 * [Pair(f"a{separator}b", "c")]


def test_the_input_of_a_pair_stands_after_its_instruction(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"instruction": "Sum up.", "input": "A text.", "output": "b"}')
    assert read_pairs(tmp_path / "x.jsonl") == [Pair("Sum up.\n\nA text.", "b")]


def test_the_prompt_is_left_out_of_the_loss(tokenizer):
    ids, labels = tokenised_pair(Pair("ask", "say"), tokenizer)
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    answer = [*b"say", *end]
    assert ids.tolist()[-len(answer) :] == answer
    assert labels.tolist() == [IGNORED] * (len(ids) - len(answer)) + answer


def test_a_chat_template_is_used_where_there_is_one(tokenizer):
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.content }}{% endfor %}{% if add_generation_prompt %}>{% endif %}"
    )
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    ids, labels = tokenised_pair(Pair("q", "a"), tokenizer)
    assert ids.tolist() == [*b"<q>a", *end]
    assert labels.tolist() == [IGNORED] * 3 + [ord("a"), *end]


# The loss.


@pytest.mark.parametrize("tied", [False, True])
def test_the_loss_in_chunks_is_that_of_transformers_with_its_gradients(tied, monkeypatch):
    monkeypatch.setattr("longlora_edu.hf.loss.CHUNK", 10)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=16, tie_word_embeddings=tied, pad_token_id=0,
        bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = longlora(transformers.LlamaForCausalLM(config), LongLoRAConfig(64)).train()
    ids = torch.randint(3, 64, (2, 64))
    labels = ids.clone()
    labels[:, :7] = IGNORED
    nats, count = NextTokenLoss(model)(ids, labels)
    (nats / count).backward()
    ours = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.requires_grad}
    model.zero_grad()
    stock = model(input_ids=ids, labels=labels).loss
    stock.backward()
    torch.testing.assert_close(nats / count, stock)
    assert len(ours) > 10
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, model.get_parameter(name).grad, rtol=1e-4, atol=1e-6)


def test_labels_that_are_left_out_cost_no_logits():
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA))
    loss, rows = NextTokenLoss(model), []
    model.lm_head.register_forward_hook(lambda head, given, logits: rows.append(given[0].shape[0]))
    ids = torch.arange(3, 19)[None]
    _, count = loss(ids, torch.where(ids < 14, IGNORED, ids))
    assert (rows, count) == ([5], 5)


LAYERS = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
LLAMA = LAYERS | {"vocab_size": 64, "max_position_embeddings": 16, "num_key_value_heads": 4}


class Doubled(transformers.LlamaForCausalLM):
    def forward(self, *args, **options):
        found = super().forward(*args, **options)
        found.logits = 2 * found.logits
        return found


@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        ("Granite", {"logits_scaling": 2.0}, "GraniteForCausalLM must make its logits .* got logits_scaling of 2.0"),
        ("Cohere", {}, "got logit_scale of 0.0625"),
        ("Gemma", {"head_dim": 8}, None),
        ("Gemma2", {"head_dim": 8}, "got final_logit_softcapping of 30.0"),
        ("HyperCLOVAX", {"logits_scaling": 0.5}, "got logits_scaling of 0.5"),
        ("Granite", {"logits_scaling": 1.0}, None),
        ("Cohere", {"logit_scale": 1.0}, None),
        ("Phi", {}, None),
    ],
)
def test_families_whose_logits_are_scaled_or_capped_are_refused(family, change, message):
    if not hasattr(transformers, f"{family}Config"):
        pytest.skip(f"needs {family}, which the lowest versions of transformers do not have")
    config = getattr(transformers, f"{family}Config")(**LLAMA | change, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    model = getattr(transformers, f"{family}ForCausalLM")(config).train()
    if message is None:
        check_head(model)
        assert model.training
        return
    for door in (NextTokenLoss, lambda model: score_perplexity(model, [np.zeros(200, int)], [160])):
        with pytest.raises(ValueError, match=message):
            door(model)


def test_a_head_that_does_something_else_besides_is_refused():
    with pytest.raises(ValueError, match="Doubled must make its logits by its output embedding alone, got something"):
        NextTokenLoss(Doubled(transformers.LlamaConfig(**LLAMA)))


# Training.


def test_a_run_trains_and_leaves_an_adapter_that_evaluation_loads(text, tmp_path):
    record = run_training(settings_for(text, steps=6), tmp_path / "run")
    losses = [point["nats_per_token"] for point in record["curve"]]
    assert len(losses) == 6
    assert record["trainable_parameters"] == 100_032
    assert record["attention"] == "S2"
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()
    measured = ["--model", MODEL, "--adapter", tmp_path / "run" / "adapter", "--data", text, "--context", 320]
    done = invoke("evaluate", *measured, "--trials", 1, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["perplexity"]["320"] < 8
    assert found["stride"] == 320
    assert len(found["nats_by_position"]) == 319


def weights_of(folder):
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def test_a_killed_run_ends_at_the_same_weights(text, tmp_path, killed_at, threads):
    whole = run_training(settings_for(text), tmp_path / "whole")

    with killed_at(2):
        run_training(settings_for(text), tmp_path / "half")
    with pytest.raises(ValueError, match="--resume"):
        run_training(settings_for(text), tmp_path / "half")
    resumed = run_training(settings_for(text), tmp_path / "half", resume=True)
    for point, same in zip(resumed["curve"], whole["curve"], strict=True):
        assert point["nats_per_token"] == same["nats_per_token"]
        assert point["tokens"] == 2 * 320
    torch.testing.assert_close(weights_of(tmp_path / "half"), weights_of(tmp_path / "whole"), rtol=0, atol=0)


def test_a_taken_folder_is_known_before_anything_is_loaded(text, tmp_path, monkeypatch, threads):
    record = run_training(settings_for(text, steps=1), tmp_path / "run")

    def loads(model):
        raise AssertionError("nothing may be loaded")

    monkeypatch.setattr("longlora_edu.hf.run_training.check_family", loads)
    with pytest.raises(ValueError, match="must not hold a finished run"):
        run_training(settings_for(text, steps=1), tmp_path / "run")
    with pytest.raises(ValueError, match="settings it was started with, got steps 1 then, 2 now"):
        run_training(settings_for(text, steps=2), tmp_path / "run", resume=True)
    assert run_training(settings_for(text, steps=1), tmp_path / "run", resume=True) == record


def test_a_damaged_checkpoint_is_refused_with_what_to_do(text, tmp_path, monkeypatch, threads):
    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr("longlora_edu.hf.run_training._Objective.__call__", lambda *at: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_training(settings_for(text, steps=1), out)
    (out / "checkpoint.safetensors").write_bytes(b"half a fi")
    with pytest.raises(ValueError, match=r"checkpoint.safetensors must be readable, got a damaged .*or delete it and"):
        run_training(settings_for(text, steps=1), out, resume=True)
    (out / "checkpoint.safetensors").unlink()
    assert run_training(settings_for(text, steps=1), out, resume=True)["curve"][0]["step"] == 1


def test_a_run_is_resumed_from_any_folder(text, tmp_path, monkeypatch, threads):
    options = ["--context", 320, "--steps", 1, "--accumulate", 1, "--threads", 1]
    monkeypatch.chdir(text.parent)
    assert invoke("train", "--model", MODEL, "--data", text.name, *options, "--out", tmp_path / "run").exit_code == 0
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    done = invoke("train", "--resume", "--out", tmp_path / "run", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["settings"]["data"] == str(text)


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_to_the_same_weights(text, tmp_path):
    options = ["train", "--model", MODEL, "--data", text, "--context", 320, "--steps", 40, "--accumulate", 2]
    command = [sys.executable, "-m", "longlora_edu.cli", *map(str, options), "--threads", "1", "--out"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, str(tmp_path / "whole")], env=environment, check=True, timeout=600, capture_output=True)
    run = subprocess.Popen([*command, str(tmp_path / "half")], env=environment, stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / "half" / "checkpoint.safetensors"
    while not checkpoint.exists() and run.poll() is None:
        time.sleep(0.01)
    run.kill()
    assert run.wait() == -9
    resumed = [sys.executable, "-m", "longlora_edu.cli", "train", "--resume", "--out", str(tmp_path / "half")]
    subprocess.run(resumed, env=environment, check=True, timeout=600, capture_output=True)
    torch.testing.assert_close(weights_of(tmp_path / "half"), weights_of(tmp_path / "whole"), rtol=0, atol=0)


def test_dense_training_is_for_comparison_and_differs(text, tmp_path, threads):
    dense, sparse = (
        run_training(settings_for(text, steps=1, dense=dense), tmp_path / str(dense)) for dense in (True, False)
    )
    assert (dense["attention"], sparse["attention"]) == ("dense", "S2")
    assert dense["curve"][0]["nats_per_token"] != sparse["curve"][0]["nats_per_token"]


def test_a_package_of_short_files_is_a_long_document(text, tmp_path, threads):
    package, line = tmp_path / "code" / "package", "def area(radius):\n    return radius**2\n"
    package.mkdir(parents=True)
    for name in ("__init__", "a", "b", "c"):
        (package / f"{name}.py").write_text(8 * line)  # 312 bytes; a tenth of what is joined is held out
    options = ["--model", MODEL, "--data", tmp_path / "code", "--context", 320, "--steps", 1, "--accumulate", 1]
    options += ["--threads", 1, "--out", tmp_path / "run"]
    refused = invoke("train", *options)
    assert "data must hold a document of at least 320 tokens, got 312 as the longest" in refused.stderr
    done = invoke("train", *options, "--document", "package")
    assert done.exit_code == 0, done.output
    assert re.search(r"up to +1,125: +1 documents, +1,125 tokens", done.stdout), done.stdout
    measured = ["--model", MODEL, "--data", tmp_path / "code", "--context", 200, "--trials", 0]
    assert invoke("evaluate", *measured).exit_code == 0
    assert "got 126 as the longest" in invoke("evaluate", *measured, "--document", "package").stderr


def test_pairs_train_on_their_answers_alone(tmp_path, threads):
    made = invoke("longqa", "--out", tmp_path / "qa", "--length", 200, "--train", 40, "--held-out", 5, "--json")
    assert json.loads(made.stdout) == {"train": 40, "held_out": 5}
    data = tmp_path / "qa" / "train.jsonl"
    settings = settings_for(data, context=512, steps=8, bf16=True, gradient_checkpointing=True)
    record = run_training(settings, tmp_path / "run")
    losses = [point["nats_per_token"] for point in record["curve"]]
    assert np.mean(losses[4:]) < np.mean(losses[:4])
    seen = sum(point["tokens"] for point in record["curve"])
    assert 8 * 2 * 50 < seen < 8 * 2 * 400  # of the pairs, not of the context
    assert record["tokens_per_second"] == pytest.approx(seen / record["seconds"])
    done = invoke(
        "evaluate", "--model", MODEL, "--adapter", tmp_path / "run" / "adapter",
        "--data", tmp_path / "qa" / "held_out.jsonl",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "of 5 answers are exact" in done.output


def test_all_weights_can_train(text, tmp_path, threads):
    record = run_training(settings_for(text, train="all", steps=1), tmp_path / "run")
    assert record["trainable_parameters"] == record["parameters"]
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "model")
    assert model.config.max_position_embeddings == 320


def test_within_the_trained_context_positions_stay_as_they_are(text, tmp_path, threads):
    run_training(settings_for(text, context=200, steps=1), tmp_path / "run")
    config = transformers.AutoConfig.from_pretrained(tmp_path / "run" / "adapter")
    stock = transformers.AutoConfig.from_pretrained(MODEL)
    assert config.max_position_embeddings == stock.max_position_embeddings == 256
    assert config.rope_parameters == stock.rope_parameters
    done = invoke("merge", "--model", MODEL, "--adapter", tmp_path / "run" / "adapter", "--out", tmp_path / "merged")
    assert done.exit_code == 0, done.output
    assert "256 tokens" in done.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": 256, "rope": "yarn"}, "context_length must be above the trained context of 256, got 256"),
        ({"context": 100_000}, "must hold a document of at least 100000 tokens, got 72"),
        (
            {"boundary": "wrap", "group_ratio": 0.3},
            "context must be a multiple of its group of 96 under boundary='wrap', got 320: .*boundary='split'",
        ),
        ({"rate": 0}, "rate must be positive and finite, got 0"),
        ({"steps": 0}, "steps must be an integer, at least 1, got 0"),
        ({"warmup": -1}, "warmup must be an integer, at least 0, got -1"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(options, message, text, tmp_path, threads):
    with pytest.raises(ValueError, match=message):
        run_training(settings_for(text, **options), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_pairs_that_do_not_fit_are_counted_and_none_that_fits_is_refused(tmp_path, tokenizer):
    lines = [{"instruction": "x" * size, "output": "y"} for size in (10, 400, 900)]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, lines)))
    data = read_data(settings_for(tmp_path / "p.jsonl", context=512), tokenizer)
    assert (len(data.pairs), data.left_out) == (2, 1)
    with pytest.raises(ValueError, match="data must hold a pair of at most 5 tokens, got 1. at least"):
        read_data(settings_for(tmp_path / "p.jsonl", context=5), tokenizer)
    with pytest.raises(ValueError, match="batch must be 1 for instruction pairs"):
        read_data(settings_for(tmp_path / "p.jsonl", batch=2), tokenizer)
    with pytest.raises(ValueError, match="boundary must be 'split' for instruction pairs, got 'wrap'"):
        read_data(settings_for(tmp_path / "p.jsonl", boundary="wrap"), tokenizer)


def test_the_command_says_what_is_missing_and_shows_what_it_reads(text, tmp_path):
    done = invoke("train", "--out", tmp_path / "run")
    assert (done.exit_code, "--model must be given to start a run" in done.output) == (1, True)
    options = ["--model", MODEL, "--data", text, "--context", 320, "--steps", 1, "--accumulate", 1, "--warmup", 0]
    done = invoke("train", *options, "--out", tmp_path / "run", "--threads", 1)
    assert done.exit_code == 0, done.output
    assert "weights learn (5.2%)" in done.output
    assert "document lengths, in tokens:" in done.output
    assert "warning: only 1 documents reach 320 tokens" in done.output
    assert "nats/token" in done.output
    again = invoke("train", *options, "--out", tmp_path / "run")
    assert again.exit_code == 1
    assert "finished" in again.output


# Models that are not there, damaged, or not to be extended.


def test_a_model_that_is_not_there_is_refused_with_what_to_bring(tmp_path, monkeypatch):
    away = OSError("We couldn't connect to 'https://huggingface.co'\nand so on")
    monkeypatch.setattr(transformers.utils, "cached_file", lambda *at: _raise(away))
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged.gguf").write_bytes(b"GGUFno")
    for model, message in (
        (tmp_path / "empty", "model must be a folder with config.json, got .*empty without one"),
        (tmp_path / "none", "got .*none, which does not exist"),
        (tmp_path / "no.gguf", "got .*no.gguf, which does not exist"),
        ("./none", "got ./none, which does not exist"),
        (
            "someone/model-7b",
            "couldn't connect to .* Without the hub, bring config.json of someone/model-7b .with its weights",
        ),
    ):
        for door in (causal_config, load_causal_model, load_tokenizer, check_family):
            with pytest.raises(ValueError, match=message):
                door(str(model))
    for door in (causal_config, load_causal_model, check_family):
        with pytest.raises(ValueError, match=r"damaged.gguf must be a GGUF file that transformers reads"):
            door(str(tmp_path / "damaged.gguf"))


def test_damaged_files_of_a_model_are_named(copied):
    weights = copied / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100_000])
    with pytest.raises(ValueError, match="the weights must be readable, got .*bring the files again, whole"):
        load_causal_model(str(copied))
    tensors = load_file(MODEL + "/model.safetensors")
    save_file({name: value for name, value in tensors.items() if name != "model.norm.weight"}, weights)
    with pytest.raises(ValueError, match="without 1 of them, model.norm.weight among those: bring all its files"):
        load_causal_model(str(copied))
    save_file(tensors | {"model.norm.weight": torch.ones(3)}, weights)
    with pytest.raises(ValueError, match="the weights must be readable"):
        load_causal_model(str(copied))
    weights.unlink()
    with pytest.raises(ValueError, match="the weights must be readable, got .*no file named model.safetensors"):
        load_causal_model(str(copied))
    (copied / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json must be JSON, got .* line 1 column 2"):
        load_causal_model(str(copied))


def test_a_tokenizer_that_is_missing_empty_or_of_another_model_is_refused(copied, text, tmp_path, threads):
    words = {"<unk>": 256}
    model = {"type": "WordLevel", "vocab": words, "unk_token": "<unk>"}
    rest = {"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"}}
    (copied / "tokenizer.json").write_text(json.dumps(rest | {"model": model}))
    text.write_text("a word\n" * 3000)
    for command in ("train", "evaluate"):
        options = ["--steps", 1, "--threads", 1, "--out", tmp_path / "run"] if command == "train" else ["--trials", 0]
        done = invoke(command, "--model", copied, "--data", text, "--context", 320, *options)
        assert done.exit_code == 1
        assert "the tokenizer must be that of the model, of 256 words, got a token 256" in done.output
    (copied / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match="the tokenizer must be readable, got .*: bring its files, mostly tokenizer"):
        load_tokenizer(str(copied))
    config = transformers.GPTNeoXConfig(**LLAMA)
    config.save_pretrained(tmp_path / "neox")
    with pytest.raises(ValueError, match="the tokenizer must know words, got .* of them in .*: bring its files"):
        load_tokenizer(str(tmp_path / "neox"))


@pytest.mark.parametrize(
    ("family", "sizes", "message"),
    [
        ("T5", {}, "model must read from left to right, got 't5', an encoder and a decoder"),
        ("ViT", LAYERS, "model must be a causal language model of transformers, got 'vit'"),
        ("Llava", {}, "model must be a causal language model of transformers, got 'llava'"),
        ("Bert", LAYERS, "attention that is not causal: .'BertSelfAttention'"),
        ("GPT2", {"n_layer": 1, "n_embd": 16, "n_head": 2}, "model must have rotary positions .*, got GPT2LMHeadModel"),
        ("Mamba", {"num_hidden_layers": 1, "hidden_size": 16}, "MambaForCausalLM must dispatch attention"),
        ("Mistral", LLAMA | {"sliding_window": 8}, "sliding_window .*: 8"),
        ("Gemma2", LLAMA, "soft-capped logits, attn_logit_softcapping: 50"),
        ("Gemma3Text", LLAMA, "layer_types: .'sliding_attention'"),
        ("GptOss", LLAMA | {"num_local_experts": 2}, "attention sinks"),
    ],
)
def test_a_family_that_cannot_be_extended_is_refused_from_its_config_alone(family, sizes, message, tmp_path, text):
    getattr(transformers, f"{family}Config")(**sizes).save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match=message):
        run_training(settings_for(text, model=str(tmp_path / "model")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (lambda: torch.empty(10**16), r"out of memory \(tried to allocate \d+ bytes\); in this order, try --batch 1 "),
        (
            lambda: _raise(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has")),
            r"out of memory \(tried to allocate 2.00 gib\); in this order, try --batch 1 --accumulate 4, "
            r"--gradient-checkpointing, --bf16, a shorter --context, a smaller model \(and a new --out",
        ),
        (lambda: _raise(MemoryError()), "out of memory; in this order, try --batch 1"),
    ],
)  # fmt: skip
def test_out_of_memory_says_what_to_lower_in_order(trouble, said, text, tmp_path, monkeypatch, threads):
    monkeypatch.setattr("longlora_edu.hf.run_training._Objective.__call__", lambda *at: trouble())
    options = ["--model", MODEL, "--data", text, "--context", 320, "--batch", 2, "--accumulate", 2, "--threads", 1]
    done = invoke("train", *options, "--out", tmp_path / "run", "--json")
    assert (done.exit_code, done.stdout) == (1, "")
    assert re.search(said, done.stderr), done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_lowered_already_is_not_named_again(text, tmp_path, monkeypatch, threads):
    monkeypatch.setattr("longlora_edu.hf.run_training._Objective.__call__", lambda *at: _raise(MemoryError()))
    options = ["--model", MODEL, "--data", text, "--context", 320, "--bf16", "--gradient-checkpointing"]
    done = invoke("train", *options, "--train", "all", "--threads", 1, "--out", tmp_path / "run")
    assert "try --train adapters, a shorter --context, a smaller model" in done.stderr


def test_memory_is_said_to_be_full_by_every_command(text, copied, monkeypatch):
    for module in ("measure", "run_training"):
        monkeypatch.setattr(f"longlora_edu.hf.{module}.load_causal_model", lambda *at, **how: torch.empty(10**16))
    given = {
        "evaluate": ["--data", text],
        "generate": ["--question", "?"],
        "merge": ["--adapter", copied, "--out", copied / "new"],
    }
    for command, options in given.items():
        done = invoke(command, "--model", MODEL, *options)
        assert (done.exit_code, "in this order, try" in done.stderr) == (1, True)


def test_weights_too_large_for_memory_are_not_taken_for_damaged_ones(monkeypatch):
    full = RuntimeError("unable to mmap: Cannot allocate memory (12)")
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", lambda **how: _raise(full))
    with pytest.raises(RuntimeError, match="Cannot allocate memory"):
        load_causal_model(MODEL)
    done = invoke("generate", "--model", MODEL, "--question", "?")
    assert "out of memory; in this order, try --bf16, a shorter --file, a smaller model" in done.stderr


def test_an_error_that_is_a_bug_keeps_its_trace(text, tmp_path, monkeypatch, threads):
    monkeypatch.setattr("longlora_edu.hf.run_training._Objective.__call__", lambda *at: _raise(RuntimeError("a bug")))
    options = ["--model", MODEL, "--data", text, "--context", 320, "--threads", 1]
    done = invoke("train", *options, "--out", tmp_path / "run")
    assert repr(done.exception) == "RuntimeError('a bug')"


def _raise(error):
    raise error


# Evaluation.


def test_windows_begin_every_stride():
    rows = windows_of([np.arange(10), np.arange(3)], 4, 3)
    assert rows[:, 0].tolist() == [0, 3, 6]
    with pytest.raises(ValueError, match="at least 20 tokens, got 10 as the longest"):
        windows_of([np.arange(10)], 20, 1)


def test_perplexity_is_that_of_the_logits(tokenizer, text, monkeypatch):
    monkeypatch.setattr("longlora_edu.hf.scores.CHUNK", 50)
    model = load_causal_model(MODEL)
    texts = tokenised([Document("a", text.read_bytes())], tokenizer)
    score = score_perplexity(model, texts, [160, 256], most=3)
    rows = torch.from_numpy(windows_of(texts, 256, 256))
    picked = rows[np.linspace(0, len(rows) - 1, 3).round().astype(int)]
    assert score.windows == len(picked) == 3

    def nats_of(row):
        return -model(row[None]).logits[0, :-1].log_softmax(-1).gather(1, row[1:, None])[:, 0]

    with torch.inference_mode():
        nats, short = ([nats_of(row[start:]) for row in picked] for start in (0, 96))
    assert score.by_length[256] == pytest.approx(float(torch.stack(nats)[:, -TAIL:].mean()), rel=1e-4)
    assert score.by_length[160] == pytest.approx(float(torch.stack(short)[:, -TAIL:].mean()), rel=1e-4)
    assert score.perplexity[256] == pytest.approx(np.exp(score.by_length[256]))
    np.testing.assert_allclose(score.by_position, torch.stack(nats).mean(0), rtol=1e-3, atol=1e-4)
    for wrong, message in (
        ({"lengths": [100]}, "lengths must each be above 128, got .100."),
        ({"lengths": [160], "stride": 0}, "stride must be an integer, at least 1, got 0"),
        ({"lengths": [160], "most": 0}, "windows must be an integer, at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            score_perplexity(model, texts, **wrong)


def test_the_small_model_finds_passkeys_within_its_context(tokenizer, text):
    model = load_causal_model(MODEL)
    texts = tokenised([Document("a", text.read_bytes())], tokenizer)
    cells = score_retrieval(model, tokenizer, texts, [256], depths=(0.0, 0.5), trials=4)
    assert sum(cell.successes for cell in cells[256].values()) >= 7
    blind = score_retrieval(model, tokenizer, texts, [600], depths=(0.0,), trials=4)
    assert blind[600][0.0].successes == 0
    with pytest.raises(ValueError, match="lengths must each have room for a passkey, at least .* tokens, got 20"):
        score_retrieval(model, tokenizer, texts, [20])
    with pytest.raises(ValueError, match="data must hold a text of at least"):
        score_retrieval(model, tokenizer, texts, [20_000])
    with pytest.raises(ValueError, match="trials must be an integer, at least 1, got 0"):
        score_retrieval(model, tokenizer, texts, [256], trials=0)


@pytest.mark.parametrize("options", [("--windows", 0), ("--trials", -1), ("--stride", 0)])
def test_nothing_is_measured_on_nothing(options, text):
    done = invoke("evaluate", "--model", MODEL, "--data", text, "--context", 160, "--json", *options)
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"{options[0][2:]} must be an integer, at least" in done.stderr


def test_the_passkey_is_written_as_the_small_model_learned_it():
    window = hide_passkey(np.full(100, ord("x"), np.uint8), 0.5, np.random.default_rng(0)).tobytes().decode()
    assert "\n# passkey " in window


# Using what was trained.


def test_a_merged_model_is_stock_and_answers_questions_about_a_file(text, tmp_path, threads):
    run_training(settings_for(text, steps=1), tmp_path / "run")
    adapter = tmp_path / "run" / "adapter"
    done = invoke("merge", "--model", MODEL, "--adapter", adapter, "--out", tmp_path / "merged", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["context"] == 320
    stock = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert stock.config.rope_parameters["rope_type"] == "yarn"
    refused = invoke("merge", "--model", MODEL, "--adapter", adapter, "--out", tmp_path / "merged")
    assert (refused.exit_code, "out must be a new or an empty folder" in refused.output) == (1, True)
    (tmp_path / "note.txt").write_text("x = 1\n")
    question = ["--question", "x?", "--file", tmp_path / "note.txt", "--max-new-tokens", 4]
    outputs = [
        invoke("generate", "--model", MODEL, "--adapter", adapter, *question, "--json").stdout,
        invoke("generate", "--model", tmp_path / "merged", *question, "--json").stdout,
    ]
    answers = [json.loads(output) for output in outputs]
    assert answers[0] == answers[1]
    assert invoke("merge", "--model", MODEL, "--adapter", adapter, "--out", tmp_path / "half", "--bf16").exit_code == 0
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("merged", "half")]
    assert sizes[1] < 0.51 * sizes[0]
    long = invoke("generate", "--model", tmp_path / "merged", "--file", text, "--question", "x?")
    assert (long.exit_code, "must fit into 320 tokens, got" in long.output) == (1, True)


def test_half_precision_rounds_the_weights_and_not_the_positions(text, tmp_path, threads):
    run_training(settings_for(text, steps=1), tmp_path / "run")
    full, half = (with_adapter(MODEL, tmp_path / "run" / "adapter", bf16=bf16) for bf16 in (False, True))
    assert {weight.dtype for weight in half.parameters()} == {torch.bfloat16}
    frequencies = [model.model.rotary_emb.inv_freq for model in (full, half)]
    torch.testing.assert_close(frequencies[1], frequencies[0], rtol=0, atol=0)
    for weight, rounded in zip(full.parameters(), half.parameters(), strict=True):
        torch.testing.assert_close(weight.bfloat16(), rounded, rtol=0, atol=0)
    options = ["--model", MODEL, "--adapter", tmp_path / "run" / "adapter", "--data", text, "--context", 320, "--json"]
    scores = [json.loads(invoke("evaluate", *options, "--trials", 0, *how).stdout) for how in ([], ["--bf16"])]
    assert scores[1]["perplexity"]["320"] == pytest.approx(scores[0]["perplexity"]["320"], rel=0.05)
    assert scores[1]["perplexity"]["320"] != scores[0]["perplexity"]["320"]


@pytest.mark.slow
def test_a_gguf_file_becomes_a_merged_model_that_stock_transformers_loads(text, tmp_path, threads):
    file = smollm2_file()
    options = ["--context", 256, "--steps", 1, "--accumulate", 1, "--bf16", "--threads", 1, "--out", tmp_path / "run"]
    done = invoke("train", "--model", file, "--data", text, *options)
    assert done.exit_code == 0, done.output
    made = ["--model", file, "--adapter", tmp_path / "run" / "adapter", "--out", tmp_path / "merged"]
    done = invoke("merge", *made, "--bf16", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["context"] == 8192
    stock = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    ids = torch.randint(49152, (1, 20), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = with_adapter(str(file), tmp_path / "run" / "adapter", bf16=True)(ids).logits
        torch.testing.assert_close(stock(ids).logits, expected, rtol=0, atol=0)


@pytest.mark.slow
def test_two_processes_have_the_curve_of_one(text, tmp_path):
    options = ["train", "--model", MODEL, "--data", text, "--context", 320, "--steps", 3, "--accumulate", 2]
    options += ["--warmup", 1, "--lr", 2e-3, "--threads", 1, "--json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    curves = []
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    # Without a GPU too: accelerate's own --cpu wants MPI to start more than one.
    accelerate = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"]
    accelerate += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    for processes, launcher in ((1, []), (2, torchrun), (2, accelerate)):
        out = tmp_path / str(len(curves))
        command = [sys.executable, *launcher, "-m", "longlora_edu.cli", *map(str, options), "--out", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
        assert done.returncode == 0, done.stderr[-3000:]
        assert json.loads(done.stdout)["processes"] == processes  # one speaks for all
        curves.append([point["nats_per_token"] for point in json.loads((out / "run.json").read_text())["curve"]])
    np.testing.assert_allclose(curves[1:], 2 * curves[:1], rtol=0, atol=1e-5)
