# ---
# jupyter:
#   longlora_edu:
#     title: The seam and the leak
# ---

# %% [markdown]
# **After this lesson you can**
#
# - say who sees whom where the published, rolled form joins the two ends of a text, and count the pairs;
# - repair it in two ways, and say what each costs;
# - test any attention for a leak by pushing one value.
#
# **You need first** the shift as a roll and the mask of S²-Attn ([lesson 02a](02a_wall_and_shift.ipynb), exercise 2.2): 8
# tokens in groups of 4; which token has a negative coordinate on a shifted head?
#
# **Where it runs**: anywhere, on one core, without a GPU. Sections marked *more* can wait.

# %%
from dataclasses import replace

import numpy as np

from longlora_edu import course, plots
from longlora_edu.course.checks import l02c_seam_and_leak as check
from longlora_edu.geometry import S2Geometry
from longlora_edu.reference import s2_attention
from longlora_edu.widgets import moving
from longlora_edu.widgets.explorer import explorer

# %% [markdown]
# ## Why
#
# > *The dog that chased the cat all afternoon was tired, so it …*
#
# A model that learns to guess the next word must not see it. Cover what comes after *dog*, and guess. Now imagine that
# somebody shows you the covered words: your guesses get better, and you learn nothing. That is a *leak*. No shape is
# wrong, and the loss looks excellent.
#
# Does the shift leak? The paper writes it as a *roll*: all tokens move to the left, and those that fall off come back
# at the right. Here are 8 tokens on a shifted head, rolled to the left by two, then cut into groups, a group a line.
# Below, the masks that we would like to have.

# %%
rolled = np.roll(np.arange(8), -2).reshape(-1, 4)
print(rolled)
plots.show_masks(S2Geometry(8, 4, 2))

# %% [markdown]
# {{beginners: Roll}}
#
# ## Predict: the seam
#
# Look at the last line above. The rolled form puts tokens 6, 7, 0 and 1 into one group, in this order, and lets each look
# at those before it *in the group*.

# %%
course.predict(
    "02.leak",
    "Rolled, cut into groups, and causal inside each group: does the future leak?",
    choices=[
        "No: every group is causal",
        "Yes: the first tokens see the last ones",
        "Yes: the last tokens see the first ones",
        "Yes: every token sees half a group ahead",
    ],
)
course.reveal(
    "02.leak",
    "Yes: the first tokens see the last ones",
    "After the roll tokens 0 and 1 stand behind 6 and 7, and what is not later in the group is not "
    "therefore earlier in the text.",
)

# %% [markdown]
# ## Play: the boundary
#
# **One task.** Move the slider, and keep your eyes on the first two words. Where do they go?

# %% after="02.leak"
moving.show_shift(course.SENTENCE, group_size=4, boundary="wrap")

# %% [markdown]
# Now point at token 0 below, then at token 7, and read what each looks at on a shifted head. Hatched pairs look into the
# future: for which shift are there most of them? Compare with the boundaries `split` and `masked`.

# %%
course.after("02.leak", explorer, n=8, g=4, heads=2, boundary="wrap", layers=1)

# %% [markdown]
# ## Reveal: push one value
#
# Do not trust a drawing. Take the attention itself, push **one** value, that of the last token, and look which outputs
# move. Only the last token itself may hear it.


# %%
def heard_by(attend, geometry, pushed_token):
    """The tokens whose output moves when the value of one token is pushed."""
    n, heads = geometry.seq_len, geometry.num_heads
    q, k, v = np.random.default_rng(0).normal(size=(3, 1, heads, n, 8))
    pushed = v.copy()
    pushed[:, :, pushed_token] += 1.0
    difference = attend(q, k, pushed, geometry) - attend(q, k, v, geometry)
    return np.flatnonzero(np.abs(difference).max(axis=(0, 1, 3)) > 1e-12).tolist()


rules = [S2Geometry(8, 4, 2, boundary=boundary) for boundary in ("split", "wrap", "masked")]

# %% after="02.leak"
for rule in rules:
    print(f"{rule.boundary:6}: pushing token 7 moves outputs {heard_by(s2_attention, rule, 7)}")
assert heard_by(s2_attention, rules[1], 7) == [0, 1, 7]
plots.show_boundaries(rules)

# %% [markdown]
# {{beginners: Perturbation test}}
#
# {{beginners: Leak}}
#
# {{beginners: Boundary}}

# %% [markdown] after="02.leak"
# - **wrap** is what the roll does, and what the paper prints. Dashed outlines are one cell in several pieces. The
#   hatched pairs look into the future.
# - **split** cuts the cell at the seam: two short cells. This is what the authors' own code for flash attention
#   computes.
# - **masked** keeps the cell and repairs the order: the last tokens may look at the first ones, never back.

# %% [markdown]
# ## Build: the seam
#
# ### Exercise 2.6 · Count the leak
#
# How many pairs look at the future under `"wrap"`, over all heads? Which tokens look, which are looked at, and on how
# many heads? It depends on the group, the shift and the heads, and not on the length of the text.


