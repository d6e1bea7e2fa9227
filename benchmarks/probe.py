"""The probe of lesson 02a, recorded: one layer, key and question on two sides of a wall, with and without a shift.

Writes `longlora_edu/assets/results/probe.json`, which lesson 00 replays. A quarter of a minute on one core.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch

from longlora_edu.runs.records import provenance, write_json
from longlora_edu.training.probe import ProbeSettings, run_probe

OUT = Path(__file__).parents[1] / "longlora_edu" / "assets" / "results" / "probe.json"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=OUT)
    arguments = options.parse_args()
    results = {}
    for name, shift in (("with", None), ("without", 0)):
        results[name] = result = run_probe(ProbeSettings(shift=shift))
        print(f"{name} a shift: {result.accuracy.rate:.1%} right, a guess {result.chance:.1%}")
    about = dataclasses.asdict(provenance(threads=torch.get_num_threads(), command="python benchmarks/probe.py"))
    write_json(arguments.out, {**{name: dataclasses.asdict(result) for name, result in results.items()}, **about})


if __name__ == "__main__":
    main()
