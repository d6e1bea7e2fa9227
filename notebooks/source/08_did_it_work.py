# ---
# jupyter:
#   longlora_edu:
#     title: Did it work?
# ---

# %% [markdown]
# **After this lesson you can**
#
# - say which of three suspects deserves the credit for a longer context, and by which measurement;
# - measure a longer context so that only the context differs;
# - tell a difference from luck;
# - notice when a model is tested in the mode it was trained in.
#
# **You need first**: the six steps of [lesson 07](07_extend_a_small_model.ipynb). You do not need its model: this lesson
# reads records, and measures one model anew.
#
# **Where it runs**: on any machine, in seconds. Nothing is trained here.

# %%
import numpy as np
import torch
from ipywidgets import Dropdown, ToggleButtons

from longlora_edu import course, longlora, plots
from longlora_edu.course.checks import l08_measuring as check
from longlora_edu.model import bundled_model
from longlora_edu.plots import arms
from longlora_edu.training import corpus, evaluate, passkey
from longlora_edu.widgets.panel import Panel

# %% [markdown]
# ## Why: who deserves the credit?
#
# The case. A small model was trained on windows of a few hundred bytes. Given a text four times as long, it falls apart.
# We extend it, and it reads the long text well. Three things were done to it, all at once:
#
# 1. its **positions** were stretched;
# 2. it was **trained** for a few minutes on long windows;
# 3. while it trained, half of its heads were **shifted**.
#
# Which of them did it? A demo that shows *before* and *after* cannot tell. So we take them one by one, and look for the
# measurement that only the culprit can explain.
#
# Our first witness is the plain text: how many bits does the model need for each of the *same* last bytes, with little and
# with much of what stands before them? ([Bits per byte](glossary.md#bits-per-byte): lower is better, and eight would
# mean that it guesses blindly.) Here are the first and the last day.

# %%
demo = course.recorded("demo")
trained, target = demo["model"]["trained_context"], demo["target_context"]
print(course.recorded_line("demo"))
for when in ("before", "after"):
    bits = demo[when]["bits_per_byte"]
    print(f"{when:7}: " + ", ".join(f"{value:.2f} bits at {int(length):,} bytes" for length, value in bits.items()))

# %% [markdown]
# {{beginners: Held-out text}}
#
# ## Predict: the first suspect
#
# The second witness is a [passkey](glossary.md#passkey-retrieval): five digits stand somewhere in a long text, and the
# last line asks for them.
#
# {{beginners: Passkey retrieval}}

# %%
course.predict(
    "08.untrained",
    f"The base met passkeys in its pretraining, never in more than {trained} bytes. Now its positions are stretched by YaRN, "
    f"and nothing is trained. How many of the passkeys at {target:,} bytes are found?",
    unit="per cent",
)
ladder = {when: demo[when]["bits_per_byte"] for when in ("before", "stretched", "after")}
keys = {when: demo[when]["passkey_overall"][str(target)] for when in ladder}
course.reveal(
    "08.untrained",
    100 * keys["stretched"]["rate"],
    f"{keys['stretched']['successes']} of {keys['stretched']['trials']}; before {keys['before']['successes']}, after "
    f"training {keys['after']['successes']}, which with so few trials stands for anything between "
    f"{keys['after']['interval_95'][0]:.0%} and {keys['after']['interval_95'][1]:.0%}. The base knew how to copy a key, and "
    f"YaRN carries that skill to {target // trained} times the length.",
    unit="per cent",
)

# %% [markdown]
# ## Reveal: stretched positions
#
# Before the stretch, after it with nothing trained, and after the training:

# %% after="08.untrained"
plots.show_bits_by_length(**ladder, trained_context=trained)

# %% after="08.untrained"
repaired = (ladder["before"][str(target)] - ladder["stretched"][str(target)]) / (
    ladder["before"][str(target)] - ladder["after"][str(target)]
)
print(f"of all bits that were repaired at {target:,} bytes, stretching alone repaired {repaired:.0%}")

# %% [markdown] after="08.untrained"
# **Stretched positions repaired the text, and they find the passkeys.** So neither witness can speak for the training.
# That is worth a pause: nearly every report about a longer context shows these two. A test on which the untrained model
# does well cannot rank the trained ones.

# %% [markdown]
# ### Measure it yourself
#
# This suspect needs no patience: stretch the positions of another small model, trained at 256 bytes, and ask it for keys.

# %%
record = course.recorded("training_attention")
far = record["target_context"]
text = corpus.standard_library()
untrained = bundled_model(256)
longlora.apply_longlora(untrained, longlora.LongLoRAConfig(far))  # not a step is taken: the weights are the base's
trials = profile.choose(laptop=4, binder=2, ci=1)

