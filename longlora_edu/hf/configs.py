"""The `config.json` of a model, from a folder, a file or the hub."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ..runs.records import read_json


def read_config(model: str) -> dict:
    """What the config of a model says. `model` is a folder with `config.json`, that file, a `.gguf` file, or an ID on
    the hub.

    Raises:
        ValueError: where there is none, saying which file to bring.
    """
    path = find_config(model)
    return gguf_config(path).to_dict() if path.suffix == ".gguf" else read_json(path)


@cache
def gguf_config(path: Path):
    """The config of a GGUF file as transformers has it; kept, since reading the file takes seconds.

    Raises:
        ValueError: for a file that is damaged, or of a family that transformers does not read.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(path.parent, gguf_file=path.name)
    except Exception as error:  # a reader of a binary format fails in many ways
        raise ValueError(f"{path} must be a GGUF file that transformers reads, got {error!r:.300}") from None


def find_config(model: str) -> Path:
    """The file that says what a model is; from the hub, a copy.

    Raises:
        ValueError: where there is none, saying which file to bring.
    """
    path = Path(model)
    if path.is_file():
        return path
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ValueError(f"model must be a folder with config.json, got {path} without one")
        return path / "config.json"
    if path.suffix == ".gguf" or path.is_absolute() or model.startswith(".") or model.count("/") > 1:
        raise ValueError(f"model must be a folder, a .gguf file or an ID on the hub, got {model}, which does not exist")
    try:
        from transformers.utils import cached_file

        return Path(cached_file(model, "config.json"))
    except (OSError, ImportError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"model must be a folder with config.json or an ID that the hub knows, got {model!r}: {reason} "
            f"Without the hub, bring config.json of {model} (with its weights and tokenizer, to train) and name its "
            "folder."
        ) from None
