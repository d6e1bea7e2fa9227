"""`S2Geometry` proved where it can be, counted out where it cannot. What this adds up to: docs/proof.md."""

from __future__ import annotations

import inspect
import itertools
import math
import types
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import z3
from lemmas import FAULTS, HEADS, LEMMAS, first_key
from mutants import mutants_of
from symbolic import Refuted, Symbolic, Undecided, gap

from longlora_edu import geometry
from longlora_edu.geometry import S2Geometry

LONGEST, REACHED, SETTINGS = 64, 24, 8  # tokens, up to which settings are counted out
PAGE = Path(__file__).parents[1] / "docs" / "proof.md"
CASES = [(name, boundary) for name, lemma in LEMMAS.items() for boundary in lemma.faults]
FAULTY = [(name, boundary, fault) for name, boundary in CASES for fault in LEMMAS[name].faults[boundary]]
QUICK = {
    "every_token_sees_itself",
    "a_look_back_is_allowed_unless_a_wall_is_between",
    "no_depth_hears_the_future",
}


def marked(cases):
    """Without `-m slow` a few of the lemmas are proved."""
    return [pytest.param(*case, marks=[] if case[0] in QUICK else pytest.mark.slow) for case in cases]


def planted(fault: str) -> types.ModuleType:
    """geometry.py with a text of its source replaced, as a module of its own."""
    text, instead = FAULTS[fault]
    source = Path(geometry.__file__).read_text(encoding="utf-8")
    assert source.count(text) == 1, f"geometry.py has changed: plant another fault than {text!r}"
    return executed(source.replace(text, instead))


def executed(source: str | bytes) -> types.ModuleType:
    module = types.ModuleType(geometry.__name__)
    module.__package__ = geometry.__package__
    exec(compile(source, "geometry.py with a fault", "exec"), module.__dict__)
    return module


@pytest.mark.parametrize(("name", "boundary"), marked(CASES))
def test_proved_for_every_length_group_shift_head_and_token(name, boundary):
    LEMMAS[name].check(boundary, S2Geometry)


@pytest.mark.parametrize(("name", "boundary", "fault"), marked(FAULTY))
def test_a_fault_planted_in_the_source_is_refuted_and_the_counterexample_is_real(name, boundary, fault):
    lemma, faulty = LEMMAS[name], planted(fault).S2Geometry
    with pytest.raises(Refuted) as refuted:
        lemma.check(boundary, faulty, group=4)
    # On Python's own integers, without z3, it is false too.
    with pytest.raises(Refuted):
        lemma.check(boundary, faulty, group=4, values=refuted.value.example)


@pytest.mark.slow
def test_every_small_fault_in_the_rule_and_the_counts_is_noticed_by_some_lemma():
    source = Path(geometry.__file__).read_bytes()
    proved = [vars(S2Geometry)[name] for name in ("allows", "pairs", "future_pairs")] + [geometry._pairs]
    lines = {first + line for part, first in map(inspect.getsourcelines, proved) for line in range(len(part))}
    mutants = [mutant for mutant in mutants_of("geometry.py", source) if mutant.described(source)["line"] in lines]
    assert len(mutants) > 40
    survived, order = [], list(CASES)
    for mutant in mutants:
        noticed = noticed_by(executed(mutant.applied(source)), order)
        if noticed is None:
            survived.append(mutant.described(source))
        else:  # its neighbours in the source are likely to fall to the same lemma
            order.sort(key=lambda case, first=noticed: case != first)
    assert survived == []


def noticed_by(module: types.ModuleType, cases: list[tuple[str, str]]) -> tuple[str, str] | None:
    """The first lemma that is false of this geometry.py, or cannot be stated of it; None if all hold."""
    for name, boundary in cases:
        try:
            LEMMAS[name].check(boundary, module.S2Geometry, group=4, below=16)
        except (Refuted, TypeError):  # a TypeError: this code does with integers what it should not
            return name, boundary
    return None


def test_every_lemma_has_a_fault_for_each_boundary():
    assert [(name, boundary) for name, boundary in CASES if not LEMMAS[name].faults[boundary]] == []


