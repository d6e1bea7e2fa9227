# ---
# jupyter:
#   longlora_edu:
#     title: Stretching positions
# ---

# %% [markdown]
# **After this lesson you can**
#
# - turn queries and keys by their positions, and show that their scores know the distance and nothing else;
# - say what interpolation, NTK-aware scaling and YaRN do to near and to far, from their frequencies alone;
# - predict which rule still works at eight times the trained length, and measure it on a real small model;
# - explain why that choice depends on the group of S²-Attn.
#
# **You need first**
#
# - [Lesson 02a](02a_wall_and_shift.ipynb): which tokens share a [group](glossary.md#group)? In groups of four,
#   who can token 5 look at?
# - Sine and cosine: where does a hand that starts at the right point after a quarter turn against the clock?
#
# **Where it runs**: anywhere, on one core, without a GPU. Nothing is trained here.

# %%
import numpy as np
import torch

from longlora_edu import course, longlora, plots
from longlora_edu import model as small
from longlora_edu.course.checks import l05_positions as check
from longlora_edu.reference import full_attention
from longlora_edu.rope import Rope
from longlora_edu.training import corpus, evaluate
from longlora_edu.widgets import moving
from longlora_edu.widgets.rope_explorer import rope_explorer
from longlora_edu.widgets.task import Bar

# %% [markdown]
# ## Why
#
# > *The dog that chased the cat all afternoon was tired, so it …*
#
# Attention is a weighted sum over a *set* of words. Let the dog and the cat change places: what *it*, the last word, hears
# is the same.

# %%
rng = np.random.default_rng(0)
words = np.array(course.SENTENCE.split())
q, k, v = rng.normal(size=(3, 1, 1, len(words), 4))  # one head, a token a word, four features
swapped = np.arange(len(words))
swapped[[1, 5]] = 5, 1  # dog and cat

heard = full_attention(q, k, v)[0, 0, -1]
heard_swapped = full_attention(q, k[:, :, swapped], v[:, :, swapped])[0, 0, -1]
print(" ".join(words[swapped]), "…")
print("difference in what 'it' hears:", np.abs(heard - heard_swapped).max().round(12))

# %% [markdown]
# So in one layer without positions *it* cannot know who chased whom. (A causal mask in many layers gives some order away:
# the first word hears only itself.) So we tell the model where each token stands. [RoPE](glossary.md#rope) does it with clocks: take the features of a query or key in pairs, and
# turn each pair like the hand of a clock, by its position times the pair's own frequency.
#
# {{beginners: Position}}
#
# {{beginners: RoPE}}

# %%
trained_rope = small.bundled_config(256).rope
frequencies = trained_rope.frequencies()  # base ** (-2 i / d), in radians per token
TRAINED, TARGET = trained_rope.trained_length, 2048
print(f"a head of the small model has {trained_rope.head_dim} features, so {len(frequencies)} clocks")

positions, pairs = [0, 1, 2, 3, 8, 64, 255], [0, 4, 10, 23]
plots.show_clocks(frequencies, positions, pairs)

# %% [markdown]
# Fast clocks tell neighbours apart, and soon they have pointed everywhere. Slow clocks tell far from near. Within a short
# text the slowest ones hardly move at all.

# %% [markdown]
# ## Predict: past the trained length
#
# Another small model of this package, not the one of lesson 00, was trained on windows of 256 bytes. We give it more: 512
# bytes, 1,024, 2,048. Each time we measure how well it guesses the *same* last 128 bytes of a text, in
# [bits per byte](glossary.md#bits-per-byte): how many yes-or-no questions the next byte costs it. Fewer is better; 8 is
# what a byte costs without any model. (The cell measures while you draw, for some seconds.)

# %%
held_out = corpus.standard_library().held_out
at_home = course.recorded("position_rules")["base_bits_per_byte"]  # at 256, the length of its training
lengths = profile.choose(laptop=(256, 512, 1024, 2048), ci=(256, 512, 2048))
windows = profile.choose(laptop=24, binder=4, ci=2)


