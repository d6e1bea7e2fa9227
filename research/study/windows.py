"""Held-out windows: which document each is of, and windows that are spread over the documents.

The rows of the studies are measured on 200 windows drawn by their position, so that a long document gives many. Their
documents are recorded once for a text, in `benchmarks/results/window_documents.json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from longlora_edu.runs.records import as_json, provenance, read_json, write_json
from longlora_edu.training.corpus import Corpus, Document, Windows

from .inputs import BENCHMARKS

PLACES = [0, 1]  # the seed by which the windows of every row are drawn
RECORD = BENCHMARKS / "results" / "window_documents.json"


@dataclass(frozen=True)
class Spread:
    """Windows (count, length) with as many of each document that is long enough, at even distances, and its name."""

    texts: np.ndarray
    documents: tuple[str, ...]


def spread_windows(documents: Sequence[Document], length: int, count: int) -> Spread:
    """Take `count` windows, the same number of every document that is long enough; the first ones give one more.

    Raises:
        ValueError: when no document is long enough, or there are fewer windows than documents.
    """
    long = [document for document in documents if len(document.data) >= length]
    if not long:
        raise ValueError(f"documents must hold one of at least {length} bytes, got none")
    if count < len(long):
        raise ValueError(f"count must be at least one for each of {len(long)} documents, got {count}")
    texts, names = [], []
    for index, document in enumerate(long):
        number = count // len(long) + (index < count % len(long))
        data = np.frombuffer(document.data, dtype=np.uint8)
        room = len(data) - length
        for start in np.linspace(0, room, number + 2)[1:-1].astype(int):
            texts.append(data[start : start + length])
            names.append(document.name)
    return Spread(np.stack(texts), tuple(names))


def drawn_documents(corpus: Corpus, span: int, count: int) -> list[str]:
    """Name the document of each window that a row with these settings is measured on."""
    windows = Windows(corpus.held_out, span)
    return windows.names_of(np.random.default_rng(PLACES), count)


def write_documents(corpus: Corpus, path: Path = RECORD, *, span: int = 4096, count: int = 200) -> Path:
    """Record the documents of a text's windows; return the path."""
    names = drawn_documents(corpus, span, count)
    documents = sorted(set(names))
    about = {"corpus": corpus.hash, "text": corpus.source, "span": span, "windows": count, "seed": PLACES}
    found = {"documents": documents, "by_window": [documents.index(name) for name in names]}
    write_json(path, as_json(about | found | vars(provenance(command="longlora-edu study documents"))))
    return path


def recorded_documents(path: Path = RECORD) -> Mapping[str, tuple[int, ...]]:
    """Return each window's document by its number, under the hash of the text; empty where nothing is recorded."""
    if not path.is_file():
        return {}
    found = read_json(path)
    return {found["corpus"]: tuple(found["by_window"])}
