"""Slides of the talk and of the lab, from tables and INSTRUCTOR.md, without a network: `python docs/slides/build.py`.

Wants `python -m pip install -c constraints.txt -e ".[docs]"`; open `build/slides/index.html` from the disk, or
`lab.html` beside it. The arrows to the right and left walk every slide, `s` opens the notes, `f` fills the screen.
`--pdf` prints the talk beside the folder with a Chromium, as `slides.pdf`.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path

from deck import deck, read_table
from figures import ROOT

SLIDES = Path(__file__).resolve().parent
TABLE, LAB = SLIDES / "fifty_minutes.toml", SLIDES / "lab.toml"
PAPER = """
@page { size: 1280px 720px; margin: 0; }
html, body { margin: 0; height: auto; background: #fff; }
.reveal .slides > section > section {
  position: relative; width: 1280px; height: 719px; overflow: hidden; break-after: page;
}
.reveal aside.notes { display: none; }
"""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
WANTED = ("nbconvert", "sphinx_revealjs")
# Of reveal.js what the template loads.
REVEAL = (
    "LICENSE",
    "dist/reveal.css",
    "dist/reveal.js",
    "dist/theme/white.css",
    "dist/theme/fonts/source-sans-pro",
    "plugin/notes",
)


def build(out: Path) -> None:
    """Write the decks of the talk and the lab, reveal.js and the explorer into the folder `out`, which is replaced."""
    from nbconvert import SlidesExporter

    exporter = SlidesExporter(
        extra_template_basedirs=[str(SLIDES)],
        template_name="room",
        reveal_url_prefix="reveal.js",
        reveal_theme="white",
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )
    page, _ = exporter.from_notebook_node(deck(read_table(TABLE)))
    lab, _ = exporter.from_notebook_node(deck(read_table(LAB, TABLE)))
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    with as_file(files("sphinx_revealjs") / "_static" / "revealjs") as reveal:
        for name in REVEAL:
            copy = shutil.copytree if (reveal / name).is_dir() else shutil.copy
            (target := out / "reveal.js" / name).parent.mkdir(parents=True, exist_ok=True)
            copy(reveal / name, target)
    shutil.copy(ROOT / "docs" / "explorer.html", out)
    shutil.copy(SLIDES / "room" / "room.css", out)
    (out / "index.html").write_text(page, encoding="utf-8")
    (out / "lab.html").write_text(lab, encoding="utf-8")
    (out / "print.html").write_text(on_paper(page), encoding="utf-8")


def lacking() -> str | None:
    """Say what to install where a package that the slides want is missing."""
    missing = [name for name in WANTED if find_spec(name) is None]
    if not missing:
        return None
    return f'{" and ".join(missing)} must be there: python -m pip install -c constraints.txt -e ".[lab,docs]"'


def on_paper(page: str) -> str:
    """Return a deck as plain pages, a slide each, without scripts: what a browser prints as it stands."""
    page = re.sub(r"<script\b.*?</script>|<link[^>]*reveal\.css[^>]*>", "", page, flags=re.DOTALL)
    return page.replace("</body>", f"<style>{PAPER}</style></body>", 1)


def browser() -> str | None:
    """Find a Chromium or a browser made of it; None where there is none. `CHROMIUM` names one that is elsewhere."""
    return next(filter(None, map(shutil.which, [os.environ.get("CHROMIUM", ""), *BROWSERS])), None)


def print_pdf(page: Path, pdf: Path) -> bool:
    """Print an HTML page as PDF; false where no browser is found.

    Raises:
        RuntimeError: when the browser wrote nothing.
    """
    if (program := browser()) is None:
        return False
    with tempfile.TemporaryDirectory() as profile:  # of its own, so that one that is open is left alone
        quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer", f"--user-data-dir={profile}"]
        command = [program, *quiet, "--allow-file-access-from-files", f"--print-to-pdf={pdf}", page.resolve().as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    if not pdf.is_file():
        raise RuntimeError(f"{program} must write {pdf}, got {done.stderr[-300:]}")
    return True


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "slides", help="replaced, if it is there")
    parser.add_argument("--pdf", action="store_true", help="print the deck beside the folder, as slides.pdf")
    asked = parser.parse_args()
    if missing := lacking():
        sys.exit(missing)
    build(asked.out)
    print(f"open {asked.out / 'index.html'}")
    if asked.pdf and not print_pdf(asked.out / "print.html", asked.out.with_name("slides.pdf")):
        sys.exit("no Chromium was found: open print.html in a browser and print it, or name one in CHROMIUM")
