# ---
# jupyter:
#   longlora_edu:
#     title: Why long context is expensive
# ---

# %% [markdown]
# **You will be able to**
#
# - count the FLOPs of attention by hand, and find the same number by a formula and by a counter that watches a model;
# - say from which length attention costs more than everything else, and why that length depends on what you count;
# - tell apart what a causal kernel halves, what a fused kernel stores, and what neither of them changes;
# - judge two popular statements about the cost of long context.
#
# **You need first**
#
# - Can you say what a [query, a key and a value](glossary.md#query-key-and-value) are?
# - How many multiply-adds does an (m × k) matrix times a (k × n) matrix take? (m · k · n.)
# - Have you run [lesson 00](00_start_here.ipynb) once? Then you know how predictions and checks work.
#
# **Where it runs**: anywhere, on one core. Where there is a GPU, the measurements use it.

# %%
import math

import torch

from longlora_edu import cost, course, plots
from longlora_edu.attention import full_attention, s2_attention
from longlora_edu.course.checks import l01_costs as check
from longlora_edu.geometry import S2Geometry

llama = cost.ModelShape.llama2_7b()
device = "cuda" if torch.cuda.is_available() else "cpu"

# %% [markdown]
# ## Why
#
# Each token looks back at all the others. Twice the text is four times the looking; everything else in a model only
# doubles. The picture shows one forward pass of Llama-2-7B, and how much of it is attention.

# %%
lengths = (2048, 8192, 32768, 131072)
plots.show_flop_shares(llama, lengths)

# %% [markdown]
# {{beginners: FLOP}}
#
# {{beginners: Quadratic cost}}

# %% [markdown]
# ## Predict: what does a long sequence cost?
#
# Llama-2-7B reads one sequence of 2,048 tokens, then one of 32,768: sixteen times as long. Do not calculate. Guess,
# with the picture in mind. The answer opens when you commit.

# %%
factors = {
    "16 to 24 times as many": (16, 24),
    "24 to 64 times as many": (24, 64),
    "64 to 200 times as many": (64, 200),
    "256 times as many": (200, 300),
}
course.predict(
    "01.long_sequence", "How many FLOPs does the long sequence take, compared with the short one?", list(factors)
)
short, long = (cost.forward_flops(llama, length) for length in (2048, 32768))
factor = long.total / short.total
answer = next(words for words, (low, high) in factors.items() if low <= factor < high)
course.reveal(
    "01.long_sequence",
    answer,
    f"It is {factor:.0f} times. Attention alone grows {long.attention / short.attention:.0f} times, but at 2,048 "
    f"tokens it was only {short.attention_share:.1%} of the work. The rest grows as the length does, "
    f"{long.ffn / short.ffn:.0f} times.",
    because={
        "256 times as many": "256 is what attention alone would cost.",
        "16 to 24 times as many": "That is what everything but attention costs.",
    },
)

# %% [markdown]
# ## Play: the cost explorer
#
# **One task.** Set *Tokens* to 2,048 and read the share of attention on the left. Move right until attention is more
# than half of the dense bar. Then change *Count* to what a causal kernel computes: how much further must you go?

# %%
from longlora_edu.widgets.cost_explorer import cost_explorer

course.after("01.long_sequence", cost_explorer().show)

# %% [markdown]
# ## Reveal: which number do people quote?
#
# There are two numbers, and often the wrong one is quoted:

# %% [markdown] after="01.long_sequence"
# {{claim: cost-of-32k}}

# %% claim="cost-of-32k" after="01.long_sequence"
short, long = (cost.training_flops(llama, length) for length in (2048, 32768))
print(f"attention scores of one sequence: {long.attention / short.attention:.0f} times")
print(f"the whole step on one sequence:   {long.total / short.total:.0f} times")
print(f"the whole step per token:         {long.total / 32768 / (short.total / 2048):.1f} times")

# %% [markdown]
# ## Build: count it yourself
#
# Small numbers first: 8 tokens, 2 heads of 4 features. Attention on one head is two products. *Scores*: each query times
# each key, over all features. *Weighted values*: each weight times each value, over all features. We walk through the
# loops and count two FLOPs for each multiply-add.

# %%
tokens, heads, head_dim = 8, 2, 4
counted = 0
for _head in range(heads):
    for _query in range(tokens):
        for _key in range(tokens):
            for _feature in range(head_dim):
                counted += 2  # the score: multiply, then add
            for _feature in range(head_dim):
                counted += 2  # the weighted value: multiply, then add
