# ---
# jupyter:
#   longlora_edu:
#     title: LoRA, and what else LongLoRA trains
# ---

# %% [markdown]
# **After this lesson you can**
#
# - build a LoRA layer, merge it into an ordinary one, and say why its B starts at zero;
# - count what trains in any Llama-like model, and say where "parameter-efficient" stops being true;
# - show what embeddings and norms add, and what a higher rank costs instead;
# - keep apart the two methods that are called LoRA+.
#
# **You need first**
#
# - Products of matrices: what shape has B A, when B is 5 by 2 and A is 2 by 6, and how many numbers do A and B hold
#   together?
# - A training step in PyTorch: what does `loss.backward()` write, and where?
#
# **Where it runs**: anywhere, on one core. One cell, marked *more*, trains for half a minute or so.

# %%
import torch
from torch import nn

from longlora_edu import cost, course, longlora, lora, plots
from longlora_edu.course.checks import l06_lora as check
from longlora_edu.model import bundled_model
from longlora_edu.training import corpus, evaluate, finetune
from longlora_edu.widgets import rank_explorer
from longlora_edu.widgets.task import Bar

# %% [markdown]
# ## Why
#
# Each trained weight needs three more numbers: a gradient and two Adam moments. LoRA freezes the weights and trains a
# thin correction, so that few weights need them.

# %%
llama = cost.ModelShape.llama2_7b()
for name, trained in (("all weights", llama.parameters.total), ("LoRA of rank 8", llama.lora_parameters(8))):
    size = 3 * 4 * trained / 2**30  # three numbers of four bytes each
    print(f"{name:15} {trained:13,} train: {size:6.2f} GiB of gradients and optimiser")

# %%
plots.show_low_rank(4096, 4096, 64)

# %% [markdown]
# This is one projection of Llama-2-7B with rank 64, drawn to scale: each number takes the same area. LongLoRA uses rank 8,
# an eighth of the yellow.
#
# {{beginners: LoRA}}
#
# {{beginners: Rank}}
#
# {{beginners: Alpha}}

# %% [markdown]
# ## Predict: how much trains?
#
# LongLoRA adds LoRA of rank 8 to the four projections of attention, and trains the input embedding and all norms as
# they are.

# %%
course.predict(
    "06.times",
    f"In Llama-2-7B, {llama.layers} layers of width {llama.width:,} and a vocabulary of {llama.vocabulary:,}: how many "
    "times as many weights does that train as LoRA of rank 8 alone?",
    unit="times",
)
parts = plots.trained_weights(llama, 8)  # LoRA, embeddings, norms
added = llama.lora_parameters(8)
counted = ", ".join(f"{part} {count:,}" for part, count in parts.items())
times = sum(parts.values()) / added
course.reveal(
    "06.times",
    round(times, 1),
    f"Nearly all of what LongLoRA trains is the embedding. The norms hardly count. ({counted}; {times:.1f} times LoRA.)",
    unit="times",
)

# %% [markdown]
# ## Play: what can a rank keep?
#
# The small model was fine-tuned to eight times its length with all weights. On the left you see how much of what that
# added to one matrix a correction of some rank could hold at best, measured by the sum of the squares of its entries.
# On the right you see how many weights train at that rank.
#
# **Task.** In *Matrix* choose *layer 0, q_proj*: which rank keeps nine tenths of that update? Then choose *embed_tokens*. Which
# of the two is nearer to low rank? What would LoRA on the embeddings lose?

# %%
course.after("06.times", rank_explorer.rank_explorer().show)

# %% after="06.times"
for name in ("layer 0, q_proj", "embed_tokens"):
    squares = torch.tensor(rank_explorer.recorded_updates()[name], dtype=torch.float64).square()
    kept = squares.cumsum(0) / squares.sum()
    print(f"{name:16} rank {int((kept < 0.9).sum()) + 1:2} keeps nine tenths of the update, rank 8 keeps {kept[7]:.0%}")

