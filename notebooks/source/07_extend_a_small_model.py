# ---
# jupyter:
#   longlora_edu:
#     title: Extend a small model
# ---

# %% [markdown]
# **You will be able to**
#
# - name the six steps of LongLoRA, and the function that does each of them;
# - extend a model on your own machine, watch its loss, stop it, and keep what it has learned;
# - write one training step on a long document, and say what the loss of a far passkey does, and why;
# - recognise a model that has lost its positions.
#
# **You need first**: who sees whom under groups and a shift ([lesson 02a](02a_wall_and_shift.ipynb)), what a
# position rule does ([lesson 05](05_stretching_positions.ipynb)) and what LongLoRA trains
# ([lesson 06](06_lora_and_what_longlora_trains.ipynb)). Can you say what YaRN keeps and what it stretches? Then you are ready.
#
# **Where it runs**: on any machine, also with one core. How far the model is extended and for how long depends on the
# profile that the cell above has found: less on Binder, more on a laptop or a GPU.

# %%
import dataclasses

import numpy as np
import torch
import torch.nn.functional as F

from longlora_edu import course, longlora, plots
from longlora_edu.course.checks import l07_training as check
from longlora_edu.course.play import live, train_panel
from longlora_edu.geometry import S2Geometry
from longlora_edu.model import bundled_model
from longlora_edu.training import corpus, evaluate, finetune, references

# %% [markdown]
# ## Why
#
# You know from [lesson 05](05_stretching_positions.ipynb) what happens to a model that reads beyond the length it was
# trained at: it falls apart. In this lesson you repair one. You take the small model of this course to a longer context,
# on your own machine, in minutes. Beside yours stands a longer run that was recorded, the demo of this package.

# %%
demo = course.recorded("demo")
was, target_length = demo["model"]["trained_context"], demo["target_context"]
print(f"the demo goes from {was:,} to {target_length:,} bytes")
print(course.recorded_line("demo"))

# %% [markdown]
# {{beginners: Fine-tuning}}
#
# {{beginners: Bits per byte}}
#
# ### The published algorithm in six steps
#
# 1. Start from the base model: [`bundled_model`](../longlora_edu/model/folder.py).
# 2. Compute sparse attention, S², on each long example: [`s2_attention`](../longlora_edu/attention/__init__.py), switched on by
#    `model.train()`.
# 3. Keep standard attention for inference: `model.eval()` switches to
#    [`full_attention`](../longlora_edu/attention/__init__.py), nothing else changes.
# 4. Add LoRA, and free the embeddings and norms: [`apply_longlora`](../longlora_edu/longlora.py), which stretches the
#    positions too.
# 5. Fine-tune on long data: [`finetune`](../longlora_edu/training/finetune.py).
# 6. Infer dense: [`merge_to_dense`](../longlora_edu/longlora.py), then use the model like any other.
#
# The next cells run each step once, on as little as possible. After that you run the real thing.
#
# **Step 1: the base model.** It reads bytes. It was trained on windows of the Python standard library's source, some of them
# with a *passkey*: a number that stands somewhere and is asked for at the end.

# %%
model = bundled_model()
context = model.config.trained_context
print(f"{sum(p.numel() for p in model.parameters()):,} weights, trained at {context} bytes of context")

# %% [markdown]
# **Steps 2, 3 and 4 are one call.** `apply_longlora` changes the model it is given and reports what it did. It stretches the
# positions, gives each attention layer a sparse pattern for training, and lets a part of the weights train: LoRA, the
# embeddings and the norms.

# %%
settings = live.live_settings(profile)
report = longlora.apply_longlora(model, settings.recipe())
heads, target = model.config.num_attention_heads, report.target_context
geometry = report.pattern.geometry(target, heads)
full_pairs = heads * target * (target + 1) // 2
print(
    f"positions: {report.rope.method}, stretched by {report.rope.factor:g}, from {report.trained_context} to {target}"
)
print(f"training: groups of {report.pattern.group_size}, half of the heads shifted by {report.pattern.shift}")
print(f"so it computes {geometry.pairs() / full_pairs:.0%} of the pairs of full attention")

