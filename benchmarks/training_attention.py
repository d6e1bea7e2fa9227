"""What should attention be while training? YaRN only, short, S² and full, on one budget: the table of lesson 08.

Each arm extends the small model of the studies from 256 to 2,048 bytes; only the pattern that training uses
differs. All are measured with dense attention, and once more under the pattern they were trained with. Then the
trained arms again with other seeds, on bits and passkeys at the target alone: how much of a difference is luck? Last,
a forward and backward pass of each by turns, so that what else the machine does slows all of them alike.

Writes `longlora_edu/assets/results/training_attention.json` after each arm; run again, it goes on where it stopped.
About 25 minutes on two cores.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from longlora_edu.geometry import S2Pattern
from longlora_edu.longlora import LongLoRAConfig, apply_longlora, merge_to_dense
from longlora_edu.model import TinyLlama, bundled_model
from longlora_edu.runs.progress import Terminal
from longlora_edu.runs.records import Proportion, provenance, read_json, write_json
from longlora_edu.training.corpus import Corpus, Windows, standard_library
from longlora_edu.training.evaluate import DEPTHS, TAIL, score_passkeys, score_text
from longlora_edu.training.finetune import FinetuneSettings, finetune
from longlora_edu.training.objective import NATS_PER_BIT, next_byte_nats
from longlora_edu.training.passkey import DIGITS, hide_passkey
from longlora_edu.training.pretrain import thinned

TARGET, GROUP, SEEDS = 2048, 512, (1, 2)
LENGTHS = (256, 512, 1024, 2048)
WINDOWS, TRIALS = 200, 40
EVERY = 16  # positions averaged into one number: the file travels with the package
OUT = Path(__file__).parents[1] / "longlora_edu" / "assets" / "results" / "training_attention.json"
# Full attention is a single group without a shift.
ARMS = {
    "yarn": None,
    "short": S2Pattern(GROUP, 0),
    "s2": S2Pattern(GROUP),
    "full": S2Pattern(TARGET, 0),
    "wrap": S2Pattern(GROUP, boundary="wrap"),  # the published form, which leaks
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=OUT)
    options.add_argument("--steps", type=int, default=80)
    options.add_argument("--windows", type=int, default=WINDOWS)
    options.add_argument("--trials", type=int, default=TRIALS)
    options.add_argument("--threads", type=int, default=2)
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    corpus = standard_library()
    settings = {"steps": arguments.steps, "windows": arguments.windows, "trials": arguments.trials}
    settings |= dataclasses.asdict(FinetuneSettings(arguments.steps)) | {"rope": "yarn", "train": "adapters"}
    record = {"target_context": TARGET, "settings": settings, "arms": {}, "other_seeds": {}, "speed": {}}
    if arguments.out.exists():
        found = read_json(arguments.out)
        if found["settings"] != settings:
            raise SystemExit(f"{arguments.out} must be of a run with the same settings, got {found['settings']}")
        record |= {name: found[name] for name in ("arms", "other_seeds", "speed") if name in found}

    def save() -> None:
        about = dataclasses.asdict(
            provenance(threads=arguments.threads, command="python benchmarks/training_attention.py")
        )
        write_json(arguments.out, record | {"corpus": corpus.describe()} | about)

    for name, pattern in ARMS.items():
        if name not in record["arms"]:
            model, trained = extended(pattern, corpus, arguments.steps, seed=0)
            record["arms"][name] = trained | measured(model, corpus, pattern, arguments.windows, arguments.trials)
            save()
            print(name, record["arms"][name]["bits_per_byte"], flush=True)
    for seed in SEEDS:
        for name in ("short", "s2", "full"):
            others = record["other_seeds"].setdefault(name, {})
            if str(seed) not in others:
                model, trained = extended(ARMS[name], corpus, arguments.steps, seed)
                text = score_text(model, corpus.held_out, [TARGET], windows=arguments.windows)
                keys = score_passkeys(model, corpus.held_out, [TARGET], trials=arguments.trials)
                others[str(seed)] = {
                    "seconds": trained["seconds"],
                    "bits_per_byte": text.by_length[TARGET],
                    "passkey": keys.at(TARGET),
                }
                save()
                print(name, seed, others[str(seed)], flush=True)
    if not record["speed"]:
        record["speed"] = speed(corpus)
        save()
        print(record["speed"])


def recipe(pattern: S2Pattern) -> LongLoRAConfig:
    return LongLoRAConfig(TARGET, group_size=pattern.group_size, shift=pattern.shift, boundary=pattern.boundary)


def extended(pattern: S2Pattern | None, corpus: Corpus, steps: int, seed: int) -> tuple[TinyLlama, dict]:
    """The merged model, and how its training went: none at all without a pattern."""
    model = bundled_model(256)
    apply_longlora(model, recipe(pattern or S2Pattern(GROUP)), generator=torch.Generator().manual_seed(seed))
    about = {"pattern": None, "steps": 0, "tokens": 0, "seconds": 0.0, "tokens_per_second": None, "curve": []}
    if pattern is not None:
        settings = FinetuneSettings(steps, seed=seed)
        result = finetune(model, Windows(corpus.train, TARGET + 1), settings, progress=Terminal(interval=30))
        tokens = settings.steps * settings.batch * TARGET
        about = {
            "pattern": dataclasses.asdict(pattern),
            "steps": settings.steps,
            "tokens": tokens,
            "seconds": result.seconds,
            "tokens_per_second": tokens / result.seconds,
            "curve": [rounded(point) for point in thinned(result.curve, 4)],
        }
    return merge_to_dense(model), about


def measured(model: TinyLlama, corpus: Corpus, pattern: S2Pattern | None, windows: int, trials: int) -> dict:
    text = score_text(model, corpus.held_out, LENGTHS, windows=windows)
    keys = score_passkeys(model, corpus.held_out, LENGTHS, trials=trials)
    dense = window_bits(model, corpus, windows)
    about = {
        "bits_per_byte": text.by_length,
        "bits_per_byte_by_position": by_position(dense),
        "bits_per_byte_by_window": dense[:, -TAIL:].mean(axis=1).round(4),  # the same windows in every arm: pairs
        "passkey": {length: keys.at(length) for length in LENGTHS},
        "passkey_by_depth": keys.cells,
    }
    if pattern is not None:
        for attention in model.attention_layers:
            attention.sparse = pattern
        as_trained = window_bits(model.train(), corpus, windows)
        about["as_trained"] = {
            "bits_per_byte": as_trained[:, -TAIL:].mean(),
            "bits_per_byte_all_positions": as_trained.mean(),
            "bits_per_byte_by_position": by_position(as_trained),
            "passkey_by_depth": {depth: found(model, corpus, depth, trials) for depth in DEPTHS},
        }
        merge_to_dense(model.eval())
    return about | {"bits_per_byte_all_positions": dense.mean(), "positions_in_each_mean": EVERY}


def speed(corpus: Corpus, rounds: int = 31) -> dict:
    """Seconds of one window forward and backward, the median over rounds in which each arm has its turn."""
    models = {}
    for name in ("short", "s2", "full"):
        models[name] = bundled_model(256)
        apply_longlora(models[name], recipe(ARMS[name]))
    texts = Windows(corpus.train, TARGET + 1).draw(np.random.default_rng(0), rounds)
    seconds = {name: [] for name in models}
    for text in texts:
        ids = torch.from_numpy(text[None])
        for name, model in models.items():
            began = time.perf_counter()
            next_byte_nats(model.train()(ids[:, :-1]), ids).mean().backward()
            seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    return {name: {"seconds": median, "tokens_per_second": TARGET / median} for name, median in medians.items()}


@torch.inference_mode()
def window_bits(model: TinyLlama, corpus: Corpus, windows: int) -> np.ndarray:
    """Bits of each next byte (windows, TARGET - 1) on the windows of `score_text`, with the attention of the mode."""
    texts = Windows(corpus.held_out, TARGET).draw(np.random.default_rng([0, 1]), windows)
    # All bytes go in, also the last, after which nothing is predicted: a wrapped pattern wants whole groups.
    return np.concatenate([next_byte_nats(model(ids)[:, :-1], ids).numpy() / NATS_PER_BIT for ids in pieces(texts)])


@torch.inference_mode()
def found(model: TinyLlama, corpus: Corpus, depth: float, trials: int) -> Proportion:
    """Passkeys of the target length as `score_passkeys` draws them, with the attention of the model's mode."""
    rng = np.random.default_rng([0, 2, TARGET, round(1000 * depth)])
    texts = [hide_passkey(text, depth, rng) for text in Windows(corpus.held_out, TARGET).draw(rng, trials)]
    right = 0
    for ids in pieces(np.stack(texts)):
        guesses = model(ids)[:, -DIGITS - 1 : -1].argmax(dim=-1)
        right += int((guesses == ids[:, -DIGITS:]).all(dim=1).sum())
    return Proportion(right, trials)


def pieces(texts: np.ndarray) -> Iterator[torch.Tensor]:
    for start in range(0, len(texts), 2):
        yield torch.from_numpy(texts[start : start + 2])


def by_position(bits: np.ndarray) -> np.ndarray:
    """Means over EVERY neighbours; the first, which lacks the byte without a prediction, over one fewer."""
    starts = np.arange(0, TARGET, EVERY)
    means = bits.mean(axis=0)
    return np.array([means[max(0, start - 1) : start + EVERY - 1].mean() for start in starts]).round(3)


def rounded(point: dict) -> dict:
    return {name: value if value is None else round(value, 4) for name, value in point.items()}


if __name__ == "__main__":
    main()
