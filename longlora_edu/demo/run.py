"""The main job in one call: the small model, extended four times on real text, measured step by step.

The folder it leaves holds `report.html`, `report.json`, the adapter in PEFT's file format and the merged model
as transformers loads it. Each stage writes its result when it is done, so an interrupted run can go on.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch

from ..geometry import Boundary
from ..longlora import LongLoRAConfig, LongLoRAReport, apply_longlora, merge_to_dense, stretched_rope
from ..lora import save_adapter
from ..model import TinyLlama, bundled_model, save_tiny_llama
from ..model.folder import bundled_folder
from ..rope import RopeMethod
from ..runs.claim import claimed_folder
from ..runs.progress import Progress, Silent
from ..runs.records import (
    as_json,
    hash_files,
    peak_memory,
    provenance,
    read_json,
    read_sealed,
    replace_file,
    write_json,
    write_sealed,
)
from ..runs.validate import LARGEST_THREADS, check_choice, check_text, set_integers
from ..training.corpus import Corpus, Windows, read_corpus, standard_library
from ..training.extend import Extension, extend_model
from ..training.finetune import FinetuneSettings
from .ladder import ladder_sentence, measure_step, page_of, prompt_end
from .report import render_report

# A look in under half a minute: a shorter target, few steps, small samples.
QUICK = {"context": 1024, "steps": 30, "windows": 24, "trials": 2, "references": 12}
ARMS = ("short", "full")
# Of three rates an arm, the best on other windows: benchmarks/demo_rates.py.
RATES = {"s2": 2e-3, "short": 3e-3, "full": 3e-3}
RATE_OF_ALL_WEIGHTS = 8e-4
# YaRN's fast end, `beta_fast`: pairs of features that turn more often within 512 bytes keep their angles. At the usual
# 32, meant for contexts of thousands, that would be 3 of 24 pairs, at 8 it is 7, and near bytes stay better apart.
FAST_TURNS = 8
# Fields of the LongLoRAReport, and of the settings, that report.json states as the recipe.
REPORTED = ("train", "rank", "alpha", "targets", "also_train", "trainable_parameters", "trainable_share")
CHOSEN = ("passkey_share", "passkey_weight", "reference_share", "reference_weight", "plain_share")
WHY_ROPE = {
    "default": "positions are not stretched at all: a control, not a recipe",
    "linear": "the paper's own rule; at a large factor it squeezes the near distances too, by which this model reads",
    "ntk": "keeps near distances sharp, but leaves distances past the group extrapolated, where S² never trains",
    "dynamic": "NTK with a factor that grows with the length at hand; at the target it stretches further than NTK does",
    "yarn": "maps the unseen far distances into the trained range and keeps the near ones: what S² needs, since it "
    "never trains a distance beyond its group",
}


@dataclass(frozen=True)
class DemoSettings:
    """Settings of `longlora-edu demo`. `corpus=None` is the standard library's own source.

    `windows` held-out windows measure the text, `trials` passkeys at each length and depth and `references` named
    references of each distance the retrieval. `compare` names further arms, trained on the same windows: "short" (no
    shift) and "full" (full attention). The learning rate is that of `RATES` for adapters and 8e-4 for all weights
    unless `rate` says otherwise, and alpha is twice the rank. Positions `leap` in all arms but full attention. The rest
    is `LongLoRAConfig`'s and `FinetuneSettings`'s.

    Raises:
        ValueError: naming the field, its rule and the value.
    """

    context: int = 2048
    group_ratio: float = 1 / 4
    rope: RopeMethod = "yarn"
    boundary: Boundary = "split"
    train: str = "adapters"
    rank: int = 96
    steps: int = 264
    batch: int = 2
    rate: float | None = None
    seed: int = 0
    threads: int | None = None
    corpus: str | None = None
    passkey_share: float = 0.15
    passkey_weight: float = 6.0
    reference_share: float = 0.7
    reference_weight: float = 6.0
    plain_share: float = 0.3
    windows: int = 60
    trials: int = 4
    references: int = 200
    compare: tuple[str, ...] = ()
    leap: float = 0.0

    def __post_init__(self) -> None:
        set_integers(self, "context", "windows", "trials", "references")
        if self.threads is not None:
            set_integers(self, "threads", at_most=LARGEST_THREADS)
        if self.corpus is not None:
            check_text("corpus", self.corpus)
        object.__setattr__(self, "compare", tuple(self.compare))
        if unknown := [name for name in self.compare if name not in ARMS]:
            raise ValueError(f"compare must be among {', '.join(ARMS)}, got {unknown[0]!r}")
        set_integers(self, "rank")
        check_choice("rope", self.rope, get_args(RopeMethod))
        # Made here only to be checked: a bad field must be refused before any work.
        self.recipe()
        kept = self.finetune()
        for name in ("steps", "batch", "seed", *CHOSEN):  # as plain numbers
            object.__setattr__(self, name, getattr(kept, name))
        if self.rate is not None:
            object.__setattr__(self, "rate", kept.rate)

    def recipe(self) -> LongLoRAConfig:
        return LongLoRAConfig(
            self.context,
            group_ratio=self.group_ratio,
            boundary=self.boundary,
            rope=self.rope,
            train=self.train,
            rank=self.rank,
            alpha=2 * self.rank,
            leap=self.leap,
            beta_fast=FAST_TURNS if self.rope == "yarn" else None,
        )

    def finetune(self, arm: str = "s2") -> FinetuneSettings:
        rate = self.rate
        if rate is None:
            rate = RATES[arm] if self.train == "adapters" else RATE_OF_ALL_WEIGHTS
        return FinetuneSettings(
            self.steps,
            self.batch,
            rate,
            self.seed,
            self.passkey_share,
            self.passkey_weight,
            self.reference_share,
            self.reference_weight,
            page_of(self.context, self.recipe().pattern.group_size),
            self.plain_share,
        )


def run_demo(settings: DemoSettings, folder: Path, *, resume: bool = False, progress: Progress | None = None) -> dict:
    """Run or finish the demo in `folder`; return the content of `report.json`.

    Raises:
        ValueError: before any work and before anything is written, for a folder that holds a run already (finished,
            or to be resumed), or settings that cannot work: a target not above the trained context, no document
            long enough.
        OSError: when the folder cannot be written, or the disk is full.
        FloatingPointError: when a loss is not finite; the last good checkpoint stays.
    """
    progress = progress or Silent()
    folder = Path(folder)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    settings = dataclasses.replace(settings, threads=torch.get_num_threads())
    bundled, recipe = bundled_model(), settings.recipe()
    trained = bundled.config.trained_context
    stretched_rope(
        bundled.config.rope,
        recipe.rope,
        trained_length=trained,
        target_length=settings.context,
        beta_fast=recipe.beta_fast,
    )
    corpus = _corpus_of(settings, folder)
    windows = Windows(corpus.train, settings.context + 1)
    identity = {"run": "demo", **dataclasses.asdict(settings), "beta_fast": recipe.beta_fast}
    if not settings.leap:
        del identity["leap"]  # runs that began before there was this option go on
    scratch = tuple(_checkpoint(arm) for arm in ("s2", *settings.compare))
    claim = {"result": "report.json", "resume": resume, "scratch": scratch}
    inputs = {"text": corpus.hash[:16], "model": hash_files(bundled_folder().iterdir())}
    with claimed_folder(folder, identity, inputs=inputs, **claim) as finished:
        if finished:
            return read_json(folder / "report.json")
        return _demo_in(folder, settings, bundled, corpus, windows, resume=resume, progress=progress)


def _demo_in(
    folder: Path,
    settings: DemoSettings,
    bundled: TinyLlama,
    corpus: Corpus,
    windows: Windows,
    *,
    resume: bool,
    progress: Progress,
) -> dict:
    recipe, trained = settings.recipe(), bundled.config.trained_context

    def measured(model: TinyLlama, when: str) -> dict:
        """Measure a step, or read its file if an earlier process got as far."""
        path = folder / f"{when}.json"
        if not path.exists():
            asks = when != "before"
            write_sealed(path, measure_step(model, corpus, settings, progress, when, trained=trained, references=asks))
        return read_sealed(path)

    def save(model: TinyLlama) -> None:
        if settings.train == "adapters":
            save_extension(model, folder / "adapter", recipe)

    def merge(model: TinyLlama) -> TinyLlama:
        save_tiny_llama(merge_to_dense(model), folder / "merged")
        return model

    def extend(arm: str, **options) -> Extension:
        return extend_model(
            bundled_model(),
            windows,
            settings.finetune(arm),
            prepare=lambda model: prepare_arm(model, settings, arm),
            checkpoint=folder / _checkpoint(arm),
            resume=resume,
            progress=progress,
            **options,
        )

    extension = extend("s2", measure=measured, save=save, merge=merge)
    arms = {}
    for arm in settings.compare:
        other = extend(arm, measure=lambda model, when, arm=arm: measured(model, arm) if when == "after" else None)
        arms[arm] = other.after | {"train_seconds": other.training.seconds, "curve": other.training.curve}
    report = as_json(_report(settings, corpus, extension, arms))
    replace_file(folder / "report.html", render_report(report).encode())
    write_json(folder / "report.json", report)  # last: its presence says that the run is finished
    for arm in ("s2", *settings.compare):
        (folder / _checkpoint(arm)).unlink()
    return report


def save_extension(model: TinyLlama, folder: Path, recipe: LongLoRAConfig) -> None:
    """Write the adapter in PEFT's format, and beside it the settings of the extended model: its stretched positions."""
    save_adapter(model, folder, also_trained=recipe.also_train)
    write_json(folder / "config.json", model.config.as_json())


