"""The training loss: the next byte of long documents, some of which hide a passkey."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .corpus import Windows
from .passkey import DIGITS, PasskeyMix
from .train import Metrics

NATS_PER_BIT = float(np.log(2))


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

    `forward` gives logits for ids (b, n); `mix` says how many windows carry a passkey and what its digits
    weigh. Metrics: `bits_per_byte` of ordinary text, and `passkey_nats` of the answer's digits if there are any.
    """

    forward: Callable[[Tensor], Tensor]
    windows: Windows
    batch: int
    seed: int
    mix: PasskeyMix = field(default_factory=PasskeyMix)
    bf16: bool = False
    device: str = "cpu"

    def __call__(self, step: int, part: int) -> tuple[Tensor, Metrics]:
        ids, carries = self.mix.batch(self.windows, np.random.default_rng([self.seed, step, part]), self.batch)
        ids, carries = torch.from_numpy(ids).to(self.device), torch.from_numpy(carries).to(self.device)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            logits = self.forward(ids[:, :-1])
        nats = next_byte_nats(logits, ids)
        is_answer = torch.zeros_like(nats, dtype=torch.bool)
        is_answer[carries, -DIGITS:] = True
        weights = torch.where(is_answer, self.mix.weight, 1.0)
        loss = (nats * weights).sum() / weights.sum()
        measured = nats.detach()
        answers = measured[is_answer]
        return loss, {
            "bits_per_byte": measured[~is_answer].mean().item() / NATS_PER_BIT,
            "passkey_nats": answers.mean().item() if len(answers) else None,
        }
