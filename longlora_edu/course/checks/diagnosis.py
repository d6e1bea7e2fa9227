"""How a check runs a learner's code and says in one sentence what is wrong with it.

A check looks at type and shape first, then at values over several sizes, then names the mistake. Whatever happens,
the learner sees a sentence and a picture, never a trace through this library.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...geometry import S2Geometry
from ...widgets import Picture
from ..notebook.cards import card, publish
from ..notebook.journal import Journal


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
    """A right answer: what it means, and the picture that the exercise expects."""

    sentence: str
    picture: Picture | None = None


@dataclass(frozen=True)
class Mistake:
    """A way to get an exercise wrong: `form(*case)` computes it, `sentence` is what the learner reads."""

    name: str
    sentence: str
    form: Callable


def exercise(key: str) -> Callable:
    """Make `check(function, …) -> Passed`, which raises `CheckFailed`, a check that a notebook can call.

    It shows the verdict, notes it in the journal under `key`, and lets the error pass on in one line. A stub that
    raises `NotImplementedError` is told apart from a wrong answer.
    """

    def decorate(check: Callable[..., Passed]) -> Callable[..., None]:
        @functools.wraps(check)
        def run(*args, journal: Journal | None = None, **kwargs) -> None:
            journal = journal or Journal()
            before = journal.get("exercises", key) or {"attempts": 0}
            try:
                passed = check(*args, **kwargs)
            except NotImplementedError as error:
                sentence = f"{key} is not written yet: replace the last line of the cell above, then run both cells."
                publish(card("todo", sentence), sentence)
                error._render_traceback_ = lambda: [f"NotImplementedError: {sentence}"]
                raise
            except CheckFailed as error:
                attempts = {"attempts": before["attempts"] + 1, "passed": False, "mistake": error.mistake}
                journal.note("exercises", key, attempts)
                body = error.picture.html if error.picture else ""
                publish(card("wrong", str(error), body), f"Not yet: {error}")
                raise error from None
            attempts = before["attempts"] + (not before.get("passed", False))
            journal.note("exercises", key, {"attempts": attempts, "passed": True})
            body = passed.picture.html if passed.picture else ""
            publish(card("right", passed.sentence, body), f"Right. {passed.sentence}")

        run.key = key
        return run

    return decorate


def called(function: Callable, *args, **kwargs):
    """What the learner's function returns; whatever it raises becomes a sentence with the line it happened on.

    Raises:
        NotImplementedError: from a stub.
        CheckFailed: for anything else it raises, or when it is no function.
    """
    if not callable(function):
        raise CheckFailed(f"a function is needed here, got {type(function).__name__}", mistake="no function")
    name = getattr(function, "__name__", "your function")
    try:
        return function(*args, **kwargs)
    except NotImplementedError:
        raise
    except Exception as error:
        file = getattr(getattr(function, "__code__", None), "co_filename", None)
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        where = f" on the line `{own[-1].line}`" if own and own[-1].line else ""
        what = f"{name} raised {type(error).__name__}{where}: {error}"
        raise CheckFailed(what, mistake="exception") from None


def expect_array(value, shape: tuple[int, ...], *, what: str = "the result", kind: str = "f") -> np.ndarray:
    """`value` as the NumPy array it should be. `kind` is NumPy's: `"f"` floats, `"b"` bools, `"i"` integers.

    Raises:
        CheckFailed: naming what it is instead.
    """
    if not isinstance(value, np.ndarray):
        hint = " (did you forget `return`?)" if value is None else ""
        raise CheckFailed(f"{what} must be a NumPy array, got {type(value).__name__}{hint}", mistake="type")
    _expect_shape(value, shape, what)
    if value.dtype.kind != kind:
        names = {"f": "floating-point numbers", "b": "True and False", "i": "integers"}
        raise CheckFailed(f"{what} must hold {names[kind]}, got dtype {value.dtype}", mistake="dtype")
    if kind == "f" and not np.isfinite(value).all():
        raise CheckFailed(f"{what} must be finite, got NaN or infinity in it", mistake="not finite")
    return value


def expect_tensor(value, shape: tuple[int, ...], *, like, what: str = "the result"):
    """`value` as the torch tensor it should be, of the dtype and on the device of `like`.

    Raises:
        CheckFailed: naming what it is instead.
    """
    import torch

    if not isinstance(value, torch.Tensor):
        hint = " (did you forget `return`?)" if value is None else ""
        raise CheckFailed(f"{what} must be a torch tensor, got {type(value).__name__}{hint}", mistake="type")
    _expect_shape(value, shape, what)
    if value.dtype != like.dtype:
        raise CheckFailed(f"{what} must have the dtype of its input, {like.dtype}, got {value.dtype}", mistake="dtype")
    if value.device != like.device:
        raise CheckFailed(f"{what} must stay on {like.device}, got {value.device}", mistake="device")
    if not value.detach().isfinite().all():
        raise CheckFailed(f"{what} must be finite, got NaN or infinity in it", mistake="not finite")
    return value


def attention_weights(function: Callable, geometry: S2Geometry, *, seed: int = 0) -> np.ndarray:
    """(h, n, n): how much each output (rows) takes of each value (columns) in `function(q, k, v, geometry)`.

    Attention is linear in v, so a unit value at one key shows who listens to it, whatever the code does inside.
    """
    heads, length = geometry.num_heads, geometry.seq_len
    q, k = np.random.default_rng(seed).normal(size=(2, 1, heads, length, length))
    v = np.broadcast_to(np.eye(length), (1, heads, length, length)).copy()
    out = called(function, q, k, v, geometry)
    return expect_array(out, (1, heads, length, length), what="the output")[0]


def _expect_shape(value, shape: tuple[int, ...], what: str) -> None:
    found = tuple(value.shape)
    if len(found) != len(shape):
        raise CheckFailed(f"{what} must have {len(shape)} axes {shape}, got {len(found)}: {found}", mistake="rank")
    if found != shape:
        raise CheckFailed(f"{what} must have shape {shape}, got {found}", mistake="shape")
