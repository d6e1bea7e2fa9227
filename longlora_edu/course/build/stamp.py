"""Say in every file where the repository lives: badges, the first cell of each notebook, the citation."""

from __future__ import annotations

from pathlib import Path

from ...runs.marked import MARKDOWN, fill_marked
from ...runs.records import replace_file
from .assemble import as_text, edition
from .repository import Repository
from .source import lessons


def stamp(root: Path, repository: Repository | None) -> list[Path]:
    """Write the addresses of `repository` into the checkout `root`, or take them out with None.

    Nothing is run: of a notebook the head and the first cell change, outputs stay. Returns the files that changed;
    a second time there are none.

    Raises:
        ValueError: for a file without the marks between which its addresses stand.
    """
    import nbformat

    texts = {root / name: _marked(root / name, blocks) for name, blocks in blocks_of(root, repository).items()}
    changed = [path for path, text in texts.items() if _write(path, text)]  # pyproject.toml first: lessons read it
    everything = lessons(root / "notebooks" / "source")
    for lesson in everything:
        path = root / "notebooks" / f"{lesson.name}.ipynb"
        notebook = nbformat.read(path, 4)
        for cell, now in zip(notebook.cells[:2], edition(lesson, "student", neighbours=everything).cells, strict=False):
            cell.source = now.source
        changed += [path] if _write(path, as_text(notebook)) else []
    return changed


def blocks_of(root: Path, repository: Repository | None) -> dict[str, dict[str, str]]:
    """Return the text that belongs between the marks of files, by the file's name and the mark's; writes nothing."""
    home = repository and f"https://github.com/{repository.name}"
    urls = f'[project.urls]\nRepository = "{repository.home}"' if repository else ""
    cited = f"repository-code: {home}" if repository else ""
    return {
        "pyproject.toml": {"links": urls},
        "CITATION.cff": {"links": cited},
        "README.md": {"badges": _buttons(repository, _about_groups(root))},
        "docs/anywhere.md": {"launch": _launch(repository)},
    }


def _about_groups(root: Path) -> tuple[str, str]:
    """Return name and number of the lesson that the README opens: the first about groups, 02."""
    first = lessons(root / "notebooks" / "source", ("02",))[0]
    return first.name, first.number


def _buttons(repository: Repository | None, lesson: tuple[str, str]) -> str:
    """List the buttons of the README; where no address is stamped, they open files of the repository."""
    name, number = lesson
    if repository is None:
        return (
            f"[▶ **Play** (no install)](docs/explorer.html) · [**Open lesson {number}**](notebooks/{name}.ipynb) · "
            "[The small model, alive](docs/model.html) · [Slides](docs/slides)"
        )
    workflow = f"https://github.com/{repository.name}/actions/workflows/ci.yml"
    return (
        f"[▶ **Play** (no install)]({repository.site}docs/explorer.html) · "
        f"[**Open lesson {number} in your browser**]({repository.tab(name)}) · "
        f"[Slides]({repository.site}slides/index.html)\n\n"
        f"{repository.badges(name)} [![Tests]({workflow}/badge.svg)]({workflow})"
    )


def _launch(repository: Repository | None) -> str:
    if repository is None:
        return (
            "This copy does not know its address on GitHub. On Colab or Kaggle upload a notebook and the wheel of the "
            "package, and run\nthe first cell."
        )
    return (
        f"{repository.badges('00_start_here')}\n\n"
        "Every notebook has these badges at its top, for itself. On Binder nothing is left to install. On Colab the "
        "first cell\ninstalls this package alone, replaces nothing and asks for no restart. Without the repository, on "
        "your own machine:\n\n"
        f'```sh\npython -m pip install "{repository.requirement.replace("edu @", "edu[lab,hf] @")}"\n'
        "longlora-edu course copy .\nlonglora-edu lab\n```"
    )


def _marked(path: Path, blocks: dict[str, str]) -> str:
    """Return the file's text with `blocks`, by name, between their marks; writes nothing."""
    comment = MARKDOWN if path.suffix == ".md" else "# {}"
    return fill_marked(path.read_text(encoding="utf-8"), blocks, comment, where=path.name)


def _write(path: Path, text: str) -> bool:
    if path.read_text(encoding="utf-8") == text:
        return False
    replace_file(path, text.encode())
    return True
