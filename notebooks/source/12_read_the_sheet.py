# ---
# jupyter:
#   longlora_edu:
#     title: Read the sheet
# ---

# %% [markdown]
# **After this lesson you can**
#
# - read LongLoRA as one program, from the weights on disk to the longer model, and say what each part does;
# - point at the lines that are S²-Attn, and at those that are LoRA;
# - remove one line and say what happens to the mask, to training and to the longer model.
#
# **You need first** to know who sees whom in [groups with a shift](02a_wall_and_shift.ipynb) (which keys does
# token 5 see on a shifted head, with groups of 4? 2 to 5), and what `q @ k.T` is.
#
# **Where it runs**: anywhere. The sheet needs NumPy and nothing else. (To run the whole of it: `python
# notebooks/one_sheet.py` in a clone of the repository, some minutes.)

# %%
import re

import numpy as np

from longlora_edu import course, plots
from longlora_edu.course.checks import l12_sheet as check
from longlora_edu.course.play import sheet as sheets

sheet = sheets.load_sheet()

# %% [markdown]
# ## Why
#
# You have seen the parts, each in its own lesson and each with a library behind it. Here is the whole method in one
# file: `one_sheet.py`, beside this notebook. It reads a model, hides lines in text, attends in groups, computes every
# gradient by hand, trains, and reads the longer text. It imports nothing of this library.

# %%
source = sheets.sheet_file().read_text(encoding="utf-8")
for step, lines in sheets.lines_by_step(source).items():
    print(f"{lines:4} lines   {step}")
print(f"{len(sheets.lines_of_code(source)):4} lines of code, {len(source.splitlines())} in all")

# %% [markdown] minutes=5
# Somebody's class notes put the paper into six steps, the second in two parts, and the sheet takes them as its headings. They
# are not the authors'. Five of the seven say something wrong, come too late, or leave out something that must be done. The comments
# below them help. Now open [the file](one_sheet.py) (in JupyterLab a click gives it a tab of its own), read the heading and the
# comments of each step, and come back.

# %%
PAIRS = ["1 and 5", "2a and 4", "2b and 5", "3 and 6"]
course.predict("12.headings", "Which two of the seven headings can stand as they are?", PAIRS)
course.reveal(
    "12.headings",
    "2b and 5",
    "2b is S²-Attn, and it is for training. (The sheet mends the paper's code there, where two ends share a group. The heading is "
    "right.) 5 names LongQA or other data; ours is Python code with lines hidden in it. The others: 1 forgets that the model must "
    "be told its new positions. 2a speaks of one answer, but each byte is the answer to the bytes before it. 3 wants to keep what "
    "nothing has changed, as S²-Attn has no weights. 4 stands after 2b, which is already about training, and leaves out LoRA. 6 forgets to merge "
    "LoRA into the weights.",
    because={
        "1 and 5": "5 stands. 1 does not: parameters are not enough.",
        "2a and 4": "Neither stands. 2a would have one answer a text, and 4 comes too late.",
        "3 and 6": "Neither stands. 3 keeps aside what has not changed, and before 6 something must be done.",
    },
)

# %% [markdown]
# {{beginners: Shifted sparse attention}}

# %% [markdown] instructor=true
# *What to say*: let the room name what is wrong with each of the five, before anybody opens the choices.

# %% [markdown]
# ## Predict: what the sheet achieves
#
# This is the map, the function that runs it all. Where it says `hide_references`, lines like these are hidden in the text. The
# first line gives a number a name. In the second the model must guess the digits:
#
# ```text
# # set kqz=48213
# …some lines of code…
# # get kqz 48213
# ```

# %%
print(sheets.excerpt("main"))

# %% [markdown]
# It prints four lines: the base in its own context, the base in twice its context, with stretched positions, and trained.
# `stretch` maps the positions of the longer text into the range that the base knows; `train` moves weights. The references
# that are measured stand in one group and are asked for in the next. In training a pair may lie anywhere, within a group too.

