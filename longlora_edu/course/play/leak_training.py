"""Train on a copy task under each boundary rule, in seconds: the leak changes what is learned.

Tokens are random, but the last ones are a copy of the first ones. Whoever reads from left to right cannot know the
beginning, and can know the copy by looking back. A pattern whose ends share a cell in rolled order does the reverse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...geometry import Boundary, S2Geometry, S2Pattern
from ...model import LlamaConfig, TinyLlama
from ...plots import AFTER, FUTURE, LOSS, SCREEN, Style, percent
from ...plots.picture import picture_of
from ...plots.style import dress, new_axes
from ...rope import Rope
from ...training.train import Metrics, TrainSettings, train

SEQ_LEN, GROUP, HEADS, KINDS = 32, 16, 2, 8
LENGTH = GROUP // 2  # of the copy: what a shifted head has left over at each end
TRIALS, RATE = 256, 1e-2


@dataclass(frozen=True)
class CopyRun:
    """Result of a run under `boundary`: shares of tokens guessed right in the beginning and in the copy.

    `trained` is under the training pattern, `dense` the same model under full attention, each a pair (beginning,
    copy). `curve` has a mapping a step, with `loss` in nats, `beginning` and `copy`. Chance is 1 / `KINDS`.
    """

    boundary: Boundary
    curve: tuple[Metrics, ...]
    trained: tuple[float, float]
    dense: tuple[float, float]

    @property
    def geometry(self) -> S2Geometry:
        """The training pattern."""
        return S2Pattern(GROUP, boundary=self.boundary).geometry(SEQ_LEN, HEADS)


def draw_copies(rng: np.random.Generator, count: int) -> Tensor:
    """int64 (count, n): random tokens, the last `LENGTH` of them equal to the first."""
    ids = rng.integers(KINDS, size=(count, SEQ_LEN))
    ids[:, -LENGTH:] = ids[:, :LENGTH]
    return torch.from_numpy(ids)


def run_copy_task(
    boundary: Boundary,
    *,
    steps: int = 200,
    seed: int = 0,
    on_step: Callable[[int, Metrics], None] = lambda step, metrics: None,
) -> CopyRun:
    """Train a fresh model of one layer to guess the next token under this boundary, then score it on new texts.

    Raises:
        ValueError: for an unknown boundary, or steps that are not positive.
    """
    pattern = S2Pattern(GROUP, boundary=boundary)
    config = LlamaConfig(
        Rope(16, trained_length=SEQ_LEN),
        hidden_size=HEADS * 16,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=SEQ_LEN,
        vocab_size=KINDS,
    )
    with torch.random.fork_rng(devices=[]):
        model = TinyLlama(config, generator=torch.Generator().manual_seed(seed))
    for attention in model.attention_layers:
        attention.sparse = pattern

    def objective(step: int, part: int) -> tuple[Tensor, Metrics]:
        ids = draw_copies(np.random.default_rng([seed, 0, step]), 64)
        logits = model(ids)[:, :-1]
        beginning, copy = _guessed(logits, ids)
        loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        return loss, {"beginning": beginning, "copy": copy}

    parameters = dict(model.train().named_parameters())
    optimizer = torch.optim.AdamW(parameters.values(), lr=RATE, weight_decay=0.0)
    schedule = TrainSettings(steps, warmup=min(10, steps), decay="cosine")
    curve = train(parameters, [optimizer], objective, schedule, on_step=on_step).curve
    ids = draw_copies(np.random.default_rng([seed, 1]), TRIALS)
    with torch.no_grad():
        trained, dense = (_guessed(mode()(ids)[:, :-1], ids) for mode in (model.train, model.eval))
    return CopyRun(boundary, curve, trained, dense)


def plot_copy_runs(results: Sequence[CopyRun], *, style: Style = SCREEN) -> np.ndarray:
    """Draw what is guessed right while training, by step: the beginning, the copy, chance; one picture a boundary."""
    axes = new_axes(style, len(results), width=0.62 * len(results), height=0.9)
    for ax, result in zip(axes, results, strict=True):
        steps = [point["step"] for point in result.curve]
        for name, colour, line in (("beginning", FUTURE, "--"), ("copy", AFTER, "-")):
            values = [point[name] for point in result.curve]
            ax.plot(steps, values, color=colour, linestyle=line, linewidth=style.line, label=name)
        ax.axhline(1 / KINDS, color=LOSS, linewidth=style.line, linestyle=":", label="chance")
        ax.set_ylim(0, 1)
        dress(ax, style, title=f"boundary {result.boundary}", x="step")
    axes[0].set_ylabel("guessed right", fontsize=style.text)
    axes[0].legend(fontsize=style.small, frameon=False)
    return axes


def describe_copy_runs(results: Sequence[CopyRun]) -> str:
    """Describe `plot_copy_runs` in a sentence, with the scores that are left under full attention."""
    parts = [
        f"under {r.boundary} the beginning {percent(r.trained[0])} and the copy {percent(r.trained[1])}, "
        f"in use {percent(r.dense[0])} and {percent(r.dense[1])}"
        for r in results
    ]
    return f"Tokens guessed right after training, chance being {percent(1 / KINDS)}: {'; '.join(parts)}."


def _guessed(logits: Tensor, ids: Tensor) -> tuple[float, float]:
    """Shares of right guesses: the beginning but its first token, and the copy but its first."""
    right = (logits.argmax(dim=-1) == ids[:, 1:]).float()
    return right[:, : LENGTH - 1].mean().item(), right[:, 1 - LENGTH :].mean().item()


show_copy_runs = picture_of(plot_copy_runs, describe_copy_runs)