def untrained(rule, advance=lambda tokens: None):
    """Bits per byte by length when only the position rule changes, and no weight."""
    model = small.bundled_model(256)
    longlora.apply_longlora(model, longlora.LongLoRAConfig(TARGET, rope=rule, train="all"))
    return evaluate.score_text(model, held_out, lengths, windows=windows, on_batch=advance).by_length


# %%
course.draw(
    "05.beyond",
    f"Trained on 256 bytes, where a byte costs it about {at_home:.1f} bits, the model now reads more. Draw how many bits the same "
    "last bytes cost.",
    curve=[f"{length:,}" for length in lengths],
    between=(0, 10),
    unit="bits per byte",
    across="bytes that it reads",
)
bar = Bar()
bar.show()
with bar.stage("Measuring", windows * sum(lengths), "bytes") as advance:
    bits = {"default": untrained("default", advance)}
own = bits["default"][TRAINED]
course.reveal(
    "05.beyond",
    {f"{length:,}": bits["default"][length] for length in lengths},
    f"{own:.2f} bits per byte at 256, {bits['default'][512]:.2f} at 512 and {bits['default'][2048]:.2f} at 2,048. More "
    "context, and the model breaks at once. Nothing in the program fails, no shape is wrong.",
)

# %% [markdown]
# ## Play: the clocks, past the trained length
#
# Four of the clocks first. The shaded arc is where training has seen the hand. **Task.** Move the position past 256. Which
# hands turn red, the fast or the slow ones? Then tick *stretch*, which is one of the rules below.

# %% after="05.beyond"
yarn = Rope(trained_rope.head_dim, trained_rope.base, "yarn", TARGET / TRAINED, TRAINED)
moving.show_clocks(yarn, [0, 8, 14, 23], target=TARGET)

# %% [markdown]
# Now all of them. Leave the rule at *default* and move *Stretch by* from 1 to 2, 4 and 8. On the right: how many pairs meet
# an angle that they never had in training? Which pairs are they: the fast or the slow ones? And why does the number
# not grow any more after 2?

# %%
course.after("05.beyond", rope_explorer(method="default").show)

# %% [markdown] instructor=true
# *What to say*: a pair that has turned full circle has pointed everywhere, so no position is new to it. The slow
# pairs have not; every one of them meets new angles one token past the trained length, so the number jumps at once
# and then stays. What grows with the length is how far past the seen angle they go. Wrong answers to expect: "the
# fast ones, because they turn most"; a curve that falls, "because more context is more information" (true of a model
# that was trained there).

# %% [markdown]
# The slow clocks point where they never pointed in training. There are two ways out. Train on long texts, which costs
# much. Or change the clocks, so that a far token too points where some token of the training has pointed. LongLoRA does
# both. First, the clocks.

# %% [markdown]
# ## Build: rotated scores
#
# ### Exercise 5.1 · The scores of rotated queries and keys
#
# Turn each query and each key by its own position, then multiply every query with every key. A pair is *(i, i +
# d/2)*: the first half of the features beside the second half, as Llama's weights are stored. Turning a pair (a, b)
# by an angle gives (a · cos − b · sin, b · cos + a · sin).


# %% exercise="rotary_scores" difficulty=2 importance=5 minutes=10 points=2
def rotary_scores(q, k, positions, frequencies):
    """float (n, n): every q (n, d) with every k (n, d), turned by positions (n,) · frequencies (d/2,)."""
    ### BEGIN SOLUTION
    angles = positions[:, None] * frequencies
    cos, sin = np.cos(angles), np.sin(angles)

    def turned(x):
        first, second = np.split(x, 2, axis=-1)
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)

    return turned(q) @ turned(k).T
    ### END SOLUTION


# %% check="rotary_scores"
check.rotary_scores(rotary_scores)

