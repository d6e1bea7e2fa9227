# ---
# jupyter:
#   longlora_edu:
#     title: Did it work?
#     minutes: 45
# ---

# %% [markdown]
# **You will be able to**
#
# - measure a longer context so that only the context differs: bits per byte by length and by position, passkeys by depth;
# - read a table in which four ways to train compete on one budget, and say which differences are more than luck;
# - tell what a model was trained with from how it is tested;
# - name what the recorded runs show, what they contradict, and what they cannot tell.
#
# **You need first**: the six steps of [lesson 07](07_extend_a_small_model.ipynb). You do not need its model: this
# lesson reads records, and measures one model anew.
#
# **Where it runs**: on any machine, in seconds. Nothing is trained here.

# %%
import numpy as np
import torch
from ipywidgets import Dropdown, ToggleButtons

from longlora_edu import course, longlora, plots
from longlora_edu.course.checks import l08_measuring as check
from longlora_edu.demo import ladder
from longlora_edu.model import bundled_model
from longlora_edu.plots import arms
from longlora_edu.training import corpus, evaluate, passkey
from longlora_edu.widgets.panel import Panel

# %% [markdown]
# ## Why
#
# "It works" can mean that the model no longer breaks, that it finds what stands far back, or that far context makes it
# predict better; each of these has a test of its own. And each of them needs a control: what could the model do before,
# and what did stretched positions bring, without any training? Here is the recorded demo, step by step, on the same bytes.

# %%
demo = course.recorded("demo")
course.show_table(
    ["dense attention, the same last bytes", "bits per byte", "references up to a group", "one to two", "beyond"],
    ladder.ladder_rows(demo),
    caption="The ladder of the demo: who deserves the credit?",
)

# %%
print(demo["sentence"])
print(course.recorded_line("demo"))

# %% [markdown]
# The last three columns are about **named references**: lines `# set kqz=48213` hidden in source code and asked for
# further on as `# get kqz …`, eight in a window, by the distance between the two. Positions alone do not find them. They
# must be learned, and this is where the shift pays.

# %%
steps = {name: demo[name]["references"] for name in ("stretched", "after")}
plots.show_references(steps | {name: arm["references"] for name, arm in demo["arms"].items()})

# %% [markdown]
# {{beginners: Passkey retrieval}}
#
# {{beginners: Held-out text}}
#
# ### Three measures
#
# - **By length**: the *same* last bytes of each held-out window, given more and more of what stands before them. Then
#   only the context differs, and a fall means that context is used.
# - **By position**: the loss at each place of long windows. It shows *where* a model suffers.
# - **Passkeys by depth**: a number is stated somewhere and asked for at the end. It shows whether *one* far thing is
#   found, and says nothing about the rest.
#
# ### Four arms on one budget
#
# A small model of the same shape, trained at 256 bytes, goes to 2,048. The arms differ in one thing, the attention while
# training: none at all (positions stretched by YaRN, no step), *short* (groups without a shift), *S²* (half of the heads
# shifted), and *full*. Steps, data, learning rate, seed and trainable weights are the same. All are then used with dense
# attention.
#
# {{beginners: Ablation}}

# %% [markdown]
# ## Predict

# %%
course.predict(
    "08.order",
    "Short, S² or full attention while training, dense attention afterwards. Whose bits per byte at the target "
    "length are lowest?",
    choices=[
        "full, then S², then short, each clearly apart",
        "full and S² alike, short clearly behind",
        "full ahead, S² and short alike",
        "all three alike",
    ],
)

# %%
course.predict(
    "08.untrained",
    "Positions stretched by YaRN, not a single step of training. How many of the passkeys at the target length are "
    "found?",
    unit="per cent",
)

# %% [markdown]
# ## Play: where does it hurt?
#
# The panel shows the recorded loss by position for one arm at a time. *As in training* uses the very pattern the arm was
# trained with, *dense* is how the model is meant to be used. Dotted lines are the borders of plain groups.
#
# *Task*: choose *as in training* and find the borders in the curve of *short*. How many bumps has S²? Where do the
# additional ones stand, and why are all of them lower?

