"""Attention where it is differentiated twice, transformed by torch.func, or handed numbers that are none."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from torch.autograd import gradgradcheck
from torch.func import grad, hessian, jacrev, jvp, vjp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves

from longlora_edu.attention import full_attention, s2_attention
from longlora_edu.geometry import S2Geometry

GEOMETRIES = {
    "even": S2Geometry(8, 4, 2),
    "ragged": S2Geometry(7, 3, 3),
    "wrap": S2Geometry(8, 4, 2, boundary="wrap"),
    "masked": S2Geometry(8, 4, 3, shift=1, boundary="masked"),
}
IMPLS = ["dense_mask", "grouped", "products", "flex"]


@pytest.fixture(params=GEOMETRIES.values(), ids=GEOMETRIES)
def geometry(request):
    return request.param


def some(geometry, width=3, batch=1, kv_heads=1):
    """float64 q (b h n d), k and v (b hk n d)."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(batch, heads, geometry.seq_len, width) for heads in (geometry.num_heads, kv_heads, kv_heads)]
    return [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes]


def documents(geometry):
    """Two documents and padding in one row."""
    return torch.tensor([[0] * 3 + [1] * (geometry.seq_len - 4) + [-1]])


# Second derivatives.


@pytest.mark.parametrize("segmented", [False, True])
def test_second_derivatives_of_grouped_are_right(geometry, segmented):
    segments = documents(geometry) if segmented else None
    qkv = [x.requires_grad_() for x in some(geometry, width=2)]
    with sdpa_kernel(SDPBackend.MATH):
        attend = functools.partial(s2_attention, geometry=geometry, segments=segments, impl="grouped")
        assert gradgradcheck(attend, qkv, fast_mode=True)


def penalty(impl, geometry, segments=None):
    """The gradient of a loss with a penalty on its own gradient: half of it is a second derivative."""
    qkv = [x.requires_grad_() for x in some(geometry)]
    loss = s2_attention(*qkv, geometry, segments=segments, impl=impl).square().sum()
    first = torch.autograd.grad(loss, qkv, create_graph=True)
    return torch.autograd.grad(loss + sum(x.square().sum() for x in first), qkv)


def test_a_penalty_on_the_gradient_is_that_of_dense_attention_or_is_refused(geometry):
    for segments in (None, documents(geometry)):
        with sdpa_kernel(SDPBackend.MATH):
            torch.testing.assert_close(
                penalty("grouped", geometry, segments), penalty("dense_mask", geometry, segments)
            )
        for impl in ("grouped", "dense_mask"):
            with pytest.raises(RuntimeError, match="derivative for .* is not implemented"):
                penalty(impl, geometry, segments)


# torch.func.


def leaves_of(result):
    return torch.cat([x.reshape(-1) for x in tree_leaves(result)])


TRANSFORMS = {
    "grad": lambda f, qkv: grad(f, argnums=(0, 1, 2))(*qkv),
    "vjp": lambda f, qkv: vjp(f, *qkv)[1](torch.ones((), dtype=torch.float64)),
    "vmap": lambda f, qkv: vmap(f)(*(torch.stack([x, 2 * x]) for x in qkv)),
    "vmap of grad": lambda f, qkv: vmap(grad(f))(*(torch.stack([x, 2 * x]) for x in qkv)),
    "jvp": lambda f, qkv: jvp(f, tuple(qkv), tuple(qkv)),
    "hessian": lambda f, qkv: hessian(f)(*qkv),
    "jacobian of jacobian": lambda f, qkv: jacrev(jacrev(f))(*qkv),
}


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_transforms_of_torch_func_agree_with_dense_attention(geometry, name):
    for segments in (None, documents(geometry)):
        found = []
        for impl in ("grouped", "dense_mask"):

            def loss(q, k, v, impl=impl, segments=segments):
                return s2_attention(q, k, v, geometry, segments=segments, impl=impl).square().sum()

            with sdpa_kernel(SDPBackend.MATH):
                found.append(leaves_of(TRANSFORMS[name](loss, some(geometry, width=2))))
        torch.testing.assert_close(*found)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_documents_of_each_row_may_be_mapped_over(geometry):
    rows = torch.cat([documents(geometry), documents(geometry).flip(1)])
    q, k, v = some(geometry)
    for impl in ("grouped", "dense_mask"):
        mapped = vmap(lambda ids, impl=impl: s2_attention(q, k, v, geometry, segments=ids[None], impl=impl))(rows)
        each = [s2_attention(q, k, v, geometry, segments=ids[None], impl=impl) for ids in rows]
        torch.testing.assert_close(mapped, torch.stack(each))


def test_mapped_over_a_nan_stays_in_its_document():
    geometry = S2Geometry(8, 4, 2)
    q, k, v = some(geometry)
    ids = torch.tensor([[0] * 4 + [1] * 4])
    k[:, :, 5] = v[:, :, 5] = math.nan
    for impl in ("grouped", "dense_mask"):
        call = lambda rows, impl=impl: s2_attention(q, k, v, geometry, segments=rows[None], impl=impl)  # noqa: E731
        (mapped,) = vmap(call)(ids)
        assert mapped[:, :, :4].isfinite().all() and mapped[:, :, 5].isnan().all()


