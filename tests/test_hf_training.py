"""The path of a real model through the command line, on the small model of the package: it has the layout of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from helpers import write_text
from typer.testing import CliRunner

from longlora_edu.cli import app
from longlora_edu.corpus import Document
from longlora_edu.hf import longlora
from longlora_edu.hf.data import IGNORED, Pair, TokenWindows, length_histogram, read_pairs, tokenised, tokenised_pair
from longlora_edu.hf.evaluate import TAIL, score_perplexity, score_retrieval, windows_of
from longlora_edu.hf.loading import load_model, load_tokenizer
from longlora_edu.hf.loss import NextTokenLoss
from longlora_edu.hf.training import TrainingSettings, run_training
from longlora_edu.longlora import LongLoRAConfig
from longlora_edu.passkey import hide_passkey

ROOT = Path(__file__).parents[1]
MODEL = str(ROOT / "longlora_edu" / "assets" / "model")


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(MODEL)


@pytest.fixture
def text(tmp_path):
    return write_text(tmp_path / "text.py")


def settings_for(text, **options):
    quick = {
        "context": 320,
        "steps": 3,
        "accumulate": 2,
        "warmup": 1,
        "rate": 2e-3,
        "checkpoint_every": 1,
        "threads": 1,
    }
    return TrainingSettings(MODEL, str(text), **quick | options)


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
    ],
)
def test_bad_pairs_are_named_with_their_place(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_pairs(tmp_path / name)


def test_the_prompt_is_left_out_of_the_loss(tokenizer):
    ids, labels = tokenised_pair(Pair("ask", "say"), tokenizer)
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    answer = [*b"say", *end]
    assert ids.tolist()[-len(answer) :] == answer
    assert labels.tolist() == [IGNORED] * (len(ids) - len(answer)) + answer


def test_a_chat_template_is_used_where_there_is_one():
    class Chat:
        chat_template, eos_token_id = "there", 9

        def apply_chat_template(self, turns, add_generation_prompt, tokenize):
            assert (add_generation_prompt, tokenize) == (True, False)
            return f"<{turns[0]['content']}>"

        def __call__(self, text, **options):
            return {"input_ids": [ord(letter) for letter in text]}

    ids, labels = tokenised_pair(Pair("q", "a"), Chat())
    assert ids.tolist() == [ord(letter) for letter in "<q>a"] + [9]
    assert labels.tolist() == [IGNORED] * 3 + [ord("a"), 9]


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
    from safetensors.torch import load_file

    return load_file(folder / "adapter" / "adapter_model.safetensors")


def test_a_killed_run_ends_at_the_same_weights(text, tmp_path, monkeypatch, threads):
    whole = run_training(settings_for(text), tmp_path / "whole")

    class Killed(Exception):
        pass

    from longlora_edu.hf import training

    original = training._Objective.__call__

    def dies(self, step, part):
        if step == 2:
            raise Killed
        return original(self, step, part)

    monkeypatch.setattr(training._Objective, "__call__", dies)
    with pytest.raises(Killed):
        run_training(settings_for(text), tmp_path / "half")
    monkeypatch.setattr(training._Objective, "__call__", original)
    with pytest.raises(ValueError, match="--resume"):
        run_training(settings_for(text), tmp_path / "half")
    resumed = run_training(settings_for(text), tmp_path / "half", resume=True)
    for point, same in zip(resumed["curve"], whole["curve"], strict=True):
        assert point["nats_per_token"] == same["nats_per_token"]
    torch.testing.assert_close(weights_of(tmp_path / "half"), weights_of(tmp_path / "whole"), rtol=0, atol=0)


def test_dense_training_is_for_comparison_and_differs(text, tmp_path, threads):
    dense, sparse = (
        run_training(settings_for(text, steps=1, dense=dense), tmp_path / str(dense)) for dense in (True, False)
    )
    assert (dense["attention"], sparse["attention"]) == ("dense", "S2")
    assert dense["curve"][0]["nats_per_token"] != sparse["curve"][0]["nats_per_token"]


def test_pairs_train_on_their_answers_alone(tmp_path, threads):
    made = invoke("longqa", "--out", tmp_path / "qa", "--length", 200, "--train", 40, "--held-out", 5, "--json")
    assert json.loads(made.stdout) == {"train": 40, "held_out": 5}
    data = tmp_path / "qa" / "train.jsonl"
    settings = settings_for(data, context=512, steps=8, bf16=True, gradient_checkpointing=True)
    record = run_training(settings, tmp_path / "run")
    losses = [point["nats_per_token"] for point in record["curve"]]
    assert np.mean(losses[4:]) < np.mean(losses[:4])
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
        ({"boundary": "wrap", "group_ratio": 0.3}, "seq_len must be a multiple of group_size under boundary='wrap'"),
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
    from longlora_edu.hf.training import read_data

    lines = [{"instruction": "x" * size, "output": "y"} for size in (10, 400, 900)]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, lines)))
    data = read_data(settings_for(tmp_path / "p.jsonl", context=512), tokenizer)
    assert (len(data.pairs), data.left_out) == (2, 1)
    with pytest.raises(ValueError, match="data must hold a pair of at most 5 tokens, got 1. at least"):
        read_data(settings_for(tmp_path / "p.jsonl", context=5), tokenizer)
    with pytest.raises(ValueError, match="batch must be 1 for instruction pairs"):
        read_data(settings_for(tmp_path / "p.jsonl", batch=2), tokenizer)


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


def test_a_model_that_is_not_there_is_refused_with_what_to_bring(tmp_path, text, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    for model in (tmp_path / "empty", tmp_path / "no.gguf"):
        with pytest.raises(ValueError, match="model must be found in .*bring the files of the model"):
            load_model(str(model))
        with pytest.raises(ValueError, match="tokenizer must be found in"):
            load_tokenizer(str(model))


# Evaluation.


def test_windows_begin_every_stride():
    rows = windows_of([np.arange(10), np.arange(3)], 4, 3)
    assert rows[:, 0].tolist() == [0, 3, 6]
    with pytest.raises(ValueError, match="at least 20 tokens, got 10 as the longest"):
        windows_of([np.arange(10)], 20, 1)


def test_perplexity_is_that_of_the_logits(tokenizer, text, monkeypatch):
    monkeypatch.setattr("longlora_edu.hf.evaluate.CHUNK", 50)
    model = load_model(MODEL)
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
    with pytest.raises(ValueError, match="lengths must each be above 128, got .100."):
        score_perplexity(model, texts, [100])


def test_the_small_model_finds_passkeys_within_its_context(tokenizer, text):
    model = load_model(MODEL)
    texts = tokenised([Document("a", text.read_bytes())], tokenizer)
    cells = score_retrieval(model, tokenizer, texts, [256], depths=(0.0, 0.5), trials=4)
    assert sum(cell.successes for cell in cells[256].values()) >= 7
    blind = score_retrieval(model, tokenizer, texts, [600], depths=(0.0,), trials=4)
    assert blind[600][0.0].successes == 0
    with pytest.raises(ValueError, match="lengths must each have room for a passkey, at least .* tokens, got 20"):
        score_retrieval(model, tokenizer, texts, [20])
    with pytest.raises(ValueError, match="data must hold a text of at least"):
        score_retrieval(model, tokenizer, texts, [20_000])


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
    long = invoke("generate", "--model", tmp_path / "merged", "--file", text, "--question", "x?")
    assert (long.exit_code, "must fit into 320 tokens, got" in long.output) == (1, True)


@pytest.mark.slow
def test_two_processes_have_the_curve_of_one(text, tmp_path):
    options = ["train", "--model", MODEL, "--data", text, "--context", 320, "--steps", 3, "--accumulate", 2]
    options += ["--warmup", 1, "--lr", 2e-3, "--threads", 1, "--json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    curves = []
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, launcher in (("one", []), ("two", several)):
        out = tmp_path / name
        command = [sys.executable, *launcher, "-m", "longlora_edu.cli", *map(str, options), "--out", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
        assert done.returncode == 0, done.stderr[-3000:]
        curves.append([point["nats_per_token"] for point in json.loads((out / "run.json").read_text())["curve"]])
    np.testing.assert_allclose(curves[1], curves[0], rtol=0, atol=1e-5)
