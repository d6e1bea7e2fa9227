from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from longlora_edu.course.checks import CheckFailed
from longlora_edu.course.checks import l07_training as training
from longlora_edu.course.checks import l08_measuring as measuring
from longlora_edu.geometry import S2Geometry

pytestmark = pytest.mark.usefixtures("published")


def refused(check, function, journal, match=None):
    """What the check says of a wrong answer."""
    with pytest.raises(CheckFailed, match=match) as caught:
        check(function, journal=journal)
    return caught.value


# Exercise 7.1.


def step(
    model, ids, optimizer, *, mode=True, clear=True, targets=None, reduction="mean", back=True, move=True, scale=1
):
    """The right step, with a switch for each way to get it wrong."""
    model.train(mode)
    if clear:
        optimizer.zero_grad()
    logits = model(ids[:, :-1])
    targets = ids[:, 1:] if targets is None else targets(ids)
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten().long(), reduction=reduction)
    if back:
        loss.backward()
    if move:
        optimizer.step()
    return loss.item() * scale


STEP_MISTAKES = {
    "dense": ({"mode": False}, r"dense attention: S² works in training mode only, so call `model.train\(\)`"),
    "not shifted": ({"targets": lambda ids: ids[:, :-1]}, r"should predict the next ones: `ids\[:, 1:\]`"),
    "bits": ({"scale": 1 / math.log(2)}, "in bits: training minimises nats"),
    "sum": ({"reduction": "sum"}, "summed over the bytes; take the mean"),
    "loss": ({"scale": 3}, "the loss of these bytes under S² is .* nats, got"),
    "no step": ({"move": False}, "no weight has moved: the optimizer must"),
    "not cleared": ({"clear": False}, r"begin with `optimizer.zero_grad\(\)`"),
    "old gradient": ({"clear": False, "back": False}, r"compute the new one with `loss.backward\(\)`"),
}


def test_one_step_on_a_long_document_is_accepted(journal):
    training.long_step(step, journal=journal)
    assert journal.get("exercises", "07.long_step") == {"attempts": 1, "passed": True}


@pytest.mark.parametrize("mistake", STEP_MISTAKES)
def test_a_wrong_step_is_named(mistake, journal):
    options, message = STEP_MISTAKES[mistake]
    error = refused(training.long_step, lambda *given: step(*given, **options), journal, message)
    assert error.mistake == mistake
    assert (error.picture is not None) == (mistake == "dense")


def test_the_loss_of_the_last_byte_alone_is_named(journal):
    def last(model, ids, optimizer):
        return F.cross_entropy(model.train()(ids[:, :-1])[:, -1], ids[:, -1].long()).item()

    assert refused(training.long_step, last, journal, "the last byte alone").mistake == "last byte"


@pytest.mark.parametrize(
    ("order", "mistake", "message"),
    [
        (("backward", "zero_grad", "step"), "gradient wiped", r"`zero_grad\(\)` has wiped the gradient"),
        (("zero_grad", "step", "backward"), "step too early", "there was no gradient yet"),
    ],
)
def test_a_step_along_nothing_is_told_from_no_step(order, mistake, message, journal):
    def wrong(model, ids, optimizer):
        model.train()
        loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten().long())
        for name in order:
            getattr(loss if name == "backward" else optimizer, name)()
        return loss.item()

    assert refused(training.long_step, wrong, journal, message).mistake == mistake


@pytest.mark.parametrize(
    ("logits", "targets", "advice"),
    [
        (lambda m, ids: m(ids).flatten(0, 1), lambda ids: ids.flatten().long(), r"it reads all but the last"),
        (lambda m, ids: m(ids[:, :-1]), lambda ids: ids[:, 1:].long(), r"Flatten both"),
        (lambda m, ids: m(ids[:, :-1]).flatten(0, 1), lambda ids: ids.flatten().long(), "must be as many"),
    ],
)
def test_an_error_in_a_step_comes_with_advice(logits, targets, advice, journal):
    def wrong(model, ids, optimizer):
        return F.cross_entropy(logits(model.train(), ids), targets(ids)).item()

    assert refused(training.long_step, wrong, journal, advice).mistake == "exception"


