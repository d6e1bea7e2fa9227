"""`impl="varlen"`: cells become documents of one packed row, for PyTorch's kernel of that name. CUDA only."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from ..geometry import Cell, S2Geometry
from .sdpa import as_read_by, in_one_dtype, zero_at_padding

# So that tests can put another in its place, where there is no GPU.
DEVICES = ("cuda",)


def varlen_attention(
    q: Tensor, k: Tensor, v: Tensor, geometry: S2Geometry, segments: Tensor | None, scale: float | None, dropout: float
) -> Tensor:
    """Compute (b h n d) without a copy of q, nor of k and v where every query head has its own; out is copied once.

    Segments cut the cells. Finding the borders waits for the device.

    Raises:
        ValueError: for what the kernel does not do, naming it.
    """
    q, k, v = in_one_dtype(q, k, v)
    _refuse(q, v, geometry, dropout)
    halves = [(range(geometry.num_heads), False)]
    if geometry.shift and geometry.plain_heads:
        halves = [(geometry.plain_heads, False), (geometry.shifted_heads, True)]
    elif geometry.shift:
        halves = [(geometry.shifted_heads, True)]
    if segments is not None:
        q, k, v = (zero_at_padding(x, segments) for x in (q, k, v))
    outputs = []
    for heads, shifted in halves:
        half = q[:, heads.start : heads.stop], as_read_by(heads, k, q), as_read_by(heads, v, q)
        borders = _cell_borders(geometry, shifted, q.shape[0], q.device)
        if segments is not None:
            borders = _document_borders(borders, segments)
            if borders is None:
                raise ValueError(
                    "a document must be one stretch inside a cell under impl='varlen', got one that goes on after "
                    "another: use impl='grouped'"
                )
        queries, keys, values = (_packed(x) for x in half)
        outputs.append(_attend(queries, keys, values, borders, geometry.group_size, scale))
    out = torch.cat(outputs, dim=1) if len(outputs) > 1 else outputs[0]
    return zero_at_padding(out.unflatten(0, (q.shape[0], -1)).transpose(1, 2), segments)


def _refuse(q: Tensor, v: Tensor, geometry: S2Geometry, dropout: float) -> None:
    if q.device.type not in DEVICES:
        raise ValueError(f"q must be on cuda under impl='varlen', got {q.device.type}: use impl='grouped'")
    if q.is_cuda and torch.cuda.get_device_capability(q.device) < (8, 0):
        raise ValueError(
            "a device must have compute capability 8.0 or more under impl='varlen', got "
            f"{'.'.join(map(str, torch.cuda.get_device_capability(q.device)))}: use impl='grouped'"
        )
    if q.is_cuda and q.dtype not in (torch.float16, torch.bfloat16):
        raise ValueError(f"q must be float16 or bfloat16 under impl='varlen', got {q.dtype}: use impl='grouped'")
    if dropout > 0:
        raise ValueError(f"dropout must be 0 under impl='varlen', got {dropout}: use impl='grouped'")
    if geometry.boundary != "split" and geometry.shift:
        raise ValueError(
            f"boundary must be 'split' under impl='varlen', whose cells are stretches of one row, got "
            f"{geometry.boundary!r}: use impl='grouped'"
        )
    if v.shape[3] != q.shape[3]:
        raise ValueError(f"v must be as wide as q under impl='varlen', got {v.shape[3]} and {q.shape[3]}")


def _packed(x: Tensor) -> Tensor:
    """Pack (b h n d) into one row of tokens, (b n) h d."""
    return x.transpose(1, 2).flatten(0, 1)


def _attend(q: Tensor, k: Tensor, v: Tensor, borders: Tensor, longest: int, scale: float | None) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    out = varlen_attn(q, k, v, borders, borders, longest, longest, scale=scale, window_size=(-1, 0))
    return out  # pyrefly: ignore[bad-return] (a pair only where it is asked for)


@lru_cache(maxsize=64)  # tensors on the device
def _cell_borders(geometry: S2Geometry, shifted: bool, batch: int, device: torch.device) -> Tensor:
    """Find the starts of cells in a packed row of `batch` sequences, and the end of the last: int32 (cells + 1)."""
    cells: tuple[Cell, ...] = geometry.cells(shifted=shifted)
    starts = [row * geometry.seq_len + cell[0].start for row in range(batch) for cell in cells]
    return torch.tensor([*starts, batch * geometry.seq_len], dtype=torch.int32, device=device)


def fits_varlen(q: Tensor, v: Tensor, geometry: S2Geometry) -> bool:
    """Tell whether the kernel takes heads and cells like these, on a device and in a dtype that it takes."""
    split = getattr(geometry, "boundary", None) == "split" or not getattr(geometry, "shift", 1)
    return split and v.shape[3] == q.shape[3] and q.shape[3] % 8 == 0 and q.shape[3] <= 256


def are_stretches(geometry: S2Geometry, segments: Tensor) -> bool:
    """Tell whether every document is one stretch of the row inside each cell. Waits for the device, once a tensor."""
    halves = (False, True) if geometry.shift else (False,)
    cells = (_cell_borders(geometry, shifted, *segments.shape[:1], segments.device) for shifted in halves)
    return all(_document_borders(borders, segments) is not None for borders in cells)


def _document_borders(cells: Tensor, segments: Tensor) -> Tensor | None:
    """Add a border to `cells` wherever the document changes; padding counts as one document.

    None for a document in two pieces inside one cell, which are not a stretch of the row. All layers of a model ask
    with one tensor of segments, so what was found stays with it, until it is written to.
    """
    known = segments.__dict__.setdefault("s2_borders", {})
    key = id(cells), segments._version  # `cells` are kept in what is known
    if key not in known:
        known[key] = cells, _new_document_borders(cells, segments)
    return known[key][1]


def _new_document_borders(cells: Tensor, segments: Tensor) -> Tensor | None:
    ids = segments.flatten().long()
    begins = torch.zeros(len(ids) + 1, dtype=torch.bool, device=ids.device)
    begins[1:-1] = ids[1:] != ids[:-1]
    begins[cells.long()] = True
    borders = begins.nonzero().flatten()
    starts = borders[:-1]
    cell = torch.bucketize(starts, cells.long(), right=True)
    pieces = torch.stack([cell, ids[starts]], dim=1)[ids[starts] >= 0]
    return borders.int() if len(pieces.unique(dim=0)) == len(pieces) else None
