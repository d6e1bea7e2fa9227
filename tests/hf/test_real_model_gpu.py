"""The script for a GPU does on a CPU, at toy sizes, all that it would do there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = {
    "model", "texts", "before", "stretched", "train", "after", "speed", "1b-s2", "1b-dense", "7b-s2", "7b-dense",
}  # fmt: skip


def run_script(*options):
    command = [sys.executable, ROOT / "benchmarks" / "real_model_gpu.py", *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
def test_every_part_is_done_once_and_gathered(tmp_path):
    folders = ["--work", tmp_path / "work", "--out", tmp_path / "out"]
    done = run_script("--toy", *folders)
    assert done.returncode == 0, done.stderr[-3000:]
    record = json.loads((tmp_path / "out" / "real_model_gpu.json").read_text())
    assert set(record) == PARTS
    assert all(part["toy"] and part["versions"]["torch"] for part in record.values())
    for part in ("before", "stretched", "after"):
        assert set(record[part]["result"]["perplexity"]) == set(record[part]["result"]["passkey"]) == {"160", "640"}
    assert record["train"]["result"]["attention"] == "S2"
    assert {row["context"] for way in record["speed"]["result"].values() for row in way["rows"]} == {640}
    for part in ("1b-s2", "1b-dense", "7b-s2", "7b-dense"):
        assert all(row["tokens_per_second"] > 0 for row in record[part]["result"]["rows"].values())
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("real_model_gpu.*.json")}
    (tmp_path / "out" / "real_model_gpu.before.json").unlink()
    assert run_script("--toy", *folders, "--part", "before").returncode == 0
    changed = {path.name for path, time in written.items() if path.stat().st_mtime_ns != time}
    assert changed == {"real_model_gpu.before.json"}


@pytest.mark.slow
def test_without_a_gpu_or_with_an_unknown_part_it_says_what_it_wants():
    assert "needs a GPU and --model, or --toy" in run_script().stderr
    assert "--part must be one of model, texts, before" in run_script("--toy", "--part", "nothing").stderr