# %% after="08.untrained"
found = evaluate.score_passkeys(untrained, text.held_out, [far], trials=trials).at(far)
low, high = found.interval
print(f"passkeys at {far:,}: {found.successes} of {found.trials}, so between {low:.0%} and {high:.0%} of all")

# %% [markdown]
# {{beginners: Confidence interval}}
#
# ## Predict: the second suspect
#
# Now a harder task. **Named references**: a line `# set kqz=48213` hides in source code,
# and further on `# get kqz` asks for the number. Eight names compete in a window, so the model has to look for the right
# *name*, far back. Its pretraining never showed this.

# %%
course.predict(
    "08.training",
    "Named references up to a group away, positions stretched. How many more of 100 are found after training than before?",
    unit="references",
)


def of_100(step, kind="<=G"):
    count = step["references"][kind]
    return 100 * count["found"] / count["of"]


before, after = of_100(demo["stretched"]), of_100(demo["after"])
course.reveal(
    "08.training",
    round(after - before),
    f"{before:.0f} of 100 before, {after:.0f} after {demo['train']['steps']} steps.",
    unit="references",
)

# %% [markdown]
# ## Reveal: training


# %% after="08.training"
near = {name: {"<=G": demo[name]["references"]["<=G"]} for name in ("stretched", "after")}
plots.show_references(near)

# %% [markdown] after="08.training"
# (The thin line on a bar says between which limits the true rate probably lies.)
#
# **Training taught the model to find what is asked for by name.** Nothing else explains these bars: same weights at the
# start, same positions, same texts.

# %% [markdown]
# ## Predict: the third suspect
#
# Now the shift. Three copies of the model trained on the same windows, with the same steps, rate and seed. One thing
# differs, the attention while they trained: groups *without* a shift, groups with the shift on half of the heads (*S²*),
# or *full* attention. Afterwards all three are used with full attention.
#
# {{beginners: Ablation}}

# %%
course.predict(
    "08.shift",
    "Take references one to two groups away. Which of the two sparse models still finds at least half of what the model "
    "trained with full attention finds?",
    choices=["both of them", "the one with the shift", "the one without", "neither"],
)
three = {"short": demo["arms"]["short"], "after": demo["after"], "full": demo["arms"]["full"]}
apart = {name: of_100(arm, "G-2G") for name, arm in three.items()}
shifted, unshifted = apart["after"] / apart["full"], apart["short"] / apart["full"]
if shifted >= 0.5:
    verdict = "both of them" if unshifted >= 0.5 else "the one with the shift"
else:
    verdict = "the one without" if unshifted >= 0.5 else "neither"
course.reveal(
    "08.shift",
    verdict,
    f"Of 100 references: without a shift {apart['short']:.0f}, with it {apart['after']:.0f}, full attention "
    f"{apart['full']:.0f}.",
)

# %% [markdown]
# ## Reveal: the shift

# %% after="08.shift"
plots.show_references({name: arm["references"] for name, arm in three.items()})

# %% after="08.shift"
print("the same three on plain text, and on passkeys:")
for name, arm in three.items():
    rate = arm["passkey_overall"][str(target)]["rate"]
    print(
        f"{plots.outcome.STEP_NAMES[name]:28} {arm['bits_per_byte'][str(target)]:.3f} bits a byte, {rate:4.0%} of keys"
    )
beyond = {name: of_100(arm, ">2G") for name, arm in three.items()}
print(
    f"references beyond two groups: {beyond['after']:.0f} of 100 with the shift, {beyond['full']:.0f} with full attention"
)

# %% [markdown] after="08.shift"
# **The shift carries what was learned across the wall of a group.** In the plain text you would not have seen it: there
# the two ways in groups are alike, and full attention is a little better. Ask for what stands across a wall, and the shift
# decides, as in the probe of [lesson 02a](02a_wall_and_shift.ipynb). How much it decides is partly our choice: half of the
# references in training lay across a wall, where only the shift sees them. The first bars differ for that reason too: in
# training a number less than a group away may still stand behind a wall. The passkeys tell the three apart no better than
# the text does: there were few of them, and the stretched model finds them anyway.
#
# And it has a limit. **Beyond two groups, full attention finds far more.** In training under groups no token sees a
# reference that far back, and four layers are too few to carry a word over all walls ([lesson 02b](02b_reach.ipynb)). Which
# of the two it is, no run here tells: depth was not varied.
#
# So the sentence for the file: *stretched positions repaired the reading, training taught the finding, the shift took it
# over the walls, and full attention would have done better where you can pay for it.*

