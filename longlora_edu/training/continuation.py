"""Let a model write: the likeliest next byte, again and again."""

from __future__ import annotations

import numpy as np
import torch

from ..model import TinyLlama
from ..runs.validate import check_integer
from .corpus import Document, Windows

COUNT = 72  # bytes to write


def held_out_prompt(documents: tuple[Document, ...], length: int, *, seed: int = 0) -> bytes:
    """Draw `length` bytes of held-out text by `seed`, whatever they are: a prompt that nobody chose.

    Raises:
        ValueError: when no document is long enough.
    """
    return Windows(documents, length).draw(np.random.default_rng([seed, 4]), 1)[0].tobytes()


@torch.inference_mode()
def continue_greedily(model: TinyLlama, prompt: bytes, count: int = COUNT) -> bytes:
    """Write `count` bytes after `prompt`, dense attention, the likeliest byte each time; byte 0 ends it early.

    Keys and values of what was read are kept, so that a byte costs a pass over one byte, except where positions are
    stretched by "dynamic": there every byte turns all keys anew.

    Raises:
        ValueError: for an empty prompt or a count that is not positive.
    """
    check_integer("count", count, at_least=1)
    if not prompt:
        raise ValueError("prompt must hold at least one byte, got none")
    training, device = model.training, next(model.parameters()).device
    model.eval()
    ids = torch.tensor(list(prompt), device=device)[None]
    kept = None if model.config.rope.method == "dynamic" else [[] for _ in model.attention_layers]
    written = []
    try:
        for _ in range(count):
            byte = model(ids, last=1, kept=kept, beyond_context=True)[0, -1].argmax()
            if byte == 0:
                break
            written.append(int(byte))
            ids = torch.cat([ids, byte[None, None]], dim=1) if kept is None else byte[None, None]
    finally:
        model.train(training)
    return bytes(written)
