from __future__ import annotations

import importlib.util
import io
import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import small_llama
from typer.testing import CliRunner

from longlora_edu.cli import app
from longlora_edu.geometry import S2Geometry
from longlora_edu.runs.records import as_json
from research.bench import Ratio, StepSettings, bench_attention, bench_scaling, bench_step, in_turns, peak_of
from research.bench import implementations as ways
from research.bench.attention_speed import Case, grid, largest_error, packed_documents
from research.bench.report_tables import tables
from research.bench.speed_plots import plot_bench

ROOT = Path(__file__).parents[2]
TINY = [Case("float32", 1, 128, 32), Case("bfloat16", 2, 64, 16)]


def test_a_ratio_is_of_neighbours_and_not_of_medians():
    ratio = Ratio.of([2.0, 20.0, 200.0], [1.0, 10.0, 50.0])
    assert (ratio.median, ratio.low, ratio.high) == (2.0, 2.0, 3.0)
    assert Ratio.of([3.0], [2.0]) == Ratio(1.5, 1.5, 1.5)
    with pytest.raises(ValueError, match="zip"):
        Ratio.of([1.0, 2.0], [1.0])


def test_ways_take_turns_and_the_first_call_does_not_count():
    calls = []
    taken = in_turns(
        {"slow": lambda: (calls.append("slow"), time.sleep(0.02)), "fast": lambda: calls.append("fast")}, repeats=3
    )
    assert calls == ["slow", "fast", "slow", "fast", "fast", "slow", "slow", "fast"]
    assert len(taken["slow"]) == len(taken["fast"]) == 3
    assert min(taken["slow"]) >= 0.02 > max(taken["fast"])
    with pytest.raises(ValueError, match="repeats must be an integer, at least 1, got 0"):
        in_turns({}, repeats=0)


def test_the_peak_counts_what_was_freed_again():
    if (before := peak_of(lambda: None)) is None:
        pytest.skip("the system does not let a process count its peak anew")
    assert peak_of(lambda: torch.ones(2**26)) - before > 0.9 * 4 * 2**26
    assert peak_of(lambda: None) - before < 0.5 * 4 * 2**26


def test_the_published_form_is_the_wrap_boundary():
    geometry = S2Geometry(24, 6, 4, shift=2, boundary="wrap")
    *inputs, grad = ways.leaves((2, 24, 4, 8), torch.float64, torch.device("cpu"))
    ours = ways.step_of(ways.s2(geometry, "dense_mask"), inputs, grad)()
    for one, other in zip(ways.step_of(ways.published(geometry), inputs, grad)(), ours, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_the_lower_bound_is_short_attention_where_the_groups_already_lie_side_by_side():
    geometry = S2Geometry(24, 6, 4, shift=0)
    *inputs, grad = ways.leaves((2, 24, 4, 8), torch.float64, torch.device("cpu"))
    packed = [x.detach().unflatten(1, (4, 6)).flatten(0, 1).transpose(1, 2).contiguous() for x in inputs]
    bound = ways.lower_bound()(*packed).transpose(1, 2).unflatten(0, (2, 4)).flatten(1, 2)
    torch.testing.assert_close(bound, ways.s2(geometry)(*inputs))


def test_what_is_timed_is_right():
    assert 0 <= largest_error(Case("float32", 1, 256, 64), torch.device("cpu")) < 1e-5
    assert 1e-4 < largest_error(Case("bfloat16", 1, 256, 64), torch.device("cpu")) < 0.05


def test_packed_documents_are_a_quarter_of_a_group_to_two_groups_long():
    segments = packed_documents(Case("float32", 3, 4096, 256))
    assert segments.shape == (3, 4096)
    for row in segments:
        lengths = np.bincount(row)[:-1]  # the last one is cut off
        assert lengths.min() >= 64 and lengths.max() <= 512 and len(lengths) > 8


def test_the_grid_of_the_issue_is_the_default_on_cpu_and_grows_on_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))
    assert [(c.dtype, c.batch, c.length, c.group) for c in grid("cpu")] == [
        (dtype, *size)
        for dtype in ("float32", "bfloat16")
        for size in ((1, 2048, 512), (1, 8192, 2048), (4, 2048, 512))
    ]
    assert max(case.length for case in grid("cuda")) == 65536


