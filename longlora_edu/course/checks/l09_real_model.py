"""Checks of lesson 09: a test that evaluation is dense, tried on models that break it, and the share that trains.

Needs transformers and peft. The models are random Llamas of a few thousand weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ...hf import longlora, use_s2
from ...longlora import LongLoRAConfig
from ...model import bundled_model
from .exercise import Mistake, Passed, called, check, compare, compare_numbers, expect, expect_verdict

TOKENS, GROUP = 32, 8
LOGITS = {"CausalLMOutput": "A call gives an object that holds several things: compare its `.logits`"}


def random_llama(**changes: Any) -> LlamaForCausalLM:
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


@dataclass(frozen=True)
class Trial:
    """A model that the test which a learner wrote must judge.

    `dense` is the right verdict: does it compute what stock transformers computes? `mistake` and `sentence` go to a
    learner whose test judges otherwise.
    """

    model: Callable[[], LlamaForCausalLM]
    dense: bool
    mistake: str
    sentence: str


@check("09.evaluation_is_dense")
def evaluation_is_dense(function: Callable) -> Passed:
    """Check `function(model, untouched, ids) -> bool`: a test that passes a good model in both modes and no bad one."""
    stock, good = random_llama(), _sparse("training")
    left_in = []

    def evaluating() -> LlamaForCausalLM:
        left_in.append(good.training)
        return good.eval()

    def read(verdict, *_):
        if isinstance(verdict, torch.Tensor) and verdict.ndim == 0 and verdict.dtype == torch.bool:
            verdict = bool(verdict)
        return expect_verdict(verdict, "the test must say True or False")

    ids = torch.randint(3, 48, (2, TOKENS), generator=torch.Generator().manual_seed(1))
    asked = []
    hook = good.register_forward_hook(lambda *_: asked.append(1))
    verdict = read(called(function, good, stock, ids.clone(), advice=LOGITS))
    hook.remove()
    good.train()
    expect(
        bool(asked),
        "never asked",
        f"your test says {verdict} without running the model: call it on `ids`, and compare its logits with those of "
        "`untouched`",
    )
    trials = (
        Trial(
            lambda: good,
            True,
            "training compared",
            "your test rejects a good model. It arrived in training mode, where S² is meant to differ: call "
            "`model.eval()` first, and compare what comes out, not settings or names",
        ),
        Trial(
            evaluating,
            True,
            "mode asked",
            "your test rejects a good model that arrives in evaluation mode: compare in evaluation mode whatever the "
            "mode was before, and do not ask the model for its mode",
        ),
        Trial(
            lambda: _sparse("always"),
            False,
            "sparse passes",
            "your test passes a model that computes S² in evaluation too. Inside the first cell S² and dense attention "
            "are the same, so compare the logits of all tokens, of all rows",
        ),
        Trial(
            _nudged,
            False,
            "tolerance",
            "your test passes a model whose logits are a millionth too large: close to the stock one, not equal. The "
            "promise is bit for bit: does your comparison allow a tolerance, or look at the largest logits only?",
        ),
        Trial(
            _nudged_at_the_start,
            False,
            "last token",
            "your test passes a model that is wrong at the first token of a row: compare the logits of all tokens, not "
            "of the last one alone",
        ),
        Trial(
            _swapped_at_the_end,
            False,
            "a part compared",
            "your test passes a model that gives two of its logits in the wrong places, at the last token of the last "
            "row and nowhere else: compare each logit of all tokens of all rows, and no sum of them",
        ),
    )
    compare(
        function,
        [(trial,) for trial in trials],
        lambda trial: trial.dense,
        inputs=lambda trial: (trial.model(), stock, ids.clone()),
        read=read,
        otherwise=lambda verdict, right, trial: (trial.mistake, trial.sentence),
    )
    expect(
        left_in[0],
        "mode lost",
        "your test leaves the model in evaluation mode, though it came in training mode: whoever trains on would "
        "train dense and never notice. Remember `model.training`, and give it back with `model.train(...)`",
    )
    expect(
        not good.training,
        "mode forced",
        "your test leaves the model in training mode, though it came in evaluation mode: give back the mode that it "
        "had, `model.train(mode)`",
    )
    return Passed("A good model passes in both modes, five bad ones are caught, and the model keeps its mode.")


@check("09.trained_share")
def trained_share(function: Callable) -> Passed:
    """Check `function(model) -> float`: the trained share of the weights that a model computes with."""
    models = _recipes()
    cases = [(model,) for model in models.values()]
    compare_numbers(function, cases, _share, WRONG_SHARES, whole=False, names=list(models))
    return Passed("Right for three models, one of them with a head that is the embedding.")


@dataclass(frozen=True)
class Adapter:
    """A made-up adapter: its name, its bits per byte up to 512 bytes, to 1,024 and to 2,048, and whether it is good."""

    name: str
    bits: tuple[float, float, float]
    good: bool

    def __call__(self, length: int) -> float:
        """Give the bits per byte at `length`, a little more on short texts."""
        place = (length > KNOWN) + (length > 2 * KNOWN)
        return self.bits[place] + 20 / length


@check("09.reads_long")
def reads_long(function: Callable) -> Passed:
    """Check `function(bits, base_bits, known, target) -> bool`: a test that only good long adapters pass.

    `bits` and `base_bits` give the bits per byte of adapter and base at a length; the base was trained at `known`
    bytes, and the adapter should read `target`.
    """
    compare(
        function,
        [(adapter,) for adapter in ADAPTERS],
        lambda adapter: adapter.good,
        WRONG_TESTS,
        inputs=lambda adapter: (adapter, BASE, KNOWN, TARGET),
        read=lambda verdict, *_: expect_verdict(verdict, "the test must say True or False"),
        otherwise=lambda verdict, right, adapter: (
            f"your test {'passes' if verdict else 'rejects'} {adapter.name}: {_told(adapter)}. The base knows {KNOWN} "
            f"bytes, and {1.1 * BASE(KNOWN):.2f} bits are allowed there and at {TARGET:,}"
        ),
        changed=None,
    )
    return Passed(
        f"{sum(one.good for one in ADAPTERS)} good adapters pass, {len(ADAPTERS) - 2} broken ones are caught."
    )


def _told(adapter: Adapter) -> str:
    return ", ".join(f"{adapter(length):.2f} bits at {length:,}" for length in (KNOWN, 2 * KNOWN, TARGET))


def _sparse(when: str) -> LlamaForCausalLM:
    model = random_llama()
    use_s2(model, group_size=GROUP, when=when)
    return model.train()


def _nudged() -> LlamaForCausalLM:
    """A model whose logits are a millionth too large: less than `torch.allclose` sees."""
    model = _sparse("training")
    model.lm_head.register_forward_hook(lambda head, given, out: out * (1 + 1e-6))
    return model


def _nudged_at_the_start() -> LlamaForCausalLM:
    """A model that errs at the first token of each row: the others cannot see it in the output."""
    model = _sparse("training")
    model.lm_head.register_forward_hook(lambda head, given, out: torch.cat([out[:, :1] + 1, out[:, 1:]], dim=1))
    return model


def _swapped_at_the_end() -> LlamaForCausalLM:
    """A model that gives two logits in each other's place, at the last token of the last row alone; sums stay right."""
    model = _sparse("training")

    def swap(head, given, out):
        out = out.clone()
        out[1:, TOKENS - 1 :, :2] = out[1:, TOKENS - 1 :, :2].flip(-1)
        return out

    model.lm_head.register_forward_hook(swap)
    return model


