"""What a real model is trained on: windows of long documents, or instruction pairs whose prompt is not in the loss."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel

from ..corpus import Document, Windows

IGNORED = -100  # the label that transformers and torch leave out of a loss
# Upper edges of the histogram of document lengths, as parts of the context.
EDGES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)


@dataclass(frozen=True)
class Pair:
    """An instruction and its answer, as LongAlpaca and LongQA have them."""

    instruction: str
    output: str


class TokenWindows(Windows):
    """Windows of `length` tokens, each of one tokenised document, all positions equally likely.

    Raises:
        ValueError: when no document is long enough, naming the longest.
    """

    def __init__(self, texts: Sequence[np.ndarray], length: int) -> None:
        if length <= 0:
            raise ValueError(f"length must be positive, got {length}")
        long = [text for text in texts if len(text) >= length]
        if not long:
            longest = max(map(len, texts), default=0)
            raise ValueError(
                f"data must hold a document of at least {length} tokens, got {longest} as the longest: "
                "bring longer documents, or lower --context"
            )
        self.length = length
        self._texts = long
        self._ends = np.cumsum([len(text) - length + 1 for text in long])


def tokenised(documents: Sequence[Document], tokenizer) -> list[np.ndarray]:
    """int64 (n,) a document, with the tokenizer's end-of-text token after it where it has one."""
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    texts = []
    for document in documents:
        text = document.data.decode("utf-8", errors="replace")
        ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        texts.append(np.array([*ids, *end], dtype=np.int64))
    return texts


def check_ids(texts: Sequence[np.ndarray], model: PreTrainedModel) -> None:
    """Do these tokens all stand in the embedding of the model? On a GPU, one that does not would end the process.

    Raises:
        ValueError: naming the highest.
    """
    rows, highest = (
        model.get_input_embeddings().num_embeddings,
        max((int(ids.max(initial=0)) for ids in texts), default=0),
    )
    if highest >= rows:
        raise ValueError(f"the tokenizer must be that of the model, of {rows} words, got a token {highest}")


def length_histogram(lengths: Sequence[int], context: int) -> list[tuple[int, int, int]]:
    """`(longest, documents, tokens)` for documents up to 1/16, 1/8 … of the context, the whole of it, and beyond."""
    lengths = np.asarray(lengths)
    edges = [round(edge * context) for edge in EDGES] + [max(int(lengths.max(initial=0)), context)]
    rows, below = [], 0
    for edge in edges:
        inside = lengths[(lengths > below) & (lengths <= edge)]
        rows.append((edge, len(inside), int(inside.sum())))
        below = edge
    return rows


def read_pairs(path: Path) -> list[Pair]:
    """Instruction pairs of a `.jsonl` file, or of a `.json` file that holds a list of them.

    Where an item has an `input` too, as some of Alpaca's do, it stands after the instruction.

    Raises:
        ValueError: with file, line and column, for what is not JSON; for an item without its two texts.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}, line {line}, must be UTF-8, got byte {error.object[error.start]:#04x}") from None
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


def tokenised_pair(pair: Pair, tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """Ids and labels int64 (n,): the prompt's labels are ignored, the answer ends with the end-of-text token.

    The prompt goes through the chat template of a tokenizer that has one.
    """
    if getattr(tokenizer, "chat_template", None):
        turn = [{"role": "user", "content": pair.instruction}]
        prompt = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        prompt_ids = tokenizer(prompt, add_special_tokens=False, verbose=False)["input_ids"]
    else:
        prompt_ids = tokenizer(pair.instruction, add_special_tokens=True, verbose=False)["input_ids"]
    answer = tokenizer(pair.output, add_special_tokens=False, verbose=False)["input_ids"]
    answer = [*answer, *([] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id])]
    ids = np.array([*prompt_ids, *answer], dtype=np.int64)
    labels = ids.copy()
    labels[: len(prompt_ids)] = IGNORED
    return ids, labels


def _parsed(path: Path, text: str, line: int | None):
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno if line is None else line}, column {error.colno}"
        raise ValueError(f"{path}, {where}, must be JSON: {error.msg}") from None
