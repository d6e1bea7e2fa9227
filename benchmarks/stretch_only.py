"""How far do stretched positions go by themselves? YaRN at three factors, nothing trained.

Bits per byte of the same last bytes, passkeys and named references (in pages as the demo's) at the target, beside the
base at its own window. Writes `longlora_edu/assets/results/stretch_only.json`. About two minutes on one core.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch

from longlora_edu.demo.ladder import page_of
from longlora_edu.longlora import LongLoRAConfig, apply_longlora
from longlora_edu.model import bundled_model
from longlora_edu.runs.records import provenance, write_json
from longlora_edu.training.corpus import standard_library
from longlora_edu.training.evaluate import score_passkeys, score_references, score_text

OUT = Path(__file__).parents[1] / "longlora_edu" / "assets" / "results" / "stretch_only.json"
FACTORS, WINDOWS, TRIALS, REFERENCES = (1.5, 2, 4), 60, 2, 12


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=OUT)
    arguments = options.parse_args()
    corpus, base = standard_library(), bundled_model()
    trained = base.config.trained_context
    rows = []
    for factor in FACTORS:
        target, model = int(factor * trained), bundled_model()
        config = LongLoRAConfig(target)
        apply_longlora(model, config)  # dense in evaluation; the adapters start at nothing
        # The same last bytes of the same windows, which are as long as the target.
        own, bits = (
            score_text(m, corpus.held_out, [trained, target], windows=WINDOWS).by_length for m in (base, model)
        )
        keys = score_passkeys(model, corpus.held_out, [target], trials=TRIALS).at(target)
        page = page_of(target, config.pattern.group_size)
        found = score_references(model, corpus.held_out, target, page, trials=REFERENCES).found
        row = {
            "factor": factor,
            "target": target,
            "bits_per_byte": bits,
            "own": own,
            "loss_ratio": bits[target] / own[trained],
            "passkey": keys,
            "references": {kind: {"found": count.successes, "of": count.trials} for kind, count in found.items()},
        }
        print(f"x{factor}: {row['loss_ratio']:.3f} of the base's own loss, {keys.rate:.0%} of passkeys")
        rows.append(row)
    about = {"trained_context": trained, "corpus": corpus.describe()}
    about |= dataclasses.asdict(
        provenance(threads=torch.get_num_threads(), command="python benchmarks/stretch_only.py")
    )
    write_json(arguments.out, {"rope": "yarn", "rows": rows, **about})


if __name__ == "__main__":
    main()