def test_a_step_taken_twice_is_not_one_step(journal):
    def twice(model, ids, optimizer):
        value = step(model, ids, optimizer)
        optimizer.step()
        return value

    assert refused(training.long_step, twice, journal).mistake == "step"


def test_dense_and_sparse_attention_are_compared_side_by_side(journal):
    error = refused(training.long_step, lambda *given: step(*given, mode=False), journal)
    assert "pairs too many" in error.picture.alt


# Exercise 7.2.


def bits(geometry, layers):
    return (1 - geometry.reach(layers)[-1].mean()) * math.log2(10)


BITS_MISTAKES = {
    "nats": (lambda g, n: bits(g, n) * math.log(2), r"costs `log2\(10\)` bits"),
    "inverted": (lambda g, n: g.reach(n)[-1].mean() * math.log2(10), r"keys that are \*not\* heard"),
    "one layer": (lambda g, n: bits(g, 1), "this is one layer"),
    "column": (lambda g, n: (1 - g.reach(n)[:, -1].mean()) * math.log2(10), "rows hear, columns are heard"),
    "own place": (lambda g, n: (1 - g.reach(n)[-1, :-1].mean()) * math.log2(10), "own place counts"),
    "inside the logarithm": (
        lambda g, n: -math.log2(g.reach(n)[-1].mean() + (1 - g.reach(n)[-1].mean()) / 10),
        "taken of bits",
    ),
    "everybody": (lambda g, n: (1 - g.reach(n).mean()) * math.log2(10), "mean over all tokens that hear"),
    "too many digits": (lambda g, n: 5 * bits(g, n), "one digit is asked for"),
    "all keys": (lambda g, n: (~g.reach(n)[-1]).sum() * math.log2(10), "take the mean"),
    "ten": (lambda g, n: (1 - g.reach(n)[-1].mean()) * 10, r"`np.log2\(10\)` bits, not ten"),
    "share": (lambda g, n: 1 - g.reach(n)[-1].mean(), "share of keys that are not heard"),
    "byte": (lambda g, n: 8 * (1 - g.reach(n)[-1].mean()), "not one of 256"),
    "other": (lambda g, n: 1.5, "a digit costs .* bits, got 1.500"),
}


def test_the_cost_of_a_digit_is_accepted(journal):
    training.digit_bits(bits, journal=journal)


@pytest.mark.parametrize("mistake", BITS_MISTAKES)
def test_a_wrong_cost_of_a_digit_is_named(mistake, journal):
    function, message = BITS_MISTAKES[mistake]
    error = refused(training.digit_bits, function, journal, message)
    assert error.mistake == mistake
    assert "hears" in error.picture.alt


def test_the_first_row_hears_what_the_last_column_is_heard_by(journal):
    error = refused(training.digit_bits, lambda g, n: (1 - g.reach(n)[0].mean()) * math.log2(10), journal)
    assert error.mistake in ("column", "first row")  # both are a single pair: the same number


def test_short_attention_leaves_most_keys_to_a_guess():
    assert bits(S2Geometry(16, 4, 2, 0), 9) == 0.75 * math.log2(10)


# Exercise 8.1.


def last_bits(nats_of, windows, length, tail):
    return nats_of(windows[:, -length:])[:, -tail:].mean() / math.log(2)


