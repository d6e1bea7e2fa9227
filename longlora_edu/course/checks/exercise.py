"""Run a learner's code, compare it with the right answer, and name the mistake it makes.

A check looks at type and shape first, then at values over several sizes, then names the mistake. Whatever happens,
the learner sees a sentence and a picture, never a trace through this library.
"""

from __future__ import annotations

import functools
import inspect
import math
import os
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np

from ...geometry import S2Geometry
from ...plots import Picture, show_comparison, show_tables
from ..notebook.cards import card, publish
from ..notebook.folded import FOLD, folded, happened
from ..notebook.journal import Journal

if TYPE_CHECKING:
    import torch

# Relative to the largest right number. Wide enough for single precision, far narrower than any mistake.
CLOSE = 1e-4
SEEN = 1e-9  # a weight below is what rounding left of a zero
NOT_YET = "Not yet: see above"
SOLVED = "Run this cell to check your answer. Inside: what the check says of the solution"
CHANGED = (
    "inputs_changed",
    "An array that was handed in has changed: make a new one instead of writing into it (as `x *= …` does).",
)


class CheckFailed(AssertionError):
    """A learner's answer is wrong: one sentence, the name of the mistake, and a picture where there is one.

    Notebooks show the sentence only. It is an error, so that nbgrader gives no points.
    """

    def __init__(self, sentence: str, *, mistake: str = "other", picture: Picture | None = None) -> None:
        super().__init__(sentence)
        self.mistake, self.picture = mistake, picture

    def _render_traceback_(self) -> list[str]:
        return [f"Not yet: {self}"]


@dataclass(frozen=True)
class Passed:
    """The verdict on a right answer: one sentence, and the picture that the exercise expects."""

    sentence: str
    picture: Picture | None = None


@dataclass(frozen=True)
class Mistake:
    """A way to get an exercise wrong: the sentence that a learner reads, and `form(*case)`, the answer it leads to.

    `also` is a second form of the same mistake, or several. A form may return None for a case in which it cannot be
    made.
    """

    sentence: str
    form: Callable
    also: Callable | Sequence[Callable] = ()

    @property
    def forms(self) -> tuple[Callable, ...]:
        """All forms of the mistake."""
        return (self.form, *((self.also,) if callable(self.also) else self.also))

    def explained(self, seen: Sequence[tuple[Any, tuple]], within: float) -> bool:
        """Compare the answers to some cases with what one form of the mistake leads to in all of them."""
        with np.errstate(all="ignore"):
            return any(all(same(answer, form(*case), within) for answer, case in seen) for form in self.forms)


def check(key: str) -> Callable:
    """Turn `function(answer, …) -> Passed`, which raises `CheckFailed`, into a check that a notebook can call.

    It shows the verdict, notes it in the journal under `key`, and lets the error pass on in one line. A stub that
    raises `NotImplementedError` is no wrong answer.
    """

    def decorate(judge: Callable[..., Passed]) -> Callable[..., None]:
        @functools.wraps(judge)
        def run(*args, journal: Journal | None = None, **kwargs) -> None:
            journal = journal or Journal()
            before = journal.get("exercises", key) or {"attempts": 0}
            try:
                passed = judge(*args, **kwargs)
            except NotImplementedError as error:
                sentence = f"{key} is not written yet: replace the last line of the cell above, then run both cells."
                publish(card("todo", sentence), sentence)
                error._render_traceback_ = lambda: ["NotImplementedError: see above"]
                raise
            except CheckFailed as error:
                # Who breaks a right answer, to see the check, has solved the exercise all the same.
                passed = before.get("passed", False)
                attempts = {"attempts": before["attempts"] + 1, "passed": passed, "mistake": error.mistake}
                journal.note("exercises", key, attempts)
                body = error.picture.html if error.picture else ""
                publish(card("wrong", str(error), body), f"Not yet: {error}")
                error._render_traceback_ = lambda: [NOT_YET]  # once is enough
                raise error from None
            attempts = before["attempts"] + (not before.get("passed", False))
            journal.note("exercises", key, {"attempts": attempts, "passed": True})
            body = passed.picture.html if passed.picture else ""
            shown = card("right", passed.sentence, body)
            if os.environ.get(FOLD):  # a stored notebook shows what the solution gives, and its sentence may be a hint
                publish(folded(shown, SOLVED), SOLVED)
            else:
                publish(shown, f"Right. {passed.sentence}")
            happened("exercises", key)  # the worked solution below

        run.key = key
        return run

    return decorate