# %% [markdown]
# What trains? Lesson 06 counted with rank 8. The demo's recipe has rank 96, and a matrix of this model is 192 wide. So A and B
# together hold as many numbers as the matrix beside them, and LoRA saves nothing there. What is saved is the feed-forward
# half of the model: it stays frozen. On a large model begin with rank 8, as the paper does: there A and B are a small part.

# %%
width = model.config.hidden_size
print(f"LoRA of rank {settings.rank}, the embeddings and the norms")
print(f"A and B of one projection hold {2 * width * settings.rank:,} numbers, the projection itself {width * width:,}")
recipe = {"trainable_parameters": report.trainable_parameters, "trainable_share": report.trainable_share}
plots.show_trainable(recipe)

# %% [markdown]
# **Does the switch of steps 2 and 3 work?** The same weights read the same text in both modes. Plain heads have their first
# wall after one group, shifted heads after half a group. Up to there every token still sees all tokens before it, so both
# modes must agree.

# %%
text = corpus.standard_library()
ids = torch.from_numpy(corpus.Windows(text.held_out, target).draw(np.random.default_rng(0), 1))
with torch.no_grad():
    sparse, dense = model.train()(ids), model.eval()(ids)
differs = (sparse - dense).abs().amax(dim=-1)[0] > 1e-3
first = int(differs.nonzero()[0])
print(f"sparse and dense outputs differ from byte {first} on; the first wall of a shifted head is at {geometry.shift}")
assert first == geometry.shift

# %% [markdown]
# **Step 5**: one optimiser step on one long window. **Step 6**: LoRA is merged into the weights, the sparse pattern is dropped,
# and a plain dense model remains.

# %%
once = finetune.finetune(model, corpus.Windows(text.train, target + 1), finetune.FinetuneSettings(steps=1, batch=1))
longlora.merge_to_dense(model)
assert all(attention.sparse is None for attention in model.attention_layers)
print(
    f"loss of the one step: {once.curve[0]['loss'] / np.log(2):.2f} bits; the merged model reads up to {model.config.context_length}"
)

# %% [markdown]
# ## Predict: what will it cost, and where?
#
# Three things to commit to before you train. The answers come from the demo. First: the model learns to read long texts.
# What happens to the *short* ones, at the length it was pretrained at?

# %%
SHORT = [
    "better than before, as it has read more text",
    "a little worse than before",
    "as if it had never been pretrained",
]
course.predict("07.short", f"After the extension, how does it do on {was} bytes, its old context?", SHORT)
at_old = [demo[when]["bits_per_byte"][str(was)] for when in ("before", "after")]
course.reveal(
    "07.short",
    SHORT[0] if at_old[1] < at_old[0] else SHORT[1] if at_old[1] < 1.2 * at_old[0] else SHORT[2],
    f"{at_old[0]:.3f} bits per byte before and {at_old[1]:.3f} after. YaRN leaves the fastest pairs alone, but it "
    "slows the others and makes all scores a little larger; the demo's training wins back a part of that. In the picture: the "
    "model as pretrained, with stretched positions and nothing trained, and after the recipe. At the new length the last two "
    "read nearly alike. So what is the training for? Keep that question.",
    picture=plots.show_bits_by_length(
        **{when: demo[when]["bits_per_byte"] for when in ("before", "stretched", "after")}, trained_context=was
    ),
)

# %% [markdown]
# Second: the extended model reads one long text from its first byte to its last. Early bytes have little before them, late
# ones have much. Where in the text is a byte expensive?

# %%
means = demo["after"]["bits_per_byte_by_position_mean_of_128"]
places, start = {}, 0
for end in (1, 2, 4, 8, len(means)):
    places[f"to {128 * end:,}"] = float(np.mean(means[start:end]))
    start = end
course.draw(
    "07.position",
    "Draw how many bits a byte costs, by its position in the text (each point stands for a stretch up to that byte).",
    curve=list(places),
    between=(0, 3),
    unit="bits per byte",
)
course.reveal(
    "07.position",
    places,
    "The first bytes cost most: nothing stands before them. Then the curve falls, and soon it is nearly flat. Most of what "
    "helps to guess a byte stands close to it.",
)

