"""A Linear with a low-rank side path: add it to a model, train it, merge it, and exchange it with PEFT.

LoRA freezes a model and learns, for some of its Linear layers, a correction of low rank. LongLoRA
also trains the embeddings and norms as they are: `free_modules`. Both travel in one adapter folder.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn

from .records import read_json, replace_file, write_json

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
PEFT_PREFIX = "base_model.model."
# Entries of a PEFT config that do not change what saved weights compute, whatever they hold.
INERT = frozenset(
    "auto_mapping base_model_name_or_path ensure_weight_tying inference_mode lora_dropout megatron_core peft_version "
    "qalora_group_size revision task_type".split()
)


class LoRALinear(nn.Module):
    """`y = base(x) + alpha / rank · B A x`: a frozen Linear and a trained correction of rank at most `rank`.

    `base` is the very module that is passed in, and is frozen. A starts as PEFT's does (Kaiming uniform, drawn
    on the CPU unless the generator lives elsewhere), B at zero, so that nothing changes before the first step.

    Source: LoRA (arXiv 2106.09685) section 4.1.

    Raises:
        ValueError: for a base that is no plain nn.Linear, a rank that is no positive integer, an alpha not above 0.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if type(base) is not nn.Linear:  # a subclass may store its weight in another form, or compute something else
            raise ValueError(f"base must be a plain nn.Linear, got {type(base).__name__}")
        self.rank, self.alpha = _rank_and_alpha(rank, alpha)
        self.base = base.requires_grad_(False)
        like = {"bias": False, "device": base.weight.device, "dtype": base.weight.dtype}
        self.lora_A = nn.utils.skip_init(nn.Linear, base.in_features, self.rank, **like)
        self.lora_B = nn.utils.skip_init(nn.Linear, self.rank, base.out_features, **like)
        device = "cpu" if generator is None else generator.device
        start = torch.empty(self.rank, base.in_features, dtype=torch.float32, device=device)
        nn.init.kaiming_uniform_(start, a=math.sqrt(5), generator=generator)
        with torch.no_grad():
            self.lora_A.weight.copy_(start)
            self.lora_B.weight.zero_()

    @property
    def scaling(self) -> float:
        """alpha / rank: how much the side path counts."""
        return self.alpha / self.rank

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) to (..., out)."""
        return self.base(x) + self.scaling * self.lora_B(self.lora_A(x))

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """A new, frozen nn.Linear that computes the same. Half precision is summed in float32 and rounded once."""
        weight, bias = self.base.weight, self.base.bias
        wide = torch.promote_types(weight.dtype, torch.float32)
        update = self.lora_B.weight.to(wide) @ self.lora_A.weight.to(wide)
        linear = nn.Linear(self.base.in_features, self.base.out_features, bias=bias is not None, device="meta")
        linear.weight = nn.Parameter((weight.to(wide) + self.scaling * update).to(weight.dtype), requires_grad=False)
        if bias is not None:
            linear.bias = nn.Parameter(bias.clone(), requires_grad=False)
        return linear.train(self.training)

    def extra_repr(self) -> str:
        return f"rank={self.rank}, alpha={self.alpha}"


@dataclass(frozen=True)
class LoRAReport:
    """What `add_lora` or `load_adapter` did: full module names, and parameters counted."""

    targets: tuple[str, ...]
    replaced: tuple[str, ...]
    rank: int
    alpha: float
    added_parameters: int
    frozen_parameters: int
    freed: tuple[str, ...] = ()


@dataclass(frozen=True)
class MergeReport:
    """What `merge_lora` did: full names of the layers that are plain nn.Linear again."""

    merged: tuple[str, ...]
    removed_parameters: int


def add_lora(
    model: nn.Module, targets: Sequence[str], *, rank: int, alpha: float, generator: torch.Generator | None = None
) -> LoRAReport:
    """Replace the target Linear layers by `LoRALinear`, in place, and freeze every other parameter of the model.

    A target is one or more whole path segments at the end of a module's name: "q_proj" or "self_attn.q_proj".
    What else is to train is freed afterwards, with `free_modules`.

    Raises:
        ValueError: before anything changes: a target that matches nothing or no plain nn.Linear, a Linear whose
            weight is tied to another module, a model that has LoRA layers already, a bad rank or alpha.
    """
    targets, linears = _linears_to_replace(model, targets)
    rank, alpha = _rank_and_alpha(rank, alpha)
    model.requires_grad_(False)
    for name, linear in linears.items():
        _put(model, name, LoRALinear(linear, rank, alpha, generator=generator))
    added = sum(rank * (linear.in_features + linear.out_features) for linear in linears.values())
    total = sum(parameter.numel() for parameter in model.parameters())
    return LoRAReport(targets, tuple(linears), rank, alpha, added, total - added)


def free_modules(model: nn.Module, names: Sequence[str]) -> tuple[str, ...]:
    """Let every parameter of the named modules train, and return the modules' full names.

    Names are whole path segments at the end, as in `add_lora`: "norm" is "model.norm" and never
    "input_layernorm". A weight tied to another module trains there too: freeing "embed_tokens" of a
    model with a tied head trains the head. `add_lora` freezes again, so it comes first.

    Raises:
        ValueError: before anything changes: a name that matches nothing, or a module that holds LoRA layers.
    """
    freed = _matching(_modules(model), names, "names")
    _refuse_overlap(freed, _lora_layers(model))
    for name in freed:
        model.get_submodule(name).requires_grad_(True)
    return tuple(freed)


def merge_lora(model: nn.Module) -> MergeReport:
    """Replace each `LoRALinear` by its merged, frozen nn.Linear, in place. Freed modules stay as they are.

    Raises:
        ValueError: for a model without LoRA layers, such as one that has been merged.
    """
    layers = _lora_layers(model)
    if not layers:
        raise ValueError("model must have LoRA layers to merge, got none")
    for name, layer in layers.items():
        _put(model, name, layer.merged())
    removed = sum(layer.lora_A.weight.numel() + layer.lora_B.weight.numel() for layer in layers.values())
    return MergeReport(tuple(layers), removed)


def save_adapter(
    model: nn.Module, folder: Path, *, base_model_name: str = "", also_trained: Sequence[str] = ()
) -> tuple[str, ...]:
    """Write LoRA layers and freed modules as PEFT does, and return the keys. PEFT loads the folder as its own.

    `also_trained` takes what `free_modules` took. A tied weight is written under each of its names.
    Rotary positions are not part of this format: a stretched model's config must travel beside it.

    Raises:
        ValueError: for a model without LoRA layers or with several ranks, a trainable parameter that would
            be lost, or modules that PEFT's rule (`key.endswith(name)`) cannot tell from others.
    """
    layers, modules = _lora_layers(model), _modules(model)
    settings = {(layer.rank, layer.alpha) for layer in layers.values()}
    if len(settings) != 1:
        raise ValueError(f"model must have LoRA layers of one rank and alpha to save, got {sorted(settings) or 'none'}")
    freed = _matching(modules, also_trained, "also_trained")
    _refuse_overlap(freed, layers)
    state = _state_of(model, freed)
    tied = [key for key in state if not _inside(key, freed)]
    state |= {f"{name}.{side}.weight": getattr(layer, side).weight for name, layer in layers.items() for side in SIDES}
    if lost := [name for name, parameter in model.named_parameters() if parameter.requires_grad and name not in state]:
        raise ValueError(f"also_trained must name every module that trains, got none for {_some(lost)}")
    ((rank, alpha),) = settings
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model_name or None,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": int(alpha) if alpha == int(alpha) else alpha,
        "lora_dropout": 0.0,
        "target_modules": _names_for_peft(list(layers), modules, _ends_with, "target_modules"),
        "modules_to_save": _names_for_peft(freed, modules, str.endswith, "modules_to_save") or None,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "use_rslora": False,
        "use_dora": False,
    }
    if tied:
        config["ensure_weight_tying"] = True
    tensors = {PEFT_PREFIX + key: tensor.detach().cpu().clone().contiguous() for key, tensor in state.items()}
    replace_file(Path(folder) / WEIGHTS_FILE, safetensors.torch.save(tensors, metadata={"format": "pt"}))
    write_json(Path(folder) / CONFIG_FILE, config)
    return tuple(sorted(tensors))
