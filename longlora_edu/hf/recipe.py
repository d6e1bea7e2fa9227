"""The LongLoRA recipe on a transformers model: LoRA by PEFT, embeddings, norms and positions in one adapter folder."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, PeftModelForCausalLM, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.constants import EMBEDDING_LAYER_NAMES
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from ..geometry import S2Pattern
from ..longlora import ATTENTION_PROJECTIONS, EMBEDDINGS_AND_NORMS, LongLoRAConfig
from ..lora.files import CONFIG_FILE, WEIGHTS_FILE, check_tensors, names_for_peft, read_adapter_config, read_weights
from ..lora.layers import checked_rank_and_alpha, ends_with, modules_to_free, named_parts, some
from ..rope import Rope
from ..runs.records import read_json, write_json
from .base_reach import reach_of, stated_positions
from .configs import in_a_line, odd_value
from .positions import Positions, extended_positions, new_positions, rotary_modules, state_for_all_readers
from .sparse_attention import use_dense, use_s2

SIZES = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "tie_word_embeddings",
)  # fmt: skip
# transformers looks for weights of this name and says it where there are none.
NOT_A_MODEL = "none, since this is an adapter: call longlora_edu.hf.load_longlora(base, folder)"


class LongLoRAModel(PeftModelForCausalLM):
    """A PEFT model whose `save_pretrained` writes the stretched `config.json` beside PEFT's files.

    PEFT's files alone lose the positions (LongLoRA thread #181): on the base they load without a word and
    compute something else. Whatever saves through this method keeps them, `transformers.Trainer` included.
    """

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> None:  # pyrefly: ignore[bad-override]
        """As PEFT's; `config.json` is written first, so that weights never stand without their positions."""
        if options.get("is_main_process", True):
            config: Any = self.get_base_model().config
            config.save_pretrained(save_directory)
            path = Path(save_directory) / "config.json"
            write_json(path, read_json(path) | {"transformers_weights": NOT_A_MODEL})
        # "auto" would ask the hub whether the embedding changed; where it trains, the adapter holds it anyway.
        saving: dict[str, Any] = {"save_embedding_layers": False} | options
        super().save_pretrained(str(save_directory), **saving)

    def resize_token_embeddings(self, *sizes: object, **options: object) -> None:
        """Refuse another vocabulary: the trained copy of the embedding has the size of the base.

        Raises:
            ValueError: always, saying to resize the base first.
        """
        raise ValueError("the vocabulary must be resized before longlora wraps the model, got a wrapped one")


def longlora(
    model: PreTrainedModel, config: LongLoRAConfig, *, dropout: float = 0.0, rslora: bool = False
) -> PeftModel | PreTrainedModel:
    """Make a transformers model ready to be trained at `config.context_length`, in place, and wrap it for PEFT.

    Training (`model.train()`) then computes S²-Attn in groups of a fixed size; evaluation, generation and caches
    stay dense. `save_pretrained` of the result writes one adapter folder for `load_longlora`.

    - The default `targets`, and the name `attention` among others, are every Linear of an attention layer, whatever
      the family calls it; `mlp` stands for those of the MLPs. The default `also_train` is the input embedding and every
      norm. Other names are taken as they are.
    - `dropout` is LoRA's own; `rslora` divides by the root of the rank (arXiv 2312.03732). Both are PEFT's.
    - Where the head is tied to the embedding, it trains too and both stay one weight.
    - LoRA's start is drawn by PEFT from torch's global generator; B is zero, so at first nothing changes but positions.
    - Load the base in float32 and train under autocast: of a half-precision base, PEFT keeps only LoRA itself in
      float32, and small steps of embedding and norms are rounded away.
    - A base in 4 or 8 bits (bitsandbytes) is trained through as PEFT does; `merge_longlora` refuses it.
    - `train="all"` adds no LoRA: it returns `model` itself, whose own `save_pretrained` keeps the positions.
    - Within the context that a base reads already, `rope="default"` leaves the positions as they are, whatever their
      rule, and the rest of the recipe stands. A base that is stretched already goes on by its own rule only.
    - `rope="llama3"` goes on with a Llama 3.1 base: one rule with a larger factor. Its quality has not been measured.

    Source: arXiv 2309.12307, sections 3.2 and 3.3.

    Raises:
        ValueError: before anything is changed, for a context within reach under another rule than "default", positions
            that are already stretched by another rule or by one that cannot go on, a rule that the family does not
            keep, positions that leap, names that are none of its modules, tied weights that PEFT would tear apart, and
            attention that cannot be made sparse.
    """
    _check_plain(model)
    if config.leap:
        raise ValueError(
            f"leap must be 0 for a transformers model, which takes positions that leap for packed documents, "
            f"got {config.leap}"
        )
    positions = extended_positions(model, config)
    if config.train == "all" and (method := quantised(model)):
        raise ValueError(
            f"train must be 'adapters' on a base quantised by {method}, whose weights are codes, got 'all'"
        )
    adapter = _lora_config(model, config) if config.train == "adapters" else None
    if adapter:
        adapter.lora_dropout, adapter.use_rslora = dropout, rslora
    record = {"base": stated_positions(model.config), "s2": dataclasses.asdict(config.pattern)}
    use_s2(model, **record["s2"])
    positions.give_to(model)
    model.config.longlora = record
    return LongLoRAModel(model, adapter) if adapter else model.requires_grad_(True)


