"""Which position rule goes with S²-Attn? Each of them on one small model and budget; and where the paper's works.

First five rules, adapters, 256 to 2,048 bytes. Then linear interpolation, the paper's own rule, at gentler factors.
Writes `longlora_edu/assets/results/position_rules.json`. About eight minutes on two cores.

`--attention full` trains the five rules with full attention instead, on the same windows, and writes
`position_rules_full.json`: what S² has to do with the choice. About ten minutes.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch

from longlora_edu.longlora import LongLoRAConfig, apply_longlora, merge_to_dense
from longlora_edu.model import bundled_model
from longlora_edu.runs.progress import Terminal
from longlora_edu.runs.records import provenance, write_json
from longlora_edu.training.corpus import Windows, standard_library
from longlora_edu.training.evaluate import score_passkeys, score_text
from longlora_edu.training.finetune import FinetuneSettings, finetune

RULES = [(method, 8, "adapters", 40) for method in ("default", "linear", "ntk", "dynamic", "yarn")]
GENTLER = [("linear", 2, "adapters", 150), ("linear", 2, "all", 150), ("linear", 4, "all", 100)]
RESULTS = Path(__file__).parents[1] / "longlora_edu" / "assets" / "results"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--attention", choices=("s2", "full"), default="s2", help="what training computes")
    options.add_argument("--out", type=Path)
    arguments = options.parse_args()
    full = arguments.attention == "full"
    out = arguments.out or RESULTS / ("position_rules_full.json" if full else "position_rules.json")
    command = "python benchmarks/position_rules.py" + " --attention full" * full
    corpus, rows = standard_library(), []
    base = bundled_model(256)
    context = base.config.trained_context
    before = score_text(base, corpus.held_out, [context], windows=200).by_length[context]
    for method, factor, train, steps in RULES if full else RULES + GENTLER:
        model, target = bundled_model(256), factor * context
        pattern = {"group_size": target, "shift": 0} if full else {}  # one group without a shift is full attention
        apply_longlora(model, LongLoRAConfig(target, rope=method, train=train, **pattern))
        settings = FinetuneSettings(steps, rate=2e-3 if train == "adapters" else 1e-3)
        result = finetune(model, Windows(corpus.train, target + 1), settings, progress=Terminal())
        merge_to_dense(model)
        lengths = sorted({context, 2 * context, target})
        text = score_text(model, corpus.held_out, lengths, windows=200)
        keys = score_passkeys(model, corpus.held_out, [target], trials=16)
        row = {
            "rope": method,
            "factor": factor,
            "train": train,
            "steps": steps,
            "seconds": result.seconds,
            "bits_per_byte": text.by_length,
            "ratio_to_base": text.by_length[target] / before,
            "passkey": keys.at(target),
        }
        print(f"{method} x{factor} {train}: {row['ratio_to_base']:.3f} of the base's bits, {keys.at(target).rate:.0%}")
        rows.append(row)
    about = {"base_bits_per_byte": before, "corpus": corpus.describe()}
    about |= dataclasses.asdict(provenance(threads=torch.get_num_threads(), command=command))
    write_json(out, {"attention": arguments.attention, "rows": rows, **about})


if __name__ == "__main__":
    main()
