"""Where the repository lives: said once, stamped everywhere, taken out again."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from longlora_edu import __version__
from longlora_edu.cli import app
from longlora_edu.course.build.assemble import edition
from longlora_edu.course.build.repository import Repository, read_repository
from longlora_edu.course.build.source import lessons
from longlora_edu.course.build.stamp import blocks_of, stamp

ROOT = Path(__file__).parents[2]
HERE = Repository("someone/long-lora", "v1.2.0")
STAMPED = ["pyproject.toml", "README.md", "CITATION.cff", "docs/anywhere.md"]


@pytest.fixture
def checkout(tmp_path):
    """What of this repository is stamped, and what stamping reads, as it would be without a home."""
    for name in (*STAMPED, "docs/claims.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    stamp(tmp_path, None)
    return tmp_path


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def notebooks(folder):
    """Each notebook that runs; a page that only says where a lesson went is none."""
    every = {path.stem: nbformat.read(path, 4) for path in sorted((folder / "notebooks").glob("*.ipynb"))}
    return {name: one for name, one in every.items() if any(cell.cell_type == "code" for cell in one.cells)}


def test_stamping_touches_heads_and_first_cells_only_and_leaves_without_a_trace(checkout):
    before, outputs = contents(checkout), notebooks(checkout)
    changed = stamp(checkout, HERE)
    assert {path.relative_to(checkout).as_posix() for path in changed} == {
        *STAMPED,
        *(f"notebooks/{name}.ipynb" for name in outputs),
    }
    for name, notebook in notebooks(checkout).items():
        for index, (old, new) in enumerate(zip(outputs[name].cells, notebook.cells, strict=True)):
            assert (old.source == new.source) is (index > 1)
            assert old | {"source": ""} == new | {"source": ""}
        assert notebook.metadata == outputs[name].metadata
    once = contents(checkout)
    assert stamp(checkout, HERE) == []
    assert contents(checkout) == once
    stamp(checkout, Repository("another/one", "v2"))
    assert b"someone/long-lora" not in b"".join(contents(checkout).values())
    stamp(checkout, None)
    assert contents(checkout) == before


def test_badges_name_files_that_are_there_and_the_first_cell_this_package_alone(checkout):
    stamp(checkout, HERE)
    for name, notebook in notebooks(checkout).items():
        top, first = notebook.cells[0].source, notebook.cells[1].source
        assert f"(https://colab.research.google.com/github/someone/long-lora/blob/v1.2.0/notebooks/{name}.ipynb)" in top
        assert f"(https://mybinder.org/v2/gh/someone/long-lora/v1.2.0?urlpath=lab/tree/notebooks/{name}.ipynb)" in top
        lines = [line.strip() for line in first.splitlines() if "pip" in line]
        assert lines == ['%pip install -q --no-deps "$package"', '%pip install -q "$package"']
        assert '"longlora-edu @ git+https://github.com/someone/long-lora@v1.2.0"' in first
        assert first.index("google.colab") < first.index("%pip")
    texts = b"\n".join(contents(checkout).values()).decode(errors="replace")
    paths = re.findall(r"(?:blob/v1\.2\.0|lab/tree)/([\w./]+)", texts)
    assert len(paths) >= 24
    assert all((checkout / path).is_file() for path in paths)


def test_every_place_says_what_pyproject_says():
    """Committed files and their source agree, before and after someone says where the repository lives."""
    stated = read_repository(ROOT)
    for name, blocks in blocks_of(ROOT, stated).items():
        text = (ROOT / name).read_text(encoding="utf-8")
        for mark, block in blocks.items():
            (found,) = re.findall(rf"^(?:<!-- {mark} -->|# {mark})\n(.*?)^(?:<!-- /|# /){mark}", text, re.M | re.S)
            assert found.strip() == block, f"{name}: longlora-edu course links"
    everything = lessons(ROOT / "notebooks" / "source")
    for lesson in everything:
        fresh = edition(lesson, "student", neighbours=everything).cells[:2]
        kept = nbformat.read(ROOT / "notebooks" / f"{lesson.name}.ipynb", 4).cells[:2]
        assert [cell.source for cell in kept] == [cell.source for cell in fresh], "longlora-edu course links"
        assert ("colab.research" in kept[0].source) is (stated is not None)


def test_other_editions_have_no_badge_since_no_address_has_them(checkout):
    stamp(checkout, HERE)
    lesson = lessons(checkout / "notebooks" / "source")[2]
    for kind in ("solution", "instructor"):
        top, first = edition(lesson, kind).cells[:2]
        assert "badge" not in top.source
        assert HERE.requirement in first.source


def test_the_command_stamps_moves_the_tag_and_takes_it_out(checkout):
    def links(*options):
        return CliRunner().invoke(app, ["course", "links", "--root", str(checkout), *options])

    none = links("--ref", "v9")
    assert none.exit_code == 1
    assert "repository must be given where pyproject.toml names none, got only the ref 'v9'" in none.output
    assert "tree/v" + __version__ in links("--repository", "a/b").output
    assert read_repository(checkout) == Repository("a/b", f"v{__version__}")
    everything = len(notebooks(checkout)) + len(STAMPED)
    assert f"https://github.com/a/b/tree/v9: {everything - 1} files changed" in links("--ref", "v9").output
    assert "https://github.com/a/b/tree/v9: 0 files changed" in links().output
    refused = links("--unset", "--repository", "a/b")
    assert "repository and ref must not be given with --unset, got 'a/b'" in refused.output
    assert f"no repository: {everything} files changed" in links("--unset").output
    assert read_repository(checkout) is None


@pytest.mark.parametrize("name", ["longlora", "a/b/c", "https://github.com/a/b", "a b/c", ""])
def test_a_repository_is_owner_and_name(name):
    with pytest.raises(ValueError, match="repository must be OWNER/NAME, got"):
        Repository(name, "v1")


@pytest.mark.parametrize("ref", ["main", "master", "HEAD", "a/b", "", "v 1"])
def test_a_badge_does_not_follow_a_branch(ref):
    with pytest.raises(ValueError, match="ref must be a tag without slashes, got"):
        Repository("a/b", ref)


def test_an_address_that_is_no_tag_and_marks_that_are_gone_are_named(checkout):
    project = checkout / "pyproject.toml"
    text = project.read_text(encoding="utf-8")
    assert read_repository(checkout / "docs") is None
    project.write_text(text.replace("# links\n", '# links\n[project.urls]\nRepository = "https://github.com/a/b"\n', 1))
    with pytest.raises(
        ValueError, match=r"Repository must be https://github.com/OWNER/NAME/tree/TAG in pyproject.toml"
    ):
        read_repository(checkout)
    project.write_text(text.replace("# /links\n", ""))
    with pytest.raises(ValueError, match="pyproject.toml must hold the marks of 'links' once, got 0"):
        stamp(checkout, HERE)
