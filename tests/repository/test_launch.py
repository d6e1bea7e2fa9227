"""Binder without Docker, the course without a network, and the forms that others check: workflow, citation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib

import pytest
import yaml
from helpers import ROOT, elsewhere, environment, run
from packaging.requirements import Requirement

import binder
from longlora_edu import __version__

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RENDER = """
import json
from importlib.resources import files
from repo2docker.buildpacks import PythonBuildPack
pack = PythonBuildPack("docker.io/library/buildpack-deps:24.04")
pack.platform = "linux/amd64"
lock = files("repo2docker") / "buildpacks" / "conda" / f"environment.py-{pack.python_version}-linux-64.lock"
print(json.dumps({
    "detected": pack.detect(), "python": pack.python_version, "folder": pack.binder_dir, "dockerfile": pack.render(),
    "first": pack.get_preassemble_scripts(), "then": pack.get_assemble_scripts(), "last": pack.get_post_build_scripts(),
    "image": lock.read_text(),
}))
"""


def binder_list():
    lines = (ROOT / "binder" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith(("#", "--"))]


# Binder.


def test_binder_installs_what_the_course_needs_and_nothing_local():
    listed = {Requirement(line).name: line for line in binder_list()}
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in listed.values() if line.removesuffix("+cpu") not in pins] == []
    assert listed["torch"].endswith("+cpu")
    brought = {Requirement(line).name for line in binder.IMAGE}
    asked = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["hf"], "anywidget"]
    assert {Requirement(text).name for text in asked} - set(listed) - brought == set()
    assert not any("/" in line or line.startswith((".", "-e")) for line in listed.values())


def test_binder_puts_the_settings_of_the_course_where_its_jupyterlab_looks(tmp_path):
    """postBuild is run with stand-ins for the commands, so that its own lines are what is tried."""
    script = (ROOT / "binder" / "postBuild").read_text(encoding="utf-8")
    assert script.splitlines()[2] == "set -euo pipefail"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/said\n')
    (tmp_path / "bin" / "python").chmod(0o755)
    settings = {
        "NB_PYTHON_PREFIX": str(tmp_path / "env"),
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }
    run("bash", ROOT / "binder" / "postBuild", cwd=ROOT, env=os.environ | settings)
    overrides = tmp_path / "env" / "share" / "jupyter" / "lab" / "settings" / "overrides.json"
    assert json.loads(overrides.read_text())["@jupyterlab/notebook-extension:tracker"] == {"windowingMode": "defer"}
    assert (tmp_path / "said").read_text().splitlines()[0] == "-m pip install --no-cache-dir --no-deps -e ."


@pytest.mark.slow
def test_binder_would_build_torch_in_a_layer_of_its_own_before_it_copies_the_repository(tmp_path):
    python = environment(tmp_path / "repo2docker", "jupyter-repo2docker")
    found = json.loads(run(python, "-c", RENDER, cwd=ROOT))
    assert (found["detected"], found["folder"], found["last"]) == (True, "binder", ["binder/postBuild"])
    assert found["python"] == (ROOT / "binder" / "runtime.txt").read_text().strip().removeprefix("python-") == "3.11"
    assert [command for _, command in found["first"]] == [
        '${KERNEL_PYTHON_PREFIX}/bin/pip install --no-cache-dir -r "binder/requirements.txt"'
    ]
    assert found["then"] == []
    steps = ["pip install --no-cache-dir -r", "COPY --chown=1000:1000 src/ ", "RUN ./binder/postBuild"]
    places = [found["dockerfile"].index(step) for step in steps]
    assert places == sorted(places)
    for pin in binder.IMAGE:  # what the list leaves out because it is there
        assert f"/{pin.replace('==', '-')}-" in found["image"], pin


# Without a network, and with what a Binder has of everything else.


@pytest.fixture(scope="module")
def binders_python(tmp_path_factory):
    """Binder's list, less its index line, and this package: not the environment that runs the tests."""
    return binder.make(tmp_path_factory.mktemp("binder") / "environment")


@pytest.fixture(scope="module")
def offline():
    """The words before a command that take its network away, all but the machine's own address."""
    options = ["-n"] if hasattr(os, "geteuid") and os.geteuid() == 0 else ["-rn"]
    words = ["unshare", *options, "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    try:
        subprocess.run([*words, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as refused:
        pytest.skip(f"needs unshare and ip, and to be allowed them: {refused}")
    look = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"
    done = subprocess.run([*words, sys.executable, "-c", look], capture_output=True, text=True)
    assert "Network is unreachable" in done.stderr
    return words


@pytest.mark.slow
def test_the_course_runs_on_binders_list_offline_on_one_thread_in_two_gigabytes(binders_python, offline, tmp_path):
    script = ROOT / "benchmarks" / "notebooks.py"
    options = ["--python", binders_python, "--memory", "2", "--profile", "ci", "--out", tmp_path / "found.json"]
    run(*offline, sys.executable, script, *options, cwd=tmp_path)
    found = json.loads((tmp_path / "found.json").read_text())
    assert len(found["notebooks"]) >= 11
    assert all(lesson["peak_rss_bytes"] < 1e9 for lesson in found["notebooks"].values())
    assert found["versions"]["torch"].removesuffix("+cpu") == "2.13.0"


@pytest.mark.slow
def test_the_limit_of_memory_is_one(binders_python, tmp_path):
    script = ROOT / "benchmarks" / "notebooks.py"
    options = ["--python", binders_python, "--memory", "0.25", "--profile", "ci", "--out", tmp_path / "found.json"]
    done = subprocess.run([sys.executable, script, *map(str, options), "01"], capture_output=True, text=True)
    assert done.returncode == 1
    assert not (tmp_path / "found.json").exists()


@pytest.mark.slow
def test_the_quick_demo_asks_for_no_network(binders_python, offline, tmp_path):
    out = run(
        *offline, binders_python, "-m", "longlora_edu.cli", "demo", "--quick", "--out", "quick",
        cwd=tmp_path, env=elsewhere(binders_python),
    )  # fmt: skip
    assert "report.html" in out


# What others check.


def test_the_workflow_of_the_pages_is_one_that_github_understands():
    path = ROOT / ".github" / "workflows" / "pages.yml"
    run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", path)
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    commands = [step["run"] for step in workflow["jobs"]["build"]["steps"] if "run" in step]
    assert "python docs/site/build.py" in commands and workflow[True]["push"] == {"tags": ["v*"]}
    assert workflow["jobs"]["publish"]["permissions"] == {"pages": "write", "id-token": "write"}


def test_the_workflow_is_one_that_github_understands():
    path = ROOT / ".github" / "workflows" / "ci.yml"
    run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", path)
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    called = {word for step in steps for word in step.get("run", "").split() if word.startswith(".ci/")}
    assert {name for name in called if not (ROOT / name).is_file()} == set()
    assert {".ci/lint", ".ci/tests", ".ci/base", ".ci/minimum", ".ci/slow"} <= called


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["version"], citation["license"]) == (__version__, PROJECT["license"])
    (paper,) = citation["references"]
    names = [f"{author['given-names']} {author['family-names']}" for author in paper["authors"]]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert " and ".join(names) in readme
    assert paper["title"] in readme


@pytest.mark.slow
def test_the_citation_file_is_valid(tmp_path):
    python = environment(tmp_path / "cff", "cffconvert==2.0.0")
    assert "valid" in run(python.parent / "cffconvert", "--validate", "-i", ROOT / "CITATION.cff")
