"""The settings of `longlora-edu train`, validated where they enter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ..geometry import Boundary, group_size_from_ratio
from ..longlora import OF_TRANSFORMERS, LongLoRAConfig
from ..rope import RopeMethod
from ..runs.validate import (
    LARGEST_SEED,
    LARGEST_THREADS,
    check_choice,
    check_flag,
    check_number,
    check_text,
    set_integers,
)
from ..training.corpus import DocumentRule
from .base_reach import Reach


@dataclass(frozen=True)
class TrainingSettings:
    """The settings of one run.

    A step is `accumulate` micro-batches of `batch` windows, over all processes together. `data` is a file or folder of
    text, which `document` divides, or a `.json`/`.jsonl` file of instruction pairs. `rope=None` keeps the positions of
    a model within the context that it reads already; beyond, the rule that has stretched it goes on, or YaRN begins.
    `trained_length` is its original context, where its config states another. `dense=True` trains with full attention,
    for comparison.

    `epochs` counts passes over the data instead of `steps`: every window, or pair, once a pass, in an order of its own.
    `validate_every` measures the loss on held-out windows after so many steps, dense as in use. `load_in` quantises the
    frozen base through bitsandbytes. `targets` names what LoRA is put on: `attention`, `mlp`, or modules by name.

    Raises:
        ValueError: naming the field, its rule and the value.
    """

    model: str
    data: str
    context: int
    document: DocumentRule = "file"
    group_ratio: float = 1 / 4
    rope: RopeMethod | None = None
    boundary: Boundary = "split"
    train: Literal["adapters", "all"] = "adapters"
    rank: int = 8
    bf16: bool = False
    gradient_checkpointing: bool = False
    dense: bool = False
    batch: int = 1
    accumulate: int = 8
    rate: float = 2e-4
    warmup: int = 20
    steps: int = 1000
    seed: int = 0
    threads: int | None = None
    checkpoint_every: int = 25
    trained_length: int | None = None
    fp16: bool = False
    load_in: Literal["4bit", "8bit"] | None = None
    targets: tuple[str, ...] = ("attention",)
    dropout: float = 0.0
    rslora: bool = False
    epochs: float | None = None
    validate_every: int = 0

    @property
    def half(self) -> str | None:
        """The dtype, by torch's name, that products are computed in; None is float32."""
        return "bfloat16" if self.bf16 else "float16" if self.fp16 else None

    def __post_init__(self) -> None:
        check_text("model", self.model, may_be_empty=True)  # a recipe alone needs neither
        check_text("data", self.data, may_be_empty=True)
        set_integers(self, "context", "rank", "batch", "accumulate", "steps", "checkpoint_every")
        set_integers(self, "warmup", "validate_every", at_least=0)
        set_integers(self, "seed", at_least=0, at_most=LARGEST_SEED)
        if self.threads is not None:
            set_integers(self, "threads", at_most=LARGEST_THREADS)
        object.__setattr__(self, "rate", check_number("rate", self.rate, above=0))
        check_choice("document", self.document, get_args(DocumentRule))
        check_choice("rope", self.rope, (*get_args(RopeMethod), *OF_TRANSFORMERS, None))
        check_choice("boundary", self.boundary, get_args(Boundary))
        check_choice("train", self.train, ("adapters", "all"))
        check_choice("load_in", self.load_in, ("4bit", "8bit", None))
        for name in ("bf16", "fp16", "gradient_checkpointing", "dense", "rslora"):
            check_flag(name, getattr(self, name))
        if self.bf16 and self.fp16:
            raise ValueError("bf16 and fp16 must not both be given, got both: bf16, where the device has it")
        if self.load_in and self.train == "all":
            raise ValueError(
                f"train must be 'adapters' on a base in {self.load_in}, whose weights are codes, got 'all'"
            )
        object.__setattr__(self, "targets", tuple(self.targets))
        object.__setattr__(self, "dropout", check_number("dropout", self.dropout, within=(0, 0.9)))
        if self.epochs is not None:
            object.__setattr__(self, "epochs", check_number("epochs", self.epochs, above=0))
        group = group_size_from_ratio(self.context, self.group_ratio)
        if self.boundary != "split" and self.context % group:
            raise ValueError(
                f"context must be a multiple of its group of {group} under boundary={self.boundary!r}, "
                f"got {self.context}: change it or group_ratio, or take boundary='split', which cuts any length"
            )
        self.recipe()

    def recipe(self, reach: Reach | None = None) -> LongLoRAConfig:
        """The recipe of the run, for a base that reads so far already."""
        return LongLoRAConfig(
            self.context,
            group_ratio=self.group_ratio,
            boundary=self.boundary,
            rope=self.rope or (reach.default_method(self.context) if reach else "yarn"),
            rank=self.rank,
            alpha=2 * self.rank,
            train=self.train,
            trained_length=self.trained_length,
            targets=self.targets,
        )
