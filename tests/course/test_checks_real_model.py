"""Lesson 09: the exercises, the families, and what happens where transformers is not installed."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from helpers import ROOT, tiny_bundled_model

pytest.importorskip("transformers")
pytest.importorskip("peft")

from longlora_edu.course.checks import CheckFailed  # noqa: E402
from longlora_edu.course.checks import l09_real_model as check  # noqa: E402
from longlora_edu.course.play import any_model  # noqa: E402
from longlora_edu.longlora import LongLoRAConfig, apply_longlora  # noqa: E402
from longlora_edu.model import LlamaConfig, TinyLlama, save_tiny_llama  # noqa: E402
from longlora_edu.rope import Rope  # noqa: E402
from longlora_edu.runs.records import recorded  # noqa: E402
from longlora_edu.widgets import family_explorer as families  # noqa: E402


@torch.no_grad()
def is_dense(model, stock, ids):
    mode = model.training
    same = torch.equal(model.eval()(ids).logits, stock.eval()(ids).logits)
    model.train(mode)
    return same


@torch.no_grad()
def forgets_eval(model, stock, ids):
    return torch.equal(model(ids).logits, stock(ids).logits)


@torch.no_grad()
def within_tolerance(model, stock, ids):
    mode = model.training
    same = torch.allclose(model.eval()(ids).logits, stock.eval()(ids).logits, atol=1e-3)
    model.train(mode)
    return same


@torch.no_grad()
def by_argmax(model, stock, ids):
    mode = model.training
    same = torch.equal(model.eval()(ids).logits.argmax(-1), stock.eval()(ids).logits.argmax(-1))
    model.train(mode)
    return same


@torch.no_grad()
def of_the_first_tokens(model, stock, ids):
    mode = model.training
    same = torch.equal(model.eval()(ids[:, :4]).logits, stock.eval()(ids[:, :4]).logits)
    model.train(mode)
    return same


@torch.no_grad()
def of_the_last_token(model, stock, ids):
    mode = model.training
    same = torch.equal(model.eval()(ids).logits[:, -1], stock.eval()(ids).logits[:, -1])
    model.train(mode)
    return same


def of_the_first_row(model, stock, ids):
    return is_dense(model, stock, ids[:1])


def of_all_tokens_but_the_last(model, stock, ids):
    return is_dense(model, stock, ids[:, :-1])


@torch.no_grad()
def of_sorted_logits(model, stock, ids):
    mode = model.training
    same = torch.equal(model.eval()(ids).logits.sort(-1).values, stock.eval()(ids).logits.sort(-1).values)
    model.train(mode)
    return same


@torch.no_grad()
def within_torch_s_own_tolerance(model, stock, ids):
    mode = model.training
    same = torch.allclose(model.eval()(ids).logits, stock.eval()(ids).logits)
    model.train(mode)
    return same


def forces_the_mode(model, stock, ids):
    same = loses_the_mode(model, stock, ids)
    model.train()
    return same


@torch.no_grad()
def loses_the_mode(model, stock, ids):
    return torch.equal(model.eval()(ids).logits, stock.eval()(ids).logits)


def asks_the_mode(model, stock, ids):
    return model.training and is_dense(model, stock, ids)


def asks_the_config(model, stock, ids):
    return model.config._attn_implementation == stock.config._attn_implementation


WRONG_TESTS = {
    "training compared": (forgets_eval, "rejects a good model. It arrived in training mode"),
    "mode asked": (asks_the_mode, "arrives in evaluation mode"),
    "sparse passes": (of_the_first_tokens, "compare the logits of all tokens"),
    "tolerance": (within_tolerance, "a millionth too large"),
    "last token": (of_the_last_token, "wrong at the first token of a row"),
    "a part compared": (of_the_first_row, "each logit of all tokens of all rows"),
    "mode lost": (loses_the_mode, "leaves the model in evaluation mode"),
    "mode forced": (forces_the_mode, "leaves the model in training mode"),
    "type": (lambda model, stock, ids: None, "True or False, got NoneType .did you forget"),
    "exception": (lambda model, stock, ids: torch.equal(model(ids), stock(ids)), "TypeError.*compare its `.logits`"),
}


def test_a_right_test_passes(journal):
    check.evaluation_is_dense(is_dense, journal=journal)
    check.evaluation_is_dense(lambda *given: torch.tensor(is_dense(*given)), journal=journal)
    assert journal.get("exercises", "09.evaluation_is_dense") == {"attempts": 1, "passed": True}


@pytest.mark.parametrize("mistake", WRONG_TESTS)
def test_tests_that_are_none_are_told_why(mistake, journal):
    wrong, sentence = WRONG_TESTS[mistake]
    with pytest.raises(CheckFailed, match=sentence) as failed:
        check.evaluation_is_dense(wrong, journal=journal)
    assert failed.value.mistake == mistake


@pytest.mark.parametrize(
    ("wrong", "mistake"),
    [
        (lambda *given: True, "never asked"),
        (lambda *given: False, "never asked"),
        (asks_the_config, "never asked"),
        (lambda model, stock, ids: model(ids) is not None, "sparse passes"),
        (lambda model, stock, ids: model(ids) is None, "training compared"),
        (by_argmax, "tolerance"),
        (within_torch_s_own_tolerance, "tolerance"),
        (of_all_tokens_but_the_last, "a part compared"),
        (of_sorted_logits, "a part compared"),
    ],
)
def test_other_tests_that_are_none_get_the_nearest_sentence(wrong, mistake, journal):
    with pytest.raises(CheckFailed) as failed:
        check.evaluation_is_dense(wrong, journal=journal)
    assert failed.value.mistake == mistake


def share(model):
    used = [weight for name, weight in model.named_parameters() if "original_module" not in name]
    return sum(weight.numel() for weight in used if weight.requires_grad) / sum(weight.numel() for weight in used)


def by_peft(model):
    weights = list(model.parameters())
    return sum(weight.numel() for weight in weights if weight.requires_grad) / sum(w.numel() for w in weights)


def by_tensors(model):
    weights = [weight for name, weight in model.named_parameters() if "original_module" not in name]
    return sum(weight.requires_grad for weight in weights) / len(weights)


def all_tensors(model):
    weights = list(model.parameters())
    return sum(weight.requires_grad for weight in weights) / len(weights)


def used_of(model):
    return {name: weight for name, weight in model.named_parameters() if "original_module" not in name}


def size(weights):
    return sum(weight.numel() for weight in weights)


def without_embedding(model):
    used = {name: weight for name, weight in used_of(model).items() if "embed" not in name}
    return size(weight for weight in used.values() if weight.requires_grad) / size(used.values())


def trained_over(model, weights):
    return size(weight for weight in used_of(model).values() if weight.requires_grad) / size(weights)


def only_lora(model):
    used = {name: weight.numel() for name, weight in model.named_parameters() if "original_module" not in name}
    return sum(count for name, count in used.items() if "lora_" in name) / sum(used.values())


WRONG_SHARES = {
    "frozen originals counted": (by_peft, "as its own `print_trainable_parameters` does"),
    "tensors counted": (by_tensors, "counts tensors"),
    "tensors counted, originals too": (all_tensors, "counts tensors"),
    "percent": (lambda model: 100 * share(model), "between 0 and 1"),
    "LoRA only": (only_lora, "counts LoRA's matrices only"),
    "embedding left out": (without_embedding, "the embedding is left out"),
    "LoRA nowhere": (
        lambda model: (
            sum(w.numel() for name, w in used_of(model).items() if w.requires_grad and "lora_" not in name)
            / sum(w.numel() for name, w in used_of(model).items() if "lora_" not in name)
        ),
        "missing, above and below the line",
    ),
    "LoRA not below": (
        lambda model: trained_over(model, [w for name, w in used_of(model).items() if "lora_" not in name]),
        "LoRA's own are missing there",
    ),
    "tied twice": (
        lambda model: trained_over(model, [w for name, w in model.state_dict().items() if "original" not in name]),
        "gives a shared tensor once",
    ),
    "trained over frozen": (lambda model: share(model) / (1 - share(model)), "over frozen ones"),
    "frozen": (lambda model: 1 - share(model), "stays frozen"),
    "not a share": (lambda model: check.weights_of(model)[0], "divide by how many"),
    "value": (lambda model: 0.5, r"\(a model under the paper's recipe\) must give 0\.238.*, got 0\.5"),
    "type": (lambda model: None, "must return a number"),
    "exception": (lambda model: share(model) / 0, "raised ZeroDivisionError"),
}


def test_trained_over_frozen_with_originals_is_the_share_without_lora(journal):
    with pytest.raises(CheckFailed, match="come to the same number"):
        check.trained_share(
            lambda model: trained_over(model, [w for w in model.parameters() if not w.requires_grad]), journal=journal
        )


def test_the_right_share_passes_and_is_that_of_the_report(journal):
    check.trained_share(share, journal=journal)
    paper = next(iter(check._recipes().values()))
    rope = Rope(8, trained_length=check.TOKENS)
    shape = LlamaConfig(
        rope, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=check.TOKENS, vocab_size=48,
    )  # fmt: skip
    assert share(paper) == apply_longlora(TinyLlama(shape), LongLoRAConfig(4 * check.TOKENS)).trainable_share


@pytest.mark.parametrize("mistake", WRONG_SHARES)
def test_mistakes_about_the_share_are_named(mistake, journal):
    wrong, sentence = WRONG_SHARES[mistake]
    with pytest.raises(CheckFailed, match=sentence) as failed:
        check.trained_share(wrong, journal=journal)
    assert failed.value.mistake == mistake


WRONG_LONG_TESTS = {
    "known length only": lambda bits, base, known, target: bits(known) < 1.1 * base(known),
    "base beyond what it knows": lambda bits, base, known, target: all(
        bits(n) < 1.1 * base(n) for n in (known, target)
    ),
    "between": lambda bits, base, known, target: bits(known) < 1 > bits(2 * known),
    "target only": lambda bits, base, known, target: bits(target) < 1.2 * base(known),
    "against itself": lambda bits, base, known, target: bits(target) < 1.05 * bits(known),
    "no tolerance": lambda bits, base, known, target: max(bits(known), bits(target)) <= base(known),
    "upside down": lambda bits, base, known, target: min(bits(known), bits(target)) > 1.1 * base(known),
}


def test_a_test_of_two_lengths_against_what_the_base_knows_passes(journal):
    def right(bits, base_bits, known, target):
        return max(bits(known), bits(target)) / base_bits(known) < 1.1

    check.reads_long(right, journal=journal)
    assert journal.get("exercises", "09.reads_long") == {"attempts": 1, "passed": True}


@pytest.mark.parametrize("mistake", WRONG_LONG_TESTS)
def test_a_test_that_a_broken_adapter_passes_is_named(mistake, journal):
    with pytest.raises(CheckFailed) as failed:
        check.reads_long(WRONG_LONG_TESTS[mistake], journal=journal)
    assert failed.value.mistake == mistake


def test_a_test_that_no_mistake_explains_hears_of_the_adapter(journal):
    with pytest.raises(CheckFailed, match="your test rejects a good adapter: 0.83 bits at 512") as failed:
        check.reads_long(lambda *given: False, journal=journal)
    assert failed.value.mistake == "other"


@pytest.mark.parametrize("run", [check.evaluation_is_dense, check.trained_share, check.reads_long])
def test_a_stub_is_told_apart_from_a_mistake(run, journal):
    def stub(*given):
        raise NotImplementedError("your lines go here")

    with pytest.raises(NotImplementedError):
        run(stub, journal=journal)


# What lesson 09 quotes.


def test_the_record_of_the_135m_model_says_what_the_lesson_says_of_it():
    record = recorded("extend_135m")
    was, stretched, trained = (record["held_out"][state] for state in ("as it was", "stretched", "trained"))
    assert was["new"] > 2 * was["known"], "as it was, the model breaks in the half that it does not know"
    assert stretched["new"] < was["new"] / 2, "stretching alone mends that half"
    assert all(trained[half] < stretched[half] for half in ("known", "new")), "a few steps improve both"
    settings = record["settings"]
    assert (settings["context"], settings["steps"], record["training"]["attention"]) == (16384, 10, "S2")
    new = [f"{math.exp(state['new']):.1f}" for state in (was, stretched, trained)]
    said = "{} as it was, {} stretched alone, {} after ten steps under S²".format(*new)
    assert said in (ROOT / "README.md").read_text("utf-8").replace("\n", " ")


# Families.


@pytest.mark.parametrize("name", families.FAMILIES)
def test_each_family_is_taken_or_refused_by_name(name):
    taken, said = families.verdict(name)
    refused = {"Mistral, window of 8 tokens", "Gemma 2", "BERT", "T5", "Mamba"}
    assert taken == (name not in refused)
    assert ("got" in said or "does not" in said) != taken


def test_a_family_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="family must be one of Llama, .*, got 'GPT-9'"):
        families.verdict("GPT-9")


def test_the_panel_answers_to_every_choice():
    families.show_panel()
    chosen, said = families.family_panel().children
    for name in chosen.options:
        chosen.value = name
        assert said.value == families.describe(name)
    assert families.family_table().count("<tr>") == len(families.FAMILIES) + 1


def test_without_a_model_of_ones_own_the_package_is_taken_where_it_may_be(monkeypatch, tmp_path):
    (tmp_path / "small.gguf").touch()
    found = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(any_model.importlib.util, "find_spec", lambda name: found)
    assert any_model.source_of("", packaged=True) == str(tmp_path / "small.gguf")
    assert any_model.source_of("", packaged=False) == ""
    assert any_model.source_of("org/model", packaged=True) == "org/model"
    monkeypatch.setattr(any_model.importlib.util, "find_spec", lambda name: None)
    assert any_model.source_of("", packaged=True) == ""


def test_a_model_of_the_reader_s_is_loaded_with_text_in_its_tokens(tmp_path):
    save_tiny_llama(tiny_bundled_model(), tmp_path)
    found = any_model.load(str(tmp_path), b"def area(radius):\n" * 40, device="cpu", tokens=16)
    assert found.name == tmp_path.name and found.ids.tolist() == [list(b"def area(radius)")]
    assert not found.model.training
    assert found.model(found.ids).logits.shape == (1, 16, 256)
