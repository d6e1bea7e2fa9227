"""The models that the explorers of ranks and costs compare."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

from ..cost import ModelShape
from ..plan import shape_from_config
from ..runs.records import read_json

ASSETS = Path(str(files("longlora_edu"))) / "assets"


@cache
def known_shapes() -> dict[str, ModelShape]:
    """The small model that travels with the package, and Llama-2-7B."""
    small, _ = shape_from_config(read_json(ASSETS / "model" / "config.json"))
    return {"small model": small, "Llama-2-7B": ModelShape.llama2_7b()}
