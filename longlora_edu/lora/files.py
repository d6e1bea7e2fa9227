"""The adapter folder: PEFT's file format, written and read without PEFT.

`adapter_config.json` says which layers carry LoRA and which modules trained as they are;
`adapter_model.safetensors` holds their weights. PEFT finds the latter modules by the bare end of
their names, so "norm" is also "input_layernorm" there. Lists are written so that both readings agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from ..runs.records import read_json, replace_file, write_json
from .layers import (
    LoRAReport,
    add_lora,
    checked_rank_and_alpha,
    ends_with,
    linears_to_replace,
    lora_layers,
    modules_to_free,
    named_parts,
    some,
)

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # what PEFT's two wrappers put before every name

# Entries of the config that are read, and entries that do not change what the saved weights compute.
READ = {
    "use_rslora",
    "peft_type",
    "r",
    "lora_alpha",
    "target_modules",
    "modules_to_save",
    "ensure_weight_tying",
    "init_lora_weights",
}
INERT = {"auto_mapping", "base_model_name_or_path", "inference_mode", "lora_dropout", "megatron_core", "peft_version"}
INERT |= {"qalora_group_size", "revision", "task_type"}


def save_adapter(
    model: nn.Module, folder: Path, *, base_model_name: str = "", also_trained: Sequence[str] = ()
) -> tuple[str, ...]:
    """Write the LoRA layers and the freed modules as PEFT does, and return the keys. PEFT loads the folder as its own.

    `also_trained` takes what `free_modules` took. A tied weight is written under each of its names.
    Rotary positions are no part of this format: the config of a stretched model must travel beside it.

    Raises:
        ValueError: for a model without LoRA layers or with several ranks, for a parameter that trains and
            would be lost, and for modules that PEFT's rule of names cannot tell from others.
    """
    layers, parts = lora_layers(model), named_parts(model)
    settings = sorted({(layer.rank, layer.alpha) for layer in layers.values()})
    if len(settings) != 1:
        raise ValueError(f"model must have LoRA layers of one rank and alpha to save, got {settings or 'none'}")
    freed = modules_to_free(model, also_trained, "also_trained")
    state = _state_of(model, freed)
    is_tied = any(not key.startswith(_prefixes(freed)) for key in state)
    for name, layer in layers.items():
        state |= {f"{name}.lora_A.weight": layer.lora_A.weight, f"{name}.lora_B.weight": layer.lora_B.weight}
    if lost := [name for name, parameter in model.named_parameters() if parameter.requires_grad and name not in state]:
        raise ValueError(f"also_trained must name every module that trains, got nothing for {some(lost)}")
    ((rank, alpha),) = settings
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model_name or None,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": int(alpha) if alpha.is_integer() else alpha,
        "lora_dropout": 0.0,
        "target_modules": names_for_peft(list(layers), parts, ends_with),
        "modules_to_save": names_for_peft(freed, parts, str.endswith) or None,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "use_rslora": False,
        "use_dora": False,
    }
    if is_tied:
        config["ensure_weight_tying"] = True
    tensors = {
        PREFIX + key: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, tensor in state.items()
    }
    replace_file(Path(folder) / WEIGHTS_FILE, safetensors.torch.save(tensors, metadata={"format": "pt"}))
    write_json(Path(folder) / CONFIG_FILE, config)
    return tuple(sorted(tensors))


def load_adapter(model: nn.Module, folder: Path) -> LoRAReport:
    """Give a base model the LoRA layers and freed modules of an adapter folder, ours or PEFT's, ready to train on.

    Weights take the dtype of the layer they enter. `lora_dropout` is not applied: this LoRA has none,
    and in evaluation it makes no difference. Nothing says which base the adapter was trained on but its shapes.

    Raises:
        ValueError: before the model changes, naming the file: unreadable, another method than LoRA, a variant that
            would change the meaning of the weights, keys or shapes that do not fit.
    """
    config_path, weights_path = Path(folder) / CONFIG_FILE, Path(folder) / WEIGHTS_FILE
    config, tensors = read_adapter_config(config_path), read_weights(weights_path)
    parts = named_parts(model)
    try:
        rank, alpha = checked_rank_and_alpha(config.get("r"), config.get("lora_alpha"))
        alpha *= math.sqrt(rank) if config.get("use_rslora") else 1  # it divides by the root of the rank
        targets, linears = linears_to_replace(model, config["target_modules"])
        freed = _freed_by_peft(parts, config.get("modules_to_save") or ())
        if overlap := [name for name in linears if f"{name}.".startswith(_prefixes(freed))]:
            raise ValueError(f"modules_to_save must not hold targets, got {some(overlap)}")
    except ValueError as error:
        raise ValueError(f"{config_path} must fit the model: {error}") from None
    state = _state_of(model, freed)
    tied = [key for key in state if not key.startswith(_prefixes(freed))]
    if tied and not config.get("ensure_weight_tying"):
        raise ValueError(
            f"{config_path} must set ensure_weight_tying for a model with tied weights, got false: "
            f"PEFT trained {some(freed)} apart from {some(tied)}"
        )
    expected = dict(state)
    for name, linear in linears.items():
        expected[f"{name}.lora_A.weight"] = torch.empty(rank, linear.in_features, device="meta")
        expected[f"{name}.lora_B.weight"] = torch.empty(linear.out_features, rank, device="meta")
    check_tensors(weights_path, {PREFIX + key: tensor for key, tensor in expected.items()}, tensors)
    first_name: dict[int, str] = {}
    for key, tensor in state.items():
        first = first_name.setdefault(id(tensor), key)
        if not torch.equal(tensors[PREFIX + first], tensors[PREFIX + key]):
            raise ValueError(f"{weights_path} must hold equal weights for tied names, got others for {first} and {key}")

    report = add_lora(model, targets, rank=rank, alpha=alpha, generator=torch.Generator())
    for name in freed:
        model.get_submodule(name).requires_grad_(True)
    state = model.state_dict()
    for key, tensor in tensors.items():
        state[key.removeprefix(PREFIX)].copy_(tensor)
    return replace(report, freed=tuple(freed))


def read_adapter_config(path: Path) -> dict:
    """Read `adapter_config.json` if it describes plain LoRA. The one list of what is taken, here and for PEFT.

    Raises:
        ValueError: naming the file and the entry, for another method, a variant that would change the meaning of the
            weights, a rank or alpha that LoRA cannot use.
    """
    config = read_json(existing_file(path))
    if not isinstance(config, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(config).__name__}")
    if config.get("peft_type") != "LORA":
        raise ValueError(f"{path} must have peft_type 'LORA', got {config.get('peft_type')!r}")
    for name, value in config.items():
        # Most of PEFT's switches change what the weights mean, so one that is not known to be harmless must be off.
        if name not in READ | INERT and value not in (None, False, "none", [], {}):
            raise ValueError(f"{path} must leave {name} off, which changes what the weights mean, got {value!r}")
    if config.get("init_lora_weights", True) not in (True, False, "gaussian", "orthogonal"):
        raise ValueError(
            f"{path} must have init_lora_weights that leave the base as it is, got {config['init_lora_weights']!r}"
        )
    for name, empty in (("target_modules", False), ("modules_to_save", True)):
        names = config.get(name)
        if not (names is None and empty or isinstance(names, list) and all(isinstance(n, str) and n for n in names)):
            raise ValueError(f"{path} must have a list of names as {name}, got {names!r}")
    dropout = config.get("lora_dropout", 0.0)
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise ValueError(f"{path} must have a lora_dropout from 0 to below 1, got {dropout!r}")
    try:
        checked_rank_and_alpha(config.get("r"), config.get("lora_alpha"))
    except ValueError as error:
        raise ValueError(f"{path} must fit the model: {error}") from None
    return config


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a safetensors file whole."""
    data = existing_file(path).read_bytes()  # not mapped: a map would change, or crash, if somebody replaced the file
    try:
        return safetensors.torch.load(data)
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} must be a safetensors file, got {error}") from None