# NaN and infinities.


def cells_of(geometry, head):
    """bool (n n): do two tokens stand in one cell of this head? By the cells, not by the rule of the masks."""
    same = torch.zeros(geometry.seq_len, geometry.seq_len, dtype=torch.bool)
    for cell in geometry.cells(shifted=head in geometry.shifted_heads):
        tokens = torch.tensor([token for part in cell for token in part])
        same[tokens[:, None], tokens] = True
    return same


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("which", ["q", "k", "v"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_stands_where_a_token_may_not_look_never_changes_it(geometry, impl, which, bad):
    length = geometry.seq_len
    clean = dict(zip("qkv", some(geometry), strict=True))
    dirty = {name: x.repeat(length, 1, 1, 1) for name, x in clean.items()}
    token = torch.arange(length)
    dirty[which][token, 0, token, 0] = bad  # one token a row of the batch
    for ids in (None, documents(geometry)):
        expected = s2_attention(*clean.values(), geometry, segments=ids, impl=impl)
        rows = None if ids is None else ids.expand(length, length)
        found = s2_attention(*dirty.values(), geometry, segments=rows, impl=impl)
        share = torch.stack([cells_of(geometry, head) for head in range(geometry.num_heads)])
        if ids is not None:
            share = share & (ids == ids.T) & (ids >= 0)
        reads = (
            torch.arange(geometry.num_heads) == 0 if which == "q" else torch.ones(geometry.num_heads, dtype=torch.bool)
        )
        may_change = (share & reads[:, None, None]).transpose(0, 1)  # (dirty token, head, token)
        assert torch.equal(found[~may_change], expected.expand_as(found)[~may_change])
        # An infinity may well end as a weight of 0; and PyTorch's kernel for the CPU takes a NaN score for no score.
        if math.isnan(bad) and (which == "v" or impl == "dense_mask"):
            own = (token[:, None], torch.arange(geometry.num_heads), token[:, None])
            assert torch.equal(found[own].isnan().any(dim=-1), may_change[own])


@pytest.mark.parametrize("impl", ["dense_mask", "grouped"])
@pytest.mark.parametrize("which", ["q", "k", "v"])
def test_gradients_of_other_cells_and_documents_stay_finite(geometry, impl, which):
    for segments in (None, documents(geometry)):
        qkv = dict(zip("qkv", some(geometry, kv_heads=geometry.num_heads), strict=True))
        qkv[which][0, :, 0, 0] = math.nan
        for x in qkv.values():
            x.requires_grad_()
        s2_attention(*qkv.values(), geometry, segments=segments, impl=impl).sum().backward()
        for head in range(geometry.num_heads):
            for other in range(geometry.seq_len):
                if cells_of(geometry, head)[0, other] and (segments is None or segments[0, other] == segments[0, 0]):
                    continue
                assert all(x.grad[0, head, other].isfinite().all() for x in qkv.values()), (head, other)


@pytest.mark.parametrize("impl", ["dense_mask", "grouped"])
def test_later_finite_values_of_a_cell_change_nothing_before(geometry, impl):
    if geometry.boundary == "wrap":
        pytest.skip("under wrap early tokens look at late ones: that is its leak")
    q, k, v = some(geometry)
    before = s2_attention(q, k, v, geometry, impl=impl)
    for x in (k, v):
        x[:, :, -1] = 1e30
    after = s2_attention(q, k, v, geometry, impl=impl)
    assert torch.equal(after[:, :, :-1], before[:, :, :-1])


def test_full_attention_keeps_documents_apart_whatever_they_hold():
    q, k, v = some(S2Geometry(8, 8, 2))
    segments = torch.tensor([[0, 0, 0, 1, 1, 1, 0, -1]])
    expected = full_attention(q, k, v, segments=segments)
    for x in (k, v):
        x[0, 0, 1] = math.nan
    found = full_attention(q, k, v, segments=segments)
    assert torch.equal(found[:, :, [0, 3, 4, 5, 7]], expected[:, :, [0, 3, 4, 5, 7]])
    assert found[:, :, [1, 2, 6]].isnan().all()


@pytest.mark.parametrize("impl", ["dense_mask", "grouped"])
def test_compiled_the_rule_holds_too(impl):
    geometry = GEOMETRIES["even"]
    compiled = torch.compile(lambda *qkv: s2_attention(*qkv, geometry, impl=impl), fullgraph=True, backend="eager")
    q, k, v = some(geometry)
    expected = compiled(q, k, v)
    v[0, 0, 0] = math.nan
    found = compiled(q, k, v)
    assert torch.equal(found[0, 0, 4:], expected[0, 0, 4:])
    assert found[0, 0, 0].isnan().any()


def test_what_is_no_geometry_is_refused():
    with pytest.raises(ValueError, match="geometry must be an S2Geometry, got None"):
        s2_attention(*some(GEOMETRIES["even"]), None)
