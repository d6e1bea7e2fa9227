from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from longlora_edu.training.corpus import Document, Windows
from longlora_edu.training.objective import LanguageModelObjective, next_byte_nats
from longlora_edu.training.passkey import DIGITS, OVERHEAD, PasskeyMix

LENGTH = OVERHEAD + 20
TEXT = Document("text", np.random.default_rng(0).integers(1, 256, size=400, dtype=np.uint8).tobytes())


class Bigram(torch.nn.Module):
    """Logits of the next byte from this one; it remembers what it was asked."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Parameter(torch.randn(256, 256, generator=torch.Generator().manual_seed(0)))
        self.seen = []

    def forward(self, ids):
        self.seen.append(ids.clone())
        return self.table[ids.long()]


def objective(model, **changes):
    fields = {"batch": 4, "seed": 7, "mix": PasskeyMix(0.5, 5.0)}
    return LanguageModelObjective(model, Windows((TEXT,), LENGTH), **fields | changes)


def windows_of(objective, step, part):
    """The windows and marks of a call, drawn again as the docstring says: by seed, step and part."""
    rng = np.random.default_rng([objective.seed, step, part])
    return objective.mix.batch(objective.windows, rng, objective.batch)


def loop_nats(model, ids):
    """One byte at a time: (b, n - 1)."""
    nats = np.zeros((len(ids), ids.shape[1] - 1))
    for row, text in enumerate(ids):
        for position in range(1, len(text)):
            logits = model.table[int(text[position - 1])].detach().double()
            nats[row, position - 1] = -float(torch.log_softmax(logits, dim=0)[int(text[position])])
    return nats


@pytest.mark.parametrize("given", [8, 3, 1])
def test_nats_are_minus_the_log_probability_of_each_next_byte(given):
    rng = torch.Generator().manual_seed(0)
    ids = torch.randint(256, (2, 9), generator=rng, dtype=torch.uint8)
    logits = torch.randn(2, given, 256, generator=rng) * 3
    nats = next_byte_nats(logits, ids)
    assert nats.shape == (2, given)
    for row in range(2):
        for j in range(given):
            byte = int(ids[row, 9 - given + j])
            expected = math.log(sum(math.exp(x) for x in logits[row, j].tolist())) - float(logits[row, j, byte])
            np.testing.assert_allclose(float(nats[row, j]), expected, rtol=1e-5)


def test_nats_of_half_precision_logits_are_float32():
    logits = torch.randn(1, 4, 256, generator=torch.Generator().manual_seed(0)).bfloat16()
    nats = next_byte_nats(logits, torch.zeros(1, 5, dtype=torch.uint8))
    assert nats.dtype == torch.float32
    torch.testing.assert_close(nats, next_byte_nats(logits.float(), torch.zeros(1, 5, dtype=torch.uint8)))


def test_the_model_reads_all_but_the_last_byte():
    model = Bigram()
    ask = objective(model)
    ask(2, 1)
    np.testing.assert_array_equal(model.seen[0].numpy(), windows_of(ask, 2, 1)[0][:, :-1])


@pytest.mark.parametrize("weight", [1.0, 5.0, 0.2])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_loss_is_the_weighted_mean_over_bytes(share, weight):
    model = Bigram()
    ask = objective(model, mix=PasskeyMix(share, weight))
    loss, metrics = ask(3, 0)
    ids, carries = windows_of(ask, 3, 0)
    nats = loop_nats(model, ids)
    total, weights, text, answers = 0.0, 0.0, [], []
    for row in range(len(ids)):
        for position in range(nats.shape[1]):
            is_answer = carries[row] and position >= nats.shape[1] - DIGITS
            (answers if is_answer else text).append(nats[row, position])
            weights += weight if is_answer else 1.0
            total += nats[row, position] * (weight if is_answer else 1.0)
    assert {0.0: 0, 0.5: 2, 1.0: 4}[share] == carries.sum(), "the seed is chosen so that half is half"
    np.testing.assert_allclose(loss.item(), total / weights, rtol=1e-5)
    np.testing.assert_allclose(metrics["bits_per_byte"], np.mean(text) / math.log(2), rtol=1e-5)
    if share:
        np.testing.assert_allclose(metrics["passkey_nats"], np.mean(answers), rtol=1e-5)
    else:
        assert metrics["passkey_nats"] is None


def test_the_gradient_at_each_byte_counts_its_weight():
    """The gradient of a cross-entropy by the logits is the softmax, less 1 at the byte that came."""
    logits = torch.zeros(4, LENGTH - 1, 256, requires_grad=True)
    ask = objective(lambda ids: logits, mix=PasskeyMix(0.5, 5.0))
    ids, carries = windows_of(ask, 3, 0)
    ask(3, 0)[0].backward()
    weights = np.ones((4, LENGTH - 1))
    weights[carries, -DIGITS:] = 5
    expected = np.full(logits.shape, 1 / 256)
    for row, position in np.ndindex(4, LENGTH - 1):
        expected[row, position, ids[row, position + 1]] -= 1
    expected *= weights[..., None] / weights.sum()
    np.testing.assert_allclose(logits.grad.numpy(), expected, rtol=1e-5, atol=1e-9)


def test_an_objective_is_a_function_of_seed_step_and_part_and_nothing_else():
    model = Bigram()
    first = objective(model)(3, 1)
    torch.manual_seed(99)
    np.random.default_rng(1).random()
    again = objective(model)(3, 1)
    assert first[0].item() == again[0].item()
    assert first[1] == again[1]
    others = [objective(model)(3, 0), objective(model)(4, 1), objective(model, seed=8)(3, 1)]
    for loss, _ in others:
        assert loss.item() != first[0].item()


def test_metrics_hold_no_graph_and_the_loss_does():
    loss, metrics = objective(Bigram())(0, 0)
    assert loss.requires_grad
    assert all(isinstance(value, float) for value in metrics.values())


@pytest.mark.parametrize("bf16", [False, True])
def test_bf16_is_for_the_model_and_never_for_the_loss(bf16):
    class Linear(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = torch.nn.Linear(4, 256)

        def forward(self, ids):
            self.logits = self.head(ids[..., None].float().expand(*ids.shape, 4) / 256)
            return self.logits

    model = Linear()
    loss, _ = objective(model, bf16=bf16)(0, 0)
    assert model.logits.dtype == (torch.bfloat16 if bf16 else torch.float32)
    assert loss.dtype == torch.float32
