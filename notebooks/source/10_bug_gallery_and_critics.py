# ---
# jupyter:
#   longlora_edu:
#     title: The bug gallery, and the critics
# ---

# %% [markdown]
# **You will be able to**
#
# - find out who hears whom in any attention function, without reading its code;
# - write a test that catches every published mistake, and say which tests would have missed which;
# - place S²-Attn among its neighbours, and LoRA among the other ways to train few weights;
# - say what later studies criticise, what supports them and what does not, and which questions are open.
#
# **You need first**
#
# - You can draw the mask of a plain and of a [shifted head](glossary.md#plain-and-shifted-heads) (lesson 02).
# - You know what the [reference](glossary.md#reference-implementation) computes (lesson 03).
#
# **Where it runs**: anywhere, on one core, no GPU needed.

# %%
import numpy as np
from einops import rearrange

from longlora_edu import cost, course, reference
from longlora_edu.course import bugs
from longlora_edu.course.checks import l10_bugs as check
from longlora_edu.course.play import bug_gallery, leak_training
from longlora_edu.course.play.tuning import tunings
from longlora_edu.course.play.untrained import bits_under
from longlora_edu.geometry import S2Geometry
from longlora_edu.plots import neighbours

# %% [markdown]
# ## Why
#
# S²-Attn is famous for its two lines of code. It was published wrong in more ways than that. None of these mistakes raises
# an error: shapes are right, the loss falls. So how would you know? This lesson looks at what such a program *does*.

# %% [markdown]
# {{claim: two-lines-of-code}}


# %% claim="two-lines-of-code"
def two_lines(q, k, v, geometry):  # shift and group; attend; ungroup and shift back
    late, g, b = geometry.num_heads // 2, geometry.group_size, len(q)

    def turn(x, by):
        return np.concatenate([x[:, :late], np.roll(x[:, late:], by, axis=2)], axis=1)

    q, k, v = (rearrange(turn(x, -geometry.shift), "b h (c g) d -> (b c) h g d", g=g) for x in (q, k, v))
    return turn(rearrange(reference.full_attention(q, k, v), "(b c) h g d -> b h (c g) d", b=b), geometry.shift)


for boundary in ("wrap", "split"):
    found = bugs.diagnose(two_lines, boundary=boundary)
    said = f"not equal; it makes this mistake: {found.title}" if found else "equal to the reference"
    print(f"against boundary={boundary!r}: {said}")
print("ways in which it was published otherwise:", sum(bug.published for bug in bugs.BUGS.values()))

# %% [markdown]
# {{beginners: Perturbation test}}

# %% [markdown]
# ## Predict: how much of it is wrong?
#
# > *The dog that chased the cat all afternoon was tired, so it …*
#
# On a shifted head the words are rolled to the left, cut into groups, and attend; then the groups are joined, and the
# output is rolled back. A widely used library does the last two steps in the wrong order: it rolls back first, each group
# in itself, and then joins the groups. Take our twelve words in groups of 4. To count, we let each word look at itself
# only and carry itself as value: then the output says whose result stands where.

# %%
course.predict("10.turned", "On a shifted head, how many of the 12 words get another word's output?", unit="words")
words = course.SENTENCE.split()
geometry = S2Geometry(12, 4, 2)
alone = 100 * np.broadcast_to(np.eye(12), (1, 2, 12, 12))  # queries and keys that fit nobody else
numbers = np.broadcast_to(np.arange(12.0)[:, None], (1, 2, 12, 1))
out = bugs.BUGS["rolled_back_inside_groups"].function(alone, alone, numbers, geometry, scale=1.0)
stands = out[0, 1, :, 0].round().astype(int).tolist()
moved = sum(place != number for place, number in enumerate(stands))
course.reveal(
    "10.turned",
    moved,
    f"These stand there: {' '.join(words[number] for number in stands)}. The first half of every group gets the output of "
    "the word one group later, which has read the future; in the last group it is that of the first words. It happens in half of the heads, in every layer, and no error "
    "is raised.",
    unit="words",
    picture=bug_gallery.exhibit("rolled_back_inside_groups", "3 groups of 4", False),
    because={
        12: "The second half of each group comes back to its place.",
        3: "It is not one word a group, but half of it.",
    },
)

