"""The course: open it, build its notebooks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .app import app, clear_errors


@app.command()
def lab(
    folder: Annotated[Path, typer.Argument(help="Where the notebooks are.")] = Path("notebooks"),
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Open JupyterLab at the first lesson."""
    with clear_errors("lab", folder):
        from ..course.lab import open_lab

        raise typer.Exit(open_lab(folder, browser=browser))


course = typer.Typer(no_args_is_help=True, help="Build the notebooks of the course.")
app.add_typer(course, name="course")


@course.command()
def build(
    lesson: Annotated[list[str] | None, typer.Argument(help="Lessons, such as 02; all by default.")] = None,
    edition: Annotated[Literal["student", "solution", "instructor"], typer.Option(help="Which one.")] = "student",
    source: Annotated[Path, typer.Option(help="Folder of the sources.")] = Path("notebooks/source"),
    out: Annotated[Path, typer.Option(help="Folder for the notebooks.")] = Path("notebooks"),
    execute: Annotated[bool, typer.Option(help="Store the outputs of the solution run.")] = True,
) -> None:
    """Write an edition of the lessons from their source."""
    with clear_errors("course build", out):
        from ..course.editions import build as build_edition

        if edition != "student" and out.resolve() == source.resolve().parent:
            raise ValueError(f"out must not be where the student edition is kept for {edition}, got {out}")
        for path in build_edition(source, out, edition, wanted=tuple(lesson or ()), run=execute):
            typer.echo(f"{path}: {path.stat().st_size / 1000:.0f} kB")
