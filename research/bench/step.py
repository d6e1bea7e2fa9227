"""`bench step`: time a whole training step with S²-Attn and with dense attention on the same model."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import torch

from longlora_edu.cost import ModelShape, step_ratio
from longlora_edu.geometry import S2Geometry, S2Pattern, group_size_from_ratio
from longlora_edu.longlora import LongLoRAConfig, apply_longlora
from longlora_edu.model import bundled_model
from longlora_edu.plan import shape_from_config
from longlora_edu.runs.progress import Progress, Silent
from longlora_edu.runs.timing import Ratio, in_turns, peak_of
from longlora_edu.training.objective import next_byte_nats

SMALL = "small"
CONTEXTS = {SMALL: (1024, 2048, 4096, 8192), "other": (1024, 2048, 4096)}
RANK = 8


@dataclass(frozen=True)
class StepSettings:
    """Settings of a step: the bundled small model (`"small"`) or a real one, by folder, GGUF file or ID."""

    model: str = SMALL
    train: Literal["adapters", "all"] = "adapters"
    bf16: bool = False
    gradient_checkpointing: bool = False
    group_ratio: float = 1 / 4
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.gradient_checkpointing and self.model == SMALL:
            raise ValueError("gradient_checkpointing must be off for the small model, which has none, got True")


@dataclass(frozen=True)
class Stepper:
    """A model at one context, and a training step of it under either attention."""

    shape: ModelShape
    geometry: S2Geometry
    step: Callable[[bool], float]  # with S²? → the loss


def bench_step(
    settings: StepSettings, contexts: Sequence[int] | None = None, *, repeats: int = 5, progress: Progress | None = None
) -> dict:
    """Time steps by context: seconds, tokens a second, peak memory, the speed-up of S², and the ratio of FLOPs.

    A step is one sequence of random tokens: zero gradients, forward, loss, backward, AdamW. Both attentions share the
    model, take turns, and start from positions within what the model knows: time does not depend on those.
    """
    contexts = contexts or CONTEXTS.get(settings.model, CONTEXTS["other"])
    rows = []
    with (progress or Silent()).stage("Steps", len(contexts), "context") as advance:
        for context in contexts:
            stepper = stepper_of(settings, context)
            arms = {"s2": lambda s=stepper: s.step(True), "dense": lambda s=stepper: s.step(False)}
            taken = in_turns(arms, repeats=repeats, device=settings.device)
            promised = step_ratio(
                stepper.shape, stepper.geometry, rank=RANK if settings.train == "adapters" else None, causal=True
            )
            del stepper, arms
            faster = Ratio.of(taken["dense"], taken["s2"])
            rows.append(
                {
                    "context": context,
                    "seconds": {name: statistics.median(times) for name, times in taken.items()},
                    "tokens_a_second": {name: context / statistics.median(times) for name, times in taken.items()},
                    "peak_bytes": {name: peak_bytes(settings, context, name == "s2") for name in taken},
                    "times_faster": faster,
                    "promised": promised,
                    "promised_over_measured": promised / faster.median,
                }
            )
            advance(1)
    return {
        "model": Path(settings.model).name,
        "train": settings.train,
        "bf16": settings.bf16,
        "gradient_checkpointing": settings.gradient_checkpointing,
        "group_ratio": settings.group_ratio,
        "device": settings.device,
        "repeats": repeats,
        "rows": rows,
    }


def stepper_of(settings: StepSettings, context: int) -> Stepper:
    """Build a fresh model, extended by the recipe at `context`, and its optimiser."""
    return (_small if settings.model == SMALL else _real)(settings, context)


def peak_bytes(settings: StepSettings, context: int, sparse: bool) -> int | None:
    """Measure the peak bytes of two steps: of a fresh process, or of the GPU."""
    if torch.device(settings.device).type == "cuda":
        return _peak(settings, context, sparse, None)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_peak, settings, context, sparse, torch.get_num_threads()).result()


def _peak(settings: StepSettings, context: int, sparse: bool, threads: int | None) -> int | None:
    if threads is not None:
        torch.set_num_threads(threads)
    stepper = stepper_of(settings, context)
    return peak_of(lambda: (stepper.step(sparse), stepper.step(sparse)), settings.device)


def _small(settings: StepSettings, context: int) -> Stepper:
    model = bundled_model()
    config = LongLoRAConfig(context, group_ratio=settings.group_ratio, rank=RANK, train=settings.train)
    apply_longlora(model, config, generator=torch.Generator().manual_seed(0))
    model.to(settings.device).train()
    shape, _ = shape_from_config(model.config.as_json())
    pattern: S2Pattern = config.pattern

    def set_attention(sparse: bool) -> None:
        for layer in model.attention_layers:
            layer.sparse = pattern if sparse else None

    def loss(ids: torch.Tensor) -> torch.Tensor:
        return next_byte_nats(model(ids[:, :-1]), ids).mean()

    return _stepper(settings, context, model, shape, set_attention, loss)


def _real(settings: StepSettings, context: int) -> Stepper:
    from longlora_edu.hf import longlora, use_dense, use_s2  # transformers only where it is needed
    from longlora_edu.hf.base_reach import reach_of
    from longlora_edu.hf.loading import load_causal_model
    from longlora_edu.hf.loss import NextTokenLoss

    model = load_causal_model(
        settings.model, dtype=torch.bfloat16 if settings.bf16 and settings.train == "adapters" else torch.float32
    )
    shape, _ = shape_from_config(json.loads(model.config.to_json_string()))
    rope = reach_of(model.config).default_method(context)
    config = LongLoRAConfig(context, group_ratio=settings.group_ratio, rank=RANK, train=settings.train, rope=rope)
    model = longlora(model, config)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    pattern = config.pattern
    state = {"sparse": True}

    def set_attention(sparse: bool) -> None:
        if sparse != state["sparse"]:
            if sparse:
                use_s2(model, group_size=pattern.group_size, shift=pattern.shift, boundary=pattern.boundary)
            else:
                use_dense(model)
            state["sparse"] = sparse

    head = NextTokenLoss(model).to(settings.device).train()

    def loss(ids: torch.Tensor) -> torch.Tensor:
        nats, count = head(ids[:, :-1], ids[:, :-1])
        return nats / count

    return _stepper(settings, context, model, shape, set_attention, loss)


def _stepper(settings: StepSettings, context: int, model, shape: ModelShape, set_attention, loss) -> Stepper:
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-6)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, shape.vocabulary, (1, context + 1), generator=generator).to(settings.device)

    def step(sparse: bool) -> float:
        set_attention(sparse)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(torch.device(settings.device).type, torch.bfloat16, enabled=settings.bf16):
            value = loss(ids)
        value.backward()
        optimizer.step()
        return value.item()

    geometry = S2Geometry(context, group_size_from_ratio(context, settings.group_ratio), shape.heads)
    return Stepper(shape, geometry, step)
