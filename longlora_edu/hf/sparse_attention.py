"""S²-Attn inside transformers: an attention and a mask function under one name, switched on for one model at a time.

transformers 5 looks both up by the name in a model's config. Under `"s2_attn"` they compute `s2_attention` while the
model trains and stock `sdpa` otherwise; nothing of transformers or of the model is patched. The mask function never
sees the model, only its config. So a model under S² has a config of its own and, in its attention layers, a `_Switch`:
one module without weights that follows `train()` and `eval()`, is copied and pickled with the model, and is found
through that config.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal, cast, get_args
from weakref import ref

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedConfig, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from ..attention import IMPLS, s2_attention
from ..geometry import Boundary, S2Geometry, S2Pattern, group_size_from_ratio
from ..runs.validate import check_choice
from .families import attention_layers, read_segments, refuse_borders, refuse_inputs, transformer_of

NAME = "s2_attn"
When = Literal["training", "always", "never"]


@dataclass(frozen=True)
class S2Settings:
    """Settings of sparse attention, as a value; the fields are the arguments of `use_s2`.

    Raises:
        ValueError: naming the field, its rule and the value.
    """

    group_size: int | None = None
    group_ratio: float | Fraction | None = None
    shift: int | None = None
    boundary: Boundary = "split"
    when: When = "training"
    impl: str = "auto"

    def __post_init__(self) -> None:
        size, ratio = self.group_size, self.group_ratio
        if (size is None) == (ratio is None):
            raise ValueError(f"exactly one of group_size and group_ratio must be given, got {size} and {ratio}")
        if size is None:
            group_size_from_ratio(1, ratio)  # pyrefly: ignore[bad-argument-type] (given, as size is not)
            # Only the sequence tells which group it will be: here, any that the shift fits into.
            size = self.shift + 1 if isinstance(self.shift, int) and self.shift > 0 else 1
        S2Pattern(size, self.shift, self.boundary)
        if self.when not in get_args(When):
            raise ValueError(f"when must be one of {', '.join(get_args(When))}, got {self.when!r}")
        check_choice("impl", self.impl, IMPLS)

    def sparse(self, training: bool) -> bool:
        """Tell whether attention is S² while the model is in this mode."""
        return self.when == "always" or (self.when == "training" and training)

    def geometry(self, seq_len: int, num_heads: int) -> S2Geometry:
        """The settings laid over `seq_len` tokens and `num_heads` query heads."""
        size = self.group_size or group_size_from_ratio(seq_len, self.group_ratio)  # pyrefly: ignore[bad-argument-type]
        return S2Geometry(seq_len, size, num_heads, self.shift, self.boundary)


@dataclass(frozen=True)
class AttentionReport:
    """Result of `use_s2` or `use_dense`: the class of the model, its layers, and their attention before and after."""

    model: str
    layers: int
    before: str
    after: str
    settings: S2Settings | None = None


def use_s2(
    model: nn.Module,
    *,
    group_size: int | None = None,
    group_ratio: float | Fraction | None = None,
    shift: int | None = None,
    boundary: Boundary = "split",
    when: When = "training",
    impl: str = "auto",
) -> AttentionReport:
    """Give this transformers model (a PEFT model or another wrapper around one, too) S² attention, in place.

    `group_ratio` is a share of the length at hand, rounded up, as in the paper's code: other lengths, other groups.
    `LongLoRAConfig` computes one fixed `group_size` from the target context; the group of `LongLoRAAdapter` is the
    original context. `shift` and `boundary` are those of `S2Geometry`. `when`:

    - `"training"`: S² under `train()`. Under `eval()` everything, generation and caches included, is stock `sdpa`
      bit for bit, also where the model used another attention before.
    - `"always"`: S² under `eval()` too, on whole sequences: generate with `use_cache=False`.
    - `"never"`: stock `sdpa` in both modes.

    `impl` is that of `s2_attention`: one that cannot run what a model brings raises in the first step.

    Padding comes from a 2-D mask. Cells are cut by place in the row, so padding on the left moves a document across
    them. Packed documents come from `position_ids`, where stock transformers reads them: without mask and cache. With
    one of the two their documents would hear each other, so such a call is refused.
    `cu_seq_lens_q` and `_k` beside them, as TRL's packing gives them, must have the same borders.

    The model gets a copy of its config, so that models which share the old one stay as they are. A further model made
    from the copy raises when called, until it has its own `use_s2`. Copied and pickled models keep their settings;
    saved ones are stock, and know nothing of S². A second call replaces the first.

    Source: LongLoRA (arXiv 2309.12307) section 3.2.

    Raises:
        ValueError: for settings that `S2Settings` refuses, and for a model with anything S² would have to ignore.
            Inputs known only at call time are checked then: 4-D masks, fewer queries than keys, packed rows that
            transformers would not see, unknown keyword arguments.
    """
    settings = S2Settings(group_size, group_ratio, shift, boundary, when, impl)
    target = transformer_of(model)
    layers = attention_layers(target)
    before: Any = target.config._attn_implementation
    if before == NAME:
        before = switch.report.before if (switch := _switch_of(target)) else "sdpa"
    _detach(target)
    copies: dict = {}
    for part in model.modules():
        for name, value in list(vars(part).items()):
            if isinstance(value, PreTrainedConfig):
                setattr(part, name, copy.deepcopy(value, copies))
    target.set_attn_implementation(NAME)
    report = AttentionReport(type(target).__name__, len(layers), before, NAME, settings)
    switch = _Switch(cast(PreTrainedModel, target.base_model), report)
    for layer in layers:
        layer.s2_switch = switch
    return report


def use_dense(model: nn.Module) -> AttentionReport:
    """Give a model its attention of before `use_s2` back, in place.

    Raises:
        ValueError: if the model is not under `use_s2`.
    """
    target = transformer_of(model)
    if (switch := _switch_of(target)) is None:
        raise ValueError(f"model must be under use_s2, got attention {target.config._attn_implementation!r}")
    _detach(target)
    target.set_attn_implementation(switch.report.before)
    return replace(switch.report, before=NAME, after=switch.report.before, settings=None)


class _Switch(nn.Module):
    """The settings of one model and, in `training`, its mode."""

    def __init__(self, base: PreTrainedModel, report: AttentionReport) -> None:
        super().__init__()
        self.config, self.settings, self.report = base.config, cast(S2Settings, report.settings), report
        # What a call says to the whole model, and to no attention layer in every family.
        self.hook = base.register_forward_pre_hook(_check_call, with_kwargs=True)
        self.train(base.training)
        self._register()

    def __setstate__(self, state: dict) -> None:
        # Where copies and unpickled models come in, with configs of their own.
        super().__setstate__(state)
        self._register()

    def _register(self) -> None:
        key = id(self.config)
        _SWITCHES[key] = ref(self, lambda gone: _SWITCHES.get(key) is gone and _SWITCHES.pop(key))

    def extra_repr(self) -> str:
        return str(self.settings)

    @property
    def sparse(self) -> bool:
        return self.settings.sparse(self.training)


# Configs cannot be hashed. A switch holds its config, so no other config has its id while it lives.
_SWITCHES: dict[int, ref[_Switch]] = {}
_NOT_ITS_OWN = (
    f"a model must have its own use_s2, got one whose config says {NAME!r} because it was taken from another model: "
    "call use_s2 on it, or set_attn_implementation('sdpa')"
)


def s2_attention_mask(*, config: PreTrainedConfig, **arguments: Any) -> Tensor | None:
    """Make the mask that transformers asks for: `sdpa`'s own while attention is dense, else `segments` (b n), or None.

    None says one document a row and no padding. Nothing of n × n elements is built for S².
    """
    if not _found(config).sparse:
        return sdpa_mask(config=config, **arguments)
    no_windows = set(getattr(config, "layer_types", None) or ()) == {"full_attention"}
    return read_segments(no_windows=no_windows, **arguments)


def s2_attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **arguments: Any,
) -> tuple[Tensor, None]:
    """Compute attention for transformers: (b n h d), and no weights. k and v come un-repeated, (b hk n d)."""
    if (switch := getattr(module, "s2_switch", None)) is None:
        raise ValueError(_NOT_ITS_OWN)
    if switch.settings.sparse(module.training) != switch.sparse:
        raise ValueError(
            f"a layer must be in the mode of its model under S²-Attn, got training={module.training} and "
            f"{switch.training}: call train() or eval() on the whole model"
        )
    if not switch.sparse:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **arguments
        )
    refuse_inputs(query.shape[2], key.shape[2], attention_mask, arguments)
    geometry = switch.settings.geometry(query.shape[2], query.shape[1])
    options: dict = {"scale": scaling, "dropout": dropout, "impl": switch.settings.impl}
    out = s2_attention(query, key, value, geometry, segments=attention_mask, **options)
    return out.transpose(1, 2).contiguous(), None


def _found(config: PreTrainedConfig) -> _Switch:
    found = _SWITCHES.get(id(config))
    if found is None or (switch := found()) is None:
        raise ValueError(_NOT_ITS_OWN)
    return switch


def _switch_of(model: PreTrainedModel) -> _Switch | None:
    return next((part for part in model.modules() if isinstance(part, _Switch)), None)


def _detach(model: PreTrainedModel) -> None:
    if (switch := _switch_of(model)) is not None:
        switch.hook.remove()
        for layer in list(model.modules()):
            if getattr(layer, "s2_switch", None) is switch:
                del layer.s2_switch


def _check_call(base: Any, args: tuple, arguments: dict) -> None:
    """Check what a whole model is called with under S².

    Raises:
        ValueError: for attention weights, for packed documents that a mask or a cache would hide, and for borders of
            theirs that are not those of their positions. Compiled code cannot compare: the positions count.
    """
    if arguments.get("output_attentions"):
        raise ValueError("output_attentions must be off under use_s2, whose attention has no weights to give, got True")
    positions, mask = arguments.get("position_ids"), arguments.get("attention_mask")
    if torch.compiler.is_compiling() or not _found(base.config).sparse:
        return
    refuse_borders(positions, arguments)
    if positions is None or positions.ndim != 2:
        return
    begins = positions[:, 1:] != positions[:, :-1] + 1
    if isinstance(mask, Tensor) and mask.shape == positions.shape:  # padding may have any positions
        begins = begins & mask[:, 1:].bool() & mask[:, :-1].bool()
    caches = arguments.get("use_cache")
    caches = base.config.use_cache if caches is None else caches
    if (mask is not None or caches) and begins.any():
        hidden_by = "an attention_mask" if mask is not None else "use_cache=True, the default"
        raise ValueError(
            "packed documents must come with use_cache=False and without attention_mask under S²-Attn, or they would "
            f"hear each other, got position_ids that begin anew and {hidden_by}"
        )


AttentionInterface.register(NAME, s2_attention_forward)
AttentionMaskInterface.register(NAME, s2_attention_mask)
