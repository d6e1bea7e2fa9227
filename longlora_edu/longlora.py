"""The LongLoRA recipe on a TinyLlama: stretch the positions, sparsify training, add LoRA, free embeddings and norms."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from .geometry import Boundary, S2Pattern, group_size_from_ratio
from .lora.rank import checked_rank_and_alpha
from .rope import BETA_SLOW, Leap, Rope, RopeMethod
from .runs.validate import check_choice, check_integer, check_number, check_positive, check_text

if TYPE_CHECKING:
    import torch

    from .model import TinyLlama

ATTENTION_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")
EMBEDDINGS_AND_NORMS = ("embed_tokens", "input_layernorm", "post_attention_layernorm", "norm")

# Rules that only bases in transformers have: `hf` goes on with the first, and refuses the second where it stands.
OF_TRANSFORMERS = ("llama3", "longrope")


@dataclass(frozen=True)
class LongLoRAConfig:
    """Settings of an extension. The defaults are the paper's recipe, but for the position rule.

    The group is `group_size`, or else `context_length * group_ratio` rounded up: one fixed number of tokens.
    (`hf.use_s2(group_ratio=…)` takes a ratio of the length at hand; `LongLoRAAdapter` takes the original context.)

    - `rope`: how positions are stretched. The paper uses `"linear"`; `"yarn"` works best with S² here.
    - `beta_fast`: YaRN's fast end, turns within the trained length above which a frequency stays. None keeps the
      model's own, which is 32 unless it is stretched already.
    - `rank`, `alpha`, `targets`, `also_train`: LoRA on the attention projections, and modules trained whole.
      The paper calls this set LoRA+; we say *LoRA with embeddings and norms*, since LoRA+ is also another method.
    - `train="all"` trains all weights instead and adds no LoRA.
    - `leap`: probability with which training positions leap at a border of half groups, see `rope.Leap`; 0 is the
      paper. Needs a shift of 0 or half a group, split ends, and a rule whose angles do not depend on the length.
    - `trained_length`: the *original* context, when the model itself does not know it. A factor is never compounded.

    Source: arXiv 2309.12307, sections 3.2 and 3.3.

    Raises:
        ValueError: naming the field, its rule and the value.
    """

    context_length: int
    group_ratio: float = 1 / 4
    group_size: int | None = None
    shift: int | None = None
    boundary: Boundary = "split"
    rope: RopeMethod = "yarn"
    rank: int = 8
    alpha: float = 16
    targets: tuple[str, ...] = ATTENTION_PROJECTIONS
    also_train: tuple[str, ...] = EMBEDDINGS_AND_NORMS
    train: Literal["adapters", "all"] = "adapters"
    trained_length: int | None = None
    leap: float = 0.0
    beta_fast: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "context_length", check_positive("context_length", self.context_length))
        if not isinstance(self.train, str) or self.train not in ("adapters", "all"):
            raise ValueError(f"train must be 'adapters' or 'all', got {self.train!r}")
        check_choice("rope", self.rope, (*get_args(RopeMethod), *OF_TRANSFORMERS))
        object.__setattr__(self, "rank", checked_rank_and_alpha(self.rank, self.alpha)[0])
        object.__setattr__(self, "alpha", check_number("alpha", self.alpha, above=0))
        for name in ("trained_length", "group_size", "shift"):
            if (value := getattr(self, name)) is not None:
                check = check_integer if name == "shift" else check_positive
                object.__setattr__(self, name, check(name, value))
        # A whole sequence of one head: every geometry field is checked by the geometry itself.
        self.pattern.geometry(self.context_length, 1)
        object.__setattr__(self, "leap", check_number("leap", self.leap, within=(0, 1)))
        if self.beta_fast is not None:
            object.__setattr__(self, "beta_fast", check_number("beta_fast", self.beta_fast, above=BETA_SLOW))
            if self.rope != "yarn":
                raise ValueError(f"beta_fast must be None for rope={self.rope!r}, got {self.beta_fast:g}")
        if self.leap:
            self._check_leap()
        for name in ("targets", "also_train"):
            if isinstance(getattr(self, name), str):
                raise ValueError(f"{name} must be a list of names, got the text {getattr(self, name)!r}")
            if not isinstance(getattr(self, name), (Sequence, Set)):
                raise ValueError(f"{name} must be a list of names, got {getattr(self, name)!r}")
            object.__setattr__(self, name, tuple(getattr(self, name)))
            for each in getattr(self, name):
                check_text(f"each of {name}", each)

    @property
    def pattern(self) -> S2Pattern:
        """The pattern of groups in training, the same for every length."""
        group = self.group_size
        if group is None:
            group = group_size_from_ratio(self.context_length, self.group_ratio)
        return S2Pattern(group, self.shift, self.boundary)

    @property
    def leaps(self) -> Leap | None:
        """The leaps of training positions; None without any."""
        return Leap(self.pattern.group_size, self.context_length, self.leap) if self.leap else None

    def _check_leap(self) -> None:
        group, half = self.pattern.group_size, self.pattern.group_size // 2
        if self.pattern.shift not in (0, half):
            raise ValueError(
                f"shift must be 0 or half of the group of {group} where positions leap, got {self.pattern.shift}"
            )
        if self.boundary != "split":
            raise ValueError(f"boundary must be 'split' where positions leap, got {self.boundary!r}")
        if self.rope == "dynamic":
            raise ValueError("rope must not be 'dynamic', whose angles follow the last position, where positions leap")


@dataclass(frozen=True)
class LongLoRAReport:
    """Changes that `apply_longlora` made. `trainable_share` is of all weights, LoRA's own included."""

    trained_context: int
    target_context: int
    rope: Rope
    pattern: S2Pattern
    train: str
    rank: int | None
    alpha: float | None
    targets: tuple[str, ...]
    also_train: tuple[str, ...]
    trainable_parameters: int
    all_parameters: int

    @property
    def trainable_share(self) -> float:
        return self.trainable_parameters / self.all_parameters


