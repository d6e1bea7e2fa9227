from __future__ import annotations

import time

import pytest
import torch

from longlora_edu.runs.timing import kept_bytes, median_seconds, that_fit


def test_functions_take_turns_and_the_first_round_does_not_count():
    calls = []
    functions = {name: lambda name=name: calls.append(name) for name in ("a", "b")}
    taken = median_seconds(functions, repeats=2)
    assert calls == ["a", "b", "a", "b", "b", "a"]
    assert list(taken) == ["a", "b"]


def test_what_takes_longer_measures_longer_and_waiting_is_not_work():
    def busy():
        sum(range(300_000))

    taken = median_seconds({"busy": busy, "asleep": lambda: time.sleep(0.02)}, repeats=3)
    assert taken["asleep"] < taken["busy"]
    assert taken["asleep"] < 0.02


def test_on_cpu_the_clock_runs_on_one_thread_and_gives_the_others_back(threads):
    torch.set_num_threads(2)
    seen = []
    median_seconds({"a": lambda: seen.append(torch.get_num_threads())}, repeats=1)
    assert seen == [1, 1]
    assert torch.get_num_threads() == 2


def test_threads_come_back_after_an_error_too(threads):
    torch.set_num_threads(2)
    with pytest.raises(ZeroDivisionError):
        median_seconds({"a": lambda: 1 / 0}, repeats=1)
    assert torch.get_num_threads() == 2


def test_no_repeats_are_refused():
    with pytest.raises(ValueError, match="repeats must be an integer, at least 1, got 0"):
        median_seconds({}, repeats=0)


@pytest.mark.gpu
def test_on_a_gpu_the_clock_waits_for_the_work():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    x = torch.randn(4096, 4096, device="cuda")
    taken = median_seconds({"one": lambda: x @ x, "eight": lambda: [x @ x for _ in range(8)]}, repeats=5, device="cuda")
    assert taken["eight"] > 3 * taken["one"]


def test_kept_bytes_are_those_that_the_gradient_needs():
    x = torch.randn(10, requires_grad=True)
    assert kept_bytes(lambda: x.exp(), besides=[x]) == 40  # its own result
    assert kept_bytes(lambda: x + 1, besides=[x]) == 0
    assert kept_bytes(lambda: x * x) == 40  # the same storage twice counts once
    assert kept_bytes(lambda: x * x, besides=[x]) == 0


def test_a_view_counts_as_the_storage_behind_it():
    x = torch.randn(4, 8, requires_grad=True)
    w = torch.randn(8, requires_grad=True)
    assert kept_bytes(lambda: x[:, :2] * w[:2]) == x.untyped_storage().nbytes() + w.untyped_storage().nbytes()


def test_lengths_are_those_that_half_of_the_free_memory_holds(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2000, 10_000))
    assert that_fit((100, 500, 1000, 2000), lambda n: n, "cuda") == (100, 500, 1000)
    assert that_fit((5000, 6000), lambda n: n, "cuda") == (5000,), "the first always"
    assert that_fit((5000, 6000), lambda n: n, "cpu") == (5000, 6000)
