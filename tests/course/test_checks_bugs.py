from __future__ import annotations

import numpy as np
import pytest

from longlora_edu.course.bugs import BUGS, rolled
from longlora_edu.course.checks import CheckFailed
from longlora_edu.course.checks import l10_bugs as check
from longlora_edu.geometry import S2Geometry
from longlora_edu.reference import s2_attention


def inputs(geometry):
    return np.random.default_rng(0).normal(size=(3, 1, geometry.num_heads, geometry.seq_len, 4))


def moved(before, after):
    return (np.abs(after - before) > 1e-9).any(axis=3)[0]


def who_hears(attend, geometry, token):
    q, k, v = inputs(geometry)
    pushed = v.copy()
    pushed[:, :, token] += 1
    return moved(attend(q, k, v, geometry), attend(q, k, pushed, geometry))


def is_s2(attend):
    for geometry in (S2Geometry(16, 4, 2), S2Geometry(15, 5, 3)):
        q, k, v = np.random.default_rng(1).normal(size=(3, 1, geometry.num_heads, geometry.seq_len, 4))
        padding = np.where(np.arange(geometry.seq_len) < 12, 0, -1)[None]
        for segments in (None, padding):
            mine, right = (f(q, k, v, geometry, segments=segments) for f in (attend, s2_attention))
            if not np.allclose(mine, right):
                return False
    return True


def longformer_mask(seq_len, width, globals_):
    query, key = np.ogrid[:seq_len, :seq_len]
    return (key <= query) & ((query - key < width) | (key < globals_))


@pytest.mark.parametrize("right", [who_hears, is_s2, longformer_mask], ids=lambda f: f.__name__)
def test_the_right_answer_passes(right, journal):
    getattr(check, right.__name__)(right, journal=journal)
    assert journal.get("exercises", f"10.{right.__name__}")["passed"]


def in_place(attend, geometry, token):
    q, k, v = inputs(geometry)
    pushed = v
    pushed[:, :, token] += 1
    return moved(attend(q, k, v, geometry), attend(q, k, pushed, geometry))


def pushed_at(which, head=slice(None)):
    def answer(attend, geometry, token):
        qkv = inputs(geometry)
        pushed = qkv.copy()
        pushed[which, :, head, token] += 1
        return moved(attend(*qkv, geometry), attend(*pushed, geometry))

    return answer


def drawn_again(attend, geometry, token):
    (q, k, v), (other_q, other_k, _) = inputs(geometry), np.random.default_rng(7).normal(size=inputs(geometry).shape)
    pushed = v.copy()
    pushed[:, :, token] += 1
    return moved(attend(q, k, v, geometry), attend(other_q, other_k, pushed, geometry))


def pushed_on_the_axis_of_heads(attend, geometry, token):
    q, k, v = inputs(geometry)
    pushed = v.copy()
    pushed[:, token] += 1
    return moved(attend(q, k, v, geometry), attend(q, k, pushed, geometry))


@pytest.mark.parametrize(
    ("wrong", "mistake", "sentence"),
    [
        (in_place, "nothing moves", "Copy it"),
        (lambda attend, geometry, token: geometry.mask()[:, :, token], "never asked", "not what this function does"),
        (lambda *a: np.eye(a[1].seq_len, dtype=bool)[[a[2]] * a[1].num_heads], "pushed the query", "pushed the query"),
        (pushed_at(0), "pushed the query", "Push its value"),
        (pushed_at(1), "pushed the key", "You pushed the key"),
        (pushed_at(2, head=0), "pushed one head", "on one head only"),
        (lambda *a: ~who_hears(*a), "stays instead of moves", "what moves"),
        (lambda attend, geometry, token: np.stack([who_hears(attend, geometry, t)[:, token]
         for t in range(geometry.seq_len)], axis=1), "row instead of column", "whom the token hears"),
        (lambda *a: who_hears(*a).any(axis=0), "rank", "must have 2 axes"),
        (lambda *a: who_hears(*a).astype(float), "dtype", "True and False"),
        (lambda *a: None, "type", "did you forget `return`"),
        (lambda *a: 1 / 0, "exception", "raised ZeroDivisionError"),
        (lambda *a: np.ones_like(who_hears(*a)), "drawn again", "the same q and k"),
        (drawn_again, "drawn again", "the same q and k"),
        (pushed_on_the_axis_of_heads, "exception", "Axis 1 counts heads"),
        (lambda *a: who_hears(*a) ^ (np.arange(a[1].seq_len) == 3), "other", "On head 0 the output at token 3 moves"),
    ],
)  # fmt: skip
def test_a_wrong_perturbation_test_gets_its_own_sentence(wrong, mistake, sentence, journal):
    with pytest.raises(CheckFailed, match=sentence) as caught:
        check.who_hears(wrong, journal=journal)
    assert caught.value.mistake == mistake
    if mistake not in ("rank", "dtype", "type", "exception"):
        assert caught.value.picture is not None


