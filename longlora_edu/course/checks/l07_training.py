"""Checks of lesson 07: one training step on a long document, and what a key costs while attention is sparse."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from ...geometry import S2Geometry, S2Pattern
from ...longlora import LongLoRAConfig, apply_longlora
from ...model import LlamaConfig, TinyLlama
from ...plots import show_comparison, show_reach
from ...rope import Rope
from .exercise import CheckFailed, Mistake, Passed, called, check, compare, expect, expect_number, same

LENGTH, PATTERN, RATE = 24, S2Pattern(8), 0.5
LEFT = 0.1  # the gradient that an earlier step has left


# Exercise 7.1: one step.


@check("07.long_step")
def long_step(function: Callable) -> Passed:
    """Check `function(model, ids, optimizer) -> float`: loss in nats under S², one step taken with its gradient."""
    ids = torch.from_numpy(np.random.default_rng(0).integers(256, size=(2, LENGTH + 1), dtype=np.uint8))
    before = _long_model()
    model = copy.deepcopy(before)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for parameter in trained.values():
        parameter.grad = torch.full_like(parameter, LEFT)
    optimizer, steps = torch.optim.SGD(trained.values(), lr=RATE), []
    optimizer.register_step_post_hook(lambda *_: steps.append(1))
    value = called(function, model, ids, optimizer, advice=STEP_ADVICE)
    expect(not isinstance(value, torch.Tensor), "tensor", "return the loss as a plain number: `loss.item()`")
    value = expect_number(value, "the loss")
    sparse = _loss(before.train(), ids)
    gradients = torch.autograd.grad(sparse, [before.get_parameter(name) for name in trained])
    loss = sparse.item()
    dense = _loss(before.eval(), ids).item()

    def show_dense(value, *_):
        geometries = S2Geometry(LENGTH, LENGTH, 2, 0), PATTERN.geometry(LENGTH, 2)
        return show_comparison(*(geometry.mask()[1] for geometry in geometries)) if same(value, dense) else None

    compare(
        lambda *_: value,
        [(loss, dense, before.train(), ids)],
        lambda loss, *_: loss,
        LOSS_MISTAKES,
        otherwise=lambda *_: ("loss", f"the loss of these bytes under S² is {loss:.3f} nats, got {value:.3f}"),
        picture=show_dense,
    )
    changes = [(model.get_parameter(name) - before.get_parameter(name)).detach() for name in trained]
    if steps and not _joined(changes).any():  # it stepped along nothing
        left = any(p.grad is not None and bool(p.grad.any()) for p in trained.values())
        expect(
            not left,
            "step too early",
            "the optimizer has taken its step and no weight has moved: there was no gradient yet. Call "
            "`loss.backward()` before `step()`",
        )
        raise CheckFailed(
            "the optimizer has taken its step and no weight has moved: `zero_grad()` has wiped the gradient. Clear it "
            "before `loss.backward()`, not between it and `step()`",
            mistake="gradient wiped",
        )
    compare(
        lambda *_: _joined(changes),
        [(_joined(gradients),)],
        lambda gradient: -RATE * gradient,
        STEP_MISTAKES,
        otherwise=lambda *_: ("step", "the loss is right, but the weights are not where one step leads"),
        within=1e-3,
    )
    return Passed(
        f"One step under S²: the loss was {loss:.3f} nats, and every trained weight moved by its gradient. (The model "
        "of this check is random, with large weights: it is worse than a guess.)"
    )


def _long_model() -> TinyLlama:
    """A model made ready for long documents, in evaluation mode, weights so large that the pattern matters."""
    shape = LlamaConfig(
        Rope(8, trained_length=8),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=8,
    )
    with torch.random.fork_rng(devices=[]):
        model = TinyLlama(shape, generator=torch.Generator().manual_seed(0))
    apply_longlora(model, LongLoRAConfig(LENGTH, group_size=PATTERN.group_size))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(20)
    return model.eval()


def _loss(model: TinyLlama, ids: torch.Tensor, targets: slice = slice(1, None)) -> torch.Tensor:
    """Mean cross entropy in nats, in the mode in which the model is."""
    return F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, targets].flatten().long())


def _joined(tensors) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


CUT = "`ids` are one byte longer than what the model reads: it reads all but the last, `ids[:, :-1]`"
FLAT = "Flatten both: logits to (m, 256), targets to (m,)"
STEP_ADVICE = {
    "must fit the context": CUT,
    "Expected target size": FLAT,
    "only batches of spatial targets": FLAT,
    "expected scalar type Long": "Class numbers must be integers of 64 bits: `.long()`",
    "to match target batch_size": "Logits and targets must be as many: the byte at each place, and the next one",
}
LOSS_MISTAKES = {
    "dense": Mistake(
        "this is the loss of dense attention: S² works in training mode only, so call `model.train()` first",
        lambda loss, dense, model, ids: dense,
    ),
    "not shifted": Mistake(
        "your targets are the bytes that the model reads; it should predict the next ones: `ids[:, 1:]`",
        lambda loss, dense, model, ids: _loss(model, ids, slice(-1)).item(),
    ),
    "bits": Mistake(
        "the loss is right, but in bits: training minimises nats, do not divide", lambda loss, *_: loss / math.log(2)
    ),
    "last byte": Mistake(
        "this is the loss of the last byte alone: take the mean over all bytes that the model predicts",
        lambda loss, dense, model, ids: F.cross_entropy(model(ids[:, :-1])[:, -1], ids[:, -1].long()).item(),
    ),
    "sum": Mistake(
        "the loss is summed over the bytes; take the mean, or steps grow with length",
        lambda loss, dense, model, ids: loss * ids[:, 1:].numel(),
    ),
}
STEP_MISTAKES = {
    "no step": Mistake("no weight has moved: the optimizer must take its step", lambda gradient: 0 * gradient),
    "old gradient": Mistake(
        "the step follows an old gradient only: compute the new one with `loss.backward()` before `step()`",
        lambda gradient: torch.full_like(gradient, -RATE * LEFT),
    ),
    "not cleared": Mistake(
        "the gradient of an earlier step is still in it: begin with `optimizer.zero_grad()`",
        lambda gradient: -RATE * (gradient + LEFT),
    ),
}


# Exercise 7.2: the cost of a key.


@check("07.digit_bits")
def digit_bits(function: Callable) -> Passed:
    """Check `function(geometry, layers) -> float`: bits of a digit, if what is heard is known and the rest guessed."""
    settings = ((S2Geometry(32, 8, 2), 1), (S2Geometry(32, 8, 2), 3), (S2Geometry(30, 6, 3), 2))
    compare(
        function,
        [*settings, (S2Geometry(16, 4, 2, 0), 4)],
        _digit_bits,
        DIGIT_MISTAKES,
        read=lambda answer, *_: expect_number(answer, "the bits"),
        otherwise=lambda value, right, geometry, layers: (
            f"for {geometry.seq_len} tokens in groups of {geometry.group_size}, shift {geometry.shift}, and {layers} "
            f"layer{'s' * (layers > 1)} a digit costs {right:.3f} bits, got {value:.3f}"
        ),
        within=1e-6,
        picture=lambda value, right, *case: show_reach(*case),
    )
    return Passed(
        "A key that the question can hear costs nothing, every other one a guess: the bottom row of reach decides.",
        show_reach(S2Geometry(16, 4, 2), 3),
    )


def _digit_bits(geometry: S2Geometry, layers: int) -> float:
    return _guessed(geometry.reach(layers)[-1].mean())


def _guessed(heard: float) -> float:
    return (1 - heard) * math.log2(10)


def _of_reach(share: Callable[[np.ndarray], float]) -> Callable:
    """The form in which another share of `reach` counts as heard."""
    return lambda geometry, layers: _guessed(share(geometry.reach(layers)))


DIGIT_MISTAKES = {
    "nats": Mistake(
        "this is in nats: a guess among ten digits costs `log2(10)` bits",
        lambda *case: _digit_bits(*case) * math.log(2),
    ),
    "inverted": Mistake(
        "it is the keys that are *not* heard that cost a guess: take one minus the share",
        _of_reach(lambda reach: 1 - reach[-1].mean()),
    ),
    "one layer": Mistake(
        "this is one layer; ask for `reach(layers)`", lambda geometry, layers: _digit_bits(geometry, 1)
    ),
    "column": Mistake(
        "rows hear, columns are heard: the question stands in the last row, `reach(layers)[-1]`",
        _of_reach(lambda reach: reach[:, -1].mean()),
    ),
    "first row": Mistake(
        "the question stands at the end: take the last row of `reach`", _of_reach(lambda reach: reach[0].mean())
    ),
    "own place": Mistake(
        "the question's own place counts like all others: take the mean over the whole last row, `reach(layers)[-1]`",
        _of_reach(lambda reach: reach[-1, :-1].mean()),
    ),
    "inside the logarithm": Mistake(
        "the average is taken of bits, and not of chances: a share costs nothing, the others `np.log2(10)` each",
        lambda geometry, layers: -math.log2((heard := geometry.reach(layers)[-1].mean()) + (1 - heard) / 10),
    ),
    "everybody": Mistake(
        "this is the mean over all tokens that hear; only the last one is asked: `reach(layers)[-1]`",
        _of_reach(lambda reach: reach.mean()),
        also=_of_reach(lambda reach: 1 - reach.mean()),
    ),
    "all keys": Mistake(
        "this is the cost over all places of a key together: take the mean, `reach(layers)[-1].mean()`",
        lambda geometry, layers: geometry.seq_len * _digit_bits(geometry, layers),
        also=_of_reach(lambda reach: reach[-1].sum()),
    ),
    "ten": Mistake(
        "a guess among ten costs `np.log2(10)` bits, not ten",
        lambda *case: _digit_bits(*case) / math.log2(10) * 10,
    ),
    "share": Mistake(
        "this is the share of keys that are not heard; each of them costs a guess, `np.log2(10)` bits",
        lambda *case: _digit_bits(*case) / math.log2(10),
    ),
    "byte": Mistake(
        "a digit is one of ten, not one of 256: a guess costs `np.log2(10)` bits, not eight",
        lambda *case: 8 * _digit_bits(*case) / math.log2(10),
    ),
    "too many digits": Mistake("one digit is asked for, not the five of a key", lambda *case: 5 * _digit_bits(*case)),
}
