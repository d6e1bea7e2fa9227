# ---
# jupyter:
#   longlora_edu:
#     title: Start here
# ---

# %% [markdown]
# Ten minutes. The first five are the idea: a wall, a shift, and a model that writes again. Then: where you are, and
# where to go.
#
# **Run the cells** from top to bottom with Shift and Enter, beginning with the one above. It looks at your machine; you
# need not read it. **You need first**: to read a Python function. **Where it runs**: anywhere.

# %%
from longlora_edu import course
from longlora_edu.course.checks import l00_start as check
from longlora_edu.course.play.retrieval import read_probe, show_probe
from longlora_edu.geometry import S2Geometry
from longlora_edu.widgets import moving
from longlora_edu.widgets.explorer import explorer

# %% [markdown]
# ## Why: who slept?
#
# > *The dog that chased the cat all afternoon was tired, so it …*
#
# … slept. And who slept? You knew at once. To know it, you looked back ten words, from *it* to *dog*.
#
# A language model has to look back too, and it pays for each look: twice the text, four times the looks. A model that
# was trained on short texts falls apart on longer ones, and training it on long ones costs a lot. LongLoRA makes it cheap: it
# cuts the text into groups, and while the model trains, each word looks around in its own group only.
#
# Now there is a wall between *dog* and *it*.
#
# ## Predict: across the wall
#
# One layer of the model lets each word hear its own group. The next layer lets it hear what those words have heard. A
# wrong guess is worth more than none: you will remember it.

# %%
words = course.SENTENCE.split()
it, dog = words.index("it"), words.index("dog")
course.predict(
    "00.wall",
    "Twelve words in groups of four. After how many layers can “it”, the last word, hear “dog”, the second?",
    ["2", "3", "10", "never"],
)
walls = S2Geometry(seq_len=12, group_size=4, num_heads=2, shift=0)
course.reveal(
    "00.wall",
    next((str(layers) for layers in range(1, 101) if walls.reach(layers)[it, dog]), "never"),
    "Layer 2 can only pass on what layer 1 heard, and layer 1 heard nothing from the other side. A hundred layers of "
    "nothing are nothing.",
)

# %% [markdown]
# ## Reveal: the way across
#
# The paper does not count on many layers. It moves the walls, on half of the *heads*. (A head is one of several copies of
# attention that look at the text side by side.)
#
# ## Play: move the wall
#
# **One task.** Move the slider to the right, slowly, or press Play. Watch *chased* and *the*: first there is a wall
# between them, then there is none.

# %%
moving.show_shift(course.SENTENCE, group_size=4)

# %% [markdown]
# On the shifted head the value hops across. In the next layer a plain head carries it on to the end of its group, then a
# shifted head over the next wall, and so on. That is the whole trick, and it costs nothing: shifted heads even look a
# few times less.
#
# ### Does it matter?
#
# A small model with one layer plays a game. A key stands on one side of a wall, a question on the other, and the model
# has to name the key, one of eight. We trained it twice, with the shift and without. Nothing else differs.

# %%
probe = course.recorded("probe")
print(course.recorded_line("probe"))
show_probe([read_probe(probe[name]) for name in ("with", "without")])

# %%
for name in ("with", "without"):
    result = read_probe(probe[name])
    print(f"{name:7} the shift: {result.accuracy.rate:4.0%} right (a guess: {result.chance:.1%})")

# %% [markdown]
# Without the shift the model guesses, and no training helps: nothing arrives. With it the model learns the game.
#
# ### And a model that writes?
#
# The small language model of this package was trained on pieces of source code, a few hundred letters long. Here it gets twice
# as many, and goes on writing. *Before*: as it was. *Stretched*: we only tell it its positions in another way, and train
# nothing. *After*: a few minutes of training in groups with a shift.

# %%
demo = course.recorded("demo")
trained = demo["model"]["trained_context"]
print(course.recorded_line("demo"))
print(f"\nTrained on {trained:,} letters. The text it gets is twice as long and ends like this:\n")
print(demo["writing"]["prompt_end"])
for when in ("before", "stretched", "after"):
    print(f"\n--- {when} ---\n{demo['writing'][when]}")

# %% [markdown]
# Before: letters, but no code. Stretched and after: code again. So what is the training good for? It finds much of what
# stands further back and is asked for by name. [Lesson 08](08_did_it_work.ipynb) tells that story.
#
# **That was the idea.** The rest of this notebook shows you around.
#
# ## Where am I?
#
# The set-up cell has looked at your machine. This is what it means for you:

# %%
sizes = {
    "binder": "One core and little memory: lessons use small sizes; lesson 07 trains a little and replays the rest.",
    "laptop": "A few cores: every lesson runs whole, and lesson 07 trains a model in minutes.",
    "gpu": "A GPU: every lesson runs whole, and what is measured is measured on the GPU.",
    "ci": "The smallest sizes that still show the point.",
}
print(sizes[profile.name])
for package, what in {"anywidget": "pictures that move", "transformers": "lesson 09", "peft": "lesson 09"}.items():
    print(f"{package} for {what}: {'installed' if importlib.util.find_spec(package) else 'not installed'}")

# %% [markdown]
# ## Play: the explorer
#
# Most lessons have it. Rows are words that look, columns words that are looked at. **One task.** Press *Tour*: six
# steps, two minutes. (Without a kernel, `docs/explorer.html` in a browser is the same.)

# %%
course.after("00.wall", explorer, words=course.SENTENCE, g=4, heads=2, layers=1)

# %% [markdown]
# ## Build: your first exercise
#
# An exercise is a cell to complete, with at most ten lines, and a *check* below it. The check does not only say wrong:
# it says which mistake it saw. Below it are three hints, one inside the other, and the solution innermost. The file
# `progress.json` beside this notebook notes all of it; nothing leaves your machine.
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
# One mistake is allowed, because the paper's own pseudo-code makes it: the sequence wraps around its ends, and some
# words look at words that come later. A model that learns to guess the next word must not do that. Which words?
# [Lesson 02c](02c_seam_and_leak.ipynb) asks you. In the code the mistake is called `boundary="wrap"`; the default,
# `"split"`, cuts the text at its ends.

# %%
for boundary in ("split", "wrap"):
    geometry = S2Geometry(12, 4, 2, boundary=boundary)
    print(f"boundary={boundary!r}: {geometry.pairs()} looks, {geometry.future_pairs()} of them into the future")

# %% [markdown]
# ## Recap: where to go
#
# - **The wall**: in groups a word hears its own group only, in a hundred layers too.
# - **The shift**: on half of the heads the groups begin half a group later, and news gets across.
# - **The course**: you predict, play, build, break. Each number comes from a cell you can run, or from a record that
#   names its machine and command.
#
# {{lessons}}
#
# *Core* is what you should not skip; sections marked *more* can wait. Minutes count words, questions and lines to write;
# learners took up to half as long again. Good ways through:
#
# {{routes}}
#
# To teach it: [INSTRUCTOR.md](../INSTRUCTOR.md) has routes of 20, 50 and 90 minutes. The whole method on one page is
# [one_sheet.py](one_sheet.py), and every term is in the [glossary](glossary.md).
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
        right=(
            "a quarter, as there are four of them",
            "Weights are positive and add up to 1: equal scores share equally.",
        ),
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
# ## Where do I stand?
#
# From `progress.json`. Run this cell again whenever you like; delete the file to begin anew.

# %%
course.overview()

# %% [markdown]
# ## Discuss
#
# Which text would you like a model to read whole: a contract, a code base, a patient's file, a novel? Estimate its
# length in tokens, at about four characters each. Who else needs such lengths, and who does not?
