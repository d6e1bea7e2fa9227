# ---
# jupyter:
#   longlora_edu:
#     title: From meaning to speed
# ---

# %% [markdown]
# **After this lesson you can**
#
# - turn the groups of S²-Attn into rows of a batch with one einops pattern, and leave the rest to a fast kernel;
# - write the published form, with its roll there and back, and show where it leaks and how cutting avoids it;
# - prove that fast and slow are the same function: outputs and gradients, in three precisions, with tolerances that you
#   can defend, and with a test that catches every leak;
# - say from which length on it pays, and compare a formula, a count and a clock.
#
# **You need first** the reference of [lesson 03](03_reference.ipynb) (what is the difference between a mask and a
# cell?) and tensors in torch (which shape has `x.transpose(1, 2)`, if `x` has 2, 4, 8 and 16 entries along its axes?).
#
# **Where it runs**: on any machine; the clock looks for a GPU and says so if there is none. Half of the time above is
# for three exercises; each can be skipped.

# %%
import math

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange

from longlora_edu import cost, course, plots, reference
from longlora_edu.attention import choose_impl, full_attention, s2_attention
from longlora_edu.course.checks import l04_speed as check
from longlora_edu.geometry import S2Geometry
from longlora_edu.runs import timing
from longlora_edu.runs.number_format import number_format
from longlora_edu.widgets.explorer import explorer

# %% [markdown]
# ## Why
#
# The reference fills in a table of scores and throws most of it away. But a cell is a small text of its own, and fast
# kernels are made for many texts of equal length: a *batch*. So the fast form computes nothing new. It only lays out
# the same tokens in another way.

# %%
geometry = S2Geometry(seq_len=8, group_size=4, num_heads=2)
heads = [(geometry, 0), (geometry, 1)]
plots.show_folds(heads)

# %% [markdown]
# {{beginners: Batch}}
#
# {{beginners: Kernel}}
#
# ## Predict: one letter
#
# einops writes such a lay-out as a pattern of named axes. `rearrange(tokens, "(a b) -> a b", a=2)` makes of the tokens
# 0, 1, 2, 3, 4, 5 two rows, `[[0, 1, 2], [3, 4, 5]]`. Below, `c` counts the groups and `g` the tokens in a group.
#
# {{beginners: einops}}

# %%
course.predict(
    "04.letter",
    'Eight tokens, rearrange(tokens, "(g c) -> c g", g=4). Which tokens stand in row 0?',
    choices=["0, 1, 2, 3", "0, 2, 4, 6", "0, 4", "None: the pattern is refused"],
)
row = rearrange(torch.arange(8), "(g c) -> c g", g=4)[0]
course.reveal(
    "04.letter",
    ", ".join(str(int(token)) for token in row),
    "In brackets the last letter runs fastest. With (c g) neighbours share a row, with (g c) every "
    "second token does: no group at all, though the shape is the same and no error is raised.",
    because={
        "0, 1, 2, 3": "That is what (c g) gives.",
        "0, 4": "Rows are what stands before the last letter: two of them.",
    },
)

# %% [markdown]
# ## Play: patterns
#
# **One task.** Run the cell. Then change the pattern until row 0 holds tokens 0, 4, 1 and 5. (It takes three letters on
# the left instead of two.)

# %%
rearrange(torch.arange(8), "(c g) -> c g", g=4)

# %% [markdown]
# <details><summary>One way</summary>
#
# `"(a c b) -> c (b a)"` with `a=2` and `b=2`.
#
# </details>
#
# ## Build: groups are rows
#
# PyTorch has one function for attention, `F.scaled_dot_product_attention`, SDPA for short. It takes (batch, heads,
# tokens, width) and scales by itself. With `is_causal=True` it runs a kernel that never writes the table of scores
# down. It attends along the last axis but one; to it, all axes before are "many of the same".
#
# {{beginners: SDPA}}
#
# {{beginners: Flash attention}}
#
# ### Exercise 4.1 · Attention inside groups
#
# All heads plain, no shift. `q`, `k` and `v` are (b h n d), and `group_size` divides $n$. Make the groups rows of the
# batch, call SDPA once, and put the outputs back where their tokens stood.


