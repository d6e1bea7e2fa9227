"""A learner's predictions, answers and solved exercises: one local file, from which nothing leaves the machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from filelock import FileLock

from ...runs.records import read_json, write_json


class Journal:
    """A small dictionary on disk: `kind` (predictions, quiz, exercises), then a key such as `"02.leak"`.

    The file is `progress.json` in the folder of the notebook, or what `LONGLORA_EDU_PROGRESS` names. It is read
    again each time, and locked while an answer is added, so that notebooks open side by side lose none of each other's.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = Path(path or os.environ.get("LONGLORA_EDU_PROGRESS") or "progress.json")

    def all(self) -> dict:
        """Everything noted so far.

        Raises:
            ValueError: for a file that is damaged, naming it.
        """
        return read_json(self.path) if self.path.exists() else {}

    def get(self, kind: str, key: str):
        """The entry under a kind and key, or None."""
        return self.all().get(kind, {}).get(key)

    def note(self, kind: str, key: str, value: Any) -> None:
        """Note `value` in place of what was there."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_name(f".{self.path.name}.lock")):
            entries = self.all()
            entries.setdefault(kind, {})[key] = value
            write_json(self.path, entries)
