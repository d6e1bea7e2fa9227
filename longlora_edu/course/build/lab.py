"""JupyterLab at the first lesson, without news pop-ups, drawing outputs that are off the screen as well."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from types import FrameType

FIRST = "00_start_here.ipynb"
# Where JupyterLab would look for, and leave, what its user has set.
PRIVATE = ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR")


def open_lab(folder: Path, *, browser: bool = True) -> int:
    """Serve `folder` until the reader stops it; returns JupyterLab's exit status.

    The course's settings are defaults: what a reader has set for themselves stays as it is.

    Raises:
        ValueError: for a folder without the first lesson, or where JupyterLab is not installed.
    """
    if not (folder / FIRST).exists():
        raise ValueError(
            f"the folder must hold {FIRST}, got {folder}: name it with `longlora-edu lab FOLDER`, "
            "or get one with `longlora-edu course copy .`"
        )
    if importlib.util.find_spec("jupyterlab") is None:
        raise ValueError("jupyterlab must be installed, got none: python -m pip install 'longlora-edu[lab]'")
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder.resolve()}"]
    command += [f"--LabApp.default_url=/lab/tree/{FIRST}", *([] if browser else ["--no-browser"])]
    if getattr(os, "geteuid", lambda: 1)() == 0:  # a container's only user; the server answers this machine alone
        command.append("--allow-root")
    process = subprocess.Popen(command, env=lab_environment(dict(os.environ)))
    with _ended_by_signals():
        try:
            return process.wait()
        finally:
            _end(process)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Leave the block when somebody ends this process, which would else leave its children behind.

    Only a main thread gets signals; on Windows there are none to wait for.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, _leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)  # as a shell calls the end by a signal


def _end(process: subprocess.Popen, *, seconds: float = 30) -> None:
    """End a JupyterLab with its kernels, by force if it does not."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def lab_environment(environment: dict[str, str]) -> dict[str, str]:
    """`environment` with the course's JupyterLab defaults added to the places where Jupyter looks for them."""
    ours = str(Path(str(files("longlora_edu"))) / "assets" / "jupyter")
    paths = [ours, *filter(None, [environment.get("JUPYTER_CONFIG_PATH")])]
    return environment | {"JUPYTER_CONFIG_PATH": os.pathsep.join(paths)}


@contextmanager
def served_lab(folder: Path, home: Path, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """The address of a JupyterLab on `folder`, set up as by `open_lab`, for a browser that a program drives.

    It keeps its settings and its log in `home`, apart from those of the user, and asks for no token: on this machine
    only, and only for as long as the block runs.

    Raises:
        ValueError: with the end of its log, where JupyterLab does not start.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--IdentityProvider.token=", f"--port={port}"]
    command += ["--ServerApp.allow_root=True", "--LabApp.expose_app_in_browser=True", "--ServerApp.port_retries=0"]
    command += [f"--ServerApp.root_dir={folder}"]
    private = {name: str(home / f".{name.lower()}") for name in PRIVATE}
    with open(home / "log.txt", "w") as log:
        variables = lab_environment(dict(os.environ)) | private | dict(environment or {})
        process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
        try:
            _wait_for(f"http://127.0.0.1:{port}/api", process, home / "log.txt")
            yield f"http://127.0.0.1:{port}"
        finally:
            _end(process)


def _wait_for(address: str, process: subprocess.Popen, log: Path, *, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.5)
    raise ValueError(f"JupyterLab must start, got: {log.read_text()[-1000:]}")
