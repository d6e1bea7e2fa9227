"""Lesson 09: a test that evaluation is dense, tried on models that break it; and the share of weights that trains.

Needs transformers and peft. The models are random Llamas of a few thousand weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ...hf import longlora, use_s2
from ...longlora import LongLoRAConfig
from ...plots import describe_trainable, plot_trainable
from ...widgets import Picture
from .diagnosis import CheckFailed, Mistake, Passed, called, exercise
from .numbers import expect_numbers

TOKENS, GROUP = 32, 8


def random_llama(**changes) -> LlamaForCausalLM:
    """A Llama of two layers whose random weights are large enough to matter; the same each time."""
    sizes = {
        "vocab_size": 48, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": TOKENS, "bos_token_id": 1, "eos_token_id": 2,
        "pad_token_id": 0,
    } | changes  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**sizes))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model.eval()


def _ids() -> torch.Tensor:
    return torch.randint(3, 48, (2, TOKENS), generator=torch.Generator().manual_seed(1))


def _sparse(when: str) -> LlamaForCausalLM:
    model = random_llama()
    use_s2(model, group_size=GROUP, when=when)
    return model.train()


def _nudged() -> LlamaForCausalLM:
    model = _sparse("training")
    with torch.no_grad():
        model.model.norm.weight.mul_(1 + 1e-6)
    return model


@exercise("09.evaluation_is_dense")
def evaluation_is_dense(function) -> Passed:
    """Is a learner's `function(model, stock, ids) -> bool` a test? It must pass a good model and catch bad ones."""
    stock, ids = random_llama(), _ids()
    good = _sparse("training")
    if not _said(function, good, stock, ids):
        raise CheckFailed(
            "your test rejects a good model. It arrived in training mode, where S² is meant to differ: call "
            "`model.eval()` first, and compare what comes out, not settings or names",
            mistake="training compared",
        )
    left_in = good.training
    good.eval()
    if not _said(function, good, stock, ids):
        raise CheckFailed(
            "your test rejects a good model that arrives in evaluation mode: compare in evaluation mode whatever the "
            "mode was before, and do not ask the model for its mode",
            mistake="mode asked",
        )
    always = _sparse("always")
    if _said(function, always, stock, ids):
        # It agrees with dense attention inside the first group of a plain and the first cell of a shifted head.
        short = torch.equal(_logits(always, ids[:, : GROUP // 2]), _logits(stock, ids[:, : GROUP // 2]))
        assert short
        raise CheckFailed(
            "your test passes a model that computes S² in evaluation too. Inside the first cell S² and dense attention "
            "are the same, so compare the logits of all tokens, of all rows",
            mistake="sparse passes",
        )
    if _said(function, _nudged(), stock, ids):
        raise CheckFailed(
            "your test passes a model with slightly different weights: it is close to the stock one, not equal. The "
            "promise is bit for bit, so `torch.equal` on all logits, no tolerance, no argmax",
            mistake="tolerance",
        )
    if not left_in:
        raise CheckFailed(
            "your test leaves the model in evaluation mode, though it came in training mode: whoever trains on would "
            "train dense and never notice. Remember `model.training`, and give it back with `model.train(...)`",
            mistake="mode lost",
        )
    return Passed("A good model passes in both modes, three bad ones are caught, and the model keeps its mode.")


def _said(function: Callable, model: LlamaForCausalLM, stock: LlamaForCausalLM, ids: torch.Tensor) -> bool:
    answer = called(function, model, stock, ids.clone())
    if isinstance(answer, torch.Tensor) and answer.ndim == 0 and answer.dtype == torch.bool:
        return bool(answer)
    if not isinstance(answer, bool):
        hint = " (did you forget `return`?)" if answer is None else ""
        raise CheckFailed(f"the test must say True or False, got {type(answer).__name__}{hint}", mistake="type")
    return answer


@torch.no_grad()
def _logits(model: LlamaForCausalLM, ids: torch.Tensor) -> torch.Tensor:
    return copy.deepcopy(model).eval()(ids).logits


def _recipes() -> dict[str, torch.nn.Module]:
    """Random models under recipes, by their names."""
    paper, narrow = LongLoRAConfig(4 * TOKENS), LongLoRAConfig(4 * TOKENS, rank=2, also_train=())
    return {
        "a model under the paper's recipe": longlora(random_llama(), paper),
        "a model with LoRA of rank 2 alone": longlora(random_llama(), narrow),
        "a model whose head is its embedding": longlora(random_llama(tie_word_embeddings=True), paper),
    }


def weights_of(model: torch.nn.Module) -> tuple[int, int]:
    """How many weights train, and with how many the model computes: PEFT's frozen originals are not among them."""
    used = _used(model)
    return sum(weight.numel() for weight in used if weight.requires_grad), sum(weight.numel() for weight in used)


def _share(model: torch.nn.Module) -> float:
    trained, used = weights_of(model)
    return trained / used


def _all(model: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def _trained(model: torch.nn.Module) -> int:
    return weights_of(model)[0]


def _used(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    return [weight for name, weight in model.named_parameters() if "original_module" not in name]


def _mean_requires_grad(weights: list[torch.nn.Parameter]) -> float:
    return sum(weight.requires_grad for weight in weights) / len(weights)


TENSORS = (
    "that counts tensors: a norm of 32 numbers weighs as much there as a table of thousands. Count elements, "
    "`weight.numel()`"
)


WRONG_SHARES = (
    Mistake(
        "frozen originals counted",
        "PEFT keeps the frozen original of each module that trains whole, and you count it beside its copy, as its own "
        "`print_trainable_parameters` does. The model computes with one of them: leave out names with "
        "`original_module` in them",
        lambda model: _trained(model) / _all(model),
    ),
    Mistake("tensors counted", TENSORS, lambda model: _mean_requires_grad(_used(model))),
    Mistake("tensors counted, originals too", TENSORS, lambda model: _mean_requires_grad(list(model.parameters()))),
    Mistake("percent", "a share lies between 0 and 1: leave out the factor 100", lambda model: 100 * _share(model)),
    Mistake(
        "LoRA only",
        "that counts LoRA's matrices only: embeddings and norms train as well. Ask each weight, `requires_grad`, "
        "instead of its name",
        lambda model: (
            sum(weight.numel() for name, weight in model.named_parameters() if "lora_" in name) / weights_of(model)[1]
        ),
    ),
    Mistake(
        "trained over frozen",
        "that is trained weights over frozen ones; a share is over all of them",
        lambda model: _trained(model) / (weights_of(model)[1] - _trained(model)),
    ),
    Mistake(
        "frozen",
        "that is the share that stays frozen",
        lambda model: 1 - _share(model),
    ),
    Mistake("not a share", "that is how many weights train; divide by how many there are", _trained),
)


@exercise("09.trained_share")
def trained_share(function) -> Passed:
    """Which share of the weights that a model computes with is trained? A learner's `function(model) -> float`."""
    models = _recipes()
    cases = [(model,) for model in models.values()]
    expect_numbers(function, cases, _share, WRONG_SHARES, whole=False, said=list(models))
    trained, used = weights_of(cases[0][0])
    recipe = {"trainable_parameters": trained, "trainable_share": trained / used}
    picture = Picture(plot_trainable(recipe), f"A random Llama under the recipe. {describe_trainable(recipe)}")
    return Passed("Right for three models, one of them with a head that is the embedding.", picture)
