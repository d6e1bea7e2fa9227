"""Checks of lesson 04: groups as rows of a batch, half of the heads rolled, and a test that catches every leak."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from ... import reference
from ...attention import full_attention, s2_attention
from ...geometry import S2Geometry
from ...plots import Picture, show_folds, show_perturbation
from ..bugs import diagnose
from .exercise import (
    CheckFailed,
    Mistake,
    Passed,
    called,
    check,
    compare,
    expect,
    expect_tensor,
    expect_verdict,
    name_by_mask,
    same,
    show_head,
)

TINY = S2Geometry(8, 4, 2, shift=0)
WRAPPED = S2Geometry(8, 4, 2, boundary="wrap")
BATCH, HEADS, LENGTH, WIDTH, GROUP = 2, 4, 8, 4, 4  # of the suspects
LIKE = torch.empty(0, dtype=torch.float64)
CHANGED = (
    "inputs_changed",
    "q, k or v has changed: you write into a tensor that belongs to the caller, whose other users now read "
    "rolled keys. Make a new one (`torch.cat`).",
)
PUSHED = (
    "inputs_changed",
    "q, k or v has changed after your test: push a copy (`k.clone()`), or what was before is pushed too.",
)


@check("04.in_groups")
def in_groups(function: Callable) -> Passed:
    """Check `function(q, k, v, group_size)`: (b, h, n, d), causal attention inside plain groups, all heads alike."""
    sizes = ((2, 3, 8, 4, 4), (2, 2, 12, 5, 3), (1, 2, 12, 4, 12))
    compare(
        function,
        [(*_random(*size), group) for *size, group in sizes],
        lambda q, k, v, group: reference.s2_attention(q, k, v, _plain(q, group)),
        GROUP_MISTAKES,
        inputs=_tensors,
        read=_with_gradient,
        otherwise=lambda out, right, q, k, v, group: (
            name_by_mask(_by_numpy(function), _plain(q, group))
            or f"The output is wrong for {q.shape[2]} tokens in groups of {group}, though its mask is right."
        ),
        picture=lambda out, right, q, k, v, group: _show_head(function, _plain(q, group), head=0),
        changed=CHANGED,
    )
    return Passed(
        "Nothing was computed to make the groups: the cells of a head have become rows of a batch.",
        show_folds([(TINY, 0)]),
    )


@check("04.rolled")
def rolled(function: Callable) -> Passed:
    """Check `function(q, k, v, group_size)`: (b, h, n, d), as published: roll half of the heads, attend, roll back."""
    q, k, v = _random(2, 2, 8, 4)
    out = called(
        function,
        *_tensors(q, k, v, WRAPPED.group_size),
        changed=CHANGED,
        advice={
            "in-place operation": "You write into a tensor that belongs to the caller: make a new one, `torch.cat`"
        },
    )
    split = reference.s2_attention(q, k, v, replace(WRAPPED, boundary="split"))
    if same(_with_gradient(out, q), split):
        sentence = (
            "This is the split boundary, which leaks nothing and comes later in the lesson. Asked for is the published "
            "form: roll by -shift, attend inside groups, roll back."
        )
        raise CheckFailed(sentence, mistake="split", picture=_show_head(function, WRAPPED))
    if bug := diagnose(_by_numpy(function), boundary="wrap"):
        sentence = bug.sentence
        if bug.name == "ends_joined":
            sentence = "The wrapped cell is judged in true order. Judge it in the order in which its tokens now stand."
        if bug.name == "never_shifted":
            sentence += " (If you do roll: tokens are axis 2. Rolled along another axis and back, nothing has changed.)"
        odd = bug.name in ("odd_group", "smaller_half_shifted")
        geometry = S2Geometry(15, 5, 3, boundary="wrap") if odd else WRAPPED
        raise CheckFailed(sentence, mistake=bug.name, picture=_show_head(function, geometry))
    geometries = (WRAPPED, S2Geometry(15, 5, 4, boundary="wrap"), S2Geometry(16, 4, 3, boundary="wrap"))
    compare(
        _by_numpy(function),
        [(*_random(2, g.num_heads, g.seq_len, 4), g) for g in geometries],
        reference.s2_attention,
        otherwise=lambda out, right, q, k, v, geometry: (
            _name_what_is_rolled(out, q, k, v, geometry)
            or name_by_mask(_by_numpy(function), geometry)
            or f"The output is wrong for {geometry.seq_len} tokens in groups of {geometry.group_size}."
        ),
        picture=lambda out, right, q, k, v, geometry: _show_head(function, geometry),
    )
    return Passed(
        "This is `boundary='wrap'`, as published. Look at the last row of the shifted head before you go on.",
        show_folds([(WRAPPED, 0), (WRAPPED, 1)]),
    )


@check("04.looks_ahead")
def looks_ahead(function: Callable) -> Passed:
    """Check `function(attention, q, k, v)`: bool, does any output depend on what stands at a later token?"""
    calls = []

    def counted(q, k, v):
        calls.append(1)
        return full_attention(q, k, v)

    verdict = expect_verdict(
        called(function, counted, *_suspect_inputs(1), changed=PUSHED), "the verdict must be True or False"
    )
    expect(
        bool(calls),
        "never_asked",
        f"Your test says {verdict} without a look: it never calls `attention`. Run it once as it is and once with a "
        "token pushed, and compare.",
    )
    compare(
        function,
        [(suspect,) for suspect in SUSPECTS],
        lambda suspect: suspect.leaks,
        inputs=lambda suspect: (suspect.attention, *_suspect_inputs(1)),
        read=lambda verdict, *_: expect_verdict(verdict, "the verdict must be True or False"),
        otherwise=lambda verdict, right, suspect: (suspect.mistake, suspect.sentence),
        picture=lambda verdict, right, suspect: _show_effects(suspect.attention),
        changed=PUSHED,
    )
    leaking = sum(suspect.leaks for suspect in SUSPECTS)
    return Passed(
        f"Your test caught all {leaking} leaks and accused none of the {len(SUSPECTS) - leaking} that are innocent. "
        "Pictured is the last of them, the published form.",
        _show_effects(_s2("wrap")),
    )


@dataclass(frozen=True)
class Suspect:
    """Attention of a known kind, and what to say to a test that takes it for the other kind."""

    attention: Callable
    leaks: bool
    mistake: str
    sentence: str


def effects(attention: Callable, q: Tensor, k: Tensor, v: Tensor) -> np.ndarray:
    """bool (n, n): True where an output (rows) moves when everything at one token (columns) is pushed."""
    before, rows = attention(q, k, v), []
    for token in range(q.shape[2]):
        pushed = [x.clone() for x in (q, k, v)]
        for number, x in enumerate(pushed, 1):
            x[:, :, token] += torch.linspace(0.5, number, x.shape[-1], dtype=x.dtype)
        rows.append(((attention(*pushed) - before).abs() > 1e-9).any(dim=3).any(dim=1).any(dim=0).numpy())
    return np.array(rows).T


def _plain(q: np.ndarray, group: int) -> S2Geometry:
    return S2Geometry(q.shape[2], group, q.shape[1], shift=0)


def _random(batch: int, heads: int, length: int, width: int) -> np.ndarray:
    return np.random.default_rng(length).normal(size=(3, batch, heads, length, width))


def _tensors(q, k, v, group: int) -> tuple:
    return *(torch.tensor(x, requires_grad=True) for x in (q, k, v)), group


def _with_gradient(out, right: np.ndarray, *_) -> np.ndarray:
    """The output as NumPy, after type, shape, dtype, device and the way of the gradient have been seen to."""
    out = expect_tensor(out, right.shape, like=LIKE, what="the output")
    lost = "The output has lost its gradient: stay in torch, without `.detach()`, `.numpy()` or `.data`."
    expect(out.requires_grad, "gradient_lost", lost)
    return out.detach().numpy()


def _by_numpy(function: Callable) -> Callable:
    """Wrap a learner's torch function of a group size, so that it can be called as the NumPy reference is."""

    def answer(q, k, v, geometry):
        out = called(function, *(torch.tensor(x) for x in (q, k, v)), geometry.group_size, changed=CHANGED)
        return expect_tensor(out, v.shape, like=LIKE, what="the output").detach().numpy()

    return answer


