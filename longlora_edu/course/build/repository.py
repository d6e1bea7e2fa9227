"""The address of the repository, stated once in `pyproject.toml`, and the addresses that follow from it."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

HOME = re.compile(r"https://github\.com/(?P<name>[^/]+/[^/]+)/tree/(?P<ref>[^/]+)")


@dataclass(frozen=True)
class Repository:
    """A public repository on GitHub at a tag.

    A badge that follows a branch would have Binder build its image anew after every commit, with a learner waiting.

    Raises:
        ValueError: for a `name` that is not OWNER/NAME, or a `ref` that moves.
    """

    name: str
    ref: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+", self.name):
            raise ValueError(f"repository must be OWNER/NAME, got {self.name!r}")
        if self.ref in ("HEAD", "main", "master") or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.ref):
            raise ValueError(f"ref must be a tag without slashes, got {self.ref!r}")

    @property
    def home(self) -> str:
        return f"https://github.com/{self.name}/tree/{self.ref}"

    @property
    def requirement(self) -> str:
        """The requirement that pip installs."""
        return f"longlora-edu @ git+https://github.com/{self.name}@{self.ref}"

    @property
    def site(self) -> str:
        """The address of the published pages, which a workflow puts on GitHub Pages; it ends with a slash."""
        owner, _, name = self.name.partition("/")
        return f"https://{owner.lower()}.github.io/{name}/"

    def tab(self, notebook: str) -> str:
        """Return the address that opens `notebooks/NAME.ipynb` in a browser tab, without a server."""
        return f"{self.site}lite/lab/index.html?path=notebooks/{notebook}.ipynb"

    def badges(self, notebook: str) -> str:
        """Markdown that opens `notebooks/NAME.ipynb` on Colab and on Binder."""
        colab = f"https://colab.research.google.com/github/{self.name}/blob/{self.ref}/notebooks/{notebook}.ipynb"
        binder = f"https://mybinder.org/v2/gh/{self.name}/{self.ref}?urlpath=lab/tree/notebooks/{notebook}.ipynb"
        return (
            f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab}) "
            f"[![Open on Binder](https://mybinder.org/badge_logo.svg)]({binder})"
        )


def read_repository(root: Path) -> Repository | None:
    """Read the address in the `pyproject.toml` of `root`, under `[project.urls]`; None where there is none yet.

    Raises:
        ValueError: for an address that names no tag of a repository on GitHub.
    """
    path = root / "pyproject.toml"
    if not path.exists():
        return None
    stated = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {}).get("urls", {}).get("Repository")
    if stated is None:
        return None
    if (found := HOME.fullmatch(stated)) is None:
        raise ValueError(f"Repository must be https://github.com/OWNER/NAME/tree/TAG in {path.name}, got {stated!r}")
    return Repository(**found.groupdict())
