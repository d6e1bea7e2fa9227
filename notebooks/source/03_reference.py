# ---
# jupyter:
#   longlora_edu:
#     title: The reference, and its gradient
# ---

# %% [markdown]
# **After this lesson you can**
#
# - write softmax attention with a mask in NumPy so that neither huge scores nor a query without any key can break it;
# - write S²-Attn in two ways, by a mask for each head and cell by cell, and say why they are the same function;
# - derive its gradient by hand, from the output back to queries, keys and values, and check it by turning each number
#   a little;
# - find a mistake that no picture of a mask can show.
#
# **You need first** matrix products (what is the shape of `q @ k.T`, if both have 8 rows and 4 columns?), the chain
# rule (what is the derivative of $e^{3x}$?) and the masks of [lesson 02a](02a_wall_and_shift.ipynb) (which keys
# does token 5 see on a shifted head, with groups of 4?).
#
# **Where it runs**: anywhere, in NumPy alone. More than half of the time above is for four exercises; each can be
# skipped.

# %%
import numpy as np

from longlora_edu import course, plots
from longlora_edu.course.checks import l03_reference as check
from longlora_edu.geometry import S2Geometry
from longlora_edu.reference import full_attention, s2_attention, s2_attention_backward
from longlora_edu.widgets.explorer import explorer

# %% [markdown]
# ## Why
#
# A fast program is easy to get wrong and hard to read. So this library has a slow one that you can check by eye,
# `reference.py`. Everything fast must give the same numbers. In this lesson you write the slow one yourself.
#
# Our text is the beginning of a sentence that you know, eight words, a token each:
#
# > *The dog that chased | the cat all afternoon*
#
# ## Predict: who looks at whom
#
# The 8 words stand in groups of 4, on two heads. Head 0 is plain: its wall is drawn above. Head 1 is shifted by 2. You know
# the rule from [lesson 02a](02a_wall_and_shift.ipynb): can you still draw it?

# %%
words = course.SENTENCE.split()[:8]
geometry = S2Geometry(seq_len=8, group_size=4, num_heads=2)
# Random numbers for the whole lesson, each (b h n d): a batch of one, two heads, eight tokens, heads of width four.
q, k, v = np.random.default_rng(0).normal(size=(3, 1, 2, 8, 4))

# %%
tokens = [f"{place} {word}" for place, word in enumerate(words)]
course.draw(
    "03.mask",
    "Head 1, shifted by 2: mark the keys (columns) that each query (row) may look at.",
    cells=(tokens, [str(place) for place in range(8)]),
)
unit_values = np.broadcast_to(np.eye(8), (1, 2, 8, 8))  # the value of token j: 1 in place j

weights = s2_attention(q, k, unit_values, geometry)[0]
tables = {"head 0, plain": weights[0], "head 1, shifted by 2": weights[1]}
seen = geometry.mask()
course.reveal(
    "03.mask",
    seen[1],
    "Tokens 0 and 1 stand before the first full cell, 6 and 7 after the last one: short cells of their own. Below, how "
    "much each query takes of each key that it sees. Every row shares out exactly 1.",
    picture=plots.show_tables(tables, allowed=seen),
)

# %% [markdown]
# {{beginners: Attention}}
#
# {{beginners: Query, key and value}}
#
# {{beginners: Reference implementation}}
#
# How do we get at the weights? By a trick that you will need again. Attention is linear in the values. Give token $j$ the
# value "1 in place $j$". Then the output of any attention function *is* its table of weights.

# %% after="03.mask"
shares = [f"{share:.2f} of {word}" for word, share in zip(words, weights[1, 5], strict=True) if share > 0]
print("on head 1 token 5,", words[5] + ", takes", ", ".join(shares))

# %% [markdown]
# ## Predict: a flat row
#
# Let all queries be zero. Then all scores are zero, and a query likes all the keys that it sees equally.

