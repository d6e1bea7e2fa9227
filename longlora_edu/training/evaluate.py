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
from ..runs.validate import check_integer
from .corpus import Document, Windows
from .objective import NATS_PER_BIT, next_byte_nats
from .passkey import DIGITS, hide_passkey
from .references import CLASSES, Layout, Reference, hide_references, lay_references, references_in

TAIL = 128
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
BATCH_TOKENS = 4096
LAYOUTS = ("free", "aligned")
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


@dataclass(frozen=True)
class ReferenceScore:
    """Share of references that a model answers right: a text defines names with numbers and later asks for one by name.

    `found` counts right answers by distance between definition and question. `chance` is what a guess would find that
    takes any number defined before the question. `nats` is the mean loss of one digit of the answer.
    """

    found: dict[str, Proportion]
    chance: float
    nats: float


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


# Most of the near and the far: between more of their lines no other number is set, and those do not count.
KINDS = (">2G", "<=G", "G-2G", "<=G", ">2G", "G-2G", "<=G", ">2G")


def reference_windows(
    documents: tuple[Document, ...],
    length: int,
    group: int,
    *,
    layout: Layout = "free",
    trials: int = 200,
    seed: int = 0,
) -> tuple[np.ndarray, list[tuple[Reference, ...]]]:
    """Draw held-out windows, uint8 (b, length), and their references until each class has `trials` that count.

    Names and numbers are never those of training.
    """
    check_integer("trials", trials, at_least=1)
    rng = np.random.default_rng([seed, 5, LAYOUTS.index(layout)])
    source, kinds = Windows(documents, length), KINDS[: references_in(length)]
    texts, laid, missing = [], [], dict.fromkeys(CLASSES, trials)
    while any(number > 0 for number in missing.values()):
        places = lay_references(length, group, kinds, rng, layout)
        texts.append(hide_references(source.draw(rng, 1)[0], places, rng, held_out=True))
        laid.append(places)
        for place, kind in zip(places, kinds, strict=True):
            missing[kind] -= place.counts
    return np.stack(texts), laid


def score_references(
    model: TinyLlama,
    documents: tuple[Document, ...],
    length: int,
    group: int,
    *,
    layout: Layout = "free",
    trials: int = 200,
    seed: int = 0,
    on_batch: OnBatch = lambda tokens: None,
) -> ReferenceScore:
    """Count the references found with dense attention: all five digits, each ranked first given those before it.

    One forward pass decides all the references of a window. At least `trials` of each class count.
    """
    texts, laid = reference_windows(documents, length, group, layout=layout, trials=trials, seed=seed)
    outcomes: dict[str, list[bool]] = {kind: [] for kind in CLASSES}
    guesses, nats, done = [], [], 0
    for ids in _batches(texts, on_batch):
        # Nobody reads what comes after the last answer.
        ends = [place.get_at + DIGITS for places in laid[done : done + len(ids)] for place in places]
        ids = ids[:, : max(ends)]
        logits = _logits(model, ids[:, :-1], None)
        losses, ranked = next_byte_nats(logits, ids), logits.argmax(dim=-1)
        for row, places in enumerate(laid[done : done + len(ids)]):
            for place, kind in zip(places, KINDS, strict=False):
                if place.counts:
                    digits = slice(place.get_at, place.get_at + DIGITS)
                    before = slice(place.get_at - 1, place.get_at - 1 + DIGITS)
                    outcomes[kind].append(bool((ranked[row, before] == ids[row, digits]).all()))
                    guesses.append(1 / sum(other.set_at < place.get_at for other in places))
                    nats.append(float(losses[row, before].mean()))
        done += len(ids)
    found = {kind: Proportion(sum(results), len(results)) for kind, results in outcomes.items()}
    return ReferenceScore(found, float(np.mean(guesses)), float(np.mean(nats)))


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
