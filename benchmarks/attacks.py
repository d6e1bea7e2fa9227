"""Records what the attacks of `tests/attack` tried and what survived: all of them, not the samples of plain pytest.

The rows are those that `pytest -m attack` prints, and of the attacks without a sample, which plain pytest runs too.
Takes about five minutes on one core.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import resource
import sys
import time
from pathlib import Path

import pytest

from longlora_edu.runs.records import provenance, write_json

ROOT = Path(__file__).resolve().parents[1]
ALL = ["-m", "attack or not attack", "-k", "not sample", "-n", "0", "-q", str(ROOT / "tests" / "attack")]


class Rows:
    """A plugin of pytest that keeps the rows of the table, with how each of their tests ended."""

    def __init__(self) -> None:
        self.found, self.outcomes = [], []

    def pytest_runtest_logreport(self, report) -> None:
        if report.when == "call" or report.failed or report.skipped:
            self.outcomes.append(report.outcome)
        if report.when == "call":
            rows = [row for name, row in report.user_properties if name == "attack"]
            self.found += [{"attack": name, "tried": tried, "survived": survived} for name, tried, survived in rows]


def cpu_seconds() -> float:
    """Processor time of this process and of those it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "attacks.json")
    arguments = options.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.pop("LONGLORA_EDU_ATTACKS", None)
    rows, began, cpu = Rows(), time.monotonic(), cpu_seconds()
    status = pytest.main([*ALL, "--rootdir", str(ROOT)], plugins=[rows])
    if status != 0 or set(rows.outcomes) != {"passed"}:
        sys.exit(f"every attack must be tried and survived, got exit status {int(status)} and {set(rows.outcomes)}")
    cost = {"seconds": round(time.monotonic() - began), "cpu_seconds": round(cpu_seconds() - cpu)}
    about = dataclasses.asdict(provenance(threads=1, command="python benchmarks/attacks.py"))
    write_json(arguments.json, {"rows": rows.found, **cost, **about})


if __name__ == "__main__":
    main()
