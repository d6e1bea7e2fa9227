"""`notebooks/one_sheet.py` as a module: as it stands, or with one of its lines changed to see what that line is for."""

from __future__ import annotations

import ast
import inspect
import io
import tokenize
from importlib.resources import files
from pathlib import Path
from types import ModuleType

# What a reader may get wrong: the text as it stands, and the text that takes its place.
BREAKS = {
    "boundary": ("    added[-1, h // 2 :, g - shift :, : g - shift] = -np.inf\n", ""),
    "shift back": (
        "        return roll_half(x.swapaxes(1, 2).reshape(n, h, d), shift)\n",
        "        return x.swapaxes(1, 2).reshape(n, h, d)\n",
    ),
    "norms": ('or "embed" in name or "norm" in name]', 'or "embed" in name]'),
}
HEADING = "# ---- Step "


def sheet_file() -> Path:
    """The file of the sheet: in the checkout, or in what an installed package carries of the course."""
    package = Path(str(files("longlora_edu")))
    carried = package / "assets" / "course" / "notebooks" / "one_sheet.py"
    return carried if carried.exists() else package.parent / "notebooks" / "one_sheet.py"


def load_sheet(old: str = "", new: str = "") -> ModuleType:
    """A fresh module from the sheet, with the text `old` replaced by `new`, whose `BASE` is the package's small model.

    Raises:
        ValueError: where `old` does not stand in the sheet exactly once.
    """
    path = sheet_file()
    source = path.read_text(encoding="utf-8")
    if old and source.count(old) != 1:
        raise ValueError(f"old must stand in the sheet once, got {source.count(old)} times: {old!r}")
    sheet = ModuleType("one_sheet")
    sheet.__file__ = str(path)
    exec(compile(source.replace(old, new) if old else source, str(path), "exec"), sheet.__dict__)
    sheet.BASE = Path(str(files("longlora_edu"))) / "assets" / "model"
    return sheet


def excerpt(*names: str) -> str:
    """The text of functions of the sheet, as it stands there."""
    sheet = load_sheet()
    return "\n\n".join(inspect.getsource(getattr(sheet, name)) for name in names)


def lines_of_code(source: str) -> set[int]:
    """The numbers, from 1, of the lines that hold code: not blank, no comment, no docstring."""
    documentation = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None
        for line in range(node.body[0].lineno, node.body[0].end_lineno + 1)
    }
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    code = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in silent
        for line in range(token.start[0], token.end[0] + 1)
    }
    return code - documentation


def lines_by_step(source: str) -> dict[str, int]:
    """Lines of code under each heading of the sheet, and before the first."""
    code = lines_of_code(source)
    heading, counts = "before the first step", {}
    for number, line in enumerate(source.splitlines(), start=1):
        if line.startswith(HEADING):
            heading = line.removeprefix(HEADING)
        counts[heading] = counts.get(heading, 0) + (number in code)
    return counts
