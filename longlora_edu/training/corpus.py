"""Long documents as bytes: the standard library's own source, a package, a folder or a file.

Every machine that can run this package already holds some ten megabytes of long documents in which names
are defined early and used late. Nothing is downloaded.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import platform
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from ..runs.validate import check_positive, check_text
from .text_files import read_text, sort_files

DocumentRule = Literal["file", "package"]
# UTF-32 stands before UTF-16, whose mark begins its own.
MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
HELD_OUT_SHARE = 16  # one document in sixteen is never trained on
LINE = "#"  # between the name of a .jsonl file and the number of a line
NOT_SOURCE = frozenset({"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"})


@dataclass(frozen=True)
class Document:
    """One document: its path relative to where it was found, in posix form, and its bytes (no NUL)."""

    name: str
    data: bytes

    @property
    def is_held_out(self) -> bool:
        """Whether the document is held out, by a hash of its relative path alone: all Python versions agree."""
        return hashlib.sha256(self.name.encode()).digest()[0] % HELD_OUT_SHARE == 0


@dataclass(frozen=True)
class Corpus:
    """Documents to train on and documents held out. Windows are cut inside a document, never across two.

    `left_out` names the files that hold no text, empty, binary, or `.json`, and, each with its reason, links that lead
    out of the folder, pipes and names that are no UTF-8. Hidden ones are not looked at.
    """

    source: str
    train: tuple[Document, ...]
    held_out: tuple[Document, ...]
    left_out: tuple[str, ...] = ()

    @cached_property
    def hash(self) -> str:
        """sha256 over the names and bytes of both sides: two records with equal hashes saw the same text."""
        digest = hashlib.sha256()
        for side in (self.train, self.held_out):
            for document in side:
                digest.update(f"{document.name}\0{len(document.data)}\0".encode())
                digest.update(document.data)
            digest.update(b"\1")
        return digest.hexdigest()

    def shared_lines(self, shortest: int = 40) -> dict:
        """Count held-out lines of at least `shortest` bytes that also stand on the training side."""

        def lines(side):
            return [line.strip() for document in side for line in document.data.splitlines()]

        known = {line for line in lines(self.train) if len(line) >= shortest}
        long = [line for line in lines(self.held_out) if len(line) >= shortest]
        return {"shortest": shortest, "held_out_lines": len(long), "also_in_train": sum(line in known for line in long)}

    def describe(self) -> dict:
        """Describe the text, for a record."""
        return {
            "source": self.source,
            "sha256": self.hash,
            "python": platform.python_version(),
            "train_documents": len(self.train),
            "train_bytes": sum(len(document.data) for document in self.train),
            "held_out_documents": len(self.held_out),
            "held_out_bytes": sum(len(document.data) for document in self.held_out),
            "shared_lines": self.shared_lines(),
            "left_out": list(self.left_out),
        }


def standard_library() -> Corpus:
    """Read the source of the running Python's standard library, tests left out."""
    root = Path(sysconfig.get_paths()["stdlib"])
    return _corpus("standard library", _texts(_files(root, "*.py")))


def package_document(name: str) -> Document:
    """Join all source of one installed package into a single document, files in order of their names.

    Raises:
        ValueError: when no package of that name with source files is installed.
    """
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):  # the parent of a dotted name is missing; an empty name
        spec = None
    folders = list(spec.submodule_search_locations or []) if spec else []
    source = _joined_source(Path(folders[0])) if folders else b""
    if not source:
        raise ValueError(f"package must be an installed package with a folder of source, got {name!r}")
    return Document(name, source)


def read_corpus(path: Path, document: DocumentRule = "file") -> Corpus:
    """Read the user's own text: a file, or a folder of text files (hidden and binary files are left out).

    A file is a document, and so is each line of a `.jsonl` file, which must hold a `text`. Text is UTF-8, or UTF-16 and
    UTF-32 that say so by their first bytes. With `document="package"` a Python package is one document, as in
    `package_document`: the outermost folder that holds `__init__.py`, the source of all files in it. Files outside of
    packages stay documents each.
    A hash of its name decides whether a document is held out. Where this would hold out none or all, each document is
    cut in two, and its last tenth is held out.

    Raises:
        ValueError: when the path holds no text; for another `document`; for text in another encoding and for a line of
            `.jsonl` without text, naming file and line.
    """
    path = Path(path)
    if document not in get_args(DocumentRule):
        raise ValueError(f"document must be one of {', '.join(get_args(DocumentRule))}, got {document!r}")
    packages: dict[str, Path] = {}
    others: list[str] = []
    if path.is_file():
        check_text("corpus", path.name)
        files = [(path.name, path)]
    elif path.is_dir():
        packages = _packages(path) if document == "package" else {}
        # A reader's own folder may well be called "test".
        homes = frozenset(packages.values())
        files = _files(path, "*", skip=frozenset(), besides=homes, follow=False, left_out=others)
    else:
        what = "which is neither" if os.path.lexists(path) else "which does not exist"
        raise ValueError(f"corpus must be a file or a folder, got {path}, {what}")
    documents = _texts(files)
    read = {document.name.partition(LINE)[0] for document in documents}
    left_out = (*(name for name, _ in files if name not in read), *others)
    joined = (Document(name, _joined_source(home)) for name, home in packages.items())
    documents += [package for package in joined if package.data]
    if not documents:
        raise ValueError(f"corpus must hold at least one text file, got {path} with none")
    corpus = replace(_corpus(str(path), documents), left_out=left_out)
    if corpus.train and corpus.held_out:
        return corpus
    cuts = [(document, _nine_tenths(document.data)) for document in documents]
    return replace(
        corpus,
        train=tuple(Document(document.name, document.data[:cut]) for document, cut in cuts),
        held_out=tuple(Document(document.name, document.data[cut:]) for document, cut in cuts),
    )


