"""LoRA on an embedding: a correction of low rank to the table, cheaper than training the table itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from longlora_edu.lora.layers import checked_rank_and_alpha
from longlora_edu.model import TinyLlama


class LoRAEmbedding(nn.Module):
    """`base[id] + alpha / rank · A[id] B`: a frozen table (v, width) and a correction of rank at most `rank`.

    A (v, rank) begins at zero and B (rank, width) at random, as in PEFT: at first nothing changes.

    Source: LoRA (arXiv 2106.09685) section 4.1, applied to the table.
    """

    def __init__(self, base: nn.Embedding, rank: int, alpha: float, *, generator: torch.Generator) -> None:
        super().__init__()
        self.rank, self.alpha = checked_rank_and_alpha(rank, alpha)
        self.base = base.requires_grad_(False)
        start = torch.randn(self.rank, base.embedding_dim, generator=generator)  # on the CPU: the same on every device
        self.A = nn.Parameter(base.weight.new_zeros(base.num_embeddings, self.rank))
        self.B = nn.Parameter(start.to(base.weight))

    def forward(self, ids: Tensor) -> Tensor:
        """Look up (...), giving (..., width)."""
        return self.base(ids) + self.alpha / self.rank * (self.A[ids] @ self.B)

    @torch.no_grad()
    def merged(self) -> nn.Embedding:
        """Return a plain table that gives the same."""
        return nn.Embedding.from_pretrained(self.base.weight + self.alpha / self.rank * (self.A @ self.B))


def add_embedding_lora(model: TinyLlama, *, rank: int, alpha: float, generator: torch.Generator) -> None:
    """Replace the embedding of a model by a `LoRAEmbedding`, in place."""
    model.model.embed_tokens = LoRAEmbedding(model.model.embed_tokens, rank, alpha, generator=generator)


def merge_embedding_lora(model: TinyLlama) -> None:
    """Make the embedding a plain table again, in place; does nothing to a plain one."""
    if isinstance(model.model.embed_tokens, LoRAEmbedding):
        model.model.embed_tokens = model.model.embed_tokens.merged()
