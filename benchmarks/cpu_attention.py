"""Which implementation is fastest on a CPU, by dtype and group: the table behind `choose_impl`.

    python benchmarks/cpu_attention.py            # about three minutes, results/cpu_attention.json

Forward and backward of 8 heads on one thread, in seconds of that thread, which other work on the machine lengthens
little. Ways take turns; ratios are medians of neighbours in time, with the middle half of them: that is the noise.

`share` is what attention reaches of the speed of a product of 1,024 x 1,024 matrices in the same dtype, which takes
turns with it: seven products of 2 d FLOPs for each pair that a query may look at, two forward and five backward.
`bytes_a_token` is the most that tensors held at once above q, k, v and the gradient of the output, by what torch hands
out and takes back: a count, the same on every machine. `--part` measures times or memory alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from longlora_edu.geometry import S2Geometry
from longlora_edu.runs.records import provenance, read_json, write_json
from longlora_edu.runs.timing import Ratio, in_turns
from research.bench import implementations as ways

RECORD = Path(__file__).parent / "results" / "cpu_attention.json"
HEADS, SQUARE = 8, 1024
# b, n, g, d
SIZES = {
    "bfloat16": (
        (1, 2048, 512, 64), (4, 2048, 512, 64), (1, 1024, 64, 64), (1, 1024, 128, 64), (1, 1024, 256, 64),
        (1, 2048, 512, 32), (1, 2048, 512, 128), (1, 4096, 1024, 64), (1, 4096, 2048, 64),
    ),
    "float32": ((1, 2048, 512, 64), (1, 1024, 256, 64), (1, 4096, 2048, 64)),
}  # fmt: skip
PRODUCTS = 7
PARTS = ("times", "memory")


def main(given: list[str] | None = None) -> dict:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--repeats", type=int, default=9)
    options.add_argument("--part", choices=PARTS, action="append", help="only this one")
    options.add_argument("--toy", action="store_true", help="one small size")
    options.add_argument("--out", type=Path, default=RECORD)
    args = options.parse_args(given)
    record = read_json(args.out) if args.out.exists() else {}
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for part in args.part or PARTS:
            found = times(args.toy, args.repeats) if part == "times" else memory(256 if args.toy else 16384)
            record[part] = found | dataclasses.asdict(provenance(threads=1))
            write_json(args.out, record)
    finally:
        torch.set_num_threads(before)
    return record


def times(toy: bool, repeats: int) -> dict:
    sizes = dict.fromkeys(SIZES, ((1, 64, 16, 8),)) if toy else SIZES
    rows = [row(dtype, *size, repeats) for dtype in SIZES for size in sizes[dtype]]
    return {"heads": HEADS, "repeats": repeats, "rows": rows}


def memory(length: int) -> dict:
    """Count the bytes of S² in groups of 512 and of dense attention, forward and backward in float32."""
    shape = (1, length, HEADS, 64)
    *inputs, grad = ways.leaves(shape, torch.float32, torch.device("cpu"))
    both = {"s2": ways.s2(S2Geometry(length, min(512, length // 4), HEADS)), "dense": ways.dense()}
    held = {name: most_held(ways.step_of(way, inputs, grad)) / length for name, way in both.items()}
    return {"heads": HEADS, "length": length, "bytes_a_token": held}


def most_held(step: Callable[[], object]) -> int:
    """Sum what torch hands out and takes back during a call, and return the most."""
    step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        results = step()  # held until all are counted
    changes = [event for event in found.profiler.kineto_results.events() if event.name() == "[memory]"]
    del results
    return max(accumulate(event.nbytes() for event in sorted(changes, key=lambda event: event.start_ns())))


def row(dtype: str, batch: int, length: int, group: int, width: int, repeats: int) -> dict:
    """Time each way at one size, and what they make of the matrix product's speed."""
    kind, geometry = getattr(torch, dtype), S2Geometry(length, group, HEADS)
    *inputs, grad = ways.leaves((batch, length, HEADS, width), kind, torch.device("cpu"))
    cells = (batch * length // group, HEADS, group, width)
    *packed, packed_grad = ways.leaves(cells, kind, torch.device("cpu"))
    square = torch.randn(SQUARE, SQUARE).to(kind)
    taken = in_turns(
        {
            "grouped": ways.step_of(ways.s2(geometry, "grouped"), inputs, grad),
            "products": ways.step_of(ways.s2(geometry, "products"), inputs, grad),
            "auto": ways.step_of(ways.s2(geometry), inputs, grad),
            "published": ways.step_of(ways.published(geometry), inputs, grad),
            "lower bound": ways.step_of(ways.lower_bound(), packed, packed_grad),
            "product": lambda: square @ square,
        },
        repeats=repeats,
        clock=time.thread_time,
    )
    flops = PRODUCTS * 2 * width * batch * geometry.pairs()
    speed = 2 * SQUARE**3 / statistics.median(taken["product"])
    seconds = {name: statistics.median(times) for name, times in taken.items()}
    found = {"dtype": dtype, "batch": batch, "length": length, "group": group, "width": width, "seconds": seconds}
    found["share"] = {name: flops / seconds[name] / speed for name in ("grouped", "products", "auto")}
    found["over_auto"] = {
        name: Ratio.of(taken[name], taken["auto"]) for name in ("grouped", "products", "published", "lower bound")
    }
    medians = {name: round(ratio.median, 2) for name, ratio in found["over_auto"].items()}
    print(dtype, batch, length, group, width, medians, flush=True)
    return found


if __name__ == "__main__":
    main()
