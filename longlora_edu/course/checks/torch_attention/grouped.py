"""The two exercises of the fast form: groups as rows of a batch, and half of the heads rolled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ....geometry import S2Geometry
from ....plots import describe_comparison, describe_folds, describe_tables, plot_comparison, plot_folds, plot_tables
from ....reference import full_attention, s2_attention
from ....widgets import Picture
from ...bugs import diagnose
from ..diagnosis import CheckFailed, Passed, attention_weights, called, exercise, expect_tensor
from ..forms import expect_values, same

TINY = S2Geometry(8, 4, 2, shift=0)
WRAPPED = S2Geometry(8, 4, 2, boundary="wrap")
SEEN = 1e-9  # a weight below is what rounding left of a zero


@exercise("04.in_groups")
def in_groups(function: Callable) -> Passed:
    """`function(q, k, v, group_size)`: (b, h, n, d), causal attention inside plain groups, all heads alike."""
    for batch, heads, length, width, group in ((2, 3, 8, 4, 4), (2, 2, 12, 5, 3), (1, 2, 12, 4, 12)):
        geometry = S2Geometry(length, group, heads, shift=0)
        inputs = _random(batch, heads, length, width)
        out = _answered(function, inputs, geometry)
        right = s2_attention(*inputs, geometry)
        wrong = {name: (form(*inputs, group), said) for name, (form, said) in GROUP_MISTAKES.items()}
        otherwise = f"The output is wrong for {length} tokens in groups of {group}. Compare the masks."

        def picture(*_, geometry=geometry):
            return _beside(_by_numpy(function), geometry, head=0)

        expect_values(out, right, wrong, otherwise=otherwise, picture=picture)
    rows = [(TINY, 0)]
    return Passed(
        "Nothing was computed to make the groups: the cells of a head have become rows of a batch.",
        Picture(plot_folds(rows), describe_folds(rows)),
    )


@exercise("04.rolled")
def rolled(function: Callable) -> Passed:
    """`function(q, k, v, group_size)`: (b, h, n, d), the published form: roll half of the heads, attend, roll back."""
    answer = _by_numpy(function)
    inputs = _random(2, 2, 8, 4)
    if same(_answered(function, inputs, WRAPPED), s2_attention(*inputs, replace(WRAPPED, boundary="split"))):
        sentence = (
            "This is the split boundary, which leaks nothing and comes later in the lesson. Asked for is the published "
            "form: roll by -shift, attend inside groups, roll back."
        )
        raise CheckFailed(sentence, mistake="split", picture=_beside(answer, WRAPPED))
    if bug := diagnose(answer, boundary="wrap"):
        sentence = bug.sentence
        if bug.name == "ends_joined":
            sentence = "The wrapped cell is judged in true order. Judge it in the order in which its tokens now stand."
        odd = bug.name in ("odd_group", "smaller_half_shifted")
        geometry = S2Geometry(15, 5, 3, boundary="wrap") if odd else WRAPPED
        raise CheckFailed(sentence, mistake=bug.name, picture=_beside(answer, geometry))
    for geometry in (WRAPPED, S2Geometry(15, 5, 4, boundary="wrap"), S2Geometry(16, 4, 3, boundary="wrap")):
        inputs = _random(2, geometry.num_heads, geometry.seq_len, 4)
        if not same(answer(*inputs, geometry), s2_attention(*inputs, geometry)):
            sentence = f"The output is wrong for {geometry.seq_len} tokens in groups of {geometry.group_size}."
            raise CheckFailed(sentence, picture=_beside(answer, geometry))
    rows = [(WRAPPED, 0), (WRAPPED, 1)]
    return Passed(
        "This is `boundary='wrap'`, as published. Look at the last row of the shifted head before you go on.",
        Picture(plot_folds(rows), describe_folds(rows)),
    )


def _answered(function: Callable, inputs, geometry: S2Geometry) -> np.ndarray:
    """The learner's output as NumPy, after type, shape, dtype, device and the way of the gradient have been seen to."""
    q, k, v = (torch.tensor(x, requires_grad=True) for x in inputs)
    out = expect_tensor(_called(function, q, k, v, geometry.group_size), tuple(q.shape), like=q, what="the output")
    if not out.requires_grad:
        raise CheckFailed(
            "The output has lost its gradient: stay in torch, without `.detach()`, `.numpy()` or `.data`.",
            mistake="gradient_lost",
        )
    return out.detach().numpy()


def _called(function: Callable, q: Tensor, k: Tensor, v: Tensor, group_size: int):
    before = [x.detach().clone() for x in (q, k, v)]
    out = called(function, q, k, v, group_size)
    if not all(torch.equal(x.detach(), copy) for x, copy in zip((q, k, v), before, strict=True)):
        raise CheckFailed(
            "q, k or v has changed: you write into a tensor that belongs to the caller, whose other users now read "
            "rolled keys. Make a new one (`torch.cat`).",
            mistake="inputs_changed",
        )
    return out