# %% [markdown] after="06.times"
# The update of the projection is nearer to low rank. A rank of 8 would keep little of the embedding's update, measured in
# squares, and LongLoRA trains it whole. What that is worth is another question: in bits per byte three seeds cannot tell
# LoRA on the embedding from training it whole (study 2).

# %% [markdown] instructor=true
# *What to say*: the attention updates are far from random, a low rank keeps much of them; the update of the
# embeddings is spread over many directions, rows for many bytes move each their own way. So the two halves of the
# recipe fit together: thin corrections where updates are thin, whole training where they are not. It is one small
# model, and an observation, no proof. Predicted wrong answers in the poll above: "twice" (the norms are thought to
# matter), "1.1 times" (embeddings are thought of as small).

# %% [markdown]
# ## Reveal: what people say about it

# %% [markdown] after="06.times"
# {{claim: minimal-overhead}}

# %% claim="minimal-overhead" after="06.times"
shape = cost.ModelShape.llama2_7b()
added = shape.lora_parameters(8)
freed = shape.parameters.embedding + shape.parameters.norm
print(
    f"trained by LoRA {added / 1e6:.1f} M, with embeddings and norms {(added + freed) / 1e6:.1f} M: "
    f"{(added + freed) / added:.1f} times as many"
)
for name, weights in (("LoRA", added), ("with embeddings and norms", added + freed)):
    print(f"{name:26} gradient and AdamW's two moments: {3 * 4 * weights / 2**30:.2f} GiB")

# %% [markdown]
# ## Build: a LoRA layer
#
# ### Exercise 6.1 · The layer
#
# Write the rest of `__init__`, and `forward`. The layer keeps the Linear it is given as `self.base`, frozen, and two
# parameters: `self.A` (rank, in), random, and `self.B` (out, rank), zero, both of the base's dtype and on its device.
# Its output is what the base says, plus alpha / rank times B A x.


# %% exercise="lora_layer" difficulty=3 importance=5 minutes=12 points=3
class LoRALayer(nn.Module):
    """`base(x) + alpha / rank · B A x` for x (…, in): a frozen Linear, a trained correction."""

    def __init__(self, base, rank, alpha):
        super().__init__()
        ### BEGIN SOLUTION
        self.base, self.scaling = base.requires_grad_(False), alpha / rank
        like = {"dtype": base.weight.dtype, "device": base.weight.device}
        self.A = nn.Parameter(torch.randn(rank, base.in_features, **like) / base.in_features**0.5)
        self.B = nn.Parameter(torch.zeros(base.out_features, rank, **like))

    def forward(self, x):
        return self.base(x) + self.scaling * (x @ self.A.T @ self.B.T)
        ### END SOLUTION


# %% check="lora_layer"
check.lora_layer(LoRALayer)

# %% [markdown] hints="lora_layer"
# A tensor becomes something that an optimizer finds when it is an `nn.Parameter` and an attribute of the module.
# `base.weight.dtype` and `base.weight.device` say what the new tensors must be like.
#
# ---
# `nn.Linear` keeps its weight as (out, in) and computes x Wᵀ. With A and B kept the same way, (to, from), the side
# path of a row vector is `x @ self.A.T @ self.B.T`: down to the rank first, then up.
#
# ---
# `base.requires_grad_(False)` freezes and returns the base. Call it in forward, `self.base(x)`, so that its bias is
# not lost. B starts as `torch.zeros(...)`.

# %% [markdown]
# Why must B be zero, and A not? Look at the first steps of the library's own layer. Which of the two has a gradient at
# step 0?

# %%
generator = torch.Generator().manual_seed(0)
base = nn.Linear(16, 16)
x = torch.randn(8, 16, generator=generator)
layer = lora.LoRALinear(base, rank=4, alpha=8, generator=generator)
assert torch.equal(layer(x), base(x))

