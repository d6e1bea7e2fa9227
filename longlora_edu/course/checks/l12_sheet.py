"""Checks of lesson 12: the line that separates beginning and end, the shift back, and the list of what trains."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...geometry import S2Geometry
from ...plots import show_comparison
from .exercise import Mistake, Passed, called, check, compare, expect, expect_array

# Even and odd groups, even and odd heads: (groups, heads, group).
SHAPES = ((2, 2, 4), (3, 3, 5), (2, 5, 7))
# Names as the small model has them, one layer of it.
FROZEN = {
    "lm_head.weight": "The output head stays frozen: the paper frees the embedding at the input only.",
    "model.layers.0.mlp.gate_proj.weight": "The feed-forward weights stay frozen: LoRA is on attention only.",
    "model.layers.0.self_attn.q_proj.weight": "W itself stays frozen: that is what LoRA is for.",
}
FREE = {
    "LoRA": ("model.layers.0.self_attn.q_proj.lora_A.weight", "model.layers.0.self_attn.q_proj.lora_B.weight"),
    "embedding": ("model.embed_tokens.weight",),
    "layer norm": ("model.layers.0.input_layernorm.weight", "model.layers.0.post_attention_layernorm.weight"),
    "last norm": ("model.norm.weight",),
}
MISSING = {
    "LoRA": "LoRA itself is missing: both A and B train.",
    "embedding": "The embedding is missing, which LongLoRA trains whole.",
    "layer norm": "The norms of the layers are missing, which LongLoRA trains whole.",
    "last norm": "One norm stands after the last layer and has no `layernorm` in its name.",
}


@check("12.separate")
def separate(function: Callable) -> Passed:
    """`function(added, shift)`: the causal mask (c h g g), with the ends of the text kept apart on shifted heads."""

    def read(added, right, groups, heads, group):
        shaped = isinstance(added, np.ndarray) and added.shape == right.shape
        what = f"the mask of {groups} groups of {group} on {heads} heads"
        return (added if shaped else expect_array(added, right.shape, what=what)) == 0

    compare(
        function,
        SHAPES,
        _seen,
        PLACES,
        inputs=lambda groups, heads, group: (_causal(groups, heads, group), group // 2),
        read=read,
        otherwise="The mask is not the one under the split boundary, in a way this check does not know.",
        within=0,
        picture=lambda mine, right, *_: show_comparison(mine[-1, -1], right[-1, -1]),
        changed=None,
    )
    right = _seen(2, 2, 8)[-1, -1]
    sentence = "Beginning and end share a group, and do not see each other. The picture is that group."
    return Passed(sentence, show_comparison(right, right))


@check("12.out_of_groups")
def out_of_groups(function: Callable) -> Passed:
    """`function(x, shift)`: (c h g d) back to (n h d), every token where it was."""
    cases = []
    for groups, heads, group in SHAPES:
        tokens = np.random.default_rng(group).standard_normal((groups * group, heads, 3))
        cases.append((_rolled(tokens, -(group // 2)).reshape(groups, group, heads, 3).swapaxes(1, 2), group // 2))
    otherwise = "Some tokens are not where they were, in a way not known here."
    compare(
        function,
        cases,
        lambda x, shift: _rolled(_joined(x), shift),
        WAYS_BACK,
        read=lambda out, tokens, *_: expect_array(out, tokens.shape, what="the result"),
        otherwise=otherwise,
    )
    return Passed("Every token is where it was, on plain and on shifted heads.")


@check("12.trained")
def trained(function: Callable) -> Passed:
    """`function(names)`: those that LongLoRA trains, out of the names of all weights."""
    names = [*FROZEN, *(name for part in FREE.values() for name in part)]
    answer = called(function, list(names))
    listed = answer is not None and not isinstance(answer, str)
    expect(listed, "type", f"a list of names is needed, got {answer!r}")
    answer = set(answer)
    unknown = answer - set(names)
    expect(not unknown, "unknown", f"{min(unknown, default='')} is none of the names that came in")
    for name, sentence in FROZEN.items():
        expect(name not in answer, name, sentence)
    for part, sentence in MISSING.items():
        expect(set(FREE[part]) <= answer, part, sentence)
    return Passed("LoRA, the embedding and all norms; everything else stays as it was pretrained.")


def _causal(groups: int, heads: int, group: int) -> np.ndarray:
    """The sheet's mask before the line in question: 0 up to the diagonal, -inf above it."""
    return np.triu(np.full((groups, heads, group, group), -np.inf), 1)