def as_utf8(data: bytes, name: str | Path) -> bytes:
    """Text as UTF-8 without a byte-order mark, from UTF-8, or from UTF-16 and UTF-32 that begin with theirs.

    Raises:
        ValueError: naming the text, the line and the byte, for another encoding.
    """
    mark, encoding = next(((mark, name) for mark, name in MARKS.items() if data.startswith(mark)), (b"", "utf-8"))
    data = data[len(mark) :]
    try:
        return data.decode(encoding).encode()
    except UnicodeDecodeError as error:
        line, byte = data.count(b"\n", 0, error.start) + 1, data[error.start]
        raise ValueError(f"{name}, line {line}, must be {encoding.upper()}, got byte {byte:#04x}") from None


class Windows:
    """Windows of `length` bytes, drawn from documents, each position of each document equally likely.

    A document ends with byte 0, which stands nowhere else: the model's sign for "no more".

    Raises:
        ValueError: when no document is long enough, naming the longest.
    """

    def __init__(self, documents: tuple[Document, ...], length: int) -> None:
        check_positive("length", length)
        long = [document for document in documents if len(document.data) + 1 >= length]
        if not long:
            longest = max((len(document.data) for document in documents), default=0)
            raise ValueError(f"corpus must hold a document of at least {length} bytes, got {longest} as the longest")
        self._names = [document.name for document in long]
        self._hold([np.frombuffer(document.data + b"\0", dtype=np.uint8) for document in long], length)

    def _hold(self, texts: Sequence[np.ndarray], length: int) -> None:
        """Keep the texts to draw from, each at least `length` long."""
        self.length, self._texts = length, texts
        self._ends = np.cumsum([len(text) - length + 1 for text in texts])

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw `count` windows: uint8 (count, length)."""
        places, which = self._places(rng, count)
        starts = places - np.concatenate([[0], self._ends])[which]
        return np.stack([self._texts[i][start : start + self.length] for i, start in zip(which, starts, strict=True)])

    def names_of(self, rng: np.random.Generator, count: int) -> list[str]:
        """Name the document of each window that `draw` takes with a generator in the same state."""
        return [self._names[index] for index in self._places(rng, count)[1]]

    def _places(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw places among all windows, and the number of the document of each."""
        check_positive("count", count)
        places = rng.integers(self._ends[-1], size=count)
        return places, np.searchsorted(self._ends, places, side="right")


def _packages(root: Path) -> dict[str, Path]:
    """Find the outermost folders with `__init__.py`, by their path relative to `root`."""
    found: dict[str, Path] = {}
    for home in sorted(path.parent for path in root.rglob("__init__.py")):  # outer ones come before inner ones
        inside = home.relative_to(root)
        if not any(part.startswith(".") for part in inside.parts) and not {home, *home.parents} & {*found.values()}:
            found[inside.as_posix() if inside.parts else root.resolve().name] = home
    return found


def _joined_source(package: Path) -> bytes:
    return b"\n".join(document.data for document in _texts(_files(package, "*.py")))


def _files(
    root: Path,
    pattern: str,
    skip: frozenset[str] = NOT_SOURCE,
    besides: frozenset[Path] = frozenset(),
    *,
    follow: bool = True,
    left_out: list[str] | None = None,
) -> list[tuple[str, Path]]:
    """List files by name and path, hidden and skipped ones aside. Installed ones may be linked from elsewhere."""
    paths = (path for path in root.rglob(pattern) if besides.isdisjoint({path, *path.parents}))
    seen = (path for path in paths if not any(p in skip or p.startswith(".") for p in path.relative_to(root).parts))
    kept, others = sort_files(root, seen, follow=follow)
    if left_out is not None:
        left_out += others
    return [(name, root / name) for name in kept]


def _texts(files: Iterable[tuple[str, Path]]) -> list[Document]:
    """Read the named files as documents, without those that hold no text. Lines end in one byte on all systems."""
    documents = []
    for name, path in files:  # one at a time: binaries may be huge
        data = None if name.endswith(".json") else read_text(path)
        if data is None:
            continue
        # Windows may keep the same standard library with two bytes at each line's end.
        text = as_utf8(data, path).replace(b"\r\n", b"\n")
        documents += _lines(name, path, text) if name.endswith(".jsonl") else [Document(name, text)]
    return [document for document in documents if document.data and b"\0" not in document.data]


def _lines(name: str, path: Path, text: bytes) -> list[Document]:
    """The texts in the lines of a `.jsonl` file, each a document."""
    documents = []
    for number, line in enumerate(text.split(b"\n"), 1):
        if line.strip():
            try:
                found = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}, line {number}, must be JSON: {error.msg}") from None
            if not isinstance(found, dict) or not isinstance(found.get("text"), str):
                raise ValueError(f"{path}, line {number}, must have the text 'text', got {str(found)[:60]}")
            documents.append(Document(f"{name}{LINE}{number}", found["text"].encode(errors="replace")))
    return documents


def _nine_tenths(data: bytes) -> int:
    """Return where the last tenth of a text begins, not inside a character."""
    cut = len(data) * 9 // 10
    while cut < len(data) and 0x80 <= data[cut] < 0xC0:
        cut -= 1
    return cut


def _corpus(source: str, documents: list[Document]) -> Corpus:
    return Corpus(
        source,
        tuple(document for document in documents if not document.is_held_out),
        tuple(document for document in documents if document.is_held_out),
    )
