"""Tokens of a large corpus, kept between runs: they are found again by a hash of the text and of the tokenizer."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from .. import __version__
from ..runs.progress import Progress, Silent
from ..runs.records import replace_file
from ..training.corpus import Corpus, Document

SMALLEST = 2_000_000  # bytes: what is tokenised in a second leaves no file
SIDES = ("train", "held_out")


def cache_folder() -> Path:
    """The folder for tokens: `longlora_edu/` in the cache of the hub, which `HF_HOME` moves."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface"
    return Path(home) / "longlora_edu"


def corpus_tokens(
    corpus: Corpus,
    tokenizer: PreTrainedTokenizerBase,
    tokenised: Callable[[Sequence[Document], PreTrainedTokenizerBase], list[np.ndarray]],
    progress: Progress | None = None,
) -> list[list[np.ndarray]]:
    """Return what `tokenised` makes of the training and the held-out side of a corpus, read from the cache if there.

    A cache file that cannot be read is written again; where none can be written, the text is tokenised each time.
    """
    size = sum(len(document.data) for side in SIDES for document in getattr(corpus, side))
    backend = getattr(tokenizer, "_tokenizer", None)
    path = None
    if size >= SMALLEST and backend is not None:
        # The text of the tokenizer holds its merges and its control tokens; the end of a text is set beside it.
        about = f"{__version__}\0{corpus.hash}\0{backend.to_str()}\0{tokenizer.eos_token_id}"
        path = cache_folder() / f"{hashlib.sha256(about.encode()).hexdigest()[:32]}.npz"
        if (found := _read(path)) is not None:
            return found
    sides: list[list[np.ndarray]] = [[], []]
    with (progress or Silent()).stage("Tokenising", size, "B") as advance:
        for side, texts in zip(SIDES, sides, strict=True):
            for document in getattr(corpus, side):
                texts += tokenised([document], tokenizer)
                advance(len(document.data))
    if path is not None:
        arrays: dict[str, Any] = {}
        for side, texts in zip(SIDES, sides, strict=True):
            arrays[side] = np.concatenate([np.zeros(0, np.int64), *texts])
            arrays[f"{side}_lengths"] = np.array([*map(len, texts)], np.int64)
        file = io.BytesIO()
        np.savez(file, **arrays)
        with suppress(OSError):  # a home that cannot be written is no reason not to train
            replace_file(path, file.getvalue())
    return sides


def _read(path: Path) -> list[list[np.ndarray]] | None:
    """The tokens in a file, None where it is none: zip checks the sums of what it holds."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return [np.split(file[side], file[f"{side}_lengths"].cumsum())[:-1] for side in SIDES]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None