def _seen(groups: int, heads: int, group: int) -> np.ndarray:
    """bool (c h g g) after the roll, out of the geometry's mask (h n n)."""
    shift = group // 2
    mask = S2Geometry(groups * group, group, heads, shift).mask()
    order = np.arange(groups * group)
    rows = [order if head < heads // 2 else np.roll(order, -shift) for head in range(heads)]
    cells = [
        [mask[head][np.ix_(cell, cell)] for head, row in enumerate(rows) for cell in [row.reshape(groups, group)[c]]]
        for c in range(groups)
    ]
    return np.array(cells)


def _rolled(x: np.ndarray, by: int) -> np.ndarray:
    half = x.shape[1] // 2
    return np.concatenate([x[:, :half], np.roll(x[:, half:], by, axis=0)], axis=1)


def _joined(x: np.ndarray) -> np.ndarray:
    """The groups (c h g d) one after the other, (n h d), nothing rolled back."""
    return x.swapaxes(1, 2).reshape(-1, x.shape[1], x.shape[3])


def _cut(place: Callable) -> Callable:
    """The form that forbids `place(h, g, shift)` in the causal mask (c h g g) of h heads, groups of g."""

    def form(groups: int, heads: int, group: int) -> np.ndarray:
        seen = _causal(groups, heads, group) == 0
        seen[place(heads, group, group // 2)] = False
        return seen

    return form


PLACES = {
    "nothing": Mistake(
        "The start of the text still sees its end. Rows are queries, columns are keys; what lies above the diagonal is "
        "forbidden already.",
        _cut(lambda h, g, s: np.s_[:0]),
    ),
    "every head": Mistake(
        "You separate on all heads. The first half of them is not shifted: their last group is whole.",
        _cut(lambda h, g, s: np.s_[-1, :, g - s :, : g - s]),
    ),
    "plain heads": Mistake(
        "You separate on the plain heads. The shifted ones are the second half, `h // 2` and after.",
        _cut(lambda h, g, s: np.s_[-1, : h // 2, g - s :, : g - s]),
    ),
    "first group": Mistake(
        "You separate inside the first group. After the roll the two ends of the text meet in the last one.",
        _cut(lambda h, g, s: np.s_[0, h // 2 :, g - s :, : g - s]),
    ),
    "all groups": Mistake(
        "You separate inside every group. Only in the last one do the two ends of the text meet.",
        _cut(lambda h, g, s: np.s_[:, h // 2 :, g - s :, : g - s]),
    ),
    "shift for the rest": Mistake(
        "The last group holds `g - shift` tokens of the end first, and then `shift` tokens of the start. That matters "
        "where the group is odd.",
        _cut(lambda h, g, s: np.s_[-1, h // 2 :, s:, :s]),
    ),
}
WAYS_BACK = {
    "no shift back": Mistake(
        "The tokens of the shifted heads stand `shift` places too early: what was rolled must be rolled back.",
        lambda x, shift: _joined(x),
    ),
    "wrong way": Mistake(
        "You roll on instead of back: the sign of the shift is wrong.", lambda x, shift: _rolled(_joined(x), -shift)
    ),
    "every head": Mistake(
        "You roll all heads. The first half never moved.", lambda x, shift: np.roll(_joined(x), shift, axis=0)
    ),
    "heads and tokens": Mistake(
        "`reshape` alone mixes heads with tokens: swap the axes h and g first.",
        lambda x, shift: _rolled(x.reshape(-1, x.shape[1], x.shape[3]), shift),
    ),
}
