"""Settings of one row of the law: what is trained, at which distances, under which attention."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, get_args

from longlora_edu.geometry import S2Geometry, S2Pattern
from longlora_edu.rope import Leap, LeapDraw
from longlora_edu.runs.validate import check_choice, check_number, set_integers
from longlora_edu.training.references import DIGITS, LINE

from .distances import Layout, Room, classes_of

Task = Literal["references", "keys", "hops2", "hops3"]
Arm = Literal["full", "short", "s2", "windows"]
HOPS = {"references": 1, "keys": 1, "hops2": 2, "hops3": 3}
CHAINS = {"keys": 8, "hops2": 5, "hops3": 4}  # in a sequence of statements
# Learning rates of the demo's arms; positions that leap and short windows take that of S².
RATES = {"full": 2e-3, "short": 3e-3, "s2": 2e-3, "windows": 2e-3}
RATE_FROM_SCRATCH = 4e-3
HEADS = 4
# The sizes that a row is measured at. Other ones are for tests.
SIZES = {
    "references": {"length": 2048, "group": 512, "steps": 240, "batch": 2, "trials": 120},
    "keys": {"length": 64, "group": 16, "steps": 200, "batch": 32, "trials": 250},
    "hops2": {"length": 64, "group": 16, "steps": 1000, "batch": 32, "trials": 250},
    "hops3": {"length": 64, "group": 16, "steps": 1000, "batch": 32, "trials": 250},
}


@dataclass(frozen=True)
class Recall:
    """Settings of a row: train on one task at the distances of one layout, then measure recall by distance.

    - `task`: `"references"`, named references in text, from the extended base; or statements from scratch, two layers:
      `"keys"`, eight keys with a value each, `"hops2"` and `"hops3"`, variables that name variables.
    - `arm`: training attention. `"windows"` is full attention on windows of one group whose positions leap once.
    - `layout`: distances in training, see `distances.draw_chain`. `leap`, `draw`: as `rope.Leap`.
    - `trials` questions of each class at least; `steps` of `batch` windows of `length`.

    The seed decides data, leaps, and the weights that begin; the questions of the measurement are the same for all.

    Raises:
        ValueError: naming the field, its rule and the value.
    """

    task: Task
    arm: Arm = "s2"
    layout: Layout = "log"
    leap: float = 0.0
    draw: LeapDraw = "uniform"
    length: int = 64
    group: int = 16
    steps: int = 200
    batch: int = 32
    trials: int = 250
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("task", self.task, get_args(Task))
        check_choice("arm", self.arm, get_args(Arm))
        check_choice("layout", self.layout, get_args(Layout))
        set_integers(self, "group", at_least=4)
        set_integers(self, "length", at_least=4 * self.group)
        set_integers(self, "steps", "batch", "trials")
        set_integers(self, "seed", at_least=0)
        object.__setattr__(self, "leap", check_number("leap", self.leap, within=(0, 1)))
        if self.leap and self.arm != "s2":
            raise ValueError(f"leap must be 0 where arm is not 's2', got {self.leap} with {self.arm!r}")
        if self.arm == "windows" and (self.task != "references" or self.layout == "aligned"):
            raise ValueError(f"arm must not be 'windows' with {self.task!r} and the layout {self.layout!r}")
        if self.leap:
            self.leaps  # noqa: B018 (checked by its own class)

    @property
    def seq_len(self) -> int:
        """Tokens of a window, by the name that a probe has for it."""
        return self.length

    @property
    def hops(self) -> int:
        """Hops of a chain."""
        return HOPS[self.task]

    @property
    def room(self) -> Room:
        """The window in which lines are laid: those of references are `LINE` bytes, their place is the first digit."""
        if self.task == "references":
            return Room(self.length, self.group, before=LINE - DIGITS - 1, after=DIGITS + 1, apart=LINE)
        return Room(self.length, self.group)

    @property
    def training_room(self) -> Room:
        """The window in which lines are laid in training: that of `room`, one group of it where windows are short."""
        return dataclasses.replace(self.room, length=self.group) if self.arm == "windows" else self.room

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of distance that are measured."""
        return classes_of(self.room, self.hops)

    @property
    def pattern(self) -> S2Pattern | None:
        """The attention pattern of training; None where it is full."""
        if self.arm in ("full", "windows"):
            return None
        return S2Pattern(self.group, 0 if self.arm == "short" else None)

    @property
    def geometry(self) -> S2Geometry:
        """The pattern laid over the window; one group without a shift is full attention."""
        return (self.pattern or S2Pattern(self.length, 0)).geometry(self.length, HEADS)

    @property
    def leaps(self) -> Leap | None:
        """The leaps of training positions; None without any."""
        return Leap(self.group, self.length, self.leap, self.draw) if self.leap else None

    @property
    def name(self) -> str:
        """The settings but the seed, in words."""
        leap = f", leap {self.leap:g}{' log' * (self.draw == 'log')}" if self.leap else ""
        return f"{self.task}, {self.arm}{leap}, {self.layout}"


def row_of(task: Task, **fields: Any) -> Recall:
    """Set up a row at the sizes of its task."""
    return Recall(task, **SIZES[task] | fields)