# %%
record = course.recorded("training_attention")


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
# The answer to the task: just after a border a token sees almost nothing of what stands before it. On *short* that
# happens on all heads at once. S² has twice as many borders, but at each of them only half of the heads are blind, and the
# others see across.
#
# ### One arm, here and now
#
# The arm without training needs no patience: stretch the positions of the model that was trained at 256 bytes, and
# measure.

# %%
target = record["target_context"]
text = corpus.standard_library()
untrained = bundled_model(256)
longlora.apply_longlora(
    untrained, longlora.LongLoRAConfig(target)
)  # not a step is taken: the weights are those of the base model
trials = profile.choose(laptop=4, binder=2, ci=1)
found = evaluate.score_passkeys(untrained, text.held_out, [target], trials=trials).at(target)
low, high = found.interval
print(f"passkeys at {target:,}: {found.successes} of {found.trials}, so between {low:.0%} and {high:.0%} of all")

# %% [markdown]
# ## Reveal
#
# {{beginners: Confidence interval}}

# %%
by_arm = record["arms"]
key_rates = {name: arm["passkey"][str(target)]["rate"] for name, arm in by_arm.items()}
course.reveal(
    "08.untrained",
    100 * key_rates["yarn"],
    f"Recorded over {by_arm['yarn']['passkey'][str(target)]['trials']} trials; you have just measured {found.successes} of "
    f"{found.trials}. A base that has met passkeys in its "
    f"pretraining knows how to copy a key, and YaRN alone carries that skill to eight times the length. So "
    f"in this model a passkey at the target length does not show that training worked: it shows that training has not "
    f"broken it.",
    unit="per cent",
)

# %% [markdown]
# That deserves a pause. A test on which the untrained arm does well cannot rank the trained ones. What did the training
# do then? It brought the bits per byte down.

# %%
arms.show_arms_by_length(record)

# %%
at_target = {name: arm["bits_per_byte"][str(target)] for name, arm in by_arm.items()}
course.reveal(
    "08.order",
    "full ahead, S² and short alike",
    f"Bits per byte at {target:,}: full {at_target['full']:.3f}, S² {at_target['s2']:.3f}, short {at_target['short']:.3f}; "
    f"without any training {at_target['yarn']:.3f}.",
)

# %% [markdown]
# ### The table
#
# Speed is that of one window forward and backward, measured by turns, so that whatever else the machine did slowed all of
# them alike.

# %%
lengths = [int(length) for length in by_arm["s2"]["bits_per_byte"]]


def row(name):
    arm, speed = by_arm[name], record["speed"].get(name)
    bits = [f"{arm['bits_per_byte'][str(length)]:.3f}" for length in lengths]
    as_trained = f"{arm['as_trained']['bits_per_byte_all_positions']:.3f}" if "as_trained" in arm else "–"
    pace = f"{speed['tokens_per_second']:,.0f}" if speed else "–"
    return [arms.NAMES[name], arm["steps"], *bits, plots.percent(key_rates[name], 1), as_trained, pace]


course.show_table(
    [
        "attention in training",
        "steps",
        *(f"bits at {length:,}" for length in lengths),
        "passkeys",
        "as trained",
        "bytes a second",
    ],
    [row(name) for name in arms.NAMES],
    caption=f"One budget, {target:,} bytes, dense attention; 'as trained' is the loss under the pattern of training, all positions",
)

# %% [markdown]
# ### As trained, and as used
#
# Trained sparse and used dense: the two pictures below put both attentions side by side, first by position, then for the
# passkeys.

# %%
arms.show_arms_by_position(record)

# %%
arms.show_arms_passkeys(record)

# %% [markdown]
# Under the pattern of training neither short nor S² finds a key outside the last group, and in training the loss on such
# keys stayed where guessing puts it ([lesson 07](07_extend_a_small_model.ipynb), exercise 7.2). Dense, the same weights
# find them.
#
# ### Is the difference real?
#
# The arms were measured on the same windows, so their differences can be taken window by window: most of the spread
# between windows is common to both and cancels. And three seeds show how far a run itself varies.

