# ---
# jupyter:
#   longlora_edu:
#     title: The wall and the shift
# ---

# %% [markdown]
# **After this lesson you can**
#
# - say who sees whom in S²-Attn, for any number of tokens, groups and heads, and write the mask in four lines;
# - say half of *what* is shifted;
# - train small models with the shift and without it, and say what it is worth.
#
# **You need first** causal attention (may query 5 look at key 6? what happens to the score of a key that it may not
# look at?) and broadcasting in NumPy (what is the shape of `np.arange(3)[:, None] <= np.arange(4)`?). You need no idea
# of LongLoRA. [Lesson 01](01_why_long_context_is_expensive.ipynb) says why anyone wants this; you can read it later.
#
# **Where it runs**: anywhere, on one core, without a GPU. Sections marked *more* can wait.

# %%
from dataclasses import replace

import numpy as np

from longlora_edu import course, plots
from longlora_edu.course.checks import l02a_wall_and_shift as check
from longlora_edu.course.play.retrieval import show_probe
from longlora_edu.geometry import S2Geometry
from longlora_edu.longlora import LongLoRAConfig
from longlora_edu.reference import s2_attention
from longlora_edu.training import probe
from longlora_edu.widgets import moving
from longlora_edu.widgets.explorer import explorer

# %% [markdown]
# ## Why
#
# > *The dog that chased the cat all afternoon was tired, so it …*
#
# You know who slept. To know it, you looked back ten words, from *it* to *dog*. A model does the same, and it pays for
# each look: twice the text, four times the looks.
#
# LongLoRA saves looks. It cuts the text into groups, and while it trains, each word looks around in its own group only.
# Now there are walls. This lesson asks what a wall does, and how news gets across. ([Lesson 00](00_start_here.ipynb) has
# shown you some of it already. Then the first predictions ask what you still know; here you build it.)
#
# Rows are words that look (*queries*), columns are words that are looked at (*keys*). A coloured square is a pair that
# the machine computes.

# %%
words = course.SENTENCE  # one word, one token
n = len(words.split())
dense, grouped = S2Geometry(n, n, 2, shift=0), S2Geometry(n, 4, 2, shift=0)
left, right = axes = plots.style.new_axes(plots.SCREEN, 2, width=1.2)
plots.plot_mask(dense, 0, ax=left).set_title("Full attention: 78 pairs", loc="left", fontsize=plots.SCREEN.text)
plots.plot_mask(grouped, 0, ax=right).set_title("Groups of 4: 30 pairs", loc="left", fontsize=plots.SCREEN.text)
assert (dense.mask()[0].sum(), grouped.mask()[0].sum()) == (78, 30)
plots.Picture(axes, "Masks over 12 words: full attention computes 78 pairs, three groups of 4 words 30.")

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
# In groups of 4 there is a wall between *chased* and *the cat*. How much of a wall is it, in a deep model?

# %%
course.predict(
    "02.wall",
    "The 12 words in groups of 4, nothing shifted, a model of 100 layers. How many words can "
    "word 6, the third of the second group, hear, itself included?",
    unit="words",
)
heard = S2Geometry(12, 4, 2, shift=0).reach(100)[6]
course.reveal(
    "02.wall",
    int(heard.sum()),
    "It hears its own group up to itself and nobody else. Layer 2 can only pass on what layer 1 heard, and layer 1 heard nothing from the "
    "other side. A hundred layers of nothing are nothing.",
    unit="of 12 words",
)

# %% [markdown]
# ## Play: the wall
#
# **One task.** The shift below is 0, so all heads have the same walls. Point at word 6, *all* (with the
# mouse, or by the arrow keys once the picture has the focus). Add layers until the slider ends. Does it hear more?

# %%
course.after("02.wall", explorer, words=words, g=4, shift=0, heads=2, layers=1)

# %% [markdown]
# ## Reveal: the wall
#
# Your answer stands beside the number, above.

# %% [markdown] after="02.wall"
# So groups alone cut a text into short texts that know nothing of each other.

# %% [markdown]
# Before we do something about the wall, build it.
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
# `query, key = np.ogrid[:seq_len, :seq_len]` gives a column of queries and a row of keys. All that you compare them
# with broadcasts to the whole table, and `&` joins the two tables.

