"""What all commands share: the application, and sentences instead of traces."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from ..runs.records import quoted

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"longlora-edu {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """Learn LongLoRA by running it: shifted sparse attention, and a small model that reads eight times further."""
    # Windows gives a pipe or a file an encoding with few letters: one that is missing is not worth a result.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


@contextmanager
def clear_errors(command: str, out: Path) -> Iterator[None]:
    """A sentence instead of a trace for what a user can put right; bugs keep their trace."""
    try:
        yield
    except KeyboardInterrupt:
        resumable = (out / "settings.json").exists()
        again = f"longlora-edu {command} --resume --out {quoted(str(out))}"
        lost = f"Nothing but the steps since the last checkpoint is lost; go on with:\n  {again}"
        typer.echo(f"\nStopped. {lost if resumable else 'Nothing had been done yet.'}", err=True)
        raise typer.Exit(130) from None
    except (ValueError, OSError, FloatingPointError) as error:
        typer.echo(f"longlora-edu: {error}", err=True)
        raise typer.Exit(1) from None


def check_device(device: str) -> None:
    """Before any work.

    Raises:
        ValueError: for a GPU that is not there.
    """
    if device.startswith("cuda"):
        import torch

        if not torch.cuda.is_available():
            raise ValueError(f"--device {device} must find a GPU, got none that PyTorch sees")


def fields_of(kind: type, started: dict | None) -> dict:
    """What a run was started with, of the fields that settings of this kind have."""
    return {name: started[name] for name in kind.__dataclass_fields__ if name in started} if started else {}
