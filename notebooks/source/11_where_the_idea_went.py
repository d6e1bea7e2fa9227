# ---
# jupyter:
#   longlora_edu:
#     title: Where the idea went
# ---

# %% [markdown]
# **After this lesson you can**
#
# - say what became of groups, of the shift, and of the wish behind them;
# - recognise two bugs of today as twins of ours, and find them with the push;
# - choose what to use when a context must grow: nothing, stretched positions, full attention, or S².
#
# **You need first** the cells of plain and shifted heads ([lesson 02a](02a_wall_and_shift.ipynb)): two tokens share a
# cell of 8; what do they have in common?
#
# **Where it runs**: anywhere, without a GPU. What others found is quoted with its source: *read* in a thread, a file or a
# documentation page, or known *from an abstract* or a second source only. All of it was collected in November 2026.

# %%
import numpy as np

from longlora_edu import course
from longlora_edu.cost import ModelShape
from longlora_edu.course.checks import l11_today as check
from longlora_edu.geometry import S2Geometry
from longlora_edu.plan import plan
from longlora_edu.plots import neighbours

# %% [markdown]
# ## Why: an idea three years on
#
# LongLoRA came out in 2023. Its wish was: *train on long texts without paying for all the looks*. People still have that
# wish. What they do about it has changed. Five things happened.
#
# **1. Full attention was made to fit.** The memory was the first wall, and it fell by other means: the loss is computed in
# chunks, activations wait in the computer's main memory, and several GPUs share one long text, a stretch each, and pass
# their keys around (*context parallelism*).
#
# {{beginners: Context parallelism}}
#
# **2. An old friend survived.** A model of 2025 has it in most of its layers, under another name.
#
# ## Predict: an old friend