print(f"{counted:,} FLOPs, the whole square of pairs counted")

# %% [markdown]
# The library has a formula for it, `cost.forward_flops`, for whole models. It has to agree:

# %%
tiny = cost.ModelShape(width=8, layers=1, heads=heads, kv_heads=heads, head_dim=head_dim, ffn_width=16, vocabulary=10)
assert cost.forward_flops(tiny, tokens).attention == counted
cost.forward_flops(tiny, tokens)

# %% [markdown]
# ### Exercise 1.1 · The FLOPs of attention
#
# Write the formula for one layer, forward only: scores and weighted values of all heads. With `causal=True` count only
# the pairs in which a token looks at itself or at something before it, as a causal kernel does.


# %% exercise="attention_flops" difficulty=1 importance=5 minutes=6 points=2
def attention_flops(seq_len, heads, head_dim, causal):
    """FLOPs of scores and weighted values of one layer: two for each multiply-add."""
    ### BEGIN SOLUTION
    pairs = seq_len * (seq_len + 1) // 2 if causal else seq_len**2
    return 4 * heads * head_dim * pairs
    ### END SOLUTION


# %% check="attention_flops"
check.attention_flops(attention_flops)

# %% [markdown] hints="attention_flops"
# Count pairs of a query and a key first, on one head. For the whole square that is `seq_len` times `seq_len`. With
# `causal=True`, query 0 sees one key, query 1 sees two, and the last query sees all: what is that sum?
#
# ---
#
# For each pair and each of the `head_dim` features there is one multiply-add in the scores and one in the weighted
# values. How many FLOPs are these together?
#
# ---
#
# Four FLOPs for each pair and feature; multiply by the number of heads. `1 + 2 + … + n` is `n * (n + 1) // 2`.

# %% [markdown] instructor=true
# *Expect*: half of the right number (one product forgotten, or a multiply-add taken as one FLOP; the check cannot tell
# which and says both), and `n² / 2` for the causal case. Draw the triangle with its diagonal. It is worth asking the
# room which convention the paper's cost table uses: the whole square.

# %% [markdown]
# A loop, a formula, and now a third way: let somebody else count. PyTorch has a counter that watches every matrix product that is called. We run a
# whole Llama-2-7B under it, with 32,768 tokens, on this machine: on the device `meta`, where tensors have a shape and
# no numbers, so nothing is stored and nothing is computed.

# %% folded="Watch a giant that stores nothing"
from torch.utils.flop_counter import FlopCounterMode

from longlora_edu.model import LlamaConfig, TinyLlama
from longlora_edu.rope import Rope

watched = profile.choose(laptop=32, ci=2)  # layers
with torch.device("meta"):
    giant = TinyLlama(
        LlamaConfig(
            Rope(llama.head_dim),
            hidden_size=llama.width,
            intermediate_size=llama.ffn_width,
            num_hidden_layers=watched,
            num_attention_heads=llama.heads,
            num_key_value_heads=llama.kv_heads,
            max_position_embeddings=32768,
            vocab_size=llama.vocabulary,
        )
    ).eval()
    ids = torch.zeros(1, 32768, dtype=torch.long)
with torch.no_grad(), FlopCounterMode(display=False) as counter:
    giant(ids)
by_formula = cost.forward_flops(cost.ModelShape(**(vars(llama) | {"layers": watched})), 32768)
print(f"{watched} layers, counted by watching: {counter.get_total_flops():,}")
print(f"{watched} layers, by the formula:      {by_formula.total:,}")
assert counter.get_total_flops() == by_formula.total

# %% [markdown]
# Equal, to the last digit. But watch your tools: the same counter does not know the fused kernel that CPUs use, and
# reports zero for it. It gives no warning.

# %%
q = torch.randn(1, 2, 64, 16)
with FlopCounterMode(display=False) as counter:
    full_attention(q, q, q)
by_formula = cost.forward_flops(cost.ModelShape(32, 1, 2, 2, 16, 1, 1), 64, causal=True).attention
print(f"counted on the CPU: {counter.get_total_flops()}, by the formula: {by_formula:,}")

