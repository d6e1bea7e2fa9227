"""`docs/law.md`, the prediction, and `docs/law_measured.md`, what came of it: both written by commands."""

from __future__ import annotations

from collections.abc import Sequence

from .cells import DRAW, EQUAL, MARGIN, MIDDLE, PAYS, SEEDS, Cell, Drawn, shift_cells
from .exposure import Exposure, exposure_of, middle
from .law_verdict import INSIDE, Records, judge_law, measure
from .pilots import Pilot
from .prediction import Fit, error_with_share
from .recall import HOPS, SIZES

SENTENCE = (
    "Dense recall at a distance follows how often training shows a visible reference near that distance: the shift\n"
    "pays where it makes more of them visible, and only there."
)
HEAD = f"""\
# When the shift pays: a law, written down before it was measured

**{SENTENCE}**

This page is a prediction. `longlora-edu study law-page` wrote it from pilots alone, and it was committed before any row
that tests it was run. The key and the record of each such row hold the sha256 of this file, so rows of another version
do not count. `longlora-edu study law-verdict` writes the outcome to `docs/law_measured.md`.

## The law

With split ends and rotary positions S² trains no relative distance that groups without a shift do not: both let a token
see at most one group back. The shift changes only *how often* a reference of a given distance is seen. `S2Geometry`
says how often, before anything is trained:

- A training reference is *visible* if its two places share a cell of some head. A chain of references is visible if all
  looks are that its answer needs.
- *Trained around d* is the share of training references that are visible, each counted by its distance from d: half as
  much for each {{octaves}} octaves between. Positions that leap change the distance, not who sees whom.

    recall = chance + (1 - chance) · sigmoid(a + c · ln(trained around d) - g · leap)

Chance is 0 for five digits and 1/8 for a value. Two hops are two looks, one in each layer. Three hops in two layers
need three looks. In the first layer the asking token looks one statement back and learns a name, and the statement of
that name looks back and learns the value. In the second layer the asking token looks at it, two hops away. The
logarithms of several looks are averaged.

Under the training pattern (*sparse* use) recall above chance is multiplied by the share of references whose looks are
seen by heads that learned to look: those of a kind, plain or shifted, that saw such looks in training. No look goes
through several cells.

The pilots cannot tell how often a reference is visible at all from how often near d: a law with both as terms fits them
no better ({{both}}), so the law has the second alone.
"""
TESTS = f"""\
## The tests

Decided now, over {len(SEEDS)} seeds a cell:

1. At least {INSIDE:.0%} of the shares lie in their intervals. None is wider than 30 points.
2. The mean error is below that of a constant (the mean of all pilots), and
3. below that of the nearest pilot: same task and use if there is one, then arm, layout and distance.
4. In the cells where the shift is predicted to bring {100 * PAYS:.0f} points or more in dense use, its mean gain is
   above zero, by Student's interval over seeds.
5. Where at most {100 * EQUAL:.0f} points are predicted, the mean gain is within ±{100 * MARGIN:.0f} points: a two-sided
   test of equivalence.

A test that fails is reported as such. Rows that fail to train count like all others.

## What it does not say

One base of 1.9 million weights and models of 140,000; one length and one group a task. Named references are read from
the extended base and statements from scratch, not the other way round. Without a pilot of sparse use on text, classes
that mostly a path through layers reaches are not predicted there. In the pilots of named references half were laid
across borders and half log-uniform, a layout that no row of the test has.
"""


def prediction_page(fit: Fit, drawn: Drawn, pilots: Sequence[Pilot]) -> str:
    """Write the page of the prediction."""
    both = f"{100 * error_with_share(pilots):.1f} against {100 * fit.error:.1f} points"
    parts = [
        HEAD.replace("{octaves}", f"{fit.octaves:g}").replace("{both}", both),
        _fitted(fit, pilots),
        _training(drawn, fit),
        _cells(drawn),
    ]
    missing = [task for task in HOPS if task not in fit.tasks]
    if missing:
        parts.append(
            f"Not predicted, for want of a pilot: {', '.join(missing)}. `longlora-edu study law --pilots` computes\n"
            "pilots; then this page is written and committed anew, before any row of the test.\n"
        )
    return "\n".join([*parts, _shift(drawn, fit), TESTS])


def verdict_table(fit: Fit, drawn: Drawn, pilots: Sequence[Pilot], records: Records) -> str:
    """Write the tests with their verdicts, or that there are none yet."""
    claims = judge_law(drawn, records, pilots, fit)
    if not claims:
        return "Not all rows are recorded: no test is decided."
    rows = [f"| {claim.statement} | **{claim.verdict}** | {claim.because} |" for claim in claims]
    return "\n".join(["| test | verdict | because |", "|---|---|---|", *rows])


