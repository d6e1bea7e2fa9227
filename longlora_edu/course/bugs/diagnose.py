"""Name the mistake of a function: compare its output with that of every mistake in the gallery."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike as Array

from ...geometry import Boundary, S2Geometry
from ...reference import s2_attention
from .gallery import BUGS, Bug

# float32 answers are welcome; another mask moves outputs by far more.
TOLERANCE = 1e-4
# (tokens, group, heads): more than two groups, both parities of group and heads, an even and an odd number of groups.
SIZES = ((12, 4, 2), (15, 5, 4), (16, 4, 3), (18, 6, 5))


def diagnose(answer: Callable, *, boundary: Boundary = "split", seed: int = 0) -> Bug | None:
    """The mistake that `answer(q, k, v, geometry)` makes; None if it is right, or wrong in a way not in the gallery.

    `answer` is compared with the reference, and then with each mistake, on random inputs of several sizes, with padding
    and packed documents too if it takes `segments`. What it raises is not caught.

    Raises:
        ValueError: if what it returns is not shaped as the reference's output.
    """
    rng = np.random.default_rng(seed)
    padded = _takes(answer, "segments")
    right, suspects = True, _suspects(padded)
    for inputs, geometry, options in _cases(rng, boundary, takes_segments=padded):
        output = answer(*inputs, geometry, **options)
        fits, suspects = _explained(output, inputs, geometry, options, suspects)
        # A mistake may not show in every case, as an odd group's does not in even ones.
        right = right and fits
    return suspects[0] if suspects and not right else None


def recognise(
    output: Array,
    q: Array,
    k: Array,
    v: Array,
    geometry: S2Geometry,
    *,
    segments: Array | None = None,
    scale: float | None = None,
) -> Bug | None:
    """The mistake that explains one output; None if it is right, or if none does. `diagnose` sees more.

    Raises:
        ValueError: if `output` is not shaped as the reference's output.
    """
    options = {"segments": segments, "scale": scale}
    right, suspects = _explained(output, (q, k, v), geometry, options, _suspects(segments is not None))
    return suspects[0] if suspects and not right else None


def _suspects(padded: bool) -> list[Bug]:
    """All that the inputs can show: without padding, a mistake with it would explain any right answer."""
    return [bug for bug in BUGS.values() if padded or not bug.with_padding_only]


def _explained(output: Array, inputs, geometry: S2Geometry, options, suspects: list[Bug]) -> tuple[bool, list[Bug]]:
    """Return whether `output` is right, and those of the suspects that compute it too."""
    right = s2_attention(*inputs, geometry, **options)
    output = np.asarray(output)
    if output.shape != right.shape:
        raise ValueError(f"output must have shape (b h n d) = {right.shape}, got {output.shape}")

    def makes(bug: Bug) -> bool:
        forms = product((bug.function, *bug.variants), _boundaries(geometry))
        return any(_computes(form, output, inputs, rule, options) for form, rule in forms)

    return _close(output, right), [bug for bug in suspects if makes(bug)]


def _computes(form: Callable, output: np.ndarray, inputs, geometry: S2Geometry, options) -> bool:
    try:
        return _close(output, form(*inputs, geometry, **options))
    except ValueError:  # it folds tokens into whole groups, and there is a shorter one
        return False


def _boundaries(geometry: S2Geometry) -> list[S2Geometry]:
    """The geometry as asked for, and under the other rules: who makes a mistake may make it in rolled form."""
    if geometry.seq_len % geometry.group_size:
        return [geometry]
    others = [rule for rule in get_args(Boundary) if rule != geometry.boundary]
    return [geometry, *(replace(geometry, boundary=rule) for rule in others)]


def _cases(rng: np.random.Generator, boundary: Boundary, *, takes_segments: bool):
    for size, (length, group, heads) in enumerate(SIZES):
        geometry = S2Geometry(length, group, heads, boundary=boundary)
        q, k, v = rng.standard_normal((3, 2, heads, length, 4 + size))
        yield (q, k, v), geometry, {}
        if takes_segments:
            # Two documents and padding on the right, a different number of it in each row.
            token = np.arange(length)
            ends = np.array([[length - 3], [length - group - 1]])
            yield (q, k, v), geometry, {"segments": np.where(token < ends, (token > length // 3).astype(int), -1)}


def _takes(function: Callable, name: str) -> bool:
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):  # a builtin, or a callable that hides its signature
        return False


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE))
