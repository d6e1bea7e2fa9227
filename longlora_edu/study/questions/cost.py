"""Study 10: what S² saves, in closed form, beside the paper's table and beside the clock."""

from __future__ import annotations

from importlib.resources import files

from ...cost import ModelShape, forward_flops, step_ratio
from ...geometry import S2Geometry
from ...model import TinyLlama, bundled_model
from ...plots.seeds import describe_series, plot_series
from ...records import read_json
from ..part import SEEDS, Part, Picture, Profile, Shown, Study, Table
from ..summary import thousands
from ..verdict import AGREES, DISAGREES, Claim

LENGTHS = (8192, 16384, 32768, 65536, 100_000)
PAPER = {65536: (3117.8, 1429.0)}  # TFLOP of its table 11, full and S²; the other rows have no second source
TIMES = files("longlora_edu") / "assets" / "results" / "training_attention.json"


def study(profile: Profile, seeds: int = SEEDS) -> Study:
    """Study 10 trains nothing."""
    return Study(
        10,
        "cost",
        "What does S² save, in closed form and on the clock?",
        (
            Part("FLOPs of Llama-2-7B, forward", (), lambda rows: show_flops()),
            Part("Closed form beside measured", (), lambda rows: show_times()),
        ),
        limits="FLOPs are those of matrix products. The paper counts whole squares; a causal kernel does half of that.",
    )


def show_flops() -> Shown:
    """The paper's table 11 by our own formula, and the same with causal kernels."""
    shape, lines, found = ModelShape.llama2_7b(), [], {}
    for length in LENGTHS:
        sparse = S2Geometry.with_groups(length, 4, shape.heads, boundary="wrap")
        line = [thousands(length)]
        for causal in (False, True):
            full, s2 = (forward_flops(shape, length, geometry, causal=causal) for geometry in (None, sparse))
            line += [_tera(full.total), f"{100 * full.attention_share:.1f} %", _tera(s2.total)]
            line += [f"{100 * s2.attention_share:.1f} %", f"{full.total / s2.total:.2f}"]
            if not causal:
                found[length] = full.total, s2.total
        lines.append(tuple(line))
    claims = tuple(
        Claim(
            f"At {thousands(length)} tokens the paper's table 11 has {full} and {s2} TFLOP.",
            AGREES if (_tera(found[length][0]), _tera(found[length][1])) == (f"{full}", f"{s2}") else DISAGREES,
            f"the closed form gives {_tera(found[length][0])} and {_tera(found[length][1])}",
        )
        for length, (full, s2) in PAPER.items()
    )
    names = ("full", "attention", "S²", "attention", "ratio")
    headings = ("tokens", *names, *(f"{name}, causal" for name in names))
    note = "TFLOP of one sequence, groups of a quarter, ends wrapped as in the paper; *attention* is its share."
    ratios = {
        kind: {length: [_ratio(shape, length, kind == "causal kernels")] for length in LENGTHS[:-1]}
        for kind in ("as the paper counts", "causal kernels")
    }
    axis, what = "tokens", "full over S², FLOPs"
    picture = Picture("cost", lambda: plot_series(ratios, x=axis, y=what), describe_series(ratios, x=axis, y=what))
    return Shown((Table(headings, tuple(lines), note),), (picture,), claims)


def show_times() -> Shown:
    """A training step of the small model, measured by turns, beside the ratio of FLOPs."""
    record = read_json(TIMES)
    speed, target = record["speed"], record["target_context"]
    shape = _shape_of(bundled_model())
    group = record["arms"]["s2"]["pattern"]["group_size"]
    lines = []
    for name, shift in (("short", 0), ("s2", None), ("full", None)):
        geometry = None if name == "full" else S2Geometry(target, group, shape.heads, shift)
        formula = 1.0 if geometry is None else step_ratio(shape, geometry, rank=8)
        clock = speed["full"]["seconds"] / speed[name]["seconds"]
        lines.append((name, f"{speed[name]['seconds']:.3f} s", f"{clock:.2f}", f"{formula:.2f}"))
    note = (
        f"Forward and backward of {thousands(target)} bytes with the small model, {record['machine']['processor']}, "
        f"{record['machine']['threads']} threads, {record['date'][:10]}, from `training_attention.json`."
    )
    headings = ("attention", "a window", "times as fast as full", "by FLOPs, causal")
    return Shown((Table(headings, tuple(lines), note),))


def _ratio(shape: ModelShape, length: int, causal: bool) -> float:
    sparse = S2Geometry.with_groups(length, 4, shape.heads, boundary="wrap")
    full, s2 = (forward_flops(shape, length, geometry, causal=causal).total for geometry in (None, sparse))
    return full / s2


def _shape_of(model: TinyLlama) -> ModelShape:
    config = model.config
    return ModelShape(
        width=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head_dim=config.head_dim,
        ffn_width=config.intermediate_size,
        vocabulary=config.vocab_size,
    )


def _tera(flops: float) -> str:
    return f"{flops / 1e12:.1f}"
