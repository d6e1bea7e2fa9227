"""The explorer of costs: FLOPs and bytes in closed form, and seconds measured on this machine beside them."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import ipywidgets

from ..geometry import S2Geometry
from ..plots import SCREEN, Budget, Style, describe_bytes, describe_flops, plot_bytes, plot_flops
from ..plots.speed import describe_speed, plot_speed, speed_ratios
from ..runs.progress import Progress, Silent
from ..runs.records import provenance
from ..runs.validate import check_integer
from .canvas import Canvas
from .display import Picture
from .panel import Panel
from .shapes import known_shapes
from .task import Task

if TYPE_CHECKING:  # and inside of what measures: costs are counted in a browser tab, without torch
    import torch

LENGTHS = tuple(2**power for power in range(8, 18))
RATIOS = [("1/2 of the length", 1 / 2), ("1/4 of the length", 1 / 4), ("1/8 of the length", 1 / 8)]
RATIOS += [("1/16 of the length", 1 / 16)]
MEASURED = "S²-Attn"


def cost_view(model: str, length: int, ratio: float, causal: bool, *, canvas: Canvas, style: Style) -> Picture:
    """FLOPs by part and bytes of one forward pass of a model of `known_shapes`.

    Where whole squares are counted the boundary is the paper's own, "wrap": its Table 11 comes out.
    """
    shape = known_shapes()[model]
    geometry = S2Geometry.with_ratio(length, ratio, shape.heads, boundary="split" if causal else "wrap")
    budget = Budget(shape, geometry, causal)

    def draw(left, right):
        plot_flops(budget, style=style, ax=left)
        plot_bytes(budget, style=style, ax=right)

    return canvas.picture(draw, f"{model}. {describe_flops(budget)} {describe_bytes(budget)}")


def cost_explorer(*, model: str = "Llama-2-7B", length: int = 8192, style: Style = SCREEN) -> Panel:
    """A panel of costs in closed form: `cost_explorer().show()`. `controls` are model, length, ratio and causal."""
    canvas = Canvas(style, 2, width=1.8)
    counts = [("whole squares, as in the paper", False), ("what a causal kernel computes", True)]
    controls = {
        "model": ipywidgets.Dropdown(options=list(known_shapes()), value=model, description="Model"),
        "length": ipywidgets.SelectionSlider(
            options=[(f"{n:,}", n) for n in LENGTHS], value=length, description="Tokens"
        ),
        "ratio": ipywidgets.SelectionSlider(options=RATIOS, value=1 / 4, description="Group"),
        "causal": ipywidgets.Dropdown(options=counts, value=False, description="Count"),
    }
    return Panel(lambda **values: cost_view(**values, canvas=canvas, style=style), controls)


def measure_attention(
    lengths: Sequence[int] = (256, 512, 1024, 2048),
    *,
    group_ratio: float = 1 / 4,
    heads: int = 4,
    head_dim: int = 48,
    repeats: int = 5,
    dtype: torch.dtype | None = None,
    backward: bool = True,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> dict:
    """Time dense attention and S²-Attn on random numbers, forward and, with `backward`, the gradients of q, k and v.

    Both in torch, as the model runs them, with the threads that torch has now, in float32 unless `dtype` differs. The
    two take turns, after one round that does not count, and the middle one of `repeats` times is kept. Small lengths
    measure calls, not attention.

    Returns a record: `seconds[length][name]`, `pairs[length]` (how many times fewer pairs S²-Attn computes), the
    settings, and where and when it was measured.

    Raises:
        ValueError: for no lengths, or settings that `S2Geometry` or attention refuse.
    """
    import torch

    from ..attention import full_attention, s2_attention

    dtype = torch.float32 if dtype is None else dtype
    if not lengths:
        raise ValueError("lengths must hold at least one length, got none")
    for name, value in (("repeats", repeats), ("heads", heads), ("head_dim", head_dim)):
        check_integer(name, value, at_least=1)
    if not dtype.is_floating_point:
        raise ValueError(f"dtype must be of floating-point numbers, got {dtype}")
    geometries = [S2Geometry.with_ratio(length, group_ratio, heads) for length in lengths]
    generator = torch.Generator().manual_seed(0)
    seconds = {}
    with (progress or Silent()).stage("Measuring", len(geometries) * (repeats + 1), "rounds") as advance:
        for geometry in geometries:
            size = (3, 1, heads, geometry.seq_len, head_dim)
            q, k, v = (x.to(device, dtype) for x in torch.randn(size, generator=generator))
            ways = {
                "dense": lambda q=q, k=k, v=v: full_attention(q, k, v),
                MEASURED: lambda q=q, k=k, v=v, geometry=geometry: s2_attention(q, k, v, geometry),
            }
            times: dict[str, list[float]] = {name: [] for name in ways}
            for turn in range(repeats + 1):
                for name, way in ways.items():
                    took = _seconds(way, (q, k, v) if backward else ())
                    if turn:
                        times[name].append(took)
                advance(1, f"{geometry.seq_len:,} tokens")
            seconds[geometry.seq_len] = {name: statistics.median(taken) for name, taken in times.items()}
    about = {
        "group_ratio": group_ratio,
        "heads": heads,
        "head_dim": head_dim,
        "repeats": repeats,
        "dtype": str(dtype).removeprefix("torch."),
        "backward": backward,
        "device": str(device),
    }
    pairs = {geometry.seq_len: promised(geometry) for geometry in geometries}
    where = provenance(threads=torch.get_num_threads(), command="measure_attention")
    return {"seconds": seconds, "pairs": pairs} | about | dataclasses.asdict(where)


def promised(geometry: S2Geometry) -> float:
    """Pairs of causal dense attention over those of S²-Attn: the speed-up, if pairs were time."""
    dense = geometry.num_heads * geometry.seq_len * (geometry.seq_len + 1) // 2
    return dense / geometry.pairs()


def seconds_picture(record: dict, *, style: Style = SCREEN) -> Picture:
    """Show the record of `measure_attention` beside the promise of the count of pairs."""
    ratios = speed_ratios(record["seconds"])
    work = "forward and backward" if record["backward"] else "forward"
    machine = record["machine"]
    where = f"{work}, {record['dtype']}, {machine['processor']}, {machine['threads']} threads"
    alt = f"{describe_speed(ratios, record['pairs'])} Measured: {where}."
    return Picture(plot_speed(ratios, record["pairs"], style=style), alt)


def seconds_explorer(
    lengths: Sequence[int] = (256, 512, 1024, 2048), *, repeats: int = 5, style: Style = SCREEN
) -> Task:
    """A button that measures this machine: `seconds_explorer().show()`. Until it is pressed, the promise stands alone.

    `controls` are group_ratio and backward. The button calls `measure_attention` with what they say.
    """

    def work(progress: Progress, group_ratio: float, backward: bool) -> Picture:
        record = measure_attention(
            lengths, group_ratio=group_ratio, backward=backward, repeats=repeats, progress=progress
        )
        return seconds_picture(record, style=style)

    pairs = {length: promised(S2Geometry.with_ratio(length, 1 / 4, 2)) for length in lengths}
    waiting = Picture(plot_speed({}, pairs, style=style), f"{describe_speed({}, pairs)} Nothing is measured yet.")
    controls = {
        "group_ratio": ipywidgets.Dropdown(options=RATIOS, value=1 / 4, description="Group"),
        "backward": ipywidgets.Checkbox(value=True, description="gradients too", indent=False),
    }
    return Task(work, controls, label="Measure on this machine", picture=waiting)


def _seconds(way: Callable[[], torch.Tensor], inputs: tuple[torch.Tensor, ...]) -> float:
    """Time one call in seconds, with the gradients of `inputs` if there are any."""
    import torch

    for x in inputs:
        x.requires_grad_(True)
        x.grad = None
    began = time.perf_counter()
    out = way()
    if inputs:
        out.backward(torch.ones_like(out))
    if out.is_cuda:
        torch.cuda.synchronize(out.device)
    return time.perf_counter() - began