def called(
    function: Callable,
    *inputs: Any,
    changed: tuple[str, str] | None = CHANGED,
    advice: Mapping[str, str] | None = None,
):
    """Call the learner's function on `inputs` and return its answer; an error becomes a sentence with its line.

    `changed` is the mistake (name, sentence) of a function that writes into the arrays or tensors among `inputs`; with
    None it may. `advice` maps words of an error to the sentence that helps against it.

    Raises:
        NotImplementedError: from a stub.
        CheckFailed: for anything else it raises, for a changed input, or when it is no function.
    """
    if not callable(function):
        raise CheckFailed(f"a function is needed here, got {type(function).__name__}", mistake="no function")
    name = getattr(function, "__name__", type(function).__name__)
    before = [_values(x) if changed else None for x in inputs]
    try:
        with np.errstate(all="ignore"):
            answer = function(*inputs)
    except (NotImplementedError, CheckFailed):
        raise
    except Exception as error:
        code = getattr(function, "__code__", None) or getattr(getattr(function, "forward", None), "__code__", None)
        file = getattr(code, "co_filename", None)
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        where = f" on the line `{own[-1].line}`" if own and own[-1].line else ""
        help_ = "".join(f". {sentence}" for words, sentence in (advice or {}).items() if words in str(error))
        what = f"{name} raised {type(error).__name__}{where}: {error}{help_}"
        raise CheckFailed(what, mistake="exception") from None
    for old, new in zip(before, map(_values, inputs), strict=True):
        expect(old is None or (old.shape == new.shape and bool((old == new).all())), *(changed or CHANGED))
    return answer


def compare(
    function: Callable,
    cases: Iterable[tuple],
    right: Callable,
    mistakes: Mapping[str, Mistake] | None = None,
    *,
    otherwise: str | Callable,
    read: Callable = lambda answer, *_: answer,
    inputs: Callable[..., tuple] = lambda *case: case,
    within: float = CLOSE,
    setting: Callable[..., str] | None = None,
    picture: Callable[..., Picture | None] | None = None,
    changed: tuple[str, str] | None = CHANGED,
) -> None:
    """Run `function(*inputs(*case))` on each case; at the first answer unlike `right(*case)`, name the mistake.

    The mistake is one that explains every answer, the right ones too: an odd group's does not show in even sizes. All
    cases are tried before anybody is accused. One mistake that leads to the right answers accuses nobody.

    `read(answer, expected, *case)` checks type and shape and gives the answer to compare, up to `within` of the
    largest right number. `otherwise` is for what no mistake explains: a sentence, or a function of (answer, expected,
    *case) that gives one or a pair of name and sentence. `picture` is such a function too, and `setting(*case)` the
    case in words.

    Raises:
        CheckFailed: with the sentence, the name of the mistake, and the picture.
    """
    seen, wrong, suspects = [], None, dict(mistakes or {})
    for case in cases:
        expected = right(*case)
        try:
            answer = read(called(function, *inputs(*case), changed=changed), expected, *case)
        except CheckFailed:
            if wrong is None:
                raise
            break  # the first wrong answer says more than where the code stops later
        seen.append((answer, case))
        if wrong is None and same(answer, expected, within):
            continue
        suspects = {name: m for name, m in suspects.items() if m.explained(seen, within)}
        wrong = wrong or (answer, expected, *case)
        if not suspects:
            break
    if wrong is None:
        return
    known = next(((name, m.sentence) for name, m in suspects.items()), None)
    known = known or (otherwise(*wrong) if callable(otherwise) else otherwise)
    name, sentence = ("other", known) if isinstance(known, str) else known
    where = f" (Seen with {setting(*wrong[2:])}.)" if setting else ""
    raise CheckFailed(sentence + where, mistake=name, picture=picture(*wrong) if picture else None)


