"""Checks of lesson 10: a perturbation test, a test that catches every published mistake, and a neighbour's mask."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...geometry import S2Geometry
from ...plots import Picture, show_comparison
from ...plots.neighbours import SparsePattern, first, show_patterns, window
from ...reference import s2_attention
from ..bugs import BUGS, rolled
from .exercise import (
    SEEN,
    CheckFailed,
    Mistake,
    Passed,
    attention_weights,
    called,
    check,
    compare,
    compare_masks,
    expect_verdict,
)


@check("10.who_hears")
def who_hears(function: Callable) -> Passed:
    """Check `function(attend, geometry, token)`: bool (h, n), which outputs move when the value of `token` does."""
    forms = {"the reference": s2_attention} | {
        name: BUGS[name].function for name in ("wrap_leak", "rolled_back_inside_groups", "not_causal")
    }
    geometries = (S2Geometry(12, 4, 2), S2Geometry(15, 5, 3), S2Geometry(8, 4, 4))
    cases = [
        (name, form, geometry, token)
        for name, form in forms.items()
        for geometry in geometries
        for token in (5, geometry.seq_len - 1, 0)
    ]
    called(function, s2_attention, geometries[0], 5, advice=AXIS)
    compare_masks(
        function,
        cases,
        lambda name, form, geometry, token: _heard(form, geometry)[:, :, token],
        WHO_HEARS,
        lambda name, form, geometry, token: f"{name}, {geometry.seq_len} tokens, token={token}",
        what="what moves",
        inputs=lambda name, form, geometry, token: (form, geometry, token),
        otherwise=_wrong_output,
    )
    wrong, right = (_heard(f, S2Geometry(12, 4, 2))[-1] for f in (forms["rolled_back_inside_groups"], s2_attention))
    sentence = "So a test finds out who hears whom, without reading any code. Drawn: one that turned groups."
    return Passed(sentence, show_comparison(wrong, right))


@check("10.is_s2")
def is_s2(function: Callable) -> Passed:
    """Check `function(attend)`: True for what computes S²-Attn under the split boundary, False for every mistake."""

    def read(verdict, right, name, *_):
        return expect_verdict(verdict, f"is_s2 must return True or False for {name}")

    calls = []

    def counted(form):
        def attend(*inputs, **options):
            calls.append(form)
            return form(*inputs, **options)

        return attend

    verdict = read(called(function, counted(s2_attention)), True, "the reference")
    if not calls:
        sentence = (
            f"Your test says {verdict} without a look: it never calls `attend`. Run it on random q, k and v, and "
            "compare with the reference."
        )
        raise CheckFailed(sentence, mistake="never asked")
    if not verdict:
        sentence = (
            "Your test refuses the reference itself, which is right in every size. Compare outputs for the *same* q, "
            "k, v and segments, and return True where they agree."
        )
        raise CheckFailed(sentence, mistake="refuses the reference")
    compare(
        function,
        [("the reference, summed in another order", _reordered)],
        lambda *_: True,
        inputs=lambda name, form: (form,),
        read=read,
        otherwise=lambda verdict, right, name, form: (
            "refuses the right one",
            f"Your test refuses {name}, which is right. Allow for rounding: compare with a tolerance, not with ==.",
        ),
    )
    escaped = {}
    for bug in BUGS.values():
        for form in (bug.function, *bug.variants):
            try:
                if read(called(function, form), False, bug.title):
                    escaped[bug.name] = bug.title
            except CheckFailed as error:
                # Published code stops at sizes it cannot take, so a test that meets a stop has caught it.
                if error.mistake != "exception":
                    raise
    if not escaped:
        return Passed(f"All {len(BUGS)} mistakes are caught, and what is right passes.", _show("wrap_leak"))
    name, title = next(iter(escaped.items()))
    count = f"{len(escaped)} of {len(BUGS)} mistakes pass" if len(escaped) > 1 else "one mistake passes"
    hint, mistake = _advice(set(escaped))
    sentence = f"By your test {count}; one is: {title[0].lower()}{title[1:]}. {hint}"
    raise CheckFailed(sentence, mistake=mistake, picture=_show(name))


@check("10.longformer_mask")
def longformer_mask(function: Callable) -> Passed:
    """Check `function(seq_len, width, globals_)`: bool (n, n), causal: the last `width` and first `globals_` keys."""
    cases = [(10, 2, 4), (8, 3, 0), (8, 3, 1), (12, 4, 2), (6, 1, 1), (5, 9, 2)]
    compare_masks(
        function,
        cases,
        _longformer,
        LONGFORMER,
        lambda seq_len, width, globals_: f"{seq_len} tokens, width={width}, globals_={globals_}",
    )
    picture = show_patterns({"Longformer": SparsePattern(((window(4), first(2)),))}, 16, columns=2)
    return Passed("One line of the same rule that draws every neighbour above.", picture)


def _advice(escaped: set[str]) -> tuple[str, str]:
    """Advise on a test that lets these mistakes pass; the second string names what it lacks."""
    uneven = {"odd_group", "smaller_half_shifted", "shifted_the_other_way"}
    if escaped <= {"padding_left_behind"}:
        return "It shows with padding only: give `segments` with some -1 to both and compare again.", "no padding"
    if escaped <= uneven | {"padding_left_behind"}:
        return "It does not show in even sizes: try an odd group and an odd head count as well.", "even sizes only"
    if escaped <= uneven | {"wrap_leak", "ends_joined"}:
        return "Padding at the end hides what happens there: compare without padding too, in odd sizes.", "padding only"
    if escaped <= uneven | {"padding_left_behind", "missing_scale"}:
        return "Its mask is right and its numbers are not: compare values with the reference.", "mask only"
    return "Compare the output with the reference's on random inputs.", "too weak"


def _reordered(q, k, v, geometry: S2Geometry, *, segments=None, scale=None) -> np.ndarray:
    """Compute what the reference computes, with other rounding: by rolling, and with features in reverse order."""
    q, k = (np.ascontiguousarray(np.asarray(x)[..., ::-1]) for x in (q, k))
    return rolled(q, k, v, geometry, segments=segments, scale=scale)


def _show(name: str) -> Picture:
    geometry = S2Geometry(15, 5, 3)
    segments = np.where(np.arange(15) < 12, 0, -1)[None] if name == "padding_left_behind" else None
    mine, right = (
        attention_weights(lambda *inputs, f=f: f(*inputs, segments=segments), geometry)
        for f in (BUGS[name].function, s2_attention)
    )
    head = int(np.abs(mine - right).max(axis=(1, 2)).argmax())
    picture = show_comparison(mine[head] > SEEN, right[head] > SEEN)
    return Picture(picture.png, picture.alt.replace("Your mask", f"{BUGS[name].title}: its mask"))


def _longformer(seq_len: int, width: int, globals_: int) -> np.ndarray:
    query, key = np.ogrid[:seq_len, :seq_len]
    return (key <= query) & ((query - key < width) | (key < globals_))


def _wrong_longformer(rule: Callable) -> Callable:
    return lambda n, w, g: np.broadcast_to(rule(*np.ogrid[:n, :n], w, g), (n, n))


LONGFORMER = {
    "not causal": Mistake(
        "The causal condition is missing: key <= query must hold, whatever the window and the first tokens allow.",
        _wrong_longformer(lambda i, j, w, g: (i - j < w) | (j < g)),
    ),
    "one first token too many": Mistake(
        "One key too many counts as first: keys are numbered from 0, so the first `globals_` are key < globals_.",
        _wrong_longformer(lambda i, j, w, g: (j <= i) & ((i - j < w) | (j <= g))),
    ),
    "half a window": Mistake(
        "The window is half as wide as asked: the causal form has no second side, so all `width` keys stand before the "
        "query, itself included.",
        _wrong_longformer(lambda i, j, w, g: (j <= i) & ((i - j <= w // 2) | (j < g))),
        also=_wrong_longformer(lambda i, j, w, g: (j <= i) & ((i - j < w // 2) | (j < g))),
    ),
    "window one too wide": Mistake(
        "The window is one key too wide: the query itself counts as one of the `width` keys.",
        _wrong_longformer(lambda i, j, w, g: (j <= i) & ((i - j <= w) | (j < g))),
    ),
    "future": Mistake(
        "Queries look at later keys. Every part of the rule stays under key <= query, the first tokens too.",
        _wrong_longformer(lambda i, j, w, g: ((i - j < w) & (j <= i)) | (j < g)),
    ),
    "window both ways": Mistake(
        "The window reaches forwards as well as backwards: that is an encoder's. Here key <= query must hold.",
        _wrong_longformer(lambda i, j, w, g: (np.abs(i - j) < w) | (j < g)),
    ),
    "queries instead of keys": Mistake(
        "You made the first tokens look at everything; everybody may look at the first tokens: key < globals_.",
        _wrong_longformer(lambda i, j, w, g: (j <= i) & ((i - j < w) | (i < g))),
        also=[
            _wrong_longformer(lambda i, j, w, g: ((j <= i) & (i - j < w)) | (i < g)),
            _wrong_longformer(lambda i, j, w, g: ((j <= i) & ((i - j < w) | (j < g))) | (i < g)),
        ],
    ),
    "and instead of or": Mistake(
        "A key is allowed if it is in the window *or* among the first ones; you ask for both.",
        _wrong_longformer(lambda i, j, w, g: (j <= i) & (i - j < w) & (j < g)),
    ),
    "no first tokens": Mistake(
        "The window is right, and the first tokens are missing: everybody may look at keys below globals_.",
        _wrong_longformer(lambda i, j, w, g: (j <= i) & (i - j < w)),
    ),
    "transposed": Mistake(
        "Rows and columns are exchanged: rows are queries, columns are keys.",
        lambda n, w, g: _longformer(n, w, g).T,
    ),
}


def _heard(form: Callable, geometry: S2Geometry) -> np.ndarray:
    return np.abs(attention_weights(form, geometry)) > SEEN


def _moves(which: int, *, head: int | None = None) -> Callable:
    """Make a learner's mistaken answer: it changes a token's query (0), key (1) or value (2), on one head or on all.

    The answer returns bool (h, n), the outputs that move.
    """

    def form(name, attend, geometry, token):
        inputs = list(np.random.default_rng(1).standard_normal((3, 1, geometry.num_heads, geometry.seq_len, 4)))
        before = attend(*inputs, geometry)
        inputs[which] = inputs[which].copy()
        inputs[which][:, slice(None) if head is None else head, token] += 1
        return (np.abs(attend(*inputs, geometry) - before).max(axis=3) > SEEN)[0]

    return form


def _drawn_again(name, attend, geometry, token) -> np.ndarray:
    """Make the mistake of drawing new queries and keys for the second call."""
    rng = np.random.default_rng(1)
    q, k, v, *others = rng.standard_normal((5, 1, geometry.num_heads, geometry.seq_len, 4))
    pushed = v.copy()
    pushed[:, :, token] += 1
    return (np.abs(attend(*others, pushed, geometry) - attend(q, k, v, geometry)).max(axis=3) > SEEN)[0]


def _wrong_output(answer: np.ndarray, expected: np.ndarray, *case) -> str:
    head, place = np.argwhere(answer != expected)[0]
    says = "moves in your answer, and it must not" if answer[head, place] else "stays in your answer, and it must move"
    return f"On head {head} the output at token {place} {says}."


AXIS = {
    "out of bounds for axis 1": "Axis 1 counts heads. Tokens stand on axis 2 of (b, h, n, d): `pushed[:, :, token]`",
}
WHO_HEARS = {
    "drawn again": Mistake(
        "Nearly everything moves in your answer, whoever is pushed. Did you draw new q and k for the second call? Call "
        "`attend` twice with the same q and k.",
        _drawn_again,
        also=lambda name, form, geometry, token: np.ones((geometry.num_heads, geometry.seq_len), dtype=bool),
    ),
    "nothing moves": Mistake(
        "Nothing moves in your answer. Did you push v itself before the first call? Copy it: pushed = v.copy().",
        lambda name, form, geometry, token: np.zeros((geometry.num_heads, geometry.seq_len), dtype=bool),
    ),
    "never asked": Mistake(
        "That is what the geometry says, not what this function does. Call `attend` twice and compare what it returns.",
        lambda name, form, geometry, token: geometry.mask()[:, :, token],
    ),
    "row instead of column": Mistake(
        "That is whom the token hears. Asked is who hears the token: push it, and see which outputs move.",
        lambda name, form, geometry, token: _heard(form, geometry)[:, token, :],
    ),
    "pushed the query": Mistake(
        "You pushed the query: only outputs that belong to that token move. Push its value.",
        _moves(0),
        also=lambda name, form, geometry, token: np.eye(geometry.seq_len, dtype=bool)[[token] * geometry.num_heads],
    ),
    "pushed the key": Mistake(
        "You pushed the key. That moves almost the same outputs, but not where a token has nothing else to look at: "
        "its weight is 1 whatever the key. Push the value.",
        _moves(1),
    ),
    "pushed one head": Mistake(
        "You pushed the value on one head only. Push it on all: pushed[:, :, token].",
        _moves(2, head=0),
    ),
    "stays instead of moves": Mistake(
        "You return what stays as it was. Asked is what moves.",
        lambda name, form, geometry, token: ~_heard(form, geometry)[:, :, token],
    ),
}
