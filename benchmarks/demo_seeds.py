"""Record the demo: three seeds, with the arms "short" and "full" beside S².

Writes the report of seed 0, its curves thinned, to `longlora_edu/assets/results/demo.json`, which the course shows, and
the ladders of all seeds to `benchmarks/results/demo_seeds.json`. A finished or interrupted run in `--runs` is gone on
with. About forty minutes on two cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from longlora_edu.demo.run import ARMS, DemoSettings, run_demo
from longlora_edu.runs.progress import Terminal
from longlora_edu.runs.records import read_json, write_json

OUT = Path(__file__).parents[1]
KEPT = ("bits_per_byte", "passkey", "references", "references_aligned", "references_chance", "seconds")
THINNED = 128


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=Path, default=Path("demo-seeds"))
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--out", type=Path, default=OUT, help="the checkout to write to")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    seeds = {}
    for seed in arguments.seeds:
        folder = arguments.runs / str(seed)
        settings = DemoSettings(seed=seed, threads=arguments.threads, compare=ARMS)
        resume = (folder / "settings.json").exists()
        run_demo(settings, folder, resume=resume, progress=Terminal(interval=30))
        report = read_json(folder / "report.json")
        report["command"] = f"longlora-edu demo --compare short --compare full --seed {seed}"
        seeds[str(seed)] = ladder(report)
        if seed == 0:
            write_json(arguments.out / "longlora_edu" / "assets" / "results" / "demo.json", thinned(report))
        write_json(arguments.out / "benchmarks" / "results" / "demo_seeds.json", {"seeds": seeds})
        print(report["sentence"], flush=True)


def thinned(report: dict) -> dict:
    """Return the report without the arms' curves of the loss, bits by position as means of 128."""
    steps = {name: dict(report[name]) for name in ("before", "stretched", "after")}
    arms = {name: dict(arm) for name, arm in report["arms"].items()}
    for step in (*steps.values(), *arms.values()):
        step.pop("curve", None)
        values = step.pop("bits_per_byte_by_position")
        step["bits_per_byte_by_position_mean_of_128"] = [
            round(float(np.mean(values[start : start + THINNED])), 4) for start in range(0, len(values), THINNED)
        ]
    return report | steps | {"arms": arms}


def ladder(report: dict) -> dict:
    """Return what a table of seeds shows of a report, with the provenance."""
    about = ("command", "date", "machine", "versions", "threads", "settings", "seconds", "sentence")
    steps = {name: report[name] for name in ("own_window", "before", "stretched", "after")} | report["arms"]
    kept = {name: {key: step[key] for key in KEPT if key in step} for name, step in steps.items()}
    arms = {name: kept.pop(name) for name in report["arms"]}
    train = {f"train_{key}": report["train"][key] for key in ("seconds", "peak_rss_bytes")}
    return {key: report[key] for key in about if key in report} | train | kept | {"arms": arms}


if __name__ == "__main__":
    main()