# %%
course.predict(
    "03.flat_row",
    "8 tokens in groups of 4, all queries zero. How much of its attention does token 5 give to "
    "token 4 on the shifted head?",
    choices=[
        "An eighth: there are eight tokens",
        "A quarter: it sees four keys",
        "A half: its group has just begun",
        "That depends on the keys",
    ],
)
flat = s2_attention(np.zeros_like(q), k, unit_values, geometry)[0]
assert flat[1, 5, 4] == 1 / 4
course.reveal(
    "03.flat_row",
    "A quarter: it sees four keys",
    "On the shifted head tokens 2, 3 and 4 stand before it in its cell. On the plain head its group "
    "has just begun, and it gives a half to each of two. Forbidden keys take no part in the sharing.",
    because={
        "An eighth: there are eight tokens": "Only keys that it sees get a share.",
        "A half: its group has just begun": "That is head 0, the plain one.",
        "That depends on the keys": "With a query of zero every score is zero, for any key.",
    },
)

# %% [markdown]
# ## Play: count the keys
#
# **One task.** Point at token 5 and count the keys that it sees, on head 0 and on head 1. A flat row shares 1 equally
# among them.

# %%
course.after("03.flat_row", explorer, words=" ".join(words), g=4, heads=2, layers=1)

# %% [markdown]
# {{beginners: Softmax}}
#
# {{beginners: Scale}}
#
# ## Build: attention on one head
#
# One query first. Token 5 on the shifted head, *cat*, looks at tokens 2 to 5, *that chased the cat*. Its score for a
# key is their dot product, divided by the root of the width $d$ of a head. (Wider vectors have larger products; the
# division takes that out.)
#
# $$s_j = \frac{q \cdot k_j}{\sqrt d}, \qquad p_j = \frac{e^{s_j}}{\sum_{m \in \text{visible}} e^{s_m}}, \qquad o =
# \sum_{j \in \text{visible}} p_j v_j .$$
#
# Three formulas, three lines:

# %%
visible = [2, 3, 4, 5]
scores = k[0, 1, visible] @ q[0, 1, 5] / np.sqrt(4)
shares = np.exp(scores) / np.exp(scores).sum()
output = shares @ v[0, 1, visible]

np.testing.assert_allclose(output, s2_attention(q, k, v, geometry)[0, 1, 5])
print("scores", scores.round(2), " shares", shares.round(2), " output", output.round(2))

# %% [markdown]
# Now all queries at once. A mask says who sees whom, and it must act on the scores, *before* the sharing. Two things can
# go wrong that small examples do not show:


# %%
def softmax(scores):
    return np.exp(scores) / np.exp(scores).sum()


high, none_visible = np.array([1000.0, 0.0]), np.array([-np.inf, -np.inf])
with np.errstate(all="ignore"):
    print("a high score:       ", softmax(high))
    print("no visible key:     ", softmax(none_visible))
print("the highest removed:", softmax(high - high.max()))

# %% [markdown]
# The last line mends the first: subtract the same number from all scores of a row, and the quotient stays the same. A
# query that sees no key exists too: padding looks at nothing. Its output must be exactly 0.
#
# {{beginners: Attention mask}}
#
# ### Exercise 3.1 · Masked softmax attention
#
# One head: `q`, `k` and `v` have a row for each token, `mask[i, j]` is `True` where query $i$ may look at key $j$. Scale
# the scores, hide what is forbidden, take the softmax of each row, and collect the values. No `NaN` may come out: not for
# scores in the thousands, and not for an empty row.


# %% exercise="masked_attention" difficulty=3 importance=5 minutes=10 points=2
def masked_attention(q, k, v, mask):
    """(n d) of one head; a query that may look at nothing gets zeros."""
    ### BEGIN SOLUTION
    scores = q @ k.T / np.sqrt(q.shape[-1])
    highest = scores.max(axis=-1, keepdims=True, where=mask, initial=-1e300)
    exponentials = np.exp(np.where(mask, scores - highest, -np.inf))
    total = exponentials.sum(axis=-1, keepdims=True)
    return exponentials / np.where(total == 0, 1, total) @ v
    ### END SOLUTION


# %% check="masked_attention"
check.masked_attention(masked_attention)

# %% [markdown] hints="masked_attention"
# Four steps: scores, forbidden scores to minus infinity, softmax along the *last* axis, times `v`. `keepdims=True` lets
# the sum of a row stand beside its row.
#
# ---
# `np.where(mask, scores, -np.inf)` hides, since `np.exp(-np.inf)` is 0. For large scores subtract the highest visible one
# of each row before `np.exp`: `scores.max(axis=-1, keepdims=True, where=mask, initial=…)` looks at visible ones only.
#
# ---
# A row without keys has the sum 0. Divide by `np.where(total == 0, 1, total)`, and take a finite `initial=-1e300` for
# the highest score: minus infinity minus minus infinity is `NaN`.

