"""`impl="products"`: as "grouped", with scores by PyTorch's products of matrices, a block of queries at a time. CPU."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..geometry import S2Geometry
from .grouped import attend_in_tiles

BLOCK = 128  # queries: with 64 products are small, with 256 more of what a causal mask forbids is computed
SCORES_AT_ONCE = 2**20


def products_attention(
    q: Tensor, k: Tensor, v: Tensor, geometry: S2Geometry, segments: Tensor | None, scale: float | None, dropout: float
) -> Tensor:
    """Compute (b h n d). Scores exist for a block of queries and a few cells at a time, and again in the backward
    pass; cells of up to a block keep their weights for it.

    PyTorch's fused kernel for CPUs cuts queries and keys into blocks of its own, which in bfloat16 cost more than they
    save: on groups of 64 to 2,048 tokens whole products are faster, though they compute more pairs (`choose_impl`).

    Raises:
        ValueError: for dropout, and elsewhere than on CPU.
    """
    if q.device.type != "cpu":
        raise ValueError(f"q must be on cpu under impl='products', got {q.device.type}: use impl='grouped'")
    if dropout > 0:
        raise ValueError(f"dropout must be 0 under impl='products', got {dropout}: use impl='dense_mask'")
    return attend_in_tiles(q, k, v, geometry, segments, scale, _Products())


class _Products:
    """The kernel: a row of scores is whole, so its softmax and the gradient of that are PyTorch's own."""

    plain_alone = False  # PyTorch would keep all scores for the backward pass

    def plain(self, q: Tensor, k: Tensor, v: Tensor, scale: float | None) -> Tensor:
        scale, rows = _scale(q, scale), []
        for block, seen in _blocks(q.shape[2]):
            scores = (q[:, :, block] @ k[:, :, seen].transpose(2, 3)) * scale
            rows.append(scores.masked_fill(_later(block, q), -math.inf).softmax(-1) @ v[:, :, seen])
        return torch.cat(rows, dim=2)

    def fits(self, q: Tensor, k: Tensor, v: Tensor, scale: float | None) -> bool:
        return True

    def cells_at_once(self, q: Tensor) -> int:
        _, heads, size, _ = q.shape
        return max(1, SCORES_AT_ONCE // (heads * min(BLOCK, size) * size))

    def forward(self, q: Tensor, k: Tensor, v: Tensor, scale: float | None) -> tuple[Tensor, Tensor | None]:
        shape, scale = (*q.shape[:3], v.shape[3]), _scale(q, scale)
        q, k, v = (x.flatten(0, 1) for x in (q, k, v))
        rows, weights = [], None
        for block, seen in _blocks(q.shape[1]):
            weights = _weights(q, k, block, seen, scale)
            rows.append(torch.bmm(weights, v[:, seen]))
        # Of a single block they are no more than a few times the output, and making them again is a third of the work.
        return _joined(rows).view(shape), weights if len(rows) == 1 else None

    def backward(
        self, grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, kept: Tensor | None, scale: float | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        shape, scale = q.shape[:2], _scale(q, scale)
        grad, q, k, v = (x.flatten(0, 1) for x in (grad, q, k, v))
        blocks, rows = _blocks(q.shape[1]), []
        # Sums over blocks, in half precision, would lose what the last blocks add. A single block adds to nothing.
        exact = q.dtype if len(blocks) == 1 or q.dtype == torch.float64 else torch.float32
        grad_k, grad_v = (x.new_zeros(x.shape, dtype=exact) for x in (k, v))
        for block, seen in blocks:
            # To be differentiated again, they have to depend on q and k.
            weights = _weights(q, k, block, seen, scale) if kept is None or torch.is_grad_enabled() else kept
            of_weights = torch.bmm(grad[:, block], v[:, seen].transpose(1, 2))
            of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
            rows.append(torch.bmm(of_scores, k[:, seen]) * scale)
            grad_k[:, seen] += torch.bmm(of_scores.transpose(1, 2), q[:, block])
            grad_v[:, seen] += torch.bmm(weights.transpose(1, 2), grad[:, block])
        found = _joined(rows), (grad_k * scale).to(k.dtype), grad_v.to(v.dtype)
        return tuple(x.unflatten(0, shape) for x in found)  # pyrefly: ignore[bad-return]


def _joined(rows: list[Tensor]) -> Tensor:
    return rows[0] if len(rows) == 1 else torch.cat(rows, dim=1)


def _blocks(size: int) -> list[tuple[slice, slice]]:
    """Pair each block of queries, a slice of tokens, with the slice of keys up to the block's last token."""
    ends = [min(start + BLOCK, size) for start in range(0, size, BLOCK)]
    return [(slice(start, end), slice(0, end)) for start, end in zip(range(0, size, BLOCK), ends, strict=True)]


def _weights(q: Tensor, k: Tensor, block: slice, seen: slice, scale: float) -> Tensor:
    """Softmax of the scores of a block, (c·h, queries, keys)."""
    nothing = q.new_empty(1, 1, 1).expand(q.shape[0], block.stop - block.start, seen.stop)
    scores = torch.baddbmm(nothing, q[:, block], k[:, seen].transpose(1, 2), beta=0, alpha=scale)
    scores[:, :, block].masked_fill_(_later(block, q)[:, block], -math.inf)
    return scores.softmax(-1)


def _later(block: slice, q: Tensor) -> Tensor:
    """Return bool (queries, keys) of a block, True where the key comes after the query."""
    queries, keys = torch.arange(block.start, block.stop, device=q.device), torch.arange(block.stop, device=q.device)
    return keys > queries[:, None]


def _scale(q: Tensor, scale: float | None) -> float:
    return 1 / math.sqrt(q.shape[-1]) if scale is None else scale
