"""The explorer as text: one ES module, its style, and the page that holds both and needs nothing else."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
MODULES = (
    "geometry", "challenge", "state", "words", "colours", "theme", "layout", "pen", "matrices", "picture", "hops",
    "tour", "face", "explorer", "page",
)  # fmt: skip
PAGE = """<!doctype html>
<html lang="en" data-theme="system" data-lessons="ipynb">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>S²-Attn explorer: who may look at whom</title>
<style>
body {{ margin: 0; padding: 16px; background: #FAFAFA; color: #222222;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }}
main {{ max-width: 1120px; margin: 0 auto; }}
main:has(.s2x-projector) {{ max-width: 1600px; font-size: 20px; }}
main:has(.s2x-projector) > :is(h1, p) {{ display: none; }}
h1 {{ font-size: 1.6em; line-height: 1.2; margin: 0 0 6px; }}
main > p {{ max-width: 72ch; margin: 0 0 14px; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #121416; color: #ECECEC; }} }}
@media (max-width: 480px) {{ body {{ padding: 8px; }} main > p {{ margin-bottom: 8px; }} }}
{style}</style>
</head>
<body>
<main>
<h1>S²-Attn: who may look at whom</h1>
<p>Half of the heads look inside groups of tokens, the other half inside groups that begin a little later: press Play \
to see a word travel, or point at a token.</p>
<div id="explorer"></div>
<noscript><p>This page draws with JavaScript, which is switched off in this browser.</p></noscript>
</main>
<script type="module">
{module}
start(render, document.getElementById("explorer"));
</script>
</body>
</html>
"""


@cache
def module() -> str:
    """The ES module, its files in one: `export default { render }` for anywidget, and the functions that tests call."""
    texts = [(FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in MODULES]
    return "\n".join(re.sub(r"^import [^;]*;\n", "", text, flags=re.MULTILINE) for text in texts)


@cache
def style() -> str:
    """The style sheet; every rule is below the class `s2x`, so that a notebook keeps its own looks."""
    return (FOLDER / "explorer.css").read_text(encoding="utf-8")


def page() -> str:
    """The explorer as one HTML file that needs no kernel and no network; its settings stand in the link.

    `python -m longlora_edu.widgets.explorer docs/explorer.html` writes it.
    """
    return PAGE.format(style=style(), module=module())