# %% [markdown]
# The tables on the way, for the shifted head. Read one row from left to right: scores of any size, positive numbers,
# shares of 1.

# %% worked="masked_attention"
mask = geometry.mask()[1]
scores = q[0, 1] @ k[0, 1].T / np.sqrt(4)
exponentials = np.where(mask, np.exp(scores), 0)
shares = exponentials / exponentials.sum(axis=-1, keepdims=True)
np.testing.assert_allclose(shares @ v[0, 1], s2_attention(q, k, v, geometry)[0, 1])

tables = {"scores": scores, "exponentials": exponentials, "weights": shares}
plots.show_tables(tables, allowed=mask)

# %% [markdown]
# ## Build: all heads
#
# Heads do not know of each other. So the same lines, with two more axes, are all of S²-Attn. What makes it S²-Attn is
# that the mask is not the same on all heads:

# %% worked="masked_attention"
masks = geometry.mask()  # bool (h n n)
exponentials = np.where(masks, np.exp(q @ k.swapaxes(-1, -2) / np.sqrt(4)), 0)
by_mask = exponentials / exponentials.sum(axis=-1, keepdims=True) @ v

np.testing.assert_allclose(by_mask, s2_attention(q, k, v, geometry))
print(f"{masks.size} scores computed, {masks.sum()} of them visible")

# %% [markdown]
# {{beginners: Cell}}
#
# This says what S²-Attn *means*, and it is a waste: we fill in the whole table and throw most of it away. A cell knows
# nothing of what is outside. So cut the text into its cells, and treat each as a small text of its own, with ordinary
# causal attention. The library has that: `full_attention(q, k, v)` takes any piece of the tokens and heads.
#
# ### Exercise 3.2 · S²-Attn, cell by cell
#
# No mask this time. For each head find where its cells begin, run `full_attention` on each cell and put the result where
# the cell stood. Plain heads come first, `geometry.num_heads // 2` of them; on the others full cells begin at token
# `geometry.shift`, and what stands before it is a short cell (boundary `"split"`). The last cell may be short as well.


# %% exercise="s2_forward" difficulty=4 importance=5 minutes=14 points=3
def s2_forward(q, k, v, geometry):
    """(b h n d). Ask `geometry` for seq_len, group_size, num_heads and shift; make no mask."""
    ### BEGIN SOLUTION
    out = np.zeros_like(v)
    for head in range(geometry.num_heads):
        first = 0 if head < geometry.num_heads // 2 else geometry.shift
        starts = sorted({0, *range(first, geometry.seq_len, geometry.group_size)})
        for start, end in zip(starts, [*starts[1:], geometry.seq_len], strict=True):
            cell = np.s_[:, head : head + 1, start:end]
            out[cell] = full_attention(q[cell], k[cell], v[cell])
    return out
    ### END SOLUTION


# %% check="s2_forward"
check.s2_forward(s2_forward)

# %% [markdown] hints="s2_forward"
# Write down the starts of the cells for 8 tokens, groups of 4 and a shift of 2: plain heads have `[0, 4]`, shifted ones
# `[0, 2, 6]`. Each cell ends where the next begins, and the last one at the end of the text.
#
# ---
# `sorted({0, *range(first, seq_len, group_size)})` lists the starts for both kinds of heads, with `first` 0 or `shift`.
# Pair each with the next: `zip(starts, [*starts[1:], seq_len])`.
#
# ---
# `full_attention` wants all four axes. Cut with `cell = np.s_[:, head : head + 1, start:end]`, so that the head axis
# stays, and write `out[cell] = full_attention(q[cell], k[cell], v[cell])`.

# %% [markdown]
# The geometry knows its cells: `geometry.cells(shifted=True)`. With them the loop is shorter. It gives the same numbers
# as the mask, and fills in fewer scores:

