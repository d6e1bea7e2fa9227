"""Attacks on every setting: calls with junk in one place, which must be refused in a sentence or be right."""

from __future__ import annotations

import dataclasses
import fractions
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from attack_sizes import sizes

from longlora_edu import reference
from longlora_edu.attention import full_attention, s2_attention
from longlora_edu.demo.run import DemoSettings
from longlora_edu.geometry import S2Geometry, S2Pattern, group_size_from_ratio
from longlora_edu.longlora import LongLoRAConfig
from longlora_edu.lora import LoRALinear
from longlora_edu.model import LlamaConfig, TinyLlama
from longlora_edu.rope import Rope
from longlora_edu.runs.records import Proportion
from longlora_edu.training.corpus import Document, Windows
from longlora_edu.training.finetune import FinetuneSettings
from longlora_edu.training.passkey import PasskeyMix
from longlora_edu.training.pretrain import PretrainConfig
from longlora_edu.training.probe import ProbeSettings
from longlora_edu.training.train import TrainSettings

JUNK = [
    None, True, False, np.True_, 0, 1, -1, 2, 3, 7, 64, -(10**20), 10**20, 10**32, 10**400, 0.0, -0.0, 0.5, 1.0, 1.7,
    2.5, -1.0, 1e-320, 1e308, math.nan, math.inf, -math.inf, 1j, "", "junk", "yarn", "split", "all", "64", "0.5", "nan",
    "\udcff", b"x", [], [1], [[1, 2]], (), (1, 2), {}, {"a": 1}, set(), frozenset({1}), range(3), object(), int, len,
    np.int64(4), np.int8(-1), np.uint64(2**63), np.float32(0.5), np.float64(math.nan), np.float16(math.inf), ...,
    np.array(3), np.array([1, 2]), np.array(["a"]), np.datetime64("2020-01-01"), fractions.Fraction(1, 3), Path("x"),
    fractions.Fraction(2, 1), torch.tensor(3), torch.tensor([1.0, 2.0]), torch.tensor(True), slice(3),
]  # fmt: skip


def is_integer(value) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.bool_))


def is_number(value) -> bool:
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, (bool, np.bool_))
    return real and -1.7e308 < value < 1.7e308


def integer(least=1, most=2**31 - 1, none=False):
    return lambda value: (none and value is None) or (is_integer(value) and least <= value <= most)


def number(low=-math.inf, high=math.inf, above=-math.inf, none=False):
    return lambda value: (none and value is None) or (is_number(value) and low <= value <= high and value > above)


def one_of(*choices):
    return lambda value: any(type(value) is type(choice) and value == choice for choice in choices)


def flag(value) -> bool:
    return isinstance(value, bool)


def text(none=False, empty=False):
    def fits(value):
        if value is None or not isinstance(value, str):
            return none and value is None
        return (bool(value) or empty) and value.isascii()

    return fits


POSITIVE, COUNT, SEED = number(above=0), integer(), integer(0, 2**63 - 1)
METHODS, BOUNDARIES = ("default", "linear", "ntk", "dynamic", "yarn"), ("split", "wrap", "masked")
ROPE = Rope(8, trained_length=256)
Q, K = torch.zeros(1, 2, 8, 4), torch.zeros(1, 1, 8, 4)
GEOMETRY = S2Geometry(8, 4, 2)


def attention(function, q, k):
    def call(q=q, k=k, v=k, geometry=GEOMETRY, segments=None, scale=None, **options):
        return function(q, k, v, geometry, segments=segments, scale=scale, **options)

    return call


def ids_of(value):
    """An argument as the ids of a model of 256 bytes."""
    return TinyLlama(LlamaConfig(ROPE, hidden_size=16, intermediate_size=16, num_hidden_layers=1))(value)


