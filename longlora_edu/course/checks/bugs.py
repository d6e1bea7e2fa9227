"""Checks of lesson 10: a perturbation test, a test that catches every published mistake, and a neighbour's mask."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...geometry import S2Geometry
from ...plots import describe_comparison, plot_comparison
from ...reference import s2_attention
from ...widgets import Picture
from ..bugs import BUGS, rolled
from ..play.patterns import Pattern, describe_patterns, first, plot_patterns, window
from .diagnosis import CheckFailed, Mistake, Passed, attention_weights, called, exercise
from .masks.mistakes import compare_masks

VISIBLE = 1e-9


@exercise("10.who_hears")
def who_hears(function: Callable) -> Passed:
    """`function(attend, geometry, token)`: bool (h, n), which outputs move when the value of `token` is pushed."""
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
    compare_masks(
        function,
        lambda name, form, geometry, token: _heard(form, geometry)[:, :, token],
        WHO_HEARS,
        cases,
        lambda name, form, geometry, token: f"{name}, {geometry.seq_len} tokens, token={token}",
        what="what moves",
        arguments=lambda name, form, geometry, token: (form, geometry, token),
    )
    geometry = S2Geometry(12, 4, 2)
    wrong, right = (_heard(form, geometry)[-1] for form in (forms["rolled_back_inside_groups"], s2_attention))
    picture = Picture(plot_comparison(wrong, right), describe_comparison(wrong, right))
    return Passed(
        "So a test finds out who hears whom, without reading any code. Drawn: one that turned groups.", picture
    )


@exercise("10.is_s2")
def is_s2(function: Callable) -> Passed:
    """`function(attend)`: True for what computes S²-Attn under the split boundary, False for every mistake."""
    for name, right in (("the reference", s2_attention), ("the reference, summed in another order", _reordered)):
        answer = _yes_or_no(called(function, right), name)
        if not answer:
            raise CheckFailed(
                f"Your test refuses {name}, which is right. Allow for rounding: compare with a tolerance, not with ==.",
                mistake="refuses the right one",
            )
    escaped = []
    for bug in BUGS.values():
        for form in (bug.function, *bug.variants):
            try:
                if _yes_or_no(called(function, form), bug.title):
                    escaped.append((bug, form))
                    break
            except CheckFailed as error:
                # Published code stops at sizes it cannot take, so a test that meets a stop has caught it.
                if error.mistake != "exception":
                    raise
    if not escaped:
        return Passed(f"All {len(BUGS)} mistakes are caught, and what is right passes.", _drawn("wrap_leak"))
    bug, form = escaped[0]
    count = f"{len(escaped)} of {len(BUGS)} mistakes pass" if len(escaped) > 1 else "one mistake passes"
    hint, mistake = _advice({escaped_bug.name for escaped_bug, _ in escaped})
    raise CheckFailed(
        f"By your test {count}; one is: {bug.title[0].lower()}{bug.title[1:]}. {hint}",
        mistake=mistake,
        picture=_drawn(bug.name),
    )


@exercise("10.longformer_mask")
def longformer_mask(function: Callable) -> Passed:
    """`function(seq_len, width, globals_)`: bool (n, n), causal: the last `width` keys, and the first `globals_`."""
    cases = [(10, 2, 4), (8, 3, 0), (8, 3, 1), (12, 4, 2), (6, 1, 1), (5, 9, 2)]
    compare_masks(
        function,
        _longformer,
        LONGFORMER,
        cases,
        lambda seq_len, width, globals_: f"{seq_len} tokens, width={width}, globals_={globals_}",
    )
    shown = {"Longformer": Pattern(((window(4), first(2)),))}
    return Passed(
        "One line of the same rule that draws every neighbour below.",
        Picture(plot_patterns(shown, 16, columns=2), describe_patterns(shown, 16)),
    )


def _longformer(seq_len: int, width: int, globals_: int) -> np.ndarray:
    query, key = np.ogrid[:seq_len, :seq_len]
    return (key <= query) & ((query - key < width) | (key < globals_))


def _wrong_longformer(rule: Callable) -> Callable:
    return lambda n, w, g: np.broadcast_to(rule(*np.ogrid[:n, :n], w, g), (n, n))


LONGFORMER = (
    Mistake(
        "window one too wide",
        "The window is one key too wide: the query itself counts as one of the `width` keys.",
        _wrong_longformer(lambda i, j, w, g: (j <= i) & ((i - j <= w) | (j < g))),
    ),
    Mistake(
        "future",
        "Queries look at later keys. Every part of the rule stays under key <= query, the first tokens too.",
        _wrong_longformer(lambda i, j, w, g: ((i - j < w) & (j <= i)) | (j < g)),
    ),
    Mistake(
        "window both ways",
        "The window reaches forwards as well as backwards: that is an encoder's. Here key <= query must hold.",
        _wrong_longformer(lambda i, j, w, g: (np.abs(i - j) < w) | (j < g)),
    ),
    Mistake(
        "queries instead of keys",
        "You made the first tokens look at everything; everybody may look at the first tokens: key < globals_.",
        _wrong_longformer(lambda i, j, w, g: (j <= i) & ((i - j < w) | (i < g))),
    ),
    Mistake(
        "and instead of or",
        "A key is allowed if it is in the window *or* among the first ones; you ask for both.",
        _wrong_longformer(lambda i, j, w, g: (j <= i) & (i - j < w) & (j < g)),
    ),
    Mistake(
        "no first tokens",
        "The window is right, and the first tokens are missing: everybody may look at keys below globals_.",
        _wrong_longformer(lambda i, j, w, g: (j <= i) & (i - j < w)),
    ),
    Mistake(
        "transposed",
        "Rows and columns are exchanged: rows are queries, columns are keys.",
        lambda n, w, g: _longformer(n, w, g).T,
    ),
)


def _heard(form: Callable, geometry: S2Geometry) -> np.ndarray:
    return np.abs(attention_weights(form, geometry)) > VISIBLE


def _moved_by(what: int, *, head: int | None = None) -> Callable:
    """What moves when a query (0), key (1) or value (2) is pushed, on one head or on all."""

    def form(name, attend, geometry, token):
        inputs = list(np.random.default_rng(1).standard_normal((3, 1, geometry.num_heads, geometry.seq_len, 4)))
        before = attend(*inputs, geometry)
        inputs[what] = inputs[what].copy()
        inputs[what][:, slice(None) if head is None else head, token] += 1
        return (np.abs(attend(*inputs, geometry) - before).max(axis=3) > VISIBLE)[0]

    return form


WHO_HEARS = (
    Mistake(
        "nothing moves",
        "Nothing moves in your answer. Did you push v itself before the first call? Copy it: pushed = v.copy().",
        lambda name, form, geometry, token: np.zeros((geometry.num_heads, geometry.seq_len), dtype=bool),
    ),
    Mistake(
        "never asked",
        "That is what the geometry says, not what this function does. Call `attend` twice and compare what it returns.",
        lambda name, form, geometry, token: geometry.mask()[:, :, token],
    ),
    Mistake(
        "row instead of column",
        "That is whom the token hears. Asked is who hears the token: push it, and see which outputs move.",
        lambda name, form, geometry, token: _heard(form, geometry)[:, token, :],
    ),
    Mistake(
        "pushed the query",
        "You pushed the query: only outputs that belong to that token move. Push its value.",
        _moved_by(0),
    ),
    Mistake(
        "pushed the key",
        "You pushed the key. That moves almost the same outputs, but not where a token has nothing else to look at: "
        "its weight is 1 whatever the key. Push the value.",
        _moved_by(1),
    ),
    Mistake(
        "pushed one head",
        "You pushed the value on one head only. Push it on all: pushed[:, :, token].",
        _moved_by(2, head=0),
    ),
    Mistake(
        "stays instead of moves",
        "You return what stays as it was. Asked is what moves.",
        lambda name, form, geometry, token: ~_heard(form, geometry)[:, :, token],
    ),
)


def _advice(escaped: set[str]) -> tuple[str, str]:
    """What to add to a test that lets these mistakes pass, and the name of what it lacks."""
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
    """What is right, with other rounding: through slots, and in another order of the features."""
    q, k = (np.ascontiguousarray(np.asarray(x)[..., ::-1]) for x in (q, k))
    return rolled(q, k, v, geometry, segments=segments, scale=scale)


def _yes_or_no(value, what: str) -> bool:
    if value is None or not isinstance(value, (bool, np.bool_)):
        found = "None (did you forget `return`?)" if value is None else type(value).__name__
        raise CheckFailed(f"is_s2 must return True or False for {what}, got {found}", mistake="type")
    return bool(value)


def _drawn(name: str) -> Picture:
    geometry = S2Geometry(15, 5, 3)
    segments = np.where(np.arange(15) < 12, 0, -1)[None] if name == "padding_left_behind" else None
    mine, right = (
        attention_weights(lambda *inputs, f=f: f(*inputs, segments=segments), geometry)
        for f in (BUGS[name].function, s2_attention)
    )
    head = int(np.abs(mine - right).max(axis=(1, 2)).argmax())
    mine, right = mine[head] > VISIBLE, right[head] > VISIBLE
    alt = describe_comparison(mine, right).replace("Your mask", f"{BUGS[name].title}: its mask")
    return Picture(plot_comparison(mine, right), alt)