# %% [markdown] hints="rotary_scores"
# The angles are a table: one row a token, one column a pair, so its shape is (n, d/2). Broadcasting makes it from a
# column of positions and a row of frequencies.
#
# ---
# `np.split(x, 2, axis=-1)` gives the two halves of the features. Each has the shape of the angles, so that cos and
# sin of the angles can be multiplied with them element by element.
#
# ---
# Both new halves need both old halves: write them into a new array with `np.concatenate`, and use the same little
# function for q and for k.

# %% [markdown]
# The same query and the same key, moved together through the text: here with the functions that the small model
# itself uses.

# %%
q, k = (torch.from_numpy(row).expand(1, 1, 2048, 48) for row in rng.normal(size=(2, 48)))
cos, sin = small.llama.rotation_tables(trained_rope, 2048, torch.device("cpu"))
rotated_q, rotated_k = (
    small.llama.rotate(q, cos.double(), sin.double()),
    small.llama.rotate(k, cos.double(), sin.double()),
)
for distance in (0, 5, 100):
    scores = [(rotated_q[0, 0, p] @ rotated_k[0, 0, p - distance]).item() for p in (100, 500, 2047)]
    print(f"distance {distance:3}, at 100, 500, 2,047:", *(f"{score:.4f}" for score in scores))
    np.testing.assert_allclose(scores, scores[0], atol=2e-3)

# %% [markdown]
# A score knows the *distance* of the two tokens and not where they stand. So it does not matter which positions were
# trained. It matters which distances were. Remember that for S²-Attn, below.

# %% [markdown]
# ## Predict: near and far
#
# We want to read eight times the trained length, and train nothing. These five rules were proposed; you will build three
# of them below.
#
# | rule | what it does to the clocks |
# |---|---|
# | default | nothing |
# | linear (PI, *position interpolation*) | every clock turns eight times slower, so no angle is new |
# | NTK-aware | the fastest stays, the slowest turns eight times slower, the others something between |
# | dynamic NTK | the same, by a factor that grows with the text at hand |
# | YaRN | those that have turned many times stay, those that never turned full circle turn eight times slower |
#
# (The cell measures while you think, on a busy machine for minutes; the bar shows how far it is.)

# %%
UNTRAINED = [plots.RULE_NAMES[rule] for rule in ("default", "linear", "ntk", "dynamic", "yarn")]
course.predict(
    "05.untrained",
    "Five rules, made for eight times the length, no training at all. Which reads 2,048 bytes best?",
    UNTRAINED,
)
bar = Bar()
bar.show()
with bar.stage("Measuring four rules", 4 * windows * sum(lengths), "bytes") as advance:
    for rule in ("linear", "ntk", "dynamic", "yarn"):
        bits[rule] = untrained(rule, advance)
best = min(bits, key=lambda rule: bits[rule][TARGET])
course.reveal(
    "05.untrained",
    plots.RULE_NAMES[best],
    f"{plots.RULE_NAMES[best]}: {bits[best][TARGET]:.2f} bits per byte at 2,048 without any training; the model's own score "
    f"at 256 is {own:.2f}. Interpolation: {bits['linear'][TARGET]:.2f} at 2,048, and it costs {bits['linear'][TRAINED] - own:+.2f} even at 256.",
    picture=plots.show_rules_by_length(bits, trained_context=TRAINED),
    because={
        plots.RULE_NAMES["linear"]: "No angle is new under linear, but neighbours become hard to tell apart.",
        plots.RULE_NAMES["default"]: "That is the curve which you have just seen break.",
    },
)

# %% [markdown] instructor=true
# *Wrong answers to expect*: "linear", because it is the paper's rule and has just been introduced as the remedy; and
# "none can, without training". Do not correct them: the table at the reveal does. For a board: draw a fast and a slow
# clock, and mark on each the part of the circle that the first 256 positions cover.