# %% [markdown]
# The library has one rule for all heads and pairs, `S2Geometry.allows`. For a plain head it says the same as the line
# of the exercise:

# %%
geometry = S2Geometry(seq_len=8, group_size=4, num_heads=2)
print(geometry)

# %% worked="plain_mask"
query, key = np.ogrid[:8, :8]
assert np.array_equal(geometry.allows(0, query, key), (query // 4 == key // 4) & (key <= query))

# %% [markdown]
# ## Predict: half of what?
#
# LongLoRA opens the wall by a *shift*. Everybody who has heard of it knows that **half** of something moves by **half**
# a group.

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
course.reveal(
    "02.half",
    "In half of the heads all groups begin half a group later",
    "The first half of the heads stays as it was: the plain heads. On the others, the shifted "
    "heads, all groups begin later. Where one half of the heads has its walls, the other half has "
    "the middle of a group.",
    because={
        "Every second group begins half a group later": "You will find that sentence in summaries. Break it, below, runs it.",
        "The second half of the tokens moves by half a group": "Then a token would sit in another group than its neighbours.",
        "In every second layer all groups begin half a group later": "That opens walls too, and Swin, a model for pictures, "
        "does it. But then news waits for the next layer; here each layer hears across, on half of its heads.",
    },
)

# %% [markdown]
# ## Play: the shift
#
# **One task.** Move the slider from left to right, slowly. Watch the wall between *chased* and *the*. What moves, and
# what stays?

# %%
course.after("02.half", moving.show_shift, words, group_size=4)

# %% [markdown]
# Now the explorer, with four heads: 0 and 1 share one picture, 2 and 3 the other. Point at word 4: on which heads can it
# look at word 3? Set the shift to 0 and back to 2, and see which picture changes.

# %%
course.after("02.half", explorer, words=words, g=4, heads=4, layers=1)

# %% [markdown]
# ## Reveal: half of what

# %% after="02.half"
shifted, plain = (S2Geometry(12, 4, num_heads=4, shift=shift).mask() for shift in (2, 0))
moved = (shifted != plain).any(axis=(1, 2))
print("the shift changes heads", np.flatnonzero(moved).tolist(), "of", [0, 1, 2, 3])
plots.show_masks(S2Geometry(12, 4, num_heads=4))

# %% [markdown]
# {{beginners: Head}}
#
# {{beginners: Shift}}
#
# {{beginners: Plain and shifted heads}}

# %% [markdown] after="02.half"
# Why heads, and not tokens or groups? A layer mixes its heads at the end. What a shifted head brings across a wall then
# stands in the token's own vector, and all heads of the next layer can use it. One other reading is common:

# %% [markdown] after="02.half"
# {{claim: half-of-the-tokens}}

# %% claim="half-of-the-tokens" after="02.half"
eight_heads = S2Geometry(seq_len=16, group_size=4, num_heads=8)
differs = (eight_heads.mask() != eight_heads.mask()[0]).any(axis=2)  # (h, n): other than on head 0?
print("shifted heads:", list(eight_heads.shifted_heads), "of", eight_heads.num_heads)
print("tokens whose row differs, head by head:", differs.sum(axis=1).tolist(), "of 16")

# %% [markdown] after="02.half"
# All tokens of a shifted head are shifted. Two of its rows look like those of a plain head, because the text begins
# there: tokens 0 and 1 have nothing before them that a wall could hide.

# %% [markdown]
# ## Build: all heads
#
# The authors write the shift as a *roll*: on shifted heads everything moves to the left by $s = G/2$, is cut into
# groups, attends, and moves back. (Tokens two places to the left under walls that stay, or walls two places to the right:
# that is the same.) Here are 8 tokens of a shifted head, rolled and cut, a group a line:

# %%
rolled = np.roll(np.arange(8), -2).reshape(-1, 4)
print(rolled)

# %% [markdown]
# {{beginners: Roll}}
#
# The first line is what we want: tokens 3 and 4 sit together. The last line is a surprise, tokens 6 and 7 *and then 0
# and 1*. A roll has no ends, so the end of the text meets its beginning. [Lesson 02c](02c_seam_and_leak.ipynb) is about
# this seam. Until then we cut it there: that is the boundary rule `"split"`, the default here.
#
# Nobody has to roll to say who sits with whom. On a shifted head token $p$ has the coordinate $c = p - s$, its cell is
# $\lfloor c / G \rfloor$, and a query looks at the keys of its own cell that are not later:
#
# $$\text{query } i \text{ looks at key } j \iff \Big\lfloor \frac{i - s}{G} \Big\rfloor = \Big\lfloor \frac{j - s}{G}
# \Big\rfloor \;\text{ and }\; j \le i .$$
#
# A plain head is the same with $s = 0$. In code, for 8 tokens, $G = 4$ and $s = 2$:

# %%
token = np.arange(8)
print("plain head, cell of each token:  ", token // 4)
print("shifted head, cell of each token:", (token - 2) // 4)

# %% [markdown]
# Tokens 0 and 1 have negative coordinates, and so a cell of their own, number −1: `//` rounds *down*.
#
# {{beginners: Cell}}
#
# First put the lines in order. One of them has a blank.

# %%
course.parsons(
    "02.s2_mask_lines",
    "The mask of S²-Attn, all heads at once.",
    [
        "head, query, key = np.ogrid[:num_heads, :seq_len, :seq_len]",
        "start = np.where(head < num_heads // 2, 0, shift)",
        "same_cell = (query - start) // group_size == (key - start) // group_size",
        "return same_cell & (key <= query)",
    ],
    fill=(
        3,
        "key <= query",
        ["query >= key", "(key <= query)", "(query >= key)", "query - key >= 0", "key - query <= 0", "key < query + 1"],
    ),
    advice="The key must not be later. And may a token look at itself?",
    then="The exercise below asks for them once more, as a function that you can run.",
)

# %% [markdown]
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

# %% worked="s2_mask"
head, query, key = np.ogrid[:2, :8, :8]
start = np.where(head < 1, 0, 2)
same_cell = (query - start) // 4 == (key - start) // 4
assert np.array_equal(geometry.mask(), same_cell & (key <= query))
for name, shifted in (("plain head:  ", False), ("shifted head:", True)):
    print(name, [[*cell[0]] for cell in geometry.cells(shifted=shifted)])

# %% [markdown]
# ## Predict: what the shift is for
#
# So far we have drawn. Now a model plays a game. Somewhere among meaningless filler stands a **key** (a symbol to
# remember, not a key of attention), one of a few. A little later comes a question mark, and the model has to name the
# key. Key and question stand on either side of a wall, each within half a group of it: so inside one cell of a shifted
# head.
#
# We train small models of one layer from scratch, each under its own pattern. [Lesson 00](00_start_here.ipynb) has shown
# you two of them: with the shift the model finds the key, without it the model guesses. But perhaps the second one is just
# too weak for the game? So there is a third: no shift either, of the same size, trained for as many steps. Only that key
# and question stand *inside* one group.

# %%
without_shift = profile.choose(
    laptop=probe.ProbeSettings(shift=0),
    ci=probe.ProbeSettings(seq_len=32, group_size=8, values=4, steps=60, shift=0),
)
with_shift = replace(without_shift, shift=without_shift.group_size // 2)
print(
    f"{with_shift.seq_len} tokens in groups of {with_shift.group_size}, {with_shift.values} keys to choose from, "
    f"{with_shift.steps} steps of training; guessing is right in {with_shift.chance:.1%}"
)
course.predict(
    "02.probe",
    "No shift, and key and question inside one group: trained and scored like this, how often is the model right?",
    choices=[
        "As often as a guess",
        "More often than a guess, with many errors",
        "Nearly always",
    ],
)
on_record = course.recorded("probe")["inside"]
scored = on_record["accuracy"]
course.reveal(
    "02.probe",
    "Nearly always",
    f"On record: {scored['successes']} of {scored['trials']}, and a guess is right in one of "
    f"{on_record['settings']['values']}. So the model is not too weak for the game. It was the wall.",
)

# %% [markdown]
# ## Play: train them
#
# Before anything runs, ask the geometry: in how many of all places where key and question can stand is there a way from
# the one to the other? And what is the best score that this permits?

# %% after="02.probe"
inside_group = replace(without_shift, place="inside")
trained = {
    "without the shift": without_shift,
    "with the shift": with_shift,
    "without the shift, inside one group": inside_group,
}
for name, settings in trained.items():
    connected = probe.path_exists(settings).mean()
    best = connected + (1 - connected) * settings.chance
    print(f"{name}: connected in {connected:.0%} of places, so right in {best:.1%} on average, at best")

# %% [markdown] after="02.probe"
# Where nothing connects them, the answer cannot depend on the key, no matter what the model learns. That is no bad luck:
# it is **chance by construction**.

# %% [markdown]
# Now train all three. Each takes a few seconds.

# %% tags=["training"]
result_without = probe.run_probe(without_shift)
result_with = probe.run_probe(with_shift)
inside = probe.run_probe(replace(without_shift, place="inside"))

# %% [markdown]
# ## Reveal: what the shift is for

# %% after="02.probe"
score, chance = result_without.accuracy, result_without.chance
low, high = score.interval
assert low <= chance <= high < result_with.accuracy.rate
print(
    f"without the shift {score.rate:.1%} right (between {low:.0%} and {high:.0%}, luck allowed for); a guess {chance:.1%}"
)
print(f"with the shift    {result_with.accuracy.rate:.1%} right")
print(f"inside one group  {inside.accuracy.rate:.1%} right, without the shift")
show_probe([result_with, result_without])

# %% [markdown] after="02.probe"
# On the left: the plain head has a wall between key and question, the shifted head has one cell for both. On the right:
# with the shift the model finds out; without it, training goes on and learns nothing.

# %% [markdown]
# ### What it costs · more
#
# A cell of $n$ tokens has $1 + 2 + \dots + n = n(n+1)/2$ pairs. A head is the sum of its cells. To count, you need no
# mask.
#
# ### Exercise 2.3 · Count without looking · more
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
# first, then the size that people train at, in large groups and in small ones:

# %%
for length, group in ((8, 4), (1024, 256), (32768, 4096), (32768, 2048)):
    full = S2Geometry(length, length, 2, shift=0).pairs()
    sparse = S2Geometry(length, group, 2).pairs()
    share = f"{sparse:13,} of {full:13,} pairs, {sparse / full:6.1%}"
    print(f"{length:6,} tokens in groups of {group:5,}: {share}")

# %% [markdown]
# ### How large is a group? · more
#
# A group may grow with the text, or keep its size while the text grows. In the first case the share of the pairs stays
# the same, a large saving and still quadratic; in the second it falls. Which does the paper do?

# %%
course.predict(
    "02.group",
    "Llama 2 was trained on 4,096 tokens. LongLoRA extends it to 32,768. How large is a group in that training?",
    unit="tokens",
)
course.reveal(
    "02.group",
    LongLoRAConfig(32768).pattern.group_size,
    "A quarter of the new length, and not the old length. That computes "
    f"{S2Geometry(32768, 8192, 2).pairs() / S2Geometry(32768, 32768, 2, shift=0).pairs():.0%} of the pairs. So even inside a "
    "group there are distances that the model has never seen before.",
    unit="tokens",
)

# %% [markdown] after="02.group"
# {{claim: group-is-original-context}}

# %% claim="group-is-original-context" after="02.group"
for original, target in ((4096, 8192), (4096, 16384), (4096, 32768), (2048, 8192), (256, 2048)):
    group = LongLoRAConfig(target).pattern.group_size
    same = "= the original context" if group == original else ""
    print(f"{original:5,} to {target:6,} tokens: group {group:5,} {same}")

# %% [markdown]
# ### Does the shift cost anything? · more
#
# Commit first.

# %%
course.predict(
    "02.shift",
    "32 tokens in groups of 8, two heads. Which shift computes the most pairs?",
    choices=["Shift 0: none at all", "Shift 1", "Shift 4: half a group", "Shift 7: the largest"],
)
pairs_by_shift = {shift: S2Geometry(32, 8, 2, shift=shift).pairs() for shift in range(8)}
course.reveal(
    "02.shift",
    {0: "Shift 0: none at all"}[max(pairs_by_shift, key=pairs_by_shift.get)],
    "Every shift leaves two short cells at the ends in place of a full one, so it computes a few "
    "pairs fewer, and half a group the fewest. Half a group wins for another reason: it opens the "
    "most pairs across each wall.",
)

# %% after="02.shift"
for shift, pairs in pairs_by_shift.items():
    shifts = S2Geometry(32, 8, 2, shift=shift)
    across = int((shifts.mask() & ~S2Geometry(32, 8, 2, shift=0).mask()).sum())
    print(f"shift {shift}: {pairs} pairs, {across:2} of them across a wall")

# %% [markdown]
# ## Break it
#
# A sentence that you will find in summaries: *every second group is shifted*. In code it becomes a roll inside each second
# group: 4 5 6 7 turn into 6 7 4 5, and the mask goes by seat. Run the usual checks, then push one value and see who
# hears it.

# %%
from longlora_edu.course.bugs import BUGS

sixteen = S2Geometry(seq_len=16, group_size=4, num_heads=2)
q, k, v = np.random.default_rng(0).normal(size=(3, 1, 2, 16, 8))
pushed = v + (np.arange(16) == 6)[:, None]  # one token's value, in group 1
two_readings = {
    "alternate groups": BUGS["alternate_groups"].function,
    "half of the heads": s2_attention,
}
for name, attend in two_readings.items():
    output = attend(q, k, v, sixteen)
    changed = np.abs(attend(q, k, pushed, sixteen) - output).max(axis=(0, 1, 3))
    tokens = np.flatnonzero(changed)
    groups = np.unique(tokens // 4)
    print(f"{name:17}: shape {output.shape}, finite: {bool(np.isfinite(output).all())}")
    print(f"{'':17}  token 6 is heard by {tokens.tolist()}, in groups {groups.tolist()}")

# %% [markdown]
# Shape and finiteness are right. The push shows two faults. Tokens 4 and 5 now sit behind 6 and hear it, though they come
# before it in the text: they look at their future. And nothing leaves the group, so no number of layers will help.
#
# ## Recap
#
# - **Who sees whom.** Each head cuts the text into cells and looks backwards inside them.
# - **The shift.** On half of the *heads* all cells begin half a group later. Without it a wall is a wall in every layer.
# - **What it is for.** Key and question on two sides of a wall: with the shift the model learns to find the key, without
#   it it guesses, and training cannot help.
#
# Words of this lesson in the glossary: [group](glossary.md#group), [shift](glossary.md#shift),
# [cell](glossary.md#cell), [head](glossary.md#head).
#
# ## Quiz

# %%
course.quiz(
    "02.quiz_wall",
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
        "Token 11, groups of 4, shift 2. Which is the first token that it may look at on a shifted head?",
        right=("10", "(11 − 2) // 4 is 2, and the cell with that number begins at 2 · 4 + 2 = 10."),
        wrong=[
            ("8", "That is where its group begins on a plain head."),
            ("9", "That would be half a group back from itself; cells begin at fixed places, not at the token."),
            ("0", "Then nothing would be saved. It looks inside its cell only."),
        ],
    ),
    course.Question(
        "Without a shift, the little model scored like a guess. What would have helped?",
        right=(
            "A shift on half of its heads",
            "It opens a way from key to question. All else works on what arrives, and nothing arrived.",
        ),
        wrong=[
            ("Ten times as many steps", "The output does not depend on the key at all: no step can change that."),
            ("Ten layers instead of one", "All layers have the same walls: what the first does not hear, none hears."),
            ("Wider layers with more weights", "More weights see no further. The wall stands between the tokens."),
        ],
    ),
)

# %% [markdown]
# ## Discuss
#
# A wall is cheap and the shift costs nothing. So why not smaller and smaller groups? What would you expect to be lost
# first, and how would you measure it?
#
# Next: [lesson 02b](02b_reach.ipynb) follows one word through many layers.

# %% [markdown] instructor=true
# **For the teacher.** Predicted wrong answers, and what to say:
#
# - *02.wall*: "100" or "all 12", from thinking of layers as reach. Ask: who in the second group has heard of word 3?
#   Nobody, so there is nobody to pass it on.
# - *02.half*: tokens (the word "shift" suggests it) and alternate groups (a sentence found in several summaries). Let
#   the class find the pictures that do not change when the shift moves.
# - *02.group*: 4,096. It is true for an extension by four, the first one in the paper, and only there.
# - *02.shift*: "the largest". Draw two short cells beside a full one: what is cut off is the rectangle between them.
# - *02.probe*: "more often than a guess", from distrust of a tiny model. It is the control: the same model finds the key
#   where no wall stands. Insist on *by construction*: across a wall its output does not depend on the key at all.
#
# **Board.** Two bars of cells, the lower one moved by half a cell.
#
# **Short of time?** Play and Reveal of the shift, and the probe: twelve minutes without an exercise.
