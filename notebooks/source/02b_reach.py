# ---
# jupyter:
#   longlora_edu:
#     title: Reach
# ---

# %% [markdown]
# **After this lesson you can**
#
# - work out after how many layers one word hears another, and check it by counting;
# - compute who has heard whom, in four lines;
# - say why a path is not yet a use, and what happens when the walls come down after training.
#
# **You need first** the cells of plain and shifted heads ([lesson 02a](02a_wall_and_shift.ipynb)): 12 words in groups of
# 4 with a shift of 2; which words may word 8 look at on a shifted head?
#
# **Where it runs**: anywhere, on one core, without a GPU. Sections marked *more* can wait.

# %%
from dataclasses import replace

import numpy as np

from longlora_edu import course, plots
from longlora_edu.course.checks import l02b_reach as check
from longlora_edu.geometry import S2Geometry
from longlora_edu.training import probe
from longlora_edu.widgets import moving
from longlora_edu.widgets.explorer import explorer

# %% [markdown]
# ## Why
#
# > *The dog that chased the cat all afternoon was tired, so it …*
#
# In groups of 4, *dog* stands in the first group and *it* in the last. No head of any kind lets *it* look at *dog*. Still,
# S²-Attn trains models to use whole books. News must travel: one word hears, the next layer lets another word hear what
# that one heard. This lesson follows it.

# %%
words = course.SENTENCE
sentence = S2Geometry(len(words.split()), 4, 2)
it, dog = words.split().index("it"), words.split().index("dog")
print("may 'it' look at 'dog' on a plain head?  ", bool(sentence.allows(0, it, dog)))
print("may 'it' look at 'dog' on a shifted head?", bool(sentence.allows(1, it, dog)))
plots.show_masks(sentence)

# %% [markdown]
# ## Predict: through the layers
#
# One layer carries news across one wall. A text has many walls, and a model many layers.


# %%
def layers_from_end_to_end(geometry, most=40):
    heard = (layers for layers in range(1, most) if geometry.reach(layers)[-1, 0])
    return next(heard, None)


four_groups = S2Geometry(16, 4, 2)
course.predict(
    "02.layers",
    "24 tokens in 6 groups of 4, shift 2, boundary split. After how many layers can the last token hear the first?",
    unit="layers",
)
course.reveal(
    "02.layers",
    layers_from_end_to_end(S2Geometry(24, 4, 2)),
    "Two layers for each of the five walls, and one to get to the beginning of the last group.",
    unit="layers",
)

# %% [markdown]
# ## Play: add layers
#
# **One task.** Here are 16 tokens, in 4 groups. Add layers until the square at the bottom left of the last picture is
# filled: that is token 15 hearing token 0. Then try other shifts. Does a smaller one need more layers?

# %%
course.after("02.layers", explorer, n=16, g=4, heads=2, layers=2)

# %% [markdown]
# ## Reveal: through the layers
#
# The same 16 tokens. The number in a square is the layer after which the row hears the column.


# %% after="02.layers"
plots.show_reach(four_groups, layers_from_end_to_end(four_groups))

# %% [markdown]
# {{beginners: Layer}}
#
# {{beginners: Reach}}
#
# How does it come about? Back to the sentence. *dog* says something, and each layer carries it on. Press Play, or move
# the slider layer by layer: blue is a hop on a plain head, orange on a shifted one.

# %% after="02.layers"
moving.show_pulse(words, group_size=4, source=dog)

# %% [markdown] after="02.layers"
# Now backwards, from the last word to the first: 11→8, 8→6, 6→4, 4→2, 2→0. Five hops. Plain and shifted heads take turns.
# The same for our 16 tokens, the last layer on top:

# %% after="02.layers"
plots.show_hops(four_groups)

# %% [markdown]
# With one kind of head there are no turns to take. Without the shift the way back ends at the first hop:

# %%
print(plots.describe_hops(S2Geometry(16, 4, 2, shift=0)))

# %% [markdown]
# ## Build: reach
#
# Now in algebra. Let $M$ be the table of one layer: $M_{ij}$ is true if on *any* head query $i$ looks at key $j$.
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

# %% worked="heard_after"
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

# %% worked="layers_needed"
for groups in (1, 2, 3, 4, 8):
    geometries = [S2Geometry(6 * groups, 6, 2, shift=shift) for shift in range(1, 6)]
    counted = {layers_from_end_to_end(geometry) for geometry in geometries}
    assert counted == {2 * groups - 1}
    print(f"{groups} group{'s' * (groups > 1)}: {2 * groups - 1} layers, for each of {len(geometries)} shifts")

# %% [markdown]
# ### How far is far enough? · more
#
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
# {{claim: larger-shift}}

# %% claim="larger-shift"
for shift in range(8):
    shifts = S2Geometry(32, 8, 2, shift=shift)
    layers = layers_from_end_to_end(shifts)  # adds layers until the last token hears the first
    across = int((shifts.mask() & ~S2Geometry(32, 8, 2, shift=0).mask()).sum())
    print(
        f"shift {shift}: {shifts.pairs()} pairs, {across:2} of them across a wall; "
        f"the ends are {f'connected after {layers} layers' if layers else 'never connected'}"
    )

# %% [markdown]
# ## Predict: the walls come down
#
# Reach says what *can* arrive. Training decides whether a model uses it. Back to the probe of
# [lesson 02a](02a_wall_and_shift.ipynb): a key on one side of a wall, a question on the other. And when training is over?
# S²-Attn is for training; in use every head has full attention. So give it to both models.

