"""Python for the browser tab from files alone, for a test without the server that readers get it from.

Core from npm, pure wheels from the package index, in the versions that Pyodide's lock names. NumPy and matplotlib are
compiled for browsers on that server only: what computes with them is not run here.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import subprocess
import sys
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PYODIDE = "pyodide@314.0.7"
# What the kernel asks for at its start; `comm` and the lexers are in no lock, so they go to the tab's own index.
LOCKED = (
    "asttokens", "decorator", "executing", "ipython", "jedi", "matplotlib-inline", "micropip", "packaging", "parso",
    "prompt-toolkit", "pure-eval", "pygments", "six", "stack-data", "traitlets", "wcwidth",
)  # fmt: skip
INDEXED = ("comm", "ipython_pygments_lexers")
ANYWHERE = ("--no-deps", "--only-binary", ":all:", "--python-version", "3.14", "--platform", "any")


def install_python(lite: Path, folder: Path) -> None:
    """Put Python beside the pages of `lite`, and name it in their settings; `folder` is for what is downloaded."""
    from jupyterlite_pyodide_kernel.addons.piplite import write_wheel_index

    packed = subprocess.run(
        ["npm", "pack", "--silent", PYODIDE, "--pack-destination", folder],
        check=True, capture_output=True, text=True, cwd=folder, timeout=300,
    ).stdout.strip()  # fmt: skip
    with tarfile.open(folder / packed) as archive:
        archive.extractall(folder, filter="data")
    core = (folder / "package").rename(lite / "pyodide")
    lock = json.loads((core / "pyodide-lock.json").read_text(encoding="utf-8"))
    _download(core, [f"{name}=={lock['packages'][name]['version']}" for name in LOCKED])
    for name in LOCKED:
        stem = f"{name}-{lock['packages'][name]['version']}".replace("-", "_").lower()
        (wheel,) = (path for path in core.glob("*.whl") if path.name.replace("-", "_").lower().startswith(stem))
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lock["packages"][name] |= {"file_name": wheel.name, "sha256": digest}
    (core / "pyodide-lock.json").write_text(json.dumps(lock), encoding="utf-8")
    _download(lite / "pypi", INDEXED)
    write_wheel_index(lite / "pypi")
    settings = lite / "jupyter-lite.json"
    said = json.loads(settings.read_text(encoding="utf-8"))
    kernel = said["jupyter-config-data"]["litePluginSettings"]["@jupyterlite/pyodide-kernel-extension:kernel"]
    kernel |= {"pyodideUrl": "./pyodide/pyodide.mjs", "disablePyPIFallback": True}
    kernel["pipliteUrls"] = [url.partition("?")[0] for url in kernel["pipliteUrls"]]
    settings.write_text(json.dumps(said), encoding="utf-8")


def _download(folder: Path, wanted) -> None:
    command = [sys.executable, "-m", "pip", "download", "-q", *ANYWHERE, "-d", folder, *wanted]
    subprocess.run(command, check=True, capture_output=True, timeout=600)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *said) -> None:
        """Say nothing: a page asks for hundreds of files."""


@contextlib.contextmanager
def served(folder: Path):
    """Serve a folder on localhost; gives its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