def _show_head(function: Callable, geometry: S2Geometry, head: int | None = None) -> Picture:
    return show_head(_by_numpy(function), reference.s2_attention, geometry, head)


def _show_effects(attention: Callable) -> Picture:
    inputs = _suspect_inputs(2)
    forms = {"this attention": attention, "dense causal attention": full_attention}
    return show_perturbation({name: effects(form, *inputs) for name, form in forms.items()})


def _suspect_inputs(seed: int) -> Tensor:
    return torch.randn(3, BATCH, HEADS, LENGTH, WIDTH, dtype=torch.float64, generator=_seeded(seed))


def _folded(q, k, v, there: str, back: str, *, causal=True, scale=None, **sizes) -> np.ndarray:
    """Attention inside rows that the pattern `there` makes and the pattern `back` undoes."""
    rows = (rearrange(torch.tensor(x), there, **sizes) for x in (q, k, v))
    out = F.scaled_dot_product_attention(*rows, is_causal=causal, scale=scale)
    return rearrange(out, back, b=q.shape[0]).numpy()


def _confused(q, k, v, group_size: int) -> np.ndarray:
    rows = (torch.tensor(x).reshape(-1, group_size, x.shape[1], x.shape[3]).transpose(1, 2) for x in (q, k, v))
    out = F.scaled_dot_product_attention(*rows, is_causal=True)
    return out.transpose(1, 2).reshape(q.shape).numpy()