# %%
arms.show_differences(record)

# %%
for other in ("short", "full"):
    windows = [by_arm[name]["bits_per_byte_by_window"] for name in (other, "s2")]
    mean, error = arms.paired_difference(*windows)
    seeds = arms.seed_differences(record, other, "s2")
    verdict = "cannot be told from none" if abs(mean) < 2 * error else "is more than chance"
    print(
        f"{other} − S²: {mean:+.4f} ± {error:.4f} bits per byte over {len(windows[0])} windows, seeds {min(seeds):+.4f} to {max(seeds):+.4f}: {verdict}"
    )

# %% [markdown]
# ### What agrees with the paper, what does not, what cannot be told
#
# The paper's perplexities for a model of seven billion weights are quoted by its reviewers, for three target lengths. A
# perplexity is a power of the loss, so their logarithms compare with our bits.

# %%
PAPER = {"full": (8.02, 8.05, 8.04), "s2": (8.04, 8.03, 8.08)}  # PG19 validation at 8,192, 16,384 and 32,768 tokens
theirs = np.log2(PAPER["s2"]) - np.log2(PAPER["full"])
ours = at_target["s2"] - at_target["full"]
print("S² − full, bits per token, the paper: ", ", ".join(f"{gap:+.4f}" for gap in theirs))
print(f"S² − full, bits per byte, this record: {ours:+.4f}")

# %% [markdown]
# - **Agrees**: a model trained sparse can be used dense, right up to the target length, and loses nothing of what it
#   could do at the trained one that full attention would not lose as well. Stretching alone is not enough; a little training
#   is most of what is needed.
# - **Does not agree**: the paper finds S² as good as full attention. Here full attention is ahead, and the picture by length
#   says where: up to the length of a group all arms are alike. Beyond it full attention goes on improving, the sparse ones
#   fall behind, and on the last stretch they get worse again. Too few steps are not the reason: in the study below, four
#   times as many make full attention better at the target and the sparse arms worse. Nor are the adapters: with all weights
#   trained, S² is as far behind.
# - **Equal on text**: the study below finds short attention and S² alike at eight times the length; at four times its documents
#   cannot tell. That does not make the shift useless: little of what stands far back helps to guess the next byte of source code.
#   The named references above are a task that it decides, and so is the probe of
#   [lesson 02](02_groups_shift_boundary.ipynb).
#
# Most of that is one run an arm. What stays of it over three seeds, at four and sixteen times the context, and on a task that
# no attention without a shift can solve, is for the studies to say. They were planned before they were run, but for what
# is said there to be added:

# %%
course.show_study("attention")

# %% [markdown]
# Two tables are to be remembered. One is that of *four times the steps*. More steps under S² go on lowering the loss that training watches, and from some
# distance on they spoil the model as it is used. The same happens on windows no longer than a group, and not where
# positions leap: by that, one seed, it is the distances which training never shows that are spoilt
# ([lesson 10](10_bug_gallery_and_critics.ipynb) has the table). A last quarter of full attention mends most of it, and
# with some seeds it loses passkeys on the way: their training loss jumps where the learning rate of that last stage is at
# its top. At a quarter of the rate none are lost, and little is mended.
#
# The other is that of *a base that uses far context*. The text, the target, the groups and the number of steps are those of
# the first table; what differs is the base, which was trained further, at 1,024 bytes and with full attention. The gap to
# full attention is smaller from there, but there the text is extended twice and here eight times. At the same factor the
# two bases cannot be told apart. As many further steps at 256 bytes are a planned control.
#
# The same by length, past the target as well; how much the change from sparse to dense costs at each position; and when
# passkeys are found:

# %%
course.show_study("lengths")
course.show_study("passkeys")

# %% [markdown]
# ### And the leak?
#
# The recipe was also run with the published boundary, in which the earliest tokens see the end of the window. If the
# model learned to make use of that, its loss as trained would be lower than what it can do in use, at the start of the window.