def compare_masks(
    function: Callable,
    cases: Iterable[tuple],
    right: Callable,
    mistakes: Mapping[str, Mistake],
    setting: Callable[..., str],
    *,
    what: str = "the mask",
    inputs: Callable[..., tuple] = lambda *case: case,
    otherwise: Callable | None = None,
    drawn: bool = True,
) -> None:
    """`compare` for masks bool (n, n) or (h, n, n), drawn beside the right one: of several heads, the first wrong one.

    Without `drawn` nothing is: for an exercise whose whole answer is one picture. `otherwise` says what no mistake
    explains, where rows and columns are not queries and keys.

    Raises:
        CheckFailed: naming the mistake.
    """

    def read(answer: Any, expected, *case):
        return expect_array(answer, expected.shape, what=f"{what} for {setting(*case)}", kind="b")

    def picture(answer: Any, expected, *case):
        if answer.ndim == 3:
            head = int(np.argmax((answer != expected).any(axis=(1, 2))))
            answer, expected = answer[head], expected[head]
        return show_comparison(answer, expected)

    def wrong_pair(answer: Any, expected, *case):
        *head, query, key = np.argwhere(answer != expected)[0]
        where = f"On head {head[0]} query" if head else "Query"
        if answer[*head, query, key]:
            return f"{where} {query} looks at key {key} in your answer, and it must not."
        return f"{where} {query} does not look at key {key} in your answer, and it must."

    options = {"within": 0, "setting": setting, "inputs": inputs, "picture": picture if drawn else None}
    compare(function, cases, right, mistakes, read=read, otherwise=otherwise or wrong_pair, **options)


def compare_numbers(
    function: Callable,
    cases: Sequence[tuple],
    right: Callable,
    mistakes: Mapping[str, Mistake] | None = None,
    *,
    whole: bool = True,
    names: Sequence[str] = (),
) -> None:
    """`compare` for numbers. `whole` asks for whole numbers, though `4.0` will do.

    `names` is what to call the arguments of each case, where they are too long to be shown.

    Raises:
        CheckFailed: naming the mistake, or with the first case that differs.
    """
    name = getattr(function, "__name__", "your function")

    def read(answer: Any, expected, *case):
        expect_number(answer, name, verb="return")
        fraction = whole and not isinstance(answer, Integral) and not float(answer).is_integer()
        expect(not fraction, "fraction", f"{name} must return a whole number, got {answer:,}")
        return answer

    def otherwise(answer: Any, expected, *case):
        given = names[list(cases).index(case)] if names else _arguments(function, case)
        return "value", f"{name}({given}) must give {_short(expected)}, got {_short(answer)}"

    for case in cases:  # a fraction in a later case says more than the first wrong number
        read(called(function, *case), None)
    compare(function, cases, right, mistakes, read=read, otherwise=otherwise, within=1e-9)


def same(one: Any, other: Any, within: float = CLOSE) -> bool:
    """Compare shapes, and numbers up to `within` of the largest of `other`; lists and tuples part by part."""
    if one is None or other is None:
        return False
    if isinstance(other, list | tuple):
        return len(one) == len(other) and all(same(*pair, within) for pair in zip(one, other, strict=True))
    one, other = np.asarray(one, float), np.asarray(other, float)
    room = within * max(np.abs(other[np.isfinite(other)]).max(initial=0), 1e-6)
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=0, atol=room, equal_nan=True))


def expect(holds: bool, mistake: str, sentence: str) -> None:
    """Stop the check where something does not hold.

    Raises:
        CheckFailed: with this sentence.
    """
    if not holds:
        raise CheckFailed(sentence, mistake=mistake)


