"""Small faults: every way to change one operator, constant, setting, bound, argument or result of a module.

Not changed is what no test should hold: docstrings, annotations, `__all__`, blocks under `TYPE_CHECKING`, and the
wording of errors, which is all inside `raise`, f-strings, and strings of several words.
"""

from __future__ import annotations

import ast
import dataclasses
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise

Edit = tuple[str, int, int, str]  # kind, first byte, byte after the last, replacement
OPERATORS = {
    **{"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="},
    **{"is": "is not", "is not": "is", "in": "not in", "not in": "in", "and": "or", "or": "and"},
    **{"+": "-", "-": "+", "*": "//", "/": "*", "//": "*", "%": "//", "**": "*", "@": "*", "&": "|", "|": "&"},
    **{"<<": ">>", ">>": "<<", "^": "&"},
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
            case ast.Constant(value=str() as value) if re.fullmatch(r"\w+", value, re.ASCII):
                # Its last letter: one more would change nothing in `kind in "iu"`.
                _, end = self._span(node)
                yield "setting", end - 2, end - 1, ""
            case ast.Slice(lower=lower, upper=upper):
                for bound in filter(None, (lower, upper)):
                    yield "bound", *self._span(bound), ""
                    if not isinstance(bound, ast.Constant):
                        yield "bound", self._span(bound)[1], self._span(bound)[1], " + 1"
            case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
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
            operator = " ".join(text for _, _, text in words)
            other = OPERATORS.get(operator) or OPERATORS[operator.removesuffix("=")] + "="
            yield "operator", words[0][0], words[-1][1], other

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