# %% worked="s2_forward"
by_cells, computed = np.zeros_like(v), 0
for head, shifted in enumerate((False, True)):
    for (cell,) in geometry.cells(shifted=shifted):
        place = np.s_[:, head : head + 1, cell.start : cell.stop]
        by_cells[place] = full_attention(q[place], k[place], v[place])
        computed += len(cell) ** 2

np.testing.assert_allclose(by_cells, by_mask)
print(f"scores by the mask: {masks.size}, by cells: {computed}, visible: {geometry.pairs()}")

# %% [markdown]
# {{beginners: Segment}}
#
# {{beginners: Padding}}
#
# Real rows hold padding, or several documents. The rule is one sentence: *a token sees its own document only; padding
# sees nothing, and nobody reads it*. In code it is one more `&` in the mask, on the numbers of the documents. To prove
# that nobody reads it, we put `NaN` there:

# %%
segments = np.array([[-1, -1, 0, 0, 0, 1, 1, 1]])  # two tokens of padding, then two documents
spoiled = [np.where(segments[:, None, :, None] < 0, np.nan, x) for x in (q, k, v)]
out = s2_attention(*spoiled, geometry, segments=segments)

assert (out[:, :, :2] == 0).all()
seen = s2_attention(q, k, unit_values, geometry, segments=segments)[0, 1, 5] > 0
print("outputs at padding:", np.unique(out[:, :, :2]), " all finite:", np.isfinite(out).all())
print("on the shifted head token 5, the first of its document, sees", np.flatnonzero(seen))

# %% [markdown]
# ## Predict: the gradient of a lonely query · more
#
# Training needs the gradient: how much does the loss change when a query, a key or a value changes a little? On the
# shifted head token 2 begins a cell. It sees itself and nobody else.

# %%
course.predict(
    "03.lonely_query",
    "A loss depends on all outputs. What is its gradient with respect to the query of token 2 on the shifted head?",
    choices=[
        "Exactly zero",
        "Small, but not zero: only one key takes part",
        "As large as any other: token 2 is as important",
        "It depends on the value of token 2",
    ],
)
grad_out = np.random.default_rng(1).normal(size=(8, 4))
dq, dk, dv_all = s2_attention_backward(np.broadcast_to(grad_out, (1, 2, 8, 4)), q, k, v, geometry)
assert np.abs(dq[0, 1, [0, 2, 6]]).max() == 0 < np.abs(dq[0, 1, [1, 3, 4, 5, 7]]).min()
course.reveal(
    "03.lonely_query",
    "Exactly zero",
    "Its only weight is 1, for any query: a softmax over one score is constant. Tokens 0, "
    "2 and 6 begin the cells of the shifted head, and none of their queries learns anything there. "
    "Their keys and values do.",
)

# %% [markdown]
# {{beginners: Gradient}}
#
# {{beginners: Backward pass}}
#
# ## Build: the gradient
#
# Training hands us $G$, the gradient of the loss with respect to the output; each $dX$ below is the gradient with respect
# to $X$. ($G$ was the size of a group so far; here nothing is cut. In the code it is `grad_out`: the cell of the
# prediction above has made one at random, and the library's `dq`, `dk` and `dv_all` for it.) There were three steps forwards, so there are three steps back:
#
# $$S = \tfrac{1}{\sqrt d} q k^\top \quad\longrightarrow\quad P = \text{softmax}(S) \quad\longrightarrow\quad O = P v.$$
#
# We need a judge that needs no calculus. It moves each number a little up, then a little down, and looks at the loss:


# %%
def numeric_gradient(loss, x, step=1e-5):
    """(loss(x + step) - loss(x - step)) / 2 step, for each number of x by itself."""
    gradient = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[place] += step
        down[place] -= step
        gradient[place] = (loss(up) - loss(down)) / (2 * step)
    return gradient


# %% [markdown]
# {{beginners: Gradient check}}
#
# **Step one, the product $O = P v$.** Output $i$ is $\sum_j P_{ij} v_j$. Value $j$ appears in every output that took
# some of it, so its gradient collects from all of them, down a *column* of the weights: $dv = P^\top G$. And the weight
# $P_{ij}$ multiplies $v_j$ in output $i$ alone: $dP = G v^\top$.

# %%
# The shifted head, with its weights from the first picture.
head_q, head_k, head_v, P = q[0, 1], k[0, 1], v[0, 1], weights[1]

