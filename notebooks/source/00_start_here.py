# ---
# jupyter:
#   longlora_edu:
#     title: Start here
#     minutes: 10
# ---

# %% [markdown]
# **You will be able to**
#
# - say in one line where this notebook runs and what that machine can do;
# - use the course: commit a prediction, play, run a check, open a hint, see where you stand;
# - choose which lesson is next for you.
#
# **You need first**: to read a Python function. What the other lessons ask for is in the quiz at the end.
#
# **Where it runs**: anywhere. Run the cells from top to bottom with Shift and Enter, beginning with the one above,
# which looks at your machine.

# %%
from longlora_edu import course, plots
from longlora_edu.course.checks import l00_start as check
from longlora_edu.geometry import S2Geometry

sizes = {
    "binder": "One core and little memory: lessons use small sizes; lesson 07 trains a little and replays the rest.",
    "laptop": "A few cores: every lesson runs whole, and lesson 07 trains a model in minutes.",
    "gpu": "A GPU: every lesson runs whole, and what is measured is measured on the GPU.",
    "ci": "The smallest sizes that still show the point.",
}
print(sizes[profile.name])
for package, what in {"anywidget": "the explorer", "transformers": "lesson 09", "peft": "lesson 09"}.items():
    print(f"{package} for {what}: {'installed' if importlib.util.find_spec(package) else 'not installed'}")

# %% [markdown]
# ## Why
#
# A language model that was trained on short texts falls apart on longer ones. LongLoRA repairs that with little
# training, and this course builds it line by line, on your machine, and checks each line. Here is where it ends: a
# small model before and after. Lower is better.
#
# {{beginners: Context length}}

# %%
demo = course.recorded("demo")
steps = {when: demo[when]["bits_per_byte"] for when in ("before", "stretched", "after")}
print(course.recorded_line("demo"))
plots.show_bits_by_length(**steps, trained_context=demo["model"]["trained_context"])

# %% [markdown]
# Most of the repair comes from stretched positions, before anything is trained. What training adds is another thing: to
# find what stands far back and is asked for by name. Lesson 08 measures both.

# %% [markdown]
# ## Predict: how far is a token heard?
#
# The idea in two sentences. While it trains, each token looks only at its own *group*, which is cheap; on half of the
# heads all groups begin half a group later, so that neighbours overlap. One layer carries a word as far as its group,
# the next layer carries it on.
#
# {{beginners: Shifted sparse attention}}
#
# Take 12 tokens in groups of 4, with a shift of 2. A wrong guess is worth more than none: you will remember it.

# %%
course.predict(
    "00.layers", "After how many layers does the last of 12 tokens hear the first?", ["1", "3", "5", "never"]
)

# %% [markdown]
# ## Play: the explorer
#
# **One task.** Raise *layers*, by mouse or with the arrow keys, until the lower left corner of the right-hand picture
# is filled. That corner is the last token hearing the first. (Without a kernel: open `docs/explorer.html` in a
# browser, it is the same explorer.)

# %%
from longlora_edu.widgets.explorer import explorer

explorer(n=12, g=4, heads=2, layers=1)

# %% [markdown]
# ## Reveal
#
# Nothing in this course is claimed that a cell does not compute. `S2Geometry` is the one place of the library that
# knows about groups; it can say who hears whom.

# %%
geometry = S2Geometry(seq_len=12, group_size=4, num_heads=2)
layers = next(count for count in range(1, 20) if geometry.reach(count)[-1, 0])
course.reveal(
    "00.layers", str(layers), f"Each layer carries a word half a group further: {layers} layers for three groups."
)
plots.show_reach(geometry, layers)

# %% [markdown]
# ## Build: your first exercise
#
# An exercise is a cell to complete, with at most ten lines, and a *check* below it. The check does not only say wrong:
# it says which mistake it saw. Below it are three hints, one inside the other, and the solution innermost. All of it
# is noted in the file `progress.json` beside this notebook; nothing leaves your machine.
#
# ### Exercise 0.1 · How many groups?
#
# A sequence of `seq_len` tokens is cut into groups of `group_size`; if it does not come out even, the last group is
# shorter. How many groups are there? Replace the line with `raise`. To see a check at work, try
# `return seq_len // group_size` first.