# %% [markdown]
# ## Build: where attention takes over
#
# Attention grows with n². All layers with weights grow with n. So there is one length at which attention overtakes them.
#
# ### Exercise 1.2 · The crossover
#
# Find the *smallest* length at which the attention of a forward pass takes more FLOPs than everything else together
# (projections, feed-forward, and here *head* is the last product, which scores the next token), counted as the paper counts: whole squares, `causal=False`. You may use
# `cost.forward_flops(shape, n)`, which has the fields `attention`, `projections`, `ffn`, `head` and the property `total`;
# try lengths, halve intervals, or solve for n with pen and paper.


# %% exercise="crossover" difficulty=3 importance=3 minutes=10 points=2
def crossover(shape):
    """The smallest number of tokens at which attention costs more than everything else."""
    ### BEGIN SOLUTION
    flops = cost.forward_flops(shape, 1)  # at one token: attention times n² and the rest times n, for other lengths
    rest = flops.projections + flops.ffn + flops.head
    return rest // flops.attention + 1
    ### END SOLUTION


# %% check="crossover"
check.crossover(crossover)

# %% [markdown] hints="crossover"
# At n tokens attention takes a · n² FLOPs and the rest b · n. When is the first larger than the second?
#
# ---
#
# When n > b / a. Both can be read from `cost.forward_flops(shape, 1)`: at one token n² and n are 1.
#
# ---
#
# The first whole number above b / a is `b // a + 1`, also where the division has no remainder. Do not forget the head.

# %% [markdown] instructor=true
# *Expect*: the head forgotten (most), the embedding counted because "all parameters" was used, one too early where the
# division has no remainder. Somebody will loop over n from 1: fine for tiny models, slow for Llama; halving intervals
# is a good thing to show then. *On the board*: a·n² and b·n as two lines on logarithmic axes.

# %% [markdown]
# The crossover depends on what you count. [LoRA](06_lora_and_what_longlora_trains.ipynb) freezes the large matrices and
# trains two thin ones beside each. Frozen matrices need no gradient of their own. That takes a third off the rest, so
# attention overtakes it earlier:


# %%
def lora_step_share(n):
    return cost.training_flops(llama, n, rank=8).attention_share


crossing = plots.attention_crossover(llama)
assert (
    cost.forward_flops(llama, crossing).attention_share > 0.5 >= cost.forward_flops(llama, crossing - 1).attention_share
)
lora_crossing = next(n for n in range(1000, crossing) if lora_step_share(n) > 0.5)
print(f"forward pass, or full fine-tuning, whole squares: {crossing:,} tokens")
print(f"forward pass, causal kernel:                      {plots.attention_crossover(llama, causal=True):,} tokens")
print(f"training step with LoRA of rank 8, whole squares: {lora_crossing:,} tokens")
plots.show_growth(llama)

# %% [markdown]
# ## Predict: what does sparse attention save?
#
# Now S²-Attn with groups of a quarter of the sequence: a quarter of the pairs. A *fused* kernel works through the scores
# tile by tile, and never writes the whole table down.
#
# {{beginners: Flash attention}}
#
# {{beginners: Activation memory}}
#
# In training, memory goes to what the forward pass keeps for the backward pass. PyTorch shows it to us, tensor by tensor.
# We compare attention in three lines, which writes the table, with the fused kernel, dense and S²:


# %% folded="Two kinds of attention, and a count of what they keep"
def explicit_attention(q, k, v):
    """The three lines of every textbook. They write the whole table of scores."""
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
    return scores.masked_fill(future, -torch.inf).softmax(dim=-1) @ v


def kept_bytes(attend, *inputs):
    """Bytes that the forward pass of `attend` keeps for its backward pass, each piece of memory once."""
    kept = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        out = attend(*inputs)
    assert out.requires_grad
    return sum(kept.values())


# The layer that is counted here, and timed below: 4 heads of 64 features.
layer = cost.ModelShape(width=256, layers=1, heads=4, kv_heads=4, head_dim=64, ffn_width=688, vocabulary=256)


# %%
course.predict(
    "01.memory",
    "With such a fused kernel, how much of the memory for attention does S²-Attn save in training?",
    ["three quarters, as of the pairs", "about half", "practically nothing"],
)
kept = {"explicit attention": {}, "fused attention": {}, "fused S²": {}}
for n in (128, 256, 512, 1024):
    geometry = S2Geometry.with_ratio(n, 1 / 4, layer.heads)
    q, k, v = torch.randn(3, 1, layer.heads, n, layer.head_dim, generator=torch.Generator().manual_seed(0))
    q, k, v = (x.clone().requires_grad_(True) for x in (q, k, v))
    torch.testing.assert_close(explicit_attention(q, k, v), full_attention(q, k, v))  # the same attention
    kept["explicit attention"][n] = kept_bytes(explicit_attention, q, k, v)
    kept["fused attention"][n] = kept_bytes(full_attention, q, k, v)
    kept["fused S²"][n] = kept_bytes(lambda q, k, v: s2_attention(q, k, v, geometry), q, k, v)  # noqa: B023

