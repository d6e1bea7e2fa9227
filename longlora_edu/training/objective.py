"""The training loss: the next byte of long documents, some of which hide a passkey."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..rope import Leap
from .corpus import Windows
from .passkey import DIGITS, PasskeyMix
from .references import ReferenceMix
from .train import Metrics

NATS_PER_BIT = float(np.log(2))
POSITIONS = 1  # beside seed, step and part: positions never share random numbers with the text


def next_byte_nats(logits: Tensor, ids: Tensor) -> Tensor:
    """Compute the cross-entropy of each next byte in nats, (b, m), from `logits` (b, m, vocabulary) and `ids` (b, n).

    The last logits predict a byte that is not there, so position j of the result is the loss of byte
    n - m + j given all before it, for logits taken from `ids[:, :-1]`.
    """
    targets = ids[:, -logits.shape[1] :].long()
    return F.cross_entropy(logits.float().transpose(1, 2), targets, reduction="none")


@dataclass(frozen=True)
class LanguageModelObjective:
    """An objective for `train`: windows of `windows.length` bytes, drawn by (seed, step, part) alone.

    `forward` gives logits for ids (b, n); with `leap` it also gets `positions` (n,), drawn by the same three numbers.
    `mix` says how many windows carry a passkey, `references` how many of the windows before `references_until`, a step,
    carry named references instead; both say what a digit asked for weighs.
    Metrics: `bits_per_byte` of ordinary text; `passkey_nats`, and with references `reference_nats`, of the digits,
    None where there are none.
    """

    forward: Callable[..., Tensor]
    windows: Windows
    batch: int
    seed: int
    mix: PasskeyMix = field(default_factory=PasskeyMix)
    references: ReferenceMix | None = None
    references_until: float = float("inf")
    bf16: bool = False
    device: str = "cpu"
    leap: Leap | None = None

    def batch_of(self, step: int, part: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Draw the windows of one micro-batch, uint8 (b, n), and mark the digits asked for, bool (b, n) a task."""
        rng = np.random.default_rng([self.seed, step, part])
        ids, carries = self.mix.batch(self.windows, rng, self.batch)
        passkey, reference = np.zeros(ids.shape, dtype=bool), np.zeros(ids.shape, dtype=bool)
        if self.references is not None and step < self.references_until:
            others, reference = self.references.batch(self.windows, rng, self.batch)
            replaced = reference.any(axis=1)
            ids[replaced], carries = others[replaced], carries & ~replaced
        passkey[carries, -DIGITS:] = True
        return ids, {"passkey": passkey, "reference": reference}

    def positions_of(self, step: int, part: int) -> dict[str, Tensor]:
        """Draw positions that leap for a micro-batch, as an option of `forward`; empty where the model has no leap."""
        if self.leap is None:
            return {}
        rng = np.random.default_rng([self.seed, step, part, POSITIONS])
        return {"positions": torch.from_numpy(self.leap.positions(self.windows.length - 1, rng)).to(self.device)}

    def __call__(self, step: int, part: int) -> tuple[Tensor, Metrics]:
        drawn, marked = self.batch_of(step, part)
        ids = torch.from_numpy(drawn).to(self.device)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            logits = self.forward(ids[:, :-1], **self.positions_of(step, part))
        nats = next_byte_nats(logits, ids)
        weights, measured = torch.ones_like(nats), nats.detach()
        plain, metrics = torch.ones_like(nats, dtype=torch.bool), {}
        tasks = {"passkey": self.mix} | ({"reference": self.references} if self.references else {})
        for task, mix in tasks.items():
            digits = torch.from_numpy(marked[task][:, 1:]).to(self.device)
            weights[digits], plain = mix.weight, plain & ~digits
            metrics[f"{task}_nats"] = measured[digits].mean().item() if digits.any() else None
        loss = (nats * weights).sum() / weights.sum()
        return loss, {"bits_per_byte": measured[plain].mean().item() / NATS_PER_BIT, **metrics}
