"""Everything the site is made of, gathered into one folder that is laid out as the repository is.

Relative links between notebooks and documents therefore hold as they are; only those that cannot are rewritten:
pictures from the network go, a link to source leads to its page in the reference, a lesson gets buttons that run it,
and the explorer and the living model stay pages of their own.
"""

from __future__ import annotations

import ast
import html
import re
import shutil
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

import nbformat
from api import reference

from longlora_edu.course.build.minutes import minutes
from longlora_edu.course.build.repository import read_repository
from longlora_edu.course.build.source import Lesson, lessons

ROOT = Path(__file__).resolve().parents[2]
SITE = Path(__file__).resolve().parent
PACKAGE = ROOT / "longlora_edu"
PAGES = tuple(ROOT / "docs" / name for name in ("explorer.html", "model.html"))  # each holds all it needs
# What the sidebar says, and the pages under it as paths in the repository; a pattern may match nothing yet.
CHAPTERS = {
    "The course": ["notebooks/[0-9][0-9]*_*.ipynb", "notebooks/glossary.md", "explorer.md", "model.md"],
    "The demo": ["docs/demo.md", "docs/anywhere.md"],
    "A real model": ["docs/real_models.md", "docs/what_to_use.md", "docs/compared.md"],
    "What is true": ["docs/claims.md", "docs/proof.md", "docs/evidence.md", "docs/law*.md", "docs/note.md"],
    "For teachers": ["INSTRUCTOR.md", "docs/hard_questions.md", "slides.md"],
    "The library": ["api/index.md"],
    "For maintainers": ["benchmarks/README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"],
}
OWN = {"explorer.md", "model.md", "slides.md"}  # pages that only the site has
CARD_SAYS = "Which tokens look at which: on half of the heads in groups, on the other half in shifted groups."
# The parts of MathJax that typeset TeX as SVG, without its speech engine, which would look for more on the network.
MATHJAX = ("startup.js", "core.js", "input/tex.js", "output/svg.js", "output/svg/fonts/tex.js", "a11y/assistive-mml.js")
LINK = re.compile(
    r"(?P<image>!?)\[(?P<text>(?:!\[[^\]]*\]\([^)]*\)|[^\[\]])*)\]"  # [words], or [![a picture](of a badge)]
    r"\((?P<target>[^)\s]+)(?P<title>\s+\"[^\"]*\")?\)"
)
FENCED = re.compile(r"(^ *```.*?^ *```)", re.MULTILINE | re.DOTALL)
REMOTE = ("http://", "https://")
# As widgets leave them behind in a saved notebook.
FOLD = re.compile(r"<details><summary>[^<]*</summary>")
INTO_PAGES = re.compile(r"docs/(?:explorer\.html#[\w=&;%.-]+|model\.html)")


def pages() -> dict[str, list[str]]:
    """The pages of each chapter that are there, as paths in the repository."""
    chapters = {}
    for caption, patterns in CHAPTERS.items():
        found = [sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern)) for pattern in patterns]
        own = [[pattern] if pattern in OWN or pattern.startswith("api/") else [] for pattern in patterns]
        chapters[caption] = [page for both in zip(found, own, strict=True) for part in both for page in part]
    return {caption: there for caption, there in chapters.items() if there}


