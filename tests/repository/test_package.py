"""The package as strangers meet it: the wheel alone, the README's commands, and the main job's own promises."""

from __future__ import annotations

import json
import re
import sys
import tarfile
import zipfile

import pytest
from helpers import ROOT, RUN_NOTEBOOKS, clean_copy, elsewhere, environment, run

from longlora_edu.course.build.copies import BESIDE

TESTS = 'python -m pip install -c constraints.txt -e ".[test]" && pytest'
DEMO = "python -m pip install -c constraints.txt -e . && longlora-edu demo"


def test_the_readme_and_ci_hold_the_same_commands():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert TESTS in readme and DEMO in readme
    assert f'{TESTS} "$@"\n' in (ROOT / ".ci" / "tests").read_text(encoding="utf-8")
    assert "\npart tests\npart lint\npart slow\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_ten_lines_in_the_readme_run(capsys):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    exec(code, {})
    assert capsys.readouterr().out.splitlines()[-2:] == ["76 0", "True"]


def test_every_module_is_on_the_map_in_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    modules = {path.stem for path in (ROOT / "longlora_edu").glob("*.py")} - {"__init__"}
    modules |= {path.parent.name for path in (ROOT / "longlora_edu").glob("*/__init__.py")}
    assert modules - set(re.findall(r"`(\w+)/?`", readme)) == set()


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


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("built")
    python = environment(folder / "build", "build")
    run(python, "-m", "build", "--outdir", folder / "dist", clean_copy(folder / "source"))
    return folder / "dist"


@pytest.mark.slow
def test_the_wheel_carries_the_course_and_the_assets_once(built):
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        inside = {info.filename: info.file_size for info in archive.infolist()}
    course = "longlora_edu/assets/course"
    carried = [ROOT / name for name in BESIDE]
    for path in (*ROOT.glob("notebooks/*.ipynb"), *(ROOT / "notebooks/source").glob("*.py"), *carried):
        assert inside[f"{course}/{path.relative_to(ROOT).as_posix()}"] == path.stat().st_size
    kept = [path for path in (ROOT / "longlora_edu").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {path.relative_to(ROOT).as_posix() for path in kept} - set(inside) == set()
    assert "longlora_edu/py.typed" in inside
    assert not any(name.startswith(("tests", "notebooks", "docs")) for name in inside)
    assert wheel.stat().st_size < 17e6  # two small models, the page of one, and the course with its pictures
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"constraints.txt", "tests/repository/test_package.py", "notebooks/glossary.md", "binder/postBuild"} <= names


@pytest.mark.slow
def test_the_wheel_alone_in_an_empty_environment_does_the_main_job_and_has_the_course(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    python = environment(tmp_path / "env", "-c", ROOT / "constraints.txt", wheel)
    command, clean = python.parent / "longlora-edu", elsewhere(python, LONGLORA_EDU_PROFILE="ci")
    out = run(command, "demo", "--quick", "--out", "quick", cwd=tmp_path, env=clean)
    assert "report.html" in out
    report = json.loads((tmp_path / "quick" / "report.json").read_text(encoding="utf-8"))
    assert report["model"]["trained_context"] == 512
    assert "transformers" not in report["versions"]

    out = run(command, "course", "copy", "mine", cwd=tmp_path, env=clean)
    assert "longlora-edu lab" in out
    assert (tmp_path / "mine/notebooks/03_reference.ipynb").read_bytes() == (
        ROOT / "notebooks/03_reference.ipynb"
    ).read_bytes()
    run(python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", f"{wheel}[lab]", cwd=tmp_path)
    run(command, "course", "copy", "solved", "--edition", "solution", cwd=tmp_path, env=clean)
    # Lesson 09 stops in its first cell without transformers; all lessons run in test_elsewhere.py.
    for notebooks in ("mine", "solved"):
        run(
            python, "-c", RUN_NOTEBOOKS, tmp_path / notebooks / "notebooks", "00", "02a", "02c", cwd=tmp_path, env=clean
        )


@pytest.mark.slow
def test_the_demo_keeps_its_promises(tmp_path):
    run(sys.executable, "-m", "longlora_edu.cli", "demo", "--out", "demo", cwd=tmp_path)
    report = json.loads((tmp_path / "demo" / "report.json").read_text(encoding="utf-8"))
    own = report["own_window"]["bits_per_byte"]["512"]
    before, stretched, after = (report[name] for name in ("before", "stretched", "after"))
    assert before["bits_per_byte"]["2048"] > 2 * own
    assert own < after["bits_per_byte"]["2048"] <= 1.03 * own < stretched["bits_per_byte"]["2048"]
    near, next_to_it, far = (after["references"][name] for name in ("<=G", "G-2G", ">2G"))
    assert min(near["of"], next_to_it["of"], far["of"]) >= 200
    assert near["found"] >= 0.85 * near["of"]
    assert next_to_it["found"] >= 0.6 * next_to_it["of"]
    for layout in ("references", "references_aligned"):
        assert all(count["found"] <= 0.02 * count["of"] for count in stretched[layout].values())
    assert stretched["passkey"]["2048"] >= 0.95 and after["passkey"]["2048"] >= 0.6
    assert report["train"]["peak_rss_bytes"] <= 1e9