# %% [markdown]
# ## Play: the gallery
#
# **One task.** Find the mistake that shows only when there is padding, in groups of 4 and of 5. Hatched pairs are too many, crosses are missing; the words below the picture say
# where it was seen.

# %%
course.after("10.turned", bug_gallery.gallery_explorer().show)

# %% [markdown]
# ## Reveal: which tests notice
#
# Would a test have noticed? The table runs seven kinds of tests against every mistake in the gallery:
#
# - *shapes*: the output has the right shape and is finite. Most projects test this.
# - *future*: no output moves when a later value is pushed. It needs no reference at all.
# - *mask*: the outputs that move are those that the geometry allows.
# - *gradient*: the slope of the output agrees with the gradient derived in lesson 03.
# - *reference*: the numbers agree with the reference, in even sizes.
# - *odd sizes*: the same with an odd group and an odd head count. *padding*: the same with padding at the end.

# %%
bug_gallery.show_caught()

# %% [markdown]
# (The mistake of the task stands in the row that the column *padding* alone catches.) The table says three things. A test of
# shapes catches nothing. One push of a value needs no reference and catches every mistake that sees the future. And each even size hides something: an odd group, an odd head count and some padding each
# catch a mistake that no other test catches.

# %% [markdown]
# ## Build: who hears whom?
#
# ### Exercise 10.1 · The perturbation test
#
# `attend(q, k, v, geometry)` is some attention function; you cannot see inside. Draw random q, k and v, push the
# *value* of one token on all heads, and report which outputs move.


# %% exercise="who_hears" difficulty=2 importance=5 minutes=8 points=2
def who_hears(attend, geometry, token):
    """bool (h, n): does the output of head h at token n move when the value of `token` is pushed?"""
    ### BEGIN SOLUTION
    shape = (3, 1, geometry.num_heads, geometry.seq_len, 4)
    q, k, v = np.random.default_rng(0).normal(size=shape)
    pushed = v.copy()
    pushed[:, :, token] += 1
    change = np.abs(attend(q, k, pushed, geometry) - attend(q, k, v, geometry))
    return (change > 1e-9).any(axis=3)[0]
    ### END SOLUTION


# %% check="who_hears"
check.who_hears(who_hears)

# %% [markdown] hints="who_hears"
# Call `attend` twice with the same q and k: once with v, once with a copy of v in which one token is different.
#
# ---
# `pushed = v.copy()`, then `pushed[:, :, token] += 1`. Without the copy both calls get the same v.
#
# ---
# Compare with a small tolerance, not with `!=`, then reduce the last axis (d) with `any` and take the one sequence.

# %% [markdown] instructor=true
# **Seen often.** v is changed in place, so nothing moves. The key is pushed instead of the value: nearly the same
# answer, wrong for the first token of each cell, whose weight is 1, no matter what its key says. `geometry.mask()` is returned
# without calling `attend`: right for right functions only, which is the point of the exercise.

# %% [markdown]
# ### Exercise 10.2 · A test that nothing escapes
#
# Write the test that each of those projects lacked. `is_s2(attend)` returns True for what computes S²-Attn under the
# split boundary, and False for every mistake in the gallery. All of them take `segments=`, as the reference does. The
# check is a *mutation test*: it counts which mistakes your test lets pass, and shows you one.


