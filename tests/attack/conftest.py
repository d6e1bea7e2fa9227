"""The table of the attacks: what was tried, what survived. `tests/conftest.py` prints it at the end."""

from __future__ import annotations

import pytest


class Table:
    """Takes rows of attacks from a test: tried, survived, and what broke."""

    def __init__(self, node: pytest.Item) -> None:
        self.node = node

    def row(self, name: str, outcomes: list[str | None]) -> None:
        """Add a row. An outcome is None for what survived, else what happened instead; any of those fails the test."""
        broken = [outcome for outcome in outcomes if outcome is not None]
        self.node.user_properties.append(("attack", [name, len(outcomes), len(outcomes) - len(broken)]))
        assert outcomes, f"{name}: nothing was tried"
        assert not broken, f"{name}: {len(broken)} of {len(outcomes)} broke something, first {broken[:5]}"


@pytest.fixture
def table(request):
    return Table(request.node)
