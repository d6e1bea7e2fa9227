"""Choose the learning rate of each arm of the demo: three arms, three rates, the demo's own settings.

Training windows, held-out windows, names and numbers are drawn with a seed that no recorded demo uses. Both tasks
count: of the rates whose text stays within 3 % of the base's own window, dense, that which finds most references, laid
freely.

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
from longlora_edu.training.evaluate import doubled_lengths, score_text
from longlora_edu.training.extend import Extension, extend_model

OUT = Path(__file__).parent / "results" / "demo_rates.json"
SEED = 900
TEXT = 1.03  # the most that text may cost, over the base's own window
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
    own = own_window(DemoSettings(seed=SEED), corpus)
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
            write(rows, own, corpus, arguments)
            found = {kind: f"{count['found']} of {count['of']}" for kind, count in row["references"].items()}
            print(arm, rate, row["bits_per_byte"], found, f"{extension.training.seconds:.0f} s", flush=True)
    write(rows, own, corpus, arguments)  # also where all rows were there: they may come from several files


def write(rows: list[dict], own: float, corpus: Corpus, arguments: argparse.Namespace) -> None:
    """Write all rows, the best rates so far and the provenance of this run."""
    about = dataclasses.asdict(provenance(threads=arguments.threads, command="python benchmarks/demo_rates.py"))
    found = {"rows": rows, "own_window": own, "best": best(rows, own), "corpus": corpus.describe()}
    write_json(arguments.out, found | about)


def own_window(settings: DemoSettings, corpus: Corpus) -> float:
    """Measure the base's bits per byte of text on its own window of the same last bytes."""
    base = bundled_model()
    lengths = doubled_lengths(base.config.trained_context, settings.context)
    bits = score_text(base, corpus.held_out, lengths, windows=settings.windows, seed=settings.seed)
    return bits.by_length[lengths[0]]


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


def best(rows: list[dict], own: float) -> dict[str, float]:
    """Return the rate of each arm that finds most, as a mean over the three distances, at no more than `TEXT` × `own`.

    Where text costs more at every rate, the one that costs least.
    """

    def share(row: dict) -> float:
        return sum(count["found"] / count["of"] for count in row["references"].values())

    def text(row: dict) -> float:
        return list(row["bits_per_byte"].values())[-1]

    chosen = {}
    for arm in dict.fromkeys(row["arm"] for row in rows):
        tried = [row for row in rows if row["arm"] == arm]
        kept = [row for row in tried if text(row) <= TEXT * own]
        chosen[arm] = (max(kept, key=share) if kept else min(tried, key=text))["rate"]
    return chosen


if __name__ == "__main__":
    main()