def _checkpoint(arm: str) -> str:
    return "checkpoint.safetensors" if arm == "s2" else f"checkpoint_{arm}.safetensors"


def prepare_arm(model: TinyLlama, settings: DemoSettings, arm: str) -> LongLoRAReport:
    """Apply the recipe of one arm, "s2", "short" or "full": every other choice, and every draw, is the same."""
    recipe = settings.recipe()
    if arm == "short":
        recipe = dataclasses.replace(recipe, shift=0)
    report = apply_longlora(model, recipe, generator=torch.Generator().manual_seed(settings.seed))
    if arm == "full":
        for attention in model.attention_layers:
            attention.sparse = None
        model.leap = None
    return report


def _corpus_of(settings: DemoSettings, folder: Path) -> Corpus:
    """Read the text to train on and to hold out.

    Raises:
        ValueError: if either is too short, or if `folder` lies in the text, where the run would change what it reads.
    """
    path = settings.corpus and Path(settings.corpus)
    if path and path.is_dir() and folder.resolve().is_relative_to(path.resolve()):
        raise ValueError(
            f"{folder} must lie outside of the corpus {path}, got a folder in it: choose another with --out"
        )
    corpus = read_corpus(path) if path else standard_library()
    for side, documents in (("trained on", corpus.train), ("held out", corpus.held_out)):
        try:
            Windows(documents, settings.context + 1)
        except ValueError as error:
            raise ValueError(f"{error}, of the text that is {side} (of a single file, a tenth is held out)") from None
    return corpus


