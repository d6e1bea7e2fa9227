"""Checks of lesson 12: a line of the sheet is gone; who sees the future, where do tokens land, how much trains less?"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ...geometry import S2Geometry
from ...plots import show_comparison
from .exercise import Mistake, Passed, check, compare_masks, compare_numbers, named

SIZES = ((16, 8), (15, 5), (12, 4), (14, 7))
LANDINGS = ((5, 16, 4), (0, 16, 4), (3, 15, 2), (1, 15, 2), (11, 12, 3))


@check("12.seen_ahead")
def seen_ahead(function: Callable) -> Passed:
    """Check `function(n, g)`: bool (n n), the future keys that queries of a shifted head see without the line."""
    options = {"what": "the table", "otherwise": _wrong_pair, "drawn": False}
    compare_masks(function, SIZES, _ahead, MARKED, named("n", "g"), **options)
    right = _ahead(16, 8)
    sentence = "The first tokens see the last ones, all of them, on every shifted head of every layer."
    return Passed(sentence, show_comparison(right, right))


@check("12.lands")
def lands(function: Callable) -> Passed:
    """Check `function(token, n, shift)`: the place of a token's output on a shifted head, were it not rolled back."""
    compare_numbers(function, LANDINGS, lambda token, n, shift: (token - shift) % n, LANDS_WRONG)
    sentence = (
        "Place i then holds the output of token i + shift: it has seen up to `shift` tokens of the future of place i."
    )
    return Passed(f"{sentence} (The last places hold outputs of the first tokens.)")


@check("12.share_of_norms")
def share_of_norms(function: Callable) -> Passed:
    """Check `function(w)`: the norms' share of the numbers that train, for arrays `w` by name, LoRA among them."""
    cases = [(_weights(width, layers, rank),) for width, layers, rank in ((8, 1, 2), (6, 3, 4))]
    names = ["weights of one layer", "weights of three layers"]
    compare_numbers(function, cases, _share, WRONG_SHARES, whole=False, names=names)
    return Passed("They are few; the next cell counts them. Whether they matter, only a measurement tells.")


def _wrong_pair(answer: np.ndarray, expected: np.ndarray, *case: int) -> str:
    query, key = np.argwhere(answer != expected)[0]
    sees = "sees" if expected[query, key] else "does not see"
    return f"Without the line, query {query} {sees} key {key} in its future. Your table says otherwise."


def _wrapped(n: int, g: int) -> np.ndarray:
    """bool (n n): what a shifted head sees where the two ends of the text share a group and nothing separates them."""
    return S2Geometry(n, g, 1, boundary="wrap").mask()[0]


def _sharing(n: int, g: int) -> np.ndarray:
    """bool (n n): pairs of the group of a shifted head that holds both ends of the text, in any order."""
    ends = (np.arange(n) < g // 2) | (np.arange(n) >= n - (g - g // 2))
    return np.outer(ends, ends)


def _ahead(n: int, g: int) -> np.ndarray:
    """bool (n n): what of `_wrapped` is in the future of the query."""
    return np.triu(_wrapped(n, g), 1)


def _marked(place: Callable) -> Callable:
    """The form that marks `place(n, g, shift)` and nothing else."""

    def form(n: int, g: int) -> np.ndarray:
        table = np.zeros((n, n), bool)
        table[place(n, g, g // 2)] = True
        return table

    return form


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
    """Numbers in the arrays whose name holds one of `parts`."""
    return sum(array.size for name, array in w.items() if any(part in name for part in parts))


def _share(w: Mapping[str, np.ndarray]) -> float:
    return _count(w, "norm") / _count(w, "lora", "embed", "norm")


MARKED = {
    "nobody": Mistake(
        "Somebody does see the future now. Write down, in order, which tokens the last group of a shifted head holds.",
        _marked(lambda n, g, s: np.s_[:0]),
    ),
    "transposed": Mistake(
        "Those are the pairs upside down: late queries that see early keys look backwards, which is allowed. Rows are "
        "queries, columns keys.",
        _marked(lambda n, g, s: np.s_[n - (g - s) :, :s]),
    ),
    "whole group": Mistake(
        "Too many keys: of its g places the last group gives only `g - shift` to the end of the text.",
        _marked(lambda n, g, s: np.s_[:s, n - g :]),
    ),
    "shift for the rest": Mistake(
        "The end of the text takes `g - shift` places of the last group, not `shift`. That matters where g is odd.",
        _marked(lambda n, g, s: np.s_[:s, n - s :]),
    ),
    "too many queries": Mistake(
        "The beginning of the text takes `shift` places of the last group. That matters where g is odd.",
        _marked(lambda n, g, s: np.s_[: g - s, n - (g - s) :]),
    ),
    "text order": Mistake(
        "Causality is judged in rolled order. In that group token 0 stands before token 1 and does not see it; mark "
        "only what stands *before* the query there, and later in the text.",
        lambda n, g: np.triu(_sharing(n, g), 1),
    ),
    "everything": Mistake("That is all that a query sees. Mark its future only: keys j with j > i.", _wrapped),
}
LANDS_WRONG = {
    "wrong way": Mistake(
        "that is the other direction. Try `np.roll(np.arange(8), -2)`: where does 5 stand?",
        lambda token, n, shift: (token + shift) % n,
    ),
    "no wrap": Mistake(
        "no token is lost: who rolls out at the front comes in again at the end", lambda token, n, shift: token - shift
    ),
    "unmoved": Mistake("that is where the token was; nothing has rolled it back", lambda token, n, shift: token),
    "cut off": Mistake(
        "no token stays at 0 with others: the first ones come in at the end",
        lambda token, n, shift: max(token - shift, 0),
    ),
}
WRONG_SHARES = {
    "of all": Mistake(
        "that is a share of all weights; most of them are frozen", lambda w: _count(w, "norm") / _count(w, "")
    ),
    "arrays": Mistake(
        "you count arrays; count the numbers in them, `array.size`",
        lambda w: sum("norm" in name for name in w) / sum(any(p in n for p in ("lora", "embed", "norm")) for n in w),
    ),
    "last norm": Mistake(
        "one norm stands after the last layer and has no `layernorm` in its name",
        lambda w: _count(w, "layernorm") / _count(w, "lora", "embed", "norm"),
    ),
    "embedding": Mistake(
        "the embedding trains too, and counts among all that trains",
        lambda w: _count(w, "norm") / _count(w, "lora", "norm"),
    ),
    "LoRA alone": Mistake(
        "LoRA, embeddings *and* norms train: all three belong below the line",
        lambda w: _count(w, "norm") / _count(w, "lora"),
    ),
    "LoRA": Mistake(
        "LoRA's A and B train too, and count among all that trains",
        lambda w: _count(w, "norm") / _count(w, "embed", "norm"),
    ),
    "against the others": Mistake(
        "that is the norms over all the rest; divide by everything that trains, the norms included",
        lambda w: _count(w, "norm") / _count(w, "lora", "embed"),
    ),
    "percent": Mistake("that is in percent; a share lies between 0 and 1", lambda w: 100 * _share(w)),
    "number": Mistake("that is a number of weights; divide it by all that train", lambda w: _count(w, "norm")),
    "frozen too": Mistake(
        "the weights that LoRA stands beside are frozen, and so are the output head and the feed-forward part",
        lambda w: _count(w, "norm") / _count(w, "self_attn", "embed", "norm"),
    ),
}
