"""The implementations under comparison, forward and backward from the layout that a model projects, (b n h d)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from longlora_edu.attention import full_attention, s2_attention
from longlora_edu.geometry import S2Geometry

Way = Callable[[Tensor, Tensor, Tensor], Tensor]


def s2(geometry: S2Geometry, impl: str = "auto", segments: Tensor | None = None) -> Way:
    """Return this package's S²-Attn, with (b h n d) views in and out."""
    return lambda *qkv: s2_attention(*_heads_first(qkv), geometry, impl=impl, segments=segments).transpose(1, 2)


def dense() -> Way:
    """Return full causal attention by PyTorch's fastest kernel here."""
    return lambda *qkv: full_attention(*_heads_first(qkv)).transpose(1, 2)


def lower_bound() -> Way:
    """Return one plain causal call for groups that already lie side by side, (b·n/g h g d)."""
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)


def compiled_flex(geometry: S2Geometry) -> Way:
    """Return FlexAttention compiled for the geometry's rule; on a GPU."""
    return s2(geometry, impl="flex")


def published(geometry: S2Geometry) -> Way:
    """Return the rolled form with an explicit softmax, as in the paper's pseudo-code: its boundary wraps.

    Source: LongLoRA (arXiv 2309.12307) Algorithm 1, written plainly here.
    """
    group, shift, plain = geometry.group_size, geometry.shift, len(geometry.plain_heads)

    def rolled(x: Tensor, by: int) -> Tensor:
        return torch.cat([x[:, :, :plain], x[:, :, plain:].roll(by, dims=1)], dim=2)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        b, n, h, d = q.shape
        q, k, v = (rolled(x, -shift).reshape(b * n // group, group, h, d).transpose(1, 2) for x in (q, k, v))
        scores = q @ k.transpose(2, 3) / math.sqrt(d)
        later = torch.ones(group, group, dtype=torch.bool, device=q.device).triu(1)
        weights = scores.masked_fill(later, -math.inf).softmax(-1, dtype=torch.float32).to(q.dtype)
        return rolled((weights @ v).transpose(1, 2).reshape(b, n, h, d), shift)

    return attend


def step_of(way: Way, inputs: list[Tensor], grad: Tensor) -> Callable[[], list[Tensor]]:
    """Return a function that goes forward and backward once, and gives the output and the three gradients."""

    def step() -> list[Tensor]:
        out = way(*inputs)
        return [out.detach(), *torch.autograd.grad(out, inputs, grad)]

    return step


def leaves(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, seed: int = 0) -> list[Tensor]:
    """Draw q, k and v that want gradients, and a gradient of the output, from a normal distribution."""
    generator = torch.Generator().manual_seed(seed)
    q, k, v, grad = (torch.randn(shape, generator=generator).to(device, dtype) for _ in range(4))
    return [*(x.requires_grad_() for x in (q, k, v)), grad]


def _heads_first(qkv):
    return (x.transpose(1, 2) for x in qkv)
