from __future__ import annotations

import math

import numpy as np
import oracles
import pytest
import torch
from helpers import geometries, random_qkv, random_segments
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from longlora_edu import attention, reference
from longlora_edu.attention import choose_impl, full_attention, grouped, products, s2_attention
from longlora_edu.attention.sdpa import as_read_by
from longlora_edu.geometry import S2Geometry
from longlora_edu.runs.timing import kept_bytes

IMPLS = ["dense_mask", "grouped", "products"]
LAYOUTS = ["bhnd", "bnhd"]
TIGHT = {"rtol": 1e-10, "atol": 1e-12}
CORNERS = {
    "even": S2Geometry(16, 4, 4),
    "ragged end": S2Geometry(19, 4, 4),
    "odd group": S2Geometry(17, 5, 2),
    "odd heads": S2Geometry(16, 4, 5),
    "single head": S2Geometry(14, 4, 1),
    "no shift": S2Geometry(14, 4, 3, shift=0),
    "largest shift": S2Geometry(14, 4, 2, shift=3),
    "group longer than the sequence": S2Geometry(7, 16, 2, shift=3),
    "shift past the sequence": S2Geometry(7, 16, 2),
    "groups of one token": S2Geometry(5, 1, 2),
    "one token": S2Geometry(1, 4, 2),
    "wrap": S2Geometry(16, 4, 3, boundary="wrap"),
    "wrap, one group": S2Geometry(8, 8, 2, shift=3, boundary="wrap"),
    "masked": S2Geometry(16, 4, 3, shift=1, boundary="masked"),
    "masked, one group": S2Geometry(8, 8, 2, boundary="masked"),
}


