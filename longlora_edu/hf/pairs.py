"""Instruction pairs, in the formats of LongAlpaca and LongQA: read, tokenised, drawn one at a time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from ..training.corpus import as_utf8
from .tokens import turn_ids

IGNORED = -100  # the label that transformers and torch leave out of a loss


@dataclass(frozen=True)
class Pair:
    """An instruction and its answer, as LongAlpaca and LongQA have them."""

    instruction: str
    output: str


@dataclass(frozen=True)
class PairData:
    """Instruction pairs, drawn one at a time; those longer than the context are left out and counted."""

    pairs: tuple[tuple[np.ndarray, np.ndarray], ...]
    left_out: int
    lengths: tuple[int, ...]

    @property
    def texts(self) -> tuple[np.ndarray, ...]:
        """The ids of all pairs that can be drawn."""
        return tuple(ids for ids, _ in self.pairs)

    @property
    def mean_length(self) -> float:
        """The mean length of a drawn pair, in tokens."""
        return float(np.mean([len(ids) for ids in self.texts]))

    def draw(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw one pair as ids and labels, int64 (1, n). `count` has no effect: lengths differ."""
        return self.item(int(rng.integers(len(self.pairs))))

    @property
    def in_a_pass(self) -> int:
        """Number of pairs in a pass over the data."""
        return len(self.pairs)

    def item(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return ids and labels, int64 (1, n), of a pair, by its number."""
        ids, labels = self.pairs[number]
        return ids[None], labels[None]


def read_pairs(path: Path) -> list[Pair]:
    """Read instruction pairs of a `.jsonl` file, or of a `.json` file that holds a list of them.

    Where an item has an `input` too, as some of Alpaca's do, it stands after the instruction.

    Raises:
        ValueError: with file, line and column, for text that is not JSON; for an item without its two texts.
    """
    text = as_utf8(path.read_bytes(), path).decode()
    items = []
    if path.suffix == ".jsonl":
        for number, line in enumerate(text.split("\n"), 1):  # splitlines would cut inside of texts, too
            if line.strip():
                items.append((f"line {number}", _parsed(path, line, number)))
    else:
        found = _parsed(path, text, None)
        if not isinstance(found, list):
            raise ValueError(f"{path} must hold a list of instruction pairs, got {type(found).__name__}")
        items = [(f"item {number}", item) for number, item in enumerate(found, 1)]
    if not items:
        raise ValueError(f"{path} must hold at least one instruction pair, got none")
    pairs = []
    for where, item in items:
        for name in ("instruction", "output"):
            if not isinstance(item, dict) or not isinstance(item.get(name), str) or not item[name].strip():
                raise ValueError(f"{path}, {where}, must have the text {name!r}, got {str(item)[:60]}")
        parts = [item["instruction"], *([str(item["input"])] if item.get("input") else [])]
        pairs.append(Pair("\n\n".join(parts), item["output"]))
    return pairs


def tokenised_pair(pair: Pair, tokenizer: PreTrainedTokenizerBase) -> tuple[np.ndarray, np.ndarray]:
    """Ids and labels int64 (n,): the prompt's labels are ignored, the answer ends as a turn and as a text does."""
    prompt, answer = turn_ids(tokenizer, pair.instruction, pair.output)
    ids = np.array([*prompt, *answer], dtype=np.int64)
    labels = ids.copy()
    labels[: len(prompt)] = IGNORED
    return ids, labels


def _parsed(path: Path, text: str, line: int | None):
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno if line is None else line}, column {error.colno}"
        raise ValueError(f"{path}, {where}, must be JSON: {error.msg}") from None