kibibytes = {name: {n: size / 1024 for n, size in row.items()} for name, row in kept.items()}
unit = "KiB kept for the backward pass"
n = 1024
size = cost.attention_bytes(layer, S2Geometry.with_ratio(n, 1 / 4, layer.heads), bytes_per_element=4)
inputs = 4 * n * layer.width * 4  # q, k, v and the output, float32
assert kept["fused attention"][n] == inputs + size.flash  # one number for each query and head, nothing else
assert kept["explicit attention"][n] == 3 * inputs // 4 + size.masked + n * n  # the table, and the causal mask
saved = 1 - kept["fused S²"][n] / kept["fused attention"][n]
answers = {0.75: "three quarters, as of the pairs", 0.5: "about half", 0.0: "practically nothing"}
course.reveal(
    "01.memory",
    answers[min(answers, key=lambda share: abs(share - saved))],
    f"Counted at {n:,} tokens: {saved:.0%}. The kernel keeps its inputs, its output and one number a row. Against the "
    f"explicit table S² in cells would save much: {size.masked / size.grouped:.1f} times.",
    picture=plots.show_measured(kibibytes, unit=unit),
    because={"three quarters, as of the pairs": "So it would be if the table of scores were kept. It is not."},
)

# %% [markdown] after="01.memory"
# {{claim: saves-memory}}

# %% claim="saves-memory" after="01.memory"
for n in (8192, 32768):
    size = cost.attention_bytes(llama, S2Geometry.with_ratio(n, 1 / 4, llama.heads))
    print(
        f"Llama-2-7B, {n:6,} tokens, scores of one layer: table {size.masked / 2**30:5.1f} GiB, "
        f"cells {size.grouped / 2**30:4.1f} GiB, flash {size.flash / 2**30:.4f} GiB"
    )

# %% [markdown]
# And time? Let us measure it on your machine: the attention of that layer, forward, beside its products with weights. On
# these axes twice the length is one step to the right. A line that then doubles has slope 1, one that quadruples slope 2.
# (The table may climb more steeply still: once it no longer fits into the processor's cache, it waits for the memory.)
#
# {{beginners: Kernel}}

# %% folded="The clock"
import time

from torch.utils.benchmark import Timer

# On a CPU: processor time of one core, so other programs do not matter. For a GPU we wait.
clock = {} if device == "cuda" else {"timer": time.process_time}
where = "on the GPU" if device == "cuda" else "on one core"


def milliseconds(statement, **names):
    """The fastest of several runs: a disturbance only adds to a time."""
    timer = Timer(statement, globals=names, num_threads=1, **clock)
    return 1000 * min(timer.blocked_autorange(min_run_time=profile.choose(laptop=0.1, ci=0.01)).times)


weights = torch.randn(layer.width, 4 * layer.width + 3 * layer.ffn_width, device=device)  # all products of a layer
measured = {"explicit attention": {}, "fused attention": {}, "fused S²": {}, "linear layers": {}}
for n in profile.choose(
    laptop=(256, 512, 1024, 2048), binder=(256, 512, 1024), ci=(64, 128), gpu=(1024, 2048, 4096, 8192)
):
    x, geometry = torch.randn(n, layer.width, device=device), S2Geometry.with_ratio(n, 1 / 4, layer.heads)
    q, k, v = torch.randn(3, 1, layer.heads, n, layer.head_dim, device=device)
    measured["explicit attention"][n] = milliseconds("f(q, k, v)", f=explicit_attention, q=q, k=k, v=v)
    measured["fused attention"][n] = milliseconds("f(q, k, v)", f=full_attention, q=q, k=k, v=v)
    measured["fused S²"][n] = milliseconds("f(q, k, v, g)", f=s2_attention, q=q, k=k, v=v, g=geometry)
    measured["linear layers"][n] = milliseconds("x @ w", x=x, w=weights)

unit = f"ms {where} of this machine"
plots.show_measured(measured, unit=unit)

# %%
*_, last_but_one, last = sorted(measured["fused attention"])
for name, row in measured.items():
    print(f"{name:18} from {last_but_one:,} to {last:,} tokens: {row[last] / row[last_but_one]:.1f} times the time")
