"""The course as files of one's own: out of a checkout, or out of what an installed package carries of it."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from ...runs.records import replace_file
from .source import FILES

if TYPE_CHECKING:
    from .assemble import Edition

# Whatever a notebook links to, at the same place beside it.
BESIDE = (
    "INSTRUCTOR.md",
    "docs/claims.md",
    "docs/explorer.html",
    "docs/model.html",
    "docs/note.md",
    "docs/real_models.md",
    "docs/what_to_use.md",
    "notebooks/glossary.md",
    "notebooks/one_sheet.py",
)


def copy_course(folder: Path, edition: Edition = "student") -> list[Path]:
    """Write the notebooks into `folder/notebooks`, and what they link to beside it; returns the paths.

    The student edition has its outputs; the others are built on the spot and have none. A file that is there and
    differs stops everything before anything is written: it may be a learner's work. A write that fails takes back those
    before it.

    Raises:
        OSError: with the path in its message, when the folder cannot be written or the disk is full.
        ValueError: naming the files that differ, or where jupytext, which reads the sources, is not installed.
    """
    origin = material()
    wanted = {Path(name): (origin / name).read_bytes() for name in BESIDE}
    if edition == "student":
        notebooks = sorted((origin / "notebooks").glob(f"{FILES}.ipynb"))
        wanted |= {Path("notebooks", path.name): path.read_bytes() for path in notebooks}
    else:
        if importlib.util.find_spec("jupytext") is None:
            raise ValueError(f"jupytext must be installed for the {edition} edition, got none: pip install jupytext")
        from .assemble import build  # what a plain install cannot import

        with tempfile.TemporaryDirectory() as built:
            paths = build(origin / "notebooks" / "source", Path(built), edition, run=False)
            wanted |= {Path("notebooks", path.name): path.read_bytes() for path in paths}
    _refuse_taken(folder, wanted)
    _write_all(folder, {name: content for name, content in wanted.items() if not (folder / name).exists()})
    return [folder / name for name in sorted(wanted)]


def _refuse_taken(folder: Path, wanted: dict[Path, bytes]) -> None:
    """Refuse to copy onto anything but the very same files."""
    places = {parent for name in wanted for parent in (folder / name).parents}
    if files_there := sorted(str(place) for place in places if os.path.lexists(place) and not place.is_dir()):
        raise ValueError(
            f"{folder} must have room for folders, got a file where one belongs, {', '.join(files_there)}: "
            "nothing was written, name another folder"
        )
    changed = []
    for name, content in sorted(wanted.items()):
        # A link to nowhere does not exist, and would be replaced; a pipe would be waited for.
        if os.path.lexists(folder / name) and not (folder / name).is_file():
            changed.append(f"{name.as_posix()} (which is no file)")
        elif (folder / name).exists() and (folder / name).read_bytes() != content:
            changed.append(name.as_posix())
    if changed:
        raise ValueError(
            f"{folder} must hold no other version of what is copied, got {', '.join(changed)}: "
            "nothing was written, name another folder"
        )


def _write_all(folder: Path, wanted: dict[Path, bytes]) -> None:
    """Write all files, or none: after a full disk or Ctrl-C those that were written are deleted again."""
    missing = {place for name in wanted for place in (folder / name).parents if not place.exists()}
    written: list[Path] = []
    try:
        for name, content in wanted.items():
            replace_file(folder / name, content)
            written.append(folder / name)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        for place in sorted(missing, key=lambda place: len(place.parts), reverse=True):
            with suppress(OSError):  # it was not made yet, or somebody else put a file there
                place.rmdir()
        raise


def material() -> Path:
    """The folder that holds `notebooks/` and `docs/`: the checkout's root, or the package's own copy."""
    package = Path(str(files("longlora_edu")))
    carried = package / "assets" / "course"
    return carried if carried.exists() else package.parent