# %% exercise="in_groups" difficulty=2 importance=5 minutes=8 points=2
def in_groups(q, k, v, group_size):
    """(b h n d): causal attention inside groups of group_size tokens, the same for all heads."""
    ### BEGIN SOLUTION
    rows = [rearrange(x, "b h (c g) d -> (b c) h g d", g=group_size) for x in (q, k, v)]
    out = F.scaled_dot_product_attention(*rows, is_causal=True)
    return rearrange(out, "(b c) h g d -> b h (c g) d", b=q.shape[0])
    ### END SOLUTION


# %% check="in_groups"
check.in_groups(in_groups)

# %% [markdown] hints="in_groups"
# The pattern reads like a sentence: the token axis of (b h n d) is made of groups and places in them, `(c g)`, and `c`
# joins the batch.
#
# ---
# There: `"b h (c g) d -> (b c) h g d"` with `g=group_size`, for q, k and v. Then one call of SDPA with
# `is_causal=True`.
#
# ---
# The way back is the pattern read from right to left. It cannot know how many of the `(b c)` rows are sequences: say
# `b=q.shape[0]`.

# %% [markdown]
# The result is the reference without a shift:

# %%
random = np.random.default_rng(0)
arrays = random.normal(size=(3, 2, 4, 16, 8))  # q, k, v of two sequences, four heads, sixteen tokens
q, k, v = torch.from_numpy(arrays)

# %% worked="in_groups"
rows = [rearrange(x, "b h (c g) d -> (b c) h g d", g=4) for x in (q, k, v)]
out = F.scaled_dot_product_attention(*rows, is_causal=True)
out = rearrange(out, "(b c) h g d -> b h (c g) d", b=2)

plain = S2Geometry(seq_len=16, group_size=4, num_heads=4, shift=0)
np.testing.assert_allclose(out, reference.s2_attention(*arrays, plain), rtol=1e-10)
print(f"{tuple(q.shape)} became {tuple(rows[0].shape)}: {len(rows[0])} rows in the place of {len(q)}")

# %% [markdown]
# ## Build: the roll
#
# Now the shift. The published form is short. On the second half of the heads, *roll* queries, keys and values to the left
# by half a group; attend inside groups as before; roll the output back.
#
# {{beginners: Roll}}
#
# First put its lines in order.

# %%
course.parsons(
    "04.rolled_lines",
    "There and back, for tensors (b h n d).",
    [
        "half, shift = q.shape[1] // 2, group_size // 2",
        "roll = lambda x, by: torch.cat([x[:, :half], x[:, half:].roll(by, dims=2)], dim=1)",
        "rolled_q, rolled_k, rolled_v = roll(q, -shift), roll(k, -shift), roll(v, -shift)",
        "out = plain_groups(rolled_q, rolled_k, rolled_v, group_size)",
        "return roll(out, shift)",
    ],
    fill=(4, "out, shift", ["out, +shift", "out, group_size // 2", "out, by=shift"]),
)

# %% [markdown]
# Attention inside plain groups is given:


# %%
def plain_groups(q, k, v, group_size):
    return s2_attention(q, k, v, S2Geometry(q.shape[2], group_size, q.shape[1], shift=0))


# %% [markdown]
# ### Exercise 4.2 · There and back
#
# Build the published form around `plain_groups`, with a shift of `group_size // 2`. The tensors you get belong to somebody
# else: do not write into them. Groups and numbers of heads may be odd.


# %% exercise="rolled" difficulty=3 importance=5 minutes=12 points=3
def rolled(q, k, v, group_size):
    """(b h n d): heads from h // 2 on are rolled by half a group, attend, and are rolled back."""
    ### BEGIN SOLUTION
    half, shift = q.shape[1] // 2, group_size // 2

    def roll(x, by):
        return torch.cat([x[:, :half], x[:, half:].roll(by, dims=2)], dim=1)

    q, k, v = roll(q, -shift), roll(k, -shift), roll(v, -shift)
    return roll(plain_groups(q, k, v, group_size), shift)
    ### END SOLUTION


# %% check="rolled"
check.rolled(rolled)

# %% [markdown] hints="rolled"
# Which axis is which in (b h n d)? Heads are split along axis 1, tokens move along axis 2. All three, q, k and v, have
# to move together.
#
# ---
# A small function `roll(x, by)` that moves the second half of the heads and leaves the first: `x[:, half:].roll(by,
# dims=2)`. `torch.cat` joins both halves to a *new* tensor.
#
# ---
# Name the shift once, `shift = group_size // 2`, and roll by `-shift` and `shift`. (In Python `-5 // 2` is −3.) Three
# rolls, one `plain_groups`, one roll of the output.

