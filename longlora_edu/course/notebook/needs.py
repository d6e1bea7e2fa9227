"""A lesson on a machine that lacks one of its packages: one sentence, and the cells that depend on it are left out."""

from __future__ import annotations

import ast
import builtins
from importlib import import_module
from importlib.util import find_spec

from .cards import card, publish


def needs(*packages: str, install: str) -> bool:
    """Are all `packages` here? If not, say how to get them, and leave out the cells that cannot run without.

    Left out is a cell that imports what cannot be imported, or uses a name that only cells left out would have made.
    Everything else in the notebook runs. `install` is what to ask pip for.
    """
    missing = [name for name in packages if find_spec(name) is None]
    shell = _shell()
    if shell is not None:
        shell.ast_transformers[:] = [kept for kept in shell.ast_transformers if not isinstance(kept, _LeaveOut)]
        if missing:
            shell.ast_transformers.append(_LeaveOut())
    if missing:
        sentence = f"This lesson needs {' and '.join(missing)}, not installed here."
        advice = (
            f"python -m pip install '{install}' brings it. Until then the cells that need it are left out, "
            "and what stands under them in the saved notebook is what they would show."
        )
        publish(card("note", sentence, advice), f"{sentence} {advice}")
    return not missing


class _LeaveOut(ast.NodeTransformer):
    """What IPython asks about each cell before it runs."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def visit(self, cell: ast.Module) -> ast.Module:
        made, read = _names(cell)
        absent = [name for name in _imports(cell) if not _importable(name)]
        why = next(iter([*absent, *sorted(read & self.names)]), None)
        if why is None:
            self.names -= made
            return cell
        self.names |= made
        said = f"left out: it needs {why}, which is not here"
        return ast.fix_missing_locations(ast.parse(f"print({said!r})"))


def _names(cell: ast.AST) -> tuple[set[str], set[str]]:
    """Names that a cell makes, and names that it reads."""
    made, read = set(), set()
    for node in ast.walk(cell):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else made).add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            made.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            made |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    return made, read - set(dir(builtins))


def _imports(cell: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(cell):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from package import module` may name a module of its own.
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def _importable(name: str) -> bool:
    """Can this module be had? A name inside a module that is here counts as importable."""
    try:
        import_module(name)
    except ModuleNotFoundError as error:
        parent = name.rpartition(".")[0]
        return bool(parent) and error.name == name and _importable(parent)
    return True


def _shell():
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return get_ipython()
