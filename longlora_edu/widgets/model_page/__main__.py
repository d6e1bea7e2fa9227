"""Write the model page: `python -m longlora_edu.widgets.model_page longlora-demo docs/model.html`.

The first argument is the folder that `longlora-edu demo` left, or an older page, which is made again with today's code.
"""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path

from ...runs.records import read_json, replace_file
from .model_html import held_out_samples, model_page, parts_of
from .packing import Packed, pack


def main() -> None:
    """Read the arguments, write the page, say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="a folder of longlora-edu demo, or a page to make again")
    parser.add_argument("page", type=Path)
    parser.add_argument("--base", type=Path, default=Path(str(files("longlora_edu") / "assets" / "model")))
    parser.add_argument("--kind", choices=["q8", "f16"], default="q8", help="how the base's matrices are stored")
    given = parser.parse_args()
    if given.source.is_file():
        packed, samples = parts_of(given.source.read_text(encoding="utf-8"))
    else:
        report = given.source / "report.json"
        group = read_json(report)["train"]["group_size"] if report.exists() else None
        packed = pack(given.base, given.source / "adapter", kind=given.kind, group_size=group)
        samples = held_out_samples(Packed.read(packed).header["context"])
    text = model_page(packed, samples)
    replace_file(given.page, text.encode())
    print(f"{given.page}: {len(text.encode()):,} bytes")


if __name__ == "__main__":
    main()