# %% [markdown]
# ## Predict: the seam
#
# 8 tokens in groups of 4: the shifted head is rolled by 2 to the left, and its tokens now stand in the rows 2 3 4 5 and
# 6 7 0 1. The kernel is told "causal", so each token looks at itself and at what stands to the left of it *in its row*.

# %%
course.draw(
    "04.seam",
    "The rolled head: mark whom each token (row) looks at (columns).",
    cells=([str(token) for token in range(8)], [str(token) for token in range(8)]),
)
wrap, split = (S2Geometry(8, 4, 2, boundary=boundary) for boundary in ("wrap", "split"))
course.reveal(
    "04.seam",
    wrap.mask()[1],
    "In their row tokens 0 and 1 stand behind 6 and 7, so they look at them: the end of the text, seen from its "
    "beginning. Below, the rolled rows, and what the library does instead.",
    picture=plots.show_folds([(wrap, 1), (split, 1)]),
)

# %% [markdown]
# {{beginners: Leak}}
#
# Do some pairs look ahead? Count them by the geometry, then push one value and see which outputs move:

# %% after="04.seam"
print("pairs that look ahead:", {g.boundary: g.future_pairs() for g in (wrap, split)})
qkv = torch.from_numpy(random.normal(size=(3, 1, 2, 8, 4)))
for g in (wrap, split):
    heard = check.effects(lambda q, k, v, g=g: s2_attention(q, k, v, g), *qkv)  # (n n): output, pushed token
    print(f"{g.boundary}: the last token moves the outputs of tokens {np.flatnonzero(heard[:, 7])}")

# %% [markdown]
# ## Build: cutting instead of rolling · more
#
# Nothing needs to wrap. From token $s$ on, the full cells of a shifted head lie side by side: one slice, which folds into
# rows. What is left at the two ends is two short texts. So call the kernel once for each slice. There is no roll, no
# copy there and back, no leak, and the length may be any:


# %%
def shifted_heads(q, k, v, group_size):
    length, shift = q.shape[2], group_size // 2
    last = shift + (length - shift) // group_size * group_size  # where the full cells end
    pieces = [(0, shift, shift), (shift, last, group_size), (last, length, length - last)]
    outputs = [
        plain_groups(q[:, :, start:end], k[:, :, start:end], v[:, :, start:end], size)
        for start, end, size in pieces
        if end > start
    ]
    return torch.cat(outputs, dim=2)


for length, group in ((16, 4), (15, 5), (18, 4)):
    q, k, v = torch.from_numpy(random.normal(size=(3, 2, 4, length, 8)))
    expected = s2_attention(q, k, v, S2Geometry(length, group, 4))[:, 2:]  # the second half of the heads
    torch.testing.assert_close(shifted_heads(*(x[:, 2:] for x in (q, k, v)), group), expected)

# %% [markdown]
# This is `impl="grouped"` of the library. A second way is `impl="dense_mask"`: it builds the mask as a tensor and hands it
# to SDPA. That is slower, since a kernel with a mask can skip nothing. `impl="auto"` asks one small function which of
# them to run, and an `impl` that cannot run says so.

# %%
for device_type, dropout in (("cpu", 0.0), ("cpu", 0.1), ("cuda", 0.1)):
    capability = None if device_type == "cpu" else (8, 0)
    choice = choose_impl(device_type, capability, torch.float32, dropout)
    print(f"auto on {device_type:4} with dropout {dropout}: {choice}")
try:
    s2_attention(q, k, v, S2Geometry(length, group, 4), dropout=0.1, impl="grouped")
except ValueError as error:
    print("refused:", error)

# %% [markdown]
# ## Build: the proof
#
# "The same function" means the same outputs *and* gradients, up to rounding. How large may a difference be? As large as
# the format of the numbers makes it, and no larger:
#
# - **float64**: everything but the order of sums is exact. Allow about as many digits as the format has, less a few.
# - **float32**: the 1e-5 that `torch.testing.assert_close` allows by itself.
# - **bfloat16** has two to three digits, so any attention in it is rough. The fair judge is a plain, written-out
#   attention in bfloat16: allow twice *its* error, three times for gradients. A fused kernel keeps its sums in float32
#   and is often better.
#
# {{beginners: Precision}}
#
# {{beginners: dtype}}