# %%
RESULTS = [
    "Text gets better still, and the references are found",
    "Text gets a little worse than stretched, and the references are found",
    "Text gets better still; the references stay lost, as a group ends between them",
    "Text gets a little worse than stretched, and the references stay lost",
]
record = course.recorded("one_sheet")
said = [re.match(r"(.*?) +([\d.]+) bits a byte(?:, (\d+ of \d+))?", line).groups() for line in record["run"]["lines"]]
course.predict(
    "12.ladder",
    f"Twice the context costs the base {said[1][1]} bits a byte, and stretched positions bring that to {said[2][1]}. Neither finds a "
    "reference. What do 240 steps of training in groups do to the stretched model?",
    RESULTS,
)
better, finds = float(said[3][1]) < float(said[2][1]), not said[3][2].startswith("0 ")
course.reveal(
    "12.ladder",
    RESULTS[(0 if better else 1) if finds else (2 if better else 3)],
    "Training teaches the model to look up a name, and plain text gets a little worse. How much of this needs the shift? We "
    "take it away further down. Its numbers there are of more windows, so they differ from these.",
)

# %% after="12.ladder"
rows = [(name, bits, found or "–") for name, bits, found in said]
course.show_table(["", "bits a byte", "references found"], rows, caption="What the whole sheet printed")

# %% [markdown] after="12.ladder"
# Compare the first row with the third. With half of the text the base reads plain code a little better: the stretch costs more than far bytes bring. A
# longer context pays where something far is needed.

# %% [markdown]
# ## Play: push a token
#
# This is the heart of the sheet, forwards and backwards. `attention` returns `y` and the function `back`, which turns the
# gradient of `y` into those of q, k and v.

# %%
print(sheets.excerpt("roll_half", "mask", "attention"))

# %% [markdown]
# Here it is at work, on one plain head and one shifted head. We change the value of one token at a time. A coloured square
# in row i and column j says: output i moves when token j is changed.
#
# **One task.** Look at the picture for groups of 8. Then change `g` to 16, the whole text, and say before you run the cell
# what it will be.

# %%
n, g = 16, 8


def who_moves(attention, n, g, head):
    """bool (n n): does output i (row) of one of two heads move when token j (column) is pushed?"""
    if n % g:
        raise ValueError(f"g must divide {n}, got {g}")
    q, k, v = np.random.default_rng(0).normal(size=(3, n, 2, 4))
    before = attention(q, k, v, g)[0]
    moved = np.zeros((n, n), bool)
    for token in range(n):
        pushed = v.copy()
        pushed[token] += 1
        moved[:, token] = (attention(q, k, pushed, g)[0] != before)[:, head].any(axis=1)
    return moved


names = (f"plain head, groups of {g}", f"shifted head, shift {g // 2 if g < n else 0}")
tables = {name: who_moves(sheet.attention, n, g, head) for head, name in enumerate(names)}
plots.show_perturbation(tables)

# %% [markdown]
# The plain head has two blocks. The shifted head has one in the middle, and a half at each end. Nothing stands above the
# diagonal: no token hears the future.
#
# <details><summary>And with one group of 16?</summary>
#
# The blocks are gone: every token hears all before it. That is full attention, drawn in its own colour.
#
# </details>
#
# ## Reveal: the lines of S²-Attn
#
# Point at them in the functions above, before they are listed. A line is S²-Attn's own if dense attention would not
# need it.

# %%
LINES = [
    "shift = g // 2 if g < n else 0",
    "added = np.triu(np.full((c, h, g, g), -np.inf, np.float32), 1)",
    "added[-1, h // 2 :, g - shift :, : g - shift] = -np.inf",
    "return out_of_groups(y), back",
]
course.predict(
    "12.lines",
    "Three of these lines are there for groups only. Which one does dense attention need too, just as it is?",
    LINES,
)
course.reveal(
    "12.lines",
    LINES[1],
    "It hides later tokens, and every causal attention needs that.",
    because={
        LINES[0]: "Half a group is the shift itself. Dense attention has no groups to shift.",
        LINES[2]: "This line separates the two ends of the text, which only the shift has put into one group.",
        LINES[3]: "This line joins the groups and shifts back. Dense attention would return y itself.",
    },
)

# %% [markdown] after="12.lines"
# Here is every line that rolls, cuts, joins or masks, and the line that adds the mask.

# %% after="12.lines"
for number, line in sheets.matching(r"shift|roll\(|groups\(|mask\(|np.triu").items():
    print(f"{number:3}  {line}")

# %% [markdown] after="12.lines"
# Two of the twelve are not S²-Attn's own: dense attention too has a mask, and adds it before the softmax. The other ten are there
# for groups. With one group as long as the text the roll moves nothing and the cut makes one piece. What is left is ordinary
# attention, and that is how the sheet reads densely.