def load_longlora(base: PreTrainedModel, folder: str | Path, *, trainable: bool = False) -> PeftModel:
    """`base`, changed in place: the positions of an adapter folder, its weights, and its groups for further training.

    The folder holds `config.json` beside PEFT's two files. One written by `lora.save_adapter` with the config of a
    `TinyLlama` will do; it does not say which groups were used, so training it further is dense.
    With `trainable=False` everything is frozen and in evaluation mode, as PEFT does.

    Raises:
        ValueError: before anything is changed, for a folder without one of its files or with a damaged one, and
            for a base of another family, size, vocabulary or other positions than the one that was trained on.
    """
    _check_plain(base)
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"{folder} must hold config.json, got none: PEFT's files alone lose the positions (LongLoRA thread #181)"
        )
    saved, positions = _saved_positions(base, folder / "config.json")
    adapter = _adapter_config(folder / CONFIG_FILE, trainable)
    tensors = read_weights(folder / WEIGHTS_FILE)
    try:
        with torch.device("meta"):  # what PEFT would refuse half-way
            twin = LongLoRAModel(type(base)(copy.deepcopy(base.config)), copy.deepcopy(adapter))
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG_FILE} must fit the base: {error}") from None
    check_tensors(folder / WEIGHTS_FILE, get_peft_model_state_dict(twin, save_embedding_layers=False), tensors)
    record = getattr(saved, "longlora", None)
    use_s2(base, **(record["s2"] if record else {"group_ratio": 1, "when": "never"}))
    positions.give_to(base)
    base.config.longlora = record
    with torch.random.fork_rng(devices=[]):  # a start that nobody sees must not use up the caller's numbers
        model = LongLoRAModel(base, adapter)
    set_peft_model_state_dict(model, tensors)
    return model if trainable else model.eval()


def merge_longlora(model: PeftModel | PreTrainedModel) -> PreTrainedModel:
    """Fold everything into the base and return it: a plain, dense model at the new context that stock code loads.

    Its `save_pretrained` writes `rope_parameters` and `max_position_embeddings`, and the same for transformers 4.
    `model` is used up. Weights of any dtype are added in float32 and rounded once. `longlora.merge_to_dense` does this
    to a TinyLlama.

    Raises:
        ValueError: for a model that did not come from `longlora` or `load_longlora`, for one in 4 or 8 bits, both
            before anything is changed, and for merged weights that are not finite.
    """
    base: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    if not hasattr(base.config, "longlora"):
        raise ValueError(f"model must come from longlora or load_longlora, got a plain {type(base).__name__}")
    if method := quantised(base):
        raise ValueError(
            f"model must not be quantised to be merged, got {method}: save the adapter, and merge it into its base in "
            "full precision (`longlora-edu merge` does)"
        )
    if isinstance(model, PeftModel):
        for layer in [part for part in base.modules() if isinstance(part, LoraLayer)]:
            weight: Any = layer.get_base_layer().weight
            kept, weight.data = weight.dtype, weight.data.float()  # PEFT alone would round what it adds, too
            cast(Any, layer).merge()
            weight.data = weight.data.to(kept)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Already following adapters|All adapters are already merged")
            base = model.merge_and_unload()
    if broken := [name for name, weight in base.named_parameters() if not weight.isfinite().all()]:
        raise ValueError(f"merged weights must be finite, got NaN or infinity in {some(broken)}")
    use_dense(base)
    state_for_all_readers(base.config)
    return base.requires_grad_(True)


