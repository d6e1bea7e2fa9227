"""Measures of a run: dense bits per byte, passkeys, and the loss under its own training pattern.

Every run is measured on the same held-out windows, whatever its target: they are `span` bytes long, and a shorter
length is their end. So all numbers at all lengths are of the same last 128 bytes.
"""

from __future__ import annotations

import numpy as np
import torch

from longlora_edu.model import TinyLlama
from longlora_edu.training.corpus import Corpus, Windows
from longlora_edu.training.evaluate import BATCH_TOKENS, DEPTHS, TAIL, OnBatch, doubled_lengths, score_passkeys
from longlora_edu.training.objective import NATS_PER_BIT, next_byte_nats

from .layouts import lay_out
from .spec import Run
from .windows import PLACES, spread_windows

POINTS = 64  # numbers by position in a record, each a mean over neighbours
MAP_TRIALS = 10


def lengths_of(run: Run, trained: int) -> list[int]:
    """List the lengths at which dense bits are measured."""
    if "lengths" not in run.extra:
        return sorted({trained, run.target})
    lengths = [trained]
    while lengths[-1] * 2 <= run.span:
        lengths.append(lengths[-1] * 2)
    return sorted({*lengths, run.target})


def tokens_of(run: Run, trained: int) -> int:
    """Count the tokens that `measured` will read, for a progress bar and a budget."""
    text = run.windows * (sum(lengths_of(run, trained)) + run.target * ("pattern" in run.extra))
    text += run.windows * (trained + run.target) * ("documents" in run.extra)
    return text + run.trials * len(DEPTHS) * run.target


def measured(
    run: Run, model: TinyLlama, corpus: Corpus, *, trained: int, on_tokens: OnBatch = lambda tokens: None
) -> dict:
    """Measure a run's merged model."""
    lengths = lengths_of(run, trained)
    span = max(run.span, run.target)
    texts = Windows(corpus.held_out, span).draw(np.random.default_rng(PLACES), run.windows)
    by_position = "pattern" in run.extra
    results: dict = {"bits_per_byte": {}, "bits_per_byte_by_length_and_window": {}}
    for length in lengths:
        whole = by_position and length == run.target
        bits = window_bits(model.eval(), texts[:, -length:], None if whole else TAIL, on_tokens)
        results["bits_per_byte"][length] = float(bits[:, -TAIL:].mean())
        results["bits_per_byte_by_length_and_window"][length] = bits[:, -TAIL:].mean(axis=1).round(4)
        if length == run.target:
            results["bits_per_byte_by_window"] = bits[:, -TAIL:].mean(axis=1).round(4)
        if whole:
            results["bits_per_byte_by_position"] = thinned_positions(bits)
            results["bits_per_byte_all_positions"] = float(bits.mean())
    if "documents" in run.extra:
        spread = spread_windows(corpus.held_out, span, run.windows)
        found = {
            n: window_bits(model.eval(), spread.texts[:, -n:], TAIL, on_tokens) for n in sorted({trained, run.target})
        }
        results["spread"] = {
            "documents": spread.documents,
            "bits_per_byte_by_length_and_window": {n: bits.mean(axis=1).round(4) for n, bits in found.items()},
        }
    keys = score_passkeys(model, corpus.held_out, [run.target], trials=run.trials, on_batch=on_tokens)
    results["passkey"] = keys.at(run.target)
    results["passkey_by_depth"] = keys.cells[run.target]
    if by_position:
        lay_out(model, run).train()
        bits = window_bits(model, texts[:, -run.target :], None, on_tokens)
        for attention in model.eval().attention_layers:
            attention.sparse = None
        results["as_trained"] = {
            "bits_per_byte": float(bits[:, -TAIL:].mean()),
            "bits_per_byte_all_positions": float(bits.mean()),
            "bits_per_byte_by_position": thinned_positions(bits),
        }
    return results


@torch.inference_mode()
def window_bits(model: TinyLlama, texts: np.ndarray, last: int | None, on_tokens: OnBatch) -> np.ndarray:
    """Compute bits of the `last` bytes of each window, by default of all but the first, in the model's present mode."""
    device = next(model.parameters()).device
    rows = max(1, BATCH_TOKENS // texts.shape[1])
    # One array, made before the first batch, for the reason that `score_text` has.
    bits = np.empty((len(texts), last or texts.shape[1] - 1), dtype=np.float32)
    for start in range(0, len(texts), rows):
        ids = torch.from_numpy(texts[start : start + rows]).to(device)
        # All bytes go in, also the last, after which nothing is predicted: a wrapped pattern wants whole groups.
        logits = model(ids, last=None if last is None else last + 1, beyond_context=True)[:, :-1]
        bits[start : start + rows] = next_byte_nats(logits, ids).float().cpu().numpy() / NATS_PER_BIT
        on_tokens(ids.numel())
    return bits


def thinned_positions(bits: np.ndarray) -> np.ndarray:
    """Average over windows and neighbouring positions: POINTS numbers, in order."""
    means = bits.mean(axis=0)
    return np.array([part.mean() for part in np.array_split(means, min(POINTS, len(means)))]).round(4)


def passkey_map(run: Run, model: TinyLlama, corpus: Corpus, trained: int) -> dict:
    """Count passkeys found by length and depth: dense attention, the trained context doubled up to the target."""
    lengths = doubled_lengths(trained, run.target)
    return score_passkeys(model, corpus.held_out, lengths, trials=min(MAP_TRIALS, run.trials)).cells