def test_all_that_is_assumed_of_products_is_true():
    """Symbolic worlds tell z3 about multiples what it would not think of."""
    solver = z3.Solver()
    solver.add(z3.Not(gap(*z3.Ints("smaller larger step"))))
    assert solver.check() == z3.unsat


def test_symbolic_integers_compute_what_pythons_do():
    for number, divisor in itertools.product((-7, -6, -1, 0, 5), (1, 3)):
        world = Symbolic()
        a, b = world.integer("a"), world.integer("b")
        world.assume((a == number) & (b == divisor))
        quotient, rest = divmod(a, b)
        world.claim(
            ((quotient == number // divisor) & (rest == number % divisor))
            & ((a // 3 == number // 3) & (a % 3 == number % 3) & (divmod(7, b)[1] == 7 % divisor))
            & ((a + 2 == number + 2) & (2 - a == 2 - number) & (a * b - a == number * divisor - number))
            & (((a < b) == (number < divisor)) & ((a >= b) == (number >= divisor)))
            & ((a > b) * a == (number > divisor) * number)
            & (world.through_every_branch(lambda a=a, b=b: min(a, b)) == min(number, divisor))
        )


def test_a_divisor_must_be_known_to_be_positive():
    world = Symbolic()
    with pytest.raises(Refuted, match="false for a = .*, b = "):
        world.integer("a") // world.integer("b")


def test_what_z3_cannot_decide_is_not_taken_for_proved():
    world = Symbolic(effort=100_000)
    x, y, z = (world.integer(name, at_least=1) for name in "xyz")
    with pytest.raises(Undecided):  # Fermat, for cubes
        world.claim((x * x * x + y * y * y == z * z * z) ^ True)


def test_an_if_over_unknown_integers_is_not_guessed():
    world = Symbolic()
    with pytest.raises(TypeError, match="inside through_every_branch"):
        min(world.integer("a"), world.integer("b"))


def test_the_page_for_readers_names_every_lemma_and_bound():
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in LEMMAS if f"`{name}`" not in page] == []
    bounds = (f"{LONGEST} tokens, groups of {LONGEST}", f"{max(HEADS)} heads", f"{REACHED} tokens", f"-1 to {SETTINGS}")
    assert [bound for bound in bounds if bound not in page.replace("−", "-")] == []


def settings_up_to(longest: int, boundary: str, module: types.ModuleType, heads: int = 3):
    """Every geometry of up to `longest` tokens, in groups of up to `longest`, with every shift."""
    for length in range(1, longest + 1):
        module._cells.cache_clear()  # it would keep the cells of a hundred thousand geometries
        for group in range(1, longest + 1):
            if boundary == "split" or length % group == 0:
                yield from (module.S2Geometry(length, group, heads, shift, boundary) for shift in range(group))


def wrong_cells(module: types.ModuleType, longest: int, boundary: str) -> S2Geometry | None:
    """The first geometry whose cells are not those that the lemmas prove `allows` to have.

    Under "split" a query sees from `first_key` to itself; under the others cells are the groups of the rolled sequence.
    """

    @cache
    def firsts(group: int, shift: int, head: int) -> list[int]:
        longer = S2Geometry(longest, group, 2, shift)  # of which a shorter one is the beginning, as a lemma says
        return [first_key(longer, head, token) for token in range(longest)]

    for g in settings_up_to(longest, boundary, module):
        for head, cells in enumerate((g.cells(shifted=False), g.cells(shifted=True))):
            if boundary == "split":
                listed = [token for (cell,) in cells for token in cell]
                found = [cell.start for (cell,) in cells for _ in cell]
                if listed != [*range(g.seq_len)] or found != firsts(g.group_size, g.shift, head)[: g.seq_len]:
                    return g
                continue
            start = head * g.shift
            groups = [[token for piece in cell for token in piece] for cell in cells]
            rolled = [*range(start, g.seq_len), *range(start)]
            expected = [rolled[first : first + g.group_size] for first in range(0, g.seq_len, g.group_size)]
            if groups != (expected if boundary == "wrap" else [sorted(group) for group in expected]):
                return g
    return None


def wrong_counts(module: types.ModuleType, longest: int, boundary: str) -> S2Geometry | None:
    """The first geometry whose `pairs` or `future_pairs` are not those of its cells, counted one by one."""
    for g in settings_up_to(longest, boundary, module):
        counts, ahead = [], 0
        for cells in (g.cells(shifted=False), g.cells(shifted=True)):
            sizes = [sum(map(len, cell)) for cell in cells]
            counts.append(sum(size * (size + 1) // 2 for size in sizes))
            if boundary == "wrap":
                ahead += sum(len(cell[0]) * len(cell[1]) for cell in cells if len(cell) == 2)
        if (g.pairs(), g.future_pairs()) != (counts[0] + 2 * counts[1], 2 * ahead):
            return g
    return None


def wrong_reach(module: types.ModuleType, longest: int, boundary: str) -> S2Geometry | None:
    """The first geometry whose `reach` is not what the induction says: of token 0, and of any later one."""
    for g in settings_up_to(longest, boundary, module, heads=2):
        for layers in range(1, 2 * math.ceil(g.seq_len / g.group_size) + 1):
            heard = g.reach(layers)
            if boundary != "wrap" and np.triu(heard, 1).any():
                return g
            if boundary == "split" and g.shift:
                passed, shifted_too = divmod(layers + 1, 2)
                border = passed * g.group_size + shifted_too * g.shift
                if (heard[:, 0] != (np.arange(g.seq_len) < border)).any():
                    return g
    return None


def wrong_settings(module: types.ModuleType, longest: int, boundary: str) -> tuple | None:
    """The first settings that the constructor accepts and the lemmas do not assume, or the other way round."""
    for length, group, heads, shift in itertools.product(range(-1, longest + 1), repeat=4):
        assumed = length >= 1 and group >= 1 and heads >= 1 and 0 <= shift < group
        assumed = assumed and (boundary == "split" or length % group == 0)
        try:
            module.S2Geometry(length, group, heads, shift, boundary)
        except ValueError:
            if assumed:
                return length, group, heads, shift
        else:
            if not assumed:
                return length, group, heads, shift
    return None


# A check, up to how many tokens it is made, and faults that it notices up to six.
COUNTED_OUT = [
    (wrong_cells, LONGEST, "split", ("last cell too long", "first cell lost")),
    (wrong_cells, LONGEST, "wrap", ("wrapped cell turned", "wrapped a token early")),
    (wrong_cells, LONGEST, "masked", ("masked cell turned", "wrapped a token early")),
    (wrong_counts, LONGEST, "split", ("rest counted as full", "heads halved upwards")),
    (wrong_counts, LONGEST, "wrap", ("wrapped cell counted as split", "leak of half a group")),
    (wrong_counts, LONGEST, "masked", ("masked cell counted as split", "leak of any boundary")),
    (wrong_reach, REACHED, "split", ("a layer forgotten", "one ahead", "no shifted head")),
    (wrong_reach, REACHED, "masked", ("masked as wrapped",)),
    (wrong_settings, SETTINGS, "split", ("shift of a whole group",)),
    (wrong_settings, SETTINGS, "wrap", ("ragged end wrapped",)),
    (wrong_settings, SETTINGS, "masked", ("ragged end wrapped",)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("wrong", "longest", "boundary", "faults"), COUNTED_OUT)
def test_counted_out_for_every_setting_up_to_a_length(wrong, longest, boundary, faults):
    assert wrong(geometry, longest, boundary) is None


@pytest.mark.parametrize(("wrong", "longest", "boundary", "faults"), COUNTED_OUT)
def test_the_first_settings_are_counted_out_and_faults_in_the_source_noticed(wrong, longest, boundary, faults):
    assert wrong(geometry, 6, boundary) is None
    for fault in faults:
        assert wrong(planted(fault), 6, boundary) is not None, fault
