"""Commands of the course: open, copy and build its notebooks, and write its links."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .. import __version__
from .app import app, clear_errors


@app.command()
def lab(
    folder: Annotated[Path, typer.Argument(help="Folder of the notebooks.")] = Path("notebooks"),
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Open JupyterLab at the first lesson."""
    with clear_errors("lab", folder):
        from ..course.build.lab import open_lab

        raise typer.Exit(open_lab(folder, browser=browser))


course = typer.Typer(no_args_is_help=True, help="Copy or build the notebooks of the course.")
app.add_typer(course, name="course")


@course.command()
def copy(
    folder: Annotated[Path, typer.Argument(help="Folder in which notebooks/ is created.")],
    edition: Annotated[
        Literal["student", "solution", "instructor", "classroom", "assignment"],
        typer.Option(help="Edition of the notebooks."),
    ] = "student",
) -> None:
    """Copy the course into a folder. Files that you have changed there are kept."""
    with clear_errors("course copy", folder):
        from ..course.build.copies import copy_course

        copied = copy_course(folder, edition)
        typer.echo(f'{len(copied)} files; open them with: longlora-edu lab "{folder / "notebooks"}"')


@course.command("build")
def build_command(
    lesson: Annotated[list[str] | None, typer.Argument(help="Lessons, such as 02; all by default.")] = None,
    edition: Annotated[
        Literal["student", "solution", "instructor", "classroom", "assignment"],
        typer.Option(help="Edition of the notebooks."),
    ] = "student",
    source: Annotated[Path, typer.Option(help="Folder of the sources.")] = Path("notebooks/source"),
    out: Annotated[Path, typer.Option(help="Folder for the notebooks.")] = Path("notebooks"),
    execute: Annotated[bool, typer.Option(help="Run the solutions and store their outputs.")] = True,
) -> None:
    """Build an edition of the lessons from their source."""
    with clear_errors("course build", out):
        from ..course.build.assemble import build

        if edition != "student" and out.resolve() == source.resolve().parent:
            raise ValueError(f"out must not be where the student edition is kept for {edition}, got {out}")
        for path in build(source, out, edition, wanted=tuple(lesson or ()), run=execute):
            typer.echo(f"{path}: {path.stat().st_size / 1000:.0f} kB")


@course.command()
def links(
    repository: Annotated[
        str | None, typer.Option(help="OWNER/NAME on GitHub; by default the one in pyproject.toml.")
    ] = None,
    ref: Annotated[
        str | None, typer.Option(help=f"A tag, so that a badge always opens the same version.  [v{__version__}]")
    ] = None,
    unset: Annotated[bool, typer.Option("--unset", help="Remove all addresses.")] = False,
    root: Annotated[Path, typer.Option(help="Folder of the checkout.")] = Path("."),
) -> None:
    """Write the repository's address into every badge and the first cell of every notebook, without running them."""
    with clear_errors("course links", root):
        from ..course.build.repository import Repository, read_repository
        from ..course.build.stamp import stamp

        if unset and (repository or ref):
            raise ValueError(f"repository and ref must not be given with --unset, got {repository or ref!r}")
        stated = None if unset else read_repository(root)
        if repository:
            stated = Repository(repository, ref or f"v{__version__}")
        elif ref:
            if stated is None:
                raise ValueError(f"repository must be given where pyproject.toml names none, got only the ref {ref!r}")
            stated = Repository(stated.name, ref)
        changed = stamp(root, stated)
        typer.echo(f"{stated.home if stated else 'no repository'}: {len(changed)} files changed")
