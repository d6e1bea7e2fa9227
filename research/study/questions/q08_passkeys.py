"""Study 8: passkeys by length and depth, in one stage or two, and without any in training."""

from __future__ import annotations

from longlora_edu.runs.records import Proportion

from ..part import SEEDS, BaseProfile, Findings, Rows, Study, StudyPart, StudyPicture, Table
from ..seed_plots import describe_maps, plot_maps, series_picture
from ..spec import Run
from ..summary import LEVELS, pooled, rate, thousands, with_spread
from ..verdict import Claim, above, over_trials, within


def study(profile: BaseProfile, seeds: int = SEEDS) -> Study:
    """Make study 8: its rows and its findings."""
    steps = profile.steps
    way, last = (0, steps // 6, steps // 3, steps * 2 // 3, steps), (0, steps // 2)

    def runs(count: int = seeds, **fields) -> tuple[Run, ...]:
        return tuple(profile.run(8, seed=seed, **fields) for seed in range(count))

    arms = {
        "S²": runs(maps_at=way),
        "full": runs(1, maps_at=way, attention="full"),
        "S², no passkeys in the mix": runs(maps_at=way, passkey_share=0.0),
    }
    stages = {
        "one stage": arms["S²"],
        "two stages": tuple(
            profile.run(8, seed=seed, steps=steps // 2, maps_at=last, start=profile.run(2, seed=seed, steps=steps // 2))
            for seed in range(seeds)
        ),
    }
    return Study(
        8,
        "passkeys",
        "When are passkeys found, at which length and depth; in one stage or two; and without any in training?",
        (
            StudyPart("Before, on the way, after", tuple(run for group in arms.values() for run in group),
                      lambda rows: judge_way(rows, arms)),
            StudyPart("One stage or two", tuple(run for group in stages.values() for run in group),
                      lambda rows: judge_stages(rows, stages)),
        ),
        limits="Passkeys stand in source code and are five digits. A quarter of the training windows carries one, "
        "whose digits weigh five times a byte, except where the table says otherwise.",
    )  # fmt: skip


def judge_way(rows: Rows, arms: dict[str, tuple[Run, ...]]) -> Findings:
    """Map one seed's passkeys, and plot the share found at the target during training."""
    lines, series = [], {}
    for name, runs in arms.items():
        shares = {step: [_share(rows[run], step, run.target) for run in runs] for step in runs[0].maps_at}
        series[name] = shares
        end = [pooled(rows[run]["passkey"] for run in runs)]
        lines.append((name, *(f"{100 * sum(found) / len(found):.0f} %" for found in shares.values()), rate(end[0]),
                      with_spread(rows.bits(runs))))  # fmt: skip
    first = arms["S²"][0]
    maps = {
        f"{'before' if step == 0 else f'step {step}'}": _map(rows[first], step)
        for step in first.maps_at
    }  # fmt: skip
    without, mixed = (over_trials(rows.found(arms[name])) for name in ("S², no passkeys in the mix", "S²"))
    before = [_found(rows[run], 0, run.target) for run in arms["S²"]]
    start = over_trials(before[:1])  # nothing is trained yet: all seeds have the same model
    found = over_trials(rows.found(arms["S²"]), before)
    cost = rows.worse_than(arms["S²"], arms["S², no passkeys in the mix"])
    claims = (
        Claim("Training with S² is what makes the passkey be found (50 points more than stretched positions alone).",
              above(found, 0.5), f"{start.cell(sign='-')} before, {mixed.text(sign='-')} after"),
        Claim("It is found without a passkey in the texts of the extension as well (more than 90 %); the base had them "
              "in pretraining.", above(without, 0.9),
              f"{without.cell(sign='-')} without, {mixed.text(sign='-')} with passkeys"),
        Claim("Passkeys in the mix cost the text nothing (within 1 %).", within(cost, 0.01),
              f"bits/byte with against without {cost.text()}"),
    )  # fmt: skip
    pictures = (
        StudyPicture("passkeys-maps", lambda: plot_maps(maps), describe_maps(maps)),
        series_picture("passkeys-way", series, x="step", y="found at the target", powers=False, shares=True),
    )
    headings = ("trained with", *(f"step {step}" for step in first.maps_at), "measured at the end", "bits/byte")
    note = (
        f"Passkeys found at {thousands(first.target)} bytes, over five depths; on the way 10 trials at each depth and "
        f"seed, at the end {first.trials}; all seeds are asked the same texts. {LEVELS} Step 0 has its positions "
        "stretched (YaRN) and nothing trained."
    )
    return Findings((Table(headings, tuple(lines), note),), pictures, claims)


def judge_stages(rows: Rows, stages: dict[str, tuple[Run, ...]]) -> Findings:
    """Compare the target at once with half of the steps at twice the trained context, then the target."""
    lines = []
    for name, runs in stages.items():
        before = [_share(rows[run], 0, run.target) for run in runs]
        after = pooled(rows[run]["passkey"] for run in runs)
        lines.append((name, f"{100 * sum(before) / len(before):.0f} %", rate(after), with_spread(rows.bits(runs))))
    gap = rows.worse_than(stages["two stages"], stages["one stage"])
    found = over_trials(*(rows.found(stages[name]) for name in ("two stages", "one stage")))
    claims = (
        Claim("Two stages reach the same dense bits/byte (within 1 %).", within(gap, 0.01), gap.text()),
        Claim("Two stages find as many passkeys (within 5 points).", within(found, 0.05),
              f"two against one {found.text(unit=' points')}"),
    )  # fmt: skip
    headings = ("", "found before the last stage", "found after", "bits/byte at the target")
    note = (
        f"{LEVELS} Two stages: half of the steps at twice the trained context, merged, then half at the target, the "
        "factor always of the original length."
    )
    return Findings((Table(headings, tuple(lines), note),), (), claims)


def _map(results: dict, step: int) -> dict[int, dict[float, float]]:
    cells = results["passkey_maps"][str(step)]
    return {int(n): {float(depth): one["rate"] for depth, one in row.items()} for n, row in cells.items()}


def _found(results: dict, step: int, length: int) -> Proportion:
    return pooled(results["passkey_maps"][str(step)][str(length)].values())


def _share(results: dict, step: int, length: int) -> float:
    return _found(results, step, length).rate
