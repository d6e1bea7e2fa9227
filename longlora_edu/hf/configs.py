"""The `config.json` of a model, from a folder, a file or the hub."""

from __future__ import annotations

from pathlib import Path

from ..records import read_json


def read_config(model: str) -> dict:
    """What the config of a model says. `model` is a folder with `config.json`, that file, a `.gguf` file, or an ID on
    the hub.

    Raises:
        ValueError: where there is none, saying which file to bring.
    """
    path = Path(model)
    if path.suffix == ".gguf" and path.is_file():
        from transformers import AutoConfig

        return AutoConfig.from_pretrained(path.parent, gguf_file=path.name).to_dict()
    if path.is_file():
        return read_json(path)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ValueError(f"model must be a folder with config.json, got {path} without one")
        return read_json(path / "config.json")
    if path.suffix == ".gguf" or path.is_absolute() or model.startswith(".") or model.count("/") > 1:
        raise ValueError(f"model must be a folder, a .gguf file or an ID on the hub, got {model}, which does not exist")
    try:
        from transformers.utils import cached_file

        return read_json(Path(cached_file(model, "config.json")))
    except (OSError, ImportError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"model must be a folder with config.json or an ID that the hub knows, got {model!r}: {reason} "
            f"Without the hub, bring config.json of {model} (with its weights and tokenizer, to train) and name its "
            "folder."
        ) from None