def existing_file(path: Path) -> Path:
    """Return `path`, if it is a file; else raise a ValueError that lists the files of its folder."""
    if not path.is_file():
        there = sorted(entry.name for entry in path.parent.iterdir()) if path.parent.is_dir() else []
        raise ValueError(f"{path.parent} must hold {path.name}, got {some(there) or 'nothing'}")
    return path


def check_tensors(path: Path, expected: dict[str, torch.Tensor], tensors: dict[str, torch.Tensor]) -> None:
    """Refuse tensors whose names or shapes are not the expected ones; the message names them."""
    missing = [key for key in expected if key not in tensors]
    unexpected = sorted(key for key in tensors if key not in expected)
    if missing or unexpected:
        found = [f"{what} {some(keys)}" for what, keys in (("no", missing), ("unexpected", unexpected)) if keys]
        raise ValueError(f"{path} must hold the {len(expected)} tensors of its config, got {', '.join(found)}")
    for key, like in expected.items():
        wanted, got = ((tuple(t.shape), "float" if t.is_floating_point() else "other") for t in (like, tensors[key]))
        if got != wanted:
            raise ValueError(f"{path} must hold {key} of shape and kind {wanted}, got {got}")


def _freed_by_peft(parts: dict[str, nn.Module], endings: Sequence[str]) -> list[str]:
    for ending in endings:
        if not any(name.endswith(ending) for name in parts):
            raise ValueError(f"modules_to_save must name modules of the model, got {ending!r}")
    return [name for name in parts if name.endswith(tuple(endings))]


def names_for_peft(wanted: list[str], parts: Iterable[str], matches: Callable[[str, str], bool]) -> list[str]:
    """Find the shortest names by which PEFT finds `wanted` and nothing else: last segments, or full names."""
    for names in (sorted({name.rpartition(".")[2] for name in wanted}), wanted):
        found = [part for part in parts if any(matches(part, name) for name in names)]
        if found == wanted:
            return names
    more = [part for part in found if part not in wanted]
    raise ValueError(
        f"modules must have names that PEFT can tell apart, got {some(wanted)}, which are also {some(more)}"
    )


def _state_of(model: nn.Module, modules: Sequence[str]) -> dict[str, torch.Tensor]:
    """Collect the tensors of the modules by full name, tied ones under each name that they have in the model."""
    state = model.state_dict(keep_vars=True)
    chosen = {id(tensor) for key, tensor in state.items() if key.startswith(_prefixes(modules))}
    return {key: tensor for key, tensor in state.items() if id(tensor) in chosen}


def _prefixes(modules: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{name}." for name in modules)