# %% folded="Errors against the reference: outputs and gradients"
geometry = S2Geometry(seq_len=64, group_size=16, num_heads=4)
arrays, grad_out = random.normal(size=(3, 2, 4, 64, 16)), random.normal(size=(2, 4, 64, 16))
mask = torch.from_numpy(geometry.mask())


def written_out(q, k, v):
    scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[3])
    return scores.masked_fill(~mask, -math.inf).softmax(dim=-1) @ v


def library(impl):
    return lambda q, k, v: s2_attention(q, k, v, geometry, impl=impl)


def errors(attend, dtype):
    """The largest difference from the reference, given the same rounded inputs: out, dq, dk, dv."""
    inputs = [torch.tensor(x, dtype=dtype, requires_grad=True) for x in arrays]
    direction = torch.tensor(grad_out, dtype=dtype)
    out = attend(*inputs)
    found = (out, *torch.autograd.grad(out, inputs, direction))
    exact = [x.detach().double().numpy() for x in (direction, *inputs)]
    gradients = reference.s2_attention_backward(*exact, geometry)
    right = reference.s2_attention(*exact[1:], geometry), *gradients
    return [np.abs(x.detach().double().numpy() - y).max() for x, y in zip(found, right, strict=True)]


# %%
naive = errors(written_out, torch.bfloat16)
allowed = {
    torch.float64: [1e-10] * 4,
    torch.float32: [1e-5] * 4,
    torch.bfloat16: [2 * naive[0], *(3 * error for error in naive[1:])],
}
lines = []
for dtype, limits in allowed.items():
    for impl in ("dense_mask", "grouped"):
        found = errors(library(impl), dtype)
        assert all(error <= limit for error, limit in zip(found, limits, strict=True)), (impl, dtype)
        name = f"{impl}, {str(dtype).removeprefix('torch.')}"
        lines.append((name, *(f"{error:.0e}" for error in found)))
    lines.append(("allowed", *(f"{limit:.0e}" for limit in limits)))
course.show_table(["", "output", "dq", "dk", "dv"], lines, caption="Largest difference from the reference")

# %% [markdown]
# Equality with a reference is the strongest proof, if you have a reference. For a whole model, or for somebody else's
# code, you have none. You can still ask a weaker question: does anything look into the *future*?
#
# {{beginners: Perturbation test}}
#
# ### Exercise 4.3 · A test that catches every leak
#
# You get a function `attention(q, k, v)` and inputs (b h n d) in float64. Say whether any of its outputs depends on what
# stands at a later token. You may run it as often as you like, on copies of the inputs that you have changed. The check
# tries your test on attention of both kinds: it must accuse none that is causal, and miss none that is not, however
# small the leak.


# %% exercise="looks_ahead" difficulty=4 importance=5 minutes=14 points=3
def looks_ahead(attention, q, k, v):
    """bool: does an output depend on a query, key or value of a later token?"""
    ### BEGIN SOLUTION
    before = attention(q, k, v)
    for token in range(1, q.shape[2]):
        pushed = [x.clone() for x in (q, k, v)]
        for x in pushed:
            x[:, :, token] += 1
        if not torch.allclose(attention(*pushed)[:, :, :token], before[:, :, :token]):
            return True
    return False
    ### END SOLUTION


# %% check="looks_ahead"
check.looks_ahead(looks_ahead)

# %% [markdown] hints="looks_ahead"
# Run once and keep the outputs. Change everything at one token, run again: which outputs are allowed to have moved?
# Those at this token and after it.
#
# ---
# Push *each* token in turn, `range(1, n)`, and all of q, k and v: a leak may pass through a key alone. Push copies
# (`x.clone()`), or the outputs from before belong to other inputs.
#
# ---
# Compare `[:, :, :token]` of both outputs: all sequences, all heads, all tokens before the pushed one. Rounding is no
# leak, so `torch.allclose`, not `==`.

# %% [markdown]
# ## Why should it be faster?
#
# With groups of a quarter of the length, S²-Attn computes about a quarter of the pairs of dense attention
# ([lesson 02a](02a_wall_and_shift.ipynb)). The clock below runs forward and backward, as in training.

