"""Measures of success: bits per byte by context length and by position, passkeys found by length and depth.

Everything here evaluates with dense attention, whatever the model was trained with: that is the method's promise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..model import TinyLlama
from ..runs.records import Proportion
from .corpus import Document, Windows
from .objective import NATS_PER_BIT, next_byte_nats
from .passkey import DIGITS, hide_passkey

TAIL = 128
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
BATCH_TOKENS = 4096
OnBatch = Callable[[int], None]


@dataclass(frozen=True)
class TextScore:
    """Bits per byte of held-out text.

    `by_length[L]` is the mean over the *same* last 128 bytes of all windows, given the L - 128 bytes before
    them: only the context differs. `by_position[p]` is the mean at byte p + 1 of the longest windows.
    """

    windows: int
    by_length: dict[int, float]
    by_position: np.ndarray


@dataclass(frozen=True)
class PasskeyScore:
    """Passkeys found, by length and depth (`cells[length][depth]`), decoded greedily and matched exactly."""

    cells: dict[int, dict[float, Proportion]]

    def at(self, length: int) -> Proportion:
        """Pool all depths at one length."""
        first, *others = self.cells[length].values()
        return sum(others, first)


def score_text(
    model: TinyLlama,
    documents: tuple[Document, ...],
    lengths: Sequence[int],
    *,
    windows: int = 200,
    seed: int = 0,
    on_batch: OnBatch = lambda tokens: None,
) -> TextScore:
    """Measure bits per byte at each of `lengths`, on windows of the longest drawn from `documents`.

    Raises:
        ValueError: when a length leaves no context before the last 128 bytes, or no document is long enough.
    """
    lengths = _sorted(lengths)
    if lengths[0] <= TAIL:
        raise ValueError(f"lengths must be above {TAIL}, got {lengths[0]}")
    longest = lengths[-1]
    texts = Windows(documents, longest).draw(np.random.default_rng([seed, 1]), windows)
    by_length = {}
    for length in lengths:
        last = None if length == longest else TAIL
        # One array, made before the first batch: a small one kept of each would pin the heap around it.
        nats = np.empty((windows, last or longest - 1), dtype=np.float32)
        done = 0
        for ids in _batches(texts[:, -length:], on_batch):
            nats[done : done + len(ids)] = next_byte_nats(_logits(model, ids[:, :-1], last), ids)
            done += len(ids)
        by_length[length] = float(nats[:, -TAIL:].mean()) / NATS_PER_BIT
    return TextScore(windows, by_length, nats.mean(axis=0) / NATS_PER_BIT)  # pyrefly: ignore[unbound-name]


def score_passkeys(
    model: TinyLlama,
    documents: tuple[Document, ...],
    lengths: Sequence[int],
    *,
    depths: Sequence[float] = DEPTHS,
    trials: int = 40,
    seed: int = 0,
    on_batch: OnBatch = lambda tokens: None,
) -> PasskeyScore:
    """Measure passkey retrieval, `trials` at each length and depth.

    One forward pass decides a trial: greedy decoding writes the right five digits exactly if each of them is
    ranked first when the ones before it are right.
    """
    cells: dict[int, dict[float, Proportion]] = {}
    for length in _sorted(lengths):
        source = Windows(documents, length)
        for depth in depths:
            rng = np.random.default_rng([seed, 2, length, round(1000 * depth)])
            texts = np.stack([hide_passkey(text, depth, rng) for text in source.draw(rng, trials)])
            found = 0
            for ids in _batches(texts, on_batch):
                guesses = _logits(model, ids[:, :-1], DIGITS).argmax(dim=-1)
                found += int((guesses == ids[:, -DIGITS:]).all(dim=1).sum())
            cells.setdefault(length, {})[depth] = Proportion(found, trials)
    return PasskeyScore(cells)


def evaluation_tokens(
    lengths: Sequence[int], *, windows: int = 200, trials: int = 40, depths: int = len(DEPTHS)
) -> int:
    """Count the tokens that `score_text` and `score_passkeys` will read together, for a progress bar."""
    return sum(lengths) * (windows + trials * depths)


def doubled_lengths(first: int, last: int) -> list[int]:
    """List `first`, doubled as long as it stays below `last`, then `last`: 256, 512, 700."""
    lengths = [first]
    while 2 * lengths[-1] < last:
        lengths.append(2 * lengths[-1])
    return [*lengths, last]


def _sorted(lengths: Sequence[int]) -> list[int]:
    if not lengths:
        raise ValueError("lengths must name at least one length, got none")
    return sorted(lengths)


def _batches(texts: np.ndarray, on_batch: OnBatch):
    step = max(1, BATCH_TOKENS // texts.shape[1])
    for start in range(0, len(texts), step):
        ids = torch.from_numpy(texts[start : start + step])
        yield ids
        on_batch(ids.numel())


@torch.inference_mode()
def _logits(model: TinyLlama, ids: torch.Tensor, last: int | None) -> torch.Tensor:
    training = model.training
    device = next(model.parameters()).device
    try:
        return model.eval()(ids.to(device), last=last, beyond_context=True).float().cpu()
    finally:
        model.train(training)
