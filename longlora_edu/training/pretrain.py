"""How the small model that travels with the package is made: from scratch, at a short context, on one machine."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..model import LlamaConfig, TinyLlama, save_tiny_llama
from ..rope import Rope
from ..runs.progress import Progress, Silent, step_by_step
from ..runs.records import claim_folder, provenance, read_json, write_json
from ..runs.validate import set_integers
from .corpus import Corpus, Windows
from .evaluate import TAIL, evaluation_tokens, score_passkeys, score_text
from .objective import LanguageModelObjective
from .passkey import PasskeyMix
from .train import Metrics, TrainResult, TrainSettings, mean_metrics, train

WINDOWS, TRIALS = 2000, 200  # how many held-out windows, and passkeys at each depth, measure the result


@dataclass(frozen=True)
class PretrainConfig:
    """A pretraining run. The defaults are those of the model in the package.

    Hidden matrices are trained by Muon (orthogonalised momentum); embeddings, head and norms by AdamW.
    `passkey_share` of the windows carry a passkey and its digits weigh `passkey_weight`: five bytes among many
    would otherwise hardly count.

    Raises:
        ValueError: naming the field, its rule and the value.
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

    def __post_init__(self) -> None:
        set_integers(self, "layers", "heads", "steps", "batch")
        set_integers(self, "context", at_least=TAIL + 1)  # `score_text` needs as much
        set_integers(self, "warmup", "seed", at_least=0)
        for name in ("muon_rate", "adam_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
        # Made here only to be checked: a bad field must be refused before any work.
        self.shape()
        self.mix()

    def shape(self) -> LlamaConfig:
        rope = Rope(self.hidden_size // self.heads, self.rope_base, trained_length=self.context)
        return LlamaConfig(
            rope,
            hidden_size=self.hidden_size,
            intermediate_size=self.intermediate_size,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads,
            max_position_embeddings=self.context,
        )

    def mix(self) -> PasskeyMix:
        return PasskeyMix(self.passkey_share, self.passkey_weight)

    def model(self) -> TinyLlama:
        """A fresh model of this shape, from the seed."""
        return TinyLlama(self.shape(), generator=torch.Generator().manual_seed(self.seed))


def pretrain(
    config: PretrainConfig,
    corpus: Corpus,
    *,
    checkpoint: Path | None = None,
    resume: bool = False,
    device: str = "cpu",
    on_step: Callable[[int, Metrics], None] = lambda step, metrics: None,
) -> tuple[TinyLlama, TrainResult]:
    """Train a fresh model on windows of the corpus's training side; returns it with the curve of the run."""
    model = config.model().train().to(device)
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
        mix=config.mix(),
        bf16=config.bf16,
        device=device,
    )
    warmup = min(config.warmup, config.steps)
    settings = TrainSettings(config.steps, warmup=warmup, decay="linear", checkpoint_every=250)
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
    device: str = "cpu",
    progress: Progress | None = None,
) -> dict:
    """`pretrain`, measure, and leave a model folder with its record, `pretraining.json`; returns the record.

    Raises:
        ValueError: before any work, for a folder that holds other files, a model, an unfinished run without
            `resume` or one with other settings, and for a corpus without a document long enough.
    """
    progress = progress or Silent()
    folder = Path(folder)
    if threads is not None:
        torch.set_num_threads(threads)
    for documents in (corpus.train, corpus.held_out):
        Windows(documents, config.context + 1)
    identity = {"run": "pretrain", **dataclasses.asdict(config), "threads": torch.get_num_threads()}
    identity |= {"corpus": corpus.source, "text": corpus.hash[:16]}
    if claim_folder(folder, identity, result="pretraining.json", resume=resume):
        return read_json(folder / "pretraining.json")
    checkpoint = folder / "checkpoint.safetensors"
    tokens = config.batch * config.context
    with progress.stage("Pretraining", config.steps * tokens, "B") as advance:
        on_step = step_by_step(advance, tokens, "bits/byte", "bits_per_byte")
        model, result = pretrain(config, corpus, checkpoint=checkpoint, resume=resume, device=device, on_step=on_step)
    lengths, seed = [config.context], config.seed
    total = evaluation_tokens(lengths, windows=WINDOWS, trials=TRIALS)
    with progress.stage("Measuring", total, "B") as advance:
        text = score_text(model, corpus.held_out, lengths, windows=WINDOWS, seed=seed, on_batch=advance)
        keys = score_passkeys(model, corpus.held_out, lengths, trials=TRIALS, seed=seed, on_batch=advance)
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
    save_tiny_llama(model, folder)
    write_json(folder / "pretraining.json", record)  # last: its presence says that the run is finished
    checkpoint.unlink()
    return read_json(folder / "pretraining.json")


def thinned(curve: Sequence[Metrics], every: int) -> list[Metrics]:
    """The curve with each `every` steps averaged into one: for records that stay small."""
    return [mean_metrics(curve[start : start + every]) for start in range(0, len(curve), every)]
