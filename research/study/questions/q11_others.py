"""Study 11: other ways to the same length on the same budget of text."""

from __future__ import annotations

from collections.abc import Sequence

from ..layouts import pairs_of_full
from ..part import SEEDS, BaseProfile, Findings, Rows, Study, StudyPart, Table
from ..seed_plots import seeds_picture
from ..spec import Run
from ..summary import INTERVAL, LEVELS, Arms, rate, seeds_note, thousands, with_spread
from ..verdict import Claim, above, below, within
from .q01_attention.longer import longer_arms
from .q01_attention.training_attention import arms_at
from .q03_lengths import UNTRAINED, untrained_beside

HALVES = "S² in 2 groups"


def study(profile: BaseProfile, seeds: int = SEEDS) -> Study:
    """Make study 11: the first seed of each way, and further ones where they are recorded."""
    shared, longer = arms_at(profile, 8, seeds, ("full", "s2", "short")), longer_arms(profile, seeds)
    short_windows = {"attention": "full", "length": 2 * profile.trained}
    windows, leaping = f"full attention on windows of {2 * profile.trained}", "the same, positions leap (PoSE)"

    def runs(**fields) -> tuple[Run, ...]:
        return tuple(profile.run(8, seed=seed, **fields) for seed in range(seeds))

    others = {
        windows: runs(**short_windows),
        leaping: runs(**short_windows, skip=True),
        "sliding window": runs(attention="window"),
    }
    arms = {
        UNTRAINED: untrained_beside(profile, seeds),
        **others,
        "short attention": shared["short"],
        "S²": shared["s2"],
        HALVES: runs(attention="s2", groups=2),  # as many pairs as the sliding window
        "full attention": shared["full"],
    }  # fmt: skip
    rows = (*(runs[0] for runs in arms.values()),
            *(run for runs in (*shared.values(), arms[HALVES]) for run in runs))  # fmt: skip
    many = 4 * profile.steps
    more = {windows: runs(**short_windows, steps=many), leaping: runs(**short_windows, skip=True, steps=many)}
    again = {
        **{name: (others[name], more[name]) for name in more},
        "S²": (shared["s2"], longer["S²"]),
        "full attention": (shared["full"], longer["full"]),
    }
    first = (run for pair in again.values() for runs in pair for run in runs)
    further = {run for runs in (*others.values(), *more.values()) for run in runs[1:]}
    return Study(
        11,
        "others",
        "What else gets there on the same budget of text?",
        (
            StudyPart("The same number of bytes, another way", rows, lambda rows: judge_others(rows, arms),
                      tuple(run for runs in others.values() for run in runs[1:])),
            StudyPart("Four times the bytes", tuple(run for run in first if run not in further),
                      lambda rows: judge_more(rows, again),
                      tuple(run for runs in more.values() for run in runs[1:])),
        ),
        exploratory=True,
        limits="All are stretched with YaRN to the same target. Those that are trained read the same number of bytes, "
        "in the second part four times as many, too.",
    )  # fmt: skip


def judge_others(rows: Rows, planned: Arms) -> Findings:
    """Compare the ways, with the attention pairs per byte relative to full attention at the target."""
    lent, arms = rows.lent(planned["full attention"], planned["S²"]), rows.recorded_seeds(planned)
    s2, full = arms["S²"], arms["full attention"][0]
    gaps = {name: rows.worse_than(runs, s2, lent=lent) for name, runs in arms.items()}
    share = {name: f"{100 * _pairs(runs[0], full):.0f} %" for name, runs in arms.items() if runs[0].steps}
    lines = tuple(
        (name, share.get(name, "–"),
         with_spread(rows.bits(_each(runs), full.target // 8)), with_spread(rows.bits(_each(runs))),
         "–" if name == "S²" else gaps[name].cell(), rate(rows.passkeys(_each(runs))))
        for name, runs in arms.items()
    )  # fmt: skip
    windows, pose, sliding = (gaps[name] for name in list(arms)[1:4])
    halves = rows.worse_than(arms["sliding window"], arms[HALVES], lent=lent)
    claims = (
        Claim("Stretched positions alone are far from trained ones (more than 10 %).",
              above(gaps[UNTRAINED], 0.1), f"against S² {gaps[UNTRAINED].text()}"),
        Claim("Training on short windows alone is worse than S² on long ones.", above(windows),
              f"against S² {windows.text()}"),
        Claim("Leaping positions make short windows as good as S² or better.", below(pose),
              f"against S² {pose.text()}"),
        Claim("A sliding window of the size of a group is worse than S².", above(sliding),
              f"against S² {sliding.text()}, with {share['sliding window']} of the pairs of full attention to its "
              f"{share['S²']}"),
        Claim("A sliding window does as well as S² of as many pairs, in groups of half the target (within 1 %).",
              within(halves, 0.01), f"against {HALVES} {halves.text()}"),
    )  # fmt: skip
    values = {name: rows.bits(runs) for name, runs in arms.items() if runs[0].steps}
    axis = f"dense bits per byte at {thousands(full.target)}"
    picture = seeds_picture("others", values, x=axis, reference=sum(values["S²"]) / len(s2))
    note = f"{seeds_note(arms)} {HALVES} was set beside them when all other rows had been seen."
    headings = ("way", "pairs of full", f"bits/byte at {full.target // 8}", "at the target", "against S²", "passkeys")
    return Findings((Table(headings, lines, note),), (picture,), claims)


def judge_more(rows: Rows, again: dict[str, tuple[tuple[Run, ...], tuple[Run, ...]]]) -> Findings:
    """Compare four times the steps with the usual number, by whether training shows far distances."""
    s2 = again["S²"]
    lent = rows.lent(*s2)
    trained = s2[0][0].target // 8
    pairs = {name: rows.recorded_seeds(dict(enumerate(pair))) for name, pair in again.items()}
    changes = {name: rows.worse_than(pair[1], pair[0], lent=lent) for name, pair in pairs.items()}
    lines = tuple(
        (name, str(len(pair[0])),
         *(with_spread(rows.bits(pair[which], length)) for length in (trained, None) for which in (0, 1)),
         changes[name].cell(), rate(rows.passkeys(pair[1])))
        for name, pair in pairs.items()
    )  # fmt: skip
    few, many = (runs[0].steps for runs in s2)
    alone, leapt = (changes[name] for name in list(again)[:2])
    claims = (
        Claim(f"On short windows, too, the model is worse at the target after {many} steps than after {few}.",
              above(alone), alone.text()),
        Claim("Where positions leap, so that training shows far distances as well, more steps make it better.",
              below(leapt), leapt.text()),
    )  # fmt: skip
    headings = ("way", "seeds", *(f"bits/byte {where}, {steps} steps" for where in (f"at {trained}", "at the target")
                for steps in (few, many)), "change at the target", "passkeys")  # fmt: skip
    note = (
        "Groups of S² and windows are as long; only where positions leap, and with full attention, does training show "
        "distances up to the target. "
        f"{LEVELS} {INTERVAL} One seed alone would borrow the spread of the change of S². This part was added to ask "
        "why four times the steps do harm in study 1."
    )
    return Findings((Table(headings, lines, note),), (), claims)


def _each(runs: Sequence[Run]) -> Sequence[Run]:
    """List runs once: what is not trained is the same for all seeds."""
    return tuple(dict.fromkeys(runs))


def _pairs(run: Run, full: Run) -> float:
    """Divide pairs per byte by those of full attention at the target."""
    return pairs_of_full(run, 4, 4) * (run.window + 1) / (full.window + 1)
