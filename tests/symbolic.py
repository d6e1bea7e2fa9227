"""Integers that nobody has chosen yet: Python code computes with them, and z3 proves what comes out for all of them.

    world = Symbolic()
    a, b = world.integer("a"), world.integer("b", at_least=1)
    world.claim(a - a % b == a // b * b)     # returns: proved for every a and every b >= 1
    world.claim(a % b == a)                  # raises Refuted, with numbers for which it is false: a = -2, b = 16

z3 has no division that could be used here: with an unknown divisor it gives up. So `a // b` and `a % b` become two
fresh unknowns q and r, with the two facts that define them, a = q b + r and 0 <= r < b, which is Python's rounding too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import z3


class Refuted(AssertionError):
    """A claim that is false, and the integers for which it is."""

    def __init__(self, example: dict[str, int]) -> None:
        super().__init__(f"false for {', '.join(f'{name} = {value}' for name, value in example.items())}")
        self.example = example


class Undecided(AssertionError):
    """A claim that z3 could neither prove nor refute with the effort it was given. It may be true; it is not proved."""


class Symbolic:
    """Unknown integers, what is known about them, and z3, which is asked what follows."""

    def __init__(self, effort: int = 100_000_000) -> None:
        self._effort = effort
        self._unknowns: list[z3.ArithRef] = []
        self._known: list[z3.BoolRef] = []
        # z3 has one number for equal terms, and hands it on when the last of them is gone: terms are kept with it.
        self._divisions: dict[tuple[int, int], tuple[z3.ArithRef, z3.ArithRef, Integer, Integer]] = {}
        self._multiples: dict[int, tuple[z3.ArithRef, dict[int, z3.ArithRef]]] = {}
        self._branches: list[tuple[z3.BoolRef, bool]] | None = None
        self._chosen: list[bool] = []

    def integer(self, name: str, *, at_least: object = None, below: object = None) -> Integer:
        """Any integer within the bounds; `name` names it in a counterexample, so each name is used once."""
        assert name not in map(str, self._unknowns), name
        unknown = Integer(z3.Int(name), self)
        self._unknowns.append(unknown.term)
        if at_least is not None:
            self.assume(unknown >= at_least)
        if below is not None:
            self.assume(unknown < below)
        return unknown

    def assume(self, truth: Truth | bool) -> None:
        """From here on only integers count for which this holds."""
        self._known.append(_term(truth))

    def claim(self, truth: Truth | bool) -> None:
        """Prove it for all integers that the assumptions leave, and go on knowing it.

        Raises:
            Refuted: with the integers for which it is false.
            Undecided: when z3 finds neither a proof nor a counterexample with this effort.
        """
        statement = _term(truth)
        solver = z3.Solver()  # a fresh one: with push and pop z3 leaves out its tactics for products
        solver.set("rlimit", self._effort)  # steps of z3, not seconds: as many on a busy machine
        solver.add(*self._known, *self._gaps(), z3.Not(statement))
        found = solver.check()
        if found == z3.sat:
            model = solver.model()
            raise Refuted({str(name): model.eval(name, model_completion=True).as_long() for name in self._unknowns})
        if found != z3.unsat:
            raise Undecided(f"{solver.reason_unknown()}: {statement}")
        self._known.append(statement)

    def through_every_branch(self, compute: Callable[[], Integer]) -> Integer:
        """Run `compute` once for every way that its `if`s and `min`s can go, and join the answers into one."""
        ways, self._chosen = [], []
        while True:
            self._branches = []
            value = _term(compute())
            ways.append((z3.And([test if taken else z3.Not(test) for test, taken in self._branches]), value))
            # The next way: turn the last branch that was taken, and forget those after it.
            self._chosen = [taken for _, taken in self._branches]
            while self._chosen and not self._chosen[-1]:
                self._chosen.pop()
            if not self._chosen:
                break
            self._chosen[-1] = False
        self._branches = None
        result = ways[-1][1]
        for condition, value in ways[:-1]:
            result = z3.If(condition, value, result)
        return Integer(result, self)

    def _branch(self, test: z3.BoolRef) -> bool:
        if self._branches is None:
            raise TypeError("an `if` over unknown integers must run inside through_every_branch")
        step = len(self._branches)
        self._branches.append((test, self._chosen[step] if step < len(self._chosen) else True))
        return self._branches[-1][1]

    def _divided(self, number: z3.ArithRef, divisor: z3.ArithRef) -> tuple[Integer, Integer]:
        key = (number.get_id(), divisor.get_id())
        if key not in self._divisions:
            self.claim(Truth(divisor >= 1, self))  # by less Python rounds the other way, or not at all
            quotient, rest = (Integer(z3.FreshInt(name), self) for name in ("quotient", "rest"))
            self._divisions[key] = (number, divisor, quotient, rest)
            self.assume(rest >= 0)
            self.assume(rest.term < divisor)
            self.assume(number == (quotient * Integer(divisor, self) + rest).term)
        return self._divisions[key][2:]

    def _multiplied(self, factor: z3.ArithRef, step: z3.ArithRef) -> None:
        if z3.is_int_value(factor) or z3.is_int_value(step):
            return  # a product with a number is no product of unknowns
        minus_one_and_none = {number.get_id(): number for number in (z3.IntVal(-1), z3.IntVal(0))}
        self._multiples.setdefault(step.get_id(), (step, minus_one_and_none))[1][factor.get_id()] = factor

    def _gaps(self) -> list[z3.BoolRef]:
        """Of any two multiples of a divisor, the smaller factor's is a step smaller, or more.

        True of all integers, and nothing that z3 thinks of: a product of two unknowns is a third unknown to it.
        """
        divisors = {divisor for _, divisor in self._divisions}
        multiples = [self._multiples[divisor] for divisor in divisors if divisor in self._multiples]
        return [gap(*two, step) for step, factors in multiples for two in itertools.permutations(factors.values(), 2)]


def gap(smaller: z3.ArithRef, larger: z3.ArithRef, step: z3.ArithRef) -> z3.BoolRef:
    """Multiples of a positive step with different factors are a step apart, or more."""
    return z3.Implies(z3.And(step >= 1, smaller < larger), smaller * step + step <= larger * step)


class Integer:
    """An integer of a `Symbolic` world: a formula that Python's operators extend."""

    __hash__ = None

    def __init__(self, term: z3.ArithRef, world: Symbolic) -> None:
        self.term, self.world = term, world

    def __add__(self, other) -> Integer:
        return Integer(self.term + _term(other), self.world)

    def __sub__(self, other) -> Integer:
        return Integer(self.term - _term(other), self.world)

    def __rsub__(self, other) -> Integer:
        return Integer(_term(other) - self.term, self.world)

    def __mul__(self, other) -> Integer:
        if isinstance(other, Integer):
            self.world._multiplied(self.term, other.term)
            self.world._multiplied(other.term, self.term)
        return Integer(self.term * _term(other), self.world)

    __radd__, __rmul__ = __add__, __mul__

    def __divmod__(self, other) -> tuple[Integer, Integer]:
        return self.world._divided(self.term, _term(other))

    def __rdivmod__(self, other) -> tuple[Integer, Integer]:
        return self.world._divided(_term(other), self.term)

    def __floordiv__(self, other) -> Integer:
        return divmod(self, other)[0]

    def __mod__(self, other) -> Integer:
        return divmod(self, other)[1]

    def __eq__(self, other) -> Truth:
        return Truth(self.term == _term(other), self.world)

    def __le__(self, other) -> Truth:
        return Truth(self.term <= _term(other), self.world)

    def __lt__(self, other) -> Truth:
        return Truth(self.term < _term(other), self.world)

    def __ge__(self, other) -> Truth:
        return Truth(self.term >= _term(other), self.world)

    def __gt__(self, other) -> Truth:
        return Truth(self.term > _term(other), self.world)