# %% [markdown]
# ## Build: what happens without this line?
#
# We take small pieces of the sheet away, one at a time. Work out
# what happens *before* we measure it.
#
# ### Exercise 12.1 · Without the line that separates
#
# In `mask` we delete the line `added[-1, …] = -np.inf`. On a shifted head the roll has put the first tokens of the text behind
# its last ones, into one group. The mask still forbids later keys, but later in the rolled order, not in the text. Which keys
# of its real *future* does each query see on a shifted head? (`g` may be odd; the shift is `g // 2`.)


# %% exercise="seen_ahead" difficulty=3 importance=5 minutes=6 points=2
def seen_ahead(n, g):
    """bool (n n), in the order of the text: query i (row) sees key j (column), and j comes after i."""
    ### BEGIN SOLUTION
    shift = g // 2
    ahead = np.zeros((n, n), bool)
    ahead[:shift, n - (g - shift) :] = True
    return ahead
    ### END SOLUTION


# %% check="seen_ahead"
check.seen_ahead(seen_ahead)

# %% [markdown] hints="seen_ahead"
# Write down the last group of a shifted head for 16 tokens, groups of 8 and a shift of 4: which tokens does it hold,
# in which order?
#
# ---
# It holds 12, 13, 14, 15, 0, 1, 2, 3. A token sees what stands before it in this list. For which of them is that the
# future?
#
# ---
# Queries 0 to `shift - 1` see the last `g - shift` tokens of the text, all of them: one block of the table is True.

# %% [markdown]
# ### Exercise 12.2 · Without the shift back
#
# Where `y` leaves `attention`, we leave the roll out, and only the joining of the groups stays. The output that belongs to `token` then
# stands somewhere else on each shifted head. Where?


# %% exercise="lands" difficulty=1 importance=5 minutes=3 points=1
def lands(token, n, shift):
    """The place, from 0 to n - 1, at which the output of `token` ends up on a shifted head."""
    ### BEGIN SOLUTION
    return (token - shift) % n
    ### END SOLUTION


# %% check="lands"
check.lands(lands)

# %% [markdown] hints="lands"
# What does `np.roll(x, -shift)` do to `x = np.arange(8)`? Try it.
#
# ---
# It moved each token `shift` places to the front, and nothing moves it back.
#
# ---
# `token - shift`, and who falls out at the front comes in again at the end: modulo n.

# %% [markdown]
# ## Reveal: the lines of LoRA
#
# `add_lora` puts two small matrices beside each W of attention. `linear` uses them, and `merge` adds them to W in the end.

# %%
print(sheets.excerpt("add_lora", "linear", "merge"))

# %% [markdown]
# **One task.** One line of `linear` computes what a model without LoRA needs. Find it, and then the lines that name LoRA's parts. The
# next cell lists those.
#
# <details><summary>Which one?</summary>
#
# The product of x with W, where no LoRA is beside it. It is the first thing that `linear` returns.
#
# </details>

# %%
of_lora = sheets.matching(r"lora_[AB]|add_lora|\"lora\"|RANK|\blow\b|d_low|m.grads\[[ab]\]|m.w\[[ab]\]")
for number, line in of_lora.items():
    print(f"{number:3}  {line}")

# %% [markdown]
# The gradients are in `back` of `linear`. That of B,
# `m.grads[b]`, is a product with `low`, in which A is a factor. That of A, `m.grads[a]`, is a product with `d_low`, in which B
# is a factor. W gets none: it is frozen.
#
# Does `merge` give the same model? Here B is no longer zero, as after training:

# %%
m = sheet.read_model(sheet.BASE)
sheet.add_lora(m, np.random.default_rng(0))
ids = np.frombuffer(b"def area(radius):", np.uint8)
for name in [name for name in m.w if "lora_B" in name]:
    m.w[name] += np.random.default_rng(1).normal(size=m.w[name].shape).astype(np.float32) / 20
beside = sheet.forward(m, ids, len(ids))[0]
sheet.merge(m)
print(f"largest difference of a logit, merged or beside: {abs(sheet.forward(m, ids, len(ids))[0] - beside).max():.0e}")

