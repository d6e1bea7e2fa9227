"""The course as files of one's own: out of a checkout, or out of what an installed package carries of it."""

from __future__ import annotations

import importlib.util
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from ...runs.records import replace_file

if TYPE_CHECKING:
    from . import Edition

# Whatever a notebook links to, at the same place beside it.
BESIDE = (
    "INSTRUCTOR.md",
    "docs/claims.md",
    "docs/explorer.html",
    "docs/model.html",
    "docs/real_models.md",
    "notebooks/glossary.md",
    "notebooks/one_sheet.py",
)


def copy_course(folder: Path, edition: Edition = "student") -> list[Path]:
    """Write the notebooks into `folder/notebooks`, and what they link to beside it; returns the paths.

    The student edition has its outputs; the others are built on the spot and have none. A file that is there and
    differs stops everything before anything is written: it may be a learner's work.

    Raises:
        ValueError: naming the files that differ, or where jupytext, which reads the sources, is not installed.
    """
    origin = material()
    wanted = {Path(name): (origin / name).read_bytes() for name in BESIDE}
    if edition == "student":
        notebooks = sorted((origin / "notebooks").glob("[0-9][0-9]_*.ipynb"))
        wanted |= {Path("notebooks", path.name): path.read_bytes() for path in notebooks}
    else:
        if importlib.util.find_spec("jupytext") is None:
            raise ValueError(f"jupytext must be installed for the {edition} edition, got none: pip install jupytext")
        from . import build  # what a plain install cannot import

        with tempfile.TemporaryDirectory() as built:
            paths = build(origin / "notebooks" / "source", Path(built), edition, run=False)
            wanted |= {Path("notebooks", path.name): path.read_bytes() for path in paths}
    changed = [
        name.as_posix()
        for name, content in sorted(wanted.items())
        if (folder / name).exists() and (folder / name).read_bytes() != content
    ]
    if changed:
        raise ValueError(
            f"{folder} must hold no other version of what is copied, got {', '.join(changed)}: "
            "nothing was written, name another folder"
        )
    for name, content in wanted.items():
        replace_file(folder / name, content)
    return [folder / name for name in sorted(wanted)]


def material() -> Path:
    """The folder that holds `notebooks/` and `docs/`: the checkout's root, or the package's own copy."""
    package = Path(str(files("longlora_edu")))
    carried = package / "assets" / "course"
    return carried if carried.exists() else package.parent
