"""The number format by hardware, with capabilities that are made up: no GPU is needed."""

from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

from longlora_edu.cli import app
from longlora_edu.runs import number_format as formats
from longlora_edu.runs.number_format import number_format
from research.bench.attention_speed import grid


@pytest.mark.parametrize(
    ("capability", "train", "measure"),
    [
        ((7, 0), torch.float32, torch.float16),
        ((7, 5), torch.float32, torch.float16),
        ((8, 0), torch.bfloat16, torch.bfloat16),
        ((8, 9), torch.bfloat16, torch.bfloat16),
        ((9, 0), torch.bfloat16, torch.bfloat16),
    ],
)
def test_bfloat16_is_chosen_where_the_hardware_has_it(capability, train, measure, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    monkeypatch.setattr(torch.version, "hip", None)
    for device in ("cuda", torch.device("cuda", 1)):
        assert number_format(device, "train") == train
        assert number_format(device, "measure") == measure


def test_emulated_bfloat16_does_not_count(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (7, 5))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)  # as PyTorch says of a T4
    monkeypatch.setattr(torch.version, "hip", None)
    assert not formats.has_bf16("cuda")


@pytest.mark.parametrize(("capability", "option"), [((7, 5), "--fp16"), ((8, 0), "--bf16"), ((9, 0), "--bf16")])
def test_the_option_that_halves_memory_and_the_benchmark_follow_the_hardware(capability, option, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    monkeypatch.setattr(torch.version, "hip", None)
    assert formats.half_option("cuda") == option and formats.half_option("cpu") == "--bf16"
    assert {case.dtype for case in grid("cuda")} == {"float16" if option == "--fp16" else "bfloat16"}


def test_a_run_that_would_be_emulated_is_warned_about(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (7, 5))
    monkeypatch.setattr(torch.version, "hip", None)
    asked = ["--model", str(tmp_path), "--data", str(tmp_path), "--context", "64", "--out", str(tmp_path / "out")]
    said = [CliRunner().invoke(app, ["train", *asked, half]).stderr for half in ("--bf16", "--fp16")]
    assert ["--fp16 computes in what it has" in each for each in said] == [True, False], said


@pytest.mark.parametrize("device", ["cpu", "mps", "meta"])
def test_elsewhere_it_is_float32(device):
    assert number_format(device, "train") == number_format(device, "measure") == torch.float32


def test_an_unknown_work_is_refused():
    with pytest.raises(ValueError, match="work must be one of train, measure, got 'play'"):
        number_format("cpu", "play")
