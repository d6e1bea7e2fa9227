"""Everything the site is made of, gathered into one folder that is laid out as the repository is.

Relative links between notebooks and documents therefore hold as they are; only those that cannot are rewritten:
pictures from the network go, the README becomes the front page, a link to source leads to its page in the reference,
and the explorer stays a page of its own.
"""

from __future__ import annotations

import re
import shutil
from importlib.metadata import distribution
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[2]
SITE = Path(__file__).resolve().parent
PACKAGE = ROOT / "longlora_edu"
EXPLORER = ROOT / "docs" / "explorer.html"
# What the sidebar says, and the pages under it as paths in the repository; a pattern may match nothing yet.
CHAPTERS = {
    "The course": ["notebooks/[0-9][0-9]_*.ipynb", "notebooks/glossary.md", "explorer.md"],
    "A real model": ["docs/real_models.md", "docs/compared.md"],
    "What is true": ["docs/claims.md", "docs/evidence.md", "benchmarks/README.md"],
    "For teachers": ["INSTRUCTOR.md", "slides.md"],
    "The library": ["api/index.md"],
    "The project": ["CONTRIBUTING.md", "CHANGELOG.md"],
}
OWN = {"explorer.md", "slides.md"}  # pages that only the site has
# The parts of MathJax that typeset TeX as SVG, without its speech engine, which would look for more on the network.
MATHJAX = ("startup.js", "core.js", "input/tex.js", "output/svg.js", "output/svg/fonts/tex.js", "a11y/assistive-mml.js")
LINK = re.compile(r"(?P<image>!?)\[(?P<text>(?:!\[[^\]]*\]\([^)]*\)|[^\[\]])*)\]\((?P<target>[^)\s]+)\)")
REMOTE = ("http://", "https://")
INTO_EXPLORER = re.compile(r"docs/explorer\.html#[\w=&;-]+")  # as widgets leave it behind in a saved notebook
MODULE = re.compile(r"^\| `(\w+)` \| (.+?) \|$", re.MULTILINE)


def pages() -> dict[str, list[str]]:
    """The pages of each chapter that are there, as paths in the repository."""
    chapters = {}
    for caption, patterns in CHAPTERS.items():
        found = [sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern)) for pattern in patterns]
        own = [[pattern] if pattern in OWN or pattern.startswith("api/") else [] for pattern in patterns]
        chapters[caption] = [page for both in zip(found, own, strict=True) for part in both for page in part]
    return {caption: there for caption, there in chapters.items() if there}


def modules() -> dict[str, str]:
    """Each public module in reading order, with what it answers, as the README's table has them."""
    return dict(MODULE.findall((ROOT / "README.md").read_text(encoding="utf-8")))