# %% [markdown]
# Third, the training itself. We plant two things in the training text. *References*: a line sets a number under a name, and
# a later line asks for it; [lesson 08](08_did_it_work.ipynb) is about them. *Passkeys*, in fewer windows: a number is
# [hidden at a random depth](glossary.md#passkey-retrieval) and asked for at the end. Attention is sparse while the model
# trains, and the groups are a quarter of the window. A passkey looks like this, and its last line ends the window:
#
# ```text
# …code…
# # passkey 35788
# …code…
# # passkey 35788
# ```
#
# {{beginners: Passkey retrieval}}
#
# And here is a reference, planted in a piece of code:

# %%
piece = corpus.Windows(text.train, 240).draw(np.random.default_rng(5), 1)[0]
planted = references.hide_references(piece, [references.Reference(60, 200)], np.random.default_rng(0), held_out=False)
print(planted.tobytes().decode())

# %%
KEYS = [
    "it falls to nearly zero, as losses do in training",
    "it stays near what a guess costs",
    "it rises, as the model unlearns to look far",
]
course.predict("07.key_loss", "What will the loss of the passkey's digits do while the model trains under S²?", KEYS)
curve = demo["train"]["curve"]
digits = [point["passkey_nats"] / np.log(2) for point in curve if point["passkey_nats"] is not None]
half = len(digits) // 2
guess = np.log2(10)
course.reveal(
    "07.key_loss",
    KEYS[0] if np.mean(digits[half:]) < guess / 4 else KEYS[2] if np.mean(digits[half:]) > 1.2 * guess else KEYS[1],
    f"{np.mean(digits[:half]):.2f} bits per digit in the first half of the steps, {np.mean(digits[half:]):.2f} in the "
    f"second; a guess costs {guess:.2f}. The question sees about a quarter of the window directly. A key elsewhere could only "
    "come through tokens in between, and this model did not learn that. And yet with dense attention it finds "
    f"{demo['after']['passkey'][str(target_length)]:.0%} of the keys at the target length. How can that be? Your own run, "
    "below, has the answer in one of its columns.",
    because={KEYS[0]: "The pattern of training hides most keys from direct sight."},
)

# %% [markdown]
# ## Play: train it
#
# Press **Start training**. The button calls one function, `extend_live(settings)`: it measures the model, applies the
# recipe, trains, merges, and measures again. It measures three times, which may take as long as the training: go on reading.
# **Stop** ends it after the present step, and you keep what it has learned: it is merged and measured.
#
# *Task*: commit first, then press, and watch two losses: that of the text, the blue line, and that of the references, the
# pink dots. (The grey line is what training lowers: a mean of all bytes in which planted digits count more.)


# %%
def learned(metric, curve):
    """Nats that a loss falls after the first ten steps, while there are references."""
    values = [point[metric] for point in curve if point["reference_nats"] is not None]
    return np.mean(values[10:20]) - np.mean(values[-10:])


CURVES = ["The loss of the text", "The loss of the references", "Neither: both are flat by then"]
course.predict("07.left", "The first ten steps are over. Which curve still has a long way to fall?", CURVES)
falls = {
    CURVES[0]: learned("loss", demo["train"]["curve"]),
    CURVES[1]: learned("reference_nats", demo["train"]["curve"]),
}
course.reveal(
    "07.left",
    max(falls, key=falls.get),
    f"In the demo, from step 10 to the last references, the loss of the text fell by {falls[CURVES[0]] / np.log(2):.2f} bits a "
    f"byte, and that of the references by {falls[CURVES[1]] / np.log(2):.2f} bits a digit. (The planted lines "
    "count as text, too.) The base knows text, and references are new to it. They begin above what a guessed digit costs, as "
    "at first it does not even expect a digit there.",
)

# %%
panel = train_panel.training(settings)
course.after("07.left", panel.show)

# %% [markdown]
# The next cell takes the result of that run, and waits for it if it still goes on. If nobody has pressed the button, the
# cell trains here and now, for some minutes, so that everything below has a model to look at. To stop it, interrupt the
# kernel (the square button of the notebook): that keeps the result, as the button does.

# %% tags=["training"]
result = panel.take()

# %% after="07.key_loss"
print(
    f"{len(result.curve)} steps on windows of {result.settings.context} bytes, {result.report.rope.factor:g} × the trained context"
)
plots.show_loss(result.curve)

# %% [markdown]
# While references are planted, the text's curve includes their made-up names and numbers, which nobody can guess. That is
# why it drops when they stop, for the last part of the run: the schedule ends on plain text, so that the model finishes on
# what it will mostly read. (A short run may meet no passkey.)
#
# Below is the recorded run: the demo, four times the trained context. The slider goes through its steps and trains nothing.

