"""The page of advice: its tables are those of the records, its answers those of `plan`, its links lead somewhere."""

from __future__ import annotations

import runpy

import pytest
from helpers import ROOT

from longlora_edu.plan import PAYS, STRETCHES
from longlora_edu.runs.records import recorded

PAGE = ROOT / "docs" / "what_to_use.md"
TEXT = PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def write():
    return runpy.run_path(str(ROOT / "benchmarks" / "what_to_use.py"))["page"]


def test_the_tables_are_those_of_the_records(write):
    assert write(TEXT) == TEXT, "run python benchmarks/what_to_use.py"


def test_the_page_names_each_answer_of_plan():
    from typing import get_args, get_type_hints

    from longlora_edu.plan import Advice

    for use in get_args(get_type_hints(Advice)["use"]):
        assert f"**{use}**" in TEXT, use


def test_the_limits_of_plan_are_those_of_the_page():
    assert STRETCHES == 2 and "at most twice its context" in TEXT
    assert PAYS == 1.5 and "less than one and a half times as fast" in TEXT


def test_what_the_page_says_of_stretching_is_what_was_measured():
    rows = {row["factor"]: row for row in recorded("stretch_only")["rows"]}
    assert rows[2]["loss_ratio"] < 1.015 and 1.07 < rows[4]["loss_ratio"] < 1.13  # "a hundredth", "a tenth"
    assert all(row["passkey"]["rate"] >= 0.9 for row in rows.values())
    near = [row["references"]["<=G"] for row in rows.values()]
    assert all(count["found"] < 0.2 * count["of"] for count in near)  # "not found"


def test_every_row_says_where_its_cost_is_from():
    rows = [line.split("|")[1:-1] for line in TEXT.splitlines() if line.startswith("| ") and "**" in line]
    assert len(rows) == 7
    for _, _, _, source in rows:
        assert any(word in source for word in ("measured here", "closed form", "config.json")), source
