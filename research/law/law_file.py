"""The committed prediction: where it lies, and its hash, which is part of every row's key and record."""

from __future__ import annotations

import hashlib
from pathlib import Path

LAW = Path(__file__).parents[2] / "docs" / "law.md"


def law_hash(path: Path | None = None) -> str:
    """Return the sha256 of the page that states the prediction.

    Raises:
        ValueError: when there is none yet: nothing is measured before it is predicted.
    """
    path = path or LAW
    if not path.is_file():
        raise ValueError(f"{path} must be written before a row of the law is computed: see longlora-edu study law-page")
    return hashlib.sha256(path.read_bytes()).hexdigest()
