"""The reference: a page for each public module, in the order to read them in, from its docstrings."""

from __future__ import annotations

import re
from pathlib import Path

MODULE = re.compile(r"^\| `(\w+)/?` \| (.+?) \|$", re.MULTILINE)


def modules(root: Path) -> dict[str, str]:
    """Each room of the package with its subject, in the order of the README's three shelves."""
    return dict(MODULE.findall((root / "README.md").read_text(encoding="utf-8")))


def reference(root: Path) -> dict[str, str]:
    """The pages by name: an index, and one for each module."""
    answers_of = modules(root)
    intro = "The method first, in reading order; then its uses, then the machinery. Each page leads to the source."
    rows = "\n".join(f"| [{name}]({name}.md) | {answers} |" for name, answers in answers_of.items())
    table = f"| module | subject |\n|---|---|\n{rows}\n"
    names = "\n".join(answers_of)
    pages = {"index": f"# The library\n\n{intro}\n\n{table}\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"}
    for name in answers_of:
        documented = map(_automodule, _documented(root / "longlora_edu" / name))
        pages[name] = f"# {name}\n\n{_commands() if name == 'cli' else ''.join(documented)}"
    return pages


def _documented(module: Path) -> list[str]:
    """A module; the folders in it that name what is public in them; and its files, where it does not do so itself."""
    folders = sorted(module.glob("*/__init__.py"))
    public = [path.parent.name for path in folders if "__all__" in path.read_text(encoding="utf-8")]
    own = module / "__init__.py"
    if own.exists() and "__all__" not in own.read_text(encoding="utf-8"):
        public += [path.stem for path in sorted(module.glob("*.py")) if not path.stem.startswith("_")]
    return [f"longlora_edu.{module.name}", *(f"longlora_edu.{module.name}.{part}" for part in public)]


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
