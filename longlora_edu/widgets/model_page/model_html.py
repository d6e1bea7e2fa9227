"""The model page as one HTML file: weights, worker, face and the files to take, with nothing from elsewhere."""

from __future__ import annotations

import base64
import html
import json
import re
from dataclasses import dataclass

from .bundle import module, style
from .packing import Packed

LIMIT = 6_000_000  # bytes of the page
PAGE = """<!doctype html>
<html lang="en" data-theme="system">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline' blob:; \
worker-src blob:; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'">
<title>A small model, extended with LongLoRA, alive in this page</title>
<style>
body {{ margin: 0; padding: 16px; background: #FAFAFA; color: #222222;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }}
main {{ max-width: 1160px; margin: 0 auto; }}
h1 {{ font-size: 1.6em; line-height: 1.2; margin: 0 0 6px; }}
main > p {{ max-width: 75ch; margin: 0 0 14px; }}
a {{ color: inherit; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #121416; color: #ECECEC; }} }}
@media (max-width: 480px) {{ body {{ padding: 10px; }} }}
{style}</style>
</head>
<body>
<main>
<h1>A small model, extended, alive in this page</h1>
<p>{intro}</p>
<div id="model"></div>
<p>{about}</p>
<noscript><p>This page computes with JavaScript, which is switched off in this browser.</p></noscript>
</main>
<script type="text/plain" id="pack">{pack}</script>
<script type="application/json" id="samples">{samples}</script>
<script type="module">
{module}
launch(render, document.getElementById("model"), JSON.parse(document.getElementById("samples").textContent));
</script>
</body>
</html>
"""


@dataclass(frozen=True)
class Sample:
    """A text to take: its name, and its bytes as text."""

    name: str
    text: str


def model_page(pack: bytes, samples: tuple[Sample, ...]) -> str:
    """The page around a pack and a few texts that the model never saw.

    Raises:
        ValueError: for data that is no pack, or a page above 6 MB.
    """
    header = Packed.read(pack).header
    millions = [sum(_count(about) for about in header[part].values()) / 1e6 for part in ("tensors", "adapter")]
    intro = (
        f"This file holds a language model of {millions[0]:.1f} million weights. It learned to read Python, "
        f"{header['trained']:,} bytes at a time. Stretched positions take it to {header['context']:,}; an adapter of "
        f"{millions[1]:.1f} million weights, trained with LongLoRA, finds names there. Type, switch, and "
        "see what changes. Nothing that you type leaves this page."
    )
    about = (
        "Why this works: lessons 07 and 08 of the course; who looks at whom: "
        '<a href="explorer.html">the explorer</a>. The files are held-out modules of Python’s standard library '
        "(Python Software Foundation License)."
    )
    # `</` would end the script element that holds the texts.
    texts = json.dumps([vars(sample) for sample in samples], ensure_ascii=True).replace("</", "<\\/")
    text = PAGE.format(
        style=style(),
        intro=html.escape(intro),
        about=about,
        pack=base64.b64encode(pack).decode(),
        samples=texts,
        module=module(),
    )
    if len(text.encode()) > LIMIT:
        raise ValueError(f"page must have at most {LIMIT:,} bytes, got {len(text.encode()):,}: pack with kind='q8'")
    return text


def held_out_samples(length: int, count: int = 3) -> tuple[Sample, ...]:
    """The beginnings of `count` held-out modules of the standard library, ASCII and at least `length` bytes long."""
    from ...training.corpus import standard_library

    fitting = [
        document
        for document in sorted(standard_library().held_out, key=lambda document: document.name)
        if len(document.data) >= length and bytes(document.data[:length]).isascii()
    ]
    step = max(1, len(fitting) // count)
    return tuple(Sample(d.name, bytes(d.data[:length]).decode()) for d in fitting[::step][:count])


def parts_of(text: str) -> tuple[bytes, tuple[Sample, ...]]:
    """The pack and the texts in a page that `model_page` wrote: to make it again with newer code.

    Raises:
        ValueError: for a page that holds none.
    """
    found = [re.search(rf'id="{name}">([^<]*(?:<(?!/script)[^<]*)*)</script>', text) for name in ("pack", "samples")]
    if None in found:
        raise ValueError(f"page must hold the scripts pack and samples, got {text[:60]!r}")
    pack, texts = (match[1] for match in found)
    return base64.b64decode(pack), tuple(Sample(**sample) for sample in json.loads(texts))


def _count(about: dict) -> int:
    size = 1
    for length in about["shape"]:
        size *= length
    return size
