"""Study 11: other ways to the same length on the same budget of text."""

from __future__ import annotations

from ..layouts import pairs_of_full
from ..part import SEEDS, BaseProfile, Findings, Rows, Study, StudyPart, Table
from ..seed_plots import seeds_picture
from ..spec import Run
from ..summary import rate, thousands, with_spread
from ..verdict import Claim, above, below, difference
from .q01_attention.longer import longer_arms
from .q01_attention.training_attention import arms_at
from .q03_lengths import untrained_run


def study(profile: BaseProfile, seeds: int = SEEDS) -> Study:
    """Make study 11; one seed but for the shared rows."""
    shared, longer = arms_at(profile, 8, seeds, ("full", "s2", "short")), longer_arms(profile, seeds)
    short_windows = {"attention": "full", "length": 2 * profile.trained}
    windows, leaping = f"full attention on windows of {2 * profile.trained}", "the same, positions leap (PoSE)"
    arms: dict[str, Run] = {
        "YaRN, nothing trained": untrained_run(profile, "yarn"),
        windows: profile.run(8, **short_windows),
        leaping: profile.run(8, **short_windows, skip=True),
        "sliding window": profile.run(8, attention="window"),
        "short attention": shared["short"][0],
        "S²": shared["s2"][0],
        "full attention": shared["full"][0],
    }  # fmt: skip
    rows = (*arms.values(), *(run for runs in shared.values() for run in runs))
    many = 4 * profile.steps
    again = {
        windows: ((arms[windows],), (profile.run(8, **short_windows, steps=many),)),
        leaping: ((arms[leaping],), (profile.run(8, **short_windows, skip=True, steps=many),)),
        "S²": (shared["s2"], longer["S²"]),
        "full attention": (shared["full"], longer["full"]),
    }
    return Study(
        11,
        "others",
        "What else gets there on the same budget of text?",
        (
            StudyPart("The same number of bytes, another way", rows, lambda rows: judge_others(rows, arms, shared)),
            StudyPart("Four times the bytes", tuple(run for pair in again.values() for runs in pair for run in runs),
                      lambda rows: judge_more(rows, again)),
        ),
        exploratory=True,
        limits="All are stretched with YaRN to the same target and read the same number of bytes.",
    )  # fmt: skip


def judge_others(rows: Rows, arms: dict[str, Run], shared: dict[str, tuple[Run, ...]]) -> Findings:
    """Compare the ways, with the attention pairs per byte relative to full attention at the target."""
    spread = rows.seed_spread(shared["full"], shared["s2"])
    s2, full = rows.bits([arms["S²"]]), arms["full attention"]
    gaps = {name: difference(s2, rows.bits([run]), spread=spread) for name, run in arms.items()}
    lines = tuple(
        (name, f"{100 * _pairs(run, full):.0f} %" if run.steps else "–", f"{rows.bits([run], run.target // 8)[0]:.3f}",
         f"{rows.bits([run])[0]:.3f}", "–" if name == "S²" else gaps[name].text(), rate(rows.passkeys([run])))
        for name, run in arms.items()
    )  # fmt: skip
    windows, pose = (gaps[name] for name in list(arms)[1:3])
    claims = (
        Claim("Stretched positions alone are far from trained ones (more than 10 %).",
              above(gaps["YaRN, nothing trained"], 0.1), f"against S² {gaps['YaRN, nothing trained'].text()}"),
        Claim("Training on short windows alone is worse than S² on long ones.", above(windows),
              f"against S² {windows.text()}"),
        Claim("Leaping positions make short windows as good as S² or better.", below(pose),
              f"against S² {pose.text()}"),
        Claim("A sliding window of the size of a group is worse than S².", above(gaps["sliding window"]),
              f"against S² {gaps['sliding window'].text()}"),
    )  # fmt: skip
    values = {name: rows.bits([run]) for name, run in arms.items() if run.steps}
    axis = f"dense bits per byte at {thousands(full.target)}"
    picture = seeds_picture("others", values, x=axis, reference=s2[0])
    headings = ("way", "pairs of full", f"bits/byte at {full.target // 8}", "at the target", "against S²", "passkeys")
    return Findings((Table(headings, lines),), (picture,), claims)


def judge_more(rows: Rows, again: dict[str, tuple[tuple[Run, ...], tuple[Run, ...]]]) -> Findings:
    """Compare four times the steps with the usual number, by whether training shows far distances."""
    s2 = again["S²"]
    spread = rows.seed_spread(*s2)
    trained = s2[0][0].target // 8
    changes = {name: rows.worse_than(more, usual, spread=spread) for name, (usual, more) in again.items()}
    lines = tuple(
        (name, *(with_spread(rows.bits(runs, length)) for length in (trained, None) for runs in pair),
         changes[name].text(), rate(rows.passkeys(pair[1])))
        for name, pair in again.items()
    )  # fmt: skip
    few, many = (runs[0].steps for runs in s2)
    alone, leapt = (changes[name] for name in list(again)[:2])
    claims = (
        Claim(f"On short windows, too, the model is worse at the target after {many} steps than after {few}.",
              above(alone), alone.text()),
        Claim("Where positions leap, so that training shows far distances as well, more steps make it better.",
              below(leapt), leapt.text()),
    )  # fmt: skip
    headings = ("way", *(f"bits/byte {where}, {steps} steps" for where in (f"at {trained}", "at the target")
                for steps in (few, many)), "change at the target", "passkeys")  # fmt: skip
    note = (
        "Groups of S² and windows are as long; only where positions leap, and with full attention, does training show "
        "distances up to the target. Short windows have one seed and borrow the spread of the change of S². This part "
        "was added to ask why four times the steps do harm in study 1."
    )
    return Findings((Table(headings, lines, note),), (), claims)


def _pairs(run: Run, full: Run) -> float:
    """Divide pairs per byte by those of full attention at the target."""
    return pairs_of_full(run, 4, 4) * (run.window + 1) / (full.window + 1)
