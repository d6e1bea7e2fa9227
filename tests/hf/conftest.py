"""A training that is killed in the middle."""

from __future__ import annotations

from contextlib import contextmanager

import pytest


@pytest.fixture
def killed_at(monkeypatch):
    """`with killed_at(step, part=0)`: the run inside dies there, and the same code goes on afterwards."""
    from longlora_edu.hf import run_training as training

    original = training._Objective.__call__

    @contextmanager
    def killing(step, part=0):
        def dies(self, *at):
            if at == (step, part):
                raise KeyboardInterrupt
            return original(self, *at)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(training._Objective, "__call__", dies)
            yield

    return killing