optimizer = torch.optim.SGD([layer.lora_A.weight, layer.lora_B.weight], lr=0.1)
for step in range(3):
    optimizer.zero_grad()
    (layer(x) - x).square().mean().backward()
    sizes = [side.weight.grad.norm().item() for side in (layer.lora_A, layer.lora_B)]
    print(f"step {step}: gradient of A {sizes[0]:.5f}, of B {sizes[1]:.5f}")
    optimizer.step()

# %% [markdown]
# At the start the output is the base's own, bit for bit, and only B has a gradient. That of A passes through B, which is
# zero. After one step B is no longer zero, and A learns too.
#
# The correction B A never has a higher rank than A has rows, even after a long training. Here are the singular values of
# one after those steps: four, and the rest is rounding.

# %%
update = layer.scaling * layer.lora_B.weight.detach() @ layer.lora_A.weight.detach()
print("singular values:", " ".join(f"{value:.4f}" for value in torch.linalg.svdvals(update)))
assert torch.linalg.matrix_rank(update) <= layer.rank

# %% [markdown]
# ## Build: merge
#
# In use, the side path would cost two more products in every layer. But W x + s B A x is (W + s B A) x: one matrix again.
#
# {{beginners: Merge}}
#
# ### Exercise 6.2 · One matrix again
#
# Return a *new* plain `nn.Linear` that computes what the layer computes, bias included. The layer stays as it is. It
# is a `LoRALinear`: `layer.base`, `layer.lora_A.weight` (rank, in), `layer.lora_B.weight` (out, rank),
# `layer.scaling`.


# %% exercise="merged" difficulty=2 importance=4 minutes=6 points=2
def merged(layer):
    """nn.Linear that computes the same as `layer`, a LoRALinear, without a trace of LoRA."""
    ### BEGIN SOLUTION
    import copy

    linear = copy.deepcopy(layer.base)
    with torch.no_grad():
        linear.weight += layer.scaling * layer.lora_B.weight @ layer.lora_A.weight
    return linear
    ### END SOLUTION


# %% check="merged"
check.merged(merged)

# %% [markdown] hints="merged"
# The update is `layer.scaling * layer.lora_B.weight @ layer.lora_A.weight`, of the shape of the base's weight.
#
# ---
# `copy.deepcopy(layer.base)` is a new Linear with the same weight and bias: change that one.
#
# ---
# A parameter can be changed in place under `torch.no_grad()`: `linear.weight += update`. Return the copy.

# %% [markdown]
# The library merges a whole model in the same way. Afterwards the layers *are* plain Linears, so no flag "merged" can be
# wrong. A second merge is refused: nothing is left to merge.

# %%
torch.testing.assert_close(layer.merged()(x), layer(x))

model = bundled_model()
lora.add_lora(model, longlora.ATTENTION_PROJECTIONS, rank=8, alpha=16)
report = lora.merge_lora(model)
print(f"{len(report.merged)} layers merged, {report.removed_parameters:,} parameters gone;", end=" ")
print("q_proj is now a", type(model.attention_layers[0].q_proj).__name__)
try:
    lora.merge_lora(model)
except ValueError as error:
    print("a second merge:", error)

# %% [markdown]
# ## Build: count what trains
#
# {{beginners: Trainable parameters}}
#
# First a smaller one: the share that trains in *one* projection with LoRA. Put its lines in order, and fill in the blank.

# %%
course.parsons(
    "06.share_lines",
    "What trains in one projection, over all numbers that it holds then.",
    [
        'inputs, outputs = shape.linears["q_proj"]',
        "weight = inputs * outputs",
        "a = rank * inputs",
        "b = outputs * rank",
        "return (a + b) / (weight + a + b)",
    ],
    fill=(
        4,
        "weight + a + b",
        [
            "a + b + weight",
            "a + weight + b",
            "b + a + weight",
            "weight + b + a",
            "weight + (a + b)",
            "(a + b) + weight",
        ],
    ),
    advice="A and B are in the model too: does your blank count them?",
    then="That is one projection. In the cell below it is the whole model.",
)

