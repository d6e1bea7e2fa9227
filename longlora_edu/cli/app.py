"""The application, and error handling that all commands share."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from ..runs.records import quoted

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"longlora-edu {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Learn LongLoRA by running it: shifted sparse attention, and a small model that reads four times further."""
    # A closed stream is None to Python. Writing there must not fail, and no file may get its number.
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (open as long as the process runs)
    # On Windows the encoding of a pipe may lack a letter: print "?" instead of failing.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


@contextmanager
def clear_errors(command: str, out: Path) -> Iterator[None]:
    """Print one sentence, not a trace, for an error that the user can fix; bugs keep their trace."""
    try:
        yield
    except KeyboardInterrupt:
        resumable = (out / "settings.json").exists()
        again = f"longlora-edu {command} --resume --out {quoted(str(out))}"
        lost = f"Only the steps since the last checkpoint are lost; continue with:\n  {again}"
        typer.echo(f"\nStopped. {lost if resumable else 'Nothing had been done yet.'}", err=True)
        raise typer.Exit(130) from None
    except BrokenPipeError:  # nobody reads on, as behind `| head -1`
        for descriptor in (1, 2):  # or Python would complain when it flushes at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        raise typer.Exit(141) from None  # as a shell calls the end by SIGPIPE
    except (ValueError, OSError, FloatingPointError) as error:
        typer.echo(f"longlora-edu: {error}", err=True)
        raise typer.Exit(1) from None


def show_left_out(names: Sequence[str]) -> None:
    """Print one line about files of a corpus that were not read."""
    if names:
        shown = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
        typer.echo(f"{len(names)} files of the corpus were left out: {shown}", err=True)


def check_device(device: str) -> None:
    """Check that the device is there, before any work.

    Raises:
        ValueError: for a GPU that is not there.
    """
    if device.startswith("cuda"):
        import torch

        if not torch.cuda.is_available():
            raise ValueError(f"--device {device} must find a GPU, got none that PyTorch sees")


def fields_of(kind: type, started: dict | None) -> dict:
    """Pick the fields of a settings class from the settings that a run was started with."""
    return {name: started[name] for name in kind.__dataclass_fields__ if name in started} if started else {}


def options_given(ctx: typer.Context, kind: type) -> dict:
    """Collect the options that the user gave, as fields of a settings class; paths become absolute text."""
    given = {name: value for name, value in ctx.params.items() if name in kind.__dataclass_fields__}
    return {
        name: str(value.resolve()) if isinstance(value, Path) else value
        for name, value in given.items()
        if value not in (None, [], ())
    }
