from __future__ import annotations

import os
from pathlib import Path

# Two processes with two threads each would wait for one another: under xdist a process has one. Before torch is loaded.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import Phase, settings

# For `pytest --hypothesis-profile=mutation`: every example is still tried, but no red one shrunk for a reader.
settings.register_profile("mutation", phases=[Phase.explicit, Phase.generate], deadline=None, derandomize=True)


@pytest.hookimpl(optionalhook=True)  # the mutation run loads no plugin but Hypothesis
def pytest_xdist_auto_num_workers(config):
    """Whole folders are shared among processes; a file or two run in this one, which starts faster."""
    files = all(Path(argument.partition("::")[0]).is_file() for argument in config.args)
    return 0 if files else min(os.cpu_count() or 1, 4)


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in this hook
def pytest_collection_modifyitems(config, items):
    """A file stays in one process, so that what it builds once is built once; what takes longest begins first."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    own = [item for item in items if item.get_closest_marker("xdist_group")]
    rest = [item for item in items if not item.get_closest_marker("xdist_group")]
    for item in rest:
        item.add_marker(pytest.mark.xdist_group(item.path.name))
    items[:] = own + sorted(rest, key=lambda item: item.get_closest_marker("browser") is None)


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
    from helpers import write_little, write_text

    from longlora_edu.demo.run import DemoSettings, run_demo

    before = torch.get_num_threads()
    folder = tmp_path_factory.mktemp("finished")
    text = write_text(folder / "text.py")
    settings = DemoSettings(
        context=640,
        rank=8,
        steps=24,
        batch=1,
        seed=3,
        threads=1,
        corpus=str(text),
        windows=4,
        trials=1,
        references=3,
        passkey_share=0.5,
    )
    with pytest.MonkeyPatch.context() as patch:
        write_little(patch)
        report = run_demo(settings, folder / "demo")
    torch.set_num_threads(before)
    return settings, folder / "demo", report


def pytest_terminal_summary(terminalreporter):
    """Print what the attacks of tests/attack tried and survived."""
    reports = [report for name in ("passed", "failed") for report in terminalreporter.stats.get(name, [])]
    rows = [row for report in reports for name, row in report.user_properties if name == "attack"]
    if rows:
        terminalreporter.section("attacks")
        terminalreporter.write_line(f"{'attack':<76}{'tried':>8}{'survived':>10}")
        for name, tried, survived in rows:
            terminalreporter.write_line(f"{name:<76}{tried:>8,}{survived:>10,}")