def collect(out: Path) -> None:
    """Write pages, settings and scripts into the folder `out`, ready for Sphinx.

    Raises:
        ValueError: for a link that leads to no file.
    """
    shutil.copytree(SITE / "static", out / "_static")
    shutil.copy(SITE / "conf.py", out)
    for name in OWN:
        shutil.copy(SITE / name, out)
    _copy(EXPLORER, out / "_extra")
    mathjax = Path(str(distribution("django-static-mathjax").locate_file("mathjax/static/mathjax/es5")))
    for name in MATHJAX:
        (target := out / "_static" / "mathjax" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(mathjax / name, target)
    chapters = pages()
    for page in (page for there in chapters.values() for page in there if (ROOT / page).exists()):
        _write(out / page, _notebook(page, out) if page.endswith(".ipynb") else _text(page, out))
    contents = (_contents(caption, there) for caption, there in chapters.items())
    _write(out / "index.md", "\n".join([_text("README.md", out), *contents]))
    _write_api(out / "api")


def _text(page: str, out: Path) -> str:
    return relink((ROOT / page).read_text(encoding="utf-8"), ROOT / page, out)


def _notebook(page: str, out: Path) -> str:
    notebook = nbformat.read(ROOT / page, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = relink(cell.source, ROOT / page, out)
            continue
        if cell.metadata.get("cellView") == "form":  # the set-up, and quizzes, whose answers stand in the code
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
        for data in (output.get("data", {}) for output in cell.get("outputs", [])):
            if "text/html" in data:
                data["text/html"] = INTO_EXPLORER.sub(r'<a href="../\g<0>">\g<0></a>', data["text/html"])
    return nbformat.writes(notebook)


def relink(text: str, page: Path, out: Path) -> str:
    """Markdown of a page of the repository, with the links that hold in the collected folder `out`.

    Raises:
        ValueError: for a relative link that leads to no file.
    """

    def one(link: re.Match) -> str:
        whole, said, target = link[0], link["text"], link["target"]
        inner = LINK.fullmatch(said)
        if inner and inner["image"] and inner["target"].startswith(REMOTE):  # a badge: what it says remains
            whole, said = f"[{inner['text']}]({target})", inner["text"]
        if target.startswith(REMOTE):
            return "" if link["image"] else whole
        path, _, anchor = target.partition("#")
        if not path:
            return whole
        if not (file := (page.parent / path).resolve()).exists():
            raise ValueError(f"a link must lead to a file, got {target!r} in {page.name}")
        if file == EXPLORER:  # its settings stand behind the #, where Sphinx would look for a heading
            return f'<a href="{target}">{said}</a>'
        if file == ROOT / "README.md":
            return f"[{said}](/index.md{'#' * bool(anchor)}{anchor})"
        if PACKAGE in file.parents and (file.is_dir() or file.suffix == ".py"):
            return f"[{said}](/api/{file.relative_to(PACKAGE).parts[0].removesuffix('.py')}.md)"
        if file.suffix not in (".md", ".ipynb"):
            _copy(file, out)
        return whole

    return LINK.sub(one, text)


def _copy(file: Path, out: Path) -> None:
    target = out / file.relative_to(ROOT)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, target)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _contents(caption: str, there: list[str]) -> str:
    entries = "\n".join(page.rsplit(".", 1)[0] for page in there)
    return f"```{{toctree}}\n:caption: {caption}\n:hidden:\n\n{entries}\n```\n"


def _write_api(folder: Path) -> None:
    rows = "\n".join(f"| [{name}]({name}.md) | {answers} |" for name, answers in modules().items())
    names = "\n".join(modules())
    intro = (
        "Each module imports only from those above it: this is the order to read them in. Every page has the source."
    )
    table = f"| module | what it answers |\n|---|---|\n{rows}\n"
    _write(folder / "index.md", f"# The library\n\n{intro}\n\n{table}\n```{{toctree}}\n:hidden:\n\n{names}\n```\n")
    for name in modules():
        body = _commands() if name == "cli" else "".join(map(_automodule, _documented(name)))
        _write(folder / f"{name}.md", f"# {name}\n\n{body}")


def _documented(name: str) -> list[str]:
    """A module, and the folders in it that name what is public in them."""
    folders = sorted((PACKAGE / name).glob("*/__init__.py"))
    public = [path.parent.name for path in folders if "__all__" in path.read_text(encoding="utf-8")]
    return [f"longlora_edu.{name}", *(f"longlora_edu.{name}.{part}" for part in public)]


def _automodule(name: str) -> str:
    heading = f"## {name.rsplit('.', 1)[1]}\n\n" if name.count(".") > 1 else ""
    return f"{heading}```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n```\n\n"


def _commands() -> str:
    """What `--help` says of each command."""
    import typer
    from typer.testing import CliRunner

    from longlora_edu.cli import app

    def helps(command, path):
        for name, inner in sorted(getattr(command, "commands", {}).items()):
            yield from helps(inner, [*path, name])
        if path and not hasattr(command, "commands"):
            plain = {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
            done = CliRunner().invoke(app, [*path, "--help"], env=plain, prog_name="longlora-edu")
            yield f"## longlora-edu {' '.join(path)}\n\n```text\n{done.output.strip()}\n```\n\n"

    return "".join(helps(typer.main.get_command(app), []))
