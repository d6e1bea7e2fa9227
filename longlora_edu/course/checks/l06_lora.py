"""Checks of lesson 06: a LoRA layer, its merge, what LongLoRA trains besides, and the other LoRA+.

Five exercises, each with its own tables of mistakes, so the file is long. Numbers are compared in double precision,
where only mistakes differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from ...cost import ModelShape
from ...longlora import ATTENTION_PROJECTIONS
from ...lora import LoRALinear, add_lora
from ...model import LlamaConfig, TinyLlama
from ...plots.low_rank import show_low_rank, show_shares
from ...rope import Rope
from .exercise import Mistake, Passed, called, check, compare, compare_numbers, expect, expect_tensor, type_of

RANK, ALPHA = 3, 8.0  # not a whole ratio: alpha // rank is another number
RATE, RATIO = 1e-3, 16.0
SHAPES = {
    "Llama-2-7B": ModelShape.llama2_7b(),
    "the small model": ModelShape(192, 4, 4, 4, 48, 512, 256),
    "SmolLM2-135M, tied": ModelShape(576, 30, 9, 3, 64, 1536, 49152, tied=True),
}


@check("06.lora_layer")
def lora_layer(layer_class: Callable) -> Passed:
    """Check `layer_class(base, rank, alpha)`: an nn.Module with A (rank, in), B (out, rank), `forward`; frozen base."""
    for bias, dtype, device in ((True, torch.float64, "cpu"), (False, torch.bfloat16, "cpu"), (True, None, "meta")):
        base = nn.Linear(6, 5, bias=bias, dtype=dtype, device=device)
        layer = called(layer_class, base, RANK, ALPHA)
        module = isinstance(layer, nn.Module)
        expect(module, "type", f"The layer must be an nn.Module, got {type(layer).__name__}")
        written = "forward" in vars(type(layer))
        expect(written, "forward", "The layer has no forward yet: x (…, in) to (…, out)")
        a, b = _expect_sides(layer, base)
        trains = "The base weight still trains: LoRA freezes it, base.requires_grad_(False)"
        expect(not base.weight.requires_grad, "base_trains", trains)
        trains = "The bias of the base still trains: base.requires_grad_(False) freezes both, weight and bias"
        expect(not bias or not base.bias.requires_grad, "bias_trains", trains)
        if device == "cpu":
            _expect_start(a, b)
            x = torch.randn(2, 4, 6, dtype=dtype, generator=torch.Generator().manual_seed(1))
            _compare_forward(layer, base, a, b, x)
    return Passed(
        "At first it changes nothing, A and B learn, the base does not; any dtype and device. Below, the same for a "
        "projection of the small model, drawn to scale.",
        show_low_rank(192, 192, 8),
    )


@check("06.merged")
def merged(function: Callable) -> Passed:
    """Check `function(layer)`: a plain nn.Linear that computes what the LoRALinear computes, which stays as it was."""
    for inputs, outputs, bias in ((5, 5, True), (6, 4, False), (4, 7, True)):
        layer = _trained_layer(inputs, outputs, bias)
        before = layer.base.weight.clone()
        linear = called(function, layer, advice=ORDER)
        expect(isinstance(linear, nn.Module), "type", f"merged must return an nn.Linear, got {type_of(linear)}")
        expect(
            type(linear) is nn.Linear,
            "not_plain",
            f"merged must return a plain nn.Linear, got {type(linear).__name__}: after the merge nothing of LoRA "
            "is left, so there is no flag that could be wrong",
        )
        expect(
            torch.equal(layer.base.weight, before),
            "merged_in_place",
            "The base weight inside the layer has changed, so the layer now counts its side path twice, and a "
            "second merge would add it again: add to a copy",
        )
        weight = expect_tensor(linear.weight, (outputs, inputs), like=before, what="the merged weight").detach()
        update = (layer.lora_B.weight @ layer.lora_A.weight).detach()
        compare(
            lambda *_, weight=weight: weight,
            [(before.detach(), update)],
            lambda base, update: base + SCALING * update,
            MERGE_MISTAKES,
            otherwise="The merged weight is not W + alpha / rank · B A",
        )
        kept = not bias or (linear.bias is not None and torch.equal(linear.bias, layer.base.bias))
        expect(kept, "bias_lost", "The bias of the base layer is lost: the merged layer needs it too")
        shared = "The merged layer and the old one share one bias: what changes it here changes it there. Copy it"
        expect(not bias or linear.bias.data_ptr() != layer.base.bias.data_ptr(), "bias_shared", shared)
    return Passed("One matrix again, the same numbers, and the layer itself is as it was.")


@check("06.trainable_share")
def trainable_share(function: Callable) -> Passed:
    """Check `function(shape, rank)`: the trained share, 0 to 1, of LoRA on q, k, v, o with embedding and norms."""
    cases = [(shape, rank) for shape in SHAPES.values() for rank in (8, 64)]
    names = [f"the shape of {name}, rank={rank}" for name in SHAPES for rank in (8, 64)]
    compare_numbers(function, cases, _share(), WRONG_SHARES, whole=False, names=names)
    shares = {}
    for name, shape in SHAPES.items():
        weights, lora = shape.parameters, shape.lora_parameters(8)
        parts = {"LoRA": lora, "norms": weights.norm, "embeddings": weights.embedding}
        shares[name] = {part: count / (weights.total + lora) for part, count in parts.items()}
    return Passed("All three shapes and both ranks come out.", show_shares(shares))


@check("06.train_as_longlora")
def train_as_longlora(function: Callable) -> Passed:
    """Check `function(model)`: in place, of a model that LoRA was added to, only LoRA, embedding and norms train."""
    for tied in (False, True):
        model = _little_model(tied).requires_grad_(True)  # so that forgetting to freeze is seen
        called(function, model)
        trains = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        names = [name for name, _ in model.named_parameters()]
        lora, embedding, norms, head = (
            {name for name in names if part in name} for part in ("lora_", "embed_tokens", "norm", "lm_head")
        )
        right = lora | embedding | norms
        missing, extra = right - trains, trains - right
        expect(
            extra <= head,
            "base_trains",
            f"{len(extra - head)} weights of the base still train, {_first(extra - head)} among them: freeze what is "
            "not LoRA, embedding or norm",
        )
        expect(not extra, "head_trains", "The head trains: LongLoRA frees the input embedding, not lm_head")
        expect(not lora <= missing, "lora_frozen", "LoRA itself is frozen: lora_A and lora_B must train")
        expect(not lora & missing, "half_of_lora", "Only one of lora_A and lora_B trains: both must")
        frozen = "The embedding is frozen: embed_tokens must train"
        expect(not embedding <= missing, "embedding_forgotten", frozen)
        frozen = "The norms are frozen: every weight with norm in its name must train"
        expect(not norms <= missing, "norms_forgotten", frozen)
        some = f"Some norms are frozen, {_first(missing)} among them: two stand in each layer and one at the end"
        expect(not missing, "some_norms", some)
    return Passed(
        f"{len(right)} tensors train, the rest is frozen. In the tied model the head is the embedding, one tensor "
        "under two names, and trains with it.",
    )


@check("06.loraplus_groups")
def loraplus_groups(function: Callable) -> Passed:
    """Check `function(model, rate, ratio)`: groups for an optimizer; each B of LoRA learns ratio times as fast."""
    model = _little_model(tied=False)
    model.model.embed_tokens.requires_grad_(True)
    rates = _rates(called(function, model, RATE, RATIO), model)
    trains = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    frozen, lost = set(rates) - trains, trains - set(rates)
    twice = [name for name, actual in rates.items() if len(actual) > 1]
    expect(
        not frozen,
        "frozen_included",
        f"{len(frozen)} frozen weights are in the groups, {_first(frozen)} among them: only what trains belongs there",
    )
    several = f"{_first(twice)} stands in {len(rates.get(_first(twice), ()))} groups: one each"
    expect(not twice, "in_two_groups", several)
    expect(
        not lost,
        "left_out",
        f"{len(lost)} of {len(trains)} parameters that train are in no group, {_first(lost)} among them: they would "
        "stay as they are",
    )
    kinds: dict[str, set] = {"lora_B": set(), "lora_A": set(), "rest": set()}
    for name in trains:
        kinds[next((part for part in ("lora_B", "lora_A") if part in name), "rest")].add(rates[name][0])
    one = all(len(kind) == 1 and None not in kind for kind in kinds.values())
    expect(one, "no_rate", 'Each group needs one "lr", the same for all that it holds')
    fast = RATIO * RATE
    compare(
        lambda: [kind.pop() for kind in kinds.values()],
        [()],
        lambda: [fast, RATE, RATE],
        RATE_MISTAKES,
        otherwise=lambda answer, right: (
            f"B learns at {answer[0]:g}, A at {answer[1]:g}, the rest at {answer[2]:g}: it must be {fast:g}, "
            f"{RATE:g}, {RATE:g}"
        ),
        within=1e-6,
    )
    return Passed("B learns faster, everything else that trains as before, and each parameter stands in one group.")


def _expect_sides(layer: nn.Module, base: nn.Linear) -> tuple[Tensor, Tensor]:
    """Return A and B of a learner's layer; refuse them unless they are registered parameters of the right shapes."""
    registered = {id(parameter) for parameter in layer.parameters()}
    sides = {}
    for name in "AB":
        side = getattr(layer, name, None)
        side = side.weight if isinstance(side, nn.Linear) else side
        kept = f"The layer must keep {name} as self.{name}, got {type(side).__name__}"
        expect(isinstance(side, Tensor), "no_side", kept)
        plain = f"{name} is a plain tensor, which no optimizer and no file would find: nn.Parameter({name})"
        expect(id(side) in registered, "not_parameters", plain)
        sides[name] = side
    a, b = (tuple(side.shape) for side in sides.values())
    expect(
        (a, b) != ((5, RANK), (RANK, 6)),
        "swapped",
        "A and B are swapped: A comes first and leads down, (rank, in); B leads up again, (out, rank)",
    )
    expect(
        (a, b) != ((6, RANK), (RANK, 5)),
        "transposed",
        f"A is {a} and B {b}: both are transposed. Like nn.Linear's weight they are (to, from): A "
        "(rank, in), B (out, rank)",
    )
    asked = {"A": ("(rank, in)", (RANK, 6)), "B": ("(out, rank)", (5, RANK))}
    for name, side in sides.items():
        (what, shape), actual = asked[name], tuple(side.shape)
        expect(actual == shape, "shape", f"{name} must have the shape {what} = {shape}, got {actual}")
        expect(side.requires_grad, "side_frozen", f"{name} does not train: nothing would be learned in it")
        for field in ("dtype", "device"):
            mine, right = getattr(side, field), getattr(base.weight, field)
            asks = f"{name} must have the {field} of the base weight, {right}, got {mine}: {field}=base.weight.{field}"
            expect(mine == right, field, asks)
    return sides["A"], sides["B"]


