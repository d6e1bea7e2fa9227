"""How much of a full update could a low rank keep? The singular values behind the rank explorer.

Fine-tunes all weights of the small model of the studies from 256 to 2,048 bytes with S²-Attn and YaRN,
as the arm "all weights" of `trained_parts.py`, and takes the difference of the weights after and before, matrix by
matrix.

Writes `longlora_edu/assets/results/update_spectra.json`. About two minutes on two cores.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch

from longlora_edu.longlora import ATTENTION_PROJECTIONS, LongLoRAConfig, apply_longlora
from longlora_edu.model import bundled_model
from longlora_edu.runs.progress import Terminal
from longlora_edu.runs.records import provenance, write_json
from longlora_edu.training.corpus import Windows, standard_library
from longlora_edu.training.finetune import FinetuneSettings, finetune

TARGET = 2048
OUT = Path(__file__).parents[1] / "longlora_edu" / "assets" / "results" / "update_spectra.json"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--out", type=Path, default=OUT)
    options.add_argument("--steps", type=int, default=40)
    options.add_argument("--threads", type=int, default=2)
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    corpus, model = standard_library(), bundled_model(256)
    settings = FinetuneSettings(arguments.steps, rate=1e-3)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    apply_longlora(model, LongLoRAConfig(TARGET, train="all"))
    finetune(model, Windows(corpus.train, TARGET + 1), settings, progress=Terminal(interval=30))
    spectra = {
        short_name(name): singular_values(weight.detach() - before[name])
        for name, weight in model.named_parameters()
        if name.endswith("embed_tokens.weight") or name.split(".")[-2] in ATTENTION_PROJECTIONS
    }
    record = {"target_context": TARGET, "settings": dataclasses.asdict(settings), "singular_values": spectra}
    about = dataclasses.asdict(provenance(threads=arguments.threads, command="python benchmarks/update_spectra.py"))
    write_json(arguments.out, record | {"corpus": corpus.describe()} | about)


def short_name(name: str) -> str:
    """What a reader calls "model.layers.2.self_attn.q_proj.weight": "layer 2, q_proj"."""
    parts = name.split(".")
    return f"layer {parts[2]}, {parts[-2]}" if "layers" in parts else parts[-2]


def singular_values(update: torch.Tensor) -> list[float]:
    """From the largest down, to four digits: the file travels with the package."""
    values = np.linalg.svd(update.double().numpy(), compute_uv=False)
    return [float(f"{value:.4g}") for value in values]


if __name__ == "__main__":
    main()
