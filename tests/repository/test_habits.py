"""The habits that keep the code readable to tools: annotations, hooks, notebooks that travel."""

from __future__ import annotations

import ast
import json
import os
import runpy
import subprocess
import sys
import tomllib

import pytest
import yaml
from helpers import ROOT

FILES = [path for room in ("longlora_edu", "research") for path in sorted((ROOT / room).rglob("*.py"))]


def parameters_without_annotation(source):
    """Parameters of public functions and methods that say no type; `self` and `cls` need none."""

    def look(body, in_class):
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield from look(node.body, True)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if node.name.startswith("_") and not node.name.endswith("__"):
                    continue
                static = any(getattr(decorator, "id", "") == "staticmethod" for decorator in node.decorator_list)
                named, stars = node.args, (node.args.vararg, node.args.kwarg)
                every = [*named.posonlyargs, *named.args][in_class and not static :] + named.kwonlyargs
                for argument in (*every, *filter(None, stars)):
                    if argument.annotation is None:
                        yield f"{node.name}({argument.arg})"

    return list(look(ast.parse(source).body, False))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_public_parameter_says_its_type(path):
    assert parameters_without_annotation(path.read_text(encoding="utf-8")) == []


def test_the_check_of_annotations_sees_one_that_is_missing():
    source = (
        "def f(a, b: int, *c, d=1, **e): ...\n"
        "def _own(a): ...\n"
        "class C:\n    def __init__(self, a): ...\n    def g(self, b: int): ...\n    def _own(self, a): ...\n"
        "    @staticmethod\n    def s(a): ...\n    @classmethod\n    def m(cls, a): ...\n"
        "class _C:\n    def g(self, a): ...\n"
        "async def h(a): ...\n"
    )
    found = ["f(a)", "f(d)", "f(c)", "f(e)", "__init__(a)", "s(a)", "m(a)", "h(a)"]
    assert parameters_without_annotation(source) == found


def test_types_are_checked_in_every_room_that_a_program_builds_on():
    """A new room is checked unless it is named here: those left out are for people, at screens and in notebooks."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pyrefly"]
    left_out = ["cli", "course", "demo", "plots", "widgets"]
    assert settings["project-includes"] == ["longlora_edu"]
    assert settings["project-excludes"] == [f"longlora_edu/{room}" for room in left_out]
    assert (ROOT / "longlora_edu/py.typed").exists()


def test_hooks_need_no_network_and_are_run_by_lint():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert {repository["repo"] for repository in config["repos"]} == {"local"}
    hooks = {hook["id"]: hook for repository in config["repos"] for hook in repository["hooks"]}
    assert list(hooks) == ["ruff-check", "ruff-format", "pyrefly", "codespell", "notebooks"]
    assert {hook["language"] for hook in hooks.values()} == {"system"}
    assert "\npre-commit run --all-files" in (ROOT / ".ci/lint").read_text(encoding="utf-8")


def test_nothing_of_the_package_is_ignored_by_git_and_so_by_ruff():
    """`build/` without a slash in front once meant `longlora_edu/course/build` too, which no linter saw."""
    if not (ROOT / ".git").exists():
        pytest.skip("needs a checkout")
    command = ["git", "check-ignore", "--no-index", *map(str, FILES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == []


# Notebooks.

FAULTS = runpy.run_path(str(ROOT / ".ci/notebooks.py"))["faults"]
PICTURE = {"output_type": "display_data", "data": {"text/html": "<figure></figure>"}, "metadata": {}}
LIVE = {"output_type": "display_data", "data": {"application/vnd.jupyter.widget-view+json": {}}, "metadata": {}}


def notebook_file(folder, outputs, metadata):
    path = folder / "lesson.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "outputs": outputs}], "metadata": metadata}))
    return path


@pytest.mark.parametrize(
    ("outputs", "metadata", "found"),
    [
        ([PICTURE], {}, None),
        ([], {}, "must keep its outputs, got none"),
        ([PICTURE], {"widgets": {}}, "must hold no widget state"),
        ([PICTURE, LIVE], {}, "must hold no live widget among its outputs"),
        ([PICTURE | {"metadata": {"filler": "x" * 300_000}}], {}, "must be at most 300000 bytes, got 300"),
    ],
    ids=["good", "stripped", "state", "live", "large"],
)
def test_a_notebook_that_travels_badly_is_refused(outputs, metadata, found, tmp_path):
    faults = FAULTS(notebook_file(tmp_path, outputs, metadata))
    assert len(faults) == (found is not None)
    assert all(fault.startswith(found) for fault in faults)


def test_the_hook_names_the_notebook_and_fails(tmp_path):
    path = notebook_file(tmp_path, [], {})
    command = [sys.executable, ROOT / ".ci/notebooks.py", path, *sorted((ROOT / "notebooks").glob("*.ipynb"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert (done.returncode, done.stderr.strip()) == (
        1,
        f"{path} must keep its outputs, got none: longlora-edu course build",
    )


def paths_of_a_machine(record):
    """Words of every `command` in a record, at any depth, that are absolute paths."""
    if isinstance(record, list):
        return [found for entry in record for found in paths_of_a_machine(entry)]
    if not isinstance(record, dict):
        return []
    inside = [found for entry in record.values() for found in paths_of_a_machine(entry)]
    command = record.get("command")
    return inside + [word for word in str(command).split() if "=/" in word or word.startswith(("/", "~"))]


def test_a_recorded_command_runs_on_any_machine():
    assert paths_of_a_machine([{"row": {"command": "make page.html --adapter /scratch/a"}}]) == ["/scratch/a"]
    records = [*(ROOT / "benchmarks" / "results").glob("*.json"), *(ROOT / "longlora_edu" / "assets").rglob("*.json")]
    assert len(records) > 30
    assert {path.name: paths_of_a_machine(json.loads(path.read_text())) for path in records} == {
        path.name: [] for path in records
    }


def test_a_file_of_tests_stays_in_one_process(tmp_path):
    """pytest 9.2 drops the groups of pytest-xdist 3.8 without a word: what a file builds once was built twice."""
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text("utf-8"), "utf-8")
    for name in ("one", "two"):
        lines = ["import os, pytest, time", "from pathlib import Path", "@pytest.mark.parametrize('i', range(4))"]
        lines += ["def test_it(i):", "    time.sleep(0.05)"]
        lines += [f"    with Path({str(tmp_path / name)!r}).open('a') as seen:"]
        lines += ["        seen.write(os.environ['PYTEST_XDIST_WORKER'] + ' ')"]
        (tmp_path / f"test_{name}.py").write_text("\n".join(lines), "utf-8")
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup", "-q", "-p", "no:cacheprovider", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    for name in ("one", "two"):
        assert len(set((tmp_path / name).read_text("utf-8").split())) == 1


def test_the_mutation_run_can_collect_with_hypothesis_as_its_only_plugin():
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider"]
    command += ["-p", "_hypothesis_pytestplugin", "--hypothesis-profile=mutation", "-o", "addopts=--strict-markers"]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run([*command, "tests/test_rope.py"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
