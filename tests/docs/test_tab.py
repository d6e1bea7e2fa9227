"""What the browser tab carries: lessons that run there, pages for those that do not, a wheel without weights."""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from helpers import need

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs" / "site"))

import lite  # noqa: E402


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of the tab's files, and the bytes of each."""
    folder = tmp_path_factory.mktemp("tab") / "contents"
    return folder, lite.contents(folder)


def test_every_lesson_is_there_and_small(written):
    folder, sizes = written
    stored = {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert {path.name for path in (folder / "notebooks").glob("*.ipynb")} == stored
    assert set(sizes) == stored | set(lite.BESIDE)
    assert sum(sizes.values()) < 2_250_000


def test_a_lesson_runs_in_the_tab_or_says_where_it_does(written):
    whole = 0
    for path in (written[0] / "notebooks").glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
        assert notebook.metadata.kernelspec.name == "python"
        assert not any("import torch" in source for source in code), path.name
        if not code:
            if not any(cell.cell_type == "code" for cell in nbformat.read(ROOT / "notebooks" / path.name, 4).cells):
                continue  # a page that says where a lesson went
            (cell,) = notebook.cells
            assert "It runs on a laptop, on Colab and on Binder" in cell.source and cell.source.startswith("# ")
            continue
        whole += 1
        assert code[0] == lite.SET_UP
        assert notebook.cells[0].source.endswith(lite.NOTE)
    assert whole >= 4


def test_the_wheel_of_the_tab_has_all_modules_and_no_weights(tmp_path):
    need("docs", importlib.util.find_spec("hatchling"), "needs hatchling: pip install -e '.[docs]'")
    wheel = lite.slim_wheel(tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        names = set(archive.namelist())
        (record,) = (name for name in names if name.endswith("/RECORD"))
        rows = [row.partition(",")[0] for row in archive.read(record).decode().splitlines()]
        (about,) = (name for name in names if name.endswith("/METADATA"))
        assert "torch>=2.11; sys_platform != 'emscripten'" in archive.read(about).decode()
    assert set(rows) == names and len(rows) == len(names)
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "longlora_edu").rglob("*.py")}
    assert modules - names == set()
    assert not any(name.endswith((".safetensors", ".ipynb")) for name in names)
    assert wheel.stat().st_size < 1_000_000


def test_own_files_above_the_limit_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(lite, "contents", lambda folder: {"a.ipynb": lite.LIMIT})
    monkeypatch.setattr(lite, "slim_wheel", lambda folder: Path(__file__))
    with pytest.raises(ValueError, match="own files of the tab must have at most 3,000,000 bytes, got"):
        lite.lite(tmp_path / "lite")
