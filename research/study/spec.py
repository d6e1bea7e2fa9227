"""Settings of one row: a frozen dataclass, hashed into the key that names its record.

Two rows with equal settings are one run, whichever study asks for it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from typing import Literal, get_args

from longlora_edu.rope import Leap, LeapDraw, RopeMethod
from longlora_edu.runs.validate import check_choice, check_number, set_integers
from longlora_edu.training.probe import ProbeSettings

from ..law.recall import Recall

Attention = Literal[
    "full", "short", "s2", "wrap", "masked", "shifted", "layers", "window", "dilated", "strided", "blocks"
]
Band = Literal["slow", "middle", "fast"]
TrainedPart = Literal["embeddings", "norms", "embedding-lora"]
Extra = Literal["lengths", "pattern", "documents"]
EXTRAS: tuple[Extra, ...] = ("lengths", "pattern")
STEP_BYTES = 8192


@dataclass(frozen=True)
class Run:
    """Settings of an extension to `target` bytes, and of its measurement. Arms of a study differ in one field or two.

    - `attention`: what training computes, see `layouts`; `groups` is how many groups the target has, `shift` tokens.
    - `rope`: one of the five rules, or linear interpolation of one band of frequencies only, see `bands`.
    - `train`: LoRA of `rank` (alpha is twice as much) and the `parts` named, or all weights.
    - `steps` of 8,192 bytes each, in windows of `length`, the target by default; 0 trains nothing.
    - `skip`: windows shorter than the target whose positions leap once, so that all distances occur (PoSE).
    - `leap`: probability of a leap at each border of half groups, its distance drawn by `draw`, see `rope.Leap`.
    - `rope_base`: another base of the rotary frequencies. `start`: a run whose merged model this one begins with,
      not measured: two stages, or a base that is re-adapted first, its target the trained context itself.
    - `span`: bytes of the held-out windows, whatever the target, so that all rows are of the same last bytes.
    - `extra`: what is measured besides dense bits and passkeys at the target: `"lengths"`, dense bits from the trained
      context, doubled up to `span`; `"pattern"`, bits by position, dense and as trained; `"documents"`, dense bits of
      windows that are spread over the documents.
    - `maps_at`: after which steps a map of passkeys by length and depth is taken; 0 is before training.

    The seed decides the order of the data and LoRA's start, nothing else: not the base, not what it is measured on.

    Raises:
        ValueError: naming the field, its rule and the value.
    """

    target: int = 2048
    attention: Attention = "s2"
    groups: int = 4
    shift: int | None = None
    rope: RopeMethod | Band = "yarn"
    rope_base: float | None = None
    train: Literal["adapters", "all"] = "adapters"
    rank: int = 8
    parts: tuple[TrainedPart, ...] = ("embeddings", "norms")
    steps: int = 60
    rate: float = 2e-3
    length: int | None = None
    skip: bool = False
    passkey_share: float = 0.25
    seed: int = 0
    base: str = "bundled"
    start: Run | None = None
    windows: int = 200
    trials: int = 40
    span: int = 4096
    extra: tuple[Extra, ...] = ()
    maps_at: tuple[int, ...] = ()
    leap: float = 0.0
    draw: LeapDraw = "uniform"

    def __post_init__(self) -> None:
        set_integers(self, "target", "groups", "rank", "windows", "trials", "span")
        set_integers(self, "steps", "seed", at_least=0)
        for name, known in (("attention", get_args(Attention)), ("rope", get_args(RopeMethod) + get_args(Band))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        for name, known in (("parts", get_args(TrainedPart)), ("extra", get_args(Extra))):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            if unknown := set(getattr(self, name)) - set(known):
                raise ValueError(f"{name} must be among {', '.join(known)}, got {', '.join(sorted(unknown))}")
        object.__setattr__(self, "maps_at", tuple(self.maps_at))
        if self.train not in ("adapters", "all"):
            raise ValueError(f"train must be 'adapters' or 'all', got {self.train!r}")
        if not 0 < self.rate < math.inf:
            raise ValueError(f"rate must be positive and finite, got {self.rate}")
        if STEP_BYTES % self.window and self.window < STEP_BYTES:
            raise ValueError(f"length must divide the {STEP_BYTES} bytes of a step, got {self.window}")
        if self.target % self.groups:
            raise ValueError(f"groups must divide the target of {self.target}, got {self.groups}")
        object.__setattr__(self, "leap", check_number("leap", self.leap, within=(0, 1)))
        check_choice("draw", self.draw, get_args(LeapDraw))
        if self.leap and (self.attention not in ("s2", "short") or self.shift not in (None, self.group_size // 2)):
            raise ValueError(f"leap must be 0 but under 's2' and 'short' with the usual shift, got {self.leap}")
        if self.leap and self.skip:
            raise ValueError(f"leap must be 0 where skip is set, got {self.leap}")
        if self.skip and self.window >= self.target:
            raise ValueError(
                f"length must be below the target of {self.target} where positions leap, got {self.window}"
            )

    @property
    def window(self) -> int:
        """Bytes of a training window."""
        return self.length or self.target

    @property
    def batch(self) -> int:
        """Windows per step."""
        return max(1, STEP_BYTES // self.window)

    @property
    def group_size(self) -> int:
        """Tokens of a group, of the training window."""
        return max(1, self.window // self.groups)

    @property
    def leaps(self) -> Leap | None:
        """The leaps of training positions at the borders of half groups; None without any."""
        return Leap(self.group_size, self.target, self.leap, self.draw) if self.leap else None


Settings = Run | ProbeSettings | Recall
KINDS: dict[str, type] = {"extension": Run, "probe": ProbeSettings, "recall": Recall}


def kind_of(settings: Settings) -> str:
    """Return the kind that a record of these settings states."""
    return next(name for name, kind in KINDS.items() if type(settings) is kind)


def config_of(settings: Settings) -> dict:
    """Return all fields as JSON, as a record keeps them."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))


def settings_from(kind: str, config: dict) -> Settings:
    """Rebuild settings from the kind and config of a record.

    Raises:
        ValueError: for a kind or a field that there is none of.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if unknown := set(config) - set(KINDS[kind].__dataclass_fields__):
        raise ValueError(f"config must hold fields of a {kind} only, got {', '.join(sorted(unknown))}")
    if isinstance(config.get("start"), dict):
        config = config | {"start": settings_from(kind, config["start"])}
    return KINDS[kind](**config)


def key_of(settings: Settings, about: dict) -> str:
    """Hash settings and `about`, the text and base of a run, into its key of twelve hexadecimal digits.

    Fields that stand at their default do not count, so a new field leaves all older keys as they are.
    """
    identity = {"kind": kind_of(settings), "config": _changed(settings), **about}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def _changed(settings: Settings) -> dict:
    values = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if value != field.default:
            values[field.name] = _changed(value) if isinstance(value, Run) else value
    return values
