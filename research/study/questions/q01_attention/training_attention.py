"""Study 1: the choice of attention while training, and the conditions under which the shift matters."""

from __future__ import annotations

from collections.abc import Sequence

from ...part import SEEDS, BaseProfile, Findings, Rows, Study, StudyPart, Table
from ...seed_plots import seeds_picture
from ...spec import EXTRAS, Run
from ...summary import AGAINST_FULL, ARM_NAMES, INTERVAL, ONE_SEED, Arms, paper_gap, rate, thousands, with_spread
from ...verdict import Claim, difference, within
from .closing import closing_arms, judge_tried
from .far_base import control_arms, far_arms, judge_control, judge_far
from .longer import judge_longer, longer_arms
from .same_text import NO_SHIFT
from .shift_needed import judge_probes, probes_of
from .spread import judge_spread, spread_arms

ARMS = ("full", "short", "s2", "wrap", "masked")


def arms_at(profile: BaseProfile, factor: int, seeds: int, names: Sequence[str] = ARMS) -> dict[str, tuple[Run, ...]]:
    """Set up each arm, a run per seed. All seeds of full and S² are measured at all lengths, else the first."""

    def run(name: str, seed: int) -> Run:
        thorough = seed == 0 or (name in ("full", "s2") and factor < 16)
        return profile.run(factor, attention=name, seed=seed, extra=EXTRAS if thorough else ())

    return {name: tuple(run(name, seed) for seed in range(seeds)) for name in names}


def by_seed(arms: Arms) -> tuple[Run, ...]:
    """List all runs, the first seed of every arm first."""
    return tuple(run for runs in zip(*arms.values(), strict=True) for run in runs)


def first_seed(arms: Arms, only: bool) -> Arms:
    """Cut arms to their first seeds, if `only`."""
    return {name: runs[:1] for name, runs in arms.items()} if only else arms


def study(profile: BaseProfile, seeds: int = SEEDS) -> Study:
    """Make study 1: its rows and its findings."""
    eight, four, sixteen = (arms_at(profile, factor, count) for factor, count in ((8, seeds), (4, seeds), (16, 1)))
    tried, longer, probes = closing_arms(profile, seeds), longer_arms(profile, seeds), probes_of(seeds)
    far, control, spread = far_arms(profile, seeds), control_arms(profile, seeds), spread_arms(profile, seeds)
    return Study(
        1,
        "attention",
        "What may attention be while training, and when does the shift matter?",
        (
            StudyPart("Eight times the trained context", by_seed(eight), lambda rows: judge_arms(rows, eight, 8)),
            StudyPart("A task that needs the shift", tuple(p for runs in probes.values() for p in runs),
                      lambda rows: judge_probes(rows, probes)),
            StudyPart("Four times", by_seed(four), lambda rows: judge_arms(rows, four, 4)),
            StudyPart("Sixteen times", by_seed(sixteen), lambda rows: judge_arms(rows, sixteen, 16, eight)),
            StudyPart("What brings S² closer to full attention", (*by_seed(tried), *eight["full"], *eight["s2"]),
                      lambda rows: judge_tried(rows, tried, eight)),
            StudyPart("Four times the steps", (*by_seed(longer), *eight["full"], *eight["s2"]),
                      lambda rows: judge_longer(rows, longer, eight)),
            StudyPart("A base that uses far context",
                      (*(run for name, arms in far.items() for run in by_seed(first_seed(arms, name == "farther"))),
                       *(run for name in far["far"] for arms in (eight, four) for run in arms[name])),
                      lambda rows: judge_far(rows, far, eight, four),
                      tuple(run for runs in far["farther"].values() for run in runs[1:])),
            StudyPart("As many further steps at the trained context",
                      tuple(run for arms in control.values() for run in by_seed(arms)),
                      lambda rows: judge_control(rows, control, far, eight)),
            StudyPart("Windows spread over the documents", by_seed(spread),
                      lambda rows: judge_spread(rows, spread)),
        ),
        limits="How much the base gains from far context at all is in study 3. The part *A base that uses far "
        "context* has one that gains more, and a larger one is the profile `gpu`.",
    )  # fmt: skip


def judge_arms(rows: Rows, arms: Arms, factor: int, borrowed: Arms | None = None) -> Findings:
    """Compare dense bits and passkeys by training attention, and bits under the pattern itself."""
    first = arms["s2"][0]
    trained, target = first.target // factor, first.target
    lent = rows.lent(borrowed["full"], borrowed["s2"]) if borrowed else None
    table = []
    for name, runs in arms.items():
        own = rows.bits_as_trained([run for run in runs if "pattern" in run.extra])
        far = rows.worse_than(runs, arms["full"], lent=lent)
        table.append((
            ARM_NAMES[name], with_spread(rows.bits(runs, trained)), with_spread(rows.bits(runs)),
            "–" if name == "full" else far.cell(), with_spread(own), rate(rows.passkeys(runs)),
        ))  # fmt: skip
    headings = ("attention in training", f"bits/byte at {trained}", f"at {thousands(target)}", "against full",
                f"at {thousands(target)} under the training pattern", "passkeys")  # fmt: skip
    everywhere = difference(*(rows.whole_window(arms[name]) for name in ("full", "s2")), lent=lent)
    to_full, to_short = (
        rows.worse_than(arms[mine], arms[other], lent=lent) for mine, other in (("s2", "full"), ("short", "s2"))
    )
    claims = [
        Claim(
            "S² stays within 1 % of full attention (dense bits/byte at the target).", within(to_full, 0.01),
            f"S² against full {to_full.text()}{paper_gap(factor)}",
        ),
        Claim(
            "Over all bytes of the windows, not only their last, S² stays within 1 % of full.",
            within(everywhere, 0.01), f"S² against full {everywhere.text()}",
        ),
        Claim(NO_SHIFT, within(to_short, 0.01), f"short against S² {to_short.text(digits=2)}"),
    ]  # fmt: skip
    values = {ARM_NAMES[name]: rows.bits(runs) for name, runs in arms.items()}
    picture = seeds_picture(f"attention-x{factor}", values, x=f"dense bits per byte at {thousands(target)}")
    note = f"{ONE_SEED} {INTERVAL}" if borrowed else AGAINST_FULL
    return Findings((Table(headings, tuple(table), note),), (picture,), tuple(claims))