def _expect_start(a: Tensor, b: Tensor) -> None:
    a_zero, b_zero = (not side.detach().any() for side in (a, b))
    expect(
        not (a_zero and b_zero),
        "both_zero",
        "A and B are both zero: then the gradient of each is zero too, and nothing is ever learned. A is random",
    )
    expect(
        not a_zero,
        "a_zero",
        "A is zero and B random. Nothing changes at first either way, but LoRA, and every file of it, has it the "
        "other way round: A random, B zero",
    )
    expect(
        b_zero,
        "b_not_zero",
        "B is not zero, so the layer computes something else before it has learned anything: B must start at zero",
    )
    random = bool(a.detach().isfinite().all()) and len(a.detach().unique()) >= a.numel() // 2
    expect(random, "a_not_random", "The numbers in A must be random: with equal rows every rank learns the same")


def _compare_forward(layer: nn.Module, base: nn.Linear, a: Tensor, b: Tensor, x: Tensor) -> None:
    before = base(x).detach()

    def read(answer, *_):
        return expect_tensor(answer, tuple(before.shape), like=before, what="the output").detach()

    fresh = read(called(layer, x, advice=ROWS))
    if x.dtype != torch.float64:  # its rounding would hide or fake a mistake
        return
    otherwise = "With B at zero the layer must compute exactly what the base computes"
    compare(lambda x: fresh, [(x,)], lambda x: before, _fresh_mistakes(base), otherwise=otherwise)
    with torch.no_grad():
        b.copy_(torch.randn(b.shape, dtype=b.dtype, generator=torch.Generator().manual_seed(2)))
        side = x @ a.T @ b.T
    otherwise = "The output is not base(x) + alpha / rank · B A x"
    right = before + ALPHA / RANK * side
    compare(layer, [(x,)], lambda x: right, _side_mistakes(before, side), read=read, otherwise=otherwise)
    out = called(layer, x)
    out.square().sum().backward() if out.requires_grad else None
    reached = a.grad is not None and b.grad is not None
    expect(reached, "no_gradient", "No gradient reaches A and B: nothing in forward may be detached or under no_grad")