# %% [markdown]
# ## Build: slower clocks
#
# Position interpolation slows all clocks alike. That squeezes near distances too: between neighbours, the fastest hand
# turns only an eighth as far as before. **NTK-aware** scaling leaves the fastest clock alone, slows the slowest by the
# factor, and the others by something between. It does so by raising the base: with $b' = b \cdot s^{d/(d-2)}$ pair $i$
# turns by $b'^{-2i/d}$ a token. **Dynamic NTK** does the same, with a factor that
# grows with the text: 1 up to the trained length $n_0$, and $s \cdot n / n_0 - (s - 1)$ at $n$ tokens.
#
# {{beginners: Position interpolation}}
#
# {{beginners: NTK-aware scaling}}
#
# {{beginners: Dynamic NTK}}
#
# ### Exercise 5.2 · Frequencies of the two rules
#
# Return the frequencies of all pairs under `rule="linear"` (position interpolation) and under `rule="ntk"`.


# %% exercise="stretched_frequencies" difficulty=2 importance=4 minutes=8 points=2
def stretched_frequencies(head_dim, base, factor, rule):
    """float (d/2,): radians per token of each pair, the fastest first."""
    ### BEGIN SOLUTION
    if rule == "ntk":
        base = base * factor ** (head_dim / (head_dim - 2))
    frequencies = base ** -(np.arange(0, head_dim, 2) / head_dim)
    return frequencies / factor if rule == "linear" else frequencies
    ### END SOLUTION


# %% check="stretched_frequencies"
check.stretched_frequencies(stretched_frequencies)

# %% [markdown] hints="stretched_frequencies"
# Begin with the trained frequencies: pair i has `base ** (-2 i / head_dim)`, and `np.arange(0, head_dim, 2)` is 2 i
# for all pairs at once.
#
# ---
# One rule divides these by the factor. The other leaves the formula alone and changes the base that goes into it.
#
# ---
# For NTK the new base is `base * factor ** (head_dim / (head_dim - 2))`. Check it at the last pair, whose exponent is
# -(d - 2)/d: the two exponents cancel, and the last clock is slower by exactly the factor.

# %%
for rule in ("linear", "ntk"):
    stretched = Rope(48, method=rule, factor=8).frequencies() / frequencies
    print(f"{plots.RULE_NAMES[rule]:12} fastest clock: {stretched[0]:.3f} of its speed, slowest: {stretched[-1]:.3f}")
grown = 8 * TARGET / TRAINED - (8 - 1)  # the factor of dynamic NTK at 2,048 bytes
dynamic = Rope(48, method="dynamic", factor=8, trained_length=TRAINED).frequencies(TARGET) / frequencies
np.testing.assert_allclose(dynamic[[0, -1]], [1, 1 / grown])
print(f"dynamic NTK  fastest clock: {dynamic[0]:.3f} of its speed, slowest: {dynamic[-1]:.3f}, 1/{grown:.0f}")

# %% [markdown]
# The factor is the target length over the *original* trained length, also when you go there in several stages.
# ([Two popular statements](../docs/claims.md#rounded-factor) get this wrong.)

# %% [markdown]
# ## Build: YaRN
#
# NTK-aware scaling slows each pair a little more than the one before. But there are two kinds of pairs. Count the *turns*
# that a pair makes within the trained length:
#
# - a pair that has turned many times has pointed everywhere. Leave it alone: near distances depend on it;
# - a pair that has never turned full circle will meet new angles. Slow it by the whole factor.
#
# {{beginners: YaRN}}
#
# YaRN does this. Between the two kinds it goes over in a straight ramp, from the last pair that turns 32 times to the
# first that does not turn once.

# %%
turns = frequencies * TRAINED / (2 * np.pi)
low, high = max(int((turns >= 32).sum()) - 1, 0), int((turns > 1).sum())
print("turns within 256 tokens:", ", ".join(f"{count:.1f}" for count in turns[:12]), "…")
print(f"the ramp goes from pair {low} to pair {high}; {len(turns) - high} pairs never turn full circle")

