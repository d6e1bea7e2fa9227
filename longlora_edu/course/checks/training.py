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
from ...plots import describe_comparison, describe_reach, plot_comparison, plot_reach
from ...rope import Rope
from ...widgets import Picture
from .diagnosis import CheckFailed, Passed, called, exercise
from .numbers import expect_number

LENGTH, PATTERN, RATE = 24, S2Pattern(8), 0.5


# Exercise 7.1: one step.


@exercise("07.long_step")
def long_step(function) -> Passed:
    """`function(model, ids, optimizer) -> float`: loss in nats under S², one step taken with its gradient."""
    ids = torch.from_numpy(np.random.default_rng(0).integers(256, size=(2, LENGTH + 1), dtype=np.uint8))
    before = _long_model()
    model = copy.deepcopy(before)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for parameter in trained.values():
        parameter.grad = torch.full_like(parameter, 0.1)  # what an earlier step may have left
    optimizer = torch.optim.SGD(trained.values(), lr=RATE)
    value = called(function, model, ids, optimizer)
    if isinstance(value, torch.Tensor):
        raise CheckFailed("return the loss as a plain number: `loss.item()`", mistake="tensor")
    value = expect_number(value, "the loss")
    loss, gradients = _loss_and_gradients(before.train(), ids)
    if not math.isclose(value, loss, rel_tol=1e-4):
        _name_the_loss(value, loss, before, ids)
    moved = {name: (model.get_parameter(name) - before.get_parameter(name)).detach() for name in trained}
    _name_the_step(moved, gradients, model)
    return Passed(f"One step under S²: the loss was {loss:.3f} nats, and every trained weight moved by its gradient.")


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


def _loss_and_gradients(model: TinyLlama, ids: torch.Tensor) -> tuple[float, dict[str, torch.Tensor]]:
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten().long())
    return loss.item(), dict(zip(trained, torch.autograd.grad(loss, list(trained.values())), strict=True))


@torch.no_grad()
def _name_the_loss(value: float, loss: float, model: TinyLlama, ids: torch.Tensor) -> None:
    """Raise with the mistake that explains the value of the loss."""
    logits = model(ids[:, :-1]).flatten(0, 1)
    dense, _ = _without_gradients(model.eval(), ids)
    model.train()
    if math.isclose(value, dense, rel_tol=1e-4):
        mine, right = (
            geometry.mask()[1] for geometry in (S2Geometry(LENGTH, LENGTH, 2, 0), PATTERN.geometry(LENGTH, 2))
        )
        raise CheckFailed(
            "this is the loss of dense attention: S² works in training mode only, so call `model.train()` first",
            mistake="dense",
            picture=Picture(plot_comparison(mine, right), describe_comparison(mine, right)),
        )
    same = F.cross_entropy(logits, ids[:, :-1].flatten().long()).item()
    if math.isclose(value, same, rel_tol=1e-4):
        raise CheckFailed(
            "your targets are the bytes that the model reads; it should predict the next ones: `ids[:, 1:]`",
            mistake="not shifted",
        )
    if math.isclose(value, loss / math.log(2), rel_tol=1e-4):
        raise CheckFailed("the loss is right, but in bits: training minimises nats, do not divide", mistake="bits")
    if math.isclose(value, loss * ids[:, 1:].numel(), rel_tol=1e-4):
        raise CheckFailed("the loss is summed over the bytes; take the mean, or steps grow with length", mistake="sum")
    raise CheckFailed(f"the loss of these bytes under S² is {loss:.3f} nats, got {value:.3f}", mistake="loss")


@torch.no_grad()
def _without_gradients(model: TinyLlama, ids: torch.Tensor) -> tuple[float, None]:
    return F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten().long()).item(), None


def _name_the_step(moved: dict, gradients: dict, model: TinyLlama) -> None:
    """Raise with the mistake that explains where the weights went, if they are not where one step leads."""

    def fits(expected: Callable[[torch.Tensor], torch.Tensor]) -> bool:
        # float32 weights of size 1 have lost what is below 1e-6 of them.
        return all(
            torch.allclose(moved[name], -RATE * expected(g), rtol=1e-3, atol=1e-5) for name, g in gradients.items()
        )

    if fits(lambda gradient: gradient):
        return
    if fits(torch.zeros_like):
        raise CheckFailed("no weight has moved: the optimizer must take its step", mistake="no step")
    if fits(lambda gradient: torch.full_like(gradient, 0.1)):
        raise CheckFailed(
            "the step follows an old gradient only: compute the new one with `loss.backward()` before `step()`",
            mistake="old gradient",
        )
    if fits(lambda gradient: gradient + 0.1):
        raise CheckFailed(
            "the gradient of an earlier step is still in it: begin with `optimizer.zero_grad()`", mistake="not cleared"
        )
    raise CheckFailed("the loss is right, but the weights are not where one step leads", mistake="step")


# Exercise 7.2: what a key costs.


@exercise("07.digit_bits")
def digit_bits(function) -> Passed:
    """`function(geometry, layers) -> float`: bits of a digit, if what is heard is known and the rest guessed."""
    for geometry, layers in (
        (S2Geometry(32, 8, 2), 1),
        (S2Geometry(32, 8, 2), 3),
        (S2Geometry(30, 6, 3), 2),
        (S2Geometry(16, 4, 2, 0), 4),
    ):
        value = expect_number(called(function, geometry, layers), "the bits")
        right = _guessed(geometry.reach(layers)[-1].mean())
        if not math.isclose(value, right, rel_tol=1e-9, abs_tol=1e-9):
            _name_the_bits(value, right, geometry, layers)
    shown = S2Geometry(16, 4, 2)
    return Passed(
        "A key that the question can hear costs nothing, every other one a guess: the bottom row of reach decides.",
        Picture(plot_reach(shown, 3), describe_reach(shown, 3)),
    )


def _guessed(heard: float) -> float:
    return (1 - heard) * math.log2(10)


def _name_the_bits(value: float, right: float, geometry: S2Geometry, layers: int) -> None:
    reach = geometry.reach(layers)
    mistakes = {
        "nats": (right * math.log(2), "this is in nats: a guess among ten digits costs `log2(10)` bits"),
        "inverted": (
            reach[-1].mean() * math.log2(10),
            "it is the keys that are *not* heard that cost a guess: take one minus the share",
        ),
        "one layer": (_guessed(geometry.reach(1)[-1].mean()), "this is one layer; ask for `reach(layers)`"),
        "column": (
            _guessed(reach[:, -1].mean()),
            "rows hear, columns are heard: the question stands in the last row, `reach(layers)[-1]`",
        ),
        "first row": (_guessed(reach[0].mean()), "the question stands at the end: take the last row of `reach`"),
        "everybody": (
            _guessed(reach.mean()),
            "this is the mean over all tokens that hear; only the last one is asked: `reach(layers)[-1]`",
        ),
        "too many digits": (5 * right, "one digit is asked for, not the five of a key"),
    }
    for name, (wrong, sentence) in mistakes.items():
        if math.isclose(value, wrong, rel_tol=1e-6, abs_tol=1e-9):
            raise CheckFailed(
                sentence, mistake=name, picture=Picture(plot_reach(geometry, layers), describe_reach(geometry, layers))
            )
    raise CheckFailed(
        f"for {geometry.seq_len} tokens in groups of {geometry.group_size}, shift {geometry.shift}, and {layers} "
        f"layers a digit costs {right:.3f} bits, got {value:.3f}",
        picture=Picture(plot_reach(geometry, layers), describe_reach(geometry, layers)),
    )
