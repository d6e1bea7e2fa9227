"""Pictures of the checks: drawn for the first case of each test."""

from __future__ import annotations

import io

import pytest
from PIL import Image

DRAWN = set()


def blank():
    """The bytes of a small PNG in a palette."""
    buffer = io.BytesIO()
    Image.new("P", (8, 4)).save(buffer, format="png")
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def drawn_once(request, monkeypatch):
    """Make each picture's axes and sentence in every case of a test of checks, and its PNG in the first case only.

    Making PNGs of the hundreds of mistakes took nine tenths of their tests' time.
    """
    if not request.path.stem.startswith(("test_checks_", "test_learners")):
        return
    test = (request.path, request.node.originalname)
    if test in DRAWN:
        monkeypatch.setattr("longlora_edu.plots.picture.png", lambda axes, dpi: blank())
    DRAWN.add(test)
