"""LongLoRA on one sheet: a small model learns to read twice as far, in NumPy, with nothing hidden.

Run `python notebooks/one_sheet.py` in a clone, which holds the base. The headings are the six steps
of the class notes' pseudo-code (arXiv 2309.12307). Where one is imprecise, see what is done here.

A piece of the model m returns its result y and `back`, the function that walks the piece backwards:
from d_y, the gradient of the loss with respect to y, to d_x. m.w has the weights by name, m.grads
gradients of what trains. Shapes: n tokens (here bytes), w width, h heads, d features of a head,
c groups of g tokens (n = c g), i and o a matrix's inputs and outputs, r rank. One window at a time.
"""

import hashlib
import json
import math
from functools import lru_cache
from pathlib import Path
from string import ascii_lowercase as LETTERS
from types import SimpleNamespace

import numpy as np

# ---- Step 1. Initialize LongLoRA with the base LLM parameters.
# Besides the weights there are the positions, which the steps leave out: they must reach further.

BASE = Path(__file__).resolve().parent.parent / "longlora_edu" / "assets" / "model"


def read_model(folder):
    """Read weights and config. Safetensors: 8 bytes with the header's size, header, numbers."""
    data = (folder / "model.safetensors").read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    w = {}
    for name, about in json.loads(data[8:start]).items():
        if name != "__metadata__":
            first, last = about["data_offsets"]
            dtype = about["dtype"].replace("F", "float")  # F32 or F16
            numbers = np.frombuffer(data[start + first : start + last], dtype)
            w[name] = numbers.reshape(about["shape"]).astype(np.float32)
    config = json.loads((folder / "config.json").read_text())
    config.pop("longlora_rope", None)  # a note on the old positions
    return SimpleNamespace(w=w, config=config, grads={})  # no gradients: nothing trains yet