# %% [markdown]
# ### Exercise 6.3 · The share that trains
#
# LoRA of this rank on q, k, v and o of every layer, the input embedding, and all norms: which share is that of all
# weights, LoRA's own included? `shape` is a `ModelShape`: `shape.layers`, `shape.width`, `shape.vocabulary`,
# `shape.parameters.total`, and `shape.linears`, which maps "q_proj", "k_proj", … to (in, out).


# %% exercise="trainable_share" difficulty=3 importance=4 minutes=10 points=2
def trainable_share(shape, rank):
    """From 0 to 1: what LongLoRA trains, over all weights of the model with LoRA in it."""
    ### BEGIN SOLUTION
    sides = sum(sum(shape.linears[name]) for name in ("q_proj", "k_proj", "v_proj", "o_proj"))
    added = shape.layers * rank * sides
    embedding = shape.vocabulary * shape.width
    norms = (2 * shape.layers + 1) * shape.width
    return (added + embedding + norms) / (shape.parameters.total + added)
    ### END SOLUTION


# %% check="trainable_share"
check.trainable_share(trainable_share)

# %% [markdown] hints="trainable_share"
# A and B of one Linear hold rank · in and out · rank numbers: rank · (in + out). Sum that over the four projections,
# and over the layers.
#
# ---
# The embedding is a table of vocabulary rows, each as wide as the model. Norms: two in each layer, before attention
# and before the feed-forward half, and one at the end, each a vector as wide as the model.
#
# ---
# Above the line stand the three, below it `shape.parameters.total` plus LoRA's own. A tied head needs no care:
# `total` has it once already.

# %% worked="trainable_share"
# width, layers, heads, key heads, width of a head, of the feed-forward half, vocabulary; biases left out
SHAPES = {
    "Llama-2-7B": cost.ModelShape.llama2_7b(),
    "TinyLlama-1.1B": cost.ModelShape(2048, 22, 32, 4, 64, 5632, 32000),
    "SmolLM2-360M": cost.ModelShape(960, 32, 15, 5, 64, 2560, 49152, tied=True),
    "SmolLM2-135M": cost.ModelShape(576, 30, 9, 3, 64, 1536, 49152, tied=True),
    "Qwen2.5-0.5B": cost.ModelShape(896, 24, 14, 2, 64, 4864, 151936, tied=True),
    "our small model": cost.ModelShape(192, 4, 4, 4, 48, 512, 256),
}
shares = {}
for name, shape in SHAPES.items():
    added, everything = shape.lora_parameters(8), shape.parameters.total
    counts = {"LoRA": added, "norms": shape.parameters.norm, "embeddings": shape.parameters.embedding}
    shares[name] = {part: count / (everything + added) for part, count in counts.items()}

model = bundled_model()  # the closed form against the model itself
report = longlora.apply_longlora(model, longlora.LongLoRAConfig(2048))
assert abs(sum(shares["our small model"].values()) - report.trainable_share) < 1e-12
plots.show_shares(shares)

# %% [markdown]
# The recipe was made for a large model with a vocabulary of usual size. In a small model with a large vocabulary, a good
# part of the weights *is* the embedding. Where the head is tied to the embedding, the head trains too.

# %% [markdown]
# ## Build: choose what trains · more
#
# ### Exercise 6.4 · Free embeddings and norms
#
# LoRA has been added to this model. Let LoRA, the input embedding and all norms train, and nothing else, by the names
# of the parameters: `model.layers.0.self_attn.q_proj.lora_A.weight`, `model.layers.0.input_layernorm.weight`,
# `model.norm.weight`, `model.embed_tokens.weight`, `lm_head.weight`, … The paper's own script does it in one line.


