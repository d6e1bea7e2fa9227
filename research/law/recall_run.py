"""One row of the law computed: train on the task, then ask, densely and under the training pattern."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from longlora_edu.longlora import LongLoRAConfig, apply_longlora
from longlora_edu.model import LlamaConfig, TinyLlama
from longlora_edu.rope import Rope
from longlora_edu.runs.progress import Progress
from longlora_edu.runs.records import Proportion
from longlora_edu.training.corpus import Corpus, Windows
from longlora_edu.training.evaluate import TAIL, score_text
from longlora_edu.training.finetune import FinetuneSettings, finetune
from longlora_edu.training.objective import POSITIONS
from longlora_edu.training.references import COUNT, DIGITS, LINE, Reference, ReferenceMix, hide_references
from longlora_edu.training.train import Metrics, TrainResult, TrainSettings, train

from ..study.extension import Skipping
from .distances import counts, draw_chain, lay_chains
from .recall import HEADS, RATE_FROM_SCRATCH, RATES, Recall
from .statements import VALUES, VOCABULARY, draw_statements

# The demo's recipe when its recorded arms became the pilots of named references. Numbers of their own: a row must not
# change when the demo does.
TAUGHT, ROOM = 16, 7 * LINE  # references in a training window at most, and bytes of text for each
RANK, PASSKEYS, REFERENCES, PLAIN = 96, (0.15, 6.0), (0.7, 6.0), 0.3
QUESTIONS = 4  # a seed of their own: what is asked is the same for every row of a task
TEXT_WINDOWS = 40
SEQUENCES = 50  # asked at a time
WIDTH, HEAD_DIM = 64, 16
Found = dict[str, dict[str, Proportion]]


@dataclass(frozen=True)
class LaidMix(ReferenceMix):
    """Named references in training text at the distances of a row's layout."""

    row: Recall | None = None

    def places(self, length: int, rng: np.random.Generator) -> tuple[Reference, ...]:
        """Choose the places of one training window."""
        row = self.row
        draws = [lambda: draw_chain(row.layout, row.training_room, 1, rng)] * min(TAUGHT, length // ROOM)
        return tuple(Reference(*chain) for chain in lay_chains(draws, row.training_room))


@dataclass(frozen=True)
class LaidOut(FinetuneSettings):
    """The demo's fine-tuning with references at the distances of a row's layout."""

    row: Recall | None = None

    def references(self) -> ReferenceMix | None:
        """Build the mix of named references."""
        return LaidMix(self.row.group, self.reference_share, self.reference_weight, row=self.row)


def settings_of(row: Recall) -> LaidOut:
    """Return the fine-tuning of a row of named references: equal text in every arm, in short windows more of them."""
    batch = row.batch * row.length // row.training_room.length
    return LaidOut(row.steps, batch, RATES[row.arm], row.seed, *PASSKEYS, *REFERENCES, row.group, PLAIN, row=row)


def compute_recall(
    row: Recall,
    base: TinyLlama | None,
    corpus: Corpus | None,
    *,
    checkpoint: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> tuple[TrainResult, dict]:
    """Train and measure a row; return its training and its results.

    `base` and `corpus` are those of named references; statements begin from scratch and need neither.
    """
    if row.task != "references":
        model, training = from_scratch(row)
        return training, _as_results(ask_statements(row, model))
    model = prepared(row, base)
    windows = Windows(corpus.train, row.training_room.length + 1)
    forward = Skipping(model, row.length, row.seed) if row.arm == "windows" else None
    options = {"forward": forward, "checkpoint": checkpoint, "resume": resume, "progress": progress}
    training = finetune(model, windows, settings_of(row), **options)
    results = _as_results(ask_references(row, model, corpus))
    lengths = [length for length in (row.length // 4, row.length) if length > TAIL]
    text = score_text(model.eval(), corpus.held_out, lengths, windows=min(TEXT_WINDOWS, row.trials))
    return training, results | {"bits_per_byte": text.by_length}


def prepared(row: Recall, base: TinyLlama) -> TinyLlama:
    """Apply the demo's recipe to the base, in place, with the attention and the leaps of the row."""
    recipe = LongLoRAConfig(row.length, group_size=row.group, rank=RANK, alpha=2 * RANK)
    apply_longlora(base, recipe, generator=torch.Generator().manual_seed(row.seed))
    for attention in base.attention_layers:
        attention.sparse = row.pattern
    base.leap = row.leaps
    return base


def from_scratch(row: Recall) -> tuple[TinyLlama, TrainResult]:
    """Train a fresh model of two layers on statements under the row's attention."""
    model = fresh_model(row)
    for attention in model.attention_layers:
        attention.sparse = row.pattern

    def objective(step: int, part: int) -> tuple[Tensor, Metrics]:
        ids, answers, _ = draw_statements(row, np.random.default_rng([row.seed, step]), row.batch)
        positions = None
        if row.leaps is not None:
            drawn = row.leaps.positions(row.length, np.random.default_rng([row.seed, step, part, POSITIONS]))
            positions = torch.from_numpy(drawn)
        asked = answers >= 0
        logits = model(torch.from_numpy(ids), positions=positions)[torch.from_numpy(asked)][:, :VALUES]
        right = torch.from_numpy(answers[asked])
        accuracy = (logits.argmax(dim=-1) == right).float().mean().item()
        return F.cross_entropy(logits, right), {"accuracy": accuracy}

    parameters = dict(model.train().named_parameters())
    optimizer = torch.optim.AdamW(parameters.values(), lr=RATE_FROM_SCRATCH, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = TrainSettings(row.steps, warmup=min(20, row.steps), decay="cosine")
    return model, train(parameters, [optimizer], objective, schedule)


def fresh_model(row: Recall) -> TinyLlama:
    """Make the model that begins from scratch: two layers, two plain and two shifted heads, 140,000 weights."""
    shape = LlamaConfig(
        Rope(HEAD_DIM, trained_length=row.length),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=row.length,
        vocab_size=VOCABULARY,
    )
    with torch.random.fork_rng(devices=[]):  # the layers' own first weights must not use up the caller's numbers
        return TinyLlama(shape, generator=torch.Generator().manual_seed(row.seed))


def uses(row: Recall, model: TinyLlama) -> Iterator[str]:
    """Put the model into each mode in which it is asked: dense, and sparse as trained where training was sparse."""
    model.eval()
    yield "dense"
    if row.pattern is not None:
        model.train()
        yield "sparse"
        model.eval()


@torch.inference_mode()
def ask_statements(row: Recall, model: TinyLlama) -> Found:
    """Count right answers by use and class, on `trials` questions or a few more."""
    found: Found = {}
    for use in uses(row, model):
        for index, kind in enumerate(row.classes):
            right = asked = batch = 0
            while asked < row.trials:
                rng = np.random.default_rng([QUESTIONS, index, batch])
                ids, answers, _ = draw_statements(row, rng, min(SEQUENCES, row.trials), kind)
                where = answers >= 0
                guesses = model(torch.from_numpy(ids))[..., :VALUES].argmax(dim=-1).numpy()
                right, asked = right + int((guesses == answers)[where].sum()), asked + int(where.sum())
                batch += 1
            found.setdefault(use, {})[kind] = Proportion(right, asked)
    return found


@torch.inference_mode()
def ask_references(row: Recall, model: TinyLlama, corpus: Corpus) -> Found:
    """Count references found, all five digits right, by use and class."""
    texts, laid = reference_questions(row, corpus)
    found: Found = {}
    for use in uses(row, model):
        outcomes: dict[str, list[bool]] = {kind: [] for kind in row.classes}
        for text, asked in zip(texts, laid, strict=True):
            ids = torch.from_numpy(text)[None]
            ranked = model(ids[:, :-1])[0].argmax(dim=-1)
            for kind, (_, place) in asked:
                answer = ids[0, place : place + DIGITS]
                outcomes[kind].append(bool((ranked[place - 1 : place - 1 + DIGITS] == answer).all()))
        found[use] = {kind: Proportion(sum(results), len(results)) for kind, results in outcomes.items()}
    return found


def reference_questions(row: Recall, corpus: Corpus) -> tuple[list[np.ndarray], list[list[tuple[str, tuple]]]]:
    """Draw held-out windows with references of every class until each has `trials` to which no shortcut leads."""
    rng = np.random.default_rng(QUESTIONS)
    source, missing = Windows(corpus.held_out, row.length), dict.fromkeys(row.classes, row.trials)
    texts, laid = [], []
    while any(number > 0 for number in missing.values()):
        wanted = [kind for kind, number in missing.items() if number > 0]
        kinds = sorted((wanted * COUNT)[:COUNT], key=lambda kind: -row.classes.index(kind) % len(row.classes))
        chains: list[tuple[int, ...]] = []
        kept = []
        for kind in kinds:
            more = lay_chains(
                [lambda kind=kind: draw_chain(kind, row.room, 1, rng)], row.room, enclose=True, laid=chains
            )
            kept += [(kind, chain) for chain in more]
            chains += more
        places = [Reference(*chain) for chain in chains]
        texts.append(hide_references(source.draw(rng, 1)[0], places, rng, held_out=True))
        laid.append([(kind, chain) for kind, chain in kept if counts(chain, chains)])
        for kind, _ in laid[-1]:
            missing[kind] -= 1
    return texts, laid


def _as_results(found: Found) -> dict:
    return {"recall": found}
