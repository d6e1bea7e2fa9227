"""A number depends on what it is of, and not on order, division, settings of generation or interruptions."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_models import byte_level_tokenizer, small_llama
from transformers import GenerationConfig
from typer.testing import CliRunner

from longlora_edu.cli import app
from longlora_edu.hf import longlora, use_s2
from longlora_edu.hf import run_training as training
from longlora_edu.hf.loss import NextTokenLoss
from longlora_edu.hf.pairs import Pair
from longlora_edu.hf.run_training import TrainingSettings, run_training
from longlora_edu.hf.scores import answer, score_answers, score_perplexity
from longlora_edu.longlora import LongLoRAConfig


def sharpened(model):
    """A model in which positions matter, as in a trained one."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "q_proj" in name or "k_proj" in name:
                weight.mul_(20)
    return model


def model_of(rule):
    if rule == "longrope":
        rule = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [1, 2, 4, 8.0],
                "original_max_position_embeddings": 64}  # fmt: skip
        return sharpened(small_llama(max_position_embeddings=512, rope_parameters=rule))
    return longlora(sharpened(small_llama()), LongLoRAConfig(512, rope=rule)).get_base_model()


@pytest.mark.parametrize("rule", ["dynamic", "linear", "ntk", "yarn", "longrope"])
@pytest.mark.parametrize("beside", [[], [512], [300, 512], [140, 512], [201, 250]])
def test_the_perplexity_of_a_text_does_not_depend_on_the_lengths_that_are_measured_beside_it(rule, beside):
    texts = np.random.default_rng(0).integers(0, 256, (3, 512))
    rows = [text[-max([200, *beside]) :] for text in texts]
    score = score_perplexity(model_of(rule), rows, [200, *beside], stride=512)
    alone = score_perplexity(model_of(rule), [text[-200:] for text in texts], [200], stride=512)
    assert score.windows == alone.windows == 3
    assert score.by_length[200] == alone.by_length[200]


@pytest.mark.parametrize("lengths", [[150, 512], [100, 300, 512], [512], [70, 90, 512], [400]])
def test_losses_and_answers_forget_lengths_too(lengths):
    tokenizer, text = byte_level_tokenizer(), np.random.default_rng(0).integers(97, 123, 512)
    model, fresh = model_of("dynamic"), model_of("dynamic")
    measured = [NextTokenLoss(each) for each in (model, fresh)]  # two tokens are read here, which makes them forget
    ids = torch.from_numpy(text[None])
    with torch.no_grad():
        for length in lengths:
            measured[0](ids[:, :length], ids[:, :length])
        losses = [loss(ids[:, :80], ids[:, :80])[0].item() for loss in measured]
        assert losses[0] == losses[1]
        measured[0](ids, ids)
    assert answer(model, tokenizer, text[:90], most=9) == answer(fresh, tokenizer, text[:90], most=9)


SETTINGS = [
    {"repetition_penalty": 5.0}, {"no_repeat_ngram_size": 1}, {"num_beams": 3},
    {"do_sample": True, "temperature": 50.0},
    {"min_new_tokens": 9}, {"suppress_tokens": list(range(100))}, {"forced_eos_token_id": 65}, {"max_length": 20},
    {"bad_words_ids": [[number] for number in range(97, 123)]},
]  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_greedy_means_greedy_whatever_the_generation_config_says(settings):
    tokenizer, prompt = byte_level_tokenizer(), np.frombuffer(b"abcabcabc", np.uint8).astype(np.int64)
    model = small_llama(max_position_embeddings=256)
    ids = torch.from_numpy(prompt[None])
    with torch.no_grad():
        for _ in range(12):
            ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], dim=1)
    model.generation_config = own = GenerationConfig(eos_token_id=256, **settings)
    assert answer(model, tokenizer, prompt, most=12) == tokenizer.decode(ids[0, 9:])
    assert model.generation_config is own


def test_an_empty_prompt_is_refused():
    with pytest.raises(ValueError, match="the question must have at least one token, got an empty text"):
        answer(small_llama(), byte_level_tokenizer(), np.zeros(0, int), most=3)


@pytest.mark.parametrize("sizes", [[10], [10, 90], [90, 91, 10], [10, 20, 30, 400], [70, 5]])
def test_pairs_beyond_the_context_are_counted_apart(sizes):
    pairs = [Pair("x" * size, "y") for size in sizes]
    score, left_out = score_answers(small_llama(), byte_level_tokenizer(), pairs, lambda said, right: True, context=64)
    fitting = sum(size <= 62 for size in sizes)
    assert (score.trials, score.successes, left_out) == (fitting, fitting, len(sizes) - fitting)


def test_pairs_of_which_none_fits_are_refused():
    with pytest.raises(ValueError, match="data must hold a pair of at most 64 tokens, the context, got none"):
        score_answers(small_llama(), byte_level_tokenizer(), [Pair("x" * 99, "y")], lambda *at: True, context=64)