def compared(*geometries, close=np.allclose, segments=False):
    def answer(attend):
        for geometry in geometries:
            q, k, v = inputs(geometry)
            options = {"segments": np.where(np.arange(geometry.seq_len) < 12, 0, -1)[None]} if segments else {}
            if not close(attend(q, k, v, geometry, **options), s2_attention(q, k, v, geometry, **options)):
                return False
        return True

    return answer


def same_mask(attend):
    return all(
        np.array_equal(who_hears(attend, g, token), g.mask()[:, :, token])
        for g in (S2Geometry(15, 5, 3), S2Geometry(12, 4, 2))
        for token in range(12)
    )


QKV = np.random.default_rng(0).normal(size=(3, 1, 2, 8, 4))


@pytest.mark.parametrize(
    ("wrong", "mistake", "sentence"),
    [
        (lambda attend: True, "never asked", "without a look"),
        (lambda attend: attend(*QKV, S2Geometry(8, 4, 2)) is not None, "too weak", "Compare the output"),
        (compared(S2Geometry(16, 4, 2), segments=True), "padding only", "Padding at the end hides"),
        (compared(S2Geometry(16, 4, 2)), "even sizes only", "odd group and an odd head count"),
        (compared(S2Geometry(16, 4, 2), S2Geometry(15, 5, 3)), "no padding", "with some -1"),
        (same_mask, "mask only", "compare values"),
        (compared(S2Geometry(15, 5, 3), close=np.array_equal), "refuses the right one", "with a tolerance"),
        (lambda attend: False, "never asked", "without a look"),
        (lambda attend: attend(*QKV, S2Geometry(8, 4, 2)) is None, "refuses the reference", "the reference itself"),
        (lambda attend: None, "type", "did you forget `return`"),
        (lambda attend: np.ones(3), "type", "True or False"),
        (lambda attend: attend(1), "exception", "raised TypeError"),
    ],
)
def test_a_test_that_lets_mistakes_pass_is_told_what_it_lacks(wrong, mistake, sentence, journal):
    with pytest.raises(CheckFailed, match=sentence) as caught:
        check.is_s2(wrong, journal=journal)
    assert caught.value.mistake == mistake
    if mistake not in ("refuses the right one", "refuses the reference", "never asked", "type", "exception"):
        assert caught.value.picture is not None


def masked(rule):
    return lambda n, w, g: rule(*np.ogrid[:n, :n], w, g) & np.ones((n, n), dtype=bool)


@pytest.mark.parametrize(
    ("wrong", "mistake", "sentence"),
    [
        (masked(lambda i, j, w, g: (j <= i) & ((i - j <= w) | (j < g))), "window one too wide", "one key too wide"),
        (masked(lambda i, j, w, g: (j <= i) & (i - j < w) | (j < g)), "future", "look at later keys"),
        (masked(lambda i, j, w, g: (i - j < w) | (j < g)), "not causal", "key <= query must hold, whatever"),
        (masked(lambda i, j, w, g: (j <= i) & ((i - j < w) | (j <= g))), "one first token too many", "numbered from 0"),
        (masked(lambda i, j, w, g: (j <= i) & ((i - j <= w // 2) | (j < g))), "half a window", "half as wide"),
        (masked(lambda i, j, w, g: (abs(i - j) < w) | (j < g)), "window both ways", "an encoder's"),
        (masked(lambda i, j, w, g: (j <= i) & ((i - j < w) | (i < g))), "queries instead of keys", "first tokens look"),
        (masked(lambda i, j, w, g: (j <= i) & (i - j < w) & (j < g)), "and instead of or", "you ask for both"),
        (masked(lambda i, j, w, g: (j <= i) & (i - j < w)), "no first tokens", "first tokens are missing"),
        (lambda n, w, g: longformer_mask(n, w, g).T, "transposed", "Rows and columns"),
        (lambda n, w, g: longformer_mask(n, w, g)[None], "rank", "must have 2 axes"),
        (lambda n, w, g: longformer_mask(n, w, g).astype(int), "dtype", "True and False"),
        (lambda n, w, g: np.eye(n, dtype=bool), "other", "does not look at key"),
    ],
)
def test_a_wrong_neighbour_gets_its_own_sentence(wrong, mistake, sentence, journal):
    with pytest.raises(CheckFailed, match=sentence) as caught:
        check.longformer_mask(wrong, journal=journal)
    assert caught.value.mistake == mistake


def test_stubs_are_told_apart_from_wrong_answers(journal):
    def stub(*arguments):
        raise NotImplementedError

    for name in ("who_hears", "is_s2", "longformer_mask"):
        with pytest.raises(NotImplementedError):
            getattr(check, name)(stub, journal=journal)


def test_what_the_check_takes_for_right_is_right():
    geometry = S2Geometry(15, 5, 3)
    q, k, v = inputs(geometry)
    other = check._reordered(q, k, v, geometry)
    np.testing.assert_allclose(other, s2_attention(q, k, v, geometry), atol=1e-12)
    assert (other != s2_attention(q, k, v, geometry)).any(), "otherwise == would do"
    assert {"wrap_leak", "odd_group"} <= set(BUGS)
    assert rolled is not s2_attention