def _rates(groups, model: nn.Module) -> dict[str, list[float]]:
    """The learning rates of each parameter, by its name: one a group in which it stands."""
    mappings = isinstance(groups, list | tuple) and all(
        isinstance(group, dict) and "params" in group for group in groups
    )
    listed = f'The groups must be a list of mappings with "params" and "lr", got {type_of(groups)}'
    expect(mappings, "type", listed)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates: dict[str, list[float]] = {}
    for group in groups:
        parameters = group["params"]
        for parameter in parameters if isinstance(parameters, Iterable) else [parameters]:
            expect(
                isinstance(parameter, nn.Parameter) and id(parameter) in names,
                "not_parameters",
                f'"params" must hold parameters of the model, got {type(parameter).__name__}: named_parameters() '
                "gives pairs of name and parameter",
            )
            rates.setdefault(names[id(parameter)], []).append(group.get("lr"))
    return rates


def _first(names: Iterable[str]) -> str:
    return min(names, default="")


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


def _trained_layer(inputs: int, outputs: int, bias: bool) -> LoRALinear:
    """A layer after training: B is no longer zero."""
    generator = torch.Generator().manual_seed(inputs)
    base = nn.Linear(inputs, outputs, bias=bias, dtype=torch.float64)
    layer = LoRALinear(base, RANK, ALPHA, generator=generator)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=torch.float64, generator=generator))
    return layer