# %% exercise="leaked_pairs" difficulty=2 importance=4 minutes=5 points=2
def leaked_pairs(group_size, num_heads, shift):
    """int: the pairs under the wrap boundary whose key is later than its query, over all heads."""
    ### BEGIN SOLUTION
    shifted_heads = num_heads - num_heads // 2
    return shifted_heads * shift * (group_size - shift)
    ### END SOLUTION


# %% check="leaked_pairs"
check.leaked_pairs(leaked_pairs)

# %% [markdown] hints="leaked_pairs"
# In the middle picture above the hatched pairs are a rectangle. What are its height and its width?
#
# ---
# Its rows are the first `shift` tokens of the text. Its columns are the last tokens, those that no full cell had room
# for after the shift: `group_size - shift`.
#
# ---
# Height times width, times the number of shifted heads, `num_heads - num_heads // 2`.

# %% worked="leaked_pairs"
for shift in (1, 2, 4, 6, 7):
    wrapped = S2Geometry(32, 8, 2, shift=shift, boundary="wrap")
    ahead = np.triu(wrapped.mask(), k=1).sum()
    assert ahead == wrapped.future_pairs() == shift * (8 - shift)
    print(f"shift {shift}: {shift} first tokens look at {8 - shift} last ones, {ahead:2} pairs a head")

# %% [markdown]
# The product $s\,(G - s)$ is largest at $s = G/2$, the published shift. Still, compared with all pairs it is a thin path,
# and the authors called it a border effect. Let the layers have their say:

# %% [markdown]
# {{claim: leak-is-harmless}}

# %% claim="leak-is-harmless"
leaky = S2Geometry(32, 8, 2, boundary="wrap")
future = ~np.tri(32, dtype=bool)
for layers in (1, 2, 4, 6, 8):
    share = leaky.reach(layers)[future].mean()
    print(f"after {layers} layer{'s' * (layers > 1)} {share:.1%} of all future pairs are connected")
print("under split:", int(S2Geometry(32, 8, 2).reach(8)[future].sum()), "future pairs")

# %% [markdown]
# After $2r$ layers, here 8, every token can hear every other, later ones included. From then on any token may have heard
# the word that it is asked to guess.
#
# ### Do the ends profit? · more
#
# Some say that the shared group even helps:

# %% [markdown]
# {{claim: ends-share-a-group}}

# %% claim="ends-share-a-group"
for boundary in ("wrap", "split", "masked"):
    ends = S2Geometry(8192, 2048, 32, boundary=boundary)
    print(
        f"{boundary:6}: of {ends.pairs():,} pairs {ends.future_pairs():,} look at the future; "
        f"token 0 at the last token: {bool(ends.allows(31, 0, 8191))}, "
        f"the last at token 0: {bool(ends.allows(31, 8191, 0))}"
    )

# %% [markdown]
# ### Exercise 2.7 · The masked boundary · more
#
# Repair the seam without cutting it: write one shifted head under `"masked"`. Cells are those of the roll, so
# coordinates wrap around at the end of the text; who is later is decided by the true positions. Here $N$ is a multiple
# of $G$.


# %% exercise="masked_boundary" difficulty=3 importance=3 minutes=8 points=2
def masked_boundary(seq_len, group_size, shift):
    """bool (seq_len, seq_len): a shifted head whose ends share a cell, and nothing looks ahead."""
    ### BEGIN SOLUTION
    query, key = np.ogrid[:seq_len, :seq_len]
    query_cell = (query - shift) % seq_len // group_size
    key_cell = (key - shift) % seq_len // group_size
    return (query_cell == key_cell) & (key <= query)
    ### END SOLUTION


# %% check="masked_boundary"
check.masked_boundary(masked_boundary)

# %% [markdown] hints="masked_boundary"
# Rolling by `-shift` puts token $p$ into slot $(p - s)$ modulo $N$. In Python `%` never gives a negative number, so it
# is exactly that.
#
# ---
# The number of a cell is the slot divided by the group size, rounded down. Two tokens share a cell if these are equal.
#
# ---
# `(position - shift) % seq_len // group_size` for query and key, equal; and `key <= query`, with the positions as they
# are.

# %% [markdown]
# All three rules at a glance, counted by the geometry:


# %%
def layers_from_end_to_end(geometry, most=40):
    heard = (layers for layers in range(1, most) if geometry.reach(layers)[-1, 0])
    return next(heard)


print("boundary   pairs   in the future   ... through 8 layers   ends connected   lengths")
for boundary in ("split", "wrap", "masked"):
    rule = S2Geometry(32, 8, 2, boundary=boundary)
    through_layers = int(rule.reach(8)[future].sum())
    layers = f"after {layers_from_end_to_end(rule)}"
    try:
        lengths = "any" if replace(rule, seq_len=33) else ""
    except ValueError:
        lengths = "whole groups"
    counts = f"{rule.pairs():7} {rule.future_pairs():15} {through_layers:22}"
    print(f"{boundary:8} {counts} {layers:>16}   {lengths}")

# %% [markdown]
# Under **masked** the last token hears the first after a single layer, because they share a cell, and nothing leaks. Why
# then is **split** the default? It takes any length, the authors' fast code computes it, and all its pairs are at most one
# group apart. Choose otherwise with `S2Geometry(…, boundary="masked")`.