# %%
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
lengths = profile.choose(
    laptop=(64, 128, 256, 512, 1024, 2048, 4096),
    binder=(64, 128, 256, 512, 1024, 2048),
    ci=(64, 256, 512),
    gpu=(256, 512, 1024, 2048, 4096, 8192, 16384),
)
lengths = timing.that_fit(lengths, lambda n: 24 * 8 * n * 64 * 2, device)  # 24 arrays like q, in half precision
promised = {}
for n in lengths:
    promised[n] = S2Geometry(n, n, 4, shift=0).pairs() / S2Geometry.with_ratio(n, 1 / 4, 4).pairs()
print(f"at {lengths[-1]:,} tokens dense attention has {promised[lengths[-1]]:.2f} times as many pairs")

# %% [markdown]
# ## Play: what the count says · more
#
# **One task.** Double the tokens twice, from 16 to 64, with the group left at 4; watch the pairs. Then do the same with
# a group of a quarter of the tokens each time. In which of the two does the *share* of the pairs stay where it is?

# %%
explorer(n=16, g=4, heads=2, layers=1)

# %% [markdown]
# With a fixed group the cost grows like the length, and the share falls. With a group of a quarter of the length, as in
# the paper, the share stays the same, and the cost grows like the square.
#
# ## Predict: what does the clock say?
#
# A fair clock has three rules. *Warm up*, because the first call also sets things up. Let the candidates *take turns*, so
# that a machine that slows down slows them all. Report the *median* of several calls. On a CPU we count processor time
# on one thread, so that other programs do not matter; on a GPU we wait until it has finished. `median_seconds` does all
# of this.
#
# One candidate helps to explain the others: *rows alone* is the kernel on rows that were laid out before the clock began.
# (*dense mask* stops at 1,024 tokens: its mask grows with the square of the length.)

# %% folded="What the clock runs"
if device.type == "cpu":
    print("There is no GPU here: the clock runs on one thread of the CPU.")
else:
    print("The clock runs on", torch.cuda.get_device_name(device))
num_heads, width, dtype = (4, 32, torch.float32) if device.type == "cpu" else (8, 64, number_format(device, "measure"))


def training_step(attend, inputs):
    """A function without arguments: forward, and backward to the inputs."""

    def run():
        out = attend(*inputs)
        torch.autograd.grad(out, inputs, torch.ones_like(out))

    return run


def s2(impl, geometry):
    return lambda q, k, v: s2_attention(q, k, v, geometry, impl=impl)