# %%
course.after("07.key_loss", train_panel.replay(demo["train"]["curve"]).show)

# %% after="07.key_loss"
asked = [point["step"] for point in curve if point["reference_nats"] is not None]
print(f"references until step {max(asked)} of {len(curve)}; after that plain text, and a passkey here and there")

# %% [markdown]
# ## Reveal: your run
#
# Three models were measured on your machine a moment ago, at the old length and at the new one: *before*, as it was
# pretrained; *stretched*, with stretched positions and nothing trained; and *after*, what your training made of it. You train
# for fewer steps than the demo did, and measure on fewer windows, so your numbers differ from those of the prediction.
# How bad is a number of bits? Compare it with what a byte costs if you know nothing but how often each byte occurs:

# %%
held_out = np.concatenate([np.frombuffer(document.data, dtype=np.uint8) for document in text.held_out])
shares = np.bincount(held_out, minlength=256) / len(held_out)
useless = -(shares[shares > 0] * np.log2(shares[shares > 0])).sum()
print(f"knowing only how often each byte occurs: {useless:.2f} bits per byte")

# %% after="07.key_loss"
before, after = result.before, result.after
lengths = sorted(before["bits_per_byte"])
three = {"before": before, "stretched": result.stretched, "after": after}
rows = [(f"{length:,}", *(f"{step['bits_per_byte'][length]:.3f}" for step in three.values())) for length in lengths]
course.show_table(["bytes read", *three], rows, caption="Bits per byte")
plots.show_bits_by_length(
    before["bits_per_byte"],
    after["bits_per_byte"],
    stretched=result.stretched["bits_per_byte"],
    trained_context=context,
)

# %% after="07.key_loss"
rows = [
    (f"{length:,}", *(f"{step['passkey'][length]:.0%}" for step in three.values()))
    for length in sorted(after["passkey"])
]
course.show_table(["bytes read", *three], rows, caption="Passkeys found")
plots.show_passkeys(after["passkey_by_depth"], title="After: passkeys found")

# %% [markdown] after="07.key_loss"
# In the picture each square stands for very few trials: one key lost, and it changes its colour.
#
# Now look at the column *stretched* of the table. That model finds the passkeys, and nobody trained it further. It learned
# passkeys while it was pretrained, on short windows, and with stretched positions it finds them on long ones too. So
# passkeys prove that the positions were stretched, and not that training taught anything; a few steps may even lose some.
#
# And the references? You have trained for them, so here is what you got.

# %% after="07.key_loss"
groups = {"<=G": "within a group", "G-2G": "one to two groups back", ">2G": "further back"}
for kind, where in groups.items():
    found = {name: three[name]["references"][kind] for name in ("stretched", "after")}
    print(f"{where}: " + ", ".join(f"{name} {of['found']} of {of['of']}" for name, of in found.items()))

# %% [markdown] after="07.key_loss"
# None without training, some with it: that is what your steps bought. The demo takes more than six times as many.
#
# Now look at the columns *stretched* and *after* of the text once more. (In the picture their curves lie on each other.) The
# stretched model was not trained at all, and reads text about as well as yours, or better: so short a training may even cost
# a little at both lengths. Training did not teach it to read *text* at that distance. It taught it to look up a name.

# %% [markdown]
# Who deserves the credit for what? [Lesson 08](08_did_it_work.ipynb) finds out, one suspect at a time, with more trials than
# these.
#
# ## Play: talk to it · more
#
# Here is the model that you have just trained, alive in your browser. Type to it. Switch between *before*, *stretched* and
# *after*. Click a byte to see where each head looks.
#
# *Task*: choose *a number by its name*, hide one some 300 bytes back, and press *Ask with all*. Which of the three models writes
# it, and under which attention? Then hide it further back. After so few steps yours will miss many of those.

# %%
course.after("07.position", course.living_model, result)

# %% [markdown]
# ## Build: one training step
#
# ### Exercise 7.1 · One step on a long document
#
# `finetune` hides its loop. Write one turn of it. Read `ids` with sparse attention, take the mean loss of each *next* byte,
# and let the optimiser take one step along the gradient of this loss only. The loss is in nats here, as
# `F.cross_entropy` gives it. The model may come to you in either mode, and its weights may still hold the gradient of an
# earlier step.


