"""Rotary positions, five ways to make them last longer than the model was trained for, and positions that leap.

A rotary embedding turns the pair of features i of a query or key at position p by the angle
`p * frequency[i]`. A context rule changes the frequencies, and YaRN also the size of the vectors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from .runs.validate import LARGEST_COUNT, check_choice, check_integer, check_number, check_positive

RopeMethod = Literal["default", "linear", "ntk", "dynamic", "yarn"]
LeapDraw = Literal["uniform", "log"]
# YaRN's constants: turns within the trained length, and whether the ramp between them begins at whole pairs. The paper
# chose them for Llama; of the three, a rule may state another `beta_fast`.
BETA_FAST, BETA_SLOW, TRUNCATE = 32, 1, True


@dataclass(frozen=True)
class Rope:
    """Rotary position embedding of one head, as a value: frequencies in radians per token.

    - `"default"`: frequency i is `base ** (-2 i / head_dim)`, as trained.
    - `"linear"`: position interpolation (PI, arXiv 2306.15595): every frequency divided by `factor`.
    - `"ntk"`: NTK-aware: a larger base, so that the lowest frequency is divided by `factor` and the
      highest stays. The frequencies between are extrapolated past their trained distances.
    - `"dynamic"`: the NTK rule with the factor that the length at hand needs, so short inputs stay as trained.
    - `"yarn"`: (arXiv 2309.00071) frequencies that turn more than `beta_fast` times within `trained_length` stay,
      those that never complete a turn are divided by `factor`, a ramp joins them; queries and keys grow by
      `attention_factor`. With a smaller `beta_fast` more frequencies stay as trained.

    `factor` is the target length over `trained_length`, always the *original* one, never compounded.
    The numbers equal those of transformers' `rope_parameters` of the same name (*ntk* is *default* there,
    with another `rope_theta`).

    Raises:
        ValueError: naming the field, its rule and the value.
    """

    head_dim: int
    base: float = 10_000.0
    method: RopeMethod = "default"
    factor: float = 1.0
    trained_length: int | None = None
    beta_fast: float = BETA_FAST

    def __post_init__(self) -> None:
        object.__setattr__(self, "head_dim", check_integer("head_dim", self.head_dim, at_most=LARGEST_COUNT))
        if self.head_dim < 2 or self.head_dim % 2:
            raise ValueError(f"head_dim must be even and at least 2, got {self.head_dim}")
        object.__setattr__(self, "base", check_number("base", self.base, above=1))
        check_choice("method", self.method, get_args(RopeMethod))
        object.__setattr__(self, "factor", check_number("factor", self.factor, at_least=1))
        if self.method == "default" and self.factor != 1:
            raise ValueError(f"factor must be 1 for method='default', which stretches nothing, got {self.factor}")
        if self.method in ("ntk", "dynamic") and self.head_dim < 4:
            raise ValueError(f"head_dim must be at least 4 for method={self.method!r}, got {self.head_dim}")
        object.__setattr__(self, "beta_fast", check_number("beta_fast", self.beta_fast, above=BETA_SLOW))
        if self.method != "yarn" and self.beta_fast != BETA_FAST:
            raise ValueError(f"beta_fast must be {BETA_FAST} for method={self.method!r}, got {self.beta_fast:g}")
        if self.trained_length is None:
            if self.method in ("dynamic", "yarn"):
                raise ValueError(f"trained_length must be given for method={self.method!r}, got None")
        else:
            object.__setattr__(self, "trained_length", check_positive("trained_length", self.trained_length))

    @property
    def stretched_base(self) -> float:
        """The base after the NTK rule; for the other methods `base` itself."""
        return self._ntk_base(self.factor) if self.method == "ntk" else self.base

    @property
    def attention_factor(self) -> float:
        """Factor on cos and sin: above 1 for YaRN only. Scores grow by its square."""
        return 0.1 * math.log(self.factor) + 1 if self.method == "yarn" else 1.0

    def frequencies(self, seq_len: int | None = None) -> np.ndarray:
        """Compute the frequencies, float64 (d/2,), in radians per token; only *dynamic* depends on `seq_len`."""
        base, trained = self.stretched_base, self.trained_length or math.inf  # dynamic has a trained length
        if self.method == "dynamic" and seq_len is not None and seq_len > trained:
            base = self._ntk_base(self.factor * seq_len / trained - (self.factor - 1))
        frequencies = base ** -(np.arange(0, self.head_dim, 2) / self.head_dim)
        if self.method == "linear":
            return frequencies / self.factor
        if self.method == "yarn":
            interpolated = self._yarn_ramp()
            return frequencies / self.factor * interpolated + frequencies * (1 - interpolated)
        return frequencies

    def tables(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute cos and sin, each float64 (n, d/2), for integer `positions` (n,)."""
        positions = np.asarray(positions)
        length = int(positions.max()) + 1 if positions.size else 0
        angles = positions[:, None] * self.frequencies(length)
        return np.cos(angles) * self.attention_factor, np.sin(angles) * self.attention_factor

    def rope_parameters(self) -> dict:
        """Write the rule as the `rope_parameters` entry of a transformers config."""
        kind = "default" if self.method == "ntk" else self.method
        parameters: dict = {"rope_type": kind, "rope_theta": self.stretched_base}
        if kind != "default":
            parameters["factor"] = self.factor
        if kind == "yarn":
            parameters["original_max_position_embeddings"] = self.trained_length
            if self.beta_fast != BETA_FAST:
                parameters["beta_fast"] = self.beta_fast
        return parameters

    @classmethod
    def from_rope_parameters(cls, parameters: dict, *, head_dim: int, max_position_embeddings: int) -> Rope:
        """Read the rule from a transformers config. *ntk* comes back as *default* with its larger base.

        YaRN's other fields may be spelled out at the values that this class computes with; `finetuned` changes nothing.

        Raises:
            ValueError: for a type that is not one of ours, or a field that would change its meaning.
        """
        parameters = {name: value for name, value in parameters.items() if value is not None}
        kind = parameters.pop("rope_type", "default")
        known = set(get_args(RopeMethod)) - {"ntk"}
        if kind not in known:
            raise ValueError(f"rope_type must be one of {', '.join(sorted(known))}, got {kind!r}")
        for name in ("rope_theta",) if kind == "default" else ("rope_theta", "factor"):
            if name not in parameters:
                raise ValueError(f"rope_parameters must state {name} for {kind!r}, got none")
        factor = float(parameters.pop("factor", 1.0))
        # Only yarn states the trained length; linear's is what its factor stretched, dynamic keeps it as the maximum.
        trained = round(max_position_embeddings / factor) if kind == "linear" else max_position_embeddings
        trained = int(parameters.pop("original_max_position_embeddings", trained))
        if kind == "dynamic" and trained != max_position_embeddings:  # transformers would go by the latter
            raise ValueError(
                f"original_max_position_embeddings must equal max_position_embeddings = {max_position_embeddings} "
                f"for 'dynamic', got {trained}"
            )
        fast = parameters.pop("beta_fast", BETA_FAST) if kind == "yarn" else BETA_FAST
        rope = cls(head_dim, float(parameters.pop("rope_theta")), kind, factor, trained, fast)
        if kind == "yarn":
            parameters.pop("finetuned", None)
            constants: dict[str, float] = {"beta_slow": BETA_SLOW, "truncate": TRUNCATE}
            constants["attention_factor"] = rope.attention_factor
            parameters = {name: value for name, value in parameters.items() if not _same(value, constants.get(name))}
        if parameters:
            raise ValueError(f"rope_parameters must hold only the fields of {kind!r}, got {parameters}")
        return rope

    def _ntk_base(self, factor: float) -> float:
        return self.base * factor ** (self.head_dim / (self.head_dim - 2))

    def _yarn_ramp(self) -> np.ndarray:
        """Return the weight of interpolation for each pair of features, (d/2,): 0 keeps its frequency, 1 divides it.

        head_dim 16, base 10,000, trained length 256, factor 8:

            pair i                        0     1     2     3     4     5     6     7
            turns in 256 tokens        40.7  12.9  4.07  1.29  0.41  0.13  0.04  0.01
            weight                        0  0.25   0.5  0.75     1     1     1     1
            frequency, new over old       1  0.78  0.56  0.34  1/8   1/8   1/8   1/8

        Pair 0 turns more than 32 times (`beta_fast`) and has met every angle: it stays. Pairs from 4 on never complete
        one turn in training, so longer texts would show them new angles: they are interpolated. The ramp between is
        straight in i.
        """

        trained = self.trained_length or 1  # YaRN has a trained length

        def index_of(turns: float) -> float:
            # Solve turns = trained_length * base ** (-2 i / head_dim) / (2 pi) for i.
            return self.head_dim * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(self.base))

        low = max(math.floor(index_of(self.beta_fast)), 0)
        high = min(math.ceil(index_of(BETA_SLOW)), self.head_dim - 1)
        width = high - low or 0.001  # transformers' own guard against a ramp of no width
        return np.clip((np.arange(self.head_dim // 2) - low) / width, 0, 1)


@dataclass(frozen=True)
class Leap:
    """Training positions that leap at borders of half groups, so that S² meets distances beyond its group.

    A cell holds two half groups, and rotary attention knows differences only. Each half group keeps its own order. At
    each border, with `probability`, its distance from the half group before is drawn anew, from the usual one up to
    where the two would span `target` positions; `draw` says whether distances or their logarithms are uniform.

        groups of 8, target 64    0 1 2 3 | 4 5 6 7     | 8 9 10 11      as they are
                                  0 1 2 3 | 41 42 43 44 | 45 46 47 48    a leap at the first border

    Far distances are trained at the cost of those between half a group and a group. Positions grow past the target;
    no two tokens of one cell are `target` apart or more. Needs shift 0 or half a group, and ends that do not wrap.

    Source: PoSE, arXiv 2309.10400, whose windows are shorter than the target and leap once.

    Raises:
        ValueError: naming the field, its rule and the value.
    """

    group_size: int
    target: int
    probability: float
    draw: LeapDraw = "uniform"

    def __post_init__(self) -> None:
        object.__setattr__(self, "target", check_positive("target", self.target))
        group = check_integer("group_size", self.group_size, at_least=2, at_most=self.target)
        object.__setattr__(self, "group_size", group)
        object.__setattr__(self, "probability", check_number("probability", self.probability, within=(0, 1)))
        check_choice("draw", self.draw, get_args(LeapDraw))

    def borders(self, length: int) -> list[int]:
        """List the tokens with which half groups begin; of an odd group the first half is the shorter, as the shift."""
        half = self.group_size // 2
        return sorted({*range(0, length, self.group_size), *range(half, length, self.group_size)})

    def positions(self, length: int, rng: np.random.Generator) -> np.ndarray:
        """Draw rising positions, int (n,), that begin at 0."""
        steps = np.ones(length, dtype=np.int64)
        borders = self.borders(length)
        steps[:1] = 0
        for before, start, end in zip(borders, borders[1:], [*borders[2:], length], strict=False):
            usual, most = start - before, self.target - (end - start)  # distances from the half group before
            leaps, place = rng.random(2)
            if leaps < self.probability:
                far = usual + place * (most + 1 - usual)
                if self.draw == "log":
                    far = usual * ((most + 1) / usual) ** place
                steps[start] += int(far) - usual
        return np.cumsum(steps)


def _same(value: object, constant: float | None) -> bool:
    """Return whether a field of a config equals a constant, up to 1e-6: published attention factors are rounded."""
    return constant is not None and isinstance(value, int | float) and math.isclose(value, constant, rel_tol=1e-6)