@st.composite
def cases(draw):
    """A geometry and what goes with it, among it both memory layouts of q, k and v."""
    geometry = draw(geometries(max_len=14))
    heads, length = geometry.num_heads, geometry.seq_len
    kv_heads = draw(st.sampled_from([count for count in range(1, heads + 1) if heads % count == 0]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    batch = draw(st.integers(1, 3))
    q, k, _ = random_qkv(rng, batch, heads, kv_heads, length, 4)
    v = rng.standard_normal((batch, kv_heads, length, draw(st.sampled_from([4, 4, 3]))))
    segments = random_segments(rng, batch, length) if draw(st.booleans()) else None
    options = {"segments": segments, "scale": draw(st.sampled_from([None, 0.3]))}
    return geometry, (q, k, v), draw(st.sampled_from(LAYOUTS)), options


def leaves(arrays, layout="bnhd", dtype=torch.float64, device="cpu"):
    """Arrays as tensors (b h n d) that want gradients: contiguous, or views of contiguous (b n h d)."""
    tensors = (torch.tensor(x, dtype=dtype, device=device) for x in arrays)
    if layout == "bnhd":
        tensors = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in tensors)
    return [x.requires_grad_() for x in tensors]


def some_qkv(geometry, kv_heads=None, batch=2, width=4, seed=0):
    rng = np.random.default_rng(seed)
    return random_qkv(rng, batch, geometry.num_heads, kv_heads or geometry.num_heads, geometry.seq_len, width)


def as_tensors(options, device="cpu"):
    segments = options.get("segments")
    return options if segments is None else options | {"segments": torch.tensor(segments, device=device)}


def forward_and_backward(qkv, geometry, grad_out, **options):
    out = s2_attention(*qkv, geometry, **options)
    return out, *torch.autograd.grad(out, qkv, torch.as_tensor(grad_out).to(out))


def assert_same_as_reference(arrays, geometry, impl, options, *, layout="bnhd", dtype=torch.float64, device="cpu"):
    """Output and three gradients, at 1e-10 in float64 and at assert_close's own tolerance in float32."""
    qkv = leaves(arrays, layout, dtype, device)
    exact = [x.detach().double().cpu().numpy() for x in qkv]
    grad_out = np.random.default_rng(1).standard_normal((*exact[0].shape[:3], exact[2].shape[3])).astype(np.float32)
    expected = (
        reference.s2_attention(*exact, geometry, **options),
        *reference.s2_attention_backward(grad_out, *exact, geometry, **options),
    )
    actual = forward_and_backward(qkv, geometry, grad_out, impl=impl, **as_tensors(options, device))
    for one, other in zip(actual, expected, strict=True):
        assert one.dtype == dtype and one.device.type == device
        tolerance = TIGHT if dtype == torch.float64 else {}
        torch.testing.assert_close(one.detach().cpu(), torch.from_numpy(other).to(dtype), **tolerance)


@pytest.mark.parametrize("impl", IMPLS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(case=cases())
def test_in_float64_every_impl_is_the_reference(impl, case):
    geometry, arrays, layout, options = case
    assert_same_as_reference(arrays, geometry, impl, options, layout=layout)


@pytest.mark.parametrize("impl", IMPLS)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(case=cases())
def test_in_float32_every_impl_is_the_reference(impl, case):
    geometry, arrays, layout, options = case
    assert_same_as_reference(arrays, geometry, impl, options, layout=layout, dtype=torch.float32)


@pytest.mark.parametrize("with_segments", [False, True])
@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("geometry", CORNERS.values(), ids=CORNERS)
def test_corner_cases_are_the_reference(geometry, impl, with_segments):
    segments = random_segments(np.random.default_rng(2), 2, geometry.seq_len) if with_segments else None
    assert_same_as_reference(some_qkv(geometry, kv_heads=1), geometry, impl, {"segments": segments})
    assert_same_as_reference(some_qkv(geometry), geometry, impl, {"segments": segments}, layout="bhnd")


@pytest.mark.parametrize("heads, kv_heads", [(9, 3), (6, 2), (8, 4), (5, 1)])
@pytest.mark.parametrize("impl", IMPLS)
def test_the_halves_may_cut_a_group_of_query_heads_that_share_keys(impl, heads, kv_heads):
    geometry = S2Geometry(13, 4, heads)
    assert_same_as_reference(some_qkv(geometry, kv_heads), geometry, impl, {})


@settings(max_examples=30, deadline=None, derandomize=True)
@given(cases())
def test_masked_and_grouped_agree(case):
    geometry, arrays, layout, options = case
    qkv, options = leaves(arrays, layout), as_tensors(options)
    one, *others = (s2_attention(*qkv, geometry, impl=impl, **options) for impl in IMPLS)
    for other in others:
        torch.testing.assert_close(one, other, **TIGHT)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(cases())
def test_full_attention_is_the_reference(case):
    _, arrays, layout, options = case
    qkv = leaves(arrays, layout)
    out = full_attention(*qkv, **as_tensors(options))
    np.testing.assert_allclose(out.detach().numpy(), reference.full_attention(*arrays, **options), **TIGHT)
    # One group over everything makes the sparse gradient the dense one.
    geometry = S2Geometry(arrays[0].shape[2], arrays[0].shape[2], arrays[0].shape[1], shift=0)
    grad_out = np.random.default_rng(3).standard_normal(out.shape)
    expected = reference.s2_attention_backward(grad_out, *arrays, geometry, **options)
    for one, other in zip(torch.autograd.grad(out, qkv, torch.from_numpy(grad_out)), expected, strict=True):
        np.testing.assert_allclose(one.numpy(), other, **TIGHT)


@pytest.mark.parametrize("impl", IMPLS)
def test_both_published_forms_come_out(impl):
    arrays = some_qkv(S2Geometry(24, 6, 4))
    qkv = leaves(arrays)
    for boundary, form in (("wrap", oracles.rolled_form), ("split", oracles.varlen_form)):
        geometry = S2Geometry(24, 6, 4, shift=2, boundary=boundary)
        out = s2_attention(*qkv, geometry, impl=impl).detach().numpy()
        np.testing.assert_allclose(out, form(*arrays, 6, 2), **TIGHT)


def naive_attention(q, k, v, mask, scale):
    """Scores, softmax, sum: all rounded to the dtype that comes in."""
    share = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(share, 1), v.repeat_interleave(share, 1)
    return (q @ k.transpose(2, 3) * scale).masked_fill(~mask, -math.inf).softmax(-1) @ v


def assert_within_the_naive_error(geometry, impl, dtype, device="cpu"):
    """At most twice the error of a naive run in the same dtype, three times for gradients, against float64."""
    qkv = leaves(some_qkv(geometry, kv_heads=1, width=16), dtype=dtype, device=device)
    exact = [x.detach().double().requires_grad_() for x in qkv]
    mask = torch.tensor(oracles.mask_of(geometry), device=device)
    grad_out = torch.randn(qkv[0].shape, generator=torch.Generator().manual_seed(4)).to(qkv[0])

    def run(tensors, attend):
        out = attend(*tensors)
        return [x.double() for x in (out, *torch.autograd.grad(out, tensors, grad_out.to(out)))]

    truth = run(exact, lambda *x: naive_attention(*x, mask, 0.25))
    naive = run(qkv, lambda *x: naive_attention(*x, mask, 0.25))
    fast = run(qkv, lambda *x: s2_attention(*x, geometry, impl=impl))
    for allowance, right, rough, ours in zip((2, 3, 3, 3), truth, naive, fast, strict=True):
        torch.testing.assert_close(ours, right, rtol=0, atol=allowance * (rough - right).abs().max().item())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("boundary", ["split", "wrap", "masked"])
def test_half_precision_errs_no_more_than_a_naive_run_in_it(boundary, impl, dtype):
    assert_within_the_naive_error(S2Geometry(32, 8, 4, boundary=boundary), impl, dtype)


@pytest.mark.parametrize("impl", IMPLS)
def test_numerical_derivatives_agree(impl):
    geometry = S2Geometry(5, 3, 2)
    segments = torch.tensor([[-1, 0, 0, 1, 1]])
    qkv = leaves(some_qkv(geometry, kv_heads=1, batch=1, width=2))
    assert torch.autograd.gradcheck(lambda *x: s2_attention(*x, geometry, impl=impl), qkv)
    assert torch.autograd.gradcheck(lambda *x: s2_attention(*x, geometry, impl=impl, segments=segments), qkv)


@pytest.mark.parametrize("with_segments", [False, True])
@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("boundary", ["split", "wrap", "masked"])
def test_a_push_at_a_token_moves_exactly_the_queries_that_may_look_at_it(boundary, impl, with_segments):
    geometry = S2Geometry(12, 4, 3, shift=1, boundary=boundary)
    q, k, v = (x.detach() for x in leaves(some_qkv(geometry, batch=1)))
    ids = np.array([-1, 0, 0, 1, 1, 0, 0, 0, 1, 1, -1, -1]) if with_segments else np.zeros(12, dtype=int)
    segments = torch.tensor(ids)[None] if with_segments else None
    allowed = oracles.mask_of(geometry) & (ids[:, None] == ids) & (ids >= 0)
    before = s2_attention(q, k, v, geometry, segments=segments, impl=impl)
    moved = np.zeros_like(allowed)
    for token in range(12):
        pushed = v.clone()
        pushed[:, :, token] += 1
        after = s2_attention(q, k, pushed, geometry, segments=segments, impl=impl)
        moved[:, :, token] = (after - before)[0].abs().amax(-1) > 1e-9
    np.testing.assert_array_equal(moved, allowed)


@pytest.mark.parametrize("boundary", ["split", "wrap", "masked"])
@pytest.mark.parametrize("impl", [*IMPLS, "full"])
def test_padding_is_exactly_zero_whatever_stands_there(impl, boundary):
    geometry = S2Geometry(12, 4, 3, boundary=boundary)
    segments = random_segments(np.random.default_rng(5), 4, 12)
    segments[1] = -1
    segments[2] = [0] * 6 + [-1] * 6
    padding = segments == -1
    arrays = some_qkv(geometry, batch=4)
    grad_out = np.random.default_rng(6).standard_normal(arrays[0].shape)
    for x in (*arrays, grad_out):
        x.swapaxes(1, 2)[padding] = np.nan

    qkv = leaves(arrays)
    options = {"segments": torch.tensor(segments)}
    out = full_attention(*qkv, **options) if impl == "full" else s2_attention(*qkv, geometry, impl=impl, **options)
    results = out, *torch.autograd.grad(out, qkv, torch.tensor(grad_out))
    for x in results:
        x = x.detach().transpose(1, 2).numpy()
        np.testing.assert_array_equal(x[padding], 0)
        assert np.isfinite(x).all() and np.abs(x[~padding]).max() > 0.1


def test_segments_may_be_of_any_signed_integer_dtype():
    geometry = S2Geometry(8, 4, 2)
    qkv = leaves(some_qkv(geometry, batch=1))
    segments = torch.tensor([[-1, 0, 0, 0, 0, 1, 1, 1]])
    expected = s2_attention(*qkv, geometry, segments=segments)
    for dtype in (torch.int8, torch.int16, torch.int32):
        torch.testing.assert_close(s2_attention(*qkv, geometry, segments=segments.to(dtype)), expected, **TIGHT)


class Spy(TorchDispatchMode):
    """Notes every operation, forward and backward, and every tensor that one returns."""

    def __init__(self):
        super().__init__()
        self.operations, self.tensors = [], []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        results = function(*args, **(kwargs or {}))
        self.operations.append(function.overloadpacket._qualified_op_name.removeprefix("aten::"))
        self.tensors += [(tuple(x.shape), x.dtype) for x in tree_leaves(results) if isinstance(x, torch.Tensor)]
        return results

    def largest(self):
        return max(math.prod(shape) for shape, _ in self.tensors)


def watched(geometry, *, batch=2, kv_heads=None, layout="bnhd", backward=True, **options):
    qkv = leaves(some_qkv(geometry, kv_heads, batch=batch, width=2), layout)
    with Spy() as spy:
        out = s2_attention(*qkv, geometry, **options)
        if backward:
            out.sum().backward()
    assert not backward or any(name.endswith("attention_for_cpu_backward") for name in spy.operations)
    return spy


@pytest.mark.parametrize("impl", ["grouped", "auto"])
@pytest.mark.parametrize("kv_heads", [1, 3])
@pytest.mark.parametrize("boundary", ["split", "wrap", "masked"])
def test_grouped_builds_no_mask_without_segments(boundary, kv_heads, impl):
    spy = watched(S2Geometry(64, 16, 3, boundary=boundary), kv_heads=kv_heads, impl=impl)
    assert spy.largest() <= 2 * 3 * 64 * 2
    assert not [shape for shape, dtype in spy.tensors if dtype == torch.bool or shape[-2:] == (16, 16)]


@pytest.mark.parametrize("boundary", ["split", "wrap", "masked"])
def test_documents_cut_the_cells_instead_of_masking_them(boundary):
    segments = torch.tensor([[0] * 20 + [1] * 40 + [-1] * 4, [-1] * 30 + [3] * 34])
    spy = watched(S2Geometry(64, 16, 3, boundary=boundary), segments=segments, impl="grouped")
    assert spy.largest() <= 2 * 3 * 64 * 2
    assert not [shape for shape, dtype in spy.tensors if shape and (dtype == torch.bool or shape[-2:] == (16, 16))]


@pytest.mark.parametrize("boundary", ["split", "wrap", "masked"])
def test_where_documents_are_not_read_they_are_a_mask_in_each_cell(boundary, not_read):
    segments = torch.zeros(2, 64, dtype=torch.long)
    spy = watched(S2Geometry(64, 16, 3, boundary=boundary), segments=segments, impl="grouped")
    assert max(math.prod(shape) for shape, dtype in spy.tensors if dtype == torch.bool) == 2 * 4 * 16 * 16


@pytest.fixture
def not_read(monkeypatch):
    """Segments stay unread, as under torch.compile and on devices where reading them means waiting."""
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)


@pytest.mark.parametrize("geometry", CORNERS.values(), ids=CORNERS)
def test_unread_documents_are_the_reference(geometry, not_read):
    segments = random_segments(np.random.default_rng(2), 2, geometry.seq_len)
    assert_same_as_reference(some_qkv(geometry, kv_heads=1), geometry, "grouped", {"segments": segments})


@pytest.mark.parametrize("impl", [*IMPLS, "full"])
def test_where_all_is_padding_the_output_is_zero_and_has_a_gradient(impl):
    geometry = S2Geometry(8, 4, 2)
    qkv = leaves(some_qkv(geometry, kv_heads=1))
    options = {"segments": torch.full((2, 8), -1)}
    out = full_attention(*qkv, **options) if impl == "full" else s2_attention(*qkv, geometry, impl=impl, **options)
    for x in (out, *torch.autograd.grad(out.sum(), qkv)):
        assert not x.any()
    assert out.shape == qkv[0].shape


@pytest.mark.parametrize(
    "geometry, calls",
    [
        # Full cells of the shifted half lie in the middle of each of the two sequences: a call for each.
        (S2Geometry(16, 4, 4), 1 + (1 + 2 + 1)),
        (S2Geometry(18, 4, 4), (2 + 1) + (1 + 2)),
        (S2Geometry(18, 4, 4, shift=1), (2 + 1) + (1 + 2 + 1)),
        (S2Geometry(16, 4, 4, boundary="wrap"), 1 + (2 + 1)),
        (S2Geometry(16, 4, 4, shift=0), 1),
        (S2Geometry(16, 4, 1, shift=0), 1),
        (S2Geometry(7, 16, 4), 1),
    ],
)
def test_grouped_calls_once_for_neighbouring_cells_of_one_size(geometry, calls):
    operations = watched(geometry, backward=False, impl="grouped").operations
    assert operations.count("_scaled_dot_product_flash_attention_for_cpu") == calls


def test_documents_are_called_once_for_each_piece_and_neighbours_of_one_size_once():
    geometry = S2Geometry(16, 4, 2)
    operations = watched(
        geometry, backward=False, impl="grouped", segments=torch.tensor([[0] * 10 + [1] * 6, [-1] * 8 + [0] * 8])
    ).operations
    # Plain: 4+4, 2+2, 4 | 4+4. Shifted: 2, 4+4+4, 2 | 2, 4, 2.
    assert operations.count("_scaled_dot_product_flash_attention_for_cpu") == (3 + 1) + (3 + 3)


def test_masked_does_build_the_mask():
    assert watched(S2Geometry(64, 16, 3), impl="dense_mask").largest() == 3 * 64 * 64


def test_grouped_copies_no_inputs_where_the_layout_is_that_of_a_model():
    copies = {"clone", "copy_", "cat", "contiguous", "_unsafe_view", "repeat", "index_select"}

    def copied(*args, **options):
        operations = watched(*args, backward=False, impl="grouped", **options).operations
        return [name for name in operations if name in copies]

    assert copied(S2Geometry(16, 4, 4, shift=0), batch=2) == []
    # The output, piece by piece.
    assert copied(S2Geometry(16, 4, 4), batch=2) == ["copy_"] * 5
    assert copied(S2Geometry(16, 4, 4), batch=2, segments=torch.tensor([[0] * 16, [-1] * 8 + [0] * 8])) == ["copy_"] * 8
    assert copied(S2Geometry(16, 4, 4, shift=0), batch=2, layout="bhnd")


def test_the_gradient_is_written_once_into_one_tensor():
    operations = watched(S2Geometry(16, 4, 4), batch=1, impl="grouped").operations
    backward = operations[operations.index("_scaled_dot_product_flash_attention_for_cpu_backward") :]
    assert backward.count("copy_") == 3 * 4
    assert not [name for name in backward if name.startswith(("add", "zero", "new_zeros", "slice_backward"))]


@pytest.mark.parametrize("impl", IMPLS)
def test_text_that_is_all_padding_gives_zeros_as_wide_as_the_values(impl):
    q, k = torch.ones(2, 4, 8, 6), torch.ones(2, 2, 8, 6)
    v, nothing = torch.ones(2, 2, 8, 3), torch.full((2, 8), -1)
    out = s2_attention(q, k, v, S2Geometry(8, 4, 4), segments=nothing, impl=impl)
    assert torch.equal(out, torch.zeros(2, 4, 8, 3))


def test_half_of_the_heads_copies_no_keys_that_only_the_other_half_reads():
    q, k = torch.zeros(2, 8, 16, 4), torch.zeros(2, 4, 16, 4)
    for heads in (range(4), range(4, 8)):
        copy = as_read_by(heads, k, q)
        assert copy.untyped_storage().nbytes() == copy.numel() * copy.element_size()


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("with_segments", [False, True])
def test_inputs_are_not_written_to(with_segments, impl):
    geometry = S2Geometry(16, 4, 4)
    segments = torch.tensor(random_segments(np.random.default_rng(7), 2, 16)) if with_segments else None
    inputs = [*(x.detach() for x in leaves(some_qkv(geometry))), *([segments] if with_segments else [])]
    before = [(x._version, x.clone()) for x in inputs]
    out = s2_attention(*inputs[:3], geometry, segments=segments, impl=impl)
    out.fill_(7.0)  # a view of an input would show it
    full_attention(*inputs[:3], segments=segments).fill_(7.0)
    for x, (version, copy) in zip(inputs, before, strict=True):
        assert x._version == version
        torch.testing.assert_close(x, copy, rtol=0, atol=0)


HALF = [torch.bfloat16, torch.float16]
FULL = [torch.float64, torch.float32]


@pytest.mark.parametrize(
    "device_type, capability, dropout, dtypes, options, expected",
    [
        ("cpu", None, 0.0, HALF + FULL, {}, "grouped"),
        ("cpu", None, 0.1, HALF + FULL, {"group_size": 512, "traced": True}, "dense_mask"),
        ("cpu", None, 0.0, [torch.bfloat16], {"group_size": 64}, "products"),
        ("cpu", None, 0.0, [torch.bfloat16], {"group_size": 2048}, "products"),
        ("cpu", None, 0.0, HALF + FULL, {"group_size": 63}, "grouped"),
        ("cpu", None, 0.0, HALF + FULL, {"group_size": 2049}, "grouped"),
        ("cpu", None, 0.0, HALF + FULL, {"group_size": 512, "traced": True}, "grouped"),
        ("cpu", None, 0.0, [torch.float16, *FULL], {"group_size": 512, "stretches": True}, "grouped"),
        ("cuda", (7, 5), 0.0, HALF + FULL, {"stretches": True}, "grouped"),
        ("cuda", (9, 0), 0.0, HALF + FULL, {"group_size": 512}, "grouped"),
        ("cuda", (8, 0), 0.0, HALF, {"stretches": True}, "varlen"),
        ("cuda", (8, 0), 0.0, FULL, {"stretches": True}, "grouped"),
        ("cuda", (9, 0), 0.0, HALF, {"stretches": True, "traced": True}, "grouped"),
        ("cuda", (9, 0), 0.1, HALF + FULL, {"stretches": True}, "grouped"),
        ("mps", None, 0.0, HALF + FULL, {"stretches": True}, "grouped"),
        ("mps", None, 0.1, HALF + FULL, {}, "grouped"),
    ],
)
def test_choose_impl_follows_its_table(device_type, capability, dropout, dtypes, options, expected):
    for dtype in dtypes:
        assert choose_impl(device_type, capability, dtype, dropout, **options) == expected


def test_auto_asks_about_what_is_computed_under_autocast_and_by_whom(monkeypatch):
    seen = []
    for impl in ("grouped", "products"):
        real = attention._IMPLS[impl]
        monkeypatch.setitem(attention._IMPLS, impl, lambda *a, i=impl, f=real: seen.append(i) or f(*a))
    geometry = S2Geometry(512, 256, 2)
    qkv = [torch.randn(1, 2, 512, 8) for _ in range(3)]
    with torch.autocast("cpu", torch.bfloat16):
        s2_attention(*qkv, geometry)
    s2_attention(*qkv, geometry)
    s2_attention(*(x.bfloat16() for x in qkv), geometry)
    torch.func.vmap(lambda q, k, v: s2_attention(q, k, v, geometry))(*(x.bfloat16()[None] for x in qkv))
    assert seen == ["products", "grouped", "products", "grouped"]
    # A group longer than the text is a cell of the whole text.
    s2_attention(*(x.bfloat16() for x in qkv), S2Geometry(512, 4096, 2))
    assert seen[4:] == ["products"]


@pytest.mark.parametrize("with_segments", [False, True])
@pytest.mark.parametrize("impl", [*IMPLS, "full"])
def test_the_default_device_plays_no_part(impl, with_segments):
    geometry = S2Geometry(16, 4, 4)
    qkv = leaves(some_qkv(geometry, kv_heads=2))
    options = {"segments": torch.arange(16)[None].expand(qkv[0].shape[0], -1) // 5} if with_segments else {}

    def results():
        out = full_attention(*qkv, **options) if impl == "full" else s2_attention(*qkv, geometry, impl=impl, **options)
        last = full_attention(qkv[0][:, :, -3:], *qkv[1:], **options)
        return out, *torch.autograd.grad(out.sum() + last.sum(), qkv)

    expected = results()
    with torch.device("meta"):
        found = results()
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("block, at_once", [(3, 1), (4, 10**9), (128, 100)])
@pytest.mark.parametrize("geometry", CORNERS.values(), ids=CORNERS)
def test_products_are_the_reference_in_blocks_of_any_size(geometry, block, at_once, monkeypatch):
    monkeypatch.setattr(products, "BLOCK", block)
    monkeypatch.setattr(products, "SCORES_AT_ONCE", at_once)
    for segments in (None, random_segments(np.random.default_rng(2), 2, geometry.seq_len)):
        assert_same_as_reference(some_qkv(geometry, kv_heads=1), geometry, "products", {"segments": segments})


def test_products_in_several_blocks_may_be_mapped_over(monkeypatch):
    monkeypatch.setattr(products, "BLOCK", 3)
    geometry = S2Geometry(16, 8, 4)
    qkv = leaves(some_qkv(geometry))
    mapped = torch.func.vmap(lambda q, k, v: s2_attention(q, k, v, geometry, impl="products"))(*(x[None] for x in qkv))
    torch.testing.assert_close(mapped[0], s2_attention(*qkv, geometry, impl="dense_mask"), **TIGHT)


def test_products_of_whole_blocks_are_the_reference():
    geometry = S2Geometry(700, 300, 2)
    assert_same_as_reference(some_qkv(geometry, batch=1), geometry, "products", {})


def test_products_can_be_differentiated_twice():
    qkv = [x.detach().bfloat16().double().requires_grad_() for x in leaves(some_qkv(S2Geometry(7, 3, 2), batch=1))]
    assert torch.autograd.gradgradcheck(
        lambda *x: s2_attention(*x, S2Geometry(7, 3, 2), impl="products"), qkv, fast_mode=True
    )


@pytest.mark.parametrize("at_once", [1, 60, 10**9])
@pytest.mark.parametrize("boundary", ["split", "wrap"])
def test_grouped_is_the_reference_in_parts_of_any_size(at_once, boundary, monkeypatch):
    monkeypatch.setattr(grouped, "MOST_AT_ONCE", at_once)
    geometry = S2Geometry(24, 4, 3, boundary=boundary)
    for segments in (None, random_segments(np.random.default_rng(2), 3, 24)):
        assert_same_as_reference(some_qkv(geometry, batch=3), geometry, "grouped", {"segments": segments})


@pytest.mark.parametrize("geometry", [S2Geometry(512, 128, 4), S2Geometry(512, 128, 4, shift=0)], ids=str)
@pytest.mark.parametrize("impl", ["grouped", "products"])
def test_the_output_is_held_once(impl, geometry):
    qkv = leaves(some_qkv(geometry, batch=1, width=16), dtype=torch.float32)
    size = qkv[0].numel() * 4
    kept = kept_bytes(lambda: s2_attention(*qkv, geometry, impl=impl), besides=qkv)
    # Besides the output a number a token and head for the softmax, or the weights of cells of a block.
    assert kept <= size + 4 * 512 * 4 * (128 if impl == "products" else 1)


def test_products_of_several_blocks_keep_no_weights():
    geometry = S2Geometry(512, 256, 4)
    qkv = leaves(some_qkv(geometry, batch=1, width=16), dtype=torch.float32)
    kept = kept_bytes(lambda: s2_attention(*qkv, geometry, impl="products"), besides=qkv)
    assert kept <= qkv[0].numel() * 4 + 4 * 4 * (128**2)  # the half cells at both ends are a block each


def test_an_output_that_was_written_to_is_not_differentiated():
    geometry = S2Geometry(16, 4, 2)
    out = s2_attention(*leaves(some_qkv(geometry)), geometry, impl="grouped")
    with torch.no_grad():
        out.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


@pytest.mark.parametrize("impl", ["auto", "dense_mask", "full"])
def test_dropout_keeps_the_mean_and_follows_the_seed(impl):
    geometry = S2Geometry(8, 4, 2)
    q, k, v = (x.detach().expand(3000, -1, -1, -1) for x in leaves(some_qkv(geometry, batch=1), dtype=torch.float32))

    def run(seed, dropout):
        torch.manual_seed(seed)
        if impl == "full":
            return full_attention(q, k, v, dropout=dropout)
        return s2_attention(q, k, v, geometry, dropout=dropout, impl=impl)

    first, again, other = run(0, 0.25), run(0, 0.25), run(1, 0.25)
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert (first - other).abs().max() > 0.1 and (first[0] - first[1]).abs().max() > 0.1
    torch.testing.assert_close(first.mean(0), run(0, 0.0)[0], rtol=0, atol=0.08)


@pytest.mark.parametrize("impl", IMPLS)
def test_autocast_lowers_the_dtype_even_where_rope_left_v_behind(impl):
    geometry = S2Geometry(16, 4, 4)
    q, k, v = (x.detach() for x in leaves(some_qkv(geometry, kv_heads=2), dtype=torch.float32))
    low = [x.bfloat16() for x in (q, k, v)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, dense = s2_attention(q, k, low[2], geometry, impl=impl), full_attention(q, k, low[2])
    torch.testing.assert_close(out, s2_attention(*low, geometry, impl=impl))
    torch.testing.assert_close(dense, full_attention(*low))
    assert out.dtype == torch.bfloat16


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`:UserWarning")
def test_both_impls_compile_as_one_graph():
    geometry = S2Geometry(14, 4, 3)
    qkv = leaves(some_qkv(geometry, kv_heads=1))

    segments = torch.tensor([[-1] * 2 + [0] * 12, [0] * 9 + [1] * 5])

    def attend(q, k, v):
        out = full_attention(q, k, v)
        for impl in IMPLS:
            out = out + s2_attention(q, k, v, geometry, impl=impl)
            out = out + s2_attention(q, k, v, geometry, impl=impl, segments=segments)
        return out

    torch._dynamo.reset()
    compiled = torch.compile(attend, fullgraph=True, backend="eager")
    one, other = compiled(*qkv), attend(*qkv)
    torch.testing.assert_close(one, other, **TIGHT)
    for ours, eager in zip(*(torch.autograd.grad(out.sum(), qkv) for out in (one, other)), strict=True):
        torch.testing.assert_close(ours, eager, **TIGHT)


def q_k_v(**changes):
    shape = {"q": (2, 4, 8, 4), "k": (2, 2, 8, 4), "v": (2, 2, 8, 4)}
    return {name: torch.zeros(axes) for name, axes in shape.items()} | changes


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"q": np.zeros((2, 4, 8, 4))}, "q must be a floating-point tensor, got float64"),
        ({"k": torch.zeros(2, 2, 8, 4, dtype=torch.int64)}, "k must be a floating-point tensor, got torch.int64"),
        ({"q": [1.0]}, "q must be a floating-point tensor, got <class 'list'>"),
        ({"v": torch.zeros(2, 8, 4)}, r"v must have 4 axes \(b h n d\), none of them empty, got \(2, 8, 4\)"),
        ({"q": torch.zeros(2, 0, 8, 4)}, r"q must have 4 axes .* none of them empty, got \(2, 0, 8, 4\)"),
        ({"k": torch.zeros(2, 2, 8, 4, device="meta")}, "k must be on the device of q, got meta and cpu"),
        ({"v": torch.zeros(2, 2, 8, 4).double()}, "v must have the dtype of q, got torch.float64 and torch.float32"),
        ({"k": torch.zeros(1, 2, 8, 4)}, "k must have as many sequences as q, got 1 and 2"),
        (
            {"k": torch.zeros(2, 2, 7, 4), "v": torch.zeros(2, 2, 7, 4)},
            "q must have no more tokens than k, got 8 and 7",
        ),
        ({"v": torch.zeros(2, 2, 9, 4)}, "v must have as many tokens as k, got 9 and 8"),
        ({"k": torch.zeros(2, 2, 8, 5)}, "k must be as wide as q, got 5 and 4"),
        ({"v": torch.zeros(2, 4, 8, 4)}, "v must have as many heads as k, got 4 and 2"),
        ({name: torch.zeros(2, 3, 8, 4) for name in "kv"}, "num kv heads must divide num heads, got 3 and 4"),
        ({"scale": 0.0}, "scale must be positive and finite, got 0.0"),
        ({"scale": math.inf}, "scale must be positive and finite, got inf"),
        ({"scale": math.nan}, "scale must be positive and finite, got nan"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"dropout": -0.1}, "dropout must be at least 0 and below 1, got -0.1"),
        ({"dropout": "0.1"}, "dropout must be at least 0 and below 1, got 0.1"),
        ({"dropout": False}, "dropout must be at least 0 and below 1, got False"),
        ({"segments": torch.zeros(2, 8)}, "segments must hold signed integers, got torch.float32"),
        ({"segments": torch.zeros(2, 8).bool()}, "segments must hold signed integers, got torch.bool"),
        ({"segments": [[0] * 8] * 2}, "segments must hold signed integers, got <class 'list'>"),
        (
            {"segments": torch.zeros(2, 8, device="meta").long()},
            "segments must be on the device of q, got meta and cpu",
        ),
        ({"segments": torch.zeros(1, 8).long()}, r"segments must be shaped \(b n\), as k, got \(1, 8\) and \(2, 8\)"),
        (
            {"segments": torch.tensor([[0] * 8, [5] * 7 + [-2]])},
            "segments must be -1 for padding or a document's number from 0, got -2",
        ),
    ],
)
def test_what_does_not_fit_is_refused_at_the_door(changes, match):
    arguments = q_k_v(**changes)
    with pytest.raises(ValueError, match=match):
        full_attention(**arguments)
    for impl in ["auto", *IMPLS]:
        with pytest.raises(ValueError, match=match):
            s2_attention(geometry=S2Geometry(8, 4, 4), impl=impl, **arguments)


@pytest.mark.parametrize("impl", ["auto", *IMPLS])
def test_a_geometry_of_other_heads_or_another_length_is_refused(impl):
    with pytest.raises(ValueError, match="q must have as many heads as the geometry, got 4 and 2"):
        s2_attention(**q_k_v(), geometry=S2Geometry(8, 4, 2), impl=impl)
    with pytest.raises(ValueError, match="q must have as many tokens as the geometry, got 8 and 12"):
        s2_attention(**q_k_v(), geometry=S2Geometry(12, 4, 4), impl=impl)
    with pytest.raises(ValueError, match="k must have as many tokens as q, got 8 and 3"):
        s2_attention(**q_k_v(q=torch.zeros(2, 4, 3, 4)), geometry=S2Geometry(3, 4, 4), impl=impl)


@pytest.mark.parametrize("segmented", [False, True])
@pytest.mark.parametrize("asked", [1, 5, 11])
def test_the_last_queries_alone_give_the_last_rows_of_full_attention(asked, segmented):
    rng = np.random.default_rng(11)
    q, k, v = (torch.tensor(x) for x in random_qkv(rng, 2, 4, 2, 11, 3))
    segments = torch.tensor(random_segments(rng, 2, 11)) if segmented else None
    whole = full_attention(q, k, v, segments=segments)
    torch.testing.assert_close(full_attention(q[:, :, -asked:], k, v, segments=segments), whole[:, :, -asked:], **TIGHT)


def test_an_impl_that_is_unknown_or_cannot_run_is_refused_by_name():
    assert attention.IMPLS == ("auto", "dense_mask", "grouped", "products", "varlen", "flex")
    geometry = S2Geometry(8, 4, 4)
    with pytest.raises(
        ValueError, match="impl must be one of auto, dense_mask, grouped, products, varlen, flex, got 'flash'"
    ):
        s2_attention(**q_k_v(), geometry=geometry, impl="flash")
    with pytest.raises(
        ValueError, match="dropout must be 0 on cpu under impl='grouped', got 0.1: use impl='dense_mask'"
    ):
        s2_attention(**q_k_v(), geometry=geometry, dropout=0.1, impl="grouped")
    with pytest.raises(ValueError, match="dropout must be 0 under impl='products', got 0.1: use impl='dense_mask'"):
        s2_attention(**q_k_v(), geometry=geometry, dropout=0.1, impl="products")
    elsewhere = {name: x.to("meta") for name, x in q_k_v().items()}
    with pytest.raises(ValueError, match="q must be on cpu under impl='products', got meta: use impl='grouped'"):
        s2_attention(**elsewhere, geometry=geometry, impl="products")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and PyTorch sees none")
class TestOnCuda:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
    @pytest.mark.parametrize("impl", IMPLS[:2])
    @settings(max_examples=30, deadline=None, derandomize=True)
    @given(case=cases())
    def test_every_impl_is_the_reference(self, impl, dtype, case):
        geometry, arrays, layout, options = case
        assert_same_as_reference(arrays, geometry, impl, options, layout=layout, dtype=dtype, device="cuda")

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    @pytest.mark.parametrize("impl", IMPLS[:2])
    def test_half_precision_errs_no_more_than_a_naive_run_in_it(self, impl, dtype):
        assert_within_the_naive_error(S2Geometry(256, 64, 4), impl, dtype, device="cuda")

    def test_dropout_runs_under_grouped_and_follows_the_seed(self):
        geometry = S2Geometry(64, 16, 4)
        qkv = leaves(some_qkv(geometry, width=16), dtype=torch.bfloat16, device="cuda")
        outputs = []
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            outputs.append(s2_attention(*qkv, geometry, dropout=0.25, impl="grouped"))
        torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=0)
        assert (outputs[0] - outputs[2]).abs().max() > 0.1

    def test_memory_of_grouped_is_linear_in_the_length(self):
        def peak(length):
            geometry = S2Geometry(length, 512, 4)
            qkv = leaves(some_qkv(geometry, batch=1, width=64), dtype=torch.bfloat16, device="cuda")
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            s2_attention(*qkv, geometry, impl="grouped").sum().backward()
            return torch.cuda.max_memory_allocated() - before

        peak(4096)
        assert peak(16384) < 5 * peak(4096)