# %% exercise="is_s2" difficulty=3 importance=5 minutes=12 points=3
def is_s2(attend):
    """Does `attend(q, k, v, geometry, segments=…)` compute what `s2_attention` computes?

    segments: None, or integers (1, n): tokens with one number belong together, -1 is padding.
    """
    ### BEGIN SOLUTION
    for geometry in (S2Geometry(16, 4, 2), S2Geometry(15, 5, 3)):
        shape = (3, 1, geometry.num_heads, geometry.seq_len, 4)
        q, k, v = np.random.default_rng(0).normal(size=shape)
        padding = np.where(np.arange(geometry.seq_len) < 12, 0, -1)[None]
        for segments in (None, padding):
            mine, right = (f(q, k, v, geometry, segments=segments) for f in (attend, reference.s2_attention))
            if not np.allclose(mine, right):
                return False
    return True
    ### END SOLUTION


# %% check="is_s2"
check.is_s2(is_s2)

# %% [markdown] hints="is_s2"
# Compare with `s2_attention` on random inputs. Use `np.allclose`: sums in another order differ in the last digits.
#
# ---
# One geometry is not enough. Look at the table above: which column catches what the column *reference* lets pass?
#
# ---
# Two geometries, one even and one with an odd group and an odd head count, each without segments and with
# `np.where(np.arange(n) < 12, 0, -1)[None]`.

# %% [markdown] instructor=true
# **Seen often.** One even size only: three mistakes escape, one of them published. Only with padding at the end: the
# leak escapes, because the tokens that would be looked at are padding. `==` instead of a tolerance: the right function,
# summed in another order, is refused. Masks compared instead of numbers: the missing scale escapes.

# %% [markdown]
# ## Break it: a loss that is too good
#
# One mistake is allowed in this library, because the paper's own pseudo-code makes it: the boundary that wraps. Does it
# matter? We train one small layer on random tokens whose end is a copy of the beginning. Reading from left to right,
# nobody *can* know the beginning. The copy can be known, by looking back.

# %% tags=["training"]
course.predict(
    "10.copy",
    "One layer, boundary wrap: what does the model learn to guess in training?",
    ["the copy", "the beginning", "both", "neither"],
)
steps = profile.choose(laptop=150, binder=120, ci=60)
runs = [leak_training.run_copy_task(boundary, steps=steps) for boundary in ("split", "wrap", "masked")]
wrap = runs[1]
course.reveal(
    "10.copy",
    "the beginning",
    f"{wrap.trained[0]:.0%} of it under the training pattern, and {wrap.dense[0]:.0%} in use, where attention is dense "
    f"and the future is not there: chance is {1 / 8:.0%}. Under masked the same cell in true order learns the copy, "
    f"and keeps it in use: {runs[2].dense[1]:.0%}. Under split the two ends cannot meet in one layer.",
    picture=leak_training.show_copy_runs(runs),
    because={
        "the copy": "It could, with the order of the text. Under wrap the first tokens stand behind the last ones.",
        "neither": "Something can be looked up: look at the seam.",
    },
)

# %% [markdown] after="10.copy"
# The loss fell because the model learned to look up the answer. This text was made so that the leak shows. How much it
# matters on ordinary text is another question: [lesson 08](08_did_it_work.ipynb) asked it.

# %% [markdown]
# ## Predict: the critics
#
# Now what others found. RULER is a set of 13 tasks that a model can only do if it finds and uses what stands far back. A
# study extended one model, Llama-2-7B, in several ways to 32k tokens, and gave each of them the same tasks.

# %%
course.predict(
    "10.ruler",
    "Position interpolation, all weights trained, reaches 57.7 of 100 on RULER at 32k tokens. And LongLoRA?",
    unit="points",
)
course.reveal(
    "10.ruler",
    3.5,
    "Nearly nothing (arXiv 2409.12181). Before you quote it, ask what else was different. LongLoRA trained low-rank "
    "corrections there and its rivals all weights, and by our reading of the scripts it made about an eighth of the paper's "
    "updates. The table has the others.",
    unit="points",
    because={57.7: "So one would hope: the perplexities that the paper reports are nearly equal."},
)

# %% [markdown]
# ## Reveal: the critics
#
# These are other people's numbers, each with its source, and with what to keep in mind when you quote it.

