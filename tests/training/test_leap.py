from __future__ import annotations

import dataclasses

import pytest
import torch
from helpers import tiny_bundled_model, write_text

from longlora_edu.demo import run as demo_module
from longlora_edu.demo.run import DemoSettings, prepare_arm, run_demo
from longlora_edu.longlora import LongLoRAConfig, apply_longlora, merge_to_dense
from longlora_edu.rope import Leap
from longlora_edu.runs.records import read_json
from longlora_edu.training.corpus import Document, Windows
from longlora_edu.training.evaluate import score_text
from longlora_edu.training.finetune import FinetuneSettings, finetune

TARGET, GROUP = 1024, 128
TEXT = Document("text", b"def name(self):\n    return self.name\n\n" * 100)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"leap": 1.5}, "leap must be from 0 to 1, got 1.5"),
        ({"leap": 0.5, "shift": 16}, "shift must be 0 or half of the group of 128 where positions leap, got 16"),
        ({"leap": 0.5, "boundary": "masked"}, "boundary must be 'split' where positions leap, got 'masked'"),
        ({"leap": 0.5, "rope": "dynamic"}, "rope must not be 'dynamic'"),
    ],
)
def test_recipes_that_cannot_leap_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        LongLoRAConfig(TARGET, group_size=GROUP, **fields)


# In training, and nowhere else.


def trained(leap, *, steps=3, seed=0, changes=None, **options):
    model = tiny_bundled_model()
    apply_longlora(model, LongLoRAConfig(TARGET, group_size=GROUP, leap=leap))
    if changes:
        changes(model)
    result = finetune(
        model, Windows((TEXT,), TARGET + 1), FinetuneSettings(steps, 1, 1e-2, seed, passkey_share=0), **options
    )
    return model, [point["loss"] for point in result.curve]


def same_weights(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def seen(model):
    """Collect the positions that the model is called with."""
    found, plain = [], model.forward

    def forward(ids, **options):
        found.append((model.training, options.get("positions")))
        return plain(ids, **options)

    model.forward = forward
    return found


def test_without_leaps_the_model_gets_no_positions_and_ends_at_the_same_bits(threads):
    calls = []
    model, losses = trained(0.0, changes=lambda model: calls.append(seen(model)))
    assert calls[0] == [(True, None)] * 3
    never = lambda model: setattr(model, "leap", Leap(GROUP, TARGET, 0.0))  # noqa: E731
    other, others = trained(0.0, changes=never)
    assert same_weights(model, other) and losses == others


def test_training_leaps_by_seed_and_step(threads):
    calls = [[], []]
    for found in calls:
        trained(0.5, changes=lambda model, found=found: found.append(seen(model)))
    first, again = ([positions for _, positions in found[0]] for found in calls)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])
    assert max(int(positions[-1]) for positions in first) > TARGET
    other = []
    trained(0.5, seed=1, changes=lambda model: other.append(seen(model)))
    assert not torch.equal(first[0], other[0][0][1])


def test_leaps_change_what_is_learnt(threads):
    assert not same_weights(trained(0.0)[0], trained(0.5)[0])


def test_evaluation_never_leaps(threads):
    model, _ = trained(0.5)
    calls = seen(model)
    score_text(model, (TEXT,), [TARGET], windows=2)
    assert calls and all(call == (False, None) for call in calls)
    assert merge_to_dense(model).leap is None


def test_an_interrupted_run_leaps_on_and_ends_at_the_same_bits(tmp_path, threads):
    whole, losses = trained(0.5, steps=4)
    path = tmp_path / "checkpoint.safetensors"
    done = []
    trained(0.5, steps=4, checkpoint=path, on_step=lambda *step: done.append(step), stop=lambda: len(done) == 2)
    resumed, again = trained(0.5, steps=4, checkpoint=path, resume=True)
    assert len(done) == 2 and again == losses
    assert same_weights(whole, resumed)


# In the demo.


def test_the_demo_leaps_and_full_attention_does_not(tmp_path, monkeypatch, threads):
    settings = DemoSettings(
        context=320, steps=2, batch=1, threads=1, windows=2, trials=1, references=2, rank=4, leap=0.5,
        corpus=str(write_text(tmp_path / "text.py")),
    )  # fmt: skip
    leaps = {}
    for arm in ("s2", "short", "full"):
        model = tiny_bundled_model()
        prepare_arm(model, settings, arm)
        leaps[arm] = model.leap
    assert leaps == {"s2": Leap(80, 320, 0.5), "short": Leap(80, 320, 0.5), "full": None}
    monkeypatch.setattr(demo_module, "bundled_model", tiny_bundled_model)
    report = run_demo(settings, tmp_path / "leaping")
    assert "positions leap with probability 0.5" in report["train"]["attention"]
    plain = dataclasses.replace(settings, leap=0.0)
    other = run_demo(plain, tmp_path / "plain")
    assert "leap" not in other["train"]["attention"]
    assert other["train"]["curve"][0]["loss"] != report["train"]["curve"][0]["loss"]
    assert "leap" not in read_json(tmp_path / "plain" / "settings.json")["longlora_edu"]  # as before the option


def test_a_transformers_model_does_not_leap():
    from small_models import small_llama

    from longlora_edu.hf import longlora

    with pytest.raises(ValueError, match=r"leap must be 0 for a transformers model, .*, got 0.5"):
        longlora(small_llama(), LongLoRAConfig(256, leap=0.5))