# %%
edge = by_arm["s2"]["pattern"]["shift"] // by_arm["s2"]["positions_in_each_mean"]


def start(name, trained):
    curve = (by_arm[name]["as_trained"] if trained else by_arm[name])["bits_per_byte_by_position"]
    return f"{np.mean(curve[:edge]):.3f}"


course.show_table(
    ["boundary", "first half group, as trained", "first half group, dense", f"bits at {target:,}, dense"],
    [
        [label, start(name, True), start(name, False), f"{at_target[name]:.3f}"]
        for name, label in (("s2", "split: no leak"), ("wrap", "wrap: as published"))
    ],
    caption="Bits per byte where the leak is, and in use",
)
mean, error = arms.paired_difference(*(by_arm[name]["bits_per_byte_by_window"] for name in ("wrap", "s2")))
print(f"in use, wrap − split: {mean:+.4f} ± {error:.4f} bits per byte over the same windows, one seed")

# %% [markdown]
# It is not lower, so the model has not learned to look ahead in these few steps; the angles of such distances backwards
# would have been new to it as well. In use the leaky run is no better, at most a trace worse. The authors' answer, that the
# leak does little harm in a short fine-tuning, holds here. It says nothing about a long one.

# %% [markdown]
# ## Reveal: what is said
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
        attention.sparse = longlora.LongLoRAConfig(target).pattern
assert torch.equal(with_pattern, without)
print("in evaluation, with and without its sparse pattern: equal bit for bit")

# %% [markdown]
# {{claim: eight-times-longer}}

# %% claim="eight-times-longer"
for when in ("before", "stretched", "after"):
    bits, keys = (demo[when][what] for what in ("bits_per_byte", "passkey"))
    print(
        f"{when}: {bits['512']:.3f} bits at 512, {bits[str(target)]:.3f} at {target:,}; passkeys {keys[str(target)]:.0%}"
    )

# %% [markdown]
# {{claim: worse-at-extreme-lengths}}

# %% claim="worse-at-extreme-lengths"
for name, bits in (
    ("the bundled model as it is", demo["before"]["bits_per_byte"]),
    *((arms.NAMES[n], by_arm[n]["bits_per_byte"]) for n in arms.TRAINED),
):
    print(f"{name}: " + ", ".join(f"{value:.3f} at {int(length):,}" for length, value in bits.items()))

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
# {{claim: needs-question-answer-pairs}}

# %% claim="needs-question-answer-pairs"
print(
    f"the demo was trained on: {demo['corpus']['source']}, {demo['corpus']['train_documents']} documents of plain text"
)
print(
    f"windows with a passkey: {demo['recipe']['passkey_share']:.0%}, with named references: "
    f"{demo['recipe']['reference_share']:.0%}; digits weigh {demo['recipe']['reference_weight']:g} times"
)

# %% [markdown]
# ## Build: the same bytes
#
# ### Exercise 8.1 · Given more and more
#
# Write the measure *by length*. `nats_of(ids)` is a model: for windows `ids` (w, m) it gives the loss in nats of every byte
# that has one before it, so (w, m - 1). Of each window measure the last `tail` bytes, given a context of `length` bytes that
# ends where the window ends, these bytes included. Return the mean in bits.


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
# Whatever `length` is, the same bytes must be measured. At which end do you shorten the windows?
#
# ---
# `windows[:, -length:]` ends where the window ends. The last `tail` of its losses are those of the last `tail` bytes.
#
# ---
# One nat is `1 / np.log(2)` bits. Take the mean over windows and bytes at once.

# %% [markdown]
# The library's `score_text` does the same with a model. It is run here on the untrained arm, on few windows.

# %%
quick = evaluate.score_text(untrained, text.held_out, [256, target], windows=profile.choose(laptop=12, binder=6, ci=3))
print(", ".join(f"{bits:.2f} bits at {length:,}" for length, bits in quick.by_length.items()))