# %% after="10.ruler"
critics = [
    ("a controlled study of context extension (arXiv 2409.12181), Llama-2-7B to 32k",
     "RULER, a set of 13 tasks, at 32k: LongLoRA 3.5, position interpolation 57.7, NTK 59.4; a needle in a haystack: 20.3, "
     "42.1, 83.7 in the same order",
     "LoRA against full fine-tuning, at one learning rate; by our reading of its scripts about 119 updates of 8.4 million tokens: "
     "an eighth of the paper's updates, half of its tokens"),
    ("RULER's own table, LongAlpaca-13B, said to read 32k",
     "effective length below 4k",
     "the released configuration lacked the position factor, as the same author reported (thread 181)"),
    ("LongICLBench (arXiv 2404.02060), the 100k model",
     "zero on three tasks of learning from many examples",
     "the missing position factor may have played a part; we know of no repetition"),
    ("SinkLoRA (arXiv 2406.05678)",
     "LongLoRA reaches 39 parts of 100 of the gain of full attention, their own method 92",
     "by the authors of a competing method"),
    ("LongQLoRA, at 8,192 tokens",
     "perplexity on PG19: LongLoRA with LoRA 8.20, fully fine-tuned 7.93, LongQLoRA 7.96",
     "LoRA on all linear layers there, on one GPU"),
    ("the paper's reviewers",
     "perplexity and retrieval only; the ratio of the group unexplained; FLOPs unclear; names inconsistent",
     "results after instruction tuning were added in answer"),
]  # fmt: skip
course.show_table(("study", "found", "keep in mind"), critics, caption="What others found")

# %% [markdown] after="10.ruler"
# None of this shows that sparse training cannot work. Most of it shows that *this recipe as released* did badly on tests
# that look beyond perplexity. One cause, the lost position factor, has little to do with attention.

# %% [markdown]
# ## Reveal: what our studies say · more
#
# Could too few steps explain the result of the controlled study? Would another pattern, group, shift or way to the same
# length have done better? The studies of this repository ask the small model:

# %%
for study in ("steps", "groups", "shift", "patterns", "others"):
    course.show_study(study)

# %% [markdown]
# {{claim: no-errors-no-disputes}}

# %% claim="no-errors-no-disputes"
for bug in bugs.BUGS.values():
    if bug.published:
        print(f"- {bug.title}: {bug.seen_in}")

# %% [markdown]
# ## Predict: the neighbours · more
#
# S²-Attn is one of many sparse patterns. One rule draws them all: a key is allowed if it is not later than the query and
# *any* part of the pattern allows it. A plain head or even layer sees what is blue, the shifted kind alone sees what is
# hatched orange, and both see what is grey.

# %%
shown = neighbours.named_patterns(32)
neighbours.show_patterns(shown, 96)

# %%
rivals = ["S²-Attn (heads)", "short attention", "sliding window", "dilated window"]
course.predict(
    "10.untrained", "Put into the small model as it is, without training: which of these hurts least?", rivals
)
names = profile.choose(laptop=list(neighbours.named_patterns(64)), ci=["full attention", *rivals])
shown = {name: neighbours.named_patterns(64)[name] for name in names}
untrained = {name: bits_under(pattern, windows=profile.choose(laptop=24, binder=12)) for name, pattern in shown.items()}
whole = shown["full attention"].pairs(256)
nearest = min(rivals, key=untrained.get)
course.reveal(
    "10.untrained",
    nearest,
    "Every token keeps its nearest neighbours there. Walls cost more, and gaps most. S²-Attn, at "
    f"{untrained['S²-Attn (heads)']:.2f} bits a byte, has twice as many walls as short attention, at "
    f"{untrained['short attention']:.2f}, each on half of the heads, and nobody has trained it yet to use what the shift "
    "carries. So why S²-Attn? Its cells are ordinary dense attention on short rows, which every fast kernel can do. The table "
    "below has all of them.",
    because={"S²-Attn (heads)": "The token behind a wall loses its nearest neighbours on that head."},
)