# %% tags=["training"]
quick = profile.choose(
    laptop=probe.ProbeSettings(),
    ci=probe.ProbeSettings(seq_len=32, group_size=8, values=4, steps=60),
)
results = {"with": probe.run_probe(quick), "without": probe.run_probe(replace(quick, shift=0))}
for name, result in results.items():
    print(f"trained {name:7} the shift, walls as trained: {result.accuracy.rate:6.1%} right")

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
dense = {name: course.recorded("probe")[name]["dense"] for name in ("with", "without")}
rates = {name: score["successes"] / score["trials"] for name, score in dense.items()}
course.reveal(
    "02.dense",
    "Only the one trained with the shift",
    f"On record: {rates['with']:.0%} and {rates['without']:.0%}. What a model learned through the "
    "shifted cells works with full attention too. What it could never hear in training it never learned, and open walls "
    "do not help afterwards.",
)

# %% [markdown]
# ## Reveal: the walls come down

# %% after="02.dense"
for name, result in results.items():
    said = f"{result.accuracy.rate:6.1%} right as trained, {result.dense.rate:6.1%} with full attention"
    print(f"trained {name:7} the shift: {said}")
halfway = (1 + quick.chance) / 2
assert results["without"].dense.rate < halfway < results["with"].dense.rate

# %% [markdown]
# {{beginners: Inference}}
#
# ### The relay · more
#
# Now the key stands further away: in the first half of a group, and the question in the first half of the *next* one. No
# cell holds both. One layer is not enough by construction. Two have a way: a token in between picks up the key and hands
# it on.

# %% tags=["training"]
steps = profile.choose(laptop=200, ci=20)
far = probe.ProbeSettings(seq_len=32, group_size=8, values=4, place="far", steps=steps)
one_layer = probe.run_probe(replace(far, steps=steps // 2))
low, high = one_layer.accuracy.interval
print(f"one layer: {one_layer.accuracy.rate:.1%} right, and {one_layer.ceiling:.1%} is possible without luck")
print(f"with luck allowed for, that is a rate between {low:.1%} and {high:.1%}")

# %% tags=["training"]
two_layers = probe.run_probe(replace(far, layers=2))
score = two_layers.accuracy.rate
print(f"two layers: {score:.1%} right, and {two_layers.ceiling:.1%} is possible")
print(f"the same model with full attention: {two_layers.dense.rate:.1%} right")

# %% [markdown]
# The relay takes longer to learn, because one layer must fetch the key *before* anyone asks for it. And look at the last
# line. The model learned the relay under walls. With full attention the tokens in between hear other things too, and much
# of what it learned is lost. That is the *mismatch of training and inference* in a nutshell. Nobody promises that dense use
# works after sparse training. You have to measure it, and [lesson 08](08_did_it_work.ipynb) does.
#
# {{beginners: Mismatch of training and inference}}
#
# ## Break it
#
# The idea sounds as if one could shift *all* heads: then every wall is gone from its old place. Try it.


# %%
half, every = sentence.mask(), sentence.mask()[[1, 1]]  # one plain and one shifted head; two shifted ones
for name, mask in (("half of the heads shifted", half), ("all heads shifted", every)):
    paths = np.linalg.matrix_power(mask.any(axis=0).astype(float), 100)  # how many ways through 100 layers
    print(f"{name}: {mask.sum()} pairs, each token sees itself: {bool(mask.any(axis=0).diagonal().all())}")
    print(f"  after 100 layers 'it' hears 'dog': {bool(paths[it, dog])}")

# %% [markdown]
# Only 4 pairs fewer, each token sees itself, and no message comes. But the walls have only moved, and no head sees across
# them. A model trained like this looks healthy. Only a walk through the layers shows the fault.
#
# ## Recap
#
# - **How far.** Plain and shifted heads take turns: two layers for each wall, $2r - 1$ layers from end to end with $r$
#   groups. Without the shift, never.
# - **Any shift does it**, but only if some heads keep the old walls.
# - **Reach is not use.** What cannot arrive is never learned. What can arrive still has to be learned, and may be lost
#   when the walls come down.
#
# Words of this lesson in the glossary: [reach](glossary.md#reach), [layer](glossary.md#layer),
# [inference](glossary.md#inference).
#
# ## Quiz

# %%
course.quiz(
    "02.quiz_reach",
    course.Question(
        "8 groups, 6 layers, boundary split. What can the last token learn of the first in training?",
        right=("Nothing, however long it trains", "That would take 15 layers. What cannot arrive cannot be learned."),
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
    course.Question(
        "You halve the groups and keep the length. What happens to the layers that the last token needs?",
        right=("About twice as many", "Twice as many groups: 2r − 1 becomes 4r − 1."),
        wrong=[
            ("They stay as they are", "Only while the number of groups stays. Here it doubles."),
            ("About half as many", "Smaller groups carry a shorter way: more layers, not fewer."),
            ("One more layer", "Two more for each new wall, and every group got a new wall."),
        ],
    ),
)

# %% [markdown]
# ## Discuss
#
# The small model of this course has 4 layers and trains with 4 groups: its last token cannot hear its first in training.
# In use it answers some questions about what it could not hear. Where could it have learned that?
#
# Next: [lesson 02c](02c_seam_and_leak.ipynb), the seam where the future leaks.

# %% [markdown] instructor=true
# **For the teacher.** Predicted wrong answers, and what to say:
#
# - *02.layers*: 6 (one group a layer) or 12. Walk the staircase with a finger; the first hop is the one forgotten.
# - *02.dense*: "both". The walls are gone, but nobody ever learned to look there.
#
# **Board.** Two bars of cells, the lower one moved by half a cell; a staircase through them from right to left.
#
# **Short of time?** The pulse, the staircase, the dense question: ten minutes without an exercise.
