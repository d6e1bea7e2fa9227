"""Print the lowest versions that `pyproject.toml` allows, as constraints; a given `NAME==VERSION` goes before its."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
texts = [*project["dependencies"], *(text for extra in project["optional-dependencies"].values() for text in extra)]
floors = {
    requirement.name: bound.version
    for requirement in map(Requirement, texts)
    for bound in requirement.specifier
    if bound.operator == ">="
}
floors |= dict(argument.split("==") for argument in sys.argv[1:])
print("\n".join(f"{name}=={version}" for name, version in sorted(floors.items())))