# What is called, with what for good, and what each argument may be: a predicate, or None where only the errors are
# looked at, since what is right depends on the others.
TARGETS = {
    S2Geometry: ({"seq_len": 64, "group_size": 8, "num_heads": 2}, {
        "seq_len": integer(1, math.inf), "group_size": None, "num_heads": integer(1, math.inf), "shift": None,
        "boundary": one_of(*BOUNDARIES)}),
    S2Geometry.with_groups: ({"seq_len": 64, "num_groups": 8, "num_heads": 2}, {"seq_len": None, "num_groups": None}),
    S2Pattern: ({"group_size": 8}, {
        "group_size": integer(1, math.inf), "shift": integer(0, 7, none=True), "boundary": one_of(*BOUNDARIES)}),
    group_size_from_ratio: ({"seq_len": 64, "ratio": 0.25}, {"seq_len": None, "ratio": None}),
    Rope: ({"head_dim": 8, "trained_length": 64, "method": "yarn", "factor": 2.0}, {
        "head_dim": lambda value: is_integer(value) and 2 <= value < 2**31 and value % 2 == 0, "base": number(above=1),
        "method": one_of(*METHODS[1:]), "factor": number(low=1), "trained_length": integer(1, math.inf),
        "beta_fast": number(above=1)}),
    LlamaConfig: ({"rope": ROPE, "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 1}, {
        "rope": lambda value: False, "hidden_size": COUNT, "intermediate_size": COUNT, "num_hidden_layers": COUNT,
        "num_attention_heads": COUNT, "max_position_embeddings": COUNT, "vocab_size": COUNT, "rms_norm_eps": POSITIVE,
        "tie_word_embeddings": flag}),
    LongLoRAConfig: ({"context_length": 64}, {
        "context_length": integer(1, math.inf), "group_size": None, "shift": None, "boundary": one_of(*BOUNDARIES),
        "rope": one_of(*METHODS), "rank": COUNT, "alpha": POSITIVE, "train": one_of("adapters", "all"),
        "trained_length": integer(1, math.inf, none=True), "targets": None, "also_train": None, "group_ratio": None,
        "leap": None, "beta_fast": number(above=1, none=True)}),
    TrainSettings: ({"steps": 10**6}, {
        "steps": COUNT, "accumulate": COUNT, "warmup": integer(0, 10**6), "clip": POSITIVE, "checkpoint_every": COUNT,
        "decay": one_of("constant", "linear", "cosine")}),
    FinetuneSettings: ({}, {
        "steps": COUNT, "batch": COUNT, "rate": POSITIVE, "seed": SEED, "passkey_share": number(0, 1),
        "passkey_weight": POSITIVE}),
    PasskeyMix: ({}, {"share": number(0, 1), "weight": POSITIVE}),
    PretrainConfig: ({}, {
        "context": integer(129), "layers": COUNT, "heads": None, "steps": COUNT, "batch": COUNT, "seed": SEED,
        "muon_rate": POSITIVE, "adam_rate": POSITIVE, "weight_decay": number(low=0), "warmup": integer(0), "bf16": flag,
        "compile": flag, "rope_base": number(above=1), "passkey_share": number(0, 1), "passkey_weight": POSITIVE,
        "intermediate_size": COUNT, "hidden_size": None}),
    DemoSettings: ({}, {
        "context": COUNT, "rope": one_of(*METHODS), "boundary": one_of(*BOUNDARIES), "train": one_of("adapters", "all"),
        "steps": COUNT, "batch": COUNT, "rate": number(above=0, none=True), "seed": SEED, "corpus": text(none=True),
        "threads": integer(1, 1024, none=True), "passkey_share": number(0, 1), "passkey_weight": POSITIVE,
        "windows": COUNT, "trials": COUNT, "group_ratio": None}),
    ProbeSettings: ({}, {
        "values": integer(2), "layers": COUNT, "steps": COUNT, "batch": COUNT, "seed": SEED, "seq_len": integer(32),
        "place": one_of("inside", "across", "far"), "shift": None, "group_size": None}),
    Proportion: ({"successes": 1, "trials": 10**33}, {
        "successes": integer(0, 10**33), "trials": integer(1, math.inf)}),
    LoRALinear: ({"base": torch.nn.Linear(2, 2), "rank": 2, "alpha": 4}, {
        "base": lambda value: False, "rank": None, "alpha": POSITIVE}),
    Windows: ({"documents": (Document("a", b"0123456789" * 9),), "length": 4}, {"length": None}),
    attention(s2_attention, Q, K): ({}, {
        "q": lambda value: False, "k": lambda value: False, "v": lambda value: False, "geometry": lambda value: False,
        "segments": one_of(None), "scale": number(above=0, none=True), "dropout": None,
        "impl": one_of("auto", "grouped", "dense_mask", "flex")}),
    attention(reference.s2_attention, Q.numpy(), K.numpy()): ({}, {
        "q": lambda value: False, "k": lambda value: False, "v": lambda value: False, "geometry": lambda value: False,
        "segments": one_of(None), "scale": number(above=0, none=True)}),
    attention(lambda q, k, v, geometry, **options: full_attention(q, k, v, **options), Q, K): ({}, {
        "q": lambda value: False, "segments": one_of(None), "scale": number(above=0, none=True), "dropout": None}),
    ids_of: ({"value": torch.zeros(1, 8, dtype=torch.long)}, {"value": lambda value: False}),
}  # fmt: skip


