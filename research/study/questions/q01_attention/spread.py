"""Study 1: the main comparison once more, on windows that are spread over the documents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...part import BaseProfile, Findings, Rows, Table, relative_change
from ...resample import redrawn, with_documents
from ...spec import Run
from ...summary import AGAINST_FULL, ARM_NAMES, Arms, with_spread
from ...verdict import Claim, Difference, over_seeds, within
from .same_text import NO_SHIFT

SPREAD_ARMS = ("full", "short", "s2")


def spread_arms(profile: BaseProfile, seeds: int) -> dict[str, tuple[Run, ...]]:
    """Set up full, short and S² at eight times, measured on spread windows too."""
    return {
        name: tuple(profile.run(8, attention=name, seed=seed, extra=("documents",)) for seed in range(seeds))
        for name in SPREAD_ARMS
    }


def judge_spread(rows: Rows, arms: Arms) -> Findings:
    """Compare the arms where every document has as many windows."""
    lines = []
    for name, runs in arms.items():
        gap = "–" if name == "full" else _against(rows, runs, arms["full"]).cell()
        lines.append((ARM_NAMES[name], with_spread([float(line.mean()) for line in _bits(rows, runs)]), gap))
    gap, shift = (_against(rows, arms[mine], arms[other]) for mine, other in (("s2", "full"), ("short", "s2")))
    claims = (
        Claim("On these windows S² stays within 1 % of full attention.", within(gap, 0.01), gap.text()),
        Claim(NO_SHIFT, within(shift, 0.01), f"short against S² {shift.text(digits=2)}"),
    )
    documents = len(set(rows[arms["full"][0]]["spread"]["documents"]))
    note = f"{AGAINST_FULL} The windows are as many from each of {documents} documents, at even distances."
    headings = ("attention in training", "bits/byte at the target", "against full")
    return Findings((Table(headings, tuple(lines), note),), (), claims)


def _bits(rows: Rows, runs: Sequence[Run]) -> np.ndarray:
    kept = "bits_per_byte_by_length_and_window"
    return np.array([rows[run]["spread"][kept][str(run.target)] for run in runs])


def _against(rows: Rows, runs: Sequence[Run], other: Sequence[Run]) -> Difference:
    bits = [_bits(rows, arm) for arm in (other, runs)]
    names = rows[runs[0]]["spread"]["documents"]
    documents = [sorted(set(names)).index(name) for name in names]
    found = over_seeds([float(value) for value in relative_change(*(arm.mean(axis=1) for arm in bits))])
    return with_documents(found, redrawn(relative_change, bits, documents), documents)
