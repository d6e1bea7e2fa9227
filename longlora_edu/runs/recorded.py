"""Results that were measured once and travel with the package, so that a small machine can replay them."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from .records import read_json


def recorded(name: str) -> dict:
    """The record `name`, as the command that it names wrote it.

    Raises:
        ValueError: naming the records there are.
    """
    folder = Path(str(files("longlora_edu"))) / "assets" / "results"
    path = folder / f"{name}.json"
    if not path.exists():
        names = ", ".join(sorted(path.stem for path in folder.glob("*.json")))
        raise ValueError(f"name must be one of {names}, got {name!r}")
    return read_json(path)


def recorded_line(name: str) -> str:
    """Where the numbers of a record come from, for the line under its picture."""
    record = recorded(name)
    machine, torch = record["machine"], record["versions"]["torch"]
    threads = f", {machine['threads']} threads" if machine.get("threads") else ""
    return (
        f"Recorded on {machine['processor']}{threads}, torch {torch}, {record['date'][:10]}, by `{record['command']}`"
    )
