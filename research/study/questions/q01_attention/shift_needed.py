"""Study 1: a task that needs the shift; its key and question stand in two groups."""

from __future__ import annotations

from longlora_edu.geometry import S2Geometry
from longlora_edu.runs.records import Proportion
from longlora_edu.training.probe import ProbeSettings

from ...part import Findings, Rows, Table
from ...summary import pooled, rate
from ...verdict import Claim, above, below, over_trials

RELAY = {"place": "far", "seq_len": 32, "group_size": 8, "steps": 400}


def probes_of(seeds: int) -> dict[str, tuple[ProbeSettings, ...]]:
    """Set up the task across a border (one layer), and too far for any one cell (one layer, then two)."""
    kinds = {
        "across a border, 1 layer": {"place": "across"},
        "too far for a cell, 1 layer": RELAY | {"layers": 1},
        "too far for a cell, 2 layers": RELAY | {"layers": 2},
    }
    return {
        f"{kind}: {name}": tuple(ProbeSettings(**fields, shift=shift, seed=seed) for seed in range(seeds))
        for kind, fields in kinds.items()
        for name, shift in (("S²", None), ("short", 0))
    }


def judge_probes(rows: Rows, probes: dict[str, tuple[ProbeSettings, ...]]) -> Findings:
    """Compare right answers under the training pattern and with dense attention."""

    def right(runs, field: str = "accuracy") -> list[Proportion]:
        return [Proportion(rows[run][field]["successes"], rows[run][field]["trials"]) for run in runs]

    table = []
    for name, runs in probes.items():
        found = [pooled(rows[run][field] for run in runs) for field in ("accuracy", "dense")]
        table.append((name, f"{100 * rows[runs[0]]['ceiling']:.0f} %", *map(rate, found)))
    across = [right(runs) for name, runs in probes.items() if name.startswith("across")]
    relay = [probes[name] for name in probes if name.endswith("2 layers: S²")][0]
    gain, lost = over_trials(*across), over_trials(right(relay), right(relay, "dense"))
    layers = {r: 2 * r - 1 for r in (2, 4, 8) if _hears(r, 2 * r - 1) and not _hears(r, 2 * r - 2)}
    claims = (
        Claim("The shift carries what stands across a border of groups.", above(gain, 0.5),
              f"S² finds {gain.text(unit=' points', sign='-')} more than short attention, which can only guess"),
        Claim("What two layers relay under S², dense attention finds too (it loses less than 10 points).",
              below(lost, 0.1),
              f"dense attention loses {lost.text(unit=' points', sign='-')} of what the training pattern finds"),
    )  # fmt: skip
    reach = ", ".join(f"{layers[r]} layers for {r} groups" for r in layers)
    notes = (f"By the geometry the last token hears the first after {reach}; short attention never.",)
    headings = (
        "place of key and question",
        "at best",
        "right under the training pattern",
        "right with dense attention",
    )
    return Findings((Table(headings, tuple(table), "A guess is right in one of eight."),), (), claims, notes)


def _hears(groups: int, layers: int) -> bool:
    return bool(S2Geometry.with_groups(8 * groups, groups, 2).reach(layers)[-1, 0])
