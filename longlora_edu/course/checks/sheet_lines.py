"""Three lines of the sheet: the one that separates beginning and end, the shift back, and the list of what trains."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...geometry import S2Geometry
from ...plots import describe_comparison, plot_comparison
from ...widgets import Picture
from .diagnosis import CheckFailed, Passed, called, exercise, expect_array
from .forms import expect_values

# Even and odd groups, even and odd heads: (groups, heads, group).
SHAPES = ((2, 2, 4), (3, 3, 5), (2, 5, 7))
# Where else a learner may put the line: what it cuts out of the mask (c h g g) for h heads, groups of g, a shift of s.
PLACES = {
    "nothing": (
        lambda h, g, s: np.s_[:0],
        "The start of the text still sees its end. Rows are queries, columns are keys; what lies above the diagonal is "
        "forbidden already.",
    ),
    "every head": (
        lambda h, g, s: np.s_[-1, :, g - s :, : g - s],
        "You separate on all heads. The first half of them is not shifted: their last group is whole.",
    ),
    "plain heads": (
        lambda h, g, s: np.s_[-1, : h // 2, g - s :, : g - s],
        "You separate on the plain heads. The shifted ones are the second half, `h // 2` and after.",
    ),
    "first group": (
        lambda h, g, s: np.s_[0, h // 2 :, g - s :, : g - s],
        "You separate inside the first group. After the roll the two ends of the text meet in the last one.",
    ),
    "all groups": (
        lambda h, g, s: np.s_[:, h // 2 :, g - s :, : g - s],
        "You separate inside every group. Only in the last one do the two ends of the text meet.",
    ),
    "shift for the rest": (
        lambda h, g, s: np.s_[-1, h // 2 :, s:, :s],
        "The last group holds `g - shift` tokens of the end first, and then `shift` tokens of the start. That matters "
        "where the group is odd.",
    ),
}
# Names as the small model has them, one layer of it.
FROZEN = ("lm_head.weight", "model.layers.0.mlp.gate_proj.weight", "model.layers.0.self_attn.q_proj.weight")
FREE = {
    "LoRA": ("model.layers.0.self_attn.q_proj.lora_A.weight", "model.layers.0.self_attn.q_proj.lora_B.weight"),
    "embedding": ("model.embed_tokens.weight",),
    "layer norm": ("model.layers.0.input_layernorm.weight", "model.layers.0.post_attention_layernorm.weight"),
    "last norm": ("model.norm.weight",),
}


@exercise("12.separate")
def separate(function: Callable) -> Passed:
    """`function(added, shift)`: the causal mask (c h g g), with the ends of the text kept apart on shifted heads."""
    for groups, heads, group in SHAPES:
        shift = group // 2
        added = called(function, _causal(groups, heads, group), shift)
        what = f"the mask of {groups} groups of {group} on {heads} heads"
        if not isinstance(added, np.ndarray) or added.shape != (groups, heads, group, group):
            expect_array(added, (groups, heads, group, group), what=what)
        seen = added == 0
        right = _seen(groups, heads, group, shift)
        if (seen == right).all():
            continue
        for mistake, (place, sentence) in PLACES.items():
            table = _causal(groups, heads, group) == 0
            table[place(heads, group, shift)] = False
            if (seen == table).all() and not (table == right).all():
                raise CheckFailed(sentence, mistake=mistake, picture=_beside(seen[-1, -1], right[-1, -1]))
        sentence = "The mask is not the one under the split boundary, in a way this check does not know."
        raise CheckFailed(sentence, picture=_beside(seen[-1, -1], right[-1, -1]))
    right = _seen(2, 2, 8, 4)[-1, -1]
    return Passed(
        "Beginning and end share a group, and do not see each other. The picture is that group.", _beside(right, right)
    )


@exercise("12.out_of_groups")
def out_of_groups(function: Callable) -> Passed:
    """`function(x, shift)`: (c h g d) back to (n h d), every token where it was."""
    for groups, heads, group in SHAPES:
        shift = group // 2
        tokens = np.random.default_rng(group).standard_normal((groups * group, heads, 3))
        x = _grouped(tokens, groups, group, shift)
        out = expect_array(called(function, x, shift), tokens.shape, what="the result", kind="f")
        joined = x.swapaxes(1, 2).reshape(tokens.shape)
        wrong = {
            "no shift back": (
                joined,
                "The tokens of the shifted heads stand `shift` places too early: what was rolled must be rolled back.",
            ),
            "wrong way": (_rolled(joined, -shift), "You roll on instead of back: the sign of the shift is wrong."),
            "every head": (np.roll(joined, shift, axis=0), "You roll all heads. The first half never moved."),
            "heads and tokens": (
                _rolled(x.reshape(tokens.shape), shift),
                "`reshape` alone mixes heads with tokens: swap the axes h and g first.",
            ),
        }
        expect_values(out, tokens, wrong, otherwise="Some tokens are not where they were, in a way not known here.")
    return Passed("Every token is where it was, on plain and on shifted heads.")


@exercise("12.trained")
def trained(function: Callable) -> Passed:
    """`function(names)`: those that LongLoRA trains, out of the names of all weights."""
    names = [*FROZEN, *(name for part in FREE.values() for name in part)]
    answer = called(function, list(names))
    if answer is None or isinstance(answer, str):
        raise CheckFailed(f"a list of names is needed, got {answer!r}", mistake="type")
    answer = set(answer)
    if unknown := answer - set(names):
        raise CheckFailed(f"{min(unknown)} is none of the names that came in", mistake="unknown")
    said = {
        "lm_head.weight": "The output head stays frozen: the paper frees the embedding at the input only.",
        "model.layers.0.mlp.gate_proj.weight": "The feed-forward weights stay frozen: LoRA is on attention only.",
        "model.layers.0.self_attn.q_proj.weight": "W itself stays frozen: that is what LoRA is for.",
    }
    for name in FROZEN:
        if name in answer:
            raise CheckFailed(said[name], mistake=name)
    missing = {
        "LoRA": "LoRA itself is missing: both A and B train.",
        "embedding": "The embedding is missing, which LongLoRA trains whole.",
        "layer norm": "The norms of the layers are missing, which LongLoRA trains whole.",
        "last norm": "One norm stands after the last layer and has no `layernorm` in its name.",
    }
    for part, sentence in missing.items():
        if not set(FREE[part]) <= answer:
            raise CheckFailed(sentence, mistake=part)
    return Passed("LoRA, the embedding and all norms; everything else stays as it was pretrained.")


def _causal(groups: int, heads: int, group: int) -> np.ndarray:
    """The sheet's mask before the line in question: 0 up to the diagonal, -inf above it."""
    return np.triu(np.full((groups, heads, group, group), -np.inf), 1)


def _seen(groups: int, heads: int, group: int, shift: int) -> np.ndarray:
    """bool (c h g g) after the roll, out of the geometry's mask (h n n)."""
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


def _grouped(x: np.ndarray, groups: int, group: int, shift: int) -> np.ndarray:
    return _rolled(x, -shift).reshape(groups, group, *x.shape[1:]).swapaxes(1, 2)


def _beside(mine: np.ndarray, right: np.ndarray) -> Picture:
    return Picture(plot_comparison(mine, right), describe_comparison(mine, right))
