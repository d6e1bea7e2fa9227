# ---
# jupyter:
#   longlora_edu:
#     title: Groups, the shift and the boundary
#     minutes: 75
# ---

# %% [markdown]
# **After this lesson you can**
#
# - say who sees whom in S²-Attn, for any number of tokens, groups and heads, and write the mask in three lines;
# - say half of *what* is shifted, and show on a model what the shift is for;
# - work out after how many layers the last token hears the first, and check it by counting;
# - show that the published, rolled form lets the first tokens see the last ones, count how often, and repair it.
#
# **You need first** causal attention (may query 5 look at key 6? what happens to the score of a key that it may not
# look at?) and broadcasting in NumPy (what is the shape of `np.arange(3)[:, None] <= np.arange(4)`?). You need no idea
# of LongLoRA. [Lesson 01](01_why_long_context_is_expensive.ipynb) says why anyone wants this; you can read it later.
#
# **Where it runs**: anywhere, on one core, without a GPU. More than half of the time above is for seven exercises, and
# each of them can be skipped.

# %%
from dataclasses import replace

import numpy as np

from longlora_edu import course, plots
from longlora_edu.course.checks import l02_masks as check
from longlora_edu.course.play.retrieval import show_probe
from longlora_edu.geometry import S2Geometry
from longlora_edu.reference import s2_attention
from longlora_edu.training import probe
from longlora_edu.widgets.explorer import explorer

# %% [markdown]
# ## Why
#
# A token that looks at everything before it makes long texts expensive. Cut the text into groups, let each token look
# inside its own group only, and training becomes cheap; then the question is how anything gets from one group into the
# next.
#
# Rows are tokens that look (queries), columns are tokens that are looked at (keys). A coloured square is a pair that is
# computed.

# %%
dense, grouped = S2Geometry(8, 8, 2, shift=0), S2Geometry(8, 4, 2, shift=0)
left, right = axes = plots.style.new_axes(plots.SCREEN, 2, width=1.2)
plots.plot_mask(dense, 0, ax=left).set_title("Full attention: 36 pairs", loc="left", fontsize=plots.SCREEN.text)
plots.plot_mask(grouped, 0, ax=right).set_title("Groups of 4: 20 pairs", loc="left", fontsize=plots.SCREEN.text)
assert (dense.mask()[0].sum(), grouped.mask()[0].sum()) == (36, 20)
plots.Picture(axes, "Masks over 8 tokens: full attention computes 36 pairs, two groups of 4 tokens 20.")

# %% [markdown]
# {{beginners: Attention mask}}
#
# {{beginners: Group}}
#
# {{beginners: Pair}}
#
# In this course $N$ is the number of tokens (`seq_len`), $G$ the size of a group (`group_size`) and $H$ the number of
# heads (`num_heads`). Everything that depends on them is asked of one object, an `S2Geometry`. It holds no tensor, only
# the rule.

# %% [markdown]
# ## Predict: a wall
#
# There is a wall between tokens 3 and 4. How much of a wall is it, in a deep model?

# %%
course.predict(
    "02.wall",
    "8 tokens in groups of 4, nothing shifted, a model of 100 layers. How many of them can "
    "token 4, the first of the second group, hear, itself included?",
    unit="tokens",
)

# %% [markdown]
# ## Play: the wall
#
# **One task.** The shift below is 0, so all heads have the same walls. Point at token 4 (with the mouse, or by the
# arrow keys once the picture has the focus), and add layers until the slider ends. Does it hear more?

# %%
explorer(n=8, g=4, shift=0, heads=2, layers=1)

# %% [markdown]
# ## Reveal: the wall

# %%
heard = S2Geometry(8, 4, 2, shift=0).reach(100)[4]
course.reveal(
    "02.wall",
    int(heard.sum()),
    "Itself, and nobody else. Its group begins with it, and what a group does not hear in the "
    "first layer it does not hear in the hundredth either: nobody inside has it to pass on.",
    unit="of 8 tokens",
)

# %% [markdown]
# So groups alone cut a text of any length into short texts that know nothing of each other. Before we open the door,
# make the wall yourself.
#
# ## Build: one head
#
# Token $p$ stands in group $\lfloor p / G \rfloor$, which is `p // G` in Python. A query may look at a key if both
# stand in the same group and the key is not later.
#
# ### Exercise 2.1 · The mask of a plain head
#
# Write the mask of one head with groups: a boolean array of $N$ rows (queries) and $N$ columns (keys), `True` where the
# query may look. $N$ need not be a multiple of $G$; the last group is then shorter. Two loops are fine, broadcasting is
# shorter.


