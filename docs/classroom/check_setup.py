"""Check whether this machine is ready for the lab: `python check_setup.py` says *ready*, or what to do; no network."""

import importlib.util
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

NEEDED = {  # what the lab imports, and the packages that bring it
    "longlora_edu": "longlora-edu",
    "torch": "torch",
    "numpy": "numpy",
    "matplotlib": "matplotlib",
    "jupyterlab": "jupyterlab",
    "anywidget": "anywidget",
}
PYTHON, SPACE = (3, 11), 2  # gigabytes that the lab may write
WORKS = """
from longlora_edu.geometry import S2Geometry
from longlora_edu.model import bundled_model
assert bool(S2Geometry(16, 4, 2).reach(7)[-1, 0])
print(bundled_model().config.trained_context)
"""


def missing():
    """List what is missing, each as a line that says what to do."""
    found = []
    if sys.version_info < PYTHON:
        found.append(f"Python {sys.version.split()[0]} is too old: install 3.11 or newer, and begin again.")
    for module, package in NEEDED.items():
        if importlib.util.find_spec(module) is None:
            found.append(f"{package} is missing for {sys.executable}: run step 2 of the mail with this Python.")
    if shutil.disk_usage(".").free < SPACE * 2**30:
        found.append(f"The disk has less than {SPACE} GB free: make room.")
    if not found:
        tried = subprocess.run([sys.executable, "-c", WORKS], capture_output=True, text=True)
        if tried.returncode:
            found.append(f"The small model does not start: {tried.stderr.strip().splitlines()[-1]}")
    return found


def main():
    """Print the versions and the verdict; return 0 where everything is there."""
    print(f"Python {sys.version.split()[0]} at {sys.executable}")
    for package in NEEDED.values():
        try:
            print(f"{package} {version(package)}")
        except PackageNotFoundError:
            print(f"{package}: not installed")
    problems = missing()
    print("\n".join(problems) if problems else "ready")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
