"""Pilots: what was measured before the prediction was written, and is excluded from its test.

Tables of named references stand in `pilots.json` with their sources; `benchmarks/results/law_pilots.json` holds rows of
statements from scratch, computed by `longlora-edu study law --pilots`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from longlora_edu.runs.records import read_json, write_json

from ..study.inputs import BENCHMARKS
from .exposure import middle
from .recall import Arm, Recall, Task, row_of

TABLES = Path(__file__).parent / "pilots.json"
ROWS = BENCHMARKS / "results" / "law_pilots.json"
SEED = 7  # of pilots; rows have 0, 1 and 2
SETTING = "references"  # of the demo's record, to which predictions of named references belong
PLANNED: tuple[tuple[Task, Arm, str, float], ...] = (
    ("keys", "s2", "log", 0), ("keys", "short", "log", 0), ("keys", "full", "uniform", 0),
    ("keys", "s2", "aligned", 0.5), ("keys", "s2", "near", 0),
    ("hops2", "s2", "log", 0), ("hops2", "full", "log", 0), ("hops2", "short", "near", 0),
    ("hops2", "s2", "aligned", 0.5),
    ("hops3", "s2", "near", 0), ("hops3", "full", "log", 0),
)  # fmt: skip


@dataclass(frozen=True)
class Pilot:
    """One measured share: the row's settings, the distance of each look, and the class where it is one of ours.

    `setting` names the intercept that it shares; `layout` is `"mixed"` where half of the training references were laid
    across borders and half log-uniform, as in the demo.
    """

    row: Recall
    setting: str
    distances: tuple[float, ...]
    rate: float
    use: str = "dense"
    kind: str | None = None
    layout: str | None = None


def load_pilots(tables: Path = TABLES, rows: Path = ROWS) -> list[Pilot]:
    """Read the measured shares of all pilots from two JSON files: those of the tables first, then those of the rows.

    A run gives several: a table one for each class of distances, a row one for each use of attention and class.
    """
    found = []
    for table in read_json(tables)["tables"]:
        length, group = table["length"], table["group"]
        row = Recall(
            "references", table["arm"], "log", table["leap"],
            length=length, group=group, steps=table["steps"], batch=table["batch"],
        )  # fmt: skip
        near, far = row.room.nearest, row.room.farthest(1)
        ends = {"<=G": (near, group), "G-2G": (group, 2 * group), ">2G": (2 * group, far)}
        for name, rate in table["recall"].items():
            distance = group / 2 if name == "border" else math.sqrt(math.prod(ends[name]))
            found.append(Pilot(row, table["setting"], (distance,), rate, layout="mixed"))
    for record in read_json(rows)["rows"]:
        row = Recall(**record["config"])
        for use, classes in record["results"]["recall"].items():
            for kind, share in classes.items():
                found.append(Pilot(row, row.task, middle(row, kind), share["rate"], use, kind))
    return found


def planned_pilots() -> list[Recall]:
    """List the pilots from scratch."""
    return [row_of(task, arm=arm, layout=layout, leap=leap, seed=SEED) for task, arm, layout, leap in PLANNED]


def configuration(row: Recall) -> Recall:
    """Return a row without its seed: rows of one configuration are one cell's."""
    return dataclasses.replace(row, seed=0)


def write_pilots(compute: Callable[[Recall], dict], path: Path = ROWS) -> Path:
    """Compute the pilots that are not recorded; the file is written after each."""
    done = read_json(path)["rows"] if path.exists() else []
    known = {Recall(**record["config"]) for record in done}
    for row in planned_pilots():
        if row not in known:
            done.append(compute(row))
            write_json(path, {"rows": done})
    return path
