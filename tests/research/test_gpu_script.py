"""The script for a GPU on a CPU, at toy sizes: everything is done once, in order, and what fails costs nothing else."""

from __future__ import annotations

import json

import gpu
import pytest

from longlora_edu.attention import varlen


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch):
    """What `--toy` puts in the kernel's place goes back afterwards."""
    monkeypatch.setattr(varlen, "DEVICES", varlen.DEVICES)
    monkeypatch.setattr(varlen, "_attend", varlen._attend)


def test_every_unit_is_done_once_and_leaves_times_memory_and_goals(tmp_path):
    out = tmp_path / "gpu.json"
    record = gpu.main(["--toy", "--out", str(out)])
    assert list(record["units"]) == ["attention bfloat16 256", "packed 128", "attention float32 64", "step 64"]
    first = record["units"]["attention bfloat16 256"]["result"]
    assert set(first["seconds"]) == {"grouped", "varlen", "dense", "contiguous varlen", "published"}
    assert "must need no gradient under impl='flex' on cpu" in first["refused"]["flex"]
    assert first["pairs_of_dense"] == pytest.approx(
        256 * 257 / 2 * 2 / (4 * 64 * 65 / 2 + 3 * 64 * 65 / 2 + 2 * 32 * 33 / 2)
    )
    assert set(record["units"]["packed 128"]["result"]["seconds"]) == {"varlen", "grouped"}
    assert set(record["units"]["step 64"]["result"]["seconds"]) == {"s2", "dense"}
    assert set(record["goals"]) == {"attention bfloat16 256", "attention float32 64"}
    assert set(record["goals"]["attention bfloat16 256"]) == {"over_contiguous_varlen", "share_of_pairs_ratio"}
    written = out.read_bytes()
    gpu.main(["--toy", "--out", str(out)])
    assert out.read_bytes() == written  # nothing was left to do


def test_a_unit_that_may_not_end_in_time_is_left_for_the_next_call(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu.Session, "attention", lambda self, dtype, length: {"dtype": dtype})
    monkeypatch.setattr(gpu.Session, "packed", lambda self, length: {"error": "out of memory"})
    monkeypatch.setattr(gpu.Session, "step", lambda self, length: {})
    now = iter(range(0, 10_000, 25))
    out = tmp_path / "gpu.json"
    first = gpu.main(["--toy", "--out", str(out), "--minutes", "2"], clock=lambda: next(now))
    assert "step 64" not in first["units"] and "seconds are left" in capsys.readouterr().out
    later = gpu.main(["--toy", "--out", str(out), "--minutes", "60"], clock=lambda: 0.0)
    assert set(later["units"]) == {"attention bfloat16 256", "packed 128", "attention float32 64", "step 64"}
    assert all(json.loads(out.read_text())["units"][name] == unit for name, unit in first["units"].items())


def test_what_was_cut_off_goes_on_and_what_breaks_leaves_its_message(tmp_path, monkeypatch):
    tries = []
    monkeypatch.setattr(gpu.Session, "units", lambda self: {"step 1": unit, "packed 1": broken})

    def unit():
        tries.append(1)
        return {"unfinished": len(tries) < 2}

    def broken():
        raise RuntimeError("no kernel image")

    for _ in range(3):
        record = gpu.main(["--toy", "--out", str(tmp_path / "gpu.json")])
    assert len(tries) == 2
    assert record["units"]["packed 1"]["result"] == {"error": "RuntimeError: no kernel image"}


def test_goals_say_which_are_met_and_leave_out_what_was_not_measured():
    def unit(length, **seconds):
        return {"result": {"seconds": seconds, "fastest": "varlen", "pairs_of_dense": 4.0, "length": length}}

    found = gpu.goals(
        {
            "attention a": unit(32768, varlen=1.0, dense=3.7, flex=0.9) | {},
            "attention b": unit(8192, varlen=1.1, dense=2.0, **{"contiguous varlen": 1.0}),
            "packed c": unit(8192, varlen=1.0),
            "attention d": {"result": {"error": "out of memory"}},
        }
    )
    assert found["attention a"]["share_of_pairs_ratio"] == {"value": pytest.approx(0.925), "met": True}
    assert found["attention a"]["flex_over_ours"]["met"] is False
    assert found["attention b"]["over_contiguous_varlen"] == {"value": pytest.approx(1.1), "met": False}
    assert found["attention b"]["share_of_pairs_ratio"]["met"] is None
    assert set(found) == {"attention a", "attention b"}


def test_without_a_gpu_it_says_what_it_wants(monkeypatch):
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="needs a GPU, or --toy"):
        gpu.main([])