def expect_array(value: Any, shape: tuple[int, ...], *, what: str = "the result", kind: str = "f") -> np.ndarray:
    """Return `value` if it is the NumPy array asked for; `kind` is NumPy's: `"f"` floats, `"b"` bools, `"i"` integers.

    Raises:
        CheckFailed: naming what it is instead.
    """
    expect(isinstance(value, np.ndarray), "type", f"{what} must be a NumPy array, got {type_of(value)}")
    _expect_shape(value, shape, what)
    names = {"f": "floating-point numbers", "b": "True and False", "i": "integers"}
    expect(value.dtype.kind == kind, "dtype", f"{what} must hold {names[kind]}, got dtype {value.dtype}")
    finite = kind != "f" or bool(np.isfinite(value).all())
    expect(finite, "not finite", f"{what} must be finite, got NaN or infinity in it")
    return value


def expect_tensor(value: Any, shape: tuple[int, ...], *, like: torch.Tensor, what: str = "the result"):
    """Return `value` if it is a torch tensor of this shape, of the dtype and on the device of `like`.

    Raises:
        CheckFailed: naming what it is instead.
    """
    import torch

    expect(isinstance(value, torch.Tensor), "type", f"{what} must be a torch tensor, got {type_of(value)}")
    _expect_shape(value, shape, what)
    kind = f"{what} must have the dtype of its input, {like.dtype}, got {value.dtype}"
    expect(value.dtype == like.dtype, "dtype", kind)
    expect(value.device == like.device, "device", f"{what} must stay on {like.device}, got {value.device}")
    finite = bool(value.detach().isfinite().all())
    expect(finite, "not finite", f"{what} must be finite, got NaN or infinity in it")
    return value


def expect_number(value: Any, what: str, *, verb: str = "be") -> float:
    """Return `value` if it is a plain, finite number.

    Raises:
        CheckFailed: naming what it is instead.
    """
    number = isinstance(value, Real) and not isinstance(value, bool)
    expect(number, "type", f"{what} must {verb} a number, got {type_of(value)}")
    expect(math.isfinite(value), "not finite", f"{what} must {verb} a finite number, got {value}")
    return float(value)


def expect_integer(value: Any, what: str) -> int:
    """Return `value` if it is a whole number; 20.0 is none, and neither is True.

    Raises:
        CheckFailed: naming what it is instead.
    """
    hint = {type(None): " (did you forget `return`?)", float: " (divide with // to stay among whole numbers)"}
    shown = f"{value!r}" if np.ndim(value) == 0 else type(value).__name__
    whole = isinstance(value, Integral) and not isinstance(value, bool | np.bool_)
    expect(whole, "type", f"{what} must be an integer, got {shown}{hint.get(type(value), '')}")
    return int(value)


def expect_verdict(value: Any, what: str) -> bool:
    """Return `value` if it is True or False; `what` begins the sentence: "the test must say True or False".

    Raises:
        CheckFailed: naming what it is instead.
    """
    hint = " (`bool(…)` makes one of a tensor)" if hasattr(value, "detach") else ""
    expect(isinstance(value, bool | np.bool_), "type", f"{what}, got {type_of(value)}{hint}")
    return bool(value)


def type_of(value: object) -> str:
    """The name of a value's type, and for None the likely reason."""
    return type(value).__name__ + " (did you forget `return`?)" * (value is None)


def named(*names: str) -> Callable[..., str]:
    """Return a function that writes a case as its arguments by name, as in a call: `seq_len=8, group_size=4`."""
    return lambda *case: ", ".join(f"{name}={value}" for name, value in zip(names, case, strict=True))


