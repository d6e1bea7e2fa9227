"""The context that a model reads already, from its config: one answer for plan, train, evaluate, generate and merge.

Published configs state it in four ways. A stretched model may keep the old maximum beside its factor (Vicuna-16k,
YaRN written in by hand) or state the new one; the original length stands in the rule, beside it, or nowhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedConfig

from ..model.config import stated_rope
from ..rope import Rope

# Not part of the rule: the old name of rope_type, and the share of a head that is turned, which no rule changes.
ASIDE = ("type", "partial_rotary_factor")
# Rules whose factor counts from the original length. Of all others the stated maximum says how far they reach.
COUNTED_FROM_ORIGIN = ("linear", "dynamic", "yarn")


@dataclass(frozen=True)
class Reach:
    """The positions of a model: it reads `length` tokens by `rule`, which stretched it from `origin` by `factor`.

    `rule` is transformers' name for it, or ours for *ntk*; `"default"` has never been stretched. `parameters` is the
    rule in full, without what `ASIDE` names. `ours` is our own entry beside it, where there is one.

        rule      factor  origin  maximum  length
        default        1    4096     4096    4096
        linear         4    4096     4096   16384   the old maximum, as transformers advises for linear and dynamic
        yarn           4   32768    32768  131072   written in by hand, as model cards say
        llama3         8    8192   131072  131072   its factor does not say how far it reaches
    """

    length: int
    origin: int
    rule: str
    factor: float
    parameters: dict
    ours: Rope | None = None

    def rope(self, head_dim: int) -> Rope:
        """Return the rule as a `Rope`, for heads of which `head_dim` features are turned.

        Raises:
            ValueError: for a rule or a field that `Rope` does not know: it can be kept, and not stretched by us.
        """
        if self.ours is not None:
            return self.ours
        try:
            stated = self.parameters | {"factor": self.factor, "original_max_position_embeddings": self.origin}
            return Rope.from_rope_parameters(stated, head_dim=head_dim, max_position_embeddings=self.origin)
        except ValueError as error:
            raise ValueError(f"model must have positions that can be stretched: {error}") from None

    def default_method(self, context: int) -> Any:
        """Name the method for `context` tokens where none is asked for.

        Up to `length` it is `"default"`, no further stretching. Beyond, it is the model's own, or `"yarn"` for a model
        that was never stretched.
        """
        if context <= self.length:
            return "default"
        return "yarn" if self.rule == "default" else self.rule

    def caution(self, context: int) -> str | None:
        """Return a warning in a sentence where llama3 is about to be stretched further, unmeasured here; else None."""
        if self.rule != "llama3" or context <= self.length:
            return None
        return (
            f"positions: llama3 goes on with {context / self.length:g} times its factor; how well a model reads so has "
            "not been measured"
        )


def stated_positions(config: PreTrainedConfig) -> dict:
    """The positions that a config states, in a form that can be compared and written as JSON.

    Raises:
        ValueError: for several rules, one for each kind of layer.
    """
    stated = (getattr(config, "rope_parameters", None) or {}).items()
    parameters = {name: value for name, value in stated if name not in ASIDE and value is not None}
    if several := [name for name, value in parameters.items() if isinstance(value, dict)]:
        raise ValueError(f"rope_parameters must be one rule for all layers, got one each for {', '.join(several)}")
    return {"rope_parameters": parameters, "max_position_embeddings": getattr(config, "max_position_embeddings", None)}


def reach_of(config: PreTrainedConfig, trained_length: int | None = None) -> Reach:
    """Read from a config how many tokens a model reads (`length`), and from how many it was stretched (`origin`).

    `trained_length` is the origin where the config does not state one; an unstretched model is then taken to read that
    many. Without it that is `max_position_embeddings`, beside a *linear* factor too, as transformers advises.

    Raises:
        ValueError: naming the field, for a rule that cannot be read, and for a `trained_length` that contradicts it.
    """
    stated = stated_positions(config)
    parameters, maximum = (
        stated["rope_parameters"],
        _number("max_position_embeddings", stated["max_position_embeddings"]),
    )
    rule, factor = parameters.get("rope_type", "default"), parameters.get("factor")
    beside = getattr(config, "original_max_position_embeddings", None)
    origin = parameters.get("original_max_position_embeddings", beside)
    fields = getattr(config, "longlora_rope", None)
    ours = None if fields is None else _checked(fields, parameters, maximum)
    if ours is not None:
        rule, factor, origin = ours.method, ours.factor, ours.trained_length or origin
    if rule in ("default", "dynamic"):  # transformers goes by the maximum, whatever else is stated
        origin = maximum if rule == "dynamic" else None
    if rule != "default" and origin is not None and trained_length not in (None, origin):
        raise ValueError(
            f"trained_length must be {origin}, from which this model is already stretched, got {trained_length}"
        )
    origin = round(_number("original_max_position_embeddings", trained_length or origin or maximum))
    if factor is None:
        factor = 1.0 if rule == "default" else max(1.0, maximum / origin)
    factor = _number("the factor of rope_parameters", factor)
    if rule == "default":
        length = origin
    elif rule in COUNTED_FROM_ORIGIN or maximum <= origin:
        length = round(origin * factor)
    else:
        length = maximum
    return Reach(length, origin, rule, factor, parameters, ours)


def _number(name: str, value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 1:
        raise ValueError(f"{name} must be a number, at least 1, got {value!r}")
    return value


def _checked(fields: Any, parameters: dict, maximum: Any) -> Rope:
    """Return our own entry in a config as a `Rope`.

    Raises:
        ValueError: where it does not agree with the rule that transformers reads.
    """
    head_dim = fields.get("head_dim") if isinstance(fields, dict) else None
    read = Rope.from_rope_parameters(
        parameters, head_dim=head_dim if isinstance(head_dim, int) else 2, max_position_embeddings=maximum
    )
    return stated_rope(fields, read)