LAST_MISTAKES = {
    "other bytes": (
        lambda f, w, n, t: f(w[:, :n])[:, -t:].mean() / math.log(2),
        "you cut the windows at their end",
    ),
    "all positions": (lambda f, w, n, t: f(w[:, -n:]).mean() / math.log(2), "the mean over all positions"),
    "nats": (lambda *given: last_bits(*given) * math.log(2), "this is in nats"),
    "whole window": (lambda f, w, n, t: f(w)[:, -t:].mean() / math.log(2), "the whole window whatever `length` says"),
    "no context": (lambda f, w, n, t: f(w[:, -t - 1 :])[:, -t:].mean() / math.log(2), "the last bytes alone"),
    "perplexity": (lambda *given: math.exp(last_bits(*given) * math.log(2)), "this is a perplexity"),
    "times": (lambda *given: last_bits(*given) * math.log(2) ** 2, r"divided by `log\(2\)`, not multiplied"),
    "too much context": (lambda f, w, n, t: f(w[:, -n - t :])[:, -t:].mean() / math.log(2), "`tail` bytes too many"),
    "one byte more": (lambda f, w, n, t: f(w[:, -n - 1 :])[:, -t:].mean() / math.log(2), "one byte too many"),
    "first bytes": (lambda f, w, n, t: f(w[:, -n:])[:, :t].mean() / math.log(2), "the first `tail` losses"),
    "one too early": (lambda f, w, n, t: f(w[:, -n:])[:, -t - 1 : -1].mean() / math.log(2), "one byte too early"),
    "sum": (lambda f, w, n, t: f(w[:, -n:])[:, -t:].sum() / math.log(2), "take the mean"),
    "windows cut": (lambda f, w, n, t: f(w[-n:])[-t:].mean() / math.log(2), "first axis counts windows"),
    "other": (lambda *given: 7.0, "the answer is .* bits, got 7.0000"),
    "exception": (lambda f, w, n, t: f(w[0]), "raised ValueError"),
    "type": (lambda *given: None, "did you forget `return`"),
    "not finite": (lambda *given: np.nan, "must be a finite number"),
}


def test_the_bits_of_the_last_bytes_are_accepted(journal):
    measuring.last_bits(last_bits, journal=journal)


@pytest.mark.parametrize("mistake", LAST_MISTAKES)
def test_a_wrong_measure_is_named(mistake, journal):
    function, message = LAST_MISTAKES[mistake]
    assert refused(measuring.last_bits, function, journal, message).mistake == mistake


# Exercise 8.2.


def paired(mine, other):
    differences = mine - other
    return differences.mean(), differences.std(ddof=1) / math.sqrt(len(differences))


def with_error(error):
    return lambda a, b: ((a - b).mean(), error(a, b))


PAIRED_MISTAKES = {
    "sign": (lambda a, b: paired(b, a), "mine minus other"),
    "order": (lambda a, b: paired(a, b)[::-1], "the mean comes first"),
    "interval": (with_error(lambda a, b: 1.96 * paired(a, b)[1]), "without the 1.96"),
    "absolute": (lambda a, b: (abs(a - b).mean(), 0.0), "keep the signs"),
    "mean": (lambda a, b: (a.mean(), 0.0), "the mean difference is"),
    "unpaired": (
        with_error(lambda a, b: math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / len(a))),
        "as if they came from different windows",
    ),
    "no root": (with_error(lambda a, b: (a - b).std(ddof=1)), r"smaller by `sqrt\(n\)`"),
    "no root, biased": (with_error(lambda a, b: (a - b).std()), r"smaller by `sqrt\(n\)`"),
    "divided by n": (with_error(lambda a, b: (a - b).std(ddof=1) / len(a)), r"by `sqrt\(n\)`, not by `n`"),
    "variance": (with_error(lambda a, b: (a - b).var(ddof=1) / len(a)), "take its square root"),
    "ddof": (with_error(lambda a, b: (a - b).std() / math.sqrt(len(a))), r"`std\(ddof=1\)`"),
    "error": (with_error(lambda a, b: 1.0), "the standard error is .*, got 1.00000"),
    "type": (lambda a, b: 1.0, "return two numbers"),
}


def test_the_paired_difference_is_accepted(journal):
    measuring.paired(paired, journal=journal)


@pytest.mark.parametrize("mistake", PAIRED_MISTAKES)
def test_a_wrong_difference_is_named(mistake, journal):
    function, message = PAIRED_MISTAKES[mistake]
    assert refused(measuring.paired, function, journal, message).mistake == mistake


# What all of them share.

CHECKS = [training.long_step, training.digit_bits, measuring.last_bits, measuring.paired]


def not_written(*given):
    raise NotImplementedError("your lines go here")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.key)
def test_a_stub_is_told_apart_from_a_wrong_answer(check, journal):
    with pytest.raises(NotImplementedError):
        check(not_written, journal=journal)
    assert journal.get("exercises", check.key) is None


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.key)
def test_text_instead_of_a_number_is_one_sentence(check, journal):
    assert refused(check, lambda *given: "1.0", journal).mistake == "type"


def test_a_loss_that_is_still_a_tensor_is_named(journal):
    assert refused(training.long_step, lambda *given: torch.tensor(step(*given)), journal).mistake == "tensor"