# %% [markdown]
# Yes: so much is rounding in float32. Once merged, LoRA costs nothing when the model reads.
#
# ## Build: how much are the norms? · more
#
# ### Exercise 12.3 · How much are the norms?
#
# Some say that norms must train too, others that they are too few to matter. Below we freeze them, in
# `add_lora`, and measure. First: what share of the trained numbers are they? Write it, between 0 and 1. `w` holds all arrays by
# name, with LoRA's among them as `….lora_A.weight` and `….lora_B.weight`.


# %% exercise="share_of_norms" difficulty=2 importance=4 minutes=4 points=1
def share_of_norms(w):
    """Of the numbers that LongLoRA trains out of the arrays `w`, which share belongs to norms?"""
    ### BEGIN SOLUTION
    trained = {name: array.size for name, array in w.items() if re.search("lora|embed|norm", name)}
    return sum(size for name, size in trained.items() if "norm" in name) / sum(trained.values())
    ### END SOLUTION


# %% check="share_of_norms"
check.share_of_norms(share_of_norms)

# %% [markdown] hints="share_of_norms"
# Print the names: `list(sheet.read_model(sheet.BASE).w)`. Which have "norm" in them? LoRA comes in with
# `sheet.add_lora`.
#
# ---
# What trains has `lora`, `embed` or `norm` in its name. Count numbers, not arrays: `array.size`.
#
# ---
# The sum of the sizes of the norms, divided by the sum of the sizes of all three families.

# %% worked="share_of_norms"
m = sheet.read_model(sheet.BASE)
sheet.add_lora(m, np.random.default_rng(0))
norms = sum(gradient.size for name, gradient in m.grads.items() if "norm" in name)
everything = sum(gradient.size for gradient in m.grads.values())
print(f"in the small model: {norms:,} of {everything:,} numbers that train, {norms / everything:.1%}")

# %% [markdown]
# {{beginners: Embeddings}}
#
# {{beginners: Normalisation layers}}

# %% [markdown]
# ## Break it: take pieces away
#
# Now it is measured. These are the changes, with one more that every reader asks for: no shift at all.

# %%
for part, changes in sheets.BREAKS.items():
    print(f"without {part}:")
    for old, new in changes:
        print(f"  now     {old.strip()}\n  broken  {new.strip() or '(deleted)'}")

# %% [markdown]
# The shift back takes two edits: `back` must undo what the forward pass now does, or the gradient would be wrong as well.
#
# First the boundary and the shift back, on the shifted head. Look above the diagonal: on the left
# is the block of exercise 12.1. On the right, without the shift back, place i holds what belongs to a later token.

# %%
forms = {"as it stands": (), **{f"without {part}": changes for part, changes in sheets.BREAKS.items()}}
broken = ("without boundary", "without shift back")
plots.show_perturbation({name: who_moves(sheets.load_sheet(*forms[name]).attention, 16, 8, head=1) for name in broken})

# %% [markdown]
# In both, outputs hear their future. Would you notice it while you train? Each form trains on the same windows and begins
# with the same LoRA. Its loss is on record.

# %%
LOSSES = [
    "Lower in both, as outputs may look at the future",
    "Unchanged without the boundary, lower without the shift back",
    "Unchanged without the boundary, higher without the shift back",
    "Unchanged in both, as the other heads make up for the broken ones",
]
course.predict(
    "12.loss",
    "After 240 steps, how does the training loss of each broken sheet compare with that of the intact one?",
    LOSSES,
)
last = {part: np.mean(record[part]["loss"][-10:]) for part in ("sheet", *sheets.BREAKS)}
higher = [last[part] > 1.05 * last["sheet"] for part in ("boundary", "shift back")]
course.reveal(
    "12.loss",
    LOSSES[2] if higher == [False, True] else LOSSES[3] if not any(higher) else LOSSES[0],
    f"In the last ten of the recorded steps: {last['sheet']:.3f} nats as it stands, {last['boundary']:.3f} without the "
    f"boundary, {last['shift back']:.3f} without the shift back.",
    because={
        LOSSES[0]: "They may look, and it does not help them to guess the byte after their own.",
        LOSSES[1]: "The answer is in sight there, and no head has learned where it stands.",
        LOSSES[3]: "No head can make up for outputs that stand in the wrong place.",
    },
)