def test_attention_gives_ratios_to_every_baseline():
    result = as_json(bench_attention(cases=TINY, repeats=2, against=["dense", "published", "dense_mask"]))
    assert [row["length"] for row in result["rows"]] == [128, 64]
    for row in result["rows"]:
        assert set(row["seconds"]) == {"s2", "lower bound", "s2, packed documents", "dense", "published", "dense_mask"}
        assert set(row["times_faster"]) == {"dense", "published", "dense_mask"}
        assert all(ratio["low"] <= ratio["median"] <= ratio["high"] for ratio in row["times_faster"].values())
    medians = [row["to_lower_bound"]["median"] for row in result["rows"]]
    assert result["geometric_mean_to_lower_bound"] == pytest.approx(math.sqrt(medians[0] * medians[1]))
    assert result["largest_to_lower_bound"] == max(medians)
    # 4 cells of 32; the shifted half has 3 and two of 16.
    plain, shifted = 4 * 32 * 33 / 2, 3 * 32 * 33 / 2 + 2 * 16 * 17 / 2
    assert result["rows"][0]["pairs_to_lower_bound"] == pytest.approx((plain + shifted) / 2 / plain)
    assert result["rows"][0]["pairs_of_dense"] == pytest.approx(128 * 129 / 2 / ((plain + shifted) / 2))


def test_baselines_that_are_none_or_cannot_run_are_refused():
    with pytest.raises(ValueError, match="against must be among dense, flex, published, dense_mask, got flash"):
        bench_attention(against=["flash"])
    with pytest.raises(ValueError, match="flex must run on cuda, where FlexAttention has a backward pass, got cpu"):
        bench_attention(against=["flex"])


def test_scaling_has_a_row_for_every_length_and_dense_only_as_far_as_asked(monkeypatch):
    monkeypatch.setattr("research.bench.scaling.SHORT_LENGTHS", (32, 64))
    monkeypatch.setattr("research.bench.scaling.extra_bytes", lambda length, group, dtype, device: 1000 * length)
    result = as_json(bench_scaling(lengths=(64, 128), group=16, dense_up_to=64, repeats=1))
    assert [set(row["nanoseconds_a_token"]) for row in result["fixed_group"]] == [{"s2", "dense"}, {"s2"}]
    assert [row["bytes_a_token"]["s2"] for row in result["fixed_group"]] == [1000, 1000]
    assert set(result["dense_over_s2"]) == {"32", "64"}


def test_a_step_of_the_small_model_under_either_attention(monkeypatch):
    monkeypatch.setattr("research.bench.step.peak_bytes", lambda settings, context, sparse: 2**30)
    result = as_json(bench_step(StepSettings(), [640], repeats=1))
    (row,) = result["rows"]
    assert row["tokens_a_second"]["s2"] == pytest.approx(640 / row["seconds"]["s2"])
    assert 1 < row["promised"] < 2
    assert row["promised_over_measured"] == pytest.approx(row["promised"] / row["times_faster"]["median"])
    with pytest.raises(ValueError, match="gradient_checkpointing must be off for the small model"):
        StepSettings(gradient_checkpointing=True)


def test_a_step_learns_and_the_two_attentions_differ():
    from research.bench.step import stepper_of

    stepper = stepper_of(StepSettings(train="all"), 640)
    sparse, dense = stepper.step(True), stepper.step(False)
    assert sparse != dense and math.isfinite(sparse)
    assert stepper.step(True) < sparse


@pytest.mark.parametrize(
    "rule",
    [
        {"rope_type": "default"},
        {"rope_type": "linear", "factor": 2.0},
        {"rope_type": "dynamic", "factor": 2.0},
        {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 64},
        {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
         "original_max_position_embeddings": 32},
    ],
    ids=lambda rule: rule["rope_type"],
)  # fmt: skip
def test_a_step_of_a_real_model_within_its_context_and_beyond(rule, tmp_path, monkeypatch):
    monkeypatch.setattr("research.bench.step.peak_bytes", lambda settings, context, sparse: 2**30)
    small_llama(rope_parameters={"rope_theta": 1e4} | rule).save_pretrained(tmp_path / "model")
    for train in ("adapters", "all"):
        result = bench_step(StepSettings(str(tmp_path / "model"), train=train), [48, 320], repeats=1)
        assert [row["context"] for row in result["rows"]] == [48, 320]
        assert all(row["tokens_a_second"]["s2"] > 0 for row in result["rows"])


