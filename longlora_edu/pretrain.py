"""How the small model that travels with the package is made: from scratch, at a short context, on one machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from .corpus import Corpus, Windows
from .evaluate import score_passkeys, score_text
from .model import LlamaConfig, TinyLlama, save_model
from .objective import LanguageModelObjective
from .passkey import PasskeyMix
from .progress import Progress, Silent
from .records import provenance, read_json, write_json
from .rope import Rope
from .train import Metrics, TrainResult, TrainSettings, mean_metrics, train


@dataclass(frozen=True)
class PretrainConfig:
    """A pretraining run. The defaults are those of the model in the package.

    Hidden matrices are trained by Muon (orthogonalised momentum), which needs about half the steps of AdamW at
    this size; embeddings, head and norms by AdamW. `passkey_share` of the windows carry a passkey and its
    digits weigh `passkey_weight`: counted like any other byte they were not learned in 41 MB of text.
    """

    context: int = 256
    hidden_size: int = 192
    intermediate_size: int = 512
    layers: int = 4
    heads: int = 4
    rope_base: float = 10_000.0
    steps: int = 3_500
    batch: int = 64
    muon_rate: float = 3e-2
    adam_rate: float = 4e-3
    weight_decay: float = 0.02
    warmup: int = 100
    passkey_share: float = 0.4
    passkey_weight: float = 6.0
    seed: int = 0
    bf16: bool = True
    compile: bool = True

    def model(self) -> TinyLlama:
        """A fresh model of this shape, from the seed."""
        rope = Rope(self.hidden_size // self.heads, self.rope_base, trained_length=self.context)
        config = LlamaConfig(
            rope,
            hidden_size=self.hidden_size,
            intermediate_size=self.intermediate_size,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads,
            max_position_embeddings=self.context,
        )
        return TinyLlama(config, generator=torch.Generator().manual_seed(self.seed))


def pretrain(
    config: PretrainConfig,
    corpus: Corpus,
    *,
    checkpoint: Path | None = None,
    resume: bool = False,
    on_step: Callable[[int, Metrics], None] = lambda step, metrics: None,
) -> tuple[TinyLlama, TrainResult]:
    """Train a fresh model on windows of the corpus's training side; returns it with the curve of the run."""
    model = config.model().train()
    forward = torch.compile(model, dynamic=False) if config.compile else model
    hidden = [parameter for parameter in model.model.layers.parameters() if parameter.dim() == 2]
    known = set(map(id, hidden))
    rest = [parameter for parameter in model.parameters() if id(parameter) not in known]
    optimizers = [
        torch.optim.Muon(hidden, lr=config.muon_rate, weight_decay=config.weight_decay),
        torch.optim.AdamW(rest, lr=config.adam_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    ]
    objective = LanguageModelObjective(
        forward,
        Windows(corpus.train, config.context + 1),
        batch=config.batch,
        seed=config.seed,
        mix=PasskeyMix(config.passkey_share, config.passkey_weight),
        bf16=config.bf16,
    )
    settings = TrainSettings(config.steps, warmup=config.warmup, decay="linear", checkpoint_every=250)
    parameters = dict(model.named_parameters())
    result = train(parameters, optimizers, objective, settings, checkpoint=checkpoint, resume=resume, on_step=on_step)
    return model.eval(), result


def run_pretraining(
    config: PretrainConfig,
    corpus: Corpus,
    folder: Path,
    *,
    threads: int | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> dict:
    """`pretrain`, measure, and leave a model folder with its record, `pretraining.json`; returns the record.

    Raises:
        ValueError: before any work, when the folder holds a model, or an unfinished run without `resume`.
    """
    progress = progress or Silent()
    checkpoint = folder / "checkpoint.safetensors"
    if (folder / "model.safetensors").exists():
        raise ValueError(f"{folder} must not hold a model, got one: choose another folder with --out")
    if checkpoint.exists() and not resume:
        raise ValueError(f"{folder} must be new, got an unfinished run: go on with --resume, or choose another folder")
    if threads is not None:
        torch.set_num_threads(threads)
    windows = Windows(corpus.held_out, config.context)
    tokens = config.batch * config.context
    with progress.stage("Pretraining", config.steps * tokens, "B") as advance:

        def on_step(step: int, metrics: Metrics) -> None:
            advance(tokens, f"bits/byte {metrics['bits_per_byte']:.3f}")

        model, result = pretrain(config, corpus, checkpoint=checkpoint, resume=resume, on_step=on_step)
    text = score_text(model, corpus.held_out, [config.context], windows=2000, seed=config.seed)
    keys = score_passkeys(model, corpus.held_out, [config.context], trials=200, seed=config.seed)
    record = {
        "config": dataclasses.asdict(config),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "bits_per_byte": text.by_length[config.context],
        "bits_per_byte_windows": text.windows,
        "passkey": keys.at(config.context),
        "passkey_by_depth": keys.cells[config.context],
        "tokens": config.steps * tokens,
        "seconds": result.seconds,
        "curve": thinned(result.curve, 10),
        "corpus": corpus.describe(),
        **dataclasses.asdict(provenance(threads=torch.get_num_threads())),
    }
    write_json(folder / "pretraining.json", record)
    save_model(model, folder)  # last: its presence says that the run is finished
    checkpoint.unlink()
    return read_json(folder / "pretraining.json")


def thinned(curve: Sequence[Metrics], every: int) -> list[Metrics]:
    """The curve with each `every` steps averaged into one: for records that stay small."""
    return [mean_metrics(curve[start : start + every]) for start in range(0, len(curve), every)]