# %% [markdown]
# ### Exercise 5.3 · YaRN's frequencies
#
# Pair `low` and the faster ones keep their frequency, pair `high` and the slower ones have it divided by `factor`.
# Between the two, the share of the divided frequency rises in a straight line from 0 to 1, and the rest is the
# trained one.


# %% exercise="yarn_frequencies" difficulty=3 importance=4 minutes=8 points=2
def yarn_frequencies(frequencies, factor, low, high):
    """float (d/2,): the trained `frequencies` (d/2,) under YaRN's ramp from pair `low` to pair `high`."""
    ### BEGIN SOLUTION
    share = np.clip((np.arange(len(frequencies)) - low) / (high - low), 0, 1)
    return frequencies / factor * share + frequencies * (1 - share)
    ### END SOLUTION


# %% check="yarn_frequencies"
check.yarn_frequencies(yarn_frequencies)

# %% [markdown] hints="yarn_frequencies"
# First the share of each pair: 0 at pair `low` and before, 1 at pair `high` and after. A straight line between two
# points is (i − low) / (high − low).
#
# ---
# That line goes on below 0 and above 1. `np.clip(line, 0, 1)` stops it.
#
# ---
# Mix frequencies, not wavelengths: the share times the divided frequency, plus one minus the share times the trained
# one.

# %% [markdown]
# All five rules in one picture, at 2,048 bytes. On the left of the dotted line stand the pairs that turned full circle in
# training, on the right those that did not. (Dynamic NTK ends lowest: its factor is 57 there.)

# %%
ropes = {"default": trained_rope} | {
    rule: Rope(48, method=rule, factor=TARGET / TRAINED, trained_length=TRAINED)
    for rule in ("linear", "ntk", "dynamic", "yarn")
}
slowed = {rule: rope.frequencies(TARGET) / frequencies for rule, rope in ropes.items()}
plots.show_by_pair(slowed, y="frequency, over the trained one", turns_once=high, what="Frequency over the trained one")

# %% [markdown]
# YaRN does one thing more. It makes queries and keys a little longer, so that scores grow. Attention over many more tokens
# then stays as sharp as it was.

# %%
factor = ropes["yarn"].attention_factor
print(f"YaRN multiplies cos and sin by {factor:.3f}, so scores by {factor**2:.3f}")

# %% [markdown]
# ## Reveal: the frequencies knew it before
#
# The frequencies alone predict which rule works. *Near* is the angle between neighbours at the fastest pair, over that of
# training. *New* counts the pairs that meet an angle at 2,048 which they never had. *How far past* is the worst of them.

# %% after="05.untrained"
rows = []
for rule, rope in ropes.items():
    angles = plots.pair_angles(rope, TARGET)
    past = angles.far[angles.unseen].max() if angles.unseen.any() else 1.0
    numbers = (f"{angles.near[0]:.3f}", angles.unseen.sum(), f"{past:.2f} times")
    rows.append((plots.RULE_NAMES[rule], *numbers, f"{bits[rule][TRAINED]:.2f}", f"{bits[rule][TARGET]:.2f}"))
course.show_table(
    ("rule", "near", "new", "how far past", "bits/byte at 256", "at 2,048"),
    rows,
    caption="What the frequencies say, and what was measured without training",
)

# %% [markdown] after="05.untrained"
# One rule has both: the fastest clock as fast as before, and no new angle. It has its price, as the column for 256
# shows: the pairs on its ramp turn slower too, and scores are larger than in training. Interpolation has no new angle, but it
# blurs what is near, and a model guesses a byte mostly from the bytes just before it. Where angles are new, it matters
# how far they go: dynamic NTK goes a little too far on two pairs, and still reads.
#
# {{claim: interpolation-blurs}}