# %% exercise="train_as_longlora" difficulty=1 importance=4 minutes=5 points=1
def train_as_longlora(model):
    """Set requires_grad of every parameter of `model`, in place."""
    ### BEGIN SOLUTION
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(part in name for part in ("lora_", "embed", "norm")))
    ### END SOLUTION


# %% check="train_as_longlora"
check.train_as_longlora(train_as_longlora)

# %% [markdown] hints="train_as_longlora"
# `model.named_parameters()` gives pairs of name and parameter; `parameter.requires_grad_(True or False)` switches
# one.
#
# ---
# Every norm of a Llama has "norm" in its name, "input_layernorm" too; the embedding has "embed"; LoRA's have "lora_".
#
# ---
# Set it for every parameter, so that the rest is frozen in any case. The head has none of the three words.

# %% worked="train_as_longlora"
model = bundled_model()
lora.add_lora(model, longlora.ATTENTION_PROJECTIONS, rank=8, alpha=16)
freed = lora.free_modules(model, longlora.EMBEDDINGS_AND_NORMS)
by_name = {name for name, _ in model.named_parameters() if any(part in name for part in ("lora_", "embed", "norm"))}
assert by_name == {name for name, parameter in model.named_parameters() if parameter.requires_grad}
print(f"free_modules freed {len(freed)} modules: {', '.join(freed[:4])}, …")

# %% [markdown]
# ## Predict: what closes the gap?
#
# A small model of the same shape, trained at 256 bytes, goes to 2,048 with S²-Attn and YaRN: forty steps for each recipe,
# the same texts in the same order, one learning rate for all kinds of LoRA. LoRA of rank 8 ends behind training all
# weights. You may add one thing to it.

# %%
HELPS = {
    ", rank 128": "a rank of 128 instead of 8",
    " + norms": "training the norms",
    " + embeddings": "training the embeddings",
    "": "none of these three does",
}
course.predict(
    "06.helps",
    "You want to close about half of that gap. Which addition does it, with the fewest weights to train?",
    list(HELPS.values()),
)
record = course.recorded("trained_parts")
arms = {}
for row in record["rows"]:
    arms.setdefault(row["arm"], {})[row["rate"]] = row["bits_per_byte"]["2048"]
same = {name: scores.get(2e-3, min(scores.values())) for name, scores in arms.items()}  # all weights: their own rate
gap = same["LoRA"] - same["all weights"]
closed = {more: (same["LoRA"] - same[f"LoRA{more}"]) / gap for more in (", rank 128", " + norms", " + embeddings")}
trains = {row["arm"]: row["trainable_parameters"] for row in record["rows"]}
cheapest = min((more for more in closed if closed[more] > 0.4), key=lambda more: trains[f"LoRA{more}"], default="")
more_weights = {more: trains[f"LoRA{more}"] - trains["LoRA"] for more in closed}
course.reveal(
    "06.helps",
    HELPS[cheapest],
    f"Embeddings close {closed[' + embeddings']:.0%} of the gap with {more_weights[' + embeddings']:,} more weights, a rank "
    f"of 128 {closed[', rank 128']:.0%} with {more_weights[', rank 128']:,}. Norms close {closed[' + norms']:.0%} with "
    f"{more_weights[' + norms']:,}: per weight nothing is cheaper. But then all norms train, and most of the gap is still open. "
    "It is one seed, and from seed to seed embeddings and rank 128 move by more than they differ.",
    picture=plots.show_parts(
        {name: {"": score} for name, score in same.items()},
        base=record["base_bits_per_byte"],
        y="bits per byte at 2,048; dotted: the base model at 256",
        what="Bits per byte at 2,048",
    ),
    because={
        HELPS[" + norms"]: "You may have counted by the weight, and per weight norms are best. Alone they close least.",
        HELPS[", rank 128"]: "It closes about as much, and no addition trains more weights.",
    },
)