# %% [markdown]
# ## Build: the same bytes
#
# ### Exercise 8.1 · Given more and more
#
# Write the measure of our first witness. `nats_of(ids)` is a model: for windows `ids` (w, m) it gives the loss in nats of
# every byte that has one before it, so (w, m - 1). Of each window measure the last `tail` bytes, given a context of
# `length` bytes that ends where the window ends, these bytes included. Return the mean in bits.


# %% exercise="last_bits" difficulty=2 importance=5 minutes=8 points=2
def last_bits(nats_of, windows, length, tail):
    """Bits per byte of the last `tail` bytes of each window, with `length` bytes in front of the model.

    windows: uint8 (w, n), n >= length > tail.
    """
    ### BEGIN SOLUTION
    context = windows[:, -length:]
    nats = nats_of(context)[:, -tail:]
    return nats.mean() / np.log(2)
    ### END SOLUTION


# %% check="last_bits"
check.last_bits(last_bits)

# %% [markdown] hints="last_bits"
# The same bytes must be measured at every `length`. At which end do you shorten the windows?
#
# ---
# `windows[:, -length:]` ends where the window ends. The last `tail` of its losses are those of the last `tail` bytes.
#
# ---
# One nat is `1 / np.log(2)` bits. Take the mean over windows and bytes at once.

# %% [markdown]
# The library's `score_text` does the same with a model. Here on the untrained one, on few windows of its own: compare the two
# numbers with each other, and not with the demo's.

# %%
quick = evaluate.score_text(untrained, text.held_out, [256, far], windows=profile.choose(laptop=12, binder=6, ci=3))
print(", ".join(f"{bits:.2f} bits at {length:,}" for length, bits in quick.by_length.items()))

# %% [markdown]
# ## Build: more than luck
#
# ### Exercise 8.2 · The difference and its error
#
# Two models were measured on the same windows. Return the mean of `mine - other`, and the standard error of that mean,
# from the differences window by window.


# %% exercise="paired" difficulty=2 importance=4 minutes=8 points=2
def paired(mine, other):
    """Mean of `mine - other` and its standard error; both are float arrays (n,) over the same windows."""
    ### BEGIN SOLUTION
    differences = mine - other
    return differences.mean(), differences.std(ddof=1) / np.sqrt(len(differences))
    ### END SOLUTION


# %% check="paired"
check.paired(paired)

# %% [markdown] hints="paired"
# Take the differences first; everything else is about them alone.
#
# ---
# The standard error of a mean of n numbers is their standard deviation divided by the square root of n.
#
# ---
# The mean is estimated from the same numbers, hence `std(ddof=1)`.

# %% [markdown]
# What pairing buys: the same two models, as if they had been measured on different windows.

# %%
by_arm = record["arms"]
mine, other = (np.array(by_arm[name]["bits_per_byte_by_window"]) for name in ("full", "s2"))
mean, error = arms.paired_difference(mine, other)
apart = np.sqrt((mine.var(ddof=1) + other.var(ddof=1)) / len(mine))
print(f"full − S²: {mean:+.4f}; standard error {error:.4f} in pairs, {apart:.4f} apart")

# %% [markdown]
# ## Break it
#
# One forgotten line: somebody measures a model in training mode, where it is sparse. Nothing fails, no warning appears, and
# the test reports a key as lost that the model could find. The model is the one from above, stretched and not trained. The
# key stands at a quarter of the window.

# %%
rng = np.random.default_rng(0)
hidden = torch.from_numpy(
    np.stack(
        [passkey.hide_passkey(window, 0.25, rng) for window in corpus.Windows(text.held_out, far).draw(rng, 2 * trials)]
    )
)


def keys_found(model):
    with torch.no_grad():
        guesses = model(hidden[:, :-1])[:, -passkey.DIGITS :].argmax(dim=-1)
    return int((guesses == hidden[:, -passkey.DIGITS :]).all(dim=1).sum())


print(f"model.eval():  {keys_found(untrained.eval())} of {len(hidden)} keys")
print(f"model.train(): {keys_found(untrained.train())} of {len(hidden)} keys")
_ = untrained.eval()

# %% [markdown]
# **Your turn**: put the key at the end, depth 1.0, in the cell above: replace the 0.25. Now both modes agree, and nobody would notice the mistake.
# `score_text` and `score_passkeys` set the mode themselves and give it back, for this reason.

