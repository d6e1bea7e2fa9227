"""Study 10: the savings of S² in closed form, beside the paper's table and measured times."""

from __future__ import annotations

from longlora_edu.cost import ModelShape, forward_flops
from longlora_edu.geometry import S2Geometry
from longlora_edu.runs.records import recorded

from ..part import SEEDS, BaseProfile, Findings, Study, StudyPart, Table
from ..seed_plots import series_picture
from ..summary import thousands
from ..verdict import AGREES, DISAGREES, Claim

TABLE_LENGTHS = (8192, 16384, 32768, 65536, 100_000)
PAPER_TABLE_11 = {65536: (3117.8, 1429.0)}  # TFLOP of its table 11, full and S²; the other rows have no second source
TIMED = ("step_small_adapters", "step_small_all")  # made by `longlora-edu bench step`
TRAINED_WORDS = {"adapters": "adapters, embeddings, norms", "all": "all weights"}


def study(profile: BaseProfile, seeds: int = SEEDS) -> Study:
    """Make study 10, which trains nothing."""
    return Study(
        10,
        "cost",
        "What does S² save, in closed form and on the clock?",
        (
            StudyPart("FLOPs of Llama-2-7B, forward", (), lambda rows: show_flops()),
            StudyPart("Closed form beside measured", (), lambda rows: show_times()),
        ),
        limits="FLOPs are those of matrix products. The paper counts whole squares; a causal kernel does half of that.",
    )


def show_flops() -> Findings:
    """Compute the paper's table 11 by this package's formula, and the same with causal kernels."""
    shape, lines, found = ModelShape.llama2_7b(), [], {}
    for length in TABLE_LENGTHS:
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
        for length, (full, s2) in PAPER_TABLE_11.items()
    )
    names = ("full", "attention", "S²", "attention", "ratio")
    headings = ("tokens", *names, *(f"{name}, causal" for name in names))
    note = "TFLOP of one sequence, groups of a quarter, ends wrapped as in the paper; *attention* is its share."
    ratios = {
        kind: {length: [_ratio(shape, length, kind == "causal kernels")] for length in TABLE_LENGTHS[:-1]}
        for kind in ("as the paper counts", "causal kernels")
    }
    picture = series_picture("cost", ratios, x="tokens", y="full over S², FLOPs")
    return Findings((Table(headings, tuple(lines), note),), (picture,), claims)


def show_times() -> Findings:
    """Compare measured training steps of the small model under either attention with the ratio of FLOPs."""
    records = [recorded(name) for name in TIMED]
    lines, series, over = [], {}, []
    for record in records:
        learns = TRAINED_WORDS[record["train"]]
        for row in record["rows"]:
            tokens, clock = row["context"], row["times_faster"]
            times = (f"{row['seconds'][name]:.3f} s" for name in ("dense", "s2"))
            faster = f"{clock['median']:.2f} ({clock['low']:.2f} to {clock['high']:.2f})"
            lines.append((learns, thousands(tokens), *times, faster, f"{row['promised']:.2f}"))
            series.setdefault(f"clock: {learns}", {})[tokens] = [clock["median"]]
            series.setdefault(f"FLOPs: {learns}", {})[tokens] = [row["promised"]]
            over.append(row["promised_over_measured"])
    first = records[0]
    machine, torch = first["machine"], first["versions"]["torch"]
    note = (
        f"One step of one sequence of the small model, groups of a quarter, causal kernels: {first['repeats']} rounds "
        f"by turns, median and middle half. {machine['processor']}, {machine['threads']} threads, "
        f"torch {torch}, {first['date'][:10]}, by `longlora-edu bench step`; of real models: `benchmarks/README.md`."
    )
    headings = ("trained", "tokens", "full", "S²", "times as fast", "by FLOPs")
    picture = series_picture("cost-clock", series, x="tokens", y="full over S², a training step")
    said = f"FLOPs promise {min(over):.2f} to {max(over):.2f} times what the clock gives."
    return Findings((Table(headings, tuple(lines), note),), (picture,), notes=(said,))


def _ratio(shape: ModelShape, length: int, causal: bool) -> float:
    sparse = S2Geometry.with_groups(length, 4, shape.heads, boundary="wrap")
    full, s2 = (forward_flops(shape, length, geometry, causal=causal).total for geometry in (None, sparse))
    return full / s2


def _tera(flops: float) -> str:
    return f"{flops / 1e12:.1f}"
