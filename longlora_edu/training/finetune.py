"""Fine-tune an extended model on long documents: the training step of the recipe, with its hyper-parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..model import TinyLlama
from ..runs.progress import Progress, Silent, step_by_step
from ..runs.validate import LARGEST_SEED, check_number, set_integers
from .corpus import Windows
from .objective import LanguageModelObjective
from .passkey import PasskeyMix
from .references import ReferenceMix
from .train import Metrics, TrainResult, TrainSettings, train


@dataclass(frozen=True)
class FinetuneSettings:
    """Length and pace of a fine-tuning. A step is `batch` windows, one at a time: the memory of one.

    `passkey_share` of the windows carry a passkey, whose digits weigh `passkey_weight` in the loss, and
    `reference_share` carry named references instead, laid in pages of `reference_group` bytes. The last `plain_share`
    of the steps see no references. The learning rate rises over ten steps and falls along a cosine.

    Raises:
        ValueError: naming the field, its rule and the value.
    """

    steps: int = 100
    batch: int = 4
    rate: float = 2e-3
    seed: int = 0
    passkey_share: float = 0.25
    passkey_weight: float = 5.0
    reference_share: float = 0.0
    reference_weight: float = 5.0
    reference_group: int | None = None
    plain_share: float = 0.0

    def __post_init__(self) -> None:
        set_integers(self, "steps", "batch")
        set_integers(self, "seed", at_least=0, at_most=LARGEST_SEED)
        object.__setattr__(self, "rate", check_number("rate", self.rate, above=0))
        object.__setattr__(self, "plain_share", check_number("plain_share", self.plain_share, within=(0, 1)))
        passkeys, references = self.passkeys(), self.references()
        object.__setattr__(self, "passkey_share", passkeys.share)
        object.__setattr__(self, "passkey_weight", passkeys.weight)
        if references:
            object.__setattr__(self, "reference_share", references.share)
            object.__setattr__(self, "reference_weight", references.weight)

    def passkeys(self) -> PasskeyMix:
        """Build the mix of passkeys."""
        return PasskeyMix(self.passkey_share, self.passkey_weight)

    def references(self) -> ReferenceMix | None:
        """Build the mix of named references; None where no window carries them.

        Raises:
            ValueError: for a share without a group to lay them in.
        """
        if not self.reference_share:
            return None
        if self.reference_group is None:
            raise ValueError(f"reference_group must be stated with reference_share {self.reference_share}, got None")
        return ReferenceMix(self.reference_group, self.reference_share, self.reference_weight)


def finetune(
    model: TinyLlama,
    windows: Windows,
    settings: FinetuneSettings,
    *,
    forward: Callable[[Tensor], Tensor] | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    on_step: Callable[[int, Metrics], None] = lambda step, metrics: None,
    stop: Callable[[], bool] = lambda: False,
) -> TrainResult:
    """Train what `apply_longlora` left trainable, in place, on windows of the target length plus one.

    The attention is the model's own in training, S² after `apply_longlora`, and positions leap as `model.leap` says.
    Leaves the model in evaluation mode; the result holds the curve. `forward` gives the logits where not the plain
    model does; `on_step` and `stop` are those of `train`.
    """
    device = next(model.parameters()).device.type
    model.train()
    objective = LanguageModelObjective(
        forward or model,
        windows,
        batch=1,
        seed=settings.seed,
        mix=settings.passkeys(),
        references=settings.references(),
        references_until=settings.steps * (1 - settings.plain_share),
        device=device,
        leap=model.leap,
    )
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    optimizer = torch.optim.AdamW(parameters.values(), lr=settings.rate, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = TrainSettings(
        settings.steps, accumulate=settings.batch, warmup=min(10, settings.steps), decay="cosine", checkpoint_every=10
    )
    tokens = settings.batch * (windows.length - 1)
    with (progress or Silent()).stage("Training", settings.steps * tokens, "B") as advance:
        shown = step_by_step(advance, tokens, "loss", "loss")

        def step_done(step: int, metrics: Metrics) -> None:
            shown(step, metrics)
            on_step(step, metrics)

        result = train(
            parameters,
            [optimizer],
            objective,
            schedule,
            checkpoint=checkpoint,
            resume=resume,
            on_step=step_done,
            stop=stop,
        )
    model.eval()
    return result