# %% exercise="number_of_groups" difficulty=1 importance=2 minutes=2 points=1
def number_of_groups(seq_len, group_size):
    """How many groups there are, a short last one counted."""
    ### BEGIN SOLUTION
    return -(-seq_len // group_size)
    ### END SOLUTION


# %% check="number_of_groups"
check.number_of_groups(number_of_groups)

# %% [markdown] hints="number_of_groups"
# 16 tokens in groups of 4 are four groups. And 17 tokens?
#
# ---
#
# Divide, and round up. Integers do that without an import: `//` rounds down, also for negative numbers.
#
# ---
#
# `-(-a // b)` rounds up. `math.ceil(a / b)` is fine as well.

# %% [markdown] instructor=true
# *Expect*: the floor division, on purpose or not. Let one person show the message of the check. This is the moment to
# say that skipping is allowed: no later cell uses a learner's function.

# %% [markdown]
# ## Break it
#
# Breaking things is part of each lesson. The library refuses what makes no sense in a sentence that names the rule and
# the value; read it before you search the web.

# %%
for attempt in ({"group_size": 0}, {"group_size": 4, "shift": 4}, {"group_size": 5, "boundary": "wrap"}):
    try:
        S2Geometry(seq_len=12, num_heads=2, **attempt)
    except ValueError as refused:
        print(f"{attempt}: {refused}")

# %% [markdown]
# And some faults are not refused, because they were published: let the sequence wrap around its ends, as the paper's
# pseudo-code does, and early tokens look at late ones. A model that learns to guess the next word must not do that.

# %%
for boundary in ("split", "wrap"):
    geometry = S2Geometry(12, 4, 2, boundary=boundary)
    print(f"boundary={boundary!r}: {geometry.pairs()} looks, {geometry.future_pairs()} of them into the future")

# %% [markdown]
# ## Recap: where to go
#
# - *Predict*, *Play*, *Reveal* make you curious, *Build* makes it yours, *Break it* shows how it fails, *Quiz* checks.
# - Every number comes from a cell you can run or from a record that names its machine and command.
# - Lessons 02, 03 and 04 are the heart of the course; 07 and 08 are the reward.
#
# | | lesson | the question it answers | minutes | read before |
# |---|---|---|---|---|
# | 01 | [Why long context is expensive](01_why_long_context_is_expensive.ipynb) | where do the FLOPs and bytes go | 45 | 00 |
# | 02 | [Groups, the shift and the boundary](02_groups_shift_boundary.ipynb) | who sees whom, and where does the future leak | 75 | 00 |
# | 03 | [The reference, and its gradient](03_reference.ipynb) | how to write it in NumPy, forward and backward | 70 | 02 |
# | 04 | [From meaning to speed](04_meaning_to_speed.ipynb) | the same function fast, proven equal | 65 | 03 |
# | 05 | [Stretching positions](05_stretching_positions.ipynb) | what each rule for positions does to near and far | 60 | 02 |
# | 06 | [LoRA, and what LongLoRA trains besides](06_lora_and_what_longlora_trains.ipynb) | what trains, and what it costs | 75 | 01 |
# | 07 | [Extend a small model](07_extend_a_small_model.ipynb) | the algorithm in six steps, on your machine | 45 | 02 |
# | 08 | [Did it work?](08_did_it_work.ipynb) | how to know whether a longer context is used | 45 | 07 |
# | 09 | [A real model](09_real_model.ipynb) | the recipe inside transformers and peft | 60 | 07 |
# | 10 | [The bug gallery, and the critics](10_bug_gallery_and_critics.ipynb) | how it goes wrong, and what later studies found | 60 | 02 |
#
# In a hurry: 00, 02, 07, 08. For a pull request to your own framework: 02, 03, 04, 09, 10. To teach it:
# [INSTRUCTOR.md](../INSTRUCTOR.md) has routes of 20, 50 and 90 minutes. Every term is in the [glossary](glossary.md).
#
# ## Quiz: are you ready?
#
# Three questions about what the lessons build on. Each choice has an answer of its own.

# %%
course.quiz(
    "00.quiz",
    course.Question(
        "q holds 8 queries of 4 features, k 8 keys of 4 features. What is the shape of q @ k.T?",
        right=("8 by 8", "One score for each query and key. These tables are what most pictures here show."),
        wrong=[
            ("8 by 4", "That is the shape of q. The features are summed away: what is left is query by key."),
            ("4 by 4", "That would be q.T @ k, features by features. Look up matrix products before lesson 03."),
        ],
    ),
    course.Question(
        "A query has equal scores with 4 keys, no others. How much weight does softmax give each?",
        right=("a quarter", "Weights are positive and add up to 1: equal scores share equally."),
        wrong=[
            ("1, as they are all equal", "Then they would add up to 4. Softmax divides by the sum."),
            (
                "it depends on how large the scores are",
                "Only differences between scores matter, and here there are none.",
            ),
        ],
    ),
    course.Question(
        "Under a causal mask, which tokens may token 3 look at? The first token is number 0.",
        right=("0, 1, 2 and 3", "Itself and everything before it. Drawn as a table this is a lower triangle."),
        wrong=[
            ("0, 1 and 2", "Nearly. A token may look at itself: token 0 has nothing else."),
            (
                "all of them",
                "Then it could peek at the word it has to guess.",
            ),
        ],
    ),
)

# %% [markdown]
# Where you stand, from `progress.json`. Run this cell again whenever you like; delete the file to begin anew.

# %%
course.overview()

# %% [markdown]
# ## Discuss
#
# Which text would you like a model to read whole: a contract, a code base, a patient's file, a novel? Estimate its
# length in tokens, at about four characters each. Who else needs such lengths, and who does not?