def kernel(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


# %%
course.predict(
    "04.speed",
    f"How many times faster than dense attention is S²-Attn here, at {lengths[-1]:,} tokens?",
    unit="times",
)
seconds = {}
for n in lengths:
    sparse = S2Geometry.with_ratio(n, 1 / 4, num_heads)
    qkv = torch.randn(3, 1, num_heads, n, width, device=device, dtype=dtype)
    rows = rearrange(qkv, "three b h (c g) d -> three (b c) h g d", g=n // 4).contiguous()
    qkv, rows = (x.requires_grad_().unbind() for x in (qkv, rows))
    steps = {
        "dense": training_step(full_attention, qkv),
        "grouped": training_step(s2("grouped", sparse), qkv),
        "rows alone": training_step(kernel, rows),
    }
    if n <= 1024:  # the mask grows with the square
        steps["dense mask"] = training_step(s2("dense_mask", sparse), qkv)
    repeats = 10 if device.type == "cuda" else max(1, min(8, 4096 // n))  # short calls more often
    seconds[n] = timing.median_seconds(steps, repeats=repeats, device=device)
ratios = plots.speed_ratios(seconds)
longest = lengths[-1]
even = plots.crossover(ratios["grouped"])
course.reveal(
    "04.speed",
    round(ratios["grouped"][longest], 2),
    f"The count of pairs promises {promised[longest]:.2f}. "
    + (f"It pays from about {even:,.0f} tokens on. " if even else "It does not pay at these lengths. ")
    + "At short lengths the gain goes into laying out: the rows alone are faster there. What is missing at long ones is "
    "missing in the kernel too. It works in blocks, so along the diagonal it computes whole squares, and small cells "
    "have more diagonal. Under a mask there is no gain at all.",
    unit="times",
    picture=plots.show_speed(ratios, promised),
)

# %% [markdown]
# ## Reveal: what a step gains · more
#
# Training is more than attention. Projections, feed-forward layers and the optimiser see each token once, and no pattern
# makes them cheaper. So a step gains less than its attention does; but the longer the text, the more of the step *is*
# attention. You can count that in FLOPs ([lesson 01](01_why_long_context_is_expensive.ipynb)). Open the line below
# for both, the count and the clock, measured on the model that lesson 07 extends.

# %% after="04.speed"
course.show_study("cost", 2)

# %% [markdown]
# On this model the clock mostly gains less than the count, probably for the reasons under the answer above, and because some
# work takes time and no FLOPs: copies, norms, the optimiser. A model of 135M weights gained more than its count.
#
# ### And the memory? · more
#
# In training, the length is limited by what the forward pass *keeps* for the backward pass. Lesson 03 kept a table of
# weights. For $H$ heads of width $d$ in float32 that is $4 H N^2$ bytes. A fused kernel keeps its output and one number
# for each query instead, $4 H N (d + 1)$. Beside the formulas stands the count: all tensors that autograd keeps.

# %% folded="Bytes that autograd keeps"
n = 512
geometry = S2Geometry.with_ratio(n, 1 / 4, 4)
q, k, v = (torch.randn(1, 4, n, 32, requires_grad=True) for _ in range(3))
mask = torch.from_numpy(geometry.mask())
form = cost.attention_bytes(cost.ModelShape(128, 1, 4, 4, 32, 344, 256), geometry, bytes_per_element=4)
output = q.numel() * 4
ways = {
    "written out": (lambda: written_out(q, k, v), form.masked),
    "impl='dense_mask'": (lambda: s2_attention(q, k, v, geometry, impl="dense_mask"), form.masked),
    "impl='grouped'": (lambda: s2_attention(q, k, v, geometry, impl="grouped"), form.flash + output),
    "dense, fused": (lambda: full_attention(q, k, v), form.flash + output),
}
kept = {name: timing.kept_bytes(run, besides=(q, k, v)) for name, (run, _) in ways.items()}
assert kept["impl='grouped'"] < kept["impl='dense_mask'"] / 4
course.show_table(
    ["", "formula", "counted"],
    [(name, f"{ways[name][1]:,}", f"{size:,}") for name, size in kept.items()],
    caption=f"Bytes kept for the backward pass, {n} tokens, beside q, k and v",
)

# %% [markdown]
# The first two ways keep a table and a little more. Now look at the last two lines. Once the kernel is fused, *dense
# attention keeps no table either*. Then S²-Attn saves time and not memory. If somebody reports that it saved memory, ask
# what the dense side ran on.

# %%
if device.type == "cuda":
    n = lengths[-1]
    on_gpu = torch.randn(3, 1, num_heads, n, width, device=device, dtype=dtype).requires_grad_().unbind()
    grouped = s2("grouped", S2Geometry.with_ratio(n, 1 / 4, num_heads))
    for name, attend in (("dense", full_attention), ("grouped", grouped)):
        torch.cuda.reset_peak_memory_stats()
        training_step(attend, on_gpu)()
        peak = torch.cuda.max_memory_allocated() / 2**20
        print(f"{name}: {peak:,.0f} MiB at the highest, {n:,} tokens, forward and backward")
else:
    print("With a GPU this cell measures the peak of both: a CPU does not count what it hands out.")

# %% [markdown]
# ## Break it: one line too early
#
# Two lines have changed places below: the output is rolled back *before* the groups are joined again. A library that many
# people used did this for years. Shapes agree, and no error is raised.


# %%
def rolled_back_too_early(q, k, v, group_size):
    half, shift = q.shape[1] // 2, group_size // 2

    def roll(x, by):
        return torch.cat([x[:, :half], x[:, half:].roll(by, dims=2)], dim=1)

    rows = [rearrange(roll(x, -shift), "b h (c g) d -> (b c) h g d", g=group_size) for x in (q, k, v)]
    out = roll(F.scaled_dot_product_attention(*rows, is_causal=True), shift)
    return rearrange(out, "(b c) h g d -> b h (c g) d", b=q.shape[0])


q, k, v = torch.from_numpy(random.normal(size=(3, 1, 2, 12, 4)))
broken, right = rolled_back_too_early(q, k, v, 4), s2_attention(q, k, v, S2Geometry(12, 4, 2))
print("same shape:", broken.shape == right.shape)
print(f"mean of all outputs: {broken.mean():.2f} and {right.mean():.2f}")

# %%
of_shifted = [x[:, 1:] for x in (q, k, v)]  # a single head is a shifted one
moves = {
    "rolled back too early": check.effects(lambda q, k, v: rolled_back_too_early(q, k, v, 4), *of_shifted),
    "the library": check.effects(lambda q, k, v: s2_attention(q, k, v, S2Geometry(12, 4, 1)), *of_shifted),
}
plots.show_perturbation(moves)

# %% [markdown]
# Above the diagonal is the future. In each group the first half of the tokens got the outputs of later tokens, so the
# model reads ahead in every layer. Your test of exercise 4.3 finds this bug.
# [Lesson 10](10_bug_gallery_and_critics.ipynb) has more of them, each with the test that finds it.
#
# ## Recap
#
# - The fast form lays tokens out anew and computes nothing new: `b h (c g) d -> (b c) h g d`, one causal kernel, and
#   back. Rolling brings the two ends together and leaks; cutting at other places does not, and copies less.
# - A proof has three parts: outputs and gradients against the reference, a tolerance for each precision that you can
#   defend, and a push of each token that shows who hears it.
# - The count of pairs is a promise. The clock keeps part of it, from some length on. A fused dense kernel has already
#   saved the memory.
#
# ## Quiz

# %%
course.quiz(
    "04.quiz",
    course.Question(
        "Why does S²-Attn under impl='dense_mask' gain no time over dense attention?",
        right=(
            "The kernel computes the hidden pairs as well",
            "A mask only hides them afterwards. To save work, the lay-out must leave pairs out.",
        ),
        wrong=[
            (
                "Building the mask takes all the time that is saved",
                "It takes some, and keeping it would spare that. The attention itself is slower than causal attention.",
            ),
            (
                "The shifted heads must be copied first",
                "That is so for rolled or cut heads. Under a mask no token moves.",
            ),
            (
                "PyTorch turns it back into the causal kernel",
                "It cannot: it would have to read the mask to find out what it means.",
            ),
        ],
    ),
    course.Question(
        "A fast kernel in bfloat16 differs from the float64 reference in the third digit. What does that prove?",
        right=(
            "Nothing about it yet",
            "The format itself costs that much: compare with what a plain attention in bfloat16 differs by. In float64 "
            "the same code must agree to many more digits.",
        ),
        wrong=[
            (
                "The kernel is wrong",
                "Any attention in bfloat16 differs by about that. Run the kernel in float64 as well.",
            ),
            (
                "The kernel is right",
                "A bug that changes few tokens a little would look the same. Float64 tells them apart.",
            ),
            ("The reference is wrong", "The reference is what right means here; its own tests are loops in float64."),
        ],
    ),
    course.Question(
        "Somebody reports that S²-Attn cut the memory of attention to a quarter. What do you ask first?",
        right=(
            "What the dense side ran on",
            "A fused kernel keeps one number a query instead of a table, so there is nothing left to quarter.",
        ),
        wrong=[
            ("Which shift they used", "The shift moves cells. It hardly changes their number or size."),
            (
                "Whether all heads were shifted",
                "That decides what is computed, and hardly how much: plain and shifted heads have nearly equal cells.",
            ),
            (
                "How long the sequence was",
                "With groups of a quarter the share is the same at any length, if there is a table at all.",
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
    "04.more",
    course.Question(
        "Where do the cells of a shifted head begin, for a shift of s?",
        right=("At token s, because the text moves to the left", "Rolling by -s brings token s to place 0."),
        wrong=[
            (
                "At token G - s, because the text moves to the right",
                "Rolling to the left moves the cells to the right.",
            ),
        ],
    ),
    course.Question(
        "What becomes of the first tokens under roll?",
        right=(
            "They look at the last tokens, which is a leak",
            "They stand behind the last tokens in their row, and see the future.",
        ),
        wrong=[
            (
                "They join the last tokens, which is harmless",
                "Causality is judged in the row, so the first look at the last.",
            ),
        ],
    ),
    course.Question(
        "Shifted heads under split: how many pairs?",
        right=(
            "A few fewer, as each short cell at an end holds less",
            "The two together hold fewer pairs than a full one.",
        ),
        wrong=[
            ("Exactly as many, no matter what happens at the ends", "So it is under wrap and masked."),
        ],
    ),
    course.Question(
        "How many pairs has a group of G tokens?",
        right=(
            "G(G + 1)/2, every token with itself and earlier ones",
            "The lower half of the square, with the diagonal.",
        ),
        wrong=[
            ("G², every token with every other", "The upper half is the future."),
        ],
    ),
    course.Question(
        "How do groups of (b h n d) become rows?",
        right=("rearrange(x, 'b h (c g) d -> (b c) h g d', g=g)", "All axes have names, so none is read as another."),
        wrong=[
            (
                "x.transpose(1, 2).reshape(b * c, h, g, d), in one step",
                "Then tokens are read as heads: a published bug.",
            ),
        ],
    ),
    course.Question(
        "What is rolled before attention?",
        right=(
            "Queries, keys and values, before attention",
            "All three, so that a query meets the keys and values of its cell.",
        ),
        wrong=[
            ("The output, after attention", "Attention has then run inside plain groups."),
            ("Queries and keys; values keep their places", "Then the weights collect somebody else's values."),
        ],
    ),
    course.Question(
        "And after attention?",
        right=("The output is rolled back, as q, k and v were rolled", "By +shift, where it was -shift."),
        wrong=[
            (
                "Nothing: the next layer takes the tokens as they come",
                "Each token would get the result of a later one.",
            ),
        ],
    ),
    course.Question(
        "Are -5 // 2 and 5 // 2 opposites in Python?",
        right=("No: both of them are rounded down", "-5 // 2 is -3, and 5 // 2 is 2."),
        wrong=[
            ("Yes: one is minus the other", "So an odd group comes back one token off: a published bug."),
        ],
    ),
    course.Question(
        "What must a test of an attention look at?",
        right=(
            "That a push of one token moves the outputs it should",
            "And no other output: that shows who hears whom.",
        ),
        wrong=[
            ("That its output has the right shape and is finite", "Every published bug passes that."),
        ],
    ),
    course.Question(
        "r groups: after how many layers does the last token hear the first?",
        right=("Two layers a group, less one: 2r - 1", "Two layers for each wall, and one to begin with."),
        wrong=[
            ("As many layers as there are groups", "A plain and a shifted head take turns."),
            ("One layer a group, and one more", "Right for two groups, and for no other number."),
        ],
    ),
    course.Question(
        "Does a plain head use what a shifted head heard?",
        right=("Yes: the next layer reads what all heads wrote", "The heads' outputs are added up in each layer."),
        wrong=[
            (
                "No: what a shifted head heard stays in that head",
                "All heads of a layer read what all heads of the layer below wrote.",
            ),
        ],
    ),
    course.Question(
        "Where does wrap leak?",
        right=("On the shifted heads, in one cell", "shift first tokens look at group_size - shift last ones."),
        wrong=[
            ("On every head, plain or shifted", "Plain heads wrap nothing."),
            ("One later token for each of the first ones", "Each of the first ones sees all last tokens of the cell."),
        ],
    ),
)

# %% [markdown]
# ## Discuss
#
# Dense attention on a fused kernel needs no table, and machines get faster each year. At which lengths, and for whom, is
# a factor like the one you have measured worth another function than the one the model will be used with?

# %% [markdown] instructor=true
# **For the teacher.** *One letter*: about half of a class says 0, 1, 2, 3; write the eight tokens in a 4 by 2 and a 2 by
# 4 grid on the board and read them by rows. *How much faster*: most say 4. Let them collect reasons before the reveal;
# the best one is the diagonal blocks of a causal kernel. Times are the machine's: on a busy one the line at short
# lengths shakes, which is worth showing. *Exercise 4.3*: expect tests that push the last token only, or the values only;
# the check answers each of these. *Discuss*: attention is only a part of a step ([lesson 01](01_why_long_context_is_expensive.ipynb)
# has its share), S² is used in training only, and a group of fixed size would be another method. Who trains at 8k on one
# GPU gains little; who trains at 100k gains much.
