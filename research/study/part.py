"""The pieces of a study: its parts, their rows, and the findings once all rows are recorded."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from longlora_edu.runs.records import Proportion

from .spec import Run, Settings, key_of
from .summary import pooled
from .verdict import Claim, Difference, difference

SEEDS = 3


@dataclass(frozen=True)
class BaseProfile:
    """A base model with settings that suit it; every row of a study is a `run` of its profile."""

    name: str
    base: str
    trained: int
    steps: int

    def run(self, factor: int = 8, **fields: Any) -> Run:
        """Set up a run to `factor` times the trained context. All weights get half the learning rate of adapters."""
        usual = {"target": factor * self.trained, "base": self.base, "steps": self.steps, "span": 16 * self.trained}
        if fields.get("train") == "all":
            usual["rate"] = 1e-3
        return Run(**usual | fields)


PROFILES = {"cpu": BaseProfile("cpu", "bundled", 256, 60), "gpu": BaseProfile("gpu", "sibling", 1024, 400)}


@dataclass(frozen=True)
class Table:
    """A table of text cells under headings; `note` says how to read it."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class StudyPicture:
    """A picture and the name of its file: `draw()` gives axes, `words` describe it as text."""

    name: str
    draw: Callable
    words: str


@dataclass(frozen=True)
class Findings:
    """Tables, pictures, claims and notes of a part."""

    tables: tuple[Table, ...] = ()
    pictures: tuple[StudyPicture, ...] = ()
    claims: tuple[Claim, ...] = ()
    notes: tuple[str, ...] = ()


class Rows:
    """The recorded rows of one text and one base, found by their settings."""

    def __init__(self, records: Sequence[dict]) -> None:
        self._by_key = {record["key"]: record for record in records}
        self.inputs = sorted({tuple(sorted(_hashes(record).items())) for record in records if _hashes(record)})

    def __contains__(self, settings: Settings) -> bool:
        return self._find(settings) is not None

    def __getitem__(self, settings: Settings) -> dict:
        """Return the results of a run."""
        return self.record(settings)["results"]

    def record(self, settings: Settings) -> dict:
        """Return the whole record of a run.

        Raises:
            ValueError: when there is none.
        """
        found = self._find(settings)
        if found is None:
            raise ValueError(f"rows must hold a record of {settings}, got none")
        return found

    def bits(self, runs: Iterable[Run], length: int | None = None) -> list[float]:
        """Return each run's dense bits/byte, at its target unless another length is given."""
        return [self[run]["bits_per_byte"][str(length or run.target)] for run in runs]

    def bits_as_trained(self, runs: Iterable[Run]) -> list[float]:
        """Return each run's bits/byte at its target under its training attention."""
        return [self[run]["as_trained"]["bits_per_byte"] for run in runs]

    def whole_window(self, runs: Iterable[Run]) -> list[float]:
        """Return each run's dense bits/byte over all bytes of its windows but the first, not only the last ones."""
        return [self[run]["bits_per_byte_all_positions"] for run in runs]

    def by_position(self, run: Run, attention: Literal["dense", "as trained"] = "dense") -> list[float]:
        """Return bits/byte by position at the target, each a mean over neighbours."""
        return (self[run] if attention == "dense" else self[run]["as_trained"])["bits_per_byte_by_position"]

    def passkeys(self, runs: Iterable[Run]) -> Proportion:
        """Count passkeys found at the target, over all depths and runs."""
        return pooled(self[run]["passkey"] for run in runs)

    def worse_than(self, runs: Sequence[Run], other: Sequence[Run], *, spread: float | None = None) -> Difference:
        """Compare dense bits/byte at the target with those of `other`, seed by seed."""
        return difference(self.bits(other), self.bits(runs), spread=spread)

    def seed_spread(self, first: Sequence[Run], second: Sequence[Run]) -> float | None:
        """Compute the standard deviation over seeds of a relative difference, for studies with one seed."""
        if len(first) < 2 or any(run not in self for run in (*first, *second)):
            return None
        pairs = zip(self.bits(first), self.bits(second), strict=True)
        return statistics.stdev([b / a - 1 for a, b in pairs])

    def _find(self, settings: Settings) -> dict | None:
        for inputs in self.inputs if isinstance(settings, Run) else [()]:
            if found := self._by_key.get(key_of(settings, dict(inputs))):
                return found
        return None


@dataclass(frozen=True)
class StudyPart:
    """One part of a study. `judge` makes its findings once all `rows` are recorded."""

    title: str
    rows: tuple[Settings, ...]
    judge: Callable[[Rows], Findings]


@dataclass(frozen=True)
class Study:
    """A question and its parts. An exploratory one has a single seed and borrows the spread of others."""

    number: int
    name: str
    question: str
    parts: tuple[StudyPart, ...]
    exploratory: bool = False
    limits: str = ""

    @property
    def caveat(self) -> str:
        """The limits of all the study's answers, in a line; empty without such."""
        return " ".join(filter(None, ("Exploratory: one seed." if self.exploratory else "", self.limits)))

    @property
    def rows(self) -> tuple[Settings, ...]:
        """All rows, each once, in the order in which they are computed."""
        return tuple(dict.fromkeys(settings for part in self.parts for settings in part.rows))


def _hashes(record: dict) -> dict:
    return {name: record["ground"][name] for name in ("base", "corpus") if name in record["ground"]}