# %% [markdown]
# ## Play: question the suspect yourself · more
#
# The demo's own model, alive in your browser. *Task*: hide a reference more than one group back, and ask for it *before*,
# *stretched* and *after*. Which of the three finds it? Then put it more than two groups back.

# %%
course.living_model(variant="stretched")

# %% [markdown]
# ## Play: where does it hurt? · more
#
# The panel shows a recorded loss by position for one way of training at a time, from the study that goes from 256 to
# 2,048 bytes. *As in training* uses the pattern that the model trained with, *dense* is how it is meant to be used. Dotted
# lines are the walls of plain groups.
#
# *Task*: choose *as in training* and find the walls in the curve of *short*. How many bumps has S²? Where do the
# additional ones stand, and why are all of them lower?


# %%
def by_position(arm, attention):
    return arms.show_positions(record, [arm], attention)


Panel(
    by_position,
    {
        "arm": Dropdown(
            options=[(arms.NAMES[name], name) for name in arms.TRAINED], value="s2", description="Trained with"
        ),
        "attention": ToggleButtons(options=list(arms.MODES), value=arms.MODES[0], description="Attention"),
    },
).show()

# %%
print(course.recorded_line("training_attention"))

# %% [markdown]
# The answer to the task: just after a wall a token sees almost nothing of what stands before it. On *short* that happens
# on all heads at once. S² has twice as many walls, but at each of them only half of the heads are blind, and the others
# see across.

# %% [markdown]
# ## Reveal: seeds, factors, steps · more
#
# The story above is one run of each way of training. What stays of it over three seeds, at four, eight and sixteen times the
# context? The studies were planned before they were run. Two results to take along, both for models used with full
# attention; plus means more bits a byte, so worse.

# %%
study = course.recorded("studies")["studies"]["attention"]
said = {claim["statement"]: claim for part in reversed(study["parts"]) for claim in part.get("claims", ())}
for what, statement in (
    (
        "trained under S² against trained with full attention",
        "S² stays within 1 % of full attention (dense bits/byte at the target).",
    ),
    (
        "S² after four times the steps against S² after the usual ones",
        "With dense attention, as it is used, it is better too.",
    ),
):
    gap = said[statement]["because"].partition(";")[0].removeprefix("S² against full ")
    print(f"{what}: {gap}")

# %% [markdown]
# On plain text S² and *short* are alike, and both stay behind full attention. With four times the steps of LoRA S² goes on getting
# better under its own pattern, and used with full attention it gets worse. A last quarter of full attention mends most of it
# and with some seeds loses passkeys. A quarter of the learning rate loses no passkeys but repairs little. [Lesson 11](11_where_the_idea_went.ipynb) has the name that
# this problem was given later.

# %%
course.show_study("attention")
course.show_study("lengths")
course.show_study("passkeys")

# %% [markdown]
# ### What the paper has · more
#
# The paper's perplexities for a model of seven billion weights are quoted by its reviewers, for three target lengths. A
# perplexity is a power of the loss, so their logarithms compare with our bits.

# %%
PAPER = {"full": (8.02, 8.05, 8.04), "s2": (8.04, 8.03, 8.08)}  # PG19 validation at 8,192, 16,384 and 32,768 tokens
theirs = np.log2(PAPER["s2"]) - np.log2(PAPER["full"])
ours = by_arm["s2"]["bits_per_byte"][str(far)] - by_arm["full"]["bits_per_byte"][str(far)]
print("S² − full, bits per token, the paper: ", ", ".join(f"{gap:+.4f}" for gap in theirs))
print(f"S² − full, bits per byte, this record: {ours:+.4f}")

# %% [markdown]
# - **Agrees**: a model trained sparse can be used dense, up to the target length.
# - **Does not agree**: the paper finds S² as good as full attention. Here full attention is ahead. Up to the length of a
#   group all ways are alike; beyond it the sparse ones fall behind.
#
# ### And the leak? · more
#
# The recipe was also run with the published boundary, in which the earliest tokens see the end of the window. A model
# that made use of that would have a lower loss as trained than it has in use, at the start of the window.

# %%
edge = by_arm["s2"]["pattern"]["shift"] // by_arm["s2"]["positions_in_each_mean"]


def start(name, trained):
    curve = (by_arm[name]["as_trained"] if trained else by_arm[name])["bits_per_byte_by_position"]
    return f"{np.mean(curve[:edge]):.3f}"