# %% [markdown]
# ## Reveal: the neighbours · more

# %% after="10.untrained"
course.show_table(
    ("pattern, nothing trained", "bits a byte", "share of all pairs"),
    [
        (name, f"{bits:.2f}", f"{shown[name].pairs(256) / whole:.0%}")
        for name, bits in sorted(untrained.items(), key=lambda item: item[1])
    ],
    caption="The small model under each pattern, best first",
)

# %% [markdown]
# How they differ, in one sentence each:
#
# | method | who may look at whom | what it is for |
# |---|---|---|
# | Longformer | a window, and some tokens that see and are seen by all | encoders for long documents |
# | BigBird | a window, some global tokens, random blocks | the same, with a proof of what it can express |
# | Swin | windows, shifted in every second layer; what wraps is masked | images; S²-Attn took the shift from it |
# | sparse transformer | a window and every r-th key, or cells and their last keys | training from scratch |
# | dilated attention | every r-th key | far reach with few keys; near ones are lost |
# | sinks and a window | the first tokens and the last ones | endless generation; the middle is forgotten |
# | Landmark attention | a landmark closes each block; queries pick blocks by it | looking up any place of a long text (*random access*) |
# | FoT (LongLLaMA) | some layers look up keys of a memory, nearest first | very long inputs, trained by contrast |
# | position rules | everybody, at stretched distances | *where* a key seems to be, not *whether* it is seen |
#
# Landmark attention and FoT do not fit into a fixed mask: who is looked at depends on what is asked. A position rule is no
# pattern at all, since everybody is looked at. You can combine S²-Attn with a
# position rule, but not with any: [lesson 05](05_stretching_positions.ipynb) shows why.

# %% [markdown]
# ## Build: a neighbour's mask · more
#
# ### Exercise 10.3 · Longformer in one line
#
# Causal form: a query sees the last `width` keys, itself included, and also the first `globals_` keys.


# %% exercise="longformer_mask" difficulty=2 importance=3 minutes=6 points=2
def longformer_mask(seq_len, width, globals_):
    """bool (n, n), True where query n (rows) may look at key n (columns)."""
    ### BEGIN SOLUTION
    query, key = np.ogrid[:seq_len, :seq_len]
    return (key <= query) & ((query - key < width) | (key < globals_))
    ### END SOLUTION


# %% check="longformer_mask"
check.longformer_mask(longformer_mask)

# %% [markdown] hints="longformer_mask"
# `query, key = np.ogrid[:seq_len, :seq_len]` gives you a column of queries and a row of keys that broadcast.
#
# ---
# Three conditions: not later than the query; near; among the first. Which of them belong together with *and*, which
# with *or*?
#
# ---
# `key <= query` must hold in any case. And then `query - key < width` or `key < globals_`.

# %% [markdown] instructor=true
# **Seen often.** `query - key <= width`, one key too many. The causal condition is put on the window only, so the
# first queries see later global keys. `query < globals_`: the first tokens look everywhere instead of being seen.

# %% [markdown]
# ## Play: beside LoRA · more
#
# LoRA has neighbours too. The table shows the share of weights that each of them trains, on Llama-2-7B and on the small
# model of this course. Change rank, prompt length or the width of the adapter in the cell: each moves the rows of its own
# kind.

# %%
shapes = {"Llama-2-7B": cost.ModelShape.llama2_7b(), "the small model": cost.ModelShape(192, 4, 4, 4, 48, 512, 256)}
for name, shape in shapes.items():
    print(f"{name}, {shape.parameters.total:,} weights")
    for method in tunings(shape, rank=8, prompt=20, bottleneck=64, masked=0.005):
        room = "   (takes room in the context)" if method.uses_context else ""
        print(f"  {method.name:42} {method.weights / shape.parameters.total:9.4%}{room}")