def _confused_the_other_way(q, k, v, group_size: int, *, undone: bool = True) -> np.ndarray:
    """Tokens brought to the front, and then read as if heads stood there."""
    b, h, n, d = q.shape
    rows = (torch.tensor(x).transpose(1, 2).reshape(-1, h, group_size, d) for x in (q, k, v))
    out = F.scaled_dot_product_attention(*rows, is_causal=True)
    return (out.reshape(b, n, h, d).transpose(1, 2) if undone else out.reshape(b, h, n, d)).numpy()


def _reshaped_back(q, k, v, group_size: int) -> np.ndarray:
    rows = (rearrange(torch.tensor(x), THERE, g=group_size) for x in (q, k, v))
    return F.scaled_dot_product_attention(*rows, is_causal=True).reshape(q.shape).numpy()


THERE, BACK = "b h (c g) d -> (b c) h g d", "(b c) h g d -> b h (c g) d"


def _name_what_is_rolled(out, q, k, v, geometry: S2Geometry) -> tuple[str, str] | None:
    """Say which of q, k and v were rolled where some were forgotten; None where that does not explain the output.

    Who does not roll q may well see no reason to roll the output back.
    """
    half, unshifted = geometry.num_heads // 2, replace(geometry, shift=0)

    def roll(x, by):
        return np.concatenate([x[:, :half], np.roll(x[:, half:], by, axis=2)], axis=1)

    for rolled in ("q", "k", "v", "qk", "qv", "kv"):
        inputs = [roll(x, -geometry.shift) if name in rolled else x for name, x in zip("qkv", (q, k, v), strict=True)]
        inside = reference.s2_attention(*inputs, unshifted)
        if same(out, roll(inside, geometry.shift)) or same(out, inside):
            return "partly_rolled", (
                f"Of q, k and v you roll {' and '.join(rolled)} only. All three must move together, or a query meets "
                "the keys of one place and collects the values of another."
            )
    return None


