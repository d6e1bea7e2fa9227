"""The measurement behind the CPU rows of `choose_impl`."""

from __future__ import annotations

import json

import cpu_attention
import torch


def test_every_way_is_measured_at_every_size(tmp_path):
    threads = torch.get_num_threads()
    out = tmp_path / "cpu.json"
    record = cpu_attention.main(["--toy", "--repeats", "1", "--out", str(out)])
    assert torch.get_num_threads() == threads
    assert [row["dtype"] for row in record["rows"]] == ["bfloat16", "float32"]
    for row in record["rows"]:
        assert set(row["seconds"]) == {"grouped", "products", "auto", "published", "lower bound", "product"}
        assert set(row["over_auto"]) == {"grouped", "products", "published", "lower bound"}
        assert all(share > 0 for share in row["share"].values())
    assert set(record["bytes_a_token"]) == {"s2", "dense"}
    assert json.loads(out.read_text())["versions"]["torch"] == torch.__version__
