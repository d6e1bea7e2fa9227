"""The checks of lessons 03 and 04: right answers pass, and every planted mistake is called by its name."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch
import torch.nn.functional as F
from einops import rearrange

from longlora_edu import attention
from longlora_edu.course.bugs import BUGS
from longlora_edu.course.checks import CheckFailed
from longlora_edu.course.checks import l03_reference as numpy_check
from longlora_edu.course.checks import l04_speed as torch_check
from longlora_edu.course.checks.l03_reference import attend, backward
from longlora_edu.course.checks.l04_speed import SUSPECTS, effects
from longlora_edu.geometry import S2Geometry
from longlora_edu.reference import full_attention, s2_attention, s2_attention_backward


def failure(check, answer, journal):
    with pytest.raises(CheckFailed) as caught:
        check(answer, journal=journal)
    sentence = str(caught.value)
    # One readable sentence, or a few: no trace, and a capital letter unless a name begins it.
    assert 20 < len(sentence) < 400 and "Traceback" not in sentence and "\n" not in sentence
    return caught.value


def assert_caught(check, answer, journal, mistake, words, *, drawn=True):
    error = failure(check, answer, journal)
    assert (error.mistake, words in str(error)) == (mistake, True), f"{error.mistake}: {error}"
    assert (error.picture is not None) == drawn
    assert journal.get("exercises", check.key) == {"attempts": 1, "passed": False, "mistake": mistake}


def assert_passes(check, answer, journal):
    check(answer, journal=journal)
    assert journal.get("exercises", check.key) == {"attempts": 1, "passed": True}


def stub(*_):
    raise NotImplementedError("your lines go here")


EXERCISES = [
    numpy_check.masked_attention,
    numpy_check.s2_forward,
    numpy_check.softmax_backward,
    numpy_check.attention_backward,
    torch_check.in_groups,
    torch_check.rolled,
    torch_check.looks_ahead,
]
each_exercise = pytest.mark.parametrize("check", EXERCISES, ids=lambda check: check.key)


@each_exercise
def test_a_stub_is_told_apart_from_a_mistake(check, journal):
    with pytest.raises(NotImplementedError):
        check(stub, journal=journal)
    assert journal.all() == {}


@each_exercise
def test_an_exception_in_the_learners_code_becomes_a_sentence_with_its_line(check, journal):
    def answer(*_):
        return [][0]

    assert_caught(check, answer, journal, "exception", "on the line `return [][0]`", drawn=False)


@each_exercise
def test_a_forgotten_return_is_said(check, journal):
    assert_caught(check, lambda *_: None, journal, "type", "did you forget `return`", drawn=False)


@each_exercise
def test_what_is_no_function_is_said(check, journal):
    assert_caught(check, 3, journal, "no function", "a function is needed", drawn=False)


# 3.1 Masked attention on one head.


def masked_attention(q, k, v, mask):
    scores = np.where(mask, q @ k.T / np.sqrt(q.shape[-1]), -np.inf)
    highest = scores.max(axis=-1, keepdims=True, where=mask, initial=-1e30)
    weights = np.exp(scores - highest)
    total = weights.sum(axis=-1, keepdims=True)
    return weights / np.where(total == 0, 1, total) @ v


def row_sums(table):
    return table.sum(axis=-1, keepdims=True)


def normalised(e):
    return e / row_sums(e)


def normalised_unless_empty(e):
    return e / np.where(row_sums(e) == 0, 1, row_sums(e))


def hidden(scores, mask, by=-np.inf):
    return np.where(mask, scores, by)


def below_the_highest(scores):
    return scores - scores.max(axis=-1, keepdims=True)


def written(scale=lambda q: q.shape[-1] ** -0.5, scores=hidden, share=normalised, collect=lambda w, v, mask: w @ v):
    """masked_attention with one of its four steps replaced by what somebody else would write."""

    def answer(q, k, v, mask):
        return collect(share(np.exp(scores(q @ k.T * scale(q), mask))), v, mask)

    return answer


def dense(scores, mask):
    return scores


ATTENTION_MISTAKES = {
    "missing_scale": (written(scale=lambda q: 1), "sqrt(d)"),
    "scaled_by_width": (written(scale=lambda q: 1 / q.shape[-1]), "square root"),
    "scaled_by_tokens": (written(scale=lambda q: q.shape[0] ** -0.5), "number of tokens"),
    "scale_upside_down": (written(scale=lambda q: q.shape[-1] ** 0.5), "multiply"),
    "softmax_over_queries": (written(share=lambda e: e / e.sum(0)), "down the columns"),
    "softmax_over_everything": (written(share=lambda e: e / e.sum()), "All weights together"),
    "keepdims_forgotten": (written(share=lambda e: e / e.sum(-1)), "keepdims=True"),
    "keepdims_forgotten_after_the_maximum": (
        written(scores=lambda s, mask: below_the_highest(hidden(s, mask)), share=lambda e: e / e.sum(-1)),
        "keepdims=True",
    ),
    "roles_swapped": (lambda q, k, v, mask: masked_attention(k, q, v, mask), "changed places"),
    "mask_after_softmax": (written(scores=dense, collect=lambda w, v, mask: (w * mask) @ v), "after the softmax"),
    "mask_ignored": (written(scores=dense), "not used"),
    "zero_instead_of_minus_infinity": (written(scores=lambda s, mask: s * mask), "exp(0) is 1"),
    "mask_upside_down": (
        written(scores=lambda s, mask: hidden(s, ~mask), share=normalised_unless_empty),
        "upside down",
    ),
    "mask_transposed": (written(scores=lambda s, mask: hidden(s, mask.T)), "transposed"),
    "weights_transposed": (written(collect=lambda w, v, mask: w.T @ v), "weights are transposed"),
    "no_softmax": (lambda q, k, v, mask: hidden(q @ k.T / np.sqrt(q.shape[1]), mask, 0) @ v, "softmax is missing"),
    "empty_row_nan": (written(), "NaN"),
    "empty_row_averages": (
        written(scores=lambda s, mask: below_the_highest(hidden(s, mask, -1e9))),
        "averages",
    ),
    "overflow": (written(share=normalised_unless_empty), "overflows"),
}


def test_masked_attention_as_the_lesson_writes_it_passes(journal):
    assert_passes(numpy_check.masked_attention, masked_attention, journal)


def test_masked_attention_in_float32_passes(journal):
    def answer(*inputs):
        return masked_attention(*inputs).astype(np.float32)

    assert_passes(numpy_check.masked_attention, answer, journal)


@pytest.mark.parametrize("mistake", ATTENTION_MISTAKES)
def test_a_mistake_in_masked_attention_is_called_by_its_name(mistake, journal):
    answer, words = ATTENTION_MISTAKES[mistake]
    drawn = mistake not in ("empty_row_nan", "empty_row_averages", "overflow")
    assert_caught(numpy_check.masked_attention, answer, journal, mistake, words, drawn=drawn)


def test_what_the_check_takes_for_right_is_attention_one_query_at_a_time():
    rng = np.random.default_rng(0)
    q, k, v = rng.normal(size=(3, 7, 4))
    mask = np.tri(7, dtype=bool) & (rng.random((7, 7)) < 0.5)
    expected = oracles.attention(q[None, None], k[None, None], v[None, None], mask[None])[0, 0]
    np.testing.assert_allclose(attend(q, k, v, mask), expected, atol=1e-12)
    np.testing.assert_allclose(masked_attention(q, k, v, mask), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("answer", "mistake", "words"),
    [
        (lambda q, k, v, mask: masked_attention(q, k, v, mask).T, "shape", "must have shape (8, 4), got (4, 8)"),
        (lambda q, k, v, mask: masked_attention(q, k, v, mask)[None], "rank", "must have 2 axes"),
        (lambda q, k, v, mask: masked_attention(q, k, v, mask) > 0, "dtype", "got dtype bool"),
        (lambda q, k, v, mask: masked_attention(q, k, v, mask).tolist(), "type", "must be a NumPy array, got list"),
        (lambda q, k, v, mask: masked_attention(q, k, v, mask) / 0, "not finite", "finite"),
        (lambda q, k, v, mask: masked_attention(q.__imul__(2), k, v, mask), "inputs_changed", "has changed"),
    ],
)
def test_rank_shape_and_type_come_before_values(answer, mistake, words, journal):
    assert_caught(numpy_check.masked_attention, answer, journal, mistake, words, drawn=False)


def test_an_unknown_mistake_is_admitted_and_drawn(journal):
    def answer(*inputs):
        return masked_attention(*inputs) * 1.5

    assert_caught(numpy_check.masked_attention, answer, journal, "other", "does not know")


# 3.2 S²-Attn, cell by cell.


def s2_forward(q, k, v, geometry):
    out = np.zeros_like(v)
    for head in range(geometry.num_heads):
        first = geometry.shift if head >= geometry.num_heads // 2 else 0
        starts = sorted({0, *range(first, geometry.seq_len, geometry.group_size)})
        for start, end in zip(starts, [*starts[1:], geometry.seq_len], strict=True):
            cell = np.s_[:, head : head + 1, start:end]
            out[cell] = full_attention(q[cell], k[cell], v[cell])
    return out


def test_s2_forward_as_the_lesson_writes_it_passes(journal):
    assert_passes(numpy_check.s2_forward, s2_forward, journal)


def test_s2_forward_by_the_mask_passes(journal):
    def answer(q, k, v, geometry):
        return oracles.attention(q, k, v, oracles.mask_of(geometry))

    assert_passes(numpy_check.s2_forward, answer, journal)


@pytest.mark.parametrize("name", [name for name in BUGS if "padding" not in name])
def test_every_bug_of_the_gallery_is_called_by_its_name(name, journal):
    def answer(q, k, v, geometry):
        return BUGS[name].function(q, k, v, geometry)

    assert_caught(numpy_check.s2_forward, answer, journal, name, BUGS[name].sentence)


def test_a_shift_taken_for_half_a_group_is_found(journal):
    def answer(q, k, v, geometry):
        return s2_forward(q, k, v, S2Geometry(geometry.seq_len, geometry.group_size, geometry.num_heads))

    assert_caught(numpy_check.s2_forward, answer, journal, "half_a_group_assumed", "`geometry.shift`, here 1")


@pytest.mark.parametrize("check", [numpy_check.s2_forward, torch_check.rolled], ids=lambda check: check.key)
def test_every_second_head_in_place_of_every_later_one_is_named(check, journal):
    rolls = check is torch_check.rolled

    def answer(q, k, v, given):
        group = given if rolls else given.group_size
        shift, boundary = (group // 2, "wrap") if rolls else (given.shift, "split")
        heads = [
            (attention.s2_attention if rolls else s2_attention)(
                *(x[:, head : head + 1] for x in (q, k, v)),
                S2Geometry(q.shape[2], group, 1, shift=head % 2 * shift, boundary=boundary if head % 2 else "split"),
            )
            for head in range(q.shape[1])
        ]
        return torch.cat(heads, dim=1) if rolls else np.concatenate(heads, axis=1)

    assert_caught(check, answer, journal, "every_second_head", "the second half of the heads")


def test_a_dropped_short_cell_is_found(journal):
    def answer(q, k, v, geometry):
        out, shift, group = np.zeros_like(v), geometry.shift, geometry.group_size
        right = s2_attention(q, k, v, geometry)
        half, whole = geometry.num_heads // 2, geometry.seq_len // group * group
        out[:, :half, :whole] = right[:, :half, :whole]
        out[:, half:, : shift + whole] = right[:, half:, : shift + whole]
        return out

    error = failure(numpy_check.s2_forward, answer, journal)
    assert error.mistake == "keys_missing"  # only the plain heads lose tokens here
    assert "10 tokens in groups of 4" in str(error)


def test_tokens_without_output_are_named(journal):
    def answer(q, k, v, geometry):
        out = s2_attention(q, k, v, geometry)
        out[:, :, geometry.seq_len // geometry.group_size * geometry.group_size :] = 0
        return out

    assert_caught(numpy_check.s2_forward, answer, journal, "last_cell_dropped", "[8, 9]")


# 3.3 and 3.4 The gradient.


def softmax_backward(weights, d_weights):
    return weights * (d_weights - (weights * d_weights).sum(axis=-1, keepdims=True))


SOFTMAX_MISTAKES = {
    "row_sum_forgotten": (lambda p, dp: p * dp, "own sum is missing"),
    "row_sum_not_weighted": (lambda p, dp: p * (dp - dp.sum(-1, keepdims=True)), "must be weighted"),
    "row_mean": (lambda p, dp: p * (dp - dp.mean(-1, keepdims=True)), "plain mean"),
    "mean_of_products": (lambda p, dp: p * (dp - (p * dp).mean(-1, keepdims=True)), "sum the products"),
    "keepdims_forgotten": (lambda p, dp: p * dp - p * (p * dp).sum(-1), "keepdims=True"),
    "sum_over_queries": (lambda p, dp: p * dp - p * (p * dp).sum(0), "down the columns"),
    "sum_over_everything": (lambda p, dp: p * (dp - (p * dp).sum()), "whole table"),
    "diagonal_only": (lambda p, dp: (p - p**2) * dp, "diagonal"),
    "not_multiplied_by_the_weights": (lambda p, dp: dp - (p * dp).sum(-1, keepdims=True), "multiplied by the weights"),
    "sign": (lambda p, dp: -softmax_backward(p, dp), "sign"),
    "passed_through": (lambda p, dp: dp.copy(), "as it was"),
    "other": (lambda p, dp: 2 * softmax_backward(p, dp), "compare the sums"),
}


def test_softmax_backward_by_the_whole_jacobian_passes(journal):
    def answer(weights, d_weights):
        return np.array([(np.diag(p) - np.outer(p, p)) @ dp for p, dp in zip(weights, d_weights, strict=True)])

    assert_passes(numpy_check.softmax_backward, answer, journal)
    numpy_check.softmax_backward(softmax_backward, journal=journal)


@pytest.mark.parametrize("mistake", SOFTMAX_MISTAKES)
def test_a_mistake_on_the_way_through_the_softmax_is_called_by_its_name(mistake, journal):
    answer, words = SOFTMAX_MISTAKES[mistake]
    assert_caught(numpy_check.softmax_backward, answer, journal, mistake, words)


def attention_backward(grad_out, q, k, v, weights):
    scale = 1 / np.sqrt(q.shape[-1])
    d_scores = softmax_backward(weights, grad_out @ v.T)
    return scale * d_scores @ k, scale * d_scores.T @ q, weights.T @ grad_out


def changed(change):
    """attention_backward with its gradients changed by `change(scale, d_scores, the three, the inputs)`."""

    def answer(grad_out, q, k, v, weights):
        d_scores = softmax_backward(weights, grad_out @ v.T)
        three = attention_backward(grad_out, q, k, v, weights)
        return change(np.sqrt(q.shape[-1]), d_scores, three, (grad_out, q, k, v, weights))

    return answer


BACKWARD_MISTAKES = {
    "scale_missing_in_dq": (changed(lambda root, ds, g, x: (root * g[0], g[1], g[2])), "missing in dq:"),
    "scale_missing_in_dk": (changed(lambda root, ds, g, x: (g[0], root * g[1], g[2])), "missing in dk:"),
    "scale_missing": (changed(lambda root, ds, g, x: (root * g[0], root * g[1], g[2])), "dq and dk"),
    "scaled_twice": (changed(lambda root, ds, g, x: (g[0] / root, g[1] / root, g[2])), "twice"),
    "dk_not_transposed": (changed(lambda root, ds, g, x: (g[0], ds @ x[1] / root, g[2])), "d_scores.T"),
    "dv_not_transposed": (changed(lambda root, ds, g, x: (g[0], g[1], x[4] @ x[0])), "weights.T"),
    "neither_transposed": (changed(lambda root, ds, g, x: (g[0], ds @ x[1] / root, x[4] @ x[0])), "dk and dv"),
    "row_sum_forgotten": (
        lambda g, q, k, v, w: ((w * (g @ v.T)) @ k / 2, (w * (g @ v.T)).T @ q / 2, w.T @ g),
        "sum of each row",
    ),
    "softmax_skipped": (lambda g, q, k, v, w: (g @ v.T @ k / 2, (g @ v.T).T @ q / 2, w.T @ g), "softmax is skipped"),
    "q_and_k_swapped": (changed(lambda root, ds, g, x: (ds @ x[1] / root, ds.T @ x[2] / root, g[2])), "exchanged"),
    "dq_of_queries": (changed(lambda root, ds, g, x: (ds @ x[1] / root, g[1], g[2])), "`d_scores @ k`"),
    "dk_of_keys": (changed(lambda root, ds, g, x: (g[0], ds.T @ x[2] / root, g[2])), "`d_scores.T @ q`"),
    "dv_scaled": (changed(lambda root, ds, g, x: (g[0], g[1], g[2] / root)), "never met the scale"),
    "d_weights_transposed": (
        lambda g, q, k, v, w: (
            softmax_backward(w, v @ g.T) @ k / 2,
            softmax_backward(w, v @ g.T).T @ q / 2,
            w.T @ g,
        ),
        "`grad_out @ v.T`",
    ),
    "order": (changed(lambda root, ds, g, x: (g[2], g[1], g[0])), "another order"),
    "sign": (changed(lambda root, ds, g, x: (-g[0], g[1], g[2])), "dq has the wrong sign"),
    "other": (changed(lambda root, ds, g, x: (3 * g[0], g[1], 3 * g[2])), "begin with dv, 3 times"),
}


def test_attention_backward_as_the_lesson_writes_it_passes(journal):
    assert_passes(numpy_check.attention_backward, attention_backward, journal)


@pytest.mark.parametrize("mistake", BACKWARD_MISTAKES)
def test_a_mistake_in_the_backward_pass_is_called_by_its_name(mistake, journal):
    answer, words = BACKWARD_MISTAKES[mistake]
    assert_caught(numpy_check.attention_backward, answer, journal, mistake, words)


def test_two_gradients_are_too_few(journal):
    answer = changed(lambda root, ds, three, x: three[:2])
    assert_caught(numpy_check.attention_backward, answer, journal, "type", "got 2 values", drawn=False)


def test_what_the_check_takes_for_the_gradient_is_the_references():
    rng = np.random.default_rng(0)
    grad_out, q, k, v = rng.normal(size=(4, 8, 4))
    geometry = S2Geometry(8, 4, 1)
    weights = attend(q, k, np.eye(8), geometry.mask()[0])
    expected = s2_attention_backward(*(x[None, None] for x in (grad_out, q, k, v)), geometry)
    for one, other in zip(backward(grad_out, q, k, v, weights), expected, strict=True):
        np.testing.assert_allclose(one, other[0, 0], atol=1e-12)


# 4.1 Groups as rows of a batch.


def in_groups(q, k, v, group_size):
    rows = (rearrange(x, "b h (c g) d -> (b c) h g d", g=group_size) for x in (q, k, v))
    out = F.scaled_dot_product_attention(*rows, is_causal=True)
    return rearrange(out, "(b c) h g d -> b h (c g) d", b=q.shape[0])


def folded(there="b h (c g) d -> (b c) h g d", back="(b c) h g d -> b h (c g) d", group="g", **options):
    """in_groups with another pattern there, another one back, or other options of SDPA."""

    def answer(q, k, v, group_size):
        rows = (rearrange(x, there, **{group: group_size}) for x in (q, k, v))
        out = F.scaled_dot_product_attention(*rows, **({"is_causal": True} | options))
        return rearrange(out, back, b=q.shape[0])

    return answer


def confused(q, k, v, group_size):
    rows = (x.reshape(-1, group_size, x.shape[1], x.shape[3]).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(*rows, is_causal=True).transpose(1, 2).reshape(q.shape)


def reshaped_back(q, k, v, group_size):
    rows = (rearrange(x, "b h (c g) d -> (b c) h g d", g=group_size) for x in (q, k, v))
    return F.scaled_dot_product_attention(*rows, is_causal=True).reshape(q.shape)


GROUP_MISTAKES = {
    "not_causal": (folded(is_causal=False), "`is_causal=True` is missing"),
    "no_groups": (lambda q, k, v, g: attention.full_attention(q, k, v), "dense causal attention"),
    "groups_strided": (
        folded("b h (g c) d -> (b c) h g d", "(b c) h g d -> b h (g c) d"),
        "take every c-th token",
    ),
    "groups_strided_there": (folded("b h (g c) d -> (b c) h g d"), "The way there takes every c-th token"),
    "unfolded_in_another_order": (folded(back="(b c) h g d -> b h (g c) d"), "the way back is not"),
    "batch_mixed": (folded(back="(c b) h g d -> b h (c g) d"), "Sequences of the batch are mixed up"),
    "batch_mixed_there": (folded("b h (c g) d -> (c b) h g d"), "folded as `(c b)`"),
    "reshaped_back": (reshaped_back, "`reshape` reads them"),
    "heads_attended": (
        folded("b h (c g) d -> (b c) g h d", "(b c) g h d -> b h (c g) d"),
        "ran over the heads",
    ),
    "axes_confused": (confused, "mixes heads and tokens"),
    "groups_counted": (folded(group="c"), "Which letter is `group_size`?"),
    "missing_scale": (folded(scale=1.0), "not scaled"),
    "scaled_twice": (lambda q, k, v, g: in_groups(q / q.shape[3] ** 0.5, k, v, g), "scaled twice"),
    "other": (lambda q, k, v, g: 2 * in_groups(q, k, v, g), "8 tokens in groups of 4"),
}


def test_in_groups_as_the_lesson_writes_it_passes(journal):
    assert_passes(torch_check.in_groups, in_groups, journal)


def test_in_groups_with_the_head_among_the_rows_passes(journal):
    def answer(q, k, v, group_size):
        rows = (x.reshape(-1, 1, group_size, x.shape[3]) for x in (q, k, v))
        return F.scaled_dot_product_attention(*rows, is_causal=True).reshape(q.shape)

    assert_passes(torch_check.in_groups, answer, journal)


@pytest.mark.parametrize("mistake", GROUP_MISTAKES)
def test_a_mistake_in_the_fold_is_called_by_its_name(mistake, journal):
    answer, words = GROUP_MISTAKES[mistake]
    assert_caught(torch_check.in_groups, answer, journal, mistake, words)


@pytest.mark.parametrize("check", [torch_check.in_groups, torch_check.rolled], ids=lambda check: check.key)
@pytest.mark.parametrize(
    ("spoil", "mistake", "words"),
    [
        (lambda out: out[0], "rank", "must have 4 axes"),
        (lambda out: out.transpose(1, 2), "shape", "must have shape"),
        (lambda out: out.float(), "dtype", "torch.float64, got torch.float32"),
        (lambda out: out.to("meta"), "device", "must stay on cpu, got meta"),
        (lambda out: out.detach().numpy(), "type", "must be a torch tensor, got ndarray"),
        (lambda out: out / 0, "not finite", "finite"),
        (lambda out: out.detach(), "gradient_lost", "lost its gradient"),
    ],
)
def test_rank_dtype_device_and_gradient_come_before_values(check, spoil, mistake, words, journal):
    def answer(*inputs):
        return spoil(in_groups(*inputs))

    assert_caught(check, answer, journal, mistake, words, drawn=False)


# 4.2 Half of the heads rolled.


def roll_late_heads(x, by):
    half = x.shape[1] // 2
    return torch.cat([x[:, :half], x[:, half:].roll(by, dims=2)], dim=1)


def rolled(q, k, v, group_size):
    shift = group_size // 2
    q, k, v = (roll_late_heads(x, -shift) for x in (q, k, v))
    return roll_late_heads(in_groups(q, k, v, group_size), shift)


def by_torch(name):
    def answer(q, k, v, group_size):
        geometry = S2Geometry(q.shape[2], group_size, q.shape[1], boundary="wrap")
        # The gallery is written in NumPy; what is added and taken away again keeps the way of the gradient open.
        out = torch.from_numpy(BUGS[name].function(*(x.detach().numpy() for x in (q, k, v)), geometry))
        return out + (v - v.detach())

    return answer


def test_rolled_as_the_lesson_writes_it_passes(journal):
    assert_passes(torch_check.rolled, rolled, journal)


@pytest.mark.parametrize("name", [name for name in BUGS if "padding" not in name and name != "wrap_leak"])
def test_every_bug_of_the_gallery_is_called_by_its_name_in_rolled_form_too(name, journal):
    sentence = "Judge it in the order" if name == "ends_joined" else BUGS[name].sentence
    assert_caught(torch_check.rolled, by_torch(name), journal, name, sentence)


@pytest.mark.parametrize("back", [True, False])
@pytest.mark.parametrize("forgotten", ["k", "q", "kv", "qv", "qk"])
def test_what_is_rolled_where_something_is_forgotten_is_named(forgotten, back, journal):
    def answer(q, k, v, group_size):
        shift, inputs = group_size // 2, {"q": q, "k": k, "v": v}
        rolled_in = [x if name in forgotten else roll_late_heads(x, -shift) for name, x in inputs.items()]
        return roll_late_heads(in_groups(*rolled_in, group_size), shift if back else 0)

    moved = " and ".join(name for name in "qkv" if name not in forgotten)
    assert_caught(torch_check.rolled, answer, journal, "partly_rolled", f"you roll {moved} only")


def test_a_test_without_a_verdict_hears_what_it_must_return(journal):
    with pytest.raises(CheckFailed, match="must be True or False, got NoneType"):
        torch_check.looks_ahead(lambda *_: None, journal=journal)


def test_a_bug_written_in_torch_is_recognised(journal):
    def answer(q, k, v, group_size):
        return roll_late_heads(in_groups(q, k, v, group_size), group_size // 2)

    assert_caught(torch_check.rolled, answer, journal, "output_shifted", "shifted, not q, k and v")


def test_the_roll_by_two_different_numbers_is_recognised(journal):
    def answer(q, k, v, group_size):
        q, k, v = (roll_late_heads(x, -group_size // 2) for x in (q, k, v))
        return roll_late_heads(in_groups(q, k, v, group_size), group_size // 2)

    assert_caught(torch_check.rolled, answer, journal, "odd_group", "-5 // 2 is -3")


def test_the_leak_free_form_is_not_what_was_asked_for(journal):
    def answer(q, k, v, group_size):
        return attention.s2_attention(q, k, v, S2Geometry(q.shape[2], group_size, q.shape[1]))

    assert_caught(torch_check.rolled, answer, journal, "split", "comes later in the lesson")


def test_rolling_in_place_is_found_however_right_the_output(journal):
    def answer(q, k, v, group_size):
        right = rolled(q, k, v, group_size)
        with torch.no_grad():
            k[:, k.shape[1] // 2 :] = k[:, k.shape[1] // 2 :].roll(-(group_size // 2), dims=2)
        return right

    assert_caught(torch_check.rolled, answer, journal, "inputs_changed", "belongs to the caller", drawn=False)


def test_writing_into_the_callers_tensor_is_said_where_torch_refuses_it(journal):
    def answer(q, k, v, group_size):
        q[:, q.shape[1] // 2 :] = q[:, q.shape[1] // 2 :].roll(-(group_size // 2), dims=2)
        return rolled(q, k, v, group_size)

    assert_caught(torch_check.rolled, answer, journal, "exception", "belongs to the caller", drawn=False)


@pytest.mark.parametrize("axis", [1, 3])
def test_a_roll_along_another_axis_is_hinted_at(axis, journal):
    def turned(x, by):
        half = x.shape[1] // 2
        return torch.cat([x[:, :half], x[:, half:].roll(by, dims=axis)], dim=1)

    def answer(q, k, v, group_size):
        shift = group_size // 2
        return turned(in_groups(*(turned(x, -shift) for x in (q, k, v)), group_size), shift)

    assert_caught(torch_check.rolled, answer, journal, "never_shifted", "tokens are axis 2")


def test_an_unknown_mistake_in_the_roll_is_admitted_and_drawn(journal):
    def answer(*inputs):
        return 2 * rolled(*inputs)

    assert_caught(torch_check.rolled, answer, journal, "other", "8 tokens in groups of 4")


# 4.3 A test that catches a leak.


def probing(
    tokens=lambda n: range(1, n), pushed="qkv", earlier=lambda out, token: out[:, :, :token], same=torch.allclose
):
    """looks_ahead with one of its decisions taken otherwise."""

    def answer(attention, q, k, v):
        before = attention(q, k, v)
        for token in tokens(q.shape[2]):
            copies = [x.clone() for x in (q, k, v)]
            for name, x in zip("qkv", copies, strict=True):
                if name in pushed:
                    x[:, :, token] += 1
            if not same(earlier(attention(*copies), token), earlier(before, token)):
                return True
        return False

    return answer


def pushing_the_original(attention, q, k, v):
    before = attention(q, k, v)
    for token in range(1, q.shape[2]):
        v[:, :, token] += 1
        if not torch.allclose(attention(q, k, v)[:, :, :token], before[:, :, :token]):
            return True
    return False


TEST_MISTAKES = {
    "accuses_the_innocent": (probing(earlier=lambda out, token: out), "Dense causal attention is accused"),
    "never_asked": (lambda *_: False, "without a look"),
    "finds_nothing": (lambda attention, q, k, v: attention(q, k, v) is None, "without any mask passes"),
    "no_tolerance": (probing(same=torch.equal), "Rounding is taken for a leak"),
    "last_token_not_pushed": (probing(tokens=lambda n: range(1, n - 1)), "`range(1, n)`"),
    "only_the_last_token_pushed": (probing(tokens=lambda n: [n - 1]), "push each token in turn"),
    "neighbours_missed": (probing(earlier=lambda out, token: out[:, :, : max(1, token - 1)]), "every output before"),
    "one_head_only": (probing(earlier=lambda out, token: out[:, 0, :token]), "all heads"),
    "one_sequence_only": (probing(earlier=lambda out, token: out[0, :, :token]), "second sequence"),
    "only_values_pushed": (probing(pushed="v"), "later *keys*"),
    "queries_not_pushed": (probing(pushed="kv"), "Push q as well"),
    "tolerance_too_wide": (probing(same=lambda a, b: torch.allclose(a, b, atol=1e-2)), "A faint leak passes"),
    "inputs_changed": (pushing_the_original, "push a copy"),
    "type": (lambda *_: torch.tensor(True), "`bool(…)`"),
}


def test_looks_ahead_as_the_lesson_writes_it_passes(journal):
    assert_passes(torch_check.looks_ahead, probing(), journal)


def test_looks_ahead_by_the_gradient_passes(journal):
    def answer(attention, q, k, v):
        q, k, v = (x.clone().requires_grad_() for x in (q, k, v))
        out = attention(q, k, v)
        for token in range(1, q.shape[2]):
            seen = torch.randn(out[:, :, :token].shape, generator=torch.Generator().manual_seed(0), dtype=out.dtype)
            gradients = torch.autograd.grad((out[:, :, :token] * seen).sum(), (q, k, v), retain_graph=True)
            if any(x[:, :, token:].abs().max() > 1e-9 for x in gradients):
                return True
        return False

    assert_passes(torch_check.looks_ahead, answer, journal)


@pytest.mark.parametrize("mistake", TEST_MISTAKES)
def test_what_a_test_misses_is_said(mistake, journal):
    answer, words = TEST_MISTAKES[mistake]
    drawn = mistake not in ("inputs_changed", "type", "never_asked")
    assert_caught(torch_check.looks_ahead, answer, journal, mistake, words, drawn=drawn)


@pytest.mark.parametrize("suspect", SUSPECTS, ids=range(len(SUSPECTS)))
def test_a_suspect_is_what_it_is_said_to_be(suspect):
    q, k, v = torch.randn(3, 2, 4, 8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    ahead = effects(suspect.attention, q, k, v) & ~np.tri(8, dtype=bool)
    assert ahead.any() == suspect.leaks
