"""`impl="varlen"` and `impl="flex"`: what can be said of them without a GPU, and on one the kernels themselves."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import geometries, random_qkv, random_segments
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._dynamo.testing import CompileCounter

from longlora_edu import attention, reference
from longlora_edu.attention import flex, s2_attention, varlen
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
    out = q.new_zeros(*q.shape[:2], v.shape[2])
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


def test_flex_plans_one_head_for_each_half_and_keeps_few_plans():
    geometry = S2Geometry(256, 64, 32)
    flex._blocks.cache_clear()
    q, k, v = (torch.randn(1, 32, 256, 8) for _ in range(3))
    with torch.no_grad():
        s2_attention(q, k, v, geometry, impl="flex")
    assert flex._blocks.cache_info().currsize == 2 and flex._blocks.cache_info().maxsize == 16
    for heads in (geometry.plain_heads, geometry.shifted_heads):
        assert flex._blocks(geometry, heads, q.device).kv_indices.shape[:2] == (1, 1)


def test_a_third_length_compiles_nothing_new(monkeypatch):
    compiled = CompileCounter()
    monkeypatch.setattr(flex, "_compiled", lambda function: torch.compile(function, backend=compiled))
    torch._dynamo.reset()
    attend = torch.compile(flex._attention, backend=compiled)
    counts = []
    for length in (384, 512, 640, 896):
        geometry = S2Geometry(length, 128, 4)
        q, k, v = (torch.randn(1, 4, length, 8) for _ in range(3))
        (heads, *_) = flex._halves(geometry)
        half = q[:, heads[0] : heads[-1] + 1]
        plan = flex._plan(geometry, heads, None, q.device)
        with torch.no_grad():
            found = attend(half, *flex._read_by(heads, k, v, q), plan, None)
            expected = s2_attention(q, k, v, geometry, impl="dense_mask")[:, heads[0] : heads[-1] + 1]
        torch.testing.assert_close(found, expected)
        counts.append(compiled.frame_count)
    assert counts[1] == counts[3]


@pytest.mark.filterwarnings("error::DeprecationWarning", "error::FutureWarning")
def test_flex_calls_nothing_deprecated():
    q, k, v = (torch.randn(1, 2, 64, 8) for _ in range(3))
    flex._blocks.cache_clear()
    with torch.no_grad():
        s2_attention(q, k, v, S2Geometry(64, 16, 2), impl="flex")


@dataclass(frozen=True)
class Windows:
    """A relative of S²-Attn: head h sees the last h + 1 tokens."""

    num_heads: int
    seq_len: int

    def allows(self, head, query, key):
        return (key <= query) & (query - key <= head)


def test_flex_asks_a_rule_about_each_head():
    windows = Windows(4, 16)
    q, k, v = (torch.randn(1, 4, 16, 8) for _ in range(3))
    with torch.no_grad():
        found = s2_attention(q, k, v, windows, impl="flex")
    head, query, key = (torch.arange(size).view(shape) for size, shape in ((4, (4, 1, 1)), (16, (16, 1)), (16, (16,))))
    expected = F.scaled_dot_product_attention(q, k, v, windows.allows(head, query, key))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("heads, kv_heads, copied", [(4, 4, False), (4, 2, False), (9, 3, True)])
def test_keys_that_are_shared_are_copied_only_where_a_half_cuts_a_group(heads, kv_heads, copied):
    q, k = torch.zeros(1, heads, 8, 2), torch.zeros(1, kv_heads, 8, 2)
    keys, _ = flex._read_by(range(heads // 2, heads), k, k, q)
    assert (keys.untyped_storage().data_ptr() != k.untyped_storage().data_ptr()) == copied


def as_if_on_cuda(monkeypatch, capability=(9, 0), dtype=torch.bfloat16):
    """`auto` chooses as on a GPU, at the one place where it is decided; what it chose is noted."""
    real, chosen = attention.choose_impl, []

    def choose(_device, _capability, _dtype, *args, **options):
        chosen.append(real("cuda", capability, dtype, *args, **options))
        return chosen[-1]

    monkeypatch.setattr(attention, "choose_impl", choose)
    return chosen


PADDED = torch.tensor([[0] * 10 + [-1] * 6, [0] * 16])
PACKED = torch.tensor([[0] * 5 + [1] * 7 + [2] * 4, [0] * 16])
COMES_BACK = torch.tensor([[0, 1, 0, 1] * 4, [0] * 16])
# Plain cells are 0123 4567 ..., shifted ones 01 2345 6789 ...
BACK_IN_A_PLAIN_CELL = torch.tensor([[0, 0, 0, 0, 0, 1] + [0] * 10, [0] * 16])
BACK_IN_A_SHIFTED_CELL = torch.tensor([[0, 0, 0, 1] + [0] * 12, [0] * 16])


@pytest.mark.parametrize(
    "segments, capability, width, boundary, expected",
    [
        (PADDED, (8, 0), 8, "split", "varlen"),
        (PACKED, (9, 0), 8, "split", "varlen"),
        (COMES_BACK, (9, 0), 8, "split", "grouped"),
        (BACK_IN_A_PLAIN_CELL, (9, 0), 8, "split", "grouped"),
        (BACK_IN_A_SHIFTED_CELL, (9, 0), 8, "split", "grouped"),
        (PACKED, (7, 5), 8, "split", "grouped"),
        (PACKED, (9, 0), 6, "split", "grouped"),
        (PACKED, (9, 0), 8, "masked", "grouped"),
        (None, (9, 0), 8, "split", "grouped"),
    ],
)
def test_auto_packs_rows_on_cuda_where_the_kernel_takes_them(
    segments, capability, width, boundary, expected, on_cpu, monkeypatch
):
    chosen = as_if_on_cuda(monkeypatch, capability)
    geometry = S2Geometry(16, 4, 4, boundary=boundary)
    arrays = some_qkv(geometry, width=width)
    out = s2_attention(*as_tensors(arrays), geometry, segments=segments)
    assert chosen[-1] == expected
    right = reference.s2_attention(*arrays, geometry, segments=None if segments is None else segments.numpy())
    np.testing.assert_allclose(out.numpy(), right, rtol=1e-10, atol=1e-12)


def test_varlen_finds_borders_where_its_tensors_are(on_cpu):
    geometry = S2Geometry(17, 4, 4)  # no other test has asked for its cells
    qkv, segments = as_tensors(some_qkv(geometry)), torch.arange(17).expand(2, -1) // 5
    with torch.device("meta"):
        found = s2_attention(*qkv, geometry, impl="varlen", segments=segments)
    torch.testing.assert_close(found, s2_attention(*qkv, geometry, impl="dense_mask", segments=segments))


def test_without_a_shift_any_boundary_fits_the_kernel():
    q = torch.zeros(1, 4, 16, 8)
    for shift, fits in ((0, True), (2, False)):
        assert varlen.fits_varlen(q, q, S2Geometry(16, 4, 4, shift=shift, boundary="masked")) is fits


def test_without_a_shift_only_plain_cells_count():
    assert varlen.are_stretches(S2Geometry(16, 4, 4, shift=0), BACK_IN_A_SHIFTED_CELL)
    assert not varlen.are_stretches(S2Geometry(16, 4, 4, shift=0), BACK_IN_A_PLAIN_CELL)


def test_the_borders_of_documents_are_found_once_for_all_layers_and_again_when_written_to(on_cpu, monkeypatch):
    as_if_on_cuda(monkeypatch)
    found, new = [], varlen._new_document_borders
    monkeypatch.setattr(varlen, "_new_document_borders", lambda *args: found.append(1) or new(*args))
    geometry, segments = S2Geometry(16, 4, 4), PACKED.clone()
    qkv = as_tensors(some_qkv(geometry, width=8))
    for _ in range(3):
        s2_attention(*qkv, geometry, segments=segments)
    assert len(found) == 2  # a plain and a shifted half
    segments[0, 15] = 3
    s2_attention(*qkv, geometry, segments=segments)
    assert len(found) == 4


def test_varlen_computes_in_the_dtype_of_autocast_though_positions_left_q_and_k_behind(on_cpu, monkeypatch):
    seen = []
    monkeypatch.setattr(
        varlen,
        "_attend",
        lambda q, k, v, *rest: seen.append({x.dtype for x in (q, k, v)}) or packed_attention(q, k, v, *rest),
    )
    geometry = S2Geometry(16, 4, 4)
    q, k, v = (x.float() for x in as_tensors(some_qkv(geometry)))
    with torch.autocast("cpu", torch.bfloat16):
        out = s2_attention(q, k, v.bfloat16(), geometry, impl="varlen")
    assert seen == [{torch.bfloat16}] * 2 and out.dtype == torch.bfloat16


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