GROUP_MISTAKES = {
    "not_causal": Mistake(
        "Tokens look at later ones of their group: `is_causal=True` is missing.",
        lambda q, k, v, g: _folded(q, k, v, THERE, BACK, causal=False, g=g),
    ),
    "no_groups": Mistake(
        "This is dense causal attention: the groups were never made rows of the batch, so everybody sees everything "
        "before.",
        lambda q, k, v, g: reference.full_attention(q, k, v),
    ),
    "groups_strided": Mistake(
        "Your groups take every c-th token: in `(g c)` the last letter runs fastest, so neighbours land in different "
        "rows. Write `(c g)`: first the group, then the place inside it.",
        lambda q, k, v, g: _folded(q, k, v, "b h (g c) d -> (b c) h g d", "(b c) h g d -> b h (g c) d", g=g),
    ),
    "groups_strided_there": Mistake(
        "The way there takes every c-th token: in `(g c)` the last letter runs fastest, so neighbours land in "
        "different rows. The way back is right. Write `(c g)` in both.",
        lambda q, k, v, g: _folded(q, k, v, "b h (g c) d -> (b c) h g d", BACK, g=g),
    ),
    "unfolded_in_another_order": Mistake(
        "Attention was right and the way back is not: folded as `(c g)`, unfolded as `(g c)`, so outputs stand at "
        "other tokens.",
        lambda q, k, v, g: _folded(q, k, v, THERE, "(b c) h g d -> b h (g c) d", g=g),
    ),
    "batch_mixed": Mistake(
        "Sequences of the batch are mixed up on the way back: folded as `(b c)`, unfolded as `(c b)`.",
        lambda q, k, v, g: _folded(q, k, v, THERE, "(c b) h g d -> b h (c g) d", g=g),
    ),
    "batch_mixed_there": Mistake(
        "Sequences of the batch are mixed up: folded as `(c b)`, unfolded as `(b c)`. Take `(b c)` in both.",
        lambda q, k, v, g: _folded(q, k, v, "b h (c g) d -> (c b) h g d", BACK, g=g),
    ),
    "reshaped_back": Mistake(
        "Attention was right and the way back is not: in your rows groups stand before heads, and `reshape` reads them "
        "as heads and tokens. Name the axes: the pattern from right to left.",
        _reshaped_back,
    ),
    "heads_attended": Mistake(
        "Attention ran over the heads: SDPA attends along the last axis but one, and in your rows heads stand there. "
        "The rows must be `h g d`.",
        lambda q, k, v, g: _folded(q, k, v, "b h (c g) d -> (b c) g h d", "(b c) g h d -> b h (c g) d", g=g),
    ),
    "axes_confused": Mistake(
        "The reshape mixes heads and tokens: axes were read as (tokens, heads) that are (heads, tokens). Name them "
        "with einops instead of counting them.",
        _confused,
        also=[_confused_the_other_way, partial(_confused_the_other_way, undone=False)],
    ),
    "groups_counted": Mistake(
        "You made group_size groups; groups of group_size tokens were asked for. Which letter is `group_size`?",
        lambda q, k, v, g: _folded(q, k, v, THERE, BACK, c=g),
    ),
    "missing_scale": Mistake(
        "The scores are not scaled by 1 / sqrt(d): SDPA does it by itself unless `scale` says otherwise.",
        lambda q, k, v, g: _folded(q, k, v, THERE, BACK, scale=1.0, g=g),
    ),
    "scaled_twice": Mistake(
        "The scores are scaled twice: SDPA divides by sqrt(d) by itself.",
        lambda q, k, v, g: _folded(q, k, v, THERE, BACK, scale=1 / q.shape[3], g=g),
    ),
}


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _s2(boundary: str) -> Callable:
    return lambda q, k, v: s2_attention(q, k, v, S2Geometry(LENGTH, GROUP, HEADS, boundary=boundary))


def _with_noise(q, k, v) -> Tensor:
    """Right, but summed in another order each time, as some kernels do."""
    out = full_attention(q, k, v)
    return out * (1 + 1e-14 * torch.randn(out.shape, dtype=out.dtype, generator=_noise))


def _masked_late(q, k, v) -> Tensor:
    """The mask after the softmax: later keys take their share and are removed."""
    weights = (q @ k.transpose(2, 3) / WIDTH**0.5).softmax(dim=-1)
    return weights.tril() @ v