# %% claim="interpolation-blurs" after="05.untrained"
for method in ("linear", "ntk", "yarn"):
    rope = Rope(48, method=method, factor=8, trained_length=256)
    print(f"{method:6} angle between neighbours, fastest pair: {rope.frequencies()[0]:.3f} rad (untouched: 1)")
print(f"bits/byte at 256, the base's own: {course.recorded('position_rules')['base_bits_per_byte']:.3f}")
for row in course.recorded("position_rules")["rows"]:
    if row["rope"] in ("linear", "ntk", "yarn"):
        print(f"{row['rope']:6} by {row['factor']}, {row['train']:8}: {row['bits_per_byte']['256']:.3f}")

# %% [markdown]
# ## Reveal: the same rules after S²-Attn · more
#
# Next, each of the five was fine-tuned with the same budget: 2,048 bytes, S²-Attn in groups of 512, dense in evaluation.

# %% after="05.untrained"
record = course.recorded("position_rules")
trained_with_s2 = {row["rope"]: row["bits_per_byte"] for row in record["rows"] if row["factor"] == 8}
print(course.recorded_line("position_rules"))
plots.show_rules_by_length(trained_with_s2, trained_context=TRAINED)

# %% [markdown]
# Look at 512, the length of a group. There, default and NTK-aware are as good as YaRN; only linear is far behind. Now
# look at 2,048.

# %% [markdown]
# ## Predict: what S²-Attn leaves untrained · more
#
# In training, a query looks no further back than its group. In use, attention is dense and looks back over the whole text.
# So which angles has a pair *seen*? Those of 256 tokens in pretraining, with the trained frequencies, and those of one
# group of 512 in fine-tuning, with the new frequencies. Which will it be *asked for*? Those of 2,048.

# %%
before = plots.pair_angles(ropes["ntk"], TARGET).unseen.sum()
course.predict(
    "05.shown",
    f"Before any training, {before} pairs met new angles at 2,048 under NTK-aware scaling. To how many of them has "
    "fine-tuning in groups of 512 shown these angles?",
    unit="pairs",
)


def asked_over_seen(rope, reach):
    """float (d/2,): the angle over the target length, over the largest one seen; bool (d/2,): is it new?

    `reach` is the longest distance that fine-tuning at the target length trains.
    """
    new = rope.frequencies(TARGET)
    seen = np.maximum(frequencies * TRAINED, new * reach)
    ratio = new * TARGET / seen
    return ratio, (seen < 2 * np.pi) & (ratio > 1 + 1e-9)  # after a full turn no angle is new


ratios, news = {}, {}
for rule, rope in ropes.items():
    ratios[rule], news[rule] = asked_over_seen(rope, reach=512)
    # With nothing fine-tuned it is what the explorer counts.
    assert (asked_over_seen(rope, reach=0)[1] == plots.pair_angles(rope, TARGET).unseen).all()
course.reveal(
    "05.shown",
    int(before - news["ntk"].sum()),
    f"{news['ntk'].sum()} of {before} are as new as before, the worst asked for {ratios['ntk'][news['ntk']].max():.1f} "
    "times the angle it has seen: with slower clocks, 512 tokens turn these pairs no further than 256 tokens did in "
    "pretraining.",
    unit="pairs",
    picture=plots.show_by_pair(
        ratios, y="angle asked for, over angle seen", turns_once=high, what="Angle asked for over angle seen"
    ),
    because={
        int(before): "So it would be if training at 2,048 showed all distances up to 2,048. It shows those in a group."
    },
)

# %% [markdown] instructor=true
# *Wrong answers to expect*: "all of them, it was trained at 2,048", the confusion of window and distance that this
# lesson is for; and "half of them, 512 is twice 256". The second forgets that the clocks now run slower: with
# NTK-aware scaling a pair turns less in 512 tokens than it did in 256 before.