def _report(settings: DemoSettings, corpus: Corpus, extension: Extension, arms: dict) -> dict:
    model, changed, result = extension.model, extension.report, extension.training
    rope, pattern, config = changed.rope, changed.pattern, model.config
    tokens = settings.steps * settings.batch * settings.context
    trained = str(changed.trained_context)
    steps = {"before": extension.before, "stretched": extension.stretched, "after": extension.after}
    report = {
        "model": {
            "name": "TinyLlama, byte-level, in longlora_edu",
            "trained_context": changed.trained_context,
            "parameters": sum(p.numel() for p in model.parameters()),
            "layers": config.num_hidden_layers,
            "width": config.hidden_size,
            "heads": config.num_attention_heads,
        },
        "target_context": changed.target_context,
        "rope": {name: getattr(rope, name) for name in ("method", "factor", "base", "beta_fast")}
        | {"why": WHY_ROPE[rope.method]},
        "recipe": {
            **{name: getattr(changed, name) for name in REPORTED},
            **{name: getattr(settings, name) for name in CHOSEN},
            "reference_page": settings.finetune().reference_group,
        },
        "own_window": {"bits_per_byte": {trained: extension.before["bits_per_byte"][trained]}},
        **steps,
        "arms": arms,
        "writing": {
            "prompt_end": prompt_end(corpus, changed.trained_context, settings.context, settings.seed),
            **{name: step["writes"] for name, step in steps.items()},
        },
        "train": {
            "steps": settings.steps,
            "tokens": tokens,
            "seconds": result.seconds,
            "tokens_per_second": tokens / result.seconds,
            "attention": f"S2 ({pattern.boundary}), groups of {pattern.group_size}, shift {pattern.shift}; "
            "evaluation dense" + (f"; positions leap with probability {settings.leap:g}" if settings.leap else ""),
            **dataclasses.asdict(pattern),
            "peak_rss_bytes": peak_memory(),
            "curve": result.curve,
        },
        "settings": dataclasses.asdict(settings),
        "corpus": corpus.describe(),
        # Of all processes that took part; further arms apart.
        "seconds": result.seconds + sum(step["seconds"] for step in steps.values()),
        **dataclasses.asdict(provenance(threads=settings.threads)),
    }
    return report | {"sentence": ladder_sentence(report)}
