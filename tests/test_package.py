"""The package as strangers meet it: the wheel alone, the README's commands, and the main job's own promises."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = 'python -m pip install -c constraints.txt -e ".[test]" && pytest'
DEMO = "python -m pip install -c constraints.txt -e . && longlora-edu demo"


def run(*command, cwd, **options):
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_readme_and_ci_hold_the_same_commands():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert TESTS in readme and DEMO in readme
    assert TESTS in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_ten_lines_in_the_readme_run(capsys):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    exec(code, {})
    assert capsys.readouterr().out.splitlines()[-2:] == ["76 0", "True"]


def test_every_module_is_on_the_map_in_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    modules = {path.stem for path in (ROOT / "longlora_edu").glob("*.py")} - {"__init__"}
    modules |= {path.parent.name for path in (ROOT / "longlora_edu").glob("*/__init__.py")}
    assert {name for name in modules if f"`{name}`" not in readme} == set()


def test_constraints_pin_every_requirement_at_or_above_its_floor():
    import tomllib

    from packaging.requirements import Requirement
    from packaging.version import Version

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    requirements = [Requirement(text) for text in wanted]
    unmet = [
        str(requirement)
        for requirement in requirements
        if requirement.name != "longlora-edu" and not requirement.specifier.contains(Version(pins[requirement.name]))
    ]
    assert unmet == []


@pytest.mark.slow
def test_the_wheel_alone_in_an_empty_environment_does_the_main_job(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(
        ROOT, source, ignore=shutil.ignore_patterns(".git", "build", "*.egg-info", "longlora-demo", "__pycache__")
    )
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", tmp_path / "wheel", ".", cwd=source)
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    venv.create(tmp_path / "env", with_pip=True)
    binaries = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    run(binaries / "python", "-m", "pip", "install", "-c", ROOT / "constraints.txt", wheel, cwd=tmp_path)
    # Neither this checkout nor the test environment may lend a hand.
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    out = run(binaries / "longlora-edu", "demo", "--quick", "--out", "quick", cwd=tmp_path, env=clean)
    assert "report.html" in out
    report = json.loads((tmp_path / "quick" / "report.json").read_text(encoding="utf-8"))
    assert report["model"]["trained_context"] == 256
    assert "transformers" not in report["versions"]


@pytest.mark.slow
def test_the_demo_keeps_its_promises(tmp_path):
    run(sys.executable, "-m", "longlora_edu.cli", "demo", "--out", "demo", cwd=tmp_path)
    report = json.loads((tmp_path / "demo" / "report.json").read_text(encoding="utf-8"))
    before, after = report["before"], report["after"]
    assert before["passkey_overall"]["2048"]["trials"] == after["passkey_overall"]["2048"]["trials"] == 200
    assert before["passkey"]["2048"] <= 0.05
    assert after["passkey"]["2048"] >= 0.95
    assert after["bits_per_byte"]["2048"] <= 1.05 * before["bits_per_byte"]["256"]
    assert report["train"]["peak_rss_bytes"] <= 1e9
