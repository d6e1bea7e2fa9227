from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from helpers import write_text
from transformers import AutoModelForCausalLM

from longlora_edu.model import load_tiny_llama
from longlora_edu.runs.records import read_json
from longlora_edu.training import pretrain as pretrain_module
from longlora_edu.training.corpus import Corpus, read_corpus
from longlora_edu.training.pretrain import PretrainConfig, pretrain, run_pretraining, thinned

SMALL = PretrainConfig(
    context=130, hidden_size=32, intermediate_size=64, layers=2, heads=2, steps=3, batch=2, bf16=False, compile=False
)


@pytest.fixture
def corpus(tmp_path, monkeypatch, threads):
    monkeypatch.setattr(pretrain_module, "WINDOWS", 4)
    monkeypatch.setattr(pretrain_module, "TRIALS", 2)
    return read_corpus(write_text(tmp_path / "text.py"))


def weights_of(folder):
    return (folder / "model.safetensors").read_bytes()


def test_the_folder_holds_a_model_that_transformers_loads_and_the_record_of_the_run(corpus, tmp_path):
    record = run_pretraining(SMALL, corpus, tmp_path / "out", threads=1)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".lock",
        "config.json",
        "model.safetensors",
        "pretraining.json",
        "settings.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    model = load_tiny_llama(tmp_path / "out")
    assert (model.config.trained_context, model.config.context_length) == (130, 130)
    ids = torch.randint(256, (1, 130), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "out")(ids).logits
        torch.testing.assert_close(theirs, model(ids), rtol=1e-4, atol=1e-4)
    assert record == read_json(tmp_path / "out" / "pretraining.json")
    assert record["config"] == dataclasses.asdict(SMALL)
    assert record["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    assert record["tokens"] == 3 * 2 * 130
    assert (record["bits_per_byte_windows"], record["passkey"]["trials"]) == (4, 10)
    assert 4 < record["bits_per_byte"] < 9
    assert record["machine"]["threads"] == 1
    assert record["corpus"]["sha256"] == corpus.hash
    assert {"command", "date", "versions", "curve", "seconds"} <= set(record)


def test_training_lowers_the_loss_from_that_of_chance(corpus):
    config = dataclasses.replace(SMALL, steps=20, warmup=2)
    before = config.model().state_dict()
    model, result = pretrain(config, corpus)
    assert result.curve[0]["bits_per_byte"] == pytest.approx(8, abs=0.2)
    assert result.curve[-1]["bits_per_byte"] < 7
    assert [name for name, tensor in model.state_dict().items() if torch.equal(tensor, before[name])] == []
    assert not model.training


def test_the_seed_decides(corpus, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run_pretraining(dataclasses.replace(SMALL, seed=seed), corpus, tmp_path / name, threads=1)
    assert weights_of(tmp_path / "a") == weights_of(tmp_path / "b") != weights_of(tmp_path / "c")


@pytest.mark.parametrize("where", ["pretrain", "score_text", "save_tiny_llama"])
def test_a_run_that_was_stopped_goes_on_and_ends_at_the_same_bits(corpus, tmp_path, monkeypatch, where):
    run_pretraining(SMALL, corpus, tmp_path / "whole", threads=1)

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pretrain_module, where, stop)
        with pytest.raises(KeyboardInterrupt):
            run_pretraining(SMALL, corpus, tmp_path / "cut", threads=1)
    with pytest.raises(ValueError, match="cut must be a new folder, got one with an unfinished run: go on with --res"):
        run_pretraining(SMALL, corpus, tmp_path / "cut", threads=1)
    if where != "pretrain":
        monkeypatch.setattr(pretrain_module, "LanguageModelObjective", lambda *_, **__: None)  # no step is done again
    run_pretraining(SMALL, corpus, tmp_path / "cut", threads=1, resume=True)
    assert weights_of(tmp_path / "cut") == weights_of(tmp_path / "whole")
    assert not (tmp_path / "cut" / "checkpoint.safetensors").exists()


def test_a_run_is_resumed_with_its_own_settings_only(corpus, tmp_path, monkeypatch):
    record = run_pretraining(SMALL, corpus, tmp_path / "out", threads=1)
    changed = dataclasses.replace(SMALL, seed=1, rope_base=200.0)
    message = "out must be resumed with .*, got rope_base 10000.0 then, 200.0 now, seed 0 then, 1 now$"
    with pytest.raises(ValueError, match=message):
        run_pretraining(changed, corpus, tmp_path / "out", threads=1, resume=True)
    with pytest.raises(ValueError, match="got threads 1 then, 2 now$"):
        run_pretraining(SMALL, corpus, tmp_path / "out", threads=2, resume=True)
    other = read_corpus(write_text(tmp_path / "text.py", 9000))
    with pytest.raises(ValueError, match=r"got text [0-9a-f]{16} then, [0-9a-f]{16} now$"):
        run_pretraining(SMALL, other, tmp_path / "out", threads=1, resume=True)
    monkeypatch.setattr(pretrain_module, "pretrain", None)
    assert run_pretraining(SMALL, corpus, tmp_path / "out", threads=1, resume=True) == record
    with pytest.raises(ValueError, match="out must not hold a finished run, got one"):
        run_pretraining(SMALL, corpus, tmp_path / "out", threads=1)


def test_a_folder_with_a_model_is_refused(corpus, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.safetensors").write_bytes(b"precious")
    for resume in (False, True):
        with pytest.raises(ValueError, match="out must be empty or new, got a folder with other files"):
            run_pretraining(SMALL, corpus, tmp_path / "out", resume=resume)
    assert weights_of(tmp_path / "out") == b"precious"


@pytest.mark.parametrize("side", ["train", "held_out"])
def test_a_text_that_is_too_short_is_refused_before_any_work(corpus, tmp_path, side):
    shorter = dataclasses.replace(getattr(corpus, side)[0], data=b"x" * 100)
    sides = {"train": corpus.train, "held_out": corpus.held_out} | {side: (shorter,)}
    with pytest.raises(ValueError, match="corpus must hold a document of at least 131 bytes, got 100 as the longest"):
        run_pretraining(SMALL, Corpus("mine", **sides), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": 128}, "context must be an integer, at least 129, got 128"),
        ({"layers": 0}, "layers must be an integer, at least 1, got 0"),
        ({"heads": 0}, "heads must be an integer, at least 1, got 0"),
        ({"heads": 200}, "head_dim must be even and at least 2, got 0"),
        ({"hidden_size": 0}, "hidden_size must be an integer, at least 1, got 0"),
        ({"intermediate_size": 0}, "intermediate_size must be an integer, at least 1, got 0"),
        ({"steps": 0}, "steps must be an integer, at least 1, got 0"),
        ({"batch": 2.0}, "batch must be an integer, at least 1, got 2.0"),
        ({"warmup": -1}, "warmup must be an integer, at least 0, got -1"),
        ({"seed": -1}, "seed must be an integer, at least 0, got -1"),
        ({"rope_base": 1.0}, "base must be finite and above 1, got 1.0"),
        ({"muon_rate": 0}, "muon_rate must be positive and finite, got 0"),
        ({"adam_rate": math.inf}, "adam_rate must be positive and finite, got inf"),
        ({"passkey_share": -0.1}, "share must be from 0 to 1, got -0.1"),
        ({"passkey_weight": 0}, "weight must be positive and finite, got 0"),
    ],
)
def test_a_run_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        PretrainConfig(**changes)


def test_a_curve_is_thinned_by_means():
    curve = [{"loss": float(i), "passkey_nats": None if i < 2 else 1.0} for i in range(5)]
    assert thinned(curve, 2) == [
        {"loss": 0.5, "passkey_nats": None},
        {"loss": 2.5, "passkey_nats": 1.0},
        {"loss": 4.0, "passkey_nats": 1.0},
    ]
