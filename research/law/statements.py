"""Sequences of statements for models trained from scratch: `a := 3`, `b := a`, `b?`, each one token among filler.

A statement is one token, so that one layer can look up one hop, and two layers can relay: the statement `b := a` hears
the value of `a`, the question `b?` hears it from there. What training must find is which token states the name that is
asked for; what the geometry decides is whether it can be seen.
"""

from __future__ import annotations

import numpy as np

from .distances import counts, draw_chain, lay_chains
from .recall import CHAINS, Recall

NAMES, VALUES, FILLERS = 16, 8, 8
STATED = NAMES * (VALUES + NAMES)  # tokens `name := value` and `name := name`
ASKED, FILLER = STATED, STATED + NAMES
VOCABULARY = FILLER + FILLERS


def states(name: int, meant: int, *, is_name: bool) -> int:
    """Return the token that gives `name` a value, or another name's."""
    return name * (VALUES + NAMES) + (VALUES + meant if is_name else meant)


def draw_statements(
    row: Recall, rng: np.random.Generator, count: int, kind: str | None = None
) -> tuple[np.ndarray, np.ndarray, list[list[tuple[int, ...]]]]:
    """Draw ids (count, n), the answers (count, n), -1 where nothing is asked, and the chains of each sequence.

    Distances are those of the row's layout, or of a class that is measured, in which case only questions count to
    which the last value stated is no shortcut.
    """
    room, hops = row.room, row.hops
    ids = rng.integers(FILLER, VOCABULARY, size=(count, row.length))
    answers = np.full((count, row.length), -1)
    every = []
    for index in range(count):
        draws = [lambda: draw_chain(kind or row.layout, room, hops, rng)] * CHAINS[row.task]
        chains = lay_chains(draws, room, enclose=kind is not None)
        names = rng.permutation(NAMES)[: hops * len(chains)].reshape(len(chains), hops)
        for chain, called in zip(chains, names, strict=True):
            value = int(rng.integers(VALUES))
            ids[index, chain[0]] = states(called[0], value, is_name=False)
            for place, name, before in zip(chain[1:-1], called[1:], called, strict=False):
                ids[index, place] = states(name, before, is_name=True)
            ids[index, chain[-1]] = ASKED + called[-1]
            if kind is None or counts(chain, chains):
                answers[index, chain[-1]] = value
        every.append(chains)
    return ids, answers, every