def a_record(kind):
    ratio = {"median": 1.2, "low": 1.1, "high": 1.3}
    if kind == "attention":
        row = {"dtype": "float32", "batch": 1, "length": 2048, "group": 512, "seconds": {"s2": 0.01}}
        row |= {
            "to_lower_bound": ratio,
            "packed_to_plain": ratio,
            "times_faster": {"dense": ratio},
            "largest_error": 1e-7,
            "pairs_of_dense": 4.27,
        }
        return {
            **{"heads": 8, "head_dim": 64, "device": "cpu", "rows": [row]},
            **{"geometric_mean_to_lower_bound": 1.2, "largest_to_lower_bound": 1.25},
        }
    if kind == "step":
        row = {"context": 1024, "tokens_a_second": {"s2": 900.0, "dense": 700.0}, "times_faster": ratio}
        row |= {"promised": 1.4, "peak_bytes": {"s2": 2**31, "dense": None}}
        return {"model": "small", "train": "all", "bf16": True, "device": "cpu", "rows": [row, row | {"context": 2048}]}
    rows = [
        {"length": n, "nanoseconds_a_token": {"s2": 5000.0, "dense": n * 2.0}, "bytes_a_token": {"s2": 9000.0}}
        for n in (2048, 4096)
    ]
    rows[1]["nanoseconds_a_token"].pop("dense")
    about = {"device": "cpu", "dtype": "float32", "group": 512, "group_ratio": 0.25, "dense_over_s2": {"64": ratio}}
    return about | {"fixed_group": rows}


@pytest.mark.parametrize(
    "kind, words",
    [
        ("attention", ["fp32 1×2048/512", "10.0", "1.20 (1.10–1.30)", "1e-07", "4.27"]),
        ("step", ["1,024", "900", "700", "1.40", "2.00", "–", "bf16"]),
        ("scaling", ["2,048", "4,096", "9,000", "–", "1.20 (1.10–1.30)"]),
    ],
)
def test_tables_and_pictures_say_what_the_record_holds(kind, words):
    from rich.console import Console

    console = Console(width=80, record=True, file=io.StringIO())
    for table in tables(kind, a_record(kind)):
        console.print(table)
    text = console.export_text()
    assert [word for word in words if word not in " ".join(text.split())] == []
    axes = plot_bench(kind, a_record(kind))
    assert axes.get_xlabel() and len(axes.lines) + len(axes.collections) >= 1


def test_the_command_writes_record_and_picture(tmp_path, monkeypatch):
    monkeypatch.setattr("research.bench.attention_speed.grid", lambda device: TINY)
    out, picture = tmp_path / "a.json", tmp_path / "a.png"
    arguments = ["bench", "attention", "--repeats", "1", "--json", str(out), "--plot", str(picture)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    record = json.loads(out.read_text())
    assert record["machine"]["threads"] == torch.get_num_threads() and record["versions"]["torch"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "over the bound" in done.output


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--device", "tpu"], "--device must be cpu or cuda, got tpu"),
        (["--against", "flash"], "against must be among dense, flex, published, dense_mask, got flash"),
    ],
)
def test_the_command_says_what_it_cannot_do(arguments, sentence):
    done = CliRunner().invoke(app, ["bench", "attention", *arguments])
    assert done.exit_code == 1 and sentence in done.output


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said_so():
    done = CliRunner().invoke(app, ["bench", "step", "--device", "cuda"])
    assert done.exit_code == 1 and "--device cuda must find a GPU, got none that PyTorch sees" in done.output


def test_the_page_of_benchmarks_says_what_the_records_hold():
    spec = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks" / "tables.py")
    tables_of_records = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables_of_records)
    text = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert tables_of_records.page(text) == text, "run python benchmarks/tables.py"