def stretch(config, factor):
    """Return the config for `factor` times the length, by YaRN (arXiv 2309.00071). Weights stay."""
    trained = config["max_position_embeddings"]
    yarn = {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": trained}
    rope = config["rope_parameters"] | yarn
    return config | {"max_position_embeddings": factor * trained, "rope_parameters": rope}


def rotations(config, n):
    """Compute cos and sin (n 1 d/2) of the angles by which positions turn pairs of features.

    A pair is the hand of a clock that tells distances. Longer text takes slow hands to angles never
    seen, while fast ones have been all the way round. YaRN slows down the slow ones, by `factor`.
    """
    rope = config["rope_parameters"]
    factor = rope.get("factor", 1)
    pair = np.arange(config["head_dim"] // 2)
    speed = rope["rope_theta"] ** (-pair / len(pair))  # radians a token
    turns = config["max_position_embeddings"] / factor / (2 * math.pi)  # of pair 0, in training
    ratio = math.log(rope["rope_theta"]) / len(pair)  # the next pair turns exp(ratio) times less
    fast = max(math.floor(math.log(turns / 32) / ratio), 0)  # pairs up to it, 32 turns: kept
    slow = min(math.ceil(math.log(turns) / ratio), 2 * len(pair) - 1)  # from it, 1 turn: slowed
    slowed = np.clip((pair - fast) / (slow - fast), 0, 1)
    speed = speed * (1 - slowed) + speed / factor * slowed
    size = 0.1 * math.log(factor) + 1  # more keys to choose from: choose more sharply
    angles = np.outer(np.arange(n, dtype=np.float32), speed.astype(np.float32))[:, None]
    return size * np.cos(angles), size * np.sin(angles)


# ---- Step 2. For each training data instance: a. Extract the long context and the answer.
# Each byte is the answer to all bytes before it. (The paper's LongQA comes later, for chatting.)
# Our text, the standard library's source, seldom needs a far byte: we hide lines that do, in pairs.

SKIP = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
WORDS = [x + y + z for x in LETTERS for y in LETTERS for z in LETTERS]
LINE, ANSWER, DIGITS = 17, 11, 5  # "\n# get kqz 48213\n": bytes, those before digits, digits


def read_windows(n, root=Path(json.__file__).parent.parent):
    """Cut the standard library into windows of n bytes. One file in 16, by name, is held out."""
    windows = {"train": [], "held out": []}
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        side = "train" if hashlib.sha256(name.encode()).digest()[0] % 16 else "held out"
        if SKIP.isdisjoint(name.split("/")):
            text = np.frombuffer(path.read_bytes(), np.uint8)
            windows[side].extend(text[: len(text) // n * n].reshape(-1, n))
    return windows


def hide_references(code, g, rng, held_out=False):
    """Hide eight pairs in 1,024 bytes of code; return bytes (n) and the answers' places (pairs 5).

    A pair lies around a middle, at most half a group from it. Held out, middles are borders between
    groups, and words are new. If `set` is the last before `get`, copying it would do: no answer.
    """
    ids = np.full(len(code), -1)
    pairs = []
    count = len(code) // 128 if held_out or rng.random() < 0.5 else 0  # half trains on plain code
    for key in rng.choice(WORDS[int(held_out) :: 3], count, replace=False):
        taken = True
        while taken:
            middle = rng.choice(range(g, len(code) - g // 2, g if held_out else 1))
            pair = middle + rng.integers([-g // 2, 0], [1 - LINE, g // 2 - LINE + 1])
            there = np.add.outer(pair, range(LINE))  # (2 17)
            taken = (ids[there] >= 0).any()
        n = f"{rng.integers(10**DIGITS):05}"
        ids[there] = [[*f"\n# set {key}={n}\n".encode()], [*f"\n# get {key} {n}\n".encode()]]
        pairs.append(pair)
    ids[ids < 0] = code[: (ids < 0).sum()]  # the code goes on around the lines
    asked = [b for a, b in pairs if any(a < other < b for other, _ in pairs)]
    return ids, np.add.outer(np.array(asked, int), range(ANSWER, ANSWER + DIGITS))


# ---- Step 2. b. Apply sparse local attention to the context during fine-tuning.
# The text is cut into groups, and a token sees its own group only. On half of the heads the groups
# begin half a group later, so that news passes from one group into the next.


def roll_half(x, by):
    """Move the tokens of x (n h d) by some places, on the second half of the heads."""
    plain, shifted = np.split(x, [x.shape[1] // 2], axis=1)
    return np.concatenate([plain, np.roll(shifted, by, axis=0)], axis=1)


@lru_cache(maxsize=1)
def mask(c, h, g, shift):
    """Build what is added to the scores (c h g g): 0 for a key that may be seen, else -inf."""
    added = np.triu(np.full((c, h, g, g), -np.inf, np.float32), 1)  # no token sees a later one
    # The roll put the first tokens of the text behind its last, into one group. The paper leaves it
    # so: there the beginning sees the end, which is its future. Here the two are separated.
    added[-1, h // 2 :, g - shift :, : g - shift] = -np.inf
    return added


def softmax(x):
    """Turn each row into shares of 1. Taking off the highest changes none; exp stays in range."""
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


def attention(q, k, v, g):
    """Attend in groups of g: q, k, v (n h d) to (n h d). With g = n it is plain dense attention."""
    n, h, d = q.shape
    shift = g // 2 if g < n else 0

    def into_groups(x):  # (n h d) to (c h g d)
        return roll_half(x, -shift).reshape(n // g, g, h, d).swapaxes(1, 2)

    def out_of_groups(x):  # (c h g d) to (n h d), every token where it was
        return roll_half(x.swapaxes(1, 2).reshape(n, h, d), shift)

    q, k, v = into_groups(q / math.sqrt(d)), into_groups(k), into_groups(v)
    p = softmax(q @ k.swapaxes(2, 3) + mask(n // g, h, g, shift))  # (c h g g)
    y = p @ v  # (c h g d)

    def back(d_y):
        d_y = into_groups(d_y)
        d_p = d_y @ v.swapaxes(2, 3)
        # Softmax: d_s = p (d_p - sum of p d_p over keys), a sum that equals y d_y over features.
        d_s = p * (d_p - (y * d_y).sum(axis=-1, keepdims=True))
        d_q, d_k, d_v = d_s @ k / math.sqrt(d), d_s.swapaxes(2, 3) @ q, p.swapaxes(2, 3) @ d_y
        return out_of_groups(d_q), out_of_groups(d_k), out_of_groups(d_v)

    return out_of_groups(y), back


# ---- Step 3. Retain the original standard self-attention mechanism for inference.
# There is nothing to put aside: S2-Attn has no weights. This is the Llama as it was; g says how it
# attends, in quarters of the text or in all of it. (LoRA, in `linear`, comes in step 4.)

RANK, ALPHA = 8, 16


def linear(m, name, x):
    """x (n i) to x W^T (n o), plus alpha/r x A^T B^T where LoRA is beside W, which is frozen."""
    w, a, b = f"{name}.weight", f"{name}.lora_A.weight", f"{name}.lora_B.weight"
    if a not in m.w:
        return x @ m.w[w].T, lambda d_y: d_y @ m.w[w]
    low = ALPHA / RANK * x @ m.w[a].T  # (n r)

    def back(d_y):
        d_low = ALPHA / RANK * d_y @ m.w[b]  # (n r)
        m.grads[a] += d_low.T @ x
        m.grads[b] += d_y.T @ low
        return d_y @ m.w[w] + d_low @ m.w[a]

    return x @ m.w[w].T + low @ m.w[b].T, back


def rms_norm(m, name, x):
    """Divide each row of x (n w) by its root mean square, and scale each feature."""
    size = np.sqrt((x * x).mean(axis=1, keepdims=True) + m.config["rms_norm_eps"])
    unit = x / size

    def back(d_y):
        if name in m.grads:
            m.grads[name] += (d_y * unit).sum(axis=0)
        d_unit = d_y * m.w[name]
        # What only makes a row longer has no effect: that part of the gradient is taken out.
        return (d_unit - unit * (d_unit * unit).mean(axis=1, keepdims=True)) / size

    return unit * m.w[name], back


def rotate(x, cos, sin):
    """Turn the pairs of features (j, j + d/2) of x (n h d). The way back turns back: -sin."""
    one, two = np.split(x, 2, axis=2)
    return np.concatenate([one * cos - two * sin, two * cos + one * sin], axis=2)


def self_attention(m, at, x, g):
    """x (n w) to what each token hears from those that it sees (n w)."""
    heads = len(x), m.config["num_attention_heads"], m.config["head_dim"]
    cos, sin = rotations(m.config, len(x))
    y, back_norm = rms_norm(m, f"{at}.input_layernorm.weight", x)
    q, back_q = linear(m, f"{at}.self_attn.q_proj", y)
    k, back_k = linear(m, f"{at}.self_attn.k_proj", y)
    v, back_v = linear(m, f"{at}.self_attn.v_proj", y)
    q, k = rotate(q.reshape(heads), cos, sin), rotate(k.reshape(heads), cos, sin)
    heard, back_heard = attention(q, k, v.reshape(heads), g)
    y, back_y = linear(m, f"{at}.self_attn.o_proj", heard.reshape(len(x), -1))

    def back(d_y):
        d_q, d_k, d_v = back_heard(back_y(d_y).reshape(heads))
        d_y = back_q(rotate(d_q, cos, -sin).reshape(len(x), -1))
        d_y += back_k(rotate(d_k, cos, -sin).reshape(len(x), -1))
        return back_norm(d_y + back_v(d_v.reshape(len(x), -1)))

    return y, back


def feed_forward(m, at, x, g):
    """x (n w) to down(gate sigmoid(gate) up) (n w), SwiGLU. Each token is alone: no part for g."""
    y, back_norm = rms_norm(m, f"{at}.post_attention_layernorm.weight", x)
    gate, back_gate = linear(m, f"{at}.mlp.gate_proj", y)
    up, back_up = linear(m, f"{at}.mlp.up_proj", y)
    opened = 1 / (1 + np.exp(-gate))
    y, back_y = linear(m, f"{at}.mlp.down_proj", gate * opened * up)

    def back(d_y):
        d_h = back_y(d_y)
        d_gate = d_h * up * opened * (1 + gate * (1 - opened))
        return back_norm(back_gate(d_gate) + back_up(d_h * gate * opened))

    return y, back


def forward(m, ids, g):
    """ids (n) to logits (n 256): how likely is each byte to come after each of these?"""
    x = m.w["model.embed_tokens.weight"][ids]  # (n w)
    backs = []
    for layer in range(m.config["num_hidden_layers"]):
        for part in (self_attention, feed_forward):
            y, back_part = part(m, f"model.layers.{layer}", x, g)
            x = x + y
            backs.append(back_part)
    y, back_norm = rms_norm(m, "model.norm.weight", x)
    logits, back_head = linear(m, "lm_head", y)

    def back(d_logits):
        d_x = back_norm(back_head(d_logits))
        for back_part in reversed(backs):
            d_x = d_x + back_part(d_x)  # x + part(x): the gradient goes both ways
        np.add.at(m.grads["model.embed_tokens.weight"], ids, d_x)

    return logits, back


# ---- Step 4. Introduce trainable embedding and normalization layers for long context learning.
# They are there, and are set free; new is LoRA. All of it comes before training, not after.


def add_lora(m, rng):
    """Put A (r i) and B (o r) beside the W (o i) of attention, and make room for gradients."""
    for name in [name for name in m.w if "self_attn" in name]:
        o, i = m.w[name].shape
        a, b = name.replace("weight", "lora_A.weight"), name.replace("weight", "lora_B.weight")
        m.w[a] = (rng.uniform(-1, 1, (RANK, i)) / math.sqrt(i)).astype(m.w[name].dtype)
        m.w[b] = np.zeros_like(m.w[name], shape=(o, RANK))  # B is 0: at first nothing changes
    trained = [name for name in m.w if "lora" in name or "embed" in name or "norm" in name]
    m.grads = {name: np.zeros_like(m.w[name]) for name in trained}


# ---- Step 5. Fine-tune the model using the LongQA dataset or other relevant long-context datasets.

BATCH, RATE, WEIGHT = 8, 4e-3, 6  # windows a step; its size; how often an answer's digit counts


def add_gradients(m, ids, answers, g):
    """Add the gradients of one window's loss to those of its batch, and return the loss."""
    logits, back = forward(m, ids[:-1], g)
    p = softmax(logits)  # (n 256)
    counts = np.ones(len(p), p.dtype)
    counts[answers - 1] = WEIGHT  # a byte is predicted at the one before it
    counts /= counts.sum() * BATCH
    came = np.arange(len(p)), ids[1:]
    loss = -(counts * np.log(p[came])).sum()
    p[came] -= 1  # cross-entropy: what was expected, minus what came
    back(p * counts[:, None])
    return loss


def train(m, batches, g):
    """Train in groups of g by Adam, one step for each batch of windows (ids, answers)."""
    moments = {name: (np.zeros_like(grad), np.zeros_like(grad)) for name, grad in m.grads.items()}
    for step, batch in enumerate(batches, start=1):
        loss = sum(add_gradients(m, ids, answers, g) for ids, answers in batch)
        # The rate rises for ten steps, then falls to zero along half a cosine.
        rate = RATE * min(1, step / 10) * (1 + math.cos(math.pi * step / len(batches))) / 2
        for name, (mean, square) in moments.items():
            mean += 0.1 * (m.grads[name] - mean)
            square += 0.05 * (m.grads[name] ** 2 - square)  # both begin at 0: see the divisors
            m.w[name] -= rate * mean / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.95**step)) + 1e-8)
            m.grads[name][:] = 0
        print(f"\rstep {step} of {len(batches)}: {loss:.3f} nats a byte", end="", flush=True)


# ---- Step 6. Once fine-tuning is complete, use dense global attention for inference tasks.
# LoRA goes into the weights first. What is left is a plain Llama that any program loads.


def merge(m):
    """Add alpha/r B A to each W, and forget the two."""
    for name in [name for name in m.w if "lora_A" in name]:
        a, b = m.w.pop(name), m.w.pop(name.replace("lora_A", "lora_B"))
        m.w[name.replace("lora_A.", "")] += ALPHA / RANK * b @ a


def write_model(m, folder):
    """Write the two files that `read_model` and transformers read."""
    header, numbers = {"__metadata__": {"format": "pt"}}, b""
    for name, array in m.w.items():
        span = [len(numbers), len(numbers) + 4 * array.size]
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": span}
        numbers += array.astype(np.float32).tobytes()
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + numbers)
    (folder / "config.json").write_text(json.dumps(m.config, indent=2))


def bits_per_byte(m, windows):
    """Measure the bits that the last 128 bytes of a window cost, given all bytes before them."""
    bits = []
    for ids in windows:
        p = softmax(forward(m, ids[:-1], len(ids) - 1)[0])
        bits.append(-np.log2(p[np.arange(len(p)), ids[1:]][-128:]).mean())
    return np.mean(bits)


def found_references(m, windows):
    """Tell of each answer if its digits, each given all bytes before it, are the first choice."""
    found = []
    for ids, answers in windows:
        right = forward(m, ids[:-1], len(ids) - 1)[0].argmax(axis=1) == ids[1:]
        found.extend(right[answers - 1].all(axis=1))
    return found


def write_on(m, ids, count):
    """Continue ids (n) by `count` bytes, each the first choice after all bytes before it."""
    for _ in range(count):
        ids = np.append(ids, forward(m, ids, len(ids))[0][-1].argmax())
    return bytes(ids[-count:].tolist())


def main(base=BASE, factor=2, steps=240, count=60, seed=0):
    """Extend the base, and print how it reads as it is, stretched, and trained."""
    m = read_model(base)
    own = m.config["max_position_embeddings"]
    n = factor * own
    g = n // 4
    rng = np.random.default_rng(seed)
    windows = read_windows(n + 1)
    plain = rng.choice(windows["held out"], count, replace=False)
    hidden = [hide_references(code, g, rng, held_out=True) for code in plain]

    def show(label):
        found = found_references(m, hidden)
        print(f"\r{label:36} {bits_per_byte(m, plain):.3f} bits a byte, ", end="")
        print(f"{sum(found)} of {len(found)} answers; goes on {write_on(m, plain[0, :-64], 48)}")

    print(f"{'base, own context':36} {bits_per_byte(m, plain[:, -own:]):.3f} bits a byte")
    show(f"base, given {factor} times as much")
    m.config = stretch(m.config, factor)
    show("positions stretched, nothing trained")
    add_lora(m, rng)
    batches = rng.choice(windows["train"], (steps, BATCH))
    train(m, [[hide_references(code, g, rng) for code in batch] for batch in batches], g)
    merge(m)
    show("trained in groups, read densely")
    return m


if __name__ == "__main__":
    main()
