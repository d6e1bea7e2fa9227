"""The LoRA layer, and three changes to a model: add it, free other modules, merge it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .rank import checked_rank_and_alpha


class LoRALinear(nn.Module):
    """`y = base(x) + alpha / rank · B A x`: a frozen Linear and a trained correction of rank at most `rank`.

    `base` is the very module that is passed in, and is frozen. A starts as in PEFT (Kaiming uniform,
    drawn in float32 on the generator's device, else the CPU), B at zero: at first nothing changes.

    Source: LoRA (arXiv 2106.09685) section 4.1.

    Raises:
        ValueError: for a base that is no plain nn.Linear, a rank that is no positive integer, an alpha not above 0.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if type(base) is not nn.Linear:  # a subclass may hold its weight in another form, or compute something else
            raise ValueError(f"base must be a plain nn.Linear, got {type(base).__name__}")
        self.rank, self.alpha = checked_rank_and_alpha(rank, alpha)
        self.base = base.requires_grad_(False)
        skip_init: Any = nn.utils.skip_init  # which returns what it is given, and is typed as an nn.Module
        like = {"bias": False, "device": base.weight.device, "dtype": base.weight.dtype}
        self.lora_A: nn.Linear = skip_init(nn.Linear, base.in_features, self.rank, **like)
        self.lora_B: nn.Linear = skip_init(nn.Linear, self.rank, base.out_features, **like)
        device = "cpu" if generator is None else generator.device
        start = torch.empty(self.rank, base.in_features, dtype=torch.float32, device=device)
        nn.init.kaiming_uniform_(start, a=math.sqrt(5), generator=generator)
        with torch.no_grad():
            self.lora_A.weight.copy_(start)
            self.lora_B.weight.zero_()
        self.train(base.training)

    @property
    def scaling(self) -> float:
        """Factor on the side path: alpha / rank."""
        return self.alpha / self.rank

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., in) to (..., out)."""
        if self._is_cheaper_summed(x):
            update = self.scaling * (self.lora_B.weight @ self.lora_A.weight)
            return F.linear(x, self.base.weight + update, self.base.bias)
        return self.base(x) + self.scaling * self.lora_B(self.lora_A(x))

    def _is_cheaper_summed(self, x: torch.Tensor) -> bool:
        """Return whether one product with W + BA costs less than W and the side path, forward and backward.

        A token costs the side path 3 · 2 rank (in + out) operations, and the sum 2 in · out for its weight's gradient:
        at 256 × 256 the sum wins from rank 43 on. Not in half precision, where adding rounds a small update away,
        and only for more tokens than the weight has rows, since making BA costs as much as many tokens.
        """
        size_in, size_out = self.base.in_features, self.base.out_features
        wide = self.base.weight.dtype in (torch.float32, torch.float64)
        exact = wide and not torch.is_autocast_enabled(x.device.type)
        many = x.numel() // size_in > max(size_in, size_out)
        return exact and many and 3 * self.rank * (size_in + size_out) > size_in * size_out

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Return a new, frozen nn.Linear that computes the same. Half precision is summed in float32 and rounded
        once.
        """
        weight, bias = self.base.weight, self.base.bias
        wide = torch.promote_types(weight.dtype, torch.float32)
        update = self.scaling * (self.lora_B.weight.to(wide) @ self.lora_A.weight.to(wide))
        linear = nn.Linear(self.base.in_features, self.base.out_features, bias=bias is not None, device="meta")
        linear.weight = nn.Parameter((weight.to(wide) + update).to(weight.dtype), requires_grad=False)
        if bias is not None:
            linear.bias = nn.Parameter(bias.clone(), requires_grad=False)
        return linear.train(self.training)

    def extra_repr(self) -> str:
        return f"rank={self.rank}, alpha={self.alpha:g}"


@dataclass(frozen=True)
class LoRAReport:
    """Result of `add_lora` or `load_adapter`; `replaced` and `freed` are full module names."""

    targets: tuple[str, ...]
    replaced: tuple[str, ...]
    rank: int
    alpha: float
    added_parameters: int
    freed: tuple[str, ...] = ()


@dataclass(frozen=True)
class MergeReport:
    """Result of `merge_lora`: the full names of layers that are plain nn.Linear again."""

    merged: tuple[str, ...]
    removed_parameters: int


def add_lora(
    model: nn.Module, targets: Sequence[str], *, rank: int, alpha: float, generator: torch.Generator | None = None
) -> LoRAReport:
    """Replace the target Linear layers by `LoRALinear`, in place, and freeze every other parameter of the model.

    A target is one or more whole path segments at the end of a module's name: "q_proj" or
    "self_attn.q_proj". What else is to train is freed afterwards, by `free_modules`.

    Raises:
        ValueError: before anything changes: a target that matches nothing or no plain nn.Linear, a weight
            that is tied to another module, a model that has LoRA layers already, a bad rank or alpha.
    """
    targets, linears = linears_to_replace(model, targets)
    rank, alpha = checked_rank_and_alpha(rank, alpha)
    layers = {name: LoRALinear(linear, rank, alpha, generator=generator) for name, linear in linears.items()}
    model.requires_grad_(False)
    for name, layer in layers.items():
        _put(model, name, layer)
    added = rank * sum(linear.in_features + linear.out_features for linear in linears.values())
    return LoRAReport(targets, tuple(linears), rank, alpha, added)