dv = P.T @ grad_out
dP = grad_out @ head_v.T

by_watching = numeric_gradient(lambda x: (grad_out * (P @ x)).sum(), head_v)
np.testing.assert_allclose(dv, by_watching, atol=1e-8)
by_watching = numeric_gradient(lambda x: (grad_out * (x @ head_v)).sum(), P)
np.testing.assert_allclose(dP, by_watching, atol=1e-8)

# %% [markdown]
# **Step two, the softmax.** Each row has a softmax of its own. Raise one score of a row, and its own weight grows while
# all others shrink, because they share 1. From here on the row is fixed: we write $P_j$ for the weight of key $j$ in it,
# and both $i$ and $j$ are keys. In a formula: $\partial P_j / \partial S_i = P_j (1[i = j] - P_i)$, a small table for
# each row, its *Jacobian*. Here is the one of token 5; forbidden keys have
# no part in it:

# %%
p = P[5]  # `mask` and `scores` below: those of the shifted head, from the tables above
jacobian = np.diag(p) - np.outer(p, p)


def weight_of(key):
    return lambda row: softmax(np.where(mask[5], row, -np.inf))[key]


by_watching = [numeric_gradient(weight_of(key), scores[5]) for key in range(8)]
np.testing.assert_allclose(jacobian, by_watching, atol=1e-8)

tables, both = {"token 5: how weights answer to scores": jacobian}, np.outer(mask[5], mask[5])
plots.show_tables(tables, allowed=both, rows="weight of key", columns="raised: score of key")

# %% [markdown]
# The diagonal is positive, everything else negative, and each row sums to 0: what one key gains, the others lose. But
# nobody builds this table: there is one for each query, with $N$ times $N$ numbers. Instead, multiply it on paper by the
# query's row of $dP$ (again $i$ and $j$ are keys):
#
# $$dS_i = \sum_j dP_j P_j (1[i = j] - P_i) = P_i \Big( dP_i - \sum_j P_j dP_j \Big).$$
#
# The sum on the right is *one* number for the row: the dot product of its weights with its $dP$.
#
# ### Exercise 3.3 · Back through the softmax
#
# All rows at once: `weights` and `d_weights` have a row for each query. Return the gradient of the scores, of the same
# shape, without a Jacobian and without a loop.


# %% exercise="softmax_backward" difficulty=2 importance=5 minutes=6 points=2
def softmax_backward(weights, d_weights):
    """(n n): the gradient of the scores, each row by itself."""
    ### BEGIN SOLUTION
    row_sums = (weights * d_weights).sum(axis=-1, keepdims=True)
    return weights * (d_weights - row_sums)
    ### END SOLUTION


# %% check="softmax_backward"
check.softmax_backward(softmax_backward)

# %% [markdown] hints="softmax_backward"
# The formula above is for one row. Which axis is "the row" in a table with a row for each query?
#
# ---
# First the number for each row: multiply the tables entry by entry, and sum along the last axis.
#
# ---
# `keepdims=True` keeps that sum as a column, one number beside each row. In a square table NumPy would not complain
# without it, and would subtract the wrong ones.

# %% [markdown]
# The three tables of the way back. Look at the sums on the right: those of the weights are 1, those of $dS$ are 0. Look
# at rows 0, 2 and 6 as well.

# %% worked="softmax_backward"
dS = P * (dP - (P * dP).sum(axis=-1, keepdims=True))
np.testing.assert_allclose(dS[5], jacobian @ dP[5], atol=1e-12)

tables = {"weights P": P, "dP": dP, "dS": dS}
plots.show_tables(tables, allowed=mask)

# %% [markdown]
# ## Build: queries and keys · more
#
# **Step three, the scores $S = \tfrac{1}{\sqrt d} q k^\top$.** The product again, as in step one, with a number in
# front. Query $i$ stands in row $i$ of the scores, key $j$ in column $j$. You have all you need.
#
# First put the lines in order. One of them has a blank.