def quantised(model: PreTrainedModel) -> str | None:
    """The method by which the weights of a model are codes, not numbers; None where they are numbers."""
    return str(getattr(model, "quantization_method", "another")) if getattr(model, "is_quantized", False) else None


def _check_plain(model: PreTrainedModel) -> None:
    if not isinstance(model, PreTrainedModel):
        raise ValueError(f"model must be a transformers model without adapters, got {type(model).__name__}")
    if layers := [name for name, part in model.named_modules() if isinstance(part, BaseTunerLayer)]:
        raise ValueError(f"model must have no adapters yet, got {some(layers)}: merge or unload them first")


def _lora_config(model: PreTrainedModel, config: LongLoRAConfig) -> LoraConfig:
    parts = named_parts(model)
    rank, alpha = checked_rank_and_alpha(config.rank, config.alpha)
    groups = {"attention": _linears_inside("Attention", model, parts), "mlp": _linears_inside("MLP", model, parts)}
    asked = config.targets
    if asked == ATTENTION_PROJECTIONS and groups["attention"]:
        asked = ("attention",)
    chosen = {name for group in groups if group in asked for name in groups[group]}
    if named := [name for name in asked if name not in groups]:
        chosen |= {*modules_to_free(model, named, "targets")}
    targets = [name for name in parts if name in chosen]
    if not targets:
        raise ValueError("targets must name at least one module, got none")
    if config.also_train == EMBEDDINGS_AND_NORMS:
        freed = _embedding_and_norms(model, parts)
    else:
        freed = modules_to_free(model, config.also_train, "also_train")
    for name in targets:
        if not isinstance(parts[name], nn.Linear):
            raise ValueError(f"targets must name Linear modules, got {name}, which is {type(parts[name]).__name__}")
        if inside := [module for module in freed if f"{name}.".startswith(f"{module}.")]:
            raise ValueError(f"also_train must name modules without LoRA layers inside, got {inside[0]}")
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=rank,
        lora_alpha=int(alpha) if alpha.is_integer() else alpha,  # pyrefly: ignore[bad-argument-type] (scales alike)
        target_modules=names_for_peft(targets, parts, ends_with),
        modules_to_save=names_for_peft(freed, parts, str.endswith) or None,
        ensure_weight_tying=_trains_tied_embedding(model, parts, targets, freed),
    )


def _linears_inside(kind: str, model: PreTrainedModel, parts: dict[str, nn.Module]) -> list[str]:
    linears = [name for name, part in parts.items() if isinstance(part, nn.Linear)]
    return [name for name in linears if kind in type(model.get_submodule(name.rpartition(".")[0])).__name__]


def _embedding_and_norms(model: PreTrainedModel, parts: dict[str, nn.Module]) -> list[str]:
    def trains(part: nn.Module) -> bool:
        is_norm = "Norm" in type(part).__name__ and next(part.parameters(), None) is not None
        return is_norm or part is model.get_input_embeddings()

    return [name for name, part in parts.items() if trains(part)]


def _trains_tied_embedding(model: PreTrainedModel, parts: dict, targets: list[str], freed: list[str]) -> bool:
    """Tell whether the embedding trains while other modules share its weight.

    Raises:
        ValueError: for tied weights that PEFT would tear apart.
    """
    embedding = model.get_input_embeddings()
    sharing = [name for name, part in parts.items() if getattr(part, "weight", None) is embedding.weight]
    own = [name for name in sharing if parts[name] is embedding]
    tied = [name for name in sharing if name not in own]
    if found := [name for name in tied if name in targets or name in freed]:
        raise ValueError(f"targets and also_train must leave a head tied to {own[0]} to the embedding, got {found[0]}")
    if not tied or not set(own) & set(freed):
        return False
    if own[0].rpartition(".")[2] not in EMBEDDING_LAYER_NAMES:  # PEFT recognises an embedding to tie by this name
        raise ValueError(
            f"also_train must leave out an embedding tied to {tied[0]} that PEFT cannot keep tied: "
            f"it knows {', '.join(EMBEDDING_LAYER_NAMES)}, got {own[0]}"
        )
    return True