def stretched_rope(
    rope: Rope, method: RopeMethod, *, trained_length: int, target_length: int, beta_fast: float | None = None
) -> Rope:
    """Stretch `rope` from its trained length to the target, by the factor of the original length.

    `beta_fast=None` keeps the one that `rope` has.

    Raises:
        ValueError: when the target is not above the trained length, or the base is already stretched by another rule.
    """
    if target_length <= trained_length:
        raise ValueError(f"context_length must be above the trained context of {trained_length}, got {target_length}")
    if rope.method not in ("default", method):
        raise ValueError(
            f"rope must be {rope.method!r}, with which this model is already stretched by {rope.factor:g}, "
            f"got {method!r}"
        )
    if rope.method != "default" and rope.trained_length not in (None, trained_length):
        raise ValueError(
            f"trained_length must be {rope.trained_length}, from which this model is already stretched, "
            f"got {trained_length}"
        )
    fast = rope.beta_fast if beta_fast is None else beta_fast
    if rope.method != "default" and fast != rope.beta_fast:
        raise ValueError(
            f"beta_fast must be {rope.beta_fast:g}, with which this model is already stretched, got {fast:g}"
        )
    factor = 1.0 if method == "default" else target_length / trained_length
    return dataclasses.replace(rope, method=method, factor=factor, trained_length=trained_length, beta_fast=fast)


def apply_longlora(
    model: TinyLlama, config: LongLoRAConfig, *, generator: torch.Generator | None = None
) -> LongLoRAReport:
    """Make `model` ready to be trained at `config.context_length`, in place.

    Training (`model.train()`) then computes S²-Attn; evaluation (`model.eval()`) stays dense. Calling it on a
    merged model is the second stage of a two-stage extension.

    Raises:
        ValueError: before anything is changed, for a target context not above the trained one, a base that is
            stretched by another rule, or a name in `targets` or `also_train` that is none of its modules.
    """
    import torch  # here, and not above: settings are read where there is no torch, in a browser tab

    from .lora.layers import add_lora, free_modules, lora_layers, modules_to_free
    from .model import TinyLlama

    trained = config.trained_length or model.config.trained_context
    rope = stretched_rope(
        model.config.rope,
        config.rope,
        trained_length=trained,
        target_length=config.context_length,
        beta_fast=config.beta_fast,
    )
    if config.train == "adapters":
        with torch.device("meta"):
            rehearsal = TinyLlama(model.config)  # refuses what the model would refuse half-way
        add_lora(rehearsal, config.targets, rank=config.rank, alpha=config.alpha, generator=torch.Generator())
        modules_to_free(rehearsal, config.also_train, "also_train")
        generator = generator or torch.Generator().manual_seed(0)
        add_lora(model, config.targets, rank=config.rank, alpha=config.alpha, generator=generator)
        free_modules(model, config.also_train)
    elif layers := lora_layers(model):
        raise ValueError(f"model must have no LoRA layers yet, got {next(iter(layers))}: see merge_to_dense")
    else:
        model.requires_grad_(True)
    # transformers' dynamic rule measures the length at hand against this field, so it must stay the trained length.
    maximum = trained if config.rope == "dynamic" else config.context_length
    model.config = dataclasses.replace(model.config, rope=rope, max_position_embeddings=maximum)
    for attention in model.attention_layers:
        attention.config, attention.sparse = model.config, config.pattern
    model.leap = config.leaps
    adapters = config.train == "adapters"
    return LongLoRAReport(
        trained_context=trained,
        target_context=config.context_length,
        rope=rope,
        pattern=config.pattern,
        train=config.train,
        rank=config.rank if adapters else None,
        alpha=config.alpha if adapters else None,
        targets=config.targets if adapters else (),
        also_train=config.also_train if adapters else (),
        trainable_parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        all_parameters=sum(p.numel() for p in model.parameters()),
    )


def merge_to_dense(model: TinyLlama) -> TinyLlama:
    """Merge LoRA into the weights, drop sparse pattern and leaps, in place: a plain dense model at the new context."""
    from .lora.layers import lora_layers, merge_lora

    if lora_layers(model):
        merge_lora(model)
    for attention in model.attention_layers:
        attention.sparse = None
    model.leap = None
    return model.requires_grad_(True)