# %% [markdown]
# ## Break it
#
# Bugs of this kind are quiet. Below is attention in three lines and the masked boundary in four. We break one comparison
# on purpose: rolled order in place of true order. Run the usual checks on both, and then push the last value.


# %%
def attention(q, k, v, allowed):
    scores = np.where(allowed, q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1]), -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True) @ v


def seam(geometry, *, broken):
    query, key = np.ogrid[: geometry.seq_len, : geometry.seq_len]
    query_slot, key_slot = ((token - geometry.shift) % geometry.seq_len for token in (query, key))
    not_later = key_slot <= query_slot if broken else key <= query  # the bug is this one comparison
    return (query_slot // geometry.group_size == key_slot // geometry.group_size) & not_later


right_rule = S2Geometry(32, 8, 1, boundary="masked")  # a single head is a shifted one
assert np.array_equal(seam(right_rule, broken=False), right_rule.mask()[0])
for broken in (False, True):
    allowed = seam(right_rule, broken=broken)

    def attend(q, k, v, geometry, allowed=allowed):
        return attention(q, k, v, allowed)

    q, k, v = np.random.default_rng(1).normal(size=(3, 1, 1, 32, 8))
    output = attend(q, k, v, right_rule)
    weights_sum_to_one = np.allclose(attend(q, k, np.ones_like(v), right_rule), 1)
    print("broken" if broken else "right")
    print("  shape", output.shape, "· finite:", bool(np.isfinite(output).all()), end=" ")
    print("· pairs:", int(allowed.sum()), "· weights sum to 1:", weights_sum_to_one)
    print("  pushing token 31 moves outputs", heard_by(attend, right_rule, 31))

# %% [markdown]
# Shape, finiteness, number of pairs, sums of the weights: the bug passes every check but the push. It would pass a
# training as well, and may even shine in it, because a model that sees the end of the text while it guesses the beginning
# can have a *lower* loss; [lesson 10](10_bug_gallery_and_critics.ipynb) trains one that does. Push your own attention
# whenever you write one.
#
# ## Recap
#
# - **Where the future leaks.** At the seam of the rolled form, $s\,(G - s)$ pairs on every shifted head, and through the
#   layers everywhere.
# - **Two repairs.** *Split* cuts the seam; *masked* keeps the cell and judges by true order.
# - **One test.** Push one value, see which outputs move. Shapes and losses say nothing.
#
# Words of this lesson in the glossary: [leak](glossary.md#leak), [boundary](glossary.md#boundary),
# [roll](glossary.md#roll).
#
# ## Quiz

# %%
course.quiz(
    "02.quiz_seam",
    course.Question(
        "Groups of 8, shift 4, two heads, wrapped. How many pairs look at the future?",
        right=("16", "4 first tokens look at 4 last ones, on the one shifted head."),
        wrong=[
            ("0", "Each group is causal in rolled order, and that is not the order of the text."),
            ("32", "Only the shifted head leaks: 4 times 4 pairs."),
            ("64", "That is the whole cell as a square. Only first tokens at last tokens look ahead."),
        ],
    ),
    course.Question(
        "Your new attention has right shapes, a falling loss and no NaN. What do you still not know?",
        right=(
            "Whether tokens hear later ones",
            "A leak changes none of the three. Push one value and see which outputs move.",
        ),
        wrong=[
            (
                "Nothing: a falling loss would not fall with a leak",
                "It can fall all the better when the future is visible.",
            ),
            ("Whether it is fast enough", "True, but a clock shows that at once. The leak stays hidden."),
            ("How many pairs it computes", "Count them: the broken seam has exactly as many as the right one."),
        ],
    ),
    course.Question(
        "A text of 33 tokens, groups of 8. Which boundary takes it?",
        right=("split", "Its last cell is shorter. The other two roll, and need whole groups."),
        wrong=[
            ("wrap", "It rolls the text into full groups: 33 is no multiple of 8."),
            ("masked", "It has the cells of the roll, and so needs whole groups too."),
            ("none of the three", "One does not roll: it lets the cells at the ends be short."),
        ],
    ),
)

# %% [markdown]
# ## Discuss
#
# The authors were asked about the seam in the first week. They answered that the leak is a border effect, that
# fine-tuning is short, and that nothing of it remains at inference. You have counted the pairs and seen them spread
# through the layers. What would you *measure* to decide whether they are right, and what result would change your mind?
#
# Next: [lesson 03](03_reference.ipynb) turns the mask of these lessons into attention, forwards and backwards, and
# [lesson 04](04_meaning_to_speed.ipynb) makes it fast.

# %% [markdown] instructor=true
# **For the teacher.** Predicted wrong answers, and what to say:
#
# - *02.leak*: "the last see the first". It is what one would want; the rolled order does the opposite. Write 6 7 0 1 on
#   the board and ask who stands behind whom.
#
# **Board.** The seam: 6 7 | 0 1, with an arrow from 0 to 7 in another colour.
#
# **Short of time?** The moving picture and the push: eight minutes without an exercise.
