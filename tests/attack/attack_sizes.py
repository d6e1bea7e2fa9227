"""The number of attacks of each kind: a sample by default, all under `-m attack`, a part of those in CI."""

from __future__ import annotations

import os

import pytest


def share(count: int) -> int:
    """Return a part of `count` attacks: all of them, or what LONGLORA_EDU_ATTACKS says, at least one."""
    return max(1, round(count * float(os.environ.get("LONGLORA_EDU_ATTACKS", "1"))))


def sizes(sample: int, full: int):
    """Parametrize a test by the number of attacks: `sample` by default, `full` under `-m attack`."""
    # A name of its own for each, so that `-m attack` runs no sample.
    return pytest.mark.parametrize(
        "count", [pytest.param(sample, id="sample"), pytest.param(share(full), id="full", marks=pytest.mark.attack)]
    )