class Truth:
    """A statement about integers of a `Symbolic` world. As a factor it is 1 or 0, as a Python bool is."""

    __hash__ = None

    def __init__(self, term: z3.BoolRef, world: Symbolic) -> None:
        self.term, self.world = term, world

    def __and__(self, other) -> Truth:
        return Truth(z3.And(self.term, _term(other)), self.world)

    def __or__(self, other) -> Truth:
        return Truth(z3.Or(self.term, _term(other)), self.world)

    def __xor__(self, other) -> Truth:
        return Truth(z3.Xor(self.term, _term(other)), self.world)

    def __eq__(self, other) -> Truth:
        return Truth(self.term == _term(other), self.world)

    def __mul__(self, other) -> Integer:
        return Integer(z3.If(self.term, _term(other), 0), self.world)

    __rand__, __ror__, __rxor__, __rmul__ = __and__, __or__, __xor__, __mul__

    def __bool__(self) -> bool:
        return self.world._branch(self.term)


class Chosen:
    """A world in which every unknown was given a value: the same lemma runs on Python's own integers."""

    def __init__(self, values: dict[str, int]) -> None:
        self.values = values

    def integer(self, name: str, *, at_least: object = None, below: object = None) -> int:
        value = self.values[name]
        assert (at_least is None or value >= at_least) and (below is None or value < below)
        return value

    def assume(self, truth: bool) -> None:
        assert truth

    def claim(self, truth: bool) -> None:
        if not truth:
            raise Refuted(self.values)

    def through_every_branch(self, compute: Callable[[], int]) -> int:
        return compute()


def no(truth: Truth | bool) -> Truth | bool:
    return truth ^ True


def implies(reason: Truth | bool, consequence: Truth | bool) -> Truth | bool:
    return no(reason) | consequence


def _term(value: Integer | Truth | z3.ExprRef | int | bool) -> z3.ExprRef:
    if isinstance(value, Integer | Truth):
        return value.term
    if isinstance(value, bool):
        return z3.BoolVal(value)
    if isinstance(value, int):
        return z3.IntVal(value)
    if not isinstance(value, z3.ExprRef):
        raise TypeError(f"an integer or a truth is needed, got {value!r}")
    return value
