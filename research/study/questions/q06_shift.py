"""Study 6: direction, amount and boundary of the shift."""

from __future__ import annotations

from ..part import SEEDS, BaseProfile, Findings, Rows, Study, StudyPart, Table
from ..seed_plots import series_picture
from ..spec import Run
from ..summary import ARM_NAMES, INTERVAL, LEVELS, rate, with_spread
from ..verdict import Claim, within
from .q01_attention.training_attention import arms_at

EIGHTHS = (1, 2, 6, 7)


def study(profile: BaseProfile, seeds: int = SEEDS) -> Study:
    """Make study 6: the first seed of each shift, and further ones where they are recorded."""
    arms = arms_at(profile, 8, seeds, ("s2", "short", "wrap", "masked", "full"))
    group = arms["s2"][0].group_size
    others = {
        eighth * group // 8: tuple(profile.run(8, shift=eighth * group // 8, seed=seed) for seed in range(seeds))
        for eighth in EIGHTHS
    }
    shifts: dict[int, tuple[Run, ...]] = {0: arms["short"], group // 2: arms["s2"]} | others
    rows = (*(runs[0] for runs in shifts.values()), *(run for runs in arms.values() for run in runs))
    return Study(
        6,
        "shift",
        "Does it matter which way, how far, and with what ends the heads are shifted?",
        (
            StudyPart("Amount, direction, boundary", rows, lambda rows: judge_shifts(rows, shifts, arms),
                      tuple(run for runs in others.values() for run in runs[1:])),
        ),
        exploratory=True,
        limits="A shift of s the one way is a shift of the group less s the other way. A spread that "
        "one seed borrows is that of wrapped against split ends.",
    )  # fmt: skip


def judge_shifts(rows: Rows, planned: dict[int, tuple[Run, ...]], arms: dict[str, tuple[Run, ...]]) -> Findings:
    """Compare dense bits/byte by the amount of the shift, and by its boundary."""
    lent = rows.lent(arms["s2"], arms["wrap"])
    shifts = rows.recorded_seeds(planned)
    group = arms["s2"][0].group_size
    arranged = {f"shift of {shift}": (shifts[shift], shifts[group // 2]) for shift in sorted(shifts)}
    arranged |= {ARM_NAMES[name]: (arms[name], arms["s2"]) for name in ("wrap", "masked")}
    lines = []
    for name, (runs, half) in arranged.items():
        gap = "–" if runs == half else rows.worse_than(runs, half, lent=lent).cell(digits=2)
        lines.append((name, str(len(runs)), with_spread(rows.bits(runs), 4), gap, rate(rows.passkeys(runs))))
    turned = rows.worse_than(shifts[group * 3 // 4], shifts[group // 4], lent=lent)
    ends = {name: rows.worse_than(arms[name], arms["s2"]) for name in ("wrap", "masked")}
    claims = (
        Claim("The direction makes no difference (within 1 %), as the authors found at 8,192.", within(turned, 0.01),
              f"a shift of {group * 3 // 4} against one of {group // 4} {turned.text(digits=2)}"),
        *(Claim(f"{ARM_NAMES[name]} differs from split ends by less than 1 %.", within(gap, 0.01), gap.text(digits=2))
          for name, gap in ends.items()),
    )  # fmt: skip
    series = {"dense bits per byte": {shift: rows.bits(runs) for shift, runs in shifts.items()}}
    picture = series_picture("shift", series, x="shift in tokens", powers=False)
    headings = ("", "seeds", "dense bits/byte at the target", "against half a group", "passkeys")
    return Findings((Table(headings, tuple(lines), f"Groups of {group}. {LEVELS} {INTERVAL}"),), (picture,), claims)