# %%
course.parsons(
    "03.backward_lines",
    "The whole way back, for one head.",
    [
        "scale = 1 / np.sqrt(q.shape[-1])",
        "dv = weights.T @ grad_out",
        "d_weights = grad_out @ v.T",
        "row_sums = (weights * d_weights).sum(axis=-1, keepdims=True)",
        "d_scores = weights * (d_weights - row_sums)",
        "dq = scale * d_scores @ k",
        "dk = scale * d_scores.T @ q",
        "return dq, dk, dv",
    ],
    fill=(6, "d_scores.T", ["d_scores.transpose()", "np.transpose(d_scores)"]),
)

# %% [markdown]
# ### Exercise 3.4 · The whole way back
#
# One head. You get the gradient of the output, the inputs, and the weights that the forward pass has kept. Return the
# gradients of `q`, `k` and `v`, in this order, each shaped as what it belongs to.


# %% exercise="attention_backward" difficulty=4 importance=4 minutes=12 points=3
def attention_backward(grad_out, q, k, v, weights):
    """(dq, dk, dv), each (n d)."""
    ### BEGIN SOLUTION
    scale = 1 / np.sqrt(q.shape[-1])
    dv = weights.T @ grad_out
    d_weights = grad_out @ v.T
    d_scores = weights * (d_weights - (weights * d_weights).sum(axis=-1, keepdims=True))
    dq = scale * d_scores @ k
    dk = scale * d_scores.T @ q
    return dq, dk, dv
    ### END SOLUTION


# %% check="attention_backward"
check.attention_backward(attention_backward)

# %% [markdown] hints="attention_backward"
# Go backwards through the three steps: from `grad_out` to `dv` and `d_weights`, through the softmax to `d_scores`, and
# from there to `dq` and `dk`.
#
# ---
# Shapes nearly decide it. `d_scores` is (n n) with queries in rows, so `d_scores @ k` belongs to queries. What belongs
# to keys must come from the columns: transpose.
#
# ---
# The scores were divided by the root of the width, so `dq` and `dk` are too, once. `dv` is not: the values never met the
# scale.

# %% [markdown]
# Our lines against the library's, and the library against the judge that needs no calculus, for both heads and each
# number:

# %% worked="attention_backward"
np.testing.assert_allclose(dS @ head_k / np.sqrt(4), dq[0, 1], atol=1e-12)
np.testing.assert_allclose(dS.T @ head_q / np.sqrt(4), dk[0, 1], atol=1e-12)
np.testing.assert_allclose(dv, dv_all[0, 1], atol=1e-12)

everywhere = np.random.default_rng(2).normal(size=q.shape)
by_hand = s2_attention_backward(everywhere, q, k, v, geometry)
by_watching = (
    numeric_gradient(lambda x: (everywhere * s2_attention(x, k, v, geometry)).sum(), q),
    numeric_gradient(lambda x: (everywhere * s2_attention(q, x, v, geometry)).sum(), k),
    numeric_gradient(lambda x: (everywhere * s2_attention(q, k, x, geometry)).sum(), v),
)
for name, one, other in zip(("dq", "dk", "dv"), by_hand, by_watching, strict=True):
    np.testing.assert_allclose(one, other, atol=1e-8)
    print(f"{name}: {one.size} numbers, largest difference {np.abs(one - other).max():.0e}")

# %% [markdown]
# ## Reveal: the mask on the way back · more
#
# Where is the mask in all this? Nowhere: no line of the backward pass mentions it. So what about this statement, which
# you can read in descriptions of the method?
#
# {{claim: backward-mirrors-forward}}

# %% claim="backward-mirrors-forward"
receives = np.zeros((2, 8, 8), dtype=bool)
for query in range(8):
    alone = np.zeros_like(q)
    alone[:, :, query] = grad_out[query]  # a loss that looks at the output of one token only
    _, _, d_values = s2_attention_backward(alone, q, k, v, geometry)
    receives[:, query] = np.abs(d_values[0]).max(axis=-1) > 0

assert np.array_equal(receives, geometry.mask())
print(f"values that receive gradient: {receives.sum()} pairs, the {geometry.pairs()} of the mask")

# %% [markdown]
# ## Break it: the mask after the softmax
#
# One line is in the wrong place. Below, the softmax runs over *all* keys, and only then are the forbidden weights removed.
# Who looks at whom? We find out by unit values, as above.


