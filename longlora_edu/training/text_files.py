"""Files of a folder: those to read as text, and those to leave out, each with its reason.

A folder from elsewhere may hold a pipe that would be waited for, a binary larger than memory, or a link to a file that
nobody meant to share.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterable
from pathlib import Path

CHUNK = 1 << 20
# Text with a byte-order mark of UTF-16 or UTF-32 holds NULs and is text all the same.
WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


def sort_files(root: Path, paths: Iterable[Path], *, follow: bool) -> tuple[list[str], list[str]]:
    """Return the names of files below `root` to read, in posix form and in order, and those left out, with reasons.

    Folders are no files and stand in neither list. With `follow`, links may lead out of `root`.
    """
    kept, left_out = [], []
    for path in paths:
        name = path.relative_to(root).as_posix()
        reason = _reason(root, path, name, follow)
        if reason:
            left_out.append(f"{os.fsencode(name)!r} ({reason})" if "UTF-8" in reason else f"{name} ({reason})")
        elif reason is None:
            kept.append(name)
    return sorted(kept), sorted(left_out)


def read_text(path: Path) -> bytes | None:
    """Read a file to its end; None for a binary one, as soon as a chunk of it holds a NUL."""
    chunks: list[bytes] = []
    wide = False
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            wide = wide or (not chunks and chunk.startswith(WIDE_MARKS))
            if b"\0" in chunk and not wide:
                return None
            chunks.append(chunk)
    return b"".join(chunks)


def _reason(root: Path, path: Path, name: str, follow: bool) -> str | None:
    """Return why a path is left out; None for a file to read, "" for a folder."""
    if path.is_dir() and not path.is_symlink():
        return ""
    if not path.exists():
        return "a link to nothing"
    if path.is_dir():
        return "a link to a folder"
    if not path.is_file():
        return "no regular file"
    if path.is_symlink() and not follow and not path.resolve().is_relative_to(root.resolve()):
        return "a link that leads out of the folder"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "a name that is no UTF-8"
    return None
