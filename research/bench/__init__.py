"""Benchmarks of speed and memory beside a named baseline of the same run: `longlora-edu bench`."""

from longlora_edu.runs.timing import Ratio, in_turns, peak_of

from .attention_speed import bench_attention
from .scaling import bench_scaling
from .step import StepSettings, bench_step

__all__ = ["Ratio", "StepSettings", "bench_attention", "bench_scaling", "bench_step", "in_turns", "peak_of"]
