"""`longlora-edu study` and `bench`: commands of `research/`, available in a checkout only."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import typer

from .app import app, clear_errors

CHECKOUT = Path(__file__).resolve().parents[2]


def has_research() -> bool:
    """Return whether `import research` finds the folder beside this package: another project may use the name."""
    spec = find_spec("research")
    return bool(spec and spec.origin) and Path(spec.origin).resolve().parent == CHECKOUT / "research"


def add_commands() -> None:
    """Add both commands to the application; without a checkout they explain where they run."""
    if has_research():
        import_module("research.cli_bench")
        import_module("research.cli_study")
        import_module("research.cli_law")
        return
    anything = {"ignore_unknown_options": True, "allow_extra_args": True}
    for name in ("study", "bench"):
        app.command(name, context_settings=anything, help="Needs a checkout of the repository.")(_refusal(name))


def _refusal(name: str):
    def command(context: typer.Context) -> None:
        with clear_errors(name, Path(".")):
            raise ValueError(
                f"{name} must run from a checkout, where research/ is, got an installed package without it"
            )

    return command


add_commands()
