"""Which parameters LongLoRA trains, and how fast the other LoRA+ moves each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isclose

import torch
from torch import nn

from ....longlora import ATTENTION_PROJECTIONS
from ....lora import add_lora
from ....model import LlamaConfig, TinyLlama
from ....rope import Rope
from ..diagnosis import CheckFailed, Passed, called, exercise

RATE, RATIO = 1e-3, 16.0


@exercise("06.train_as_longlora")
def train_as_longlora(function: Callable) -> Passed:
    """`function(model)`: in place, of a model that LoRA was added to, only LoRA, embedding and norms train."""
    for tied in (False, True):
        model = _little_model(tied).requires_grad_(True)  # so that forgetting to freeze is seen
        called(function, model)
        trains = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        names = [name for name, _ in model.named_parameters()]
        parts = {
            "LoRA": {name for name in names if "lora_" in name},
            "embedding": {name for name in names if "embed_tokens" in name},
            "norms": {name for name in names if "norm" in name},
            "head": {name for name in names if "lm_head" in name},
        }
        right = parts["LoRA"] | parts["embedding"] | parts["norms"]
        _compare_names(trains, right, parts)
    return Passed(
        f"{len(right)} parameters train, the rest is frozen. In the tied model the head is the embedding, one tensor "
        "under two names, and trains with it.",
    )


@exercise("06.loraplus_groups")
def loraplus_groups(function: Callable) -> Passed:
    """`function(model, rate, ratio)`: groups for an optimizer, B of each LoRA layer learns ratio times as fast."""
    model = _little_model(tied=False)
    model.model.embed_tokens.requires_grad_(True)
    groups = called(function, model, RATE, RATIO)
    if not isinstance(groups, list) or not all(isinstance(group, dict) and "params" in group for group in groups):
        hint = " (did you forget `return`?)" if groups is None else ""
        raise CheckFailed(
            f'The groups must be a list of mappings with "params" and "lr", got {type(groups).__name__}{hint}',
            mistake="type",
        )
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates: dict[str, list[float]] = {}
    for group in groups:
        parameters = group["params"]
        for parameter in parameters if isinstance(parameters, Iterable) else [parameters]:
            if not isinstance(parameter, nn.Parameter) or id(parameter) not in names:
                raise CheckFailed(
                    f'"params" must hold parameters of the model, got {type(parameter).__name__}: named_parameters() '
                    "gives pairs of name and parameter",
                    mistake="not_parameters",
                )
            rates.setdefault(names[id(parameter)], []).append(group.get("lr"))
    _compare_rates(model, rates)
    return Passed("B learns faster, everything else that trains as before, and each parameter stands in one group.")


def _compare_names(trains: set[str], right: set[str], parts: dict[str, set[str]]) -> None:
    if trains == right:
        return
    missing, extra = right - trains, trains - right
    if extra - parts["head"]:
        example = sorted(extra - parts["head"])[0]
        raise CheckFailed(
            f"{len(extra - parts['head'])} weights of the base still train, {example} among them: freeze what is not "
            "LoRA, embedding or norm",
            mistake="base_trains",
        )
    if extra:
        raise CheckFailed("The head trains: LongLoRA frees the input embedding, not lm_head", mistake="head_trains")
    if parts["LoRA"] <= missing:
        raise CheckFailed("LoRA itself is frozen: lora_A and lora_B must train", mistake="lora_frozen")
    if parts["LoRA"] & missing:
        raise CheckFailed("Only one of lora_A and lora_B trains: both must", mistake="half_of_lora")
    if parts["embedding"] <= missing:
        raise CheckFailed("The embedding is frozen: embed_tokens must train", mistake="embedding_forgotten")
    if parts["norms"] <= missing:
        raise CheckFailed(
            "The norms are frozen: every weight with norm in its name must train", mistake="norms_forgotten"
        )
    raise CheckFailed(
        f"Some norms are frozen, {sorted(missing)[0]} among them: two stand in each layer and one at the end",
        mistake="some_norms",
    )


def _compare_rates(model: nn.Module, rates: dict[str, list[float]]) -> None:
    trains = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    if frozen := sorted(set(rates) - trains):
        raise CheckFailed(
            f"{len(frozen)} frozen weights are in the groups, {frozen[0]} among them: only what trains belongs there",
            mistake="frozen_included",
        )
    if twice := sorted(name for name, found in rates.items() if len(found) > 1):
        raise CheckFailed(f"{twice[0]} stands in {len(rates[twice[0]])} groups: one each", mistake="in_two_groups")
    if lost := sorted(trains - set(rates)):
        raise CheckFailed(
            f"{len(lost)} of {len(trains)} parameters that train are in no group, {lost[0]} among them: they would "
            "stay as they are",
            mistake="left_out",
        )
    fast, slow, rest = (
        {rates[name][0] for name in trains if kind(name)}
        for kind in (
            lambda name: "lora_B" in name,
            lambda name: "lora_A" in name,
            lambda name: "lora_" not in name,
        )
    )
    if any(len(found) != 1 or None in found for found in (fast, slow, rest)):
        raise CheckFailed('Each group needs one "lr", the same for all that it holds', mistake="no_rate")
    (fast,), (slow,), (rest,) = fast, slow, rest

    def are(*expected: float) -> bool:
        return all(isclose(one, other, rel_tol=1e-6) for one, other in zip((fast, slow, rest), expected, strict=True))

    times = RATIO * RATE
    known = [
        ("a_faster", (RATE, times, RATE), "A learns faster; it is B, which starts at zero, that must"),
        ("all_faster", (times, times, times), "everything learns faster, not B alone: that is a larger rate, no ratio"),
        ("lora_faster", (times, times, RATE), "A and B learn equally fast: the ratio is between the two"),
        ("rest_faster", (times, RATE, times), "embedding and norms learn as fast as B: the ratio is for B alone"),
        ("not_faster", (RATE, RATE, RATE), "the ratio is not used: B must learn ratio times as fast as A"),
        ("ratio_as_rate", (RATIO, RATE, RATE), "the ratio itself is the rate of B: multiply it by the rate"),
        ("divided", (RATE / RATIO, RATE, RATE), "B learns slower: multiply by the ratio, do not divide"),
    ]
    if are(times, RATE, RATE):
        return
    other = f"B learns at {fast:g}, A at {slow:g}, the rest at {rest:g}: it must be {times:g}, {RATE:g}, {RATE:g}"
    name, sentence = next(((name, said) for name, rates, said in known if are(*rates)), ("other", other))
    raise CheckFailed(sentence[0].upper() + sentence[1:], mistake=name)


def _little_model(tied: bool) -> TinyLlama:
    config = LlamaConfig(
        Rope(4, trained_length=8),
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=8,
        vocab_size=16,
        tie_word_embeddings=tied,
    )
    model = TinyLlama(config, generator=torch.Generator().manual_seed(0))
    add_lora(model, ATTENTION_PROJECTIONS, rank=2, alpha=4, generator=torch.Generator().manual_seed(0))
    return model