def collect(out: Path) -> None:
    """Write pages, settings and scripts into the folder `out`, ready for Sphinx.

    Raises:
        ValueError: for a link that leads to no file.
    """
    shutil.copytree(SITE / "static", out / "_static")
    shutil.copy(SITE / "conf.py", out)
    for name in OWN:
        shutil.copy(SITE / name, out)
    for page in PAGES:  # the lessons that they lead on to are pages here too
        text = page.read_text(encoding="utf-8")
        _write(out / "_extra" / "docs" / page.name, text.replace('data-lessons="ipynb"', 'data-lessons="html"', 1))
    mathjax = Path(str(distribution("django-static-mathjax").locate_file("mathjax/static/mathjax/es5")))
    for name in MATHJAX:
        (target := out / "_static" / "mathjax" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(mathjax / name, target)
    chapters = pages()
    for name in ("logo.svg", "shift.gif", "shift.png", "card.png"):
        (out / "_static").mkdir(exist_ok=True)
        shutil.copy(ROOT / "docs" / name, out / "_static" / name)
        _copy_extra(ROOT / "docs" / name, out)
    for page in (page for there in chapters.values() for page in there if (ROOT / page).exists()):
        _write(out / page, _notebook(page, out) if page.endswith(".ipynb") else _text(page, out))
    titles = {f"notebooks/{each.name}": said_of(each) for each in lessons(ROOT / "notebooks" / "source")}
    contents = (_contents(caption, there, titles) for caption, there in chapters.items())
    _write(out / "index.md", "\n".join([_landing(out), *contents]))
    for name, text in reference(ROOT).items():
        _write(out / "api" / f"{name}.md", text)


def _text(page: str, out: Path) -> str:
    return relink((ROOT / page).read_text(encoding="utf-8"), ROOT / page, out)


def _landing(out: Path) -> str:
    """The first page: its own text, with the README's lines that are made of records and lessons."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    text = (SITE / "index.md").read_text(encoding="utf-8")
    for name in ("line", "ladder", "course"):
        block = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", readme, re.DOTALL)[1]
        text = text.replace(f"{{{{{name}}}}}", relink(block, ROOT / "README.md", out))
    first = min(path.stem for path in (ROOT / "notebooks" / "source").glob("02a_*.py"))
    buttons = [
        ("docs/explorer.html", "Play, no install"),
        (tab(first, "lite"), f"Open lesson {first.partition('_')[0]} in this browser"),
        ("docs/model.html", "The small model, alive"),
        ("slides/index.html", "Slides"),
    ]
    repository = read_repository(ROOT)  # only whole addresses are followed there; without one it is a path
    text = text.replace("{{card}}", f"{repository.site if repository else ''}docs/card.png")
    text = text.replace("{{card_says}}", CARD_SAYS)
    return text.replace("{{buttons}}", " ".join(f'<a href="{link}">{said}</a>' for link, said in buttons))


def said_of(lesson: Lesson) -> str:
    """Return a lesson's line in the sidebar: the minutes of its core, and as dots how hard its hardest exercise is."""
    hardest = max((cell.metadata["difficulty"] for cell in lesson.cells if "exercise" in cell.metadata), default=0)
    return " · ".join(
        [f"{lesson.number} {lesson.title}", f"{minutes(lesson)[0]} min", *["●" * hardest] * (hardest > 0)]
    )


def tab(lesson: str, folder: str) -> str:
    """Return the link that opens a lesson in the browser tab."""
    return f"{folder}/lab/index.html?path=notebooks/{lesson}.ipynb"


def run_this(lesson: str) -> str:
    """Return the buttons of a lesson's page: the tab, Colab and Binder where an address is stamped, and the file."""
    links = [(tab(lesson, "../lite"), "Run this in your browser")]
    if repository := read_repository(ROOT):
        targets = re.findall(r"\]\((https[^)]*ipynb)\)", repository.badges(lesson))
        links += zip(targets, ("Colab", "Binder"), strict=True)
    shown = [f'<a href="{html.escape(link)}">{said}</a>' for link, said in links]
    return f'<p class="buttons">{" ".join(shown)} <a href="{lesson}.ipynb" download>Download</a></p>'


def _notebook(page: str, out: Path) -> str:
    notebook = nbformat.read(ROOT / page, as_version=4)
    _copy_extra(ROOT / page, out)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = relink(cell.source, ROOT / page, out)
            continue
        if cell.metadata.get("cellView") == "form" or only_imports(cell.source):  # a quiz has its answers in the code
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
        for data in (output.get("data", {}) for output in cell.get("outputs", [])):
            if "text/html" in data:
                data["text/html"] = live("".join(data["text/html"]))
    if Path(page).stem in moved():
        notebook.metadata["orphan"] = True  # in no sidebar: only old links lead there
    else:
        notebook.cells.insert(1, nbformat.v4.new_markdown_cell(run_this(Path(page).stem), id="run-this"))
    return nbformat.writes(notebook)


@cache
def moved() -> frozenset[str]:
    """Return the names of lessons that only say where to go."""
    return frozenset(each.name for each in lessons(ROOT / "notebooks" / "source", moved=True) if each.moved)


def only_imports(source: str) -> bool:
    """Whether a cell does nothing but import."""
    try:
        nodes = ast.parse(source).body
    except SyntaxError:  # a magic
        return False
    return bool(nodes) and all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in nodes)


def live(output: str) -> str:
    """A widget's stored output with its names of pages as links; an explorer is put there itself, with its settings.

    What is folded until a prediction is committed stays folded, the explorer inside.
    """
    found = INTO_PAGES.search(html.unescape(output))
    linked = INTO_PAGES.sub(r'<a href="../\g<0>">\g<0></a>', output)
    if not found or "explorer" not in found[0]:
        return linked
    title = "Explorer of groups and shifts"
    frame = f'<iframe class="explorer" src="../{html.escape(found[0])}" title="{title}" loading="lazy"></iframe>'
    fold = FOLD.match(linked)
    at = fold.end() if fold else 0
    return f"{linked[:at]}{frame}<details><summary>As a picture</summary>{linked[at:]}</details>"


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
        if file in PAGES:  # whose settings stand behind the #, where Sphinx would look for headings
            return f'<a href="{target}">{said}</a>'
        if file == ROOT / "README.md":
            return f"[{said}](/index.md{'#' * bool(anchor)}{anchor}{link['title'] or ''})"
        if PACKAGE in file.parents and (file.is_dir() or file.suffix == ".py"):
            return f"[{said}](/api/{file.relative_to(PACKAGE).parts[0].removesuffix('.py')}.md{link['title'] or ''})"
        if file.is_dir():  # which a page from the disk has no view of
            return said
        if file.suffix not in (".md", ".ipynb"):
            _copy(file, out)
        return whole

    parts = FENCED.split(text)  # text and code by turns
    return "".join(part if at % 2 else LINK.sub(one, part) for at, part in enumerate(parts))


def _copy(file: Path, out: Path) -> None:
    target = out / file.relative_to(ROOT)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, target)


def _copy_extra(file: Path, out: Path) -> None:
    """Beside the page, as it is: what a button downloads, and pictures that raw HTML names."""
    target = out / "_extra" / file.relative_to(ROOT)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, target)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _contents(caption: str, there: list[str], titles: dict[str, str]) -> str:
    names = [page.rsplit(".", 1)[0] for page in there if Path(page).stem not in moved()]
    entries = "\n".join(f"{titles[name]} <{name}>" if name in titles else name for name in names)
    return f"```{{toctree}}\n:caption: {caption}\n:hidden:\n\n{entries}\n```\n"
