"""Study 5: the size of a group."""

from __future__ import annotations

from ..layouts import pairs_of_full
from ..part import SEEDS, BaseProfile, Findings, Rows, Study, StudyPart, Table
from ..seed_plots import series_picture
from ..summary import ARM_NAMES, rate, seeds_note, with_spread
from ..verdict import Claim, above, within
from .q01_attention.training_attention import arms_at

GROUPS = (2, 4, 8, 16, 32)


def study(profile: BaseProfile, seeds: int = SEEDS) -> Study:
    """Make study 5: the first seed of each size, and further ones where they are recorded."""
    shared = arms_at(profile, 8, seeds, ("full", "s2", "short"))
    arms = {
        (name, groups): shared[name]
        if groups == 4
        else tuple(profile.run(8, attention=name, groups=groups, seed=seed) for seed in range(seeds))
        for name in ("s2", "short")
        for groups in GROUPS
    }
    rows = [runs[0] for runs in arms.values()] + [run for runs in shared.values() for run in runs]
    return Study(
        5,
        "groups",
        "How small may a group be?",
        (
            StudyPart("Ratio of the group to the target", tuple(rows),
                      lambda rows: judge_groups(rows, arms | {"full": shared["full"]}),
                      tuple(run for runs in arms.values() for run in runs[1:])),
        ),
        exploratory=True,
    )  # fmt: skip


def judge_groups(rows: Rows, planned: dict) -> Findings:
    """Compare dense bits/byte by group size, with and without a shift, beside the pattern's cost."""
    lent = rows.lent(planned["full"], planned["s2", 4])
    arms = rows.recorded_seeds(planned)
    gaps = {groups: rows.worse_than(arms["s2", groups], arms["full"], lent=lent) for groups in GROUPS}
    lines = []
    for groups in GROUPS:
        s2, short = (arms[name, groups] for name in ("s2", "short"))
        lines.append((
            f"1/{groups}", f"{s2[0].group_size}", f"{100 * pairs_of_full(s2[0], 4, 4):.1f} %",
            with_spread(rows.bits(s2)), with_spread(rows.bits(short)), gaps[groups].cell(),
            *(rate(rows.passkeys(runs)) for runs in (s2, short)),
        ))  # fmt: skip
    half, quarter = gaps[2], gaps[4]
    eighth = rows.worse_than(arms["s2", 8], arms["s2", 4], lent=lent)
    claims = (
        *(Claim(f"Groups of a {name} are as good as full attention (within 1 %), as the paper's table 7 has it.",
                within(gap, 0.01), gap.text())
          for name, gap in (("half", half), ("quarter", quarter))),
        Claim("An eighth is worse than a quarter, as there.", above(eighth), eighth.text()),
    )  # fmt: skip
    series = {ARM_NAMES[name]: {groups: rows.bits(arms[name, groups]) for groups in GROUPS} for name in ("s2", "short")}
    picture = series_picture("groups", series, x="groups in the target")
    headings = ("group", "bytes", "pairs of full attention", "S²: bits/byte", "short: bits/byte", "S² against full",
                "S²: passkeys", "short: passkeys")  # fmt: skip
    return Findings(
        (Table(headings, tuple(lines), f"Dense bits/byte at the target. {seeds_note(arms)}"),), (picture,), claims
    )
