"""The pieces of a study: its parts, their rows, and the findings once all rows are recorded."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np

from longlora_edu.runs.records import Proportion

from .resample import Statistic, redrawn, with_documents
from .spec import Run, Settings, key_of
from .summary import pooled
from .verdict import Claim, Difference, Lent, over_seeds
from .windows import recorded_documents

SEEDS = 3
EXPLORATORY = (
    "Exploratory: planned with one seed; further seeds were added when the first had been seen. Where only one is "
    "recorded, it borrows the spread of S² against full attention, and its statement says so."
)
Name = TypeVar("Name")


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


def relative_change(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Compute how much more `second` is than `first`, as a share."""
    return second / first - 1


class Rows:
    """The recorded rows of one text and one base, found by their settings.

    `documents` holds the document of each window, by the text's hash; by default what is recorded of them.
    """

    def __init__(self, records: Sequence[dict], documents: Mapping[str, Sequence[int]] | None = None) -> None:
        self._by_key = {record["key"]: record for record in records}
        self._documents = recorded_documents() if documents is None else documents
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
        """Return bits/byte by position at the target, in order: means over equal stretches of positions."""
        return (self[run] if attention == "dense" else self[run]["as_trained"])["bits_per_byte_by_position"]

    def found(self, runs: Iterable[Run]) -> list[Proportion]:
        """Return passkeys found at the target over all depths, a proportion per run."""
        kept = (self[run]["passkey"] for run in runs)
        return [Proportion(one["successes"], one["trials"]) for one in kept]

    def passkeys(self, runs: Iterable[Run]) -> Proportion:
        """Count passkeys found at the target, over all depths and runs."""
        return pooled(self[run]["passkey"] for run in runs)

    def change(
        self, statistic: Statistic, *arms: Sequence[Run], lengths: Sequence[int] = (), lent: Lent | None = None
    ) -> Difference:
        """Compute a statistic of the arms' bits/byte, each (seeds,), and its interval over documents and seeds.

        Bits are those at each arm's target, or at `lengths`. Where bits by window were not recorded, or nobody knows
        the windows' documents, the interval is over seeds only, and its text says so.
        """
        where = lengths or [None] * len(arms)
        bits = [np.array(self.bits(runs, length)) for runs, length in zip(arms, where, strict=True)]
        found = over_seeds([float(value) for value in statistic(*bits)], lent=lent)
        by_window = [self._by_window(runs, length) for runs, length in zip(arms, where, strict=True)]
        documents = self._documents_of([run for runs in arms for run in runs])
        if documents is None or any(arm is None or arm.shape[1] != len(documents) for arm in by_window):
            return found
        return with_documents(found, redrawn(statistic, by_window, documents), documents)

    def worse_than(self, runs: Sequence[Run], other: Sequence[Run], *, lent: Lent | None = None) -> Difference:
        """Compare dense bits/byte at the target with those of `other`, seed by seed."""
        return self.change(relative_change, other, runs, lent=lent)

    def lent(self, first: Sequence[Run], second: Sequence[Run]) -> Lent | None:
        """Compute the deviation over seeds of a relative difference, for comparisons with one seed."""
        if len(first) < 2 or any(run not in self for run in (*first, *second)):
            return None
        pairs = zip(self.bits(first), self.bits(second), strict=True)
        return Lent(statistics.stdev([b / a - 1 for a, b in pairs]), len(first) - 1)

    def recorded_seeds(self, arms: Mapping[Name, Sequence[Run]]) -> dict[Name, tuple[Run, ...]]:
        """Cut the arms to the seeds, from the first, that all of them have recorded; at least the first."""
        count = min(
            next((index for index, run in enumerate(runs) if run not in self), len(runs)) for runs in arms.values()
        )
        return {name: tuple(runs[: max(1, count)]) for name, runs in arms.items()}

    def _by_window(self, runs: Sequence[Run], length: int | None) -> np.ndarray | None:
        """Return bits/byte by window, (seeds, windows); None where one was not recorded."""
        lines = []
        for run in runs:
            kept = self[run].get("bits_per_byte_by_length_and_window", {})
            at_target = self[run].get("bits_per_byte_by_window") if length in (None, run.target) else None
            lines.append(kept.get(str(length or run.target), at_target))
        return None if any(line is None for line in lines) else np.array(lines)

    def _documents_of(self, runs: Sequence[Run]) -> Sequence[int] | None:
        texts = {self.record(run)["ground"]["corpus"] for run in runs}
        return self._documents.get(texts.pop()) if len(texts) == 1 else None

    def _find(self, settings: Settings) -> dict | None:
        for inputs in self.inputs if isinstance(settings, Run) else [()]:
            if found := self._by_key.get(key_of(settings, dict(inputs))):
                return found
        return None


@dataclass(frozen=True)
class StudyPart:
    """One part of a study. `judge` makes its findings once all `rows` are recorded.

    `wanted` are further seeds of its arms: used where they are recorded, and not waited for.
    """

    title: str
    rows: tuple[Settings, ...]
    judge: Callable[[Rows], Findings]
    wanted: tuple[Settings, ...] = ()


@dataclass(frozen=True)
class Study:
    """A question and its parts. An exploratory one was planned with a single seed and borrows the spread of others."""

    number: int
    name: str
    question: str
    parts: tuple[StudyPart, ...]
    exploratory: bool = False
    limits: str = ""

    @property
    def caveat(self) -> str:
        """The limits of all the study's answers, in a line; empty without such."""
        return " ".join(filter(None, (EXPLORATORY if self.exploratory else "", self.limits)))

    @property
    def rows(self) -> tuple[Settings, ...]:
        """All rows, each once, in the order in which they are computed; further seeds last."""
        needed = (settings for part in self.parts for settings in part.rows)
        return tuple(dict.fromkeys((*needed, *(settings for part in self.parts for settings in part.wanted))))


def _hashes(record: dict) -> dict:
    return {name: record["ground"][name] for name in ("base", "corpus") if name in record["ground"]}
