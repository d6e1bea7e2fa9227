"""Which cells of a lesson run without torch, and a notebook of these for the browser tab, which has none.

An import is tried in a process that has no torch; what an import that fails would have named, and all that is
computed from it, is lost. A lost cell becomes text: its code, and what it printed where the lesson was built.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import nbformat

from longlora_edu.course.build.sealing import unsealed

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "longlora_edu"
# What a tab lacks: compiled for no browser, or of no use without torch.
ABSENT = ("torch", "psutil", "safetensors", "transformers", "peft", "accelerate")
# They import torch where it is, and do without where it is not.
DO_WITHOUT = ("runs", "course/notebook")
WITHOUT = f"""
import sys
from importlib.machinery import PathFinder
class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in {ABSENT!r} else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Without
"""
TRY = """
import json
def works(statement):
    try:
        exec(statement, {})
    except ImportError:
        return False
    return True
print(json.dumps({statement: works(statement) for statement in json.load(sys.stdin)}))
"""
LOST = "*This cell needs torch, which a browser tab does not have. It runs on a laptop, on Colab and on Binder"


@dataclass
class Names:
    """The names that a statement reads from before it, and those that it binds for what comes after."""

    reads: set[str] = field(default_factory=set)
    binds: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, statement: ast.stmt) -> Names:
        """Collect them; attributes stand among `reads` with their dot. Loop variables and arguments are its own."""
        names, own = cls(), set()
        if hasattr(statement, "body"):  # a loop may bind a name in one line, and read it in the next
            lines: dict[type, dict[str, int]] = {ast.Load: {}, ast.Store: {}}
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and type(node.ctx) in lines:
                    first = lines[type(node.ctx)]
                    first[node.id] = min(node.lineno, first.get(node.id, node.lineno))
            own = {name for name, at in lines[ast.Store].items() if at < lines[ast.Load].get(name, 0)}
        for node in ast.walk(statement):
            if isinstance(node, ast.Name):
                (names.reads if isinstance(node.ctx, ast.Load) else names.binds).add(node.id)
            elif isinstance(node, ast.Attribute):
                names.reads.add(f".{node.attr}")
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                names.binds.add(node.name)
                names.reads.discard(node.name)
            elif isinstance(node, ast.arg):
                own.add(node.arg)
            elif isinstance(node, (ast.For, ast.comprehension)):
                own |= {each.id for each in ast.walk(node.target) if isinstance(each, ast.Name)}
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                own |= {bound(alias) for alias in node.names}
        names.reads -= own
        return names


def bound(alias: ast.alias) -> str:
    """The name that an import binds."""
    return alias.asname or alias.name.partition(".")[0]


def single_imports(tree: ast.Module) -> list[tuple[ast.stmt, ast.alias, str]]:
    """List the imports at the top of a cell, each name as a statement of its own."""
    found = []
    for node in tree.body:
        for alias in node.names if isinstance(node, (ast.Import, ast.ImportFrom)) else ():
            said = f"{alias.name} as {alias.asname}" if alias.asname else alias.name
            start = f"from {node.module} " if isinstance(node, ast.ImportFrom) else ""
            found.append((node, alias, f"{start}import {said}"))
    return found


KNOWN: dict[str, bool] = {}  # imports that were tried; a process that tries them takes seconds


def working(statements: list[str]) -> dict[str, bool]:
    """Try imports in a process of its own that finds nothing of `ABSENT`."""
    if unknown := sorted(set(statements) - set(KNOWN)):
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT + TRY],
            input=json.dumps(unknown), cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        KNOWN.update(json.loads(done.stdout))
    return {statement: KNOWN[statement] for statement in statements}


def try_all_at_once(notebooks: Iterable[nbformat.NotebookNode]) -> None:
    """Try the imports of many notebooks in one process, so that none is started for each of their cells."""
    cells = [cell.source for made in notebooks for cell in made.cells if cell.cell_type == "code"]
    nodes = [node for source in cells for node in ast.walk(_parsed(source))]
    imports = [node for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))]
    working([statement for _, _, statement in single_imports(ast.Module(imports, []))])


@cache
def late_users() -> frozenset[str]:
    """Name the public functions of the package that import torch only when they are called, or asked for by name."""
    found, lazy = set(), {}
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).as_posix().startswith(DO_WITHOUT):
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name == "__getattr__":
                package = ".".join(path.relative_to(ROOT).parent.parts)
                names = [
                    name.name for each in ast.walk(node) if isinstance(each, ast.ImportFrom) for name in each.names
                ]
                lazy |= {f"from {package} import {name}": name for name in names}
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                inside = [line for line in ast.walk(node) if isinstance(line, ast.Import)]
                found |= {node.name for line in inside if any(alias.name == "torch" for alias in line.names)}
    works = working(list(lazy))
    return frozenset(found | {name for statement, name in lazy.items() if not works[statement]})


def lost_cells(sources: list[str]) -> tuple[set[int], dict[int, str]]:
    """Find the numbers of the code cells that need torch, and what becomes of those that do without some lines.

    `sources` are the code cells in their order. Where imports and assignments alone need torch, as in a set-up, these
    are left out; any other cell is lost as a whole. A magic is taken to need nothing.
    """
    trees = [_parsed(source) for source in sources]
    whole = [unsealed(source) == source for source in sources]  # of a sealed cell no line can be left out
    works = working([statement for tree in trees for _, _, statement in single_imports(tree)])
    lost, changed, missing = set(), {}, set(late_users()) | {f".{name}" for name in late_users()}
    there: set[str] = set()  # bound by cells that run
    for number, tree in enumerate(trees):
        if -1 in lost or any(_requires(node) for node in tree.body):  # the lesson itself stops here
            lost |= {-1, number}
            continue
        before, made, needing = set(missing), set(), []
        for node in tree.body:
            names = Names.of(node)
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                for _, alias, statement in single_imports(ast.Module([node], [])):
                    if works[statement] and alias.name not in late_users():
                        made.add(bound(alias))
                        missing.discard(bound(alias))
                    else:
                        missing.add(bound(alias))
            elif (names.reads & missing) or _want(node):
                needing.append(node)
                missing |= names.binds
            else:
                made |= names.binds
                missing -= names.binds
        gone = {statement for _, _, statement in single_imports(tree) if not works[statement]}
        cut = gone and not whole[number]
        if cut or any(not isinstance(node, ast.Assign) for node in needing) or (needing and not gone):
            lost.add(number)
            missing |= before | (made - there)
        else:
            there |= made
            if gone:
                changed[number] = _without(sources[number], tree, gone, needing)
    return lost - {-1}, changed


def _requires(statement: ast.stmt) -> bool:
    """Whether it is a call of `course.require` with a package that a tab lacks."""
    calls = [node for node in ast.walk(statement) if isinstance(node, ast.Call)]
    named = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "require"]
    return any(isinstance(each, ast.Constant) and each.value in ABSENT for call in named for each in call.args)


def _want(statement: ast.stmt) -> bool:
    """Whether an import inside of a function fails."""
    inner = [node for node in ast.walk(statement) if isinstance(node, (ast.Import, ast.ImportFrom))]
    wanted = [single for _, _, single in single_imports(ast.Module(inner, []))]
    return bool(wanted) and not all(working(wanted).values())


def _parsed(source: str) -> ast.Module:
    """Parse a cell, of a sealed one the code inside."""
    try:
        return ast.parse(re.sub(r"^(\s*)[%!].*$", r"\1pass", unsealed(source, texts=False), flags=re.MULTILINE))
    except SyntaxError:
        return ast.Module([], [])


def _without(source: str, tree: ast.Module, gone: set[str], needing: list[ast.stmt]) -> str:
    """The source of a cell without some of its imports and lines; a comment says so."""
    lines = source.splitlines()
    for node in reversed(tree.body):
        kept = None
        if node in needing:
            kept = []
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            statements = [statement for _, _, statement in single_imports(ast.Module([node], []))]
            if gone & set(statements):
                kept = [statement for statement in statements if statement not in gone]
        if kept is not None:
            lines[node.lineno - 1 : node.end_lineno] = kept
    return "\n".join(["# Lines that need torch are left out here, in a browser tab.", *lines])


# A lesson of which less is left would be a row of cells that tell where else they run.
LEAST = 0.6


def for_the_tab(notebook: nbformat.NotebookNode, note: str = "") -> tuple[nbformat.NotebookNode, int, int]:
    """A copy whose cells all run without torch; how many code cells do, and how many there are.

    `note` stands under the title.
    """
    made = nbformat.reads(nbformat.writes(notebook), as_version=4)
    code = [cell for cell in made.cells if cell.cell_type == "code"]
    lost, changed = lost_cells([cell.source for cell in code])
    texts = {}
    for number, cell in enumerate(code):
        if number in lost:
            texts[cell.id] = nbformat.v4.new_markdown_cell(as_text(cell), id=cell.id)
        elif number in changed:
            cell.source = changed[number]
    made.cells = [texts.get(cell.id, cell) for cell in made.cells]
    if note and made.cells:
        made.cells[0].source += f"\n\n{note}"
    return made, len(code) - len(lost), len(code)


def as_text(cell: nbformat.NotebookNode) -> str:
    """A code cell as markdown: that it needs torch, its code folded, and what it printed."""
    shown = [_shown(output) for output in cell.get("outputs", [])]
    head = f"{LOST}; below is what it printed there.*" if any(shown) else f"{LOST}.*"
    code = f"<details><summary>The code</summary>\n\n```python\n{cell.source}\n```\n\n</details>"
    return "\n\n".join([head, code, *filter(None, shown)])


def _shown(output: nbformat.NotebookNode) -> str:
    data = output.get("data", {})
    if "text/html" in data:
        return "".join(data["text/html"])
    text = "".join(output.get("text", "") or data.get("text/plain", ""))
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""
