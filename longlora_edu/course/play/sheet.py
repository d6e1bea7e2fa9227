"""`notebooks/one_sheet.py` as a module: as it stands, or with a part left out to see what that part is for."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import re
import tokenize
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np

# What a reader may get wrong: pairs of the text as it stands and the text that takes its place.
Change = tuple[str, str]
BREAKS: dict[str, tuple[Change, ...]] = {
    "boundary": (("    added[-1, h // 2 :, g - shift :, : g - shift] = -np.inf\n", ""),),
    # Both ways: else the gradient would be that of another function, which is a second fault.
    "shift back": (
        ("    return out_of_groups(y), back\n", "    return y.swapaxes(1, 2).reshape(n, h, d), back\n"),
        ("        d_y = into_groups(d_y)\n", "        d_y = d_y.reshape(n // g, g, h, d).swapaxes(1, 2)\n"),
    ),
    "shift": (("    shift = g // 2 if g < n else 0\n", "    shift = 0\n"),),
    "norms": (('or "embed" in name or "norm" in name]', 'or "embed" in name]'),),
}
HEADING = "# ---- Step "


def sheet_file() -> Path:
    """Find `one_sheet.py`: beside the notebook, in what an installed package carries, or in the checkout."""
    beside = Path("one_sheet.py")  # a notebook runs in its own folder, and a reader may change the file there
    if beside.exists():
        return beside.resolve()
    package = Path(str(files("longlora_edu")))
    carried = package / "assets" / "course" / "notebooks" / "one_sheet.py"
    return carried if carried.exists() else package.parent / "notebooks" / "one_sheet.py"


def load_sheet(*changes: Change) -> ModuleType:
    """Make a fresh module from the sheet, each (old, new) of `changes` made, whose `BASE` is the package's small model.

    Raises:
        ValueError: where an `old` does not stand in the sheet exactly once.
    """
    path = sheet_file()
    source = path.read_text(encoding="utf-8")
    for old, new in changes:
        if source.count(old) != 1:
            raise ValueError(f"a piece to change must stand in the sheet once, got {source.count(old)} times: {old!r}")
        source = source.replace(old, new)
    sheet = ModuleType("one_sheet")
    sheet.__file__ = str(path)
    exec(compile(source, str(path), "exec"), sheet.__dict__)
    sheet.BASE = Path(str(files("longlora_edu"))) / "assets" / "model"
    return sheet


def excerpt(*names: str) -> str:
    """Quote functions of the sheet as they stand there."""
    sheet = load_sheet()
    return "\n\n".join(inspect.getsource(getattr(sheet, name)) for name in names)


def matching(pattern: str) -> dict[int, str]:
    """Collect the lines of code that match a pattern, by number; those that begin a function are left out."""
    source = sheet_file().read_text(encoding="utf-8")
    lines, code = source.splitlines(), lines_of_code(source)
    return {
        at: lines[at - 1] for at in sorted(code) if re.search(pattern, lines[at - 1]) and "def " not in lines[at - 1]
    }


def lines_of_code(source: str) -> set[int]:
    """Collect the numbers, from 1, of the lines that hold code: not blank, no comment, no docstring."""
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
    """Count the lines of code under each heading of the sheet, and before the first."""
    code = lines_of_code(source)
    heading, counts = "before the first step", {}
    for number, line in enumerate(source.splitlines(), start=1):
        if line.startswith(HEADING):
            heading = line.removeprefix(HEADING)
        counts[heading] = counts.get(heading, 0) + (number in code)
    return counts


@dataclass(frozen=True)
class Material:
    """Material of a run of the sheet: the base, stretched; its group; windows to measure; batches to train on.

    `plain` are windows uint8 (count, n + 1); `hidden` and each batch are pairs (ids, answers) of `hide_references`.
    """

    m: SimpleNamespace
    group: int
    plain: np.ndarray
    hidden: list
    batches: list


def draw_material(sheet: ModuleType, *, steps: int, count: int, batch: int | None = None, seed: int = 0) -> Material:
    """Read the base model of the sheet, stretch it to twice its context, and draw texts to measure and train on.

    That is `count` held-out windows, plain and with references hidden in them, and `steps` batches of `batch` training
    windows with references; `batch` becomes the sheet's `BATCH`. Equal seeds draw equal texts, also where a part of the
    sheet was left out.
    """
    sheet.BATCH = batch or sheet.BATCH
    m = sheet.read_model(sheet.BASE)
    m.config = sheet.stretch(m.config, 2)
    n = m.config["max_position_embeddings"]
    rng = np.random.default_rng([seed, 1])
    windows = sheet.read_windows(n + 1)
    plain = rng.choice(windows["held out"], count, replace=False)
    hidden = [sheet.hide_references(code, n // 4, rng, held_out=True) for code in plain]
    drawn = rng.choice(windows["train"], (steps, sheet.BATCH))
    batches = [[sheet.hide_references(code, n // 4, rng) for code in codes] for codes in drawn]
    return Material(m, n // 4, plain, hidden, batches)


def leak(sheet: ModuleType, m: SimpleNamespace, ids: np.ndarray, group: int) -> float:
    """Measure how far the last byte of `ids` (n) moves the predictions before it: 0 where none sees the future."""
    changed = np.append(ids[:-1], ids[-1] ^ 1)
    before, after = (sheet.forward(m, text, group)[0][:-1] for text in (ids, changed))
    return float(abs(before - after).max())


def train_form(*changes: Change, steps: int, count: int, batch: int | None = None) -> dict:
    """Train with one form of the sheet, and read densely with the sheet as it stands.

    `loss` is that of each step in nats a byte, under the form's own attention; `leak` is measured before training.
    """
    sheet, right = load_sheet(*changes), load_sheet()
    given = draw_material(sheet, steps=steps, count=count, batch=batch)
    m, losses = given.m, []
    seen = leak(sheet, m, given.plain[0][:-1].astype(int), given.group)
    sheet.add_lora(m, np.random.default_rng(0))
    add_gradients = sheet.add_gradients

    def noted(*window):
        losses.append(float(add_gradients(*window)))
        return losses[-1]

    sheet.add_gradients = noted
    with contextlib.redirect_stdout(io.StringIO()):
        sheet.train(m, given.batches, given.group)
    sheet.merge(m)
    return {"leak": seen, "loss": np.reshape(losses, (steps, -1)).sum(axis=1).tolist(), **read_densely(right, given)}


def read_densely(sheet: ModuleType, given: Material) -> dict:
    """Measure bits a byte of plain text and references found, where every token sees all before it."""
    found = sheet.found_references(given.m, given.hidden)
    bits = float(sheet.bits_per_byte(given.m, given.plain))
    return {"bits_per_byte": bits, "found": int(sum(found)), "of": len(found)}
