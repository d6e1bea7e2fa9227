"""A task that needs the shift: groups alone cannot solve it, and a model learns it from scratch in seconds.

A key, one of a few values, stands among filler; a question mark comes a little later and the key is the answer.
Between the two runs the border of a group. Under the training pattern the geometry decides whether there is a way
from the one to the other; where there is none, no training helps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from ..geometry import S2Geometry, S2Pattern
from ..model.config import LlamaConfig
from ..rope import Rope
from ..runs.records import Proportion
from ..runs.validate import check_choice, set_integers

if TYPE_CHECKING:  # and inside of what trains: settings, places and ceilings are read in a browser tab, without torch
    from torch import Tensor

    from ..model import TinyLlama
    from .train import Metrics

Place = Literal["inside", "across", "far"]
FILLERS, HEADS = 8, 2  # kinds of filler; one plain head and one shifted
TRIALS, RATE = 512, 1e-2


@dataclass(frozen=True)
class ProbeSettings:
    """Settings of a probe. `shift=None` is half a group, 0 short attention; `place` says where key and question stand.

    - `"inside"`: the key in the first half of a group, the question in its last half.
    - `"across"`: the key in the last half of a group, the question in the first half of the next: another group,
      but one cell of a head that is shifted by half a group.
    - `"far"`: the key in the first half of a group, the question in the first half of the next: in no common cell.

    A step is `batch` fresh sequences. Groups that do not fit whole into `seq_len` are not used.

    Raises:
        ValueError: naming the field, its rule and the value.
    """

    seq_len: int = 64
    group_size: int = 16
    values: int = 8
    layers: int = 1
    shift: int | None = None
    place: Place = "across"
    steps: int = 100
    batch: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        set_integers(self, "group_size", "values", at_least=2)
        set_integers(self, "layers", "steps", "batch")
        set_integers(self, "seed", at_least=0)
        set_integers(self, "seq_len", at_least=2 * self.group_size)
        check_choice("place", self.place, get_args(Place))
        object.__setattr__(self, "shift", self.pattern.shift)

    @property
    def pattern(self) -> S2Pattern:
        """The attention pattern of training."""
        return S2Pattern(self.group_size, self.shift)

    @property
    def geometry(self) -> S2Geometry:
        """The pattern laid over this length and these heads."""
        return self.pattern.geometry(self.seq_len, HEADS)

    @property
    def chance(self) -> float:
        """Accuracy of guessing."""
        return 1 / self.values


@dataclass(frozen=True)
class ProbeResult:
    """Result of a probe: `accuracy` under the training pattern, `dense` of the same model under full attention.

    `curve` has a mapping a step: `step`, `loss` in nats, `accuracy` in that batch.
    """

    settings: ProbeSettings
    curve: tuple[Metrics, ...]
    accuracy: Proportion
    dense: Proportion

    @property
    def pattern(self) -> S2Pattern:
        """The attention pattern of training."""
        return self.settings.pattern

    @property
    def chance(self) -> float:
        """Accuracy of guessing."""
        return self.settings.chance

    @property
    def ceiling(self) -> float:
        """Return the best possible accuracy: right wherever a path through groups leads to the question."""
        return ceiling(self.settings)


def places(settings: ProbeSettings) -> np.ndarray:
    """List all (key, question) positions of the task, int (p, 2), each equally likely."""
    group, half = settings.group_size, settings.group_size // 2
    first, last = np.arange(half), np.arange(half, group)  # of a group
    keys, questions = {"inside": (first, last), "across": (last - group, first), "far": (first - group, first)}[
        settings.place
    ]
    starts = np.arange(0 if settings.place == "inside" else group, settings.seq_len - group + 1, group)
    grid = np.meshgrid(starts, keys, questions, indexing="ij")
    return np.stack([grid[0] + grid[1], grid[0] + grid[2]], axis=-1).reshape(-1, 2)


def path_exists(settings: ProbeSettings) -> np.ndarray:
    """Return bool (p,): for each of `places`, whether a path through all layers leads from key to question.

    The geometry's `reach`, nothing measured. Where it is False the answer cannot depend on the key.
    """
    keys, questions = places(settings).T
    return settings.geometry.reach(settings.layers)[questions, keys]


def ceiling(settings: ProbeSettings) -> float:
    """Compute the best accuracy under the training pattern: right wherever a path exists, a guess elsewhere."""
    heard = path_exists(settings).mean()
    return float(heard + (1 - heard) * settings.chance)


def draw_sequences(settings: ProbeSettings, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw `count` sequences: ids (b, n), where the question stands (b,), and the answer (b,).

    Ids below `values` are keys, `values` is the question mark, the rest filler.
    """
    import torch

    values = settings.values
    ids = rng.integers(values + 1, values + 1 + FILLERS, size=(count, settings.seq_len))
    where = places(settings)
    keys, questions = where[rng.integers(len(where), size=count)].T
    answers = rng.integers(values, size=count)
    rows = np.arange(count)
    ids[rows, keys], ids[rows, questions] = answers, values
    return torch.from_numpy(ids), torch.from_numpy(questions), torch.from_numpy(answers)


def run_probe(
    settings: ProbeSettings, *, on_step: Callable[[int, Metrics], None] = lambda step, metrics: None
) -> ProbeResult:
    """Train a fresh little model on the task under the pattern, then score it on sequences it has not seen.

    Depends on nothing but the settings (and the number of threads, bitwise). Seconds on one core.
    """
    import torch
    import torch.nn.functional as F

    from .train import TrainSettings, train

    model = _fresh_model(settings)
    for attention in model.attention_layers:
        attention.sparse = settings.pattern

    def objective(step: int, part: int) -> tuple[Tensor, Metrics]:
        answers, logits = _asked(model, settings, [settings.seed, 0, step], settings.batch)
        right = (logits.argmax(dim=-1) == answers).float().mean().item()
        return F.cross_entropy(logits, answers), {"accuracy": right}

    parameters = dict(model.train().named_parameters())
    optimizer = torch.optim.AdamW(parameters.values(), lr=RATE, weight_decay=0.0)
    schedule = TrainSettings(settings.steps, warmup=min(10, settings.steps), decay="cosine")
    curve = train(parameters, [optimizer], objective, schedule, on_step=on_step).curve
    accuracy = _score(model, settings)
    return ProbeResult(settings, curve, accuracy, dense=_score(model.eval(), settings))


def _fresh_model(settings: ProbeSettings) -> TinyLlama:
    import torch

    from ..model import TinyLlama

    shape = LlamaConfig(
        Rope(16, trained_length=settings.seq_len),
        hidden_size=HEADS * 16,
        intermediate_size=64,
        num_hidden_layers=settings.layers,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=settings.seq_len,
        vocab_size=settings.values + 1 + FILLERS,
    )
    with torch.random.fork_rng(devices=[]):  # the layers' own first weights must not use up the caller's numbers
        return TinyLlama(shape, generator=torch.Generator().manual_seed(settings.seed))


def _asked(model: TinyLlama, settings: ProbeSettings, seed: list[int], count: int) -> tuple[Tensor, Tensor]:
    """Draw sequences and run the model: right answers (b,), and the logits of the v possible answers (b, v)."""
    ids, questions, answers = draw_sequences(settings, np.random.default_rng(seed), count)
    return answers, model(ids)[np.arange(count), questions, : settings.values]


def _score(model: TinyLlama, settings: ProbeSettings) -> Proportion:
    import torch

    with torch.no_grad():
        answers, logits = _asked(model, settings, [settings.seed, 1], TRIALS)
    return Proportion(int((logits.argmax(dim=-1) == answers).sum()), TRIALS)
