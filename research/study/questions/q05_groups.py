"""Study 5: the size of a group."""

from __future__ import annotations

from ..layouts import pairs_of_full
from ..part import SEEDS, BaseProfile, Findings, Rows, Study, StudyPart, Table
from ..seed_plots import series_picture
from ..spec import Run
from ..summary import ARM_NAMES, rate
from ..verdict import Claim, above, difference, within
from .q01_attention.training_attention import arms_at

GROUPS = (2, 4, 8, 16, 32)


def study(profile: BaseProfile, seeds: int = SEEDS) -> Study:
    """Make study 5; one seed but for the shared rows."""
    shared = arms_at(profile, 8, seeds, ("full", "s2", "short"))
    arms = {
        name: {
            groups: shared[name][0] if groups == 4 else profile.run(8, attention=name, groups=groups)
            for groups in GROUPS
        }
        for name in ("s2", "short")
    }
    rows = [run for line in arms.values() for run in line.values()] + [run for runs in shared.values() for run in runs]
    return Study(
        5,
        "groups",
        "How small may a group be?",
        (StudyPart("Ratio of the group to the target", tuple(rows), lambda rows: judge_groups(rows, arms, shared)),),
        exploratory=True,
    )


def judge_groups(rows: Rows, arms: dict[str, dict[int, Run]], shared: dict[str, tuple[Run, ...]]) -> Findings:
    """Compare dense bits/byte by group size, with and without a shift, beside the pattern's cost."""
    spread = rows.seed_spread(shared["full"], shared["s2"])
    full = rows.bits(shared["full"][:1])
    lines = []
    for groups in GROUPS:
        s2, short = ([arms[name][groups]] for name in ("s2", "short"))
        lines.append((
            f"1/{groups}", f"{s2[0].group_size}", f"{100 * pairs_of_full(s2[0], 4, 4):.1f} %",
            f"{rows.bits(s2)[0]:.3f}", f"{rows.bits(short)[0]:.3f}",
            difference(full, rows.bits(s2), spread=spread).text(),
            *(rate(rows.passkeys(runs)) for runs in (s2, short)),
        ))  # fmt: skip
    half, quarter = (difference(full, rows.bits([arms["s2"][groups]]), spread=spread) for groups in (2, 4))
    eighth = difference(rows.bits([arms["s2"][4]]), rows.bits([arms["s2"][8]]), spread=spread)
    claims = (
        Claim("Half and a quarter are as good as full attention (within 1 %), as the paper's table 7 has it.",
              within(max((half, quarter), key=lambda gap: gap.mean), 0.01),
              f"a half {half.text()}, a quarter {quarter.text()}"),
        Claim("An eighth is worse than a quarter, as there.", above(eighth), eighth.text()),
    )  # fmt: skip
    series = {
        ARM_NAMES[name]: {groups: rows.bits([run]) for groups, run in line.items()} for name, line in arms.items()
    }
    picture = series_picture("groups", series, x="groups in the target")
    headings = ("group", "bytes", "pairs of full attention", "S²: bits/byte", "short: bits/byte", "S² against full",
                "S²: passkeys", "short: passkeys")  # fmt: skip
    return Findings((Table(headings, tuple(lines), "Dense bits/byte at the target."),), (picture,), claims)
