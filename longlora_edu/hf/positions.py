"""The positions of a transformers model: read its rotary rule, and give the living model another one.

A config states the rule, but the frequencies live in modules that were built from it. Whoever writes
into the config of a built model changes what is saved and nothing that is computed, so both move together here.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass

import numpy as np
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from ..model.config import stated_rope
from ..rope import Rope

# Not part of the rule: the old name of rope_type, and the share of a head that is turned, which no rule changes.
ASIDE = ("type", "partial_rotary_factor")


@dataclass(frozen=True)
class Positions:
    """New positions for one model: what its config will say, and the rotary modules that follow it, by name."""

    config: PreTrainedConfig
    rotary: dict[str, nn.Module]

    def give_to(self, model: PreTrainedModel) -> None:
        """Put the positions in place. `model` keeps its config object, in which every module of it reads."""
        generation = model.generation_config
        # Some checkpoints state their context here too, and generation would stop at the old one.
        if generation is not None and generation.max_length == model.config.max_position_embeddings:
            generation.max_length = context_length(self.config)
        for name in ("rope_parameters", "max_position_embeddings", "longlora_rope"):
            setattr(model.config, name, getattr(self.config, name))
        for name, module in self.rotary.items():
            module.config = model.config
            model.set_submodule(name, module)


def context_length(config: PreTrainedConfig) -> int:
    """The longest sequence a config is meant for: *dynamic* keeps the trained length as its maximum."""
    parameters = config.rope_parameters
    grows = parameters["factor"] if parameters["rope_type"] == "dynamic" else 1
    return round(config.max_position_embeddings * grows)


def stated_positions(config: PreTrainedConfig) -> dict:
    """What a config says of positions, in a form that can be compared and written as JSON."""
    stated = config.rope_parameters.items()
    parameters = {name: value for name, value in stated if name not in ASIDE and value is not None}
    return {"rope_parameters": parameters, "max_position_embeddings": config.max_position_embeddings}


def rope_of(model: PreTrainedModel) -> Rope:
    """The rotary rule of a model, as `rope_in` reads it.

    Raises:
        ValueError: also for a model without rotary positions, or with several rules.
    """
    return rope_in(model.config, 2 * next(iter(_rotary_modules(model).values())).inv_freq.numel())


def rope_in(config: PreTrainedConfig, head_dim: int) -> Rope:
    """The rotary rule in a config, for heads of which `head_dim` features are turned.

    `trained_length` is None where the config cannot tell it: for a *linear* factor that is not ours.

    Raises:
        ValueError: for a rule that `Rope` does not know, or a `longlora_rope` that contradicts it.
    """
    stated = stated_positions(config)
    try:
        rope = Rope.from_rope_parameters(
            stated["rope_parameters"], head_dim=head_dim, max_position_embeddings=stated["max_position_embeddings"]
        )
    except ValueError as error:
        raise ValueError(f"model must have positions that can be stretched: {error}") from None
    if getattr(config, "longlora_rope", None) is not None:
        return stated_rope(config.longlora_rope, rope)
    # Some published models stretched by a linear factor kept the old maximum, others state the new one.
    return dataclasses.replace(rope, trained_length=None) if rope.method == "linear" else rope


def new_positions(model: PreTrainedModel, rope: Rope, *, maximum: int) -> Positions:
    """The positions of `model` under another rule, built beside it and compared with the rule. Changes nothing.

    Raises:
        ValueError: when the family does not keep the rule in its config, or its rotary module does not follow it.
    """
    config = copy.deepcopy(model.config)
    kept = {name: config.rope_parameters[name] for name in ASIDE[1:] if name in config.rope_parameters}
    config.rope_parameters = rope.rope_parameters() | kept
    config.max_position_embeddings, config.longlora_rope = maximum, dataclasses.asdict(rope)
    family, wanted = type(config).__name__, dict(config.rope_parameters)
    try:
        read_back = type(config).from_dict(config.to_dict()).rope_parameters
    except Exception as error:  # each family checks its config in its own way, with its own kind of error
        why = " ".join(str(error).split())
        raise ValueError(f"rope must be a rule that {family} accepts, got {rope.method!r}: {why}") from None
    if read_back != wanted:
        raise ValueError(f"rope must be a rule that {family} keeps, got {rope.method!r}, read back as {read_back}")
    rotary = {}
    for name, module in _rotary_modules(model).items():
        rotary[name] = built = type(module)(config).to(module.inv_freq.device)
        follows = np.allclose(built.inv_freq.cpu().numpy(), rope.frequencies(), rtol=1e-5, atol=0)
        if not (follows and np.isclose(built.attention_scaling, rope.attention_factor)):
            raise ValueError(f"rope must be a rule that {type(module).__name__} follows, got {rope.method!r}")
        built.train(module.training)
    return Positions(config, rotary)


def _rotary_modules(model: PreTrainedModel) -> dict[str, nn.Module]:
    parameters = getattr(model.config, "rope_parameters", None) or {}
    if several := [name for name, value in parameters.items() if isinstance(value, dict)]:
        raise ValueError(f"rope_parameters must be one rule for all layers, got one each for {', '.join(several)}")
    found = {name: part for name, part in model.named_modules() if hasattr(part, "inv_freq")}
    if not found or not parameters:
        raise ValueError(
            f"model must have rotary positions (RoPE) that its rope_parameters rule, got {type(model).__name__}"
        )
    return found
