"""Pretraining of the small model that travels with the package: from scratch, at a short context, on one machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from ..model import LlamaConfig, TinyLlama, save_tiny_llama
from ..rope import Rope
from ..runs.claim import claimed_folder
from ..runs.progress import Progress, Silent, step_by_step
from ..runs.records import provenance, read_json, write_json
from ..runs.validate import (
    LARGEST_SEED,
    LARGEST_THREADS,
    check_flag,
    check_integer,
    check_number,
    set_integers,
)
from .corpus import Corpus, Windows
from .evaluate import TAIL, evaluation_tokens, score_passkeys, score_text
from .objective import LanguageModelObjective
from .passkey import PasskeyMix
from .train import Metrics, TrainResult, TrainSettings, mean_metrics, train

VOCABULARY = 256
CHECKPOINT = "checkpoint.safetensors"
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

    context: int = 512
    hidden_size: int = 192
    intermediate_size: int = 512
    layers: int = 4
    heads: int = 4
    rope_base: float = 10_000.0
    steps: int = 3_000
    batch: int = 32
    muon_rate: float = 3e-2
    adam_rate: float = 4e-3
    weight_decay: float = 0.02
    warmup: int = 100
    passkey_share: float = 0.1
    passkey_weight: float = 10.0
    seed: int = 0
    bf16: bool = True
    compile: bool = True

    def __post_init__(self) -> None:
        set_integers(self, "hidden_size", "intermediate_size", "layers", "heads", "steps", "batch")
        set_integers(self, "context", at_least=TAIL + 1)  # `score_text` needs as much
        set_integers(self, "warmup", at_least=0)
        set_integers(self, "seed", at_least=0, at_most=LARGEST_SEED)
        for name in ("muon_rate", "adam_rate"):
            object.__setattr__(self, name, check_number(name, getattr(self, name), above=0))
        decay = check_number("weight_decay", self.weight_decay, at_least=0)
        object.__setattr__(self, "weight_decay", decay)
        check_flag("bf16", self.bf16)
        check_flag("compile", self.compile)
        # Made here only to be checked: a bad field must be refused before any work.
        object.__setattr__(self, "rope_base", self.shape().rope.base)
        object.__setattr__(self, "passkey_share", self.mix().share)
        object.__setattr__(self, "passkey_weight", self.mix().weight)

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
        """Make a fresh model of this shape, from the seed."""
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
    """Train a fresh model on windows of the corpus's training side; returns it with the run's result.

    The model is left in evaluation mode; the curve of the run is the result's `curve`.
    """
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
    """Pretrain, measure, and leave a model folder with its record, `pretraining.json`; returns the record.

    Raises:
        ValueError: before any work, for a folder that holds other files, for a run in it (finished or not) without
            `resume`, for one with other settings or another text, for one that another process runs, and for a corpus
            without a document long enough. With `resume` a finished run only returns its record.
    """
    progress = progress or Silent()
    folder = Path(folder)
    if threads is not None:
        torch.set_num_threads(check_integer("threads", threads, at_least=1, at_most=LARGEST_THREADS))
    _check_memory(config)
    for documents in (corpus.train, corpus.held_out):
        Windows(documents, config.context + 1)
    identity = {"run": "pretrain", **dataclasses.asdict(config), "threads": torch.get_num_threads()}
    identity |= {"corpus": corpus.source}
    claim = {"result": "pretraining.json", "resume": resume, "inputs": {"text": corpus.hash[:16]}}
    with claimed_folder(folder, identity, scratch=(CHECKPOINT,), **claim) as finished:
        if not finished:
            _pretrain_in(folder, config, corpus, resume=resume, device=device, progress=progress)
        return read_json(folder / "pretraining.json")


def _check_memory(config: PretrainConfig) -> None:
    """Refuse a run that needs more than the machine's RAM for weights and logits together.

    Weights count four times, with gradients and AdamW's two averages; activations do not count, so that a run which
    passes may still not fit.

    Raises:
        ValueError: naming both sizes.
    """
    shape = config.hidden_size * (4 * config.hidden_size + 3 * config.intermediate_size)
    weights = config.layers * shape + 2 * VOCABULARY * config.hidden_size
    # Each weight with its gradient and AdamW's two averages, and one number a possible next byte, four bytes each.
    needed = 16 * weights + 4 * VOCABULARY * config.batch * config.context
    if needed > (total := psutil.virtual_memory().total):
        raise ValueError(
            f"the run must fit into the {total / 1e9:.0f} GB of this machine, got settings that need at least "
            f"{needed / 1e9:,.0f} GB: lower layers, widths, batch or context"
        )


def _pretrain_in(
    folder: Path, config: PretrainConfig, corpus: Corpus, *, resume: bool, device: str, progress: Progress
) -> None:
    checkpoint = folder / CHECKPOINT
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


def thinned(curve: Sequence[Metrics], every: int) -> list[Metrics]:
    """Average each `every` steps of a curve into one point: for records that stay small."""
    return [mean_metrics(curve[start : start + every]) for start in range(0, len(curve), every)]