# %% exercise="long_step" difficulty=2 importance=5 minutes=10 points=2
def long_step(model, ids, optimizer):
    """One step of fine-tuning under S², in place.

    ids: uint8 (b, n + 1). `model(ids)` gives logits (b, n, 256) for ids (b, n). Returns the loss as a number.
    """
    ### BEGIN SOLUTION
    model.train()
    optimizer.zero_grad()
    logits = model(ids[:, :-1])
    loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten().long())
    loss.backward()
    optimizer.step()
    return loss.item()
    ### END SOLUTION


# %% check="long_step"
check.long_step(long_step)

# %% [markdown] hints="long_step"
# Which switch makes attention sparse? Step 2 at the top of this lesson names it. Set it before anything else.
#
# ---
# The model reads all bytes but the last and predicts all bytes but the first. `F.cross_entropy` wants logits of shape
# (m, 256) and integer targets of shape (m,): flatten both.
#
# ---
# The order is: `train()`, `zero_grad()`, logits, loss, `backward()`, `step()`. Return `loss.item()`.

# %% [markdown]
# ## Build: what a key costs
#
# ### Exercise 7.2 · A key that the question does not hear
#
# Take a perfect model. If the question, the last token, hears the key, each digit costs nothing. If it does not, a digit
# costs a guess among ten. Keys stand anywhere with equal chance. `geometry.reach(layers)` is the table of who can hear
# whom after so many layers ([lesson 02b](02b_reach.ipynb) draws it). How many bits does a digit cost on average?


# %% exercise="digit_bits" difficulty=2 importance=4 minutes=8 points=2
def digit_bits(geometry, layers):
    """Bits that one digit costs on average, keys anywhere among the tokens.

    `geometry.reach(layers)` is bool (n, n): can a value at token j (column) arrive at token i (row)?
    """
    ### BEGIN SOLUTION
    heard = geometry.reach(layers)[-1].mean()
    return (1 - heard) * np.log2(10)
    ### END SOLUTION


# %% check="digit_bits"
check.digit_bits(digit_bits)

# %% [markdown] hints="digit_bits"
# The question stands at the very end. Which row of the reach table is that, and what does its mean say?
#
# ---
# The mean of a row of True and False is the share of tokens that are heard. The others cost a guess each.
#
# ---
# A guess among ten costs `np.log2(10)` bits. Multiply it by one minus the share.

# %% [markdown]
# The next cell compares the formula with the record, for one layer and for as many as the small model has.

# %% worked="digit_bits"
group = demo["train"]["group_size"]
recorded_geometry = S2Geometry(demo["target_context"], group, heads, demo["train"]["shift"])
for layers in (1, model.config.num_hidden_layers):
    share = recorded_geometry.reach(layers)[-1].mean()
    cost = (1 - share) * guess
    print(
        f"{layers} layer(s): the question hears {share:.1%} of the window, a digit costs {cost:.2f} bits, {guess - cost:.2f} "
        "less than a guess"
    )
print(f"recorded: {np.mean(digits):.2f} bits, {guess - np.mean(digits):.2f} less than a guess")

# %% [markdown]
# Four layers could bring most keys to the question. But then a token in between must pick a key up before anybody asks for
# it, and this model has not learned to. Compare the savings: the model's is less than half of what one layer could give.
# So it misses even keys that it sees.

# %% [markdown]
# ## Break it
#
# The most common way to ruin an extended model is to lose one number. Merge, save, load elsewhere, and forget the position
# settings: the weights are the trained ones, but positions run as they did before. Users of the released models met
# this, because the published merge script does not write the factor into the config. Here one line does the damage.

# %%
good = result.model.config
wrong = {"with the base's": bundled_model().config.rope}
print("with its own positions:", ", ".join(f"{after['bits_per_byte'][n]:.2f} bits at {n:,} bytes" for n in lengths))
for name, rope in wrong.items():
    result.model.config = dataclasses.replace(good, rope=rope)
    lost = evaluate.score_text(result.model, text.held_out, lengths, windows=settings.windows, seed=settings.seed)
    print(f"{name}:", ", ".join(f"{lost.by_length[n]:.2f} bits at {n:,} bytes" for n in lengths))