def attention_weights(function: Callable, geometry: S2Geometry, *, seed: int = 0) -> np.ndarray:
    """Measure how much each output (rows) takes of each value (columns) in `function(q, k, v, geometry)`: (h, n, n).

    Attention is linear in v, so a unit value at one key shows which queries look at it, whatever the code does inside.
    """
    heads, length = geometry.num_heads, geometry.seq_len
    q, k = np.random.default_rng(seed).normal(size=(2, 1, heads, length, length))
    v = np.broadcast_to(np.eye(length), (1, heads, length, length)).copy()
    out = called(function, q, k, v, geometry)
    return expect_array(out, (1, heads, length, length), what="the output")[0]


def show_head(mine: Callable, right: Callable, geometry: S2Geometry, head: int | None = None) -> Picture:
    """Draw the weights of one head by two functions side by side: by default of the first head whose masks differ.

    Where no masks differ, it is the last head.
    """
    weights = attention_weights(mine, geometry), attention_weights(right, geometry)
    if head is None:
        differs = [not np.array_equal(np.abs(a) > SEEN, np.abs(b) > SEEN) for a, b in zip(*weights, strict=True)]
        head = differs.index(True) if any(differs) else -1
    return show_weights(*(table[head] for table in weights))


def name_by_mask(function: Callable, geometry: S2Geometry) -> tuple[str, str] | None:
    """Return the mistake, name and sentence, by which the mask of a learner's attention differs from the geometry's.

    None where the masks agree: the mistake is then not in who looks at whom.
    """
    mine, right = np.abs(attention_weights(function, geometry)) > SEEN, geometry.mask()
    if mine.shape != right.shape or np.array_equal(mine, right):
        return None
    if np.array_equal(mine, right[[-(head % 2) for head in range(len(right))]]):
        return "every_second_head", (
            "You shift every second head. That would do as well, but in S²-Attn it is the second half of the heads: "
            "those from num_heads // 2 on."
        )
    size = f"With {geometry.seq_len} tokens in groups of {geometry.group_size} token"
    ahead, extra = np.argwhere(mine & ~right & np.triu(np.ones(right.shape[1:], bool), 1)), np.argwhere(mine & ~right)
    if len(ahead):
        head, query, key = ahead[0]
        return "looks_ahead", f"{size} {query} looks at token {key} on head {head}, and that one comes later."
    if len(extra):
        head, query, key = extra[0]
        return "cells_overlap", (
            f"{size} {query} looks at token {key} on head {head}, which is in another cell. Cells do not overlap: "
            "queries, keys and values of a cell are the same tokens."
        )
    head, query, key = np.argwhere(right & ~mine)[0]
    return "keys_missing", (
        f"{size} {query} does not look at token {key} on head {head}, and both are in one cell. Where does that cell "
        "begin and end?"
    )


def show_weights(mine: np.ndarray, right: np.ndarray) -> Picture:
    """Weights (n, n) of a learner beside the right ones: as masks where those differ, else as numbers."""
    masks = np.abs(mine) > SEEN, np.abs(right) > SEEN
    if not np.array_equal(*masks):
        return show_comparison(*masks)
    return show_tables({"yours": mine, "right": right}, allowed=masks[1])


def _values(x) -> np.ndarray | None:
    """A copy of the numbers of an array or a tensor that has some; None for anything else."""
    if isinstance(x, np.ndarray):
        return x.copy()
    return x.detach().clone() if hasattr(x, "detach") and x.device.type != "meta" else None


def _expect_shape(value: Any, shape: tuple[int, ...], what: str) -> None:
    actual = tuple(value.shape)
    axes = f"{what} must have {len(shape)} axes {shape}, got {len(actual)}: {actual}"
    expect(len(actual) == len(shape), "rank", axes)
    expect(actual == shape, "shape", f"{what} must have shape {shape}, got {actual}")


def _arguments(function: Callable, case: tuple) -> str:
    try:
        names = [f"{name}=" for name in inspect.signature(function).parameters]
    except (TypeError, ValueError):
        names = []
    names += [""] * (len(case) - len(names))
    return ", ".join(f"{name}{value!r}" for name, value in zip(names, case, strict=False))


def _short(value: object) -> str:
    return f"{int(value):,}" if float(value).is_integer() else f"{value:,.6g}"
