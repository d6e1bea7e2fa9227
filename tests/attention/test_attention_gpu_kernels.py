"""`impl="varlen"` and `impl="flex"`: what can be said of them without a GPU, and on one the kernels themselves."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import geometries, random_qkv, random_segments
from hypothesis import given, settings
from hypothesis import strategies as st

from longlora_edu import reference
from longlora_edu.attention import s2_attention, varlen
from longlora_edu.geometry import S2Geometry


def some_qkv(geometry, kv_heads=None, batch=2, width=4):
    rng = np.random.default_rng(0)
    return random_qkv(rng, batch, geometry.num_heads, kv_heads or geometry.num_heads, geometry.seq_len, width)


def as_tensors(arrays):
    return [torch.tensor(x, dtype=torch.float64) for x in arrays]


def one_stretch_each(segments):
    """The same borders, with a new number behind each: no document comes back."""
    changes = np.cumsum(np.diff(segments, prepend=segments[:, :1]) != 0, axis=1)
    return np.where(segments < 0, -1, changes)


def packed_attention(q, k, v, borders, longest, scale):
    """What the kernel is documented to do, piece by piece: (n h d)."""
    out = torch.zeros(*q.shape[:2], v.shape[2], dtype=q.dtype)
    for start, stop in pairwise(borders.tolist()):
        assert stop - start <= longest
        rows = (x[start:stop].transpose(0, 1)[None] for x in (q, k, v))
        out[start:stop] = F.scaled_dot_product_attention(*rows, is_causal=True, scale=scale)[0].transpose(0, 1)
    return out


@pytest.fixture
def on_cpu(monkeypatch):
    monkeypatch.setattr(varlen, "DEVICES", ("cpu",))
    monkeypatch.setattr(varlen, "_attend", packed_attention)


CASES = {
    "even": S2Geometry(16, 4, 4),
    "ragged": S2Geometry(19, 4, 4, shift=1),
    "odd heads": S2Geometry(16, 4, 5),
    "single head": S2Geometry(14, 4, 1),
    "no shift": S2Geometry(14, 4, 3, shift=0),
    "one cell": S2Geometry(7, 16, 2),
}


@pytest.mark.parametrize("with_segments", [False, True])
@pytest.mark.parametrize("geometry", CASES.values(), ids=CASES)
def test_varlen_packs_the_cells_that_the_reference_means(geometry, with_segments, on_cpu):
    segments = None
    if with_segments:
        segments = one_stretch_each(random_segments(np.random.default_rng(3), 2, geometry.seq_len))
    arrays = some_qkv(geometry, kv_heads=1)
    options = {"segments": torch.tensor(segments)} if with_segments else {}
    out = s2_attention(*as_tensors(arrays), geometry, impl="varlen", scale=0.3, **options)
    expected = reference.s2_attention(*arrays, geometry, segments=segments, scale=0.3)
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-10, atol=1e-12)


def test_varlen_refuses_what_its_kernel_does_not_do(on_cpu, monkeypatch):
    geometry = S2Geometry(8, 4, 2)
    q, k, v = as_tensors(some_qkv(geometry))
    with pytest.raises(ValueError, match="dropout must be 0 under impl='varlen', got 0.1: use impl='grouped'"):
        s2_attention(q, k, v, geometry, impl="varlen", dropout=0.1)
    with pytest.raises(ValueError, match="boundary must be 'split' under impl='varlen', .* got 'wrap'"):
        s2_attention(q, k, v, S2Geometry(8, 4, 2, boundary="wrap"), impl="varlen")
    with pytest.raises(ValueError, match="v must be as wide as q under impl='varlen', got 3 and 4"):
        s2_attention(q, k, v[..., :3], geometry, impl="varlen")
    comes_back = torch.tensor([[0, 0, 1, 0, 0, 0, 0, 0]] * 2)
    with pytest.raises(ValueError, match="a document must be one stretch inside a cell under impl='varlen'"):
        s2_attention(q, k, v, geometry, impl="varlen", segments=comes_back)
    monkeypatch.setattr(varlen, "DEVICES", ("cuda",))
    with pytest.raises(ValueError, match="q must be on cuda under impl='varlen', got cpu: use impl='grouped'"):
        s2_attention(q, k, v, geometry, impl="varlen")


class _OnAnOldCard:
    """What `_refuse` asks of a tensor, as of one on a T4."""

    is_cuda, dtype, shape = True, torch.float32, (1, 2, 8, 4)
    device = torch.device("cuda")


def test_varlen_refuses_cards_without_flash_and_full_precision(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    with pytest.raises(ValueError, match="must have compute capability 8.0 or more under impl='varlen', got 7.5"):
        varlen._refuse(_OnAnOldCard, _OnAnOldCard, S2Geometry(8, 4, 2), 0.0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    with pytest.raises(ValueError, match="q must be float16 or bfloat16 under impl='varlen', got torch.float32"):
        varlen._refuse(_OnAnOldCard, _OnAnOldCard, S2Geometry(8, 4, 2), 0.0)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")
@settings(max_examples=15, deadline=None, derandomize=True)
@given(geometry=geometries(max_len=14), with_segments=st.booleans())
def test_flex_means_what_the_reference_means(geometry, with_segments):
    segments = random_segments(np.random.default_rng(4), 2, geometry.seq_len) if with_segments else None
    arrays = some_qkv(geometry, kv_heads=1, width=8)
    options = {"segments": torch.tensor(segments)} if with_segments else {}
    with torch.no_grad():
        out = s2_attention(*as_tensors(arrays), geometry, impl="flex", **options)
    expected = reference.s2_attention(*arrays, geometry, segments=segments)
    np.testing.assert_allclose(out.numpy(), expected, rtol=1e-6, atol=1e-6)


def test_flex_refuses_dropout_and_a_gradient_where_it_has_none():
    geometry = S2Geometry(8, 4, 2)
    q, k, v = as_tensors(some_qkv(geometry))
    with pytest.raises(ValueError, match="dropout must be 0 under impl='flex', got 0.1"):
        s2_attention(q, k, v, geometry, impl="flex", dropout=0.1)
    with pytest.raises(ValueError, match="must need no gradient under impl='flex' on cpu"):
        s2_attention(q.requires_grad_(), k, v, geometry, impl="flex")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and PyTorch sees none")
class TestOnCuda:
    @pytest.mark.parametrize("with_segments", [False, True])
    @pytest.mark.parametrize("kv_heads", [4, 2])
    @pytest.mark.parametrize("geometry", [S2Geometry(256, 64, 4), S2Geometry(300, 128, 4, shift=17)], ids=str)
    @pytest.mark.parametrize("impl", ["varlen", "flex"])
    def test_output_and_gradients_are_those_of_float64(self, impl, geometry, kv_heads, with_segments):
        arrays = some_qkv(geometry, kv_heads, width=64)
        segments = None
        if with_segments:
            segments = one_stretch_each(random_segments(np.random.default_rng(5), 2, geometry.seq_len))
        options = {"segments": torch.tensor(segments, device="cuda")} if with_segments else {}
        exact = [torch.tensor(x, dtype=torch.bfloat16, device="cuda").double().requires_grad_() for x in arrays]
        fast = [x.detach().bfloat16().requires_grad_() for x in exact]
        grad_out = torch.randn_like(exact[0])
        right = s2_attention(*exact, geometry, impl="grouped", **options)
        ours = s2_attention(*fast, geometry, impl=impl, **options)
        expected = right, *torch.autograd.grad(right, exact, grad_out)
        found = ours, *torch.autograd.grad(ours, fast, grad_out.bfloat16())
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one.double(), other, rtol=0.05, atol=0.05)
