"""The `config.json` of a model, from a folder, a file or the hub."""

from __future__ import annotations

from pathlib import Path

from ..records import read_json


def read_config(model: str) -> dict:
    """What `config.json` says. `model` is a folder that holds it, the file itself, or an ID on the hub.

    Raises:
        ValueError: for a folder without it, and for an ID where the hub cannot be reached, saying which file to bring.
    """
    path = Path(model)
    if path.is_file():
        return read_json(path)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ValueError(f"model must be a folder with config.json, got {path} without one")
        return read_json(path / "config.json")
    try:
        from transformers.utils import cached_file

        return read_json(Path(cached_file(model, "config.json")))
    except (OSError, ImportError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"model must be a folder with config.json or an ID that the hub knows, got {model!r}: {reason} "
            f"Without the hub, bring config.json of {model} and name its folder."
        ) from None
