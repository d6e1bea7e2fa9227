"""The layer itself and its merge. Numbers are compared in double precision, where only mistakes differ."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from ....lora import LoRALinear
from ....plots.low_rank import describe_low_rank, plot_low_rank
from ....widgets import Picture
from ..diagnosis import CheckFailed, Passed, called, exercise, expect_tensor
from ..forms import expect_values

RANK, ALPHA = 3, 12.0


@exercise("06.lora_layer")
def lora_layer(layer_class: Callable) -> Passed:
    """`layer_class(base, rank, alpha)`: an nn.Module with A (rank, in), B (out, rank), `forward`; base is frozen."""
    for bias, dtype, device in ((True, torch.float64, "cpu"), (False, torch.bfloat16, "cpu"), (True, None, "meta")):
        base = nn.Linear(6, 5, bias=bias, dtype=dtype, device=device)
        layer = called(layer_class, base, RANK, ALPHA)
        if not isinstance(layer, nn.Module):
            raise CheckFailed(f"The layer must be an nn.Module, got {type(layer).__name__}", mistake="type")
        if "forward" not in vars(type(layer)):
            raise CheckFailed("The layer has no forward yet: x (…, in) to (…, out)", mistake="forward")
        a, b = _side(layer, base)
        if base.weight.requires_grad:
            raise CheckFailed(
                "The base weight still trains: LoRA freezes it, base.requires_grad_(False)", mistake="base_trains"
            )
        if device == "cpu":
            _check_start(a, b)
            x = torch.randn(2, 4, 6, dtype=dtype, generator=torch.Generator().manual_seed(1))
            _check_forward(layer, base, a, b, x)
    return Passed(
        "At first it changes nothing, A and B learn, the base does not; any dtype and device. Below, the same for a "
        "projection of the small model, drawn to scale.",
        Picture(plot_low_rank(192, 192, 8), describe_low_rank(192, 192, 8)),
    )


@exercise("06.merged")
def merged(function: Callable) -> Passed:
    """`function(layer)`: a plain nn.Linear that computes what the LoRALinear computes, which stays as it was."""
    for inputs, outputs, bias in ((5, 5, True), (6, 4, False), (4, 7, True)):
        layer = _trained_layer(inputs, outputs, bias)
        before = layer.base.weight.clone()
        linear = called(function, layer)
        if not isinstance(linear, nn.Module):
            hint = " (did you forget `return`?)" if linear is None else ""
            raise CheckFailed(f"merged must return an nn.Linear, got {type(linear).__name__}{hint}", mistake="type")
        if type(linear) is not nn.Linear:
            raise CheckFailed(
                f"merged must return a plain nn.Linear, got {type(linear).__name__}: after the merge nothing of LoRA "
                "is left, so there is no flag that could be wrong",
                mistake="not_plain",
            )
        if not torch.equal(layer.base.weight, before):
            raise CheckFailed(
                "The base weight inside the layer has changed, so the layer now counts its side path twice, and a "
                "second merge would add it again: add to a copy",
                mistake="merged_in_place",
            )
        expect_tensor(linear.weight, (outputs, inputs), like=before, what="the merged weight")
        base, a, b = (part.detach().numpy() for part in (before, layer.lora_A.weight, layer.lora_B.weight))
        expect_values(
            linear.weight.detach().numpy(),
            base + ALPHA / RANK * (b @ a),
            _wrong_merges(base, a, b),
            otherwise="the merged weight is not W + alpha / rank · B A",
        )
        if bias and (linear.bias is None or not torch.equal(linear.bias, layer.base.bias)):
            raise CheckFailed("The bias of the base layer is lost: the merged layer needs it too", mistake="bias_lost")
    return Passed("One matrix again, the same numbers, and the layer itself is as it was.")


def _side(layer: nn.Module, base: nn.Linear) -> tuple[Tensor, Tensor]:
    """A and B as tensors, if they are what an optimizer and a file would find."""
    registered = {id(parameter) for parameter in layer.parameters()}
    found = []
    for name in "AB":
        side = getattr(layer, name, None)
        side = side.weight if isinstance(side, nn.Linear) else side
        if not isinstance(side, Tensor):
            raise CheckFailed(
                f"The layer must keep {name} as self.{name}, got {type(side).__name__}", mistake="no_side"
            )
        if id(side) not in registered:
            raise CheckFailed(
                f"{name} is a plain tensor, which no optimizer and no file would find: nn.Parameter({name})",
                mistake="not_parameters",
            )
        found.append(side)
    shapes = [tuple(side.shape) for side in found]
    if shapes == [(5, RANK), (RANK, 6)]:
        raise CheckFailed(
            "A and B are swapped: A comes first and leads down, (rank, in); B leads up again, (out, rank)",
            mistake="swapped",
        )
    if shapes == [(6, RANK), (RANK, 5)]:
        raise CheckFailed(
            f"A is {shapes[0]} and B {shapes[1]}: both are transposed. Like nn.Linear's weight they are (to, from): A "
            "(rank, in), B (out, rank)",
            mistake="transposed",
        )
    for name, side, shape in zip("AB", found, ((RANK, 6), (5, RANK)), strict=True):
        if tuple(side.shape) != shape:
            what = "(rank, in)" if name == "A" else "(out, rank)"
            raise CheckFailed(f"{name} must have the shape {what} = {shape}, got {tuple(side.shape)}", mistake="shape")
        if not side.requires_grad:
            raise CheckFailed(f"{name} does not train: nothing would be learned in it", mistake="side_frozen")
        for field in ("dtype", "device"):
            mine, right = getattr(side, field), getattr(base.weight, field)
            if mine != right:
                raise CheckFailed(
                    f"{name} must have the {field} of the base weight, {right}, got {mine}", mistake=field
                )
    return found[0], found[1]


def _check_start(a: Tensor, b: Tensor) -> None:
    zero = [not side.detach().any() for side in (a, b)]
    if zero == [True, True]:
        raise CheckFailed(
            "A and B are both zero: then the gradient of each is zero too, and nothing is ever learned. A is random",
            mistake="both_zero",
        )
    if zero == [True, False]:
        raise CheckFailed(
            "A is zero and B random. Nothing changes at first either way, but LoRA, and every file of it, has it the "
            "other way round: A random, B zero",
            mistake="a_zero",
        )
    if zero == [False, False]:
        raise CheckFailed(
            "B is not zero, so the layer computes something else before it has learned anything: B must start at zero",
            mistake="b_not_zero",
        )
    if not a.detach().isfinite().all() or len(a.detach().unique()) < a.numel() // 2:
        raise CheckFailed(
            "The numbers in A must be random: with equal rows every rank learns the same", mistake="a_not_random"
        )


def _check_forward(layer: nn.Module, base: nn.Linear, a: Tensor, b: Tensor, x: Tensor) -> None:
    like = base(x)
    fresh = expect_tensor(called(layer, x), tuple(like.shape), like=like, what="the output")
    if x.dtype != torch.float64:  # its rounding would hide or fake a mistake
        return
    bias = 0 if base.bias is None else _numbers(base.bias)
    silent = _numbers(like)
    expect_values(
        _numbers(fresh),
        silent,
        {
            "base_missing": (np.zeros_like(silent), "the output is zero at first: add what the base computes, base(x)"),
            "bias_lost": (silent - bias, "the bias of the base is lost: call base(x), not only its weight"),
            "scaled_base": (
                ALPHA / RANK * silent,
                "alpha / rank multiplies the base's output as well: it belongs to the side path alone",
            ),
        },
        otherwise="with B at zero the layer must compute exactly what the base computes",
    )
    with torch.no_grad():
        b.copy_(torch.randn(b.shape, dtype=b.dtype, generator=torch.Generator().manual_seed(2)))
    out = called(layer, x)
    side = _numbers(x @ a.T @ b.T)
    said = "the side path must count alpha / rank"
    expect_values(
        _numbers(out),
        silent + ALPHA / RANK * side,
        {
            "alpha_forgotten": (silent + side, f"{said}; it counts 1, so alpha and rank are not used"),
            "rank_forgotten": (silent + ALPHA * side, f"{said}; it counts alpha, the division by the rank is missing"),
            "alpha_forgotten_rank_divides": (silent + side / RANK, f"{said}; it counts 1 / rank, alpha is missing"),
            "scale_upside_down": (silent + RANK / ALPHA * side, f"{said}; it counts rank / alpha"),
            "scale_multiplied": (silent + RANK * ALPHA * side, f"{said}; it counts alpha · rank"),
            "root_of_rank": (
                silent + ALPHA / RANK**0.5 * side,
                f"{said}; alpha / √rank is another method, rank-stabilised LoRA",
            ),
            "side_ignored": (silent, "the side path is not in the output: A and B could learn nothing"),
        },
        otherwise="the output is not base(x) + alpha / rank · B A x",
    )
    out.square().sum().backward() if out.requires_grad else None
    if a.grad is None or b.grad is None:
        raise CheckFailed(
            "No gradient reaches A and B: nothing in forward may be detached or under no_grad", mistake="no_gradient"
        )


def _wrong_merges(base: np.ndarray, a: np.ndarray, b: np.ndarray) -> dict:
    update, scale = b @ a, ALPHA / RANK
    wrong = {
        "scaling_forgotten": (base + update, "alpha / rank is missing: the update is scaling · B A"),
        "rank_forgotten": (base + ALPHA * update, "the update counts alpha, the division by the rank is missing"),
        "scaled_twice": (base + scale**2 * update, "alpha / rank is applied twice"),
        "merged_twice": (base + 2 * scale * update, "the update is added twice"),
        "subtracted": (base - scale * update, "the update is subtracted: that is what undoes a merge"),
        "update_only": (scale * update, "this is the update alone: add it to the base weight"),
        "base_only": (base, "this is the base weight: the update is not added"),
    }
    if update.shape == update.T.shape:
        wrong["transposed"] = (
            base + scale * update.T,
            "the update is transposed: with weights as (to, from) it is B A, A applied first",
        )
    return wrong


def _trained_layer(inputs: int, outputs: int, bias: bool) -> LoRALinear:
    """A layer after training: B is no longer zero."""
    generator = torch.Generator().manual_seed(inputs)
    base = nn.Linear(inputs, outputs, bias=bias, dtype=torch.float64)
    layer = LoRALinear(base, RANK, ALPHA, generator=generator)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=torch.float64, generator=generator))
    return layer


def _numbers(tensor: Tensor) -> np.ndarray:
    return tensor.detach().numpy()