pairs = (
    cost.forward_flops(layer, last, causal=True).attention
    / cost.forward_flops(layer, last, geometry, causal=True).attention
)
speed = measured["fused attention"][last] / measured["fused S²"][last]
print(f"S² at {last:,} tokens: {pairs:.1f} times fewer pairs, {speed:.1f} times faster")

# %% [markdown]
# Look at the slopes first. Where did twice the length take twice the time, and where four times? Then look at the gain.
# S² computes more than four times fewer pairs (more, because a shifted head has short groups at its ends), and usually
# gains less than that in time, probably because small groups keep a processor less busy.
# [Lesson 04](04_meaning_to_speed.ipynb) measures this with care.
#
# ## Break it: a mask that looks harmless
#
# A causal kernel computes only the lower triangle, half of the square. It can do so because it is *told* that the pattern
# is causal. Here is a bug that changes no result: the same triangle, handed over as a mask.

# %%
import torch.nn.functional as F

n = profile.choose(laptop=1024, ci=256)
q, k, v = torch.randn(3, 1, layer.heads, n, layer.head_dim, device=device)
triangle = torch.ones(n, n, dtype=torch.bool, device=device).tril()


def told(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def masked(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=triangle)


torch.testing.assert_close(told(q, k, v), masked(q, k, v))
times = {name: milliseconds("f(q, k, v)", f=f, q=q, k=k, v=v) for name, f in (("told", told), ("masked", masked))}
print(f"results equal; with the mask {times['masked'] / times['told']:.1f} times the time")
print(f"and a table that grows with n²: {triangle.nbytes:,} bytes at {n:,} tokens, {32768**2:,} at 32,768")

# %% [markdown]
# The kernel cannot know that the mask is a triangle, so it computes the whole square and throws half of it away. This
# is why the library counts *pairs* ([lesson 02a](02a_wall_and_shift.ipynb)) and why S² is computed group by group, not
# under a mask ([lesson 04](04_meaning_to_speed.ipynb)).
#
# ## Reveal: and when the model is used?
#
# After training, attention is dense again, and the model keeps the keys and values of everything it has read. Neither S²
# nor LoRA makes this cheaper. Sharing keys and values between heads does: the last line but one is the same model with
# eight of them instead of 32.
#
# {{beginners: KV cache}}

# %%
for n in (4096, 32768, 100_000):
    flops = cost.forward_flops(llama, n, causal=True)
    print(
        f"reading {n:7,} tokens: {flops.total / 1e12:5,.0f} TFLOP, {flops.attention_share:.0%} of it attention; "
        f"keys and values kept: {cost.kv_cache_bytes(llama, n) / 2**30:4.1f} GiB"
    )
grouped = cost.ModelShape(**(vars(llama) | {"kv_heads": 8}))
print(
    f"with 8 key/value heads, {n:7,} tokens: keys and values kept: {cost.kv_cache_bytes(grouped, n) / 2**30:4.1f} GiB"
)
print(f"the weights themselves, for comparison, 16 bits each: {2 * llama.parameters.total / 2**30:.1f} GiB")

# %% [markdown]
# More statements about the cost, each with a verdict and the lines that compute it, stand on
# [a page of their own](../docs/claims.md). Of every table of FLOPs ask: *whole squares, or causal?* Both are fair. A
# mixture is not: by the paper's count [S² more than halves a step at 64k tokens](../docs/claims.md#speed-up-of-the-table),
# with causal kernels it does not.

# %% [markdown]
# ## Recap
#
# - Attention grows with n², everything with weights with n. Whether "long is expensive" depends on which side of the
#   crossover you are, and the crossover on what you count.
# - A causal kernel halves the pairs. A fused kernel takes away the table, so memory grows with n. Neither changes that
#   twice the length means four times the pairs. S²-Attn with groups of a quarter does not either: it takes a quarter of
#   the pairs. Only groups of a fixed size make the pairs grow with n.
# - With a fused kernel S² saves time and hardly any memory. In use the model is dense, and you pay for the KV cache.
#
# For a model of your own, `longlora-edu plan --model FOLDER --context 32768` does this arithmetic from its `config.json`
# and says whether S² would pay.
#
# ## Quiz

# %%
course.quiz(
    "01.quiz",
    course.Question(
        "A model of 7 billion weights is fine-tuned at 4,096 tokens with S²-Attn. What do you expect?",
        right=(
            "Hardly any gain in time",
            "Attention is a small share there. Far below the crossover there is little to save, and cutting attention "
            "into cells costs a little too.",
        ),
        wrong=[
            (
                "A quarter of the time, as a quarter of the pairs are left",
                "A quarter of the attention, which is a small part of a step at this length: see the first picture.",
            ),
            (
                "A quarter of the memory",
                "With a fused kernel the table of scores is never stored, so there is none of it to save.",
            ),
        ],
    ),
    course.Question(
        "You replace attention in three lines by a fused kernel. What changes with the length n?",
        right=(
            "Memory grows with n, and FLOPs still grow with n² as before",
            "The same pairs are computed, tile by tile, and only one number a row is kept.",
        ),
        wrong=[
            (
                "Both memory and FLOPs grow with n, as the table is gone",
                "Every pair is still computed, so the work is quadratic. Only the table is gone.",
            ),
            (
                "Both become smaller by a constant factor and still grow with n²",
                "Time gains a factor. Memory gains more: the term with n² disappears, as you counted to the byte.",
            ),
        ],
    ),
    course.Question(
        "One table says that dense attention takes 4 · n² · d FLOPs, another one says half of that. Who is right?",
        right=(
            "Both are, as each has counted by a convention of its own",
            "The first counts whole squares, the second what a causal kernel computes. So compare only numbers of one convention. The paper's table counts whole squares.",
        ),
        wrong=[
            (
                "The first, since masked pairs are computed as well",
                "Under a mask tensor they are. A kernel that is told about causality skips them.",
            ),
            (
                "The second, and a factor of two does not matter here",
                "It moves the crossover to twice the length, and S² gains less than the paper's table says.",
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
    "01.more",
    course.Question(
        "Sixteen tokens in groups of four, then seventeen. How many groups?",
        right=("Four groups, then five; the last one is short", "What is left over at the end is a group too."),
        wrong=[
            (
                "Four groups; the tokens left over belong to none",
                "A token without a group would see nothing, and a softmax over nothing is NaN.",
            ),
            ("Five groups, one of them empty", "Sixteen tokens fill four groups exactly."),
        ],
    ),
    course.Question(
        "Scores and weighted values of one head, whole square: how many FLOPs for n tokens and d features?",
        right=(
            "4 · n² · d for both products, as a multiply-add is two steps",
            "Two products, and two FLOPs for each multiply-add.",
        ),
        wrong=[
            (
                "2 · n² · d for both products, as a multiply-add is one step",
                "A multiply-add is two FLOPs, by the convention of the paper and of PyTorch's counter.",
            ),
        ],
    ),
    course.Question(
        "Twice the tokens: how many times as many pairs?",
        right=(
            "Four times as many: all of them look at all",
            "Each of twice as many queries meets twice as many keys.",
        ),
        wrong=[
            ("Twice as many: twice the tokens, twice the looking", "Each token also looks at twice as many others."),
        ],
    ),
    course.Question(
        "What does a causal kernel compute of the square?",
        right=("n(n + 1)/2 pairs, since the diagonal is computed too", "The lower triangle with its diagonal."),
        wrong=[
            (
                "The whole square; the future is hidden afterwards",
                "So it is under a mask. A kernel that is told about causality skips the upper half.",
            ),
            ("n(n - 1)/2 pairs, since nobody looks at itself", "A token looks at itself too."),
        ],
    ),
    course.Question(
        "Where does the crossover move when you count a causal kernel?",
        right=("To twice the length, since the rest stays as it is", "Attention alone halves."),
        wrong=[
            (
                "At the same length, because causality halves both sides",
                "Projections, feed-forward and head see each token once, causal or not.",
            ),
            (
                "Where attention costs as much as the feed-forward half",
                "Projections and the head are part of the rest.",
            ),
        ],
    ),
)

# %% [markdown]
# ## Discuss
#
# A user wants answers about documents of 100,000 tokens. Extending a model, retrieving the right pages first, and
# buying a bigger machine are three ways to spend the same money. Which numbers of this lesson would you put on the
# table, and which are missing?

# %% [markdown] instructor=true
# *Missing on purpose*: how good the answers are (lessons 08 and 10), how often the long document is asked about (the
# cost of reading it once against the KV cache kept), memory of optimiser states (lesson 06), and the price of an hour.
# In a 50-minute class: predict and reveal the first question, the crossover picture, the memory question, stop.