def measured_page(fit: Fit, drawn: Drawn, pilots: Sequence[Pilot], records: Records, law: str) -> str:
    """Write what came of the prediction: the tests, then each cell."""
    found = measure(drawn, records)
    rows = drawn.rows()
    lines = [
        "# The law, measured\n",
        "> " + SENTENCE.replace("\n", "\n> ") + "\n",
        f"Written by `longlora-edu study law-verdict` from {sum(row in records for row in rows)} of {len(rows)} rows, "
        f"each under the prediction with the sha256 `{law}` (`docs/law.md`).\n",
        verdict_table(fit, drawn, pilots, records) + "\n",
        "## Predicted and measured\n",
        "| cell | class | use | predicted | interval | measured, by seed | inside |",
        "|---|---|---|---|---|---|---|",
        *(f"{_cell(one.cell)} {', '.join(in_percent(rate) for rate in one.rates)} | {one.inside} of {len(one.rates)} |"
          for one in found),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _fitted(fit: Fit, pilots: Sequence[Pilot]) -> str:
    settings = "\n".join(f"| a, {setting} | {number:.2f} |" for setting, number in fit.intercepts.items())
    numbers = {"c": fit.trained, "g": fit.leap, "octaves": fit.octaves}
    lines = ["| | |", "|---|---|", *(f"| {name} | {number:.2f} |" for name, number in numbers.items()), settings]
    count = sum(pilot.use == "dense" for pilot in pilots)
    return (
        f"Fitted to {count} dense and {len(pilots) - count} sparse pilots (`research/law/pilots.json`, "
        f"`benchmarks/results/law_pilots.json`), with a mean error of {100 * fit.error:.1f} points on the dense ones:"
        f"\n\n{_lines(lines)}"
    )


def _training(drawn: Drawn, fit: Fit) -> str:
    tasks = fit.tasks
    kinds = max((row.classes for row in drawn.configurations), key=len)
    lines = [f"| trained | visible | {' | '.join(f'around {kind}' for kind in kinds)} |",
             "|---|---|" + "---|" * len(kinds)]  # fmt: skip
    for row in drawn.configurations:
        exposure = exposure_of(row)
        around = (_around(exposure, middle(row, kind), fit.octaves) if kind in row.classes else "–" for kind in kinds)
        lines.append(f"| {row.name} | {in_percent(exposure.share)} | {' | '.join(around)} |")
    sizes = "; ".join(
        f"{task}: {SIZES[task]['length']:,} tokens, groups of {SIZES[task]['group']}, {SIZES[task]['steps']} steps of "
        f"{SIZES[task]['batch']}" for task in tasks
    )  # fmt: skip
    return (
        f"## What is trained\n\n{sizes}.\n\nA class holds distances up to the number of groups in its name, from the "
        f"class before; *border* is laid from the last half of a group to the first half of the next.\n\n"
        f"{_lines(lines)}"
    )


def _cells(drawn: Drawn) -> str:
    inner = sum(cell.is_middle for cell in drawn.cells)
    lines = ["| cell | class | use | predicted | interval |", "|---|---|---|---|---|", *map(_cell, drawn.cells)]
    return (
        f"## The cells of the test\n\n{len(drawn.cells)} cells, {inner} of them predicted between {MIDDLE[0]:.0%} and "
        f"{MIDDLE[1]:.0%} and above chance. Configurations of which there is a\npilot are left out. Of each task two "
        "layouts are tested with and without the shift: the one where it is predicted to gain\nmost and the one where "
        f"it is to gain least. All else is drawn by seed {DRAW}.\n\n{_lines(lines)}"
    )


def _shift(drawn: Drawn, fit: Fit) -> str:
    every = shift_cells(drawn, fit)
    lines = ["| task, layout | class | predicted gain of the shift | |", "|---|---|---|---|"]
    for cell in every:
        word = "pays" if cell.predicted >= PAYS else "no difference" if abs(cell.predicted) <= EQUAL else ""
        lines.append(
            f"| {cell.short.task}, {cell.short.layout} | {cell.kind} | {100 * cell.predicted:+.0f} points | {word} |"
        )
    return f"## Where the shift pays\n\nDense use, all else equal:\n\n{_lines(lines)}"


def _cell(cell: Cell) -> str:
    low, high = in_percent(cell.predicted.low), in_percent(cell.predicted.high)
    return f"| {cell.row.name} | {cell.kind} | {cell.use} | {in_percent(cell.predicted.rate)} | {low} to {high} |"


def _around(exposure: Exposure, distances: Sequence[float], octaves: float) -> str:
    """Write what is trained around each look of a class, once where they all have the same distance."""
    return ", ".join(dict.fromkeys(in_percent(exposure.around(distance, octaves)) for distance in distances))


def in_percent(share: float) -> str:
    """Write a share in whole per cent."""
    return f"{100 * share:.0f} %"


def _lines(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"
