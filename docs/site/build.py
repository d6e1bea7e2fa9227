"""The site, from the stored notebooks and documents, without a network: `python docs/site/build.py`.

Wants `python -m pip install -c constraints.txt -e ".[docs]"`; open `build/site/index.html` from the disk.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from check import problems
from collect import ROOT, collect
from lite import lite


def build(out: Path) -> None:
    """Collect, run Sphinx, whose warnings are errors, and add the slides and the lessons for a browser tab.

    Raises:
        subprocess.CalledProcessError: when either fails; what they say is on the terminal.
    """
    if out.exists():
        shutil.rmtree(out)
    with tempfile.TemporaryDirectory() as folder:
        source, doctrees = Path(folder) / "source", Path(folder) / "doctrees"
        collect(source)
        options = ["-W", "--keep-going", "-q", "-b", "html", "-d", doctrees]
        subprocess.run([sys.executable, "-m", "sphinx", *options, source, out], cwd=ROOT, check=True)
    slides = [sys.executable, ROOT / "docs" / "slides" / "build.py", "--out", out / "slides"]
    subprocess.run(slides, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    own = lite(out / "lite")
    print(f"lite/: {sum(own.values()):,} bytes of our own, the largest {max(own, key=own.get)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site", help="replaced, if it is there")
    out = parser.parse_args().out
    try:
        build(out)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    if found := problems(out, apart=out / "lite"):
        sys.exit("\n".join(found))
    print(f"open {out / 'index.html'}")