# %% after="12.loss"
watched = {"as it stands": "sheet", "without boundary": "boundary", "without shift back": "shift back"}
rows = [
    (name, *(f"{np.mean(record[part]['loss'][begin : begin + 10]):.3f}" for begin in (0, 50, 230)))
    for name, part in watched.items()
]
course.show_table(["form", "steps 1 to 10", "51 to 60", "231 to 240"], rows, caption="Training loss, nats")

# %% [markdown] after="12.loss"
# **Without the boundary** only the first tokens of a text see the end of it. None of them sees the byte after its own, which it
# has to guess. So the leak is no help, and the loss does not show it.
#
# **Without the shift back** place i holds the output of token i + shift, whose group reaches past the byte after i. The answer
# is in sight. Take a shift of 4. Place 0 must guess byte 1. It now holds the output of token 4, and byte 1 stands three places
# before token 4. A head would have to learn "look back exactly 3". (In the sheet the shift is 128, so it is exactly 127.) None did in these steps, or the loss would be far lower.

# %% [markdown]
# {{beginners: Leak}}
#
# ## Predict: the finished models
#
# We merge, and read densely with the *correct* sheet. After training with the intact sheet the model finds about
# nine of ten hidden references.

# %%
ENDS = [
    "Most in both",
    "Most without the shift back, almost none without the shift",
    "Almost none without the shift back, most without the shift",
    "Almost none in both",
]
course.predict(
    "12.end",
    "How many references does the model trained without the shift back find, and how many the one trained without any shift?",
    ENDS,
)
lost = [record[part]["found"] < record["sheet"]["found"] / 5 for part in ("shift back", "shift")]
course.reveal(
    "12.end",
    ENDS[2 * lost[0] + lost[1]],
    f"{record['shift back']['found']} without the shift back, {record['shift']['found']} without the shift. The intact sheet finds "
    f"{record['sheet']['found']} of {record['sheet']['of']}.",
    because={ENDS[3]: "References within a group teach the look-up too, and dense use reaches across its end."},
)

# %% [markdown] after="12.end"
# Here is the whole training of each form, recorded.
#
# - *Leak*: how far the predictions of earlier places move, in logits, when we change the last byte of a text. Anything but 0 is
#   a leak.
# - *First and last loss*: of step 1, and the mean of the last ten steps. Of training text, where the hidden digits count six times.
# - *Bits a byte*: afterwards, on held-out text. These are other windows than those of the first table, and more.
# - *Found*: hidden references with all five digits right. No name such as `kqz` was in the training text.

# %% after="12.end"
bare = record["stretched"]
rows = [("stretched, not trained", "–", "–", "–", f"{bare['bits_per_byte']:.3f}", bare["found"])]
rows += [
    (
        name,
        f"{(done := record[part])['leak']:.2f}",
        f"{done['loss'][0]:.2f}",
        f"{last[part]:.3f}",
        f"{done['bits_per_byte']:.3f}",
        done["found"],
    )
    for name, part in zip(forms, last, strict=True)
]
course.show_table(
    ["form", "leak", "first loss", "last loss, nats", "bits a byte", "found of 500"],
    rows,
    caption="The sheet and its breaks",
)
print(course.recorded_line("one_sheet"))

# %% [markdown] after="12.end"
# - **Without the boundary** the loss is the same, and just as many references are found. Held-out text is a little worse.
#   Nothing in training warns you: only pushing a token shows it.
# - **Without the shift back** the loss begins far above the others. Training brings it down, but for outputs in the wrong
#   places, so the correct dense reading fails.
# - **Without the shift** most references are found all the same. Those within a group teach the look-up, and dense use carries it
#   across the end of a group. With the shift more of them are visible in training, and some more are
#   found. It pays most where most references cross a border: only shifted heads see those in training. (This is one run; the
#   note in the recap has many.)
# - **Without the norms** slightly fewer references are found. One run cannot tell that from chance.

# %% [markdown] instructor=true
# *What to say*: ask which of the four a training curve would have shown you. Only the shift back; its first loss says
# so, and its last one hardly. Without the boundary only the first tokens of the text see their future, so the harm is small (compare *bits a byte*), and silent. Norms are
# few numbers; read their row as it stands.

