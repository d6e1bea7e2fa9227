"""Study 3: the cost of the extension at short lengths, and its reach past the target."""

from __future__ import annotations

import numpy as np

from ..part import SEEDS, BaseProfile, Findings, Rows, Study, StudyPart, Table, relative_change
from ..seed_plots import series_picture
from ..spec import EXTRAS, Run
from ..summary import ARM_NAMES, LEVELS, Arms, along, thousands, with_spread
from ..verdict import Claim, above, below, over_seeds
from .q01_attention.training_attention import arms_at

UNTRAINED = "YaRN, nothing trained"


def study(profile: BaseProfile, seeds: int = SEEDS) -> Study:
    """Make study 3: the rows of study 1, and the same lengths without training."""
    untrained = {
        "as pretrained": untrained_run(profile, "default"),
        UNTRAINED: untrained_run(profile, "yarn"),
    }
    shared = {factor: arms_at(profile, factor, seeds, ("full", "s2")) for factor in (4, 8)}
    rows = (*untrained.values(), *(run for arms in shared.values() for runs in arms.values() for run in runs))
    return Study(
        3,
        "lengths",
        "What does the extension cost at short lengths, and how far past the target does it carry?",
        (
            StudyPart("By evaluation length", rows, lambda rows: judge_lengths(rows, untrained, shared, profile)),
            StudyPart("By position, dense and as trained", tuple(run for arms in shared.values() for run in arms["s2"]),
                      lambda rows: judge_mismatch(rows, {factor: arms["s2"] for factor, arms in shared.items()})),
        ),
    )  # fmt: skip


def untrained_run(profile: BaseProfile, rope: str) -> Run:
    """Set up the base at eight times its context, positions stretched or not, without training."""
    return profile.run(8, rope=rope, attention="full", steps=0, extra=EXTRAS)


def untrained_beside(profile: BaseProfile, seeds: int) -> tuple[Run, ...]:
    """List the base with YaRN, without training, once a seed: the same model stands beside each."""
    return (untrained_run(profile, "yarn"),) * seeds


def judge_lengths(rows: Rows, untrained: dict[str, Run], shared: dict[int, Arms], profile: BaseProfile) -> Findings:
    """Compare dense bits/byte of the same last bytes, given more and more context."""
    lines = {name: (run,) for name, run in untrained.items()}
    lines |= {f"×{factor}, {ARM_NAMES[name]}": arms[name] for factor, arms in shared.items() for name in ("full", "s2")}
    lengths = sorted(int(length) for length in rows[untrained["as pretrained"]]["bits_per_byte"])
    table = tuple((name, *(with_spread(rows.bits(runs, length)) for length in lengths)) for name, runs in lines.items())
    target, trained = 8 * profile.trained, profile.trained

    def change(first: tuple[Run, ...], at: int, second: tuple[Run, ...], then: int):
        return rows.change(relative_change, first, second, lengths=(at, then))

    # The base is no run with a seed: it stands beside each.
    base = (untrained["as pretrained"],) * len(shared[8]["s2"])
    short = change(base, trained, shared[8]["s2"], trained)
    more = change(shared[4]["s2"], trained, shared[8]["s2"], trained)
    ahead = {name: change(base, trained, shared[8][name], target) for name in ("full", "s2")}
    past = change(shared[8]["s2"], target, shared[8]["s2"], 2 * target)
    claims = (
        Claim("The extended model is worse at short lengths than its base.", above(short),
              f"×8 with S² at {trained} against the base there {short.text()}"),
        Claim("The larger the target, the worse at short lengths, as the paper says (section 4.2).", above(more),
              f"×8 against ×4, both with S², at {trained} {more.text()}"),
        Claim(f"Extended with full attention, the model is better at {thousands(target)} than its base was at "
              f"{trained}.", below(ahead["full"]), ahead["full"].text()),
        Claim("Extended with S², too.", below(ahead["s2"]), ahead["s2"].text()),
        Claim("At twice the target it breaks down (more than 5 % worse).", above(past, 0.05),
              f"S² at {thousands(2 * target)} against {thousands(target)} {past.text()}"),
    )  # fmt: skip
    series = {name: {length: rows.bits(runs, length) for length in lengths} for name, runs in lines.items()}
    close = {name: line for name, line in series.items() if name not in ("as pretrained", UNTRAINED)}
    picture = series_picture("lengths", close, x="bytes of context")
    headings = ("model", *(f"at {thousands(length)}" for length in lengths))
    windows = untrained["as pretrained"].windows
    note = f"{LEVELS} The same last 128 bytes of {windows} held-out windows at every length."
    return Findings((Table(headings, table, note),), (picture,), claims)


def judge_mismatch(rows: Rows, arms: dict[int, tuple[Run, ...]]) -> Findings:
    """Subtract the dense loss from the loss under the training pattern, by position."""
    lines, series, claims = [], {}, []
    for factor, runs in arms.items():
        gaps = [np.subtract(rows.by_position(run, "as trained"), rows.by_position(run)) for run in runs]
        quarters = [[float(quarter.mean()) for quarter in np.array_split(gap, 4)] for gap in gaps]
        lines.append((f"×{factor}", *(with_spread(values, 4) for values in zip(*quarters, strict=True))))
        series[f"×{factor}"] = along(gaps, runs[0].target)
        last = over_seeds([values[-1] for values in quarters])
        claims.append(Claim(
            f"×{factor}: in the last quarter dense attention is better than the pattern that was trained.", above(last),
            f"loss(sparse) - loss(dense) there {last.text(scale=1, unit=' bits/byte', digits=3)}"))  # fmt: skip
    gap = "sparse less dense, bits per byte"
    picture = series_picture("lengths-mismatch", series, x="position", y=gap, powers=False)
    headings = ("S²", "first quarter of positions", "second", "third", "last")
    note = (
        f"{LEVELS} loss(sparse) - loss(dense) in bits/byte: above zero, dense attention makes use of what groups cut "
        "off. The last 128 bytes alone, dense and under the pattern, are in study 1."
    )
    return Findings((Table(headings, tuple(lines), note),), (picture,), tuple(claims))