def test_the_command_says_how_many_pairs_are_not_scored(tmp_path):
    model = a_model(tmp_path / "model")
    (tmp_path / "pairs.jsonl").write_text(
        "\n".join(json.dumps({"instruction": "x" * n, "output": "y"}) for n in (9, 99))
    )
    done = CliRunner().invoke(app, ["evaluate", "--model", model, "--data", str(tmp_path / "pairs.jsonl")])
    assert "of 1 answers are exact" in done.stdout
    assert "1 pairs are longer than 64 tokens and are not scored" in done.stdout


# A step.


def a_model(path, **changes):
    small_llama(**changes).save_pretrained(path)
    byte_level_tokenizer().save_pretrained(path)
    return str(path)


def pairs_file(path, count=12):
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 40, size=(count, 2))
    path.write_text("\n".join(json.dumps({"instruction": "a" * i, "output": "b" * o}) for i, o in sizes))
    return str(path)


@pytest.mark.parametrize("accumulate", [1, 2, 3, 5, 8])
def test_the_loss_of_a_step_is_the_mean_over_its_tokens_however_they_are_divided(accumulate, tmp_path, threads):
    model, data = a_model(tmp_path / "model"), pairs_file(tmp_path / "pairs.jsonl")
    settings = TrainingSettings(model, data, 128, steps=1, accumulate=accumulate, warmup=0, threads=1)
    loaded = training._load(settings, None, None)
    run = training._prepare(loaded, 0, 1)
    nats = labels = 0
    for part in range(accumulate):
        ids, wanted = loaded.data.draw(np.random.default_rng([0, 0, part]), 1)
        ids, wanted = torch.from_numpy(ids), torch.from_numpy(wanted)
        with torch.no_grad():
            sums = run.objective.loss(ids, wanted)
        nats, labels = nats + sums[0].item(), labels + int(sums[1])
    record = run_training(settings, tmp_path / "run")
    assert record["curve"][0]["nats_per_token"] == pytest.approx(nats / labels, rel=1e-6)
    assert record["curve"][0]["loss"] == pytest.approx(nats / labels, rel=1e-6)


@pytest.mark.parametrize(
    ("attention", "lora", "stop", "checkpointing"),
    [(0.1, 0, 1, False), (0.3, 0, 2, True), (0, 0.1, 3, False), (0, 0.3, 1, True), (0.5, 0.2, 2, False)],
)
def test_a_resumed_run_drops_what_the_whole_one_drops(
    attention, lora, stop, checkpointing, tmp_path, killed_at, threads
):
    model = a_model(tmp_path / "model", attention_dropout=float(attention))
    options = {"steps": 4, "accumulate": 2, "checkpoint_every": 1, "threads": 1, "warmup": 0, "rate": 1e-2}
    options |= {"gradient_checkpointing": checkpointing, "dropout": float(lora)}
    settings = TrainingSettings(model, pairs_file(tmp_path / "pairs.jsonl"), 128, **options)
    run_training(settings, tmp_path / "whole")
    with killed_at(stop, part=1):
        run_training(settings, tmp_path / "half")
    torch.rand(5)  # whatever was drawn in between
    run_training(settings, tmp_path / "half", resume=True)
    whole, half = (load_file(tmp_path / name / "adapter" / "adapter_model.safetensors") for name in ("whole", "half"))
    torch.testing.assert_close(half, whole, rtol=0, atol=0)


# Packed rows.


PACKINGS = [[40, 56], [1, 95], [30, 30, 36], [90, 6], [16, 16, 16, 48]]


@pytest.mark.parametrize("lengths", PACKINGS)
@pytest.mark.parametrize(
    "hidden_by", [{}, {"use_cache": True}, {"use_cache": False, "attention_mask": torch.ones(1, 96, dtype=torch.long)}]
)
def test_packed_documents_that_would_hear_each_other_are_refused(lengths, hidden_by):
    model = small_llama(max_position_embeddings=128)
    use_s2(model, group_size=32)
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    with pytest.raises(ValueError, match="packed documents must come with use_cache=False and without attention_mask"):
        model.train()(torch.zeros(1, 96, dtype=torch.long), position_ids=positions, **hidden_by)
    model.eval()(torch.zeros(1, 96, dtype=torch.long), position_ids=positions, **hidden_by)


@pytest.mark.parametrize("lengths", PACKINGS)
def test_packed_documents_do_not_hear_each_other(lengths):
    model = small_llama(max_position_embeddings=128)
    use_s2(model, group_size=32)
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    ids = torch.randint(0, 256, (1, 96), generator=torch.Generator().manual_seed(0))
    other = ids.clone()
    other[:, : lengths[0]] = 7
    with torch.no_grad():
        heard = [
            model.train()(each, position_ids=positions, use_cache=False).logits[:, lengths[0] :]
            for each in (ids, other)
        ]
    torch.testing.assert_close(heard[0], heard[1], rtol=0, atol=0)


@pytest.mark.parametrize("padding", [1, 5, 31, 40])
def test_padding_may_have_any_positions(padding):
    model = small_llama(max_position_embeddings=128)
    use_s2(model, group_size=32)
    mask = torch.ones(1, 96, dtype=torch.long)
    mask[:, :padding] = 0
    positions = (mask.cumsum(1) - 1).masked_fill(mask == 0, 1)
    model.train()(torch.zeros(1, 96, dtype=torch.long), position_ids=positions, attention_mask=mask)
