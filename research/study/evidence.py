"""`docs/evidence.md` and its pictures, written from the records and nothing else."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from longlora_edu.plots.style import png
from longlora_edu.runs.records import replace_file

from .front_page import front_page
from .part import PROFILES, Findings, Rows, Study, StudyPart, Table
from .questions import studies
from .row import read_rows
from .spec import Settings
from .verdict import kind

INTRODUCTION = """\
# Evidence

What the paper asks (LongLoRA, arXiv 2309.12307), asked again of a small model: 1.9 million weights, trained at 256
bytes of source code. Seven findings, of the records in `benchmarks/results/runs`:
"""

READING = """\
**A model of 1.9 million weights cannot say what one of 7 billion does.** The findings hold for this model, this text
and these few steps. They can refute a general statement, and confirm none.

What later work adds (only abstracts were read):

- Far use of a context is mostly acquired in pretraining, and a light extension calls it up
  ([2402.10171](https://arxiv.org/abs/2402.10171)). Finding 1 fits: our base had passkeys in pretraining.
- Average perplexity hides the few tokens that need far context ([2410.23771](https://arxiv.org/abs/2410.23771)), and
  neither it nor one needle is enough to judge by ([2410.02660](https://arxiv.org/abs/2410.02660)). Findings 3 to 6 are
  averages, and our passkey is one needle.
- Training with sparse attention alone leaves a gap to full attention ([2511.20102](https://arxiv.org/abs/2511.20102)).
  Findings 3 and 5 fit.

## How to read the studies

Everything below is written from the records by `longlora-edu study report`. A row is one run. Its record holds the
command that computes it again: `longlora-edu study run KEY` prints both results and says *same*, *within tolerance* or
*different*. Only the seconds of study 10 are taken alone on the machine, by `longlora-edu bench step`.

**±** is half of a 95 % interval, everywhere. Two things are varied for it. The *documents*: 200 held-out windows come
from 24 documents, so documents are redrawn with all their windows. Then the *seeds*: three, or one that borrows the
spread of a comparison that has three, by Student's t with two degrees of freedom (one seed: 4.3 deviations to either
side). Where only the seeds could be varied, the number says so. A level such as 1.086 (0.004) is a mean, and in
brackets the standard deviation over seeds; without brackets, such as 1.086, it is of one run.

A statement *agrees* or *disagrees* where the interval lies wholly on one side of its limit. Else it *cannot tell*, and
says what is too few: seeds, documents or both. "Makes no difference" is a two-sided test of equivalence with the margin
of ±1 %.

The paper's figures stand here only where a second source quotes them; perplexities are turned into the same kind of
number as ours, the relative change of the loss. Bits/byte are the mean over the same last 128 bytes of each window,
with dense attention; passkeys are 40 at each of five depths at the target, the same texts for every seed. A run is 60
steps of 8,192 bytes unless its row says otherwise. Rows are computed two at a time on one thread each: their seconds
are no measurement of speed.
"""


def of_one_text(records: Sequence[dict]) -> list[dict]:
    """Select the records of the most frequent text, and those that need none: others cannot be compared with them."""
    texts = Counter(record["ground"].get("corpus") for record in records if "corpus" in record["ground"])
    chosen = texts.most_common(1)[0][0] if texts else None
    return [record for record in records if record["ground"].get("corpus") in (None, chosen)]


def evidence(records: Sequence[dict], found: Sequence[Study] | None = None) -> tuple[str, dict[str, bytes]]:
    """Make the page, and its pictures by the names of their files."""
    chosen = of_one_text(records)
    rows, pictures = Rows(chosen), {}
    listed = sorted(found or studies(), key=lambda study: study.number)
    shown = {study.name: [judge_part(part, rows) for part in study.parts] for study in listed}
    anchors = {study.number: _anchor(study) for study in listed}
    page = [INTRODUCTION, f"{front_page(rows, anchors)}\n", READING, _overview(listed, shown)]
    for study in listed:
        page.append(f"## {study.number}. {study.question}\n")
        page += [f"{study.caveat}\n"] if study.caveat else []
        for part, result in zip(study.parts, shown[study.name], strict=True):
            page.append(_part(part, result, rows))
            for picture in result.pictures if result else ():
                pictures[f"{picture.name}.png"] = _small(png(picture.draw(), dpi=100))
        again = f"longlora-edu study {study.name}"
        page.append(f"Again: `{again}`. With the larger sibling and a GPU, not run here: `{again} --profile gpu`.\n")
    page.append(_provenance(chosen))
    return "\n".join(page), pictures


def write_evidence(folder: Path, docs: Path) -> Path:
    """Write `evidence.md` and `evidence/*.png` into `docs` from the records in `folder`; return the page's path.

    Raises:
        ValueError: naming the file, for a damaged record.
    """
    page, pictures = evidence(read_rows(folder))
    for name, data in pictures.items():
        replace_file(Path(docs) / "evidence" / name, data)
    for path in (Path(docs) / "evidence").glob("*.png"):
        if path.name not in pictures:
            path.unlink()
    replace_file(Path(docs) / "evidence.md", page.encode())
    return Path(docs) / "evidence.md"


def missing_of(rows: Sequence[Settings], there: Rows) -> int:
    """Count the rows that are not recorded."""
    return sum(row not in there for row in dict.fromkeys(rows))


def judge_part(part: StudyPart, rows: Rows) -> Findings | None:
    """Compute a part's findings; None while one of its rows is missing."""
    return None if missing_of(part.rows, rows) else part.judge(rows)


def _overview(listed: Sequence[Study], shown: dict) -> str:
    lines = []
    for study in listed:
        words = Counter(kind(claim.verdict) for result in shown[study.name] if result for claim in result.claims)
        waiting = sum(result is None for result in shown[study.name])
        said = ", ".join(f"{count} × {word}" for word, count in words.items()) or "–"
        said += f"; {waiting} of {len(study.parts)} parts not run yet" if waiting else ""
        lines.append((str(study.number), f"[{study.question}](#{_anchor(study)})", said))
    return _table(Table(("", "question", "statements"), tuple(lines)))


def _part(part: StudyPart, result: Findings | None, rows: Rows) -> str:
    lines = [f"### {part.title}\n"]
    if result is None:
        total = len(dict.fromkeys(part.rows))
        return "\n".join([*lines, f"Not run yet ({total - missing_of(part.rows, rows)} of {total} runs).\n"])
    lines += [_table(table) for table in result.tables]
    lines += [f"![{picture.words}](evidence/{picture.name}.png)\n" for picture in result.pictures]
    lines += [f"- {claim.statement} **{claim.verdict.capitalize()}**: {claim.because}." for claim in result.claims]
    lines += ["", *(f"{note}\n" for note in result.notes)] if result.notes else [""]
    if part.rows:
        keys = ", ".join(f"[`{key}`](../benchmarks/results/runs/{key}.json)" for key in _keys(part, rows))
        if lacking := missing_of(part.wanted, rows):
            lines.append(f"Further seeds, not run yet: {lacking} of {len(dict.fromkeys(part.wanted))} runs.\n")
        lines.append(f"<details><summary>The rows</summary>\n\n{keys}\n\n</details>\n")
    return "\n".join(lines)


def _keys(part: StudyPart, rows: Rows) -> list[str]:
    there = (row for row in dict.fromkeys((*part.rows, *part.wanted)) if row in rows)
    return [rows.record(row)["key"] for row in there]


def _table(table: Table) -> str:
    lines = [table.headings, tuple("---" for _ in table.headings), *table.rows]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{text}\n\n{table.note}\n" if table.note else f"{text}\n"


def _anchor(study: Study) -> str:
    """Make the anchor that GitHub and Markdown renderers give the heading."""
    kept = "".join(letter for letter in study.question.lower() if letter.isalnum() or letter in " -")
    return f"{study.number}-{kept.replace(' ', '-')}"


def _provenance(records: Sequence[dict]) -> str:
    runs = [record for record in records if record["kind"] == "extension"]
    if not runs:
        return "## Where the numbers come from\n\nNothing is recorded yet.\n"
    machines = sorted({(r["machine"]["processor"], r["machine"]["threads"], r["versions"]["torch"]) for r in runs})
    days = sorted(record["date"][:10] for record in records)
    inputs = runs[0]["ground"]
    where = "; ".join(f"{name}, {threads} thread a row, torch {version}" for name, threads, version in machines)
    return (
        f"## Where the numbers come from\n\n{len(records)} rows, {days[0]} to {days[-1]}; {where}. "
        f"Text: {inputs['text']}, sha256 `{inputs['corpus'][:16]}…`. "
        f"Base: the small model trained at 256 bytes, sha256 `{inputs['base'][:16]}…`. "
        f"The profiles are {' and '.join(f'`{name}`' for name in PROFILES)}; all rows here are of `cpu`.\n"
    )


def _small(data: bytes) -> bytes:
    """Reduce a PNG to 64 colours, enough for drawings."""
    from PIL import Image

    buffer = io.BytesIO()
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    picture.quantize(colors=64, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        buffer, format="png", optimize=True
    )
    return buffer.getvalue()
