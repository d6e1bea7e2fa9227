"""Three lines of the sheet are gone: who sees the future, where do tokens land, how much trains less?"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ...geometry import S2Geometry
from ...plots import describe_comparison, plot_comparison
from ...widgets import Picture
from .diagnosis import CheckFailed, Mistake, Passed, called, exercise, expect_array
from .numbers import expect_numbers

SIZES = ((16, 8), (15, 5), (12, 4), (14, 7))
# What a learner may mark instead, for a text of n, groups of g, a shift of s: rows are queries, columns keys.
MARKED = {
    "nobody": (
        lambda n, g, s: np.s_[:0],
        "Somebody does see the future now. Write down, in order, which tokens the last group of a shifted head holds.",
    ),
    "transposed": (
        lambda n, g, s: np.s_[n - (g - s) :, :s],
        "Those are the pairs upside down: late queries that see early keys look backwards, which is allowed. Rows are "
        "queries, columns keys.",
    ),
    "whole group": (
        lambda n, g, s: np.s_[:s, n - g :],
        "Too many keys: of its g places the last group gives only `g - shift` to the end of the text.",
    ),
    "shift for the rest": (
        lambda n, g, s: np.s_[:s, n - s :],
        "The end of the text takes `g - shift` places of the last group, not `shift`. That matters where g is odd.",
    ),
    "too many queries": (
        lambda n, g, s: np.s_[: g - s, n - (g - s) :],
        "The beginning of the text takes `shift` places of the last group. That matters where g is odd.",
    ),
}
LANDINGS = [(5, 16, 4), (0, 16, 4), (3, 15, 2), (1, 15, 2), (11, 12, 3)]
LANDS_WRONG = (
    Mistake(
        "wrong way", "the roll went by `-shift`: what was at place 5 stands at 5 - shift", lambda t, n, s: (t + s) % n
    ),
    Mistake("no wrap", "no token is lost: who rolls out at the front comes in again at the end", lambda t, n, s: t - s),
    Mistake("unmoved", "that is where the token was; nothing has rolled it back", lambda t, n, s: t),
    Mistake(
        "cut off", "no token stays at 0 with others: the first ones come in at the end", lambda t, n, s: max(t - s, 0)
    ),
)


@exercise("12.seen_ahead")
def seen_ahead(function: Callable) -> Passed:
    """`function(n, g)`: bool (n n), which keys of its future each query of a shifted head sees without the line."""
    for n, g in SIZES:
        marked = expect_array(
            called(function, n, g), (n, n), what=f"the table for {n} tokens in groups of {g}", kind="b"
        )
        right = _ahead(n, g)
        if (marked == right).all():
            continue
        picture = Picture(plot_comparison(marked, right), describe_comparison(marked, right))
        if (marked == S2Geometry(n, g, 1, boundary="wrap").mask()[0]).all():
            sentence = "That is all that a query sees. Mark its future only: keys j with j > i."
            raise CheckFailed(sentence, mistake="everything", picture=picture)
        for mistake, (place, sentence) in MARKED.items():
            table = np.zeros((n, n), bool)
            table[place(n, g, g // 2)] = True
            if (marked == table).all():
                raise CheckFailed(sentence, mistake=mistake, picture=picture)
        first = tuple(int(place) for place in np.argwhere(marked != right)[0])
        says = "does" if right[first] else "does not"
        raise CheckFailed(
            f"With {n} tokens in groups of {g}, query {first[0]} {says} see key {first[1]}.", picture=picture
        )
    right = _ahead(16, 8)
    picture = Picture(plot_comparison(right, right), describe_comparison(right, right))
    return Passed("The first tokens see the last ones, all of them, on every shifted head of every layer.", picture)


@exercise("12.lands")
def lands(function: Callable) -> Passed:
    """`function(token, n, shift)`: the place of a token's output on a shifted head, were it not rolled back."""
    expect_numbers(function, LANDINGS, lambda token, n, shift: (token - shift) % n, LANDS_WRONG)
    return Passed("Place i then holds the output of token i + shift, which has seen everything up to that token.")


@exercise("12.share_of_norms")
def share_of_norms(function: Callable) -> Passed:
    """`function(w)`: which share of the numbers that train are the norms', for arrays `w` by name, LoRA among them."""
    cases = [(_weights(width, layers, rank),) for width, layers, rank in ((8, 1, 2), (6, 3, 4))]
    said = ["weights of one layer", "weights of three layers"]
    expect_numbers(function, cases, _share, WRONG_SHARES, whole=False, said=said)
    return Passed("They are few. Whether they matter is a question for a measurement, not for their number.")


def _ahead(n: int, g: int) -> np.ndarray:
    """bool (n n): what the wrapped boundary shows a shifted head of its future, where the length is a multiple of g."""
    return np.triu(S2Geometry(n, g, 1, boundary="wrap").mask()[0], 1)


def _weights(width: int, layers: int, rank: int) -> dict[str, np.ndarray]:
    shapes = {"model.embed_tokens.weight": (32, width), "model.norm.weight": (width,), "lm_head.weight": (32, width)}
    for layer in range(layers):
        at = f"model.layers.{layer}"
        shapes |= {f"{at}.input_layernorm.weight": (width,), f"{at}.post_attention_layernorm.weight": (width,)}
        shapes |= {f"{at}.mlp.up_proj.weight": (3 * width, width), f"{at}.self_attn.q_proj.weight": (width, width)}
        shapes |= {f"{at}.self_attn.q_proj.lora_A.weight": (rank, width)}
        shapes |= {f"{at}.self_attn.q_proj.lora_B.weight": (width, rank)}
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def _count(w: Mapping[str, np.ndarray], *parts: str) -> int:
    return sum(array.size for name, array in w.items() if any(part in name for part in parts))


def _share(w: Mapping[str, np.ndarray]) -> float:
    return _count(w, "norm") / _count(w, "lora", "embed", "norm")


WRONG_SHARES = (
    Mistake(
        "of all", "that is a share of all weights; most of them are frozen", lambda w: _count(w, "norm") / _count(w, "")
    ),
    Mistake(
        "arrays",
        "you count arrays; count the numbers in them, `array.size`",
        lambda w: sum("norm" in name for name in w) / sum(any(p in n for p in ("lora", "embed", "norm")) for n in w),
    ),
    Mistake(
        "last norm",
        "one norm stands after the last layer and has no `layernorm` in its name",
        lambda w: _count(w, "layernorm") / _count(w, "lora", "embed", "norm"),
    ),
    Mistake(
        "embedding",
        "the embedding trains too, and counts among all that trains",
        lambda w: _count(w, "norm") / _count(w, "lora", "norm"),
    ),
    Mistake(
        "LoRA",
        "LoRA's A and B train too, and count among all that trains",
        lambda w: _count(w, "norm") / _count(w, "embed", "norm"),
    ),
    Mistake("number", "that is a number of weights; divide it by all that train", lambda w: _count(w, "norm")),
    Mistake(
        "frozen too",
        "the weights that LoRA stands beside are frozen, and so are the output head and the feed-forward part",
        lambda w: _count(w, "norm") / _count(w, "self_attn", "embed", "norm"),
    ),
)
