"""Do the tests notice? Plants one small fault at a time in the modules that define attention, and runs their tests.

A mutant is the package with one token changed, dropped or added: an operator, constant, setting, bound, argument or
result. It lives in a temporary copy, never in the working tree. A mutant that turns the tests red, or hangs, is killed;
one that leaves them green survived: a gap in the tests, or a fault that changes nothing. Only reading it tells which.

Not mutated is what changes nothing that a test should hold: docstrings, annotations, `__all__`, blocks under
`TYPE_CHECKING` and the wording of errors, which is all inside `raise`, f-strings, and strings of several words.

A sample of 300 takes about three quarters of an hour on one core. An interrupted run goes on with `--resume`.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import hashlib
import io
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tokenize
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

from tqdm import tqdm

from longlora_edu.records import Proportion, provenance, read_json, write_json

ROOT = Path(__file__).resolve().parents[1]
# The tests of a module, its own first: the first red test ends a run.
TESTS = {
    "longlora_edu/geometry.py": ("tests/test_geometry.py", "tests/test_reference.py", "tests/test_attention.py"),
    "longlora_edu/reference.py": ("tests/test_reference.py", "tests/test_attention.py"),
    "longlora_edu/attention.py": ("tests/test_attention.py",),
}
ALL_TESTS = tuple(dict.fromkeys(test for tests in TESTS.values() for test in tests))
HELPERS = ("tests/conftest.py", "tests/helpers.py", "tests/oracles.py")

Edit = tuple[str, int, int, str]  # kind, first byte, byte after the last, replacement
OPERATORS = {
    **{"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="},
    **{"is": "is not", "is not": "is", "in": "not in", "not in": "in", "and": "or", "or": "and"},
    **{"+": "-", "-": "+", "*": "//", "/": "*", "//": "*", "%": "//", "**": "*", "@": "*", "&": "|", "|": "&"},
    **{"+=": "-=", "-=": "+=", "*=": "+=", "/=": "*="},
}
OPPOSITES = [("min", "max"), ("minimum", "maximum"), ("amin", "amax"), ("argmin", "argmax"), ("any", "all")]
NAMES = {one: other for pair in OPPOSITES for one, other in (pair, pair[::-1])}


@dataclass(frozen=True)
class Mutant:
    """One fault: `file` with bytes `start` to `end` replaced. Everything else, comments too, stays as it is."""

    file: str
    kind: str
    start: int
    end: int
    replacement: str

    def applied(self, source: bytes) -> bytes:
        return source[: self.start] + self.replacement.encode() + source[self.end :]

    def described(self, source: bytes) -> dict:
        """The fields, and the line where the fault begins, before and after."""
        row = source.count(b"\n", 0, self.start)
        before, after = (text.splitlines()[row].decode().strip() for text in (source, self.applied(source)))
        return dataclasses.asdict(self) | {"line": row + 1, "original": before, "mutated": after}


class Module:
    """A source file with its nodes and tokens placed by byte, and every edit that makes a mutant of it."""

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.lines = source.splitlines(keepends=True)
        self.first_byte = list(accumulate(map(len, self.lines), initial=0))
        # (first byte, byte after the last, text) of what is neither comment nor layout.
        self.tokens = [
            (self._byte(*token.start), self._byte(*token.end), token.string)
            for token in tokenize.tokenize(io.BytesIO(source).readline)
            if token.type in (tokenize.OP, tokenize.NAME, tokenize.NUMBER, tokenize.STRING)
        ]

    def edits(self) -> Iterator[Edit]:
        for node in _nodes_that_act(ast.parse(self.source)):
            yield from self._edits_of(node)

    def _edits_of(self, node: ast.AST) -> Iterator[Edit]:
        match node:
            case ast.BinOp(left=left, right=right) | ast.AugAssign(target=left, value=right):
                yield from self._operators([left, right])
            case ast.BoolOp(values=operands):
                yield from self._operators(operands)
            case ast.Compare(left=first, comparators=others):
                yield from self._operators([first, *others])
            case ast.UnaryOp(op=ast.Not() | ast.USub()):
                start, _ = self._span(node)
                yield "negation", start, start + len("not" if isinstance(node.op, ast.Not) else "-"), ""
            case ast.Constant(value=bool() as value):
                yield "constant", *self._span(node), str(not value)
            case ast.Constant(value=int() | float() as value):
                yield "constant", *self._span(node), repr(value + 1)
            case ast.Constant(value=str() as value) if value.isidentifier():
                _, end = self._span(node)
                yield "setting", end - 1, end - 1, "X"
            case ast.Slice(lower=lower, upper=upper):
                for bound in filter(None, (lower, upper)):
                    yield "bound", *self._span(bound), ""
                    if not isinstance(bound, ast.Constant):
                        yield "bound", self._span(bound)[1], self._span(bound)[1], " + 1"
            case ast.Return(value=ast.expr() as value):
                yield "result", *self._span(value), "None"
            case ast.Call(keywords=keywords):
                for keyword in keywords:
                    if keyword.arg:
                        yield "argument", *self._with_its_comma(*self._span(keyword)), ""
            case ast.Name(id=name) if name in NAMES:
                yield "opposite", *self._span(node), NAMES[name]
            case ast.Attribute(attr=name) if name in NAMES:
                _, end = self._span(node)
                yield "opposite", end - len(name), end, NAMES[name]
            case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
                # Other conditions have an operator of their own to change.
                if isinstance(test, ast.Name | ast.Attribute | ast.Subscript | ast.Call):
                    start, _ = self._span(test)
                    yield "condition", start, start, "not "

    def _operators(self, operands: list[ast.expr]) -> Iterator[Edit]:
        for left, right in pairwise(operands):
            gap = self._tokens_within(self._span(left)[1], self._span(right)[0])
            # Between operands stand the operator, of one word or two, and parentheses.
            words = [token for token in gap if token[2] not in "()"]
            yield "operator", words[0][0], words[-1][1], OPERATORS[" ".join(text for _, _, text in words)]

    def _with_its_comma(self, start: int, end: int) -> tuple[int, int]:
        after = next(token for token in self.tokens if token[0] >= end)
        before = next(token for token in reversed(self.tokens) if token[1] <= start)
        if after[2] == ",":
            return start, after[1]
        return (before[0] if before[2] == "," else start), end

    def _tokens_within(self, start: int, end: int) -> list[tuple[int, int, str]]:
        return [token for token in self.tokens if start <= token[0] and token[1] <= end]

    def _span(self, node) -> tuple[int, int]:
        # `ast` counts columns in bytes, `tokenize` in characters.
        first = self.first_byte
        return first[node.lineno - 1] + node.col_offset, first[node.end_lineno - 1] + node.end_col_offset

    def _byte(self, row: int, column: int) -> int:
        return self.first_byte[row - 1] + len(self.lines[row - 1].decode()[:column].encode())


def _nodes_that_act(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Raise() | ast.JoinedStr() | ast.Expr(value=ast.Constant()):
            return
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return
        case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
            return
    yield node
    for field, value in ast.iter_fields(node):
        if field not in ("annotation", "returns"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from _nodes_that_act(child)


def mutants_of(file: str, source: bytes) -> list[Mutant]:
    found = [Mutant(file, *edit) for edit in Module(source).edits()]
    for mutant in found:
        ast.parse(mutant.applied(source))  # a mutant that is no Python would be killed by that alone
    return found


def sampled(mutants: dict[str, list[Mutant]], size: int, seed: int) -> list[Mutant]:
    """`size` mutants, of each file its share. A larger sample of the same seed begins with a smaller one."""
    ranked = []
    for file, found in mutants.items():
        order = random.Random(f"{seed} {file}").sample(found, len(found))
        ranked += [((rank + 0.5) / len(order), mutant) for rank, mutant in enumerate(order)]
    return [mutant for _, mutant in sorted(ranked, key=lambda pair: pair[0])][:size]


def run_tests(folder: Path, tests: tuple[str, ...], timeout: float | None) -> tuple[str, str]:
    """Outcome, and the first red test: `tests` in a process that sees the package in `folder` and no other."""
    # Without the other plugins, and without shrinking what failed, a run takes two thirds of the time.
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider"]
    command += ["-p", "_hypothesis_pytestplugin", "--hypothesis-profile=mutation", *tests]
    settings = {"PYTHONPATH": str(folder), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "OMP_NUM_THREADS": "1"}
    # Bytecode is told apart by second and size: that of the mutant before could be taken for this one's.
    settings |= {"PYTHONDONTWRITEBYTECODE": "1"}
    try:
        run = subprocess.run(
            command, cwd=folder, env=os.environ | settings, timeout=timeout, text=True, stdout=-1, stderr=-2
        )
    except subprocess.TimeoutExpired:
        return "timed out", ""
    if run.returncode == 0:
        return "survived", ""
    if run.returncode in (4, 5):  # pytest found nothing that it could run
        sys.exit(f"pytest must be able to run {' '.join(tests)}, got:\n{run.stdout[-2000:]}")
    red = re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", run.stdout, flags=re.MULTILINE)
    return "killed", red[0] if red else f"exit status {run.returncode}"


def judged(mutant: Mutant, template: Path, timeout: float) -> dict:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        shutil.copytree(template, folder, dirs_exist_ok=True)
        source = (template / mutant.file).read_bytes()
        Path(folder, mutant.file).write_bytes(mutant.applied(source))
        outcome, red = run_tests(Path(folder), TESTS[mutant.file], timeout)
    seconds = round(time.monotonic() - began, 1)
    return mutant.described(source) | {"outcome": outcome, "red": red, "seconds": seconds}


def copied_to(folder: Path) -> dict[str, str]:
    """Copies what the tests need, so that edits during a run change nothing: SHA-256 of each file that counts."""
    leave = shutil.ignore_patterns("__pycache__", "assets")
    for name in ("longlora_edu", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=leave)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in (*TESTS, *ALL_TESTS, *HELPERS)}


def summary(results: list[dict]) -> dict[str, dict]:
    """By file and over all: counts, and the rate of the killed with its interval. Who timed out counts as killed."""
    table = {}
    for file in (*TESTS, "all"):
        counts = Counter(result["outcome"] for result in results if file in ("all", result["file"]))
        if mutants := counts.total():
            killed = Proportion(mutants - counts["survived"], mutants)
            table[file] = {"survived": counts["survived"], "timed_out": counts["timed out"], "killed": killed}
    return table


def show(results: list[dict]) -> None:
    print(f"{'file':27} mutants  killed  survived  timed out  rate (95 % interval)")
    for file, row in summary(results).items():
        killed, (low, high) = row["killed"], row["killed"].interval
        counts = f"{killed.trials:7}  {killed.successes:6}  {row['survived']:8}  {row['timed_out']:9}"
        print(f"{file:27} {counts}  {killed.rate:.1%} ({low:.1%} to {high:.1%})")
    for result in sorted(results, key=lambda result: (result["file"], result["start"])):
        if result["outcome"] == "survived":
            print(f"\n{result['file']}:{result['line']}  {result['kind']}")
            print(f"  - {result['original']}\n  + {result['mutated']}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "mutation.json")
    options.add_argument("--sample", type=int, default=300, help="how many mutants, spread over the files by size")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--jobs", type=int, default=1, help="test processes at a time")
    options.add_argument("--timeout", type=float, default=120, help="seconds after which a mutant counts as killed")
    options.add_argument("--resume", action="store_true", help="keep what --json holds of the same seed and files")
    arguments = options.parse_args()
    if min(arguments.sample, arguments.jobs, arguments.timeout) <= 0:
        options.error("--sample, --jobs and --timeout must be positive")
    if arguments.json.exists() and not arguments.resume:
        options.error(f"--json must name a new file, or --resume be given, got {arguments.json}")

    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        template, results = Path(folder), []
        about = {"seed": arguments.seed, "sha256": copied_to(template)}
        if arguments.json.exists():
            before = read_json(arguments.json)
            if changed := [name for name, value in about.items() if before[name] != value]:
                options.error(f"--resume must find seed and files as they were, got another {' and '.join(changed)}")
            results = before["mutants"]
        outcome, red = run_tests(template, ALL_TESTS, None)
        if outcome != "survived":
            sys.exit(f"the tests must be green before anything is planted, got red: {red}")

        possible = {file: mutants_of(file, (template / file).read_bytes()) for file in TESTS}
        about["possible"] = {file: len(found) for file, found in possible.items()}
        fields = [field.name for field in dataclasses.fields(Mutant)]
        done = {Mutant(**{name: result[name] for name in fields}) for result in results}
        todo = [mutant for mutant in sampled(possible, arguments.sample, arguments.seed) if mutant not in done]
        pool = ThreadPoolExecutor(arguments.jobs)
        try:
            futures = [pool.submit(judged, mutant, template, arguments.timeout) for mutant in todo]
            for future in tqdm(as_completed(futures), "mutants", len(todo) + len(done), initial=len(done)):
                results.append(future.result())
                record = about | {"files": summary(results), "mutants": results}
                write_json(arguments.json, record | dataclasses.asdict(provenance(threads=1)))
        finally:
            pool.shutdown(cancel_futures=True)
    show(results)
    each = sum(result["seconds"] for result in results) / len(results) / arguments.jobs
    print(f"\n{each:.1f} s a mutant: {each * 300 / 60:.0f} minutes for 300, {sum(about['possible'].values())} possible")


if __name__ == "__main__":
    main()
