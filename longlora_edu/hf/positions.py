"""New positions for a living transformers model, and the forms in which a config states them.

A config states the rule, but the frequencies live in modules that were built from it. Whoever writes
into the config of a built model changes what is saved and nothing that is computed, so both move together here.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from ..longlora import LongLoRAConfig, stretched_rope
from ..rope import BETA_FAST, Rope
from .base_reach import Reach, reach_of, stated_positions
from .configs import in_a_line

MOVED = ("rope_parameters", "max_position_embeddings", "head_dim", "longlora_rope")
# The names of transformers 4: those that every family reads, and those of a few.
LEGACY = ("rope_theta", "rope_scaling", "partial_rotary_factor")
OTHER_NAMES = {"rotary_emb_base": "rope_theta", "rotary_pct": "partial_rotary_factor"}


@dataclass(frozen=True)
class Positions:
    """New positions for one model: its next config, and new rotary modules made from it, by the names they replace."""

    config: PreTrainedConfig
    rotary: dict[str, Any]

    def give_to(self, model: PreTrainedModel) -> None:
        """Put the positions in place. `model` keeps its config object, in which every module of it reads."""
        generation = model.generation_config
        # Some checkpoints state their context here too, and generation would stop at the old one.
        if generation is not None and generation.max_length == model.config.max_position_embeddings:
            generation.max_length = reach_of(self.config).length
        for name in MOVED:
            if hasattr(self.config, name):
                setattr(model.config, name, getattr(self.config, name))
        _forget_legacy(model.config)
        for name, module in self.rotary.items():
            module.config = model.config
            model.set_submodule(name, module)
        forget_lengths(model)


def extended_positions(model: PreTrainedModel, recipe: LongLoRAConfig) -> Positions:
    """Positions that a recipe gives to a model: its own within reach, stretched ones beyond. Changes nothing.

    A rule that has stretched the model already goes on with a larger factor, counted from the same original length.

    Raises:
        ValueError: for a context within reach under another rule than the model's own; beyond, for a rule that the
            model was not stretched by, and for one that cannot go on.
    """
    head_dim, target = _turned(model), recipe.context_length
    reach = reach_of(model.config, recipe.trained_length)
    if target <= reach.length:
        own = reach.parameters.get("beta_fast", BETA_FAST)
        if recipe.beta_fast not in (None, own):
            raise ValueError(
                f"beta_fast must be {own:g} within the context that this model reads, got {recipe.beta_fast:g}"
            )
        if recipe.rope in ("default", reach.rule):
            return _kept(model, reach, head_dim)
        raise ValueError(
            f"context_length must be above the trained context of {reach.length}, got {target}: "
            "within it rope='default' leaves the positions as they are"
        )
    if reach.rule == "llama3":  # its factor does not say how far it reaches, but goes on like the others
        if recipe.rope != reach.rule:
            raise ValueError(
                f"rope must be 'llama3', with which this model is already stretched by {reach.factor:g}, "
                f"got {recipe.rope!r}"
            )
        parameters = reach.parameters | {"factor": reach.factor * target / reach.length}
        return new_positions(model, parameters, None, maximum=target)
    rope = stretched_rope(
        reach.rope(head_dim),
        recipe.rope,
        trained_length=reach.origin,
        target_length=target,
        beta_fast=recipe.beta_fast,
    )
    maximum = reach.origin if rope.method == "dynamic" else target  # at the target it would do nothing
    return new_positions(model, rope.rope_parameters(), rope, maximum=maximum)


def new_positions(model: PreTrainedModel, parameters: dict, rope: Rope | None, *, maximum: int) -> Positions:
    """The positions of `model` under another rule, built beside it and compared with the rule. Changes nothing.

    `rope` is the same rule as `parameters`; None for one that only transformers knows.

    Raises:
        ValueError: when the family does not keep the rule in its config, or its rotary module does not follow it.
    """
    config = copy.deepcopy(model.config)
    _forget_legacy(config)
    if getattr(config, "head_dim", 0) is None:  # several rules of transformers read it where it is stated
        config.head_dim = config.hidden_size // config.num_attention_heads
    share = {name: value for name, value in config.rope_parameters.items() if name == "partial_rotary_factor"}
    config.rope_parameters = parameters | share
    config.max_position_embeddings = maximum
    config.longlora_rope = dataclasses.asdict(rope) if rope else None
    family, method, wanted = type(config).__name__, parameters["rope_type"], dict(config.rope_parameters)
    method = rope.method if rope else method
    try:
        read_back = type(config).from_dict(config.to_dict()).rope_parameters
    except Exception as error:  # each family checks its config in its own way, with its own kind of error
        raise ValueError(f"rope must be a rule that {family} accepts, got {method!r}: {in_a_line(error)}") from None
    if read_back != wanted:
        raise ValueError(f"rope must be a rule that {family} keeps, got {method!r}, read back as {read_back}")
    rotary = {}
    for name, module in rotary_modules(model).items():
        try:
            with torch.device("cpu"):  # the model itself may be an empty one
                built = type(module)(config)
                expected = _expected(config, rope)
        except Exception as error:  # as above
            kind = type(module).__name__
            raise ValueError(f"rope must be a rule that {kind} computes, got {method!r}: {in_a_line(error)}") from None
        found = built.inv_freq.double().numpy(), float(built.attention_scaling)
        if found[0].shape != expected[0].shape or not all(
            np.allclose(ours, theirs, rtol=1e-5, atol=0) for ours, theirs in zip(expected, found, strict=True)
        ):
            raise ValueError(f"rope must be a rule that {type(module).__name__} follows, got {method!r}")
        rotary[name] = built.to(module.inv_freq.device).train(module.training)
    return Positions(config, rotary)


def rotary_modules(model: PreTrainedModel) -> dict[str, Any]:
    """The modules of a model that turn positions into angles, by name.

    Raises:
        ValueError: for a model without any, or with several rules.
    """
    stated = stated_positions(model.config)["rope_parameters"]
    found = {name: part for name, part in model.named_modules() if hasattr(part, "inv_freq")}
    if not found or not stated:
        raise ValueError(
            f"model must have rotary positions (RoPE) that its rope_parameters rule, got {type(model).__name__}"
        )
    return found


def forget_lengths(model: PreTrainedModel) -> PreTrainedModel:
    """Make *dynamic* positions depend on the length at hand alone. Returns `model`.

    transformers keeps the frequencies of the longest text so far until one comes that is shorter than the trained
    length, so a loss would depend on what was read before it.
    """
    for part in model.modules():
        if getattr(part, "rope_type", None) == "dynamic" and _forget not in part._forward_pre_hooks.values():
            part.register_forward_pre_hook(_forget)
    return model


def state_for_all_readers(config: PreTrainedConfig) -> None:
    """Write the positions of a config in the words of transformers 4 too, and take out what only we read.

    transformers 4 and engines built on it look for `rope_theta` and `rope_scaling` and would take 10,000 and no stretch
    without them; transformers 5 reads `rope_scaling` first, so both say the same.
    """
    reach, rule = reach_of(config), stated_positions(config)["rope_parameters"]
    own = vars(config)  # transformers 5 has a property of the name rope_scaling, which writes elsewhere
    for name in ("longlora", "longlora_rope", *LEGACY):
        own.pop(name, None)
    stated = {name: config.rope_parameters[name] for name in LEGACY if config.rope_parameters.get(name) is not None}
    for older, name in OTHER_NAMES.items():
        older_name: dict[str, Any] = {older: 0.5}
        if name in stated and type(config)(**older_name).rope_parameters.get(name) == 0.5:
            stated[older] = stated[name]
    if rule["rope_type"] != "default":
        stated["rope_scaling"] = {name: value for name, value in rule.items() if name != "rope_theta"}
        stated["rope_scaling"]["type"] = rule["rope_type"]
        if reach.origin not in (rule.get("original_max_position_embeddings"), config.max_position_embeddings):
            stated["original_max_position_embeddings"] = reach.origin  # where transformers, too, looks for it
    own.update(stated)


def _forget_legacy(config: PreTrainedConfig) -> None:
    """Take out older names, which would go on to state the positions of before."""
    for name in (*LEGACY, *OTHER_NAMES):
        vars(config).pop(name, None)


def _turned(model: PreTrainedModel) -> int:
    """Count the features of a head that are turned."""
    return 2 * next(iter(rotary_modules(model).values())).inv_freq.numel()


def _kept(model: PreTrainedModel, reach: Reach, head_dim: int) -> Positions:
    config = copy.deepcopy(model.config)
    try:
        config.longlora_rope = dataclasses.asdict(reach.rope(head_dim))
    except ValueError:  # a rule that Rope does not know can be kept all the same
        config.longlora_rope = None
    return Positions(config, {})


def _expected(config: PreTrainedConfig, rope: Rope | None) -> tuple[np.ndarray, float]:
    """Frequencies and attention factor of a rule: our own, or those of transformers' function for it."""
    if rope is not None:
        return rope.frequencies(), rope.attention_factor
    frequencies, attention_factor = ROPE_INIT_FUNCTIONS[config.rope_parameters["rope_type"]](config)
    return frequencies.double().numpy(), float(attention_factor)


def _forget(rotary: Any, _inputs: object) -> None:
    rotary.inv_freq = rotary.original_inv_freq.to(rotary.inv_freq.device)
    rotary.max_seq_len_cached = rotary.original_max_seq_len