result.model.config = good

# %% [markdown]
# At the old length hardly anything shows after so short a training, so a test with short texts would pass. Beyond it the
# model is as lost as before you began.
#
# **Your turn**: add to `wrong` an entry `"with half the factor": dataclasses.replace(good.rope, factor=good.rope.factor / 2)`.
# That is the other published trap: a factor counted from the wrong length. Say what you expect before you run it.

# %% [markdown]
# ## Recap
#
# - Six steps: base model, sparse attention while training, standard attention otherwise, LoRA with free embeddings and
#   norms, long data, dense use. In code a call of `apply_longlora`, one of `finetune`, one of `merge_to_dense`.
# - `model.train()` and `model.eval()` are the whole difference between sparse and dense: nothing sparse is left in the
#   weights.
# - Under the training pattern the question sees few keys, and the loss on keys says so. With dense attention the model finds
#   them, and did so before it was trained: measure the *stretched* model too. References are what training bought.
# - Keep the position settings with the weights.

# %% [markdown]
# ## Quiz

# %%
course.quiz(
    "07.quiz",
    course.Question(
        "You stop the training in the middle and use the model. What do you have?",
        right=(
            "A model that reads densely at the target length",
            "Less well adapted than it could be: positions are stretched from the first step on, and each step adapts the "
            "weights further.",
        ),
        wrong=[
            (
                "A model that must go on using sparse attention",
                "Sparse attention is a switch of training mode. Nothing of it is in the weights, after few steps or many.",
            ),
            (
                "The base model, since LoRA was not finished",
                "LoRA has no moment at which it takes effect: each step moves it, and merging adds what there is.",
            ),
        ],
    ),
    course.Question(
        "Which of these does `apply_longlora` NOT change?",
        right=(
            "How attention works in evaluation",
            "It stays full attention: `eval()` calls the dense function, before and after.",
        ),
        wrong=[
            (
                "Which weights receive gradients",
                "It does: all are frozen but LoRA's own, the embeddings and the norms.",
            ),
            (
                "The angles of the rotary positions",
                "It does: that is the stretching, and without it nothing beyond the trained length works.",
            ),
        ],
    ),
    course.Question(
        "The loss on passkey digits hardly moves while training. What follows?",
        right=(
            "Nothing yet about passkeys under dense attention",
            "The loss is measured under the training pattern, where the question sees few keys directly. Dense use is another matter: you have measured it in this lesson.",
        ),
        wrong=[
            (
                "The learning rate is too low for the digits",
                "A rate is not what keeps a key from the question: the pattern hides most keys from direct sight, and dense use does not.",
            ),
            (
                "The model will not find passkeys at the target length",
                "The recorded run finds most of them, with dense attention.",
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
    "07.more",
    course.Question(
        "`model(ids)`, without another word: which attention runs?",
        right=("Sparse in train(), full attention in eval()", "The mode decides, and nothing else."),
        wrong=[
            ("Sparse attention, in any mode of the model", "In evaluation nothing sparse is called."),
        ],
    ),
    course.Question(
        "Keys stand anywhere. What share of them does the question hear?",
        right=("The share that is connected in its own row", "The last row of the reach table."),
        wrong=[
            (
                "The share of all pairs that are connected",
                "Early tokens have less before them; only the last one asks.",
            ),
        ],
    ),
    course.Question(
        "You measure at a longer context. Which bytes?",
        right=("The same last bytes as before", "Only what stands before them changes."),
        wrong=[
            ("All bytes of the longer window", "Then early bytes, with little before them, are mixed in."),
        ],
    ),
)

# %% [markdown]
# ## Discuss
#
# The model was extended on source code, with references and a few passkeys mixed in. What would you mix in if you wanted it to answer
# questions about a long contract? And how would you find out whether it worked, without a single passkey?

# %% [markdown] instructor=true
# **Wrong answers to expect.** *Short*: some say "better"; the stretched positions cost a little there. *Position*: most draw
# a straight line that falls to the end. *Key loss*: nearly everybody says it falls to zero; let them
# compute the floor in exercise 7.2 first and predict again. In exercise 7.1 expect a missing `model.train()` above all:
# the loss looks fine and the check compares it with the dense one.
#
# **If time is short**: start the training at the beginning of the lesson, teach the six steps while it runs.