# %% [markdown] after="05.shown"
# In the picture of the answer, right of the dotted line, everything above 1 is trouble. Default and NTK-aware are far
# above it, and they fail past the group in the recorded results. Dynamic NTK is a little above it on two pairs, and loses
# a little. Interpolation and YaRN are not above it. YaRN's curve stays flat up to the target; interpolation fails near already.

# %% [markdown]
# Are the missing distances really the reason? We can test it. Full attention shows all distances in training. So train
# the same rules once more, on the same texts in the same order, and change only the pattern.

# %% after="05.shown"
full = {row["rope"]: row for row in course.recorded("position_rules_full")["rows"]}
sparse = {row["rope"]: row for row in record["rows"] if row["factor"] == 8}
rows = []
for rule, rope in ropes.items():
    new = news[rule].sum(), asked_over_seen(rope, reach=TARGET)[1].sum()
    both = sparse[rule], full[rule]
    scores = [f"{row['bits_per_byte']['2048']:.2f}" for row in both]
    keys = [f"{row['passkey']['rate']:.0%}" for row in both]
    rows.append((plots.RULE_NAMES[rule], *new, *scores, *keys))
course.show_table(
    ("rule", "new angles, S²", "full", "bits/byte at 2,048, S²", "full", "passkeys found, S²", "full"),
    rows,
    caption="The same rules and the same texts, trained with S²-Attn in groups of 512 and with full attention",
)
print(course.recorded_line("position_rules_full"))

# %% [markdown] after="05.shown"
# With full attention NTK-aware scaling, the worst of all under S²-Attn, comes close to YaRN in bits; of the passkeys only
# YaRN finds all. Interpolation has no new angle and fails under both: its trouble is near, and so few steps do not repair
# it. Under S²-Attn it fails worse, so new angles are not the whole reason. **Position rule and group are one choice, not
# two.**

# %% [markdown]
# That was one seed; the study below has three. If the distances beyond the group are to blame, then the slow pairs must be
# the ones that matter: only they still meet new angles there. So it gives linear interpolation to the slow pairs alone,
# to the middle ones alone, to the fast ones alone.
#
# {{claim: any-position-rule}}

# %% claim="any-position-rule"
course.show_study("positions")

# %% [markdown]
# ## Break it: the other pairing
#
# Some checkpoints keep the two features of a pair next to each other, (0, 1), (2, 3), …, others half a head apart. Put a
# file of one kind into a program of the other kind, and it loads: all shapes fit, and nothing warns you. We reorder the
# rows of the query and key weights as such a file has them, and change nothing else. (`own` is the model as it should be, of
# the first prediction.)

# %%
wrong = small.bundled_model(256)
for attention in wrong.attention_layers:
    for projection in (attention.q_proj, attention.k_proj):
        heads = projection.weight.detach().unflatten(0, (-1, 2, 24))  # heads, halves, pairs
        projection.weight.data = heads.transpose(1, 2).flatten(0, 2)  # heads, pairs, halves
broken = evaluate.score_text(wrong, held_out, [TRAINED], windows=windows).by_length[TRAINED]
print(f"bits per byte at 256: {own:.2f} as it should be, {broken:.2f} with the pairs mixed up")

# %% [markdown]
# Every score still knows only the distance. But each feature now turns with a clock that it was not trained with. When a
# converted model loads and talks nonsense, look here first.

# %% [markdown]
# ## Recap
#
# - Rotary positions are clocks, and scores know the distance only. Past the trained length the slow clocks point
#   where they never pointed, and the model breaks at once.
# - Interpolation slows all clocks and blurs what is near. NTK-aware scaling keeps near sharp and leaves new angles far
#   away. YaRN looks at the turns that each clock made and avoids both, at a price near that training takes back.
# - S²-Attn trains no distance beyond its group. A rule that leaves new angles there fails in dense use, and a low
#   training loss does not show it. So choose group and rule together.

# %% [markdown]
# ## Quiz

