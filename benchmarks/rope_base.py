"""Which RoPE base should the small model be pretrained with? Both candidates, pretrained briefly and then extended.

At context 256 a base of 10,000 lets 40 % of the wavelengths fit into the trained context, a base of 200 lets 70 %,
as in Llama-2. This pretrains a narrow model with each, extends it by linear interpolation and by YaRN, and writes
`benchmarks/results/rope_base.json`. About half an hour on two cores.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
from pathlib import Path

import torch

from longlora_edu.longlora import LongLoRAConfig, apply_longlora, merge_to_dense
from longlora_edu.model import load_tiny_llama
from longlora_edu.runs.progress import Terminal
from longlora_edu.runs.records import provenance, read_json, write_json
from longlora_edu.training.corpus import Windows, standard_library
from longlora_edu.training.evaluate import score_passkeys, score_text
from longlora_edu.training.finetune import FinetuneSettings, finetune
from longlora_edu.training.pretrain import PretrainConfig, run_pretraining

SHAPE = {"hidden_size": 128, "intermediate_size": 344, "steps": 700, "batch": 32, "weight_decay": 0.01}
SHARES = {"passkey_share": 0.5, "passkey_weight": 10.0}
EXTENSIONS = [("linear", 2, "all"), ("linear", 8, "adapters"), ("yarn", 8, "adapters")]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--work", type=Path, default=Path("rope-base"), help="folder for the pretrained models")
    options.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "rope_base.json")
    options.add_argument("--steps", type=int, default=60, help="of each extension; 0 compares the pretraining alone")
    arguments = options.parse_args()
    corpus, progress, rows = standard_library(), Terminal(), []
    for base in (10_000.0, 200.0):
        folder = arguments.work / f"base-{base:g}"
        if not (folder / "model.safetensors").exists():
            config = PretrainConfig(rope_base=base, **SHAPE, **SHARES)
            run_pretraining(config, corpus, folder, resume=True, progress=progress)
        record = read_json(folder / "pretraining.json")
        model, context = load_tiny_llama(folder), record["config"]["context"]
        row = {"base": base, "pretraining": record}
        for method, factor, train in EXTENSIONS if arguments.steps else ():
            extended, target = copy.deepcopy(model), factor * context
            apply_longlora(extended, LongLoRAConfig(target, rope=method, train=train))
            settings = FinetuneSettings(arguments.steps, rate=2e-3 if train == "adapters" else 1e-3)
            finetune(extended, Windows(corpus.train, target + 1), settings, progress=progress)
            merge_to_dense(extended)
            text = score_text(extended, corpus.held_out, [context, target], windows=50)
            keys = score_passkeys(extended, corpus.held_out, [target], trials=10)
            row[f"{method} x{factor}, {train}"] = {
                "bits_per_byte": text.by_length,
                "passkey": keys.at(target).rate,
            }
        rows.append(row)
    about = {"shape": SHAPE | SHARES, "extension_steps": arguments.steps, "corpus": corpus.describe()}
    about |= dataclasses.asdict(provenance(threads=torch.get_num_threads()))
    write_json(arguments.out, {"rows": rows, **about})


if __name__ == "__main__":
    main()