def _by_numpy(function: Callable) -> Callable:
    """The learner's function with the signature of the reference: arrays in, arrays out, a geometry for the group."""

    def answer(q, k, v, geometry):
        tensors = [torch.tensor(x) for x in (q, k, v)]
        out = _called(function, *tensors, geometry.group_size)
        return expect_tensor(out, tuple(v.shape), like=tensors[2], what="the output").detach().numpy()

    return answer


def _beside(answer: Callable, geometry: S2Geometry, head: int | None = None) -> Picture:
    """The learner's weights of one head beside the right ones; by default of the first head whose mask is wrong."""
    mine, right = attention_weights(answer, geometry), attention_weights(s2_attention, geometry)
    masks = np.abs(mine) > SEEN, right > SEEN
    if head is None:
        head = int(np.argmax((masks[0] != masks[1]).any(axis=(1, 2)))) if (masks[0] != masks[1]).any() else -1
    if (masks[0][head] != masks[1][head]).any():
        pair = masks[0][head], masks[1][head]
        return Picture(plot_comparison(*pair), describe_comparison(*pair))
    tables, allowed = {"yours": mine[head], "right": right[head]}, masks[1][head]
    return Picture(plot_tables(tables, allowed=allowed), describe_tables(tables, allowed=allowed))


def _random(batch: int, heads: int, length: int, width: int) -> np.ndarray:
    return np.random.default_rng(length).normal(size=(3, batch, heads, length, width))


def _folded(q, k, v, there: str, back: str, *, causal=True, scale=None, **sizes) -> np.ndarray:
    """Attention inside rows that the pattern `there` makes and the pattern `back` undoes."""
    rows = (rearrange(torch.tensor(x), there, **sizes) for x in (q, k, v))
    out = F.scaled_dot_product_attention(*rows, is_causal=causal, scale=scale)
    return rearrange(out, back, b=q.shape[0]).numpy()


THERE, BACK = "b h (c g) d -> (b c) h g d", "(b c) h g d -> b h (c g) d"
GROUP_MISTAKES = {
    "not_causal": (
        lambda q, k, v, g: _folded(q, k, v, THERE, BACK, causal=False, g=g),
        "Tokens look at later ones of their group: `is_causal=True` is missing.",
    ),
    "no_groups": (
        lambda q, k, v, g: full_attention(q, k, v),
        "This is dense causal attention: the groups were never made rows of the batch, so everybody sees everything "
        "before.",
    ),
    "groups_strided": (
        lambda q, k, v, g: _folded(q, k, v, "b h (g c) d -> (b c) h g d", "(b c) h g d -> b h (g c) d", g=g),
        "Your groups take every c-th token: in `(g c)` the last letter runs fastest, so neighbours land in different "
        "rows. Write `(c g)`: first the group, then the place inside it.",
    ),
    "unfolded_in_another_order": (
        lambda q, k, v, g: _folded(q, k, v, THERE, "(b c) h g d -> b h (g c) d", g=g),
        "Attention was right and the way back is not: folded as `(c g)`, unfolded as `(g c)`, so outputs stand at "
        "other tokens.",
    ),
    "batch_mixed": (
        lambda q, k, v, g: _folded(q, k, v, THERE, "(c b) h g d -> b h (c g) d", g=g),
        "Sequences of the batch are mixed up on the way back: folded as `(b c)`, unfolded as `(c b)`.",
    ),
    "heads_attended": (
        lambda q, k, v, g: _folded(q, k, v, "b h (c g) d -> (b c) g h d", "(b c) g h d -> b h (c g) d", g=g),
        "Attention ran over the heads: SDPA attends along the last axis but one, and in your rows heads stand there. "
        "The rows must be `h g d`.",
    ),
    "axes_confused": (
        lambda q, k, v, g: _confused(q, k, v, g),
        "The reshape mixes heads and tokens: axes were read as (tokens, heads) that are (heads, tokens). Name them "
        "with einops instead of counting them.",
    ),
    "groups_counted": (
        lambda q, k, v, g: _folded(q, k, v, THERE, BACK, c=g),
        "You made group_size groups; groups of group_size tokens were asked for. Which letter is `group_size`?",
    ),
    "missing_scale": (
        lambda q, k, v, g: _folded(q, k, v, THERE, BACK, scale=1.0, g=g),
        "The scores are not scaled by 1 / sqrt(d): SDPA does it by itself unless `scale` says otherwise.",
    ),
    "scaled_twice": (
        lambda q, k, v, g: _folded(q, k, v, THERE, BACK, scale=1 / q.shape[3], g=g),
        "The scores are scaled twice: SDPA divides by sqrt(d) by itself.",
    ),
}


def _confused(q, k, v, group_size: int) -> np.ndarray:
    rows = (torch.tensor(x).reshape(-1, group_size, x.shape[1], x.shape[3]).transpose(1, 2) for x in (q, k, v))
    out = F.scaled_dot_product_attention(*rows, is_causal=True)
    return out.transpose(1, 2).reshape(q.shape).numpy()