# %%
course.quiz(
    "05",
    course.Question(
        "Which pairs of features meet new angles right past the trained length?",
        right=(
            "The slow ones, as they turn least",
            "They have not turned full circle, so there are directions they never had.",
        ),
        wrong=[
            ("The fast ones, as they turn most", "They turn most, and so they have pointed everywhere already."),
            ("All of them alike", "A pair that has turned full circle has pointed everywhere: nothing is new to it."),
        ],
    ),
    course.Question(
        "What does position interpolation pay for having no new angles?",
        right=("Near tokens that are harder to tell apart", "The fastest clock too is slowed by the factor."),
        wrong=[
            ("More weights to train, two for each pair", "The rule has no weights, it only changes the frequencies."),
            (
                "A context shorter than the target length",
                "The target length is what it is made for; near distances are what it squeezes.",
            ),
        ],
    ),
    course.Question(
        "You fine-tune with S²-Attn and NTK-aware scaling, and the training loss is excellent. What do you check?",
        right=(
            "Bits per byte of dense use, beyond the group",
            "Training never looked there, and the rule leaves new angles there: the loss cannot know.",
        ),
        wrong=[
            (
                "Nothing: the loss of training says it all",
                "The loss is measured inside groups, use is dense: see the table above.",
            ),
            (
                "Bits per byte at the trained length, as usual",
                "That is where this rule is at its best; the trouble is far away.",
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
    "05.more",
    course.Question(
        "Which position does a token of a rolled row have?",
        right=("Its place in the text, as ever", "RoPE comes before the roll."),
        wrong=[
            ("Its place in the row, 0, 1, 2, …", "Then distances across the seam would be wrong."),
        ],
    ),
    course.Question(
        "Which features make a pair in Llama's weights?",
        right=("Features 0 and d/2, 1 and d/2 + 1, …", "The first half beside the second half."),
        wrong=[
            ("Features 0 and 1, 2 and 3, and so on", "That is the other lay-out, as under Break it."),
        ],
    ),
    course.Question(
        "From 4,096 to 6,144 tokens: which factor?",
        right=("1.5, the ratio of the two lengths", "A factor need not be a whole number."),
        wrong=[
            ("2, because factors are whole numbers", "The published script rounds up; it squeezes more than needed."),
        ],
    ),
    course.Question(
        "By what does NTK-aware scaling by 8 multiply the base?",
        right=("A little more than 8", "8^(d/(d-2)), so that the slowest pair slows by exactly 8."),
        wrong=[
            ("Eight times the base", "Then the slowest pair slows by less than 8."),
        ],
    ),
    course.Question(
        "Which pairs does YaRN slow?",
        right=("The slow ones, which never came round", "They would meet new angles."),
        wrong=[
            ("The fast ones, since they turn most", "They have pointed everywhere, and near distances depend on them."),
        ],
    ),
    course.Question(
        "And the pairs between low and high?",
        right=(
            "Partly kept and partly divided, in a ramp",
            "The share of the divided frequency rises in a straight line.",
        ),
        wrong=[
            ("Either kept or divided, with nothing between", "That is a step; YaRN has a ramp."),
        ],
    ),
)

# %% [markdown]
# ## Discuss
#
# YaRN reads eight times the length without training, at a price, and fine-tuning repairs most of it. If the rule does the
# work, what does the long training teach? To *find* far tokens, or to use what they say? How would you find out?

# %% [markdown] instructor=true
# *Worth bringing up*: lesson 08 has the arm "YaRN, no training" beside short, S² and full attention on one budget.
# Passkeys are found by YaRN alone to a good part, so pointing survives; bits per byte fall with training at every
# length, also at 256, so much of what training repairs is the damage of the rule itself. At large scale the two
# cannot be told apart by perplexity alone. Also: dynamic NTK changes the angles of old tokens while the text grows,
# so keys in a cache have been turned by other frequencies than new queries: what does that do in generation?