# %% [markdown] instructor=true
# *What to say*: most rooms say "a rank of 128", and they are half right: it does as well as the embeddings, and its recipe
# trains eight times as many weights. "Norms" is the usual wrong answer (they stand everywhere, and sound like scale, which a
# position rule changes). The question behind it is what a trained weight buys: ask for the gain over the number of
# weights, and for a reason why a width of 192 and a rank of 128 is not the case of a width of 4,096 and a rank of 256.

# %% [markdown]
# ## Reveal: what embeddings and norms add
#
# The recorded run, all kinds of LoRA at one learning rate:

# %% after="06.helps"
print(course.recorded_line("trained_parts"))
course.show_table(
    ("what trains", "weights", "bits/byte at 2,048", "of the gap to all weights"),
    [
        (name, f"{trains[name]:,}", f"{score:.3f}", f"{(same['LoRA'] - score) / gap:.0%}")
        for name, score in same.items()
    ],
    caption="At one learning rate, and how much of the gap between LoRA and all weights each closes",
)
two = {name: min(arms[name].values()) for name in ("LoRA", "LoRA + embeddings + norms")}
print(
    "the two that were tried at more rates, each at its best:", "; ".join(f"{n} {bits:.3f}" for n, bits in two.items())
)

# %% [markdown] after="06.helps"
# Embeddings help more than norms, and the two together help more than either. A rank of 128 helps about as much as the
# embeddings, and its recipe trains eight times as many weights. Which of the two is ahead depends on the seed and on the
# learning rate, so on this model neither wins. Training all weights stays ahead of both.

# %% [markdown] after="06.helps"
# Here is a claim that people make about ranks, and our verdict. Below the verdict stand the perplexities that the paper
# reports of Llama-2-7B, thousands of times as large as our model, as reviews of the paper quote them.
#
# {{claim: ranks-of-8-to-64}}

# %% claim="ranks-of-8-to-64" after="06.helps"
shape = cost.ModelShape.llama2_7b()
table = shape.parameters
rows = [
    ("rank 8", shape.lora_parameters(8), 11.44),
    ("rank 256", shape.lora_parameters(256), 11.98),
    ("rank 8, embeddings, norms", shape.lora_parameters(8) + table.embedding + table.norm, 8.12),
    ("all weights", table.total, 8.08),
]
for name, weights, quoted in rows:  # 32,768 tokens, PG19 validation, as quoted from Table 2 by reviews of the paper
    print(f"{name:26} {weights / 1e6:8.1f} M weights, perplexity {quoted}")

# %% [markdown]
# ### More parts, more ranks, three seeds · more
#
# The study below is another run: sixty steps instead of forty, three seeds, other windows to measure on. So its bits per
# byte are not those of the table above; compare rows of one table.

# %% after="06.helps"
course.show_study("parts")

# %% [markdown]
# ### On your machine · more
#
# Two recipes, a shorter target and a few steps, the same texts in the same order. This cell works for half a minute or so.
# So short a run decides nothing about the loss: either of the two may be ahead. What it shows is the price: how much
# the optimiser keeps, and how long a step takes.
#
# {{beginners: LoRA with embeddings and norms}}

# %% tags=["training"]
library = corpus.standard_library()
target = 1024
settings = finetune.FinetuneSettings(steps=profile.choose(laptop=24, binder=12, ci=2), batch=2)
windows = profile.choose(laptop=24, binder=8, ci=2)
bar = Bar()
bar.show()
for name, also in (("LoRA", ()), ("LoRA with embeddings and norms", longlora.EMBEDDINGS_AND_NORMS)):
    model = bundled_model()
    trained = longlora.apply_longlora(model, longlora.LongLoRAConfig(target, also_train=also)).trainable_parameters
    run = finetune.finetune(model, corpus.Windows(library.train, target + 1), settings, progress=bar)
    longlora.merge_to_dense(model)
    bits = evaluate.score_text(model, library.held_out, [target], windows=windows).by_length[target]
    kept, pace = 3 * 4 * trained / 2**20, run.seconds / settings.steps
    print(
        f"{name:31} gradients and moments {kept:.2f} MiB, {pace:.2f} s a step, {bits:.3f} bits per byte at {target:,}"
    )