def _recipes() -> dict[str, torch.nn.Module]:
    """Random models under recipes, by their names."""
    paper, narrow = LongLoRAConfig(4 * TOKENS), LongLoRAConfig(4 * TOKENS, rank=2, also_train=())
    return {
        "a model under the paper's recipe": longlora(random_llama(), paper),
        "a model with LoRA of rank 2 alone": longlora(random_llama(), narrow),
        "a model whose head is its embedding": longlora(random_llama(tie_word_embeddings=True), paper),
    }


def weights_of(model: torch.nn.Module) -> tuple[int, int]:
    """Count the weights that train, and those that the model computes with: without PEFT's frozen originals."""
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


def _elements(model: torch.nn.Module, wanted: Callable[[str], bool], *, trained: bool = False) -> int:
    """Count the elements of the weights in use whose names are wanted: all, or those that train."""
    weights = {name: weight for name, weight in model.named_parameters() if "original_module" not in name}
    return sum(w.numel() for name, w in weights.items() if wanted(name) and (w.requires_grad or not trained))


def _not_embedding(name: str) -> bool:
    return "embed_tokens" not in name


def _mean_requires_grad(weights: list[torch.nn.Parameter]) -> float:
    return sum(weight.requires_grad for weight in weights) / len(weights)


KNOWN, TARGET = 512, 2048
BASE = Adapter("the base", (0.80, 3.60, 4.10), good=False)
ADAPTERS = (
    Adapter("a good adapter", (0.79, 0.78, 0.77), good=True),
    Adapter("a good adapter whose long texts cost 3 % more", (0.83, 0.83, 0.86), good=True),
    Adapter("an adapter without its positions", (0.79, 3.58, 4.05), good=False),
    Adapter("an adapter that reads long texts worse than the base", (0.79, 4.90, 6.00), good=False),
    Adapter("an adapter with half of its factor", (0.82, 0.79, 3.70), good=False),
    Adapter("an adapter that ruined the model at all lengths", (4.90, 4.90, 4.90), good=False),
    Adapter("an adapter that ruined short texts", (2.10, 0.79, 0.77), good=False),
)
WRONG_TESTS = {
    "known length only": Mistake(
        "your test passes an adapter without its positions: at the length that the base knows it reads well. Measure "
        "at `target` too",
        lambda adapter: adapter(KNOWN) <= 1.1 * BASE(KNOWN),
    ),
    "base beyond what it knows": Mistake(
        "your test passes an adapter without its positions: at `target` the base itself reads nonsense, and is no "
        "measure. Compare with what the base needs at `known`",
        lambda adapter: adapter(TARGET) <= 1.1 * BASE(TARGET),
        also=(
            lambda adapter: adapter(TARGET) < BASE(TARGET),
            lambda adapter: all(adapter(n) <= 1.1 * BASE(n) for n in (KNOWN, TARGET)),
        ),
    ),
    "between": Mistake(
        "your test passes an adapter with half of its factor: it reads beyond `known`, and breaks before `target`. "
        "Measure at `target`",
        lambda adapter: all(adapter(n) <= 1.1 * BASE(KNOWN) for n in (KNOWN, 2 * KNOWN)),
        also=(lambda adapter: adapter(2 * KNOWN) <= 1.1 * BASE(KNOWN), lambda adapter: adapter(KNOWN + 1) < 1),
    ),
    "target only": Mistake(
        "your test passes an adapter that ruined short texts: measure at `known` as well",
        lambda adapter: adapter(TARGET) <= 1.1 * BASE(KNOWN),
    ),
    "against itself": Mistake(
        "your test passes an adapter that ruined the model at all lengths: compared with itself it looks even. Compare "
        "with the base",
        lambda adapter: adapter(TARGET) <= 1.1 * adapter(KNOWN),
    ),
    "no tolerance": Mistake(
        "your test rejects a good adapter: long texts cost it a little more, within a tenth. Allow 1.1 times what the "
        "base needs",
        lambda adapter: all(adapter(n) <= BASE(KNOWN) for n in (KNOWN, TARGET)),
        also=lambda adapter: adapter(TARGET) <= BASE(KNOWN),
    ),
    "upside down": Mistake(
        "it is the other way round: fewer bits per byte are better",
        lambda adapter: all(adapter(n) >= 1.1 * BASE(KNOWN) for n in (KNOWN, TARGET)),
    ),
}
TENSORS = (
    "that counts tensors: a norm of 32 numbers weighs as much there as a table of thousands. Count elements, "
    "`weight.numel()`"
)


