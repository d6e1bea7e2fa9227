from __future__ import annotations

import pytest
from hypothesis import Phase, settings

# For `pytest --hypothesis-profile=mutation`: every example is still tried, but no red one shrunk for a reader.
settings.register_profile("mutation", phases=[Phase.explicit, Phase.generate], deadline=None, derandomize=True)


@pytest.fixture
def threads():
    """Gives the number of threads back as it was: a run sets it for the whole process."""
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def journal(tmp_path):
    """A learner's journal of its own."""
    from longlora_edu.course.notebook.journal import Journal

    return Journal(tmp_path / "progress.json")


@pytest.fixture
def published(monkeypatch):
    """What cells would show: one mapping from kind to content an output."""
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    return shown


@pytest.fixture(scope="session")
def finished_demo(tmp_path_factory):
    """Settings, folder and result of one finished demo: the model of the package on a short text, in seconds."""
    import torch
    from helpers import write_text

    from longlora_edu.demo.run import DemoSettings, run_demo

    before = torch.get_num_threads()
    folder = tmp_path_factory.mktemp("finished")
    text = write_text(folder / "text.py")
    settings = DemoSettings(
        context=320, steps=24, batch=1, seed=3, threads=1, corpus=str(text), windows=4, trials=1, passkey_share=0.5
    )
    report = run_demo(settings, folder / "demo")
    torch.set_num_threads(before)
    return settings, folder / "demo", report