def free_modules(model: nn.Module, names: Sequence[str]) -> tuple[str, ...]:
    """Let every parameter of the named modules train, and return the modules' full names.

    Names are whole path segments at the end, as in `add_lora`: "norm" is "model.norm", never
    "input_layernorm". A tied weight trains wherever it is used: freeing "embed_tokens" of a model
    with a tied head trains the head. `add_lora` freezes everything, so it comes first.

    Raises:
        ValueError: before anything changes: a name that matches no module with parameters, or one that holds LoRA.
    """
    freed = modules_to_free(model, names, "names")
    for name in freed:
        model.get_submodule(name).requires_grad_(True)
    return tuple(freed)


def merge_lora(model: nn.Module) -> MergeReport:
    """Replace each `LoRALinear` by its merged, frozen nn.Linear, in place. Freed modules stay as they are.

    Raises:
        ValueError: for a model without LoRA layers, such as one that has been merged.
    """
    layers = lora_layers(model)
    if not layers:
        raise ValueError("model must have LoRA layers to merge, got none")
    for name, layer in layers.items():
        _put(model, name, layer.merged())
    removed = sum(layer.lora_A.weight.numel() + layer.lora_B.weight.numel() for layer in layers.values())
    return MergeReport(tuple(layers), removed)


def named_parts(model: nn.Module) -> dict[str, nn.Module]:
    """Map full names to modules, under every name that they have; without the root and the inside of LoRA layers."""
    parts = dict(model.named_modules(remove_duplicate=False))
    inside = tuple(f"{name}." for name, part in parts.items() if isinstance(part, LoRALinear))
    return {name: part for name, part in parts.items() if name and not name.startswith(inside)}


def lora_layers(model: nn.Module) -> dict[str, LoRALinear]:
    """Map full names to the model's LoRA layers."""
    return {name: part for name, part in named_parts(model).items() if isinstance(part, LoRALinear)}


def ends_with(name: str, ending: str) -> bool:
    """Return whether `ending` is the last whole path segments of `name`."""
    return f".{name}".endswith(f".{ending}")


def linears_to_replace(model: nn.Module, targets: Sequence[str]) -> tuple[tuple[str, ...], dict[str, nn.Linear]]:
    """Return the targets as a tuple, and the layers that they name. Refuses all that `add_lora` does but rank and
    alpha.
    """
    parts = named_parts(model)
    if any(isinstance(part, LoRALinear) for part in model.modules()):
        raise ValueError(f"model must have no LoRA layers yet, got {some(list(lora_layers(model))) or 'one'}")
    linears = [name for name, part in parts.items() if type(part) is nn.Linear]
    targets = _names(targets, "targets")
    if not targets:
        raise ValueError("targets must name at least one module, got none")
    chosen: dict[str, Any] = {name: parts[name] for name in _matching(parts, targets, "targets", linears)}
    homes: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        homes.setdefault(id(parameter), []).append(name)
    for name, part in chosen.items():
        if type(part) is not nn.Linear:
            raise ValueError(f"targets must name plain nn.Linear modules, got {name}, which is {type(part).__name__}")
        if len(names := homes[id(part.weight)]) > 1:
            raise ValueError(f"targets must name layers with a weight of their own, got one shared by {some(names)}")
    return targets, chosen


def modules_to_free(model: nn.Module, names: Sequence[str], what: str) -> list[str]:
    """List the full names of the modules that `free_modules` frees."""
    parts = named_parts(model)
    owners = [name for name, part in parts.items() if next(part.parameters(), None) is not None]
    freed = _matching(owners, _names(names, what), what, owners)
    for name in freed:
        if any(isinstance(part, LoRALinear) for part in parts[name].modules()):
            raise ValueError(f"{what} must name modules without LoRA layers inside, got {name}")
    return freed


def some(names: Sequence[str]) -> str:
    """Join the first four names of a list for a message; say how many more there are."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _names(names: Sequence[str], what: str) -> tuple[str, ...]:
    if isinstance(names, str):
        raise ValueError(f"{what} must be a list of names, got the text {names!r}")
    return tuple(names)


def _matching(parts: Collection[str], names: Sequence[str], what: str, candidates: Sequence[str]) -> list[str]:
    for name in names:
        if not any(ends_with(part, name) for part in parts):
            last = sorted({candidate.rpartition(".")[2] for candidate in candidates})
            near = difflib.get_close_matches(name, [*last, *candidates], cutoff=0.5)
            there = f"near it: {', '.join(near) or 'none'}; in the model: {', '.join(last) or 'none'}"
            raise ValueError(f"{what} must name modules of the model, got {name!r} ({there})")
    return [part for part in parts if any(ends_with(part, name) for name in names)]


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, module)
