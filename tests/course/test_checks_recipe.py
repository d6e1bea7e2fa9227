"""Lessons 05 and 06: every planted wrong answer gets its own sentence, right ones pass, stubs stay stubs."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from longlora_edu.cost import ModelShape
from longlora_edu.course.checks import CheckFailed
from longlora_edu.course.checks import l05_positions as positions
from longlora_edu.course.checks import l06_lora as low_rank
from longlora_edu.course.checks.exercise import Mistake, compare
from longlora_edu.lora import LoRALinear
from longlora_edu.rope import Rope

# Lesson 05: answers with a switch for each mistake.


def turned(x, angles, *, interleaved=False, sign=-1.0, overwritten=False):
    cos, sin = np.cos(angles), np.sin(angles)
    first, second = (x[:, 0::2], x[:, 1::2]) if interleaved else np.split(x, 2, axis=-1)
    new = first * cos + sign * second * sin
    halves = new, second * cos + (new if overwritten else first) * sin
    return np.stack(halves, axis=-1).reshape(x.shape) if interleaved else np.concatenate(halves, axis=-1)


def rotary(*, k_sign=1.0, turns="qk", scale=1.0, transpose=False, degrees=False, **how):
    def rotary_scores(q, k, positions, frequencies):
        angles = positions[:, None] * frequencies
        if degrees:
            angles = np.deg2rad(angles)
        q = turned(q, angles, **how) if "q" in turns else q
        k = turned(k, k_sign * angles, **how) if "k" in turns else k
        scores = q @ k.T * (scale if scale == 1.0 else q.shape[-1] ** -0.5)
        return scores.T if transpose else scores

    return rotary_scores


def in_place(q, k, positions, frequencies):
    angles, half = positions[:, None] * frequencies, q.shape[-1] // 2
    for x in (q, k):
        first, second = x[:, :half].copy(), x[:, half:].copy()
        x[:, :half] = first * np.cos(angles) - second * np.sin(angles)
        x[:, half:] = second * np.cos(angles) + first * np.sin(angles)
    return q @ k.T


def frequencies(*, linear=lambda f, factor: f / factor, base_of=None, step=2.0, divide_ntk=False, swap=False):
    def stretched_frequencies(head_dim, base, factor, rule):
        if swap:
            rule = {"linear": "ntk", "ntk": "linear"}[rule]
        if rule == "ntk":
            base = (base_of or (lambda b, s, d: b * s ** (d / (d - 2))))(base, factor, head_dim)
        found = base ** -(np.arange(head_dim // 2) * step / head_dim)
        return linear(found, factor) if rule == "linear" or divide_ntk else found

    return stretched_frequencies


def linear_by_base(head_dim, base, factor, rule):
    return frequencies()(head_dim, base * factor if rule == "linear" else base, 1.0, "ntk")


def yarn(ramp_of=lambda ramp: ramp, mix=lambda f, s, r: f / s * r + f * (1 - r), step=1, clip=True):
    def yarn_frequencies(f, factor, low, high):
        ramp = (step * np.arange(len(f)) - low) / (high - low)
        return mix(f, factor, ramp_of(np.clip(ramp, 0, 1) if clip else ramp))

    return yarn_frequencies


def subtracted_twice(q, k, positions, frequencies):
    angles = np.outer(positions, frequencies)
    cos, sin = np.cos(angles), np.sin(angles)

    def wrong(x):
        first, second = np.split(x, 2, axis=-1)
        return np.concatenate([first * cos - second * sin, second * cos - first * sin], axis=-1)

    return wrong(q) @ wrong(k).T


def line_between_frequencies(f, factor, low, high):
    between = np.interp(np.arange(len(f)), [low, high], [f[low], f[high] / factor])
    pairs = np.arange(len(f))
    return np.where(pairs <= low, f, np.where(pairs >= high, f / factor, between))


POSITIONS = {
    "rotary_scores": {
        "interleaved": (rotary(interleaved=True), r"pairs \(0, 1\), \(2, 3\)"),
        "k_other_way": (rotary(k_sign=-1.0), "sum of the two positions"),
        "only_q": (rotary(turns="q"), "only the queries"),
        "only_k": (rotary(turns="k"), "only the keys"),
        "not_turned": (rotary(turns=""), "nothing is turned"),
        "not_a_rotation": (rotary(sign=1.0), "a rotation has one minus"),
        "subtracted_twice": (subtracted_twice, "both halves are subtracted"),
        "overwritten": (rotary(overwritten=True), "keep the old first half"),
        "other_way": (lambda q, k, p, f: rotary()(q, k, -p, f), "turn clockwise"),
        "turns_for_radians": (lambda q, k, p, f: rotary()(q, k, 2 * np.pi * p, f), "2π too many"),
        "degrees": (rotary(degrees=True), "radians"),
        "scaled": (rotary(scale=None), "divided by √d"),
        "transposed": (rotary(transpose=True), "keys first"),
        "in_place": (in_place, "not what it was before the call"),
        "other": (lambda q, k, p, f: rotary()(q, k, p, f) + 1.0, "turn each pair"),
        "shape": (lambda q, k, p, f: q, r"must have shape \(5, 5\)"),
        "rank": (lambda q, k, p, f: np.zeros(5), "must have 2 axes"),
        "type": (lambda q, k, p, f: None, "did you forget `return`"),
        "dtype": (lambda q, k, p, f: np.zeros((5, 5), int), "floating-point"),
        "not finite": (lambda q, k, p, f: np.full((5, 5), np.nan), "finite"),
        "exception": (lambda q, k, p, f: q @ f, "raised ValueError on the line"),
    },
    "stretched_frequencies": {
        "not_stretched": (frequencies(linear=lambda f, s: f), "factor is not used"),
        "rules_swapped": (frequencies(swap=True), "the other rule"),
        "one_index_a_pair": (frequencies(step=1.0), "must grow by 2/d"),
        "minus_forgotten": (frequencies(step=-2.0), "the exponent is negative"),
        "multiplied": (frequencies(linear=lambda f, s: f * s), "so divide"),
        "base_scaled": (linear_by_base, "leaves the base alone"),
        "exponent_forgotten": (frequencies(base_of=lambda b, s, d: b * s), r"factor \*\* \(d / \(d - 2\)\)"),
        "exponent_upside_down": (frequencies(base_of=lambda b, s, d: b * s ** ((d - 2) / d)), "the two must cancel"),
        "stretched_twice": (frequencies(divide_ntk=True), "divided as well"),
        "base_lowered": (frequencies(base_of=lambda b, s, d: b / s ** (d / (d - 2))), "turn faster"),
        "other": (frequencies(step=2.5), "pair 0 has 0.25"),
        "shape": (lambda d, b, s, rule: np.ones(d), r"must have shape \(4,\)"),
        "exception": (lambda d, b, s, rule: b ** np.arange(0, d, 2.0, 3.0), "raised TypeError"),
    },
    "yarn_frequencies": {
        "ramp_inverted": (yarn(ramp_of=lambda r: 1 - r), "upside down"),
        "not_clipped": (yarn(clip=False), "clip it"),
        "all_divided": (yarn(mix=lambda f, s, r: f / s), "every pair is divided"),
        "not_stretched": (yarn(mix=lambda f, s, r: f), "no pair is divided"),
        "multiplied": (yarn(mix=lambda f, s, r: f * s * r + f * (1 - r)), "to interpolate, divide"),
        "trained_part_forgotten": (yarn(mix=lambda f, s, r: f / s * r), "the fast pairs stand still"),
        "divided_part_forgotten": (yarn(mix=lambda f, s, r: f * (1 - r)), "the slow pairs stand still"),
        "ramp_over_all_pairs": (
            lambda f, s, low, high: yarn()(f, s, 0, len(f) - 1),
            "goes over all pairs",
        ),
        "line_between_frequencies": (line_between_frequencies, "each pair mixes its own two"),
        "ramp_one_step_off": (lambda f, s, low, high: yarn()(f, s, low, high - 1), "one step too short"),
        "wavelengths_mixed": (yarn(mix=lambda f, s, r: f / (s * r + 1 - r)), "mixes wavelengths"),
        "features_for_pairs": (yarn(step=2), "counts features"),
        "step_for_ramp": (yarn(ramp_of=lambda r: np.floor(r)), "this is a step"),
        "attention_factor": (
            yarn(mix=lambda f, s, r: (f / s * r + f * (1 - r)) * (0.1 * np.log(s) + 1)),
            "angles stay without it",
        ),
        "other": (yarn(ramp_of=lambda r: r**2), "are not YaRN's frequencies"),
        "shape": (lambda f, s, low, high: f[: high - low], r"must have shape \(24,\)"),
    },
}
RIGHT_POSITIONS = {"rotary_scores": rotary(), "stretched_frequencies": frequencies(), "yarn_frequencies": yarn()}


# Lesson 06.


def layer_class(
    *,
    start_a=torch.randn,
    start_b=torch.zeros,
    wrap=nn.Parameter,
    freeze=True,
    swap=False,
    transpose=False,
    scale=lambda alpha, rank: alpha / rank,
    base_of=lambda base, x: base(x),
    out_of=lambda base, side: base + side,
    side_of=lambda side: side,
    like=lambda weight: {"dtype": weight.dtype, "device": weight.device},
):
    class LoRALayer(nn.Module):
        def __init__(self, base, rank, alpha):
            super().__init__()
            self.base, self.scaling = base.requires_grad_(not freeze), scale(alpha, rank)
            down, up = (rank, base.in_features), (base.out_features, rank)
            if transpose:
                down, up = down[::-1], up[::-1]
            self.A = wrap(start_a(*(up if swap else down), **like(base.weight)))
            self.B = wrap(start_b(*(down if swap else up), **like(base.weight)))

        def forward(self, x):
            side = self.scaling * side_of(x @ self.A.T @ self.B.T)
            return out_of(base_of(self.base, x), side)

    return LoRALayer


class WithoutForward(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()


class WithoutSides(WithoutForward):
    def forward(self, x):
        return x


class Raising(WithoutForward):
    def __init__(self, base, rank, alpha):
        super().__init__(base, rank, alpha)
        self.A = nn.Parameter(torch.randn(rank, base.inputs))


def merge(update=lambda layer: layer.scaling * layer.lora_B.weight @ layer.lora_A.weight, *, add=True):
    @torch.no_grad()
    def merged(layer):
        linear = copy.deepcopy(layer.base)
        linear.weight.copy_((linear.weight if add else 0) + update(layer))
        return linear

    return merged


@torch.no_grad()
def merged_in_place(layer):
    layer.base.weight += layer.scaling * layer.lora_B.weight @ layer.lora_A.weight
    return layer.base


def merged_without_bias(layer):
    linear = nn.Linear(layer.base.in_features, layer.base.out_features, bias=False)
    linear.weight = nn.Parameter(layer.merged().weight)
    return linear


class Merged(nn.Linear):
    merged = True


def transposed(layer):
    update = layer.scaling * layer.lora_B.weight @ layer.lora_A.weight
    return update.T if layer.base.in_features == layer.base.out_features else update


def share(*, lora=None, besides=None, everything=None, times=1.0):
    def trainable_share(shape, rank):
        wide, queries, keys = shape.width, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        sides = 2 * (wide + queries) + 2 * (wide + keys)
        added = lora(shape, rank) if lora else shape.layers * rank * sides
        table = shape.vocabulary * shape.width
        norms = (2 * shape.layers + 1) * shape.width
        trained = added + (besides(shape, table, norms) if besides else table + norms)
        whole = everything(shape, added) if everything else shape.parameters.total + added
        return times * trained / whole

    return trainable_share


def chooses(rule):
    def train_as_longlora(model):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(rule(name))

    return train_as_longlora


def longlora(name):
    return "lora_" in name or "embed" in name or "norm" in name


def only_thaws(model):
    for name, parameter in model.named_parameters():
        if longlora(name):
            parameter.requires_grad_(True)


def groups(*, fast=lambda rate, ratio: ratio * rate, slow=lambda rate, ratio: rate, rest=lambda rate, ratio: rate):
    def loraplus_groups(model, rate, ratio):
        trains = {name: p for name, p in model.named_parameters() if p.requires_grad}
        kinds = [
            ([p for name, p in trains.items() if "lora_B" in name], fast),
            ([p for name, p in trains.items() if "lora_A" in name], slow),
            ([p for name, p in trains.items() if "lora_" not in name], rest),
        ]
        return [{"params": found, "lr": rate_of(rate, ratio)} for found, rate_of in kinds]

    return loraplus_groups


def faster(rate, ratio):
    return ratio * rate


def with_all(model, rate, ratio):
    right = groups()(model, rate, ratio)
    return [*right, {"params": [p for p in model.parameters() if not p.requires_grad], "lr": rate}]


def twice(model, rate, ratio):
    right = groups()(model, rate, ratio)
    return [*right, right[0]]


def lora_only(model, rate, ratio):
    return groups()(model, rate, ratio)[:2]


def pairs(model, rate, ratio):
    return [{"params": list(model.named_parameters()), "lr": rate}]


def no_rate(model, rate, ratio):
    return [{"params": [p for p in model.parameters() if p.requires_grad]}]


class BiasTrains(layer_class()):
    def __init__(self, base, rank, alpha):
        super().__init__(base, rank, alpha)
        base.requires_grad_(True)
        base.weight.requires_grad_(False)

    def forward(self, x):
        return super().forward(x)


def merged_with_a_shared_bias(layer):
    linear = merge()(layer)
    linear.bias = layer.base.bias
    return linear


LOW_RANK = {
    "lora_layer": {
        "b_not_zero": (layer_class(start_b=torch.randn), "B must start at zero"),
        "both_zero": (layer_class(start_a=torch.zeros), "nothing is ever learned"),
        "a_zero": (layer_class(start_a=torch.zeros, start_b=torch.randn), "the other way round"),
        "a_not_random": (layer_class(start_a=torch.ones), "every rank learns the same"),
        "swapped": (layer_class(swap=True), "A and B are swapped"),
        "transposed": (layer_class(transpose=True), "both are transposed"),
        "not_parameters": (layer_class(wrap=lambda tensor: tensor), "no optimizer and no file"),
        "side_frozen": (layer_class(wrap=lambda t: nn.Parameter(t, requires_grad=False)), "A does not train"),
        "base_trains": (layer_class(freeze=False), "base weight still trains"),
        "bias_trains": (BiasTrains, "bias of the base still trains"),
        "alpha_forgotten": (layer_class(scale=lambda alpha, rank: 1.0), "counts 1, so"),
        "rank_forgotten": (layer_class(scale=lambda alpha, rank: alpha), "division by the rank is missing"),
        "alpha_forgotten_rank_divides": (layer_class(scale=lambda alpha, rank: 1 / rank), "alpha is missing"),
        "scale_upside_down": (layer_class(scale=lambda alpha, rank: rank / alpha), "counts rank / alpha"),
        "scale_multiplied": (layer_class(scale=lambda alpha, rank: rank * alpha), "counts alpha · rank"),
        "floored": (layer_class(scale=lambda alpha, rank: alpha // rank), "rounds down: divide with /"),
        "root_of_rank": (layer_class(scale=lambda alpha, rank: alpha / rank**0.5), "rank-stabilised"),
        "scaled_base": (
            layer_class(scale=lambda a, r: 1.0, out_of=lambda base, side: low_rank.SCALING * (base + side)),
            "to the side path alone",
        ),
        "side_ignored": (layer_class(out_of=lambda base, side: base), "side path is not in the output"),
        "base_missing": (layer_class(out_of=lambda base, side: side), "zero at first"),
        "bias_lost": (layer_class(base_of=lambda base, x: x @ base.weight.T), "bias of the base is lost"),
        "no_gradient": (layer_class(side_of=torch.Tensor.detach), "No gradient reaches"),
        "dtype": (layer_class(like=lambda weight: {"device": weight.device}), "must have the dtype of the base"),
        "device": (layer_class(like=lambda weight: {"dtype": weight.dtype}), "must have the device of the base"),
        "shape": (layer_class(start_a=lambda *size, **like: torch.randn(2, 6, **like)), r"\(rank, in\) = \(3, 6\)"),
        "forward": (WithoutForward, "no forward yet"),
        "no_side": (WithoutSides, "keep A as self.A"),
        "type": (lambda base, rank, alpha: base.weight, "must be an nn.Module"),
        "exception": (Raising, "raised AttributeError"),
        "other": (layer_class(out_of=lambda base, side: base + side.sin()), r"not base\(x\) \+ alpha / rank"),
    },
    "merged": {
        "merged_in_place": (merged_in_place, "counts its side path twice"),
        "scaling_forgotten": (
            merge(lambda layer: layer.lora_B.weight @ layer.lora_A.weight),
            "alpha / rank is missing",
        ),
        "rank_forgotten": (merge(lambda layer: layer.alpha * layer.lora_B.weight @ layer.lora_A.weight), "division by"),
        "scaled_twice": (
            merge(lambda layer: layer.scaling**2 * layer.lora_B.weight @ layer.lora_A.weight),
            "applied twice",
        ),
        "merged_twice": (
            merge(lambda layer: 2 * layer.scaling * layer.lora_B.weight @ layer.lora_A.weight),
            "added twice",
        ),
        "subtracted": (
            merge(lambda layer: -layer.scaling * layer.lora_B.weight @ layer.lora_A.weight),
            "undoes a merge",
        ),
        "update_only": (merge(add=False), "update alone"),
        "base_only": (lambda layer: copy.deepcopy(layer.base), "update is not added"),
        "transposed": (merge(transposed), "update is transposed"),
        "bias_lost": (merged_without_bias, "bias of the base layer is lost"),
        "bias_shared": (merged_with_a_shared_bias, "share one bias"),
        "not_plain": (lambda layer: layer, "plain nn.Linear, got LoRALinear"),
        "type": (lambda layer: None, "did you forget `return`"),
        "dtype": (lambda layer: merge()(layer).float(), "dtype of its input"),
        "shape": (lambda layer: nn.Linear(3, 2), r"must have shape \(5, 5\)"),
        "exception": (merge(lambda layer: layer.lora_A.weight @ layer.lora_B), "raised TypeError"),
        "other": (merge(lambda layer: torch.ones(1)), r"not W \+ alpha / rank"),
    },
    "trainable_share": {
        "lora_not_in_all": (share(everything=lambda shape, lora: shape.parameters.total), "below the line"),
        "percent": (share(times=100.0), "between 0 and 1"),
        "one_layer": (share(lora=lambda s, r: r * sum(sum(s.linears[n]) for n in list(s.linears)[:4])), "every layer"),
        "product": (
            share(lora=lambda s, r: s.layers * r * sum(s.linears[n][0] * s.linears[n][1] for n in list(s.linears)[:4])),
            "not rank · in · out",
        ),
        "all_linears": (share(lora=lambda s, r: s.layers * r * sum(map(sum, s.linears.values()))), "feed-forward"),
        "two_of_four": (share(lora=lambda s, r: s.lora_parameters(r, ("q_proj", "v_proj"))), "q and v only"),
        "width_everywhere": (share(lora=lambda s, r: s.layers * r * 8 * s.width), "fewer key heads"),
        "tied_twice": (
            share(everything=lambda s, lora: s.parameters.total + lora + s.tied * s.vocabulary * s.width),
            "one matrix there",
        ),
        "head_counted": (share(besides=lambda s, table, norms: table * (2 - s.tied) + norms), "lm_head stays frozen"),
        "embedding_forgotten": (share(besides=lambda s, table, norms: norms), "embedding is not among"),
        "norms_forgotten": (share(besides=lambda s, table, norms: table), "norms are not among"),
        "last_norm_forgotten": (share(besides=lambda s, table, norms: table + norms - s.width), "One norm is missing"),
        "one_norm_a_layer": (
            share(besides=lambda s, table, norms: table + (s.layers + 1) * s.width),
            "Only one norm a layer",
        ),
        "value": (lambda shape, rank: 0.5, r"\(the shape of Llama-2-7B, rank=8\) must give 0.0"),
        "type": (lambda shape, rank: None, "must return a number"),
        "exception": (lambda shape, rank: shape.hidden_size, "raised AttributeError"),
    },
    "train_as_longlora": {
        "base_trains": (only_thaws, "weights of the base still train"),
        "head_trains": (chooses(lambda name: longlora(name) or "head" in name), "not lm_head"),
        "lora_frozen": (chooses(lambda name: "embed" in name or "norm" in name), "LoRA itself is frozen"),
        "half_of_lora": (chooses(lambda name: longlora(name) and "lora_A" not in name), "Only one of"),
        "embedding_forgotten": (chooses(lambda name: "lora_" in name or "norm" in name), "embedding is frozen"),
        "norms_forgotten": (chooses(lambda name: "lora_" in name or "embed" in name), "norms are frozen"),
        "some_norms": (
            chooses(lambda name: "lora_" in name or "embed" in name or name == "model.norm.weight"),
            "two stand in each layer",
        ),
        "exception": (lambda model: model.freeze(), "raised AttributeError"),
    },
    "loraplus_groups": {
        "a_faster": (groups(fast=lambda rate, ratio: rate, slow=faster), "it is B"),
        "all_faster": (groups(slow=faster, rest=faster), "not B alone"),
        "lora_faster": (groups(slow=faster), "equally fast"),
        "rest_faster": (groups(rest=faster), "for B alone"),
        "not_faster": (groups(fast=lambda rate, ratio: rate), "ratio is not used"),
        "ratio_as_rate": (groups(fast=lambda rate, ratio: ratio), "multiply it by the rate"),
        "divided": (groups(fast=lambda rate, ratio: rate / ratio), "do not divide"),
        "frozen_included": (with_all, "only what trains"),
        "in_two_groups": (twice, "stands in 2 groups"),
        "left_out": (lora_only, "are in no group, model.embed_tokens"),
        "not_parameters": (pairs, "pairs of name and parameter"),
        "no_rate": (no_rate, 'needs one "lr"'),
        "type": (lambda model, rate, ratio: None, "did you forget `return`"),
        "other": (groups(fast=lambda rate, ratio: 3 * rate), "must be 0.016, 0.001, 0.001"),
        "exception": (lambda model, rate, ratio: model.groups, "raised AttributeError"),
    },
}
RIGHT_LOW_RANK = {
    "lora_layer": layer_class(),
    "merged": merge(),
    "trainable_share": share(),
    "train_as_longlora": chooses(longlora),
    "loraplus_groups": groups(),
}
CHECKS = {
    **{name: getattr(positions, name) for name in POSITIONS},
    **{name: getattr(low_rank, name) for name in LOW_RANK},
}
PLANTED = [
    pytest.param(check, mistake, *planted, id=f"{check}: {mistake}")
    for check, mistakes in (POSITIONS | LOW_RANK).items()
    for mistake, planted in mistakes.items()
]


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize(("check", "mistake", "wrong", "match"), PLANTED)
def test_a_planted_mistake_is_named(check, mistake, wrong, match, journal):
    with pytest.raises(CheckFailed, match=f"(?i){match}") as failed:
        CHECKS[check](wrong, journal=journal)
    assert failed.value.mistake == mistake
    assert "\n" not in str(failed.value)
    assert journal.get("exercises", CHECKS[check].key) == {"attempts": 1, "passed": False, "mistake": mistake}


@pytest.mark.parametrize(("check", "right"), (RIGHT_POSITIONS | RIGHT_LOW_RANK).items())
def test_a_right_answer_passes(check, right, journal):
    CHECKS[check](right, journal=journal)
    assert journal.get("exercises", CHECKS[check].key) == {"attempts": 1, "passed": True}


@pytest.mark.parametrize(
    ("check", "wrong", "advice"),
    [
        ("lora_layer", layer_class(side_of=lambda side: side[:, :2] @ side), "raised RuntimeError.* vectors are rows"),
        ("merged", merge(lambda layer: layer.lora_A.weight @ layer.lora_B.weight), r"RuntimeError on the line.*B A: "),
    ],
)
def test_shapes_that_do_not_fit_come_with_advice(check, wrong, advice, journal):
    with pytest.raises(CheckFailed, match=advice) as caught:
        CHECKS[check](wrong, journal=journal)
    assert caught.value.mistake == "exception"


def test_sides_that_are_linears_are_sides_too(journal):
    class LoRALayer(nn.Module):
        def __init__(self, base, rank, alpha):
            super().__init__()
            like = {"bias": False, "dtype": base.weight.dtype, "device": base.weight.device}
            self.base, self.scaling = base.requires_grad_(False), alpha / rank
            self.A, self.B = nn.Linear(base.in_features, rank, **like), nn.Linear(rank, base.out_features, **like)
            nn.init.zeros_(self.B.weight)

        def forward(self, x):
            return self.base(x) + self.scaling * self.B(self.A(x))

    low_rank.lora_layer(LoRALayer, journal=journal)


def test_the_library_gives_the_right_answers_of_lesson_06(journal):
    low_rank.merged(lambda layer: layer.merged(), journal=journal)

    class LoRALayer(LoRALinear):
        def __init__(self, base, rank, alpha):
            super().__init__(base, rank, alpha)
            self.A, self.B = self.lora_A, self.lora_B

        def forward(self, x):
            return super().forward(x)

    low_rank.lora_layer(LoRALayer, journal=journal)


def test_the_library_gives_the_right_answers_of_lesson_05(journal):
    positions.stretched_frequencies(
        lambda head_dim, base, factor, rule: Rope(head_dim, base, rule, factor).frequencies(), journal=journal
    )


@pytest.mark.parametrize("check", CHECKS)
def test_a_stub_is_no_wrong_answer(check, journal):
    def stub(*args, **kwargs):
        raise NotImplementedError("your lines go here")

    with pytest.raises(NotImplementedError):
        CHECKS[check](stub, journal=journal)
    assert journal.get("exercises", CHECKS[check].key) is None


@pytest.mark.parametrize("check", CHECKS)
def test_what_is_no_function_is_said_to_be_none(check, journal):
    with pytest.raises(CheckFailed, match="a function is needed") as failed:
        CHECKS[check](3, journal=journal)
    assert failed.value.mistake == "no function"


@pytest.mark.parametrize(
    "wrong", [POSITIONS["rotary_scores"]["k_other_way"][0], POSITIONS["rotary_scores"]["other"][0]]
)
def test_wrong_scores_are_drawn_beside_the_right_ones(wrong, journal):
    with pytest.raises(CheckFailed) as failed:
        positions.rotary_scores(wrong, journal=journal)
    assert "differ most at query" in failed.value.picture.alt


@pytest.mark.parametrize(
    ("check", "mistake"), [("stretched_frequencies", "exponent_forgotten"), ("yarn_frequencies", "not_clipped")]
)
def test_wrong_frequencies_are_drawn_beside_the_right_ones(check, mistake, journal):
    with pytest.raises(CheckFailed) as failed:
        CHECKS[check](POSITIONS[check][mistake][0], journal=journal)
    assert failed.value.picture.alt.startswith("Frequency over the trained one, by pair of features: yours")


def test_a_known_form_that_is_right_here_accuses_nobody():
    right = np.array([1.0, 2.0])
    compare(lambda: right, [()], lambda: right, {"mistake": Mistake("Said", lambda: right)}, otherwise="other")
    with pytest.raises(CheckFailed, match="Said") as failed:
        wrong = {"mistake": Mistake("Said", lambda: right + 1)}
        compare(lambda: right + 1, [()], lambda: right, wrong, otherwise="other")
    assert failed.value.mistake == "mistake"


def test_later_cases_tell_mistakes_apart_that_look_alike_at_first():
    def doubled(n):
        return 2 * n

    mistakes = {"squared": Mistake("squared", lambda n: n * n), "doubled": Mistake("doubled", doubled)}
    with pytest.raises(CheckFailed, match="doubled [(]Seen with n=2") as failed:
        compare(doubled, [(2,), (3,)], lambda n: n, mistakes, otherwise="other", within=0, setting=lambda n: f"n={n}")
    assert failed.value.mistake == "doubled"


def test_the_share_that_lesson_06_asks_for_is_that_of_the_paper_s_recipe():
    assert 100 * share()(ModelShape.llama2_7b(), 8) == pytest.approx(2.07, abs=0.01)