# %%
course.predict(
    "11.chunk",
    "Llama 4 looks inside chunks of a fixed size in most of its layers. In our words, what is that?",
    choices=[
        "a sliding window of one group",
        "plain heads, without a shift",
        "shifted heads, without plain ones",
        "blocks chosen by what they say",
    ],
)
query, key = np.ogrid[:16, :16]
llama4 = (key // 4 == query // 4) & (key <= query)
assert np.array_equal(llama4, S2Geometry(16, 4, 2, shift=0).mask()[0])
course.reveal(
    "11.chunk",
    "plain heads, without a shift",
    "The mask of its chunks and that of our plain heads are equal, square by square. How does news get across a wall? "
    "Every fourth layer of that model has full attention. Nobody needed the shift.",
)

# %% [markdown]
# ## Reveal: an old friend

# %% [markdown] after="11.chunk"
# Here is the rule as transformers has it (read): `key // chunk == query // chunk`, and causal. Divide by the group instead of
# the chunk, and it is the rule of lesson 02a. The shift itself is in none of the models that we looked at.

# %% [markdown]
# **3. The mismatch got a name.** S²-Attn trains sparse and is used dense. Later papers call what is lost on the way a
# *capability gap*, and repair it. Our own studies saw the gap. Each line says by how much S² is worse than full attention
# that was trained as long, in bits a byte of long texts, both used with full attention:

# %%
study = course.recorded("studies")["studies"]["attention"]
said = {claim["statement"]: claim for part in reversed(study["parts"]) for claim in part.get("claims", ())}
for trained, statement in (
    ("after 60 steps under S²", "S² stays within 1 % of full attention (dense bits/byte at the target)."),
    ("after 240 steps under S²", "After 240 steps S² is within 1 % of full attention trained as long."),
    ("after 240, the last 60 of them full", "A last quarter of full attention brings it within 1 % of full."),
):
    gap = said[statement]["because"].partition(";")[0].removeprefix("S² against full ")
    print(f"{trained:36} {gap}")

# %% [markdown]
# (± is half of the interval in which the true gap probably lies.) Read the lines from top to bottom. There is a gap; four times the steps make it four times
# as large; and it is small again when the last quarter of the training is full attention. It is still there: its interval
# does not reach zero. If you use S² today, end like that.
#
# ## Predict: train the far distances as well
#
# Why does more training of LoRA under S² do harm? We wrote a law down before we measured it ([the note](../docs/note.md), for later):
# *dense use finds a reference at some
# distance as well as training has shown visible ones near that distance*. S² shows none beyond a group. So show them: let
# positions leap (PoSE, arXiv 2309.10400). Rotary attention knows differences only, so a half group can be moved far from the
# one before it. With groups of 8 and a target of 64:
#
# ```text
# 0 1 2 3 | 4 5 6 7     | 8 9 10 11      as they are
# 0 1 2 3 | 41 42 43 44 | 45 46 47 48    a leap at the first border
# ```
#
# Leaps do not need S². The plainest use of them is full attention on *short windows*, as long as a group. All three ways in
# the question see a quarter of the pairs that full attention sees.

# %%
law = course.recorded("law")
ways = {
    "S² as it is": "S²",
    "S² with leaps": "S², leaps of probability ½",
    "Short windows with leaps": "full attention, windows of 512 that leap",
}
course.predict(
    "11.leap",
    "After 240 steps, which of the three reads 2,048 bytes best, in dense use?",
    choices=[*ways, "No difference that can be told"],
)
bits = {name: law["bits_per_byte"][arm] for name, arm in ways.items()}
course.reveal(
    "11.leap",
    min(bits, key=bits.get),
    "; ".join(f"{name}: {value:.3f} bits a byte" for name, value in bits.items())
    + f". Full attention: {law['bits_per_byte']['full attention']:.3f}. Leaps repair about half of what S² spoiled in 240 steps "
    "of plain text. The plainest way is ahead of both.",
)

# %% [markdown]
# ## Reveal: what leaps bring

# %% after="11.leap"
rows = [
    (name, *(f"{share:.0%}" for share in law["references"][arm].values()), f"{law['reference_bits'][arm]:.3f}")
    for name, arm in (ways | {"Full attention": "full attention"}).items()
]
kinds = list(law["references"]["S²"])
course.show_table(
    ["trained on references with", *kinds, "bits a byte"],
    rows,
    caption="Named references found by distance, and what the text costs in these runs",
)
print(course.recorded_line("law"))

# %% after="11.leap"
ended = [(f"{name}, then a quarter full", f"{arm}, the last quarter full") for name, arm in ways.items()]
rows = [
    (name, f"{law['bits_per_byte'][arm]:.3f}", law["against_full"][arm], f"{law['passkeys'][arm]:.0%}")
    for name, arm in ended
]
course.show_table(
    ["trained with", "bits a byte", "against full", "passkeys"], rows, caption="Ended with full attention"
)

# %% [markdown] after="11.leap"
# G is the length of a group; *border* means from one half of a group into the next group. Read the columns for 2G and 4G: S²
# finds little there, as the law says. Leaps bring the far ones and cost some of the near ones. Beside S², short windows
# with leaps show no difference that can be told within a group or across a border, and find more beyond. With a last quarter of full attention all three
# come near full attention, and only the short windows keep every passkey. So what is S² still for? In this small model we
# found nothing that it does better, as far as three seeds can tell. The note has all arms, intervals and limits;
# `LongLoRAConfig(leap=0.5)` switches leaps on.

# %% [markdown]
# **4. Blocks are chosen by what they say.** A group is cut by position: it takes no notice of the text. Newer models let each
# word choose the blocks that it looks at. They are trained with that choice from the start. In the picture on the right each
# word looks at its own block, and at the one block before it whose mean key fits its query best. Queries and keys are random
# here; in a model they say what is wanted and what is there.

# %% folded="Draw groups, and blocks chosen by content"
tokens, block = 32, 4
rng = np.random.default_rng(0)
q, k = rng.normal(size=(2, tokens, 8))
scores = q @ k.reshape(-1, block, 8).mean(axis=1).T  # (tokens, blocks)
own = np.arange(tokens)[:, None] // block
fits = np.where(np.arange(tokens // block) < own, scores, -np.inf).argmax(axis=1)  # among the blocks before


def chosen(query, key):
    return (key // block == query // block) | (key // block == fits[query])


drawn = {"groups of 8": neighbours.cells(8), "own block, and one chosen": chosen}
neighbours.show_patterns(
    {name: neighbours.SparsePattern(((rule,),)) for name, rule in drawn.items()}, tokens, columns=2
)

# %% [markdown]
# **5. Hybrids.** Most layers look through a window at the last few words, every so many layers one looks at everything. It
# costs little to compute. Whether such a model finds as much is disputed: see the table below.
#
# ## Predict: what a hybrid costs

# %%
course.predict(
    "11.hybrid",
    "Six layers at 32,768 tokens: five with a window of 128, one full. S² with groups of a quarter computes about a "
    "quarter of all pairs. And the hybrid?",
    unit="per cent",
)
n, width = 32768, 128
full = n * (n + 1) // 2
window = width * (width + 1) // 2 + (n - width) * width
share = (full + 5 * window) / (6 * full)
s2 = S2Geometry(n, n // 4, 32)
course.reveal(
    "11.hybrid",
    round(100 * share, 1),
    "Nearly all of it is the one full layer. S² with groups of a quarter: "
    f"{s2.pairs() / S2Geometry(n, n, 32, shift=0).pairs():.1%}.",
    unit="per cent",
)

# %% [markdown]
# ## Reveal: what a hybrid costs

# %% [markdown] after="11.hybrid"
# Fewer pairs than S², and the last word hears the first in every sixth layer. That is the shift's job, done by a layer.
# But a hybrid is built like that from the first day of its pretraining, and LongLoRA extends a model that exists.

# %% [markdown] after="11.chunk"
# Who does what, to look up and not to learn by heart:
#
# | who | instead of groups and a shift | how we know |
# |---|---|---|
# | TRL, a training library | full attention: Qwen3-8B on texts of a million tokens, eight H100, context parallelism | read: its pull requests 6845 and 7003; not measured here |
# | Axolotl, a training library | took `s2_attention` out when it got context parallelism | read: its pull request 2977 |
# | Llama 4 | chunks; every fourth layer is full | read: transformers |
# | SSA | aligns the sparse and the dense mode while it trains | an abstract, arXiv 2511.20102 |
# | InfLLM-V2 | both modes with the same weights | an abstract, arXiv 2509.24663 |
# | NSA, DeepSeek's sparse attention | blocks chosen by each word, from the start of training | abstracts |
# | MoBA | the same; the last three layers are full when it is tested | an abstract; read: its issue 29 |
# | MiMo-V2-Flash | five windows of 128 to one full layer | an abstract |
# | a study of hybrids | finds that wide windows make a model lazy about looking far | an abstract, arXiv 2606.15378 |
# | MiniMax-M2 | went back to full attention, for questions that need several hops | an abstract |

# %% [markdown]
# ## Play: put them side by side
#
# Ten patterns over the same tokens: blue is what a plain head or an even layer sees, hatched orange what the shifted kind
# alone sees, grey what both see. **One task.** Read the bottom row of each picture: it is what the last token sees. In
# which of the ten does it see the first token directly?

# %%
patterns = neighbours.named_patterns(16)
print(", ".join(patterns))
neighbours.show_patterns(patterns, 64)

# %% [markdown]
# In three: full attention, and *Longformer, sinks* and *BigBird*, whose first tokens are seen by all. In the others the
# news has to travel from layer to layer.
#
# ## Build: a hybrid's bill
#
# ### Exercise 11.1 · The pairs of a hybrid
#
# Count the pairs of one head through all layers. Every `every`-th layer has full causal attention, the others a window of
# the last `width` tokens, the token itself included.


# %% exercise="hybrid_pairs" difficulty=2 importance=3 minutes=6 points=2
def hybrid_pairs(seq_len, width, layers, every):
    """int: pairs of one head, summed over `layers` layers."""
    ### BEGIN SOLUTION
    full = seq_len * (seq_len + 1) // 2
    short = min(seq_len, width)
    window = short * (short + 1) // 2 + (seq_len - short) * short
    return layers // every * full + (layers - layers // every) * window
    ### END SOLUTION


# %% check="hybrid_pairs"
check.hybrid_pairs(hybrid_pairs)

# %% [markdown] hints="hybrid_pairs"
# A full layer has 1 + 2 + … + n pairs. Count a windowed layer in two parts: the first tokens, which have less than a
# window before them, and the others.
#
# ---
# In a window of `width` the first `width` tokens are a small full triangle, each later token adds `width` pairs.
#
# ---
# There are `layers // every` full layers. Where the window is longer than the text, it is the text:
# `short = min(seq_len, width)`.

# %% [markdown]
# ## Break it: two twins of our bugs
#
# **Packed texts that hear each other.** To fill a long window, several documents are put into one row. Each must hear
# itself only. With context parallelism *and* packing, a training library let them hear each other, silently; somebody
# found it by changing one token (read: TRL's pull request 6843). Our groups have the same fault if you forget the
# documents:

# %%
from longlora_edu.reference import s2_attention

geometry = S2Geometry(12, 8, 2)
segments = np.array([[0] * 5 + [1] * 7])  # two documents in a row: tokens 0 to 4, and 5 to 11
q, k, v = np.random.default_rng(0).normal(size=(3, 1, 2, 12, 8))
pushed = v + (np.arange(12) == 3)[:, None]  # a value of the first document
for name, documents in (("documents forgotten", None), ("documents given", segments)):
    moved = s2_attention(q, k, pushed, geometry, segments=documents) - s2_attention(
        q, k, v, geometry, segments=documents
    )
    print(f"{name}: pushing token 3 moves {np.flatnonzero(np.abs(moved).max(axis=(0, 1, 3))).tolist()}")

# %% [markdown]
# **A cache that is right in shape only.** While a model writes, it keeps the keys of the words so far. With chunks it may
# drop those of earlier chunks. A port of Llama 4 kept the *last* `chunk` keys instead, a window: every word that it wrote
# looked at the wrong keys, and the test compared shapes (read: mlx-lm's pull request 1673).

# %%
chunk, n = 4, 10
query, key = np.ogrid[:n, :n]
right = (key // chunk == query // chunk) & (key <= query)  # as in training
cached = (query - key < chunk) & (key <= query)  # the last `chunk` keys, one word after the other
q, k, v = np.random.default_rng(1).normal(size=(3, n, 8))


def attention(allowed, values):
    scores = np.where(allowed, q @ k.T / np.sqrt(8), -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True) @ values


pushed = v + (np.arange(n) == 3)[:, None]
for name, allowed in (("chunks", right), ("the cache", cached)):
    output = attention(allowed, v)
    moved = np.flatnonzero(np.abs(attention(allowed, pushed) - output).max(axis=1) > 1e-12)
    print(f"{name:9}: shape {output.shape}, pushing token 3 moves {moved.tolist()}")

# %% [markdown]
# Same shapes, finite numbers. The push shows it at once: in the cache token 3 is heard across the wall.
#
# ## What to use now
#
# [What to use when a context must grow](../docs/what_to_use.md) has the whole table, with what each choice costs and
# where that was measured. `plan` gives the same answer for a model and a length, and says why. It draws the line where
# attention is about half of a training step: below that S² saves too little.

# %%
llama = ModelShape.llama2_7b()
for context in (4096, 8192, 16384, 32768, 65536):
    found = plan(llama, context, trained_context=4096).advice
    print(f"Llama-2-7B, 4,096 to {context:6,}: {found.use}\n    {found.why}")

# %% [markdown]
# On the command line: `longlora-edu plan --model FOLDER --context 32768`.
#
# ## Recap
#
# - **The wish stayed, the means changed**: full attention made to fit, blocks chosen by content, hybrids. The plain head is
#   alive; we found the shift nowhere.
# - **The gap between sparse training and dense use** is real, has a name, and shrinks when the last part of the training
#   is full attention. Leaping positions halved it in 240 steps of plain text. After fewer steps they cost a little,
#   and before such a last part they add nothing.
# - **First ask whether you need to train at all.** Then whether full attention fits. S² pays where attention is most of a
#   step.
#
# Words of this lesson in the glossary: [context parallelism](glossary.md#context-parallelism),
# [packing](glossary.md#packing), [KV cache](glossary.md#kv-cache).
#
# ## Quiz

# %%
course.quiz(
    "11.quiz",
    course.Question(
        "Your model was trained at 32,768 tokens, and your documents have 20,000. What do you do?",
        right=("Use it as it is, and measure what it finds", "It reads such a length already."),
        wrong=[
            (
                "Stretch its positions to be on the safe side",
                "Stretching costs a little everywhere, and you gain nothing.",
            ),
            ("Train it with S² on such documents", "You might train it for your task, but not for its length."),
        ],
    ),
    course.Question(
        "You trained with S² and use the model with full attention. What closes most of the gap?",
        right=(
            "A last part of training with full attention",
            "In our study it took the gap to about a percent of the loss.",
        ),
        wrong=[
            (
                "Four times as many steps under S², at the same rate",
                "That made the gap larger: the pattern's own loss fell, the dense one rose.",
            ),
            ("A larger shift", "The shift decides who hears whom in training. In use there is none."),
        ],
    ),
    course.Question(
        "A cache for chunked attention returns tensors of the right shape. Which test do you add?",
        right=("The outputs that one pushed value moves", "It shows who hears whom, while writing and while reading."),
        wrong=[
            (
                "The loss of a text that is read at once",
                "Reading at once does not use the cache: it was right all the time.",
            ),
            ("The speed with and without the cache", "A wrong cache is as fast as a right one."),
        ],
    ),
)

# %% [markdown]
# ## Discuss
#
# In three years the shift went, and the walls stayed. What would you have had to know in 2023 to see that coming? Which of
# today's ideas would you bet on, and what would you measure to find out?

# %% [markdown]
# ## What you can do now
#
# You began with a sentence and a wall. You can now
#
# - draw who hears whom under groups and a shift, and find a leak by pushing one value;
# - write S²-Attn, a LoRA layer and one step of the training, and say what each of them costs;
# - extend a model, test it against its stretched self, and say which part of the recipe did what;
# - read a claim about long context, and ask for the measurement that would decide it.
#
# One lesson is left: [12 · Read the sheet](12_read_the_sheet.ipynb). It has the whole method in one file of NumPy, and you
# will know every line of it. The last cell of [lesson 00](00_start_here.ipynb) shows what you have solved on the way.

# %% [markdown] instructor=true
# **For the teacher.** *11.chunk*: "a sliding window" is what most people take every cheap attention for; let them find two
# neighbours that do not hear each other. *11.hybrid*: guesses near a sixth are right for the right reason; ask what the
# window adds. The table of `docs/what_to_use.md` makes a good closing slide for a class of engineers.
