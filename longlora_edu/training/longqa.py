"""Questions about long documents whose answers are computed: an instruction set made on the machine, offline.

Each item is a line of JSON with `instruction` (an excerpt and a question) and `output` (the answer), the format of
LongAlpaca, and says besides of which document and kind it is. The documents are Python source: what a constant
holds, which class defines a method and which function calls another are read off the syntax tree, and asked only
where one answer is right.
"""

from __future__ import annotations

import ast
import json
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ..runs.records import replace_file
from ..runs.validate import check_integer
from .corpus import Document

QuestionKind = Literal["constant", "method", "caller"]
KINDS: dict[QuestionKind, str] = {
    "constant": "what does a constant hold?",
    "method": "which class defines a method?",
    "caller": "which function calls another?",
}
LONGEST_ANSWER = 40
PROMPT = "Below is a part of a Python file.\n\n{excerpt}\n\nQuestion: {question} Answer with {form} only.\nAnswer: "


@dataclass(frozen=True)
class Fact:
    """A question about one place of a document, and its answer. `lines` count from 0, both ends included."""

    kind: QuestionKind
    question: str
    form: str
    answer: str
    lines: tuple[int, int]


@dataclass(frozen=True)
class LongQuestion:
    """One item of the instruction set: prompt, answer, document and kind."""

    instruction: str
    output: str
    document: str
    kind: QuestionKind

    def as_json(self) -> dict:
        return {"instruction": self.instruction, "output": self.output, "document": self.document, "kind": self.kind}


def facts(document: Document) -> tuple[Fact, ...]:
    """Find the questions that a document answers, in the order of its lines; none for text that is not Python."""
    try:
        with warnings.catch_warnings():  # about escapes in somebody else's strings
            warnings.simplefilter("ignore")
            text = document.data.decode()
            tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return ()
    found = [*_constants(tree, text), *_methods(tree), *_callers(tree)]
    return tuple(sorted(found, key=lambda fact: fact.lines))


def make_questions(
    documents: Sequence[Document], length: int, count: int, *, seed: int = 0
) -> tuple[LongQuestion, ...]:
    """Make `count` questions, each about an excerpt of at most `length` bytes of whole lines around its evidence.

    Kinds are drawn evenly, documents by how many of that kind they hold. One fact may be asked about twice, from
    different excerpts.

    Raises:
        ValueError: when no document holds a fact that fits into an excerpt.
    """
    check_integer("length", length, at_least=1)
    check_integer("count", count, at_least=1)
    rng = np.random.default_rng([seed, 3, length])
    by_kind: dict[QuestionKind, list[tuple[Document, Fact]]] = defaultdict(list)
    for document in documents:
        for fact in facts(document):
            if _bytes_of(document, *fact.lines) <= length:
                by_kind[fact.kind].append((document, fact))
    if not by_kind:
        raise ValueError(f"documents must hold a fact within {length} bytes, got none in {len(documents)} documents")
    kinds = sorted(by_kind)
    questions = []
    for _ in range(count):
        known = by_kind[kinds[rng.integers(len(kinds))]]
        document, fact = known[rng.integers(len(known))]
        excerpt = _excerpt(document, fact, length, rng)
        prompt = PROMPT.format(excerpt=excerpt, question=fact.question, form=fact.form)
        questions.append(LongQuestion(prompt, fact.answer, document.name, fact.kind))
    return tuple(questions)


def write_questions(path: Path, questions: Sequence[LongQuestion]) -> None:
    """Write a `.jsonl` file of the questions, one a line."""
    lines = (json.dumps(question.as_json(), ensure_ascii=False) for question in questions)
    replace_file(path, "".join(f"{line}\n" for line in lines).encode())


def is_exact(answer: str, expected: str) -> bool:
    """Return whether the first line equals `expected`, apart from space around it and a full stop after it."""
    first = answer.strip().splitlines()[0] if answer.strip() else ""
    return first.strip().removesuffix(".").strip("`") == expected


def _constants(tree: ast.Module, text: str) -> Iterator[Fact]:
    """Find names in capitals that the file assigns once, at its top, to a number or a short text."""
    assigned = defaultdict(int)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            assigned[node.id] += 1
    for node in tree.body:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant) or len(node.targets) != 1:
            continue
        name, value = node.targets[0], ast.get_source_segment(text, node.value) or ""
        if not isinstance(name, ast.Name) or not name.id.isupper() or assigned[name.id] > 1:
            continue
        if type(node.value.value) in (int, float, str) and len(value) <= LONGEST_ANSWER and "\n" not in value:
            question, form = f"What is the value of {name.id}?", "the value as the file writes it"
            yield Fact("constant", question, form, value, (node.lineno - 1, node.end_lineno - 1))  # pyrefly: ignore


def _methods(tree: ast.Module) -> Iterator[Fact]:
    """Find methods that only one class of the file defines, and no function has the name of."""
    homes, defined = defaultdict(list), defaultdict(int)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            defined[node.name] += 1
    for node in tree.body:
        for part in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
                homes[part.name].append((node, part))
    for name, [(home, method), *more] in homes.items():
        if not more and defined[name] == 1 and not name.startswith("__"):
            lines = (home.lineno - 1, method.lineno - 1)
            yield Fact("method", f"Which class defines the method {name}?", "the name of the class", home.name, lines)


def _callers(tree: ast.Module) -> Iterator[Fact]:
    """Find functions at the top of the file that only one other function calls by name."""
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    callers = defaultdict(dict)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            for call in ast.walk(node):
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
                    callers[call.func.id].setdefault(getattr(node, "name", ""), (node, call))
    for name, by in callers.items():
        outside = {caller: places for caller, places in by.items() if caller != name}
        if name in functions and len(outside) == 1 and name not in by:
            ((caller, (node, call)),) = outside.items()
            if caller in functions and functions[caller] is node:
                lines = (node.lineno - 1, call.lineno - 1)
                yield Fact("caller", f"Which function calls {name}?", "the name of the function", caller, lines)


def _bytes_of(document: Document, first: int, last: int) -> int:
    return sum(len(line) for line in document.data.splitlines(keepends=True)[first : last + 1])


def _excerpt(document: Document, fact: Fact, length: int, rng: np.random.Generator) -> str:
    """Cut whole lines around the evidence, at most `length` bytes, with the room before it drawn at random."""
    lines = document.data.splitlines(keepends=True)
    first, last = fact.lines
    room = length - _bytes_of(document, first, last)
    before = rng.integers(room + 1)
    while first > 0 and len(lines[first - 1]) <= before:
        first -= 1
        before -= len(lines[first])
        room -= len(lines[first])
    while last + 1 < len(lines) and len(lines[last + 1]) <= room:
        last += 1
        room -= len(lines[last])
    while first > 0 and len(lines[first - 1]) <= room:  # the file ended early: what is left goes before
        first -= 1
        room -= len(lines[first])
    return b"".join(lines[first : last + 1]).decode("utf-8", errors="replace").rstrip("\n")
