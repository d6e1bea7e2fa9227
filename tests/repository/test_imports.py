"""Every name that a file imports from this repository is there, also where the import stands inside of a function."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest
from helpers import ROOT

OURS = ("longlora_edu", "research", "benchmarks")
FILES = [path.relative_to(ROOT) for top in (*OURS, "tests") for path in sorted((ROOT / top).rglob("*.py"))]


@cache
def names_in(module):
    """The names at the top of a module of ours, submodules among them; None for no module of ours."""
    place = ROOT.joinpath(*module.split("."))
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    if not file.exists():
        return {path.name for path in place.iterdir()} if place.is_dir() else None
    names = {path.stem for path in place.iterdir()} if place.is_dir() else set()
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))  # in a branch of the top as well
    lazy = any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in nodes)
    for node in nodes:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif lazy and isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
    return names


def missing_imports(source, path):
    """The names that a file takes from modules of ours, and which are not there."""
    above = Path(path).parent.parts
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ImportFrom):
            continue
        base = above[: len(above) - node.level + 1] if node.level else ()
        module = ".".join([*base, *([node.module] if node.module else [])])
        if module.partition(".")[0] in OURS:
            there = names_in(module)
            yield from (f"{module}.{alias.name}" for alias in node.names if there is None or alias.name not in there)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_what_a_file_imports_is_there(path):
    assert list(missing_imports((ROOT / path).read_text(encoding="utf-8"), path)) == []


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("from longlora_edu.rope import Rope, Ripe", ["longlora_edu.rope.Ripe"]),
        ("def f():\n    from longlora_edu.nowhere import x", ["longlora_edu.nowhere.x"]),
        ("from ..rope import Rope\nfrom . import loading, unloading", ["longlora_edu.hf.unloading"]),
        ("from research.bench import bench_step, bench_leap", ["research.bench.bench_leap"]),
        ("import longlora_edu\nfrom torch import anything", []),
    ],
)
def test_the_check_sees_a_name_that_is_not_there(source, missing):
    assert list(missing_imports(source, "longlora_edu/hf/some.py")) == missing
