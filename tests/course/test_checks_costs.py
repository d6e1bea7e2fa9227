"""Lessons 00 and 01: right answers pass, every planted mistake is named, nothing a learner writes ends in a trace."""

from __future__ import annotations

import math

import pytest

from longlora_edu.cost import ModelShape, forward_flops
from longlora_edu.course.checks import CheckFailed
from longlora_edu.course.checks import l00_start as start
from longlora_edu.course.checks import l01_costs as check
from longlora_edu.course.checks.exercise import compare_numbers
from longlora_edu.plots import attention_crossover

SHAPES = [case[0] for case in check.CROSSOVER_CASES]


def groups(n, g):
    return math.ceil(n / g)


def attention_flops(seq_len, heads, head_dim, causal):
    pairs = sum(query + 1 for query in range(seq_len)) if causal else seq_len**2
    return 2 * 2 * pairs * heads * head_dim


def rest(shape, n):
    flops = forward_flops(shape, n)
    return flops.total - flops.attention


def first(more_than, limit=200_000):
    """The first n for which it holds; by halves, as both sides only grow apart."""
    low, high = 0, limit
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if more_than(middle) else (middle, high)
    return high


def crossover(shape):
    return first(lambda n: forward_flops(shape, n).attention > rest(shape, n))


def test_right_answers_pass_and_are_noted(journal, capsys):
    start.number_of_groups(groups, journal=journal)
    start.number_of_groups(lambda n, g: -(-n // g), journal=journal)
    check.attention_flops(attention_flops, journal=journal)
    check.attention_flops(lambda n, h, d, c: 4 * h * d * (n * (n + 1) / 2 if c else n * n), journal=journal)
    check.crossover(crossover, journal=journal)
    assert journal.get("exercises", "00.number_of_groups") == {"attempts": 1, "passed": True}
    assert journal.get("exercises", "01.attention_flops")["passed"]
    assert journal.get("exercises", "01.crossover")["passed"]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_crossover_is_the_first_length_by_counting(shape):
    assert attention_crossover(shape) == crossover(shape)
    causal = first(lambda n: forward_flops(shape, n, causal=True).attention > rest(shape, n))
    assert attention_crossover(shape, causal=True) == causal


WRONG_GROUPS = {
    "floor": (lambda n, g: n // g, "the last group is lost"),
    "one too many": (lambda n, g: n // g + 1, "a group too many"),
    "nearest": (lambda n, g: round(n / g), "nearest number"),
    "tokens": (lambda n, g: g, "number of tokens in a group"),
    "upside down": (lambda n, g: -(-g // n), "upside down"),
    "fraction": (lambda n, g: n / g, "must return a whole number, got 2.5"),
    "type": (lambda n, g: None, "got NoneType .did you forget `return`?"),
    "value": (lambda n, g: 3, r"\(n=16, g=4\) must give 4, got 3"),
}


@pytest.mark.parametrize("mistake", WRONG_GROUPS)
def test_mistakes_about_groups_are_named(mistake, journal):
    wrong, sentence = WRONG_GROUPS[mistake]
    with pytest.raises(CheckFailed, match=sentence) as failed:
        start.number_of_groups(wrong, journal=journal)
    assert failed.value.mistake == mistake
    assert journal.get("exercises", "00.number_of_groups") == {"attempts": 1, "passed": False, "mistake": mistake}


def without_itself(n, h, d, c):
    return 4 * h * d * (n * (n - 1) // 2 if c else n * n)


WRONG_ATTENTION = {
    "half": (lambda *case: attention_flops(*case) // 2, "exactly half of it"),
    "quarter": (lambda *case: attention_flops(*case) // 4, "exactly a quarter"),
    "never causal": (lambda n, h, d, c: 4 * h * d * n * n, "`causal=True` changes nothing"),
    "always causal": (lambda n, h, d, c: attention_flops(n, h, d, True), "every query meets every key"),
    "twice": (lambda *case: 2 * attention_flops(*case), "exactly twice"),
    "causal the other way round": (lambda n, h, d, c: attention_flops(n, h, d, not c), "two cases are swapped"),
    "half a square": (lambda n, h, d, c: 4 * h * d * n * n // (2 if c else 1), "the diagonal is not cut in two"),
    "half a square, rounded": (
        lambda n, h, d, c: 4 * h * d * (n * n // 2 if c else n * n),
        "the diagonal is not cut in two",
    ),
    "half, of half a square": (lambda n, h, d, c: 2 * h * d * (n * n // 2 if c else n * n), "two things at once"),
    "without itself": (without_itself, "a token may look at itself"),
    "linear": (lambda n, h, d, c: 4 * n * h * d, "not with its square"),
    "one head": (lambda n, h, d, c: attention_flops(n, 1, d, c), "the FLOPs of one head"),
    "no features": (lambda n, h, d, c: attention_flops(n, h, 1, c), "`head_dim` is missing"),
    "projections": (lambda n, h, d, c: attention_flops(n, h, d, c) + 8 * n * (h * d) ** 2, "counts the projections"),
    "value": (lambda n, h, d, c: 1, r"seq_len=8, heads=2|n=8, h=2, d=4, c=False\) must give 2,048, got 1"),
    "type": (lambda n, h, d, c: "many", "must return a number, got str"),
    "not finite": (lambda n, h, d, c: math.inf, "must return a finite number, got inf"),
    "exception": (lambda n, h, d, c: n / 0, "raised ZeroDivisionError on the line .*: division by zero"),
}


@pytest.mark.parametrize("mistake", WRONG_ATTENTION)
def test_mistakes_about_attention_flops_are_named(mistake, journal):
    wrong, sentence = WRONG_ATTENTION[mistake]
    with pytest.raises(CheckFailed, match=sentence) as failed:
        check.attention_flops(wrong, journal=journal)
    assert failed.value.mistake == mistake


def against(weights, width=lambda s: s.heads * s.head_dim, layers=lambda s: s.layers):
    """A learner's crossover with some other idea of one side."""
    return lambda s: first(lambda n: 4 * layers(s) * width(s) * n * n > 2 * weights(s) * n, limit=20_000_000)


def all_linear(s):
    return s.parameters.attention + s.parameters.ffn + s.width * s.vocabulary


WRONG_CROSSOVER = {
    "one too early": (lambda s: crossover(s) - 1, "one token too early"),
    "total": (lambda s: crossover(s) + 1, "so not `total`"),
    "no head": (against(lambda s: s.parameters.attention + s.parameters.ffn), "head is missing"),
    "all parameters": (against(lambda s: s.parameters.total), "the embedding is looked up"),
    "feed-forward only": (against(lambda s: s.parameters.ffn), "projections and head are part"),
    "projections only": (against(lambda s: s.parameters.attention), "passes its own projections"),
    "one layer": (against(all_linear, layers=lambda s: 1), "count the same layers on both sides"),
    "width": (against(all_linear, width=lambda s: s.width), "need not be `width`"),
    "key heads": (against(all_linear, width=lambda s: s.kv_heads * s.head_dim), "every .query. head computes"),
    "causal": (lambda s: attention_crossover(s, causal=True), "the length for a causal kernel"),
    "value": (lambda s: 4096, "must give 25,205, got 4,096"),
    "fraction": (lambda s: all_linear(s) / (2 * s.layers * s.heads * s.head_dim), "whole number"),
}


@pytest.mark.parametrize("mistake", WRONG_CROSSOVER)
def test_mistakes_about_the_crossover_are_named(mistake, journal):
    wrong, sentence = WRONG_CROSSOVER[mistake]
    with pytest.raises(CheckFailed, match=sentence) as failed:
        check.crossover(wrong, journal=journal)
    assert failed.value.mistake == mistake


@pytest.mark.parametrize("run", [start.number_of_groups, check.attention_flops, check.crossover])
def test_a_stub_is_told_apart_from_a_mistake(run, journal):
    def stub(*case):
        raise NotImplementedError("your lines go here")

    with pytest.raises(NotImplementedError):
        run(stub, journal=journal)
    assert journal.get("exercises", run.key) is None
    with pytest.raises(CheckFailed, match="a function is needed here, got int"):
        run(7, journal=journal)


def test_a_wrong_number_is_shown_beside_the_right_one_without_names_of_arguments():
    with pytest.raises(CheckFailed, match=r"max\(1, 2\) must give 1, got 2") as failed:
        compare_numbers(max, [(1, 2)], min)
    assert failed.value.mistake == "value"


def test_shapes_of_the_crossover_tell_the_formulas_apart():
    # Otherwise one planted mistake would be answered with the sentence of another.
    formulas = {name: wrong.form for name, wrong in check.WRONG_CROSSOVER.items()} | {"right": attention_crossover}
    answers = [tuple(formula(shape) for shape in SHAPES) for formula in formulas.values()]
    assert len(set(answers)) == len(answers)
    assert ModelShape.llama2_7b() in SHAPES
