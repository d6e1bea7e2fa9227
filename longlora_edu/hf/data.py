"""The data of a run as tokens: windows of long documents, or instruction pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..runs.progress import Progress
from ..training.corpus import Document, Windows, as_utf8, read_corpus
from .pairs import PairData, read_pairs, tokenised_pair
from .settings import TrainingSettings
from .token_cache import corpus_tokens
from .tokens import closing_ids, opening_ids, plain_ids, with_opening

# Upper edges of the histogram of document lengths, as parts of the context.
EDGES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)


class TokenWindows(Windows):
    """Windows of `length` tokens, each from one tokenised document, all positions equally likely.

    Each begins with the tokens of `opening`: a model that saw BOS first in training must see it here. These count in
    the argument `length`, and not in the attribute, which is what is taken from the document.

    Raises:
        ValueError: when no document is long enough, naming the longest.
    """

    def __init__(self, texts: Sequence[np.ndarray], length: int, opening: Sequence[int] = ()) -> None:
        if length <= len(opening):
            raise ValueError(f"length must be {'above that of the opening' if opening else 'positive'}, got {length}")
        self.opening, needed = tuple(opening), length - len(opening)
        long = [text for text in texts if len(text) >= needed]
        if not long:
            longest = max(map(len, texts), default=0)
            raise ValueError(
                f"data must hold a document of at least {needed} tokens, got {longest} as the longest: "
                "bring longer documents, or lower --context"
            )
        self._hold(long, needed)

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw `count` windows: int64 (count, n), the opening and then `self.length` tokens."""
        return with_opening(super().draw(rng, count), self.opening)

    @cached_property
    def side_by_side(self) -> np.ndarray:
        """The windows of one pass, which do not overlap, as rows (number of the text, start in it)."""
        return np.array(
            [(i, at) for i, text in enumerate(self._texts) for at in range(0, len(text) - self.length + 1, self.length)]
        )

    def at(self, text: int, start: int) -> np.ndarray:
        """Return a window, int64 (1, n): the opening, then `self.length` tokens of text number `text` from `start`."""
        return with_opening(self._texts[text][None, start : start + self.length], self.opening)


@dataclass(frozen=True)
class TextData:
    """Windows of long documents. `held_out` are the texts never trained on, `skipped` the files without any text."""

    windows: TokenWindows
    texts: tuple[np.ndarray, ...]
    held_out: tuple[np.ndarray, ...]
    skipped: tuple[str, ...] = ()

    @property
    def lengths(self) -> tuple[int, ...]:
        """The lengths of all documents, in tokens."""
        return tuple(map(len, self.texts))

    @property
    def mean_length(self) -> float:
        """The mean length of a drawn window, in tokens."""
        return self.windows.length + len(self.windows.opening)

    def draw(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw `count` windows as ids and labels, int64 (count, n): the two are equal."""
        ids = self.windows.draw(rng, count)
        return ids, ids

    @property
    def in_a_pass(self) -> int:
        """Number of windows in a pass over the data."""
        return len(self.windows.side_by_side)

    def item(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return ids and labels, int64 (1, n), of one window of a pass, by its number."""
        ids = self.windows.at(*self.windows.side_by_side[number])
        return ids, ids


def draw_in_passes(data: TextData | PairData, seed: int, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ids and labels, int64 (count, n), of the items `first`, `first + 1` … of endless passes over the data.

    Each pass has an order of its own, drawn from `seed`.
    """
    rows = []
    for place in range(first, first + count):
        number, at = divmod(place, data.in_a_pass)
        rows.append(data.item(np.random.default_rng([seed, number]).permutation(data.in_a_pass)[at]))
    ids, labels = (np.concatenate(arrays) for arrays in zip(*rows, strict=True))
    return ids, labels


def read_data(
    settings: TrainingSettings, tokenizer: PreTrainedTokenizerBase, progress: Progress | None = None
) -> TextData | PairData:
    """Read and tokenise the data of a run: instruction pairs from a `.json` or `.jsonl` file, else long documents.

    Raises:
        ValueError: when nothing in it can be trained on at this context, naming the longest.
    """
    path = Path(settings.data)
    if path.suffix in (".json", ".jsonl") and path.is_file():
        if settings.batch != 1:
            raise ValueError(f"batch must be 1 for instruction pairs, whose lengths differ, got {settings.batch}")
        if settings.boundary != "split":
            raise ValueError(f"boundary must be 'split' for instruction pairs, got {settings.boundary!r}")
        if settings.validate_every:
            raise ValueError(
                f"validate_every must be 0 for instruction pairs, none of them held out, got {settings.validate_every}"
                ": see evaluate"
            )
        everything = [tokenised_pair(pair, tokenizer) for pair in read_pairs(path)]
        fitting = tuple(pair for pair in everything if len(pair[0]) <= settings.context)
        lengths = tuple(len(ids) for ids, _ in everything)
        if not fitting:
            raise ValueError(f"data must hold a pair of at most {settings.context} tokens, got {min(lengths)} at least")
        return PairData(fitting, len(everything) - len(fitting), lengths)
    corpus = read_corpus(path, settings.document)
    texts, held_out = corpus_tokens(corpus, tokenizer, tokenised, progress)
    windows = TokenWindows(texts, settings.context, opening_ids(tokenizer))
    return TextData(windows, tuple(texts), tuple(held_out), corpus.left_out)


def tokenised(documents: Sequence[Document], tokenizer: PreTrainedTokenizerBase) -> list[np.ndarray]:
    """int64 (n,) a document, with the tokenizer's end-of-text token after it where it has one."""
    end = closing_ids(tokenizer)
    texts = (as_utf8(document.data, document.name).decode() for document in documents)
    return [np.array([*plain_ids(tokenizer, text), *end], dtype=np.int64) for text in texts]


def check_ids(texts: Sequence[np.ndarray], model: PreTrainedModel) -> None:
    """Check that these tokens all stand in the embedding of the model. On a GPU, another would end the process.

    Raises:
        ValueError: naming the highest.
    """
    rows, highest = (
        cast(nn.Embedding, model.get_input_embeddings()).num_embeddings,
        max((int(ids.max(initial=0)) for ids in texts), default=0),
    )
    if highest >= rows:
        raise ValueError(f"the tokenizer must be that of the model, of {rows} words, got a token {highest}")


def length_histogram(lengths: Sequence[int], context: int) -> list[tuple[int, int, int]]:
    """Count documents and their tokens by length: a row `(longest, documents, tokens)` for each class.

    Classes end at 1/16, 1/8 … of the context and the whole of it; the last row is for what is longer.
    """
    sizes = np.asarray(lengths)
    edges = [round(edge * context) for edge in EDGES] + [max(int(sizes.max(initial=0)), context)]
    rows, below = [], 0
    for edge in edges:
        inside = sizes[(sizes > below) & (sizes <= edge)]
        rows.append((edge, len(inside), int(inside.sum())))
        below = edge
    return rows