# %% [markdown]
# ## Build: more than luck
#
# ### Exercise 8.2 · The difference and its error
#
# Two arms were measured on the same windows. Return the mean of `mine - other`, and the standard error of that mean, from the
# differences window by window.


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
# What pairing buys: the same two arms, as if they had been measured on different windows.

# %%
mine, other = (np.array(by_arm[name]["bits_per_byte_by_window"]) for name in ("full", "s2"))
mean, error = arms.paired_difference(mine, other)
apart = np.sqrt((mine.var(ddof=1) + other.var(ddof=1)) / len(mine))
print(f"full − S²: {mean:+.4f}; standard error {error:.4f} in pairs, {apart:.4f} apart")

# %% [markdown]
# ## Break it
#
# One forgotten line: the model is measured in the mode it was trained in. Nothing fails, no warning appears, and a key
# that the model could find is reported as lost. The key stands at a quarter of the window here.

# %%
rng = np.random.default_rng(0)
keys = torch.from_numpy(
    np.stack(
        [
            passkey.hide_passkey(window, 0.25, rng)
            for window in corpus.Windows(text.held_out, target).draw(rng, 2 * trials)
        ]
    )
)


def keys_found(model):
    with torch.no_grad():
        guesses = model(keys[:, :-1])[:, -passkey.DIGITS :].argmax(dim=-1)
    return int((guesses == keys[:, -passkey.DIGITS :]).all(dim=1).sum())


print(f"model.eval():  {keys_found(untrained.eval())} of {len(keys)} keys")
print(f"model.train(): {keys_found(untrained.train())} of {len(keys)} keys")
_ = untrained.eval()

# %% [markdown]
# **Your turn**: put the key at depth 1.0 in the cell above. Now both modes agree, and the mistake would go unnoticed.
# `score_text` and `score_passkeys` set the mode themselves and give it back, for this reason.

# %% [markdown]
# ## Recap
#
# - Measure the same bytes with more and more before them, look where it hurts by position, and test retrieval apart: the
#   three answer different questions.
# - On plain text the shift gave no advantage that could be measured, and keys were found without any training at all.
#   On named references, which must be learned, training was needed and the shift paid: that is the test that tells.
# - More training under a sparse pattern need not help dense use: here the pattern's own loss fell and the dense one rose.
# - A difference needs its error, and an arm needs its control. What a small model cannot show is not thereby disproved.

# %% [markdown]
# ## Quiz

# %%
course.quiz(
    "08.quiz",
    course.Question(
        "The untrained arm finds nearly all passkeys. What does the passkey test say about the trained arms?",
        right=(
            "That training has not broken retrieval, no more",
            "A test on which the control does well cannot tell the others apart.",
        ),
        wrong=[
            (
                "That S² training teaches retrieval",
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
            "Cannot be told: other bytes are measured at each length",
            "The text itself may be easier. Shorten the windows at their start and keep the last bytes the same.",
        ),
        wrong=[
            ("Yes, a fall is a fall", "It would be, if the measured bytes were the same at each length."),
            (
                "No, it must be the position rule",
                "The position rule may play a part, but first of all two different texts are compared.",
            ),
        ],
    ),
    course.Question(
        "S² and short attention come out equal in this record. What may you conclude about the shift?",
        right=(
            "On this model and budget it makes no difference that can be resolved",
            "That is all. The probe in lesson 02 shows a task on which it decides everything.",
        ),
        wrong=[
            (
                "The shift is useless",
                "A model that gains little from far context cannot show what connecting groups is worth.",
            ),
            (
                "The shift needs more layers than groups to work at all",
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
# **Predicted wrong answers.** *Order*: "full and S² alike, short behind" is what the paper says, and what everybody who
# read it will choose; praise that, and ask what a replication is for. *Untrained*: nearly everybody says close to zero.
# Ask where the skill would have come from, and where it did come from.
#
# **For the board**: three columns, *shown*, *contradicted*, *cannot tell*; let the class sort the sentences of this lesson.
