"""The exercise of the proof: a test that catches every leak and accuses nobody, tried on attention of both kinds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ....attention import full_attention, s2_attention
from ....geometry import S2Geometry
from ....plots import describe_moved, plot_moved
from ....widgets import Picture
from ..diagnosis import CheckFailed, Passed, called, exercise

BATCH, HEADS, LENGTH, WIDTH, GROUP = 2, 4, 8, 4, 4


@exercise("04.looks_ahead")
def looks_ahead(function: Callable) -> Passed:
    """`function(attention, q, k, v)`: bool, does any output depend on what stands at a later token?"""
    for suspect in SUSPECTS:
        q, k, v = torch.randn(3, BATCH, HEADS, LENGTH, WIDTH, dtype=torch.float64, generator=_seeded(1))
        before = [x.clone() for x in (q, k, v)]
        verdict = called(function, suspect.attention, q, k, v)
        if not isinstance(verdict, bool | np.bool_):
            hint = " (did you forget `return`?)" if verdict is None else ""
            hint = " (`bool(…)` makes one of a tensor)" if isinstance(verdict, Tensor) else hint
            raise CheckFailed(f"the verdict must be True or False, got {type(verdict).__name__}{hint}", mistake="type")
        if not all(torch.equal(x, copy) for x, copy in zip((q, k, v), before, strict=True)):
            raise CheckFailed(
                "q, k or v has changed after your test: push a copy (`k.clone()`), or what was before is pushed too.",
                mistake="inputs_changed",
            )
        if bool(verdict) != suspect.leaks:
            raise CheckFailed(suspect.sentence, mistake=suspect.mistake, picture=_who_moves(suspect.attention))
    leaking = sum(suspect.leaks for suspect in SUSPECTS)
    return Passed(
        f"Your test caught all {leaking} leaks and accused none of the {len(SUSPECTS) - leaking} that are innocent. "
        "Pictured is the last of them, the published form.",
        _who_moves(_s2("wrap")),
    )


@dataclass(frozen=True)
class Suspect:
    """Attention of a known kind, and what to say to a test that takes it for the other kind."""

    attention: Callable
    leaks: bool
    mistake: str
    sentence: str


def moved(attention: Callable, q: Tensor, k: Tensor, v: Tensor) -> np.ndarray:
    """bool (n, n): which outputs (rows) move when everything at one token (columns) is pushed."""
    before, rows = attention(q, k, v), []
    for token in range(q.shape[2]):
        pushed = [x.clone() for x in (q, k, v)]
        for number, x in enumerate(pushed, 1):
            x[:, :, token] += torch.linspace(0.5, number, x.shape[-1], dtype=x.dtype)
        rows.append(((attention(*pushed) - before).abs() > 1e-9).any(dim=3).any(dim=1).any(dim=0).numpy())
    return np.array(rows).T


def _who_moves(attention: Callable) -> Picture:
    q, k, v = torch.randn(3, BATCH, HEADS, LENGTH, WIDTH, dtype=torch.float64, generator=_seeded(2))
    tables = {"this attention": moved(attention, q, k, v), "dense causal attention": moved(full_attention, q, k, v)}
    return Picture(plot_moved(tables), describe_moved(tables))


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
    Suspect(_s2("masked"), False, "accuses_the_innocent", "The masked boundary is accused, and it leaks nothing."),
    Suspect(_s2("wrap"), True, "finds_nothing", "The published rolled form passes, and its first tokens see the last."),
)