def _saved_positions(base: PreTrainedModel, path: Path) -> tuple[PreTrainedConfig, Positions]:
    """The config of an adapter folder and the positions that it gives to this base.

    Raises:
        ValueError: for a config that contradicts itself, and a base that is not the one trained on.
    """
    values, own = read_json(path), base.config
    record = values.get("longlora") if isinstance(values, dict) else None
    if not isinstance(values, dict) or not (record or values.get("longlora_rope")):
        raise ValueError(f"{path} must be the config of a model stretched by longlora, got none of its longlora_rope")
    if values.get("model_type") != own.model_type:
        raise ValueError(f"base must have model_type {values.get('model_type')!r} by {path}, got {own.model_type!r}")
    if record and not _is_record(record):
        raise ValueError(f"{path} must say in longlora what was trained, a base and its s2, got {record!r:.100}")
    try:
        saved = type(own).from_dict(values)
    except Exception as error:  # each family checks its entries in its own way
        odd = odd_value(values) or in_a_line(error)
        raise ValueError(f"{path} must be a config that transformers reads: {odd}") from None
    head_dim = 2 * next(iter(rotary_modules(base).values())).inv_freq.numel()

    def check(wanted: dict, got: dict) -> None:
        for name, value in wanted.items():
            if got[name] != value:
                raise ValueError(f"base must have the {name} of the one trained on, {value} by {path}, got {got[name]}")

    check(_sizes(saved), _sizes(own))
    try:
        reach = reach_of(saved)
    except ValueError as error:
        raise ValueError(f"{path} must fit the base: {error}") from None
    positions = stated_positions(saved)
    try:
        rope = reach.rope(head_dim)
    except ValueError:  # a rule that only transformers knows
        rope = None
    if rope and reach.ours is None:
        raise ValueError(f"{path} must be the config of a model stretched by longlora, got none of its longlora_rope")
    trained_on = record["base"] if record else _unstretched(rope)
    if positions != trained_on and rope and saved.max_position_embeddings not in (reach.length, reach.origin):
        got = saved.max_position_embeddings
        raise ValueError(f"{path} must reach {reach.length} tokens by its longlora_rope, got {got}")
    check(trained_on, stated_positions(own))
    if positions == trained_on:
        return saved, Positions(copy.deepcopy(own), {})
    maximum = positions["max_position_embeddings"]
    return saved, new_positions(base, positions["rope_parameters"], rope, maximum=maximum)


def _is_record(record: Any) -> bool:
    """Tell whether this is what `longlora` writes into the config of a model that it stretches."""
    base, s2 = (record.get(name) if isinstance(record, dict) else None for name in ("base", "s2"))
    if not isinstance(base, dict) or not isinstance(s2, dict):
        return False
    stated = set(base) == {"rope_parameters", "max_position_embeddings"} and isinstance(base["rope_parameters"], dict)
    return stated and set(s2) == {field.name for field in dataclasses.fields(S2Pattern)}


def _sizes(config: PreTrainedConfig) -> dict:
    sizes: dict[str, Any] = {name: getattr(config, name, None) for name in SIZES}
    if sizes["head_dim"] is None:  # new positions state what some families leave open
        sizes["head_dim"] = sizes["hidden_size"] // sizes["num_attention_heads"]
    return sizes


def _unstretched(rope: Any) -> dict:
    """The positions of the base that `lora.save_adapter` trained on, which it does not state."""
    parameters = Rope(rope.head_dim, rope.base).rope_parameters()
    return {"rope_parameters": parameters, "max_position_embeddings": rope.trained_length}


def _adapter_config(path: Path, trainable: bool) -> LoraConfig:
    read_adapter_config(path)  # refuses what would change the meaning of the weights
    try:
        config: Any = LoraConfig.from_pretrained(str(path.parent))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} must be a config that PEFT reads: {in_a_line(error)}") from None
    config.inference_mode = not trainable
    return config