# %% [markdown]
# ## Play: break a line of your own · more
#
# Choose a piece of the sheet and write what should stand there instead. The piece must stand in the sheet exactly once. Say first
# what will happen to the leak and to the loss. The example lets every token see one token ahead: there is a leak, and the loss
# falls, as the answer is in sight. (Two short trainings, half a minute each. The loss is the mean over these few steps: take a
# difference below 0.1 as none. It shows what is easy to learn, and not what the shift is for.)
#
# No idea? Try one of these. Write the pair between the brackets of `mine`.
#
# ```python
# ("np.split(x, [x.shape[1] // 2], axis=1)", "np.split(x, [0], axis=1)")     # all heads shifted
# ("into_groups(q / math.sqrt(d))", "into_groups(q)")                        # scores not scaled
# ("rng.uniform(-1, 1, (RANK, i))", "rng.uniform(0, 0, (RANK, i))")          # LoRA's A begins at zero
# ```
#
# <details><summary>What happens in each?</summary>
#
# - All heads shifted: a large leak, and hardly another loss. `mask` separates the two ends on the second half of the heads only,
#   so the beginning hears the end on the others.
# - Scores not scaled: no leak, and the loss is clearly higher from the first step on. The base has learned its q and k with the
#   scale. (d_q is still divided by `math.sqrt(d)`, so the gradient is wrong as well. The loss does not show that second fault.)
# - A at zero: no leak, and a loss that is only a little higher. Why? The quiz asks.
#
# </details>

# %%
mine = [("-np.inf, np.float32), 1)", "-np.inf, np.float32), 2)")]

sheets.load_sheet(*mine)  # refuses a piece that does not stand there once
few = profile.choose(laptop={"steps": 10, "batch": 4}, binder={"steps": 4, "batch": 2}, ci={"steps": 1, "batch": 1})
for name, changes in {"as it stands": [], "yours": mine}.items():
    done = sheets.train_form(*changes, count=3, **few)
    print(f"{name:14} leak {done['leak']:5.2f}, loss {np.mean(done['loss']):.2f}")

# %% [markdown]
# ## Recap
#
# - The whole method fits in one file of NumPy. S²-Attn is ten lines of it, LoRA some fifteen; the
#   rest is a Llama with its gradients, and the text to train and measure on.
# - Stretched positions repair what the longer window broke in plain text; training costs it a little. What training adds is the look-up by
#   name, which the shift helped a little in this run. When it helps much: [a note](../docs/note.md).
# - Push a token to see who hears whom, and measure the finished model densely: the curve of training does not replace either.
#
# ## Quiz

# %%
course.quiz(
    "12.quiz",
    course.Question(
        "Which extra line does the backward pass need for the mask?",
        right=(
            "None: where p is 0, d_s is 0",
            "The gradient of a score, d_s, has p as a factor, and p is 0 for each key that is not seen.",
        ),
        wrong=[
            (
                "The one in 'back' of attention that computes d_s",
                "That line is there without a mask too. It has p as a factor, and p is 0 for each key that the mask took away.",
            ),
            (
                "One in 'mask', which is cached",
                "The cache keeps the mask for the next layer. Nothing flows back through it.",
            ),
        ],
    ),
    course.Question(
        "LoRA's B begins at zero. What would happen if A began at zero as well?",
        right=(
            "LoRA would not move, neither then nor later",
            "The gradient of A has B as a factor, and the gradient of B has A: both would be 0. Embeddings and norms would train alone.",
        ),
        wrong=[
            ("Training would be slower at first", "How would it begin? Write down d_A and d_B as `linear` does."),
            ("Nothing: at first nothing changes either way", "The output is the same. The gradients are not."),
        ],
    ),
    course.Question(
        "Why may the sheet read a window densely after it has trained in quarters of it?",
        right=(
            "S²-Attn has no weights of its own",
            "The same q, k and v serve both ways. How well the model reads far is another question: distances longer than a group were not trained here. Those beyond the old length never were; YaRN maps them into the old range (lesson 05). So it is measured.",
        ),
        wrong=[
            (
                "The shift makes all distances occur in training",
                "In this training no token sees further back than one group.",
            ),
            ("The last steps of training are dense", "Look at `main`: it trains in groups, merges, and measures."),
        ],
    ),
)

# %% [markdown]
# ## Discuss
#
# Which line of the sheet would you have got wrong, had you written it? What would have told you: comparing the gradients
# with those of torch, pushing a token, or the table above?