# %%
def masked_too_late(q, k, v, geometry):
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    weights = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    return np.where(geometry.mask(), weights, 0) @ v


listens = check.attention_weights(masked_too_late, geometry) > 0
print("the same mask as S²-Attn:", np.array_equal(listens, geometry.mask()))

# %% [markdown]
# The picture of the mask is perfect. Now push one *key* at a time, and see which outputs move on the plain head:


# %%
def moved_by_keys(attend, head):
    before, rows = attend(q, k, v, geometry), []
    for token in range(8):
        pushed = k.copy()
        pushed[:, :, token] += 1
        rows.append(np.abs(attend(q, pushed, v, geometry) - before)[0, head].max(axis=-1) > 1e-12)
    return np.array(rows).T  # (n n): output in the row, pushed token in the column


moves = {
    "masked too late": moved_by_keys(masked_too_late, head=0),
    "the reference": moved_by_keys(s2_attention, head=0),
}
plots.show_perturbation(moves)

# %% [markdown]
# Every key moves every output, even a key that comes later. The forbidden keys have taken their share before they were
# removed, and what is left of a row depends on how much they took. Rows no longer sum to 1. Two lessons: look at the
# *sums*, and test a program by pushing its inputs, not by looking at its mask. (Why does the picture of the reference
# have blanks where the mask has none? Rows 0 and 4 see a single key. Its weight is 1 in any case.)
#
# {{beginners: Perturbation test}}
#
# ## Recap
#
# - Attention is three lines: scaled scores, a softmax over the *visible* keys of each row, a weighted sum of values.
#   S²-Attn is the same with a mask for each head, or, which is the same function, ordinary attention inside each cell.
# - Backwards, the softmax takes from each row the dot product of its weights with their gradients. Keys and values
#   collect down columns. The mask needs no line of its own: where the weight is 0, so is the gradient.
# - A reference is worth as much as its checks: finite differences for the gradient, one pushed number for the mask.
#
# One thing is left, the waste. This is the table of scores that the reference fills in, for one layer of Llama-2-7B:

# %%
for length in (4096, 32768, 100000):
    table = 32 * length**2 * 8  # heads, pairs, bytes of a float64
    print(f"{length:7,} tokens: {table / 2**30:6,.0f} GiB for the scores of 32 heads")

# %% [markdown]
# [Lesson 04](04_meaning_to_speed.ipynb) keeps the numbers and drops the table.
#
# ## Quiz

# %%
course.quiz(
    "03.quiz",
    course.Question(
        "The rows of your weights sum to less than 1, most of all in the first rows of each cell. What happened?",
        right=(
            "The mask came after the softmax",
            "Forbidden keys took their share first; the fewer keys a row may see, the more is missing.",
        ),
        wrong=[
            ("The scale is missing", "A softmax sums to 1 for scores of any size. The scale changes how sharp it is."),
            (
                "The softmax runs over the queries",
                "Then the columns would sum to 1, and some rows would sum to more than 1 and others to less.",
            ),
            (
                "The highest score was not subtracted",
                "That changes nothing until exp overflows, and then NaN comes out.",
            ),
        ],
    ),
    course.Question(
        "In the backward pass, what is the sum of the row of dS that belongs to one query?",
        right=(
            "0",
            "Adding the same number to all scores of a row changes no weight, so the gradient in that direction "
            "is 0, which is the sum of the row.",
        ),
        wrong=[
            ("1", "The weights of a row sum to 1. Their gradients have to leave that sum alone."),
            (
                "The loss of that token",
                "Nothing in the chain computes a loss: the gradient of the output is where we began.",
            ),
            ("It can be anything", "That is so for dP. The softmax removes from each row what all its scores share."),
        ],
    ),
    course.Question(
        "Where does the mask have to appear in the backward pass?",
        right=(
            "Nowhere: it is in the weights already",
            "A forbidden weight is 0, and every path to a forbidden key goes through it: dv has P in front, dS has P in "
            "front, and dq and dk are made of dS.",
        ),
        wrong=[
            (
                "On dP, before the softmax is passed",
                "dP is not zero at forbidden keys, and need not be: P multiplies it on the way through the softmax.",
            ),
            ("On dq, dk and dv, at the end", "They have no pairs any more: each of them is a sum over many."),
            ("It must be transposed and applied to dk", "dk is d_scores.T @ q, and d_scores is 0 at forbidden keys."),
        ],
    ),
)

