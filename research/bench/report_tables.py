"""The tables of `longlora-edu bench`, from the records that it writes."""

from __future__ import annotations

from rich import box
from rich.table import Table

GIB = 2**30
SHORT_DTYPES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}


def tables(kind: str, result: dict) -> list[Table]:
    """Format a record of `bench attention`, `step` or `scaling` as tables for a terminal."""
    return {"attention": _attention, "step": _step, "scaling": _scaling}[kind](result)


def _attention(result: dict) -> list[Table]:
    others = list(result["rows"][0]["times_faster"])
    title = f"S²-Attn, forward and backward, {result['heads']} heads of {result['head_dim']}, on {result['device']}"
    caption = (
        "b sequences of n tokens in groups of g; ratios with the middle half of the pairs. To the bound: geometric "
        f"mean {result['geometric_mean_to_lower_bound']:.3f}, largest {result['largest_to_lower_bound']:.3f}"
    )
    bound = _table(title, caption, "b×n/g", "ms", "over the bound", "packed over plain", "error")
    faster = _table("How many times faster than", None, "b×n/g", *others, "dense, by pairs")
    for row in result["rows"]:
        name = f"{SHORT_DTYPES[row['dtype']]} {row['batch']}×{row['length']}/{row['group']}"
        bound.add_row(
            name,
            f"{row['seconds']['s2'] * 1e3:.1f}",
            _ratio(row["to_lower_bound"]),
            _ratio(row["packed_to_plain"]),
            f"{row['largest_error']:.0e}",
        )
        faster.add_row(name, *(_ratio(row["times_faster"][name]) for name in others), f"{row['pairs_of_dense']:.2f}")
    return [bound, faster]


def _step(result: dict) -> list[Table]:
    precision = "bf16" if result["bf16"] else "float32"
    title = f"A training step of {result['model']}, {result['train']}, {precision}, on {result['device']}"
    caption = "tokens a second; times faster (middle half of the pairs), and by causal FLOPs; GiB at most"
    table = _table(title, caption, "context", "tok/s S²", "dense", "× faster", "promised", "GiB S²", "dense")
    for row in result["rows"]:
        table.add_row(
            f"{row['context']:,}",
            *(f"{row['tokens_a_second'][name]:,.0f}" for name in ("s2", "dense")),
            _ratio(row["times_faster"]),
            f"{row['promised']:.2f}",
            *(_gib(row["peak_bytes"][name]) for name in ("s2", "dense")),
        )
    return [table]


def _scaling(result: dict) -> list[Table]:
    title = f"Groups of {result['group']}, {result['dtype']}, on {result['device']}: a token's share"
    flat = _table(title, None, "tokens", "ns S²", "ns dense", "bytes S²", "bytes dense")
    for row in result["fixed_group"]:
        time, held = row["nanoseconds_a_token"], row["bytes_a_token"]
        flat.add_row(
            f"{row['length']:,}",
            *(f"{time[name]:,.0f}" if name in time else "–" for name in ("s2", "dense")),
            *(f"{held[name]:,.0f}" if held.get(name) is not None else "–" for name in ("s2", "dense")),
        )
    title = f"Groups of {result['group_ratio']:g} of the length"
    pays = _table(title, None, "tokens", "times faster than dense")
    for length, ratio in result["dense_over_s2"].items():
        pays.add_row(f"{int(length):,}", _ratio(ratio))
    return [flat, pays]


def _table(title: str, caption: str | None, *columns: str) -> Table:
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _ratio(ratio: dict) -> str:
    return f"{ratio['median']:.2f} ({ratio['low']:.2f}–{ratio['high']:.2f})"


def _gib(size: int | None) -> str:
    return "–" if size is None else f"{size / GIB:.2f}"
