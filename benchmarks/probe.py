"""The probe of lesson 02a, recorded: one layer, key and question on two sides of a wall, with and without a shift.

The control is a third: no shift, key and question inside one group. Writes `longlora_edu/assets/results/probe.json`,
which lessons 00, 02a and 02b quote. A quarter of a minute on one core.
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
    for name, settings in {
        "with": ProbeSettings(),
        "without": ProbeSettings(shift=0),
        "inside": ProbeSettings(shift=0, place="inside"),
    }.items():
        results[name] = result = run_probe(settings)
        print(f"{name}: {result.accuracy.rate:.1%} right, a guess {result.chance:.1%}")
    about = dataclasses.asdict(provenance(threads=torch.get_num_threads(), command="python benchmarks/probe.py"))
    write_json(arguments.out, {**{name: dataclasses.asdict(result) for name, result in results.items()}, **about})


if __name__ == "__main__":
    main()