def _everything_visible(q, k, v) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v)


def _one_pair(query: int, key: int, *, batch: int | None = None, head: int | None = None) -> Callable:
    """Causal but for a single query that looks at a single later key, in one sequence or on one head only."""

    def attention(q, k, v):
        mask = torch.ones(BATCH, HEADS, LENGTH, LENGTH, dtype=torch.bool).tril()
        where = slice(None) if batch is None else batch, slice(None) if head is None else head
        mask[(*where, query, key)] = True
        return F.scaled_dot_product_attention(q, k, v, mask)

    return attention


def _faint(q, k, v) -> Tensor:
    """Causal, and a thousandth of attention without any mask."""
    return full_attention(q, k, v) + 1e-3 * _everything_visible(q, k, v)


def _queries_of_the_next(q, k, v) -> Tensor:
    """The mask is right and the query is not: each token asks what the next one wants to know."""
    return full_attention(q.roll(-1, dims=2), k, v)


_noise = _seeded(0)
SUSPECTS = (
    Suspect(
        full_attention,
        False,
        "accuses_the_innocent",
        "Dense causal attention is accused. A pushed token may move itself and what comes after it: compare the "
        "outputs before it only.",
    ),
    Suspect(
        _everything_visible,
        True,
        "finds_nothing",
        "Attention without any mask passes your test. Push a token, run again, and compare with the outputs from "
        "before the push, at tokens that stand before the pushed one.",
    ),
    Suspect(
        _with_noise,
        False,
        "no_tolerance",
        "Rounding is taken for a leak: a kernel may sum in another order each time. Compare with a tolerance "
        "(`torch.allclose`), not with `==` or `torch.equal`.",
    ),
    Suspect(
        _s2("split"), False, "accuses_the_innocent", "S²-Attn with the split boundary is accused, and leaks nothing."
    ),
    Suspect(
        _one_pair(0, LENGTH - 1),
        True,
        "last_token_not_pushed",
        "A leak from the last token to the first passes: push every token from 1 to the last, `range(1, n)`.",
    ),
    Suspect(
        _one_pair(1, 3),
        True,
        "only_the_last_token_pushed",
        "A leak from token 3 to token 1 passes. A test that pushes the last token only, or looks at the first output "
        "only, sees one pair of many: push each token in turn and look at all outputs before it.",
    ),
    Suspect(
        _one_pair(LENGTH - 2, LENGTH - 1),
        True,
        "neighbours_missed",
        "A leak from the last token to its neighbour passes. Look at every output before the pushed token, "
        "`[:, :, :token]`, and not only at the first.",
    ),
    Suspect(
        _one_pair(2, 5, head=HEADS - 1),
        True,
        "one_head_only",
        "A leak on the last head alone passes. Look at all heads: half of them are not like the others here.",
    ),
    Suspect(
        _one_pair(2, 5, batch=BATCH - 1),
        True,
        "one_sequence_only",
        "A leak in the second sequence of the batch passes. Look at all of them.",
    ),
    Suspect(
        _masked_late,
        True,
        "only_values_pushed",
        "A mask after the softmax passes your test: there later *keys* change the sum that earlier weights are divided "
        "by, while later values are never read. Push q and k as well as v.",
    ),
    Suspect(
        _queries_of_the_next,
        True,
        "queries_not_pushed",
        "Queries that stand one token too early pass your test. Push q as well as k and v.",
    ),
    Suspect(
        _faint,
        True,
        "tolerance_too_wide",
        "A faint leak passes, a thousandth of what a token may hear. In float64 rounding is near 1e-15: take the "
        "tolerance of `torch.allclose` as it comes, and push by about 1.",
    ),
    Suspect(_s2("masked"), False, "accuses_the_innocent", "The masked boundary is accused, and it leaks nothing."),
    Suspect(_s2("wrap"), True, "finds_nothing", "The published rolled form passes, and its first tokens see the last."),
)
