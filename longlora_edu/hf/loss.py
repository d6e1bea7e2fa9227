"""The loss of a real model without all its logits at once: 4,096 tokens over 49,152 words are 0.8 GB in float32."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from .families import transformer_of
from .pairs import IGNORED

CHUNK = 1024
# Names in configs for logits that are not what the output embedding makes.
SCALINGS = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")


class NextTokenLoss(nn.Module):
    """`(ids, labels) (b, n) → (sum of nats, number of labels)`: next-token cross-entropy, `CHUNK` labels at a time.

    Each chunk's logits are computed again in the backward pass and never kept. As a module it can be wrapped for
    several devices. Labels are those of `ids` and are shifted here; -100 is left out, and no logits are made for it:
    of an instruction pair, only the answer costs any. They may stay on the CPU.

    Raises:
        ValueError: by `check_head`.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.core: list[PreTrainedModel] = [transformer_of(model)]  # in a list: not registered twice
        check_head(self.core[0])

    def forward(self, ids: Tensor, labels: Tensor) -> tuple[Tensor, int]:
        (core,) = self.core
        hidden = core.base_model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
        # Which tokens have a label is found where the labels are: on the CPU, the device is not waited for.
        targets = labels[:, 1:].flatten()
        labelled = (targets != IGNORED).nonzero().flatten()
        head, targets = core.get_output_embeddings(), targets[labelled].to(hidden.device)
        hidden = hidden.flatten(0, 1)[labelled.to(hidden.device)]
        total = hidden.new_zeros((), dtype=torch.float32)
        for start in range(0, len(targets), CHUNK):
            part = slice(start, start + CHUNK)
            total = total + checkpoint(_nats, head, hidden[part], targets[part], use_reentrant=False)
        return total, len(labelled)


@torch.no_grad()
def check_head(model: PreTrainedModel) -> None:
    """Check on two tokens that the logits of a model are its output embedding of the last hidden state, nothing else.

    Raises:
        ValueError: for logits that are soft-capped, scaled or made of something else, naming what the config says.
    """
    was_training, head = model.training, cast(nn.Module, model.get_output_embeddings())
    ids = torch.arange(2, device=next(model.parameters()).device)[None]
    halves = [weight.dtype for weight in model.parameters() if weight.dtype in (torch.bfloat16, torch.float16)]
    model.eval()
    with torch.autocast(ids.device.type, halves[0] if halves else torch.bfloat16, enabled=bool(halves)):
        logits = model(input_ids=ids, use_cache=False).logits
        made = head(model.base_model(input_ids=ids, use_cache=False).last_hidden_state)
    model.train(was_training)
    if logits.shape == made.shape and torch.equal(logits.float(), made.float()):
        return
    config = model.config.get_text_config()
    stated = [f"{name} of {value}" for name in SCALINGS if (value := getattr(config, name, None)) is not None]
    raise ValueError(
        f"{type(model).__name__} must make its logits by its output embedding alone, "
        f"got {', '.join(stated) or 'something else besides'}"
    )


def _nats(head: nn.Module, hidden: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(head(hidden).float(), targets, reduction="sum")
