"""Write what README.md and docs/demo.md take from the record of the demo and from the lessons: `python docs/front.py`.

Between its marks a block is replaced, the rest stays as it is. A test holds the blocks equal to the record; so after a
new recording of the demo, or a change of lessons, this one command is all there is to do.
"""

from __future__ import annotations

import contextlib
import io
import math
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "site")]

from longlora_edu.course.build.minutes import minutes  # noqa: E402
from longlora_edu.course.build.source import Lesson, lessons  # noqa: E402
from longlora_edu.demo.ladder import CLASSES, TITLES  # noqa: E402
from longlora_edu.runs.marked import fill_marked  # noqa: E402
from longlora_edu.runs.records import read_json  # noqa: E402
from longlora_edu.training.references import TAUGHT  # noqa: E402

RECORD = "longlora_edu/assets/results/demo.json"
SEEDS = "benchmarks/results/demo_seeds.json"
README, DEMO = ROOT / "README.md", ROOT / "docs" / "demo.md"
# The five lines of the ladder, and how the README names them; the report's own names are in the record's order.
LINES = {
    "before": "the base as it is",
    "stretched": "positions stretched, nothing trained",
    "short": "trained in groups, without a shift",
    "after": "**trained with S²**",
    "full": "trained with full attention, for comparison",
}


def line(record: dict) -> str:
    """Return the sentence under the title: how much further, and in how many minutes the recorded run did it."""
    times = record["target_context"] / record["model"]["trained_context"]
    minutes = math.ceil(record["seconds"] / 60)
    return (
        f"**Teach a small model to read {times:g}× further on your laptop in {minutes} minutes, then find out why it "
        "works, and where the\npaper's pseudo-code leaks the future.**"
    )


def ladder(record: dict) -> str:
    """Return the five lines of the ladder as a table, with the sentence that says how they were measured."""
    trained, target = record["model"]["trained_context"], record["target_context"]
    steps = {name: record[name] for name in ("before", "stretched", "after")} | record["arms"]
    rows = []
    for name, title in LINES.items():
        step = steps[name]
        found = [_share(step["references"][kind]) if "references" in step else "–" for kind in CLASSES]
        bits = f"{step['bits_per_byte'][str(target)]:.2f}"
        rows.append(f"| {title} | {' | '.join([bits, *found])} |")
    own = record["own_window"]["bits_per_byte"][str(trained)]
    near, far = (_share(record["after"]["references"][kind]) for kind in CLASSES[:2])
    earlier = _share(record["stretched"]["references"][CLASSES[1]])
    return "\n".join(
        [
            f"| given {target:,} bytes | bits a byte | found within a group | one to two groups | further |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"Fewer bits are better; given its own {trained} bytes, the base needs {own:.2f}. *Found*: of the numbers "
            f"that the text names earlier, how\nmany the model repeats where it is asked for them. After training with "
            f"S² it repeats {near} of those within a group and {far} of\nthose up to a group further back; with "
            f"stretched positions alone {earlier} ([record]({RECORD}), [details](docs/demo.md)).\n"
            f"About {_taught(record)} of the training windows carried this task, half of it across a border of groups, "
            f"where only the shift sees it. One\nseed; two others: {_others()} further.",
        ]
    )


def _others() -> str:
    """The shares that S² finds beyond two groups with the other recorded seeds."""
    seeds = read_json(ROOT / SEEDS)["seeds"]
    return " and ".join(_share(seeds[seed]["after"]["references"][CLASSES[2]]) for seed in sorted(seeds)[1:])


def _taught(record: dict) -> str:
    """The share of training windows that carried references: none does in the last part of the steps."""
    recipe = record["recipe"]
    return f"{100 * recipe['reference_share'] * (1 - recipe['plain_share']):.0f} %"


def _share(count: dict) -> str:
    return f"{100 * count['found'] / count['of']:.0f} %"


def demo_prints(record: dict) -> str:
    """Return what `longlora-edu demo` prints at its end, and what the recorded run cost."""
    from longlora_edu.cli.small import _show_demo

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        _show_demo(record, Path("longlora-demo"))
    text = "\n".join(each.rstrip() for each in out.getvalue().splitlines())
    machine = record["machine"]
    arms = " and ".join(TITLES[name].lower() for name in record["arms"])
    return (
        f"```text\n{text.strip(chr(10))}\n```\n\n"
        f"`{record['command']}` on {machine['threads']} threads:\n{record['seconds']:.0f} seconds, without the other "
        f"arms ({arms}), which `--compare` adds\n([the record](../{RECORD})). All rows are measured on the same last "
        f"128 bytes of {record['after']['bits_per_byte_windows']} windows of held-out source,\nwith dense attention. A "
        "reference is a line `# set kqz=48213`, asked for further on as `# get kqz`, eight in a window; G is a\n"
        f"group, {record['train']['group_size']} bytes. In training "
        f"about {_taught(record)} of the windows carry up to {TAUGHT} of them, half laid across a "
        "border of groups,\nwhere only the shift sees them. The size of the shift's gain depends on that."
    )


def course(everything: list[Lesson], shares: dict[str, float]) -> str:
    """Return the table of lessons: minutes, and how much of each runs in a browser tab, where there is no torch."""
    from torchless import LEAST

    rows = ["lesson | minutes | in a browser tab", "---|---|---"]
    for lesson in everything:
        share = shares[lesson.name]
        tab = "whole" if share == 1 else "most" if share >= LEAST else "–"
        title = f"[{lesson.number} {lesson.title}](notebooks/{lesson.name}.ipynb)"
        core, whole = minutes(lesson)
        rows.append(f"{title} | {f'{core} to {whole}' if whole > core else core} | {tab}")
    return "\n".join(rows)


def tab_shares(everything: list[Lesson]) -> dict[str, float]:
    """Return the share of each lesson's code cells that run without torch."""
    from torchless import for_the_tab, try_all_at_once

    from longlora_edu.course.build.assemble import edition

    editions = {each.name: edition(each, "student", neighbours=everything) for each in everything}
    try_all_at_once(editions.values())
    made = {name: for_the_tab(notebook) for name, notebook in editions.items()}
    return {name: runs / cells for name, (_, runs, cells) in made.items()}


def main() -> None:
    """Write both pages."""
    record, everything = read_json(ROOT / RECORD), lessons(ROOT / "notebooks" / "source")
    table = course(everything, tab_shares(everything))
    pages = {
        README: {"line": line(record), "ladder": ladder(record), "course": table},
        DEMO: {"demo": demo_prints(record)},
    }
    for page, blocks in pages.items():
        page.write_text(fill_marked(page.read_text(encoding="utf-8"), blocks), encoding="utf-8")


if __name__ == "__main__":
    main()