# %% [markdown]
# ## Build: the other LoRA+ · more
#
# Two methods have the same name. What the LongLoRA paper calls LoRA⁺ is what you have just built: LoRA, *with embeddings
# and norms trained as well*. Half a year later another paper (Hayou and others, arXiv 2402.12354) gave the name to
# something else: plain LoRA in which **B learns faster than A**, by a fixed ratio of their learning rates. PEFT's
# `create_loraplus_optimizer` is the second one. You can use both at once.
#
# {{beginners: The two methods called LoRA+}}
#
# Why B? You have seen it: in the first steps all learning goes through B, and B starts at zero.
#
# ### Exercise 6.5 · Learning rates of the other LoRA+
#
# Return groups for an optimizer, a list of `{"params": [...], "lr": ...}`, in which every parameter that trains
# stands once: the B of each LoRA layer (`lora_B` is in its name) with `ratio * rate`, all others with `rate`.


# %% exercise="loraplus_groups" difficulty=2 importance=3 minutes=7 points=2
def loraplus_groups(model, rate, ratio):
    """Groups of the parameters that train, for torch.optim.AdamW(groups)."""
    ### BEGIN SOLUTION
    trains = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    fast = [parameter for name, parameter in trains if "lora_B" in name]
    slow = [parameter for name, parameter in trains if "lora_B" not in name]
    return [{"params": slow, "lr": rate}, {"params": fast, "lr": ratio * rate}]
    ### END SOLUTION


# %% check="loraplus_groups"
check.loraplus_groups(loraplus_groups)

# %% [markdown] hints="loraplus_groups"
# First keep only what trains: pairs from `model.named_parameters()` whose parameter has `requires_grad`.
#
# ---
# Split these in two by name: `"lora_B" in name`, and the rest, where A, embeddings and norms are.
#
# ---
# Two groups come back: the rest with `rate`, the Bs with `ratio * rate`.

# %% [markdown]
# ## Break it: a random B
#
# B starts at zero, so that the layer starts where the model was. What if somebody starts both at random, as layers
# usually do? Nothing has been trained yet.

