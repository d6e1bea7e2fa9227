"""Study 6: direction, amount and boundary of the shift."""

from __future__ import annotations

from ..part import SEEDS, BaseProfile, Findings, Rows, Study, StudyPart, Table
from ..seed_plots import series_picture
from ..spec import Run
from ..summary import ARM_NAMES, rate
from ..verdict import Claim, difference, within
from .q01_attention.training_attention import arms_at

EIGHTHS = (1, 2, 6, 7)


def study(profile: BaseProfile, seeds: int = SEEDS) -> Study:
    """Make study 6; one seed but for the shared rows."""
    arms = arms_at(profile, 8, seeds, ("s2", "short", "wrap", "masked", "full"))
    group = arms["s2"][0].group_size
    shifts: dict[int, tuple[Run, ...]] = {0: arms["short"][:1], group // 2: arms["s2"][:1]}
    shifts |= {eighth * group // 8: (profile.run(8, shift=eighth * group // 8),) for eighth in EIGHTHS}
    rows = (*(run for runs in shifts.values() for run in runs), *(run for runs in arms.values() for run in runs))
    return Study(
        6,
        "shift",
        "Does it matter which way, how far, and with what ends the heads are shifted?",
        (StudyPart("Amount, direction, boundary", rows, lambda rows: judge_shifts(rows, shifts, arms)),),
        exploratory=True,
        limits="A shift of s the one way is a shift of the group less s the other way.",
    )


def judge_shifts(rows: Rows, shifts: dict[int, tuple[Run, ...]], arms: dict[str, tuple[Run, ...]]) -> Findings:
    """Compare dense bits/byte by the amount of the shift, and by its boundary."""
    spread = rows.seed_spread(arms["s2"], arms["wrap"])
    half = shifts[arms["s2"][0].group_size // 2]
    arranged = {f"shift of {shift}": shifts[shift] for shift in sorted(shifts)}
    arranged |= {ARM_NAMES[name]: arms[name][:1] for name in ("wrap", "masked")}
    lines = []
    for name, runs in arranged.items():
        gap = difference(rows.bits(half), rows.bits(runs), spread=spread).text(digits=2)
        found = rows.bits(runs)[0], rate(rows.passkeys(runs))
        lines.append((name, f"{found[0]:.4f}", "–" if runs == half else gap, found[1]))
    group = arms["s2"][0].group_size
    turned = difference(rows.bits(shifts[group // 4]), rows.bits(shifts[group * 3 // 4]), spread=spread)
    ends = {name: difference(rows.bits(arms["s2"]), rows.bits(arms[name])) for name in ("wrap", "masked")}
    claims = (
        Claim("The direction makes no difference (within 1 %), as the authors found at 8,192.", within(turned, 0.01),
              f"a shift of {group * 3 // 4} against one of {group // 4} {turned.text(digits=2)}"),
        *(Claim(f"{ARM_NAMES[name]} differs from split ends by less than 1 %.", within(gap, 0.01), gap.text(digits=2))
          for name, gap in ends.items()),
    )  # fmt: skip
    series = {"dense bits per byte": {shift: rows.bits(runs) for shift, runs in shifts.items()}}
    picture = series_picture("shift", series, x="shift in tokens", powers=False)
    headings = ("", "dense bits/byte at the target", "against half a group", "passkeys")
    return Findings((Table(headings, tuple(lines), f"Groups of {group}."),), (picture,), claims)
