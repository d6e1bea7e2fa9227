"""The main job in one call: the small model, extended eight times on real text, measured before and after.

The folder it leaves holds `report.html`, `report.json`, the adapter in PEFT's file format and the merged model
as transformers loads it. Each stage writes its result when it is done, so an interrupted run can go on.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from .corpus import Corpus, Windows, read_corpus, standard_library
from .evaluate import evaluation_tokens, score_passkeys, score_text
from .finetune import FinetuneSettings, finetune
from .geometry import Boundary
from .longlora import LongLoRAConfig, LongLoRAReport, apply_longlora, merge_longlora, stretched_rope
from .lora import save_adapter
from .model import TinyLlama, bundled_model, save_model
from .progress import Progress, Silent
from .records import peak_memory, provenance, read_json, replace_file, write_json
from .report import render_report
from .rope import RopeMethod
from .train import TrainResult

WHY_ROPE = {
    "default": "positions are not stretched at all: a control, not a recipe",
    "linear": "the paper's own rule; at this size and factor it blurs the near distances and needs far more steps",
    "ntk": "keeps near distances sharp, but leaves distances past the group extrapolated, where S² never trains",
    "dynamic": "NTK with the factor the length at hand needs; the same weakness past the group as NTK",
    "yarn": "maps the unseen far distances into the trained range and keeps the near ones: what S² needs, since it "
    "never trains a distance beyond its group",
}


@dataclass(frozen=True)
class DemoSettings:
    """What `longlora-edu demo` can be told. `corpus=None` is the standard library's own source.

    `windows` held-out windows measure the text, `trials` passkeys at each length and depth the retrieval; the
    rest is `LongLoRAConfig`'s and `FinetuneSettings`'s.
    """

    context: int = 2048
    group_ratio: float = 1 / 4
    rope: RopeMethod = "yarn"
    boundary: Boundary = "split"
    train: str = "adapters"
    steps: int = 100
    batch: int = 4
    rate: float = 2e-3
    seed: int = 0
    threads: int | None = None
    corpus: str | None = None
    passkey_share: float = 0.25
    passkey_weight: float = 5.0
    windows: int = 200
    trials: int = 40

    @classmethod
    def quick(cls, **changes) -> DemoSettings:
        """A look in under half a minute: a shorter target, few steps, small samples."""
        return cls(**{"context": 1024, "steps": 15, "windows": 24, "trials": 4} | changes)

    def recipe(self) -> LongLoRAConfig:
        return LongLoRAConfig(
            self.context, group_ratio=self.group_ratio, boundary=self.boundary, rope=self.rope, train=self.train
        )

    def finetune(self) -> FinetuneSettings:
        return FinetuneSettings(
            self.steps, self.batch, self.rate, self.seed, self.passkey_share, self.passkey_weight
        )

    def lengths(self, trained: int) -> list[int]:
        """The lengths to measure: the trained context, doubled up to the target."""
        lengths = [trained]
        while lengths[-1] * 2 < self.context:
            lengths.append(lengths[-1] * 2)
        return [*lengths, self.context]


def run_demo(settings: DemoSettings, folder: Path, *, resume: bool = False, progress: Progress | None = None) -> dict:
    """Run or finish the demo in `folder`; returns what `report.json` holds.

    Raises:
        ValueError: before any work, for a folder that holds a run already (finished, or to be resumed), or
            settings that cannot work: a target not above the trained context, no document long enough.
    """
    progress = progress or Silent()
    folder = Path(folder)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    settings = dataclasses.replace(settings, threads=torch.get_num_threads())
    model = bundled_model()
    recipe = settings.recipe()
    stretched_rope(
        model.config.rope, recipe.rope, trained_length=model.config.trained_context, target_length=settings.context
    )
    corpus = read_corpus(Path(settings.corpus)) if settings.corpus else standard_library()
    windows = Windows(corpus.train, settings.context + 1)
    Windows(corpus.held_out, settings.context)
    finished = _open_folder(folder, settings, corpus, resume)
    if finished is not None:
        return finished

    began = time.perf_counter()
    before = _stage(folder / "before.json", lambda: _measure(model, corpus, settings, progress, "Before"))
    changed = apply_longlora(model, recipe, generator=torch.Generator().manual_seed(settings.seed))
    checkpoint = folder / "checkpoint.safetensors"
    result = finetune(model, windows, settings.finetune(), checkpoint=checkpoint, resume=resume, progress=progress)
    if settings.train == "adapters":
        save_adapter(model, folder / "adapter", also_trained=recipe.also_train)
        write_json(folder / "adapter" / "config.json", model.config.as_json())
    merge_longlora(model)
    save_model(model, folder / "merged")
    after = _stage(folder / "after.json", lambda: _measure(model, corpus, settings, progress, "After"))

    report = _report(settings, model, corpus, changed, before, after, result, time.perf_counter() - began)
    replace_file(folder / "report.html", render_report(report).encode())
    write_json(folder / "report.json", report)  # last: its presence says that the run is finished
    return report


def _open_folder(folder: Path, settings: DemoSettings, corpus: Corpus, resume: bool) -> dict | None:
    identity = {"settings": dataclasses.asdict(settings), "corpus": corpus.hash}
    stated = folder / "settings.json"
    if (folder / "report.json").exists() and not resume:
        raise ValueError(
            f"{folder} must not hold a finished run, got one: choose another folder with --out, "
            "or see its result again with --resume"
        )
    if stated.exists():
        found = read_json(stated)
        if not resume:
            raise ValueError(
                f"{folder} must be a new folder, got one with an unfinished run: go on with --resume, "
                "or choose another with --out"
            )
        if found != identity:
            then = found["settings"] | {"corpus text": found["corpus"][:12]}
            now = identity["settings"] | {"corpus text": corpus.hash[:12]}
            changes = ", ".join(f"{name} {then.get(name)} then, {now[name]} now" for name in now
                                if then.get(name) != now[name])
            raise ValueError(f"{folder} must be resumed with the settings it was started with, got {changes}")
        if (folder / "report.json").exists():
            return read_json(folder / "report.json")
    elif folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} must be empty or new, got a folder with other files: choose another with --out")
    write_json(stated, identity)
    return None


def _stage(path: Path, compute) -> dict:
    """The result in `path`, or computed and put there."""
    if not path.exists():
        write_json(path, compute())
    return read_json(path)


def _measure(model: TinyLlama, corpus: Corpus, settings: DemoSettings, progress: Progress, when: str) -> dict:
    lengths = settings.lengths(model.config.trained_context)
    total = evaluation_tokens(lengths, windows=settings.windows, trials=settings.trials)
    with progress.stage(f"{when}: dense attention, up to {settings.context} bytes", total, "B") as advance:
        text = score_text(
            model, corpus.held_out, lengths, windows=settings.windows, seed=settings.seed, on_batch=advance
        )
        keys = score_passkeys(
            model, corpus.held_out, lengths, trials=settings.trials, seed=settings.seed, on_batch=advance
        )
    return {
        "bits_per_byte": text.by_length,
        "bits_per_byte_windows": text.windows,
        "bits_per_byte_by_position": [round(float(bits), 4) for bits in text.by_position],
        "passkey": {length: keys.at(length).rate for length in lengths},
        "passkey_overall": {length: keys.at(length) for length in lengths},
        "passkey_by_depth": keys.cells,
    }


def _report(
    settings: DemoSettings,
    model: TinyLlama,
    corpus: Corpus,
    changed: LongLoRAReport,
    before: dict,
    after: dict,
    result: TrainResult,
    seconds: float,
) -> dict:
    tokens = settings.steps * settings.batch * settings.context
    return {
        "model": {
            "name": "TinyLlama, byte-level, in longlora_edu",
            "trained_context": changed.trained_context,
            "parameters": sum(p.numel() for p in model.parameters()),
            "layers": model.config.num_hidden_layers,
            "width": model.config.hidden_size,
            "heads": model.config.num_attention_heads,
        },
        "target_context": changed.target_context,
        "rope": {
            "method": changed.rope.method,
            "factor": changed.rope.factor,
            "base": changed.rope.base,
            "why": WHY_ROPE[changed.rope.method],
        },
        "recipe": {
            "train": changed.train,
            "rank": changed.rank,
            "alpha": changed.alpha,
            "targets": changed.targets,
            "also_train": changed.also_train,
            "trainable_parameters": changed.trainable_parameters,
            "trainable_share": changed.trainable_share,
            "passkey_share": settings.passkey_share,
            "passkey_weight": settings.passkey_weight,
        },
        "before": before,
        "after": after,
        "train": {
            "steps": settings.steps,
            "tokens": tokens,
            "seconds": result.seconds,
            "tokens_per_second": tokens / result.seconds,
            "attention": f"S2 ({changed.pattern.boundary}), groups of {changed.pattern.group_size}, "
            f"shift {changed.pattern.shift}; evaluation dense",
            "group_size": changed.pattern.group_size,
            "shift": changed.pattern.shift,
            "boundary": changed.pattern.boundary,
            "peak_rss_bytes": peak_memory(),
            "curve": result.curve,
        },
        "settings": dataclasses.asdict(settings),
        "corpus": corpus.describe(),
        "seconds": seconds,
        **dataclasses.asdict(provenance(threads=settings.threads)),
    }
