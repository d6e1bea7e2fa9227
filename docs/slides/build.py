"""Slides of the 50 minutes, from the lessons and INSTRUCTOR.md, without a network: `python docs/slides/build.py`.

Wants `python -m pip install -c constraints.txt -e ".[docs]"`; open `build/slides/index.html` from the disk. Arrows turn
the slides (down: the answer to a poll), `s` opens the notes, `f` fills the screen.
"""

from __future__ import annotations

import argparse
import shutil
from importlib.resources import as_file, files
from pathlib import Path

from deck import ROOT, deck, read_table

SLIDES = Path(__file__).resolve().parent
TABLE = SLIDES / "fifty_minutes.toml"
# Of reveal.js what the template loads.
REVEAL = (
    "LICENSE",
    "dist/reveal.css",
    "dist/reveal.js",
    "dist/theme/white.css",
    "dist/theme/fonts/source-sans-pro",
    "plugin/notes",
)


def build(out: Path, table: Path = TABLE) -> None:
    """Write the deck, reveal.js and the explorer into the folder `out`, which is replaced."""
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
    page, _ = exporter.from_notebook_node(deck(read_table(table)))
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "slides", help="replaced, if it is there")
    out = parser.parse_args().out
    build(out)
    print(f"open {out / 'index.html'}")