# %%
held_out = corpus.standard_library().held_out
for name, size in (("B zero, as it should be", 0.0), ("B random, as A is", 1.0)):
    model = bundled_model()
    lora.add_lora(model, longlora.ATTENTION_PROJECTIONS, rank=8, alpha=16, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    for name_of, parameter in model.named_parameters():
        if "lora_B" in name_of:
            parameter.data = size * torch.empty_like(parameter).uniform_(-1, 1, generator=generator) / 8**0.5
    bits = evaluate.score_text(model, held_out, [256], windows=24).by_length[256]
    print(f"{name:25} {bits:.2f} bits per byte at 256, before the first step")

# %% [markdown]
# The random correction disturbs every projection of every layer. Part of what pretraining taught is gone before training
# begins, and the first steps go into finding it again. And both zero? Then A waits for B, and B for A, and neither ever
# moves. The check of exercise 6.1 knows that mistake too.

# %% [markdown]
# ## Recap
#
# - LoRA is a frozen matrix plus s B A. B starts at zero, so nothing changes at first; afterwards it merges into one
#   matrix, without a flag.
# - LongLoRA trains embeddings and norms as well. The norms cost next to nothing. The embedding is most of what trains:
#   few weights in a large model, a good part of a small one.
# - A higher rank is no cheap substitute: here it takes eight times the weights to do about as well. On Llama-2-7B, the
#   paper reports, it does not help. And "LoRA+" means two things: *what* else trains, and *how fast* B learns.

# %% [markdown]
# ## Quiz

# %%
course.quiz(
    "06",
    course.Question(
        "Why does B start at zero and A not?",
        right=(
            "So that nothing changes at first",
            "The product is zero, and B still gets a gradient, which is what A lets through: learning can begin.",
        ),
        wrong=[
            ("To save the memory of one matrix", "Zeros take as much memory as any numbers."),
            (
                "There is no reason: both could be zero",
                "With both at zero, the gradient of each is zero: neither would ever move.",
            ),
        ],
    ),
    course.Question(
        "A model has 135 million weights and a vocabulary of 49,152. What does training its embedding mean?",
        right=(
            "About a fifth of all weights of the model trains",
            "The table is 49,152 rows of width 576. Parameter-efficient is no longer the word.",
        ),
        wrong=[
            ("About two weights in a hundred train, as ever", "That is Llama-2-7B, where the rest is so much larger."),
            (
                "Nothing trains there: embeddings are look-ups",
                "A row that is looked up has a gradient; AdamW keeps all rows.",
            ),
        ],
    ),
    course.Question(
        "Somebody reports gains from LoRA+ with a ratio of 16. What did they do?",
        right=("B learned 16 times as fast as A", "That is the LoRA+ of Hayou and others, not LongLoRA's."),
        wrong=[
            ("They trained embeddings and norms", "That is what the LongLoRA paper calls LoRA+; it has no ratio."),
            ("They used rank 16", "The ratio is between two learning rates; the rank is something else."),
        ],
    ),
)

# %% [markdown]
# ## Quiz: what people believe · more
#
# Each wrong choice here is something that somebody really said or wrote ([many of them](../docs/claims.md)).

# %%
course.quiz(
    "06.more",
    course.Question(
        "By what is B A x multiplied?",
        right=("By alpha over the rank", "So that a higher rank does not count more by itself."),
        wrong=[
            ("By alpha, at any rank", "Then rank 64 would count eight times as much as rank 8."),
        ],
    ),
    course.Question(
        "How does B start?",
        right=("At zero, unlike A", "The layer starts where the model was."),
        wrong=[
            ("At random, like A", "Then the first steps repair what the start has broken."),
        ],
    ),
    course.Question(
        "What is the merged weight, s being alpha / rank?",
        right=("W + s B A", "One matrix again."),
        wrong=[
            ("W + B A", "Alpha / rank is missing."),
            ("W, with the side path beside it", "Then it is not merged."),
        ],
    ),
    course.Question(
        "What trains under LongLoRA?",
        right=("LoRA, embeddings and norms, and nothing else", "The embedding is most of it."),
        wrong=[
            ("What LoRA trains, and nothing else", "Embedding and norms as well: that closes much of the gap."),
            (
                "The embedding and the head, because both hold the vocabulary",
                "The head stays frozen, unless it is tied to the embedding.",
            ),
        ],
    ),
    course.Question(
        "The other LoRA+, with a ratio of 16: what learned faster?",
        right=("B alone learned 16 times as fast as A", "One learning rate for A, and 16 times that for B."),
        wrong=[
            ("Embeddings and norms learned 16 times as fast", "That mixes the two methods of this name."),
        ],
    ),
)

# %% [markdown]
# ## Discuss
#
# A new context length changes no word's meaning. Then why train the *embeddings*, and not more of attention? How would
# you test your answer?

# %% [markdown] instructor=true
# *Worth bringing up*: the paper finds it and does not explain it. Candidates: the embedding is the only full-rank
# part of the recipe, so it is where anything can go that thin corrections cannot hold (the explorer above speaks for
# it); embeddings and norms set the scale of what attention sees, and interpolation has changed what the right scale
# is; or it is simply many more trained weights. Tests: LoRA of a rank with as many weights as the embedding; LoRA
# *on* the embedding; norms alone. The recorded run has some of these. Also ask whether alpha was kept fixed or grew
# with the rank in the paper's sweep: with alpha fixed, a rank of 256 has a side path that counts a thirty-second of
# that of rank 8, and the comparison says less.
