"""Check of lesson 11: the pairs of a hybrid, windows in most layers and full attention in some."""

from __future__ import annotations

from collections.abc import Callable

from .exercise import Mistake, Passed, check, compare_numbers

# (seq_len, width, layers, every)
CASES = [(8, 2, 6, 6), (9, 4, 12, 6), (100, 16, 7, 3), (5, 8, 4, 2), (64, 64, 6, 6), (33, 1, 5, 5), (40, 8, 8, 3)]


def _full(n: int) -> int:
    return n * (n + 1) // 2


def _window(n: int, width: int) -> int:
    short = min(n, width)
    return _full(short) + (n - short) * short


def _pairs(n: int, width: int, layers: int, every: int) -> int:
    return layers // every * _full(n) + (layers - layers // every) * _window(n, width)


WRONG = {
    "one full layer": Mistake(
        "right where only one layer is full. With 12 layers and a full one every 6 there are two",
        lambda n, w, layers, every: _full(n) + (layers - 1) * _window(n, w),
    ),
    "the other way round": Mistake(
        "the two kinds are swapped: every `every`-th layer is full, and all others have the window",
        lambda n, w, layers, every: layers // every * _window(n, w) + (layers - layers // every) * _full(n),
    ),
    "groups": Mistake(
        "that counts groups: a window moves with its token, so all tokens but the first ones have `width` in it",
        lambda n, w, layers, every: (
            layers // every * _full(n) + (layers - layers // every) * (n // w * _full(w) + _full(n % w))
        ),
    ),
    "full layers twice": Mistake(
        "the full layers are counted twice, once with a window too: `layers - layers // every` have the window",
        lambda n, w, layers, every: layers // every * _full(n) + layers * _window(n, w),
    ),
    "one turn": Mistake(
        "that is one turn of `every` layers: one full layer and the windows up to it. Count all `layers`",
        lambda n, w, layers, every: _full(n) + (every - 1) * _window(n, w),
    ),
    "squares": Mistake(
        "full layers are counted as squares: a query looks at itself and at what is before it, n (n + 1) / 2 pairs",
        lambda n, w, layers, every: layers // every * n * n + (layers - layers // every) * _window(n, w),
    ),
    "no beginning": Mistake(
        "every token of a windowed layer gets a full window, and the first ones have less before them: token 0 has "
        "only itself",
        lambda n, w, layers, every: layers // every * _full(n) + (layers - layers // every) * n * w,
    ),
    "longer than the text": Mistake(
        "a window can be longer than the text, and then it is full attention",
        lambda n, w, layers, every: layers // every * _full(n) + (layers - layers // every) * (_full(w) + (n - w) * w),
    ),
    "without itself": Mistake(
        "a token looks at itself too: a window of 2 is the token and the one before it",
        lambda n, w, layers, every: (
            layers // every * (n * (n - 1) // 2) + (layers - layers // every) * (_window(n, w) - n)
        ),
    ),
    "diagonal in part": Mistake(
        "a token looks at itself too: n (n + 1) / 2 pairs in a full layer, and a window of 2 is the token and the one "
        "before it",
        lambda n, w, layers, every: layers // every * (_full(n) - n) + (layers - layers // every) * _window(n, w),
        also=lambda n, w, layers, every: layers // every * _full(n) + (layers - layers // every) * _window(n, w - 1),
    ),
    "window too wide": Mistake(
        "the window is one token too wide: the token itself is one of the `width`",
        lambda n, w, layers, every: layers // every * _full(n) + (layers - layers // every) * _window(n, w + 1),
    ),
    "part of a layer": Mistake(
        "layers come whole: with 7 layers and a full one every 3 there are two, `layers // every`",
        lambda n, w, layers, every: layers / every * _full(n) + (layers - layers / every) * _window(n, w),
    ),
    "rounded up": Mistake(
        "a full layer too many: layers 3 and 6 of 7 are full with `every` = 3, so two of them. Round down",
        lambda n, w, layers, every: -(-layers // every) * _full(n) + (layers - -(-layers // every)) * _window(n, w),
    ),
    "only windows": Mistake(
        "the full layers are missing",
        lambda n, w, layers, every: (layers - layers // every) * _window(n, w),
    ),
    "one of each": Mistake(
        "that is one full and one windowed layer: how many are there of each kind?",
        lambda n, w, layers, every: _full(n) + _window(n, w),
    ),
}


@check("11.hybrid_pairs")
def hybrid_pairs(function: Callable) -> Passed:
    """Check `function(seq_len, width, layers, every)`: the pairs of one head through all layers."""
    compare_numbers(function, CASES, _pairs, WRONG)
    return Passed(
        "Windows grow with the text, full layers with its square: at a great length the few full ones decide."
    )