# %% [markdown]
# ## Quiz: what people believe · more
#
# Each wrong choice here is something that somebody really said or wrote ([many of them](../docs/claims.md)).

# %%
course.quiz(
    "03.more",
    course.Question(
        "Token 5 on a plain head, groups of 4: whom does it see?",
        right=("Tokens 4 and 5: its group up to itself", "Its group begins at token 4, and it looks backwards."),
        wrong=[
            ("The last G tokens, itself included", "That is a window, which moves with the token. Groups stand still."),
            ("All tokens of its group, earlier and later", "Tokens 6 and 7 come later."),
        ],
    ),
    course.Question(
        "What does S²-Attn shift?",
        right=("Half of the heads, the second half", "On heads from num_heads // 2 on, with all their tokens."),
        wrong=[
            ("Half of the tokens, on all heads", "Every token is plain on some heads and shifted on others."),
            ("Every second head: 1, 3, 5 and so on", "It would do as well, but it is the second half."),
            ("Every second group, each turned in itself", "Then no group ever meets another."),
            ("All heads, in every layer", "Then the walls have moved and are as closed as before."),
            ("The first half of the heads", "It is the second half."),
        ],
    ),
    course.Question(
        "Where are forbidden keys hidden?",
        right=("Before the softmax, on the scores", "So they take no share."),
        wrong=[
            ("After the softmax, on the weights", "They would have taken their share by then."),
        ],
    ),
    course.Question(
        "By what are scores divided?",
        right=("By √d, the root of the width", "So that wide heads do not get a softmax that is too sharp."),
        wrong=[
            ("By d, the number of features", "Its square root is enough: products of random vectors grow like √d."),
            ("Nothing: the softmax normalises anyway", "It makes rows sum to 1, sharp or flat."),
        ],
    ),
    course.Question(
        "What sums to 1?",
        right=("Each row: a query shares out 1 among the keys it sees", "Its own attention, and nobody else's."),
        wrong=[
            ("Each column: a key is shared out among its queries", "A key may be taken by everybody, or by nobody."),
        ],
    ),
    course.Question(
        "Whom can the first query of a shifted cell see?",
        right=("Only itself, as nothing before it is in its cell", "A cell knows nothing of what is outside."),
        wrong=[
            (
                "Half a group of the neighbour is read as well",
                "Cells do not overlap. It is the other kind of heads that crosses the wall.",
            ),
        ],
    ),
    course.Question(
        "dP changes at one weight. What changes in dS?",
        right=("All of its row, since a row shares 1", "Each score moves all weights of its row."),
        wrong=[
            ("P(1 - P) times dP, entry by entry", "That is a sigmoid, and the diagonal of the Jacobian only."),
            ("Only the score of the key itself", "The other weights of the row shrink when it grows."),
        ],
    ),
    course.Question(
        "weights.sum(axis=-1) in a square table: where does NumPy put it?",
        right=("Along the columns, as a row", "A vector is taken for a row. keepdims=True keeps it a column."),
        wrong=[
            ("Beside its row, by itself", "NumPy aligns the last axes, and a square table hides it."),
        ],
    ),
)

# %% [markdown]
# ## Discuss
#
# The reference is itself a program and may be wrong. What, in this lesson, would have shown it? Name one mistake that
# finite differences cannot find, and one that pushing a key cannot find.

# %% [markdown] instructor=true
# **For the teacher.** *Flat row*: the usual wrong answers are 0.5 (the plain head) and 0.125 (all eight keys; then ask
# whether forbidden keys took a share). *Lonely query*: most say "small"; let them compute the softmax of one number.
# *Board*: three boxes S, P, O with arrows to the right, then the same boxes with arrows to the left, and over each arrow
# what it costs in shapes. *Discuss*: finite differences compare the gradient with the forward pass, so a forward pass
# that is wrong in itself (a missing scale, heads swapped, the mask too late) passes; pushing keys or values shows who
# depends on whom and never by how much, so a missing scale passes, and a softmax over the wrong numbers as well. What
# finds those is an oracle in plain loops, one query and one key at a time, which is what the tests of the library use.