# %% [markdown]
# {{beginners: Prompt tuning}}
#
# {{beginners: Prefix tuning}}
#
# Two things stand out. What is tiny on a large model need not be tiny on a small one. And a prompt or a prefix takes room
# in the context that you want to extend. The table cannot say which of them can learn longer contexts. For that one must
# train, and for most of them nobody has published it.

# %% [markdown]
# ## Reveal: the limits, each with a number · more
#
# **Encoder–decoder models.** The method was published for models that read from left to right. An encoder has no future to
# leak and no causal mask, and cross-attention has two lengths. This package refuses such models by name. Nothing here was
# tried on them.
#
# **Extreme lengths.** Beyond the length it was extended to, a model fails at once. And in training, news needs layers.

# %%
demo = course.recorded("demo")
for length, bits in demo["before"]["bits_per_byte"].items():
    print(f"the base model, trained at {demo['model']['trained_context']}, at {length:>4} bytes: {bits:.2f} bits/byte")
print(course.recorded_line("demo"))
for tokens, group in ((32768, 8192), (100_000, 25_000), (100_000, 2048)):
    groups = -(-tokens // group)
    print(f"{tokens:7,} tokens in {groups:2} groups: {2 * groups - 1:2} layers until the ends meet (Llama-2-7B has 32)")

# %% [markdown]
# **Memory of trained embeddings.** They need a gradient and two Adam moments, at any rank of LoRA.

# %%
shapes = {
    "Llama-2-7B": cost.ModelShape.llama2_7b(),
    "SmolLM2-135M": cost.ModelShape(576, 30, 9, 3, 64, 1536, 49152, tied=True),
}
for name, shape in shapes.items():
    lora, table = shape.lora_parameters(8), shape.parameters.embedding
    extra = [f"{12 * weights / 2**20:8,.0f} MiB" for weights in (lora, table)]
    print(f"{name:13} in float32: LoRA of rank 8 {extra[0]}, embedding {extra[1]}, {table / lora:.0f} times as much")

# %% [markdown]
# **Interpolation against exact positions.** Squeezed positions are harder to tell apart: lesson 05 measures it.
#
# **Short horizons.** Where attention is a small part of a step,
# [there is little to save](../docs/claims.md#saves-on-short-horizons).

# %% [markdown]
# **The mismatch of training and inference, measured.** Put a model that never saw the pattern under it, and look how much it
# loses, for several groups. Fine-tuning has to repair that; and then attention becomes dense again.

# %%
windows = profile.choose(laptop=24, binder=12)
dense = bits_under(neighbours.named_patterns(64)["full attention"], windows=windows)
print(f"dense: {dense:.2f} bits/byte")
for group in profile.choose(laptop=(32, 64, 128, 256), ci=(64, 256)):
    bits = bits_under(neighbours.named_patterns(group)["S²-Attn (heads)"], windows=windows)
    print(f"groups of {group:3}: {bits:.2f} bits/byte, {bits - dense:+.2f}")
after = ", ".join(f"{bits:.2f} at {int(length):,} bytes" for length, bits in demo["after"]["bits_per_byte"].items())
print(f"trained under S², used dense (the demo): {after}")

# %% [markdown]
# ## Reveal: questions, answered or open · more
#
# | question | where it stands |
# |---|---|
# | Left or right shift? | answered: for half of an even group the cells are the same (and thread 5) |
# | Which attention in use? | answered: dense (threads 14, 170; lesson 08) |
# | Does the shift leak? | answered: the wrapped form does (lesson 02c, and above); split and masked do not |
# | Does the leak hurt a large model? | open: the authors say no (threads 15, 90); we know of no ablation |
# | Which rank? | answered for the paper's setting: a higher one does not help (lesson 06); open elsewhere |
# | Train embeddings, put LoRA on them, freeze them? | the paper trains them; compared on the small model only (lesson 06) |
# | Does S²-Attn suit training from scratch? | open: asked (thread 173), not answered |
# | Which position rule? | open for large models; on the small one here the choice decides (lesson 05) |
# | Is sparse attention or LoRA to blame for bad results? | open for large models; on the small one S² stays behind full attention when all weights train (study 1), and far behind with interpolated positions (study 9, one seed) |
# | Sequences of mixed resolution, uncertain positions? | open: ideas, no results |
#
# Is a group of a quarter of the length right? [Cannot tell at this size](../docs/claims.md#group-must-be-a-quarter); what
# it costs can be computed.

# %% [markdown]
# ## Recap
#
# - Push one value and see who moves: this test needs no reference and no reading of code, and it catches the future.
# - Even sizes without padding hide mistakes. A test is as good as the mistakes that you have seen it catch.
# - Who criticises a method has run one recipe. Ask what else was different before you quote the result.

# %% [markdown]
# ## Quiz

# %%
course.quiz(
    "10.quiz",
    course.Question(
        "A project tests that its S²-Attn returns the right shape and that the training loss falls. What is proven?",
        right=("little: not who hears whom", "every published mistake in the gallery passes this test."),
        wrong=[
            ("that no token sees the future", "seeing the future makes the loss fall faster, not slower."),
            ("that the shift is undone", "an output in the wrong place has the right shape, and the loss still falls."),
        ],
    ),
    course.Question(
        "Your function agrees with the reference for 16 tokens, groups of 4 and 2 heads. What may still be wrong?",
        right=(
            "odd groups, odd heads and padding",
            "an odd group, an odd head count and padding each hide a mistake that even sizes cannot show: `-G // 2` and `G // 2`, the middle head, the marks.",
        ),
        wrong=[
            (
                "nothing: the numbers agree",
                "they agree for one size, and several mistakes are invisible in that one.",
            ),
            (
                "the scale of the scores in wide heads",
                "a wrong scale shows in any size as soon as numbers are compared.",
            ),
        ],
    ),
    course.Question(
        "A study reports that LongLoRA does badly on a long-context test. What do you ask first?",
        right=(
            "how it was trained, and whether it ran as trained",
            "How many steps, which weights, and was the position factor there? One study made an eighth of the paper's updates with half of its tokens, and released models were run without their factor.",
        ),
        wrong=[
            (
                "nothing: independent results settle such a question",
                "they settle what that run did; several things were different.",
            ),
            (
                "whether its perplexity was good at that length",
                "it can be good while retrieval fails; that is what such tests are for.",
            ),
        ],
    ),
)

# %% [markdown]
# ## Quiz: what people believe · more
#
# Each wrong choice here is something that somebody really said or wrote ([many of them](../docs/claims.md)).

# %%
course.quiz(
    "10.more",
    course.Question(
        "You have somebody's attention function. How do you find its mask?",
        right=("Push one value, see what moves", "What moves has heard it."),
        wrong=[
            ("Draw the mask from the settings", "That shows what it should do, not what it does."),
        ],
    ),
    course.Question(
        "Longformer's first tokens, causal form: what do they do?",
        right=("Everybody looks at the first tokens", "Everybody may look at keys below globals_."),
        wrong=[
            ("The first tokens look at everybody", "Later tokens are the future for them."),
        ],
    ),
)

# %% [markdown]
# ## Discuss
#
# Suppose that you review a library's pull request "add LongLoRA". You may ask for three tests and one experiment.
# Which ones, and what result would make you say no?

# %% [markdown] instructor=true
# **What to listen for.** Tests: a push of values against the mask, in odd sizes; agreement with a slow form, with
# padding; evaluation bit-identical to the stock model. Experiment: an ablation in which only the attention differs,
# with the same steps and trained weights, and a retrieval test beside perplexity. A reason to say no: the training loss
# under the sparse pattern is better than dense. Strong groups notice that a *too good* loss is the alarm, not a bad
# one. More questions with notes are in INSTRUCTOR.md.