course.show_table(
    ["boundary", "first half group, as trained", "first half group, dense", f"bits at {far:,}, dense"],
    [
        [label, start(name, True), start(name, False), f"{by_arm[name]['bits_per_byte'][str(far)]:.3f}"]
        for name, label in (("s2", "split: no leak"), ("wrap", "wrap: as published"))
    ],
    caption="Bits per byte where the leak is, and in use",
)
mean, error = arms.paired_difference(*(by_arm[name]["bits_per_byte_by_window"] for name in ("wrap", "s2")))
print(f"in use, wrap − split: {mean:+.4f} ± {1.96 * error:.4f} bits per byte over the same windows, one seed")

# %% [markdown]
# It is not lower: in these few steps the model has not learned to look ahead. In use wrapped ends cost a little here, with
# one seed; over three seeds our study 6 cannot tell whether they cost as much as a hundredth. The
# authors say that the leak does little harm in a short fine-tuning: nothing here speaks against it. Of a long one it says
# nothing.
#
# ### What people say · more
#
# {{claim: needed-only-in-training}}

# %% claim="needed-only-in-training"
ids = torch.from_numpy(corpus.Windows(text.held_out, 512).draw(np.random.default_rng(0), 1))
with torch.no_grad():
    with_pattern = untrained.eval()(ids)
    for attention in untrained.attention_layers:
        attention.sparse = None
    without = untrained(ids)
    for attention in untrained.attention_layers:
        attention.sparse = longlora.LongLoRAConfig(far).pattern
assert torch.equal(with_pattern, without)
print("in evaluation, with and without its sparse pattern: equal bit for bit")

# %% [markdown]
# {{claim: perplexity-shows-use}}

# %% claim="perplexity-shows-use"
for rule in course.recorded("position_rules")["rows"]:
    if rule["ratio_to_base"] < 1.15:
        how = f"{rule['rope']} × {rule['factor']}, {rule['train']}"
        print(
            f"{how}: {rule['ratio_to_base']:.3f} of the base model's bits, {rule['passkey']['rate']:.0%} of keys found"
        )

# %% [markdown]
# ## Recap
#
# - **Stretched positions** repair the text and find passkeys. A test that the untrained model passes says nothing about
#   training.
# - **Training** teaches the model to find what is asked for by name; **the shift** carries that across a wall; **full
#   attention** carries it further.
# - A difference needs its error, and a result needs its control. What a small model cannot show is not thereby disproved.
#
# ## Quiz

# %%
course.quiz(
    "08.quiz",
    course.Question(
        "The untrained model finds nearly all passkeys. What does the passkey test say about the trained ones?",
        right=(
            "That training under S² has not broken retrieval",
            "A test on which the control does well cannot tell the others apart.",
        ),
        wrong=[
            (
                "That training under S² teaches the model to retrieve",
                "The skill was there before the first step, and under the pattern of training it could not even be practised.",
            ),
            (
                "That the test is broken and should be dropped",
                "It is fine: it fails for the base model without stretched positions. It asks less than we had hoped.",
            ),
        ],
    ),
    course.Question(
        "Windows are shortened at their end, and bits per byte fall from a short context to a long one. Is context used?",
        right=(
            "Cannot be told: other bytes are measured each time",
            "The text itself may be easier. Shorten the windows at their start and keep the last bytes the same.",
        ),
        wrong=[
            (
                "Yes: with more before them the bytes cost less",
                "It would be, if the measured bytes were the same at each length.",
            ),
            (
                "No: it must be the rule for positions that got better",
                "The position rule may play a part, but first of all two different texts are compared.",
            ),
        ],
    ),
    course.Question(
        "On plain text S² and groups without a shift come out equal. What may you conclude about the shift?",
        right=(
            "On this text it adds nothing that shows",
            "That is all. The named references need it, and there it decides. Why this text does not is open: from a base "
            "that uses far context more, the shift added nothing either (study 1).",
        ),
        wrong=[
            (
                "It is useless, and could be left out",
                "One text cannot show that: on the named references the shift decides.",
            ),
            (
                "It needs more layers than groups to work at all",
                "One layer already connects neighbouring groups; more layers carry further.",
            ),
        ],
    ),
)

# %% [markdown]
# ## Discuss
#
# Design the run that would decide whether the shift matters for language. Which model, which text, which test, how many
# seeds? What result would convince somebody who believes the opposite of what you believe?

# %% [markdown] instructor=true
# **Predicted wrong answers.** *Untrained*: nearly everybody says close to zero. Ask where the skill would have come from,
# and where it did come from. *Training*: 50, from caution. *Shift*: "about the same" is what the plain text says, and
# what everybody who read the paper's table will choose; praise that, and ask which task would disagree.
#
# **For the board**: three suspects, and under each the one measurement that only it explains.