WRONG_SHARES = {
    "frozen originals counted": Mistake(
        "PEFT keeps the frozen original of each module that trains whole, and you count it beside its copy, as its own "
        "`print_trainable_parameters` does. The model computes with one of them: which part of the "
        "names tells the two apart?",
        lambda model: _trained(model) / _all(model),
    ),
    "another model": Mistake(
        "you divide by the weights of the base of this lesson: count those of the `model` that your function is given",
        lambda model: _trained(model) / _all(bundled_model()),
    ),
    "tensors counted": Mistake(TENSORS, lambda model: _mean_requires_grad(_used(model))),
    "tensors counted, originals too": Mistake(TENSORS, lambda model: _mean_requires_grad(list(model.parameters()))),
    "percent": Mistake("a share lies between 0 and 1: leave out the factor 100", lambda model: 100 * _share(model)),
    "LoRA only": Mistake(
        "that counts LoRA's matrices only: embeddings and norms train as well. Ask each weight, `requires_grad`, "
        "instead of its name",
        lambda model: (
            sum(weight.numel() for name, weight in model.named_parameters() if "lora_" in name) / weights_of(model)[1]
        ),
    ),
    "embedding left out": Mistake(
        "the embedding is left out, and under this recipe it trains: most of what does",
        lambda model: _elements(model, _not_embedding, trained=True) / weights_of(model)[1],
        also=lambda model: _elements(model, _not_embedding, trained=True) / _elements(model, _not_embedding),
    ),
    "LoRA nowhere": Mistake(
        "LoRA's own weights are missing, above and below the line: they train, and the model computes with them",
        lambda model: (
            _elements(model, lambda name: "lora_" not in name, trained=True)
            / _elements(model, lambda name: "lora_" not in name)
        ),
    ),
    "LoRA not below": Mistake(
        "below the line stand all weights that the model computes with, trained and frozen: LoRA's own are missing "
        "there. (All frozen weights with PEFT's originals come to the same number)",
        lambda model: _trained(model) / _elements(model, lambda name: "lora_" not in name),
    ),
    "tied twice": Mistake(
        "one matrix is counted twice below the line: where the head is the embedding, `state_dict()` has it under two "
        "names. `named_parameters()` gives a shared tensor once",
        lambda model: (
            _trained(model)
            / sum(weight.numel() for name, weight in model.state_dict().items() if "original_module" not in name)
        ),
    ),
    "trained over frozen": Mistake(
        "that is trained weights over frozen ones; a share is over all of them",
        lambda model: _trained(model) / (weights_of(model)[1] - _trained(model)),
    ),
    "frozen": Mistake(
        "that is the share that stays frozen",
        lambda model: 1 - _share(model),
    ),
    "not a share": Mistake("that is how many weights train; divide by how many there are", _trained),
}