def _fresh_mistakes(base: nn.Linear) -> dict[str, Mistake]:
    """Mistakes that show while B is zero."""
    return {
        "base_missing": Mistake(
            "The output is zero at first: add what the base computes, base(x)", lambda x: 0 * base(x).detach()
        ),
        "bias_lost": Mistake(
            "The bias of the base is lost: call base(x), not only its weight", lambda x: (x @ base.weight.T).detach()
        ),
        "scaled_base": Mistake(
            "Alpha / rank multiplies the base's output as well: it belongs to the side path alone",
            lambda x: ALPHA / RANK * base(x).detach(),
        ),
    }


def _side_mistakes(before: Tensor, side: Tensor) -> dict[str, Mistake]:
    """Mistakes in the weight of the side path."""
    scales = {
        "alpha_forgotten": (1, "it counts 1, so alpha and rank are not used"),
        "rank_forgotten": (ALPHA, "it counts alpha, the division by the rank is missing"),
        "alpha_forgotten_rank_divides": (1 / RANK, "it counts 1 / rank, alpha is missing"),
        "scale_upside_down": (RANK / ALPHA, "it counts rank / alpha"),
        "scale_multiplied": (RANK * ALPHA, "it counts alpha · rank"),
        "floored": (ALPHA // RANK, "it counts alpha // rank, which rounds down: divide with /"),
        "root_of_rank": (ALPHA / RANK**0.5, "alpha / √rank is another method, rank-stabilised LoRA"),
    }
    mistakes = {
        name: Mistake(f"The side path must count alpha / rank; {why}", lambda x, scale=scale: before + scale * side)
        for name, (scale, why) in scales.items()
    }
    ignored = "The side path is not in the output: A and B could learn nothing"
    return mistakes | {"side_ignored": Mistake(ignored, lambda x: before)}


SCALING = ALPHA / RANK
ROWS = {
    "shapes cannot be multiplied": "x is (…, in), its vectors are rows: multiply x from the right, with A first, and "
    "look at the shapes (rank, in) and (out, rank)"
}
FIRST = "The update is B A: (out, rank) times (rank, in) gives (out, in)"
ORDER = {"shapes cannot be multiplied": FIRST, "The size of tensor a": FIRST}
MERGE_MISTAKES = {
    "scaling_forgotten": Mistake(
        "Alpha / rank is missing: the update is scaling · B A", lambda base, update: base + update
    ),
    "rank_forgotten": Mistake(
        "The update counts alpha, the division by the rank is missing", lambda base, update: base + ALPHA * update
    ),
    "scaled_twice": Mistake("Alpha / rank is applied twice", lambda base, update: base + SCALING**2 * update),
    "merged_twice": Mistake("The update is added twice", lambda base, update: base + 2 * SCALING * update),
    "subtracted": Mistake(
        "The update is subtracted: that is what undoes a merge", lambda base, update: base - SCALING * update
    ),
    "update_only": Mistake(
        "This is the update alone: add it to the base weight", lambda base, update: SCALING * update
    ),
    "base_only": Mistake("This is the base weight: the update is not added", lambda base, update: base),
    "transposed": Mistake(
        "The update is transposed: with weights as (to, from) it is B A, A applied first",
        lambda base, update: base + SCALING * update.T if update.shape == update.T.shape else None,
    ),
}

RATE_MISTAKES = {
    "a_faster": Mistake(
        "A learns faster; it is B, which starts at zero, that must", lambda: [RATE, RATIO * RATE, RATE]
    ),
    "all_faster": Mistake(
        "Everything learns faster, not B alone: that is a larger rate, no ratio", lambda: [RATIO * RATE] * 3
    ),
    "lora_faster": Mistake(
        "A and B learn equally fast: the ratio is between the two", lambda: [RATIO * RATE, RATIO * RATE, RATE]
    ),
    "rest_faster": Mistake(
        "Embedding and norms learn as fast as B: the ratio is for B alone", lambda: [RATIO * RATE, RATE, RATIO * RATE]
    ),
    "only_the_rest_faster": Mistake(
        "Embedding and norms learn faster, and A and B do not. That mixes the two methods called LoRA+: this one is "
        "about A and B, and its ratio is for B alone",
        lambda: [RATE, RATE, RATIO * RATE],
    ),
    "not_faster": Mistake("The ratio is not used: B must learn ratio times as fast as A", lambda: [RATE] * 3),
    "ratio_as_rate": Mistake("The ratio itself is the rate of B: multiply it by the rate", lambda: [RATIO, RATE, RATE]),
    "divided": Mistake("B learns slower: multiply by the ratio, do not divide", lambda: [RATE / RATIO, RATE, RATE]),
}


def _share(
    *,
    lora: Callable = lambda shape, rank: shape.lora_parameters(rank),
    embedding: Callable = lambda shape: shape.parameters.embedding,
    norms: Callable = lambda shape: shape.parameters.norm,
    everything: Callable = lambda shape, lora: shape.parameters.total + lora,
    times: float = 1,
) -> Callable:
    """The right formula, unless one of its parts is replaced."""

    def share(shape: ModelShape, rank: int) -> float:
        added = lora(shape, rank)
        return times * (added + embedding(shape) + norms(shape)) / everything(shape, added)

    return share


def _width_everywhere(shape: ModelShape, rank: int) -> int:
    return 8 * shape.layers * rank * shape.width


WRONG_SHARES = {
    "lora_not_in_all": Mistake(
        "LoRA's own weights are not among all weights: add them below the line too",
        _share(everything=lambda shape, lora: shape.parameters.total),
    ),
    "percent": Mistake("This is a percentage: a share lies between 0 and 1", _share(times=100)),
    "one_layer": Mistake(
        "LoRA is counted for a single layer: every layer has its own",
        _share(lora=lambda shape, rank: shape.lora_parameters(rank) // shape.layers),
    ),
    "product": Mistake(
        "LoRA adds rank · (in + out) to a Linear, not rank · in · out",
        _share(lora=lambda shape, rank: shape.layers * rank * sum(a * b for a, b in list(shape.linears.values())[:4])),
    ),
    "all_linears": Mistake(
        "The feed-forward layers are counted too: LoRA goes on q, k, v and o",
        _share(lora=lambda shape, rank: shape.lora_parameters(rank, tuple(shape.linears))),
    ),
    "two_of_four": Mistake(
        "LoRA is counted on q and v only: here k and o have it too",
        _share(lora=lambda shape, rank: shape.lora_parameters(rank, ("q_proj", "v_proj"))),
    ),
    "width_everywhere": Mistake(
        "Every projection is counted as width → width: with fewer key heads than query heads k and v are narrower, "
        "see shape.linears",
        _share(lora=_width_everywhere),
    ),
    "tied_twice": Mistake(
        "In the tied model the embedding is counted twice: embedding and head are one matrix there",
        _share(everything=lambda shape, lora: shape.parameters.total + shape.tied * shape.parameters.embedding + lora),
    ),
    "head_counted": Mistake(
        "The head is counted as trained: LongLoRA frees the input embedding, lm_head stays frozen",
        _share(embedding=lambda shape: shape.parameters.embedding + shape.parameters.head),
        also=_share(embedding=lambda shape: 2 * shape.vocabulary * shape.width),
    ),
    "embedding_forgotten": Mistake("The embedding is not among what trains", _share(embedding=lambda shape: 0)),
    "norms_forgotten": Mistake("The norms are not among what trains", _share(norms=lambda shape: 0)),
    "lora_alone": Mistake(
        "This is LoRA's own share. LongLoRA trains the input embedding and all norms besides: most of what trains",
        _share(embedding=lambda shape: 0, norms=lambda shape: 0),
    ),
    "lora_not_trained": Mistake(
        "LoRA's own weights are not among what trains: they train as well as embedding and norms",
        lambda shape, rank: (
            (shape.parameters.embedding + shape.parameters.norm)
            / (shape.parameters.total + shape.lora_parameters(rank))
        ),
    ),
    "last_norm_forgotten": Mistake(
        "One norm is missing: two stand in each layer, and one more before the head",
        _share(norms=lambda shape: 2 * shape.layers * shape.width),
    ),
    "one_norm_a_layer": Mistake(
        "Only one norm a layer is counted: one stands before attention, one before the feed-forward half",
        _share(norms=lambda shape: (shape.layers + 1) * shape.width),
        also=_share(norms=lambda shape: shape.layers * shape.width),
    ),
}
