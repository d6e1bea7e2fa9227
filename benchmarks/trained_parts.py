"""What must be trained? LoRA alone, with norms, with embeddings, with both, all weights; and does a higher rank help?

Every arm extends the small model of the studies from 256 to 2,048 bytes with S²-Attn and YaRN on the same windows;
only what trains differs. A method is no worse than its best learning rate, so those that are compared most try more
than one.
alpha is twice the rank, so that the side path counts the same at every rank.

Writes `longlora_edu/assets/results/trained_parts.json` after each run; started again, it goes on where it stopped.
About fifteen minutes on two cores.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch

from longlora_edu.longlora import EMBEDDINGS_AND_NORMS, LongLoRAConfig, apply_longlora, merge_to_dense
from longlora_edu.model import bundled_model
from longlora_edu.runs.progress import Terminal
from longlora_edu.runs.records import provenance, read_json, write_json
from longlora_edu.training.corpus import Windows, standard_library
from longlora_edu.training.evaluate import score_passkeys, score_text
from longlora_edu.training.finetune import FinetuneSettings, finetune

TARGET, WINDOWS, TRIALS = 2048, 100, 16
OUT = Path(__file__).parents[1] / "longlora_edu" / "assets" / "results" / "trained_parts.json"
EMBEDDINGS, *NORMS = EMBEDDINGS_AND_NORMS
RATES = (2e-3, 4e-3, 8e-3)
# name: (rank, what trains besides, rates); no rank: all weights and no LoRA
ARMS = {
    "LoRA": (8, (), RATES),
    "LoRA + norms": (8, NORMS, RATES[:1]),
    "LoRA + embeddings": (8, [EMBEDDINGS], RATES[:1]),
    "LoRA + embeddings + norms": (8, EMBEDDINGS_AND_NORMS, RATES[:2]),
    "all weights": (None, (), (1e-3,)),
    "LoRA, rank 128": (128, (), RATES[:1]),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=OUT)
    options.add_argument("--steps", type=int, default=40)
    options.add_argument("--threads", type=int, default=2)
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    corpus = standard_library()
    windows = Windows(corpus.train, TARGET + 1)
    base = bundled_model(256)
    context = base.config.trained_context
    settings = {"steps": arguments.steps, "target_context": TARGET, "windows": WINDOWS, "trials": TRIALS}
    rows = []
    if arguments.out.exists():
        found = read_json(arguments.out)
        if found["settings"] != settings:
            raise SystemExit(f"{arguments.out} must be of a run with the same settings, got {found['settings']}")
        rows = found["rows"]
    before = score_text(base, corpus.held_out, [context], windows=WINDOWS).by_length[context]
    done = {(row["arm"], row["rate"]) for row in rows}
    for name, (rank, besides, rates) in ARMS.items():
        for rate in rates:
            if (name, rate) in done:
                continue
            model = bundled_model(256)
            config = LongLoRAConfig(TARGET, train="all")
            if rank is not None:
                config = LongLoRAConfig(TARGET, rank=rank, alpha=2 * rank, also_train=besides)
            changed = apply_longlora(model, config)
            finetune(model, windows, FinetuneSettings(arguments.steps, rate=rate), progress=Terminal(interval=30))
            merge_to_dense(model)
            text = score_text(model, corpus.held_out, [context, TARGET], windows=WINDOWS)
            row = {
                "arm": name,
                "rank": rank,
                "rate": rate,
                "trainable_parameters": changed.trainable_parameters,
                "trainable_share": changed.trainable_share,
                "bits_per_byte": text.by_length,
                "passkey": score_passkeys(model, corpus.held_out, [TARGET], trials=TRIALS).at(TARGET),
            }
            rows.append(row)
            print(row, flush=True)
            command = "python benchmarks/trained_parts.py"
            about = dataclasses.asdict(provenance(threads=arguments.threads, command=command))
            record = {"settings": settings, "base_bits_per_byte": before, "rows": rows}
            write_json(arguments.out, record | {"corpus": corpus.describe()} | about)


if __name__ == "__main__":
    main()