def training_settings():
    """The settings of `longlora-edu train`, where transformers is installed."""
    pytest.importorskip("transformers")
    from longlora_edu.hf.settings import TrainingSettings

    return TrainingSettings, ({"model": "m", "data": "d", "context": 64}, {
        "model": text(empty=True), "data": text(empty=True), "context": COUNT, "document": one_of("file", "package"),
        "rope": one_of(None, *METHODS), "boundary": one_of(*BOUNDARIES), "train": one_of("adapters", "all"),
        "rank": COUNT, "bf16": flag, "gradient_checkpointing": flag, "dense": flag, "batch": COUNT, "accumulate": COUNT,
        "rate": POSITIVE, "warmup": integer(0), "steps": COUNT, "seed": SEED, "threads": integer(1, 1024, none=True),
        "checkpoint_every": COUNT, "group_ratio": None})  # fmt: skip


def outcome_of(function, good, name, value, fits) -> str | None:
    """None for a call that did what it must: returned where the value fits, refused it in a sentence elsewhere."""
    about = f"{getattr(function, '__qualname__', function)}({name}={value!r:.40})"
    try:
        made = function(**good | {name: value})
    except ValueError as error:
        if " must " not in str(error) or "\n" in str(error):
            return f"{about}: {error!r:.150}"
        return f"{about}: refused, {str(error)[:100]}" if fits is not None and fits(value) else None
    except MemoryError:
        return None if fits is None else f"{about}: MemoryError"
    except Exception as error:
        return f"{about}: {error!r:.150}"
    if fits is not None and not fits(value):
        return f"{about}: accepted"
    if dataclasses.is_dataclass(made) and isinstance(getattr(made, name, None), np.integer):
        return f"{about}: kept as {type(getattr(made, name)).__name__}"
    return None


@pytest.mark.filterwarnings("ignore")
@sizes(sample=400, full=10**6)
def test_junk_in_one_place_is_refused_in_a_sentence(table, count):
    targets = TARGETS | dict([training_settings()])
    calls = [
        (function, good, name, value, fits)
        for function, (good, arguments) in targets.items()
        for name, fits in arguments.items()
        for value in JUNK
    ]
    chosen = random.Random(0).sample(calls, min(count, len(calls)))
    table.row("calls with junk for one argument: refused in a sentence, or right", [outcome_of(*c) for c in chosen])
    assert count < 10**5 or len(chosen) >= 2000