# %% exercise="plain_mask" difficulty=1 importance=5 minutes=6 points=1
def plain_mask(seq_len, group_size):
    """bool (seq_len, seq_len), True where query (row) may look at key (column)."""
    ### BEGIN SOLUTION
    query, key = np.ogrid[:seq_len, :seq_len]
    return (query // group_size == key // group_size) & (key <= query)
    ### END SOLUTION


# %% check="plain_mask"
check.plain_mask(plain_mask)

# %% [markdown] hints="plain_mask"
# Two conditions must hold for a pair: *same group* and *not later*. Write each for one query and one key first.
#
# ---
# `query // group_size == key // group_size` is the first condition, `key <= query` the second. (A token may look at
# itself.)
#
# ---
# `query, key = np.ogrid[:seq_len, :seq_len]` gives a column of queries and a row of keys. Whatever you compare them
# with broadcasts to the whole table, and `&` joins the two tables.

# %% [markdown]
# The library has one rule for all heads and pairs, `S2Geometry.allows`. For a plain head it says the same as the line
# of the exercise:

# %%
geometry = S2Geometry(seq_len=8, group_size=4, num_heads=2)
query, key = np.ogrid[:8, :8]
assert np.array_equal(geometry.allows(0, query, key), (query // 4 == key // 4) & (key <= query))
geometry

# %% [markdown]
# ## Predict: half of what?
#
# LongLoRA opens the wall by *shifting*, and everybody who has heard of it knows that **half** of something is shifted
# by **half** a group.

# %%
course.predict(
    "02.half",
    "What is it that S²-Attn shifts?",
    choices=[
        "Every second group begins half a group later",
        "The second half of the tokens moves by half a group",
        "In half of the heads all groups begin half a group later",
        "In every second layer all groups begin half a group later",
    ],
)

# %% [markdown]
# ## Play: the shift
#
# **One task.** Point at token 4. On which heads does it look at token 3? Then set the shift to 0 and back to 2, and
# watch which of the pictures change: that is your answer to the question above.

# %%
explorer(n=8, g=4, heads=4, layers=1)

# %% [markdown]
# ## Reveal: half of the heads

# %%
moved = (S2Geometry(8, 4, 4).mask() != S2Geometry(8, 4, 4, shift=0).mask()).any(axis=(1, 2))
print("the shift changes heads", np.flatnonzero(moved).tolist(), "of", [0, 1, 2, 3])
course.reveal(
    "02.half",
    "In half of the heads all groups begin half a group later",
    "The first half of the heads stays as it was: the plain heads. On the others, the shifted "
    "heads, all groups begin later. Where one half of the heads has its walls, the other half has "
    "the middle of a group.",
)

# %%
plots.show_masks(geometry)

# %% [markdown]
# {{beginners: Head}}
#
# {{beginners: Shift}}
#
# {{beginners: Plain and shifted heads}}
#
# Why heads, and not tokens or groups? Because a layer mixes its heads again at the end: what a shifted head brings
# across a wall stands in the token's own vector when the next layer begins, for all heads to use. Two readings of the
# sentence are so common that they deserve a cell each.

# %% [markdown]
# {{claim: half-of-the-tokens}}

# %% claim="half-of-the-tokens"
eight_heads = S2Geometry(seq_len=16, group_size=4, num_heads=8)
differs = (eight_heads.mask() != eight_heads.mask()[0]).any(axis=2)  # (h, n): other than on head 0?
print("shifted heads:", list(eight_heads.shifted_heads), "of", eight_heads.num_heads)
print("tokens whose row differs, head by head:", differs.sum(axis=1).tolist(), "of 16")

# %% [markdown]
# All tokens of a shifted head are shifted. That two of its rows look like those of a plain head is because the text
# begins there: tokens 0 and 1 have nothing before them that a wall could hide. The other reading:
#
# {{claim: alternate-groups}}

# %% claim="alternate-groups"
from longlora_edu.course.bugs import BUGS

sixteen = S2Geometry(seq_len=16, group_size=4, num_heads=2)
q, k, v = np.random.default_rng(0).normal(size=(3, 1, 2, 16, 8))
pushed = v + (np.arange(16) == 6)[:, None]  # one token's value, in group 1
two_readings = {
    "alternate groups": BUGS["alternate_groups"].function,
    "half of the heads": s2_attention,
}
for name, attend in two_readings.items():
    changed = np.abs(attend(q, k, pushed, sixteen) - attend(q, k, v, sixteen)).max(axis=(0, 1, 3))
    tokens = np.flatnonzero(changed)
    groups = np.unique(tokens // 4)
    print(f"{name:17}: token 6 is heard by {tokens.tolist()}, in groups {groups.tolist()}")

# %% [markdown]
# ## Build: all heads
#
# The authors write the shift as a *roll*: on shifted heads everything moves to the left by $s = G/2$, is cut into
# groups, attends, and moves back. Here are the tokens of a shifted head, rolled and cut, a group a line:

# %%
rolled = np.roll(np.arange(8), -2).reshape(-1, 4)
print(rolled)

# %% [markdown]
# {{beginners: Roll}}
#
# The first line is what we want: tokens 3 and 4 sit together. The last line is a surprise, tokens 6 and 7 *and then 0
# and 1*. A roll has no ends, so the end of the text meets its beginning. We come back to this seam further down; until
# then we cut it there. This is the boundary rule `"split"`, the default here.
#
# No roll is needed to say who sits with whom. On a shifted head token $p$ has the coordinate $c = p - s$, its cell is
# $\lfloor c / G \rfloor$, and a query looks at the keys of its own cell that are not later:
#
# $$\text{query } i \text{ looks at key } j \iff \Big\lfloor \frac{i - s}{G} \Big\rfloor = \Big\lfloor \frac{j - s}{G}
# \Big\rfloor \;\text{ and }\; j \le i .$$
#
# A plain head is the same with $s = 0$. The code beside it, for 8 tokens, $G = 4$ and $s = 2$:

# %%
token = np.arange(8)
print("plain head, cell of each token:  ", token // 4)
print("shifted head, cell of each token:", (token - 2) // 4)

# %% [markdown]
# Tokens 0 and 1 have negative coordinates, and so a cell of their own, number −1. Nothing had to be said about it:
# rounding *down* does it.
#
# {{beginners: Cell}}
#
# ### Exercise 2.2 · The mask of S²-Attn
#
# Now all heads at once: a boolean array of $H$ heads, $N$ queries and $N$ keys. The first `num_heads // 2` heads are
# plain; on the others cells begin at token `shift`. An odd number of heads is welcome (a model that you meet in lesson
# 09 has nine).


# %% exercise="s2_mask" difficulty=3 importance=5 minutes=10 points=3
def s2_mask(seq_len, group_size, num_heads, shift):
    """bool (num_heads, seq_len, seq_len), True where on this head the query may look at the key."""
    ### BEGIN SOLUTION
    head, query, key = np.ogrid[:num_heads, :seq_len, :seq_len]
    start = np.where(head < num_heads // 2, 0, shift)
    same_cell = (query - start) // group_size == (key - start) // group_size
    return same_cell & (key <= query)
    ### END SOLUTION


# %% check="s2_mask"
check.s2_mask(s2_mask)

# %% [markdown] hints="s2_mask"
# Write down for one head where its first cell begins: 0 on a plain head, `shift` on a shifted one. With that number the
# rule above is the same for all heads.
#
# ---
# `np.ogrid[:num_heads, :seq_len, :seq_len]` gives three axes at once: heads, queries, keys. They broadcast to the shape
# you need.
#
# ---
# `start = np.where(head < num_heads // 2, 0, shift)` has one number for each head. Subtract it from query and key
# before you divide, and compare the *true* positions for "not later".

# %% [markdown]
# This is the whole of `S2Geometry.mask`, and the geometry lists the cells too:

# %%
head, query, key = np.ogrid[:2, :8, :8]
start = np.where(head < 1, 0, 2)
same_cell = (query - start) // 4 == (key - start) // 4
assert np.array_equal(geometry.mask(), same_cell & (key <= query))
for name, shifted in (("plain head:  ", False), ("shifted head:", True)):
    print(name, [[*cell[0]] for cell in geometry.cells(shifted=shifted)])

# %% [markdown]
# ### What it costs
#
# A cell of $n$ tokens has $1 + 2 + \dots + n = n(n+1)/2$ pairs. A head is the sum of its cells; no mask is needed to
# count.
#
# ### Exercise 2.3 · Count without looking
#
# How many pairs do all heads compute together, with a shift of `group_size // 2`? Think of the short cell at the
# beginning of a shifted head, of what is left over at the end of both kinds, and of odd numbers of heads.


# %% exercise="count_pairs" difficulty=3 importance=3 minutes=10 points=2
def count_pairs(seq_len, group_size, num_heads):
    """int: the pairs of all heads, shifted by half a group, boundary "split"."""

    ### BEGIN SOLUTION
    def pairs(first):  # of a head whose full cells begin at token `first`
        starts = range(first, seq_len, group_size)
        sizes = [min(first, seq_len), *(min(group_size, seq_len - start) for start in starts)]
        return sum(n * (n + 1) // 2 for n in sizes)

    plain_heads = num_heads // 2
    return plain_heads * pairs(0) + (num_heads - plain_heads) * pairs(group_size // 2)
    ### END SOLUTION


# %% check="count_pairs"
check.count_pairs(count_pairs)

# %% [markdown] hints="count_pairs"
# List the sizes of the cells first. For 10 tokens in groups of 4 a plain head has cells of 4, 4 and 2, a shifted head
# of 2, 4 and 4.
#
# ---
# One function for both kinds of heads: a head whose full cells begin at token `first` has a cell of `first` tokens, and
# then one at each of `range(first, seq_len, group_size)`, of `group_size` tokens or as many as are left.
#
# ---
# Sum `n * (n + 1) // 2` over the sizes (a cell of 0 tokens adds nothing), multiply the plain sum by `num_heads // 2`
# and the shifted one by the other heads. Where the text is shorter than the shift, the first cell is `min(first,
# seq_len)`.

# %% [markdown]
# `S2Geometry.pairs` counts in this way, so it does not mind lengths whose mask no machine could hold. Small numbers
# first, then the size that people train at, with groups of a quarter of the length as in the paper:

# %%
for length, group in ((8, 4), (1024, 256), (32768, 8192), (32768, 2048)):
    full = S2Geometry(length, length, 2, shift=0).pairs()
    sparse = S2Geometry(length, group, 2).pairs()
    share = f"{sparse:13,} of {full:13,} pairs, {sparse / full:6.1%}"
    print(f"{length:6,} tokens in groups of {group:5,}: {share}")

# %% [markdown]
# With a group of a quarter of the length it is about a quarter of the pairs, at any length: a large saving, and still
# quadratic. Where the group stays while the text grows, the share falls. How large is the group, then?

# %%
course.predict(
    "02.group",
    "Llama 2 was trained on 4,096 tokens. LongLoRA extends it to 32,768. How large is a group in that training?",
    unit="tokens",
)

# %% [markdown]
# {{claim: group-is-original-context}}

# %% claim="group-is-original-context"
from longlora_edu.longlora import LongLoRAConfig

for original, target in ((4096, 8192), (4096, 16384), (4096, 32768), (2048, 8192), (256, 2048)):
    group = LongLoRAConfig(target).pattern.group_size
    same = "= the original context" if group == original else ""
    print(f"{original:5,} to {target:6,} tokens: group {group:5,} {same}")
course.reveal(
    "02.group",
    LongLoRAConfig(32768).pattern.group_size,
    "A quarter of the new length, and not the old length. So even inside a group there are "
    "distances that the model has never seen before.",
    unit="tokens",
)

# %% [markdown]
# Does the shift itself cost anything, and does a larger one cost more? Commit first.

# %%
course.predict(
    "02.shift",
    "32 tokens in groups of 8, two heads. Which shift computes the most pairs?",
    choices=["Shift 0: none at all", "Shift 1", "Shift 4: half a group", "Shift 7: the largest"],
)

# %% [markdown]
# {{claim: larger-shift}}


# %% claim="larger-shift"
def layers_from_end_to_end(geometry, most=40):
    heard = (layers for layers in range(1, most) if geometry.reach(layers)[-1, 0])
    return next(heard, "no number of")


pairs_by_shift = {}
for shift in range(8):
    shifts = S2Geometry(32, 8, 2, shift=shift)
    pairs_by_shift[shift] = shifts.pairs()
    across = int((shifts.mask() & ~S2Geometry(32, 8, 2, shift=0).mask()).sum())
    print(
        f"shift {shift}: {shifts.pairs()} pairs, {across:2} of them across a wall; "
        f"the ends are connected after {layers_from_end_to_end(shifts)} layers"
    )
most = max(pairs_by_shift, key=pairs_by_shift.get)
course.reveal(
    "02.shift",
    {0: "Shift 0: none at all"}[most],
    "Every shift leaves two short cells at the ends in place of a full one, so it computes a few "
    "pairs fewer, and half a group the fewest. What half a group is best at is another thing: it "
    "opens the most pairs across each wall.",
)

# %% [markdown]
# {{claim: shift-is-free}}

# %% claim="shift-is-free"
for boundary in ("split", "wrap", "masked"):
    shifted = S2Geometry(8192, 2048, 32, boundary=boundary)
    plain = replace(shifted, shift=0)
    print(f"{boundary:6}: {shifted.pairs():,} pairs with the shift, {plain.pairs():,} without")

# %% [markdown]
# ## Predict: what the shift is for
#
# So far we have drawn. Now a model shall *need* the shift. The task: somewhere among meaningless filler stands a
# **key**, one of a few values; a little later comes a question mark, and the model is to name the key. Key and question
# always stand in two neighbouring groups, on either side of a wall, but within half a group of it: so inside one cell
# of a shifted head.
#
# Two small models of one layer are trained from scratch, each under its own pattern. They differ in the shift only.

# %%
without_shift = profile.choose(
    laptop=probe.ProbeSettings(shift=0),
    ci=probe.ProbeSettings(seq_len=32, group_size=8, values=4, steps=60, shift=0),
)
with_shift = replace(without_shift, shift=without_shift.group_size // 2)
print(
    f"{with_shift.seq_len} tokens in groups of {with_shift.group_size}, {with_shift.values} keys, "
    f"{with_shift.steps} steps; guessing is right in {with_shift.chance:.1%}"
)
course.predict(
    "02.probe",
    "The model without the shift is trained on this task, then scored under the same pattern. How often is it right?",
    choices=[
        "As often as a guess",
        "More often than a guess, with many errors",
        "Nearly always: it trained for it",
    ],
)

# %% [markdown]
# ## Play: train both
#
# Before anything runs, ask the geometry: in how many of all places where key and question can stand is there a way from
# the one to the other? And what is the best score that this permits?

# %%
for name, settings in (("without the shift", without_shift), ("with the shift", with_shift)):
    connected = probe.path_exists(settings).mean()
    best = connected + (1 - connected) * settings.chance
    print(f"{name:17}: connected in {connected:4.0%} of places, so right in {best:.1%} at best")

# %% [markdown]
# Where nothing connects them, the answer cannot depend on the key, whatever is learned: not a bad score by bad luck,
# but **chance by construction**. Now train. Each takes a few seconds.

# %% tags=["training"]
result_without = probe.run_probe(without_shift)
print("without the shift:", f"{result_without.accuracy.rate:.1%} right")

# %% tags=["training"]
result_with = probe.run_probe(with_shift)
print("with the shift:", f"{result_with.accuracy.rate:.1%} right")

# %% [markdown]
# ## Reveal: what the shift is for

# %%
score, chance = result_without.accuracy, result_without.chance
low, high = score.interval
assert low <= chance <= high < result_with.accuracy.rate
course.reveal(
    "02.probe",
    "As often as a guess",
    f"{score.rate:.1%} of {score.trials} questions are answered right, where a guess is right in "
    f"{chance:.1%}. With the shift it is {result_with.accuracy.rate:.1%}.",
)
show_probe([result_with, result_without])

# %% [markdown]
# On the left: the bar of the plain head has a wall between key and question, the bar of the shifted head has one cell
# for both. On the right: with the shift the model finds out; without it, training goes on and on about nothing.
#
# Is the little model perhaps too weak, and the shift not the point? Put key and question *inside* one group, and leave
# the shift away:

# %% tags=["training"]
inside = probe.run_probe(replace(without_shift, place="inside"))
print(f"no shift, but key and question inside one group: {inside.accuracy.rate:.1%} right")

# %% [markdown]
# The same model learns it at once. It was the wall.
#
# And when training is over? This question comes up in every discussion of LongLoRA: which attention does the finished
# model use?

# %%
course.predict(
    "02.dense",
    "Both models are now given full attention, every wall removed, and no further training. Who answers right?",
    choices=[
        "Both",
        "Only the one trained with the shift",
        "Only the one trained without it",
        "Neither",
    ],
)

# %%
for name, result in (("with", result_with), ("without", result_without)):
    rates = f"{result.accuracy.rate:6.1%} right as trained, {result.dense.rate:6.1%} with full attention"
    print(f"trained {name:7} the shift: {rates}")
halfway = (1 + chance) / 2
assert result_without.dense.rate < halfway < result_with.dense.rate
course.reveal(
    "02.dense",
    "Only the one trained with the shift",
    "S²-Attn is for training. In use every head has full attention, and what was learned through "
    "the shifted cells works there too. What could never be heard in training was never learned, "
    "and open walls do not help afterwards.",
)

# %% [markdown]
# {{beginners: Inference}}
#
# ## Predict: through the layers
#
# One layer carries news across one wall. A text has many walls, and a model many layers.

# %%
course.predict(
    "02.layers",
    "16 tokens in 4 groups of 4, shift 2, boundary split. After how many layers can the last token hear the first?",
    unit="layers",
)

# %% [markdown]
# ## Play: add layers
#
# **One task.** Add layers until the square at the bottom left of the last picture is filled: that is token 15 hearing
# token 0. Then try other shifts. Does a smaller one need more layers?

# %%
explorer(n=16, g=4, heads=2, layers=2)

# %% [markdown]
# ## Reveal: through the layers
#
# The number in a square is the layer after which the row hears the column.

# %%
four_groups = S2Geometry(16, 4, 2)
needed = layers_from_end_to_end(four_groups)
course.reveal("02.layers", needed, "The bottom left corner of the picture below.", unit="layers")
plots.show_reach(four_groups, needed)

# %% [markdown]
# {{beginners: Layer}}
#
# {{beginners: Reach}}
#
# How does it come about? Follow the last token back. On top is the last layer: its plain head hears as far back as its
# own group begins. One layer below, a shifted head hears half a group further; below that, a plain head again. They
# take turns:

# %%
plots.show_hops(four_groups)

# %% [markdown]
# And with a single kind of head there is no turn to take. Without the shift the way back ends in the first hop:

# %%
print(plots.describe_hops(S2Geometry(16, 4, 2, shift=0)))

# %% [markdown]
# ## Build: reach
#
# Say it in algebra. Let $M$ be the table of one layer: $M_{ij}$ is true if on *any* head query $i$ looks at key $j$.
# After one layer $i$ has heard $j$ if $M_{ij}$. After two, if there is somebody in between, a token $t$ with $M_{it}$
# and $M_{tj}$. That is a product of tables, with *or* for plus and *and* for times:
#
# $$R_L = M \cdot R_{L-1}, \qquad R_0 = \text{everybody has heard themselves.}$$
#
# ### Exercise 2.4 · Who hears whom
#
# From the masks of one layer (heads, queries, keys) and a number of layers, compute the boolean table $R_L$: rows hear,
# columns are heard.


# %% exercise="heard_after" difficulty=3 importance=5 minutes=10 points=3
def heard_after(mask, num_layers):
    """bool (n, n): has the row heard the column? Each layer has this mask, bool (h, n, n)."""
    ### BEGIN SOLUTION
    step = mask.any(axis=0)
    heard = np.eye(len(step), dtype=bool)
    for _ in range(num_layers):
        heard = step @ heard
    return heard
    ### END SOLUTION


# %% check="heard_after"
check.heard_after(heard_after)

# %% [markdown] hints="heard_after"
# First make one table of the layer out of those of its heads. It is enough if one head looks.
#
# ---
# Start from `np.eye(n, dtype=bool)`: before the first layer everybody has heard themselves. Then take one step for each
# layer.
#
# ---
# For boolean arrays `a @ b` is already the product with *or* and *and*. `heard = step @ heard`, once for each layer.

# %%
step, heard = four_groups.mask().any(axis=0), np.eye(16, dtype=bool)
for layers in range(1, 9):
    heard = step @ heard
    assert np.array_equal(heard, four_groups.reach(layers))
    print(f"after {layers} layers the last token hears {heard[-1].sum():2} of 16 tokens")

# %% [markdown]
# ### Exercise 2.5 · How many layers?
#
# Look at the picture of the way back once more: one hop to the beginning of the last group, and then how many for each
# wall? Give the number of layers until the last token hears the first, for $r$ groups of equal size.


# %% exercise="layers_needed" difficulty=2 importance=4 minutes=5 points=2
def layers_needed(num_groups):
    """int: layers until the last token hears the first, boundary "split", any shift above 0."""
    ### BEGIN SOLUTION
    return 2 * num_groups - 1
    ### END SOLUTION


# %% check="layers_needed"
check.layers_needed(layers_needed)

# %% [markdown] hints="layers_needed"
# With a single group one layer is enough. Count for two groups with your finger: where does the first hop end, where
# the second?
#
# ---
# From the beginning of one group to the beginning of the group before it takes two hops: a shifted head crosses the
# wall, a plain head goes on to the beginning.
#
# ---
# One hop to begin with, and two for each of the `num_groups - 1` walls.

# %% [markdown]
# The shift does not appear in it. A small shift makes one hop short and the other long, and together they are always
# one group: two layers. Counted, for all shifts and some numbers of groups:

# %%
for groups in (1, 2, 3, 4, 8):
    geometries = [S2Geometry(6 * groups, 6, 2, shift=shift) for shift in range(1, 6)]
    counted = {layers_from_end_to_end(geometry) for geometry in geometries}
    assert counted == {2 * groups - 1}
    print(f"{groups} group{'s' * (groups > 1)}: {2 * groups - 1} layers, for each of {len(geometries)} shifts")

# %% [markdown]
# With groups of a quarter of the length it is 7 layers at *any* length, and a model with 32 layers has them many times
# over. But see how quickly it stops being true:

# %% [markdown]
# {{claim: overlap-connects-everything}}

# %% claim="overlap-connects-everything"
for layers, groups in ((32, 4), (32, 16), (4, 4)):
    reach = S2Geometry.with_groups(64, groups, 2).reach(layers)
    print(
        f"{layers:2} layers, {groups:2} groups: the last token can hear {reach[-1].mean():.0%} "
        f"of the text, the first token {'included' if reach[-1, 0] else 'not included'}"
    )

# %% [markdown]
# Reach says what *can* arrive. Whether a model makes use of it is for training to say. So back to the probe, with the
# key further away: first half of a group, and the question in the first half of the *next* one. No cell has both of
# them. One layer is not enough by construction; two have a way, by a token in between that picks up the key and hands
# it on.

# %% tags=["training"]
steps = profile.choose(laptop=200, ci=20)
far = probe.ProbeSettings(seq_len=32, group_size=8, values=4, place="far", steps=steps)
one_layer = probe.run_probe(replace(far, steps=steps // 2))
print(f"one layer: {one_layer.accuracy.rate:.1%} right, where {one_layer.ceiling:.1%} is possible")

# %% tags=["training"]
two_layers = probe.run_probe(replace(far, layers=2))
score = two_layers.accuracy.rate
print(f"two layers: {score:.1%} right, where {two_layers.ceiling:.1%} is possible")
print(f"the same model with full attention: {two_layers.dense.rate:.1%} right")

# %% [markdown]
# The relay takes longer to learn, because one layer must fetch the key *before* it is asked for. And look at the last
# line. The relay was learned under walls; with full attention the tokens in between hear other things too, and much of
# what was learned is lost. That is the *mismatch of training and inference* in a nutshell. Nobody promises that dense
# use works after sparse training: it has to be measured, which is what [lesson 08](08_did_it_work.ipynb) does on text.
#
# {{beginners: Mismatch of training and inference}}

# %% [markdown]
# ## Predict: the seam
#
# Back to the last line of the roll. On a shifted head the published form puts tokens 6, 7, 0 and 1 into one group, in
# this order, and lets each look at those before it *in the group*.

# %%
print(np.roll(np.arange(8), -2).reshape(-1, 4))
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

# %% [markdown]
# ## Play: the boundary
#
# **One task.** Point at token 0 and read what it looks at on a shifted head. Then move the shift: for which one do most
# pairs look into the future? Compare with the boundaries `split` and `masked`.

# %%
explorer(n=8, g=4, heads=2, boundary="wrap", layers=1)

# %% [markdown]
# ## Reveal: push one value
#
# Do not trust a drawing. Take the attention itself, push **one** value, that of the last token, and look which outputs
# move. Nobody but the last token itself has any business hearing it.


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
for rule in rules:
    print(f"{rule.boundary:6}: pushing token 7 moves outputs {heard_by(s2_attention, rule, 7)}")

# %%
assert heard_by(s2_attention, rules[1], 7) == [0, 1, 7]
course.reveal(
    "02.leak",
    "Yes: the first tokens see the last ones",
    "After the roll tokens 0 and 1 stand behind 6 and 7, and what is not later in the group is not "
    "therefore earlier in the text.",
)
plots.show_boundaries(rules)

# %% [markdown]
# {{beginners: Perturbation test}}
#
# {{beginners: Leak}}
#
# {{beginners: Boundary}}
#
# - **wrap** is what the roll does, and what the paper prints. Dashed outlines are one cell in several pieces. The
#   hatched pairs look into the future.
# - **split** cuts the cell at the seam: two short cells. This is what the authors' own code for flash attention
#   computes.
# - **masked** keeps the cell and repairs the order: the last tokens may look at the first ones, never back.
#
# Does it matter that the group is shared? Some say it even helps:

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

# %%
for shift in (1, 2, 4, 6, 7):
    wrapped = S2Geometry(32, 8, 2, shift=shift, boundary="wrap")
    ahead = np.triu(wrapped.mask(), k=1).sum()
    assert ahead == wrapped.future_pairs() == shift * (8 - shift)
    print(f"shift {shift}: {shift} first tokens look at {8 - shift} last ones, {ahead:2} pairs a head")

# %% [markdown]
# The product $s\,(G - s)$ is largest at $s = G/2$, the published shift. Still, compared with all pairs it is a thin
# path, and the authors called it a border effect. Let the layers have their say:

# %% [markdown]
# {{claim: leak-is-harmless}}

# %% claim="leak-is-harmless"
leaky = S2Geometry(32, 8, 2, boundary="wrap")
future = ~np.tri(32, dtype=bool)
for layers in (1, 2, 4, 6, 8):
    share = leaky.reach(layers)[future].mean()
    print(f"after {layers} layers {share:.1%} of all future pairs are connected")
print("under split:", int(S2Geometry(32, 8, 2).reach(8)[future].sum()), "future pairs")

# %% [markdown]
# After $2r$ layers, here 8, every token can hear every other, later ones included. In a training under this rule no
# token's loss is surely that of a language model any more.
#
# ### Exercise 2.7 · The masked boundary
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
# Under **masked** the last token hears the first after a single layer, because they share a cell, and nothing leaks.
# Why then is **split** the default? It takes any length, it is what the authors' fast code computes, and it has no pair
# whose distance is almost the whole text beside pairs of at most one group. Choose otherwise with `S2Geometry(…,
# boundary="masked")`.

# %% [markdown]
# ## Break it
#
# Bugs of this kind are quiet. Below is attention in three lines and the masked boundary in four. One comparison is
# broken on purpose: true order replaced by rolled order. Run the usual checks on both, and then push the last value.


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
# training as well, and even shine in it, because a model that sees the end of the text while it guesses the beginning
# may have a *lower* loss; [lesson 10](10_bug_gallery_and_critics.ipynb) trains one that does. Push your own attention
# whenever you write one. That lesson has more bugs of this kind, most of them published.
#
# ## Recap
#
# - **Who sees whom.** Each head cuts the text into cells and looks backwards inside them. On half of the *heads* all
#   cells begin half a group later; that is the shift, it costs nothing, and it is there in training only.
# - **How far.** Plain and shifted heads take turns: two layers for each wall, $2r - 1$ layers from end to end with $r$
#   groups. Without the shift, never.
# - **Where the future leaks.** At the seam of the rolled form, $s\,(G - s)$ pairs on every shifted head. Split it or
#   mask it, and push one value to be sure.
#
# Words of this lesson in the glossary: [group](glossary.md#group), [shift](glossary.md#shift),
# [cell](glossary.md#cell), [reach](glossary.md#reach), [leak](glossary.md#leak), [boundary](glossary.md#boundary).
#
# ## Quiz

# %%
course.quiz(
    "02.quiz",
    course.Question(
        "A model has 9 query heads. How many are shifted?",
        right=("5", "The first 9 // 2 = 4 heads are plain, all others are shifted."),
        wrong=[
            ("4", "Four are plain: the first 9 // 2. The one in the middle goes to the others."),
            ("9, by half of their tokens", "A shifted head shifts all of its tokens."),
            ("None: the number must be even", "The rule needs no even number, only some code does."),
        ],
    ),
    course.Question(
        "8 groups, 6 layers, boundary split. What can the last token learn of the first in training?",
        right=("Nothing", "That would take 15 layers. What cannot arrive cannot be learned."),
        wrong=[
            (
                "Everything: the windows overlap",
                "They do, and hand on half a group a layer: 6 layers do not get there.",
            ),
            (
                "Everything, with enough training",
                "Training cannot use what cannot arrive: think of the probe at chance.",
            ),
            (
                "A little, by the residual stream",
                "It carries a token's own vector upwards, never to another token.",
            ),
        ],
    ),
    course.Question(
        "You use the trained model to write. Which attention does it have?",
        right=(
            "Full attention on every head",
            "S²-Attn is for training. In use no wall is left, and nothing of it is in the weights.",
        ),
        wrong=[
            (
                "The same groups and shift",
                "That is what one would expect of a pattern it was trained with. It is not done.",
            ),
            ("Groups without the shift", "Then nothing would cross a wall. In use there are none."),
            (
                "A sliding window of one group",
                "That is another family of methods; here all tokens before are visible.",
            ),
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
# Next: [lesson 03](03_reference.ipynb) turns the mask of this lesson into attention, forwards and backwards, and
# [lesson 04](04_meaning_to_speed.ipynb) makes it fast.

# %% [markdown] instructor=true
# **For the teacher.** Predicted wrong answers, and what to say:
#
# - *02.wall*: "100" or "all 16", from thinking of layers as reach. Ask: who in the second group has heard of token 3?
#   Nobody, so there is nobody to pass it on.
# - *02.half*: tokens (the word "shift" suggests it) and alternate groups (a sentence found in several summaries). Let
#   the class find the pictures that do not change when the shift moves.
# - *02.group*: 4,096. It is true for an extension by four, the first one in the paper, and only there.
# - *02.shift*: "the largest". Draw two short cells beside a full one: what is cut off is the rectangle between them.
# - *02.probe*: "more often than a guess". Insist on *by construction*: the output does not depend on the key at all.
# - *02.dense*: "both". The walls are gone, but nobody ever learned to look there.
# - *02.layers*: 4 (one group a layer) or 8. Walk the staircase with a finger; the first hop is the one forgotten.
# - *02.leak*: "the last see the first". It is what one would want; the rolled order does the opposite. Write 6 7 0 1 on
#   the board and ask who stands behind whom.
#
# **Board.** Two bars of cells, the lower one moved by half a cell; a staircase through them from right to left. Under
# it the seam: 6 7 | 0 1, with an arrow from 0 to 7 in another colour.
#
# **Short of time?** Play and Reveal of the shift, the probe, the staircase, the push: twenty minutes without an
# exercise.
