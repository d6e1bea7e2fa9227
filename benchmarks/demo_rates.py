"""Choose the learning rate of each arm of the demo: three arms, three rates, the demo's own settings.

Training windows, held-out windows, names and numbers are drawn with a seed that no recorded demo uses. Both tasks
count: of the rates that find nearly as many references as the best, dense, laid freely, that with the lowest bits of
text.

Writes `benchmarks/results/demo_rates.json` after each run; started again, it goes on where it stopped.
About forty minutes on two cores.
"""

from __future__ import annotations

import argparse
import dataclasses
from functools import partial
from pathlib import Path

import torch

from longlora_edu.demo.ladder import measure_step
from longlora_edu.demo.run import DemoSettings, prepare_arm
from longlora_edu.model import TinyLlama, bundled_model
from longlora_edu.runs.progress import Silent
from longlora_edu.runs.records import as_json, provenance, read_json, write_json
from longlora_edu.training.corpus import Corpus, Windows, standard_library
from longlora_edu.training.extend import Extension, extend_model

OUT = Path(__file__).parent / "results" / "demo_rates.json"
SEED = 900
RATES = dict.fromkeys(("s2", "short", "full"), (1e-3, 2e-3, 3e-3))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=OUT)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--arms", nargs="+", default=list(RATES), choices=list(RATES))
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    corpus = standard_library()
    rows = read_json(arguments.out)["rows"] if arguments.out.exists() else []
    for arm in arguments.arms:
        for rate in RATES[arm]:
            settings = DemoSettings(rate=rate, seed=SEED, threads=arguments.threads)
            identity = as_json(dataclasses.asdict(settings) | {"arm": arm})
            if any(row["settings"] == identity for row in rows):
                continue
            extension = extend(arm, settings, corpus)
            after = extension.after
            kept = {name: after[name] for name in ("bits_per_byte", "passkey", "references", "references_aligned")}
            row = as_json({"arm": arm, "rate": rate, "settings": identity, **kept})
            rows.append(row)
            write(rows, corpus, arguments)
            found = {kind: f"{count['found']} of {count['of']}" for kind, count in row["references"].items()}
            print(arm, rate, row["bits_per_byte"], found, f"{extension.training.seconds:.0f} s", flush=True)
    write(rows, corpus, arguments)  # also where all rows were there: they may come from several files


def write(rows: list[dict], corpus: Corpus, arguments: argparse.Namespace) -> None:
    """Write all rows, the best rates so far and the provenance of this run."""
    about = dataclasses.asdict(provenance(threads=arguments.threads, command="python benchmarks/demo_rates.py"))
    write_json(arguments.out, {"rows": rows, "best": best(rows), "corpus": corpus.describe()} | about)


def extend(arm: str, settings: DemoSettings, corpus: Corpus) -> Extension:
    """Train the small model as one arm of the demo and measure it as the demo does, at the end only."""
    base = bundled_model()
    trained = base.config.trained_context

    def measure(model: TinyLlama, when: str) -> dict | None:
        if when != "after":
            return None
        return measure_step(model, corpus, settings, Silent(), when, trained=trained, references=True)

    windows = Windows(corpus.train, settings.context + 1)
    prepare = partial(prepare_arm, settings=settings, arm=arm)
    return extend_model(base, windows, settings.finetune(arm), prepare=prepare, measure=measure)


def best(rows: list[dict]) -> dict[str, float]:
    """Return the rate of each arm with the lowest bits of text, among those that find nearly as much as the best.

    Nearly is 95 % of its mean share over the three distances: a higher rate finds a little more and spoils the text.
    """

    def share(row: dict) -> float:
        return sum(count["found"] / count["of"] for count in row["references"].values())

    def text(row: dict) -> float:
        return list(row["bits_per_byte"].values())[-1]

    chosen = {}
    for arm in dict.fromkeys(row["arm"] for row in rows):
        own = [row for row in rows if row["arm"] == arm]
        most = max(map(share, own))
        chosen[arm] = min((row for row in own if share(row) >= 0.95 * most), key=text)["rate"]
    return chosen


if __name__ == "__main__":
    main()
